"""What the CardDAV connector must do on every server. The same tests run on the sandbox and on a real Radicale."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import pytest

from connectors.carddav import CardDAV, own_name, vcards
from connectors.contract import (
    Capabilities,
    Connector,
    Create,
    Cursor,
    Delete,
    OperationKey,
    Page,
    Record,
    Update,
    Version,
)
from connectors.egress import Egress
from connectors.errors import CursorExpired, Misconfigured, Refused, Stale
from connectors.http import BasicAuth, VendorHTTP

AWKWARD = {
    "emoji": "\N{GRINNING FACE} \N{FAMILY}",
    "newline": "first\nsecond",
    "quotes": 'the "Big" one\'s',
    "separators": "a;b,c:d",
    "backslash": "C:\\new\\;x",
    "accents": "Ångström Żółć 李",
    "markup": "<b>&amp;</b>]]>",
    "long": "Ü" * 400,
}


class End(Protocol):
    """A server with one empty address book, and somebody else's program writing to it."""

    url: str
    user: str
    password: str
    book: str

    def put_card(self, name: str, text: str) -> None: ...
    def get_card(self, name: str) -> str: ...
    def delete_card(self, name: str) -> None: ...


@contextmanager
def connected(end: End, **settings: str) -> Iterator[CardDAV]:
    """The connector on this address book; settings override the usual ones."""
    given = {"base_url": end.url, "username": end.user, "password": end.password, "collection": end.book, **settings}
    url = CardDAV.access(given).base_url
    auth = BasicAuth(given["username"], given["password"])
    egress = Egress.allow(CardDAV.spec.hosts, url)
    with VendorHTTP(base_url=url, egress=egress, auth=auth, sleep=lambda _: None) as http:
        yield CardDAV(http, given)


def a_card(uid: str, *extra: str, fn: str = "Ada Byron") -> str:
    content = ("BEGIN:VCARD", "VERSION:3.0", f"UID:{uid}", f"FN:{fn}", "N:Byron;Ada;;;", *extra, "END:VCARD", "")
    return "\r\n".join(content)


def pulled(connector: CardDAV, since: Cursor | None = None) -> tuple[dict[str, Record], Cursor]:
    """Everything that a pull gives, by id (the last one counts), and where it ended."""
    pages = list(connector.pull("cards", since))
    assert all(len(page.records) <= CardDAV.spec.facts.page_max for page in pages)
    last = pages[-1].resume
    assert last is not None, "a pull must end at a place to go on from"
    return {record.id: record for page in pages for record in page.records}, last


def bodies(records: dict[str, Record]) -> dict[str, Any]:
    return {name: None if record.deleted else record.body["fn"] for name, record in records.items()}


def new(connector: CardDAV, key: str, **body: Any) -> Record:
    return connector.create("cards", Create(OperationKey(key), body))


class Battery:
    """Subclasses give the fixture `end`."""

    @pytest.fixture
    def connector(self, end: End) -> Iterator[CardDAV]:
        with connected(end) as found:
            yield found

    def test_every_capability_but_batches_is_offered(self, connector: CardDAV) -> None:
        assert isinstance(connector, Connector)
        offered = Capabilities.of(connector)
        assert None not in (offered.fetch, offered.ids, offered.create, offered.update, offered.delete, offered.find)
        assert offered.send is None

    def test_an_empty_book_gives_a_place_to_start_from(self, connector: CardDAV, end: End) -> None:
        records, cursor = pulled(connector)
        assert records == {}
        end.put_card("one.vcf", a_card("one"))
        assert bodies(pulled(connector, cursor)[0]) == {"one.vcf": "Ada Byron"}

    def test_changes_and_deletions_since_the_last_pull(self, connector: CardDAV, end: End) -> None:
        for name in ("a", "b", "c"):
            end.put_card(f"{name}.vcf", a_card(name, fn=name))
        first, cursor = pulled(connector)
        assert bodies(first) == {"a.vcf": "a", "b.vcf": "b", "c.vcf": "c"}
        end.put_card("a.vcf", a_card("a", fn="A"))
        end.delete_card("b.vcf")
        end.put_card("d.vcf", a_card("d", fn="d"))
        then, cursor = pulled(connector, cursor)
        assert bodies(then) == {"a.vcf": "A", "b.vcf": None, "d.vcf": "d"}
        assert then["a.vcf"].version != first["a.vcf"].version
        assert pulled(connector, cursor)[0] == {}

    def test_a_card_made_and_removed_between_two_pulls_is_never_shown_alive(self, connector: CardDAV, end: End) -> None:
        _, cursor = pulled(connector)
        end.put_card("brief.vcf", a_card("brief"))
        end.delete_card("brief.vcf")
        assert all(record.deleted for record in pulled(connector, cursor)[0].values())

    def test_a_first_pull_of_many_cards_may_go_on_from_every_page(self, connector: CardDAV, end: End) -> None:
        names = [f"c{at:03d}.vcf" for at in range(120)]
        for name in names:
            end.put_card(name, a_card(name, fn=name))
        pages = list(connector.pull("cards", None))
        assert sum(len(page.records) for page in pages) == 120
        for at, page in enumerate(pages):
            assert page.resume is not None
            seen = {record.id for earlier in pages[: at + 1] for record in earlier.records}
            rest = {record.id for record in pulled(connector, page.resume)[0].values()}
            assert seen | rest == set(names)
            assert not seen & rest

    def test_changes_during_a_broken_off_first_pull_are_not_missed(self, connector: CardDAV, end: End) -> None:
        names = [f"c{at:03d}.vcf" for at in range(60)]
        for name in names:
            end.put_card(name, a_card(name, fn="old"))
        pulling = connector.pull("cards", None)
        page = next(pulling)
        end.put_card("c000.vcf", a_card("c000.vcf", fn="new"))
        end.delete_card("c001.vcf")
        end.put_card("a-first.vcf", a_card("a-first", fn="new"))
        end.delete_card("c059.vcf")
        for rest in (pulling, connector.pull("cards", page.resume)):  # carried on, and begun again after a crash
            state: dict[str, Record] = {record.id: record for record in page.records}
            last: Page | None = None
            for last in rest:
                state |= {record.id: record for record in last.records}
            assert last is not None
            state |= pulled(connector, last.resume)[0]
            alive = {name: fn for name, fn in bodies(state).items() if fn is not None}
            expected = dict.fromkeys(names, "old") | {"c000.vcf": "new", "a-first.vcf": "new"}
            assert alive == {name: fn for name, fn in expected.items() if name not in ("c001.vcf", "c059.vcf")}

    def test_a_forgotten_token_asks_for_a_full_listing(self, connector: CardDAV) -> None:
        _, cursor = pulled(connector)
        kept = json.loads(cursor)
        bad = Cursor(json.dumps(kept | {"token": kept["token"][:-3] + "bad"}))
        with pytest.raises(CursorExpired):
            list(connector.pull("cards", bad))

    @pytest.mark.parametrize("cursor", ["", "{", "[]", "7", '"x"'])
    def test_a_cursor_that_is_none_asks_for_a_full_listing(self, connector: CardDAV, cursor: str) -> None:
        with pytest.raises((CursorExpired, Misconfigured)):
            list(connector.pull("cards", Cursor(cursor)))

    def test_a_cursor_of_another_address_book_stops_instead_of_deleting_everything(self, connector: CardDAV) -> None:
        _, cursor = pulled(connector)
        other = Cursor(json.dumps(json.loads(cursor) | {"book": "/elsewhere/"}))
        with pytest.raises(Misconfigured) as stopped:
            list(connector.pull("cards", other))
        assert "/elsewhere/" in stopped.value.remedy

    @pytest.mark.parametrize(
        "name", ["plain.vcf", "with blank.vcf", "100%.vcf", "a%2Fb.vcf", "ü#1.vcf", "x=1&y;z@.vcf"]
    )
    def test_any_name_of_a_card_is_read_changed_and_removed(self, connector: CardDAV, end: End, name: str) -> None:
        end.put_card(name, a_card("odd"))
        records, cursor = pulled(connector)
        assert list(records) == [name]
        assert connector.fetch("cards", [name]) == (records[name],)
        changed = connector.update("cards", Update(records[name], {"title": "Partner"}))
        connector.delete("cards", Delete(changed))
        assert bodies(pulled(connector, cursor)[0]) == {name: None}

    def test_fetch_keeps_the_order_and_shows_missing_cards_as_deleted(self, connector: CardDAV, end: End) -> None:
        for name in ("b.vcf", "a.vcf"):
            end.put_card(name, a_card(name, fn=name))
        fetched = connector.fetch("cards", ["b.vcf", "gone.vcf", "a.vcf"])
        assert [(record.id, record.deleted) for record in fetched] == [
            ("b.vcf", False),
            ("gone.vcf", True),
            ("a.vcf", False),
        ]

    def test_ids_lists_every_card(self, connector: CardDAV, end: End) -> None:
        for name in ("b.vcf", "a.vcf"):
            end.put_card(name, a_card(name))
        assert [name for page in connector.ids("cards") for name in page] == ["a.vcf", "b.vcf"]

    def test_create_is_found_by_its_key_and_repeated_without_effect(self, connector: CardDAV, end: End) -> None:
        create = Create(OperationKey("op-1"), {"fn": "Grace Hopper", "emails": [{"value": "grace@example.com"}]})
        assert connector.find("cards", create) == ()
        made = connector.create("cards", create)
        assert connector.find("cards", create) == (made,)
        end.put_card(made.id, end.get_card(made.id).replace("Grace Hopper", "Admiral Hopper"))
        again = connector.create("cards", create)
        assert (again.id, again.body["fn"]) == (made.id, "Admiral Hopper")
        assert [name for page in connector.ids("cards") for name in page] == [own_name(create.key)]

    def test_what_was_created_comes_back_equal(self, connector: CardDAV) -> None:
        made = new(
            connector,
            "full",
            fn="Dr. Ada Byron",
            n={"family": "Byron", "given": "Ada", "additional": None, "prefix": "Dr.", "suffix": None},
            org=["Analytical, Ltd.", "Legal; Tax"],
            title="Partner",
            emails=[{"value": "ada@example.com", "types": ["work"], "pref": True}],
            tels=[{"value": "+1 212 555 0101", "types": ["cell"], "pref": False}],
            adrs=[
                {"street": "1 Mill Ln, Flat 2", "locality": "Leeds", "code": "LS1", "country": "UK", "types": ["work"]}
            ],
            urls=[{"value": "https://example.org/a,b;c?d=1", "types": [], "pref": False}],
            bday="1815-12-10",
        )
        fetched = connector.fetch("cards", [made.id])[0]
        assert fetched == made
        assert made.body["org"] == ["Analytical, Ltd.", "Legal; Tax"]
        assert made.body["urls"][0]["value"] == "https://example.org/a,b;c?d=1"
        assert made.body["adrs"][0]["street"] == "1 Mill Ln, Flat 2"
        assert (made.body["bday"], made.body["kind"]) == ("1815-12-10", "individual")

    def test_a_company_stays_a_company(self, connector: CardDAV) -> None:
        made = new(connector, "org", kind="org", fn="Acme, Inc.", org=["Acme, Inc."])
        assert connector.fetch("cards", [made.id])[0].body["kind"] == "org"

    @pytest.mark.parametrize("value", AWKWARD.values(), ids=AWKWARD)
    def test_awkward_text_survives_in_every_field(self, connector: CardDAV, value: str) -> None:
        body = {
            "fn": value,
            "n": dict.fromkeys(vcards.NAME_KEYS, value),
            "org": [value, value],
            "title": value,
            "role": value,
            "emails": [{"value": value, "types": ["work"], "pref": False}],
            "tels": [{"value": value, "types": [], "pref": False}],
            "adrs": [{**dict.fromkeys(vcards.ADDRESS_KEYS, value), "types": [], "pref": False}],
            "urls": [{"value": value, "types": [], "pref": False}],
        }
        made = new(connector, "awkward", **body)
        assert {key: connector.fetch("cards", [made.id])[0].body[key] for key in body} == body
        changed = connector.update("cards", Update(made, {"title": value + "!"}))
        assert changed.body["title"] == value + "!"

    def test_an_update_keeps_what_we_do_not_know(self, connector: CardDAV, end: End) -> None:
        extra = (
            "NOTE:private",
            "X-CUSTOM;X-P=1:kept",
            "PHOTO;ENCODING=b;TYPE=JPEG:/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgI=",
            "item1.EMAIL;TYPE=INTERNET:ada@example.com",
            "item1.X-ABLabel:Assistant",
        )
        end.put_card("rich.vcf", a_card("rich", *extra))
        record = connector.fetch("cards", ["rich.vcf"])[0]
        emails = [*record.body["emails"], {"value": "new@example.com", "types": ["work"], "pref": False}]
        changed = connector.update("cards", Update(record, {"emails": emails, "title": "Partner"}))
        assert changed.body["title"] == "Partner"
        assert len(changed.body["emails"]) == 2
        text = end.get_card("rich.vcf").replace("\r\n ", "").upper()
        for line in extra:
            assert line.upper() in text

    def test_an_update_of_nothing_writes_nothing(self, connector: CardDAV, end: End) -> None:
        end.put_card("same.vcf", a_card("same", "TITLE:Partner"))
        record = connector.fetch("cards", ["same.vcf"])[0]
        before = end.get_card("same.vcf")
        assert connector.update("cards", Update(record, {"title": "Partner", "fn": "Ada Byron"})) == record
        assert end.get_card("same.vcf") == before

    def test_an_update_of_a_card_that_moved_on_is_stale(self, connector: CardDAV, end: End) -> None:
        end.put_card("x.vcf", a_card("x"))
        record = connector.fetch("cards", ["x.vcf"])[0]
        end.put_card("x.vcf", a_card("x", "TITLE:theirs"))
        with pytest.raises(Stale):
            connector.update("cards", Update(record, {"title": "ours"}))
        assert "TITLE:theirs" in end.get_card("x.vcf")

    def test_an_update_of_a_deleted_card_is_stale_and_makes_no_new_one(self, connector: CardDAV, end: End) -> None:
        end.put_card("x.vcf", a_card("x"))
        record = connector.fetch("cards", ["x.vcf"])[0]
        end.delete_card("x.vcf")
        with pytest.raises(Stale):
            connector.update("cards", Update(record, {"title": "ours"}))
        assert [name for page in connector.ids("cards") for name in page] == []

    def test_our_own_write_comes_back_equal_in_the_next_pull(self, connector: CardDAV) -> None:
        made = new(connector, "echo", fn="Ada")
        changed = connector.update("cards", Update(made, {"title": "Partner"}))
        assert pulled(connector)[0] == {made.id: changed}

    def test_a_delete_needs_the_version_and_may_be_repeated(self, connector: CardDAV, end: End) -> None:
        end.put_card("x.vcf", a_card("x"))
        record = connector.fetch("cards", ["x.vcf"])[0]
        with pytest.raises(Stale):
            connector.delete("cards", Delete(Record(record.id, Version("0" * 64), record.body)))
        connector.delete("cards", Delete(record))
        connector.delete("cards", Delete(record))
        connector.delete("cards", Delete(Record("never.vcf", None, {})))
        assert connector.fetch("cards", ["x.vcf"])[0].deleted

    def test_a_value_that_no_card_can_hold_is_refused_by_field(self, connector: CardDAV) -> None:
        with pytest.raises(Refused) as refused:
            new(connector, "bad", fn="Ada", bday="yesterday")
        assert refused.value.fields == ("bday",)
        assert "Ada" not in refused.value.message + refused.value.remedy

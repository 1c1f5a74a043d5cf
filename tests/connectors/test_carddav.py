"""The CardDAV connector on its sandbox: the whole battery, other servers' habits, and what goes wrong on the way."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from connectors import sandbox as toolkit
from connectors.carddav import CardDAV, dav, own_id, own_name, vcards
from connectors.carddav.sandbox import BOOK, CardDavSandbox
from connectors.contract import Create, Cursor, Delete, OperationKey, Record, Update
from connectors.errors import (
    CursorExpired,
    Misconfigured,
    MissingPermission,
    ReconnectNeeded,
    Refused,
    ShapeChanged,
    Stale,
    TryLater,
    UnknownOutcome,
    Unreachable,
)
from tests.connectors.carddav_battery import Battery, a_card, bodies, connected, new, pulled


class SandboxEnd:
    """The sandbox, and somebody else's program writing to it (through the hooks, not over HTTP)."""

    user = password = "demo"
    book = BOOK

    def __init__(self, server: CardDavSandbox) -> None:
        self.server = server
        self.url = server.url

    def put_card(self, name: str, text: str) -> None:
        self.server.edit("put_card", href=name, text=text)

    def get_card(self, name: str) -> str:
        return self.server.card(name)

    def delete_card(self, name: str) -> None:
        self.server.edit("delete_card", href=name)


def ends(*quirks: str, truncate_at: int | None = None, **options: Any) -> Iterator[SandboxEnd]:
    with CardDavSandbox(cards=[], quirks=quirks, truncate_at=truncate_at, **options) as server:
        yield SandboxEnd(server)
        assert server.errors == []


@pytest.fixture
def end() -> Iterator[SandboxEnd]:
    yield from ends()


@pytest.fixture
def connector(end: SandboxEnd) -> Iterator[CardDAV]:
    with connected(end) as found:
        yield found


class TestOnTheSandbox(Battery):
    pass


HARMLESS = (
    "bare-etags",
    "weak-put-etags",
    "no-put-etag",
    "lists-itself",
    "absolute-hrefs",
    "odd-hrefs",
    "no-multiget",
    "no-ctag",
)


class TestOnAnOddServer(Battery):
    """Habits of real servers that must change nothing, all of them together."""

    @pytest.fixture
    def end(self) -> Iterator[SandboxEnd]:
        yield from ends(*HARMLESS, "uid-412", "token-412", "rewrites")


@pytest.mark.parametrize("quirk", HARMLESS)
def test_one_odd_habit_changes_nothing(quirk: str) -> None:
    for end in ends(quirk):
        with connected(end, collection="") as connector:
            end.put_card("a.vcf", a_card("a", fn="a"))
            first, cursor = pulled(connector)
            changed = connector.update("cards", Update(first["a.vcf"], {"title": "Partner"}))
            made = new(connector, "k", fn="made")
            then, cursor = pulled(connector, cursor)
            assert then == {"a.vcf": changed, made.id: made}
            connector.delete("cards", Delete(changed))
            assert bodies(pulled(connector, cursor)[0]) == {"a.vcf": None}


# -- cursors


@pytest.mark.parametrize("at", [1, 3, 50])
def test_a_cut_list_of_changes_is_followed_to_its_end(at: int) -> None:
    for end in ends(truncate_at=at):
        names = {f"c{number:03d}.vcf" for number in range(at * 6 if at < 50 else 60)}
        for name in names:
            end.put_card(name, a_card(name))
        with connected(end) as connector:
            pages = list(connector.pull("cards", None))
            assert {record.id for page in pages for record in page.records} == names
            for stop, page in enumerate(pages):
                if page.resume is not None:
                    seen = {record.id for earlier in pages[: stop + 1] for record in earlier.records}
                    assert seen | set(pulled(connector, page.resume)[0]) == names
            end.delete_card("c000.vcf")
            assert bodies(pulled(connector, pages[-1].resume)[0]) == {"c000.vcf": None}


def test_a_list_that_never_ends_is_noticed(end: SandboxEnd, connector: CardDAV) -> None:
    cut = f"<response><href>{BOOK}</href><status>HTTP/1.1 507 x</status></response>"
    stuck = f"<multistatus xmlns='DAV:'><sync-token>t</sync-token>{cut}</multistatus>"
    end.server.faults.add("REPORT *", toolkit.status(207, body=stuck.encode()), times=None)
    with pytest.raises(ShapeChanged):
        list(connector.pull("cards", Cursor(json.dumps({"book": BOOK, "token": "t"}))))


def test_tokens_that_the_server_forgot_ask_for_a_full_listing() -> None:
    for quirks in ((), ("token-412",), ("silent-token",)):
        for end in ends(*quirks):
            with connected(end) as connector:
                end.put_card("a.vcf", a_card("a"))
                _, cursor = pulled(connector)
                end.delete_card("a.vcf")
                end.server.edit("forget_tokens")
                with pytest.raises(CursorExpired):
                    list(connector.pull("cards", cursor))


def test_without_sync_collection_an_unchanged_book_costs_one_request() -> None:
    for end in ends("no-sync"):
        with connected(end) as connector:
            for name in ("a", "b"):
                end.put_card(f"{name}.vcf", a_card(name, fn=name))
            records, cursor = pulled(connector)
            assert bodies(records) == {"a.vcf": "a", "b.vcf": "b"}
            before = len(end.server.log)
            assert pulled(connector, cursor) == ({}, cursor)
            assert len(end.server.log) == before + 1
            end.put_card("b.vcf", a_card("b", fn="B"))
            end.delete_card("a.vcf")
            assert bodies(pulled(connector, cursor)[0]) == {"b.vcf": "B"}
            assert list(connector.ids("cards")) == [("b.vcf",)]
            assert [finding.level for finding in connector.check().findings] == ["warning"]


def test_without_sync_collection_a_first_pull_may_go_on_from_every_page() -> None:
    for end in ends("no-sync"):
        with connected(end) as connector:
            names = {f"c{number:03d}.vcf" for number in range(110)}
            for name in names:
                end.put_card(name, a_card(name))
            pages = list(connector.pull("cards", None))
            for stop, page in enumerate(pages):
                seen = {record.id for earlier in pages[: stop + 1] for record in earlier.records}
                assert seen | set(pulled(connector, page.resume)[0]) == names


def test_a_server_that_does_not_say_what_it_offers_is_tried() -> None:
    """Without supported-report-set the sync report is sent, and a refusal leads to the listing."""
    for quirks in ((), ("no-sync",)):
        for end in ends("no-report-set", *quirks):
            end.put_card("a.vcf", a_card("a"))
            with connected(end) as connector:
                records, cursor = pulled(connector)
                assert list(records) == ["a.vcf"]
                end.put_card("b.vcf", a_card("b"))
                assert "b.vcf" in pulled(connector, cursor)[0]
                assert connector.check().findings == ()


def test_a_server_that_loses_or_gains_sync_collection_gets_a_full_listing() -> None:
    for before, after in ((("no-sync",), ()), ((), ("no-sync",))):
        cursor = Cursor("")
        for end in ends(*before):
            with connected(end) as connector:
                _, cursor = pulled(connector)
        for end in ends(*after):
            with connected(end) as connector, pytest.raises(CursorExpired):
                list(connector.pull("cards", cursor))


def test_a_pull_without_changes_costs_two_requests(end: SandboxEnd, connector: CardDAV) -> None:
    end.put_card("a.vcf", a_card("a"))
    _, cursor = pulled(connector)
    before = len(end.server.log)
    assert pulled(connector, cursor)[0] == {}
    assert [(entry.method) for entry in end.server.log[before:]] == ["PROPFIND", "REPORT"]


def test_the_limit_that_breaks_servers_is_never_sent(end: SandboxEnd, connector: CardDAV) -> None:
    end.put_card("a.vcf", a_card("a"))
    pulled(connector)
    assert not any(b"limit" in entry.request_body for entry in end.server.log)


def test_a_card_that_is_none_keeps_its_place_and_is_of_no_kind_that_is_mapped(
    end: SandboxEnd, connector: CardDAV
) -> None:
    end.put_card("a.vcf", a_card("a"))
    end.server.tables["cards"][BOOK + "a.vcf"]["text"] = "not a card at all"
    record = pulled(connector)[0]["a.vcf"]
    assert not record.deleted
    assert record.body == {"kind": "unreadable"}
    with pytest.raises(Refused):
        connector.update("cards", Update(record, {"fn": "Ada"}))


# -- writes


def test_a_create_cut_off_after_the_work_is_found(end: SandboxEnd, connector: CardDAV) -> None:
    create = Create(OperationKey("op"), {"fn": "Ada"})
    end.server.faults.add("PUT *", "cut_after")
    with pytest.raises(UnknownOutcome):
        connector.create("cards", create)
    assert connector.find("cards", create)[0].body["fn"] == "Ada"
    assert connector.create("cards", create).id == own_name(create.key)
    assert end.server.writes() == [f"created cards/{own_name(create.key)}"]


def test_an_update_cut_off_before_the_work_changed_nothing(end: SandboxEnd, connector: CardDAV) -> None:
    end.put_card("a.vcf", a_card("a"))
    record = connector.fetch("cards", ["a.vcf"])[0]
    end.server.faults.add("PUT *", "cut_before")
    with pytest.raises(UnknownOutcome):
        connector.update("cards", Update(record, {"title": "x"}))
    assert connector.fetch("cards", ["a.vcf"]) == (record,)


def test_a_write_that_cannot_be_read_back_still_counts(end: SandboxEnd, connector: CardDAV) -> None:
    end.server.faults.add("GET *", toolkit.status(403))
    made = new(connector, "k", fn="Ada")
    assert made == connector.fetch("cards", [made.id])[0]


def test_a_write_without_etag_that_cannot_be_read_back_is_unknown() -> None:
    for end in ends("no-put-etag"):
        with connected(end) as connector:
            end.server.faults.add("GET *", toolkit.status(403))
            with pytest.raises(UnknownOutcome):
                new(connector, "k", fn="Ada")


def test_somebody_elses_change_right_after_ours_is_not_taken_for_ours(end: SandboxEnd) -> None:
    def edit_once(request: toolkit.Request, response: toolkit.Response) -> None:
        if request.method == "PUT" and response.status == 201:
            server.edit_card(request.path, {"title": "theirs"})

    with CardDavSandbox(cards=[], observe=edit_once) as server:
        with connected(SandboxEnd(server)) as connector:
            made = new(connector, "k", fn="Ada")
            assert made.body["title"] is None
            now = connector.fetch("cards", [made.id])[0]
            assert (now.body["title"], now.version != made.version) == ("theirs", True)
        assert server.errors == []


def test_a_change_between_our_read_and_our_write_is_stale(end: SandboxEnd) -> None:
    def edit_once(request: toolkit.Request, response: toolkit.Response) -> None:
        if request.method == "GET" and "theirs" not in server.card(request.path):
            server.edit_card(request.path, {"title": "theirs"})

    with CardDavSandbox(cards=[a_card("a")], observe=edit_once) as server:
        with connected(SandboxEnd(server)) as connector:
            listed = next(iter(pulled(connector)[0].values()))
            with pytest.raises(Stale):
                connector.update("cards", Update(listed, {"role": "ours"}))
        assert server.writes() == []


def test_a_card_of_ours_under_another_name_is_refused() -> None:
    for quirks in ((), ("uid-412",)):
        for end in ends(*quirks):
            end.put_card("moved.vcf", a_card(own_id(OperationKey("k"))))
            with connected(end) as connector, pytest.raises(Refused) as refused:
                new(connector, "k", fn="Ada")
            assert refused.value.code == "no-uid-conflict"


def test_a_delete_without_a_version_reads_it_first(end: SandboxEnd, connector: CardDAV) -> None:
    end.put_card("a.vcf", a_card("a"))
    connector.delete("cards", Delete(Record("a.vcf", None, {})))
    assert end.server.names() == []


DAV_ERROR = "<error xmlns='DAV:' xmlns:C='urn:ietf:params:xml:ns:carddav'><{}/></error>"


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, "", Refused),
        (403, "", MissingPermission),
        (403, DAV_ERROR.format("C:valid-address-data"), Refused),
        (403, DAV_ERROR.format("C:max-resource-size"), Refused),
        (403, DAV_ERROR.format("C:no-uid-conflict"), Refused),
        (405, "", MissingPermission),
        (409, "", Misconfigured),
        (412, "", Stale),
        (412, DAV_ERROR.format("C:no-uid-conflict"), Refused),
        (413, "", Refused),
        (415, "", Refused),
        (423, "", TryLater),
        (429, "", TryLater),
        (500, "", UnknownOutcome),
        (507, "", Misconfigured),
        (301, "", Misconfigured),
    ],
)
def test_what_each_refusal_of_a_write_means(
    end: SandboxEnd, connector: CardDAV, status: int, body: str, expected: type[Exception]
) -> None:
    end.put_card("a.vcf", a_card("a"))
    record = connector.fetch("cards", ["a.vcf"])[0]
    for method in ("PUT", "DELETE"):
        end.server.faults.add(f"{method} *", toolkit.status(status, body=body.encode()), times=None)
    with pytest.raises(expected):
        connector.update("cards", Update(record, {"title": "x"}))
    with pytest.raises(expected):
        connector.delete("cards", Delete(record))


def test_a_delete_is_judged_by_the_inner_status(end: SandboxEnd, connector: CardDAV) -> None:
    end.put_card("a.vcf", a_card("a"))
    record = connector.fetch("cards", ["a.vcf"])[0]
    response = f"<response><href>{BOOK}a.vcf</href><status>HTTP/1.1 {{}} x</status></response>"
    inner = f"<multistatus xmlns='DAV:'>{response}</multistatus>"
    end.server.faults.add("DELETE *", toolkit.status(207, body=inner.format("423 Locked").encode()))
    with pytest.raises(TryLater):
        connector.delete("cards", Delete(record))
    end.server.faults.add("DELETE *", toolkit.status(207, body=inner.format("204").encode()))
    connector.delete("cards", Delete(record))


# -- check


def test_check_names_a_server_that_is_not_there(end: SandboxEnd) -> None:
    end.server.stop()
    with connected(end, collection="") as connector, pytest.raises(Unreachable) as told:
        connector.check()
    assert "base_url" in told.value.remedy


def test_check_names_a_wrong_password(end: SandboxEnd) -> None:
    with connected(end, password="wrong", collection="") as connector, pytest.raises(ReconnectNeeded) as told:
        connector.check()
    assert "app password" in told.value.remedy


@pytest.mark.parametrize("collection", ["", BOOK])
@pytest.mark.parametrize("effect", [toolkit.status(404), toolkit.status(405), toolkit.html])
def test_check_names_an_address_that_is_no_carddav_server(
    end: SandboxEnd, collection: str, effect: toolkit.Effect
) -> None:
    end.server.faults.add("*", effect, times=None)
    with connected(end, collection=collection) as connector, pytest.raises(Misconfigured) as told:
        connector.check()
    assert "base_url" in told.value.remedy


def test_check_finds_the_server_behind_a_base_address_that_knows_nothing(end: SandboxEnd) -> None:
    end.server.faults.add("PROPFIND /nowhere*", toolkit.status(404), times=None)
    with connected(end, base_url=end.url + "/nowhere", collection="") as connector:
        assert connector.check().account.label == "Contacts (demo at 127.0.0.1)"


def test_check_names_a_missing_address_book(end: SandboxEnd) -> None:
    del end.server.tables["books"][BOOK]
    with connected(end, collection="") as connector, pytest.raises(Misconfigured) as told:
        connector.check()
    assert "address book" in told.value.message
    with connected(end) as connector, pytest.raises(Misconfigured):
        connector.check()


def test_check_names_a_read_only_address_book_and_writes_are_refused_by_right() -> None:
    for end in ends("read-only"):
        with connected(end) as connector:
            assert [finding.level for finding in connector.check().findings] == ["error"]
            with pytest.raises(MissingPermission):
                new(connector, "k", fn="Ada")


def test_check_finds_the_books_of_a_server_without_principals() -> None:
    for end in ends("no-principal"):
        with connected(end, collection="") as connector:
            assert connector.check().account.id.endswith(BOOK)


def test_check_says_which_of_several_books_is_used(end: SandboxEnd) -> None:
    end.server.edit("new_book", path="/demo/zzz/", name="Other")
    with connected(end, collection="") as connector:
        checked = connector.check()
    assert (checked.account.id.endswith(BOOK), len(checked.findings)) == (True, 1)
    assert BOOK in checked.findings[0].what


def test_check_refuses_to_carry_the_password_to_another_server(end: SandboxEnd) -> None:
    for target in ("https://evil.example/", "http://127.0.0.1:1/", "//evil.example/x"):
        prop = f"<prop><current-user-principal><href>{target}</href></current-user-principal></prop>"
        found = f"<propstat>{prop}<status>HTTP/1.1 200 OK</status></propstat>"
        answer = f"<multistatus xmlns='DAV:'><response><href>/</href>{found}</response></multistatus>"
        end.server.faults.add("PROPFIND /", toolkit.status(207, body=answer.encode()), times=None)
        with connected(end, collection="") as connector, pytest.raises(Misconfigured):
            connector.check()
        end.server.faults.clear()


@pytest.mark.parametrize("given", ["", "contacts.example.com", "ftp://contacts.example.com"])
def test_an_address_that_is_none_is_refused_before_any_request(given: str) -> None:
    with pytest.raises(Misconfigured):
        CardDAV.access({"base_url": given})


def test_no_password_or_name_appears_in_an_error(end: SandboxEnd) -> None:
    end.server.faults.add("PUT *", toolkit.status(400, body=b"cannot store Ada Byron"), times=None)
    with connected(end) as connector, pytest.raises(Refused) as refused:
        new(connector, "k", fn="Ada Byron")
    assert not {"Ada", "Byron", "demo"} & set((refused.value.message + refused.value.remedy).split())


# -- the way there


def test_a_short_outage_is_sat_out(end: SandboxEnd, connector: CardDAV) -> None:
    end.put_card("a.vcf", a_card("a"))
    end.server.faults.add("REPORT *", toolkit.status(503), times=2)
    end.server.faults.add("PROPFIND *", "cut_before")
    assert list(pulled(connector)[0]) == ["a.vcf"]


@pytest.mark.parametrize("effect", ["half_body", "html"])
def test_an_answer_cut_in_half_or_of_another_kind_moves_no_cursor(
    end: SandboxEnd, connector: CardDAV, effect: str
) -> None:
    end.put_card("a.vcf", a_card("a"))
    end.server.faults.add("REPORT *", effect, times=None)
    with pytest.raises((TryLater, ShapeChanged)):
        list(connector.pull("cards", None))


@pytest.mark.parametrize(
    "reply",
    [
        b"<!DOCTYPE x [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;'>]><multistatus xmlns='DAV:'>&b;</multistatus>",
        b"<!DOCTYPE x SYSTEM 'http://127.0.0.1:1/x'><multistatus xmlns='DAV:'/>",
        b"<!DOCTYPE x [<!ENTITY f SYSTEM 'file:///etc/passwd'>]><multistatus xmlns='DAV:'>&f;</multistatus>",
        b"<a>" * 100_000,
        b"<multistatus xmlns='DAV:'><response>",
        b"<other/>",
        b"",
        b"\xff\xfe\x00",
        b"<?xml version='1.0' encoding='nonsense'?><a/>",
        b"<multistatus xmlns='DAV:'><response><href>/x</href><status>fine</status></response></multistatus>",
    ],
)
def test_hostile_xml_is_refused(reply: bytes) -> None:
    with pytest.raises(dav.NotDav):
        dav.read_multistatus(reply)
    assert dav.read_conditions(reply) == frozenset()


@pytest.mark.parametrize(
    ("written", "bare"),
    [
        ('"abc"', "abc"),
        ("abc", "abc"),
        ('W/"abc"', "abc"),
        ("&quot;abc&quot;", "abc"),
        ("%22abc%22", "abc"),
        ('  "a b" ', "a b"),
        ("", None),
        ('""', None),
        ('"\u00e9"', None),
        ('"a\r\nX: y"', None),
        (None, None),
    ],
)
def test_one_spelling_of_an_etag(written: str | None, bare: str | None) -> None:
    assert dav.bare_etag(written) == bare


@pytest.mark.parametrize(
    "href",
    [
        "/b/x%20y.vcf",
        " /b/x%20y.vcf\n",
        "x%20y.vcf",
        "https://h.example/b/x%20y.vcf",
        "/other/%78%20y.vcf",
        "/b/x y.vcf",
    ],
)
def test_one_name_for_every_spelling_of_an_href(href: str) -> None:
    assert dav.member("https://h.example/b/", href) == "x y.vcf"


@pytest.mark.parametrize("href", ["/b/", "/b", "https://h.example/b/", "/%62/", "/b/sub/"])
def test_collections_are_no_cards(href: str) -> None:
    assert dav.member("https://h.example/b/", href) is None


@pytest.mark.parametrize("name", ["a/b.vcf", "a%2Fb.vcf", "?.vcf", "#", "ü", "a b", "%", "..;"])
def test_a_name_becomes_an_address_and_back(name: str) -> None:
    assert dav.member("https://h.example/b/", dav.member_url("https://h.example/b/", name)) == name


# -- what real servers were recorded to say

FACTS = Path(os.environ.get("SYNCD_VENDOR_FACTS", Path(__file__).parents[3] / "shared" / "vendors"))


def recorded(name: str) -> list[tuple[str, int, str]]:
    """(request line, status, body) of every exchange in a recorded file; ">" lines were sent, "<" lines came back."""
    path = FACTS / "examples" / "caldav-carddav" / name
    if not path.exists():
        pytest.skip(f"the recorded exchange {name} is not beside the project (SYNCD_VENDOR_FACTS)")
    found: list[tuple[str, int, str]] = []
    for block in path.read_text().split("\n\n"):
        asked = [line[2:] for line in block.splitlines() if line.startswith("> ")]
        said = [line[2:] for line in block.splitlines() if line.startswith("<")]
        if asked and said:
            body = "\n".join(said[said.index("") + 1 :]) if "" in said else ""
            found.append((asked[0], int(said[0].split()[1]), body))
    return found


def test_recorded_radicale_answers_are_understood() -> None:
    exchanges = recorded("radicale-3.9.0-caldav-carddav-exchange.txt")
    replies = [(line, dav.read_multistatus(body.encode())) for line, status, body in exchanges if status == 207]
    assert len(replies) >= 10
    tokens = [reply.token for line, reply in replies if line.startswith("REPORT /lawyer/contacts/") and reply.token]
    assert tokens == ["http://radicale.org/ns/sync/28f92ca1624c166a9f698c1623573118a0c0048cc31766ae4f1480ca89fb4645"]
    cards = [item for _, reply in replies for item in reply.items if dav.ADDRESS_DATA in item.props]
    assert [dav.member("http://h.example/lawyer/contacts/", item.href) for item in cards] == ["ada-1.vcf"]
    assert cards[0].etag == "ec94dd49cf05f8980071f60b0ea0face32e9558b27dde1fcbbfc1f3b2eadbba0"
    body = vcards.parse(cards[0].props[dav.ADDRESS_DATA].text)
    assert (body["fn"], body["org"], body["tels"][0]["types"]) == ("Ada Byron", ["Analytical Ltd", "Legal"], ["cell"])
    removed = [item for _, reply in replies for item in reply.items if item.status == 404]
    assert {item.href for item in removed} == {"/lawyer/matters/hearing-0042.ics", "/lawyer/matters/gone.ics"}
    conditions = {name for _, status, body in exchanges if status >= 400 for name in dav.read_conditions(body.encode())}
    assert conditions == {"no-uid-conflict", "valid-sync-token"}


def test_recorded_wsgidav_answers_are_understood() -> None:
    exchanges = recorded("wsgidav-4.4.0-webdav-exchange.txt")
    listing = next(
        dav.read_multistatus(body.encode()) for line, _, body in exchanges if line.startswith("PROPFIND /M1/ ")
    )
    assert [(item.href, item.is_a(dav.COLLECTION), item.etag) for item in listing.items] == [
        ("/M1/", True, None),
        ("/M1/brief.txt", False, "2763073-1795294995-11"),
    ]
    statuses = {line.split()[0]: status for line, status, _ in exchanges if line.startswith("REPORT")}
    assert statuses == {"REPORT": 405}


# -- the sandbox itself, by a plain client


@pytest.fixture
def plain(end: SandboxEnd) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=end.url, auth=("demo", "demo"), trust_env=False) as client:
        yield client


def test_the_sandbox_wants_a_login(plain: httpx.Client) -> None:
    reply = plain.request("PROPFIND", "/", auth=("demo", "x"))
    assert (reply.status_code, reply.headers["www-authenticate"]) == (401, 'Basic realm="sandbox"')


def test_the_sandbox_answers_as_the_recorded_server(plain: httpx.Client) -> None:
    assert plain.get("/.well-known/carddav").status_code == 301
    assert "addressbook" in plain.options("/demo/").headers["dav"]
    put: Callable[..., httpx.Response] = lambda text, **headers: plain.put(  # noqa: E731
        BOOK + "a.vcf",
        content=text.encode(),
        headers={name.replace("_", "-"): value for name, value in headers.items()},
    )
    made = put(a_card("a"), If_None_Match="*")
    assert (made.status_code, made.content) == (201, b"")
    assert put(a_card("a"), If_None_Match="*").status_code == 412
    assert put(a_card("a"), If_Match='"0000"').status_code == 412
    changed = put(a_card("a", "TITLE:x"), If_Match=made.headers["etag"])
    assert changed.status_code == 204
    assert changed.headers["etag"] != made.headers["etag"]
    assert plain.get(BOOK + "a.vcf").headers["etag"] == changed.headers["etag"]
    assert plain.put(BOOK + "b.vcf", content=a_card("a").encode()).status_code == 409
    assert plain.put("/demo/none/b.vcf", content=a_card("b").encode()).status_code == 409
    assert plain.put(BOOK + "b.vcf", content=b"junk").status_code == 403
    assert plain.delete(BOOK + "a.vcf", headers={"If-Match": made.headers["etag"]}).status_code == 412
    assert plain.delete(BOOK + "a.vcf", headers={"If-Match": changed.headers["etag"]}).status_code == 200
    assert plain.delete(BOOK + "a.vcf").status_code == 404
    assert plain.request("PROPFIND", "/", headers={"Depth": "infinity"}).status_code == 403


def test_the_sandbox_makes_address_books_and_searches_them(plain: httpx.Client, end: SandboxEnd) -> None:
    assert plain.request("MKCOL", "/demo/second/", content=dav.make_addressbook("Second & last")).status_code == 201
    assert plain.request("MKCOL", "/demo/second/", content=dav.make_addressbook("x")).status_code == 405
    with connected(end, collection="/demo/second/") as connector:
        assert connector.check().account.label.startswith("Second & last")
        new(connector, "k", fn="Ada", emails=[{"value": "ada@example.com"}])
        new(connector, "l", fn="Bob")
    query = (
        "<a:addressbook-query xmlns:d='DAV:' xmlns:a='urn:ietf:params:xml:ns:carddav'><d:prop><d:getetag/></d:prop>"
        "<a:filter><a:prop-filter name='EMAIL'><a:text-match>ADA@</a:text-match></a:prop-filter></a:filter>"
        "</a:addressbook-query>"
    )
    found = dav.read_multistatus(plain.request("REPORT", "/demo/second/", content=query.encode()).content)
    assert [item.href for item in found.items] == ["/demo/second/" + quote(own_name(OperationKey("k")))]


def test_the_sandbox_has_the_same_cards_for_the_same_seed_and_keeps_them(tmp_path: Any) -> None:
    one, two = CardDavSandbox(seed=4, size=40), CardDavSandbox(seed=4, size=40)
    assert one.tables["cards"] == two.tables["cards"]
    assert CardDavSandbox(seed=5, size=40).tables["cards"] != one.tables["cards"]
    kinds = [vcards.parse(row["text"])["kind"] for row in one.tables["cards"].values()]
    assert {kinds.count("org"), kinds.count("individual")} == {6, 34}
    state = tmp_path / "cards.jsonl"
    with CardDavSandbox(seed=4, size=3, state=state) as server:
        name = server.edit("new_card", body={"fn": "Kept", "org": ["Acme"]})
        server.edit("card", href=name, changes={"title": "Partner"})
        server.edit("delete_card", href=server.names()[0] if server.names()[0] != name else server.names()[1])
        names = server.names()
    with CardDavSandbox(seed=4, size=3, state=state) as server:
        assert server.names() == names
        assert vcards.parse(server.card(name))["title"] == "Partner"


def test_a_whole_seeded_book_is_pulled_and_survives_edits_of_every_card() -> None:
    with CardDavSandbox(seed=2, size=60) as server, connected(SandboxEnd(server)) as connector:
        records, cursor = pulled(connector)
        assert sorted(records) == server.names()
        before = {name: server.card(name) for name in records}
        for record in list(records.values())[:12]:
            changed = connector.update("cards", Update(record, {"role": "Client"}))
            kept = [line for line in before[record.id].split("\r\n") if not line.startswith("REV")]
            now = server.card(record.id).split("\r\n")
            assert [line for line in now if line in kept] == kept
            assert changed.body == record.body | {"role": "Client", "rev": changed.body["rev"]}
        assert len(pulled(connector, cursor)[0]) == 12


def test_a_misspelt_quirk_is_refused() -> None:
    with pytest.raises(ValueError, match="no such quirk: no-snyc"):
        CardDavSandbox(quirks=("no-snyc",))


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_no_name_leads_out_of_the_address_book(name: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        dav.member_url("https://h.example/b/", name)

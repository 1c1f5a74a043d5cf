"""The Clio connector against its sandbox over real HTTP, every exchange held against the vendor's description."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.clio import REGIONS, SPEC, Clio, base_url
from connectors.clio.payloads import COLLECTIONS, LISTS, holds, list_changes, outgoing
from connectors.clio.sandbox import ClioSandbox
from connectors.contract import Capabilities, Create, Cursor, Delete, OperationKey, Record, Update
from connectors.egress import Egress
from connectors.errors import (
    CursorExpired,
    Misconfigured,
    MissingPermission,
    RateLimited,
    ReconnectNeeded,
    Refused,
    ShapeChanged,
    Stale,
    TryLater,
    UnknownOutcome,
    Unreachable,
)
from connectors.http import BearerAuth, VendorHTTP
from connectors.oauth import OAuthAuth, Tokens
from connectors.redact import Secret
from connectors.sandbox import cut_after, cut_before, half_body, html, rate_limit, status
from tests.connectors.descriptions import Description, Exemption

if TYPE_CHECKING:
    from pathlib import Path

    from connectors.sandbox import Logged

NASTY = [
    "Zoë 🦀 Müller",
    'She said "no"',
    "O'Brien-Łukasz",
    "line one\nline two",
    "a\\b <i>x</i> & {y}",
    "؟ אבג",
]

EXEMPTIONS = [
    Exemption(
        where="answer 20[01]$",
        what=r"None (for not nullable|is not of type)",
        why="The document marks nothing as nullable; its own text says that a custom value's id may be null, and an "
        "empty property has to come as something.",
    ),
    Exemption(
        where="GET /(contacts|matters|bills|activities|users).json answer 200",
        what="^meta: the property is not declared$",
        why="Paging is described on the vendor's paging page, not in the document's list schemas.",
    ),
    Exemption(
        where="contacts.* answer 20[01]$",
        what=r"phone_numbers\.\*\.name: '(Home|Mobile)' is not one of",
        why="The document lets a phone be written as Home or Mobile, and omits both from what may be read.",
    ),
    Exemption(
        where=r"PATCH /(contacts|matters)/\{id\}.json request",
        what=r"custom_field_values\.\*\.id: '[a-z_]+-\d+' is not of type 'integer'",
        why="The document's own examples and text write the composite text id that it also declares for reading.",
    ),
    Exemption(
        where=r"PATCH /(contacts|matters|activities)/\{id\}.json request",
        what=r"None (for not nullable|is not of type)",
        why="A property is emptied by null, as the document does itself where it says 'use the keyword null'.",
    ),
]


class Clock:
    """The vendor's clock. It starts in another year than ours, so that using ours would show."""

    def __init__(self) -> None:
        self.at = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def forward(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


class Account:
    """A sandbox, a connector signed in to it, and shorthand for what tests do with both."""

    def __init__(self, **options: Any) -> None:
        self.description = None if "observe" in options else Description.find("clio-manage.json", skip=("/oauth/",))
        self.clock = Clock()
        options.setdefault("observe", self.description.check if self.description else None)
        self.vendor = ClioSandbox(**{"clock": self.clock, "page_max": 5, "size": 12, **options})
        self.opened: list[VendorHTTP] = []

    def __enter__(self) -> Account:
        self.vendor.start()
        self.clio = self.connect()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        for http in self.opened:
            http.close()
        self.vendor.__exit__(kind, *rest)
        if kind is None and self.description is not None:
            assert self.description.unexplained(EXEMPTIONS) == []

    def connect(self, url: str | None = None, **options: Any) -> Clio:
        url = url or self.vendor.url
        options = {"auth": BearerAuth(self.vendor.access_token), "sleep": lambda _: None, **options}
        http = VendorHTTP(base_url=url, egress=Egress.allow(SPEC.hosts, url), **options)
        self.opened.append(http)
        return Clio(http, {"base_url": url})

    def all(self, resource: str, since: Cursor | None = None) -> list[Record]:
        return [record for page in self.clio.pull(resource, since) for record in page.records]

    def end(self, resource: str, since: Cursor | None = None) -> Cursor:
        """The cursor after the last page."""
        cursor = list(self.clio.pull(resource, since))[-1].resume
        assert cursor is not None
        return cursor

    def one(self, resource: str, id_: Any) -> Record:
        return self.clio.fetch(resource, [str(id_)])[0]

    def person(self, **changes: Any) -> Record:
        """A new person, entered by somebody at the firm."""
        fields = {"type": "Person", "first_name": "Ines", "last_name": "Okoro", "email": "ines@example.com", **changes}
        return self.one("contacts", self.vendor.edit_new_contact(fields)["id"])

    def sent(self, method: str) -> Any:
        """`data` of the last request with this method."""
        entry: Logged = [entry for entry in self.vendor.log if entry.method == method][-1]
        return orjson.loads(entry.request_body)["data"]


@pytest.fixture
def account() -> Iterator[Account]:
    with Account() as opened:
        yield opened


def create(**body: Any) -> Create:
    return Create(OperationKey("key-1"), body)


A_PERSON = create(
    type="Person",
    first_name="Nadia",
    last_name="Ferreira",
    title="Owner",
    email_addresses=[{"name": "Work", "address": "nadia@example.com", "primary": True}],
    phone_numbers=[{"name": "Mobile", "number": "(510) 555-0142", "primary": True}],
    addresses=[{"name": "Work", "street": "1 Elm Street", "city": "Oakland", "province": "CA", "country": "US"}],
)


def answer(data: Any, **meta: Any) -> Any:
    return status(200, body={"data": data, **({"meta": meta} if meta else {})})


# Reading ---------------------------------------------------------------------------------------------------------


def test_everything_is_pulled_page_by_page_in_order_of_id(account: Account) -> None:
    for resource in ("contacts", "matters", "bills", "activities"):
        pages = list(account.clio.pull(resource, None))
        ids = [record.id for page in pages for record in page.records]
        assert ids == sorted(account.vendor.tables[resource]), resource
        assert all(len(page.records) <= 5 and page.resume for page in pages)
        assert all(
            record.version and record.body["etag"] == record.version for page in pages for record in page.records
        )


def test_records_carry_the_fields_that_mappings_read(account: Account) -> None:
    person = account.clio.create("contacts", A_PERSON)
    assert person.body["name"] == "Nadia Ferreira"
    assert person.body["email_addresses"][0] == {
        "id": person.body["email_addresses"][0]["id"],
        "address": "nadia@example.com",
        "name": "Work",
        "primary": True,
    }
    assert person.body["primary_email_address"] == "nadia@example.com"
    matter = account.all("matters")[0].body
    assert set(matter["client"]) == {"id", "name", "type"} and matter["display_number"].startswith("00001-")
    assert set(account.all("bills")[0].body["matters"][0]) == {"id", "display_number"}
    entry = account.all("activities")[0].body
    assert entry["quantity"] == entry["quantity_in_hours"] * 3600
    users = {user.id: user.body for user in account.all("users")}
    assert users[str(entry["user"]["id"])]["email"] == entry["user"]["email"]
    assert not SPEC.resource("users").writable
    with pytest.raises(Refused):
        account.clio.create("users", create(name="x"))
    with pytest.raises(Refused):
        account.clio.update("users", Update(account.all("users")[0], {"name": "x"}))


def test_only_changes_since_the_cursor_are_pulled(account: Account) -> None:
    cursor = account.end("contacts")
    account.clock.forward(3600)
    changed = account.all("contacts")[3].id
    account.vendor.edit_contact(changed, {"title": "Partner"})
    account.clock.forward(60)
    assert [(r.id, r.body["title"]) for r in account.all("contacts", cursor)] == [(changed, "Partner")]
    later = account.end("contacts", cursor)
    account.clock.forward(3600)
    assert account.all("contacts", later) == []


def test_an_empty_pull_still_moves_the_cursor() -> None:
    with Account(size=0) as account:
        for resource in ("contacts", "matters", "bills", "activities"):
            (page,) = account.clio.pull(resource, None)
            assert page.records == () and page.resume == Cursor('{"since":"2031-05-06T07:07:39Z"}')


def test_the_cursor_after_a_pull_is_the_vendors_time_of_its_first_page_less_the_overlap(account: Account) -> None:
    pages = account.clio.pull("contacts", None)
    next(pages)
    account.clock.forward(600)
    assert list(pages)[-1].resume == Cursor('{"since":"2031-05-06T07:07:39Z"}')


def test_a_pull_can_go_on_from_every_cursor(account: Account) -> None:
    pages = list(account.clio.pull("contacts", None))
    assert len(pages) == 3
    everything = [record.id for page in pages for record in page.records]
    for done, page in enumerate(pages[:-1], start=1):
        rest = list(account.connect().pull("contacts", page.resume))
        seen = [r.id for p in [*pages[:done], *rest] for r in p.records]
        assert seen == everything
        assert rest[-1].resume == pages[-1].resume, "a resumed pull must not forget when it began"


def test_an_incremental_pull_can_go_on_from_the_middle() -> None:
    with Account(size=12, page_max=2) as account:
        cursor = account.end("contacts")
        account.clock.forward(100)
        ids = [record.id for record in account.all("contacts")]
        for id_ in ids[::2]:
            account.vendor.edit_contact(id_, {"title": "Director of Works"})
        first = next(iter(account.clio.pull("contacts", cursor)))
        rest = account.all("contacts", first.resume)
        assert [r.id for r in first.records] + [r.id for r in rest] == ids[::2]


def test_a_change_behind_the_listing_is_pulled_next_time(account: Account) -> None:
    account.clock.forward(100)
    pages = account.clio.pull("contacts", None)
    first = next(pages)
    behind = first.records[0].id
    account.vendor.edit_contact(behind, {"title": "Changed meanwhile"})
    new = account.vendor.edit_new_contact({"type": "Company", "name": "Late Arrival LLC"})["id"]
    gone = str(account.vendor.edit_new_contact({"type": "Company", "name": "Short Stay LLC"})["id"])
    account.vendor.edit_delete_contact(first.records[1].id)
    account.vendor.edit_delete_contact(gone)
    rest = list(pages)
    ids = [r.id for page in [first, *rest] for r in page.records]
    assert len(ids) == len(set(ids)) == 13 and str(new) in ids and gone not in ids
    again = {r.id: r.body for r in account.all("contacts", rest[-1].resume)}
    assert again[behind]["title"] == "Changed meanwhile"


def test_many_records_of_the_same_second_are_all_pulled(account: Account) -> None:
    cursor = account.end("contacts")
    account.clock.forward(60)
    ids = [record.id for record in account.all("contacts")]
    for id_ in ids:
        account.vendor.edit_contact(id_, {"title": "Imported"})
    assert {r.body["updated_at"] for r in account.all("contacts", cursor)} == {"2031-05-06T07:09:09Z"}
    assert [r.id for r in account.all("contacts", cursor)] == ids


def test_a_change_in_the_very_second_of_the_pull_is_not_missed(account: Account) -> None:
    first = account.end("contacts")
    id_ = account.all("contacts")[0].id
    account.vendor.edit_contact(id_, {"title": "Same second"})
    assert account.all("contacts", first)[0].body["title"] == "Same second"


@pytest.mark.parametrize("code", [400, 410])
def test_an_expired_page_token_is_an_expired_cursor(account: Account, code: int) -> None:
    resume = next(iter(account.clio.pull("contacts", None))).resume
    error = {"error": {"type": "ArgumentError", "message": "page_token is not valid"}}
    account.vendor.faults.add("GET /api/v4/contacts.json", status(code, body=error))
    with pytest.raises(CursorExpired):
        account.all("contacts", resume)


@pytest.mark.parametrize("cursor", ["", "2020-01-01", '{"after": 3}', "[1]", '{"since"'])
def test_a_foreign_cursor_is_an_expired_one(account: Account, cursor: str) -> None:
    with pytest.raises(CursorExpired):
        account.all("contacts", Cursor(cursor))


def test_ids_lists_what_lives(account: Account) -> None:
    gone = account.person().id
    account.vendor.edit_delete_contact(gone)
    before = [id_ for page in account.clio.ids("contacts") for id_ in page]
    assert before == sorted(account.vendor.tables["contacts"]) and gone not in before
    assert {len(orjson.loads(e.response_body)["data"][0]) for e in account.vendor.log if "fields=id&" in e.query} == {1}


def test_fetch_keeps_the_order_and_shows_what_is_gone(account: Account) -> None:
    ids = [record.id for record in account.all("contacts")]
    asked = [ids[4], "999", ids[0], "nonsense", ids[2]]
    found = account.clio.fetch("contacts", asked)
    assert [record.id for record in found] == asked
    assert [record.deleted for record in found] == [False, True, False, True, False]
    assert found[1] == Record("999", None, {}, deleted=True)
    assert account.clio.fetch("contacts", []) == ()


def test_fetch_asks_for_at_most_two_hundred_at_once() -> None:
    with Account(size=450, page_max=200, matters=0, observe=None) as account:
        ids = [record.id for record in account.all("contacts")]
        before = account.clio.http.requests
        assert [r.id for r in account.clio.fetch("contacts", ids[::-1])] == ids[::-1]
        assert account.clio.http.requests - before == 3


# Writing ---------------------------------------------------------------------------------------------------------


def test_a_person_is_created_whole(account: Account) -> None:
    firm = account.clio.create("contacts", create(type="Company", name="Foxglove Dairy LLC"))
    made = account.clio.create("contacts", replace(A_PERSON, body={**A_PERSON.body, "company": {"id": firm.id}}))
    assert made == account.one("contacts", made.id)
    assert made.body["company"] == {"id": int(firm.id), "name": "Foxglove Dairy LLC"}
    assert [e["primary"] for e in made.body["phone_numbers"]] == [True]
    assert account.sent("POST")["name"] == "Nadia Ferreira"


def test_a_matter_is_created_with_references_by_id(account: Account) -> None:
    client = account.person()
    made = account.clio.create(
        "matters",
        create(
            description="Lease review",
            client={"id": client.id, "name": "ignored"},
            status="Open",
            open_date="2031-05-01",
            practice_area={"id": 4006},
            custom_field_values=[{"custom_field": {"id": 6101}, "value": "B-7"}],
        ),
    )
    assert account.sent("POST")["client"] == {"id": int(client.id)} and account.sent("POST")["status"] == "open"
    assert made.body["status"] == "Open" and made.body["display_number"] == "00007-Okoro"
    assert made.body["practice_area"]["name"] == "Real Estate"
    assert made.body["custom_field_values"][0]["value"] == "B-7"


def test_a_time_entry_is_created_and_changed(account: Account) -> None:
    matter = account.all("matters")[0]
    made = account.clio.create(
        "activities",
        create(type="TimeEntry", date="2031-05-02", quantity=5400, note="Call", matter={"id": matter.id}),
    )
    assert made.body["quantity_in_hours"] == 1.5 and made.body["matter"]["id"] == int(matter.id)
    changed = account.clio.update("activities", Update(made, {"quantity": 3600, "non_billable": True}))
    assert (changed.body["quantity_in_hours"], changed.body["total"]) == (1.0, 0.0)


def test_an_update_changes_only_what_it_names(account: Account) -> None:
    person = account.person(title="Owner", phone="510-555-0101")
    account.clock.forward(5)
    changed = account.clio.update("contacts", Update(person, {"title": "Chair"}))
    assert account.sent("PATCH") == {"title": "Chair"}
    assert changed.version != person.version and changed == account.one("contacts", person.id)
    assert {**changed.body, **dict.fromkeys(["title", "etag", "updated_at"])} == {
        **person.body,
        **dict.fromkeys(["title", "etag", "updated_at"]),
    }


def test_nested_entries_are_kept_changed_added_and_removed_by_id(account: Account) -> None:
    held = [{"name": "Work", "address": a} for a in ("keep@example.com", "change@example.com", "drop@example.com")]
    person = account.person(email=None, email_addresses=held)
    keep, change, drop = person.body["email_addresses"]
    wanted = [
        {**change, "address": "changed@example.com"},
        {"name": "Home", "address": "new@example.com", "primary": True},
        keep,
    ]
    changed = account.clio.update("contacts", Update(person, {"email_addresses": wanted}))
    assert account.sent("PATCH")["email_addresses"] == [
        {"id": change["id"], "address": "changed@example.com"},
        {"name": "Home", "address": "new@example.com", "default_email": True},
        {"id": drop["id"], "_destroy": True},
    ]
    now = {e["address"]: e for e in changed.body["email_addresses"]}
    assert set(now) == {"keep@example.com", "changed@example.com", "new@example.com"}
    assert now["keep@example.com"]["id"] == keep["id"]
    assert [a for a, e in now.items() if e["primary"]] == ["new@example.com"] == [changed.body["primary_email_address"]]


def test_an_entry_without_an_id_is_recognized_by_its_value(account: Account) -> None:
    person = account.person(phone="(510) 555-0101", addresses=[{"name": "Home", "street": "1 Elm", "city": "Boston"}])
    same = {
        "phone_numbers": [{"name": "Work", "number": "510 555 0101"}],
        "addresses": [{"name": "Home", "street": "1 Elm", "city": "Boston"}],
        "email_addresses": [{"name": "Home", "address": "INES@example.com"}],
    }
    changed = account.clio.update("contacts", Update(person, same))
    sent = account.sent("PATCH")
    assert "addresses" not in sent
    assert sent["phone_numbers"] == [{"id": person.body["phone_numbers"][0]["id"], "number": "510 555 0101"}]
    assert changed.body["email_addresses"][0]["id"] == person.body["email_addresses"][0]["id"]
    assert len(changed.body["addresses"]) == 1


def test_a_list_can_be_emptied(account: Account) -> None:
    person = account.person()
    nothings: list[Any] = [[], None]
    for nothing in nothings:
        changed = account.clio.update("contacts", Update(person, {"email_addresses": nothing}))
        assert changed.body["email_addresses"] == [] and changed.body["primary_email_address"] is None
        person = account.clio.update("contacts", Update(changed, {"email_addresses": [{"address": "i@example.com"}]}))


def test_custom_values_are_created_changed_and_removed(account: Account) -> None:
    person = account.person()
    (shown,) = person.body["custom_field_values"]
    assert shown["id"] is None and shown["custom_field"]["id"] == 6001, "displayed by default, without a value"

    def update(person: Record, *values: Any) -> Record:
        return account.clio.update("contacts", Update(person, {"custom_field_values": list(values)}))

    person = update(person, {**shown, "value": "C7"}, {"custom_field": {"id": 6003}, "value": True})
    number, consent = person.body["custom_field_values"]
    assert (number["value"], consent["value"], number["id"].split("-")[0]) == ("C7", "true", "text_line")
    person = update(person, {**number, "value": "C8"}, consent)
    assert account.sent("PATCH")["custom_field_values"] == [{"id": number["id"], "value": "C8"}]
    person = update(person, person.body["custom_field_values"][0])
    assert account.sent("PATCH")["custom_field_values"] == [{"id": consent["id"], "_destroy": True}]
    person = update(person, {**person.body["custom_field_values"][0], "value": None})
    assert person.body["custom_field_values"] == [
        shown | {"custom_field": person.body["custom_field_values"][0]["custom_field"]}
    ]


def test_null_empties_and_a_missing_name_leaves_alone(account: Account) -> None:
    person = account.person(title="Owner", prefix="Dr.", date_of_birth="1980-02-29")
    changed = account.clio.update("contacts", Update(person, {"title": None, "date_of_birth": None}))
    assert (changed.body["title"], changed.body["date_of_birth"], changed.body["prefix"]) == (None, None, "Dr.")
    matter = account.all("matters")[0]
    changed = account.clio.update("matters", Update(matter, {"practice_area": None}))
    assert account.sent("PATCH") == {"practice_area": {"id": None}} and changed.body["practice_area"] is None


@pytest.mark.parametrize(
    ("resource", "changes"),
    [
        ("contacts", {"company": None}),
        ("contacts", {"is_client": True}),
        ("contacts", {"primary_email_address": "x@example.com"}),
        ("contacts", {"company": {"id": "a7"}}),
        ("matters", {"client": None}),
        ("matters", {"email_addresses": []}),
        ("activities", {"quantity_in_hours": 2}),
        ("activities", {"custom_field_values": []}),
    ],
)
def test_what_clio_cannot_take_is_refused_before_anything_is_sent(
    account: Account, resource: str, changes: dict[str, Any]
) -> None:
    record = account.all(resource)[0]
    before = account.clio.http.requests
    with pytest.raises(Refused) as caught:
        account.clio.update(resource, Update(record, {**changes}))
    assert caught.value.fields == tuple(changes) and account.clio.http.requests == before


def test_bills_are_only_read_and_only_contacts_are_deleted(account: Account) -> None:
    bill, matter = account.all("bills")[0], account.all("matters")[0]
    before = account.clio.http.requests
    for attempt in (
        lambda: account.clio.update("bills", Update(bill, {"subject": "x"})),
        lambda: account.clio.create("bills", create(subject="x")),
        lambda: account.clio.delete("bills", Delete(bill)),
        lambda: account.clio.delete("matters", Delete(matter)),
    ):
        with pytest.raises(Refused):
            attempt()
    assert account.clio.http.requests == before


def test_a_change_that_clio_has_no_words_for_sends_nothing(account: Account) -> None:
    person = account.person(addresses=[{"street": "1 Elm"}, {"street": "2 Oak"}])
    swapped = [{**e, "primary": not e["primary"]} for e in person.body["addresses"]]
    before = account.clio.http.requests
    assert account.clio.update("contacts", Update(person, {"addresses": swapped})) == person
    assert account.clio.http.requests == before


def test_a_stale_write_is_refused_and_changes_nothing(account: Account) -> None:
    person = account.person()
    account.vendor.edit_contact(person.id, {"title": "Theirs"})
    with pytest.raises(Stale):
        account.clio.update("contacts", Update(person, {"title": "Ours"}))
    with pytest.raises(Stale):
        account.clio.delete("contacts", Delete(person))
    assert account.one("contacts", person.id).body["title"] == "Theirs"
    assert account.vendor.writes() == []


def test_a_record_that_is_gone_is_read_again_and_its_deletion_succeeds(account: Account) -> None:
    person = account.person()
    account.vendor.edit_delete_contact(person.id)
    with pytest.raises(Stale):
        account.clio.update("contacts", Update(person, {"title": "x"}))
    account.clio.delete("contacts", Delete(person))
    assert account.vendor.writes() == []


def test_a_contact_is_deleted_and_one_with_matters_is_refused(account: Account) -> None:
    person = account.person()
    account.clio.delete("contacts", Delete(person))
    assert account.one("contacts", person.id).deleted
    client = account.one("contacts", account.all("matters")[0].body["client"]["id"])
    with pytest.raises(Refused) as caught:
        account.clio.delete("contacts", Delete(client))
    assert "matters" in caught.value.remedy, "403 is the only refusal that is documented for DELETE"


@pytest.mark.parametrize("text", NASTY)
def test_awkward_text_survives_in_every_text_field(account: Account, text: str) -> None:
    made = account.clio.create(
        "contacts",
        create(
            type="Person",
            first_name=text,
            last_name=text,
            middle_name=text,
            prefix=text,
            title=text,
            addresses=[{"name": "Work", "street": text, "city": text, "province": text, "postal_code": text}],
            custom_field_values=[{"custom_field": {"id": 6002}, "value": text}],
        ),
    )
    assert {made.body[name] for name in ("first_name", "last_name", "middle_name", "prefix", "title")} == {text}
    assert {made.body["addresses"][0][name] for name in ("street", "city", "province", "postal_code")} == {text}
    assert account.clio.find("contacts", create(type="Person", first_name=text, last_name=text)) == (made,)
    matter = account.clio.create(
        "matters", create(client={"id": made.id}, description=text, client_reference=text, location=text)
    )
    assert {matter.body[name] for name in ("description", "client_reference", "location")} == {text}
    entry = create(
        type="TimeEntry", date="2031-05-02", quantity=60, note=text, reference=text, matter={"id": matter.id}
    )
    assert account.clio.create("activities", entry).body["note"] == text
    assert account.clio.update("matters", Update(matter, {"description": text + "!"})).body["description"] == text + "!"


# What goes wrong -------------------------------------------------------------------------------------------------

CREATES: dict[str, Callable[[Account], Create]] = {
    "contacts": lambda account: A_PERSON,
    "matters": lambda account: create(
        client={"id": account.all("contacts")[0].id}, description="  Will  ", status="Open"
    ),
    "activities": lambda account: create(
        type="TimeEntry", date="2031-05-02", quantity=1800, note="Call", matter={"id": account.all("matters")[0].id}
    ),
}


@pytest.mark.parametrize("resource", list(CREATES))
@pytest.mark.parametrize("effect", [cut_after, half_body])
def test_a_create_of_unknown_outcome_that_happened_is_found(account: Account, resource: str, effect: Any) -> None:
    wanted = CREATES[resource](account)
    account.vendor.faults.add("POST *", effect)
    with pytest.raises(UnknownOutcome):
        account.clio.create(resource, wanted)
    (found,) = account.clio.find(resource, wanted)
    assert account.vendor.writes() == [f"created {resource}/{found.id}"]


@pytest.mark.parametrize("resource", list(CREATES))
@pytest.mark.parametrize("effect", [cut_before, html, status(500), status(502)])
def test_a_create_of_unknown_outcome_that_did_not_happen_is_not_found(
    account: Account, resource: str, effect: Any
) -> None:
    wanted = CREATES[resource](account)
    account.vendor.faults.add("POST *", effect)
    with pytest.raises(UnknownOutcome):
        account.clio.create(resource, wanted)
    assert account.clio.find(resource, wanted) == ()
    assert account.vendor.writes() == []


def test_find_shows_no_record_that_differs_from_what_was_sent(account: Account) -> None:
    account.person(first_name="Nadia", last_name="Ferreira", title="Owner", email="other@example.com")
    assert account.clio.find("contacts", A_PERSON) == ()
    twin = account.clio.create("contacts", A_PERSON)
    account.vendor.edit_contact(twin.id, {"middle_name": "M.", "phone": "+1 510 555 0142"})
    assert [record.id for record in account.clio.find("contacts", A_PERSON)] == [], "another number was entered"
    account.vendor.edit_contact(twin.id, {"phone": "510.555.0142"})
    assert [record.id for record in account.clio.find("contacts", A_PERSON)] == [twin.id]


def test_a_new_contact_that_the_search_does_not_show_yet_is_found(account: Account) -> None:
    made = account.clio.create("contacts", A_PERSON)
    account.clock.forward(86_400)
    account.vendor.faults.add("GET *", answer([]))
    assert account.clio.find("contacts", A_PERSON) == (made,)
    assert "created_since" in account.vendor.log[-1].query


def test_an_update_of_unknown_outcome_says_so(account: Account) -> None:
    person = account.person()
    for effect in (cut_after, half_body, html):
        account.vendor.faults.add("PATCH *", effect)
        with pytest.raises(UnknownOutcome):
            account.clio.update("contacts", Update(account.one("contacts", person.id), {"title": str(effect.kind)}))


def test_reads_are_repeated_through_trouble(account: Account) -> None:
    for effect in (cut_before, cut_after, half_body, status(502), status(503)):
        account.vendor.faults.add("GET *", effect)
        assert len(account.all("contacts")) == 12


def test_a_web_page_instead_of_json_is_no_empty_list(account: Account) -> None:
    account.vendor.faults.add("GET *", html, times=None)
    with pytest.raises(ShapeChanged):
        account.all("contacts")
    with pytest.raises(Misconfigured):
        account.clio.check()


def test_a_rate_limit_says_until_when(account: Account) -> None:
    account.vendor.faults.add("GET *", rate_limit(90))
    with pytest.raises(RateLimited) as caught:
        account.all("contacts")
    assert caught.value.until is not None


def test_a_short_pause_is_waited_for(account: Account) -> None:
    slept: list[float] = []
    account.vendor.faults.add("GET *", rate_limit(2))
    account.clio = account.connect(sleep=slept.append)
    assert len(account.all("contacts")) == 12 and slept


def test_a_rate_limit_without_a_time_has_none(account: Account) -> None:
    account.vendor.faults.add("GET *", rate_limit())
    with pytest.raises(RateLimited) as caught:
        account.all("contacts")
    assert caught.value.until is None


def test_the_firms_budget_is_the_vendors(account: Account) -> None:
    with Account(per_minute=4) as limited:
        with pytest.raises(RateLimited):
            for _ in range(5):
                limited.clio.fetch("contacts", ["1"])
        answer = limited.vendor.log[-1]
        assert answer.status == 429 and limited.vendor.log[-2].status == 200
        limited.clock.forward(60)
        assert limited.clio.fetch("contacts", ["1"])[0].deleted


class Kept:
    """Tokens of one test."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.lock = threading.Lock()

    def load(self) -> Tokens:
        return self.tokens

    def locked(self) -> AbstractContextManager[None]:
        return self.lock  # type: ignore[return-value]

    def save(self, tokens: Tokens, expected_version: int) -> Tokens:
        assert expected_version == self.tokens.version
        self.tokens = replace(tokens, version=expected_version + 1)
        return self.tokens


def oauth(account: Account, refresh: str = ClioSandbox.refresh_token) -> OAuthAuth:
    return OAuthAuth(
        Kept(Tokens(Secret(account.vendor.access_token), Secret(refresh), None)),
        token_url=f"{account.vendor.url}/oauth/token",
        client_id=account.vendor.client_id,
        client_secret=Secret(account.vendor.client_secret),
        egress=Egress.allow(SPEC.hosts, account.vendor.url),
    )


def test_an_ended_token_is_renewed_once_and_the_request_repeated(account: Account) -> None:
    account.clio = account.connect(auth=oauth(account))
    account.vendor.edit_expire_tokens()
    assert len(account.all("contacts")) == 12
    assert [e.path for e in account.vendor.log if e.method == "POST"] == ["/oauth/token"]
    account.vendor.edit_expire_tokens()
    assert account.clio.create("contacts", A_PERSON).body["first_name"] == "Nadia", "the refresh token is not rotated"


def test_a_revoked_authorization_needs_a_person(account: Account) -> None:
    account.clio = account.connect(auth=oauth(account))
    account.vendor.edit_revoke_access()
    with pytest.raises(ReconnectNeeded):
        account.clio.check()


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"email_addresses": [{"name": "Work", "address": "not an address"}]}, ("email_addresses",)),
        ({"first_name": "  ", "last_name": None}, ("first_name", "last_name")),
        ({"last_name": "Q" * 300}, ()),
        ({"date_of_birth": "someday"}, ("date_of_birth",)),
    ],
)
def test_a_refusal_names_the_field_and_no_value(changes: dict[str, Any], fields: tuple[str, ...]) -> None:
    with Account(observe=None) as account:  # a date that is none is not in the document, and must be refused
        person = account.person()
        with pytest.raises(Refused) as caught:
            account.clio.update("contacts", Update(person, changes))
    error = caught.value
    assert error.code == "ValidationError" and error.fields == fields and error.remedy
    for value in ("not an address", "QQQ", "someday", "Ines", "Okoro", person.id):
        assert value not in error.message


def test_a_billed_time_entry_is_refused(account: Account) -> None:
    entry = account.all("activities")[0]
    account.vendor.tables["activities"][entry.id]["billed"] = True
    with pytest.raises(Refused):
        account.clio.update("activities", Update(entry, {"note": "x"}))


def test_a_missing_permission_is_named_with_its_remedy(account: Account) -> None:
    person = account.person()
    account.vendor.forbidden = {"contacts", "bills"}
    for attempt in (
        lambda: account.all("contacts"),
        lambda: account.clio.create("contacts", A_PERSON),
        lambda: account.clio.update("contacts", Update(person, {"title": "x"})),
    ):
        with pytest.raises(MissingPermission) as caught:
            attempt()
        assert "Contacts" in caught.value.remedy and "developer portal" in caught.value.remedy
    checked = account.clio.check()
    assert [(f.level, f.what.split(":")[0]) for f in checked.findings] == [("error", "contacts"), ("error", "bills")]
    assert all("developer portal" in f.remedy for f in checked.findings)


def test_check_names_the_firm_and_finds_nothing_wrong(account: Account) -> None:
    checked = account.clio.check()
    assert (checked.account.id, checked.account.label, checked.findings) == ("9001", "Whitfield & Castell LLP", ())
    assert account.clio.http.requests == 1 + len(COLLECTIONS)


def test_check_says_what_is_wrong_with_the_address(account: Account) -> None:
    account.description = None  # a path that is not in the document
    with pytest.raises(Misconfigured) as caught:
        account.connect(account.vendor.url + "/wrong").check()
    assert "region" in caught.value.remedy
    account.vendor.faults.add("GET *", status(302, {"Location": "https://eu.app.clio.com/"}))
    with pytest.raises(Misconfigured):
        account.clio.check()
    with pytest.raises(ReconnectNeeded):
        account.connect(auth=BearerAuth("wrong")).check()
    account.vendor.stop()
    with pytest.raises(Unreachable):
        account.clio.check()


def test_check_reports_trouble_of_one_resource_and_looks_at_the_rest(account: Account) -> None:
    account.vendor.faults.add("GET /api/v4/matters.json", status(503), times=None)
    account.vendor.faults.add("GET /api/v4/bills.json", html)
    account.vendor.faults.add("GET /api/v4/activities.json", status(404))
    levels = {f.what.split(":")[0]: f.level for f in account.clio.check().findings}
    assert levels == {"matters": "warning", "bills": "error", "activities": "error"}


def test_a_retired_api_version_needs_an_update(account: Account) -> None:
    account.vendor.faults.add("GET *", status(410, body={"error": {"type": "Gone", "message": "x"}}))
    with pytest.raises(Misconfigured) as caught:
        account.all("contacts")
    assert "Update" in caught.value.remedy
    assert {e.method for e in account.vendor.log} == {"GET"}


def test_new_and_missing_fields_are_survived(account: Account) -> None:
    account.vendor.faults.add("GET *", answer([{"id": 5, "etag": '"e"', "new_field": {"x": [1]}}]))
    assert account.all("contacts") == [Record("5", '"e"', {"id": 5, "etag": '"e"', "new_field": {"x": [1]}})]  # type: ignore[arg-type]
    account.vendor.faults.add("GET *", answer([{"id": 5}]))
    (without,) = account.all("contacts")
    assert without.version is None
    with pytest.raises(ShapeChanged):
        account.clio.update("contacts", Update(without, {"title": "x"}))


@pytest.mark.parametrize(
    "effect",
    [
        answer([{"etag": '"e"'}]),
        answer([5]),
        answer({"id": 5}),
        answer([], paging={"next": "https://app.clio.com/api/v4/contacts.json"}),
        answer([{"id": n, "etag": '"e"'} for n in range(200)]),
        status(200, body=[1]),
        status(200, body={"meta": {}}),
        status(418),
    ],
)
def test_an_answer_of_another_shape_is_no_empty_list(account: Account, effect: Any) -> None:
    account.vendor.faults.add("GET *", effect)
    with pytest.raises(ShapeChanged):
        account.all("contacts")


def test_an_answer_without_a_record_leaves_a_write_unknown(account: Account) -> None:
    bodies: list[Any] = [{"data": None}, {"data": {}}, [1], {"data": {"etag": "x"}}]
    for body in bodies:
        account.vendor.faults.add("POST *", status(201, body=body))
        with pytest.raises(UnknownOutcome):
            account.clio.create("contacts", A_PERSON)


def test_a_next_link_never_leads_to_another_host(account: Account) -> None:
    link = "https://elsewhere.example.org/api/v4/contacts.json?fields=id&page_token=x"
    account.vendor.faults.add("GET *", answer([{"id": 5, "etag": '"e"'}], paging={"next": link}))
    account.vendor.faults.add("GET *", answer([{"id": 6, "etag": '"e"'}]))
    assert [record.id for record in account.all("contacts")] == ["5", "6"]
    assert "page_token=x" in account.vendor.log[-1].query


def test_a_next_link_in_a_circle_is_noticed(account: Account) -> None:
    link = "https://app.clio.com/api/v4/contacts.json?page_token=x"
    account.vendor.faults.add("GET *", answer([{"id": 5, "etag": '"e"'}], paging={"next": link}), times=None)
    with pytest.raises(ShapeChanged):
        account.all("contacts")


def test_a_stopped_server_is_unreachable(account: Account) -> None:
    account.vendor.stop()
    with pytest.raises(TryLater):
        account.all("contacts")


# Facts -----------------------------------------------------------------------------------------------------------


def test_the_region_is_the_host() -> None:
    assert base_url({}) == "https://app.clio.com"
    assert [base_url({"region": name}) for name in REGIONS] == list(REGIONS.values())
    assert base_url({"region": "eu", "base_url": "http://127.0.0.1:9/"}) == "http://127.0.0.1:9"
    with pytest.raises(Misconfigured):
        base_url({"region": "mars"})
    assert set(SPEC.hosts) == {"app.clio.com", "eu.app.clio.com", "ca.app.clio.com", "au.app.clio.com"}


def test_the_connector_offers_what_it_says() -> None:
    offered = Capabilities.of(Clio(None, {}))  # type: ignore[arg-type]
    assert offered.send is None
    assert all(getattr(offered, name) for name in ("fetch", "ids", "create", "update", "delete", "find"))
    assert [r.name for r in SPEC.resources] == list(COLLECTIONS)


ENTRIES = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from(["Work", "Home"]), "address": st.sampled_from("abcdefg")}),
    max_size=6,
    unique_by=lambda entry: entry["address"],
)


@given(ENTRIES, ENTRIES, st.booleans())
def test_list_changes_turn_what_is_held_into_what_is_wanted(
    held: list[dict[str, Any]], wanted: list[dict[str, Any]], with_ids: bool
) -> None:
    held = [{"id": n, "primary": n == 1, **entry} for n, entry in enumerate(held, start=1)]
    if with_ids:
        ids = {entry["address"]: entry["id"] for entry in held}
        wanted = [{**entry, **({"id": ids[entry["address"]]} if entry["address"] in ids else {})} for entry in wanted]
    after = {entry["id"]: dict(entry) for entry in held}
    changes = list_changes(LISTS["email_addresses"], held, wanted)
    for number, change in enumerate(changes, start=100):
        if change.get("_destroy"):
            del after[change["id"]]
        else:
            after.setdefault(change.get("id", number), {"id": number}).update(change)

    def plain(entries: Any) -> list[tuple[str, str]]:
        return sorted((entry["name"], entry["address"]) for entry in entries)

    assert plain(after.values()) == plain(wanted)
    kept = {entry["address"] for entry in held} & {entry["address"] for entry in wanted}
    assert {e["address"] for e in after.values() if e["id"] < 100} == kept, "an entry that stays keeps its id"
    assert list_changes(LISTS["email_addresses"], held, held) == []


@given(ENTRIES)
def test_what_was_sent_is_held_by_what_it_made(entries: list[dict[str, Any]]) -> None:
    sent = outgoing("contacts", {"type": "Person", "last_name": " Ng ", "email_addresses": entries}, {})
    body = {"type": "Person", "last_name": "Ng", "email_addresses": [{**e, "id": 1} for e in entries]}
    assert holds(body, sent)
    if entries:
        assert not holds({**body, "email_addresses": body["email_addresses"][1:]}, sent)


# The sandbox -----------------------------------------------------------------------------------------------------


@pytest.fixture
def raw(account: Account) -> Iterator[httpx.Client]:
    """A plain client, to ask the sandbox what the connector never asks."""
    headers = {"Authorization": f"Bearer {account.vendor.access_token}"}
    with httpx.Client(base_url=account.vendor.url + "/api/v4", headers=headers, trust_env=False) as client:
        yield client


def test_without_fields_only_id_and_etag_come(account: Account, raw: httpx.Client) -> None:
    assert set(raw.get("/contacts.json").json()["data"][0]) == {"id", "etag"}
    nested = raw.get("/matters.json", params={"fields": "client,custom_field_values{id,custom_field}"}).json()["data"]
    assert set(nested[0]["client"]) == {"id", "etag"}
    assert raw.get("/contacts").status_code == 200, "documented without .json, too"
    account.description = None  # that last path is not in the document


@pytest.mark.parametrize(
    "params",
    [
        {"fields": "id,colour"},
        {"fields": "company{id,colour}"},
        {"fields": "custom_field_values{id,custom_field{id}}"},
        {"fields": "id,,name"},
        {"fields": "company{id"},
        {"limit": "201"},
        {"limit": "0"},
        {"updated_since": "2031-05-06T07:08:09"},
        {"page_token": "nonsense"},
    ],
)
def test_bad_parameters_are_a_400(account: Account, raw: httpx.Client, params: dict[str, str]) -> None:
    account.description = None  # wrong on purpose
    reply = raw.get("/contacts.json", params=params)
    assert reply.status_code == 400 and reply.json()["error"]["type"] == "ArgumentError"


def test_single_reads_know_their_etag(account: Account, raw: httpx.Client) -> None:
    id_ = account.all("contacts")[0].id
    reply = raw.get(f"/contacts/{id_}.json", params={"fields": "id,name"})
    assert set(reply.json()["data"]) == {"id", "name"}
    etag = reply.headers["ETag"]
    assert raw.get(f"/contacts/{id_}.json", headers={"If-None-Match": etag}).status_code == 304
    since = reply.headers["Last-Modified"]
    assert raw.get(f"/contacts/{id_}.json", headers={"If-None-Match": '"other"'}).status_code == 200
    assert raw.get(f"/contacts/{id_}.json").headers["X-API-VERSION"] == "4.0.9"
    assert raw.get("/contacts/1.json").status_code == 404
    account.description = None  # the document declares this header as a date, and describes it as a time
    assert raw.get(f"/contacts/{id_}.json", headers={"If-Modified-Since": since}).status_code == 304


def test_offsets_serve_other_orders_and_end(account: Account, raw: httpx.Client) -> None:
    account.description = None  # offset is described on the paging page only
    page = raw.get("/contacts.json", params={"order": "name(asc)", "fields": "name", "limit": "5"}).json()
    names = [row["name"] for row in page["data"]]
    while following := page["meta"]["paging"].get("next"):
        page = raw.get(following).json()
        names += [row["name"] for row in page["data"]]
    assert names == sorted(names) and len(names) == 12 == page["meta"]["records"]


def test_filters_choose(account: Account, raw: httpx.Client) -> None:
    def ids(path: str, **params: str) -> set[str]:
        return {str(row["id"]) for row in raw.get(path, params={"fields": "id", **params}).json()["data"]}

    client = str(account.all("matters")[0].body["client"]["id"])
    assert ids("/matters.json", client_id=client) == {
        r.id for r in account.all("matters") if str(r.body["client"]["id"]) == client
    }
    person = account.person(email="needle@example.com")
    assert ids("/contacts.json", query="NEEDLE@") == {person.id}
    assert ids("/contacts.json", type="Person", query="needle") == {person.id}
    assert ids("/contacts.json", type="Company", query="needle") == set()
    assert ids("/contacts.json", created_since="2031-01-01T00:00:00Z") == {person.id}
    open_, all_ = ids("/matters.json", status="open", limit="200"), account.all("matters")
    assert open_ <= {r.id for r in all_ if r.body["status"] == "Open"} and open_


def test_the_same_seed_is_the_same_firm() -> None:
    first, second, other = (ClioSandbox(seed=seed, size=40) for seed in (3, 3, 4))
    assert dict(first.tables) == dict(second.tables) != dict(other.tables)
    for contact in first.tables["contacts"].values():
        assert all(".example." in f".{e['address'].split('@')[1]}" for e in contact["email_addresses"])
        assert all("555" in e["number"] and "01" in e["number"][-4:] for e in contact["phone_numbers"])


def test_a_restart_goes_on(tmp_path: Path) -> None:
    state = tmp_path / "clio.jsonl"
    with Account(state=state) as account:
        made = account.clio.create("contacts", A_PERSON)
        cursor = account.end("contacts")
    with Account(state=state) as account:
        assert account.one("contacts", made.id) == made
        account.clock.forward(100)
        newer = account.vendor.edit_new_contact({"type": "Company", "name": "After LLC"})["id"]
        assert newer > int(made.id)
        assert str(newer) in [r.id for r in account.all("contacts", cursor)]


def test_the_firms_people_work_in_clio(account: Account) -> None:
    ends = {resource: account.end(resource) for resource in COLLECTIONS}
    account.clock.forward(60)
    person = account.vendor.edit(
        "new_contact", fields={"type": "Person", "name": "Jo Ann Reyes", "email": "jo@example.com"}
    )
    assert (person["first_name"], person["last_name"]) == ("Jo Ann", "Reyes")
    matter = account.vendor.edit("new_matter", fields={"client": {"id": person["id"]}, "description": "Trust"})
    bill = account.vendor.edit("issue_bill", matter_id=str(matter["id"]), total="1250.50")
    entry = account.vendor.edit("new_time_entry", fields={"date": "2031-05-06", "matter": {"id": matter["id"]}})
    account.vendor.edit("matter", id=matter["id"], changes={"status": "closed"})
    account.vendor.edit("contact", id=person["id"], changes={"email": None, "phone": "303-555-0111"})
    (seen,) = account.all("contacts", ends["contacts"])
    assert seen.body["email_addresses"] == [] and seen.body["primary_phone_number"] == "303-555-0111"
    assert seen.body["is_client"] is True
    (seen,) = account.all("matters", ends["matters"])
    assert (seen.body["status"], seen.body["close_date"]) == ("Closed", "2031-05-06")
    (seen,) = account.all("bills", ends["bills"])
    assert (seen.body["state"], seen.body["total"], seen.body["balance"]) == ("awaiting_payment", 1250.5, 1250.5)
    assert seen.body["matters"][0]["id"] == matter["id"]
    (seen,) = account.all("activities", ends["activities"])
    assert seen.id == str(entry["id"])
    fields = {"date": "2031-05-06", "matter": {"id": matter["id"]}, "price": 12.5, "expense_category": {"id": 4302}}
    expense = account.vendor.edit("new_expense", fields={**fields, "quantity": 4})
    shown = account.one("activities", expense["id"]).body
    assert (shown["type"], shown["total"], shown["expense_category"]["name"]) == ("ExpenseEntry", 50.0, "Travel")
    account.vendor.edit("user", id=303, changes={"enabled": False})
    assert [r.body["name"] for r in account.all("users", ends["users"])] == ["Carmen Oyelaran"]
    account.clock.forward(60)
    account.vendor.edit("pay_bill", bill_id=bill["id"])
    assert account.one("bills", bill["id"]).body["paid"] == 1250.5
    account.vendor.edit("void_bill", bill_id=bill["id"])
    assert account.one("bills", bill["id"]).body["state"] == "void"
    with pytest.raises(ValueError, match="matters cannot be deleted"):
        account.vendor.edit("delete_contact", id=person["id"])
    assert account.vendor.writes() == [], "people's edits are not writes through the API"


def test_spaces_around_are_dropped_and_empty_is_null(account: Account) -> None:
    made = account.clio.create("contacts", create(type="Person", first_name=" Mei ", last_name="Xu ", title="  "))
    assert (made.body["name"], made.body["title"]) == ("Mei Xu", None)


# The vendor's description ----------------------------------------------------------------------------------------


def test_every_exchange_is_as_the_vendor_describes_it_and_no_exemption_is_left_over() -> None:
    """One walk over everything the connector does."""
    description = Description.load("clio-manage.json", skip=("/oauth/",))
    with Account(observe=description.check, size=60, page_max=50) as account:
        account.clio.check()
        for resource in COLLECTIONS:
            cursor = account.end(resource)
            list(account.clio.pull(resource, cursor))
            list(account.clio.ids(resource))
            account.clio.fetch(resource, [r.id for r in account.all(resource)][:30])
        company = account.clio.create("contacts", create(type="Company", name="Quarry Foods Ltd"))
        body = {
            **A_PERSON.body,
            "company": {"id": company.id},
            "web_sites": [{"name": "Work", "address": "https://e.example"}],
        }
        person = account.clio.create("contacts", create(**body))
        assert account.clio.find("contacts", create(**body)) == (person,)
        changes = {
            "title": None,
            "phone_numbers": [{"name": "Home", "number": "617-555-0190", "primary": True}],
            "custom_field_values": [{"custom_field": {"id": 6001}, "value": "C1"}],
        }
        person = account.clio.update("contacts", Update(person, changes))
        values = [{**person.body["custom_field_values"][0], "value": "C2"}]
        person = account.clio.update("contacts", Update(person, {"custom_field_values": values, "addresses": []}))
        matter_body = {
            "client": {"id": person.id},
            "description": "Lease",
            "status": "Pending",
            "display_number": "X-1",
        }
        matter = account.clio.create("matters", create(**matter_body))
        assert account.clio.find("matters", create(**matter_body)) == (matter,)
        matter = account.clio.update("matters", Update(matter, {"matter_stage": None, "status": "Closed"}))
        entry_body = {"type": "TimeEntry", "date": "2031-05-02", "quantity": 900, "matter": {"id": matter.id}}
        entry = account.clio.create("activities", create(**entry_body))
        assert account.clio.find("activities", create(**entry_body)) == (entry,)
        account.clio.update("activities", Update(entry, {"note": "Call", "user": {"id": 302}}))
        with pytest.raises(Stale):
            account.clio.update("activities", Update(entry, {"note": "Other"}))
        with pytest.raises(Refused):
            account.clio.create("matters", create(client={"id": "7"}, description="x"))
        account.vendor.forbidden = {"matters"}
        with pytest.raises(MissingPermission):
            account.all("matters")
        account.clio.delete("contacts", Delete(company))
    assert description.calls > 40
    assert description.unexplained(EXEMPTIONS) == []
    assert [exemption.what for exemption in description.unused(EXEMPTIONS)] == []


@pytest.mark.parametrize(
    ("method", "path", "json", "complaint"),
    [
        ("GET", "/api/v4/contacts.json?colour=red", None, "query parameter colour is not declared"),
        ("GET", "/api/v4/contacts.json?updated_since=yesterday", None, "updated_since|date-time|Cast|Parameter"),
        ("GET", "/api/v4/contacts.json?order=age(asc)", None, "is not one of|Parameter"),
        ("GET", "/api/v4/nothing.json", None, "PathNotFound"),
        ("PUT", "/api/v4/contacts/5.json", {"data": {}}, "OperationNotFound|PathNotFound|Operation"),
        ("POST", "/api/v4/contacts.json", {"data": {"type": "Person"}}, "'name' is a required property"),
        ("POST", "/api/v4/contacts.json", {"data": {"type": "Robot", "name": "x"}}, "'Robot' is not one of"),
        ("PATCH", "/api/v4/contacts/5.json", {"data": {"colour": "red"}}, "data.colour: the property is not declared"),
        (
            "PATCH",
            "/api/v4/contacts/5.json",
            {"data": {"email_addresses": [{"primary": True}]}},
            r"data.email_addresses.\*.primary: the property is not declared",
        ),
    ],
)
def test_the_description_notices_what_differs(method: str, path: str, json: Any, complaint: str) -> None:
    description = Description.load("clio-manage.json")
    with ClioSandbox(size=1) as vendor:
        url = vendor.url
        transport = description.transport(httpx.HTTPTransport())
        with httpx.Client(transport=transport, base_url=url, trust_env=False) as client:
            client.request(method, path, json=json, headers={"Authorization": f"Bearer {vendor.access_token}"})
    assert any(re.search(complaint, divergence.what) for divergence in description.divergences)


def test_without_the_vendors_documents_the_check_is_skipped_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNCD_VENDOR_FACTS", str(tmp_path))
    with pytest.raises(pytest.skip.Exception, match="SYNCD_VENDOR_FACTS"):
        Description.load("clio-manage.json")
    assert Description.find("clio-manage.json") is None

"""The Tryton connector against a real Tryton 8.2: what its users do is seen, what we write is what they see."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from datetime import date, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count
from typing import Any

import pytest

from connectors.contract import Capabilities, Create, Cursor, Delete, OperationKey, Page, Record, Update
from connectors.egress import Egress
from connectors.errors import (
    CursorExpired,
    Misconfigured,
    MissingPermission,
    ReconnectNeeded,
    Refused,
    ShapeChanged,
    Stale,
)
from connectors.http import BearerAuth, VendorHTTP
from connectors.tryton import Tryton
from connectors.tryton.payloads import first_number, kind_of, plain, split_number
from connectors.tryton.places import Mark, Place, Tally
from tests.real.servers_tryton import TrytonServer, tryton

# The first run on a machine installs Tryton and sets up its firm: about a minute, two on a busy machine.
pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]

RESOURCES = ("parties", "works", "time_entries", "invoices", "opportunities")
TODAY = date.today()  # noqa: DTZ011  (the books' own day)
numbers = count(1)


@pytest.fixture(scope="module")
def erp() -> Iterator[TrytonServer]:
    with tryton() as server:
        yield server


@contextmanager
def connected(server: TrytonServer, **settings: str) -> Iterator[Tryton]:
    chosen = {**server.settings, **settings}
    access = Tryton.access(chosen)
    egress = Egress.allow(Tryton.spec.hosts, access.base_url)
    with VendorHTTP(base_url=access.base_url, egress=egress, auth=BearerAuth(chosen["key"]), attempts=1) as http:
        yield Tryton(http, chosen)


@pytest.fixture
def us(erp: TrytonServer) -> Iterator[Tryton]:
    with connected(erp) as connector:
        yield connector


def a_key() -> OperationKey:
    return OperationKey(f"op-{next(numbers)}")


def pulled(us: Tryton, resource: str, since: Cursor | None = None) -> tuple[dict[str, Record], Cursor | None]:
    """The last state of each record of a whole pull, and where the next one starts."""
    pages = list(us.pull(resource, since))
    records = {record.id: record for page in pages for record in page.records}
    return records, pages[-1].resume if pages else since


def one(us: Tryton, resource: str, id_: str) -> Record:
    return us.fetch(resource, [id_])[0]


def made(us: Tryton, resource: str, **body: Any) -> Record:
    return us.create(resource, Create(a_key(), body))


def changed(us: Tryton, resource: str, record: Record, **changes: Any) -> Record:
    return us.update(resource, Update(record, changes))


# --- connecting -------------------------------------------------------------------------------------------------------


def test_check_names_the_company_and_finds_nothing_wrong(erp: TrytonServer, us: Tryton) -> None:
    checked = us.check()
    assert checked.account.label == "Example & Partners LLP"
    assert checked.account.id.endswith(f"/{erp.database}/{erp.company}")
    assert checked.findings == ()


def test_the_connector_can_what_it_says(us: Tryton) -> None:
    can = Capabilities.of(us)
    assert can.fetch and can.ids and can.create and can.update and can.delete and can.find
    assert can.send is None


def test_check_names_the_rights_that_are_missing(erp: TrytonServer) -> None:
    with connected(erp, key=erp.powerless_key) as clerk:
        found = {finding.what: finding.level for finding in clerk.check().findings}
    assert found["invoices: the key's user may not read."] == "error"
    assert found["works: the key's user may not write, create."] == "warning"


def test_check_names_a_module_that_is_not_active(erp: TrytonServer, us: Tryton) -> None:
    with erp.without_model("sale.opportunity"):
        found = us.check().findings
    assert [finding.what for finding in found] == ["opportunities: Tryton has no sale.opportunity."]
    assert "sale_opportunity" in found[0].remedy


def test_a_wrong_key_asks_for_a_new_connection(erp: TrytonServer) -> None:
    with connected(erp, key="0" * 64) as stranger, pytest.raises(ReconnectNeeded):
        stranger.check()


def test_a_wrong_database_is_a_wrong_setting(erp: TrytonServer) -> None:
    with connected(erp, database="nowhere") as lost, pytest.raises(Misconfigured, match="404"):
        lost.check()


def test_a_company_that_is_not_the_users_is_a_wrong_setting(erp: TrytonServer) -> None:
    for company in ("99", "Example"):
        with connected(erp, company=company) as lost, pytest.raises(Misconfigured, match="company"):
            lost.check()
    with connected(erp, company=erp.company) as found:
        assert found.check().findings == ()


class WebPage(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<html>Welcome</html>")

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_another_web_site_is_a_wrong_setting(erp: TrytonServer) -> None:
    with HTTPServer(("127.0.0.1", 0), WebPage) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        try:
            with (
                connected(erp, base_url=f"http://127.0.0.1:{site.server_port}") as lost,
                pytest.raises(Misconfigured, match="not answer like Tryton"),
            ):
                lost.check()
        finally:
            site.shutdown()


def test_a_resource_without_rights_needs_a_permission(erp: TrytonServer) -> None:
    with connected(erp, key=erp.powerless_key) as clerk, pytest.raises(MissingPermission):
        list(clerk.pull("invoices", None))


def test_a_strange_cursor_asks_for_a_full_listing(us: Tryton) -> None:
    for text in ("", "[]", "7", '{"marks":{"party.party":[1,2,3,4]},"tallies":{}}', '{"marks":{}}'):
        with pytest.raises(CursorExpired):
            list(us.pull("parties", Cursor(text)))


# --- parties: reading -------------------------------------------------------------------------------------------------


def test_a_party_comes_as_plain_values(erp: TrytonServer, us: Tryton) -> None:
    address = {"street": "1 Main St\nSuite 2", "city": "Albany", "postal_code": "12207"}
    party = erp.new_party(
        "Ann Smith",
        kind="Person",
        contacts=[("email", "ann@example.com"), ("mobile", "+1 212 555 0123")],
        addresses=[{**address, "country": "US", "subdivision": "US-NY"}],
    )
    record = pulled(us, "parties")[0][party]
    body = deepcopy(record.body)
    for stamp in ("create_date", "write_date", "modified_at"):
        assert body.pop(stamp).endswith("Z")
    ids = [row.pop("id") for row in (*body["addresses"], *body["contact_mechanisms"])]
    assert all(isinstance(id_, str) and id_.isdecimal() for id_ in ids)
    assert body.pop("code").isdecimal()
    assert body == {
        "name": "Ann Smith",
        "active": True,
        "kind": "person",
        "categories": ["Person"],
        "lang": None,
        "addresses": [{**address, "country": "US", "subdivision": "US-NY", "party_name": None, "attn": None}],
        "contact_mechanisms": [
            {"type": "email", "value": "ann@example.com", "name": None},
            {"type": "mobile", "value": "+1 212 555 0123", "name": None},
        ],
    }
    assert one(us, "parties", party) == record


def test_rows_that_share_one_time_are_pulled_once_each_and_from_every_cursor(erp: TrytonServer, us: Tryton) -> None:
    """One transaction gives all its rows the same time: 450 rows make three pages of it."""
    erp.let_a_day_pass()
    before = pulled(us, "parties")[1]
    rows = [{"name": f"Bulk {n}", "addresses": [], "contact_mechanisms": []} for n in range(450)]
    new = {str(id_) for id_ in erp.office.call("party.party", "create", rows)}
    erp.let_a_day_pass()  # nothing is then near enough to now to come twice
    pages = [page for page in us.pull("parties", before) if page.records or page.resume]
    seen = [record.id for page in pages for record in page.records if record.id in new]
    assert len(seen) == 450 and set(seen) == new
    assert all(page.resume is not None for page in pages)
    assert len(pages) >= 3
    for n, page in enumerate(pages):
        rest = {record.id for later in pages[n + 1 :] for record in later.records}
        again = [record.id for page_ in us.pull("parties", page.resume) for record in page_.records]
        assert rest <= set(again), "a resume must miss nothing"
        assert len(set(again) - rest) == 0, "and outside the overlap it repeats nothing"


def test_a_quiet_day_gives_no_page(erp: TrytonServer, us: Tryton) -> None:
    for resource in RESOURCES:
        erp.let_a_day_pass()
        cursor = pulled(us, resource)[1]
        assert list(us.pull(resource, cursor)) == []


def test_what_is_newer_than_the_overlap_comes_again(erp: TrytonServer, us: Tryton) -> None:
    """A row carries the time when its transaction began, so rows may appear below a position already passed."""
    party = erp.new_party("Late Riser")
    cursor = pulled(us, "parties")[1]
    assert party in pulled(us, "parties", cursor)[0]


@pytest.mark.parametrize("what", ["contact", "address", "contact archived", "contact deleted"])
def test_a_nested_edit_brings_its_party(erp: TrytonServer, us: Tryton, what: str) -> None:
    """Each has a menu of its own in Tryton, where the party's write_date does not move."""
    party = erp.new_party("Nested", contacts=[("email", "n@example.com"), ("phone", "555-0100")], addresses=[{}])
    other = erp.new_party("Other", contacts=[("email", "o@example.com")])
    erp.let_a_day_pass()
    records, cursor = pulled(us, "parties")
    stamped = erp.read("party.party", party, "write_date")["write_date"]
    before = records[party].body
    contact = before["contact_mechanisms"][0]["id"]
    if what == "contact":
        erp.edit_contact(contact, value="new@example.com")
    elif what == "address":
        erp.edit_address(before["addresses"][0]["id"], city="Troy")
    elif what == "contact archived":
        erp.edit_contact(contact, active=False)
    else:
        erp.delete_contact(contact)
    assert erp.read("party.party", party, "write_date")["write_date"] == stamped
    after, cursor = pulled(us, "parties", cursor)
    assert after[party].body != before
    assert after[party].version != records[party].version
    assert other not in after or after[other] == records[other]
    kinds = [row["type"] for row in after[party].body["contact_mechanisms"]]
    assert kinds == (["phone"] if what.endswith("ed") else ["email", "phone"])
    if what in ("contact", "address"):
        assert after[party].body["modified_at"] > before["modified_at"]
    if what == "contact deleted":
        assert list(us.pull("parties", cursor)) == [], "one loss is told once"


def test_a_nested_row_made_after_the_counting_is_noticed_when_it_goes(erp: TrytonServer, us: Tryton) -> None:
    party = erp.new_party("Counted")
    erp.let_a_day_pass()
    cursor = pulled(us, "parties")[1]
    command = [["create", [{"type": "email", "value": "later@example.com"}]]]
    erp.edit_party(party, contact_mechanisms=command)
    records, cursor = pulled(us, "parties", cursor)
    cursor = pulled(us, "parties", cursor)[1]
    erp.let_a_day_pass()
    contact = records[party].body["contact_mechanisms"][0]["id"]
    erp.delete_contact(contact)
    assert pulled(us, "parties", cursor)[0][party].body["contact_mechanisms"] == []


def test_an_archived_party_is_a_tombstone_and_a_deleted_one_is_in_no_list(erp: TrytonServer, us: Tryton) -> None:
    archived, deleted, live = (erp.new_party(name) for name in ("Archived", "Deleted", "Live"))
    cursor = pulled(us, "parties")[1]
    erp.edit_party(archived, active=False)
    erp.delete_party(deleted)
    after = pulled(us, "parties", cursor)[0]
    assert after[archived] == Record(archived, None, {}, deleted=True)
    listed = {id_ for ids in us.ids("parties") for id_ in ids}
    assert live in listed
    assert not {archived, deleted} & listed
    found = us.fetch("parties", [deleted, live, archived, "999999", "no-number"])
    assert [(record.id, record.deleted) for record in found] == [
        (deleted, True),
        (live, False),
        (archived, True),
        ("999999", True),
        ("no-number", True),
    ]


def test_ids_lists_every_record_once(erp: TrytonServer, us: Tryton) -> None:
    matter = erp.new_matter("M-77", "Listed", erp.new_party("Lister"))
    for resource in RESOURCES:
        listed = [id_ for ids in us.ids(resource) for id_ in ids]
        assert len(listed) == len(set(listed))
        assert set(listed) == {id_ for id_, record in pulled(us, resource)[0].items() if not record.deleted}
        assert (matter in listed) == (resource == "works") or resource != "works"


# --- parties: writing -------------------------------------------------------------------------------------------------


def test_a_created_party_is_what_users_see_and_is_found_by_its_key(erp: TrytonServer, us: Tryton) -> None:
    create = Create(
        a_key(),
        {
            "name": "Acme Holdings Inc.",
            "kind": "organisation",
            "lang": "en",
            "contact_mechanisms": [{"type": "email", "value": "hi@example.org", "name": "Work"}],
            "addresses": [{"street": "5 Elm St", "city": "Chicago", "country": "US", "subdivision": "US-IL"}],
        },
    )
    assert us.find("parties", create) == ()
    record = us.create("parties", create)
    assert us.find("parties", create) == (record,)
    assert us.find("parties", Create(a_key(), create.body)) == ()
    seen = erp.read("party.party", record.id, "name", "email", "full_name")
    assert (seen["name"], seen["email"]) == ("Acme Holdings Inc.", "hi@example.org")
    assert record.body["kind"] == "organisation"
    assert record.body["lang"] == "en"
    assert (record.body["addresses"][0]["country"], record.body["addresses"][0]["subdivision"]) == ("US", "US-IL")
    assert record == one(us, "parties", record.id)


def test_lists_are_written_whole_by_id(erp: TrytonServer, us: Tryton) -> None:
    contacts = [("email", "first@example.com"), ("email", "second@example.com"), ("phone", "555-0101")]
    party = erp.new_party("Lists", contacts=contacts, addresses=[{"city": "Albany"}, {"city": "Troy"}])
    record = one(us, "parties", party)
    first, second, phone = record.body["contact_mechanisms"]
    albany, troy = record.body["addresses"]
    wanted = [first, {**phone, "value": "555-0102"}, {"type": "mobile", "value": "555-0103"}]
    after = changed(us, "parties", record, contact_mechanisms=wanted, addresses=[{**troy, "postal_code": "12180"}])
    assert after.body["contact_mechanisms"][:2] == [first, {**phone, "value": "555-0102"}]
    assert after.body["contact_mechanisms"][2]["value"] == "555-0103"
    assert after.body["addresses"] == [{**troy, "postal_code": "12180"}]
    gone = (
        erp.read("party.contact_mechanism", second["id"], "active"),
        erp.read("party.address", albany["id"], "active"),
    )
    assert [bool(row["active"]) for row in gone] == [False, False], "archived, since invoices may point at them"
    assert one(us, "parties", party) == after


def test_the_order_of_a_list_is_written_since_the_first_email_is_the_main_one(erp: TrytonServer, us: Tryton) -> None:
    contacts = [("email", "old@example.com"), ("email", "new@example.com")]
    party = erp.new_party("Order", contacts=contacts)
    record = one(us, "parties", party)
    old, new = record.body["contact_mechanisms"]
    record = changed(us, "parties", record, contact_mechanisms=[new, old])
    assert record.body["contact_mechanisms"] == [new, old]
    assert erp.read("party.party", party, "email")["email"] == "new@example.com"
    newest = {"type": "email", "value": "newest@example.com", "name": None}
    record = changed(us, "parties", record, contact_mechanisms=[newest, *record.body["contact_mechanisms"]])
    assert erp.read("party.party", party, "email")["email"] == "newest@example.com"
    last = {"type": "email", "value": "last@example.com", "name": None}
    record = changed(us, "parties", record, contact_mechanisms=[*record.body["contact_mechanisms"], last])
    assert [
        row["value"].partition("@")[0] for row in record.body["contact_mechanisms"]
    ] == "newest new old last".split()


def test_putting_what_was_got_changes_nothing(erp: TrytonServer, us: Tryton) -> None:
    address = {"street": "1 Main", "country": "US", "subdivision": "US-CA"}
    party = erp.new_party("Same", kind="Person", contacts=[("email", "s@example.com")], addresses=[address])
    record = one(us, "parties", party)
    same = {name: record.body[name] for name in ("name", "kind", "lang", "addresses", "contact_mechanisms")}
    after = us.update("parties", Update(record, same))
    assert {name: after.body[name] for name in same} == same


def test_a_street_kept_in_parts_is_replaced_as_a_whole(erp: TrytonServer, us: Tryton) -> None:
    """Tryton refuses to write `street` where its parts are filled: the address is archived and made again."""
    party = erp.new_party("Parts", addresses=[{"street_name": "Elm Street", "building_number": "5", "city": "Troy"}])
    record = one(us, "parties", party)
    (row,) = record.body["addresses"]
    assert "Elm Street" in row["street"]
    after = changed(us, "parties", record, addresses=[{**row, "street": "7 Oak Ave"}])
    (new,) = after.body["addresses"]
    assert (new["street"], new["city"]) == ("7 Oak Ave", "Troy")
    assert new["id"] != row["id"]


def test_a_kind_is_a_category_and_the_firms_own_categories_stay(erp: TrytonServer, us: Tryton) -> None:
    vip = erp.office.create("party.category", name=f"VIP {next(numbers)}")
    party = erp.new_party("Kind", kind="Person", contacts=[])
    erp.edit_party(party, categories=[["add", [vip]]])
    record = one(us, "parties", party)
    assert record.body["kind"] == "person"
    record = changed(us, "parties", record, kind="organisation")
    assert record.body["kind"] == "organisation"
    assert len(record.body["categories"]) == 2
    record = changed(us, "parties", record, kind=None)
    assert record.body["kind"] is None
    assert len(record.body["categories"]) == 1


@pytest.mark.parametrize(
    "name", ["Zoë O'Brien-Smith", 'Bob "Bobby" <Tables>', "🏛️ Émile & Søn ½", "  padded  ", "%_\\ like", "=1+1"]
)
def test_any_text_survives_both_ways(erp: TrytonServer, us: Tryton, name: str) -> None:
    record = made(us, "parties", name=name, addresses=[{"street": f"{name}\n2nd line", "city": "Köln"}])
    assert record.body["name"] == name
    assert erp.read("party.party", record.id, "name")["name"] == name
    assert one(us, "parties", record.id).body["addresses"][0]["street"] == f"{name}\n2nd line"
    entry = us.find("parties", Create(OperationKey(name), {"name": name}))
    assert entry == ()


def test_a_stale_update_is_refused(erp: TrytonServer, us: Tryton) -> None:
    party = erp.new_party("Stale", contacts=[("email", "stale@example.com")])
    record = one(us, "parties", party)
    erp.edit_party(party, name="Changed by a person")
    with pytest.raises(Stale):
        changed(us, "parties", record, name="Ours")
    record = one(us, "parties", party)
    erp.edit_contact(record.body["contact_mechanisms"][0]["id"], value="person@example.com")
    with pytest.raises(Stale):
        changed(us, "parties", record, name="Ours")
    assert erp.read("party.party", party, "name")["name"] == "Changed by a person"
    after = changed(us, "parties", one(us, "parties", party), name="Ours")
    assert after.body["name"] == "Ours"


@pytest.mark.parametrize("how", ["archived", "deleted"])
def test_an_update_of_a_party_that_is_gone_is_stale(erp: TrytonServer, us: Tryton, how: str) -> None:
    party = erp.new_party("Gone")
    record = one(us, "parties", party)
    if how == "archived":
        erp.edit_party(party, active=False)
    else:
        erp.delete_party(party)
    with pytest.raises(Stale):
        changed(us, "parties", record, name="Ours")


def test_a_row_that_is_gone_makes_the_list_stale(erp: TrytonServer, us: Tryton) -> None:
    party = erp.new_party("Row", contacts=[("email", "row@example.com")])
    record = one(us, "parties", party)
    with pytest.raises(Stale):
        changed(us, "parties", record, contact_mechanisms=[{"id": "999999", "type": "email", "value": "x@example.com"}])


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"name": "Two\nlines"}, "forbidden-chars"),
        ({"name": "X", "contact_mechanisms": [{"type": "pigeon", "value": "Secret Loft"}]}, "selection"),
        ({"name": "X", "contact_mechanisms": [{"type": "email", "value": None}]}, "required"),
        ({"name": "X", "addresses": [{"country": "XX"}]}, "unknown-value"),
        ({"name": "X", "addresses": [{"country": "CA", "subdivision": "US-NY"}]}, "domain"),
        ({"name": "X", "addresses": [{"planet": "Earth"}]}, "not-writable"),
        ({"name": "X", "kind": "robot"}, "bad-value"),
        ({"name": 7}, "bad-value"),
        ({"name": "X", "contact_mechanisms": [{"type": "email", "value": {"a": 1}}]}, "bad-value"),
        ({"name": "X", "code": "7"}, "not-writable"),
        ({"name": "X", "nope": 1}, "not-writable"),
    ],
)
def test_a_refused_value_is_this_records_matter_and_is_not_repeated(
    us: Tryton, body: dict[str, Any], code: str
) -> None:
    with pytest.raises(Refused) as refused:
        made(us, "parties", **body)
    assert refused.value.code == code
    assert refused.value.remedy
    assert "Two" not in str(refused.value) and "Secret Loft" not in str(refused.value)


def test_a_party_is_deleted_unless_something_needs_it(erp: TrytonServer, us: Tryton) -> None:
    free = one(us, "parties", erp.new_party("Free"))
    us.delete("parties", Delete(free))
    assert one(us, "parties", free.id).deleted
    us.delete("parties", Delete(free))
    client = erp.new_party("Client")
    erp.issue_invoice("M-5", client, "10")
    with pytest.raises(Refused) as refused:
        us.delete("parties", Delete(one(us, "parties", client)))
    assert refused.value.code == "in-use"
    busy = one(us, "parties", erp.new_party("Busy"))
    erp.edit_party(busy.id, name="Busier")
    with pytest.raises(Stale):
        us.delete("parties", Delete(busy))


# --- matters ----------------------------------------------------------------------------------------------------------


def test_a_matters_number_leads_its_name(erp: TrytonServer, us: Tryton) -> None:
    party = erp.new_party("Client")
    matter = erp.new_matter("M-1001", "Smith v. Jones", party)
    body = one(us, "works", matter).body
    assert (body["number"], body["name"], body["full_name"]) == ("M-1001", "Smith v. Jones", "M-1001 Smith v. Jones")
    assert (body["party"], body["status"], body["is_done"]) == (party, "Open", False)
    erp.edit_matter(matter, name="Estate of Doe")
    body = one(us, "works", matter).body
    assert (body["number"], body["name"]) == (body["sequence_number"], "Estate of Doe")


def test_a_matter_is_made_changed_and_found(erp: TrytonServer, us: Tryton) -> None:
    party = erp.new_party("Client")
    create = Create(a_key(), {"number": "LIT-2026/7", "name": 'Doe ./. "Roe" 😀', "party": party})
    record = us.create("works", create)
    assert us.find("works", create) == (record,)
    assert erp.read("project.work", record.id, "name")["name"] == 'LIT-2026/7 Doe ./. "Roe" 😀'
    assert erp.log_time(record.id, "0.5", TODAY), "time can be recorded on it"
    renamed = changed(us, "works", record, name="Doe v. Roe")
    assert (renamed.body["number"], renamed.body["full_name"]) == ("LIT-2026/7", "LIT-2026/7 Doe v. Roe")
    renumbered = changed(us, "works", renamed, number="LIT-2026/8")
    assert renumbered.body["full_name"] == "LIT-2026/8 Doe v. Roe"
    erp.edit_matter(record.id, name="LIT-2026/8 Theirs")
    with pytest.raises(Stale):
        changed(us, "works", renumbered, name="Ours")


def test_a_matter_without_a_number_keeps_trytons_own(erp: TrytonServer, us: Tryton) -> None:
    record = made(us, "works", name="Advice", party=erp.new_party("Client"))
    assert record.body["number"] == record.body["sequence_number"]
    renamed = changed(us, "works", record, number=record.body["number"], name="General advice")
    assert renamed.body["full_name"] == "General advice"


def test_a_matter_is_closed_by_its_status(erp: TrytonServer, us: Tryton) -> None:
    record = made(us, "works", number="M-9", name="Closing", party=erp.new_party("Client"))
    closed = changed(us, "works", record, status="Done")
    assert (closed.body["status"], closed.body["is_done"]) == ("Done", True)
    opened = changed(us, "works", closed, status="Open")
    assert opened.body["is_done"] is False
    with pytest.raises(Refused):
        changed(us, "works", opened, status="Somewhere")


# --- time -------------------------------------------------------------------------------------------------------------


def test_time_that_was_never_changed_has_no_write_date_and_is_pulled(erp: TrytonServer, us: Tryton) -> None:
    matter = erp.new_matter("M-12", "Timed", erp.new_party("Client"))
    erp.let_a_day_pass()
    cursor = pulled(us, "time_entries")[1]
    line = erp.log_time(matter, "1.25", TODAY, 'Call re "closing" 😀')
    records, cursor = pulled(us, "time_entries", cursor)
    body = records[line].body
    assert body["write_date"] is None
    assert body["modified_at"] == body["create_date"]
    expected = {"matter": matter, "duration": "1.25", "date": TODAY.isoformat(), "employee": erp.employee}
    assert {name: body[name] for name in expected} == expected
    assert body["description"] == 'Call re "closing" 😀'
    erp.let_a_day_pass()
    cursor = pulled(us, "time_entries")[1]
    erp.edit_time(line, duration=timedelta(hours=2))
    after = pulled(us, "time_entries", cursor)[0]
    assert list(after) == [line]
    assert after[line].body["duration"] == "2"
    assert after[line].body["write_date"] is not None


def test_time_is_made_changed_and_found_by_its_content(erp: TrytonServer, us: Tryton) -> None:
    matter = erp.new_matter("M-13", "Timed", erp.new_party("Client"))
    body = {"matter": matter, "employee": erp.employee, "date": "2026-03-04", "duration": "0.1", "description": "Mail"}
    create = Create(a_key(), body)
    record = us.create("time_entries", create)
    assert {name: record.body[name] for name in body} == body
    assert us.find("time_entries", create) == (record,)
    assert us.find("time_entries", Create(a_key(), {**body, "duration": "0.2"})) == ()
    assert erp.read("timesheet.line", record.id, "duration")["duration"] == timedelta(minutes=6)
    after = changed(us, "time_entries", record, duration="1.75", date="2026-03-05")
    assert (after.body["duration"], after.body["date"]) == ("1.75", "2026-03-05")
    with pytest.raises(Stale):
        changed(us, "time_entries", record, duration="3")
    us.delete("time_entries", Delete(after))
    assert one(us, "time_entries", record.id).deleted
    with pytest.raises(Refused) as refused:
        us.create("time_entries", Create(a_key(), {**body, "duration": "-1"}))
    assert refused.value.code == "domain"
    with pytest.raises(Refused) as refused:
        us.create("time_entries", Create(a_key(), {**body, "matter": "999999"}))
    assert refused.value.code == "no-timesheet"


def test_a_reference_that_is_no_id_is_refused(us: Tryton) -> None:
    with pytest.raises(Refused) as refused:
        made(us, "works", number="M-14", name="Orphan", party="nobody")
    assert (refused.value.code, refused.value.fields) == ("bad-value", ("party",))


# --- invoices ---------------------------------------------------------------------------------------------------------


def test_an_issued_invoice_shows_its_matter_and_total(erp: TrytonServer, us: Tryton) -> None:
    party = erp.new_party("Client")
    draft = erp.draft_invoice("M-1001", party, "99.50")
    issued = erp.issue_invoice("M-1001 July", party, "750.00", on=TODAY, description="Fees")
    records = pulled(us, "invoices")[0]
    assert (records[draft].body["status"], records[draft].body["number"]) == ("draft", None)
    body = records[issued].body
    expected = {
        "state": "posted",
        "status": "issued",
        "is_credit_note": False,
        "reference": "M-1001 July",
        "matter_number": "M-1001",
        "description": "Fees",
        "invoice_date": TODAY.isoformat(),
        "total_amount": "750.00",
        "untaxed_amount": "750.00",
        "currency": "USD",
        "party": party,
    }
    assert {name: body[name] for name in expected} == expected
    assert body["number"]
    assert Decimal(body["tax_amount"]) == 0


def test_a_void_invoice_no_longer_counts(erp: TrytonServer, us: Tryton) -> None:
    party = erp.new_party("Client")
    cancelled, credited = (erp.issue_invoice("M-1", party, total) for total in ("100", "200"))
    erp.let_a_day_pass()
    cursor = pulled(us, "invoices")[1]
    erp.cancel_invoice(cancelled)
    note = erp.credit_invoice(credited)
    after = pulled(us, "invoices", cursor)[0]
    assert {id_: record.body["status"] for id_, record in after.items()} == dict.fromkeys(
        (cancelled, credited, note), "void"
    )
    assert after[note].body["is_credit_note"] and after[note].body["total_amount"] == "-200.00"


def test_an_invoice_is_never_written(erp: TrytonServer, us: Tryton) -> None:
    record = one(us, "invoices", erp.issue_invoice("M-1", erp.new_party("Client"), "5"))
    sent = us.http.requests
    with pytest.raises(Refused):
        changed(us, "invoices", record, reference="Ours")
    with pytest.raises(Refused):
        made(us, "invoices", reference="Ours")
    with pytest.raises(Refused):
        us.delete("invoices", Delete(record))
    assert us.http.requests == sent


# --- opportunities ----------------------------------------------------------------------------------------------------


def test_an_opportunity_is_read_made_changed_and_found(erp: TrytonServer, us: Tryton) -> None:
    party = erp.new_party("Prospect")
    theirs = one(us, "opportunities", erp.new_opportunity("Big case", party, amount="1000.50", reference="M-31"))
    assert (theirs.body["amount"], theirs.body["matter_number"], theirs.body["state"]) == ("1000.50", "M-31", "lead")
    body = {"description": 'Our "case" 😀', "party": party, "amount": "2500.00", "currency": "EUR", "reference": "M-32"}
    create = Create(a_key(), body)
    record = us.create("opportunities", create)
    assert {name: record.body[name] for name in body} == body
    assert us.find("opportunities", create) == (record,)
    after = changed(us, "opportunities", record, amount="2600", end_date="2026-12-31", conversion_probability=0.75)
    assert (after.body["amount"], after.body["end_date"]) == ("2600", "2026-12-31")
    assert after.body["conversion_probability"] == 0.75
    with pytest.raises(Stale):
        changed(us, "opportunities", record, amount="1")


def test_an_opportunity_moves_by_its_buttons(erp: TrytonServer, us: Tryton) -> None:
    party = erp.new_party("Prospect")
    record = made(us, "opportunities", description="Case", party=party, employee=erp.employee, state="opportunity")
    assert record.body["state"] == "opportunity"
    record = changed(us, "opportunities", record, state="lost")
    assert record.body["state"] == "lost"
    record = changed(us, "opportunities", record, state="lead")
    assert record.body["state"] == "lead"
    with pytest.raises(Refused):
        changed(us, "opportunities", record, state="won")


# --- pure parts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "number", "name"),
    [
        ("M-1001 Smith v. Jones", "M-1001", "Smith v. Jones"),
        ("M-1001: Smith v. Jones", "M-1001", "Smith v. Jones"),
        ("00123-0004 - Estate", "00123-0004", "Estate"),
        ("LIT/22/7 Doe", "LIT/22/7", "Doe"),
        ("AB1234 Doe", "AB1234", "Doe"),
        ("2026-015 Doe", "2026-015", "Doe"),
        ("2026 audit", None, "2026 audit"),
        ("3M Company", None, "3M Company"),
        ("H2O Holdings", None, "H2O Holdings"),
        ("Smith v. Jones", None, "Smith v. Jones"),
        ("M-1001", None, "M-1001"),
        ("", None, ""),
    ],
)
def test_where_a_matters_number_ends(text: str, number: str | None, name: str) -> None:
    assert split_number(text) == (number, name)


def test_a_reference_begins_with_the_matters_number() -> None:
    assert first_number("M-1001") == "M-1001"
    assert first_number(" M-1001, July") == "M-1001"
    assert first_number("PO 77") is None
    assert first_number(None) is None


def test_a_kind_needs_one_clear_category() -> None:
    assert kind_of(["VIP", " person "]) == "person"
    assert kind_of(["Organization"]) == "organisation"
    assert kind_of(["Person", "Company"]) is None
    assert kind_of([]) is None


def test_values_become_plain() -> None:
    when = {"year": 2026, "month": 2, "day": 3, "hour": 4, "minute": 5, "second": 6, "microsecond": 7}
    assert plain({"__class__": "datetime", **when}) == "2026-02-03T04:05:06.000007Z"
    assert plain({"__class__": "date", "year": 2026, "month": 2, "day": 3}) == "2026-02-03"
    assert plain({"__class__": "Decimal", "decimal": "1.10"}) == "1.10"
    assert [plain({"__class__": "timedelta", "seconds": s}) for s in (4500.0, 7200.0, 0.0, 20.0)] == [
        "1.25",
        "2",
        "0",
        "0.0056",
    ]
    for strange in ({"__class__": "date", "year": 2026}, {"__class__": "bytes", "base64": ""}):
        with pytest.raises(ShapeChanged):
            plain(strange)


def test_a_listing_left_midway_begins_again_at_the_floor_of_its_start() -> None:
    """Rows committed late lie between the floor and the position: the next listing must see them."""
    midway = Mark("2026-01-01").behind(("2026-01-05", 9), floor="2026-01-03", ended=False)
    assert midway == Mark("2026-01-05", 9, "2026-01-03")
    assert midway.behind(("2026-01-06", 2), floor="2026-01-09", ended=True) == Mark("2026-01-03")
    assert midway.behind(None, floor="2026-01-09", ended=True) == Mark("2026-01-03")
    assert Mark("2026-01-01", 4).behind(None, floor="2026-01-03", ended=True) == Mark("2026-01-01", 4)
    assert Mark().behind(None, floor="2026-01-03", ended=True) == Mark("2026-01-03")


def test_a_cursor_says_what_it_was_made_of() -> None:
    place = Place({"a": Mark("2026-01-05", 9, "2026-01-03")}, {"b": Tally(7, 2, (1, 2))})
    assert Place.of(place.cursor()) == place
    grown = Tally(7, 2, (0,) * 32).grown([(9, 3), (8, 5000)])
    assert (grown.top, grown.counts[1], grown.counts[31], sum(grown.counts)) == (9, 1, 1, 2)


def test_every_page_of_every_resource_can_be_resumed(erp: TrytonServer, us: Tryton) -> None:
    party = erp.new_party("Resume")
    matter = erp.new_matter("M-50", "Resume", party)
    erp.log_time(matter, "1", TODAY)
    erp.issue_invoice("M-50", party, "1")
    erp.new_opportunity("Resume", party)
    for resource in RESOURCES:
        pages: list[Page] = list(us.pull(resource, None))
        assert pages[-1].resume is not None
        for n, page in enumerate(pages):
            rest = {record.id for later in pages[n + 1 :] for record in later.records}
            assert rest <= pulled(us, resource, page.resume)[0].keys()

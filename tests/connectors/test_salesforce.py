"""The Salesforce connector against its sandbox, over real HTTP: reading, writing, partial failures, lost answers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from connectors import registry, sandbox
from connectors.contract import (
    Access,
    Capabilities,
    Change,
    Connector,
    Create,
    Cursor,
    Delete,
    OperationKey,
    Page,
    Record,
    Update,
)
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
    SyncError,
    TryLater,
    UnknownOutcome,
)
from connectors.http import BearerAuth, VendorHTTP
from connectors.oauth import OAuthAuth, Tokens
from connectors.redact import Secret
from connectors.salesforce import SPEC, Salesforce, id18
from connectors.salesforce.sandbox import SalesforceSandbox

if TYPE_CHECKING:
    from connectors.sandbox import Request, Response

NOON = datetime(2026, 3, 2, 12, 0, 0, tzinfo=UTC)


class Clock:
    """The vendor's time; it stands still until told otherwise."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        self.now += timedelta(**by)


@contextmanager
def an_org(**options: Any) -> Iterator[tuple[SalesforceSandbox, Salesforce]]:
    """A running org and a connector signed in to it. Times stand still unless a clock is given."""
    settings = options.pop("settings", {})
    options.setdefault("clock", Clock())
    with SalesforceSandbox(**options) as org, connected(org) as http:
        yield org, Salesforce(http, {**org.settings, **settings})


def connected(org: SalesforceSandbox, base: str = "") -> VendorHTTP:
    url = base or Salesforce.access(org.settings).base_url
    auth = BearerAuth(org.settings["access_token"])
    return VendorHTTP(base_url=url, egress=Egress.allow((), url), auth=auth, sleep=lambda _: None)


def records(pages: Sequence[Page]) -> list[Record]:
    return [record for page in pages for record in page.records]


def ids(pages: Sequence[Page]) -> list[str]:
    return [record.id for record in records(pages)]


def key(name: str) -> OperationKey:
    return OperationKey(name)


def a_contact(name: str, **fields: Any) -> Create:
    return Create(key(f"op-{name}"), {"LastName": name, **fields})


def read(connector: Salesforce, resource: str, id_: str) -> Record:
    return connector.fetch(resource, [id_])[0]


# -- what the connector says of itself


def test_it_is_registered_with_every_capability() -> None:
    expected: type[Connector] = Salesforce
    assert registry.load("salesforce") is expected
    with an_org(size=0) as (_, connector):
        assert None not in [getattr(Capabilities.of(connector), name) for name in Capabilities.__slots__]


def test_reading_the_spec_loads_no_soap_stack() -> None:
    code = "import sys, connectors.salesforce; sys.exit('simple_salesforce' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


ACME = "https://acme.my.salesforce.com"


def test_tokens_come_from_the_login_host() -> None:
    assert Salesforce.access({"base_url": ACME + "/"}) == Access(
        ACME, "oauth", token_url="https://login.salesforce.com/services/oauth2/token"
    )
    chosen = Salesforce.access({"base_url": ACME, "login_url": "https://test.salesforce.com/"})
    assert chosen.token_url == "https://test.salesforce.com/services/oauth2/token"
    egress = Egress.allow(SPEC.hosts, ACME)
    assert egress.verdict("https://login.salesforce.com/x").allowed
    assert egress.verdict("https://acme--test.sandbox.my.salesforce.com/x").allowed
    assert not egress.verdict("https://salesforce.com.example.org/x").allowed


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"base_url": "acme.my.salesforce.com"},
        {"base_url": "https://acme.lightning.force.com"},
        {"base_url": "https://login.salesforce.com"},
        {"base_url": ACME + "/services/data/v64.0"},
        {"base_url": ACME, "api_version": "v64"},
        {"base_url": ACME, "external_id_field": "Id = null OR Name"},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, str]) -> None:
    with pytest.raises(Misconfigured) as told:
        Salesforce.access(settings)
    assert told.value.remedy


@pytest.mark.parametrize(
    "full", ["0014S000007Ne8JQAS", "0034S000005YJVlQAO", "7014S00000097HcQAI", "0054S000000JFmhQAG"]
)
def test_short_ids_become_long_ones(full: str) -> None:
    assert id18(full[:15]) == full
    assert id18(full) == full


# -- check


def test_check_names_the_org_and_finds_nothing_wrong_with_a_complete_one() -> None:
    with an_org() as (org, connector):
        checked = connector.check()
        assert checked.findings == ()
        assert checked.account.id == org.org.id
        assert checked.account.label == "integration@sandbox.example.com"


@pytest.mark.parametrize("resource", ["Account", "Contact", "Opportunity", "Task"])
def test_check_says_how_to_create_a_missing_key_field(resource: str) -> None:
    with an_org(hidden={resource: ["syncd_id__c"]}) as (_, connector):
        (finding,) = connector.check().findings
        assert finding.level == "error"
        assert f"{resource} has no field syncd_id__c" in finding.what
        where = "Activity" if resource == "Task" else resource
        assert f"Object Manager > {where} > Fields & Relationships > New > Text" in finding.remedy
        assert "tick Unique and External ID" in finding.remedy


@pytest.mark.parametrize(("field", "kind"), [("Matter_Number__c", "Text"), ("Billed_Total__c", "Currency")])
def test_check_says_how_to_create_the_fields_that_billing_fills(field: str, kind: str) -> None:
    with an_org(hidden={"Opportunity": [field]}) as (_, connector):
        (finding,) = connector.check().findings
        assert (finding.level, finding.what) == ("error", f"Opportunity has no field {field}.")
        assert f"New > {kind} > Next; Field Label and Field Name {field.removesuffix('__c')}" in finding.remedy


def test_check_warns_of_hidden_consent_fields_and_of_fields_that_cannot_be_written() -> None:
    with an_org(hidden={"Contact": ["HasOptedOutOfEmail", "DoNotCall", "Department"]}) as (org, connector):
        for field in ("Billed_Total__c", "Amount"):
            org.edit_read_only("Opportunity", field)
        org.edit_read_only("Account", "syncd_id__c")
        found = {(finding.level, finding.what) for finding in connector.check().findings}
        assert found == {
            (
                "warning",
                "Consent fields of Contact are not visible: HasOptedOutOfEmail, DoNotCall. That opts nobody in.",
            ),
            ("warning", "Contact: not visible: Department."),
            ("error", "Opportunity: not writable: Billed_Total__c."),
            ("warning", "Opportunity: read, not written: Amount."),
            ("error", "Account.syncd_id__c is not writable."),
        }


def test_check_names_asked_for_fields_that_nobody_sees() -> None:
    with an_org(settings={"fields": "Sic, Practice_Area__c"}) as (_, connector):
        (finding,) = connector.check().findings
        assert finding.what == "No object has a field Practice_Area__c."


def test_check_reports_an_object_that_is_not_visible() -> None:
    with an_org() as (org, connector):
        missing = [{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}]
        org.faults.add("GET */sobjects/Task/describe", sandbox.status(404, body=missing), times=None)
        (finding,) = connector.check().findings
        assert finding.what == "Task is not visible."
        with pytest.raises(MissingPermission, match="does not see Task"):
            list(connector.pull("Task", None))


def test_check_tells_a_wrong_address_from_a_wrong_version_from_a_dead_token() -> None:
    with an_org() as (org, connector):
        with pytest.raises(Misconfigured, match=r"not offer v12\.0"):
            Salesforce(connector.http, {**org.settings, "api_version": "12.0"}).check()
        with connected(org, base=org.url + "/lightning") as elsewhere, pytest.raises(Misconfigured) as wrong:
            Salesforce(elsewhere, org.settings).check()
        assert "base_url" in wrong.value.remedy
        org.faults.add("GET */limits", sandbox.html)
        with pytest.raises(Misconfigured, match="not answer like Salesforce"):
            connector.check()
        org.faults.add("GET */limits", sandbox.status(302, {"Location": "https://login.salesforce.com/"}))
        with pytest.raises(Misconfigured, match="302"):
            connector.check()
        org.faults.add("GET */userinfo", sandbox.status(403, {"Content-Type": "text/html"}, b"Missing_OAuth_Scope"))
        with pytest.raises(MissingPermission) as scope:
            connector.check()
        assert "openid" in scope.value.remedy
        org.edit_expire_token()
        with pytest.raises(ReconnectNeeded):
            connector.check()


class Kept:
    """A token store for one process."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens

    def load(self) -> Tokens:
        return self.tokens

    @contextmanager
    def locked(self) -> Iterator[None]:
        yield

    def save(self, tokens: Tokens, expected_version: int) -> Tokens:
        assert self.tokens.version == expected_version
        self.tokens = Tokens(tokens.access, tokens.refresh, tokens.expires_at, expected_version + 1, tokens.extra)
        return self.tokens


def test_an_ended_session_is_renewed_and_a_rotated_refresh_token_kept() -> None:
    with SalesforceSandbox(rotate=True, clock=Clock()) as org:
        given = org.settings
        store = Kept(Tokens(Secret(given["access_token"]), Secret(given["refresh_token"]), None))
        egress = Egress.allow((), org.url)
        auth = OAuthAuth(
            store,
            token_url=str(Salesforce.access(given).token_url),
            client_id=given["client_id"],
            client_secret=Secret(given["client_secret"]),
            egress=egress,
        )
        with VendorHTTP(base_url=org.url, egress=egress, auth=auth, sleep=lambda _: None) as http:
            connector = Salesforce(http, given)
            for _ in range(2):
                org.edit_expire_token()
                assert connector.check().account.id == org.org.id
            assert store.tokens.refresh == Secret(org.refresh_token) != Secret(given["refresh_token"])
            org.edit_revoke()
            with pytest.raises(ReconnectNeeded):
                connector.check()


# -- pull


def test_a_first_pull_lists_everything_in_pages_with_plain_bodies() -> None:
    with an_org(page_max=7, contacts=40) as (org, connector):
        pages = list(connector.pull("Contact", None))
        assert [len(page.records) for page in pages] == [7, 7, 7, 7, 7, 5]
        assert sorted(ids(pages)) == sorted(org.tables["Contact"])
        first = records(pages)[0]
        assert "attributes" not in first.body
        assert first.version == first.body["SystemModstamp"]
        assert {"LastName", "HasOptedOutOfEmail", "MailingCity", "syncd_id__c"} <= set(first.body)
        assert {"Matter_Number__c", "Billed_Total__c"} <= set(next(connector.pull("Opportunity", None)).records[0].body)


def test_asked_for_fields_are_read_where_they_exist() -> None:
    with an_org(settings={"fields": "Sic, TickerSymbol"}) as (_, connector):
        assert {"Sic", "TickerSymbol"} <= set(next(connector.pull("Account", None)).records[0].body)
        assert "Sic" not in next(connector.pull("Contact", None)).records[0].body


def test_an_empty_org_still_gives_a_cursor() -> None:
    with an_org(size=0) as (org, connector):
        (page,) = connector.pull("Contact", None)
        assert page.records == ()
        assert page.resume is not None
        made = org.edit_new("Contact", {"LastName": "First"})
        assert ids(list(connector.pull("Contact", page.resume))) == [made]


@pytest.mark.parametrize(("rows", "page_max"), [(45, 7), (45, 1), (2300, 2000)])
def test_rows_that_share_one_stamp_are_each_listed_once(rows: int, page_max: int) -> None:
    given = {"Contact": [{"LastName": f"Load {n}"} for n in range(rows)]}
    with an_org(size=0, rows=given, page_max=page_max) as (org, connector):
        assert len({row["SystemModstamp"] for row in org.tables["Contact"].values()}) == 1
        pages = list(connector.pull("Contact", None))
        assert len(pages) >= 2
        assert sorted(ids(pages)) == sorted(org.tables["Contact"])


def test_a_pull_resumes_from_every_cursor_without_a_gap() -> None:
    given = {"Contact": [{"LastName": f"Load {n}"} for n in range(20)]}
    clock = Clock()
    with an_org(contacts=20, rows=given, page_max=6, clock=clock) as (_, connector):
        pages = list(connector.pull("Contact", None))
        clock.forward(days=1)
        for at, page in enumerate(pages):
            assert page.resume is not None
            rest = ids(list(connector.pull("Contact", page.resume)))
            assert [id_ for id_ in rest if id_ not in ids(pages[at + 1 :])] == (
                # The last cursor reaches back over the load, which happened just before that pull began.
                ids(pages)[20:] if at == len(pages) - 1 else []
            )
            assert set(ids(pages[at + 1 :])) <= set(rest)


def test_a_pull_stopped_after_each_page_gets_to_the_end() -> None:
    given = {"Contact": [{"LastName": f"Load {n}"} for n in range(30)]}
    with an_org(size=0, rows=given, page_max=4) as (org, connector):
        seen: list[str] = []
        cursor: Cursor | None = None
        for _ in range(8):
            page = next(connector.pull("Contact", cursor))
            seen += [record.id for record in page.records]
            cursor = page.resume
        assert seen == sorted(org.tables["Contact"])


def test_changes_during_a_listing_are_not_lost() -> None:
    clock = Clock()
    with an_org(contacts=20, page_max=5, clock=clock) as (org, connector):
        listing = connector.pull("Contact", None)
        first = next(listing)
        clock.forward(seconds=3)
        org.edit_update("Contact", first.records[0].id, {"Title": "Changed"})
        behind = org.edit_new("Contact", {"LastName": "New"})
        rest = [first, *listing]
        assert [r.body["Title"] for r in records(rest) if r.id == first.records[0].id][-1] == "Changed"
        assert behind in ids(rest)


def test_a_row_committed_late_with_an_old_stamp_is_found_by_the_next_pull() -> None:
    clock = Clock()
    with an_org(contacts=5, clock=clock) as (org, connector):
        org.edit_new("Contact", {"LastName": "Quick"})
        pages = list(connector.pull("Contact", None))
        slow = [{"LastName": "Slow", "SystemModstamp": (NOON - timedelta(seconds=90)).isoformat()}]
        org.org.add_given("Contact", slow[0])
        clock.forward(seconds=30)
        again = records(list(connector.pull("Contact", pages[-1].resume)))
        assert "Slow" in [record.body["LastName"] for record in again]


def test_a_pull_that_finds_nothing_costs_one_request() -> None:
    with an_org(contacts=30) as (org, connector):
        cursor = list(connector.pull("Contact", None))[-1].resume
        before = len(org.log)
        (page,) = connector.pull("Contact", cursor)
        assert page.records == ()
        assert len(org.log) - before == 1
        assert page.resume == cursor


def test_deleted_rows_come_as_tombstones_and_come_back_when_restored() -> None:
    clock = Clock()
    with an_org(clock=clock) as (org, connector):
        cursor = list(connector.pull("Contact", None))[-1].resume
        gone = next(iter(org.tables["Contact"]))
        clock.forward(hours=1)
        org.edit_delete("Contact", gone)
        (page,) = connector.pull("Contact", cursor)
        assert [(r.id, r.deleted, r.body) for r in page.records] == [(gone, True, {})]
        clock.forward(hours=1)
        org.edit_undelete("Contact", gone)
        (page,) = connector.pull("Contact", page.resume)
        assert [(r.id, r.deleted) for r in page.records] == [(gone, False)]


def test_the_loser_of_a_merge_is_a_tombstone_and_its_children_move() -> None:
    clock = Clock()
    given = {
        "Account": [{"Name": "One"}, {"Name": "Two"}],
        "Contact": [{"LastName": "Child", "Account": {"Name": "Two"}}],
    }
    with an_org(size=0, rows=given, clock=clock) as (org, connector):
        one, two = org.tables["Account"]
        (child,) = org.tables["Contact"]
        org.edit_merge("Account", one, two)
        found = {r.id: r.deleted for r in records(list(connector.pull("Account", None)))}
        assert found == {one: False, two: True}
        assert read(connector, "Contact", child).body["AccountId"] == one


def test_a_deleted_account_takes_its_contacts_along() -> None:
    given = {"Account": [{"Name": "One"}], "Contact": [{"LastName": "Child", "Account": {"Name": "One"}}]}
    with an_org(size=0, rows=given) as (org, connector):
        org.edit_delete("Account", next(iter(org.tables["Account"])))
        assert [r.deleted for r in records(list(connector.pull("Contact", None)))] == [True]


def test_all_live_ids_are_listed_and_nothing_else() -> None:
    with an_org(contacts=25, page_max=10) as (org, connector):
        first, second, *rest = sorted(org.tables["Contact"])
        org.edit_delete("Contact", first)
        org.edit_purge("Contact", second)
        assert [id_ for page in connector.ids("Contact") for id_ in page] == rest


@pytest.mark.parametrize("cursor", ["", "{}", "[]", "null", '{"stamp":"never"}', '{"page":3}', '{"stamp":5}'])
def test_a_cursor_of_another_making_is_refused(cursor: str) -> None:
    with an_org(size=0) as (_, connector), pytest.raises(CursorExpired):
        list(connector.pull("Contact", Cursor(cursor)))


def test_a_field_hidden_after_the_description_was_read_is_named() -> None:
    with an_org() as (org, connector):
        list(connector.pull("Contact", None))
        org.edit_hide("Contact", "Department")
        with pytest.raises(Misconfigured, match="Department"):
            list(connector.pull("Contact", None))
        fresh = Salesforce(connector.http, org.settings)
        assert "Department" not in next(fresh.pull("Contact", None)).records[0].body


def test_a_web_page_instead_of_records_is_a_changed_shape() -> None:
    with an_org() as (org, connector):
        org.faults.add("GET */queryAll", sandbox.html)
        with pytest.raises(ShapeChanged):
            list(connector.pull("Contact", None))


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"totalSize": 1, "done": True},
        {"totalSize": 1, "done": False, "records": []},
        {"totalSize": 1, "done": True, "records": [{"Id": "0035g000000000PAAQ"}]},
        {"totalSize": 1, "done": True, "records": [{"Id": "0035g000000000PAAQ", "SystemModstamp": "today"}]},
    ],
)
def test_an_answer_of_another_shape_is_told_as_that(body: Any) -> None:
    with an_org() as (org, connector):
        list(connector.pull("Contact", None))
        org.faults.add("GET */queryAll", sandbox.status(200, body=body))
        with pytest.raises(ShapeChanged):
            list(connector.pull("Contact", None))


@pytest.mark.parametrize("body", [{}, [], [{"success": True}], [{"success": False}], [{"id": "0035g000000000PAAQ"}]])
def test_a_write_whose_answer_fits_nothing_is_an_unknown_outcome(body: Any) -> None:
    with an_org() as (org, connector):
        org.faults.add("PATCH */composite/*", sandbox.status(200, body=body))
        with pytest.raises(UnknownOutcome):
            connector.create("Contact", a_contact("Odd"))


def test_a_cut_answer_to_a_read_is_asked_again() -> None:
    with an_org() as (org, connector):
        org.faults.add("GET */queryAll", sandbox.half_body)
        org.faults.add("GET */queryAll", sandbox.cut_before)
        assert len(records(list(connector.pull("Contact", None)))) == 60


# -- fetch and find


def test_fetch_keeps_the_order_and_gives_tombstones_for_what_is_gone() -> None:
    with an_org() as (org, connector):
        one, two, three = list(org.tables["Contact"])[:3]
        org.edit_delete("Contact", two)
        never = id18("0035g0000zzzzzz")
        found = connector.fetch("Contact", [three[:15], never, two, one])
        assert [(r.id, r.deleted) for r in found] == [(three, False), (never, True), (two, True), (one, False)]
        assert connector.fetch("Contact", []) == ()


def test_fetch_asks_for_two_thousand_at_a_time() -> None:
    with an_org(size=0, contacts=2100) as (org, connector):
        wanted = sorted(org.tables["Contact"])
        connector.fetch("Contact", wanted[:1])
        before = len(org.log)
        assert [r.id for r in connector.fetch("Contact", wanted)] == wanted
        assert len(org.log) - before == 2


def test_find_sees_the_row_that_carries_the_key() -> None:
    with an_org() as (_, connector):
        create = Create(key('it\'s \\ 100% "ours"'), {"LastName": "Kept"})
        assert connector.find("Contact", create) == ()
        made = connector.create("Contact", create)
        assert connector.find("Contact", create) == (made,)


# -- writing


def test_a_batch_is_answered_in_order_with_what_the_vendor_made_of_it() -> None:
    with an_org() as (org, connector):
        one, two, three = (read(connector, "Contact", id_) for id_ in list(org.tables["Contact"])[:3])
        changes: list[Change] = [
            Delete(two),
            a_contact("Okafor", Title="  Partner  ", Department=""),
            Update(one, {"Title": " Counsel ", "Phone": None}),
            a_contact("Novak"),
            Update(three, {"DoNotCall": True}),
        ]
        before = len(org.log)
        gone, okafor, first, novak, third = outcomes = connector.send("Contact", changes)
        assert [entry.method for entry in org.log[before:]] == ["PATCH", "PATCH", "DELETE", "POST"]
        assert all(isinstance(outcome, Record) for outcome in outcomes)
        assert isinstance(gone, Record) and (gone.id, gone.deleted) == (two.id, True)
        assert isinstance(okafor, Record) and (okafor.body["Title"], okafor.body["Department"]) == ("Partner", None)
        assert isinstance(first, Record) and (first.body["Title"], first.body["Phone"]) == ("Counsel", None)
        assert first.body["Email"] == one.body["Email"]
        assert isinstance(novak, Record) and novak.body["syncd_id__c"] == "op-Novak"
        assert isinstance(third, Record) and third.body["DoNotCall"] is True


@pytest.mark.parametrize("position", range(5))
def test_one_refused_row_leaves_its_neighbours_alone_and_the_order_right(position: int) -> None:
    with an_org() as (org, connector):
        rows = [read(connector, "Contact", id_) for id_ in list(org.tables["Contact"])[:5]]
        updates = [Update(row, {"Title": f"Title {n}"}) for n, row in enumerate(rows)]
        updates[position] = Update(rows[position], {"Email": "no address"})
        creates = [a_contact(f"New {n}") for n in range(5)]
        creates[position] = Create(key("bad"), {"FirstName": "Nameless"})
        outcomes = connector.send("Contact", [*updates, *creates])
        for n, outcome in enumerate(outcomes[:5]):
            if n == position:
                assert isinstance(outcome, Refused)
                assert (outcome.code, outcome.fields) == ("INVALID_EMAIL_ADDRESS", ("Email",))
                assert "no address" not in str(outcome)
            else:
                assert isinstance(outcome, Record) and outcome.body["Title"] == f"Title {n}"
        for n, outcome in enumerate(outcomes[5:]):
            if n == position:
                assert isinstance(outcome, Refused)
                assert (outcome.code, outcome.fields) == ("REQUIRED_FIELD_MISSING", ("LastName",))
            else:
                assert isinstance(outcome, Record) and outcome.body["LastName"] == f"New {n}"


@pytest.mark.parametrize("position", range(5))
def test_a_value_of_a_wrong_type_costs_only_its_own_row(position: int) -> None:
    with an_org() as (org, connector):
        creates = [a_contact(f"New {n}") for n in range(5)]
        creates[position] = a_contact("Odd", Birthdate="soon")
        outcomes = connector.send("Contact", creates)
        bad = outcomes[position]
        assert isinstance(bad, Refused)
        assert bad.code == "JSON_PARSER_ERROR"
        assert [isinstance(outcome, Record) for outcome in outcomes].count(True) == 4
        assert len(org.writes()) == 4


def test_two_hundred_changes_are_two_requests() -> None:
    with an_org(size=0) as (org, connector):
        outcomes = connector.send("Contact", [a_contact(f"New {n}") for n in range(SPEC.facts.batch_max)])
        assert [entry.method for entry in org.log if "composite" in entry.path] == ["PATCH", "POST"]
        assert [r.body["LastName"] for r in outcomes if isinstance(r, Record)] == [f"New {n}" for n in range(200)]


def test_text_of_every_kind_survives_the_round_trip() -> None:
    text = 'O\'Neil "x" \\ 100% 😀 ß\nsecond line'
    fields = ("LastName", "FirstName", "Title", "Department", "Description", "MailingStreet")
    with an_org(size=0) as (_, connector):
        made = connector.create("Contact", Create(key("texts"), dict.fromkeys(fields, text)))
        assert {name: made.body[name] for name in fields} == dict.fromkeys(fields, text)
        (pulled,) = records(list(connector.pull("Contact", None)))
        assert pulled == made


def test_an_id_in_a_body_names_no_other_record() -> None:
    with an_org() as (org, connector):
        one, two = (read(connector, "Contact", id_) for id_ in list(org.tables["Contact"])[:2])
        outcome = connector.update("Contact", Update(one, {"Id": two.id, "Title": "Mine"}))
        assert outcome.id == one.id
        assert read(connector, "Contact", two.id) == two


def test_the_billed_total_of_a_matter_reaches_its_opportunity() -> None:
    with an_org(opportunities=1) as (org, connector):
        deal = read(connector, "Opportunity", next(iter(org.tables["Opportunity"])))
        outcome = connector.update(
            "Opportunity", Update(deal, {"Billed_Total__c": 1234.565, "Matter_Number__c": "7-0001"})
        )
        assert (outcome.body["Billed_Total__c"], outcome.body["Matter_Number__c"]) == (1234.57, "7-0001")


def test_a_lost_answer_to_a_create_is_settled_by_looking_and_a_repeat_makes_no_second_row() -> None:
    with an_org(size=0) as (org, connector):
        create = a_contact("Once", Email="once@example.com")
        org.faults.add("PATCH */composite/*", sandbox.cut_after)
        with pytest.raises(UnknownOutcome):
            connector.send("Contact", [create])
        (found,) = connector.find("Contact", create)
        assert found.body["Email"] == "once@example.com"
        (again,) = connector.send("Contact", [create])
        assert isinstance(again, Record)
        assert again.id == found.id
        assert len(org.tables["Contact"]) == 1
        assert org.writes() == [f"created Contact/{found.id}", f"updated Contact/{found.id}"]


def test_a_request_that_never_arrived_left_nothing_to_find() -> None:
    with an_org(size=0) as (org, connector):
        create = a_contact("Never")
        org.faults.add("PATCH */composite/*", sandbox.cut_before)
        with pytest.raises(UnknownOutcome):
            connector.create("Contact", create)
        assert connector.find("Contact", create) == ()
        assert connector.create("Contact", create).body["LastName"] == "Never"
        assert len(org.tables["Contact"]) == 1


@pytest.mark.parametrize("effect", [sandbox.half_body, sandbox.html])
def test_an_unreadable_answer_to_a_write_is_an_unknown_outcome(effect: sandbox.Effect) -> None:
    with an_org() as (org, connector):
        row = read(connector, "Contact", next(iter(org.tables["Contact"])))
        org.faults.add("PATCH */composite/*", effect)
        with pytest.raises(UnknownOutcome):
            connector.send("Contact", [Update(row, {"Title": "X"})])


def test_a_part_that_got_no_answer_does_not_spoil_the_other_parts() -> None:
    with an_org() as (org, connector):
        row = read(connector, "Contact", next(iter(org.tables["Contact"])))
        org.faults.add("PATCH */composite/sobjects/Contact/*", sandbox.cut_after)
        made, changed = connector.send("Contact", [a_contact("Lost"), Update(row, {"Title": "Known"})])
        assert isinstance(made, UnknownOutcome)
        assert isinstance(changed, Record) and changed.body["Title"] == "Known"


def test_a_write_that_cannot_be_read_back_is_unknown_but_done() -> None:
    with an_org(size=0) as (org, connector):
        create = a_contact("Done")
        org.faults.add("POST */composite/sobjects/Contact", sandbox.status(500), times=4)
        (outcome,) = connector.send("Contact", [create])
        assert isinstance(outcome, UnknownOutcome)
        assert [record.body["LastName"] for record in connector.find("Contact", create)] == ["Done"]


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        ("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record", TryLater),
        ("CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", "Trigger: UNABLE_TO_LOCK_ROW, unable to obtain", TryLater),
        ("REQUEST_LIMIT_EXCEEDED", "ConcurrentPerOrgLongTxn Limit exceeded.", RateLimited),
        ("FIELD_CUSTOM_VALIDATION_EXCEPTION", "Give a reason.", Refused),
        ("INSUFFICIENT_ACCESS_OR_READONLY", "insufficient access rights on object id", Refused),
        ("CANNOT_UPDATE_CONVERTED_LEAD", "cannot reference converted lead", Refused),
        ("ENTITY_IS_DELETED", "entity is deleted", Stale),
        ("INVALID_FIELD", "No such column 'Gone__c' on sobject of type Contact", Misconfigured),
        ("DUPLICATE_VALUE", "duplicate value found: syncd_id__c duplicates value on record with id: x", UnknownOutcome),
        ("DUPLICATE_VALUE", "duplicate value found: Badge__c duplicates value on record with id: x", Refused),
    ],
)
def test_a_row_s_error_code_says_what_happens_next(code: str, message: str, kind: type[SyncError]) -> None:
    with an_org() as (org, connector):
        one, two = (read(connector, "Contact", id_) for id_ in list(org.tables["Contact"])[:2])
        org.edit_refuse("Contact", code, id=one.id, message=message)
        refused, fine = connector.send("Contact", [Update(one, {"Title": "A"}), Update(two, {"Title": "B"})])
        assert type(refused) is kind
        assert isinstance(fine, Record)
        if isinstance(refused, Refused):
            assert refused.code == code
            assert refused.remedy
        if code == "FIELD_CUSTOM_VALIDATION_EXCEPTION":
            assert "Give a reason." in refused.message
        if code == "INVALID_FIELD":
            assert "Gone__c" in str(refused)


def test_a_reference_to_a_deleted_row_is_refused_by_name() -> None:
    with an_org() as (org, connector):
        account = next(iter(org.tables["Account"]))
        org.edit_delete("Account", account)
        (outcome,) = connector.send("Contact", [a_contact("Child", AccountId=account)])
        assert isinstance(outcome, Refused)
        assert outcome.fields == ("AccountId",)


def test_a_duplicate_rule_refuses_and_names_the_twin() -> None:
    with an_org() as (org, connector):
        twin = read(connector, "Contact", next(id_ for id_, row in org.tables["Contact"].items() if row.get("Email")))
        org.edit_duplicate_rule("Contact")
        (outcome,) = connector.send("Contact", [a_contact("Twin", Email=twin.body["Email"])])
        assert isinstance(outcome, Refused)
        assert outcome.code == "DUPLICATES_DETECTED"
        assert twin.id in outcome.message
        assert twin.body["Email"] not in outcome.message


def test_writing_what_security_forbids_asks_for_a_person() -> None:
    with an_org() as (org, connector):
        row = read(connector, "Contact", next(iter(org.tables["Contact"])))
        org.edit_read_only("Contact", "Title")
        with pytest.raises(MissingPermission, match="Title"):
            connector.update("Contact", Update(row, {"Title": "X"}))


def test_a_changed_row_that_is_gone_is_stale_and_a_deleted_one_that_is_gone_is_success() -> None:
    with an_org() as (org, connector):
        one, two = (read(connector, "Contact", id_) for id_ in list(org.tables["Contact"])[:2])
        org.edit_delete("Contact", one.id)
        org.edit_purge("Contact", two.id)
        for row in (one, two):
            with pytest.raises(Stale):
                connector.update("Contact", Update(row, {"Title": "X"}))
            connector.delete("Contact", Delete(row))
        outcomes = connector.send("Contact", [Delete(one), Delete(two)])
        assert [(r.id, r.deleted) for r in outcomes if isinstance(r, Record)] == [(one.id, True), (two.id, True)]


def test_the_daily_limit_waits_long_and_the_concurrent_one_seconds() -> None:
    with an_org() as (org, connector):
        list(connector.pull("Contact", None))
        busy = [
            {
                "errorCode": "REQUEST_LIMIT_EXCEEDED",
                "message": "ConcurrentRequests (Concurrent API Requests) Limit exceeded.",
            }
        ]
        org.faults.add("GET */queryAll", sandbox.status(403, body=busy))
        with pytest.raises(RateLimited) as short:
            list(connector.pull("Contact", None))
        org.edit_api_limit(org.used)
        with pytest.raises(RateLimited) as long:
            list(connector.pull("Contact", None))
        now = datetime.now(UTC)
        assert short.value.until is not None and long.value.until is not None
        assert timedelta(0) < short.value.until - now <= timedelta(seconds=10)
        assert long.value.until - now > timedelta(minutes=50)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "API_DISABLED_FOR_ORG", MissingPermission),
        (400, "INVALID_TYPE", MissingPermission),
        (400, "MALFORMED_QUERY", Misconfigured),
        (400, "QUERY_TIMEOUT", TryLater),
    ],
)
def test_an_error_of_the_whole_answer_is_told_apart(status: int, code: str, kind: type[SyncError]) -> None:
    with an_org() as (org, connector):
        org.faults.add("GET */queryAll", sandbox.status(status, body=[{"errorCode": code, "message": "SELECT secret"}]))
        with pytest.raises(kind) as told:
            list(connector.pull("Contact", None))
        assert "secret" not in str(told.value)


def test_every_request_names_the_client_so_that_change_events_show_it() -> None:
    named: list[str | None] = []

    def note(request: Request, response: Response) -> None:
        named.append(request.headers.get("Sforce-Call-Options"))

    with an_org(observe=note) as (_, connector):
        connector.check()
        made = connector.create("Contact", a_contact("Named"))
        connector.delete("Contact", Delete(made))
        list(connector.pull("Contact", None))
        list(connector.ids("Contact"))
    assert set(named) == {"client=syncd"}

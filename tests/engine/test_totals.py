"""Totals over other records: whatever arrives, in whatever order, they are what a full recomputation gives.

Histories are taken in page by page by the engine's own reconciler, as three systems would send them (a practice
management, an accounting and a CRM, whose records partly belong together): late, changed, moved to another parent,
deleted, merged and un-merged. After every step each stored total is computed again from nothing but the records.
"""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select

from connectors.contract import Record
from mappings.canonical import validate
from syncd import stewards, totals
from syncd.app import open_app
from syncd.clock import FixedClock, iso
from syncd.config import Firm, Settings
from syncd.reconcile import Arrival, Reconciler
from syncd.store.database import reading
from syncd.store.tables import connections, intents, links, meta, metadata, records, reviews, turns
from syncd.vault import new_key, parse_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from syncd.app import App

JSON = dict[str, Any]
Step = tuple[Any, ...]
LONG = os.environ.get("SYNCD_TEST_LONG") == "1"
BEGIN = datetime(2026, 6, 1, 9, 0, tzinfo=UTC)
SYSTEMS = {"practice": "clio", "ledger": "tryton", "crm": "salesforce"}


class Books:
    """The store of one firm, and pages that come in without a vendor behind them."""

    def __init__(self, database_url: str, home: Path, **firm: Any) -> None:
        self.clock = FixedClock(BEGIN)
        made = Settings(
            home=home, database_url=database_url, redis_url=None, key=parse_key(new_key()), old_keys=(),
            firm=Firm(name="Test & Partners", authority=tuple(SYSTEMS), **firm),
        )  # fmt: skip
        self.app: App = open_app(made, clock=self.clock)
        self.begin()

    def begin(self) -> None:
        """An empty store that knows three systems."""
        self.clock.set(BEGIN)
        with self.app.engine.begin() as sql:
            for table in metadata.sorted_tables:
                if table is not meta:
                    sql.execute(delete(table))
            sql.execute(delete(meta).where(meta.c.name.in_((totals.DECLARED, totals.YEAR))))
            for name, connector in SYSTEMS.items():
                sql.execute(
                    insert(connections).values(
                        name=name, connector=connector, account=name, label="", zone="practice", settings="{}",
                        secrets=b"", mode="live", created_at=iso(BEGIN),
                    )
                )  # fmt: skip
        self.reconciler().refresh_totals()

    def reconciler(self, connection: str = "", resource: str = "") -> Reconciler:
        return Reconciler(self.app, self.app.world(), connection, resource, None)

    def page(self, connection: str, resource: str, *bodies: JSON) -> None:
        """What a vendor answers; a body {"id": ...} alone is a deleted record."""
        self.clock.advance(timedelta(seconds=10))
        stamps = {"updated_at": iso(self.clock.now()), "modified_at": iso(self.clock.now())}
        stamps["SystemModstamp"] = stamps["updated_at"]
        found = [
            Arrival(Record(str(body["id"]), None, {**body, **stamps} if len(body) > 1 else {}, deleted=len(body) == 1))
            for body in bodies
        ]
        reconciler = self.reconciler(connection, resource)
        reconciler.commit(reconciler.prepare(found))

    def rule(self, *, same: bool) -> None:
        """Settle the oldest open review, if there is one."""
        with reading(self.app.engine) as sql:
            asked = sql.execute(select(reviews.c.id).where(reviews.c.state == "open").order_by(reviews.c.id)).scalar()
        if asked is not None:
            stewards.rule_pair(self.app, asked, same=same, by="test")

    def split(self, place: int) -> None:
        """Take one record out of a canonical record that stands for several."""
        with reading(self.app.engine) as sql:
            rows = sql.execute(select(links).order_by(links.c.connection, links.c.resource, links.c.vendor_id)).all()
        shared = [row for row in rows if sum(other.canonical_id == row.canonical_id for other in rows) > 1]
        if shared:
            row = shared[place % len(shared)]
            stewards.split(self.app, row.connection, row.resource, row.vendor_id, by="test")

    def join(self, place: int) -> None:
        """Say that two records of one kind are the same."""
        found = sorted(
            (kind, canonical) for canonical, (kind, _, status) in self.records().items() if status != "merged"
        )
        pairs = [(a, b) for (x, a), (y, b) in pairwise(found) if x == y]
        if pairs:
            stewards.join(self.app, *pairs[place % len(pairs)], by="test")

    def new_year(self, years: int) -> None:
        now = self.clock.now()
        self.clock.set(now.replace(year=now.year + years))

    def records(self) -> dict[str, tuple[str, JSON, str]]:
        """canonical id -> kind, golden values, status"""
        with reading(self.app.engine) as sql:
            rows = sql.execute(select(records.c.id, records.c.kind, records.c.golden, records.c.status))
            return {row.id: (row.kind, orjson.loads(row.golden), row.status) for row in rows}

    def one(self, connection: str, resource: str, id: Any) -> JSON:
        with reading(self.app.engine) as sql:
            here = (links.c.connection == connection, links.c.resource == resource, links.c.vendor_id == str(id))
            canonical = sql.execute(select(links.c.canonical_id).where(*here)).scalar_one()
        return self.records()[canonical][1]

    def check(self) -> None:
        """Every total against one that is found by looking at every record, without edges and without history."""
        found = self.records()
        year = self.app.world().year(self.clock.now())
        for canonical, (kind, golden, status) in found.items():
            if status == "merged":
                continue
            validate(kind, {name: value for name, value in golden.items() if not isinstance(value, dict)})
            for rollup in self.app.world().rollups:
                if rollup.kind != kind:
                    continue
                parent = canonical if rollup.on == "self" else golden.get(rollup.on)
                groups = [
                    [
                        values
                        for source_kind, values, source_status in found.values()
                        if source_kind == source.kind and source_status == "live" and values.get(source.via) == parent
                    ]
                    for source in rollup.sources
                ]
                expected = rollup.compute(groups, year) if parent is not None else None
                assert golden.get(rollup.field) == expected, f"{rollup.name} of {canonical} ({status})"


@pytest.fixture
def books(database_url: str, tmp_path: Path) -> Iterator[Books]:
    made = Books(database_url, tmp_path)
    yield made
    made.app.close()


on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


# --- what the systems hold ------------------------------------------------------------------------------------------

PEOPLE = {
    1: {"first_name": "Jane", "last_name": "Doe", "mail": "jane@doe.example"},
    2: {"first_name": "John", "last_name": "Roe", "mail": "john@roe.example"},
}
PHONE = "(212) 555-0100"


def a_person(id: int, company: int | None = None) -> JSON:
    who = PEOPLE[id]
    return {
        "id": id, "type": "Person", "first_name": who["first_name"], "last_name": who["last_name"],
        "email_addresses": [{"address": who["mail"], "primary": True}], "company": company and {"id": company},
    }  # fmt: skip


def a_company(id: int = 9) -> JSON:
    phones = [{"number": PHONE, "primary": True}]
    return {"id": id, "type": "Company", "name": "Quarry Foods LLC", "phone_numbers": phones}


def a_matter(id: int, client: int | None, status: str = "open", opened: str | None = "2026-01-05") -> JSON:
    number = {"display_number": f"000{id}-Q", "description": f"Matter {id}"}
    return {"id": id, **number, "status": status, "client": client and {"id": client}, "open_date": opened}


def a_bill(
    id: int, matter: int | None, client: int | None, total: str = "100.10", state: str = "awaiting_payment",
    currency: str = "USD", issued: str | None = "2026-03-01",
) -> JSON:  # fmt: skip
    return {
        "id": id, "number": f"B{id}", "matters": [{"id": matter}] if matter else [], "client": client and {"id": client},
        "total": total, "state": state, "currency": {"code": currency}, "issued_at": issued,
    }  # fmt: skip


def an_entry(id: int, matter: int | None, user: int | None = 51, on: str = "2026-02-03", seconds: int = 5400) -> JSON:
    place = {"matter": matter and {"id": matter}, "user": user and {"id": user}}
    return {"id": id, "type": "TimeEntry", "date": on, "quantity": seconds, **place}


def an_invoice(
    id: int, matter: int | None, total: str = "100.10", status: str = "issued", currency: str = "USD"
) -> JSON:
    return {
        "id": id, "number": f"B{id}", "matter_number": matter and f"000{matter}-Q", "party": None, "status": status,
        "invoice_date": "2026-03-01", "total_amount": total, "currency": currency,
    }  # fmt: skip


def a_contact(id: int, account: str | None = None) -> JSON:
    who = PEOPLE[id]
    names = {"FirstName": who["first_name"], "LastName": who["last_name"], "Email": who["mail"]}
    return {"id": f"003{id}", **names, "AccountId": account}


def a_task(id: int, who: int | None, account: str | None, day: str = "2026-04-01", status: str = "Completed") -> JSON:
    kind = {"TaskSubtype": "Call", "Status": status, "ActivityDate": day}
    return {"id": f"00T{id}", **kind, "WhoId": who and f"003{who}", "AccountId": account}


ACCOUNT = {"id": "0019", "Name": "Quarry Foods LLC", "Phone": PHONE}


def an_opportunity(id: int, matter: int | None) -> JSON:
    return {"id": f"006{id}", "Name": f"Deal {id}", "Matter_Number__c": matter and f"000{matter}-Q", "AccountId": None}


maybe_matter = st.sampled_from([21, 22, None])
maybe_client = st.sampled_from([1, 2, 9, None])
maybe_account = st.sampled_from(["0019", None])
amounts = st.sampled_from(["100.10", "0.20", "-7", "1000"])
days = st.sampled_from(["2025-12-31", "2026-01-01", "2026-12-31", "2027-01-01"])
two = st.integers(1, 2)
BODIES: dict[tuple[str, str], st.SearchStrategy[JSON]] = {
    ("practice", "contacts"): st.builds(a_person, two, st.sampled_from([9, None])) | st.builds(a_company),
    ("practice", "matters"): st.builds(
        a_matter, st.integers(21, 22), maybe_client, st.sampled_from(["open", "closed"]), days | st.none()
    ),
    ("practice", "bills"): st.builds(
        a_bill, st.integers(31, 33), maybe_matter, maybe_client, amounts,
        st.sampled_from(["awaiting_payment", "paid", "draft", "void"]), st.sampled_from(["USD", "USD", "EUR"]),
        days | st.none(),
    ),
    ("practice", "activities"): st.builds(
        an_entry, st.integers(41, 43), maybe_matter, st.sampled_from([51, 52, None]), days, st.sampled_from([360, 5400])
    ),
    ("practice", "users"): st.builds(lambda id: {"id": id, "first_name": "A", "last_name": f"U{id}"}, st.integers(51, 52)),
    ("ledger", "invoices"): st.builds(
        an_invoice, st.integers(31, 32), maybe_matter, amounts, st.sampled_from(["issued", "void"])
    ),
    ("crm", "Contact"): st.builds(a_contact, two, maybe_account),
    ("crm", "Account"): st.just(ACCOUNT),
    ("crm", "Task"): st.builds(
        a_task, two, st.sampled_from([1, 2, None]), maybe_account, days, st.sampled_from(["Completed", "Deferred"])
    ),
    ("crm", "Opportunity"): st.builds(an_opportunity, two, maybe_matter),
}  # fmt: skip


def pages(place: tuple[str, str]) -> st.SearchStrategy[Step]:
    body = BODIES[place]
    gone = body.map(lambda found: {"id": found["id"]})
    bodies = st.lists(body | body | body | gone, min_size=1, max_size=3)
    return st.tuples(st.just("page"), st.just(place), bodies)


page = st.sampled_from(list(BODIES)).flatmap(pages)
others = st.one_of(
    st.tuples(st.just("rule"), st.booleans()),
    st.tuples(st.just("split"), st.integers(0, 20)),
    st.tuples(st.just("join"), st.integers(0, 20)),
    st.tuples(st.just("new year"), page),
    st.tuples(st.just("restored"), st.just(None)),
)
histories = st.lists(page | page | page | others, min_size=6, max_size=30)


def live_through(books: Books, history: list[Step]) -> None:
    books.begin()
    for word, given_ in [(step[0], step[1:]) for step in history]:
        match word:
            case "page":
                (connection, resource), bodies = given_
                books.page(connection, resource, *bodies)
            case "rule":
                books.rule(same=given_[0])
            case "split":
                books.split(given_[0])
            case "join":
                books.join(given_[0])
            case "new year":
                books.new_year(1)
                _, (connection, resource), bodies = given_[0]
                books.page(connection, resource, *bodies)  # before anybody noticed that a year began
                books.reconciler().refresh_totals()
            case "restored":  # as after a backup was put back: what was computed by is not known
                with books.app.engine.begin() as sql:
                    sql.execute(delete(meta).where(meta.c.name == totals.DECLARED))
                books.reconciler().refresh_totals()
        books.check()


@on_sqlite
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=histories)
def test_totals_are_what_a_full_recomputation_gives(books: Books, history: list[Step]) -> None:
    live_through(books, history)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@on_sqlite
@settings(max_examples=3000 if LONG else 150, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=histories)
def test_totals_over_long_histories(books: Books, history: list[Step]) -> None:
    live_through(books, history)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@on_postgresql
@settings(max_examples=500 if LONG else 40, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=histories)
def test_totals_on_postgresql(books: Books, history: list[Step]) -> None:
    live_through(books, history)


# --- stories --------------------------------------------------------------------------------------------------------


@on_sqlite
def test_bills_move_every_total_that_is_made_of_them(books: Books) -> None:
    books.page("practice", "bills", a_bill(31, 21, 1), a_bill(32, 21, 1, "49.90", "paid", issued="2026-05-01"))
    books.page("crm", "Opportunity", an_opportunity(1, 21))
    books.page("practice", "matters", a_matter(21, 1))
    assert books.one("practice", "matters", 21)["billed_total"] == "150"
    assert books.one("crm", "Opportunity", "0061")["billed_total"] == "150"
    assert books.one("crm", "Opportunity", "0061")["billed_currency"] == "USD"
    books.page("practice", "contacts", a_person(1))
    jane = books.one("practice", "contacts", 1)
    assert (jane["lifetime_billed"], jane["last_invoice_on"], jane["open_matters"]) == ("150", "2026-05-01", 1)
    assert jane["first_matter_on"] == "2026-01-05"
    books.page("practice", "bills", a_bill(31, 22, 2))
    assert books.one("practice", "contacts", 1)["lifetime_billed"] == "49.9", "the bill was another client's"
    assert books.one("crm", "Opportunity", "0061")["billed_total"] == "49.9"
    books.page("practice", "bills", {"id": 32})
    assert "lifetime_billed" not in books.one("practice", "contacts", 1), "nothing bills her any more"
    assert books.one("practice", "matters", 21)["billed_total"] == "0"
    books.check()


@on_sqlite
def test_an_opportunity_that_loses_its_matter_loses_the_total(books: Books) -> None:
    books.page("practice", "matters", a_matter(21, None))
    books.page("crm", "Opportunity", an_opportunity(1, 21))
    books.page("practice", "bills", a_bill(31, 21, None))
    assert books.one("crm", "Opportunity", "0061")["billed_total"] == "100.1"
    books.page("crm", "Opportunity", an_opportunity(1, None))
    assert "billed_total" not in books.one("crm", "Opportunity", "0061")


@on_sqlite
def test_a_touch_of_somebody_is_a_touch_of_the_employer(books: Books) -> None:
    books.page("crm", "Task", a_task(1, 1, None), a_task(2, None, "0019", "2026-03-01"))
    books.page("crm", "Account", ACCOUNT)
    assert books.one("crm", "Account", "0019")["last_touch_at"] == "2026-03-01T00:00:00.000000Z"
    books.page("crm", "Contact", a_contact(1, "0019"))
    assert books.one("crm", "Contact", "0031")["last_touch_type"] == "call"
    assert books.one("crm", "Account", "0019")["last_touch_at"] == "2026-04-01T00:00:00.000000Z"
    books.page("crm", "Contact", a_contact(1))
    assert books.one("crm", "Account", "0019")["last_touch_at"] == "2026-03-01T00:00:00.000000Z", "she left"


@on_sqlite
def test_a_new_year_begins_by_the_firms_calendar(books: Books) -> None:
    firm = replace(books.app.settings.firm, time_zone="America/New_York")
    books.app.settings = replace(books.app.settings, firm=firm)
    books.page("practice", "contacts", a_person(1))
    books.page("practice", "users", {"id": 51, "first_name": "Ada", "last_name": "Whitfield"})
    books.page("practice", "matters", a_matter(21, 1))
    books.page("practice", "activities", an_entry(41, 21), an_entry(42, 21, on="2026-12-31", seconds=3600))
    places = [("matters", 21), ("contacts", 1), ("users", 51)]

    def hours() -> list[str]:
        return [books.one("practice", *place)["hours_this_year"] for place in places]

    assert hours() == ["2.5", "2.5", "2.5"]
    books.clock.set(datetime(2027, 1, 1, 4, 59, tzinfo=UTC))
    assert books.reconciler().refresh_totals() == 0, "it is still New Year's Eve in New York"
    books.clock.set(datetime(2027, 1, 1, 5, 0, tzinfo=UTC))
    assert books.reconciler().refresh_totals() > 0
    assert hours() == ["0", "0", "0"], "and of what is made of it, too"
    assert books.reconciler().refresh_totals() == 0
    books.clock.set(datetime(2027, 1, 1, 4, 0, tzinfo=UTC))
    books.page("practice", "activities", an_entry(43, 21, on="2027-01-01", seconds=7200))
    assert hours() == ["2", "2", "2"], "a machine whose clock is behind does not bring the old year back"


@on_sqlite
def test_a_total_that_changes_with_the_year_is_owed_to_whoever_shows_it(books: Books) -> None:
    folder = books.app.settings.home / "mappings"
    folder.mkdir(exist_ok=True)
    line = "hours_this_year: {path: Hours__c, decimals: 2, direction: out}"
    (folder / "crm.yaml").write_text(
        f"overrides: salesforce\nrecords:\n  - resource: Contact\n    kind: person\n    fields:\n      {line}\n"
    )
    books.page("practice", "contacts", a_person(1))
    books.page("practice", "matters", a_matter(21, 1))
    books.page("practice", "activities", an_entry(41, 21))
    books.page("crm", "Contact", a_contact(1) | {"Hours__c": 1.5})
    with books.app.engine.begin() as sql:
        row = {"connection": "crm", "resource": "Contact", "poll_s": 60.0, "pull_due_at": "", "pulled_once": True}
        sql.execute(insert(turns).values(**row))
        sql.execute(delete(intents))
    books.new_year(1)
    books.reconciler().refresh_totals()
    with reading(books.app.engine) as sql:
        owed = sql.execute(select(intents.c.connection, intents.c.resource, intents.c.kind)).all()
    assert [tuple(row) for row in owed] == [("crm", "Contact", "person")]


@on_sqlite
def test_other_declarations_are_applied_to_what_is_there(books: Books) -> None:
    """As after an upgrade: the store's totals were computed by other rules, and nobody edits anything."""
    books.page("practice", "matters", a_matter(21, None))
    books.page("practice", "bills", a_bill(31, 21, None))
    (matter,) = [canonical for canonical, (kind, _, _) in books.records().items() if kind == "matter"]
    with books.app.engine.begin() as sql:
        stale = orjson.dumps(books.records()[matter][1] | {"billed_total": "7"}).decode()
        sql.execute(records.update().where(records.c.id == matter).values(golden=stale))
        sql.execute(meta.update().where(meta.c.name == totals.DECLARED).values(value="other rules"))
    assert books.reconciler().refresh_totals() == 1
    assert books.one("practice", "matters", 21)["billed_total"] == "100.1"

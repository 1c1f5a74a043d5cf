"""Systems of every sort, people who do anything at any moment, a service that dies anywhere: what must hold at rest.

Two to five systems are drawn with the facts of real vendors (a write guard or none, a key kept with a new record or
none, deletions in the feed or only in listings, batches or single writes, no fetching, no finding). Rules edit,
create, delete, lose answers, crash at a seam, take the lease from a worker in the middle of its page, expire cursors.

At rest: systems are equal, nobody's latest edit is lost, nothing more is written, we made no record twice, every run's
numbers add up; or a person can see what waits for them.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import orjson
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from sqlalchemy import select

from connectors.errors import Refused
from syncd import once, stewards
from syncd.core.settle import Rule
from syncd.seams import NAMES as SEAMS
from syncd.seams import Crash, armed
from syncd.store.database import reading
from syncd.store.tables import conflicts, dead_letters, intents, links, records, reviews, runs
from syncd.store.tables import writes as ledger
from tests.engine.office import Office

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONG = os.environ.get("SYNCD_TEST_LONG") == "1"
NAMES = ("a", "b", "c", "d", "e")
CUTTING = """
overrides: memory
records:
  - resource: people
    kind: person
    fields:
      title: {path: title, cut: 3}
"""
PEOPLE = {
    "jane": ("Jane", "Doe"),
    "ravi": ("Ravi", "Patel"),
    "mona": ("Mona", "Lindqvist"),
    "otto": ("Otto", "Brandt"),
}
COMPANIES = ("Alder Holdings LLC", "Birch Trading Inc.")
TITLES = ["Partner", "Counsel", "Pa", None]


@dataclass(frozen=True)
class Sort:
    """What a system offers."""

    guarded: bool
    keeps_keys: bool
    feed: bool
    batches: bool
    fetches: bool
    finds: bool
    small_pages: bool
    cuts: bool


sorts = st.builds(Sort, *[st.booleans()] * 8)
Place = tuple[str, str, str]
"""connection, resource, vendor id"""


@dataclass
class Said:
    """What people entered since the last rest: per field of one system's record, the last value; perhaps unseen."""

    value: Any
    sure: bool = True


@dataclass
class Memory:
    """What the test remembers about people's doings."""

    said: dict[tuple[Place, str], Said] = field(default_factory=dict)
    free: bool = False
    """A ruling merged or parted records: their values may become any of those that were claimed."""


class Firm(RuleBasedStateMachine):
    """The rules. `office` is emptied when a history begins."""

    office: ClassVar[Office]
    crashes: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.memory = Memory()
        self.known: dict[str, dict[str, Any]] = {}
        self.sorts: dict[str, Sort] = {}

    @initialize(chosen=st.lists(sorts, min_size=2, max_size=5 if LONG else 4), tolerant=st.booleans())
    def begin(self, chosen: list[Sort], tolerant: bool) -> None:
        office = self.office
        office.reset()
        names = NAMES[: len(chosen)]
        office.rule = Rule(first=names) if tolerant else Rule(first_meeting="latest", tolerance_s=0, first=names)
        office.app.rule = office.rule  # type: ignore[attr-defined]
        for name, sort in zip(names, chosen, strict=True):
            self.sorts[name] = sort
            can = {"ids", "create", "update", "delete"}
            can |= {"fetch"} if sort.fetches else set()
            can |= {"find"} if sort.finds else set()
            can |= {"send"} if sort.batches else set()
            office.vendor(
                name,
                mapping=CUTTING if sort.cuts else None,
                renditions={"title": "cut"} if sort.cuts else None,
                has=tuple(can),
                write_guard="version" if sort.guarded else "none",
                repeat_guard="own-id" if sort.keeps_keys else "none",
                deletions="feed" if sort.feed else "listing",
                batch_max=20 if sort.batches else 1,
                fetch_max=3,
                page_max=2 if sort.small_pages else 100,
            )
        office.only("people", "companies")

    # --- what people do ----------------------------------------------------------------------------------------

    def _say(self, name: str, resource: str, id: str, changes: dict[str, Any]) -> None:
        for what, value in changes.items():
            self.memory.said[(name, resource, id), what] = Said(value)

    def _system(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.sorts)), label="system")

    def _busy_place(self, data: st.DataObject) -> tuple[str, str]:
        """Everything is read first, and then this is a place where something is owed, if there is one."""
        for name in sorted(self.sorts):
            self.office.pull(name)
        owed = sorted({(row["connection"], row["resource"]) for row in self.office.owed() if row["state"] == "due"})
        places = owed or [(name, "people") for name in sorted(self.sorts)]
        return data.draw(st.sampled_from(places), label="place")

    def _record(self, data: st.DataObject, name: str, resource: str = "people") -> str | None:
        ids = sorted(self.office.held(name, resource))
        return data.draw(st.sampled_from(ids), label="record") if ids else None

    @rule(data=st.data(), who=st.sampled_from(sorted(PEOPLE)), title=st.sampled_from(TITLES))
    def somebody_enters_a_person(self, data: st.DataObject, who: str, title: str | None) -> None:
        """Perhaps one whom another system has already, or even this one."""
        name = self._system(data)
        given, family = PEOPLE[who]
        mail = f"{who}@example.com"
        body = {
            "given_name": given, "family_name": family, "title": title, "email": mail,
            "emails": [{"value": mail, "label": "work"}],
        }  # fmt: skip
        id = self.office.new(name, body)
        if title is not None:
            self._say(name, "people", id, {"title": title})

    @rule(data=st.data(), company=st.sampled_from(COMPANIES))
    def somebody_enters_a_company(self, data: st.DataObject, company: str) -> None:
        name = self._system(data)
        site = f"https://{company.split()[0].lower()}.example.org"
        self.office.new(name, {"name": company, "website": site}, resource="companies")

    @rule(data=st.data(), title=st.sampled_from(TITLES), after_s=st.sampled_from([10.0, 1.0]))
    def somebody_changes_a_title(self, data: st.DataObject, title: str | None, after_s: float) -> None:
        name = self._system(data)
        id = self._record(data, name)
        if id is None or self.office.held(name)[id].get("title") == title:
            return
        self.office.edit(name, id, {"title": title}, after_s=after_s)
        self._say(name, "people", id, {"title": title})

    @rule(data=st.data(), number=st.integers(1, 2), there=st.booleans())
    def somebody_adds_or_removes_a_mailbox(self, data: st.DataObject, number: int, there: bool) -> None:
        name = self._system(data)
        id = self._record(data, name)
        if id is None:
            return
        held = self.office.held(name)[id]
        mail = f"{held['given_name'].lower()}.{number}@example.net"
        others = [each for each in held.get("emails") or [] if each["value"] != mail]
        if there == (len(others) < len(held.get("emails") or [])):
            return
        self.office.edit(name, id, {"emails": [*others, *([{"value": mail, "label": "home"}] if there else [])]})
        self._say(name, "people", id, {f"emails/{mail}": there})

    @rule(data=st.data())
    def somebody_moves_to_a_company(self, data: st.DataObject) -> None:
        name = self._system(data)
        id, company = self._record(data, name), self._record(data, name, "companies")
        if id is None or company is None or self.office.held(name)[id].get("company") == company:
            return
        self.office.edit(name, id, {"company": company})
        self._say(name, "people", id, {"organisation": company})

    @rule(data=st.data())
    def somebody_deletes_a_person(self, data: st.DataObject) -> None:
        name = self._system(data)
        id = self._record(data, name)
        if id is None:
            return
        self.office.delete(name, id)
        for (place, _), said in self.memory.said.items():
            if place == (name, "people", id):
                said.sure = False  # perhaps nobody saw it before it went

    @rule(data=st.data())
    def a_steward_rules_on_a_pair(self, data: st.DataObject) -> None:
        waiting = stewards.open_reviews(self.office.app)
        if waiting:
            stewards.rule_pair(self.office.app, waiting[0]["id"], same=data.draw(st.booleans()), by="test")
            self.memory.free = True

    @rule(data=st.data())
    def a_steward_settles_a_conflict(self, data: st.DataObject) -> None:
        waiting = stewards.list_conflicts(self.office.app)
        if waiting:
            sides = [waiting[0]["kept"], *waiting[0]["others"]]
            chosen = data.draw(st.sampled_from(sorted({each["connection"] for each in sides} - {"steward"})))
            stewards.settle_conflict(self.office.app, waiting[0]["id"], take=chosen, by="test")
            self.memory.free = True

    # --- what goes wrong ---------------------------------------------------------------------------------------

    @rule(data=st.data(), what=st.sampled_from(["before", "after", "refused"]))
    def the_next_write_fails(self, data: st.DataObject, what: str) -> None:
        vendor = self.office.vendors[self._system(data)]
        if vendor.faults_left():
            return
        if what == "refused":
            vendor.fail_next_write("before", Refused("The vendor does not like it."))
        else:
            vendor.fail_next_write("before" if what == "before" else "after")

    @rule(data=st.data())
    def cursors_expire(self, data: st.DataObject) -> None:
        self.office.vendors[self._system(data)].expire_cursors()

    # --- what the service does ---------------------------------------------------------------------------------

    @rule(data=st.data(), resource=st.sampled_from(["people", "companies"]))
    def a_turn(self, data: st.DataObject, resource: str) -> None:
        self._turn(self._system(data), resource)

    def _turn(self, name: str, resource: str) -> None:
        vendor = self.office.vendors[name]
        faults = vendor.faults_left()
        self.office.full_turn(name, resource)
        if vendor.faults_left() < faults:
            # What nobody can tell is what happened between a lost write and the look at it: so we look before going on.
            self.office.tick()
            self.office.full_turn(name, resource)

    @rule(data=st.data(), where=st.sampled_from(SEAMS))
    def a_turn_that_dies(self, data: st.DataObject, where: str) -> None:
        name, resource = self._busy_place(data)

        def visit(seam: str) -> None:
            if seam == where:
                self.crashes[seam] += 1
                raise Crash(seam)

        try:
            with armed(visit):
                self.office.full_turn(name, resource)
        except Crash:
            self.office.restart()
            self.office.full_turn(name, resource)

    @rule(data=st.data(), where=st.sampled_from(["page_mapped", "write_planned", "write_answered"]))
    def a_turn_that_is_overtaken(self, data: st.DataObject, where: str) -> None:
        """A worker stands still for longer than its lease; another one does the work; then the first goes on."""
        name, resource = self._busy_place(data)
        overtaken = False

        def visit(seam: str) -> None:
            nonlocal overtaken
            if seam == where and not overtaken:
                overtaken = True
                self.office.tick(31)
                self.office.full_turn(name, resource)

        with armed(visit):
            self.office.full_turn(name, resource)

    @rule(data=st.data())
    def another_system_is_read_while_we_send(self, data: st.DataObject) -> None:
        name, other = self._system(data), self._system(data)
        if name == other:
            return
        busy = False

        def visit(seam: str) -> None:
            nonlocal busy
            if seam in ("write_planned", "write_answered") and not busy:
                busy = True
                self.office.full_turn(other, "people")

        with armed(visit):
            self._turn(name, "people")

    # --- at rest -----------------------------------------------------------------------------------------------

    @rule()
    def rest(self) -> None:
        self._rest(quiet_rounds=1)

    def teardown(self) -> None:
        if self.sorts:
            self._rest(quiet_rounds=3)

    def _rest(self, quiet_rounds: int) -> None:
        self._come_to_rest(quiet_rounds)
        self._check()
        self.memory = Memory()

    def _come_to_rest(self, quiet_rounds: int) -> None:
        office = self.office
        for vendor in office.vendors.values():
            vendor.forget_faults()
        quiet = 0
        for _ in range(12):
            office.tick(3700)  # also the longest pause is over, and every sweep is due
            for name, sort in self.sorts.items():
                if not sort.feed and not all(office.held(name, each) for each in ("people", "companies")):
                    # An empty listing is never believed; a person says that it is right.
                    once.sync_once(office.app, name, accept_deletions=True)
            quiet = quiet + 1 if office.round() == 0 else 0
            if quiet == quiet_rounds:
                return
        raise AssertionError(f"it does not settle: {[(n, v.writes[-4:]) for n, v in office.vendors.items()]}")

    def _check(self) -> None:
        now = Standing(self.office)
        self._check_equal(now)
        self._check_nothing_lost(now)
        self._check_made_once(now)
        for run in now.runs:
            total = run["changed"] + run["unchanged"] + run["conflict"] + run["held"] + run["dead"]
            assert run["pulled"] == total, run
        self.known = {canonical: row["golden"] for canonical, row in now.records.items()}

    def _check_equal(self, now: Standing) -> None:
        for (name, resource, id), link in now.links.items():
            held = now.held[name, resource].get(id)
            assert link["alive"] == (held is not None), f"{name}/{resource}/{id}: alive or not"
            canonical = link["canonical_id"]
            if held is None or resource == "companies" or (name, resource, canonical) in now.aside:
                continue
            golden = now.records[canonical]["golden"]
            if (canonical, "title") not in now.disputed:
                allowed = {golden.get("title")} | ({(golden.get("title") or "")[:3] or None} if self.sorts[name].cuts else set())
                assert held.get("title") in allowed, f"{name}/{id}: {held.get('title')!r}, golden {golden.get('title')!r}"
            assert {each["value"] for each in held.get("emails") or []} == {
                each["value"] for each in golden.get("emails", {}).values()
            }, f"{name}/{id}: mailboxes"
            company = now.links.get((name, "companies", held.get("company") or ""))
            shown = company["canonical_id"] if company else None
            expected = golden.get("organisation")
            if expected is None or now.has(name, "companies", expected):
                assert shown == expected, f"{name}/{id}: company"
        for name, resource in now.held:
            for id in now.held[name, resource]:
                assert (name, resource, id) in now.links, f"{name}/{resource}/{id} was never taken in"
        for canonical, row in now.records.items():
            resource = "people" if row["kind"] == "person" else "companies"
            if row["status"] != "live" or canonical in now.doubtful:
                continue
            for name in self.sorts:
                assert now.was_ever(name, resource, canonical) or (name, resource, canonical) in now.aside, (
                    f"{row['golden']} has no record in {name}"
                )

    def _check_nothing_lost(self, now: Standing) -> None:
        """The golden value is the last one that people entered, in one system or another; or it waits in a conflict."""
        entered: dict[tuple[str, str], list[Said]] = {}
        for (place, what), said in self.memory.said.items():
            if place not in now.links:
                assert not said.sure or place[2] not in now.held[place[:2]], f"{place} was never taken in"
                continue
            value = said.value
            if what == "organisation" and value is not None:
                value = now.links[place[0], "companies", value]["canonical_id"]
            entered.setdefault((now.links[place]["canonical_id"], what), []).append(Said(value, said.sure))
        for (canonical, what), sides in entered.items():
            if (canonical, what) in now.disputed:
                continue
            golden = now.records[canonical]["golden"]
            set_name, slash, key = what.partition("/")
            value = key in golden.get(set_name, {}) if slash else golden.get(what)
            allowed = [side.value for side in sides]
            if self.memory.free or not all(side.sure for side in sides) or canonical not in self.known:
                continue
            # Somebody may have entered what was there already, in the system's own rendition of it.
            before = self.known[canonical].get(what)
            if not slash and isinstance(before, str) and before[:3] in allowed:
                allowed.append(before)
            assert value in allowed, f"lost: {what} is {value!r}, people entered {allowed!r}"

    def _check_made_once(self, now: Standing) -> None:
        for name, vendor in self.office.vendors.items():
            made = [each.removeprefix("created ").split("/") for each in vendor.writes if each.startswith("created ")]
            owners = Counter((resource, now.links[name, resource, id]["origin"]) for resource, id in made)
            assert all(count == 1 for count in owners.values()), f"made twice in {name}: {owners}"


class Standing:
    """Everything as it stands at rest."""

    def __init__(self, office: Office) -> None:
        with reading(office.app.engine) as sql:
            rows = [dict(row) for row in sql.execute(select(links)).mappings()]
            self.records = {
                row["id"]: {**row, "golden": orjson.loads(row["golden"])} for row in sql.execute(select(records)).mappings()
            }
            self.aside = {
                (row["connection"], row["resource"], row["canonical_id"])
                for row in sql.execute(select(intents)).mappings()
                if row["state"] in ("dead", "held", "waiting")
            }
            self.open_intents = [
                dict(row) for row in sql.execute(select(intents).where(intents.c.state.in_(("due", "sending", "unknown")))).mappings()
            ]
            assert not sql.execute(select(dead_letters)).all()
            self.disputed = {
                (row.canonical_id, row.field) for row in sql.execute(select(conflicts).where(conflicts.c.state == "open"))
            }
            self.doubtful = {
                each for row in sql.execute(select(reviews).where(reviews.c.state == "open")) for each in (row.a, row.b)
            }
            self.runs = [dict(row) for row in sql.execute(select(runs)).mappings()]
            made_for = {
                (row.connection, row.resource, row.vendor_id): row.canonical_id
                for row in sql.execute(select(ledger).where(ledger.c.operation == "create", ledger.c.vendor_id.is_not(None)))
            }
        self.links = {
            (row["connection"], row["resource"], row["vendor_id"]): {
                **row,
                "origin": made_for.get((row["connection"], row["resource"], row["vendor_id"]), row["canonical_id"]),
            }
            for row in rows
        }
        self.held = {
            (name, resource): office.held(name, resource) for name in office.vendors for resource in ("people", "companies")
        }

    def has(self, name: str, resource: str, canonical: str) -> bool:
        return any(
            place[:2] == (name, resource) and link["canonical_id"] == canonical and link["alive"]
            for place, link in self.links.items()
        )

    def was_ever(self, name: str, resource: str, canonical: str) -> bool:
        return any(place[:2] == (name, resource) and link["canonical_id"] == canonical for place, link in self.links.items())


@pytest.fixture
def shared(database_url: str, tmp_path: Path) -> Iterator[Office]:
    made = Office(database_url, tmp_path)
    yield made
    made.close()


def run(shared: Office, examples: int) -> None:
    machine = type("Here", (Firm,), {"office": shared})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=50 if LONG else 20,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
        ),
    )


@pytest.mark.timeout(900)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_must_hold_at_rest(shared: Office) -> None:
    run(shared, 400 if LONG else 40)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_what_must_hold_at_rest_on_postgresql(shared: Office) -> None:
    run(shared, 60 if LONG else 5)

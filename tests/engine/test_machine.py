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
from dataclasses import dataclass, field, replace
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

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

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


@dataclass(frozen=True)
class Doing:
    """Something that people do. The numbers choose among what is there."""

    what: str
    system: int
    record: int
    choice: int
    after_s: float


few = st.integers(0, 7)
sorts = st.builds(Sort, *[st.booleans()] * 8)
deeds = st.sampled_from(
    ["title", "mailbox", "company", "title", "mailbox", "title", "enter", "found a company", "delete"]
)
doings = st.builds(Doing, deeds, few, few, few, st.sampled_from([10.0, 10.0, 1.0]))
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
        self.steps = 0

    @initialize(
        chosen=st.lists(sorts, min_size=2, max_size=5 if LONG else 4),
        tolerant=st.booleans(),
        already=st.lists(doings, min_size=2, max_size=4),
        settled=st.booleans(),
    )
    def begin(self, chosen: list[Sort], tolerant: bool, already: list[Doing], settled: bool) -> None:
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
        for each in already:
            self._do(replace(each, what="enter"))
        if settled:
            self._do(replace(already[0], what="found a company"))
            self._rest(quiet_rounds=1)

    def _system(self, number: int) -> str:
        return sorted(self.sorts)[number % len(self.sorts)]

    def _busy_place(self, number: int) -> tuple[str, str]:
        """Everything is read first, and then this is a place where something is owed, if there is one."""
        for name in sorted(self.sorts):
            self.office.pull(name)
        owed = sorted({(row["connection"], row["resource"]) for row in self.office.owed() if row["state"] == "due"})
        return owed[number % len(owed)] if owed else (self._system(number), "people")

    # --- what people do ----------------------------------------------------------------------------------------

    @rule(doings=st.lists(doings, min_size=1, max_size=6))
    def people_do(self, doings: list[Doing]) -> None:
        self.steps += 1
        for each in doings:
            self._do(each)

    def _do(self, doing: Doing) -> None:
        name = self._system(doing.system)
        if doing.what == "enter":
            self._enter(name, doing)
            return
        if doing.what == "found a company":
            company = COMPANIES[doing.choice % len(COMPANIES)]
            site = f"https://{company.split()[0].lower()}.example.org"
            self.office.new(name, {"name": company, "website": site}, resource="companies")
            return
        ids = sorted(self.office.held(name))
        if not ids:
            return
        id = ids[doing.record % len(ids)]
        held = self.office.held(name)[id]
        match doing.what:
            case "delete":
                self._delete(name, id)
            case "title":
                title = TITLES[doing.choice % len(TITLES)]
                if held.get("title") != title:
                    self._edit(name, id, {"title": title}, doing.after_s, {"title": title})
            case "company":
                companies = sorted(self.office.held(name, "companies"))
                employer = companies[doing.choice % len(companies)] if companies else None
                if held.get("company") != employer:
                    self._edit(name, id, {"company": employer}, doing.after_s, {"organisation": employer})
            case "mailbox":
                self._mailbox(name, id, held, doing)
            case _:
                raise AssertionError(doing)

    def _edit(self, name: str, id: str, changes: dict[str, Any], after_s: float, said: dict[str, Any]) -> None:
        self.office.edit(name, id, changes, after_s=after_s)
        self._say(name, id, said)

    def _say(self, name: str, id: str, said: dict[str, Any]) -> None:
        for what, value in said.items():
            self.memory.said[(name, "people", id), what] = Said(value)

    def _enter(self, name: str, doing: Doing) -> None:
        """Perhaps somebody whom another system has already, or even this one."""
        who = sorted(PEOPLE)[doing.record % len(PEOPLE)]
        given, family = PEOPLE[who]
        mail = f"{who}@example.com"
        title = TITLES[doing.choice % len(TITLES)]
        body = {
            "given_name": given, "family_name": family, "title": title, "email": mail,
            "emails": [{"value": mail, "label": "work"}],
        }  # fmt: skip
        id = self.office.new(name, body)
        if title is not None:
            self._say(name, id, {"title": title})

    def _mailbox(self, name: str, id: str, held: dict[str, Any], doing: Doing) -> None:
        """One comes, or goes if it is there."""
        mail = f"{held['given_name'].lower()}.{doing.choice % 2}@example.net"
        before = held.get("emails") or []
        others = [each for each in before if each["value"] != mail]
        there = len(others) == len(before)
        emails = [*others, *([{"value": mail, "label": "home"}] if there else [])]
        self._edit(name, id, {"emails": emails}, doing.after_s, {f"emails/{mail}": there})

    def _delete(self, name: str, id: str) -> None:
        self.office.delete(name, id)
        for (place, _), said in self.memory.said.items():
            if place == (name, "people", id):
                said.sure = False  # perhaps nobody saw it before it went

    @rule(same=st.booleans(), which=few)
    def a_steward_decides(self, same: bool, which: int) -> None:
        if pairs := stewards.open_reviews(self.office.app):
            stewards.rule_pair(self.office.app, pairs[0]["id"], same=same, by="test")
            self.memory.free = True
        if waiting := stewards.list_conflicts(self.office.app):
            sides = [waiting[0]["kept"], *waiting[0]["others"]]
            names = sorted({each["connection"] for each in sides} - {"steward"})
            stewards.settle_conflict(self.office.app, waiting[0]["id"], take=names[which % len(names)], by="test")
            self.memory.free = True

    # --- what goes wrong ---------------------------------------------------------------------------------------

    @rule(what=st.sampled_from(["before", "after", "refused", "cursor"]))
    def something_fails(self, what: str) -> None:
        """In every system, the next time."""
        for vendor in self.office.vendors.values():
            if what == "cursor":
                vendor.expire_cursors()
            elif vendor.faults_left():
                continue
            elif what == "refused":
                vendor.fail_next_write("before", Refused("The vendor does not like it."))
            else:
                vendor.fail_next_write("before" if what == "before" else "after")

    # --- what the service does ---------------------------------------------------------------------------------

    @rule(system=few, resource=st.sampled_from(["people", "companies"]))
    def a_turn(self, system: int, resource: str) -> None:
        self._turn(self._system(system), resource)

    @rule()
    def a_round(self) -> None:
        for name in sorted(self.sorts):
            for resource in ("companies", "people"):
                self._turn(name, resource)

    def _turn(self, name: str, resource: str) -> None:
        vendor = self.office.vendors[name]
        faults = vendor.faults_left()
        self.office.full_turn(name, resource)
        if vendor.faults_left() < faults:
            # What nobody can tell is what happened between a lost write and the look at it: so we look before going on.
            self.office.tick()
            self.office.full_turn(name, resource)

    @rule(where=st.sampled_from(SEAMS), which=few)
    def a_turn_that_dies(self, where: str, which: int) -> None:
        name, resource = self._busy_place(which)

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

    @rule(where=st.sampled_from(["page_mapped", "write_planned", "write_answered"]), which=few)
    def a_turn_that_is_overtaken(self, where: str, which: int) -> None:
        """A worker stands still for longer than its lease; another one does the work; then the first goes on."""
        name, resource = self._busy_place(which)
        overtaken = False

        def visit(seam: str) -> None:
            nonlocal overtaken
            if seam == where and not overtaken:
                overtaken = True
                self.office.tick(31)
                self.office.full_turn(name, resource)

        with armed(visit):
            self.office.full_turn(name, resource)

    @rule(which=few, system=few, doing=doings)
    def people_and_another_worker_are_busy_while_we_send(self, which: int, system: int, doing: Doing) -> None:
        name, _ = self._busy_place(which)
        other = self._system(system)
        if name == other:
            return
        self._do(replace(doing, system=system))
        busy = False

        def visit(seam: str) -> None:
            nonlocal busy
            if seam in ("write_planned", "write_answered") and not busy:
                busy = True
                self.office.full_turn(other, "people")

        with armed(visit):
            self._turn(name, "people")

    # --- at rest -----------------------------------------------------------------------------------------------

    @precondition(lambda self: self.steps >= 4)
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
        self.steps = 0

    def _come_to_rest(self, quiet_rounds: int) -> None:
        office = self.office
        for vendor in office.vendors.values():
            vendor.forget_faults()
        quiet = 0
        for _ in range(12):
            office.tick(3700)  # also the longest pause is over, and every sweep is due
            for name in self.sorts:
                if not all(office.held(name, each) for each in ("people", "companies")):
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
                allowed = {golden.get("title")} | (
                    {(golden.get("title") or "")[:3] or None} if self.sorts[name].cuts else set()
                )
                assert held.get("title") in allowed, (
                    f"{name}/{id}: {held.get('title')!r}, golden {golden.get('title')!r}"
                )
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
                row["id"]: {**row, "golden": orjson.loads(row["golden"])}
                for row in sql.execute(select(records)).mappings()
            }
            self.aside = {
                (row["connection"], row["resource"], row["canonical_id"])
                for row in sql.execute(select(intents)).mappings()
                if row["state"] in ("dead", "held", "waiting")
            }
            self.open_intents = [
                dict(row)
                for row in sql.execute(
                    select(intents).where(intents.c.state.in_(("due", "sending", "unknown")))
                ).mappings()
            ]
            assert not sql.execute(select(dead_letters)).all()
            self.disputed = {
                (row.canonical_id, row.field)
                for row in sql.execute(select(conflicts).where(conflicts.c.state == "open"))
            }
            self.doubtful = {
                each for row in sql.execute(select(reviews).where(reviews.c.state == "open")) for each in (row.a, row.b)
            }
            self.runs = [dict(row) for row in sql.execute(select(runs)).mappings()]
            made_for = {
                (row.connection, row.resource, row.vendor_id): row.canonical_id
                for row in sql.execute(
                    select(ledger).where(ledger.c.operation == "create", ledger.c.vendor_id.is_not(None))
                )
            }
        self.links = {
            (row["connection"], row["resource"], row["vendor_id"]): {
                **row,
                "origin": made_for.get((row["connection"], row["resource"], row["vendor_id"]), row["canonical_id"]),
            }
            for row in rows
        }
        self.held = {
            (name, resource): office.held(name, resource)
            for name in office.vendors
            for resource in ("people", "companies")
        }

    def has(self, name: str, resource: str, canonical: str) -> bool:
        return any(
            place[:2] == (name, resource) and link["canonical_id"] == canonical and link["alive"]
            for place, link in self.links.items()
        )

    def was_ever(self, name: str, resource: str, canonical: str) -> bool:
        return any(
            place[:2] == (name, resource) and link["canonical_id"] == canonical for place, link in self.links.items()
        )


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
            stateful_step_count=40 if LONG else 15,
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

"""A story told in every way: straight, again, stopped at each seam and taken up anew, and with no write ever answered.

A story is a list of acts. In an act people do things, then the service carries everything over. However that goes, it
must end in the same state of all systems. Each act is told again from a snapshot, so that many ways stay quick.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import select

from syncd.seams import Crash, armed
from syncd.store.database import reading
from syncd.store.tables import conflicts, dead_letters, intents, links, records, reviews, runs, writes

if TYPE_CHECKING:
    from tests.engine.office import Office

Act = Callable[["Office"], None]
ROUNDS_MAX = 12
REFERENCES = {"company": "companies", "client": "people", "matter": "matters"}


def nothing(_: str) -> None:
    """A seam that nobody stops at."""


def carry_over(office: Office, visit: Callable[[str], None] = nothing) -> int:
    """Rounds of the service until one writes nothing; a worker that dies is started again. Returns the rounds before.

    The visitor sees the first round, in which everything happens; what comes after it finds nothing to do.
    """
    for count in range(ROUNDS_MAX):
        try:
            with armed(visit if count == 0 else nothing):
                written = office.round()
        except Crash:
            office.restart()
            continue
        if not written and not waiting(office):
            return count
        office.tick(60)  # pauses after failures are over
    raise AssertionError(f"it does not settle: {[vendor.writes[-4:] for vendor in office.vendors.values()]}")


def waiting(office: Office) -> bool:
    """Something is under way, or will be tried again by itself."""
    return any(row["state"] in ("due", "sending", "unknown") for row in office.owed())


def state(office: Office) -> dict[str, Any]:
    """What every system's people see and what a steward sees, without ids and times, which may differ."""
    found: dict[str, Any] = {}
    for name, vendor in office.vendors.items():
        resources = [resource.name for resource in vendor.spec.resources]
        held = {resource: vendor.look(resource) for resource in resources}
        for resource in resources:
            found[f"{name}/{resource}"] = sorted(
                (_plain(body, held) for body in held[resource].values()), key=orjson.dumps
            )
    with reading(office.app.engine) as sql:
        alive = (
            select(records.c.kind, records.c.status)
            .where(records.c.status != "merged")
            .order_by(records.c.kind, records.c.status)
        )
        found["records"] = [tuple(row) for row in sql.execute(alive)]
        linked = select(links.c.connection, links.c.resource, links.c.alive)
        found["links"] = sorted(tuple(row) for row in sql.execute(linked))
        found["conflicts"] = sorted(sql.execute(select(conflicts.c.field).where(conflicts.c.state == "open")).scalars())
        found["reviews"] = len(sql.execute(select(reviews).where(reviews.c.state == "open")).all())
        found["intents"] = sorted(sql.execute(select(intents.c.state)).scalars())
        found["dead letters"] = len(sql.execute(select(dead_letters)).all())
    return found


def _plain(body: dict[str, Any], held: dict[str, dict[str, Any]]) -> dict[str, Any]:
    plain = {name: value for name, value in body.items() if name != "updated_at" and value not in (None, [])}
    for name, resource in REFERENCES.items():
        if name in plain:
            other = held[resource].get(plain[name], {})
            plain[name] = [other.get(each) for each in ("name", "given_name", "family_name")]
    return plain


def check_ledger(office: Office) -> None:
    """We made no record twice, every record that we made is linked, and every run's numbers add up."""
    with reading(office.app.engine) as sql:
        known = {(row.connection, row.resource, row.vendor_id) for row in sql.execute(select(links))}
        made = select(writes.c.connection, writes.c.resource, writes.c.canonical_id).where(
            writes.c.operation == "create", writes.c.outcome.in_(("done", "found"))
        )
        counted = Counter(tuple(row) for row in sql.execute(made))
        for run in sql.execute(select(runs)).mappings():
            total = sum(run[name] for name in ("changed", "unchanged", "conflict", "held", "dead"))
            assert run["pulled"] == total, dict(run)
    assert all(count == 1 for count in counted.values()), counted
    for name, vendor in office.vendors.items():
        for each in vendor.writes:
            what, _, place = each.partition(" ")
            resource, _, id = place.partition("/")
            assert what != "created" or (name, resource, id) in known, f"{name}/{place} was made and is not linked"


def tell(office: Office, acts: Sequence[Act]) -> dict[str, Any]:
    """Straight, to the end; returns the final state."""
    for act in acts:
        act(office)
        carry_over(office)
    check_ledger(office)
    return state(office)


def tell_every_way(office: Office, acts: Sequence[Act], *, every: int = 1) -> Counter[str]:
    """All the ways, act by act; returns how often each seam was passed when told straight.

    every  stop only at each n-th seam, where all of them would take too long
    """
    passed: Counter[str] = Counter()
    for number, act in enumerate(acts):
        act(office)
        before = office.snapshot()
        visited: list[str] = []
        carry_over(office, visited.append)
        passed.update(visited)
        after = state(office)
        check_ledger(office)
        counts = {name: len(vendor.writes) for name, vendor in office.vendors.items()}
        end = office.snapshot()
        for _ in range(2):
            assert office.round() == 0, "told again, it wrote again"
        assert state(office) == after
        for stop in range(number % every, len(visited), every):
            office.restore(before)
            carry_over(office, _stop_at(stop))
            assert state(office) == after, f"act {number + 1}, stopped at seam {stop} ({visited[stop]})"
            check_ledger(office)
            _check_no_write_twice(office, before.writes, counts, f"act {number + 1}, seam {stop} ({visited[stop]})")
        office.restore(before)
        for vendor in office.vendors.values():
            for _ in range(50):
                vendor.fail_next_write("after")
        carry_over(office)
        assert state(office) == after, f"act {number + 1}, told without answers"
        check_ledger(office)
        _check_no_write_twice(office, before.writes, counts, f"act {number + 1}, without answers")
        office.restore(end)
    return passed


def _check_no_write_twice(office: Office, before: dict[str, list[str]], counts: dict[str, int], when: str) -> None:
    for name, vendor in office.vendors.items():
        made = [each for each in vendor.writes[len(before[name]) :] if each.startswith(("created", "deleted"))]
        assert len(set(made)) == len(made), f"{when}: {name} {made}"
        assert len(vendor.writes) <= counts[name], f"{when}: {name} wrote more than when told straight: {vendor.writes}"


def _stop_at(number: int) -> Callable[[str], None]:
    passed = -1

    def visit(name: str) -> None:
        nonlocal passed
        passed += 1
        if passed == number:
            raise Crash(name)

    return visit

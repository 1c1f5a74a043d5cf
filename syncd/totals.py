"""Totals over other records, as `mappings/rollups.yaml` declares them: found again for what a page touched, and for
everything when a new year begins or the declarations changed.

What a total is made of is asked of the golden records and their edges as they stand, so late, changed, moved and
deleted inputs need no case of their own: a total is never patched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import Connection, select

from mappings.rollups import fingerprint
from syncd.store.database import among, upsert_rows
from syncd.store.tables import edges, meta, records

if TYPE_CHECKING:
    from collections.abc import Set
    from datetime import datetime

    from mappings.canonical import Values
    from mappings.rollups import Rollup, Source
    from syncd.app import World

Changed = Mapping[str, tuple[str, "Values", "Values"]]
"""canonical id -> kind, golden values before and after."""
ByKind = dict[str, list[tuple[str, "Values", "Values"]]]
Totals = dict[str, dict[str, Any]]
"""canonical id -> field -> its new total; None takes the total back."""

DECLARED, YEAR = "rollups", "rollups_year"  # rows of `meta`: what the stored totals were computed by


def changed_totals(sql: Connection, rollups: Sequence[Rollup], changed: Changed, ruled: Set[str], year: int) -> Totals:
    """The totals that come out differently now that these records changed.

    ruled  records whose status or links changed, so that they count differently whatever their values
    """
    by_kind: ByKind = {}
    for canonical, (kind, before, after) in changed.items():
        by_kind.setdefault(kind, []).append((canonical, before, after))
    found: Totals = {}
    wanted = []
    for rollup in rollups:
        parents = _fed(rollup, by_kind, ruled)
        moved, orphans = _moved(rollup, by_kind.get(rollup.kind, ()))
        wanted.append((rollup, parents | moved))
        for canonical in orphans:
            found.setdefault(canonical, {})[rollup.field] = None
    for canonical, totals in _compute(sql, wanted, year).items():
        found.setdefault(canonical, {}).update(totals)
    return found


def all_totals(sql: Connection, rollups: Iterable[Rollup], ids: Iterable[str], year: int) -> Totals:
    """The totals of these records that differ from what is stored, and of others that lead to the same records."""
    wanted = set(ids)
    pairs = []
    for rollup in rollups:
        if rollup.on == "self":
            pairs.append((rollup, wanted))
            continue
        led = sql.execute(
            select(edges.c.target_id).where(among(sql, edges.c.canonical_id, wanted), edges.c.field == rollup.on)
        ).scalars()
        pairs.append((rollup, set(led)))
    return _compute(sql, pairs, year)


def _fed(rollup: Rollup, by_kind: ByKind, ruled: Set[str]) -> set[str]:
    """What changed sources lead to, or led to."""
    parents: set[str] = set()
    for source in rollup.sources:
        via, reads = source.via, source.reads
        for canonical, before, after in by_kind.get(source.kind, ()):
            one, other = before.get(via), after.get(via)
            if (one is None and other is None) or not (canonical in ruled or _matters(source, reads, before, after)):
                continue
            parents.update(parent for parent in (one, other) if parent is not None)
    return parents


def _matters(source: Source, reads: Set[str], before: Values, after: Values) -> bool:
    if source.field and before.get(source.field) is None and after.get(source.field) is None:
        return False
    return any(before.get(name) != after.get(name) for name in reads)


def _moved(rollup: Rollup, changed: Iterable[tuple[str, Values, Values]]) -> tuple[set[str], set[str]]:
    """(what targets lead to for the first time, targets that lead nowhere any more but still show a total)"""
    parents: set[str] = set()
    orphans: set[str] = set()
    if rollup.on == "self":
        # Nothing leads yet to a record that was just made: what refers to it is settled after it.
        return (
            set() if rollup.nothing is None else {canonical for canonical, before, _ in changed if not before}
        ), orphans
    for canonical, before, after in changed:
        parent = after.get(rollup.on)
        if parent is None:
            if after.get(rollup.field) is not None:
                orphans.add(canonical)
        elif before.get(rollup.on) != parent:
            parents.add(parent)
    return parents, orphans


def _compute(sql: Connection, wanted: Sequence[tuple[Rollup, Set[str]]], year: int) -> Totals:
    """The totals of all targets that belong to these parents, where they differ from what is stored."""
    targets: dict[tuple[str, str], list[tuple[str, str, Values]]] = {}
    for place in {(rollup.kind, rollup.on) for rollup, parents in wanted if parents}:
        wide = {p for rollup, parents in wanted if (rollup.kind, rollup.on) == place for p in parents}
        targets[place] = _targets(sql, *place, wide)
    inputs: dict[tuple[str, str], dict[str, list[Values]]] = {}
    led: dict[tuple[str, str], set[str]] = {}
    for rollup, parents in wanted:
        there = {parent for _, parent, _ in targets.get((rollup.kind, rollup.on), ()) if parent in parents}
        for source in rollup.sources if there else ():
            led.setdefault((source.kind, source.via), set()).update(there)
    for source_place, there in led.items():
        inputs[source_place] = _inputs(sql, *source_place, there)
    found: Totals = {}
    for rollup, parents in wanted:
        for canonical, parent, golden in targets.get((rollup.kind, rollup.on), ()):
            if parent not in parents:
                continue
            groups = [inputs[source.kind, source.via].get(parent, ()) for source in rollup.sources]
            value = rollup.compute(groups, year)
            if golden.get(rollup.field) != value:
                found.setdefault(canonical, {})[rollup.field] = value
    return found


def _targets(sql: Connection, kind: str, on: str, parents: Set[str]) -> list[tuple[str, str, Values]]:
    """(canonical id, what it leads to, its golden values)"""
    if on == "self":
        query = select(records.c.id, records.c.id.label("parent"), records.c.golden).where(
            among(sql, records.c.id, parents)
        )
    else:
        query = (
            select(records.c.id, edges.c.target_id, records.c.golden)
            .join(edges, edges.c.canonical_id == records.c.id)
            .where(among(sql, edges.c.target_id, parents), edges.c.field == on)
        )
    rows = sql.execute(query.where(records.c.kind == kind, records.c.status != "merged"))
    return [(canonical, parent, orjson.loads(golden)) for canonical, parent, golden in rows]


def _inputs(sql: Connection, kind: str, via: str, parents: Set[str]) -> dict[str, list[Values]]:
    """What leads to each parent: live records only, so a deleted one, or one that waits for a ruling, adds nothing."""
    found: dict[str, list[Values]] = {}
    rows = sql.execute(
        select(edges.c.target_id, records.c.golden)
        .join(records, records.c.id == edges.c.canonical_id)
        .where(
            among(sql, edges.c.target_id, parents),
            edges.c.field == via,
            records.c.kind == kind,
            records.c.status == "live",
        )
    )
    for parent, golden in rows:
        found.setdefault(parent, []).append(orjson.loads(golden))
    return found


# --- what the stored totals were computed by ------------------------------------------------------------------------


def standing(sql: Connection) -> tuple[str, int]:
    """The declarations' fingerprint and the year by which the stored totals were last computed; ("", 0) at first."""
    rows = sql.execute(select(meta.c.name, meta.c.value).where(meta.c.name.in_((DECLARED, YEAR))))
    found = {name: value for name, value in rows}
    return found.get(DECLARED, ""), int(found.get(YEAR, "0"))


def current_year(sql: Connection, world: World, now: datetime) -> int:
    """The firm's year. It never goes back, though clocks of two machines differ around midnight."""
    return max(world.year(now), standing(sql)[1])


def outdated(sql: Connection, world: World, now: datetime) -> tuple[Rollup, ...]:
    """The rollups whose stored totals no longer hold: those of the year when a new one began, all of them when the
    declarations are others."""
    declared, year = standing(sql)
    if declared != fingerprint(world.rollups):
        return world.rollups
    return tuple(rollup for rollup in world.rollups if rollup.by_year) if year < world.year(now) else ()


def note(sql: Connection, world: World, year: int) -> None:
    """From now on the stored totals hold for these declarations and this year."""
    rows = [(DECLARED, fingerprint(world.rollups)), (YEAR, str(year))]
    upsert_rows(sql, meta, ("name", "value"), rows)

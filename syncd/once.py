"""A sync without queue and workers: everything in this process, in order, for scripts and benchmarks."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from connectors.errors import NeedsPerson, SyncError
from syncd.clock import iso
from syncd.store.database import reading
from syncd.store.tables import connections, runs, turns
from syncd.turns import LEASE, due_turns, take
from syncd.work import turn

if TYPE_CHECKING:
    from collections.abc import Callable

    from syncd.app import App
    from syncd.turns import Lease

ROUNDS_MAX = 20


class Busy(Exception):
    """A worker holds this resource and does not let go."""


class Unknown(Exception):
    """No such connection or resource."""


@dataclass(slots=True)
class Synced:
    """What a sync did. `problems` maps "connection/resource" to what stopped it."""

    totals: dict[str, int] = field(default_factory=dict)
    problems: dict[str, SyncError] = field(default_factory=dict)
    places: list[tuple[str, str]] = field(default_factory=list)


def places(app: App, connection: str | None = None, resource: str | None = None) -> list[tuple[str, str]]:
    """(connection, resource) pairs to sync; raises Unknown with what there is."""
    with reading(app.engine) as sql:
        found = [
            (row.connection, row.resource)
            for row in sql.execute(
                select(turns.c.connection, turns.c.resource).order_by(turns.c.connection, turns.c.resource)
            )
        ]
    chosen = [each for each in found if connection in (None, each[0]) and resource in (None, each[1])]
    if not chosen:
        known = ", ".join(f"{a}/{b}" for a, b in found) or "nothing yet (syncd connect add)"
        raise Unknown(f"There is nothing to sync under that name. Connected: {known}.")
    return chosen


def sync_once(
    app: App,
    connection: str | None = None,
    resource: str | None = None,
    *,
    pull_only: bool = False,
    accept_deletions: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Synced:
    """Read every chosen resource once, then send until nothing is owed there any more."""
    began = iso(app.clock.now())
    result = Synced(places=places(app, connection, resource))
    due_now(app, result.places)
    for place in result.places:
        tell(f"{place[0]}/{place[1]}: reading")
        failure = _turn(app, place, pull_only=pull_only, accept_deletions=accept_deletions)
        if failure is not None:
            result.problems["/".join(place)] = failure
    chosen = set(result.places)
    for _ in range(0 if pull_only else ROUNDS_MAX):
        with reading(app.engine) as sql:
            owed = [
                (row["connection"], row["resource"])
                for row in due_turns(sql, app.clock.now(), limit=1000)
                if row["deliver"] and (row["connection"], row["resource"]) in chosen
            ]
        if not owed:
            break
        for place in owed:
            tell(f"{place[0]}/{place[1]}: sending")
            failure = _turn(app, place)
            if failure is not None:
                result.problems["/".join(place)] = failure
                chosen.discard(place)
    with reading(app.engine) as sql:
        rows = [dict(row) for row in sql.execute(select(runs).where(runs.c.started_at >= began)).mappings()]
    for name in ("pulled", "changed", "unchanged", "conflict", "held", "dead", "written", "requests"):
        result.totals[name] = sum(
            int(row[name] or 0) for row in rows if (row["connection"], row["resource"]) in set(result.places)
        )
    return result


def due_now(app: App, chosen: list[tuple[str, str]]) -> None:
    """Make these resources due, whatever their polling says."""
    now = iso(app.clock.now())
    with app.engine.begin() as sql:
        for connection, resource in chosen:
            sql.execute(
                update(turns)
                .where(turns.c.connection == connection, turns.c.resource == resource)
                .values(pull_due_at=now)
            )


def _turn(app: App, place: tuple[str, str], **how: Any) -> SyncError | None:
    problem = _stopped(app, place[0])
    if problem is not None:
        return problem
    return turn(app, wait_for_lease(app, place), **how)


def _stopped(app: App, connection: str) -> SyncError | None:
    with reading(app.engine) as sql:
        row = sql.execute(
            select(connections.c.problem, connections.c.remedy).where(connections.c.name == connection)
        ).one()
    return NeedsPerson(row.problem, remedy=row.remedy or "") if row.problem is not None else None


def wait_for_lease(app: App, place: tuple[str, str]) -> Lease:
    deadline = time.monotonic() + LEASE.total_seconds() + 5
    while True:
        with app.engine.begin() as sql:
            lease = take(sql, *place, app.owner, app.clock)
        if lease is not None:
            return lease
        if time.monotonic() > deadline:
            raise Busy(
                f"A worker is busy with {place[0]}/{place[1]}; try again when it is done, or let it do the work."
            )
        time.sleep(0.1)

"""Finding what vanished where no feed shows deletions: compare all ids with what we know, and ask before believing.

A listing can be wrong (an outage, a role that hides records, a filter), so an empty one deletes nothing, a
shrunken one holds and asks, and every missing record is fetched once more by its id before it counts as gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, select, update

from connectors.contract import Capabilities, Connector, Record
from syncd import logs
from syncd.clock import iso
from syncd.reconcile import Arrival, Reconciler
from syncd.runs import Run
from syncd.seams import seam
from syncd.store.database import reading
from syncd.store.tables import dead_letters, links, turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import timedelta

    from syncd.app import App, World
    from syncd.turns import Lease

BRAKE_RECORDS = 25
BRAKE_SHARE = 0.10
FETCH_PART = 200
log = logs.get("sweep")


def brake(missing: int, known: int) -> bool:
    """More than max(25 records, 10 %) gone at once is not believed without a person."""
    return missing > max(BRAKE_RECORDS, BRAKE_SHARE * known)


def sweep(
    app: App,
    world: World,
    connector: Connector,
    lease: Lease,
    *,
    every: timedelta,
    requests: Callable[[], int],
    approved: bool = False,
) -> int:
    """Take deletions in; returns how many. `approved` lifts the brake once."""
    caps = Capabilities.of(connector)
    run = Run(app, lease, "sweep")
    by_listing = connector.spec.facts.deletions == "listing"  # a feed needs a sweep only after its cursor was lost
    problem: str | None = None
    gone: list[Record] = []
    if caps.ids is not None or caps.fetch is not None:
        known = _known(app, lease)
        total = len(known)
        listed = 0
        missing = sorted(known)
        if caps.ids is not None:
            for ids in caps.ids(lease.resource):
                listed += len(ids)
                known.difference_update(ids)
            missing = sorted(known)
        elif caps.fetch is not None:  # no listing: every record is asked for
            missing = [record.id for record in _fetched(caps.fetch, lease.resource, missing) if record.deleted]
            listed = total - len(missing)
        if missing and not listed and not approved:
            problem = f"The listing of {lease.resource} came back empty, so nothing was taken as deleted."
        elif brake(len(missing), total) and not approved:
            problem = (
                f"{len(missing)} of {total} {lease.resource} are missing from the listing: too many to believe."
                f" If that is right: syncd sync {lease.connection} --resource {lease.resource}"
                " --once --accept-deletions"
            )
            run.counts.held += len(missing)
            run.counts.pulled += len(missing)
        else:
            if caps.fetch is None:
                gone.extend(Record(id, None, {}, deleted=True) for id in missing)
            else:
                gone.extend(_fetched(caps.fetch, lease.resource, missing))
    seam("sweep_compared")
    reconciler = Reconciler(app, world, lease.connection, lease.resource, lease)
    prepared = reconciler.prepare([Arrival(record) for record in gone])

    def finish(sql: Connection) -> None:
        run.counts.add(prepared.counts)
        run.requests = requests()
        now = app.clock.now()
        sql.execute(
            update(turns)
            .where(turns.c.connection == lease.connection, turns.c.resource == lease.resource)
            .values(last_sweep_at=iso(now), sweep_due_at=iso(now + every) if by_listing or problem else None)
        )
        run.store(sql, problem=problem, ended=True)

    reconciler.commit(prepared, finish)
    if problem is not None:
        log.warning("sweep_held", connection=lease.connection, resource=lease.resource)
    return prepared.counts.changed


def _known(app: App, lease: Lease) -> set[str]:
    """Records that should exist: those with a link, and those that lie among the dead letters."""
    with reading(app.engine) as sql:
        alive = select(links.c.vendor_id).where(
            links.c.connection == lease.connection, links.c.resource == lease.resource, links.c.alive
        )
        unread = select(dead_letters.c.vendor_id).where(
            dead_letters.c.connection == lease.connection, dead_letters.c.resource == lease.resource
        )
        return {*sql.execute(alive).scalars(), *sql.execute(unread).scalars()}


def _fetched(
    fetch: Callable[[str, Sequence[str]], tuple[Record, ...]], resource: str, ids: Sequence[str]
) -> Iterator[Record]:
    for start in range(0, len(ids), FETCH_PART):
        yield from fetch(resource, ids[start : start + FETCH_PART])

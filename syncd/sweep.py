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
from syncd.store.tables import links, turns

if TYPE_CHECKING:
    from datetime import timedelta
    from collections.abc import Callable

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
    problem: str | None = None
    gone: list[Record] = []
    if caps.ids is not None and connector.spec.facts.deletions == "listing":
        with reading(app.engine) as sql:
            alive = select(links.c.vendor_id).where(
                links.c.connection == lease.connection, links.c.resource == lease.resource, links.c.alive
            )
            known = set(sql.execute(alive).scalars())
        total = len(known)
        listed = 0
        for ids in caps.ids(lease.resource):
            listed += len(ids)
            known.difference_update(ids)
        missing = sorted(known)
        if missing and not listed:
            problem = f"The listing of {lease.resource} came back empty, so nothing was taken as deleted."
        elif brake(len(missing), total) and not approved:
            problem = (
                f"{len(missing)} of {total} {lease.resource} are missing from the listing: too many to believe."
                f" If that is right: syncd sync {lease.connection} --resource {lease.resource} --once --accept-deletions"
            )
            run.counts.held += len(missing)
            run.counts.pulled += len(missing)
        else:
            for start in range(0, len(missing), FETCH_PART):
                part = missing[start : start + FETCH_PART]
                if caps.fetch is None:
                    gone.extend(Record(id, None, {}, deleted=True) for id in part)
                else:
                    gone.extend(caps.fetch(lease.resource, part))
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
            .values(last_sweep_at=iso(now), sweep_due_at=iso(now + every))
        )
        run.store(sql, problem=problem, ended=True)

    reconciler.commit(prepared, finish)
    if problem is not None:
        log.warning("sweep_held", connection=lease.connection, resource=lease.resource)
    return prepared.counts.changed

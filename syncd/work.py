"""One worker's turn: take the most urgent due piece of work, do it under its lease, and note how it went.

A turn on one connection's resource first finds out what became of unanswered writes, then sends what is owed,
then reads what changed, and sweeps for deletions when that is due. What stops a connection is stored with its
remedy, once; what only needs time moves the due time.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import insert, select, update
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from connectors.contract import Capabilities
from connectors.errors import (
    CursorExpired,
    Misconfigured,
    MissingPermission,
    NeedsPerson,
    RateLimited,
    ReconnectNeeded,
    ShapeChanged,
    SyncError,
    TryLater,
)
from syncd import logs, upgrades
from syncd.clock import from_iso, iso
from syncd.connecting import choose, open_connection
from syncd.deliver import deliver
from syncd.pull import pull
from syncd.reconcile import Reconciler
from syncd.remedies import next_step
from syncd.schemas import SchemaMoved, look
from syncd.store.database import reading
from syncd.store.tables import connections, runs, turns
from syncd.sweep import sweep
from syncd.turns import Lease, LostLease, count_due, due_turns, take
from syncd.vault import VaultError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, RowMapping

    from connectors.contract import Connector
    from syncd.app import App, Member, World

SLICE_S = 20.0
SWEEP_EVERY = timedelta(hours=1)
BACKOFF_MAX_S = 300.0
SHAPES_MAX = 3
MISTAKES_MAX = 2
log = logs.get("work")


def work(app: App, *, limit_s: float = SLICE_S, only: Sequence[str] | None = None) -> int:
    """Take due turns until none is left or the time is up; returns the number of turns done.

    only  connection names, to leave the others alone
    """
    started = app.clock.now()
    until = started + timedelta(seconds=limit_s)
    done = 0
    while app.clock.now() < until:
        lease = _next(app, only)
        if lease is None:
            return done
        try:
            turn(app, lease, until=until)
        except Exception as error:
            if not _is_outage(app, error):
                _note_mistake(app, lease, error)
            raise
        done += 1
    return done


def _is_outage(app: App, error: Exception) -> bool:
    """The database went away or was too busy: nothing is wrong with the turn."""
    driver = app.engine.dialect.loaded_dbapi
    away = (OSError, OperationalError, InterfaceError, PoolTimeout, driver.OperationalError, driver.InterfaceError)
    return isinstance(error, away)


def _note_mistake(app: App, lease: Lease, error: Exception) -> None:
    """A mistake of ours must not hide in a log: it is a run's problem at once, and stops the connection when it recurs.

    The lease runs out by itself, so that the same turn is not tried again at once and others get their turns.
    """
    what = f"A mistake in syncd itself ({type(error).__name__}) ended the work on {lease.resource}. The log says where."
    remedy = f"Report it with the log's line. To try again: syncd connect check {lease.connection}"
    here = (turns.c.connection == lease.connection, turns.c.resource == lease.resource)
    with app.engine.begin() as sql:
        counted = update(turns).where(*here).values(failures=turns.c.failures + 1).returning(turns.c.failures)
        failures = sql.execute(counted).scalar_one_or_none()
        if failures is None:
            return
        if failures >= MISTAKES_MAX:
            running = (connections.c.name == lease.connection, connections.c.problem.is_(None))
            sql.execute(update(connections).where(*running).values(problem=what, remedy=remedy))
        _tell(sql, app, lease, what)


def _tell(sql: Connection, app: App, lease: Lease, problem: str) -> None:
    now = iso(app.clock.now())
    sql.execute(
        insert(runs).values(
            id=app.new_id(),
            connection=lease.connection,
            resource=lease.resource,
            activity="stopped",
            started_at=now,
            ended_at=now,
            problem=problem,
        )
    )


def due(app: App) -> int:
    """Turns that could start now."""
    with reading(app.engine) as sql:
        return count_due(sql, app.clock.now())


def _next(app: App, only: Sequence[str] | None) -> Lease | None:
    with reading(app.engine) as sql:
        rows = due_turns(sql, app.clock.now())
    for row in rows:
        if only is not None and row["connection"] not in only:
            continue
        with app.engine.begin() as sql:
            lease = take(sql, row["connection"], row["resource"], app.owner, app.clock)
        if lease is not None:
            return lease
    return None


def turn(
    app: App, lease: Lease, *, until: datetime | None = None, pull_only: bool = False, accept_deletions: bool = False
) -> SyncError | None:
    """Everything that is due on one connection's resource; the error that ended it, if one did."""
    failure: SyncError | None = None
    try:
        _steps(app, lease, until=until, pull_only=pull_only, accept_deletions=accept_deletions)
    except LostLease:
        log.warning("lease_lost", connection=lease.connection, resource=lease.resource, fence=lease.fence)
        return None
    except SyncError as error:
        failure = error
        _note(app, lease, error)
    except VaultError:
        failure = ReconnectNeeded("The stored credentials cannot be read with this key.")
        _note(app, lease, failure)
    with app.engine.begin() as sql:
        lease.release(sql)
    return failure


def _steps(app: App, lease: Lease, *, until: datetime | None, pull_only: bool, accept_deletions: bool) -> None:
    world = app.world()
    member = _member(world, lease)
    upgrades.note(app, member.name, member.spec.name)
    Reconciler(app, world, "", "", None).refresh_totals()
    now = app.clock.now()
    row = _standing(app, lease)
    talking = open_connection(app, lease.connection, member.mapping)
    try:
        if look(app, world, talking.connector, lease.connection, lease.resource):
            world = app.world()
            member = _member(world, lease)
            choose(talking.connector, member.mapping)
        _stop_if_mostly_gone(member, lease.resource)
        pulled_once = bool(row["pulled_once"])
        if member.writes and pulled_once:
            if not pull_only and writes_blindly(talking.connector):
                pull(app, world, talking.connector, lease, until=until, requests=talking.requests)
            deliver(
                app, world, talking.connector, lease, until=until, requests=talking.requests,
                look_only=pull_only, accept_deletions=accept_deletions,
            )  # fmt: skip
            row, now = _standing(app, lease), app.clock.now()  # a look may have made the pull due just now
        if from_iso(row["pull_due_at"]) <= now or not pulled_once:
            pull(app, world, talking.connector, lease, until=until, requests=talking.requests)
        if (row["sweep_due_at"] is not None and from_iso(row["sweep_due_at"]) <= now) or accept_deletions:
            sweep(
                app, world, talking.connector, lease, every=SWEEP_EVERY,
                requests=talking.requests, approved=accept_deletions,
            )  # fmt: skip
    except SchemaMoved:
        if until is not None and app.clock.now() >= until:
            return  # it is still due: the next turn begins with the fields as they are now
        talking.close()
        _steps(app, lease, until=until, pull_only=pull_only, accept_deletions=accept_deletions)
    finally:
        talking.close()


def _member(world: World, lease: Lease) -> Member:
    member = world.members.get(lease.connection)
    if member is None:
        raise Misconfigured(
            world.broken.get(lease.connection, "The connection was removed."),
            remedy=f"Correct the mapping, then: syncd connect check {lease.connection}",
        )
    return member


def _stop_if_mostly_gone(member: Member, resource: str) -> None:
    """One vanished field is the firm's business; most of them at once is a right taken away, and new records without
    them would be strangers everywhere."""
    off = member.off.get(resource, {})
    for kind in {place.kind for place in member.places if place.resource == resource} if off else ():
        used = [place for place in member.places if (place.resource, place.kind) == (resource, kind)]
        lost = {place.field for place in used if off.get(place.path)}
        mapped = {place.field for place in used}
        if 2 * len(lost) > len(mapped):
            remedy = "Let this account see them again. If they are meant to be gone:"
            raise MissingPermission(
                f"{len(lost)} of {len(mapped)} mapped fields of {resource} are gone.",
                remedy=f"{remedy} syncd connect inspect {member.name} --pin, then: syncd connect check {member.name}",
            )


def writes_blindly(connector: Connector) -> bool:
    """Neither a write guard nor a look just before the write: what people changed must be pulled before we send."""
    return connector.spec.facts.write_guard == "none" and Capabilities.of(connector).fetch is None


def _standing(app: App, lease: Lease) -> RowMapping:
    with reading(app.engine) as sql:
        here = (turns.c.connection == lease.connection, turns.c.resource == lease.resource)
        return sql.execute(select(turns).where(*here)).mappings().one()


def _note(app: App, lease: Lease, error: SyncError) -> None:
    """Where a failure goes: a person, a later time, or a fresh listing. Said once when it begins."""
    now = app.clock.now()
    with app.engine.begin() as sql:
        row = sql.execute(
            select(turns.c.failures).where(turns.c.connection == lease.connection, turns.c.resource == lease.resource)
        ).one_or_none()
        failures = (row.failures if row is not None else 0) + 1
        here = (turns.c.connection == lease.connection, turns.c.resource == lease.resource)
        pause = min(BACKOFF_MAX_S, 2.0 ** min(failures, 10)) * random.uniform(0.5, 1.0)  # noqa: S311 (spreading load)
        later = iso(now + timedelta(seconds=pause))
        if isinstance(error, NeedsPerson) or (isinstance(error, ShapeChanged) and failures >= SHAPES_MAX):
            sql.execute(
                update(connections)
                .where(connections.c.name == lease.connection, connections.c.problem.is_(None))
                .values(problem=error.message, remedy=next_step(error, lease.connection))
            )
        elif isinstance(error, CursorExpired):
            # Deletions since the cursor appear in no fresh listing, so they are looked for, too.
            sql.execute(update(turns).where(*here).values(cursor=None, pull_due_at=iso(now), sweep_due_at=iso(now)))
        elif isinstance(error, TryLater) and error.until is not None:
            later = iso(error.until)
        if isinstance(error, RateLimited):
            sql.execute(update(connections).where(connections.c.name == lease.connection).values(paused_until=later))
        if not isinstance(error, CursorExpired):
            sql.execute(update(turns).where(*here).values(failures=failures, pull_due_at=later))
        if failures == 1:
            _tell(sql, app, lease, error.message)
    if failures == 1:
        log.warning("turn_failed", connection=lease.connection, resource=lease.resource, error=type(error).__name__)

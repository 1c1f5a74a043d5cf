"""Who works on what, now: leases with fencing on every connection's resource.

One lease covers pulling, delivering and sweeping of one (connection, resource), so a page is never read while
our own write to it is under way. Every transaction of the holder checks and extends its lease by number: a
worker that was paused past its lease, or runs twice, changes 0 rows and learns it by LostLease.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Connection, RowMapping, and_, case, exists, func, or_, select, update

from syncd.clock import iso
from syncd.store.tables import connections, intents, turns

if TYPE_CHECKING:
    from sqlalchemy.sql import ColumnElement

    from syncd.clock import Clock

LEASE = timedelta(seconds=30)
OWED = ("due", "sending", "unknown")


class LostLease(Exception):
    """Somebody else holds this piece of work now; whatever this worker still meant to commit must not happen."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to work on one connection's resource until it is lost."""

    connection: str
    resource: str
    owner: str
    fence: int
    clock: Clock

    def hold(self, sql: Connection) -> None:
        """Check and extend, inside the caller's transaction. Raises LostLease."""
        held = sql.execute(update(turns).where(self._mine()).values(lease_until=iso(self.clock.now() + LEASE)))
        if held.rowcount != 1:
            raise LostLease(f"{self.connection}/{self.resource}: the lease {self.fence} was taken over")

    def release(self, sql: Connection) -> None:
        """Give it back; a lost one stays lost."""
        sql.execute(update(turns).where(self._mine()).values(owner=None, lease_until=None))

    def _mine(self) -> ColumnElement[bool]:
        return and_(
            turns.c.connection == self.connection,
            turns.c.resource == self.resource,
            turns.c.owner == self.owner,
            turns.c.fence == self.fence,
        )


def _deliverable(now: str) -> ColumnElement[bool]:
    return exists().where(
        intents.c.connection == turns.c.connection,
        intents.c.resource == turns.c.resource,
        intents.c.state.in_(OWED),
        intents.c.due_at <= now,
        connections.c.mode == "live",
        turns.c.pulled_once,
    )


def _claimable(now: str) -> ColumnElement[bool]:
    return and_(
        connections.c.problem.is_(None),
        or_(connections.c.paused_until.is_(None), connections.c.paused_until <= now),
        or_(turns.c.lease_until.is_(None), turns.c.lease_until <= now),
        or_(turns.c.pull_due_at <= now, turns.c.sweep_due_at <= now, _deliverable(now)),
    )


def due_turns(sql: Connection, now: datetime, limit: int = 64) -> list[RowMapping]:
    """Work that could start now, most urgent first: what is owed to a system before what may be read from one."""
    at = iso(now)
    statement = (
        select(turns, _deliverable(at).label("deliver"))
        .join(connections, connections.c.name == turns.c.connection)
        .where(_claimable(at))
        .order_by(case((_deliverable(at), 0), (turns.c.pull_due_at <= at, 1), else_=2), turns.c.pull_due_at)
        .limit(limit)
    )
    return list(sql.execute(statement).mappings())


def count_due(sql: Connection, now: datetime) -> int:
    at = iso(now)
    statement = (
        select(func.count())
        .select_from(turns.join(connections, connections.c.name == turns.c.connection))
        .where(_claimable(at))
    )
    return int(sql.execute(statement).scalar_one())


def take(sql: Connection, connection: str, resource: str, owner: str, clock: Clock) -> Lease | None:
    """Take the lease if it is free, under the next fencing number."""
    now = clock.now()
    taken = sql.execute(
        update(turns)
        .where(
            turns.c.connection == connection,
            turns.c.resource == resource,
            or_(turns.c.lease_until.is_(None), turns.c.lease_until <= iso(now)),
        )
        .values(owner=owner, fence=turns.c.fence + 1, lease_until=iso(now + LEASE))
        .returning(turns.c.fence)
    ).scalar()
    return None if taken is None else Lease(connection, resource, owner, taken, clock)

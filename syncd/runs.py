"""The record of a stretch of work: its numbers are written in the same transactions as the work itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, insert, select, update

from syncd.clock import iso
from syncd.reconcile import Counts
from syncd.store.database import reading
from syncd.store.tables import runs

if TYPE_CHECKING:
    from syncd.app import App
    from syncd.turns import Lease


@dataclass
class Run:
    """One pull, delivery or sweep of one connection's resource. A run in which nothing happened is not stored."""

    app: App
    lease: Lease
    activity: str
    id: str = ""
    started_at: str = ""
    counts: Counts = field(default_factory=Counts)
    requests: int = 0
    stored: bool = False

    def __post_init__(self) -> None:
        self.id = self.id or self.app.new_id()
        self.started_at = self.started_at or iso(self.app.clock.now())

    def store(self, sql: Connection, *, problem: str | None = None, ended: bool = False) -> None:
        """Write the numbers as they are now, inside the caller's transaction."""
        c = self.counts
        quiet = not (c.changed or c.conflict or c.held or c.dead or c.written)
        if not self.stored and quiet and problem is None:
            return
        values = {
            "ended_at": iso(self.app.clock.now()) if ended else None,
            "pulled": c.pulled,
            "changed": c.changed,
            "unchanged": c.unchanged,
            "conflict": c.conflict,
            "held": c.held,
            "dead": c.dead,
            "written": c.written,
            "requests": self.requests,
            "problem": problem,
        }
        if self.stored:
            sql.execute(update(runs).where(runs.c.id == self.id).values(**values))
            return
        sql.execute(
            insert(runs).values(
                id=self.id,
                connection=self.lease.connection,
                resource=self.lease.resource,
                activity=self.activity,
                started_at=self.started_at,
                **values,
            )
        )
        self.stored = True


def latest(app: App, limit: int) -> list[dict[str, Any]]:
    """The newest stretches of work, newest first."""
    with reading(app.engine) as sql:
        return [dict(row) for row in sql.execute(select(runs).order_by(runs.c.id.desc()).limit(limit)).mappings()]

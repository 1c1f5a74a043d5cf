"""A small firm for engine tests: memory vendors behind the real engine, on a real database, under a clock that tests move."""

from __future__ import annotations

import copy
import itertools
import os
import zlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import delete, insert, select, update

from connectors.contract import Facts, Resource
from connectors.memory import CAPABILITIES, MemoryVendor
from syncd import connections, once
from syncd.app import App, World, open_app
from syncd.clock import FixedClock, iso
from syncd.config import Firm, Settings
from syncd.once import due_now
from syncd.store.database import reading
from syncd.store.tables import intents, links, meta, metadata, records, turns
from syncd.turns import take
from syncd.vault import new_key, parse_key
from syncd.work import turn, work

if TYPE_CHECKING:
    from pathlib import Path

    from syncd.core.settle import Rule

BEGIN = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
RESOURCES = tuple(Resource(name) for name in ("people", "companies", "matters", "invoices", "opportunities"))
_count = itertools.count()


_STORED = [table for table in metadata.sorted_tables if table is not meta]


@dataclass(frozen=True)
class Snapshot:
    """An office at a moment."""

    rows: dict[str, list[dict[str, Any]]]
    contents: dict[str, Any]
    writes: dict[str, list[str]]
    at: datetime


class Ruled(App):
    """An application whose default rule is the test's."""

    rule: Rule | None = None

    def world(self) -> World:
        world = super().world()
        if self.rule is not None:
            world.rule = self.rule
        return world


class Office:
    """The firm. Every step moves the clock by ten seconds, so that two edits are never in the same moment."""

    def __init__(self, database_url: str, home: Path, *, rule: Rule | None = None, **firm: Any) -> None:
        self.clock = FixedClock(BEGIN)
        self.url = database_url
        self.home = home
        self.rule = rule
        self.firm = Firm(name="Test & Partners", **firm)
        self.key = parse_key(new_key())
        self.vendors: dict[str, MemoryVendor] = {}
        self.app = self._open()

    def _open(self) -> App:
        settings = Settings(
            home=self.home, database_url=self.url, redis_url=None, key=self.key, old_keys=(), firm=self.firm
        )
        opened = open_app(settings, clock=self.clock)
        app = Ruled(opened.settings, opened.engine, self.clock)
        app.rule = self.rule
        return app

    def restart(self) -> None:
        """As after a crash: everything in memory is gone."""
        self.app.close()
        self.clock.advance(timedelta(seconds=60))
        self.app = self._open()

    def reset(self) -> None:
        """An empty firm again, much faster than a new one: for tests that run many histories."""
        self._forget_vendors()
        for override in (self.home / "mappings").glob("*.yaml"):
            override.unlink()
        with self.app.engine.begin() as sql:
            for table in _STORED:
                sql.execute(delete(table))
        self.clock.set(BEGIN)

    def snapshot(self) -> Snapshot:
        """Everything as it is now: store, vendors, clock."""
        with reading(self.app.engine) as sql:
            rows = {table.name: [dict(row) for row in sql.execute(select(table)).mappings()] for table in _STORED}
        contents = {name: copy.deepcopy(vendor._contents) for name, vendor in self.vendors.items()}
        writes = {name: list(vendor.writes) for name, vendor in self.vendors.items()}
        return Snapshot(rows, contents, writes, self.clock.now())

    def restore(self, before: Snapshot) -> None:
        """As it was then; all that the service had in memory is gone."""
        with self.app.engine.begin() as sql:
            for table in _STORED:
                sql.execute(delete(table))
                if rows := before.rows[table.name]:
                    sql.execute(insert(table), rows)
        for name, vendor in self.vendors.items():
            vendor.forget_faults()
            vendor._contents = copy.deepcopy(before.contents[name])
            vendor.writes[:] = before.writes[name]
        self.clock.set(before.at)

    def close(self) -> None:
        self.app.close()
        self._forget_vendors()

    def _forget_vendors(self) -> None:
        for vendor in self.vendors.values():
            if vendor.account.label in MemoryVendor.named:
                del MemoryVendor.named[vendor.account.label]
        self.vendors = {}

    def vendor(self, name: str, *, mapping: str | None = None, has: Any = CAPABILITIES, **facts: Any) -> MemoryVendor:
        """Connect a new vendor, live; `facts` change what it can do."""
        renditions, fields = facts.pop("renditions", None), facts.pop("fields", None)
        unique = f"{name}-{next(_count)}"
        basic = Facts(
            write_guard="version",
            repeat_guard="own-id",
            deletions="feed",
            batch_max=50,
            fetch_max=50,
            time_resolution_s=0.0,
        )
        made = MemoryVendor(
            resources=RESOURCES,
            facts=replace(basic, **facts),
            has=has,
            fields=fields,
            renditions=renditions,
            clock=self.clock.now,
            name=unique,
        )
        self.vendors[name] = made
        if mapping is not None:
            folder = self.home / "mappings"
            folder.mkdir(exist_ok=True)
            path = folder / f"{name}.yaml"
            path.write_text(mapping)
            # Compiled mappings are kept by the file's time: the same text shall have the same time, another text another.
            stamp = 1_000_000_000 + zlib.crc32(mapping.encode()) % 500_000_000
            os.utime(path, (stamp, stamp))
        connections.add(self.app, name, "memory", {"vendor": unique}, live=True)
        if made.spec.facts.deletions == "listing":  # the connector's shipped facts say otherwise
            with self.app.engine.begin() as sql:
                now = iso(self.clock.now())
                sql.execute(update(turns).where(turns.c.connection == name).values(sweep_due_at=now))
        return made

    def only(self, *resources: str) -> None:
        """Leave the other resources alone, so that rounds are quick."""
        with self.app.engine.begin() as sql:
            sql.execute(delete(turns).where(turns.c.resource.not_in(resources)))

    # --- what people do ----------------------------------------------------------------------------------------

    def tick(self, seconds: float = 10.0) -> None:
        self.clock.advance(timedelta(seconds=seconds))

    def new(self, name: str, body: dict[str, Any], resource: str = "people", id: str | None = None) -> str:
        self.tick()
        return self.vendors[name].person_creates(resource, body, id).id

    def edit(
        self, name: str, id: str, changes: dict[str, Any], resource: str = "people", *, after_s: float = 10.0
    ) -> None:
        self.tick(after_s)
        self.vendors[name].person_edits(resource, id, changes)

    def delete(self, name: str, id: str, resource: str = "people") -> None:
        self.tick()
        self.vendors[name].person_deletes(resource, id)

    def held(self, name: str, resource: str = "people") -> dict[str, dict[str, Any]]:
        """What the system's own people see."""
        return self.vendors[name].look(resource)

    def one(self, name: str, resource: str = "people") -> dict[str, Any]:
        (body,) = self.held(name, resource).values()
        return body

    def writes(self) -> int:
        return sum(len(vendor.writes) for vendor in self.vendors.values())

    # --- what the service does ---------------------------------------------------------------------------------

    def round(self) -> int:
        """Every resource is read, and everything owed is sent; returns the number of writes."""
        self.tick()
        before = self.writes()
        once.sync_once(self.app)
        return self.writes() - before

    def settle(self, rounds: int = 6) -> int:
        """Rounds until one writes nothing; returns how many wrote. More than `rounds` is a failure."""
        for count in range(rounds):
            if self.round() == 0:
                return count
        raise AssertionError(f"still writing after {rounds} rounds: {[v.writes[-3:] for v in self.vendors.values()]}")

    def pull(self, name: str, resource: str = "people") -> None:
        self.tick(1)
        due_now(self.app, [(name, resource)])
        self._turn(name, resource, pull_only=True)

    def deliver(self, name: str, resource: str = "people") -> None:
        self.tick(1)
        self._turn(name, resource)

    def full_turn(self, name: str, resource: str = "people") -> None:
        """What a worker does with a resource that is due: look, send, read, sweep."""
        self.tick(1)
        due_now(self.app, [(name, resource)])
        self._turn(name, resource)

    def _turn(self, name: str, resource: str, **how: Any) -> None:
        with self.app.engine.begin() as sql:
            lease = take(sql, name, resource, self.app.owner, self.clock)
        assert lease is not None
        turn(self.app, lease, **how)

    def work(self) -> int:
        return work(self.app)

    # --- what it knows -----------------------------------------------------------------------------------------

    def goldens(self, kind: str = "person") -> dict[str, dict[str, Any]]:
        with reading(self.app.engine) as sql:
            return {
                row.id: orjson.loads(row.golden)
                for row in sql.execute(
                    select(records).where(records.c.kind == kind, records.c.status.in_(("live", "review")))
                )
            }

    def golden(self, kind: str = "person") -> dict[str, Any]:
        (golden,) = self.goldens(kind).values()
        return golden

    def link(self, name: str, id: str, resource: str = "people") -> dict[str, Any]:
        with reading(self.app.engine) as sql:
            row = (
                sql.execute(
                    select(links).where(
                        links.c.connection == name, links.c.resource == resource, links.c.vendor_id == id
                    )
                )
                .mappings()
                .one()
            )
            return dict(row)

    def owed(self) -> list[dict[str, Any]]:
        with reading(self.app.engine) as sql:
            return [dict(row) for row in sql.execute(select(intents)).mappings()]

    def turns(self) -> list[dict[str, Any]]:
        with reading(self.app.engine) as sql:
            return [dict(row) for row in sql.execute(select(turns)).mappings()]

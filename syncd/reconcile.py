"""From records to golden records and what is owed: one transaction for a page, together with its cursor.

Reading, hashing and mapping happen before the transaction; inside it everything is set-based: load the links
of the page, match new records, take the readings into their claims, settle every canonical record that was
touched, recompute the rollups that they feed, and note which system now differs from what it should hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import timedelta
from functools import cache
from hashlib import blake2b
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import Connection, and_, bindparam, delete, func, or_, select, text, update

from mappings.compile import RecordMapping, Unreadable
from syncd import totals
from syncd.clock import from_iso, iso
from syncd.core.claims import (
    Claim,
    Edit,
    Flat,
    LinkState,
    Values,
    decode,
    encode,
    first_document,
    flatten,
    found_ours,
    nest,
    see,
)
from syncd.core.plan import outgoing
from syncd.core.settle import Golden, Source, settle
from syncd.seams import seam
from syncd.store.database import among, insert_rows, lock_settling, upsert_rows
from syncd.store.database import reading as read_only
from syncd.store.tables import (
    conflicts,
    dead_letters,
    edges,
    identity_keys,
    intents,
    links,
    pending_refs,
    pins,
    records,
    turns,
    writes,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sqlalchemy.sql import ColumnElement

    from connectors.contract import Record
    from syncd.app import App, Target, World
    from syncd.turns import Lease

LINK_COLUMNS = (
    "connection", "resource", "vendor_id", "kind", "canonical_id",
    "fingerprint", "version", "alive", "written_at", "state", "body",
)  # fmt: skip
RECORD_COLUMNS = ("id", "kind", "status", "merged_into", "golden", "sources", "deleted_at")
CANDIDATES_MAX = 20
"""A key shared by more canonical records than this says nothing about who somebody is."""
ROUNDS_MAX = 8
"""Totals of totals, and references that wake others: what one page touches is settled after so many steps."""
TOTALS_PART = 500
DELETED = b"deleted"
FLIP = "flip"
FLIP_WINDOW = timedelta(hours=1)
REFERENCE = "?"


@dataclass(slots=True)
class Look:
    """What a record says by itself, mapped, without the store.

    lens    None when no mapping applies
    unread  why values is None
    """

    lens: RecordMapping | None = None
    values: Values | None = None
    at: str | None = None
    keys: tuple[str, ...] = ()
    unread: str = ""


@dataclass(slots=True)
class Arrival:
    """A record as it came.

    wrote      it is the vendor's answer to our write of these flat values (what we meant); {} when it is known that
               nothing of ours is in it; None when that is not known
    canonical  it was made for this canonical record
    """

    record: Record
    wrote: Flat | None = None
    canonical: str | None = None


@dataclass(slots=True)
class Counts:
    """A run's numbers. They add up: pulled = changed + unchanged + conflict + held + dead."""

    pulled: int = 0
    changed: int = 0
    unchanged: int = 0
    conflict: int = 0
    held: int = 0
    dead: int = 0
    written: int = 0

    def add(self, other: Counts) -> None:
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


@dataclass(slots=True)
class Reading:
    """A changed record, mapped."""

    arrival: Arrival
    lens: RecordMapping
    values: Values
    at: str
    fingerprint: bytes
    body: str
    keys: tuple[str, ...]


@dataclass(slots=True)
class Prepared:
    """A page before its transaction: what must be taken in, what is gone, what could not be read."""

    readings: list[Reading] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    dead: list[tuple[str, bytes, str, str]] = field(default_factory=list)
    revived: list[str] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    observed_at: str = ""
    again: bool = False
    fresh: bool = False


@dataclass(slots=True)
class Touched:
    """One canonical record that must be settled again, and why."""

    edits: list[tuple[Source, Edit]] = field(default_factory=list)
    joined: bool = False
    stale_keys: set[str] = field(default_factory=set)


class Reconciler:
    """Takes records of one connection's resource into the store. Holds no state between pages but compiled values."""

    def __init__(
        self,
        app: App,
        world: World,
        connection: str,
        resource: str,
        lease: Lease | None,
        *,
        ask: Callable[[], None] | None = None,
    ) -> None:
        """ask: have the vendor's fields looked at once more, because values of some have just vanished; raises when
        fields have vanished with them. None: nobody can be asked."""
        self.app = app
        self.world = world
        self.connection = connection
        self.resource = resource
        self.lease = lease
        member = world.members.get(connection)
        self.lenses = member.mapping.of(resource) if member is not None else ()
        self.facts = member.spec.facts if member is not None else None
        self.returned = member.returned.get(resource, frozenset()) if member is not None else frozenset()
        self.ask = ask
        self.apart = frozenset(
            (each.kind, each.field)
            for each in (member.places if member is not None else ())
            if each.resource == resource and each.kept_apart
        )
        self.salt = blake2b("|".join(lens.fingerprint for lens in self.lenses).encode(), digest_size=16).digest()

    # --- before the transaction --------------------------------------------------------------------------------

    def _look(self, record: Record) -> Look:
        try:
            body = record.body
        except (ValueError, TypeError):
            # Whatever it may be, somebody has to know of it: every mapping of the resource would read it.
            return Look(self.lenses[0], unread="The record is not readable as JSON.") if self.lenses else Look()
        for lens in self.lenses:
            if lens.applies(body):
                break
        else:
            return Look()
        try:
            values, at = lens.get(body), lens.modified_at(body)
        except Unreadable as error:
            return Look(lens, unread=str(error))
        return Look(lens, values, at, self.world.keys(lens.kind, values))

    def prepare(
        self, arrivals: Sequence[Arrival], *, asked_at: str | None = None, again: bool = False, fresh: bool = False
    ) -> Prepared:
        """Hash every record, and map those whose bytes are new to us.

        asked_at  when the listing that brought them was asked for: a list that lags behind our own write is not news
        again     map even what did not change (the mapping itself changed)
        fresh     they hold fields that were never asked for before: what stands there is met, nobody edited it
        """
        prepared = Prepared(observed_at=iso(self.app.clock.now()), again=again, fresh=again or fresh)
        counts = prepared.counts
        counts.pulled = len(arrivals)
        known, buried = self._known([arrival.record.id for arrival in arrivals])
        # A record that changes while a listing goes on comes twice; what it said last counts.
        last = {arrival.record.id: place for place, arrival in enumerate(arrivals)}
        for place, arrival in enumerate(arrivals):
            record = arrival.record
            before = known.get(record.id)
            if last[record.id] != place:
                counts.unchanged += 1
                continue
            if record.id in buried:
                prepared.revived.append(record.id)
            if record.deleted:
                if before is not None and before[1]:
                    prepared.gone.append(record.id)
                else:
                    counts.unchanged += 1
                continue
            raw = record.raw
            fingerprint = blake2b(raw, digest_size=16, key=self.salt).digest()
            if before is not None and arrival.wrote is None and not again:
                if before[0] == fingerprint and before[1]:
                    counts.unchanged += 1
                    continue
                if asked_at is not None and self._lags(before[2], asked_at) and not self._is_newer(record):
                    counts.unchanged += 1
                    continue
            look = self._look(record)
            lens = look.lens
            if lens is None:
                counts.unchanged += 1
                continue
            if look.values is None:
                remedy = (
                    f"Correct the field at the vendor, or the line in the mapping of {self.connection};"
                    " it is read again by itself."
                )
                prepared.dead.append((record.id, fingerprint, look.unread, remedy))
                counts.dead += 1
                continue
            if before is not None and before[3] != lens.kind:
                why = f"It was a {before[3]} and is now a {lens.kind}."
                prepared.dead.append(
                    (record.id, fingerprint, why, "Make a new record of the right type at the vendor.")
                )
                counts.dead += 1
                continue
            at, body = look.at or prepared.observed_at, raw.decode()
            prepared.readings.append(Reading(arrival, lens, look.values, at, fingerprint, body, look.keys))
        if self.ask is not None and self.apart and self._emptied(prepared.readings):
            self.ask()
        seam("page_mapped")
        return prepared

    def _emptied(self, readings: Sequence[Reading]) -> bool:
        """Whether a value that was there is gone, in a field whose own end would look just the same."""
        suspects = {
            reading.arrival.record.id: names
            for reading in readings
            if (
                names := [
                    n for kind, n in self.apart if kind == reading.lens.kind and reading.values.get(n, "") is None
                ]
            )
        }
        if not suspects:
            return False
        with read_only(self.app.engine) as sql:
            rows = sql.execute(
                select(links.c.vendor_id, links.c.state).where(
                    links.c.connection == self.connection,
                    links.c.resource == self.resource,
                    among(sql, links.c.vendor_id, suspects),
                )
            )
            held = {row.vendor_id: decode(orjson.loads(row.state)).base for row in rows}
        return any(held[id_].get(name) is not None for id_, names in suspects.items() if id_ in held for name in names)

    def _known(self, ids: Sequence[str]) -> tuple[dict[str, tuple[bytes, bool, str | None, str]], set[str]]:
        """What is stored about these records, and which of them lie among the dead letters."""
        columns = (links.c.vendor_id, links.c.fingerprint, links.c.alive, links.c.written_at, links.c.kind)
        with read_only(self.app.engine) as sql:
            rows = sql.execute(
                select(*columns).where(
                    links.c.connection == self.connection,
                    links.c.resource == self.resource,
                    among(sql, links.c.vendor_id, ids),
                )
            )
            known = {row[0]: (bytes(row[1]), row[2], row[3], row[4]) for row in rows}
            buried = sql.execute(
                select(dead_letters.c.vendor_id).where(
                    dead_letters.c.connection == self.connection,
                    dead_letters.c.resource == self.resource,
                    among(sql, dead_letters.c.vendor_id, ids),
                )
            ).scalars()
            return known, set(buried)

    def _lags(self, written_at: str | None, asked_at: str) -> bool:
        if written_at is None or self.facts is None:
            return False
        return asked_at < iso(from_iso(written_at) + timedelta(seconds=self.facts.read_lag_s))

    def _is_newer(self, record: Record) -> bool:
        """Changed after our own write, by the vendor's clock: then it is news, however much its lists lag."""
        try:
            body = record.body
        except (ValueError, TypeError):
            return True  # we wrote no such thing
        with read_only(self.app.engine) as sql:
            row = sql.execute(
                select(links.c.body, links.c.kind).where(
                    links.c.connection == self.connection,
                    links.c.resource == self.resource,
                    links.c.vendor_id == record.id,
                )
            ).one()
        for lens in self.lenses:
            if lens.kind == row.kind:
                now, known = lens.modified_at(body), lens.modified_at(orjson.loads(row.body))
                return now is not None and known is not None and now > known
        return False

    # --- the transaction ---------------------------------------------------------------------------------------

    def commit(self, prepared: Prepared, finish: Callable[[Connection], None] | None = None) -> Counts:
        """Everything that follows from a prepared page, and `finish` (the cursor, the intents), or nothing at all.

        Raises LostLease when somebody else took over.
        """
        with self.app.engine.begin() as sql:
            if self.lease is not None:
                self.lease.hold(sql)
            counts = prepared.counts
            if prepared.readings or prepared.gone:
                lock_settling(sql)
                page = Page(self, sql, prepared)
                page.run()
            if prepared.revived:
                # Read again without fault, or deleted at the vendor: either way nothing is left to mend.
                sql.execute(
                    delete(dead_letters).where(
                        dead_letters.c.connection == self.connection,
                        dead_letters.c.resource == self.resource,
                        among(sql, dead_letters.c.vendor_id, prepared.revived),
                    )
                )
            if prepared.dead:
                rows = [
                    (self.connection, self.resource, vendor_id, fingerprint, why, remedy, prepared.observed_at)
                    for vendor_id, fingerprint, why, remedy in prepared.dead
                ]
                columns = ("connection", "resource", "vendor_id", "fingerprint", "why", "remedy", "at")
                upsert_rows(sql, dead_letters, columns, rows)
            if finish is not None:
                finish(sql)
            seam("page_settled")
        seam("page_committed")
        return counts

    def settle_again(self, ids: Iterable[str]) -> None:
        """Settle canonical records again because of a ruling, a pin or a changed rule, not because of a page."""
        with self.app.engine.begin() as sql:
            lock_settling(sql)
            self.settle_within(sql, ids)

    def settle_within(self, sql: Connection, ids: Iterable[str]) -> None:
        """The same inside the caller's transaction, which must hold the settling lock."""
        page = Page(self, sql, Prepared(observed_at=iso(self.app.clock.now())))
        for canonical in ids:
            page.touch(canonical)
            page.ruled.add(canonical)
        page.finish()

    def refresh_totals(self) -> int:
        """Compute totals again that no page touched: a new year began, or other ones are declared. Returns how many
        records were looked at; nothing and cheap on all but the first turn of a year.

        Each part is a transaction of its own. A crash in between is harmless, since it all begins again.
        """
        now = self.app.clock.now()
        with read_only(self.app.engine) as sql:
            outdated = totals.outdated(sql, self.world, now)
            if not outdated:
                return 0
            kinds = {rollup.kind for rollup in outdated}
            query = select(records.c.id).where(records.c.kind.in_(kinds), records.c.status != "merged")
            ids = sql.execute(query.order_by(records.c.id)).scalars().all()
        year = self.world.year(now)
        for start in range(0, len(ids), TOTALS_PART):
            with self.app.engine.begin() as sql:
                lock_settling(sql)
                page = Page(self, sql, Prepared(observed_at=iso(now)))
                page.year = year
                page.finish(totals.all_totals(sql, outdated, ids[start : start + TOTALS_PART], year))
        with self.app.engine.begin() as sql:
            lock_settling(sql)
            totals.note(sql, self.world, max(year, totals.standing(sql)[1]))
        return len(ids)


class Page:
    """One transaction's work. The steps run top to bottom in `run`."""

    def __init__(self, reconciler: Reconciler, sql: Connection, prepared: Prepared) -> None:
        self.r = reconciler
        self.world = reconciler.world
        self.app = reconciler.app
        self.sql = sql
        self.prepared = prepared
        self.counts = prepared.counts
        self.now = prepared.observed_at
        self.touched: dict[str, Touched] = {}
        self.link_rows: list[tuple[Any, ...]] = []
        self.new_links: list[tuple[Any, ...]] = []
        self.new_records: list[tuple[Any, ...]] = []
        self.new_keys: set[tuple[str, str]] = set()
        self.fresh_keys: list[tuple[str, str]] = []
        self.fresh: list[tuple[str, Reading, str]] = []
        self.linked: set[str] = set()
        self.changed: dict[str, tuple[str, Values, Values]] = {}
        # How these count has changed, whatever their values: deleted, or another one's twin no more.
        self.ruled: set[str] = set()
        self.review_rows: list[dict[str, Any]] = []
        self.owed: dict[tuple[str, str, str], str] = {}
        self.counted: list[str] = []
        self.year: int | None = None
        self.open_conflicts: set[str] = set()
        standing = sql.execute(
            select(turns.c.connection, turns.c.resource, turns.c.pulled_once, turns.c.last_pull_at)
        ).all()
        self.pulled_once = {(row.connection, row.resource): row.pulled_once for row in standing}
        self.last_pull_at = {(row.connection, row.resource): row.last_pull_at for row in standing}
        self.unanswered: list[dict[str, Any]] = []
        self.minted = self.app.new_id()
        self.mint_count = 0

    def touch(self, canonical: str) -> Touched:
        return self.touched.setdefault(canonical, Touched())

    def run(self) -> None:
        rows = self._link_rows([reading.arrival.record.id for reading in self.prepared.readings] + self.prepared.gone)
        self.unanswered = self._unanswered()
        new: list[Reading] = []
        for reading in self.prepared.readings:
            row = rows.get(reading.arrival.record.id)
            if row is None:
                new.append(reading)
            else:
                self._read_again(reading, row)
        for vendor_id in self.prepared.gone:
            self._gone(rows[vendor_id])
        if new:
            self._meet(new)
        upsert_rows(self.sql, links, LINK_COLUMNS, self.link_rows)
        insert_rows(self.sql, links, LINK_COLUMNS, self.new_links)
        self.new_links = []
        self._settle_fresh()
        insert_rows(self.sql, records, RECORD_COLUMNS, self.new_records)
        upsert_rows(self.sql, identity_keys, ("key", "canonical_id"), sorted(self.new_keys))
        self._wake_dependents()
        self.finish()
        for canonical in self.counted:
            if canonical in self.open_conflicts:
                self.counts.conflict += 1
                self.counts.changed -= 1

    def finish(self, computed: totals.Totals | None = None) -> None:
        """Settle what was touched until nothing more follows from it, then write what is owed.

        computed  totals that are known to differ already
        """
        computed = computed or {}
        for canonical in computed:
            self.touch(canonical)
        for _ in range(ROUNDS_MAX):
            if self.touched:
                todo, self.touched = self.touched, {}
                self._settle(todo, computed)
            changed, self.changed = self.changed, {}
            computed = self._totals(changed) if changed else {}
            for canonical in computed:
                self.touch(canonical)
            if not self.touched:
                break
        self._write_owed()
        if self.review_rows:
            self.sql.execute(
                text(
                    "INSERT INTO reviews (id, kind, a, b, reasons, state, opened_at)"
                    " VALUES (:id, :kind, :a, :b, :reasons, 'open', :opened_at) ON CONFLICT (a, b) DO NOTHING"
                ),
                self.review_rows,
            )

    def _totals(self, changed: totals.Changed) -> totals.Totals:
        if self.year is None:
            self.year = totals.current_year(self.sql, self.world, self.app.clock.now())
        return totals.changed_totals(self.sql, self.world.rollups, changed, self.ruled, self.year)

    def _link_rows(self, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        rows = self.sql.execute(
            select(links).where(
                links.c.connection == self.r.connection,
                links.c.resource == self.r.resource,
                among(self.sql, links.c.vendor_id, ids),
            )
        ).mappings()
        return {row["vendor_id"]: dict(row) for row in rows}

    # --- known records -----------------------------------------------------------------------------------------

    def _read_again(self, reading: Reading, row: Mapping[str, Any]) -> None:
        arrival = reading.arrival
        kind = row["kind"]
        state = decode(orjson.loads(row["state"]))
        touched = self.touch(row["canonical_id"])
        touched.stale_keys.update(self.world.keys(kind, nest(state.base)))
        wrote = arrival.wrote
        if wrote is None:
            wrote = self._found_ours(reading)
        edits = see(
            state, reading.values, reading.at, self.world.same(kind),
            wrote=wrote, new_fields=reading.lens.lines if self.prepared.fresh else (), silent=silent(reading.lens),
            returned=self.r.returned,
        )  # fmt: skip
        source = Source(self.r.connection, self.r.resource, arrival.record.id)
        touched.edits.extend((source, edit) for edit in edits)
        if not row["alive"]:
            touched.joined = True
            self.linked.add(row["canonical_id"])
        if arrival.wrote is None:
            self.counts.changed += 1
            self.counted.append(row["canonical_id"])
        self.link_rows.append(
            self._link(
                reading, row["canonical_id"], state, self.now if arrival.wrote is not None else row["written_at"]
            )
        )

    def _link(self, reading: Reading, canonical: str, state: LinkState, written_at: str | None) -> tuple[Any, ...]:
        record = reading.arrival.record
        document = orjson.dumps(encode(state)).decode()
        return (
            self.r.connection, self.r.resource, record.id, reading.lens.kind, canonical,
            reading.fingerprint, record.version, True, written_at, document, reading.body,
        )  # fmt: skip

    def _gone(self, row: Mapping[str, Any]) -> None:
        values = {**row, "alive": False, "fingerprint": DELETED}
        self.link_rows.append(tuple(values[name] for name in LINK_COLUMNS))
        self.touch(row["canonical_id"])
        self.counts.changed += 1
        # Nobody says when it was deleted; it was still there when we last looked.
        since = self.last_pull_at.get((self.r.connection, self.r.resource)) or ""
        self.sql.execute(
            update(records)
            .where(records.c.id == row["canonical_id"], records.c.deleted_at.is_(None))
            .values(deleted_at=since)
        )

    # --- new records: who are they? ----------------------------------------------------------------------------

    def _mint(self) -> str:
        """Ids of one page follow one another, so that the records of a page lie side by side."""
        self.mint_count += 1
        if self.mint_count % 1000 == 0:
            self.minted = self.app.new_id()
        return f"{self.minted[:-2]}{_suffix(self.mint_count % 1000)}" if self.mint_count else self.minted

    def _meet(self, new: list[Reading]) -> None:
        created = [reading for reading in new if reading.arrival.canonical is not None]
        others = [reading for reading in new if reading.arrival.canonical is None]
        if created:
            today = self._standing([reading.arrival.canonical or "" for reading in created])
            for reading in created:
                self._join(reading, today[reading.arrival.canonical or ""], reading.arrival.wrote)
        if not others:
            return
        lost = [each for each in self.unanswered if each["operation"] == "create"]
        candidates = self._candidates({key for reading in others for key in reading.keys})
        standing = self._summaries({c for each in candidates.values() if len(each) <= CANDIDATES_MAX for c in each})
        here = (self.r.connection, self.r.resource)
        for reading in others:
            ours = next((each for each in lost if self._is_created(reading, each)), None) if lost else None
            if ours is not None:
                lost.remove(ours)
                canonical = self._standing([ours["canonical_id"]])[ours["canonical_id"]]
                self._join(reading, canonical, orjson.loads(ours["meant"]))
                self.counts.changed += 1
                continue
            found: list[str] = []
            for key in reading.keys:
                sharing = candidates.setdefault(key, [])
                if sharing and len(sharing) <= CANDIDATES_MAX:
                    found += [each for each in sharing if each not in found]
            canonical = self._who(reading, found, standing)
            for key in reading.keys:
                sharing = candidates[key]
                if len(sharing) <= CANDIDATES_MAX:
                    sharing.append(canonical)
            pairs = [(key, canonical) for key in reading.keys]
            if canonical in standing:
                standing[canonical].places.add(here)
                self.new_keys.update(pairs)
            else:
                standing[canonical] = Summary(reading.lens.kind, "live", reading.values, {here})
                self.fresh_keys += pairs

    def _who(self, reading: Reading, found: list[str], standing: Mapping[str, Summary]) -> str:
        """An existing canonical record on exact evidence, or a new one; a doubtful one waits for a steward."""
        place = (self.r.connection, self.r.resource)
        sure: list[str] = []
        doubtful: list[tuple[str, tuple[str, ...]]] = []
        for canonical in found:
            summary = standing[canonical]
            if summary.kind != reading.lens.kind:
                continue
            verdict = self.world.decide(reading.lens.kind, summary.values, reading.values)
            if verdict.outcome == "same" and place not in summary.places:
                sure.append(canonical)
            elif verdict.outcome == "same":
                doubtful.append((canonical, (*verdict.reasons, f"both are in {self.r.connection}")))
            elif verdict.outcome == "review":
                doubtful.append((canonical, verdict.reasons))
        if len(sure) == 1:
            self._join(reading, sure[0], None)
            self.counts.changed += 1
            self.counted.append(sure[0])
            return sure[0]
        doubtful.extend((canonical, ("more than one record fits",)) for canonical in sure)
        canonical = self._mint()
        status = "review" if doubtful else "live"
        for other, reasons in doubtful[:5]:
            self.review_rows.append(
                {
                    "id": self.app.new_id(),
                    "kind": reading.lens.kind,
                    "a": min(other, canonical),
                    "b": max(other, canonical),
                    "reasons": orjson.dumps(reasons).decode(),
                    "opened_at": self.now,
                }
            )
        if doubtful:
            self.counts.held += 1
        else:
            self.counts.changed += 1
        self.fresh.append((canonical, reading, status))
        return canonical

    def _join(self, reading: Reading, canonical: str, wrote: Flat | None) -> None:
        """Link a new vendor record to a canonical record that is already there."""
        state = LinkState()
        see(
            state, reading.values, reading.at, self.world.same(reading.lens.kind),
            wrote=wrote, new_fields=reading.lens.lines, silent=silent(reading.lens),
        )  # fmt: skip
        self.new_links.append(self._link(reading, canonical, state, self.now if wrote is not None else None))
        self.touch(canonical).joined = True
        self.linked.add(canonical)
        self.new_keys.update([(key, canonical) for key in reading.keys])

    def _standing(self, ids: Sequence[str]) -> dict[str, str]:
        """Where each canonical id stands today: merged ones point to their survivor."""
        standing = {canonical: canonical for canonical in ids}
        pending = dict(standing)
        while pending:
            rows = self.sql.execute(
                select(records.c.id, records.c.merged_into).where(among(self.sql, records.c.id, set(pending.values())))
            )
            moved = {row.id: row.merged_into for row in rows if row.merged_into is not None}
            pending = {origin: moved[at] for origin, at in pending.items() if at in moved}
            standing.update(pending)
        return standing

    def _candidates(self, wanted: set[str]) -> dict[str, list[str]]:
        rows = self.sql.execute(
            select(identity_keys.c.key, identity_keys.c.canonical_id).where(
                among(self.sql, identity_keys.c.key, wanted)
            )
        ).all()
        standing = self._standing(list({row.canonical_id for row in rows})) if rows else {}
        candidates: dict[str, list[str]] = {}
        for key, canonical in rows:
            sharing = candidates.setdefault(key, [])
            if standing[canonical] not in sharing:
                sharing.append(standing[canonical])
        return candidates

    def _summaries(self, ids: Iterable[str]) -> dict[str, Summary]:
        wanted = list(ids)
        if not wanted:
            return {}
        found = {
            row.id: Summary(row.kind, row.status, orjson.loads(row.golden), set())
            for row in self.sql.execute(
                select(records.c.id, records.c.kind, records.c.status, records.c.golden).where(
                    among(self.sql, records.c.id, wanted)
                )
            )
        }
        for row in self.sql.execute(
            select(links.c.canonical_id, links.c.connection, links.c.resource).where(
                among(self.sql, links.c.canonical_id, wanted), links.c.alive
            )
        ):
            found[row.canonical_id].places.add((row.connection, row.resource))
        return found

    def _unanswered(self) -> list[dict[str, Any]]:
        """Writes whose outcome nobody knows: a record that shows what we meant shows ours, not somebody's edit."""
        rows = self.sql.execute(
            select(intents).where(
                intents.c.connection == self.r.connection,
                intents.c.resource == self.r.resource,
                intents.c.state.in_(("sending", "unknown")),
            )
        ).mappings()
        return [dict(row) for row in rows]

    def _found_ours(self, reading: Reading) -> Flat | None:
        for row in self.unanswered:
            if row["operation"] == "update" and row["vendor_id"] == reading.arrival.record.id:
                return found_ours(reading.values, orjson.loads(row["meant"]), self.world.same(row["kind"])) or None
        return None

    def _is_created(self, reading: Reading, intent: Mapping[str, Any]) -> bool:
        if reading.lens.kind != intent["kind"]:
            return False
        same = self.world.same(reading.lens.kind)
        flat = flatten(reading.values)
        return all(same(name, flat.get(name), value) for name, value in orjson.loads(intent["meant"]).items())

    # --- fresh canonical records: one link each, so settling is copying ----------------------------------------

    def _settle_fresh(self) -> None:
        if not self.fresh:
            return
        connection, resource = here = self.r.connection, self.r.resource
        kinds = {reading.lens.kind for _, reading, _ in self.fresh}
        references = {kind: self.world.references(kind) for kind in kinds}
        makers = {
            kind: [
                place
                for target in self.world.targets(kind)
                if (place := (target.connection, target.resource)) != here
                and target.lens.creates
                and self.pulled_once.get(place)
            ]
            for kind in kinds
        }
        tokens: set[str] = set()
        rows: list[tuple[Any, ...]] = []
        for canonical, reading, _ in self.fresh:
            record, lens, values = reading.arrival.record, reading.lens, reading.values
            tokens.update([values[name] for name in references[lens.kind] if values.get(name) is not None])
            document = orjson.dumps(first_document(values, reading.at, silent(lens))).decode()
            rows.append(
                (
                    connection,
                    resource,
                    record.id,
                    lens.kind,
                    canonical,
                    reading.fingerprint,
                    record.version,
                    True,
                    None,
                    document,
                    reading.body,
                )
            )
        insert_rows(self.sql, links, LINK_COLUMNS, rows)
        self.fresh_keys.sort(key=itemgetter(0))  # neighbours in the index are written together
        insert_rows(self.sql, identity_keys, ("key", "canonical_id"), self.fresh_keys)
        upsert_rows(self.sql, identity_keys, ("key", "canonical_id"), sorted(self.new_keys))
        self.new_keys = set()
        resolved = self._resolve({connection: tokens}) if tokens else {}
        sources = orjson.dumps({"*": connection}).decode()
        edge_rows: list[tuple[str, str, str]] = []
        pending: set[tuple[str, str, str]] = set()
        for canonical, reading, status in self.fresh:
            kind = reading.lens.kind
            unspoken = silent(reading.lens)
            golden: Values = {
                name: value
                for name, value in reading.values.items()
                if value is not None and value != {} and name not in unspoken
            }
            for name in references[kind]:
                token = golden.get(name)
                if token is None:
                    continue
                target = resolved.get((connection, token))
                if target is None:
                    del golden[name]
                    pending.add((_pending_place(connection, token), token, canonical))
                else:
                    golden[name] = target
                    edge_rows.append((canonical, name, target))
            self.new_records.append((canonical, kind, status, None, orjson.dumps(golden).decode(), sources, None))
            self.changed[canonical] = (kind, {}, golden)
            if status == "live":
                for place in makers[kind]:
                    self.owed[(*place, canonical)] = kind
        insert_rows(self.sql, edges, ("canonical_id", "field", "target_id"), edge_rows)
        insert_rows(self.sql, pending_refs, ("connection", "token", "canonical_id"), sorted(pending))

    def _resolve(self, tokens: Mapping[str, set[str]]) -> dict[tuple[str, str], str]:
        """(connection, token) -> canonical id, for the tokens that somebody has seen."""
        found: dict[tuple[str, str], str] = {}
        by_key: dict[str, list[tuple[str, str]]] = {}
        for connection, wanted in tokens.items():
            by_resource: dict[str, list[str]] = {}
            for token in wanted:
                if token.startswith(REFERENCE):
                    key = self.world.reference_key(token)
                    if key is not None:
                        by_key.setdefault(key, []).append((connection, token))
                else:
                    resource, _, vendor_id = token.partition(":")
                    by_resource.setdefault(resource, []).append(vendor_id)
            for resource, ids in by_resource.items():
                rows = self.sql.execute(
                    select(links.c.vendor_id, links.c.canonical_id).where(
                        links.c.connection == connection,
                        links.c.resource == resource,
                        among(self.sql, links.c.vendor_id, ids),
                    )
                )
                for vendor_id, canonical in rows:
                    found[connection, f"{resource}:{vendor_id}"] = canonical
        if by_key:
            for key, sharing in self._candidates(set(by_key)).items():
                if len(sharing) == 1:
                    for place in by_key[key]:
                        found[place] = sharing[0]
        return found

    def _wake_dependents(self) -> None:
        """Records that refer to something that just got a link or a key: they can be settled or delivered now."""
        if not self.fresh and not self.linked:
            return
        if self.sql.execute(select(pending_refs.c.token).limit(1)).first() is not None:
            tokens = [f"{self.r.resource}:{reading.arrival.record.id}" for reading in self.prepared.readings]
            waiting = self.sql.execute(
                select(pending_refs.c.canonical_id).where(
                    pending_refs.c.connection == self.r.connection, among(self.sql, pending_refs.c.token, tokens)
                )
            ).scalars()
            for canonical in waiting:
                self.touch(canonical)
            by_key = self.sql.execute(
                select(pending_refs.c.token, pending_refs.c.canonical_id).where(pending_refs.c.connection == "")
            ).all()
            if by_key:
                arrived = {key for reading in self.prepared.readings for key in reading.keys}
                for token, canonical in by_key:
                    if self.world.reference_key(token) in arrived:
                        self.touch(canonical)
        if self.linked:
            owners = self.sql.execute(
                select(edges.c.canonical_id).where(among(self.sql, edges.c.target_id, self.linked))
            ).scalars()
            for canonical in owners:
                self.touch(canonical)

    # --- settling ----------------------------------------------------------------------------------------------

    def _settle(self, todo: Mapping[str, Touched], computed: Mapping[str, Mapping[str, Any]]) -> None:
        rows = {
            row["id"]: row
            for row in self.sql.execute(select(records).where(among(self.sql, records.c.id, todo))).mappings()
        }
        states: dict[str, dict[Source, LinkState]] = {canonical: {} for canonical in rows}
        alive: dict[str, set[Source]] = {canonical: set() for canonical in rows}
        columns = (
            links.c.connection,
            links.c.resource,
            links.c.vendor_id,
            links.c.canonical_id,
            links.c.alive,
            links.c.state,
        )
        for link in self.sql.execute(select(*columns).where(among(self.sql, links.c.canonical_id, todo))):
            source = Source(link.connection, link.resource, link.vendor_id)
            states[link.canonical_id][source] = decode(orjson.loads(link.state))
            if link.alive:
                alive[link.canonical_id].add(source)
        pinned: dict[str, dict[str, Claim]] = {}
        for pin in self.sql.execute(select(pins).where(among(self.sql, pins.c.canonical_id, todo))).mappings():
            pinned.setdefault(pin["canonical_id"], {})[pin["field"]] = Claim(orjson.loads(pin["value"]), pin["at"])
        resolved = self._resolve_claims(rows, states)
        out: list[tuple[Any, ...]] = []
        pending: list[tuple[str, str, str]] = []
        edge_rows: list[tuple[str, str, str]] = []
        cut_edges: list[dict[str, str]] = []
        dropped_keys: list[dict[str, str]] = []
        goldens: dict[str, tuple[Golden, Values, frozenset[str]]] = {}
        for canonical, row in rows.items():
            kind = row["kind"]
            references = self.world.references(kind)
            before: Values = orjson.loads(row["golden"])
            readable, unresolved = _with_ids(states[canonical], references, resolved)
            for place, token in unresolved:
                pending.append((place, token, canonical))
            rollups = {
                name: computed.get(canonical, {}).get(name, before.get(name))
                for name in self.world.rollup_fields.get(kind, ())
            }
            golden = settle(
                readable,
                self.world.rules(kind),
                self.world.rule,
                self.world.same(kind),
                pinned.get(canonical),
                {name: value for name, value in rollups.items() if value is not None},
            )
            after = {name: value for name, value in nest(golden.values).items() if value is not None and value != {}}
            goldens[canonical] = (golden, after, frozenset(unresolved_fields(states[canonical], references, resolved)))
            status, deleted_at = row["status"], row["deleted_at"]
            if deleted_at is not None and (todo[canonical].joined or _edited_since(states[canonical], deleted_at)):
                deleted_at = None  # an edit beats a deletion, whichever is seen first
            if status in ("live", "gone"):
                status = "live" if alive[canonical] else "gone"
            sources = _sources(golden)
            if (
                after != before
                or status != row["status"]
                or deleted_at != row["deleted_at"]
                or sources != row["sources"]
            ):
                document = orjson.dumps(after).decode()
                out.append((canonical, kind, status, row["merged_into"], document, sources, deleted_at))
            if status != row["status"]:
                self.ruled.add(canonical)
            if after != before or canonical in self.ruled:
                self.changed[canonical] = (kind, before, after)
            if status != row["status"]:
                # What waits for it must learn that it will (or will not) get a record anywhere.
                for owner in self.sql.execute(
                    select(edges.c.canonical_id).where(edges.c.target_id == canonical)
                ).scalars():
                    self.touch(owner)
            for name in references:
                if before.get(name) != after.get(name):
                    if after.get(name) is None:
                        cut_edges.append({"c": canonical, "f": name})
                    else:
                        edge_rows.append((canonical, name, after[name]))
            held_keys = {key for state in states[canonical].values() for key in self.world.keys(kind, nest(state.base))}
            self.new_keys.update((key, canonical) for key in held_keys - todo[canonical].stale_keys)
            lost = todo[canonical].stale_keys - held_keys
            dropped_keys.extend({"k": key, "c": canonical} for key in lost)
            if lost or held_keys - todo[canonical].stale_keys:
                self._wake_by_key(canonical, kind, before, after)
        upsert_rows(self.sql, records, RECORD_COLUMNS, out)
        upsert_rows(self.sql, edges, ("canonical_id", "field", "target_id"), edge_rows)
        if cut_edges:
            statement = delete(edges).where(edges.c.canonical_id == bindparam("c"), edges.c.field == bindparam("f"))
            self.sql.execute(statement, cut_edges)
        if dropped_keys:
            gone = delete(identity_keys).where(
                identity_keys.c.key == bindparam("k"), identity_keys.c.canonical_id == bindparam("c")
            )
            self.sql.execute(gone, dropped_keys)
        upsert_rows(self.sql, identity_keys, ("key", "canonical_id"), sorted(self.new_keys))
        self.new_keys = set()
        self.sql.execute(delete(pending_refs).where(among(self.sql, pending_refs.c.canonical_id, todo)))
        upsert_rows(self.sql, pending_refs, ("connection", "token", "canonical_id"), sorted(set(pending)))
        self._conflicts(todo, rows, goldens)
        status_of = {row[0]: row[2] for row in out}
        deleted_of = {row[0]: row[6] for row in out}
        for canonical, (golden, after, frozen) in goldens.items():
            row = rows[canonical]
            self._owe(
                canonical,
                row["kind"],
                status_of.get(canonical, row["status"]),
                after,
                golden.undecided | frozen,
                states[canonical],
                alive[canonical],
                resolved,
                deleted_of.get(canonical, row["deleted_at"]),
            )

    def _wake_by_key(self, canonical: str, kind: str, before: Values, after: Values) -> None:
        """A matter's number changed: what refers to it by number must be looked at again."""
        if before.get("number") == after.get("number"):
            return
        for owner in self.sql.execute(select(edges.c.canonical_id).where(edges.c.target_id == canonical)).scalars():
            self.touch(owner)
        wanted = {key for key in self.world.keys(kind, after)}
        for token, owner in self.sql.execute(
            select(pending_refs.c.token, pending_refs.c.canonical_id).where(pending_refs.c.connection == "")
        ):
            if self.world.reference_key(token) in wanted:
                self.touch(owner)

    def _resolve_claims(
        self, rows: Mapping[str, Any], states: Mapping[str, Mapping[Source, LinkState]]
    ) -> dict[tuple[str, str], str]:
        tokens: dict[str, set[str]] = {}
        for canonical, row in rows.items():
            for name in self.world.references(row["kind"]):
                for source, state in states[canonical].items():
                    claim = state.claims.get(name)
                    for token in (claim.value if claim else None, claim.over if claim else None, state.base.get(name)):
                        if token is not None:
                            tokens.setdefault(source.connection, set()).add(token)
        return self._resolve(tokens) if tokens else {}

    def _conflicts(
        self,
        todo: Mapping[str, Touched],
        rows: Mapping[str, Any],
        goldens: Mapping[str, tuple[Golden, Values, frozenset[str]]],
    ) -> None:
        """Keep the losers where people can see them; open what no rule can choose; close what has been chosen since."""
        standing: dict[tuple[str, str], Mapping[str, Any]] = {
            (row["canonical_id"], row["field"]): dict(row)
            for row in self.sql.execute(
                select(conflicts).where(conflicts.c.state == "open", among(self.sql, conflicts.c.canonical_id, todo))
            ).mappings()
        }
        new: list[dict[str, Any]] = []
        closed: list[dict[str, Any]] = []
        for canonical, name in sorted(
            self._flipping(todo, goldens, {canonical: row["kind"] for canonical, row in rows.items()})
        ):
            self.open_conflicts.add(canonical)
            if (canonical, name) not in standing:
                new.append(self._conflict(canonical, name, goldens[canonical][0], "open", reason=FLIP))
        for canonical, (golden, _, _) in goldens.items():
            before = flatten(orjson.loads(rows[canonical]["golden"]))
            for name in golden.undecided:
                self.open_conflicts.add(canonical)
                if (canonical, name) not in standing:
                    new.append(self._conflict(canonical, name, golden, "open"))
            for (owner, name), row in standing.items():
                if owner == canonical and name not in golden.undecided and row["reason"] != FLIP:
                    closed.append({"i": row["id"], "at": self.now})
            same = self.world.same(rows[canonical]["kind"])
            met = todo[canonical].joined
            for name, settled in golden.why.items():
                if settled.undecided or not settled.rivals or "/" in name:
                    continue
                edited = any(
                    edit.field == name and not same(name, edit.expected, before.get(name))
                    for _, edit in todo[canonical].edits
                )
                if edited or (met and settled.reason in ("first-meeting", "latest", "authority")):
                    new.append(self._conflict(canonical, name, golden, "decided"))
        if new:
            self.sql.execute(conflicts.insert(), new)
        if closed:
            self.sql.execute(
                update(conflicts)
                .where(conflicts.c.id == bindparam("i"))
                .values(state="settled", closed_at=bindparam("at"), closed_by="rule"),
                closed,
            )

    def _flipping(
        self,
        todo: Mapping[str, Touched],
        goldens: Mapping[str, tuple[Golden, Values, frozenset[str]]],
        kinds: Mapping[str, str],
    ) -> set[tuple[str, str]]:
        """Fields that two systems set against each other: automations that rewrite our value look like people.

        Our last three writes of the field went to one system, the other, and the first again, with two values in
        turn; the edit that has just come would be the next turn.
        """
        edited = {
            canonical: {edit.field for _, edit in touched.edits}
            for canonical, touched in todo.items()
            if touched.edits and canonical in goldens
        }
        if not edited:
            return set()
        since = iso(from_iso(self.now) - FLIP_WINDOW)
        turns_of: dict[tuple[str, str], list[tuple[str, Any]]] = {}
        for row in self.sql.execute(
            select(writes.c.canonical_id, writes.c.connection, writes.c.meant)
            .where(among(self.sql, writes.c.canonical_id, edited), writes.c.at > since)
            .order_by(writes.c.at, writes.c.id)
        ):
            for name, value in orjson.loads(row.meant).items():
                if name in edited[row.canonical_id]:
                    turns_of.setdefault((row.canonical_id, name), []).append((row.connection, value))
        found: set[tuple[str, str]] = set()
        for (canonical, name), made in turns_of.items():
            if len(made) < 3 or name not in goldens[canonical][0].why:
                continue
            (first, x), (second, y), (third, z) = made[-3:]
            same = self.world.same(kinds[canonical])
            value = goldens[canonical][0].why[name].value
            if first == third != second and same(name, x, z) and not same(name, x, y) and same(name, value, y):
                found.add((canonical, name))
        return found

    def _conflict(
        self, canonical: str, name: str, golden: Golden, state: str, *, reason: str | None = None
    ) -> dict[str, Any]:
        settled = golden.why[name]
        claims = [
            {
                "connection": source.connection,
                "resource": source.resource,
                "id": source.id,
                "value": claim.value,
                "at": claim.at,
            }
            for source, claim in settled.rivals
        ]
        kept = {
            "connection": settled.source.connection,
            "resource": settled.source.resource,
            "id": settled.source.id,
            "value": settled.value,
        }
        return {
            "id": self.app.new_id(), "canonical_id": canonical, "field": name, "state": state,
            "reason": reason or settled.reason,
            "kept": orjson.dumps(kept).decode(), "values": orjson.dumps(claims).decode(), "opened_at": self.now,
            "closed_at": self.now if state == "decided" else None, "closed_by": "rule" if state == "decided" else None,
        }  # fmt: skip

    # --- what is owed ------------------------------------------------------------------------------------------

    def _owe(
        self,
        canonical: str,
        kind: str,
        status: str,
        golden: Values,
        frozen: frozenset[str],
        states: Mapping[Source, LinkState],
        alive: set[Source],
        resolved: Mapping[tuple[str, str], str],
        deleted_at: str | None,
    ) -> None:
        # One that may be the same as another is made nowhere meanwhile, but those who surely are one stay equal.
        if status == "merged":
            return
        cascade = deleted_at is not None and self.world.settings.firm.deletions == "cascade"
        for target in self.world.targets(kind):
            place = (target.connection, target.resource)
            if not self.pulled_once.get(place):
                continue
            here = [source for source in states if (source.connection, source.resource) == place]
            if not here:
                if target.lens.creates and status == "live" and not cascade:
                    self.owed[(*place, canonical)] = kind
                continue
            for source in here:
                if source in alive and (
                    cascade or self._differs(target, kind, golden, frozen, states[source], source, resolved)
                ):
                    self.owed[(*place, canonical)] = kind

    def _differs(
        self,
        target: Target,
        kind: str,
        golden: Values,
        frozen: frozenset[str],
        state: LinkState,
        source: Source,
        resolved: Mapping[tuple[str, str], str],
    ) -> bool:
        """Cheap and on the safe side: delivery compares again in the target's own terms before it writes."""
        same = self.world.same(kind)
        references = self.world.references(kind)
        for name in outgoing(target.lens):
            if name in frozen:
                continue
            if target.lens.lines[name].is_set:
                wanted = golden.get(name, {})
                if any(not same(f"{name}/{key}", state.as_held(f"{name}/{key}"), item) for key, item in wanted.items()):
                    return True
                prefix = name + "/"
                if any(
                    value is not None and key.startswith(prefix) and key[len(prefix) :] not in wanted
                    for key, value in state.base.items()
                ):
                    return True
                continue
            held = state.as_held(name)
            if name in references and held is not None:
                held = resolved.get((source.connection, held), held)
            if not same(name, held, golden.get(name)):
                return True
        return False

    def _write_owed(self) -> None:
        if not self.owed:
            return
        owe(self.sql, ((*place, kind) for place, kind in self.owed.items()), self.now)
        self.owed = {}


@dataclass(slots=True)
class Summary:
    """What matching needs to know about a canonical record."""

    kind: str
    status: str
    values: Values
    places: set[tuple[str, str]]


def owe(sql: Connection, places: Iterable[tuple[str, str, str, str]], now: str) -> None:
    """Note (connection, resource, canonical id, kind): that record may differ from what it should be."""
    rows = [
        {"connection": connection, "resource": resource, "canonical_id": canonical, "kind": kind, "now": now}
        for connection, resource, canonical, kind in places
    ]
    if rows:
        sql.execute(
            text(
                "INSERT INTO intents (connection, resource, canonical_id, kind, state, due_at, generation, attempts)"
                " VALUES (:connection, :resource, :canonical_id, :kind, 'due', :now, 0, 0)"
                " ON CONFLICT (connection, resource, canonical_id) DO UPDATE SET generation = intents.generation + 1,"
                " due_at = CASE WHEN intents.state IN ('sending', 'unknown')"
                " THEN intents.due_at ELSE excluded.due_at END,"
                " state = CASE WHEN intents.state IN ('sending', 'unknown') THEN intents.state ELSE 'due' END,"
                " attempts = CASE WHEN intents.state IN ('sending', 'unknown') THEN intents.attempts ELSE 0 END,"
                " why = CASE WHEN intents.state IN ('sending', 'unknown') THEN intents.why ELSE NULL END"
            ),
            rows,
        )


def owe_all(sql: Connection, world: World, connection: str, resource: str, now: str) -> None:
    """A first full reading is complete: every record that is missing there, or was met there, may be owed."""
    for member in world.members[connection].mapping.of(resource):
        if member is not world.members[connection].mapping.for_kind(member.kind):
            continue
        if not world.members[connection].spec.resource(resource).writable:
            continue
        here = select(links.c.canonical_id).where(links.c.connection == connection, links.c.resource == resource)
        met = select(links.c.canonical_id).group_by(links.c.canonical_id).having(func.count() > 1)
        conditions: list[ColumnElement[bool]] = [records.c.id.in_(met)]
        if member.creates:
            conditions.append(and_(records.c.status == "live", records.c.id.not_in(here)))
        if any(name in member.lines for name in world.rollup_fields.get(member.kind, ())):
            conditions.append(records.c.id.in_(here))  # what is computed may differ though nobody else holds it
        condition = or_(*conditions)
        rows = sql.execute(
            select(records.c.id).where(
                records.c.kind == member.kind, records.c.status.in_(("live", "review")), condition
            )
        ).scalars()
        owe(sql, ((connection, resource, canonical, member.kind) for canonical in list(rows)), now)


def unresolved_fields(
    states: Mapping[Source, LinkState], references: Iterable[str], resolved: Mapping[tuple[str, str], str]
) -> set[str]:
    """Reference fields of which some claim cannot be resolved yet: nothing is written for them until it can."""
    return {
        name
        for name in references
        for source, state in states.items()
        if (claim := state.claims.get(name)) is not None
        and claim.value is not None
        and (source.connection, claim.value) not in resolved
    }


def _edited_since(states: Mapping[Source, LinkState], instant: str) -> bool:
    return any(not claim.first and claim.at > instant for state in states.values() for claim in state.claims.values())


def _with_ids(
    states: Mapping[Source, LinkState], references: frozenset[str], resolved: Mapping[tuple[str, str], str]
) -> tuple[dict[Source, LinkState], list[tuple[str, str]]]:
    """The same states with reference claims as canonical ids; unresolved ones are left out and named."""
    readable: dict[Source, LinkState] = {}
    unresolved: list[tuple[str, str]] = []
    for source, state in states.items():
        touched = [name for name in references if name in state.claims]
        if not touched:
            readable[source] = state
            continue
        claims = dict(state.claims)
        for name in touched:
            claim = claims[name]
            over = resolved.get((source.connection, claim.over)) if claim.over is not None else None
            if claim.value is None:
                claims[name] = Claim(None, claim.at, claim.first, over)
                continue
            target = resolved.get((source.connection, claim.value))
            if target is None:
                unresolved.append((_pending_place(source.connection, claim.value), claim.value))
                del claims[name]
            else:
                claims[name] = Claim(target, claim.at, claim.first, over)
        readable[source] = LinkState(claims=claims, base=state.base, ours=state.ours)
    return readable, unresolved


def _pending_place(connection: str, token: str) -> str:
    return "" if token.startswith(REFERENCE) else connection


def _sources(golden: Golden) -> str:
    """Who each field came from: the commonest connection once, exceptions by field."""
    counted: dict[str, int] = {}
    for settled in golden.why.values():
        counted[settled.source.connection] = counted.get(settled.source.connection, 0) + 1
    if not counted:
        return "{}"
    usual = max(sorted(counted), key=lambda name: counted[name])
    document = {"*": usual}
    for name, settled in sorted(golden.why.items()):
        if settled.source.connection != usual:
            document[name] = settled.source.connection
    return orjson.dumps(document).decode()


@cache
def silent(lens: RecordMapping) -> frozenset[str]:
    """Fields that are only ever written: what a system shows for them claims nothing."""
    return frozenset(name for name, line in lens.lines.items() if line.direction == "out")


_SUFFIXES = "0123456789abcdefghjkmnpqrstvwxyz"


def _suffix(number: int) -> str:
    return _SUFFIXES[number // 32] + _SUFFIXES[number % 32]

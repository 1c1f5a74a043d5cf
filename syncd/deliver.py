"""Sending what is owed to one resource of a connection: look, plan, ask the gate, commit the intention, send, take.

An intent is a thermostat, not a message: what is sent is computed from the golden record and the base at this
moment. Before anything leaves, the operation key and what we mean are committed; whatever happens after that
is found out by looking (fetch, find), never by repeating blindly.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import Connection, and_, bindparam, delete, func, insert, not_, or_, select, update

from connectors.contract import (
    Capabilities,
    Change,
    Connector,
    Create,
    Delete,
    OperationKey,
    Record,
    Update,
    Version,
)
from connectors.errors import NeedsPerson, Refused, ShapeChanged, Stale, SyncError, TryLater, UnknownOutcome
from mappings.canonical import KINDS
from mappings.compile import Unreadable
from syncd import logs
from syncd.clock import from_iso, iso
from syncd.core.claims import Flat, LinkState, Values, decode, flatten, found_ours
from syncd.core.gate import Decision, decide
from syncd.core.plan import (
    Nothing,
    Planned,
    References,
    Refusal,
    WaitFor,
    WaitForReview,
    Write,
    outgoing,
    plan_write,
)
from syncd.reconcile import REFERENCE, Arrival, Reconciler, owe
from syncd.runs import Run
from syncd.schemas import asking
from syncd.seams import seam
from syncd.store.database import among, reading
from syncd.store.tables import conflicts, intents, links, pending_refs, records, reviews, turns, writes
from syncd.sweep import brake

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mappings.compile import RecordMapping
    from syncd.app import App, World
    from syncd.turns import Lease

log = logs.get("deliver")
TRIES_MAX = 8
PAUSE_S = (1, 2, 5, 15, 60, 300, 900, 3600)
KIND_ORDER = {kind: place for place, kind in enumerate(KINDS)}


@dataclass(slots=True)
class Owed:
    """One intent with everything that its plan needs, as loaded just now."""

    intent: Mapping[str, Any]
    record: Mapping[str, Any] | None
    link: Mapping[str, Any] | None
    more_links: bool
    state: LinkState | None
    body: dict[str, Any] | None
    lens: RecordMapping | None
    refs: References
    frozen: frozenset[str]
    decision: Decision
    doubtful: bool = False
    planned: Planned | None = None
    key: OperationKey = OperationKey("")  # noqa: RUF009 (a NewType: immutable text)
    operation: str = ""
    write_id: str = ""

    @property
    def canonical(self) -> str:
        return str(self.intent["canonical_id"])


@dataclass(slots=True)
class Delivery:
    """One turn's delivery to one resource."""

    app: App
    world: World
    connector: Connector
    caps: Capabilities
    lease: Lease
    reconciler: Reconciler
    run: Run
    requests: Callable[[], int]
    failure: SyncError | None = None
    done: int = field(default=0)

    @property
    def place(self) -> tuple[str, str]:
        return self.lease.connection, self.lease.resource

    def now(self) -> str:
        return iso(self.app.clock.now())

    # --- what nobody knows -------------------------------------------------------------------------------------

    def look(self) -> None:
        """Find out what became of requests without an answer, ours or those of a worker that died while sending.

        For creates this comes before every pull: what we made ourselves must never be met as somebody else's record.
        """
        with reading(self.app.engine) as sql:
            rows = [
                dict(row)
                for row in sql.execute(
                    select(intents).where(
                        self._here(),
                        intents.c.state.in_(("sending", "unknown")),
                        or_(intents.c.due_at <= self.now(), intents.c.operation == "create"),
                    )
                ).mappings()
            ]
        updates = [row for row in rows if row["operation"] in ("update", "delete")]
        size = max(1, self.connector.spec.facts.fetch_max)
        for start in range(0, len(updates), size):
            part = updates[start : start + size]
            fetched = self._fetch([row["vendor_id"] for row in part])
            self._looked(part, [fetched.get(row["vendor_id"]) for row in part])
        for row in rows:
            if row["operation"] == "create":
                self._looked([row], [self._find(row)])

    def _find(self, row: Mapping[str, Any]) -> Record | None:
        if self.caps.find is None:
            return None
        create = Create(OperationKey(row["operation_key"]), orjson.loads(row["payload"]))
        meant = orjson.loads(row["meant"])
        candidates = self.caps.find(self.lease.resource, create)
        with reading(self.app.engine) as sql:
            taken = {
                vendor_id: canonical
                for vendor_id, canonical in sql.execute(
                    select(links.c.vendor_id, links.c.canonical_id).where(
                        links.c.connection == self.lease.connection,
                        links.c.resource == self.lease.resource,
                        among(sql, links.c.vendor_id, [record.id for record in candidates]),
                    )
                )
            }
        same = self.world.same(row["kind"])
        for record in candidates:
            if record.deleted or taken.get(record.id, row["canonical_id"]) != row["canonical_id"]:
                continue
            if self.connector.spec.facts.repeat_guard == "own-id":
                return record
            lens = self._lens(row["kind"])
            if lens is None or not lens.applies(record.body):
                continue
            flat = flatten(_readable(lens, record))
            if all(same(name, flat.get(name), value) for name, value in meant.items()):
                return record
        return None

    def _looked(self, rows: Sequence[Mapping[str, Any]], found: Sequence[Record | None]) -> None:
        seam("unknown_looked")
        arrivals: list[Arrival] = []
        later: list[str] = []
        outcomes: list[dict[str, str]] = []
        for row, record in zip(rows, found, strict=True):
            happened = False
            if record is None:
                if self._may_still_appear(row):
                    later.append(row["canonical_id"])
                    continue
            elif row["operation"] == "create":
                happened = True
                arrivals.append(Arrival(record, orjson.loads(row["meant"]), row["canonical_id"]))
            elif record.deleted:
                happened = row["operation"] == "delete"
                arrivals.append(Arrival(record))
            else:
                lens = self._lens(row["kind"])
                ours: Flat = {}
                if lens is not None and row["operation"] == "update":
                    ours = found_ours(_readable(lens, record), orjson.loads(row["meant"]), self.world.same(row["kind"]))
                happened = bool(ours)
                arrivals.append(Arrival(record, ours or None))
            outcomes.append({"k": row["operation_key"], "o": "found" if happened else "not-done"})
        settled = [row["canonical_id"] for row in rows if row["canonical_id"] not in later]

        def finish(sql: Connection) -> None:
            sql.execute(
                update(intents)
                .where(self._here(), among(sql, intents.c.canonical_id, settled))
                .values(state="due", sent_at=None)
            )
            if later:
                sql.execute(
                    update(intents)
                    .where(self._here(), among(sql, intents.c.canonical_id, later))
                    .values(state="unknown", due_at=iso(self.app.clock.now() + timedelta(seconds=1)))
                )
                if self.connector.spec.facts.repeat_guard == "none" or self.caps.fetch is None:
                    here = (turns.c.connection == self.lease.connection, turns.c.resource == self.lease.resource)
                    sql.execute(update(turns).where(*here).values(pull_due_at=self.now()))
            if outcomes:
                # Not IN: SQLAlchemy cannot spread a list where one statement runs for several rows.
                unsure = or_(writes.c.outcome == "sent", writes.c.outcome == "unknown")
                mine = and_(writes.c.operation_key == bindparam("k"), unsure)
                sql.execute(update(writes).where(mine).values(outcome=bindparam("o")), outcomes)

        self.reconciler.commit(self.reconciler.prepare(arrivals), finish)

    def _may_still_appear(self, row: Mapping[str, Any]) -> bool:
        """What was not found may have happened all the same.

        Lists lag. And without our key it is looked for by content, which people may have changed since: a pull after
        the request shows it to matching, too. Where nothing can be fetched, only a pull can show an update.
        """
        facts = self.connector.spec.facts
        if not row["sent_at"]:
            return False
        visible = iso(from_iso(row["sent_at"]) + timedelta(seconds=facts.read_lag_s))
        if facts.repeat_guard == "own-id" and row["operation"] == "create":
            return visible > self.now()
        with reading(self.app.engine) as sql:
            pulled = sql.execute(
                select(turns.c.last_pull_at).where(
                    turns.c.connection == self.lease.connection, turns.c.resource == self.lease.resource
                )
            ).scalar_one()
        return pulled is None or pulled <= visible

    def _fetch(self, ids: Sequence[str]) -> dict[str, Record]:
        if self.caps.fetch is None or not ids:
            return {}
        found: dict[str, Record] = {}
        size = max(1, self.connector.spec.facts.fetch_max)
        for start in range(0, len(ids), size):
            for record in self.caps.fetch(self.lease.resource, ids[start : start + size]):
                found[record.id] = record
        return found

    # --- what is owed ------------------------------------------------------------------------------------------

    def brake_deletions(self, *, approved: bool) -> None:
        """Where deletions cascade: so many at once are not passed on before a person has said that they are right.

        approved lifts the brake for what it has held, and for what is due now.
        """
        if self.world.settings.firm.deletions != "cascade":
            return
        here = (links.c.connection == self.lease.connection, links.c.resource == self.lease.resource, links.c.alive)
        doomed = and_(
            self._here(),
            intents.c.canonical_id.in_(
                select(links.c.canonical_id)
                .join(records, records.c.id == links.c.canonical_id)
                .where(*here, records.c.deleted_at.is_not(None))
            ),
        )
        with self.app.engine.begin() as sql:
            self.lease.hold(sql)
            if approved:
                sql.execute(
                    update(intents)
                    .where(doomed, intents.c.state == "held")
                    .values(state="due", due_at=self.now(), why=None, remedy=None)
                )
                return
            count = sql.execute(select(func.count()).where(doomed, intents.c.state.in_(("due", "held")))).scalar_one()
            known = sql.execute(select(func.count()).where(*here)).scalar_one()
            if not brake(count, known):
                return
            why = f"{count} of {known} {self.lease.resource} would be deleted at once: too many to pass on unasked."
            remedy = (
                f"If that is right: syncd sync {self.lease.connection} --resource {self.lease.resource}"
                " --once --accept-deletions"
            )
            sql.execute(
                update(intents).where(doomed, intents.c.state == "due").values(state="held", why=why, remedy=remedy)
            )

    def send_due(self, until: datetime | None) -> None:
        """Deliver until nothing is due or the slice is over. The first failure of the whole connection ends it."""
        size = max(self.connector.spec.facts.batch_max, 50)
        while self.failure is None and (until is None or self.app.clock.now() < until):
            owed = self._load(size)
            if not owed:
                return
            self._plan(owed)
            reread = [each for each in owed if each.link is not None and isinstance(each.planned, Write)]
            if reread and self.connector.spec.facts.write_guard == "none" and self.caps.fetch is not None:
                fresh = self._fetch([each.link["vendor_id"] for each in reread if each.link is not None])
                self.reconciler.commit(self.reconciler.prepare([Arrival(record) for record in fresh.values()]))
                owed = self._load(size, [each.canonical for each in owed])
                self._plan(owed)
            seam("write_planned")
            self._without_write([each for each in owed if not isinstance(each.planned, Write)])
            sending = [each for each in owed if isinstance(each.planned, Write)]
            step = self.connector.spec.facts.batch_max if self.caps.send is not None else 1
            for start in range(0, len(sending), step):
                if self.failure is not None or (until is not None and self.app.clock.now() >= until):
                    return
                self._send(sending[start : start + step])

    def _load(self, size: int, only: Sequence[str] | None = None) -> list[Owed]:
        with reading(self.app.engine) as sql:
            statement = select(intents).where(self._here(), intents.c.state == "due", intents.c.due_at <= self.now())
            if only is not None:
                statement = statement.where(among(sql, intents.c.canonical_id, only))
            rows = [
                dict(row)
                for row in sql.execute(
                    statement.order_by(intents.c.due_at, intents.c.canonical_id).limit(size)
                ).mappings()
            ]
            rows.sort(key=lambda row: KIND_ORDER.get(row["kind"], 99))
            return load_owed(sql, self.world, self.lease.connection, self.lease.resource, rows)

    def _plan(self, owed: Sequence[Owed]) -> None:
        for each in owed:
            each.planned = plan_owed(self.world, each)

    def _without_write(self, owed: Sequence[Owed]) -> None:
        """Close what needs no request, and say why the rest waits."""
        if not owed:
            return
        with self.app.engine.begin() as sql:
            self.lease.hold(sql)
            for each in owed:
                # What was noted since it was planned counts: then the intent stays due, and is planned again.
                mine = and_(self._mine(each), intents.c.generation == each.intent["generation"])
                if each.record is not None and each.record["status"] == "merged":
                    sql.execute(delete(intents).where(mine))
                    owe(sql, [(*self.place, each.record["merged_into"], each.intent["kind"])], self.now())
                elif isinstance(each.planned, WaitFor):
                    why = (
                        f"It refers to {each.planned.canonical_id}, which has no record in {self.lease.connection} yet."
                    )
                    sql.execute(
                        update(intents)
                        .where(mine)
                        .values(state="waiting", why=why, remedy="Nothing to do: it goes on by itself.")
                    )
                elif isinstance(each.planned, WaitForReview):
                    why = "It may be the same as another record; a new one is not made before somebody has looked."
                    sql.execute(
                        update(intents).where(mine).values(state="waiting", why=why, remedy="syncd review list")
                    )
                elif isinstance(each.planned, Refusal):
                    sql.execute(
                        update(intents)
                        .where(mine)
                        .values(
                            state="held",
                            why=each.planned.rule,
                            remedy="Change the matrix in firm.yaml if this may leave.",
                        )
                    )
                else:
                    sql.execute(delete(intents).where(mine))

    def _send(self, batch: Sequence[Owed]) -> None:
        marked = self._mark(batch)
        if not marked:
            return
        changes = [self._change(each) for each in marked]
        outcomes: Sequence[Record | SyncError]
        try:
            if self.caps.send is not None:
                outcomes = self.caps.send(self.lease.resource, changes)
            else:
                outcomes = [self._send_one(changes[0])]
        except SyncError as error:
            outcomes = [error] * len(marked)
        seam("write_answered")
        self._take(marked, outcomes)

    def _send_one(self, change: Change) -> Record:
        resource = self.lease.resource
        if isinstance(change, Create):
            if self.caps.create is None:
                raise Refused("This system offers no way to make a record.", remedy="Turn off creating in the mapping.")
            return self.caps.create(resource, change)
        if isinstance(change, Update):
            if self.caps.update is None:
                raise Refused("This system offers no way to change a record.", remedy="Make the mapping read only.")
            return self.caps.update(resource, change)
        if self.caps.delete is None:
            raise Refused("This system offers no way to delete a record.", remedy="Set deletions to unlink.")
        self.caps.delete(resource, change)
        return Record(change.current.id, None, {}, deleted=True)

    def _change(self, each: Owed) -> Change:
        assert isinstance(each.planned, Write)
        if each.link is None:
            return Create(each.key, each.planned.payload)
        version = each.link["version"]
        current = Record(each.link["vendor_id"], Version(version) if version is not None else None, each.body or {})
        if each.operation == "delete":
            return Delete(current)
        return Update(current, each.planned.payload)

    def _mark(self, batch: Sequence[Owed]) -> list[Owed]:
        """Commit the intention: from here on a crash means "unknown", never "not begun"."""
        now = self.now()
        ledger: list[dict[str, Any]] = []
        with self.app.engine.begin() as sql:
            self.lease.hold(sql)
            for each in batch:
                write = each.planned
                assert isinstance(write, Write)
                if each.record is not None and _cascades(self.world, each):
                    each.operation = "delete"
                else:
                    each.operation = "create" if each.link is None else "update"
                kept = each.intent["operation_key"] if each.intent["operation"] == each.operation == "create" else None
                each.key = OperationKey(kept or uuid.uuid4().hex)
                each.write_id = self.app.new_id()
                sql.execute(
                    update(intents)
                    .where(self._mine(each))
                    .values(
                        state="sending",
                        operation=each.operation,
                        operation_key=each.key,
                        sent_at=now,
                        meant=orjson.dumps(write.meant).decode(),
                        payload=orjson.dumps(write.payload).decode(),
                        vendor_id=each.link["vendor_id"] if each.link is not None else None,
                        attempts=intents.c.attempts + 1,
                    )
                )
                ledger.append(
                    {
                        "id": each.write_id,
                        "run": self.run.id,
                        "connection": self.lease.connection,
                        "resource": self.lease.resource,
                        "canonical_id": each.canonical,
                        "vendor_id": each.link["vendor_id"] if each.link is not None else None,
                        "operation": each.operation,
                        "operation_key": each.key,
                        "before": orjson.dumps(write.before).decode(),
                        "meant": orjson.dumps(write.meant).decode(),
                        "decision": orjson.dumps(each.decision.document()).decode(),
                        "outcome": "sent",
                        "at": now,
                    }
                )
            sql.execute(insert(writes), ledger)
        seam("write_marked")
        return list(batch)

    def _take(self, sent: Sequence[Owed], outcomes: Sequence[Record | SyncError]) -> None:
        """Each outcome is a reading (our own renditions become the base) or a reason; both settle the intent."""
        arrivals: list[Arrival] = []
        settled: list[tuple[Owed, str, dict[str, Any] | None]] = []
        stale: list[str] = []
        for each, outcome in zip(sent, outcomes, strict=True):
            assert isinstance(each.planned, Write)
            if isinstance(outcome, Record):
                created = each.canonical if each.operation == "create" else None
                gone = outcome.deleted
                arrivals.append(Arrival(outcome, None if gone else each.planned.meant, created))
                settled.append((each, "done", None))
                self.run.counts.written += 1
                self.done += 1
            else:
                settled.append((each, _outcome_name(outcome), self._after_failure(each, outcome)))
                if isinstance(outcome, Stale) and each.link is not None:
                    stale.append(each.link["vendor_id"])
                if isinstance(outcome, TryLater | NeedsPerson):
                    self.failure = outcome
        if stale:
            arrivals.extend(Arrival(record, wrote={}) for record in self._fetch(stale).values())
        seam("write_settled")

        def finish(sql: Connection) -> None:
            for each, name, values in settled:
                sql.execute(
                    update(writes)
                    .where(writes.c.id == each.write_id)
                    .values(outcome=name, **self._made(each, arrivals))
                )
                seen = intents.c.generation == each.intent["generation"]
                if values is not None:
                    sql.execute(update(intents).where(self._mine(each)).values(**values))
                    if values["state"] == "dead":
                        # What made it fail may have changed while it was sent: then it is tried again.
                        again = {"state": "due", "due_at": self.now(), "why": None, "remedy": None}
                        sql.execute(update(intents).where(self._mine(each), not_(seen)).values(**again))
                    continue
                if each.more_links:
                    sql.execute(update(intents).where(self._mine(each)).values(state="due", due_at=self.now()))
                else:
                    sql.execute(delete(intents).where(self._mine(each), seen))
                    sql.execute(
                        update(intents)
                        .where(self._mine(each))
                        .values(state="due", due_at=self.now(), operation=None, operation_key=None)
                    )
            self.run.requests = self.requests()
            self.run.store(sql)

        prepared = self.reconciler.prepare(arrivals)
        unread = {vendor_id: (why, remedy) for vendor_id, _, why, remedy in prepared.dead}
        for place, (each, outcome) in enumerate(zip(sent, outcomes, strict=True)):
            if each.operation == "create" and isinstance(outcome, Record) and outcome.id in unread:
                # It exists, but cannot be taken in, so there is no link yet: another one must not be made.
                why, remedy = unread[outcome.id]
                settled[place] = (each, "done", {"state": "dead", "why": why, "remedy": remedy})
        self.reconciler.commit(prepared, finish)
        seam("write_committed")

    def _made(self, each: Owed, arrivals: Sequence[Arrival]) -> dict[str, Any]:
        if each.operation != "create":
            return {}
        made = next((arrival.record.id for arrival in arrivals if arrival.canonical == each.canonical), None)
        return {"vendor_id": made} if made is not None else {}

    def _after_failure(self, each: Owed, error: SyncError) -> dict[str, Any]:
        attempts = int(each.intent["attempts"]) + 1
        pause = iso(self.app.clock.now() + timedelta(seconds=PAUSE_S[min(attempts, len(PAUSE_S)) - 1]))
        if isinstance(error, UnknownOutcome) or (isinstance(error, ShapeChanged) and attempts < TRIES_MAX):
            # An answer that cannot be read says no more than none. First we look at once, then ever less often.
            lag = iso(self.app.clock.now() + timedelta(seconds=self.connector.spec.facts.read_lag_s))
            return {"state": "unknown", "due_at": lag if attempts == 1 else max(lag, pause), "why": error.message}
        if isinstance(error, Refused | ShapeChanged):
            remedy = error.remedy or "Correct the record, then retry it."
            return {"state": "dead", "why": error.message, "remedy": remedy}
        if isinstance(error, Stale):
            again = self.now() if attempts < 3 else pause
            return {
                "state": "due",
                "due_at": again,
                "why": "The record changed while we were writing; it is read again first.",
            }
        if isinstance(error, TryLater):
            until = iso(error.until) if error.until is not None else pause
            return {"state": "due", "due_at": until, "why": error.message}
        return {"state": "due", "due_at": pause, "why": error.message, "remedy": error.remedy}

    # --- which rows --------------------------------------------------------------------------------------------

    def _here(self) -> Any:
        return and_(intents.c.connection == self.lease.connection, intents.c.resource == self.lease.resource)

    def _mine(self, each: Owed) -> Any:
        return and_(self._here(), intents.c.canonical_id == each.canonical)

    def _lens(self, kind: str) -> RecordMapping | None:
        return self.world.lens(self.lease.connection, kind, self.lease.resource)


def deliver(
    app: App,
    world: World,
    connector: Connector,
    lease: Lease,
    *,
    until: datetime | None,
    requests: Callable[[], int],
    look_only: bool = False,
    accept_deletions: bool = False,
) -> int:
    """Send what this resource is owed; returns the number of records written. Raises SyncError and LostLease.

    look_only         only find out what became of unanswered requests
    accept_deletions  a person said that so many deletions are right
    """
    run = Run(app, lease, "deliver")
    ask = asking(app, world, connector, lease)
    reconciler = Reconciler(app, world, lease.connection, lease.resource, lease, ask=ask)
    delivery = Delivery(app, world, connector, Capabilities.of(connector), lease, reconciler, run, requests)
    delivery.look()
    if not look_only:
        delivery.brake_deletions(approved=accept_deletions)
        delivery.send_due(until)
    if run.stored or delivery.failure is not None:
        with app.engine.begin() as sql:
            run.requests = requests()
            run.store(sql, ended=True, problem=delivery.failure.message if delivery.failure is not None else None)
    if delivery.done:
        log.info("records_written", connection=lease.connection, resource=lease.resource, records=delivery.done)
    if delivery.failure is not None:
        raise delivery.failure
    return delivery.done


def load_owed(
    sql: Connection, world: World, connection: str, resource: str, rows: Sequence[Mapping[str, Any]]
) -> list[Owed]:
    """Intents with golden records, links, references and gate decisions: a handful of statements for any number."""
    if not rows:
        return []
    ids = [row["canonical_id"] for row in rows]
    by_id = {
        row["id"]: dict(row) for row in sql.execute(select(records).where(among(sql, records.c.id, ids))).mappings()
    }
    here: dict[str, list[Mapping[str, Any]]] = {}
    dead: set[str] = set()
    for stored in sql.execute(
        select(links)
        .where(links.c.connection == connection, links.c.resource == resource, among(sql, links.c.canonical_id, ids))
        .order_by(links.c.vendor_id)
    ).mappings():
        if stored["alive"]:
            here.setdefault(stored["canonical_id"], []).append(dict(stored))
        else:
            dead.add(stored["canonical_id"])
    frozen = _frozen(sql, world, by_id)
    doubtful = _doubtful(sql, by_id)
    goldens = {canonical: orjson.loads(row["golden"]) for canonical, row in by_id.items()}
    refs = _references(sql, world, connection, goldens, {c: row["kind"] for c, row in by_id.items()}, here)
    owed: list[Owed] = []
    for row in rows:
        canonical = row["canonical_id"]
        record = by_id.get(canonical)
        lens = world.lens(connection, row["kind"], resource)
        if record is None or record["status"] == "merged" or lens is None:
            owed.append(
                Owed(
                    row, record, None, False, None, None, None, References(), frozenset(), Decision("deny", frozenset())
                )
            )
            continue
        fields = outgoing(lens)
        decision = decide(fields, world.classes(row["kind"]), world.members[connection].zone, world.matrix)
        found = here.get(canonical, [])
        if not found and (canonical in dead or not lens.creates or record["status"] != "live"):
            # Deleted here by a person, or never to be made here: nothing is owed.
            owed.append(Owed(row, record, None, False, None, None, None, References(), frozenset(), decision))
            continue
        chosen: Owed | None = None
        places: list[Mapping[str, Any] | None] = [*found] or [None]
        for link in places:
            state = decode(orjson.loads(link["state"])) if link is not None else None
            body = orjson.loads(link["body"]) if link is not None else None
            candidate = Owed(
                row, {**record, "golden": goldens[canonical]}, link, len(found) > 1, state, body, lens,
                refs, frozen.get(canonical, frozenset()), decision, canonical in doubtful,
            )  # fmt: skip
            if chosen is None:
                chosen = candidate
            if len(found) < 2 or isinstance(plan_owed(world, candidate), Write):
                chosen = candidate
                break
        assert chosen is not None
        owed.append(chosen)
    return owed


def _readable(lens: RecordMapping, record: Record) -> Values:
    """What the mapping reads from it; nothing at all from a record that it cannot read, which is then not ours."""
    try:
        return lens.get(record.body)
    except Unreadable:
        return {}


def plan_owed(world: World, each: Owed) -> Planned:
    """The plan for one intent: what `syncd plan` shows and what delivery sends are the same call."""
    try:
        return _planned(world, each)
    except Unreadable as error:  # one record that cannot be expressed must not stop the others
        return Refusal(str(error))


def _planned(world: World, each: Owed) -> Planned:
    if each.lens is None or each.record is None:
        return Nothing()
    if _cascades(world, each):
        return Write({}, {}, {}) if each.link is not None else Nothing()
    if each.link is None and each.doubtful:
        return WaitForReview()
    return plan_write(
        each.record["golden"],
        each.frozen,
        each.state,
        each.body,
        each.lens,
        each.refs,
        each.decision,
        world.same(each.record["kind"]),
    )


def _cascades(world: World, each: Owed) -> bool:
    return (
        world.settings.firm.deletions == "cascade" and each.record is not None and each.record["deleted_at"] is not None
    )


def _frozen(sql: Connection, world: World, by_id: Mapping[str, Mapping[str, Any]]) -> dict[str, frozenset[str]]:
    """Fields that wait for a person (an open conflict) or for a reference that nobody can resolve yet."""
    frozen: dict[str, set[str]] = {}
    for row in sql.execute(
        select(conflicts.c.canonical_id, conflicts.c.field).where(
            conflicts.c.state == "open", among(sql, conflicts.c.canonical_id, by_id)
        )
    ):
        frozen.setdefault(row.canonical_id, set()).add(row.field)
    for (canonical,) in sql.execute(
        select(pending_refs.c.canonical_id).where(among(sql, pending_refs.c.canonical_id, by_id)).distinct()
    ):
        frozen.setdefault(canonical, set()).update(world.references(by_id[canonical]["kind"]))
    return {canonical: frozenset(names) for canonical, names in frozen.items()}


def _doubtful(sql: Connection, by_id: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Records for which a steward still has to say whether they are the same as another."""
    found: set[str] = set()
    for row in sql.execute(
        select(reviews.c.a, reviews.c.b).where(
            reviews.c.state == "open", or_(among(sql, reviews.c.a, by_id), among(sql, reviews.c.b, by_id))
        )
    ):
        found.update((row.a, row.b))
    return found


def _references(
    sql: Connection,
    world: World,
    connection: str,
    goldens: Mapping[str, Mapping[str, Any]],
    kinds: Mapping[str, str],
    here: Mapping[str, Sequence[Mapping[str, Any]]],
) -> References:
    """How this connection names the canonical records that these golden records refer to."""
    names = {name for kind in set(kinds.values()) for name in world.references(kind)}
    wanted: set[str] = set()
    by_key: dict[str, str] = {}
    for canonical, golden in goldens.items():
        for name in world.references(kinds[canonical]):
            target = golden.get(name)
            if target is not None:
                wanted.add(target)
                for lens in world.members[connection].mapping.mappings:
                    if lens.kind == kinds[canonical] and name in lens.lines and (key := lens.lines[name].by_key):
                        by_key[target] = key
    if not wanted:
        return References(fields=frozenset(names))
    tokens: dict[str, str] = {}
    ids: dict[str, str] = {}
    deleted: set[str] = set()
    for row in sql.execute(
        select(links.c.resource, links.c.vendor_id, links.c.canonical_id, links.c.alive)
        .where(links.c.connection == connection, among(sql, links.c.canonical_id, wanted))
        .order_by(links.c.resource, links.c.vendor_id)
    ):
        if not row.alive:
            deleted.add(row.canonical_id)
            continue
        tokens.setdefault(row.canonical_id, f"{row.resource}:{row.vendor_id}")
        ids[f"{row.resource}:{row.vendor_id}"] = row.canonical_id
    awaited: set[str] = set()
    for record in sql.execute(select(records).where(among(sql, records.c.id, wanted))).mappings():
        canonical = record["id"]
        if canonical in by_key:
            _, _, field_name = by_key[canonical].partition(".")
            number = orjson.loads(record["golden"]).get(field_name)
            if number is not None:
                token = f"{REFERENCE}{by_key[canonical]}={number}"
                tokens[canonical], ids[token] = token, canonical
        elif canonical not in tokens and canonical not in deleted and record["status"] in ("live", "review"):
            # One that people deleted here is not made again, so nothing can wait for it.
            targets = world.targets(record["kind"])
            awaited.update({canonical} if any(t.connection == connection and t.lens.creates for t in targets) else ())
    return References(tokens, ids, frozenset(awaited), frozenset(names))


def _outcome_name(error: SyncError) -> str:
    if isinstance(error, UnknownOutcome | ShapeChanged):
        return "unknown"
    if isinstance(error, Stale):
        return "stale"
    if isinstance(error, TryLater):
        return "not-sent"
    return "refused"

"""Reading one resource of one connection: pages become batches, a batch and its cursor become one transaction.

The next pages are downloaded by a thread of their own while this batch is worked on. A long first reading
stops after its slice of time at a safe cursor and goes on in a later turn, so that it never keeps others waiting.
"""

from __future__ import annotations

import gc
import queue
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING

import orjson
from sqlalchemy import Connection, delete, func, select, update

from connectors.contract import Capabilities, Connector, Cursor, Page, Record, Version
from syncd import logs
from syncd.clock import iso
from syncd.reconcile import Arrival, Counts, Reconciler, owe_all
from syncd.runs import Run
from syncd.schemas import asking, read_again
from syncd.store.database import reading
from syncd.store.tables import dead_letters, links, turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from syncd.app import App, World
    from syncd.turns import Lease

BATCH_RECORDS = 2_000
COLLECT_RECORDS = 20_000
REREADING = "+"
"""Behind a turn's mapping: everything is being read again, from the beginning to the end."""
log = logs.get("pull")


@dataclass(frozen=True, slots=True)
class Asked:
    """A page that came: its records, where to go on, and when it was asked for."""

    records: tuple[Record, ...]
    resume: Cursor | None
    at: str


def pull(
    app: App,
    world: World,
    connector: Connector,
    lease: Lease,
    *,
    until: datetime | None = None,
    requests: Callable[[], int],
) -> Counts:
    """Read what changed since the cursor, to the end or to the end of the slice. Raises SyncError and LostLease."""
    connection, resource = lease.connection, lease.resource
    with reading(app.engine) as sql:
        turn = (
            sql.execute(select(turns).where(turns.c.connection == connection, turns.c.resource == resource))
            .mappings()
            .one()
        )
    reconciler = Reconciler(app, world, connection, resource, lease, ask=asking(app, world, connector, lease))
    run = Run(app, lease, "pull")
    mapping = reconciler.salt.hex()
    known = turn["mapping"].removesuffix(REREADING)
    is_rereading = known != turn["mapping"]
    starts_over = bool(reconciler.returned) and not is_rereading
    if known and known != mapping:
        lacks = _map_again(app, reconciler, run)
        read_dead_again(app, connector, reconciler)
        starts_over = starts_over or (lacks and Capabilities.of(connector).choose is not None)
    is_rereading = is_rereading or starts_over
    cursor = Cursor(turn["cursor"]) if turn["cursor"] is not None and not starts_over else None
    finished = False

    def keep(sql: Connection, *, last: bool) -> None:
        mark = REREADING if is_rereading and not last else ""
        values: dict[str, object] = {"cursor": cursor, "mapping": mapping + mark, "failures": 0}
        if last:
            now = app.clock.now()
            poll_s = float(turn["poll_s"])
            values |= {
                "pulled_once": True,
                "last_pull_at": iso(now),
                "pull_due_at": iso(now + timedelta(seconds=poll_s)),
            }
        sql.execute(
            update(turns).where(turns.c.connection == connection, turns.c.resource == resource).values(**values)
        )
        if last and is_rereading:
            read_again(sql, connection, resource, reconciler.returned)
        if last and (is_rereading or not turn["pulled_once"]):
            owe_all(sql, world, connection, resource, iso(app.clock.now()))
        run.requests = requests()
        run.store(sql, ended=last)

    ahead = max(1, BATCH_RECORDS // connector.spec.facts.page_max)
    pages = PagesAhead(lambda: connector.pull(resource, cursor), app, ahead)
    try:
        with collected_per_batch() as collect:
            batch: list[Asked] = []
            size = uncollected = 0
            for asked in chain(pages, (None,)):
                if asked is not None:
                    batch.append(asked)
                    size += len(asked.records)
                    if size < BATCH_RECORDS:
                        continue
                resume = [each.resume for each in batch if each.resume is not None]
                if resume:
                    cursor = resume[-1]
                finished = asked is None
                arrivals = [Arrival(record) for each in batch for record in each.records]
                prepared = reconciler.prepare(arrivals, asked_at=batch[0].at if batch else None, fresh=is_rereading)

                def finish(sql: Connection, counts: Counts = prepared.counts, last: bool = finished) -> None:
                    run.counts.add(counts)
                    keep(sql, last=last)

                reconciler.commit(prepared, finish)
                if prepared.counts.unchanged < len(arrivals):
                    counts = prepared.counts
                    log.info(
                        "batch_committed",
                        connection=connection,
                        resource=resource,
                        records=len(arrivals),
                        changed=counts.changed,
                        conflict=counts.conflict,
                        held=counts.held,
                        dead=counts.dead,
                    )
                uncollected += len(arrivals)
                batch, size = [], 0
                del arrivals, prepared, finish  # gone before garbage is looked for, so that it need not look at them
                if uncollected >= COLLECT_RECORDS:
                    collect()
                    uncollected = 0
                if not finished and until is not None and app.clock.now() >= until:
                    break
    finally:
        pages.close()
    return run.counts


def _map_again(app: App, reconciler: Reconciler, run: Run) -> bool:
    """The mapping changed: read every stored body again through the new one. No request is made.

    Returns whether some body lacks a property that the mapping names: it was read before anybody asked for that.
    """
    last, lacks = "", False
    wanted = {(lens.kind, name) for lens in reconciler.lenses for name in lens.vendor_fields}
    while True:
        with reading(app.engine) as sql:
            rows = sql.execute(
                select(links.c.vendor_id, links.c.kind, links.c.version, links.c.body)
                .where(
                    links.c.connection == reconciler.connection,
                    links.c.resource == reconciler.resource,
                    links.c.alive,
                    links.c.vendor_id > last,
                )
                .order_by(links.c.vendor_id)
                .limit(BATCH_RECORDS)
            ).all()
        if not rows:
            return lacks
        last = rows[-1].vendor_id
        lacks = lacks or any(
            name not in body
            for row in rows
            if (body := orjson.loads(row.body)) is not None
            for kind, name in wanted
            if kind == row.kind
        )
        arrivals = [
            Arrival(Record(row.vendor_id, Version(row.version) if row.version else None, row.body.encode()))
            for row in rows
        ]
        counts = reconciler.commit(reconciler.prepare(arrivals, again=True))
        log.info("mapped_again", connection=reconciler.connection, resource=reconciler.resource, records=counts.pulled)


def read_dead_again(app: App, connector: Connector, reconciler: Reconciler) -> int:
    """Fetch the records that were put aside and take them in as if they came anew; returns how many are still aside."""
    fetch = Capabilities.of(connector).fetch
    here = (
        dead_letters.c.connection == reconciler.connection,
        dead_letters.c.resource == reconciler.resource,
    )
    with reading(app.engine) as sql:
        ids = list(
            sql.execute(select(dead_letters.c.vendor_id).where(*here).order_by(dead_letters.c.vendor_id)).scalars()
        )
    if fetch is None or not ids:
        return len(ids)
    size = max(1, connector.spec.facts.fetch_max)
    for start in range(0, len(ids), size):
        arrivals = [Arrival(record) for record in fetch(reconciler.resource, ids[start : start + size])]
        gone = [arrival.record.id for arrival in arrivals if arrival.record.deleted]

        def forget(sql: Connection, gone: list[str] = gone) -> None:
            sql.execute(delete(dead_letters).where(*here, dead_letters.c.vendor_id.in_(gone)))

        reconciler.commit(reconciler.prepare(arrivals), forget)
    with reading(app.engine) as sql:
        return int(sql.execute(select(func.count()).select_from(dead_letters).where(*here)).scalar_one())


class PagesAhead:
    """Downloads pages in a thread, a few ahead, while the last ones are worked on.

    Errors come out where the page would have; close ends the thread.
    """

    def __init__(self, start: Callable[[], Iterator[Page]], app: App, ahead: int) -> None:
        self._queue: queue.Queue[Asked | BaseException | None] = queue.Queue(ahead)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(start, app), name="pages-ahead", daemon=True)
        self._thread.start()

    def _run(self, start: Callable[[], Iterator[Page]], app: App) -> None:
        try:
            at = iso(app.clock.now())
            for page in start():
                self._put(Asked(page.records, page.resume, at))
                if self._closed.is_set():
                    return
                at = iso(app.clock.now())
        except BaseException as error:
            self._put(error)
        else:
            self._put(None)

    def _put(self, item: Asked | BaseException | None) -> None:
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=0.2)
            except queue.Full:
                continue
            return

    def __iter__(self) -> Iterator[Asked]:
        while True:
            item = self._queue.get()
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def close(self) -> None:
        self._closed.set()
        while True:
            try:
                self._queue.get_nowait()
            except queue.Empty:
                break
        self._thread.join(timeout=35)


@contextmanager
def collected_per_batch() -> Iterator[Callable[[], int]]:
    """No garbage collection in the middle of a batch, one after some batches: a request leaves a few small cycles.

    It looks only at what was made since the last one. Looking at everything after every batch was a fifth of the work.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield lambda: gc.collect(0)
    finally:
        if was:
            gc.enable()

"""The sweeper: looks for due work in the database every two seconds, and rings the bell for it.

It is what makes the queue unimportant: a bell that was lost with Redis, with a killed worker or with a crash between
a commit and its ring is rung again here. One sweeper is in charge, told by one row of the database; any number of
others stand by and take over within LEASE_S. The row's time is also the heartbeat that the status page shows.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import RedisError
from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from syncd import application, jobs, logs
from syncd.clock import Clock, SystemClock, from_iso, iso
from syncd.outage import Outage
from syncd.store.database import reading
from syncd.store.tables import meta

if TYPE_CHECKING:
    from redis import Redis
    from sqlalchemy import Engine

    from syncd.application import Application, Opened
    from syncd.config import Settings

log = logs.get("sweeper")

PERIOD_S: Final = 2.0
LEASE_S: Final = 6.0
_ROW: Final = "sweeper"  # who is in charge, and his count of beats
_AT_ROW: Final = "sweeper_at"  # the instant of his last beat


@dataclass(frozen=True, slots=True)
class Beat:
    """Who is in charge; holder is "" after an orderly stop."""

    holder: str
    number: int

    def text(self) -> str:
        return json.dumps({"holder": self.holder, "number": self.number})


def last_beat_at(engine: Engine) -> datetime | None:
    """When the sweeper in charge last gave a sign of life; None when none has ever run. For the status page."""
    text = _value(engine, _AT_ROW)
    return None if text is None else from_iso(text)


class Charge:
    """Who is in charge, decided without comparing clocks of different machines.

    The one in charge counts its number up every PERIOD_S. A stand-by takes over when it has seen the same number
    for LEASE_S of its own time. Each step replaces exactly the row that was read, so only one of two succeeds.
    """

    def __init__(self, holder: str, clock: Clock) -> None:
        self.holder = holder
        self._clock = clock
        self._seen: Beat | None = None
        self._seen_at = 0.0

    def hold(self, engine: Engine, now_s: float) -> bool:
        """Beat once. True: we are in charge until the next beat. now_s: a clock that only runs forward (seconds)."""
        text = _value(engine, _ROW)
        if text is None:
            return self._first(engine)
        found = Beat(**json.loads(text))
        if found != self._seen:
            self._seen, self._seen_at = found, now_s
        ours = found.holder in (self.holder, "")
        return (ours or now_s - self._seen_at >= LEASE_S) and self._replace(engine, found, self.holder)

    def give_up(self, engine: Engine) -> None:
        """Let a stand-by take over at once."""
        text = _value(engine, _ROW)
        if text is not None and (found := Beat(**json.loads(text))).holder == self.holder:
            self._replace(engine, found, "")

    def _first(self, engine: Engine) -> bool:
        rows = [
            {"name": _ROW, "value": Beat(self.holder, 1).text()},
            {"name": _AT_ROW, "value": iso(self._clock.now())},
        ]
        try:
            with engine.begin() as connection:
                connection.execute(insert(meta), rows)
        except IntegrityError:  # another one was first
            return False
        return True

    def _replace(self, engine: Engine, found: Beat, holder: str) -> bool:
        row = update(meta).where(meta.c.name == _ROW, meta.c.value == found.text())
        with engine.begin() as connection:
            if connection.execute(row.values(value=Beat(holder, found.number + 1).text())).rowcount != 1:
                return False
            connection.execute(update(meta).where(meta.c.name == _AT_ROW).values(value=iso(self._clock.now())))
            return True


class Sweep:
    """One sweeper's state between sweeps: its place in charge, and what is out of reach at the moment."""

    def __init__(self, settings: Settings, engine: Application, queue: str, clock: Clock) -> None:
        self._settings = settings
        self._engine = engine
        self._queue = queue
        self._charge = Charge(f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}", clock)
        self._database = Outage("database", log)
        self._redis_outage = Outage("redis", log)
        self._app: Opened | None = None
        self._redis = jobs.connect(jobs.address(settings), timeout_s=2.0)
        self._in_charge = False

    def once(self) -> int:
        """Sweep once; the number of bells rung. Outages of the database and of Redis are told to the log, once each."""
        try:
            if self._app is None:
                self._app = self._engine.open(self._settings)
            in_charge = self._charge.hold(self._app.engine, time.monotonic())
            due = self._engine.due(self._app) if in_charge else 0
        except (SQLAlchemyError, OSError) as error:
            self._database.gone(error)
            self._close()
            return 0
        self._database.over()
        if in_charge != self._in_charge:
            self._in_charge = in_charge
            log.info("sweeper_in_charge" if in_charge else "sweeper_stands_by")
        try:
            # Also with nothing due: the log shall tell of an outage before somebody needs the queue.
            wanted = bells(self._redis, self._queue, due, self._settings.firm.workers) if in_charge else 0
            for _ in range(wanted):
                jobs.ring(self._redis, self._queue, hint="sweeper")
        except (RedisError, OSError) as error:
            self._redis_outage.gone(error)
            return 0
        self._redis_outage.over()
        return wanted

    def stop(self) -> None:
        with contextlib.suppress(SQLAlchemyError, OSError):
            if self._app is not None:
                self._charge.give_up(self._app.engine)
        self._close()
        self._redis.close()

    def _close(self) -> None:
        app, self._app = self._app, None
        if app is not None:
            with contextlib.suppress(SQLAlchemyError, OSError):
                app.close()


def bells(redis: Redis, queue: str, due: int, workers: int) -> int:
    """How many bells to ring: one for each due turn, no more than there are workers, less those that wait unheard.

    workers: how many this installation runs at least; those that other machines run have told Redis.
    """
    waiting = redis.llen(jobs.Bells(queue, connection=redis).key)
    known = jobs.workers(redis, queue)
    return max(0, min(due, max(known, workers)) - waiting)


def run(
    settings: Settings,
    engine: Application | None = None,
    *,
    queue: str = jobs.QUEUE,
    clock: Clock | None = None,
    period_s: float = PERIOD_S,
) -> int:
    """Sweep until SIGTERM or Ctrl-C; the exit code."""
    stop = threading.Event()

    def on_signal(*_: Any) -> None:
        stop.set()

    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, on_signal)
    sweep = Sweep(settings, engine or application.shipped(), queue, clock or SystemClock())
    log.info("sweeper_started")
    while not stop.is_set():
        sweep.once()
        stop.wait(period_s)
    sweep.stop()
    log.info("sweeper_stopped")
    return 0


def _value(engine: Engine, name: str) -> str | None:
    with reading(engine) as connection:
        return connection.execute(select(meta.c.value).where(meta.c.name == name)).scalar_one_or_none()

"""A tiny engine on a real SQLite table, and the processes around it, for the tests of queue, workers and supervisor.

A turn is a row. It is due until somebody has done it; whoever works on it holds a lease with a fence, as in the real
engine. A turn may be shut: then it lasts until a test opens it. Every step is written to a log table, so tests can
ask what happened, when, and in which process. As a program, this file is `syncd` for one role:

    python workshop.py worker|sweeper|web|up      with SYNCD_HOME and SYNCD_REDIS_URL
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import psutil
from sqlalchemy import Column, Engine, Float, Integer, MetaData, Table, Text, func, insert, select, update

from syncd.application import Application
from syncd.config import Firm, Listen, Settings
from syncd.starting import dies_with_parent
from syncd.store.database import open_engine, reading
from syncd.store.tables import meta

LEASE_S = 3.0
WAIT_S = 60.0  # how long a test polls before it gives up; a crowded machine needs patience

tables = MetaData()
turns = Table(
    "workshop_turns",
    tables,
    Column("id", Integer, primary_key=True),
    Column("shut", Integer, nullable=False),
    Column("done", Integer, nullable=False, default=0),
    Column("fence", Integer, nullable=False, default=0),
    Column("lease_until", Float, nullable=False, default=0.0),
)
steps = Table(
    "workshop_steps",
    tables,
    Column("number", Integer, primary_key=True),
    Column("turn", Integer, nullable=False),
    Column("what", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("at", Float, nullable=False),
)


class Opened:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.engine = open_engine(settings.database_url)

    def close(self) -> None:
        self.engine.dispose()


def due(app: Opened) -> int:
    with reading(app.engine) as connection:
        free = (turns.c.done == 0) & (turns.c.lease_until < time.time())
        return int(connection.execute(select(func.count()).where(free)).scalar_one())


def work(app: Opened, limit_s: float) -> int:
    until = time.monotonic() + limit_s
    done = 0
    while time.monotonic() < until and (taken := _take(app.engine)):
        turn, fence = taken
        while _is_shut(app.engine, turn):
            time.sleep(0.02)
        done += _finish(app.engine, turn, fence)
    return done


def _take(engine: Engine) -> tuple[int, int] | None:
    with engine.begin() as connection:
        free = (turns.c.done == 0) & (turns.c.lease_until < time.time())
        row = connection.execute(select(turns.c.id, turns.c.fence).where(free).limit(1)).first()
        if row is None:
            return None
        leased = {"fence": row.fence + 1, "lease_until": time.time() + LEASE_S}
        connection.execute(update(turns).where(turns.c.id == row.id).values(leased))
        connection.execute(insert(steps).values(turn=row.id, what="begun", pid=os.getpid(), at=time.time()))
        return row.id, row.fence + 1


def _is_shut(engine: Engine, turn: int) -> bool:
    with reading(engine) as connection:
        return bool(connection.execute(select(turns.c.shut).where(turns.c.id == turn)).scalar_one())


def _finish(engine: Engine, turn: int, fence: int) -> int:
    with engine.begin() as connection:
        ours = (turns.c.id == turn) & (turns.c.fence == fence)
        if not connection.execute(update(turns).where(ours).values(done=1)).rowcount:
            return 0  # somebody else has it: a newer fence
        connection.execute(insert(steps).values(turn=turn, what="done", pid=os.getpid(), at=time.time()))
        return 1


def status(app: Opened) -> dict[str, Any]:
    with reading(app.engine) as connection:
        open_turns = int(connection.execute(select(func.count()).where(turns.c.done == 0)).scalar_one())
    return {
        "firm": "Quill & Sons LLP",
        "as_of": "2026-11-21T09:30:00.000000Z",
        "connections": [],
        "unknown_names": [],
        "intents": {"due": open_turns},
        "conflicts": 0,
        "reviews": 0,
        "dead_letters": 0,
        "workers": [],
        "sweeper_at": None,
    }


WORKSHOP = Application(open=Opened, work=work, due=due, status=status)


def settings_for(home: Path, redis_url: str | None, *, workers: int = 1, port: int = 0) -> Settings:
    return Settings(
        home=home,
        database_url=f"sqlite:///{home / 'workshop.db'}",
        redis_url=redis_url,
        key=b"k" * 32,
        old_keys=(),
        firm=Firm(name="Quill & Sons LLP", workers=workers, listen=Listen(port=port)),
    )


@dataclass
class Workshop:
    """A home with a database, and the processes that a test starts for it. Leaving it ends all of them.

    Another database_url than the home's own is for a test that starts no process.
    """

    home: Path
    redis_url: str | None = None
    workers: int = 1
    port: int = 0
    database_url: str = ""
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        self.engine = open_engine(self.settings.database_url)
        with self.engine.begin() as connection:
            tables.create_all(connection)
            meta.create(connection, checkfirst=True)

    @property
    def settings(self) -> Settings:
        settings = settings_for(self.home, self.redis_url, workers=self.workers, port=self.port)
        return replace(settings, database_url=self.database_url) if self.database_url else settings

    # --- the table of work ---

    def add(self, count: int = 1, *, shut: bool = False) -> None:
        with self.engine.begin() as connection:
            connection.execute(insert(turns), [{"shut": int(shut)} for _ in range(count)])

    def open_all(self) -> None:
        with self.engine.begin() as connection:
            connection.execute(update(turns).values(shut=0))

    def steps(self, what: str) -> list[tuple[int, int, float]]:
        """(turn, process id, time) of every step of that name, in order."""
        with reading(self.engine) as connection:
            rows = connection.execute(select(steps).where(steps.c.what == what).order_by(steps.c.number))
            return [(row.turn, row.pid, row.at) for row in rows]

    def wait_steps(self, what: str, count: int, within_s: float = WAIT_S) -> list[tuple[int, int, float]]:
        wait_until(lambda: len(self.steps(what)) >= count, within_s, f"{count} turns {what}", self.log)
        return self.steps(what)

    # --- the processes ---

    def start(self, role: str) -> subprocess.Popen[bytes]:
        env = {**os.environ, "SYNCD_HOME": str(self.home), "WORKSHOP_WORKERS": str(self.workers)}
        env |= {"WORKSHOP_PORT": str(self.port), "PYTHONUNBUFFERED": "1"}
        env.pop("SYNCD_REDIS_URL", None)
        if self.redis_url:
            env["SYNCD_REDIS_URL"] = self.redis_url
        with (self.home / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, __file__, role],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=dies_with_parent(signal.SIGKILL),
            )
        self.started.append(process)
        return process

    def started_and_said(self, role: str, words: str) -> subprocess.Popen[bytes]:
        """Start a role and wait until it says these words in the log once more."""
        before = self.said(words)
        process = self.start(role)
        wait_until(
            lambda: self.said(words) > before or process.poll() is not None, WAIT_S, f"{role} says {words}", self.log
        )
        return process

    def log(self) -> str:
        return (self.home / "log").read_text(errors="replace") if (self.home / "log").exists() else ""

    def said(self, words: str) -> int:
        return self.log().count(words)

    def processes(self) -> list[psutil.Process]:
        """Every living process of this home, known by its environment, whoever its parent is."""
        time.sleep(0.1)  # looking at every process of the machine costs; a poll shall not starve what it waits for
        return [each for each in psutil.process_iter() if _belongs(each, self.home)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        for process in self.started:
            process.wait()
        wait_until(lambda: not self.processes(), WAIT_S, "every process ends", self.log)
        self.engine.dispose()


def _belongs(process: psutil.Process, home: Path) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        if process.environ().get("SYNCD_HOME") == str(home):
            return True
        return any(str(home / "valkey") in word for word in process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def wait_until(
    done: Callable[[], object], within_s: float = WAIT_S, what: str = "it", log: Callable[[], str] | None = None
) -> float:
    """Poll until `done`; the seconds that it took. Fails with the log otherwise."""
    started = time.monotonic()
    while not done():
        if time.monotonic() - started > within_s:
            raise AssertionError(f"waited {within_s} s for: {what}\n{log() if log else ''}")
        time.sleep(0.02)
    return time.monotonic() - started


def is_alive(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def main(role: str) -> int:
    from syncd import logs, supervisor, sweeper, worker

    logs.configure(form="json", process=f"{role} {os.getpid()}")
    home = Path(os.environ["SYNCD_HOME"])
    workers, port = int(os.environ.get("WORKSHOP_WORKERS", "1")), int(os.environ.get("WORKSHOP_PORT", "0"))
    settings = settings_for(home, os.environ.get("SYNCD_REDIS_URL"), workers=workers, port=port)
    if role == "worker":
        return worker.run(settings, WORKSHOP)
    if role == "sweeper":
        return sweeper.run(settings, WORKSHOP, period_s=0.5)
    if role == "web":
        from syncd.web import app

        return app.run(settings, WORKSHOP)
    return supervisor.run(settings, announce=lambda line: print(line, flush=True), command=(sys.executable, __file__))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

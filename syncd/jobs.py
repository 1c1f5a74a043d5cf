"""What goes through the queue: one kind of job, a doorbell that means "wake up and look".

A bell carries no work, only a short word about who rang. What there is to do, for whom, and who does it, is in the
database; so bells may be lost, doubled, late or forged, and the only harm is a look more or less.

Redis is not trusted. RQ alone would import and call any function that a job's data names, run its callbacks, send
its webhooks and follow its dependencies. Here a job that comes out of Redis is rebuilt from nothing but its hint
(`Bell.refresh`), and whatever does not read exactly like one of our own bells does not exist.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry
from rq import Queue, worker_registration
from rq.exceptions import NoSuchJobError
from rq.job import Job, get_current_job
from rq.serializers import JSONSerializer

from syncd import embedded, logs

if TYPE_CHECKING:
    from syncd.application import Application
    from syncd.config import Settings

log = logs.get("look")

QUEUE: Final = "syncd"
LOOK_S: Final = 20.0  # one look takes due turns for this long, then rings for the next
SLICE_S: Final = 2.0  # so long at most until a look notices that it shall stop, besides the turn in hand
TIMEOUT_S: Final = 300  # a look that hangs longer is ended from outside
BELL_TTL_S: Final = 60  # a bell that nobody heard for so long is forgotten; the sweeper has rung again long since
BELLS_MAX: Final = 64  # bells are all alike: more than there can be workers tell nothing more
BELL_BYTES_MAX: Final = 1_000

_HINT: Final = re.compile(r"[A-Za-z0-9_.-]{0,64}")
_QUEUE_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Serializer(JSONSerializer):
    """JSON, never pickle: pickle runs code while it reads."""


class Bell(Job):
    """A job of our own making, whatever somebody wrote into Redis."""

    def __init__(self, id: str | None = None, connection: Redis | None = None, serializer: Any = None) -> None:
        super().__init__(id, connection=connection, serializer=Serializer)

    def refresh(self) -> None:
        """Read the bell. Raises NoSuchJobError for everything else, which a queue passes over in silence."""
        try:
            data, origin = cast("list[bytes | None]", self.connection.hmget(self.key, "data", "origin"))
        except ResponseError as error:  # not even a hash
            raise NoSuchJobError(self.id) from error
        self.restore({b"data": data or b"", b"origin": origin or b""})

    def restore(self, raw_data: dict[bytes, bytes]) -> None:
        """Only the hint and the queue's name are taken over, and both are checked; limits are ours, not Redis's.

        So callbacks, webhooks, dependencies, retries, groups, rate limits, meta data and time-outs that were
        written beside it have no effect.
        """
        hint = _hint(raw_data.get(b"data", b""))
        origin = raw_data.get(b"origin", b"").decode("ascii", "replace")
        if hint is None or not _QUEUE_NAME.fullmatch(origin):
            log.warning("foreign_job_refused", queue=origin if _QUEUE_NAME.fullmatch(origin) else "")
            raise NoSuchJobError(self.id)
        super().restore(
            {
                b"data": _data(hint),
                b"origin": origin.encode(),
                b"status": b"queued",
                b"timeout": str(TIMEOUT_S).encode(),
                b"result_ttl": b"0",
                b"failure_ttl": b"0",
            }
        )

    @property
    def func(self) -> Callable[..., None]:
        """Looked up among our own functions. RQ would import the module that the name names."""
        return ADMITTED[self.func_name or ""]


class Bells(Queue):
    """The queue of bells."""

    job_class = Bell

    def __init__(self, name: str = QUEUE, connection: Redis | None = None, **_: Any) -> None:
        super().__init__(name, connection=connection, job_class=Bell, serializer=Serializer)


def address(settings: Settings) -> str:
    """The Redis that this installation uses: the one that is named, or its own."""
    return settings.redis_url or embedded.url(settings.home)


def connect(url: str, *, timeout_s: float = 5.0) -> Redis:
    """A client that says within seconds when Redis is away. One repeat, for a connection that went stale meanwhile."""
    return Redis.from_url(url, socket_connect_timeout=2.0, socket_timeout=timeout_s, retry=Retry(NoBackoff(), 1))


def ring(redis: Redis, queue: str = QUEUE, hint: str = "") -> bool:
    """Wake one worker. False when so many bells wait already that one more would tell nothing.

    hint: up to 64 letters, digits, `_`, `.` and `-`, for the log only. Raises RedisError when Redis is away: whoever
    has just committed work may pass over that, since the sweeper finds it in two seconds.
    """
    if not _HINT.fullmatch(hint):
        raise ValueError("a hint is up to 64 letters, digits, _ . and -")
    bells = Bells(queue, connection=redis)
    if redis.llen(bells.key) >= BELLS_MAX:
        return False
    bells.enqueue_call(
        look, args=(hint,), timeout=TIMEOUT_S, result_ttl=0, ttl=BELL_TTL_S, failure_ttl=0, description="look"
    )
    return True


def workers(redis: Redis, queue: str = QUEUE) -> int:
    """How many workers listen, on all machines. One that was killed counts until its key expires, a minute later."""
    keys = cast("set[bytes]", redis.smembers(worker_registration.WORKERS_BY_QUEUE_KEY % queue))
    return int(redis.exists(*keys)) if keys else 0


# --- inside a worker ---------------------------------------------------------------------------------------------

_bound: tuple[Settings, Application] | None = None
_stop_asked = False


def bind(settings: Settings, application: Application) -> None:
    """Say what `look` works with. The worker does so once, before it forks: a bell carries no settings."""
    global _bound
    _bound = (settings, application)


def ask_to_stop() -> None:
    """Let the look in this process end after the turn in hand."""
    global _stop_asked
    _stop_asked = True


def look(hint: str) -> None:
    """Do whatever is due, for up to LOOK_S; ring again when more is left than the time allowed."""
    if _bound is None:
        raise RuntimeError("look() runs inside a worker only")
    settings, application = _bound
    started = time.monotonic()
    turns, more = 0, False
    try:
        app = application.open(settings)
        try:
            while not _stop_asked and (left_s := started + LOOK_S - time.monotonic()) > 0:
                done = application.work(app, min(left_s, SLICE_S))
                turns += done
                if not done:
                    break
            else:
                more = application.due(app) > 0
        finally:
            app.close()
        if more and (job := get_current_job()) is not None:
            with contextlib.suppress(RedisError):  # the sweeper will
                ring(job.connection, job.origin, hint="more")
    except Exception:  # the job entry: what went wrong is in the database; here it is said, and no more
        log.exception("look_failed", hint=hint)
    else:
        took_s = round(time.monotonic() - started, 3)
        log.debug("looked", hint=hint, turns=turns, took_s=took_s)  # every few seconds; what was done is said there


ADMITTED: Final[dict[str, Callable[..., None]]] = {"syncd.jobs.look": look}


# --- the bytes of a bell -----------------------------------------------------------------------------------------


def _data(hint: str) -> bytes:
    return json.dumps(("syncd.jobs.look", None, [hint], {})).encode()


def _hint(data: bytes) -> str | None:
    """The hint of a bell as RQ stores it (compressed JSON), or None when it is not exactly one of ours."""
    if len(data) > BELL_BYTES_MAX:
        return None
    try:
        unpacked = zlib.decompressobj().decompress(data, BELL_BYTES_MAX)
    except zlib.error:
        unpacked = data
    try:
        call = json.loads(unpacked)
    except (ValueError, RecursionError):
        return None
    match call:
        case ["syncd.jobs.look", None, [str() as hint], {**rest}] if not rest and _HINT.fullmatch(hint):
            return hint
    return None

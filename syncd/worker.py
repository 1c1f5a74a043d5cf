"""A worker: hears the bell, forks, and lets the fork look. Survives whatever happens to Redis and to its forks.

It uses RQ's queue, fork and supervision of the fork, and leaves out what a doorbell has no use for: results, retries,
registries of failed jobs, commands over pub/sub, suspension by a key, and the scheduler inside the worker (all of
these either act on what is written in Redis or die with its first outage). A bell that gets lost in a crash is rung
again by the sweeper within seconds; which work is whose is decided by leases in the database.

Stopping: SIGTERM or Ctrl-C lets the turn in hand finish, up to GRACE_S. A fork whose worker was killed does the same.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import socket
import time
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, cast

from redis.exceptions import RedisError
from rq import Worker, worker_registration
from rq.exceptions import DequeueTimeout, StopRequested

from syncd import application, jobs, logs
from syncd.outage import Outage
from syncd.starting import dies_with_parent

if TYPE_CHECKING:
    from redis import Redis
    from rq import Queue
    from rq.executions import Execution
    from rq.job import Job

    from syncd.application import Application
    from syncd.config import Settings

log = logs.get("worker")

GRACE_S: Final = 8  # for the turn in hand, after SIGTERM
WORKER_TTL_S: Final = 20  # RQ waits for a bell 15 s less than this at a time
MONITORING_S: Final = 2
TIDYING_S: Final = 10
RECONNECT_S: Final = 0.5


class Stop:
    """Whether and when this worker was asked to stop. Only a wait is interrupted; everything else ends by itself."""

    def __init__(self) -> None:
        self._asked_at: float | None = None
        self._waiting = False
        self.horse: int = 0

    @property
    def asked(self) -> bool:
        return self._asked_at is not None

    @property
    def overdue(self) -> bool:
        """The fork had its grace and two seconds more: it hangs where no signal reaches it."""
        return self._asked_at is not None and time.monotonic() > self._asked_at + GRACE_S + 2

    def on_signal(self, signum: int, frame: FrameType | None) -> None:
        if self._asked_at is None:
            self._asked_at = time.monotonic()
        self.tell_horse()
        if self._waiting:
            self._waiting = False
            raise StopRequested

    def tell_horse(self) -> None:
        if self.horse:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.horse, signal.SIGTERM)

    @contextlib.contextmanager
    def wait(self) -> Iterator[None]:
        """Within, a signal raises StopRequested; one that came just before does so on entry."""
        self._waiting = True
        try:
            if self.asked:
                raise StopRequested
            yield
        finally:
            self._waiting = False


class BellWorker(Worker):
    """RQ's forking worker, cut down to bells. One queue: RQ loses a job when a worker on two queues is killed."""

    def __init__(self, redis: Redis, queue: str, stop: Stop) -> None:
        super().__init__(
            [jobs.Bells(queue, connection=redis)],
            name=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}",
            connection=redis,
            worker_ttl=WORKER_TTL_S,
            job_monitoring_interval=MONITORING_S,
            job_class=jobs.Bell,
            queue_class=jobs.Bells,
            serializer=jobs.Serializer,
            log_job_description=False,
        )
        self.stop = stop
        self._in_horse = dies_with_parent(signal.SIGTERM)
        self._bells = self.queues[0]
        self._tidied_at = 0.0

    def serve(self) -> None:
        """Hear bells until asked to stop. Raises RedisError or OSError when Redis goes away."""
        self.register_birth()  # type: ignore[no-untyped-call]
        self.set_state("idle")
        try:
            while not self.stop.asked:
                if time.monotonic() > self._tidied_at + TIDYING_S:
                    self.tidy()
                self.heartbeat()
                with self.stop.wait():
                    taken = self._hear()
                if taken is not None:
                    self.execute_job(*taken)
        except StopRequested:
            pass
        finally:
            with contextlib.suppress(RedisError, OSError):
                self.register_death()  # type: ignore[no-untyped-call]

    def _hear(self) -> tuple[Job, Queue] | None:
        try:
            return jobs.Bells.dequeue_any(
                [self._bells],
                self.dequeue_timeout,
                connection=self.connection,
                job_class=jobs.Bell,
                serializer=jobs.Serializer,
                death_penalty_class=self.death_penalty_class,
            )
        except DequeueTimeout:
            return None
        except ValueError:  # an id that is not even text, or no id of RQ's
            log.warning("foreign_job_refused", queue=self._bells.name)
            return None

    def tidy(self) -> None:
        """Say again that we are here (a flushed Redis forgot it), and drop what killed workers left."""
        self._tidied_at = time.monotonic()
        with self.connection.pipeline() as pipe:
            worker_registration.register(self, pipe)
            pipe.hset(self.key, mapping=self.serialize())
            pipe.execute()
        worker_registration.clean_worker_registry(self._bells)
        started: str = self._bells.started_job_registry.key
        ended = cast("list[bytes]", self.connection.zrangebyscore(started, 0, time.time(), start=0, num=100))
        for entry in ended:
            job_id = entry.decode("utf-8", "replace").partition(":")[0]
            self.connection.delete(jobs.Bell.key_for(job_id))
            self.connection.zrem(started, entry)
        # A bell taken off the queue by a worker that died in the same instant. Nobody waits for it: what it
        # announced is still due in the database. It goes once its hash has expired.
        between: str = self._bells.intermediate_queue_key
        for raw in cast("list[bytes]", self.connection.lrange(between, 0, 99)):
            if not self.connection.exists(jobs.Bell.key_for(raw.decode("utf-8", "replace"))):
                self.connection.lrem(between, 1, raw)  # type: ignore[arg-type]  # an id need not be text

    # --- around the fork ---

    def fork_work_horse(self, job: Job, queue: Queue) -> None:
        super().fork_work_horse(job, queue)
        self.stop.horse = self.horse_pid

    def monitor_work_horse(self, job: Job, queue: Queue, execution: Execution) -> None:
        try:
            super().monitor_work_horse(job, queue, execution)
        finally:
            self.stop.horse = 0

    def maintain_heartbeats(self, job: Job, execution: Execution) -> None:
        """Called every MONITORING_S while the fork works. An outage of Redis does not disturb a fork that works."""
        if self.stop.asked:
            self.stop.tell_horse()  # the first signal may have come before its process id was known
        if self.stop.overdue:
            self.kill_horse()
        with contextlib.suppress(RedisError, OSError):
            super().maintain_heartbeats(job, execution)

    def handle_work_horse_killed(self, job: Job, retpid: int, ret_val: int, rusage: Any) -> None:
        log.warning("look_killed", wait_status=ret_val)

    # --- in the fork ---

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        self._in_horse()
        super().main_work_horse(job, queue)

    def setup_work_horse_signals(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the worker passes the wish on as SIGTERM
        signal.signal(signal.SIGTERM, _finish_soon)

    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        """RQ would log the arguments and the whole traceback."""
        log.error("look_failed", error=exc_info[0].__name__ if exc_info[0] else "")

    # --- after the fork: a bell leaves no trace ---

    def handle_job_success(self, job: Job, queue: Any, started_job_registry: Any, execution: Execution) -> None:
        self._forget(job, execution)

    def handle_job_failure(
        self,
        job: Job,
        queue: Any,
        started_job_registry: Any = None,
        exc_string: str = "",
        execution: Execution | None = None,
    ) -> None:
        self._forget(job, execution)

    def _forget(self, job: Job, execution: Execution | None) -> None:
        with self.connection.pipeline() as pipe:
            self.cleanup_execution(job, pipeline=pipe, execution=execution)
            pipe.delete(job.key)
            pipe.lrem(self._bells.intermediate_queue_key, 1, job.id)
            pipe.execute()


def run(settings: Settings, engine: Application | None = None, *, queue: str = jobs.QUEUE) -> int:
    """Work until SIGTERM or Ctrl-C; the exit code. Redis may come, go and be flushed meanwhile."""
    engine = engine or application.shipped()  # imports everything before the first fork
    jobs.bind(settings, engine)
    engine.warm(settings)
    _silence_rq()
    stop, outage = Stop(), Outage("redis", log)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, stop.on_signal)
    log.info("worker_started", queue=queue)
    while not stop.asked:
        redis = jobs.connect(jobs.address(settings))
        try:
            worker = BellWorker(redis, queue, stop)
            outage.over()
            worker.serve()
        except (RedisError, OSError) as error:
            outage.gone(error)
            with contextlib.suppress(StopRequested), stop.wait():
                time.sleep(RECONNECT_S)
        finally:
            redis.close()
    log.info("worker_stopped", queue=queue)
    return 0


def _finish_soon(signum: int, frame: FrameType | None) -> None:
    """In the fork: stop after the turn in hand; after GRACE_S end at once, as a power cut would."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    jobs.ask_to_stop()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(GRACE_S)


def _silence_rq() -> None:
    """RQ's log lines quote arguments and tracebacks, and repeat an outage every second. We say what matters."""
    rq = logging.getLogger("rq")
    rq.propagate = False
    rq.addHandler(logging.NullHandler())

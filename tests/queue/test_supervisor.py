"""`syncd up` as a real process: what it starts, what it restarts, and that nothing stays behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.queue.workshop import Workshop, is_alive, wait_until

if TYPE_CHECKING:
    import psutil

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

STOP_MAX_S = 15.0


def up(workshop: Workshop) -> subprocess.Popen[bytes]:
    return workshop.started_and_said("up", "syncd is running")


def page_of(workshop: Workshop) -> str:
    return str(re.findall(r"Status: (http://\S+/)", workshop.log())[-1])


def role(workshop: Workshop, name: str) -> int:
    """The process id of the one child with this role; a worker's fork shares its command, so the eldest counts."""
    found: list[psutil.Process] = []

    def there() -> bool:
        found[:] = [each for each in workshop.processes() if each.cmdline()[-1:] == [name]]
        return bool(found)

    wait_until(there, what=f"a {name}", log=workshop.log)
    return min(found, key=lambda each: each.create_time()).pid


def replaced(workshop: Workshop, name: str, before: int) -> bool:
    return role(workshop, name) != before


def queue_server(workshop: Workshop) -> int:
    (found,) = [each for each in workshop.processes() if "valkey-server" in each.cmdline()[0]]
    return found.pid


def healthy(workshop: Workshop) -> bool:
    try:
        return httpx.get(f"{page_of(workshop)}healthz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


def wait_healthy(workshop: Workshop) -> None:
    wait_until(lambda: healthy(workshop), what="health", log=workshop.log)


def stop(workshop: Workshop, running: subprocess.Popen[bytes], signum: signal.Signals = signal.SIGTERM) -> None:
    started = time.monotonic()
    running.send_signal(signum)
    assert running.wait(STOP_MAX_S) == 0
    assert time.monotonic() - started < STOP_MAX_S
    assert workshop.processes() == []


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_it_runs_everything_and_stops_everything(alone: Workshop, signum: signal.Signals) -> None:
    alone.workers = 2
    running = up(alone)
    wait_healthy(alone)
    health = httpx.get(f"{page_of(alone)}healthz").json()
    assert {name: part["ok"] for name, part in health.items() if name != "ok"} == {
        "process": True,
        "database": True,
        "redis": True,
        "sweeper": True,
    }
    alone.add(6)
    alone.wait_steps("done", 6)
    stop(alone, running, signum)
    assert not (alone.home / "valkey" / "valkey.sock").exists()


def test_a_stop_in_the_middle_of_a_turn_is_in_time_and_the_next_start_does_the_turn(alone: Workshop) -> None:
    alone.add(shut=True)
    running = up(alone)
    alone.wait_steps("begun", 1)
    stop(alone, running)
    assert alone.steps("done") == []
    alone.open_all()
    running = up(alone)
    alone.wait_steps("done", 1)
    stop(alone, running)


def test_every_child_that_is_killed_is_started_again(alone: Workshop) -> None:
    running = up(alone)
    wait_healthy(alone)
    for name in ("web", "sweeper", "worker"):
        before = role(alone, name)
        os.kill(before, signal.SIGKILL)
        wait_until(partial(replaced, alone, name, before), what=f"a new {name}", log=alone.log)
    alone.add(2)
    alone.wait_steps("done", 2)
    wait_healthy(alone)
    stop(alone, running)


def test_a_killed_queue_server_is_started_again_and_no_due_turn_is_lost(alone: Workshop) -> None:
    running = up(alone)
    alone.add(2)
    alone.wait_steps("done", 2)
    before = queue_server(alone)
    os.kill(before, signal.SIGKILL)
    alone.add(5)
    alone.wait_steps("done", 7, within_s=30)
    assert queue_server(alone) != before
    stop(alone, running)


def test_after_a_kill_of_the_supervisor_the_children_end_and_a_new_start_takes_over(alone: Workshop) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        alone.port = probe.getsockname()[1]  # a fixed one, so that the leftovers are in the way of the new start
    running = up(alone)
    wait_healthy(alone)
    alone.add(shut=True)
    alone.wait_steps("begun", 1)
    left = [each.pid for each in alone.processes() if each.pid != running.pid]
    running.kill()
    running.wait()
    again = up(alone)
    alone.open_all()
    alone.wait_steps("done", 1, within_s=30)
    wait_healthy(alone)
    wait_until(lambda: not any(is_alive(pid) for pid in left), what="the old children end", log=alone.log)
    assert len(alone.steps("done")) == 1
    stop(alone, again)


def test_a_second_one_for_the_same_home_is_refused_with_a_word(alone: Workshop) -> None:
    running = up(alone)
    second = alone.start("up")
    assert second.wait(30) == 1
    assert f"already runs for {alone.home} (process {running.pid})" in alone.log()
    wait_healthy(alone)
    stop(alone, running)


def test_a_taken_address_is_named_with_what_to_do(alone: Workshop) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        alone.port = taken.getsockname()[1]
        running = alone.start("up")
        assert running.wait(30) == 1
    assert f"Another program already uses the web address 127.0.0.1:{alone.port}." in alone.log()
    assert "SYNCD_LISTEN" in alone.log()
    assert alone.processes() == []


def test_a_named_redis_is_used_and_left_alone(home: Path, valkey_url: str) -> None:
    with Workshop(home, valkey_url) as workshop:
        running = up(workshop)
        workshop.add(2)
        workshop.wait_steps("done", 2)
        wait_healthy(workshop)
        assert not (home / "valkey").exists()
        stop(workshop, running)


def test_the_orphan_of_a_killed_worker_does_not_outlive_the_stop(alone: Workshop) -> None:
    running = up(alone)
    alone.add(shut=True)
    (_, horse, _), *_ = alone.wait_steps("begun", 1)
    os.kill(role(alone, "worker"), signal.SIGKILL)
    stop(alone, running)
    assert not is_alive(horse)

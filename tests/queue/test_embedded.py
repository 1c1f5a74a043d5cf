"""The embedded queue server, with everything that a killed process can leave behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from syncd import embedded, jobs
from syncd.starting import CannotStart
from tests.queue.workshop import frozen, is_alive, wait_until


@pytest.fixture
def server(home: Path) -> Iterator[embedded.Server]:
    running = embedded.start(home)
    yield running
    running.stop()


def ping(home: Path) -> bool:
    with jobs.connect(embedded.url(home)) as redis:
        return bool(redis.ping())


def test_it_answers_on_a_private_socket_and_on_no_port(home: Path, server: embedded.Server) -> None:
    assert ping(home)
    assert psutil.Process(server.pid).net_connections("inet") == []
    assert embedded.socket_path(home).stat().st_mode & 0o077 == 0
    assert (home / "valkey").stat().st_mode & 0o077 == 0


def test_it_stops_in_order_and_keeps_its_data(home: Path) -> None:
    first = embedded.start(home)
    with jobs.connect(first.url) as redis:
        redis.set("kept", "yes")
    first.stop()
    assert not first.alive()
    assert not embedded.socket_path(home).exists()
    second = embedded.start(home)
    with jobs.connect(second.url) as redis:
        assert redis.get("kept") == b"yes"
    second.stop()


def test_a_killed_server_loses_at_most_its_last_second(home: Path) -> None:
    first = embedded.start(home)
    with jobs.connect(first.url) as redis:
        redis.set("kept", "yes")
        redis.bgrewriteaof()  # forces what is written so far to the disk
        wait_until(lambda: not redis.info("persistence")["aof_rewrite_in_progress"])
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: not first.alive())
    assert embedded.socket_path(home).exists(), "a stale socket is what a kill leaves"
    second = embedded.start(home)
    with jobs.connect(second.url) as redis:
        assert redis.get("kept") == b"yes"
    second.stop()


def test_a_live_server_is_taken_over(home: Path, server: embedded.Server) -> None:
    neighbour = embedded.start(home)
    assert neighbour.pid == server.pid
    assert neighbour.alive()


def test_a_live_server_is_stopped_first_where_an_own_one_is_asked_for(home: Path, server: embedded.Server) -> None:
    with jobs.connect(server.url) as redis:
        redis.set("kept", "yes")
    own = embedded.start(home, adopt=False)
    assert own.pid != server.pid
    assert not is_alive(server.pid)
    with jobs.connect(own.url) as redis:
        assert redis.get("kept") == b"yes"
    own.stop()


def test_a_hung_server_is_replaced(home: Path, server: embedded.Server) -> None:
    with frozen(server.pid):
        own = embedded.start(home, wait_s=1.0)
        assert own.pid != server.pid
        assert ping(home)
        own.stop()


def test_a_socket_that_nobody_serves_is_no_obstacle(home: Path) -> None:
    (home / "valkey").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(embedded.socket_path(home)))
    running = embedded.start(home)
    assert ping(home)
    running.stop()


def test_a_damaged_journal_is_put_aside(home: Path) -> None:
    first = embedded.start(home)
    with jobs.connect(first.url) as redis:
        redis.set("lost", "yes")
    first.stop()
    (journal,) = (home / "valkey" / "appendonlydir").glob("*.incr.aof")
    journal.write_bytes(b"this is no journal\r\n" * 20)
    second = embedded.start(home)
    assert ping(home)
    second.stop()
    assert len(list((home / "valkey").glob("damaged-*"))) == 1


@pytest.mark.parametrize("name", ["with blank and 'quote\"", "ümlaut", "a" * 150])
def test_any_path_will_do(home: Path, name: str) -> None:
    running = embedded.start(home / name)
    assert ping(home / name)
    assert len(os.fsencode(embedded.socket_path(home / name))) <= embedded.SOCKET_BYTES_MAX
    running.stop()
    if embedded.socket_path(home / name).parent.parent == Path("/tmp"):
        embedded.socket_path(home / name).parent.rmdir()


def test_a_folder_that_others_may_write_is_refused(home: Path) -> None:
    folder = embedded.socket_path(home / ("b" * 150)).parent
    folder.mkdir()
    folder.chmod(0o777)
    try:
        with pytest.raises(CannotStart, match="may be written by others"):
            embedded.start(home / ("b" * 150))
    finally:
        folder.rmdir()


def test_a_home_that_cannot_hold_it_is_named(home: Path) -> None:
    home.parent.mkdir(exist_ok=True)
    home.write_text("a file")
    with pytest.raises(CannotStart, match="cannot be used"):
        embedded.start(home)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_it_ends_with_a_parent_that_is_killed(home: Path) -> None:
    script = (
        "from syncd import embedded; from pathlib import Path;"
        f"print(embedded.start(Path({str(home)!r})).pid, flush=True); input()"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdin is not None
    pid = int(parent.stdout.readline())
    assert is_alive(pid)
    parent.kill()
    parent.wait()
    wait_until(lambda: not is_alive(pid), what="the server ends")
    parent.stdout.close()
    parent.stdin.close()

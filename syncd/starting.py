"""What a process needs at its start: to die with its parent, to be the only one of its kind, and words when it cannot.

Nothing here knows what the process is for.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from syncd.config import Listen

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
# Loaded once, before any fork: between fork and exec nothing may import or allocate much.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class CannotStart(Exception):
    """Something stands in the way of starting. `message` says what, `remedy` what a person can do about it."""

    def __init__(self, message: str, *, remedy: str) -> None:
        super().__init__(f"{message} {remedy}")
        self.message = message
        self.remedy = remedy


def dies_with_parent(signum: signal.Signals) -> Callable[[], None]:
    """A function for the child to call first: from then on it gets `signum` when its parent dies, however it dies.

    Call `dies_with_parent` in the parent, from its main thread: Linux means the parent's *thread* (prctl(2),
    PR_SET_PDEATHSIG). The setting survives exec. On other systems the function does nothing, and leftovers are
    found at the next start.
    """
    parent = os.getpid()

    def in_child() -> None:
        if _LIBC is None:
            return
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(signum), 0, 0, 0)
        if os.getppid() != parent:  # it died before we had asked to be told
            os._exit(1)

    return in_child


def adopt_orphans() -> None:
    """Grandchildren whose parent dies become ours instead of init's, so that they can be found and ended (Linux)."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children() -> tuple[int, ...]:
    """The process ids of all our direct children, adopted ones included (Linux; elsewhere nothing)."""
    path = Path(f"/proc/self/task/{os.getpid()}/children")
    try:
        return tuple(int(pid) for pid in path.read_text(encoding="ascii").split())
    except OSError:
        return ()


class Lock:
    """A lock on a file that ends with the process that holds it, even when that process is killed.

    `holder` is the text that the present holder wrote into the file ("" when unreadable).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def take(self, text: str = "") -> bool:
        """True when the lock is ours now; False when another process holds it. Never waits."""
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        os.truncate(fd, 0)
        os.pwrite(fd, text.encode(), 0)
        self._fd = fd
        return True

    @property
    def fd(self) -> int:
        """The locked descriptor. A child that inherits it holds the lock too, and goes on holding it alone."""
        if self._fd is None:
            raise ValueError("the lock is not held")
        return self._fd

    @property
    def holder(self) -> str:
        try:
            return self.path.read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return ""

    def leave(self) -> None:
        """Give the lock up, unless a child that inherited it still lives."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


@contextlib.contextmanager
def listening(listen: Listen, wait_s: float = 0.0) -> Iterator[socket.socket]:
    """A listening socket for the web address; port 0 takes a free one. Raises CannotStart when the address is taken.

    wait_s: how long a program that uses the address may take to leave it.
    """
    until = time.monotonic() + wait_s
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        while True:
            try:
                listener.bind((listen.host, listen.port))
                listener.listen(128)
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE or time.monotonic() >= until:
                    raise _no_address(listen, error) from error
                time.sleep(0.1)
        yield listener


def _no_address(listen: Listen, error: OSError) -> CannotStart:
    if error.errno == errno.EADDRINUSE:
        return CannotStart(
            f"Another program already uses the web address {listen}.",
            remedy="Stop that program, or choose another address with `listen:` in firm.yaml or SYNCD_LISTEN.",
        )
    return CannotStart(
        f"The web address {listen} cannot be used ({error.strerror}).",
        remedy="Choose another with `listen:` in firm.yaml or SYNCD_LISTEN, such as 127.0.0.1:8620.",
    )

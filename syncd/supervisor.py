"""`syncd up`: starts everything on one machine, restarts what dies, and stops all of it in order.

Its children are the embedded queue server (unless a Redis is named), the web process, the workers, the sweeper, and
whatever else the caller asks for (the demo's sandboxes). One supervisor per home, told by a lock that dies with it.
When the supervisor itself is killed, its children get SIGTERM from the kernel (Linux); the next start waits for the
web address and stops a queue server that is left over. It decides nothing about work: that is in the database.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from syncd import embedded, logs
from syncd.starting import CannotStart, Lock, adopt_orphans, children, dies_with_parent, listening
from syncd.web import LISTEN_FD

if TYPE_CHECKING:
    from syncd.config import Settings

log = logs.get("supervisor")

COMMAND: Final = (sys.executable, "-m", "syncd")
STOP_S: Final = 12.0  # for web, workers and sweeper together; then by force. The queue server follows
EXTRA_S: Final = 3.0  # for what the caller asked for besides
FORCE_S: Final = 1.0
ADDRESS_WAIT_S: Final = 4.0  # a web process whose supervisor was killed needs a moment to let go of its address
PAUSE_FIRST_S: Final = 0.5
PAUSE_MAX_S: Final = 30.0
STEADY_S: Final = 60.0  # a child that lived so long is restarted at once again when it dies
TICK_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Child:
    """A process to keep running. env: variables besides our own; fds: descriptors that it inherits.

    lasting: False for one that has something to do once; it is started again only until it has ended well.
    """

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    fds: tuple[int, ...] = ()
    lasting: bool = True


class Kept:
    """A child and its present process."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.process: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0
        self.due_at = 0.0
        self._pause_s = PAUSE_FIRST_S

    def start(self) -> None:
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(  # noqa: S603 (our own commands)
            self.child.command,
            env={**os.environ, **self.child.env},
            stdin=subprocess.DEVNULL,
            pass_fds=self.child.fds,
            start_new_session=True,  # Ctrl-C reaches us alone, and we stop the others in order
            preexec_fn=dies_with_parent(signal.SIGTERM),
        )

    def died(self) -> int | None:
        """The exit code, told once, after the process has ended; then it is due again after a pause."""
        if self.process is None or (code := self.process.poll()) is None:
            return None
        now = time.monotonic()
        if now - self.started_at > STEADY_S:
            self._pause_s = PAUSE_FIRST_S
        self.process, self.due_at = None, now + self._pause_s
        self._pause_s = min(self._pause_s * 2, PAUSE_MAX_S)
        return code

    @property
    def pause_s(self) -> float:
        return max(0.0, self.due_at - time.monotonic())

    def signal(self, signum: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(signum)

    def ended(self) -> bool:
        return self.process is None or self.process.poll() is not None


def run(
    settings: Settings,
    *,
    extra: Sequence[Child] = (),
    announce: Callable[[str], None],
    command: Sequence[str] = COMMAND,
) -> int:
    """Run everything until SIGTERM, SIGHUP or Ctrl-C; the exit code: 0 stopped as asked, 1 could not start.

    announce gets one line of plain text for each step that a person at a terminal wants to see. command is how a
    role is started (`… worker`). A second Ctrl-C stops by force. Call it from the main thread.
    """
    try:
        with _only_one(settings), listening(settings.firm.listen, ADDRESS_WAIT_S) as listener, _signals() as asked:
            return _Everything(settings, extra, announce, tuple(command), listener, asked).run()
    except CannotStart as error:
        announce(f"Cannot start: {error.message}")
        announce(error.remedy)
        return 1


class _Everything:
    """The running installation."""

    def __init__(
        self,
        settings: Settings,
        extra: Sequence[Child],
        announce: Callable[[str], None],
        command: tuple[str, ...],
        listener: socket.socket,
        asked: _Asked,
    ) -> None:
        self._settings = settings
        self._announce = announce
        self._asked = asked
        self._server: embedded.Server | None = None
        self._server_due_at = 0.0
        url = settings.redis_url or embedded.url(settings.home)
        env = {"SYNCD_HOME": str(settings.home), "SYNCD_REDIS_URL": url}
        web = {**env, LISTEN_FD: str(listener.fileno())}
        self._extra = [Kept(child) for child in extra]
        self._own = [
            Kept(Child("web", (*command, "web"), web, (listener.fileno(),))),
            Kept(Child("sweeper", (*command, "sweeper"), env)),
            *(Kept(Child(f"worker {n + 1}", (*command, "worker"), env)) for n in range(settings.firm.workers)),
        ]
        host, port = listener.getsockname()[:2]
        self._page = f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"

    def run(self) -> int:
        adopt_orphans()
        try:
            if self._settings.redis_url is None:
                self._server = embedded.start(self._settings.home, adopt=False)
                self._announce("Queue server started.")
            for kept in (*self._extra, *self._own):
                kept.start()
                if kept.child.lasting:
                    self._announce(f"Started {kept.child.name}.")
            self._announce(f"syncd is running. Status: {self._page} Stop it with Ctrl-C.")
            while not self._asked.times:
                self._keep()
                self._asked.wait(self._next_s())
        finally:
            self._stop()
        return 0

    def _keep(self) -> None:
        """Start again what died and has paused long enough."""
        now = time.monotonic()
        if self._server is not None and not self._server.alive() and now >= self._server_due_at:
            self._announce("The queue server ended; starting it again. Nothing is lost.")
            self._server_due_at = now + PAUSE_FIRST_S
            try:
                self._server = embedded.start(self._settings.home, adopt=False)
            except CannotStart as error:
                self._announce(str(error))
                self._server_due_at = time.monotonic() + PAUSE_MAX_S
        for kept in (*self._extra, *self._own):
            code = kept.died()
            if code == 0 and not kept.child.lasting:
                self._extra.remove(kept)
                continue
            if code is not None:
                self._announce(f"{kept.child.name} ended ({_ending(code)}); starting again in {kept.pause_s:.1f} s.")
                log.warning("child_ended", child=kept.child.name, code=code)
            if kept.process is None and kept.pause_s <= 0:
                try:
                    kept.start()
                except OSError as error:  # no memory or no process to be had just now
                    log.warning("child_not_started", child=kept.child.name, error=error.strerror)
                    kept.due_at = time.monotonic() + PAUSE_MAX_S
        self._reap()

    def _next_s(self) -> float:
        paused = [kept.pause_s for kept in (*self._extra, *self._own) if kept.process is None]
        return min([TICK_S, *paused])

    def _stop(self) -> None:
        self._announce("Stopping.")
        # Web and sweeper first give no new work, workers finish the turn in hand; then those that they talk to.
        self._end(self._own, STOP_S)
        self._end(self._extra, EXTRA_S)
        if self._server is not None:
            self._server.stop(FORCE_S)
        self._end_strays()
        self._announce("Stopped.")

    def _end(self, group: Sequence[Kept], within_s: float) -> None:
        for kept in group:
            kept.signal(signal.SIGTERM)
        until = time.monotonic() + within_s
        while not all(kept.ended() for kept in group) and time.monotonic() < until and self._asked.times < 2:
            self._asked.wait(0.2)
        for kept in group:
            if not kept.ended():
                self._announce(
                    f"{kept.child.name} did not stop in time; ending it. Its work is safe and is done later."
                )
                kept.signal(signal.SIGKILL)
        for kept in group:
            if kept.process is not None:
                kept.process.wait()

    def _strays(self) -> list[int]:
        known = {kept.process.pid for kept in (*self._extra, *self._own) if kept.process is not None}
        if self._server is not None:
            known.add(self._server.pid)
        return [pid for pid in children() if pid not in known]

    def _reap(self) -> None:
        """Adopted forks of killed workers end by themselves; their remains are ours to clear."""
        for pid in self._strays():
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)

    def _end_strays(self) -> None:
        for pid in self._strays():
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


class _Asked:
    """How often we were asked to stop, and a wait that ends at once when that, or a child's death, happens."""

    def __init__(self, wake: int) -> None:
        self.times = 0
        self._wake = wake

    def on_signal(self, *_: object) -> None:
        self.times += 1

    def wait(self, seconds: float) -> None:
        ready, _, _ = select.select([self._wake], [], [], max(0.0, seconds))
        if ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake, 4096)


@contextlib.contextmanager
def _signals() -> Iterator[_Asked]:
    wake, woken = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(woken, False)
    asked = _Asked(wake)
    before = {}
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(signum) is not signal.SIG_IGN:  # nohup
            before[signum] = signal.signal(signum, asked.on_signal)
    before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
    old_wakeup = signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    try:
        yield asked
    finally:
        signal.set_wakeup_fd(old_wakeup)
        for signum, handler in before.items():
            signal.signal(signum, handler)
        os.close(wake)
        os.close(woken)


@contextlib.contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    home = settings.home
    lock = Lock(home / "syncd.lock")
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        taken = lock.take(str(os.getpid()))
    except OSError as error:
        raise CannotStart(
            f"The home {home} cannot be used ({error.strerror}).", remedy="Choose another with SYNCD_HOME."
        ) from error
    if not taken:
        raise CannotStart(
            f"syncd already runs for {home} (process {lock.holder or 'unknown'}).",
            remedy="Stop that one first, or choose another home with SYNCD_HOME.",
        )
    try:
        yield
    finally:
        lock.leave()


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"

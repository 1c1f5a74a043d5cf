"""The demo firm as a person starts it: `syncd up --demo` as a real process in a home of its own, seen from outside."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import httpx
import psutil
from sqlalchemy import select

from mappings.load import load
from syncd.app import App, open_app
from syncd.config import load_settings
from syncd.demo.comparison import Comparison, read_all
from syncd.demo.story import Story
from syncd.demo.systems import SYSTEMS, place_of, prepare, url_of
from syncd.starting import dies_with_parent
from syncd.store.database import reading
from syncd.store.tables import turns

WAIT_S = 120.0  # how long a test polls before it gives up; a crowded machine needs patience
STOP_S = 20.0


def plain_environment() -> dict[str, str]:
    """Our own environment without any setting of syncd's."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SYNCD_")}


def wait_until(
    met: Callable[[], object], what: str, within_s: float = WAIT_S, log: Callable[[], str] = lambda: ""
) -> float:
    """Poll until `met`; the seconds that it took. Fails with the end of the log otherwise."""
    started = time.monotonic()
    while not met():
        if time.monotonic() - started > within_s:
            raise AssertionError(f"waited {within_s:.0f} s for {what}\n{log()[-6000:]}")
        time.sleep(0.05)  # it is another process: there is nothing to wait on but what it shows
    return time.monotonic() - started


class DemoFirm:
    """A home under a short path, and the processes that run on it. Leaving it ends all of them."""

    def __init__(self, *, size: int = 24, workers: int = 2) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="syncd-s-"))
        self.home = self.folder / "home"
        prepare(self.home, size=size, port=0)
        firm = self.home / "firm.yaml"
        firm.write_text(firm.read_text().replace("workers: 2", f"workers: {workers}"))
        self.size = size
        self.app: App = open_app(load_settings(self.home, {}))
        self.started: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.app.close()
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
        for each in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()
        for process in self.started:
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- its processes -------------------------------------------------------------------------------------------

    def up(self, *more: str) -> subprocess.Popen[bytes]:
        """`syncd up --demo`; what it prints goes to `log`."""
        env = {**plain_environment(), "SYNCD_HOME": str(self.home), "PYTHONUNBUFFERED": "1"}
        with (self.folder / "log").open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "syncd", "up", "--demo", *more],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=dies_with_parent(signal.SIGKILL),
            )
        self.started.append(process)
        return process

    def up_and_syncing(self) -> subprocess.Popen[bytes]:
        before = self.said("Syncing clio, crm, cards.")
        process = self.up()
        self.wait(lambda: self.said("Syncing clio, crm, cards.") > before or process.poll() is not None, "syncing")
        assert process.poll() is None, self.log()
        return process

    def stop(self, process: subprocess.Popen[bytes], signum: signal.Signals = signal.SIGTERM) -> float:
        """Ask it to stop; the seconds that it took. Fails when something is left."""
        started = time.monotonic()
        process.send_signal(signum)
        assert process.wait(STOP_S) == 0, self.log()
        took = time.monotonic() - started
        assert self.processes() == []
        return took

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def said(self, words: str) -> int:
        return self.log().count(words)

    def wait(self, met: Callable[[], object], what: str, within_s: float = WAIT_S) -> float:
        return wait_until(met, what, within_s, self.log)

    def processes(self) -> list[psutil.Process]:
        """Every living process of this home, known by its environment, whoever its parent is."""
        return [each for each in psutil.process_iter() if _belongs(each, self.home)]

    def role(self, name: str) -> list[psutil.Process]:
        """The processes of one role, without a worker's forks: worker, sweeper, web or queue."""
        found: list[psutil.Process] = []
        for parent in [psutil.Process(each.pid) for each in self.started if each.poll() is None]:
            for each in parent.children():
                with contextlib.suppress(psutil.NoSuchProcess):
                    line = each.cmdline()
                    if line[-1:] == [name] or (name == "queue" and line and "valkey-server" in line[0]):
                        found.append(each)
        return found

    def at_work(self) -> tuple[psutil.Process, psutil.Process]:
        """A worker and its fork that works just now."""
        found: list[tuple[psutil.Process, psutil.Process]] = []

        def there() -> bool:
            for worker in self.role("worker"):
                with contextlib.suppress(psutil.NoSuchProcess):
                    found.extend((worker, fork) for fork in worker.children())
            return bool(found)

        self.wait(there, "a worker at work")
        return found[0]

    @property
    def page(self) -> str:
        return str(re.findall(r"Status: (http://\S+/)", self.log())[-1])

    # --- its systems ---------------------------------------------------------------------------------------------

    @property
    def place(self) -> Mapping[str, Any]:
        return place_of(self.home)

    def ask(self, system: str, what: str) -> Any:
        return httpx.get(f"{url_of(self.place, system)}/__sandbox__/{what}", timeout=30).json()

    def writes(self) -> int:
        return sum(int(self.ask(name, "counts")["writes"]) for name in SYSTEMS)

    def slow(self, seconds: float) -> None:
        """Every answer of every system takes so long from now on; 0 ends it."""
        for name in SYSTEMS:
            url = f"{url_of(self.place, name)}/__sandbox__/faults"
            assert httpx.post(url, json={"clear": True}, timeout=30).status_code == 200
            if seconds:
                fault = {"match": "*", "effect": "slow", "args": {"seconds": seconds}, "times": None}
                assert httpx.post(url, json=fault, timeout=30).status_code == 200

    # --- its story -----------------------------------------------------------------------------------------------

    def story(self, process: subprocess.Popen[bytes]) -> Story:
        return Story(self.app, process, lambda _: None)

    def leases(self) -> dict[tuple[str, str], int]:
        """Places that somebody works on, with the fencing number."""
        with reading(self.app.engine) as sql:
            rows = sql.execute(select(turns.c.connection, turns.c.resource, turns.c.fence, turns.c.owner)).all()
        return {(row.connection, row.resource): row.fence for row in rows if row.owner is not None}

    def assert_equal(self) -> None:
        assert_equal(self.app)

    def assert_nothing_twice(self) -> None:
        """No system holds anybody twice, and no record that we made was taken back."""
        logs = {name: self.ask(name, "log") for name in SYSTEMS}
        assert_nothing_twice(
            self.app, {name: [w for entry in log for w in entry["wrote"]] for name, log in logs.items()}
        )


def assert_equal(app: App) -> None:
    differences, counts = Comparison(app).run()
    assert differences == []
    assert all(counts.values())


def identities(app: App, system: str) -> dict[str, tuple[str, str]]:
    """vendor id -> (kind, who or what it is), as the system itself tells."""
    found: dict[str, tuple[str, str]] = {}
    for lens, id, body in read_all(app, system, load(SYSTEMS[system])):
        values = lens.get(body)
        name = values.get("email") or values.get("number") or values.get("name") or id
        if lens.kind == "opportunity":
            name = f"{name} {values.get('matter') or id}"
        found[id] = (lens.kind, str(name).casefold())
    return found


def assert_nothing_twice(app: App, wrote: Mapping[str, list[str]]) -> None:
    """wrote: system -> what was written through its API, as its log tells ("created contacts/12")."""
    for system in SYSTEMS:
        known = identities(app, system)
        doubled = {who: count for who, count in Counter(known.values()).items() if count > 1}
        assert doubled == {}, f"{system} holds these twice"
        made = [what.partition(" ")[2] for what in wrote[system] if what.startswith("created ")]
        assert len(made) == len(set(made)), f"{system} tells of a record made twice"
        assert [what for what in wrote[system] if what.startswith("deleted ")] == [], (
            f"{system}: a record was taken back"
        )
        missing = [each for each in made if not any(each.endswith(id) for id in known)]
        assert missing == [], f"made in {system}, and not there now"


def _belongs(process: psutil.Process, home: Path) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return process.environ().get("SYNCD_HOME") == str(home)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


@contextlib.contextmanager
def demo_firm(**how: Any) -> Iterator[DemoFirm]:
    with DemoFirm(**how) as firm:
        yield firm

"""Four workers with homes of their own on one PostgreSQL and one Valkey: they share the work, and do nothing twice."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from syncd.app import open_app
from syncd.config import load_settings
from syncd.demo.joining import connect
from syncd.demo.sandboxes import FACTORIES
from syncd.demo.story import Story
from syncd.demo.systems import PLACE
from syncd.starting import dies_with_parent
from syncd.store.database import reading
from syncd.store.tables import turns, writes
from syncd.vault import new_key
from tests.system.demo_firm import assert_equal, assert_nothing_twice, plain_environment, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from syncd.app import App

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

WORKERS = 4
SIZE = 60
FIRM = "name: Test & Partners\nauthority: [clio, crm, cards]\npoll_s: 2\n"


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="syncd-m-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


def home(folder: Path, name: str) -> Path:
    made = folder / name
    made.mkdir(mode=0o700)
    (made / "firm.yaml").write_text(FIRM)
    return made


@contextmanager
def role(name: str, where: Path, env: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """One process of the installation, as on a machine of its own."""
    with (where / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "syncd", name, "--home", str(where)],
            env={**plain_environment(), **env, "SYNCD_LOG": "json", "SYNCD_LOG_LEVEL": "debug"},
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            preexec_fn=dies_with_parent(signal.SIGKILL),
        )  # fmt: skip
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def test_four_workers_end_equal_and_make_nobody_twice(folder: Path, postgres_url: str, valkey_url: str) -> None:
    env = {"SYNCD_DATABASE_URL": postgres_url, "SYNCD_REDIS_URL": valkey_url, "SYNCD_KEY": new_key()}
    observer = home(folder, "observer")
    app = open_app(load_settings(observer, env))
    with ExitStack() as stack:
        stack.callback(app.close)
        sandboxes = {name: stack.enter_context(make(size=SIZE)) for name, make in FACTORIES.items()}
        place = {"size": SIZE, "seed": 1, "ports": {name: each.port for name, each in sandboxes.items()}}
        (observer / PLACE).write_text(json.dumps(place))
        homes = [home(folder, f"worker{n}") for n in range(WORKERS)]
        workers = [stack.enter_context(role("worker", where, env)) for where in homes]
        sweeper = stack.enter_context(role("sweeper", home(folder, "sweeper"), env))

        def started(where: Path) -> bool:
            return "worker_started" in (where / "log").read_text()

        wait_until(lambda: all(started(where) for where in homes), "four workers")
        connect(app, place, lambda _: None)

        story = Story(app, sweeper, lambda _: None)
        wait_until(lambda: pulled(app), "the first readings")
        story.rounds("first sync")
        story.edits()
        story.rule_reviews()
        assert story.settle_conflict() == 1
        story.rounds("edits")
        assert [story.round() for _ in range(3)] == [0, 0, 0]

        assert_equal(app)
        assert_nothing_twice(app, {name: each.writes() for name, each in sandboxes.items()})
        assert_every_write_once(app)
        assert [each.poll() for each in workers] == [None] * WORKERS
        busy = [where.name for where in homes if '"looked"' in (where / "log").read_text()]
        assert len(busy) > 1, "the work was not shared"
        said = "".join((where / "log").read_text() for where in homes)
        assert "Traceback" not in said
        assert env["SYNCD_KEY"] not in said


def pulled(app: App) -> bool:
    with reading(app.engine) as sql:
        return bool(sql.execute(select(turns.c.resource).where(~turns.c.pulled_once)).first() is None)


def assert_every_write_once(app: App) -> None:
    """Each write has a known outcome, and each record was made by one operation in each system."""
    with reading(app.engine) as sql:
        rows = sql.execute(select(writes)).mappings().all()
    made = [(row["connection"], row["canonical_id"]) for row in rows if row["operation"] == "create"]
    assert len(made) == len(set(made)) > SIZE
    # stale: somebody edited the record in that instant, so nothing was written and it was planned anew
    assert {row["outcome"] for row in rows} <= {"done", "stale"}

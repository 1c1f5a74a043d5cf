"""A whole installation for tests: a home folder, the command line, the engine on a real database, the real clock."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from sqlalchemy import select
from typer.testing import CliRunner

from syncd import cli, connections, logs, once
from syncd.app import App, open_app
from syncd.config import FIRM_FILE, load_settings, write_firm_template
from syncd.status import status
from syncd.store.database import reading
from syncd.store.tables import connections as connections_table
from syncd.store.tables import dead_letters, intents, runs, turns
from syncd.turns import OWED

if TYPE_CHECKING:
    from connectors.clio.sandbox import ClioSandbox


@dataclass(frozen=True, slots=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Everything on one line, so that a sentence is found wherever the terminal's width broke it."""
        return " ".join((self.out + " " + self.err).split())

    def json(self) -> Any:
        return json.loads(self.out)


class Ahead:
    """The real clock, which a test may put ahead."""

    def __init__(self) -> None:
        self.by = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.by


class Installation:
    """One firm's service. `log` holds every log line of this process, as JSON lines at the lowest level."""

    def __init__(self, home: Path, database_url: str, **firm: Any) -> None:
        self.home = home
        self.env = {"SYNCD_HOME": str(home), "SYNCD_DATABASE_URL": database_url}
        home.mkdir(parents=True, exist_ok=True)
        write_firm_template(home, "Test & Partners")
        (home / FIRM_FILE).write_text(yaml.safe_dump({"name": "Test & Partners", "poll_s": 1, **firm}))
        self.log = io.StringIO()
        self.clock = Ahead()
        self.app: App = open_app(load_settings(home, self.env), clock=self.clock)

    def close(self) -> None:
        self.app.close()

    def later(self, seconds: float) -> None:
        """Time passes, for the service as a program; commands have a clock of their own."""
        self.clock.by += timedelta(seconds=seconds)

    # --- as a person at the command line -------------------------------------------------------------------------

    def run(self, *arguments: str, **secrets: str) -> Said:
        """A command in this process; `secrets` become SYNCD_SECRET_… variables."""
        env = {**self.env, **{f"SYNCD_SECRET_{name.upper()}": value for name, value in secrets.items()}}
        with _logging_kept(self.log):
            done = CliRunner(env=env).invoke(cli.cli, list(arguments))
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        self.log.write(done.stderr)
        return Said(done.exit_code, done.stdout, done.stderr)

    def connect(self, name: str, connector: str, given: Mapping[str, str], *more: str) -> Said:
        """`syncd connect add` as it is meant to be used: settings on the line, secrets out of sight."""
        from connectors import registry

        hidden = {setting.name for setting in registry.spec(connector).settings if setting.secret}
        line = [part for key, value in given.items() if key not in hidden for part in ("-s", f"{key}={value}")]
        secrets = {key: value for key, value in given.items() if key in hidden}
        return self.run("connect", "add", name, "--connector", connector, *line, *more, **secrets)

    # --- as a program --------------------------------------------------------------------------------------------

    def add(self, name: str, connector: str, given: Mapping[str, str], **how: Any) -> connections.Added:
        return connections.add(self.app, name, connector, given, **{"live": True, **how})

    def sync(self, name: str | None = None, **how: Any) -> once.Synced:
        with _logging_kept(self.log, captured=True):
            return once.sync_once(self.app, name, **how)

    def status(self) -> dict[str, Any]:
        return status(self.app)

    def row(self, name: str) -> dict[str, Any]:
        with reading(self.app.engine) as sql:
            found = sql.execute(select(connections_table).where(connections_table.c.name == name)).mappings().one()
            return dict(found)

    def dead(self) -> list[dict[str, Any]]:
        """Records that could not be taken in, and writes that were refused: each with its reason."""
        with reading(self.app.engine) as sql:
            records = [dict(row) for row in sql.execute(select(dead_letters)).mappings()]
            refused = sql.execute(select(intents).where(intents.c.state == "dead")).mappings()
            return [*records, *(dict(row) for row in refused)]

    def owed(self) -> list[dict[str, Any]]:
        with reading(self.app.engine) as sql:
            return [dict(row) for row in sql.execute(select(intents)).mappings()]

    def outstanding(self) -> int:
        """Writes that are owed and not held for any reason: after a pause they are sent."""
        return sum(row["state"] in OWED for row in self.owed())

    def turn(self, name: str, resource: str) -> dict[str, Any]:
        with reading(self.app.engine) as sql:
            here = (turns.c.connection == name, turns.c.resource == resource)
            return dict(sql.execute(select(turns).where(*here)).mappings().one())

    def runs(self) -> list[dict[str, Any]]:
        with reading(self.app.engine) as sql:
            return [dict(row) for row in sql.execute(select(runs).order_by(runs.c.id)).mappings()]

    def said_anywhere(self) -> str:
        """Everything that this installation told anybody: its log, its status and the reasons it stored."""
        told = [self.log.getvalue(), json.dumps(self.status(), default=str)]
        told += [f"{row.get('why')} {row.get('remedy')}" for row in (*self.dead(), *self.owed())]
        told += [str(row["problem"]) for row in self.runs()]
        return "\n".join(told)


@contextmanager
def _logging_kept(stream: io.StringIO, *, captured: bool = False) -> Iterator[None]:
    """Commands set up logging for a process of their own; afterwards pytest's is in place again."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    if captured:
        logs.configure("json", "debug", stream=stream)
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        root.handlers = handlers
        root.setLevel(level)


def free_of(text: str, *canaries: str) -> None:
    """None of these values shows in the text."""
    shown = [canary for canary in canaries if canary.casefold() in text.casefold()]
    assert not shown, f"{shown} in: {text[:3000]}"


def clio_settings(sandbox: ClioSandbox) -> dict[str, str]:
    """What a person would give to connect this sandbox."""
    return {
        "base_url": sandbox.url,
        "client_id": sandbox.client_id,
        "client_secret": sandbox.client_secret,
        "refresh_token": sandbox.refresh_token,
    }


def environment(installation: Installation) -> dict[str, str]:
    """For a process of the installation's own."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("SYNCD_")}
    return {**plain, **installation.env}

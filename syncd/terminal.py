"""What all commands share: exit codes, the terminal, common options, and the place where failures become sentences.

Nothing here imports the engine before a command needs it.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from syncd import logs
from syncd.config import Settings, SettingsError, load_settings, masked_url

if TYPE_CHECKING:
    from syncd.app import App
    from syncd.wording import Part

OK, NEEDS_PERSON, WRONG, NOT_FOUND, BUSY = 0, 1, 2, 3, 4
WIDE = 200  # columns of what is written to a file or a pipe: nothing is cut there

log = logs.get("cli")


def _console(*, stderr: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or os.environ.get("COLUMNS") else WIDE
    return Console(stderr=stderr, highlight=False, emoji=False, width=width)


out, err = _console(), _console(stderr=True)

Home = Annotated[
    Path | None,
    typer.Option(
        "--home", envvar="SYNCD_HOME", help="The home folder (settings, key, embedded database).", show_default=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value instead of text.")]
Name = Annotated[str, typer.Argument(help="The connection's name.")]
Only = Annotated[str | None, typer.Argument(help="Only this connection.")]


def fail(message: str, code: int) -> NoReturn:
    err.print(f"[red]✗[/red] {escape(message)}", soft_wrap=True)
    raise typer.Exit(code)


def say(line: str) -> None:
    """One plain line, never broken: a terminal breaks it by itself, a file keeps it whole."""
    out.print(escape(line), soft_wrap=True)


def show(parts: Iterable[Part]) -> None:
    for part in parts:
        out.print(part, soft_wrap=isinstance(part, str))


def done(line: str) -> None:
    out.print(f"[green]✓[/green] {escape(line)}", soft_wrap=True)


def show_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, default=str, ensure_ascii=False) + "\n")


def settings_of(home: Path | None) -> Settings:
    try:
        settings = load_settings(home, os.environ)
    except SettingsError as error:
        fail(str(error), WRONG)
    logs.configure(settings.log_form, settings.log_level)
    return settings


@contextmanager
def opened(home: Path | None) -> Iterator[App]:
    """The application, and one place where every expected failure becomes a sentence and an exit code."""
    from connectors.errors import SyncError
    from mappings.language import MappingError
    from syncd import connections, once, stewards
    from syncd.remedies import next_step
    from syncd.vault import VaultError

    app = open_store(settings_of(home))
    try:
        yield app
    except SyncError as error:
        fail(f"{error.message} {next_step(error)}", NEEDS_PERSON)
    except MappingError as error:
        fail("A mapping is wrong; nothing was done.\n" + "\n".join(error.errors), WRONG)
    except (stewards.NotFound, once.Unknown, connections.NoSuchConnection) as error:
        fail(str(error), NOT_FOUND)
    except (connections.CannotConnect, VaultError) as error:
        fail(str(error), WRONG)
    except once.Busy as error:
        fail(str(error), BUSY)
    finally:
        app.close()


def open_store(settings: Settings) -> App:
    from sqlalchemy.exc import SQLAlchemyError

    from syncd.app import WrongKey, open_app
    from syncd.vault import VaultError

    try:
        return open_app(settings)
    except (WrongKey, VaultError) as error:
        fail(str(error), WRONG)
    except SQLAlchemyError as error:
        log.debug("database_not_opened", error=type(error).__name__)
        fail(f"The database {masked_url(settings.database_url)} cannot be used. Does its server run?", NEEDS_PERSON)


@contextmanager
def about(name: str, *, stored: bool = True) -> Iterator[None]:
    """An error of a vendor is told with the connection's name and the next step."""
    from connectors.errors import SyncError
    from syncd.remedies import next_step

    try:
        yield
    except SyncError as error:
        nothing = "" if stored else " Nothing was stored."
        fail(f"{name}: {error.message} {next_step(error, name if stored else None)}{nothing}", NEEDS_PERSON)


def me() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"

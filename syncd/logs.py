"""Logs as events with fields: JSON lines for machines, one short line each for a person at a terminal.

    log = logs.get("pull")
    log.info("page_committed", connection="clio", records=200, took_s=0.8)

Ids belong into fields; names, addresses, titles, bodies and headers do not, and fields named so are withheld whatever
they hold. What other libraries say is trusted less than our own events: only their warnings are shown, first line
only and with addresses cut to the host, and exceptions of foreign code appear as type and place without their
text, because such texts quote the very values that they choked on. Everything passes the redactor, so a secret
that was registered with `hide` reaches no log, in whatever it was wrapped.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sys
import threading
import traceback
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import PurePath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO
from uuid import UUID

from connectors.redact import Redactor, Secret
from syncd.clock import iso

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Level = Literal["debug", "info", "warning", "error"]
Form = Literal["auto", "json", "human"]

OURS: Final = ("syncd", "connectors", "mappings")
ROOT: Final = "syncd.log"
# Their messages are made of request lines, and query strings carry tokens and search terms.
SILENT: Final = ("httpx", "httpcore", "urllib3", "requests", "uvicorn.access", "hpack")
WITHHELD_FIELDS: Final = frozenset(
    "address addresses birthday body content display_name email emails first_name full_name headers last_name name "
    "note notes payload phone phones query subject text title url value values".split()
)
_COLOURS: Final = MappingProxyType({"debug": "2", "warning": "33", "error": "31", "critical": "31"})
_FIELDS: Final = "syncd_fields"
_redactor: Final = Redactor()
_redacting: Final = threading.Lock()  # a secret may be registered by one thread while another one logs
_TEXT_MAX: Final = 2_000
_FRAMES_MAX: Final = 30
_HERE: Final = PurePath(__file__).parent.parent


class Log:
    """Writes events of one part of the service. A cheap, stateless front of a standard logger."""

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, event: str, /, **fields: object) -> None:
        self._write(logging.DEBUG, event, fields)

    def info(self, event: str, /, **fields: object) -> None:
        self._write(logging.INFO, event, fields)

    def warning(self, event: str, /, **fields: object) -> None:
        self._write(logging.WARNING, event, fields)

    def error(self, event: str, /, **fields: object) -> None:
        self._write(logging.ERROR, event, fields)

    def exception(self, event: str, /, **fields: object) -> None:
        """An error with the exception now being handled: its type, its place, and its text when it is one of ours."""
        self._write(logging.ERROR, event, fields, failed=sys.exception())

    def _write(self, level: int, event: str, fields: Mapping[str, object], failed: BaseException | None = None) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", event, extra={_FIELDS: MappingProxyType(dict(fields))}, exc_info=failed)


def get(part: str) -> Log:
    """The log of one part of the service, such as "pull", "deliver" or "web"."""
    return Log(logging.getLogger(f"{ROOT}.{part}"))


def hide(secret: str | Secret) -> None:
    """From now on no log of this process shows this value. Called when the vault opens a secret or a token arrives."""
    with _redacting:
        _redactor.add(secret)


def configure(
    form: Form = "auto", level: Level = "info", *, process: str = "", stream: TextIO | None = None
) -> logging.Handler:
    """Send all logging of this process to `stream` (standard error), replacing what was configured before.

    form     auto: human on a terminal, JSON lines anywhere else
    process  which process speaks, such as "worker-1"; part of every event when not empty

    Run uvicorn with `log_config=None`, or it would install handlers of its own. Gives the handler installed.
    """
    stream = sys.stderr if stream is None else stream
    if form == "auto":
        form = "human" if stream.isatty() else "json"
    handler = logging.StreamHandler(stream)
    colour = form == "human" and stream.isatty() and not os.environ.get("NO_COLOR")
    handler.setFormatter(_Lines(human=form == "human", colour=colour, process=process))
    handler.addFilter(_is_wanted)
    root = logging.getLogger()
    for old in tuple(root.handlers):
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
    return handler


def _is_wanted(record: logging.LogRecord) -> bool:
    """A filter of the handler, not levels of the loggers: libraries set their own levels whenever they like."""
    if record.name.partition(".")[0] in OURS:
        return True
    return record.levelno >= logging.WARNING and not any(_is_under(record.name, name) for name in SILENT)


def _is_under(name: str, parent: str) -> bool:
    return name == parent or name.startswith(parent + ".")


class _Lines(logging.Formatter):
    """One record, one line. What cannot be shown is replaced, never raised: a log call must not break its caller."""

    def __init__(self, *, human: bool, colour: bool, process: str) -> None:
        super().__init__()
        self._human = human
        self._colour = colour
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        event = _event(record)
        if self._process:
            event["process"] = self._process
        # Redacted while still apart: escaping for JSON could change a secret's letters and hide it from the redactor,
        # and a mark set into finished JSON could break it.
        with _redacting:
            clean = _clean(event)
        shown = _visible(clean)
        return self._human_line(shown) if self._human else json.dumps(shown, ensure_ascii=False)

    def _human_line(self, event: dict[str, Any]) -> str:
        at, level, part, name = event.pop("at"), event.pop("level"), event.pop("part"), event.pop("event")
        failed = event.pop("error", None)
        shown = f"{at[11:19]} {level:<7} {part:<10} {str(name).replace('_', ' ')}"
        if self._colour and level in _COLOURS:
            shown = f"\x1b[{_COLOURS[level]}m{shown}\x1b[0m"
        words = [shown, *(f"{key}={_word(value)}" for key, value in event.items())]
        if failed:
            words.append(f"{failed['type']}: {failed.get('message', '(text withheld)')} at {failed['trace'][-1]}")
        return "  ".join(words)


def _event(record: logging.LogRecord) -> dict[str, Any]:
    event: dict[str, Any] = {
        "at": iso(datetime.fromtimestamp(record.created, UTC)),
        "level": record.levelname.lower(),
        "part": record.name.removeprefix(f"{ROOT}."),
    }
    fields = getattr(record, _FIELDS, None)
    if fields is None:
        event["event"] = _foreign_message(record)
    else:
        event["event"] = record.getMessage()
        for name, value in fields.items():
            shown = "(withheld)" if name in WITHHELD_FIELDS else _plain(value)
            event[f"{name}_" if name in event or name in ("process", "error") else name] = shown
    failed = record.exc_info[1] if record.exc_info else None
    if failed is not None:
        event["error"] = _failure(failed)
    return event


def _plain(value: object) -> Any:
    """The value as JSON has it. An object of unknown kind shows its type: its repr could hold anything."""
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case None | bool() | int() | float():
            return value
        case str():
            return value if len(value) <= _TEXT_MAX else f"{value[:_TEXT_MAX]}… ({len(value)} characters)"
        case datetime():
            return iso(value) if value.tzinfo else value.isoformat()
        case date() | Decimal() | UUID() | PurePath():
            return str(value)
        case bytes() | bytearray():
            return f"({len(value)} bytes)"
        case list() | tuple():
            return [_plain(item) for item in value[:50]]
        case set() | frozenset():
            return sorted((_plain(item) for item in list(value)[:50]), key=str)
        case _:
            return f"({type(value).__name__})"


def _clean(event: Mapping[str, Any]) -> dict[str, Any]:
    """Secrets cut out of the values. The names are ours and stay: a password may well be the word "event"."""
    return {
        name: _clean(value) if isinstance(value, dict) else _redactor.value({name: value}).popitem()[1]
        for name, value in event.items()
    }


def _visible(value: Any) -> Any:
    """Unprintable characters become visible: they could end a line (U+2028), recolour a terminal, or reverse text."""
    if isinstance(value, str):
        return value if value.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in value)
    if isinstance(value, list):
        return [_visible(item) for item in value]
    if isinstance(value, dict):
        return {name: _visible(item) for name, item in value.items()}
    return value


def _word(value: Any) -> str:
    if isinstance(value, str) and re.fullmatch(r"[^\s\"=]+", value):
        return value
    return json.dumps(value, ensure_ascii=False)


def _foreign_message(record: logging.LogRecord) -> str:
    """First line of what a library said. Job runners put whole tracebacks, values included, on the lines after."""
    try:
        message = record.getMessage()
    except (TypeError, ValueError, KeyError):  # a library's wrong % arguments are not our caller's problem
        message = str(record.msg)
    first, _, rest = message.strip().partition("\n")
    cut = re.sub(r"(?i)\b([a-z][a-z0-9+.-]*://)(?:[^\s/@]*@)?([^\s/?#'\"]*)[^\s'\"]*", r"\1\2/…", first[:_TEXT_MAX])
    return f"{cut} (more lines withheld)" if rest else cut


def _failure(failed: BaseException) -> dict[str, Any]:
    """Type, text when it is safe, place, and the same of what caused it."""
    kind = type(failed)
    shown: dict[str, Any] = {"type": f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")}
    if kind.__module__.partition(".")[0] in OURS:
        shown["message"] = str(failed)[:_TEXT_MAX]
    elif isinstance(failed, OSError) and failed.strerror:
        shown["message"] = failed.strerror
    shown["trace"] = [*_frames(failed)][-_FRAMES_MAX:] or ["(never raised)"]
    cause = failed.__cause__ or (None if failed.__suppress_context__ else failed.__context__)
    if cause is not None and cause is not failed:
        shown["cause"] = _cause(cause)
    return shown


def _cause(cause: BaseException) -> str:
    """One line: a chain can be long, and its last frame says where it began."""
    failure = _failure_line(cause)
    deeper = cause.__cause__
    return f"{failure}; caused by {_failure_line(deeper)}" if deeper is not None else failure


def _failure_line(failed: BaseException) -> str:
    frames = [*_frames(failed)]
    return f"{type(failed).__module__}.{type(failed).__qualname__} at {frames[-1] if frames else '(never raised)'}"


def _frames(failed: BaseException) -> Iterator[str]:
    """`file:line function`, files from the package's root on: places of this machine are nobody's business."""
    for frame in traceback.extract_tb(failed.__traceback__):
        yield f"{_short(PurePath(frame.filename))}:{frame.lineno} {frame.name}"


def _short(file: PurePath) -> str:
    if "site-packages" in file.parts:
        return "/".join(file.parts[file.parts.index("site-packages") + 1 :])
    return file.relative_to(_HERE).as_posix() if file.is_relative_to(_HERE) else file.name

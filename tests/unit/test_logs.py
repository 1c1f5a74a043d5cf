"""Logs: events with fields, one line each, with no secret and nothing personal, whatever was passed in."""

from __future__ import annotations

import io
import json
import logging
import urllib.request
import warnings
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.errors import ReconnectNeeded, TryLater
from connectors.redact import Secret
from syncd import logs

if TYPE_CHECKING:
    from collections.abc import Iterator

PLANTED = 'Zq7-planted/"secret"+é'


class Lines:
    """What was logged, as parsed JSON lines."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    def all(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]

    def one(self) -> dict[str, Any]:
        (line,) = self.all()
        return line


@pytest.fixture
def restored() -> Iterator[None]:
    """Logging as it was before the test; pytest has handlers of its own on the root logger."""
    root = logging.getLogger()
    before, level = tuple(root.handlers), root.level
    yield
    logging.captureWarnings(capture=False)
    for handler in tuple(root.handlers):
        root.removeHandler(handler)
    for handler in before:
        root.addHandler(handler)
    root.setLevel(level)


@pytest.fixture
def lines(restored: None) -> Lines:
    lines = Lines()
    logs.configure(form="json", level="debug", stream=lines.stream)
    return lines


def test_an_event_is_one_json_line_with_its_fields(lines: Lines) -> None:
    logs.get("pull").info("page_committed", connection="clio", records=200, took_s=0.8)
    line = lines.one()
    at = datetime.fromisoformat(line.pop("at"))
    assert abs((datetime.now(UTC) - at).total_seconds()) < 60
    assert line == {
        "level": "info",
        "part": "pull",
        "event": "page_committed",
        "connection": "clio",
        "records": 200,
        "took_s": 0.8,
    }


def test_values_take_their_usual_form_and_unknown_objects_show_only_their_type(lines: Lines) -> None:
    logs.get("x").info(
        "seen",
        at_=datetime(2026, 1, 2, tzinfo=UTC),
        on=date(2026, 1, 2),
        amount=Decimal("1.20"),
        path=Path("a/b"),
        ids=(1, "b"),
        kinds={"b", "a"},
        body_bytes=b"Jane",
        nothing=None,
        record={"last": "Doe"},
        key=Secret("hunter2"),
        ratio=float("nan"),
    )
    line = lines.one()
    assert line["at_"] == "2026-01-02T00:00:00.000000Z"
    assert line["on"] == "2026-01-02"
    assert line["amount"] == "1.20"
    assert line["path"] == "a/b"
    assert line["ids"] == [1, "b"]
    assert line["kinds"] == ["a", "b"]
    assert line["body_bytes"] == "(4 bytes)"
    assert line["nothing"] is None
    assert line["record"] == "(dict)"
    assert line["key"] == "(Secret)"
    assert line["ratio"] == "nan"


@pytest.mark.parametrize("field", sorted(logs.WITHHELD_FIELDS))
def test_fields_that_hold_personal_data_by_their_name_are_withheld(lines: Lines, field: str) -> None:
    logs.get("x").info("seen", **{field: "Jane Doe"})
    assert "Jane" not in lines.text


def test_a_field_cannot_pass_for_the_events_own(lines: Lines) -> None:
    logs.get("x").info("seen", level="error", part="other", at="never")
    line = lines.one()
    assert (line["level"], line["part"], line["event"]) == ("info", "x", "seen")
    assert (line["level_"], line["part_"], line["at_"]) == ("error", "other", "never")


def test_our_own_exception_keeps_its_text_and_its_place(lines: Lines) -> None:
    try:
        raise ReconnectNeeded("the vendor refused the token")
    except ReconnectNeeded:
        logs.get("pull").exception("run_failed", run=7)
    error = lines.one()["error"]
    assert error["type"] == "connectors.errors.ReconnectNeeded"
    assert error["message"] == "the vendor refused the token"
    assert error["trace"][-1].startswith("tests/unit/test_logs.py:")


def test_a_foreign_exception_loses_its_text_since_it_quotes_values(lines: Lines) -> None:
    try:
        try:
            int("Jane Doe, jane@example.com")
        except ValueError as wrong:
            raise TryLater("could not read the page") from wrong
    except TryLater:
        logs.get("pull").exception("run_failed")
    assert "Jane" not in lines.text
    assert "jane@" not in lines.text
    assert lines.one()["error"]["cause"].startswith("builtins.ValueError at tests/unit/test_logs.py:")


def test_the_places_of_this_machine_are_not_shown(lines: Lines) -> None:
    try:
        urllib.request.urlopen("unknown-scheme://x")
    except OSError:
        logs.get("x").exception("failed")
    assert all(not frame.startswith("/") for frame in lines.one()["error"]["trace"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["field", "list", "ours", "foreign", "library", "url"]), st.sampled_from(["", "x", " ", '"']))
def test_a_hidden_secret_reaches_no_log_however_it_is_wrapped(lines: Lines, way: str, around: str) -> None:
    logs.hide(Secret(PLANTED))
    held = f"{around}{PLANTED}{around}"
    log = logs.get("x")
    match way:
        case "field":
            log.info("seen", held=held)
        case "list":
            log.info("seen", held=[held, (held,)])
        case "ours" | "foreign":
            try:
                raise TryLater(held) if way == "ours" else KeyError(held)
            except (TryLater, KeyError):
                log.exception("failed")
        case "library":
            logging.getLogger("some.library").error("said %s and %r", held, held)
        case "url":
            logging.getLogger("some.library").error("GET https://x.example/?token=%s", held)
    assert lines.text
    for spelling in (PLANTED, json.dumps(PLANTED)[1:-1], json.dumps(PLANTED, ensure_ascii=False)[1:-1], "Zq7-planted"):
        assert spelling not in lines.text


def test_libraries_say_only_warnings_and_only_their_first_line(lines: Lines) -> None:
    logging.getLogger("rq.worker").info("job 12: Jane Doe")
    logging.getLogger("httpx").warning("HTTP Request: GET https://x.example/?q=Jane")
    logging.getLogger("uvicorn.access").error("GET /people?q=Jane 200")
    assert lines.text == ""
    logging.getLogger("rq.worker").error("job %s: exception raised\n%s", "12", "ValueError: Jane Doe")
    assert lines.one()["event"] == "job 12: exception raised (more lines withheld)"


def test_a_librarys_own_level_cannot_open_its_mouth(lines: Lines) -> None:
    loud = logging.getLogger("loud.library")
    loud.setLevel(logging.DEBUG)
    loud.info("Jane Doe")
    assert lines.text == ""


def test_addresses_in_foreign_messages_are_cut_to_the_host(lines: Lines) -> None:
    logging.getLogger("some.library").warning("retrying https://user:pw@x.example/people/Jane?q=Doe (2)")
    assert lines.one()["event"] == "retrying https://x.example/… (2)"


def test_a_librarys_broken_message_breaks_nothing(restored: None) -> None:
    lines = Lines()
    handler = logs.configure(form="json", stream=lines.stream)
    # Given to our handler alone: pytest's own one raises, so that tests notice broken messages.
    handler.handle(logging.LogRecord("some.library", logging.WARNING, __file__, 1, "%s and %s", ("only one",), None))
    assert lines.one()["event"] == "%s and %s"


def test_warnings_of_the_interpreter_become_events(lines: Lines) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old way\nsecond line", UserWarning, stacklevel=1)
    line = lines.one()
    assert (line["part"], line["level"]) == ("py.warnings", "warning")
    assert "second line" not in lines.text


@given(st.text(max_size=40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_value_can_make_a_second_line_or_reach_the_terminal(restored: None, value: str) -> None:
    for form in ("json", "human"):
        stream = io.StringIO()
        logs.configure(form=form, stream=stream)
        logs.get("x").info("seen", found=f"\x1b[2J{value}\u2028\r\n")
        text = stream.getvalue()
        assert text.count("\n") == 1
        assert text.rstrip("\n").isprintable()
        assert len(text.splitlines()) == 1


def test_long_values_are_cut(lines: Lines) -> None:
    logs.get("x").info("seen", found="a" * 1_000_000)
    assert lines.one()["found"].endswith("… (1000000 characters)")
    assert len(lines.text) < 3_000


def test_the_human_form_reads_as_a_sentence(restored: None) -> None:
    stream = io.StringIO()
    logs.configure(form="human", process="worker-1", stream=stream)
    logs.get("pull").info("page_committed", connection="clio", why="two words")
    assert stream.getvalue()[8:] == (
        ' info    pull       page committed  connection=clio  why="two words"  process=worker-1\n'
    )


def test_configuring_twice_says_everything_once(lines: Lines) -> None:
    logs.configure(form="json", stream=lines.stream)
    logs.configure(form="json", process="web", stream=lines.stream)
    logs.get("x").info("seen")
    assert lines.one()["process"] == "web"


def test_levels_are_kept(restored: None) -> None:
    stream = io.StringIO()
    logs.configure(form="json", level="warning", stream=stream)
    logs.get("x").info("quiet")
    logs.get("x").debug("quiet")
    logs.get("x").warning("loud")
    logs.get("x").error("louder")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["loud", "louder"]

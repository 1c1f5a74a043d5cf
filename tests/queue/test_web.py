"""The web process: health as numbers, the status page as words, and nothing for a foreign page to use."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import uvicorn

from syncd import embedded, jobs
from syncd.clock import FixedClock
from syncd.config import Listen, Settings
from syncd.starting import listening
from syncd.sweeper import Charge
from syncd.web.app import create
from syncd.web.page import ago
from tests.queue.workshop import WORKSHOP, Workshop

if TYPE_CHECKING:
    from syncd.application import Application

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)

RESOURCE = {
    "name": "contacts",
    "last_pull_at": "2026-11-21T11:58:00.000000Z",
    "pulled": 1200,
    "changed": 3,
    "unchanged": 1190,
    "conflict": 2,
    "held": 4,
    "dead": 1,
    "due_intents": 5,
}
CALM: dict[str, Any] = {
    "firm": "Quill & Sons LLP",
    "as_of": "2026-11-21T12:00:00.000000Z",
    "connections": [
        {
            "name": "clio",
            "connector": "clio",
            "mode": "live",
            "problem": None,
            "remedy": None,
            "resources": [RESOURCE],
        }
    ],
    "unknown_names": [],
    "intents": {"due": 0, "done": 3},
    "conflicts": 0,
    "reviews": 0,
    "dead_letters": 0,
    "workers": ["a", "b"],
    "sweeper_at": "2026-11-21T12:00:00.000000Z",
}


def engine_with(status: dict[str, Any]) -> Application:
    return replace(WORKSHOP, status=lambda app: status)


@contextmanager
def client(settings: Settings, engine: Application, at: datetime = NOON) -> Iterator[httpx.Client]:
    """A client of a real server on a free port of this machine."""
    config = uvicorn.Config(create(settings, engine, clock=FixedClock(at)), log_config=None, lifespan="off")
    server = uvicorn.Server(config)
    with listening(Listen(port=0)) as listener:
        serving = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        serving.start()
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=30) as web:
                yield web
        finally:
            server.should_exit = True
            serving.join()


@pytest.fixture
def swept(workshop: Workshop) -> Workshop:
    """A workshop whose sweeper has just beaten, and with one worker that listens."""
    Charge("test", FixedClock(NOON)).hold(workshop.engine, 0.0)
    assert workshop.redis_url is not None
    with jobs.connect(workshop.redis_url) as redis:
        redis.sadd("rq:workers:syncd", "rq:worker:one")
        redis.set("rq:worker:one", "here")
    return workshop


def shown(response: httpx.Response) -> str:
    """What a reader sees: the text without tags, blanks made one."""
    parts: list[str] = []

    class Text(HTMLParser):
        def handle_data(self, data: str) -> None:
            parts.append(data)

    Text().feed(response.text)
    return re.sub(r"\s+", " ", " ".join(parts))


# --- health ---


def test_health_is_good_when_every_part_is(swept: Workshop) -> None:
    with client(swept.settings, WORKSHOP, NOON + timedelta(seconds=3)) as web:
        response = web.get("/healthz")
    assert response.status_code == 200
    assert response.json() == {
        "ok": True,
        "process": {"ok": True, "up_s": response.json()["process"]["up_s"]},
        "database": {"ok": True},
        "sweeper": {"ok": True, "at": "2026-11-21T12:00:00.000000Z", "age_s": 3.0},
        "redis": {"ok": True, "workers": 1},
    }


def test_health_is_bad_when_the_sweeper_is_silent(swept: Workshop) -> None:
    with client(swept.settings, WORKSHOP, NOON + timedelta(seconds=31)) as web:
        response = web.get("/healthz")
    assert response.status_code == 503
    assert response.json()["sweeper"]["age_s"] == 31.0
    assert "is silent" in response.json()["sweeper"]["problem"]


def test_health_is_bad_when_no_sweeper_ever_ran(workshop: Workshop) -> None:
    with client(workshop.settings, WORKSHOP) as web:
        response = web.get("/healthz")
    assert (response.status_code, response.json()["sweeper"]["age_s"]) == (503, None)


def test_health_is_bad_when_redis_is_away(alone: Workshop) -> None:
    Charge("test", FixedClock(NOON)).hold(alone.engine, 0.0)
    with client(replace(alone.settings, redis_url=embedded.url(alone.home)), WORKSHOP) as web:
        response = web.get("/healthz")
    assert response.status_code == 503
    assert {name for name, part in response.json().items() if name != "ok" and not part["ok"]} == {"redis"}


def test_health_is_bad_when_the_database_is_away(swept: Workshop) -> None:
    away = replace(swept.settings, database_url="postgresql+psycopg://u:secret-word@127.0.0.1:1/x?connect_timeout=2")
    with client(away, WORKSHOP) as web:
        health, page = web.get("/healthz"), web.get("/")
    assert (health.status_code, page.status_code) == (503, 503)
    assert health.json()["database"]["problem"] == "The database cannot be read. Check that it runs and has space."
    assert "The status cannot be read." in shown(page)
    assert "secret-word" not in health.text + page.text


@pytest.mark.slow
def test_the_process_stops_as_asked_and_gives_up_a_taken_address(workshop: Workshop) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        workshop.port = probe.getsockname()[1]
    running = workshop.started_and_said("web", "web_started")
    second = workshop.start("web")
    assert second.wait(30) == 1
    assert "Another program already uses the web address" in workshop.log()
    running.terminate()
    assert running.wait(10) == 0


# --- the page ---


def test_a_calm_page_says_what_runs_and_how_fresh_it_is(swept: Workshop) -> None:
    with client(swept.settings, engine_with(CALM)) as web:
        response = web.get("/")
    text = shown(response)
    assert response.status_code == 200
    assert "Nothing needs a person." in text
    assert "Live: reads and writes" in text
    assert "2 minutes ago" in text
    assert "contacts 2 minutes ago 1,200 3 1,190 2 4 1 5" in text
    assert '<meta http-equiv="refresh" content="5">' in response.text


def test_without_any_system_the_page_says_how_to_begin(swept: Workshop) -> None:
    with client(swept.settings, engine_with({**CALM, "connections": [], "intents": {}})) as web:
        text = shown(web.get("/"))
    assert "No system is connected yet." in text
    assert "syncd connect add" in text
    assert "Nothing waits to be sent." in text


def test_whatever_needs_a_person_stands_there_with_its_command(swept: Workshop) -> None:
    stopped = {
        **CALM["connections"][0],
        "name": "outlook",
        "problem": "The sign-in has expired.",
        "remedy": "Reconnect it.",
        "resources": [],
    }
    gone = {
        "resource": "Contact",
        "field": "Title",
        "what": "is gone",
        "effect": "It is neither read nor written here.",
    }
    observing = {**CALM["connections"][0], "name": "crm", "mode": "observe", "drift": [gone]}
    needy = {
        **CALM,
        "connections": [*CALM["connections"], stopped, observing],
        "intents": {"held": 1, "dead": 2, "unknown": 1, "due": 4, "odd": 7},
        "conflicts": 12,
        "reviews": 1,
        "dead_letters": 3,
    }
    with client(swept.settings, engine_with(needy)) as web:
        text = shown(web.get("/"))
    assert "A person is needed for what is listed below." in text
    for words, command in (
        ("outlook: The sign-in has expired.", "syncd connect check outlook"),
        ("12 conflicts", "syncd conflicts list"),
        ("1 doubtful match", "syncd review list"),
        ("3 records put aside", "syncd aside list"),
        ("1 write held back", "syncd plan"),
        ("crm only observes", "syncd plan crm"),
        ("crm/Contact: the field Title is gone", "syncd connect inspect crm"),
    ):
        assert re.search(f"{re.escape(words)}.*?{re.escape(command)}", text), words
    assert "4 to send" in text or "to send 4" in text
    assert "odd 7" in text, "a state without a word of ours is shown as it is"


def test_without_a_worker_the_page_says_that_work_waits(workshop: Workshop) -> None:
    Charge("test", FixedClock(NOON)).hold(workshop.engine, 0.0)
    with client(workshop.settings, engine_with(CALM)) as web:
        text = shown(web.get("/"))
    assert "Part of the service is not working." in text
    assert "No worker is running" in text


def test_names_cannot_become_markup(swept: Workshop) -> None:
    name = "<script>alert(1)</script>"
    hostile = {
        **CALM,
        "firm": name,
        "connections": [{**CALM["connections"][0], "name": name, "problem": name, "remedy": name}],
    }
    with client(swept.settings, engine_with(hostile)) as web:
        assert "<script" not in web.get("/").text


def test_a_status_that_fails_is_a_page_and_not_a_crash(swept: Workshop) -> None:
    def failing(app: object) -> dict[str, Any]:
        raise LookupError("a client's name")

    with client(swept.settings, replace(WORKSHOP, status=failing)) as web:
        response = web.get("/")
    assert response.status_code == 503
    assert "The numbers could not be read." in shown(response)
    assert "a client's name" not in response.text


def test_the_page_has_structure_for_those_who_do_not_see_it(swept: Workshop) -> None:
    with client(swept.settings, engine_with(CALM)) as web:
        page = web.get("/").text
    ids = re.findall(r'id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'aria-labelledby="([^"]+)"', page)) <= set(ids)
    assert '<html lang="en">' in page
    assert page.count("<h1>") == 1
    assert re.findall(r"<th(?![^>]*scope=)[^e]", page) == []


# --- what others may do ---


@pytest.mark.parametrize("path", ["/", "/healthz", "/static/status.css", "/missing"])
def test_no_response_may_run_scripts_or_be_framed(swept: Workshop, path: str) -> None:
    with client(swept.settings, WORKSHOP) as web:
        response = web.get(path)
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script" not in policy
    assert "unsafe" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"<script|<style|style=|onclick|javascript:", response.text)


def test_there_is_no_page_about_the_interface(swept: Workshop) -> None:
    with client(swept.settings, WORKSHOP) as web:
        assert {web.get(path).status_code for path in ("/docs", "/redoc", "/openapi.json")} == {404}


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8620", 200),
        ("localhost:8620", 200),
        ("[::1]:8620", 200),
        ("localhost", 200),
        ("evil.example.com", 421),
        ("127.0.0.1.evil.example.com", 421),
        ("192.0.2.7:8620", 421),
        ("[::1", 421),
        ("", 421),
    ],
)
def test_a_name_that_points_here_is_not_enough(swept: Workshop, host: str, status: int) -> None:
    with client(swept.settings, engine_with(CALM)) as web:
        assert web.get("/", headers={"Host": host}).status_code == status


def test_behind_a_proxy_any_name_will_do(swept: Workshop) -> None:
    settings = swept.settings
    open_to_all = replace(settings, firm=replace(settings.firm, listen=Listen("0.0.0.0", 8620)))
    with client(open_to_all, engine_with(CALM)) as web:
        assert web.get("/", headers={"Host": "syncd.example.com"}).status_code == 200


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "just now"),
        (1, "just now"),
        (40, "40 s ago"),
        (60, "1 minute ago"),
        (7200, "2 hours ago"),
        (1e6, "11 days ago"),
    ],
)
def test_times_in_words(seconds: float, words: str) -> None:
    assert ago(seconds) == words

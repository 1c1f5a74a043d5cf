"""The web application: `/healthz` for machines, `/` for people. It shows, and changes nothing.

The pages hold no script; every response carries a policy that forbids any. There is no sign-in yet, so the address is
this machine's own by default, and a request that names another host is refused: a web page elsewhere must not read
this one through a name that it points at 127.0.0.1.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from redis.exceptions import RedisError

from syncd import application, jobs, logs
from syncd.clock import Clock, SystemClock, iso
from syncd.starting import CannotStart, listening
from syncd.sweeper import last_beat_at
from syncd.web import LISTEN_FD
from syncd.web.page import status_page

if TYPE_CHECKING:
    from syncd.application import Application
    from syncd.config import Settings

log = logs.get("web")

HERE: Final = Path(__file__).parent
SWEEPER_AGE_MAX_S: Final = 30.0
REFRESH_S: Final = 5
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def create(settings: Settings, engine: Application | None = None, *, clock: Clock | None = None) -> FastAPI:
    """The application. Making it opens nothing: it starts, and says what is wrong, while the database is away."""
    clock = clock or SystemClock()
    checks = Checks(settings, engine or application.shipped(), clock)
    templates = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    web = FastAPI(title="syncd", docs_url=None, redoc_url=None, openapi_url=None)
    web.mount("/static", StaticFiles(directory=HERE / "static"), name="static")

    @web.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response: Response
        if _names_us(request.headers.get("host", ""), settings.firm.listen.host):
            response = await call_next(request)
        else:
            response = PlainTextResponse("This address does not serve that host name.\n", status_code=421)
        response.headers.update(HEADERS)
        if not request.url.path.startswith("/static/"):
            response.headers["Cache-Control"] = "no-store"
        return response

    @web.get("/healthz")
    def healthz() -> JSONResponse:
        health = checks.all()
        return JSONResponse(health, status_code=200 if health["ok"] else 503)

    @web.get("/", response_class=HTMLResponse)
    def status() -> HTMLResponse:
        health = checks.all()
        found = checks.status() if health["database"]["ok"] else None
        page = status_page(found, health, clock.now(), refresh_s=REFRESH_S)
        return HTMLResponse(templates.get_template("status.html").render(page=page), 200 if found is not None else 503)

    @web.exception_handler(404)
    def missing(request: Request, _: Exception) -> PlainTextResponse:
        return PlainTextResponse("There is no such page. The status page is at / .\n", status_code=404)

    return web


class Checks:
    """What is well, part by part; each part is asked anew for every request, and none can fail the others."""

    def __init__(self, settings: Settings, engine: Application, clock: Clock) -> None:
        self._settings = settings
        self._engine = engine
        self._clock = clock
        self._since = time.monotonic()
        self._redis = jobs.connect(jobs.address(settings), timeout_s=1.0)
        self._app: Any = None
        self._opening = threading.Lock()

    def all(self) -> dict[str, Any]:
        """Parts by name: process (ok, up_s), database (ok), redis (ok, workers), sweeper (ok, at, age_s); and their ok.

        A part that is not ok has "problem", for a person. age_s is None when no sweeper has ever run; workers, the
        number of those that listen, is None when Redis is away.
        """
        parts: dict[str, dict[str, Any]] = {"process": {"ok": True, "up_s": round(time.monotonic() - self._since)}}
        parts["database"], parts["sweeper"] = self._database()
        parts["redis"] = self._redis_answers()
        return {"ok": all(part["ok"] for part in parts.values()), **parts}

    def status(self) -> dict[str, Any] | None:
        """The status page's numbers; None when they cannot be read."""
        try:
            return self._engine.status(self._opened())
        except Exception:  # the web error page: whatever it is, the page still opens and says so
            log.exception("status_failed")
            return None

    def _opened(self) -> Any:
        """Opened once it can be: opening also looks after the schema, which is too much for every request."""
        with self._opening:
            if self._app is None:
                self._app = self._engine.open(self._settings)
            return self._app

    def _database(self) -> tuple[dict[str, Any], dict[str, Any]]:
        try:
            beat_at = last_beat_at(self._opened().engine)
        except Exception as error:
            log.debug("database_check_failed", error=type(error).__name__)
            unknown = {"ok": False, "at": None, "age_s": None, "problem": "Unknown while the database is away."}
            return {"ok": False, "problem": "The database cannot be read. Check that it runs and has space."}, unknown
        if beat_at is None:
            never = "No sweeper has run yet. Start one: syncd up, or syncd sweeper."
            return {"ok": True}, {"ok": False, "at": None, "age_s": None, "problem": never}
        age_s = round((self._clock.now() - beat_at).total_seconds(), 1)
        sweeper: dict[str, Any] = {"ok": age_s <= SWEEPER_AGE_MAX_S, "at": iso(beat_at), "age_s": age_s}
        if not sweeper["ok"]:
            sweeper["problem"] = (
                "The sweeper is silent, so due work is not picked up. Start it: syncd up, or syncd sweeper."
            )
        return {"ok": True}, sweeper

    def _redis_answers(self) -> dict[str, Any]:
        try:
            return {"ok": True, "workers": jobs.workers(self._redis)}
        except (RedisError, OSError) as error:
            log.debug("redis_check_failed", error=type(error).__name__)
            away = "The queue server does not answer. Work waits until it is back; nothing is lost."
            return {"ok": False, "workers": None, "problem": away}


def run(settings: Settings, engine: Application | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; the exit code. Takes over the supervisor's socket when it has bound one."""
    web = create(settings, engine)
    config = uvicorn.Config(
        web, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=3, lifespan="off"
    )
    signal.signal(
        signal.SIGTERM, lambda *_: None
    )  # uvicorn stops in order, then repeats the signal for whoever called it
    inherited = os.environ.get(LISTEN_FD, "")
    try:
        if inherited.isdigit():
            with socket.socket(fileno=int(inherited)) as listener:
                uvicorn.Server(config).run(sockets=[listener])
        else:
            with listening(settings.firm.listen) as listener:
                log.info("web_started", listen=str(settings.firm.listen))
                uvicorn.Server(config).run(sockets=[listener])
    except CannotStart as error:
        log.error("web_cannot_start", why=error.message, remedy=error.remedy)
        return 1
    except KeyboardInterrupt:  # uvicorn has stopped in order and repeats the signal
        return 0
    return 0


def _names_us(host: str, listen: str) -> bool:
    """Whether a Host header names this server: the address it listens at, or this machine's own."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name in (listen, "localhost"):
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return _open_to_all(listen) and bool(name)
    return address.is_loopback or _open_to_all(listen)


def _open_to_all(listen: str) -> bool:
    """Listening at every address, as behind a reverse proxy: then the proxy knows the names, we do not."""
    return listen in ("0.0.0.0", "::")  # noqa: S104 (compared, not bound)

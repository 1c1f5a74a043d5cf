"""Tokens are renewed once, saved before use, and never lost to a race. Real token servers, real processes."""

from __future__ import annotations

import base64
import fcntl
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from connectors.egress import Egress
from connectors.errors import (
    Misconfigured,
    RateLimited,
    ReconnectNeeded,
    ShapeChanged,
    SyncError,
    TryLater,
    Unreachable,
)
from connectors.http import VendorHTTP
from connectors.oauth import OAuthAuth, Tokens, VersionMoved
from connectors.redact import Secret
from connectors.sandbox import Effect, Request, Response, Sandbox, cut_after, cut_before, html, rate_limit, status

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


class FileStore:
    """Tokens in a file, the lock is flock on another: what several processes on one machine can share."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> Tokens:
        kept = json.loads(self.path.read_text())
        return Tokens(
            access=Secret(kept["access"]) if kept["access"] else None,
            refresh=Secret(kept["refresh"]) if kept["refresh"] else None,
            expires_at=datetime.fromisoformat(kept["expires_at"]) if kept["expires_at"] else None,
            version=kept["version"],
            extra=kept["extra"],
        )

    @contextmanager
    def locked(self) -> Iterator[None]:
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def save(self, tokens: Tokens, expected_version: int) -> Tokens:
        if self.path.exists() and self.load().version != expected_version:
            raise VersionMoved
        saved = replace(tokens, version=expected_version + 1)
        fresh = self.path.with_suffix(".new")
        fresh.write_text(
            json.dumps(
                {
                    "access": saved.access.reveal() if saved.access else None,
                    "refresh": saved.refresh.reveal() if saved.refresh else None,
                    "expires_at": saved.expires_at.isoformat() if saved.expires_at else None,
                    "version": saved.version,
                    "extra": dict(saved.extra),
                }
            )
        )
        fresh.replace(self.path)
        return saved


class TokenServer(Sandbox):
    """A vendor whose refresh tokens work once: a second use disconnects the firm, as RFC 9700 asks for."""

    def __init__(self, *, rotate: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.rotate = rotate
        self.issued = 0
        self.access = "a0"
        self.refresh = "r0"
        self.revoked = False
        self.more: dict[str, Any] = {"expires_in": 3600}

    def respond(self, request: Request) -> Response:
        if request.path == "/oauth/token":
            return self.token(request.form())
        if request.headers.get("authorization") != f"Bearer {self.access}":
            return Response(401, {"error": "expired"})
        return Response(200, {"path": request.path})

    def token(self, form: dict[str, str]) -> Response:
        if form["grant_type"] == "refresh_token":
            if self.revoked or form["refresh_token"] != self.refresh:
                self.revoked = True
                return Response(400, {"error": "invalid_grant", "error_description": "for jane.doe@example.com"})
        elif form["grant_type"] != "client_credentials":
            return Response(400, {"error": "unsupported_grant_type"})
        self.issued += 1
        self.access = f"a{self.issued}"
        answer = {"access_token": self.access, "token_type": "bearer", **self.more}
        if self.rotate:
            self.refresh = answer["refresh_token"] = f"r{self.issued}"
        return Response(200, answer)


@pytest.fixture
def server() -> Iterator[TokenServer]:
    with TokenServer() as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    made = FileStore(tmp_path / "tokens.json")
    made.save(Tokens(Secret("a0"), Secret("r0"), NOW + timedelta(hours=1)), 0)
    return made


def an_auth(store: FileStore, server: TokenServer, **options: Any) -> OAuthAuth:
    settings: dict[str, Any] = {
        "token_url": f"{server.url}/oauth/token",
        "client_id": "app",
        "client_secret": Secret("app-secret"),
        "egress": Egress.allow((), server.url),
        "now": lambda: NOW,
        **options,
    }
    return OAuthAuth(store, **settings)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_good_tokens_need_no_request(server: TokenServer, store: FileStore) -> None:
    auth = an_auth(store, server)
    assert auth.headers() == bearer("a0")
    assert server.log == []


@pytest.mark.parametrize(("left_s", "renewed"), [(3600, False), (61, False), (60, True), (1, True), (-5, True)])
def test_tokens_are_renewed_shortly_before_the_end(
    server: TokenServer, store: FileStore, left_s: int, renewed: bool
) -> None:
    store.save(Tokens(Secret("a0"), Secret("r0"), NOW + timedelta(seconds=left_s)), 1)
    auth = an_auth(store, server)
    assert auth.headers() == bearer("a1" if renewed else "a0")
    assert auth.headers() == auth.headers()
    assert server.issued == (1 if renewed else 0)
    if renewed:
        saved = store.load()
        assert (saved.access, saved.refresh, saved.version) == (Secret("a1"), Secret("r1"), 3)
        assert saved.expires_at == NOW + timedelta(hours=1)


def test_a_refused_token_is_renewed_and_the_request_repeated(server: TokenServer, store: FileStore) -> None:
    server.access = "somebody else's"
    auth = an_auth(store, server)
    with VendorHTTP(base_url=server.url, egress=Egress.allow((), server.url), auth=auth) as http:
        assert http.post("/things").json() == {"path": "/things"}
        assert http.get("/more").status == 200
    assert [entry.status for entry in server.log] == [401, 200, 200, 200]
    assert server.issued == 1


def test_the_token_request_is_as_the_standard_says(server: TokenServer, store: FileStore) -> None:
    assert an_auth(store, server, scope="contacts", params={"audience": "x"}).refresh(bearer("a0"))
    seen = server.log[0]
    assert seen.request_body == (
        b"grant_type=refresh_token&audience=x&scope=contacts&refresh_token=r0&client_id=app&client_secret=app-secret"
    )


def test_client_secret_in_a_basic_header(store: FileStore) -> None:
    seen: list[Request] = []
    with TokenServer(observe=lambda request, _: seen.append(request)) as server:
        secret = Secret("a b:c")
        assert an_auth(store, server, client_auth="basic", client_secret=secret).refresh(bearer("a0"))
    sent = seen[0].headers["authorization"].removeprefix("Basic ")
    assert base64.b64decode(sent) == b"app:a%20b%3Ac"
    assert "client_secret" not in seen[0].form()


def test_a_vendor_that_does_not_rotate_keeps_the_old_refresh_token(store: FileStore) -> None:
    with TokenServer(rotate=False) as server:
        auth = an_auth(store, server)
        assert auth.refresh(bearer("a0"))
        assert auth.refresh(bearer("a1"))
    assert (store.load().access, store.load().refresh) == (Secret("a2"), Secret("r0"))


def test_client_credentials_start_without_any_token(server: TokenServer, store: FileStore) -> None:
    server.rotate = False
    store.save(Tokens(None, None, None), 1)
    auth = an_auth(store, server, grant="client_credentials")
    assert auth.headers() == bearer("a1")
    assert auth.refresh(bearer("a1"))
    assert auth.headers() == bearer("a2")
    assert store.load().refresh is None


@pytest.mark.parametrize(
    ("expires_in", "left"),
    [(3600, 3600), ("3600", 3600), (86400.5, 86400.5), (None, None), ("soon", None), (0, None), (-1, None), ([], None)],
)
def test_life_of_a_token(server: TokenServer, store: FileStore, expires_in: Any, left: float | None) -> None:
    server.more = {"expires_in": expires_in}
    assert an_auth(store, server).refresh(bearer("a0"))
    assert store.load().expires_at == (None if left is None else NOW + timedelta(seconds=left))


def test_other_strings_of_the_answer_are_kept_and_secrets_among_them_are_not(
    server: TokenServer, store: FileStore
) -> None:
    server.more = {"instance_url": "https://na1.salesforce.example", "id_token": "eyJ", "issued_at": "1", "n": 2}
    auth = an_auth(store, server)
    auth.refresh(bearer("a0"))
    assert auth.tokens.extra == {
        "instance_url": "https://na1.salesforce.example",
        "issued_at": "1",
        "token_type": "bearer",
    }


# Races ---------------------------------------------------------------------------------------------------------------


def test_tokens_renewed_by_another_process_are_used_without_a_refresh(server: TokenServer, store: FileStore) -> None:
    ours, theirs = an_auth(store, server), an_auth(store, server)
    assert ours.headers() == theirs.headers() == bearer("a0")
    assert theirs.refresh(bearer("a0"))
    assert ours.refresh(bearer("a0"))
    assert ours.headers() == theirs.headers() == bearer("a1")
    assert server.issued == 1


def test_threads_that_share_an_auth_refresh_once(server: TokenServer, store: FileStore) -> None:
    auth = an_auth(store, server)
    together = threading.Barrier(4)
    answers: list[bool] = []

    def work() -> None:
        refused = auth.headers()
        together.wait(10)
        answers.append(auth.refresh(refused))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (answers, server.issued) == ([True] * 4, 1)


RACER = """
import sys
from pathlib import Path
from tests.connectors.test_oauth import race
race(Path(sys.argv[1]), sys.argv[2])
"""


def race(path: Path, url: str) -> None:
    """One of several processes: says when it holds the worn token, waits for the word, then uses the vendor."""
    egress = Egress.allow((), url)
    auth = OAuthAuth(
        FileStore(path), token_url=f"{url}/oauth/token", client_id="app", client_secret=None, egress=egress
    )
    auth.headers()
    print("ready", flush=True)
    sys.stdin.readline()
    with VendorHTTP(base_url=url, egress=egress, auth=auth) as http:
        for number in range(5):
            assert http.get(f"/things/{number}").status == 200


@pytest.mark.slow
def test_four_processes_and_one_single_use_refresh_token(server: TokenServer, store: FileStore) -> None:
    server.access = "worn out"  # what the processes hold is refused; the first refresh makes a1
    store.save(Tokens(Secret("a0"), Secret("r0"), datetime.now(UTC) + timedelta(hours=1)), 1)
    command = [sys.executable, "-c", RACER, str(store.path), server.url]
    root = Path(__file__).parents[2]
    racers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) for _ in range(4)
    ]
    try:
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        assert [racer.wait(60) for racer in racers] == [0, 0, 0, 0]
    finally:
        for racer in racers:
            racer.kill()
            racer.communicate()
    assert not server.revoked
    assert server.issued == 1
    assert [entry.path for entry in server.log].count("/oauth/token") == 1
    assert (store.load().access, store.load().refresh, store.load().version) == (Secret("a1"), Secret("r1"), 3)


def test_a_new_sign_in_during_a_failing_refresh_wins(server: TokenServer, store: FileStore) -> None:
    """A person reconnects while we ask with the dead token: that must not mark the connection as disconnected."""
    server.revoked = True

    class Reconnecting(TokenServer):
        def token(self, form: dict[str, str]) -> Response:
            store.save(Tokens(Secret("by a person"), Secret("r9"), NOW + timedelta(hours=1)), store.load().version)
            return Response(400, {"error": "invalid_grant"})

    with Reconnecting() as reconnecting:
        auth = an_auth(store, reconnecting)
        assert auth.refresh(bearer("a0"))
        assert auth.headers() == bearer("by a person")


def test_a_new_sign_in_during_a_successful_refresh_wins(server: TokenServer, store: FileStore) -> None:
    class Reconnecting(TokenServer):
        def token(self, form: dict[str, str]) -> Response:
            store.save(Tokens(Secret("by a person"), Secret("r9"), NOW + timedelta(hours=1)), store.load().version)
            return super().token(form)

    with Reconnecting() as reconnecting:
        auth = an_auth(store, reconnecting)
        assert auth.refresh(bearer("a0"))
        assert auth.headers() == bearer("by a person")
    assert store.load().refresh == Secret("r9")


class Failing(FileStore):
    """A store whose database goes away for one save."""

    failing = True

    def save(self, tokens: Tokens, expected_version: int) -> Tokens:
        if self.failing:
            self.failing = False
            raise OSError("the disk is full")
        return super().save(tokens, expected_version)


def test_rotated_tokens_are_saved_before_use_and_not_lost_with_a_failing_save(
    server: TokenServer, store: FileStore
) -> None:
    server.access = "worn out"
    auth = an_auth(Failing(store.path), server)
    with VendorHTTP(base_url=server.url, egress=Egress.allow((), server.url), auth=auth) as http:
        with pytest.raises(OSError, match="disk"):
            http.get("/things")
        # Nothing was sent with a token that no store holds.
        assert [entry.path for entry in server.log] == ["/things", "/oauth/token"]
        assert http.get("/things").status == 200
    assert server.issued == 1
    assert (store.load().access, store.load().refresh) == (Secret("a1"), Secret("r1"))


# Refusals ------------------------------------------------------------------------------------------------------------


def test_a_dead_refresh_token_asks_for_a_person(server: TokenServer, store: FileStore) -> None:
    server.revoked = True
    auth = an_auth(store, server)
    with pytest.raises(ReconnectNeeded) as caught:
        auth.refresh(bearer("a0"))
    assert caught.value.remedy
    assert "jane" not in str(caught.value)
    assert store.load().version == 1


def test_no_refresh_token_at_all(server: TokenServer, store: FileStore) -> None:
    store.save(Tokens(Secret("a0"), None, None), 1)
    with pytest.raises(ReconnectNeeded):
        an_auth(store, server).refresh(bearer("a0"))
    assert server.log == []


def refusal(error: str, code: int = 400) -> Effect:
    return status(code, body={"error": error})


@pytest.mark.parametrize(
    ("effect", "expected"),
    [
        (refusal("invalid_client", 401), Misconfigured),
        (refusal("unauthorized_client"), Misconfigured),
        (refusal("invalid_scope"), Misconfigured),
        (refusal("invalid_grant", 401), ReconnectNeeded),
        (refusal("something new"), ReconnectNeeded),
        (refusal("temporarily_unavailable"), TryLater),
        (status(404, body={}), ShapeChanged),
        (status(302, {"Location": "https://evil.example/"}), ShapeChanged),
        (status(200, body={"token": "x"}), ShapeChanged),
        (status(200, body={"access_token": ""}), ShapeChanged),
        (status(200, body=["x"]), ShapeChanged),
        (status(200, {"Content-Encoding": "gzip"}, b"broken"), ShapeChanged),
        (status(500), TryLater),
        (status(503), TryLater),
        (rate_limit(30), RateLimited),
        (html, ShapeChanged),
        (cut_before, TryLater),
        (cut_after, TryLater),
    ],
)
def test_what_a_token_server_may_say(
    server: TokenServer, store: FileStore, effect: Effect, expected: type[SyncError]
) -> None:
    server.faults.add("POST /oauth/token", effect)
    with pytest.raises(expected) as caught:
        an_auth(store, server).refresh(bearer("a0"))
    assert type(caught.value) is expected
    if expected is RateLimited:
        assert isinstance(caught.value, RateLimited)
        assert caught.value.until == NOW + timedelta(seconds=30)
    assert store.load().version == 1
    assert len(server.log) == 1  # a token request is never repeated blindly


def test_a_token_server_that_is_off(store: FileStore) -> None:
    with TokenServer() as server:
        auth = an_auth(store, server)
    with pytest.raises(Unreachable):
        auth.refresh(bearer("a0"))


def test_a_token_address_outside_the_allowed_hosts(server: TokenServer, store: FileStore) -> None:
    with pytest.raises(Misconfigured, match="evil"):
        an_auth(store, server, token_url="https://evil.example/oauth/token")


def test_nothing_shows_a_token(server: TokenServer, store: FileStore, caplog: pytest.LogCaptureFixture) -> None:
    server.more = {"expires_in": 60}
    auth = an_auth(store, server, client_secret=Secret("app-secret"))
    with caplog.at_level(logging.DEBUG):
        auth.refresh(bearer("a0"))
        headers = auth.headers()
    shown = [repr(auth.tokens), repr(headers), str(headers), *(repr(record.__dict__) for record in caplog.records)]
    tokens = {store.load().access, store.load().refresh, Secret("app-secret")}
    assert not [text for text in shown for token in tokens if token and f"{token.reveal()}'" in text]
    assert orjson.loads(orjson.dumps(dict(headers))) == bearer("a2")

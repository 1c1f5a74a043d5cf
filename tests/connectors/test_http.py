"""Every row of the client's table: what a failure or a status means for the engine. Real servers on loopback."""

from __future__ import annotations

import datetime as dt
import gc
import gzip
import logging
import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import httpx
import orjson
import pytest
import respx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from connectors.egress import Egress, GuardedTransport
from connectors.errors import (
    Misconfigured,
    RateLimited,
    ReconnectNeeded,
    ShapeChanged,
    TryLater,
    UnknownOutcome,
    Unreachable,
)
from connectors.http import BasicAuth, BearerAuth, Reply, VendorHTTP
from connectors.pacing import Limits
from connectors.sandbox import (
    Effect,
    Request,
    Response,
    Sandbox,
    cut_after,
    cut_before,
    drip,
    half_body,
    html,
    rate_limit,
    slow,
    status,
)

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


class Echo(Sandbox):
    """Answers what it was asked; a POST makes a record; a body and headers can be put in its place."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.answer: Callable[[Request], Response] | None = None

    def respond(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD", "PROPFIND"):
            self.wrote(f"created things/{self.next_id('things')}")
        if self.answer is not None:
            return self.answer(request)
        return Response(
            200,
            {
                "method": request.method,
                "path": request.path,
                "query": request.query,
                "raw_query": request.raw_query,
                "headers": dict(request.headers),
                "body": request.body.decode("utf-8", "replace"),
            },
        )


class Waits(list[float]):
    """A `sleep` that only notes how long it should have been."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@contextmanager
def client(vendor: Echo | str, **options: Any) -> Iterator[VendorHTTP]:
    url = vendor if isinstance(vendor, str) else vendor.url
    options = {"egress": Egress.allow((), url), "sleep": Waits(), "now": lambda: NOW, **options}
    with VendorHTTP(base_url=url, **options) as http:
        yield http


@pytest.fixture
def vendor() -> Iterator[Echo]:
    with Echo() as echo:
        yield echo


class Scripted:
    """A server that plays one list of steps per connection after it read a request: bytes to send, or "reset"."""

    def __init__(self, *connections: Sequence[bytes | str]) -> None:
        self._scripts = list(connections)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.served = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket() as wake:
            wake.connect_ex(self._listener.getsockname())
        self._thread.join(10)
        self._listener.close()

    def _run(self) -> None:
        for script in self._scripts:
            connection, _ = self._listener.accept()
            with connection:
                connection.settimeout(10)
                if not connection.recv(65536):
                    return
                self.served += 1
                for step in script:
                    if step == "reset":
                        # Linger 0: close() sends RST instead of FIN.
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    elif step == "wait":
                        connection.recv(65536)  # until the client gives up
                    else:
                        assert isinstance(step, bytes)
                        connection.sendall(step)


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


# The request ---------------------------------------------------------------------------------------------------------


def test_a_request_arrives_as_it_was_meant(vendor: Echo) -> None:
    with client(f"{vendor.url}/api/v4/", headers={"X-API-VERSION": "4"}) as http:
        seen = http.post(
            "/contacts", params={"ids[]": [1, 2], "gone": None, "on": True, "q": "a&b c+ü"}, json={"name": "Zoë"}
        ).json()
    assert (seen["method"], seen["path"]) == ("POST", "/api/v4/contacts")
    assert seen["query"] == {"ids[]": ["1", "2"], "on": ["true"], "q": ["a&b c+ü"]}
    assert seen["headers"]["content-type"] == "application/json"
    assert seen["headers"]["x-api-version"] == "4"
    assert seen["headers"]["accept-encoding"] == "gzip, deflate"
    assert orjson.loads(seen["body"]) == {"name": "Zoë"}


def test_params_join_a_query_that_the_path_has(vendor: Echo) -> None:
    with client(vendor) as http:
        assert http.get("/x?page=2", params=[("limit", "5")]).json()["query"] == {"page": ["2"], "limit": ["5"]}
        assert http.get(f"{vendor.url}/x?page=3").json()["query"] == {"page": ["3"]}
        assert http.get("").json()["path"] == "/"
        assert http.origin == vendor.url


@pytest.mark.parametrize("method", ["post", "patch", "put", "delete"])
def test_shorthands(vendor: Echo, method: str) -> None:
    with client(vendor) as http:
        reply = getattr(http, method)("/x", content=b"raw", headers={"Content-Type": "text/vcard"})
    assert (reply.json()["method"], reply.json()["body"]) == (method.upper(), "raw")
    assert reply.json()["headers"]["content-type"] == "text/vcard"


def test_auth_headers_are_sent(vendor: Echo) -> None:
    with client(vendor, auth=BearerAuth("tok-1")) as http:
        assert http.get("/x").json()["headers"]["authorization"] == "Bearer tok-1"
    with client(vendor, auth=BasicAuth("zoë", "p:w")) as http:
        assert http.get("/x").json()["headers"]["authorization"] == "Basic em/DqzpwOnc="


def test_a_connectors_header_replaces_ours_whatever_its_case(vendor: Echo) -> None:
    with client(vendor, headers={"ACCEPT": "text/vcard"}) as http:
        seen = http.post("/x", json={}, headers={"content-TYPE": "application/vnd.api+json", "If-Match": '"ü"'}).json()
    assert seen["headers"]["accept"] == "text/vcard"
    assert seen["headers"]["content-type"] == "application/vnd.api+json"
    assert seen["headers"]["if-match"].encode("latin-1").decode() == '"ü"'


def test_what_cannot_be_a_request_is_not_sent(vendor: Echo) -> None:
    with client(vendor) as http:
        for path, headers in (("/a\nb", {}), ("/x", {"X-A": "1\r\nX-B: 2"}), ("/x", {"X-ü": "1"})):
            with pytest.raises(Misconfigured, match="could not be built"):
                http.get(path, headers=headers)
    assert vendor.log == []


def test_methods_are_known_in_lower_case_too(vendor: Echo) -> None:
    vendor.faults.add("GET /x", cut_after)
    with client(vendor) as http:
        assert http.request("get", "/x").json()["method"] == "GET"


def test_cookies_are_not_kept(vendor: Echo) -> None:
    vendor.answer = lambda request: Response(200, dict(request.headers), {"Set-Cookie": "sid=1; Path=/"})
    with client(vendor) as http:
        http.get("/x")
        assert "cookie" not in http.get("/x").json()


def test_head_has_no_body(vendor: Echo) -> None:
    with client(vendor) as http:
        reply = http.request("HEAD", "/x")
        assert (reply.status, reply.content) == (200, b"")
        assert http.get("/y").json()["path"] == "/y"  # the connection is still in step


def test_requests_are_counted_with_repeats(vendor: Echo) -> None:
    vendor.faults.add("GET /x", status(503), times=2)
    with client(vendor) as http:
        http.get("/x")
        assert http.requests == 3 == len(vendor.log)


# What comes back as it is --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [200, 201, 202, 204, 207, 301, 302, 307, 400, 403, 404, 409, 410, 412, 422, 501, 507])
@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_these_answers_are_the_connectors_to_read(vendor: Echo, code: int, method: str) -> None:
    vendor.answer = lambda _: Response(code, {"code": code}, {"ETag": '"7"'})
    with client(vendor) as http:
        reply = http.request(method, "/x")
    assert (reply.status, reply.headers["etag"], http.requests) == (code, '"7"', 1)
    assert reply.url == f"{vendor.url}/x"
    if code != 204:
        assert reply.json() == {"code": code}


def test_redirects_are_never_followed(vendor: Echo) -> None:
    with Echo() as other:
        vendor.answer = lambda _: Response(302, b"", {"Location": f"{other.url}/stolen"})
        with client(vendor, auth=BearerAuth("tok-1")) as http:
            assert http.get("/x").headers["location"] == f"{other.url}/stolen"
        assert other.log == []


def test_a_next_link_to_another_host_is_refused(vendor: Echo) -> None:
    with Echo() as other, client(vendor, auth=BearerAuth("tok-1")) as http:
        for link in (f"{other.url}/page2", "https://evil.example/page2", "HTTPS://evil.example/", "http://[::1]:80/"):
            with pytest.raises(Misconfigured, match="not sent"):
                http.get(link)
        assert other.log == []
        assert http.requests == 0


# JSON ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        Response(200, b"<html>Sign in</html>", {"Content-Type": "text/html; charset=utf-8"}),
        Response(200, b'{"looks": "right"}', {"Content-Type": "text/html"}),
        Response(200, b'{"data": [1, 2', {"Content-Type": "application/json"}),
        Response(200, b"", {"Content-Type": "application/json"}),
        Response(200, b'{"n": NaN}', {"Content-Type": "application/json"}),
        Response(200, b'{"s": "\xff"}', {"Content-Type": "application/json"}),
    ],
)
def test_an_answer_that_is_no_json(vendor: Echo, answer: Response) -> None:
    vendor.answer = lambda _: answer
    with client(vendor) as http:
        reply = http.get("/x")
        with pytest.raises(ShapeChanged, match="instead of JSON"):
            reply.json()
        # Nobody can tell what became of a write that is confirmed like this.
        with pytest.raises(UnknownOutcome):
            http.post("/x", json={}).json()


def test_a_refusal_without_json_is_no_unknown_outcome(vendor: Echo) -> None:
    vendor.answer = lambda _: Response(403, b"<html>", {"Content-Type": "text/html"})
    with client(vendor) as http, pytest.raises(ShapeChanged):
        http.post("/x", json={}).json()


def test_json_sent_as_text_is_accepted(vendor: Echo) -> None:
    vendor.answer = lambda _: Response(200, b"[1]", {"Content-Type": "text/plain"})
    with client(vendor) as http:
        assert http.get("/x").json() == [1]


# Nothing was sent ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_connection_is_retried_and_then_unreachable(method: str) -> None:
    waits = Waits()
    with client(closed_port(), sleep=waits) as http, pytest.raises(Unreachable) as caught:
        http.request(method, "/x", json={"a": 1})
    assert http.requests == 4
    assert len(waits) == 3
    assert all(0 <= wait <= 8 for wait in waits)
    assert isinstance(caught.value.__cause__, httpx.ConnectError)


def test_a_server_that_comes_back_gets_the_write_once() -> None:
    with Echo() as vendor:
        url, port = vendor.url, vendor.port
    revived = Echo(port=port)

    def sleep(_: float) -> None:
        if revived.stopping.is_set() or not revived.log:
            revived.start()

    with client(url, sleep=sleep) as http:
        assert http.post("/x", json={}).status == 200
    revived.stop()
    assert revived.writes() == ["created things/1"]


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_a_base_address_by_ipv6() -> None:
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")

    with listener:
        thread = threading.Thread(target=serve)
        thread.start()
        with client(f"http://[0:0:0:0:0:0:0:1]:{listener.getsockname()[1]}") as http:
            assert http.get("/x").json() == {}
        thread.join(10)


def test_a_certificate_that_is_not_trusted_needs_a_person(tmp_path: Path) -> None:
    with tls_server(tmp_path) as url, client(url) as http, pytest.raises(Misconfigured, match="certificate") as caught:
        http.get("/x")
    assert http.requests == 1
    assert "SSL_CERT_FILE" in caught.value.remedy


# The connection was lost on the way ----------------------------------------------------------------------------------

LOST: list[Effect] = [cut_before, cut_after, half_body]


@pytest.mark.parametrize("effect", LOST, ids=lambda effect: effect.kind)
def test_a_lost_answer_to_a_read_is_asked_for_again(vendor: Echo, effect: Effect) -> None:
    vendor.faults.add("GET /x", effect, times=3)
    with client(vendor) as http:
        assert http.get("/x").status == 200
        assert http.requests == 4


@pytest.mark.parametrize("effect", LOST, ids=lambda effect: effect.kind)
def test_a_read_that_keeps_failing_is_tried_later(vendor: Echo, effect: Effect) -> None:
    vendor.faults.add("GET /x", effect, times=None)
    with client(vendor, attempts=3) as http, pytest.raises(TryLater) as caught:
        http.get("/x")
    assert not isinstance(caught.value, Unreachable)
    assert http.requests == 3


@pytest.mark.parametrize("effect", LOST, ids=lambda effect: effect.kind)
@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE"])
def test_a_lost_answer_to_a_write_is_never_repeated(vendor: Echo, effect: Effect, method: str) -> None:
    vendor.faults.add("* /x", effect)
    with client(vendor) as http, pytest.raises(UnknownOutcome):
        http.request(method, "/x", json={"name": "Doe"})
    assert http.requests == 1
    assert len(vendor.writes()) == (0 if effect == cut_before else 1)


@pytest.mark.parametrize("script", [["reset"], [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", "reset"], []])
def test_a_reset_connection(script: list[bytes | str]) -> None:
    good = [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"]
    with Scripted(script, good) as server, client(server.url) as http:
        assert http.get("/x").json() == {}
    with Scripted(script) as server, client(server.url) as http, pytest.raises(UnknownOutcome):
        http.post("/x", json={})


def test_an_answer_that_is_no_http() -> None:
    with Scripted([b"SSH-2.0-OpenSSH_9.2\r\n"]) as server, client(server.url) as http, pytest.raises(UnknownOutcome):
        http.post("/x", json={})


def test_half_a_chunked_body_is_no_answer() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with Scripted([head + b"2\r\n{}\r\n"], [head + b"2\r\n{}\r\n0\r\n\r\n"]) as server, client(server.url) as http:
        assert http.get("/x").json() == {}
        assert http.requests == 2


def test_a_write_that_the_connector_calls_safe_is_repeated(vendor: Echo) -> None:
    vendor.faults.add("POST /token-info", cut_after)
    with client(vendor) as http:
        assert http.post("/token-info", safe=True).status == 200
        assert http.requests == 2


def test_a_read_that_the_connector_calls_unsafe_is_not(vendor: Echo) -> None:
    vendor.faults.add("GET /pay", cut_after)
    with client(vendor) as http, pytest.raises(UnknownOutcome):
        http.request("GET", "/pay", safe=False)


# 5xx -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [408, 425, 500, 502, 503, 504, 520, 529])
def test_a_failing_server(vendor: Echo, code: int) -> None:
    vendor.faults.add("* /x", status(code, body={"secret": "jane"}), times=1)
    with client(vendor) as http:
        assert http.get("/x").status == 200
        assert http.requests == 2
        vendor.faults.add("* /x", status(code), times=None)
        with pytest.raises(TryLater) as later:
            http.get("/x")
        assert str(code) in str(later.value)
        before = http.requests
        with pytest.raises(UnknownOutcome):
            http.post("/x", json={})
        assert http.requests == before + 1


def test_waits_between_tries_grow_and_vary(vendor: Echo) -> None:
    vendor.faults.add("*", status(500), times=None)
    waits = Waits()
    with client(vendor, sleep=waits, attempts=12) as http, pytest.raises(TryLater):
        http.get("/x")
    assert len(set(waits)) > 5
    assert max(waits) <= 8
    assert waits[0] <= 0.4


# 429 and 503 with Retry-After ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_short_pause_is_sat_out_once(vendor: Echo, method: str) -> None:
    vendor.faults.add("*", rate_limit(3))
    waits = Waits()
    with client(vendor, sleep=waits) as http:
        assert http.request(method, "/x").status == 200
    assert waits == [3.0]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("effect", [rate_limit(30), status(503, {"Retry-After": "30"})], ids=["429", "503"])
def test_a_long_pause_goes_to_the_engine(vendor: Echo, method: str, effect: Effect) -> None:
    vendor.faults.add("*", effect)
    waits = Waits()
    with client(vendor, sleep=waits) as http, pytest.raises(RateLimited) as caught:
        http.request(method, "/x")
    assert caught.value.until == NOW + timedelta(seconds=30)
    assert (waits, http.requests) == ([], 1)


def test_a_second_pause_in_a_row_goes_to_the_engine(vendor: Echo) -> None:
    vendor.faults.add("*", rate_limit(1), times=None)
    with client(vendor) as http, pytest.raises(RateLimited) as caught:
        http.get("/x")
    assert caught.value.until == NOW + timedelta(seconds=1)
    assert http.requests == 2


def test_429_without_retry_after_leaves_the_pause_to_the_engine(vendor: Echo) -> None:
    vendor.faults.add("*", rate_limit(None))
    with client(vendor) as http, pytest.raises(RateLimited) as caught:
        http.get("/x")
    assert caught.value.until is None
    assert http.requests == 1


def test_429_takes_the_window_from_the_limit_headers(vendor: Echo) -> None:
    reset = str(int(NOW.timestamp()) + 41)
    vendor.faults.add("*", status(429, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}))
    with client(vendor) as http, pytest.raises(RateLimited) as caught:
        http.get("/x")
    assert caught.value.until == NOW + timedelta(seconds=41)


def test_the_shared_budget_is_asked_and_taught(vendor: Echo) -> None:
    class Budget:
        def __init__(self) -> None:
            self.taken = 0
            self.learned: list[tuple[int, Limits]] = []

        def take(self) -> None:
            if self.taken == 2:
                raise RateLimited("The shared budget is used up.", until=NOW)
            self.taken += 1

        def learn(self, status: int, limits: Limits) -> None:
            self.learned.append((status, limits))

    vendor.faults.add("*", status(500))
    vendor.answer = lambda _: Response(200, {}, {"X-RateLimit-Limit": "50", "X-RateLimit-Remaining": "49"})
    budget = Budget()
    with client(vendor, pace=budget) as http:
        http.get("/x")
        with pytest.raises(RateLimited, match="shared budget"):
            http.get("/x")
    assert budget.learned == [(500, Limits()), (200, Limits(limit=50, remaining=49))]
    assert http.requests == 2


# 401 -----------------------------------------------------------------------------------------------------------------


class Renewable:
    def __init__(self, *tokens: str) -> None:
        self.tokens = list(tokens)
        self.refused: list[Mapping[str, str]] = []

    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.tokens[0]}"}

    def refresh(self, refused: Mapping[str, str]) -> bool:
        self.refused.append(refused)
        self.tokens.pop(0)
        return bool(self.tokens)


def only(token: str) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        good = request.headers.get("authorization") == f"Bearer {token}"
        return Response(200 if good else 401, {"body": request.body.decode()})

    return answer


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_401_once_then_fine(vendor: Echo, method: str) -> None:
    vendor.answer = only("new")
    auth = Renewable("old", "new")
    with client(vendor, auth=auth) as http:
        assert http.request(method, "/x", json={"a": 1}).json() == {"body": '{"a":1}'}
    assert auth.refused == [{"Authorization": "Bearer old"}]
    assert http.requests == 2


def test_401_with_a_new_token_too(vendor: Echo) -> None:
    vendor.answer = only("never")
    auth = Renewable("old", "new", "newer")
    with client(vendor, auth=auth) as http, pytest.raises(ReconnectNeeded):
        http.get("/x")
    assert http.requests == 2


@pytest.mark.parametrize("auth", [None, BearerAuth("old"), BasicAuth("u", "p"), Renewable("old")])
def test_401_that_nothing_can_renew(vendor: Echo, auth: Any) -> None:
    vendor.answer = only("new")
    with client(vendor, auth=auth) as http, pytest.raises(ReconnectNeeded) as caught:
        http.get("/x")
    assert http.requests == 1
    assert caught.value.remedy


# Size and time -------------------------------------------------------------------------------------------------------


def test_a_body_over_the_limit(vendor: Echo) -> None:
    vendor.answer = lambda _: Response(200, b"x" * 100_001, {"Content-Type": "text/plain"})
    with client(vendor, body_bytes_max=100_000) as http:
        with pytest.raises(ShapeChanged, match="larger than 100000 bytes"):
            http.get("/x")
        with pytest.raises(UnknownOutcome):
            http.post("/x")
        assert http.requests == 2
        vendor.answer = lambda _: Response(200, b"x" * 100_000)
        assert len(http.get("/x").content) == 100_000


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_small_body_that_unpacks_to_a_huge_one(vendor: Echo, encoding: str) -> None:
    plain = bytes(50_000_000)
    packed = gzip.compress(plain) if encoding == "gzip" else zlib.compress(plain)
    assert len(packed) < 60_000
    vendor.answer = lambda _: Response(200, packed, {"Content-Encoding": encoding})
    with client(vendor, body_bytes_max=1_000_000) as http, pytest.raises(ShapeChanged, match="larger"):
        http.get("/x")


def raw_deflate(data: bytes) -> bytes:
    pack = zlib.compressobj(wbits=-15)
    return pack.compress(data) + pack.flush()


PAGE = orjson.dumps({"data": [{"id": number, "name": f"Doe {number}"} for number in range(20_000)]})


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(PAGE)),
        ("x-gzip", gzip.compress(PAGE)),
        ("GZIP", gzip.compress(PAGE)),
        ("deflate", zlib.compress(PAGE)),
        ("deflate", raw_deflate(PAGE)),
        ("gzip", gzip.compress(PAGE[:70_000]) + gzip.compress(PAGE[70_000:])),
        ("identity", PAGE),
        ("gzip", gzip.compress(bytes(3_000_000))),
        ("gzip", gzip.compress(b"")),
    ],
    ids=["gzip", "x-gzip", "upper-case", "zlib", "raw-deflate", "two-members", "identity", "long", "empty"],
)
def test_compressed_answers(vendor: Echo, encoding: str, body: bytes) -> None:
    vendor.answer = lambda _: Response(200, body, {"Content-Encoding": encoding})
    with client(vendor) as http:
        content = http.get("/x").content
    assert content == (PAGE if len(content) == len(PAGE) else bytes(len(content)))
    assert len(content) in (len(PAGE), 3_000_000, 0)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", b"not packed at all"),
        ("gzip", gzip.compress(PAGE)[:-200]),
        ("gzip", gzip.compress(PAGE)[:5]),
        ("deflate", b"\x00\x01\x02"),
        ("br", b"\x0b\x02\x80"),
        ("gzip, gzip", gzip.compress(gzip.compress(b"x"))),
    ],
    ids=["not-packed", "cut", "cut-in-the-header", "nonsense", "unasked", "twice"],
)
def test_broken_or_unasked_compression(vendor: Echo, encoding: str, body: bytes) -> None:
    vendor.answer = lambda _: Response(200, body, {"Content-Encoding": encoding})
    with client(vendor) as http, pytest.raises(ShapeChanged):
        http.get("/x")


@pytest.mark.timeout(30)
def test_a_slow_drip_ends_with_the_total_time(vendor: Echo) -> None:
    vendor.faults.add("*", drip(0.05), times=None)
    with client(vendor, timeout_s=0.4, attempts=2) as http:
        with pytest.raises(TryLater, match="in time"):
            http.get("/x")
        with pytest.raises(UnknownOutcome, match="in time"):
            http.post("/x")


@pytest.mark.timeout(30)
def test_slowly_dripping_headers_end_with_the_total_time() -> None:
    """Every single read is fast, so a limit per read would never end this."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Pad: ")
                while not done.wait(0.02):
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with client(url, timeout_s=0.4, attempts=1) as http, pytest.raises(TryLater, match="in time"):
            http.get("/x")
        done.set()
        thread.join(10)


@pytest.mark.timeout(30)
def test_a_late_answer(vendor: Echo) -> None:
    vendor.faults.add("*", slow(5), times=1)
    with client(vendor, timeout_s=0.5) as http:
        assert http.get("/x").status == 200
        assert http.requests >= 2  # more where the machine is crowded


def test_the_deadline_of_one_request_does_not_bind_the_next(vendor: Echo) -> None:
    vendor.faults.add("*", slow(5), times=1)
    with client(vendor, timeout_s=0.3, attempts=1) as http, pytest.raises(TryLater):
        http.get("/x")
    transport = GuardedTransport(Egress.allow((), vendor.url))
    response = transport.handle_request(httpx.Request("GET", f"{vendor.url}/x"))
    assert response.status_code == 200
    response.close()
    transport.close()


# Keeping quiet, keeping nothing --------------------------------------------------------------------------------------


def test_errors_and_logs_hold_no_path_query_body_or_token(vendor: Echo, caplog: pytest.LogCaptureFixture) -> None:
    planted = ["jane.doe", "tok-secret", "body-secret", "answer-secret", "header-secret"]
    vendor.faults.add("*", status(500, {"X-Thing": "header-secret"}, {"text": "answer-secret"}), times=4)
    vendor.faults.add("*", cut_after, times=None)
    shown: list[str] = []
    with caplog.at_level(logging.DEBUG), client(vendor, auth=BearerAuth("tok-secret")) as http:
        for method in ("GET", "GET", "POST"):
            with pytest.raises((TryLater, UnknownOutcome)) as caught:
                http.request(method, "/people/jane.doe", params={"q": "jane.doe"}, json={"n": "body-secret"})
            shown += [str(caught.value), repr(caught.value), repr(caught.value.__cause__)]
    shown += [f"{record.getMessage()} {record.__dict__}" for record in caplog.records]
    assert any(record.getMessage() == "vendor_failed" for record in caplog.records)
    assert [secret for secret in planted if any(secret in text for text in shown)] == []


def test_answers_leave_no_garbage(vendor: Echo) -> None:
    """The engine switches the collector off while it works on a page; a cycle per answer would fill the memory."""
    with client(vendor) as http:
        http.get("/x").json()
        gc.collect()
        gc.disable()
        try:
            for _ in range(50):
                http.get("/x").json()
            garbage = gc.collect()
        finally:
            gc.enable()
    assert garbage < 50


def test_threads_share_a_client(vendor: Echo) -> None:
    with client(vendor) as http:
        paths: list[str] = []

        def work(number: int) -> None:
            paths.extend(http.get(f"/{number}/{turn}").json()["path"] for turn in range(20))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert sorted(paths) == sorted(f"/{number}/{turn}" for number in range(4) for turn in range(20))
    assert http.requests == 80


def test_a_transport_can_be_passed_in() -> None:
    with respx.mock(base_url="https://api.acme.example") as vendor:
        vendor.get("/things", params={"page": "1"}).respond(200, json={"ok": True}, headers={"ETag": "7"})
        egress = Egress.allow(("api.acme.example",))
        transport = httpx.MockTransport(vendor.handler)
        http = VendorHTTP(base_url="https://api.acme.example", egress=egress, transport=transport)
        reply = http.get("/things", params={"page": 1})
    assert reply.json() == {"ok": True}
    assert isinstance(reply, Reply)
    assert reply.headers["etag"] == "7"


@contextmanager
def tls_server(folder: Path) -> Iterator[str]:
    """An https server on loopback whose certificate nobody has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                try:
                    context.wrap_socket(connection, server_side=True).close()
                except ssl.SSLError:
                    return  # the client hangs up, as it should

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"https://localhost:{listener.getsockname()[1]}"
        thread.join(10)


def test_a_web_page_instead_of_json(vendor: Echo) -> None:
    vendor.faults.add("*", html, times=None)
    with client(vendor) as http:
        with pytest.raises(ShapeChanged, match="web page"):
            http.get("/x").json()
        with pytest.raises(UnknownOutcome, match="web page"):
            http.post("/x").json()

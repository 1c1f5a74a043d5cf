"""The one HTTP client of all connectors: egress rules, pacing, retries, time and size limits, typed errors.

It decides what a transport failure or a status means for the engine, and nothing about a vendor: bodies,
paging and error texts are the connector's. It follows no redirect, keeps no cookie, reads no environment
proxy and logs no path, header or body.

    what happens                                   safe request                  any other request
    no connection, DNS, TLS, pool                  retried, then Unreachable     retried, then Unreachable
    connection lost, half a body, time over        retried, then TryLater        UnknownOutcome
    408, 425, 5xx but 501 505 507 508 511          retried, then TryLater        UnknownOutcome
    429, or 503 with Retry-After                   one wait of <= 5 s, then RateLimited (both)
    401                                            one refresh and repeat, then ReconnectNeeded (both)
    body too large or not decodable                ShapeChanged                  UnknownOutcome
    anything else, 3xx included                    the Reply, for the connector to read (both)
"""

from __future__ import annotations

import base64
import logging
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn, Protocol, TypeVar
from urllib.parse import quote, urlencode

import httpx
import msgspec
import orjson
import tenacity

from connectors.egress import DEADLINE, Egress, GuardedTransport, refused
from connectors.errors import (
    Misconfigured,
    RateLimited,
    ReconnectNeeded,
    ShapeChanged,
    SyncError,
    TryLater,
    UnknownOutcome,
    Unreachable,
)
from connectors.pacing import Limits, read_limits
from connectors.redact import Secret

log = logging.getLogger(__name__)
# httpcore's debug log holds response headers (cookies, redirect addresses), which no log of ours may hold.
logging.getLogger("httpcore").setLevel(logging.INFO)

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PROPFIND", "REPORT"})
# Final answers among the 5xx: repeating cannot help, and the server says that nothing was done.
FINAL_5XX = frozenset({501, 505, 507, 508, 511})
WAIT_IN_PLACE_MAX_S = 5.0
CONNECT_TIMEOUT_MAX_S = 10.0
CHUNK_OUT_MAX = 1 << 20
UNSAID = Limits()
USER_AGENT = "syncd/0.1"

Shape = TypeVar("Shape")
Params = Mapping[str, Any] | Sequence[tuple[str, str]]


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Reply:
    """A vendor's whole answer, decompressed. `safe` tells whether the request that it answers could be repeated."""

    status: int
    headers: httpx.Headers
    content: bytes
    url: str
    safe: bool = True

    def json(self) -> Any:
        """The body as JSON.

        Raises ShapeChanged when it is something else (a log-in page, half a body). When it should confirm a write,
        nobody knows what became of that write: UnknownOutcome.
        """
        return self._decoded(orjson.loads)

    def shaped(self, shape: msgspec.json.Decoder[Shape]) -> Shape:
        """The body as the typed shape that a msgspec decoder reads, so that what nobody asks for is not decoded.

        Raises what `json` does, and msgspec.ValidationError for JSON of another shape.
        """
        return self._decoded(shape.decode)

    def _decoded(self, decode: Callable[[bytes], Shape]) -> Shape:
        kind = self.headers.get("content-type", "").lower()
        if "html" not in kind:
            try:
                return decode(self.content)
            except msgspec.ValidationError:
                raise
            except (orjson.JSONDecodeError, msgspec.DecodeError):
                pass
        what = "a web page" if "html" in kind else "nothing" if not self.content else "something that is not JSON"
        if not self.safe and self.status < 300:
            raise UnknownOutcome(f"The vendor accepted a write but answered it with {what}.")
        raise ShapeChanged(f"The vendor answered with {what} instead of JSON (status {self.status}).")


class Auth(Protocol):
    """Proves who we are. `headers` is asked before every request, `refresh` after a 401."""

    def headers(self) -> Mapping[str, str]: ...

    def refresh(self, refused: Mapping[str, str]) -> bool:
        """`refused` is what `headers` gave for the refused request. True: new headers are worth one more try."""
        ...


class Pace(Protocol):
    """The budget that all workers of a connection share; it may hold a request back for a moment.

    take   before every request; returns when it may go, raises RateLimited when that is too far away
    learn  after every answer: its status, and what its headers said about the vendor's limits
    """

    def take(self) -> None: ...

    def learn(self, status: int, limits: Limits) -> None: ...


class BearerAuth:
    """A fixed token. Nothing can renew it, so a 401 asks for a person."""

    def __init__(self, token: str | Secret) -> None:
        self._headers = Headers({"Authorization": f"Bearer {reveal(token)}"})

    def headers(self) -> Mapping[str, str]:
        return self._headers

    def refresh(self, refused: Mapping[str, str]) -> bool:
        return False


class BasicAuth:
    """User name and password, as UTF-8 (RFC 7617)."""

    def __init__(self, user: str, password: str | Secret) -> None:
        pair = base64.b64encode(f"{user}:{reveal(password)}".encode()).decode()
        self._headers = Headers({"Authorization": f"Basic {pair}"})

    def headers(self) -> Mapping[str, str]:
        return self._headers

    def refresh(self, refused: Mapping[str, str]) -> bool:
        return False


class Headers(dict[str, str]):
    """Header values that do not show in a traceback or a debugger's printout."""

    def __repr__(self) -> str:
        return f"<headers {', '.join(self)}>"


def reveal(value: str | Secret) -> str:
    return value.reveal() if isinstance(value, Secret) else value


class _Again(Exception):
    """This attempt failed in a way that may be repeated; `as_error` is what it means if nothing is left to try."""

    def __init__(self, as_error: SyncError, cause: BaseException | None = None) -> None:
        super().__init__(as_error.message)
        self.as_error = as_error
        self.cause = cause


class VendorHTTP:
    """A connection's way to its vendor. Safe to share between threads; close it when done.

    base_url     prefix of every relative path; requests go there and to the egress rules' hosts, nowhere else
    timeout_s    for one attempt as a whole, from connecting to the body's last byte
    attempts     tries of a safe request, and of any request that could not be sent
    requests     number of requests sent so far, repeats included
    sleep, now   the clock, passed in by tests
    """

    def __init__(
        self,
        *,
        base_url: str,
        egress: Egress,
        auth: Auth | None = None,
        headers: Mapping[str, str] | None = None,
        pace: Pace | None = None,
        timeout_s: float = 30.0,
        body_bytes_max: int = 64_000_000,
        attempts: int = 4,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        if not (verdict := egress.verdict(base_url)).allowed:
            raise Misconfigured(f"The base address cannot be used: {verdict.why}.", remedy="Correct the base address.")
        self.base_url = base_url.rstrip("/")
        self.requests = 0
        self._egress = egress
        self._auth = auth
        self._headers = {"user-agent": USER_AGENT, "accept": "application/json", "accept-encoding": "gzip, deflate"}
        self._headers.update(lower(headers))
        self._pace = pace
        self._timeout_s = timeout_s
        self._body_bytes_max = body_bytes_max
        self._transport = transport if transport is not None else GuardedTransport(egress)
        self._sleep = sleep
        self._now = now
        self._counting = threading.Lock()
        self._retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(attempts),
            wait=tenacity.wait_random_exponential(multiplier=0.4, max=8.0),
            retry=tenacity.retry_if_exception_type(_Again),
            sleep=sleep,
            reraise=True,
        )

    @property
    def origin(self) -> str:
        """Scheme, host and port of base_url: `http.origin + href` makes a vendor's absolute path callable."""
        scheme, _, rest = self.base_url.partition("://")
        return f"{scheme}://{rest.partition('/')[0]}"

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        safe: bool | None = None,
    ) -> Reply:
        """One request and its whole answer; see the module's table for what raises.

        path    relative to base_url, or a full URL (a `next` link), which the egress rules must allow
        params  added to the query; None values are left out, lists repeat their name, booleans become true/false
        json    sent as the JSON body; `content` sends bytes as they are
        safe    repeating it harms nothing; by default GET, HEAD, OPTIONS, PROPFIND and REPORT are
        """
        method = method.upper()
        if safe is None:
            safe = method in SAFE_METHODS
        url = self._url(path, params)
        sent = {**self._headers, **lower(headers)}
        if json is not None:
            content = orjson.dumps(json)
            sent.setdefault("content-type", "application/json")
        renewed = waited = False
        while True:
            auth_headers = self._auth.headers() if self._auth is not None else {}
            reply, limits = self._tried(method, url, {**sent, **lower(auth_headers)}, content, safe)
            if reply.status == 401:
                if renewed or self._auth is None or not self._auth.refresh(auth_headers):
                    raise ReconnectNeeded(
                        f"{self._host(url)} no longer accepts the sign-in (401).", remedy="Reconnect this system."
                    )
                renewed = True
            elif reply.status == 429 or (reply.status == 503 and limits.retry_at is not None):
                self._wait_in_place(url, reply.status, limits, waited)
                waited = True
            else:
                return reply

    def get(self, path: str, params: Params | None = None, headers: Mapping[str, str] | None = None) -> Reply:
        return self.request("GET", path, params=params, headers=headers)

    def post(
        self,
        path: str,
        *,
        params: Params | None = None,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        safe: bool | None = None,
    ) -> Reply:
        return self.request("POST", path, params=params, json=json, content=content, headers=headers, safe=safe)

    def patch(
        self,
        path: str,
        *,
        params: Params | None = None,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        safe: bool | None = None,
    ) -> Reply:
        return self.request("PATCH", path, params=params, json=json, content=content, headers=headers, safe=safe)

    def put(
        self,
        path: str,
        *,
        params: Params | None = None,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        safe: bool | None = None,
    ) -> Reply:
        return self.request("PUT", path, params=params, json=json, content=content, headers=headers, safe=safe)

    def delete(
        self,
        path: str,
        *,
        params: Params | None = None,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        safe: bool | None = None,
    ) -> Reply:
        return self.request("DELETE", path, params=params, json=json, content=content, headers=headers, safe=safe)

    def close(self) -> None:
        self._transport.close()

    def __enter__(self) -> VendorHTTP:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _url(self, path: str, params: Params | None) -> str:
        if path[:8].lower().startswith(("http://", "https://")):
            url = path
            if not (verdict := self._egress.verdict(url)).allowed:
                raise refused(verdict)
        else:
            url = f"{self.base_url}/{path.lstrip('/')}" if path else self.base_url
        if params:
            url += ("&" if "?" in url else "?") + urlencode(list(pairs(params)), quote_via=quote, safe="")
        return url

    def _host(self, url: str) -> str:
        return url.partition("://")[2].partition("/")[0].partition("?")[0]

    def _wait_in_place(self, url: str, status: int, limits: Limits, waited: bool) -> None:
        """Sit out a short wait once; raise RateLimited for a longer one, or for the second."""
        now = self._now()
        until = limits.next_at(now)
        wait_s = (until - now).total_seconds()
        told = limits.retry_at is not None or until > now
        if waited or not told or wait_s > WAIT_IN_PLACE_MAX_S:
            message = f"{self._host(url)} asks for a pause ({status})."
            raise RateLimited(message, until=until if told else None)
        self._sleep(wait_s)

    def _tried(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None, safe: bool
    ) -> tuple[Reply, Limits]:
        try:
            return self._retrying(self._attempt, method, url, headers, content, safe)
        except _Again as failed:
            raise failed.as_error from failed.cause

    def _attempt(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes | None, safe: bool
    ) -> tuple[Reply, Limits]:
        if self._pace is not None:
            self._pace.take()
        with self._counting:
            self.requests += 1
        try:
            wire_headers = [(name.encode("ascii"), value.encode()) for name, value in headers.items()]
            request = httpx.Request(method, url, headers=wire_headers, content=content)
        except (httpx.InvalidURL, UnicodeError) as error:
            raise Misconfigured(f"A request to {self._host(url)} could not be built.") from error
        try:
            status, reply_headers, body = exchange(self._transport, request, self._timeout_s, self._body_bytes_max)
        except httpx.TransportError as error:
            self._translate(error, method, url, safe)
        except TooLarge as error:
            self._unusable(error, method, url, safe)
        limits = UNSAID
        if self._pace is not None or status == 429 or status >= 500:
            limits = read_limits(reply_headers, self._now())
        if self._pace is not None:
            self._pace.learn(status, limits)
        if (status in (408, 425) or (status >= 500 and status not in FINAL_5XX)) and limits.retry_at is None:
            message = f"{method} to {self._host(url)} was answered with status {status}."
            if not safe:
                raise UnknownOutcome(message)
            log.info("vendor_failed", extra={"host": self._host(url), "status": status})
            raise _Again(TryLater(message))
        return Reply(status, reply_headers, body, url, safe), limits

    def _translate(self, error: httpx.TransportError, method: str, url: str, safe: bool) -> NoReturn:
        host = self._host(url)
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
            if isinstance(bad := root_cause(error), ssl.SSLCertVerificationError):
                raise Misconfigured(
                    f"The certificate of {host} is not trusted ({bad.verify_message}).",
                    remedy="Check the address; for a certificate authority of your own, set SSL_CERT_FILE.",
                ) from error
            log.info("vendor_unreachable", extra={"host": host, "error": type(error).__name__})
            raise _Again(Unreachable(f"{host} cannot be reached."), error)
        if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
            raise Misconfigured(f"A request to {host} could not be built.") from error
        what = "in time" if isinstance(error, httpx.TimeoutException) else "with a whole answer"
        message = f"{method} to {host} was not answered {what}."
        if not safe:
            raise UnknownOutcome(message) from error
        log.info("vendor_cut_off", extra={"host": host, "error": type(error).__name__})
        raise _Again(TryLater(message), error)

    def _unusable(self, error: TooLarge, method: str, url: str, safe: bool) -> NoReturn:
        message = f"{method} to {self._host(url)}: {error}."
        raise (ShapeChanged(message) if safe else UnknownOutcome(message)) from error


class TooLarge(Exception):
    """The body is larger than allowed, or its compression cannot be undone."""


def exchange(
    transport: httpx.BaseTransport, request: httpx.Request, timeout_s: float, body_bytes_max: int
) -> tuple[int, httpx.Headers, bytes]:
    """Send one request, read its whole body: (status, headers, decompressed body).

    The transport is called directly, without httpx.Client: the client would add cookies, an INFO log line with the
    whole URL, and a reference cycle per response (1 GB of garbage at a million records with the collector off).
    Raises httpx.TransportError and TooLarge.
    """
    connect_s = min(timeout_s, CONNECT_TIMEOUT_MAX_S)
    request.extensions["timeout"] = {"connect": connect_s, "read": timeout_s, "write": timeout_s, "pool": timeout_s}
    DEADLINE.at = end = time.monotonic() + timeout_s
    response = None
    try:
        response = transport.handle_request(request)
        stream = response.stream
        assert isinstance(stream, httpx.SyncByteStream)
        if request.method == "HEAD":
            body = b""
        else:
            encoding = response.headers.get("content-encoding", "identity").strip().lower()
            body = read_body(stream, encoding, body_bytes_max, end)
        return response.status_code, response.headers, body
    finally:
        DEADLINE.at = float("inf")
        if response is not None:
            response.close()


def read_body(stream: httpx.SyncByteStream, encoding: str, bytes_max: int, end: float) -> bytes:
    """Join the chunks, decompressed, never holding more than bytes_max (plus one chunk) of them."""
    if encoding in ("identity", ""):
        chunks: Iterator[bytes] = iter(stream)
    elif encoding in ("gzip", "x-gzip", "deflate"):
        chunks = inflated(stream, raw_allowed=encoding == "deflate")
    else:
        raise TooLarge("the answer's compression is not one that was asked for")
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > bytes_max:
            raise TooLarge(f"the answer is larger than {bytes_max} bytes")
        if time.monotonic() > end:
            raise httpx.ReadTimeout("the whole request took too long")
        parts.append(chunk)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def inflated(stream: httpx.SyncByteStream, raw_allowed: bool) -> Iterator[bytes]:
    """Undo gzip and zlib in pieces of at most CHUNK_OUT_MAX, so a small body cannot fill the memory."""
    unpack = zlib.decompressobj(47)
    started = False
    try:
        for chunk in stream:
            left = chunk
            while left:
                if unpack.eof:  # gzip allows several members in a row
                    unpack = zlib.decompressobj(47)
                try:
                    out = unpack.decompress(left, CHUNK_OUT_MAX)
                except zlib.error:
                    # Some servers send "deflate" without the zlib wrapper that RFC 9110 wants.
                    if started or not raw_allowed:
                        raise
                    unpack = zlib.decompressobj(-15)
                    out = unpack.decompress(left, CHUNK_OUT_MAX)
                started = True
                left = unpack.unconsumed_tail or unpack.unused_data
                if out:
                    yield out
        while started and not unpack.eof:
            if not (out := unpack.decompress(b"", CHUNK_OUT_MAX)):
                raise TooLarge("the compressed answer ends too early")
            yield out
    except zlib.error as error:
        raise TooLarge("the answer's compression is broken") from error


def lower(headers: Mapping[str, str] | None) -> dict[str, str]:
    """Names in one case, so that a connector's header replaces ours instead of standing beside it."""
    return {name.lower(): value for name, value in headers.items()} if headers else {}


def pairs(params: Params) -> Iterator[tuple[str, str]]:
    for name, value in params.items() if isinstance(params, Mapping) else params:
        for one in value if isinstance(value, list | tuple | set | frozenset) else (value,):
            if one is not None:
                yield name, "true" if one is True else "false" if one is False else str(one)


def root_cause(error: BaseException) -> BaseException:
    seen = {id(error)}
    while (cause := error.__cause__ or error.__context__) is not None and id(cause) not in seen:
        seen.add(id(cause))
        error = cause
    return error

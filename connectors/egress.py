"""Which hosts and addresses a connection may reach: a pure verdict, and a transport that obeys it.

A vendor's answer can name any URL (a `next` link, a redirect), a setting can name any server, and DNS can
answer with anything. So the verdict is asked twice: once about the URL, before a request is built, and once
about the address that the name resolved to, on the very address that is then connected to (a name that
changes its answer between check and connection gains nothing). What the reply says is left to http.py.
"""

from __future__ import annotations

import functools
import ipaddress
import re
import socket
import ssl
import threading
import time
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpcore
import httpx

from connectors.errors import Misconfigured

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Cloud metadata services outside link-local space; they hand out credentials, so even private=True does not open them.
METADATA = frozenset(
    ipaddress.ip_address(text) for text in ("100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254")
)
NAT64 = ipaddress.ip_network("64:ff9b::/96")
SHARED = ipaddress.ip_network("100.64.0.0/10")
FORBIDDEN_IN_URL = re.compile(r"[\x00-\x20\x7f\\]")
HOST_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*\Z")
NUMBERISH = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*\Z")
DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may go out; `why` is empty when it may, else a clause for a person."""

    allowed: bool
    why: str = ""


ALLOWED = Verdict(True)


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port of a URL, in one spelling. `address` is set when the host is an IP literal."""

    scheme: str
    host: str
    port: int
    address: Address | None

    @property
    def is_loopback(self) -> bool:
        return self.host == "localhost" or (self.address is not None and innermost(self.address).is_loopback)


def origin(url: str) -> Origin | str:
    """The URL's origin, or why the URL must not be used at all.

    Odd spellings are refused rather than understood: 0x7f.1, 2130706433, 127.1 and 0177.0.0.1 all mean loopback
    to some resolver, and a user name before the host is a way to make a URL look like another.
    """
    if FORBIDDEN_IN_URL.search(url):
        return "the address holds a space, a control character or a backslash"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "the address is malformed"
    if parts.scheme not in DEFAULT_PORTS:
        return "only https (and http on this machine) is allowed"
    if "@" in parts.netloc:
        return "the address holds a user name"
    named = canonical_host(parts.hostname or "")
    if isinstance(named, str):
        return named
    return Origin(parts.scheme, named[0], port if port is not None else DEFAULT_PORTS[parts.scheme], named[1])


@functools.lru_cache(maxsize=256)
def canonical_host(host: str) -> tuple[str, Address | None] | str:
    """(host in one spelling, its address if it is one), or why not."""
    host = unicodedata.normalize("NFKC", host).lower()
    if not host:
        return "the address names no host"
    if ":" in host:
        if "%" in host:
            return "the address names a network interface"
        try:
            six = ipaddress.IPv6Address(host)
        except ValueError:
            return "the host is malformed"
        return six.compressed, six
    host = host.removesuffix(".")
    if NUMBERISH.match(host):
        try:
            four = ipaddress.IPv4Address(host)
        except ValueError:
            return "the host is a number in an unusual spelling"
        return str(four), four
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            return "the host is malformed"
    if len(host) > 253 or not HOST_NAME.match(host):
        return "the host is malformed"
    return host, None


def innermost(address: Address) -> Address:
    """The IPv4 address inside a mapped, 6to4, Teredo or NAT64 address; such a wrapper must not hide loopback."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address.sixtofour:
            return address.sixtofour
        if address.teredo:
            return address.teredo[1]
        if address in NAT64 or (int(address) >> 32 == 0 and int(address) > 1):
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


@dataclass(frozen=True, slots=True)
class Egress:
    """What one connection may reach. Build it with `Egress.allow`.

    hosts    lower-case names; "*.example.com" matches one label or more before the dot
    own      the origin of the connection's base_url, if it has one: also allowed, on its own port only
    private  base_url may be on the firm's own network (private addresses, plain http)
    """

    hosts: tuple[str, ...] = ()
    own: Origin | None = None
    private: bool = False

    @classmethod
    def allow(cls, hosts: Sequence[str], base_url: str | None = None, private: bool = False) -> Egress:
        """hosts is a connector's `spec.hosts`. Raises Misconfigured when base_url itself can never be called."""
        own = None
        if base_url is not None:
            found = origin(base_url)
            if isinstance(found, str):
                raise Misconfigured(f"The base address cannot be used: {found}.", remedy="Correct the base address.")
            own = found
        egress = cls(tuple(host.lower().removesuffix(".") for host in hosts), own, private)
        if base_url is not None and not (verdict := egress.verdict(base_url)).allowed:
            raise Misconfigured(f"The base address cannot be used: {verdict.why}.", remedy="Correct the base address.")
        return egress

    def verdict(self, url: str) -> Verdict:
        """May a request go to this URL? Looks at names only; `address_verdict` judges what they resolve to."""
        found = origin(url)
        return Verdict(False, found) if isinstance(found, str) else self.origin_verdict(found)

    def origin_verdict(self, target: Origin) -> Verdict:
        if target == self.own:
            if target.scheme == "https" or target.is_loopback or self.private:
                return ALLOWED
            return Verdict(False, "plain http is allowed only on this machine or a network marked as private")
        if target.scheme != "https":
            return Verdict(False, f"plain http to {target.host} is not allowed")
        if target.address is not None:
            return Verdict(False, f"{target.host} is a bare address and not this connection's base address")
        if target.port != DEFAULT_PORTS["https"]:
            return Verdict(False, f"port {target.port} of {target.host} is not among this connection's addresses")
        if any(matches(target.host, pattern) for pattern in self.hosts):
            return ALLOWED
        return Verdict(False, f"{target.host} is not among this connection's hosts")

    def address_verdict(self, host: str, port: int, address: str) -> Verdict:
        """May a connection for this host go to this resolved address?"""
        try:
            inner = innermost(ipaddress.ip_address(address.partition("%")[0]))
        except ValueError:
            return Verdict(False, "the name resolves to something that is no address")
        if is_public(inner):
            return ALLOWED
        named = canonical_host(host)
        own = self.own
        if own is None or isinstance(named, str) or (own.host, own.port) != (named[0], port):
            own = None
        if own is not None and own.is_loopback and inner.is_loopback:
            return ALLOWED
        if own is not None and self.private and is_private(inner):
            return ALLOWED
        return Verdict(False, f"{host} resolves to an address that is not on the public internet")


def matches(host: str, pattern: str) -> bool:
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and len(host) > len(pattern) - 1
    return host == pattern


def is_public(address: Address) -> bool:
    return address.is_global and not (address.is_multicast or address.is_reserved or address in METADATA)


def is_private(address: Address) -> bool:
    """The firm's own network: private, shared (RFC 6598) and loopback space, but never link-local or metadata."""
    if address.is_link_local or address.is_multicast or address.is_unspecified or address in METADATA:
        return False
    if isinstance(address, ipaddress.IPv4Address) and address in SHARED:
        return True
    return (address.is_private and not address.is_reserved) or address.is_loopback


class Deadline(threading.local):
    """When the request that this thread is in the middle of must be over, on the monotonic clock.

    httpx limits the time of one read; a vendor that sends one byte now and then would hold a worker for ever.
    Synchronous reads happen in the thread that made the request, so a thread-local reaches every one of them.
    """

    at: float = float("inf")

    def left(self, timeout: float | None) -> float | None:
        if self.at == float("inf"):
            return timeout
        left = self.at - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the whole request took too long")
        return left if timeout is None else min(left, timeout)


DEADLINE = Deadline()


class _TimedStream(httpcore.NetworkStream):
    """A socket whose every read and write ends with the request's deadline."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, DEADLINE.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, DEADLINE.left(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _TimedStream(self._inner.start_tls(ssl_context, server_hostname, DEADLINE.left(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _CheckedBackend(httpcore.NetworkBackend):
    """Resolves, asks the verdict about each address, and connects to an address that was asked about."""

    def __init__(self, egress: Egress) -> None:
        self._egress = egress
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(f"the name {host} does not resolve") from error
        # One bad address condemns the name: a mix of public and private answers is how rebinding looks.
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses:
            if not (verdict := self._egress.address_verdict(host, port, address)).allowed:
                raise refused(verdict)
        trouble: httpcore.ConnectError | httpcore.ConnectTimeout | None = None
        for address in addresses:
            try:
                return _TimedStream(
                    self._inner.connect_tcp(address, port, DEADLINE.left(timeout), local_address, socket_options)
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                trouble = error
        raise trouble or httpcore.ConnectError(f"the name {host} has no address")


def refused(verdict: Verdict) -> Misconfigured:
    return Misconfigured(
        f"A request was not sent: {verdict.why}.",
        remedy="If this host belongs to the vendor, enter it as the connection's base address; else tell the vendor.",
    )


# httpcore's errors by httpx's names; the first match counts, so subclasses stand before their parents.
_TRANSLATED: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
    (httpcore.ConnectTimeout, httpx.ConnectTimeout),
    (httpcore.ReadTimeout, httpx.ReadTimeout),
    (httpcore.WriteTimeout, httpx.WriteTimeout),
    (httpcore.PoolTimeout, httpx.PoolTimeout),
    (httpcore.ConnectError, httpx.ConnectError),
    (httpcore.ReadError, httpx.ReadError),
    (httpcore.WriteError, httpx.WriteError),
    (httpcore.UnsupportedProtocol, httpx.UnsupportedProtocol),
    (httpcore.LocalProtocolError, httpx.LocalProtocolError),
    (httpcore.RemoteProtocolError, httpx.RemoteProtocolError),
)
_HTTPCORE_ERRORS = tuple(source for source, _ in _TRANSLATED)


def _translated(error: Exception) -> httpx.TransportError:
    target = next(target for source, target in _TRANSLATED if isinstance(error, source))
    return target(str(error))


class _Body(httpx.SyncByteStream):
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._inner
        except _HTTPCORE_ERRORS as error:
            raise _translated(error) from error

    def close(self) -> None:
        self._inner.close()


class GuardedTransport(httpx.BaseTransport):
    """An httpx transport over httpcore that connects only where the egress rules allow.

    No proxy and no environment: a proxy would resolve names by itself, and the verdict on addresses would mean
    nothing. SSL_CERT_FILE and SSL_CERT_DIR are honoured, for firms with a certificate authority of their own.
    """

    def __init__(self, egress: Egress, *, connections_max: int = 8) -> None:
        self._egress = egress
        self._pool = httpcore.ConnectionPool(
            ssl_context=tls_context(),
            max_connections=connections_max,
            max_keepalive_connections=connections_max,
            keepalive_expiry=15.0,
            network_backend=_CheckedBackend(egress),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if not (verdict := self._egress.verdict(str(request.url))).allowed:
            raise refused(verdict)
        url = request.url
        try:
            reply = self._pool.handle_request(
                httpcore.Request(
                    method=request.method,
                    url=httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        except _HTTPCORE_ERRORS as error:
            raise _translated(error) from error
        return httpx.Response(
            status_code=reply.status, headers=reply.headers, stream=_Body(reply.stream), extensions=reply.extensions
        )

    def close(self) -> None:
        self._pool.close()


@functools.cache
def tls_context() -> ssl.SSLContext:
    """One for the process: reading the certificate bundle takes tens of milliseconds."""
    return httpx.create_ssl_context(trust_env=True)

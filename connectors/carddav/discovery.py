"""From an address and a log-in to address books: RFC 6764 well-known address, RFC 5397 principal, RFC 6352 home set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from connectors.carddav import dav, wire
from connectors.errors import Misconfigured, ShapeChanged, SyncError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from connectors.carddav.dav import Item
    from connectors.http import VendorHTTP

WANTED = (dav.RESOURCETYPE, dav.DISPLAYNAME, dav.CTAG, dav.REPORTS, dav.PRIVILEGES)
REDIRECTS_MAX = 5
MOVED = (301, 302, 303, 307, 308)
# iCloud spreads its accounts over hosts of its own; elsewhere a log-in goes to one host only.
SPREAD_OVER_HOSTS = ".icloud.com"


@dataclass(frozen=True, slots=True)
class Book:
    """One address book.

    url      of the collection, with a final slash
    name     its display name, or the last part of its path
    syncs    whether it offers sync-collection; None if the server does not say
    writable whether this user may write; True if the server does not say
    ctag     changes with every change in the book; None if the server has none
    """

    url: str
    name: str
    syncs: bool | None
    writable: bool
    ctag: str | None


def find(http: VendorHTTP, settings: Mapping[str, str]) -> tuple[Book, ...]:
    """The address book that the settings name, else all that can be found, in a fixed order.

    Raises Misconfigured when there is none, MissingPermission, or what `VendorHTTP` raises.
    """
    base = dav.resolve(http.base_url + "/", "")
    if named := settings.get("collection"):
        return (describe(http, on_site(base, base, named)),)
    first_error: SyncError | None = None
    for start in _starts(http, base):
        try:
            books = _books_from(http, base, start)
        except (Misconfigured, ShapeChanged) as error:
            first_error = first_error or error
            continue
        if books:
            return books
    if first_error is not None:
        raise Misconfigured(first_error.message, remedy=wire.ADDRESS_REMEDY) from first_error
    raise Misconfigured(
        "This user has no address book.", remedy="Create an address book, or set collection to the address of one."
    )


def describe(http: VendorHTTP, url: str) -> Book:
    """The address book at this address. Raises Misconfigured when something else is there."""
    item = _look(http, url, *WANTED)
    if item is None or not item.is_a(dav.ADDRESSBOOK):
        raise Misconfigured("The collection is not an address book.", remedy=wire.ADDRESS_REMEDY)
    return _book(url, item)


def on_site(base: str, where: str, href: str) -> str:
    """The URL of a collection named by a setting or an answer. Raises Misconfigured for another server's.

    The log-in goes along with every request, so an answer must not be able to send it elsewhere.
    """
    try:
        url = dav.resolve(where, href)
    except dav.NotDav as error:
        raise Misconfigured("An address of the address book is malformed.", remedy=wire.ADDRESS_REMEDY) from error
    home, target = urlsplit(base), urlsplit(url)
    spread = all((parts.hostname or "").endswith(SPREAD_OVER_HOSTS) for parts in (home, target))
    if target.netloc.lower() != home.netloc.lower() and not spread:
        raise Misconfigured(
            "The server points to another server for its address books.",
            remedy="Set base_url to that other server's address, if you trust it.",
        )
    # Behind a proxy that ends TLS, servers write http:// into their answers.
    path = target.path if target.path.endswith("/") else target.path + "/"
    return f"{home.scheme}://{target.netloc}{path}"


def _starts(http: VendorHTTP, base: str) -> Iterator[str]:
    yield base
    where = f"{http.origin}/.well-known/carddav"
    for _ in range(REDIRECTS_MAX):
        reply = http.get(where, headers={"Accept": "*/*"})
        if reply.status not in MOVED or "location" not in reply.headers:
            break
        where = on_site(base, where, reply.headers["location"])
        if not where.endswith("/.well-known/carddav/"):
            yield where
            break
    yield f"{http.origin}/"


def _books_from(http: VendorHTTP, base: str, start: str) -> tuple[Book, ...]:
    item = _look(http, start, dav.PRINCIPAL, dav.HOME, *WANTED)
    if item is None:
        return ()
    if item.is_a(dav.ADDRESSBOOK):
        return (_book(start, item),)
    homes = _hrefs(item, dav.HOME)
    for principal in _hrefs(item, dav.PRINCIPAL) if not homes else []:
        found = _look(http, on_site(base, start, principal), dav.HOME)
        homes += _hrefs(found, dav.HOME) if found else []
    books: dict[str, Book] = {}
    # Without a home set (Synology has no principals), the address itself may hold the books.
    for home in homes or [start]:
        url = on_site(base, start, home)
        for entry in wire.propfind(http, url, "1", *WANTED).items:
            if entry.is_a(dav.ADDRESSBOOK):
                book = _book(on_site(base, url, entry.href), entry)
                books[book.url] = book
    return tuple(books[url] for url in sorted(books))


def _look(http: VendorHTTP, url: str, *names: str) -> Item | None:
    """The properties of one address, following redirects on the same server."""
    for _ in range(REDIRECTS_MAX):
        headers = {**wire.XML, "Depth": "0"}
        reply = http.request("PROPFIND", url, content=dav.propfind(*names), headers=headers)
        if reply.status not in MOVED or "location" not in reply.headers:
            return next(iter(wire.multistatus(reply).items), None)
        url = on_site(url, url, reply.headers["location"])
    raise Misconfigured("The address redirects without end.", remedy=wire.ADDRESS_REMEDY)


def _hrefs(item: Item, name: str) -> list[str]:
    node = item.props.get(name)
    return node.hrefs() if node else []


def _book(url: str, item: Item) -> Book:
    reports, privileges = item.props.get(dav.REPORTS), item.props.get(dav.PRIVILEGES)
    granted = {node.name for held in privileges.children for node in held.children} if privileges else None
    return Book(
        url=url,
        name=item.text(dav.DISPLAYNAME) or url.rstrip("/").rpartition("/")[2],
        syncs=any(True for _ in reports.every(f"{{{dav.DAV}}}sync-collection"))
        if reports and reports.children
        else None,
        writable=granted is None
        or not granted.isdisjoint(f"{{{dav.DAV}}}{name}" for name in ("all", "write", "write-content")),
        ctag=item.text(dav.CTAG),
    )

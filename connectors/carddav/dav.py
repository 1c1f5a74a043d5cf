"""WebDAV and CardDAV messages: XML requests out of values, values out of XML replies. Pure.

Replies come from a server that we do not trust: a document type is refused before any entity can be declared
(no expansion, no external file or address), and nesting and size are bounded. What a status means for the
engine is left to the connector.

RFC 4918 (multistatus), RFC 6578 (sync-collection), RFC 6352 (CardDAV), RFC 5397 (current-user-principal).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import unescape as unescape_html
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import quote, unquote, urljoin, urlsplit
from xml.parsers import expat
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DAV = "DAV:"
CARD = "urn:ietf:params:xml:ns:carddav"
CALENDARSERVER = "http://calendarserver.org/ns/"
PREFIXES = {DAV: "d", CARD: "c", CALENDARSERVER: "s"}

RESOURCETYPE = f"{{{DAV}}}resourcetype"
DISPLAYNAME = f"{{{DAV}}}displayname"
GETETAG = f"{{{DAV}}}getetag"
SYNC_TOKEN = f"{{{DAV}}}sync-token"
CTAG = f"{{{CALENDARSERVER}}}getctag"
PRINCIPAL = f"{{{DAV}}}current-user-principal"
PRIVILEGES = f"{{{DAV}}}current-user-privilege-set"
REPORTS = f"{{{DAV}}}supported-report-set"
HOME = f"{{{CARD}}}addressbook-home-set"
ADDRESSBOOK = f"{{{CARD}}}addressbook"
COLLECTION = f"{{{DAV}}}collection"
ADDRESS_DATA = f"{{{CARD}}}address-data"
HREF = f"{{{DAV}}}href"
STATUS = f"{{{DAV}}}status"
RESPONSE = f"{{{DAV}}}response"
PROPSTAT = f"{{{DAV}}}propstat"
PROP = f"{{{DAV}}}prop"
ERROR = f"{{{DAV}}}error"
MULTISTATUS = f"{{{DAV}}}multistatus"

BYTES_MAX = 64_000_000
DEPTH_MAX = 40
NODES_MAX = 3_000_000
# What may stand unencoded in one part of a path (RFC 3986 pchar), but for ";", which URL libraries treat specially.
PATH_SAFE = "-._~!$&'()*+,=:@"
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class NotDav(ValueError):
    """The reply is no WebDAV message. The text says why, without quoting the reply."""


@dataclass(slots=True)
class Node:
    """An XML element: `name` as "{namespace}local", its own text, its children."""

    name: str
    attributes: dict[str, str] = field(default_factory=dict)
    parts: list[str] = field(default_factory=list)
    children: list[Node] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.parts)

    def child(self, name: str) -> Node | None:
        return next((node for node in self.children if node.name == name), None)

    def all(self, name: str) -> list[Node]:
        return [node for node in self.children if node.name == name]

    def every(self, name: str) -> Iterable[Node]:
        """All descendants of that name."""
        for node in self.children:
            if node.name == name:
                yield node
            yield from node.every(name)

    def hrefs(self) -> list[str]:
        return [node.text.strip() for node in self.every(HREF) if node.text.strip()]


@dataclass(frozen=True, slots=True)
class Item:
    """One <response>: where, the status of the whole (None if it has properties), the properties it does have."""

    href: str
    status: int | None
    props: dict[str, Node]

    def text(self, prop: str) -> str | None:
        """A property's text, or None if it is missing or empty."""
        node = self.props.get(prop)
        return node.text.strip() or None if node else None

    def is_a(self, kind: str) -> bool:
        kinds = self.props.get(RESOURCETYPE)
        return kinds is not None and kinds.child(kind) is not None

    @property
    def etag(self) -> str | None:
        return bare_etag(self.text(GETETAG))


@dataclass(frozen=True, slots=True)
class Multistatus:
    """A 207 reply. `token` is the sync-token at its top level, None if there is none."""

    items: tuple[Item, ...]
    token: str | None


# -- requests


def propfind(*names: str) -> bytes:
    """A PROPFIND for these properties, each "{namespace}local"."""
    return _document(f"<d:propfind{_namespaces()}><d:prop>{_empty(names)}</d:prop></d:propfind>")


def sync_collection(token: str) -> bytes:
    """RFC 6578; an empty token asks for everything.

    Never with DAV:limit: two servers in use cut the answer short and hand out a token that skips the rest.
    """
    inner = f"<d:sync-token>{_text(token)}</d:sync-token><d:sync-level>1</d:sync-level><d:prop><d:getetag/></d:prop>"
    return _document(f"<d:sync-collection{_namespaces()}>{inner}</d:sync-collection>")


def multiget(hrefs: Sequence[str]) -> bytes:
    """RFC 6352, 8.7: etags and bodies of these cards; hrefs are percent-encoded paths."""
    wanted = "".join(f"<d:href>{_text(href)}</d:href>" for href in hrefs)
    inner = f"<d:prop><d:getetag/><c:address-data/></d:prop>{wanted}"
    return _document(f"<c:addressbook-multiget{_namespaces()}>{inner}</c:addressbook-multiget>")


def make_addressbook(name: str) -> bytes:
    """An extended MKCOL (RFC 5689) for an address book with this display name."""
    kind = "<d:resourcetype><d:collection/><c:addressbook/></d:resourcetype>"
    inner = f"<d:set><d:prop>{kind}<d:displayname>{_text(name)}</d:displayname></d:prop></d:set>"
    return _document(f"<d:mkcol{_namespaces()}>{inner}</d:mkcol>")


def _document(root: str) -> bytes:
    return f'<?xml version="1.0" encoding="utf-8"?>\n{root}'.encode()


def _namespaces() -> str:
    return "".join(f' xmlns:{prefix}="{uri}"' for uri, prefix in PREFIXES.items())


def _empty(names: Iterable[str]) -> str:
    found = (name[1:].split("}") for name in names)
    return "".join(f"<{PREFIXES[uri]}:{local}/>" for uri, local in found)


def _text(value: str) -> str:
    return escape(_NOT_XML.sub("", value))


# -- replies


def read_multistatus(content: bytes) -> Multistatus:
    """A 207 body. Raises NotDav."""
    root = read_xml(content)
    if root.name != MULTISTATUS:
        raise NotDav(f"the answer is <{root.name.rpartition('}')[2]}> instead of <multistatus>")
    token = root.child(SYNC_TOKEN)
    items = tuple(item for response in root.all(RESPONSE) for item in _items(response))
    return Multistatus(items, token.text.strip() if token is not None else None)


def _items(response: Node) -> Iterable[Item]:
    whole = response.child(STATUS)
    props: dict[str, Node] = {}
    for propstat in response.all(PROPSTAT):
        status, prop = propstat.child(STATUS), propstat.child(PROP)
        if prop is not None and (status is None or 200 <= read_status(status.text) < 300):
            props.update({node.name: node for node in prop.children})
    status_code = read_status(whole.text) if whole is not None else None
    # A <response> without propstat may name several hrefs (RFC 4918, 14.24).
    for href in response.all(HREF):
        if href.text.strip():
            yield Item(href.text.strip(), status_code, props)


def read_status(line: str) -> int:
    """The number in "HTTP/1.1 404 Not Found". Raises NotDav."""
    match = re.match(r"\s*HTTP/\d(?:\.\d)?\s+(\d{3})\b", line)
    if not match:
        raise NotDav("a status line is malformed")
    return int(match[1])


def read_conditions(content: bytes) -> frozenset[str]:
    """Local names of the elements inside a DAV:error body ("valid-sync-token", "no-uid-conflict").

    Empty for every other body, since error pages of any kind come with any error status.
    """
    try:
        root = read_xml(content)
    except NotDav:
        return frozenset()
    if root.name != ERROR:
        return frozenset()
    return frozenset(node.name.rpartition("}")[2] for node in root.children)


def read_xml(content: bytes) -> Node:
    """The root element. Raises NotDav for anything malformed, too large or too deep, or with a document type."""
    if len(content) > BYTES_MAX:
        raise NotDav("the answer is too large")
    top = Node("")
    stack = [top]
    count = 0
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if len(stack) > DEPTH_MAX or count > NODES_MAX:
            raise NotDav("the answer is nested too deeply or has too many elements")
        node = Node("{" + name if "}" in name else name, attributes)
        stack[-1].children.append(node)
        stack.append(node)

    def end(_: str) -> None:
        stack.pop()

    def characters(text: str) -> None:
        stack[-1].parts.append(text)

    def refuse(*_: object) -> NoReturn:
        raise NotDav("the answer declares a document type")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise error if isinstance(error, NotDav) else NotDav("the answer is not well-formed XML") from error
    return top.children[0]


# -- addresses and versions


def bare_etag(value: str | None) -> str | None:
    """One spelling of an etag: without W/, quotes, entity or percent encoding of the quotes.

    Servers write the same etag differently in XML, in headers, and after a write. None if there is none, or one that
    no header can carry.
    """
    if value is None:
        return None
    tag = unescape_html(value.strip())
    if tag.upper().startswith("%22"):
        tag = unquote(tag)
    tag = tag.removeprefix("W/").strip()
    if len(tag) >= 2 and tag[0] == tag[-1] == '"':
        tag = tag[1:-1]
    return tag if tag and tag.isascii() and tag.isprintable() else None


def header_etag(tag: str) -> str:
    """The etag as If-Match wants it."""
    return f'"{tag}"'


def resolve(base: str, href: str) -> str:
    """The full URL of an href, its path in one percent-encoding. Raises NotDav for what is no http(s) URL."""
    try:
        parts = urlsplit(urljoin(base, href.strip()))
        path = "/".join(quote(unquote(segment), safe=PATH_SAFE) for segment in parts.path.split("/"))
    except ValueError as error:
        raise NotDav("an address in the answer is malformed") from error
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise NotDav("an address in the answer is malformed")
    return f"{parts.scheme}://{parts.netloc}{path or '/'}"


def member(collection: str, href: str) -> str | None:
    """The decoded name of a card inside its collection; None for the collection itself and for other collections.

    Only the last part counts: servers also list members under another spelling of the collection's path.
    """
    url = resolve(collection, href)
    if url.endswith("/") or url == collection.rstrip("/"):
        return None
    return unquote(url.rpartition("/")[2])


def member_url(collection: str, name: str) -> str:
    """The URL of a card: the opposite of `member`. Raises ValueError for names that mean another place."""
    if name in ("", ".", ".."):
        raise ValueError("this is no name of a card")
    return collection + quote(name, safe=PATH_SAFE)

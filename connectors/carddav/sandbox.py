"""A CardDAV server with one user and made-up cards, for the demo, the tests and people who try a mapping.

It answers as Radicale 3.9 was recorded to (statuses, bodies, the order of things), keeps every card's text as it
was sent, and can be given the habits of other servers (`quirks`). The user is demo with password demo, the
address book is /demo/contacts/. Run it: `python -m connectors.carddav.sandbox --port 9103 --state cards.jsonl`.
"""

from __future__ import annotations

import base64
import hashlib
import random
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from xml.sax.saxutils import escape

from connectors.carddav import contentlines, dav, vcards
from connectors.carddav.dav import Node
from connectors.sandbox import Request, Response, Row, Sandbox, main, utc_now

USER = PASSWORD = "demo"
HOME = "/demo/"
BOOK = "/demo/contacts/"
TOKEN = "http://sandbox.example/ns/sync/"
NAMESPACES = f'xmlns="{dav.DAV}" xmlns:CR="{dav.CARD}" xmlns:CS="{dav.CALENDARSERVER}"'
TAGS = {dav.DAV: "", dav.CARD: "CR:", dav.CALENDARSERVER: "CS:"}

QUIRKS = {
    "no-sync": "no sync-collection report (Yahoo, GMX, Zimbra)",
    "no-ctag": "no getctag property",
    "no-multiget": "no addressbook-multiget report",
    "no-report-set": "no supported-report-set property",
    "no-principal": "no current-user-principal; the root lists the address books (Synology)",
    "no-put-etag": "PUT answers without an etag",
    "bare-etags": "etags in XML without quotes (wsgidav)",
    "weak-put-etags": "PUT answers with a weak etag (GMX)",
    "uid-412": "a duplicate UID is answered with 412 instead of 409 (Xandikos)",
    "token-412": "an unknown sync-token is answered with 412 instead of 403 (Xandikos)",
    "silent-token": "an unknown sync-token is answered with an empty list (SOGo, DAViCal, Synology)",
    "lists-itself": "the collection is listed among its members (iCloud)",
    "absolute-hrefs": "hrefs are whole URLs, as a server behind a TLS proxy writes them",
    "odd-hrefs": "hrefs with every letter percent-encoded, and blanks around them",
    "read-only": "the user may not write",
    "rewrites": "cards are stored with their lines sorted, and the etag is that of the stored text (Radicale)",
}

GIVEN = "Ada Grace Emmy Alan Mary Sonia Rosalind Niels Chien Edith Hedy Katherine Lise Max Ruth Thurgood".split()
FAMILY = "Okafor Müller García Nakamura O'Neill Svensson Brontë Haddad Kowalski Lindqvist Marsh Novak Pereira".split()
COMPANY = "Harbor Copper Juniper Granite Meridian Sable Willow Northgate Beacon Alder".split()
BUSINESS = "Holdings,Ltd. & Co.;Partners;Foods, Inc.;Logistics GmbH;Capital LLP;Museum Trust".split(";")
TITLE = "General Counsel;Chief Financial Officer;Director;Head of Procurement;Founder;Claims Manager".split(";")
STREET = "Mill Lane;Station Rd;Elm Street, Suite 4;Harbour View;Old Market;Kings Parade".split(";")
TOWN = "Boston Portland Chicago Dublin Leeds Zürich Lyon Toronto".split()


class CardDavSandbox(Sandbox):
    """`CardDavSandbox(seed=1, size=25)` makes up cards; `cards=[text, ...]` holds these instead.

    quirks       names from QUIRKS
    truncate_at  lists at most this many members in one sync-collection answer, and says so with 507
    """

    name = "carddav"

    def __init__(
        self,
        *,
        seed: int = 1,
        size: int = 25,
        cards: Sequence[str] | None = None,
        quirks: Collection[str] = (),
        truncate_at: int | None = None,
        port: int = 0,
        state: Path | None = None,
        clock: Callable[[], datetime] = utc_now,
        observe: Callable[[Request, Response], None] | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        super().__init__(port=port, state=state, clock=clock, observe=observe, host=host)
        if unknown := set(quirks) - QUIRKS.keys():
            raise ValueError(f"no such quirk: {', '.join(sorted(unknown))}")
        self.quirks = frozenset(quirks)
        self.truncate_at = truncate_at
        if not self.tables:
            self.edit_new_book(BOOK, "Contacts")
            for at, text in enumerate(seeded(seed, size) if cards is None else cards):
                uid = vcards.parse(text)["uid"] or f"card-{at:05d}"
                self.edit_put_card(f"{quote(uid, safe='')}.vcf", text)

    # -- what the server's own users do

    def edit_card(self, href: str, changes: dict[str, Any]) -> None:
        """Change a card: `changes` are top-level properties of its JSON body. `href` is a name or a path."""
        card = self._live(where(href))
        self._store(where(href), vcards.apply(card["text"], changes, revised_at=self.clock()))

    def edit_new_card(self, body: dict[str, Any]) -> str:
        """Make a card; gives its name in the address book."""
        uid = body.get("uid") or str(uuid.uuid5(uuid.NAMESPACE_URL, f"{TOKEN}{self.next_id('cards')}"))
        rev = self.clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        self._store(where(f"{uid}.vcf"), vcards.serialise({**body, "uid": uid, "rev": rev}))
        return f"{uid}.vcf"

    def edit_put_card(self, href: str, text: str) -> None:
        """Put a whole card, new or not, as another program would."""
        self._store(where(href), text)

    def edit_delete_card(self, href: str) -> None:
        self._remove(where(href))

    def edit_new_book(self, path: str, name: str) -> None:
        self.tables["books"][path] = {"name": name, "seq": 0, "since": 0}

    def edit_forget_tokens(self, path: str = BOOK) -> None:
        """All sync-tokens given so far become invalid."""
        book = self.tables["books"][path]
        book["seq"] += 1
        book["since"] = book["seq"]

    def card(self, href: str) -> str:
        """A card's text. Raises KeyError if there is none."""
        with self.lock:
            return str(self._live(where(href))["text"])

    def names(self, path: str = BOOK) -> list[str]:
        """The names of all cards in a book, sorted."""
        with self.lock:
            return sorted(href.removeprefix(path) for href in self._members(path))

    def _live(self, path: str) -> Row:
        row = self.tables["cards"].get(path)
        if row is None or row["deleted"]:
            raise KeyError(path)
        return dict(row)

    def _members(self, book: str) -> list[str]:
        rows = self.tables["cards"].items()
        return sorted(path for path, row in rows if row["book"] == book and not row["deleted"])

    def _store(self, path: str, text: str) -> str:
        if "rewrites" in self.quirks:
            head, *content, end = [line.raw for line in contentlines.cut(text)]
            text = "".join([head, *sorted(content), end])
        book = self.tables["books"][path.rpartition("/")[0] + "/"]
        book["seq"] += 1
        etag = hashlib.sha256(text.encode()).hexdigest()
        self.tables["cards"][path] = {
            "book": path.rpartition("/")[0] + "/",
            "text": text,
            "uid": vcards.parse(text)["uid"],
            "etag": etag,
            "seq": book["seq"],
            "deleted": False,
        }
        return etag

    def _remove(self, path: str) -> None:
        card = self._live(path)
        book = self.tables["books"][card["book"]]
        book["seq"] += 1
        self.tables["cards"][path] = {**card, "text": "", "seq": book["seq"], "deleted": True}

    # -- the protocol

    def respond(self, request: Request) -> Response:
        if request.path == "/.well-known/carddav":
            return Response(301, b"Redirected to /", {"Location": "/", "Content-Type": "text/plain"})
        if (
            request.headers.get("authorization", "")
            != f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"
        ):
            return Response(401, b"Access denied.", {"WWW-Authenticate": 'Basic realm="sandbox"'})
        answer = {
            "OPTIONS": self._options,
            "PROPFIND": self._propfind,
            "REPORT": self._report,
            "GET": self._get,
            "HEAD": self._get,
            "PUT": self._put,
            "DELETE": self._delete,
            "MKCOL": self._mkcol,
        }.get(request.method)
        if answer is None:
            return Response(405, b"Method not allowed.", {"Content-Type": "text/plain"})
        try:
            return answer(request)
        except dav.NotDav:
            return Response(400, b"Bad request.", {"Content-Type": "text/plain"})

    def _options(self, request: Request) -> Response:
        allow = "DELETE, GET, HEAD, MKCOL, OPTIONS, PROPFIND, PUT, REPORT"
        return Response(200, b"", {"Allow": allow, "DAV": "1, 2, 3, addressbook, extended-mkcol"})

    def _propfind(self, request: Request) -> Response:
        depth = request.headers.get("depth", "infinity")
        if depth not in ("0", "1"):
            return failed(403, "propfind-finite-depth")
        path = request.path
        if self._kind(path) is None:
            return Response(404, b"Not found.", {"Content-Type": "text/plain"})
        paths = [path]
        if depth == "1" and path == HOME:
            paths += sorted(self.tables["books"])
        elif depth == "1" and path == "/":
            paths += sorted(self.tables["books"]) if "no-principal" in self.quirks else [HOME]
        elif depth == "1" and path in self.tables["books"]:
            paths += self._members(path)
        names = None
        if request.body:
            prop = dav.read_xml(request.body).child(dav.PROP)
            names = [node.name for node in prop.children] if prop else None
        return multistatus("".join(self._item(path, names) for path in paths))

    def _kind(self, path: str) -> str | None:
        if path == "/":
            return "root"
        if path == HOME:
            return "home"
        if path in self.tables["books"]:
            return "book"
        row = self.tables["cards"].get(path)
        return "card" if row is not None and not row["deleted"] else None

    def _item(self, path: str, names: Sequence[str] | None) -> str:
        has = self._properties(path)
        names = [name for name in has if name != dav.ADDRESS_DATA] if names is None else names
        found = "".join(tagged(name, has[name]) for name in names if name in has)
        missing = "".join(tagged(name, "") for name in names if name not in has)
        parts = propstat(found, "200 OK") if found else ""
        parts += propstat(missing, "404 Not Found") if missing else ""
        return f"<response><href>{self._href(path)}</href>{parts}</response>"

    def _properties(self, path: str) -> dict[str, str]:
        kind = self._kind(path)
        if kind == "card":
            card = self._live(path)
            etag = card["etag"] if "bare-etags" in self.quirks else f'"{card["etag"]}"'
            return {
                dav.RESOURCETYPE: "",
                dav.GETETAG: escape(etag),
                f"{{{dav.DAV}}}getcontenttype": "text/vcard; charset=utf-8",
                dav.ADDRESS_DATA: escape(contentlines.clean(card["text"])),
            }
        has = {dav.RESOURCETYPE: "<collection />"}
        if "no-principal" not in self.quirks:
            has[dav.PRINCIPAL] = f"<href>{HOME}</href>"
        if kind == "home":
            has[dav.RESOURCETYPE] = "<principal /><collection />"
            has[dav.HOME] = f"<href>{HOME}</href>"
        if kind == "book":
            book = self.tables["books"][path]
            reports = ["CR:addressbook-multiget", "CR:addressbook-query"]
            rights = ["read"] if "read-only" in self.quirks else ["all", "read", "write", "write-content", "bind"]
            has[dav.RESOURCETYPE] = "<CR:addressbook /><collection />"
            has[dav.DISPLAYNAME] = escape(book["name"])
            if "no-ctag" not in self.quirks:
                has[dav.CTAG] = f'"{book["seq"]}"'
            if "no-sync" not in self.quirks:
                reports.append("sync-collection")
                has[dav.SYNC_TOKEN] = f"{TOKEN}{book['seq']}"
            listed = (f"<supported-report><report><{name} /></report></supported-report>" for name in reports)
            if "no-report-set" not in self.quirks:
                has[dav.REPORTS] = "".join(listed)
            has[dav.PRIVILEGES] = "".join(f"<privilege><{right} /></privilege>" for right in rights)
        return has

    def _href(self, path: str) -> str:
        href = quote(path, safe=f"/{dav.PATH_SAFE}")
        if "odd-hrefs" in self.quirks:
            href = "/".join("".join(f"%{octet:02x}" for octet in part.encode()) for part in path.split("/"))
            return f"\n  {href}\n"
        # The scheme of the server itself, which a proxy in front of it has replaced.
        return escape(f"https{self.url.removeprefix('http')}{href}" if "absolute-hrefs" in self.quirks else href)

    def _report(self, request: Request) -> Response:
        if request.path not in self.tables["books"]:
            return Response(404, b"Not found.", {"Content-Type": "text/plain"})
        asked = dav.read_xml(request.body)
        report = asked.name.rpartition("}")[2]
        if report == "sync-collection" and "no-sync" not in self.quirks:
            return self._sync(request.path, asked)
        if report == "addressbook-multiget" and "no-multiget" not in self.quirks:
            return self._multiget(asked)
        if report == "addressbook-query":
            matching = [path for path in self._members(request.path) if self._matches(path, asked)]
            return multistatus("".join(self._item(path, wanted(asked)) for path in matching))
        return failed(403, "supported-report")

    def _sync(self, path: str, asked: Node) -> Response:
        book = self.tables["books"][path]
        node = asked.child(dav.SYNC_TOKEN)
        token = node.text.strip() if node else ""
        number = token.removeprefix(TOKEN)
        since = int(number) if number.isascii() and number.isdigit() else -1
        if token and not (token.startswith(TOKEN) and book["since"] <= since <= book["seq"]):
            if "silent-token" in self.quirks:
                return multistatus("", f"{TOKEN}{book['seq']}")
            return failed(412 if "token-412" in self.quirks else 403, "valid-sync-token")
        rows = [(row["seq"], at) for at, row in self.tables["cards"].items() if row["book"] == path]
        changed = sorted((seq, at) for seq, at in rows if seq > since and (token or self._kind(at)))
        end, more = book["seq"], ""
        if self.truncate_at is not None and len(changed) > self.truncate_at:
            changed = changed[: self.truncate_at]
            end = changed[-1][0]
            limit = "<error><number-of-matches-within-limits /></error>"
            more = f"<response><href>{self._href(path)}</href><status>HTTP/1.1 507 x</status>{limit}</response>"
        if "lists-itself" in self.quirks:
            more += self._item(path, [dav.DISPLAYNAME])
        items = "".join(self._item(at, wanted(asked)) if self._kind(at) else self._gone(at) for _, at in changed)
        return multistatus(items + more, f"{TOKEN}{end}")

    def _multiget(self, asked: Node) -> Response:
        paths = [unquote(urlsplit(node.text.strip()).path) for node in asked.all(dav.HREF)]
        found = (self._item(path, wanted(asked)) if self._kind(path) else self._gone(path) for path in paths)
        return multistatus("".join(found))

    def _gone(self, path: str) -> str:
        return f"<response><href>{self._href(path)}</href><status>HTTP/1.1 404 Not Found</status></response>"

    def _matches(self, path: str, asked: Node) -> bool:
        """addressbook-query with prop-filters, each with at most one text-match ("contains"); all must hold."""
        lines = contentlines.cut(self._live(path)["text"])
        for prop in asked.every(f"{{{dav.CARD}}}prop-filter"):
            match = prop.child(f"{{{dav.CARD}}}text-match")
            name = prop.attributes.get("name", "").upper()
            text = match.text.casefold() if match else ""
            if not any(line.name == name and text in line.value.casefold() for line in lines):
                return False
        return True

    def _get(self, request: Request) -> Response:
        if self._kind(request.path) != "card":
            return Response(404, b"Not found.", {"Content-Type": "text/plain"})
        card = self._live(request.path)
        headers = {"Content-Type": "text/vcard; charset=utf-8", "ETag": f'"{card["etag"]}"'}
        return Response(200, card["text"].encode(), headers)

    def _put(self, request: Request) -> Response:
        path = request.path
        book = path.rpartition("/")[0] + "/"
        if book not in self.tables["books"] or path == book:
            return Response(409, b"No such collection.", {"Content-Type": "text/plain"})
        if "read-only" in self.quirks:
            return failed(403, "need-privileges")
        exists = self._kind(path) == "card"
        if (answer := self._guarded(request, exists)) is not None:
            return answer
        try:
            text = request.body.decode()
            uid = vcards.parse(text)["uid"]
        except ValueError:
            return failed(403, "CR:valid-address-data")
        twins = (at for at in self._members(book) if at != path and uid is not None and self._live(at)["uid"] == uid)
        if next(twins, None) is not None:
            return failed(412 if "uid-412" in self.quirks else 409, "CR:no-uid-conflict")
        etag = self._store(path, text)
        self.wrote(f"{'updated' if exists else 'created'} cards/{path.removeprefix(BOOK)}")
        headers = {} if "no-put-etag" in self.quirks else {"ETag": f'"{etag}"'}
        if "weak-put-etags" in self.quirks:
            headers = {"ETag": f'W/"{etag}"'}
        return Response(204 if exists else 201, b"", headers)

    def _delete(self, request: Request) -> Response:
        path = request.path
        if self._kind(path) != "card":
            return Response(404, b"Not found.", {"Content-Type": "text/plain"})
        if "read-only" in self.quirks:
            return failed(403, "need-privileges")
        if (answer := self._guarded(request, True)) is not None:
            return answer
        self._remove(path)
        self.wrote(f"deleted cards/{path.removeprefix(BOOK)}")
        return multistatus(
            f"<response><href>{self._href(path)}</href><status>HTTP/1.1 200 OK</status></response>", status=200
        )

    def _guarded(self, request: Request, exists: bool) -> Response | None:
        """412 where If-Match or If-None-Match forbids the write. If-Match: * is compared literally, as by Radicale."""
        etag = f'"{self._live(request.path)["etag"]}"' if exists else ""
        match = request.headers.get("if-match")
        none_match = request.headers.get("if-none-match")
        if (match is not None and match != etag) or (none_match is not None and exists and none_match in ("*", etag)):
            return Response(412, b"Precondition failed.", {"Content-Type": "text/plain"})
        return None

    def _mkcol(self, request: Request) -> Response:
        path = request.path if request.path.endswith("/") else request.path + "/"
        if self._kind(path) is not None:
            return failed(405, "resource-must-be-null")
        if path.rstrip("/").rpartition("/")[0] + "/" != HOME or "read-only" in self.quirks:
            return Response(403, b"Only below your own collection.", {"Content-Type": "text/plain"})
        asked = dav.read_xml(request.body) if request.body else Node("")
        if not any(True for _ in asked.every(dav.ADDRESSBOOK)):
            return failed(403, "valid-resourcetype")
        name = next((node.text for node in asked.every(dav.DISPLAYNAME)), "")
        self.edit_new_book(path, name)
        return Response(201)


def where(href: str) -> str:
    """A card's path from its name or its path."""
    return href if href.startswith("/") else BOOK + href


def tagged(name: str, content: str) -> str:
    uri, _, local = name[1:].partition("}")
    if uri not in TAGS:
        return f'<x:{local} xmlns:x="{escape(uri)}">{content}</x:{local}>'
    return f"<{TAGS[uri]}{local}>{content}</{TAGS[uri]}{local}>" if content else f"<{TAGS[uri]}{local} />"


def propstat(props: str, status: str) -> str:
    return f"<propstat><prop>{props}</prop><status>HTTP/1.1 {status}</status></propstat>"


def multistatus(items: str, token: str | None = None, status: int = 207) -> Response:
    sync = f"<sync-token>{token}</sync-token>" if token is not None else ""
    return xml(status, f"<multistatus {NAMESPACES}>{sync}{items}</multistatus>")


def failed(status: int, condition: str) -> Response:
    return xml(status, f"<error {NAMESPACES}><{condition} /></error>")


def xml(status: int, root: str) -> Response:
    body = f"<?xml version='1.0' encoding='utf-8'?>\n{root}".encode()
    return Response(status, body, {"Content-Type": "text/xml; charset=utf-8", "DAV": "1, 2, 3, addressbook"})


def wanted(asked: Node) -> list[str]:
    prop = asked.child(dav.PROP)
    return [node.name for node in prop.children] if prop else [dav.GETETAG]


def seeded(seed: int, size: int) -> Iterator[str]:
    """Card texts, the same for the same seed: people and companies, with what real cards hold beside our fields."""
    draw = random.Random(seed)
    for at in range(size):
        uid = str(uuid.UUID(int=draw.getrandbits(128), version=4))
        yield company_card(draw, uid, at) if at % 6 == 5 else person_card(draw, uid, at)


def person_card(draw: random.Random, uid: str, at: int) -> str:
    given, family = draw.choice(GIVEN), draw.choice(FAMILY)
    plain = f"{given}.{family}{at}".encode("ascii", "ignore").decode().lower()
    employer = f"{draw.choice(COMPANY)} {draw.choice(BUSINESS)}"
    body: Mapping[str, Any] = {
        "uid": uid,
        "version": "4.0" if at % 8 == 7 else "3.0",
        "fn": f"{given} {family}",
        "n": {"family": family, "given": given, "prefix": draw.choice([None, None, "Dr."])},
        "org": [employer, *draw.choice([[], ["Legal"]])],
        "title": draw.choice(TITLE),
        "emails": [{"value": f"{plain}@example.com", "types": ["work"], "pref": True}],
        "tels": [{"value": f"(212) 555-01{draw.randrange(100):02d}", "types": ["cell"], "pref": False}],
        "adrs": [address(draw)] if draw.random() < 0.6 else [],
        "bday": f"19{draw.randrange(40, 99)}-0{draw.randrange(1, 10)}-1{draw.randrange(10)}" if at % 5 == 0 else None,
    }
    text = vcards.serialise(body)
    extra = ["X-SANDBOX-TAG:do not touch\r\n"]
    if at % 3 == 0:
        extra.append("NOTE:Private. Met at the gala; prefers calls after six.\r\n")
    if at % 4 == 0:
        extra += [f"item1.EMAIL;TYPE=INTERNET:{plain}@example.net\r\n", "item1.X-ABLabel:Assistant\r\n"]
    if at % 7 == 0:
        photo = base64.b64encode(draw.randbytes(900)).decode()
        extra.append(contentlines.render_escaped("PHOTO", ("ENCODING=b", "TYPE=JPEG"), photo, "\r\n").raw)
    return text.replace("END:VCARD", "".join(extra) + "END:VCARD")


def company_card(draw: random.Random, uid: str, at: int) -> str:
    name = f"{draw.choice(COMPANY)} {draw.choice(BUSINESS)}"
    return vcards.serialise(
        {
            "uid": uid,
            "kind": "org",
            "fn": name,
            "org": [name],
            "emails": [{"value": f"office{at}@example.org", "types": ["work"], "pref": False}],
            "tels": [{"value": f"+1 312 555 01{draw.randrange(100):02d}", "types": ["work"], "pref": False}],
            "adrs": [address(draw)],
            "urls": [{"value": f"https://company{at}.example.org/", "types": [], "pref": False}],
        }
    )


def address(draw: random.Random) -> dict[str, Any]:
    street = f"{draw.randrange(1, 200)} {draw.choice(STREET)}"
    code = f"{draw.randrange(10_000, 99_999)}"
    return {"street": street, "locality": draw.choice(TOWN), "code": code, "country": "US", "types": ["work"]}


if __name__ == "__main__":
    main(CardDavSandbox)

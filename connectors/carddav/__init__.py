"""CardDAV address books (Nextcloud, Radicale, iCloud, Fastmail, SOGo, ...): one vCard is one record of `cards`.

Written from RFC 6352, 6578, 5397 and 6764; run against Radicale 3.9 in the tests. The body of a record is the
JSON of `vcards`, never the card's text: photos are large and notes are private. So an update reads the card
again, edits its text and writes it under the etag it was read with. What each server gets wrong is handled
where it shows and described in README.md; statuses are translated in `wire`, addresses are found in `discovery`.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from connectors.carddav import dav, discovery, vcards, wire
from connectors.contract import (
    Access,
    Account,
    Checked,
    Create,
    Cursor,
    Delete,
    Facts,
    Finding,
    OperationKey,
    Page,
    Record,
    Resource,
    Setting,
    Spec,
    Update,
    Version,
)
from connectors.errors import (
    CursorExpired,
    Misconfigured,
    ReconnectNeeded,
    Refused,
    ShapeChanged,
    Stale,
    SyncError,
    UnknownOutcome,
    Unreachable,
)
from connectors.http import Reply, VendorHTTP, utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from connectors.carddav.discovery import Book

BATCH = 50
LISTED = 500
# The name space of card ids made from operation keys: the same key must give the same address for ever.
OWN_IDS = uuid.UUID("0c9ee5a4-6d6f-5b0f-9a3c-7a0de3f2b6d1")

SPEC = Spec(
    name="carddav",
    title="CardDAV address book",
    docs="https://www.rfc-editor.org/rfc/rfc6352",
    zone="mail",
    hosts=("*.icloud.com",),
    settings=(
        Setting("base_url", "the server's CardDAV address, or an address book's own address"),
        Setting("username", "the user whose address book it is"),
        Setting("password", "an app password where the server offers them", secret=True),
        Setting("collection", "the address book's address or path; else the first one found", required=False),
    ),
    resources=(Resource("cards"),),
    facts=Facts(
        write_guard="version", repeat_guard="own-id", deletions="feed", batch_max=1, fetch_max=BATCH, page_max=BATCH
    ),
)


class CardDAV:
    """One address book. `http` is rooted at `access(settings).base_url`; everything else is found from there."""

    spec: ClassVar[Spec] = SPEC

    def __init__(self, http: VendorHTTP, settings: Mapping[str, str]) -> None:
        self.http = http
        self.settings = settings
        self._found: Book | None = None

    @staticmethod
    def access(settings: Mapping[str, str]) -> Access:
        """HTTP Basic, as every CardDAV server in wide use offers it."""
        given = (settings.get("base_url") or "").strip().rstrip("/")
        if not given.startswith(("https://", "http://")):
            raise Misconfigured("base_url must be the server's https address.", remedy=wire.ADDRESS_REMEDY)
        return Access(base_url=given, scheme="basic")

    def check(self) -> Checked:
        """Finds the address book and names what would hinder a sync; writes nothing."""
        try:
            books = discovery.find(self.http, self.settings)
        except Unreachable as error:
            remedy = "Check base_url, and that this machine may reach the server."
            raise Unreachable(error.message, remedy=remedy) from error
        except ReconnectNeeded as error:
            remedy = "Check username and password; iCloud, Fastmail and others want an app password."
            raise ReconnectNeeded(error.message, remedy=remedy) from error
        except ShapeChanged as error:
            raise Misconfigured(error.message, remedy=wire.ADDRESS_REMEDY) from error
        book = books[0]
        place = urlsplit(book.url)
        label = f"{book.name} ({self.settings.get('username', '')} at {place.hostname})"
        return Checked(Account(f"{place.netloc}{place.path}", label), tuple(self._findings(books)))

    def _findings(self, books: Sequence[Book]) -> Iterator[Finding]:
        book = books[0]
        if not book.writable:
            what = "This user may read the address book but not change it."
            yield Finding("error", what, "Give this user write access to the address book.")
        if book.syncs is False:
            what = "The server offers no sync-collection: every change costs a full listing, deletions show late."
            yield Finding("warning", what, "Nothing to do, or move to a server that offers RFC 6578.")
        if len(books) > 1:
            what = f"The user has {len(books)} address books; {urlsplit(book.url).path} is used."
            yield Finding("warning", what, "Set collection to the path of the one that you want.")
        if urlsplit(book.url).scheme == "http" and urlsplit(book.url).hostname not in ("127.0.0.1", "localhost", "::1"):
            yield Finding("warning", "The password travels unencrypted (http).", "Use an https address.")

    def pull(self, resource: str, since: Cursor | None) -> Iterator[Page]:
        book = self._book()
        place = Place.of(since, book)
        if place.token is not None:
            try:
                delta = self._delta(book, place.token)
            except NoSync:
                if place.token:
                    raise CursorExpired("The server no longer offers sync-collection.") from None
                place = replace(place, token=None)
            else:
                yield from self._pull_changes(book, place, delta)
                return
        yield from self._pull_listing(book, place)

    def _pull_changes(self, book: Book, place: Place, delta: Delta) -> Iterator[Page]:
        """Everything in the delta. A later pull may go on in the middle: it asks from the old token again, skips the
        names that it had, and then stores the token of the *first* answer, so changes in between come once more.
        """
        is_quiet = not (delta.changed or delta.removed or delta.truncated)
        if is_quiet and place.after is None and None not in (place.ctag, book.ctag) and place.ctag != book.ctag:
            # SOGo, DAViCal, Synology and others answer a token that they forgot with "nothing changed".
            raise CursorExpired("The address book changed, yet the server reports no change since the last pull.")
        if delta.truncated:
            # Which part comes first is the server's choice, so a half-read part can only be read anew.
            place = replace(place, after=None, next=None)
        while True:
            end = place.next or delta.token
            names = [name for name in sorted(delta.changed) if place.after is None or name > place.after]
            for batch in batches(names, BATCH):
                onward = None if delta.truncated else replace(place, after=batch[-1], next=end).cursor()
                yield Page(tuple(self._read(batch)), onward)
            for batch in batches(sorted(delta.removed) if place.token else [], BATCH):
                yield Page(tuple(tombstone(name) for name in batch), None)
            if not delta.truncated:
                break
            if delta.token == place.token:
                raise ShapeChanged("The server cuts its list of changes short and gives no way to go on.")
            place = replace(place, token=delta.token)
            yield Page((), place.cursor())
            delta = self._delta(book, delta.token)
        # Read after the changes: a change in between then shows in the next delta, never as a false alarm above.
        ctag = book.ctag if is_quiet else self._book().ctag
        yield Page((), Place(place.book, end, ctag).cursor())

    def _pull_listing(self, book: Book, place: Place) -> Iterator[Page]:
        """The way without sync-collection: nothing if the ctag stands still, else every card."""
        if place.after is None and place.ctag is not None and place.ctag == book.ctag:
            yield Page((), place.cursor())
            return
        end = place.next if place.after is not None else book.ctag
        names = [name for name in self._names(book.url) if place.after is None or name > place.after]
        for batch in batches(names, BATCH):
            yield Page(tuple(self._read(batch)), replace(place, after=batch[-1], next=end).cursor())
        yield Page((), Place(place.book, None, end).cursor())

    def fetch(self, resource: str, ids: Sequence[str]) -> tuple[Record, ...]:
        return tuple(record for batch in batches(ids, BATCH) for record in self._read(batch))

    def ids(self, resource: str) -> Iterator[tuple[str, ...]]:
        for batch in batches(self._names(self._url()), LISTED):
            yield tuple(batch)

    def create(self, resource: str, create: Create) -> Record:
        """The key decides the card's UID and address, so a second create of the same key meets the first one's card."""
        name = own_name(create.key)
        text = written(
            vcards.serialise, {**create.body, "uid": own_id(create.key), "rev": f"{utc_now():%Y-%m-%dT%H:%M:%SZ}"}
        )
        reply = self._put(name, text, {"If-None-Match": "*"})
        if reply.status in (200, 201, 204):
            return self._as_written(name, text, reply)
        there = self._get(name) if reply.status == 412 else None
        if there is not None and there.record.body.get("uid") == own_id(create.key):
            return there.record
        raise wire.refusal(reply)

    def update(self, resource: str, update: Update) -> Record:
        """Edit the card's own text, so that whatever we do not know about stays."""
        name, expected = update.current.id, update.current.version
        card = self._get(name)
        if card is None:
            raise Stale("The card was deleted since it was read.")
        version = card.record.version
        if version is None:
            raise Refused("The server gives the card no etag, so a change could overwrite another one.", code="no-etag")
        if expected is not None and version != expected:
            raise Stale("Somebody changed the card since it was read.")
        text = written(vcards.apply, card.text, update.changes, revised_at=utc_now())
        if text == card.text:
            return card.record
        reply = self._put(name, text, {"If-Match": dav.header_etag(version)})
        if reply.status in (200, 201, 204):
            return self._as_written(name, text, reply)
        raise wire.refusal(reply)

    def delete(self, resource: str, delete: Delete) -> None:
        name, version = delete.current.id, delete.current.version
        if version is None:
            card = self._get(name)
            if card is None:
                return
            version = card.record.version
        guard = {"If-Match": dav.header_etag(version)} if version is not None else {}
        reply = self.http.request("DELETE", dav.member_url(self._url(), name), headers=guard)
        statuses = {reply.status}
        if reply.status == 207:
            statuses = {item.status for item in wire.multistatus(reply).items if item.status is not None}
        if statuses <= {200, 202, 204, 404, 410}:
            return
        if reply.status == 412 and self._get(name) is None:
            return  # a guard on a card that is gone fails, too (RFC 9110, 13.1.1)
        if reply.status == 207:
            reply = replace(reply, status=max(statuses), content=b"")
        raise wire.refusal(reply)

    def find(self, resource: str, create: Create) -> tuple[Record, ...]:
        card = self._get(own_name(create.key))
        return () if card is None else (card.record,)

    # -- one request each

    def _book(self) -> Book:
        """The address book as it is now."""
        if self._found is None:
            self._found = discovery.find(self.http, self.settings)[0]
        else:
            self._found = discovery.describe(self.http, self._found.url)
        return self._found

    def _url(self) -> str:
        if self._found is not None:
            return self._found.url
        if named := self.settings.get("collection"):
            base = dav.resolve(self.http.base_url + "/", "")
            return discovery.on_site(base, base, named)
        return self._book().url

    def _delta(self, book: Book, token: str) -> Delta:
        reply = wire.report(self.http, book.url, dav.sync_collection(token), depth="0")
        if "valid-sync-token" in dav.read_conditions(reply.content) or (token and reply.status in (409, 410, 412, 418)):
            raise CursorExpired("The server no longer knows the place where the last pull ended.")
        if book.syncs is not True and wire.lacks_report(reply):
            raise NoSync
        answer = wire.multistatus(reply)
        if not answer.token:
            raise ShapeChanged("The server's list of changes has no sync-token.")
        delta = Delta(answer.token)
        for item in answer.items:
            name = dav.member(book.url, item.href)
            if item.status == 507:
                delta.truncated = True
            elif name is not None:
                (delta.removed if item.status in (404, 410) else delta.changed).add(name)
        delta.removed -= delta.changed
        return delta

    def _names(self, url: str) -> list[str]:
        """All cards of the book, sorted."""
        items = wire.propfind(self.http, url, "1", dav.RESOURCETYPE, dav.GETETAG).items
        if any(item.status == 507 for item in items):
            raise ShapeChanged("The server cuts its listing short.")
        found = {dav.member(url, item.href) for item in items if not item.is_a(dav.COLLECTION)}
        return sorted(name for name in found if name is not None)

    def _read(self, names: Sequence[str]) -> Iterator[Record]:
        """Cards by one multiget, in the order of names. A card that the answer leaves out is asked for by itself."""
        url = self._url()
        hrefs = [urlsplit(dav.member_url(url, name)).path for name in names]
        reply = wire.report(self.http, url, dav.multiget(hrefs), depth="1")
        found: dict[str, Record] = {}
        for item in () if wire.lacks_report(reply) else wire.multistatus(reply).items:
            name, data = dav.member(url, item.href), item.props.get(dav.ADDRESS_DATA)
            if name is not None and item.status in (404, 410):
                found[name] = tombstone(name)
            elif name is not None and data is not None and data.text.strip():
                found[name] = record(name, item.etag, data.text)
        for name in names:
            if name not in found:
                card = self._get(name)
                found[name] = tombstone(name) if card is None else card.record
            yield found[name]

    def _get(self, name: str) -> Card | None:
        reply = self.http.get(dav.member_url(self._url(), name), headers=wire.CARD)
        if reply.status in (404, 410):
            return None
        if reply.status != 200 or "html" in reply.headers.get("content-type", ""):
            raise wire.trouble(reply)
        # Bytes that are not UTF-8 pass through an update unchanged as surrogate escapes.
        text = reply.content.decode("utf-8", "surrogateescape")
        return Card(record(name, wire.etag(reply), text), text)

    def _put(self, name: str, text: str, guard: Mapping[str, str]) -> Reply:
        headers = {**guard, "Content-Type": "text/vcard; charset=utf-8"}
        content = text.encode("utf-8", "surrogateescape")
        return self.http.put(dav.member_url(self._url(), name), content=content, headers=headers)

    def _as_written(self, name: str, text: str, reply: Reply) -> Record:
        """The card after our PUT, as the server has it: servers re-write cards, even those that give an etag at once.

        If somebody else's change came in between, ours is given, so that theirs is seen as an edit by the next pull.
        """
        version = wire.etag(reply)
        ours = record(name, version, text)
        try:
            now = self._get(name)
        except SyncError as error:
            if version is not None:
                return ours
            raise UnknownOutcome("The card was written, and then could not be read back.") from error
        return now.record if now is not None and version in (None, now.record.version) else ours


class NoSync(Exception):
    """The server does not know the sync-collection report."""


@dataclass(frozen=True, slots=True)
class Card:
    record: Record
    text: str


@dataclass(slots=True)
class Delta:
    """What one sync-collection answer lists. truncated: ask again with the token for the rest."""

    token: str
    changed: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """What a cursor says.

    book   the path of the address book; a token of another book means nothing
    token  the sync-token that the pull started from, "" for the first pull; None on a server without sync
    ctag   the book's ctag at that time, if the server has ctags
    after  names up to this one were read already; the pull was left in its middle
    next   token (or ctag) to go on from once the rest is read
    """

    book: str
    token: str | None
    ctag: str | None = None
    after: str | None = None
    next: str | None = None

    def cursor(self) -> Cursor:
        return Cursor(json.dumps({key: value for key, value in asdict(self).items() if value is not None}))

    @classmethod
    def of(cls, since: Cursor | None, book: Book) -> Place:
        """Where to start. Raises CursorExpired for what is no cursor of ours, Misconfigured for another book's."""
        path = urlsplit(book.url).path
        if since is None:
            return cls(path, None if book.syncs is False else "")
        try:
            kept = json.loads(since)
            place = cls(*(kept.get(key) for key in ("book", "token", "ctag", "after", "next")))
        except (ValueError, AttributeError) as error:
            raise CursorExpired("The stored place in the address book cannot be read.") from error
        if place.book != path:
            raise Misconfigured(
                "The address book is another one than before.",
                remedy=f"Set collection to {place.book}, or connect the other address book separately.",
            )
        if book.syncs is not None and book.syncs is (place.token is None):
            raise CursorExpired("The server changed how it reports changes.")
        return place


def own_id(key: OperationKey) -> str:
    return str(uuid.uuid5(OWN_IDS, key))


def own_name(key: OperationKey) -> str:
    return f"{own_id(key)}.vcf"


def tombstone(name: str) -> Record:
    return Record(name, None, {}, deleted=True)


def record(name: str, etag: str | None, text: str) -> Record:
    """A card as a record. One that cannot be read is of a kind that no mapping takes, so nothing counts as emptied."""
    try:
        body = vcards.parse(text)
    except vcards.NotACard:
        body = {"kind": "unreadable"}
    return Record(name, None if etag is None else Version(etag), body)


def written(edit: Callable[..., str], *values: Any, **options: Any) -> str:
    """The text that an edit gives. Raises Refused for what no card can carry."""
    try:
        return edit(*values, **options)
    except vcards.CannotWrite as error:
        raise Refused(
            f"The card cannot hold this {error.field}.", remedy="Correct the value.", fields=(error.field,)
        ) from error
    except vcards.NotACard as error:
        raise Refused(
            "The card on the server cannot be read.", remedy="Open and save it in its own program."
        ) from error


def batches(names: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (names[at : at + size] for at in range(0, len(names), size))

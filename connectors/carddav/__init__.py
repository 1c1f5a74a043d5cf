"""CardDAV address books (Nextcloud, Radicale, iCloud, Fastmail, SOGo, ...): one vCard is one record of `cards`.

Written from RFC 6352, 6578, 5397 and 6764; run against Radicale 3.9 in the tests. The body of a record is the
JSON of `vcards`, never the card's text: photos are large and notes are private. So an update reads the card
again, edits its text and writes it under the etag it was read with. What each server gets wrong is handled
where it shows and described in README.md; statuses are translated in `wire`, addresses are found in `discovery`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import ClassVar
from urllib.parse import urlsplit

from connectors.carddav import dav, discovery, vcards, wire
from connectors.carddav.discovery import Book
from connectors.contract import (
    JSON,
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
from connectors.http import BasicAuth, Reply, VendorHTTP, utc_now

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


def base_url(settings: Mapping[str, str]) -> str:
    """The server that these settings mean; everything else is found from there."""
    return settings["base_url"].rstrip("/")


def auth(settings: Mapping[str, str]) -> BasicAuth:
    """How these settings sign in: HTTP Basic, as every CardDAV server in wide use offers it."""
    return BasicAuth(settings["username"], settings["password"])


class CardDAV:
    """One address book. `http` is rooted at `base_url(settings)` and signs in with `auth(settings)`."""

    spec: ClassVar[Spec] = SPEC

    def __init__(self, http: VendorHTTP, settings: Mapping[str, str]) -> None:
        self.http = http
        self.settings = settings
        self._found: Book | None = None

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
        if place is None:
            place = Place(book.url, None if book.syncs is False else "")
        if place.token is not None:
            try:
                first = self._delta(book, place.token)
            except NoSync:
                if place.token:
                    raise CursorExpired("The server no longer offers sync-collection.") from None
                place = replace(place, token=None)
            else:
                yield from self._pull_changes(book, place, first)
                return
        yield from self._pull_listing(book, place)

    def _pull_changes(self, book: Book, place: Place, delta: Delta) -> Iterator[Page]:
        """Pages of a delta; the new token only on the last one, or on a place from which the listing can go on."""
        moved = None not in (place.ctag, book.ctag) and place.ctag != book.ctag
        if moved and not (delta.changed or delta.removed or delta.truncated):
            # SOGo, DAViCal, Synology and others answer a token that they forgot with "nothing changed".
            raise CursorExpired("The address book changed, yet the server reports no change since the last sync.")
        if delta.truncated:
            place = replace(place, after=None, next=None)
        while True:
            todo = [*sorted(name for name in delta.changed if place.after is None or name > place.after)]
            removed = sorted(delta.removed) if place.token else []
            target = place.next or delta.token
            for names in batches(todo):
                is_last = names[-1] == todo[-1] and not removed
                if is_last or delta.truncated:
                    break
                yield Page(self._read(book, names), replace(place, after=names[-1], next=target).cursor())
            rest = todo[len(todo) // BATCH * BATCH :] if todo else []
            yield Page((), None)
            break

    def x(self) -> None: ...

"""Clio Manage, API v4: contacts, matters, activities (time entries and expenses); bills and users read only.

Written from https://docs.developers.clio.com/api-reference/ and the vendor's OpenAPI description; never run on a live
account. Clio's shapes and its way to write nested lists are in `payloads.py`, what its answers mean in `answers.py`.
Pacing, retries and tokens are the shared client's work, and what a field means is the mapping's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, TypeVar
from urllib.parse import parse_qsl, urlsplit

import orjson

from connectors.clio.answers import (
    ADDRESS_REMEDY,
    HEADERS,
    PAGE_MAX,
    answered,
    listed,
    record,
    refusal,
    server_time,
    untouched,
    vendor_error,
    written,
)
from connectors.clio.fields import CUSTOM_PARENTS, DEFINITION, custom_field, own_fields
from connectors.clio.payloads import COLLECTIONS, holds, narrowed, outgoing
from connectors.contract import (
    JSON,
    Access,
    Account,
    Checked,
    Create,
    Cursor,
    Delete,
    Facts,
    Finding,
    Page,
    Record,
    Resource,
    Setting,
    Spec,
    Update,
    VendorField,
)
from connectors.errors import (
    CursorExpired,
    Misconfigured,
    Refused,
    ShapeChanged,
    Stale,
    SyncError,
    TryLater,
)

if TYPE_CHECKING:
    from connectors.http import Reply, VendorHTTP

Held = TypeVar("Held")

# A token works only in its own region, and each region has its own developer portal (/api-docs/authorization).
REGIONS = {
    "us": "https://app.clio.com",
    "eu": "https://eu.app.clio.com",
    "ca": "https://ca.app.clio.com",
    "au": "https://au.app.clio.com",
}

# How far the next pull reaches back before this one's start: Clio's times hold whole seconds, and a change becomes
# visible only when its transaction ends, some time after its updated_at was taken.
OVERLAP = timedelta(seconds=30)

# How far back to look through all new contacts for one that the search does not show.
RECENT = timedelta(days=3)

SPEC = Spec(
    name="clio",
    title="Clio Manage",
    docs="https://docs.developers.clio.com/api-reference/",
    zone="practice",
    hosts=tuple(urlsplit(address).netloc for address in REGIONS.values()),
    settings=(
        Setting("region", "where the firm's account lives: us, eu, ca or au", required=False, default="us"),
        Setting("base_url", "another server than the region's (a sandbox), without /api/v4", required=False),
        Setting("client_id", "the app's key, from the developer portal of the same region"),
        Setting("client_secret", "the app's secret", secret=True),
        Setting("refresh_token", "from the app's authorization; Clio's do not expire", secret=True),
        Setting("access_token", "optional: a token to start with", required=False, secret=True),
    ),
    resources=(
        Resource("contacts"),
        Resource("matters"),
        Resource("bills", writable=False, creatable=False),
        Resource("activities"),
        Resource("users", writable=False, creatable=False),
    ),
    facts=Facts(
        write_guard="version",
        repeat_guard="none",
        deletions="listing",
        fetch_max=PAGE_MAX,
        page_max=PAGE_MAX,
        time_resolution_s=1.0,
        requests_per_minute=50,
    ),
)


def base_url(settings: Mapping[str, str]) -> str:
    """The server that these settings mean. Its token address is this plus /oauth/token."""
    if given := settings.get("base_url"):
        return given.rstrip("/")
    region = (settings.get("region") or "us").lower()
    if region not in REGIONS:
        raise Misconfigured(f"Clio has no region {region!r}.", remedy="Set region to us, eu, ca or au.")
    return REGIONS[region]


class Clio:
    """One firm's account. `http` is rooted at `base_url(settings)`."""

    spec: ClassVar[Spec] = SPEC

    def __init__(self, http: VendorHTTP, settings: Mapping[str, str]) -> None:
        self.http = http
        self.settings = settings

    @staticmethod
    def access(settings: Mapping[str, str]) -> Access:
        """Each region signs in at its own server. https://docs.developers.clio.com/api-docs/authorization"""
        root = base_url(settings)
        return Access(root, "oauth", token_url=f"{root}/oauth/token")

    def check(self) -> Checked:
        """Names the firm, then reads one record of every resource. What may be written shows only by writing."""
        fields = [("fields", "id,name,account{id,name}")]
        reply = self.http.get("/api/v4/users/who_am_i.json", params=fields, headers=HEADERS)
        try:
            account = answered(reply, "users")["data"]["account"]
            firm = Account(str(account["id"]), str(account["name"]))
        except (ShapeChanged, KeyError, TypeError) as error:
            raise Misconfigured("The server does not answer like Clio.", remedy=ADDRESS_REMEDY) from error
        findings: list[Finding] = []
        for name in COLLECTIONS:
            try:
                self._list(name, [("fields", "id,etag"), ("limit", "1")])
            except SyncError as error:
                findings.append(
                    Finding(
                        "warning" if isinstance(error, TryLater) else "error",
                        f"{name}: {error.message}",
                        error.remedy or ("Check again later." if isinstance(error, TryLater) else ADDRESS_REMEDY),
                    )
                )
        return Checked(firm, tuple(findings))

    def pull(self, resource: str, since: Cursor | None) -> Iterator[Page]:
        """Everything changed since the cursor, ordered by id: every other order ends after 10,000 records.

        An order by id says nothing about time. So the cursor within a listing is the address of the next page, and
        only the last page's cursor is a time: the vendor's clock when the first page was asked for, less `OVERLAP`.
        What changes meanwhile on pages already read is newer than that. https://docs.developers.clio.com/api-docs/paging
        """
        place = Place.of(since)
        for reply, records, link in self._pages(untouched, resource, listing(resource, place.since), place.next):
            started = place.started or instant(server_time(reply) - OVERLAP)
            place = Place(place.since, started, link) if link else Place(since=started)
            yield Page(records, resume=place.cursor())

    def ids(self, resource: str) -> Iterator[tuple[str, ...]]:
        """All live ids: a deleted record only ever shows by being in no list."""
        for _, raws, _ in self._pages(listed, resource, listing(resource, None, fields="id")):
            yield tuple(record(raw).id for raw in raws)

    def fetch(self, resource: str, ids: Sequence[str]) -> tuple[Record, ...]:
        found: dict[str, Record] = {}
        for start in range(0, len(ids), PAGE_MAX):
            wanted = [("ids[]", id_) for id_ in ids[start : start + PAGE_MAX]]
            records = map(record, self._list(resource, listing(resource, None) + wanted))
            found |= {record.id: record for record in records}
        return tuple(found.get(id_) or Record(id_, version=None, body={}, deleted=True) for id_ in ids)

    def create(self, resource: str, create: Create) -> Record:
        if not SPEC.resource(resource).creatable:
            raise Refused(f"Clio makes {resource} itself.", code="not_creatable")
        data = outgoing(resource, create.body, {})
        if resource == "contacts":
            # Required by the description, also where Clio makes a person's name from the parts.
            data.setdefault("name", " ".join(filter(None, (data.get("first_name"), data.get("last_name")))))
        params = {"fields": COLLECTIONS[resource].fields}
        reply = self.http.post(path(resource), params=params, json={"data": data}, headers=HEADERS)
        return written(reply, resource, data)

    def update(self, resource: str, update: Update) -> Record:
        if not SPEC.resource(resource).writable:
            raise Refused(f"{resource} are never changed at Clio.", code="not_writable")
        if update.current.version is None:
            raise ShapeChanged("The record came without an etag, so it cannot be changed safely.")
        data = outgoing(resource, update.changes, update.current.body)
        if not data:
            return update.current  # only what Clio cannot write differs, such as which address is the primary one
        params = {"fields": COLLECTIONS[resource].fields}
        guarded = {**HEADERS, "If-Match": update.current.version}
        reply = self.http.patch(path(resource, update.current.id), params=params, json={"data": data}, headers=guarded)
        if reply.status in (404, 412):
            raise Stale("The record was changed or removed in Clio since it was read.")
        return written(reply, resource, data)

    def delete(self, resource: str, delete: Delete) -> None:
        """Contacts only. DELETE takes no If-Match at Clio, so a read just before it compares the version."""
        if resource != "contacts":
            raise Refused(f"{resource} are never deleted at Clio.", code="not_deletable")
        held = self.fetch(resource, [delete.current.id])[0]
        if held.deleted:
            return
        if held.version != delete.current.version:
            raise Stale("The record was changed in Clio since it was read.")
        reply = self.http.delete(path(resource, held.id), headers=HEADERS)
        if reply.status == 403:
            # The only refusal described for DELETE, so it may be about this one contact; reading it has just worked.
            raise Refused(
                "Clio does not let this contact be deleted.",
                remedy="Contacts with matters stay. If it has none, allow writing Contacts for the app in Clio.",
                code=vendor_error(reply)[0],
            )
        if reply.status not in (200, 204, 404):
            raise refusal(reply, resource, {})

    def find(self, resource: str, create: Create) -> tuple[Record, ...]:
        """Records that hold everything sent. Clio keeps no key of ours, so an older twin is found too: compare its
        created_at with the time of sending."""
        sent = outgoing(resource, create.body, {})
        found: list[Record] = []
        for reply, raws, _ in self._pages(listed, resource, [*listing(resource, None), *narrowed(resource, sent)]):
            found += (record(raw) for raw in raws if holds(raw, sent))
            asked_at = server_time(reply)
        if not found and resource == "contacts":
            # Contacts are narrowed by Clio's search, which may lag behind or read a name in its own way.
            newest = [*listing(resource, None), ("created_since", instant(asked_at - RECENT))]
            found += (
                record(raw) for _, raws, _ in self._pages(listed, resource, newest) for raw in raws if holds(raw, sent)
            )
        return tuple(found)

    def describe(self, resource: str) -> tuple[VendorField, ...]:
        """What this connector reads of every account, and the firm's own fields of contacts and matters."""
        fields = own_fields(COLLECTIONS[resource])
        if (parent := CUSTOM_PARENTS.get(resource)) is None:
            return fields
        params = [("fields", DEFINITION), ("parent_type", parent), ("deleted", "false"), ("order", "id(asc)")]
        pages = self._pages(listed, "custom_fields", [*params, ("limit", str(PAGE_MAX))])
        return (*fields, *(custom_field(raw) for _, raws, _ in pages for raw in raws))

    def _list(self, resource: str, params: Sequence[tuple[str, str]]) -> list[JSON]:
        reply = self.http.get(path(resource), params=params, headers=HEADERS)
        return listed(reply, resource)[0]

    def _pages(
        self,
        read: Callable[[Reply, str], tuple[Held, str | None]],
        resource: str,
        params: Sequence[tuple[str, str]],
        link: str | None = None,
    ) -> Iterator[tuple[Reply, Held, str | None]]:
        """(answer, what `read` finds in it, query of the next page or None), from the page at `link` or the first."""
        while True:
            asked = parse_qsl(link) if link else params
            reply = self.http.get(path(resource), params=asked, headers=HEADERS)
            if link and reply.status in (400, 404, 410):
                raise CursorExpired("Clio no longer knows the page where the listing stopped.")
            held, following = read(reply, resource)
            if following and following == link:
                raise ShapeChanged("Clio's next page leads back to the same page.")
            yield reply, held, following
            if not following:
                return
            link = following


@dataclass(frozen=True, slots=True)
class Place:
    """What a cursor means: `since` alone between pulls; `started` and `next` (a query) in the middle of one."""

    since: str | None = None
    started: str | None = None
    next: str | None = None

    @classmethod
    def of(cls, cursor: Cursor | None) -> Place:
        if cursor is None:
            return cls()
        try:
            return cls(**orjson.loads(cursor))
        except (orjson.JSONDecodeError, TypeError) as error:
            raise CursorExpired("The stored position is not one of Clio's.") from error

    def cursor(self) -> Cursor:
        return Cursor(orjson.dumps({name: value for name, value in asdict(self).items() if value}).decode())


def path(resource: str, id_: str | None = None) -> str:
    return f"/api/v4/{resource}/{id_}.json" if id_ else f"/api/v4/{resource}.json"


def listing(resource: str, since: str | None, fields: str | None = None) -> list[tuple[str, str]]:
    collection = COLLECTIONS[resource]
    params = [("fields", fields or collection.fields), ("order", "id(asc)"), ("limit", str(PAGE_MAX)), *collection.only]
    return [*params, ("updated_since", since)] if since else params


def instant(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")

"""Salesforce: accounts, contacts, opportunities and tasks by SOQL and sObject Collections (REST, v64.0).

Written from the REST API guide and recorded traffic; never run on a live org. This file knows queries, ids, collections
and error codes. Pacing, retries and tokens are the shared client's work, and what a field means is the mapping's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from connectors.contract import (
    JSON,
    Access,
    Account,
    Change,
    Checked,
    Create,
    Cursor,
    Delete,
    Facts,
    Page,
    Record,
    Resource,
    Setting,
    Spec,
    Update,
    VendorField,
    Version,
)
from connectors.errors import (
    Misconfigured,
    MissingPermission,
    Refused,
    ShapeChanged,
    SyncError,
    UnknownOutcome,
)
from connectors.salesforce.answers import ADDRESS_REMEDY, DELETED, answer, entries, failure, rows
from connectors.salesforce.fields import FIELDS, findings, unseen, vendor_field
from connectors.salesforce.place import Place, instant, moment, quoted, server_time

if TYPE_CHECKING:
    from connectors.http import Reply, VendorHTTP

API_VERSION = "64.0"
EXTERNAL_ID = "syncd_id__c"
LOGIN_URL = "https://login.salesforce.com"
LOGIN_HOSTS = {"login.salesforce.com", "test.salesforce.com"}
PAGE_MAX = 2000
COLLECTION_MAX = 200
ID_CHECKSUM = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"

# The name under which our writes show in change events. The vendor's own collection of requests sends a content type
# with requests that have no body, too.
HEADERS = {"Sforce-Call-Options": "client=syncd", "Content-Type": "application/json"}

SPEC = Spec(
    name="salesforce",
    title="Salesforce",
    docs="https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/",
    zone="marketing",
    hosts=("*.salesforce.com",),
    settings=(
        Setting("base_url", "the org's own address, https://NAME.my.salesforce.com (instance_url of the sign-in)"),
        Setting(
            "login_url",
            "where tokens come from; https://test.salesforce.com for a sandbox org",
            required=False,
            default=LOGIN_URL,
        ),
        Setting("client_id", "the consumer key of the external client app"),
        Setting("client_secret", "the app's consumer secret", secret=True),
        Setting("refresh_token", "from the app's authorization", secret=True),
        Setting("access_token", "optional: a token to start with", required=False, secret=True),
        Setting("api_version", "the version of the REST API", required=False, default=API_VERSION),
        Setting(
            "external_id_field",
            "a Text field on every object (External ID, Unique), which holds our key of a create",
            required=False,
            default=EXTERNAL_ID,
        ),
        Setting("fields", "more fields to read than the mapping names, by API name, with commas", required=False),
    ),
    resources=tuple(Resource(name) for name in FIELDS),
    facts=Facts(
        write_guard="none",
        repeat_guard="own-id",
        deletions="feed",
        batch_max=COLLECTION_MAX,
        fetch_max=PAGE_MAX,
        page_max=PAGE_MAX,
        time_resolution_s=1.0,
        describe_every_s=0.0,
    ),
)


class Salesforce:
    """One org. `http` is rooted at `access(settings).base_url`."""

    spec: ClassVar[Spec] = SPEC

    def __init__(self, http: VendorHTTP, settings: Mapping[str, str]) -> None:
        self.http = http
        self.root = f"/services/data/v{settings.get('api_version') or API_VERSION}"
        self.external_id = settings.get("external_id_field") or EXTERNAL_ID
        self.extra = tuple(name.strip() for name in (settings.get("fields") or "").split(",") if name.strip())
        self._described: dict[str, JSON] = {}
        self._chosen: dict[str, tuple[str, ...]] = {}

    @staticmethod
    def access(settings: Mapping[str, str]) -> Access:
        """The org's address cannot be derived: it is the token reply's instance_url."""
        base, login = (settings.get(name, "").rstrip("/") for name in ("base_url", "login_url"))
        parts = urlsplit(base)
        host = (parts.hostname or "").lower()
        # The address bar of the web client shows the first of these; no API answers there, or not for this org alone.
        if not host or parts.path or host.endswith(".lightning.force.com") or host in LOGIN_HOSTS:
            raise Misconfigured("base_url is not the address of an org's API.", remedy=ADDRESS_REMEDY)
        if not re.fullmatch(r"\d{2,3}\.0", settings.get("api_version") or API_VERSION):
            raise Misconfigured("api_version is no version of Salesforce's API.", remedy="Set api_version to 64.0.")
        if not re.fullmatch(r"[A-Za-z]\w{0,79}", settings.get("external_id_field") or EXTERNAL_ID):
            remedy = "Give the field's API name, such as syncd_id__c."
            raise Misconfigured("external_id_field is no field name.", remedy=remedy)
        return Access(base, "oauth", token_url=f"{login or LOGIN_URL}/services/oauth2/token")

    def check(self) -> Checked:
        """Names the org, then reads every object's description: what is visible, and what may be written."""
        limits = self.http.get(f"{self.root}/limits", headers=HEADERS)
        if limits.status == 404 and "json" in limits.headers.get("content-type", ""):
            remedy = "Set api_version to one that this org offers; GET /services/data/ lists them."
            raise Misconfigured(f"This org does not offer {self.root.rpartition('/')[2]} of the API.", remedy=remedy)
        try:
            answer(limits, "the org's limits", dict)
        except ShapeChanged as error:
            raise Misconfigured("The server does not answer like Salesforce.", remedy=ADDRESS_REMEDY) from error
        me = self.http.get("/services/oauth2/userinfo", headers=HEADERS)
        if me.status in (401, 403):
            remedy = "Give the external client app the scopes api, refresh_token and openid, then connect again."
            raise MissingPermission("Salesforce does not say who is signed in.", remedy=remedy)
        user = answer(me, "the signed-in user", dict)
        if not user.get("organization_id"):
            raise ShapeChanged("Salesforce names no organisation for the signed-in user.")
        described = {name: self._describe(name) for name in FIELDS}
        found = [f for name, seen in described.items() for f in findings(name, seen, self.external_id)]
        found += unseen(self.extra, described)
        return Checked(
            Account(id18(str(user["organization_id"])), str(user.get("preferred_username") or "")), tuple(found)
        )

    def pull(self, resource: str, since: Cursor | None) -> Iterator[Page]:
        """Everything changed since the cursor, deleted and archived rows too, ordered by SystemModstamp and Id.

        Each page is a query of its own that goes on behind the last row, so thousands of rows may share a stamp (a
        data load) and no query cursor of the vendor, of which a user has about ten, is held open.
        """
        place = Place.of(since)
        columns = ",".join(self._columns(resource))
        while True:
            reply = self._query(
                f"SELECT {columns} FROM {resource}{place.condition()} "  # noqa: S608 - names from describe, values quoted
                f"ORDER BY SystemModstamp ASC, Id ASC LIMIT {PAGE_MAX}"
            )
            raws, done = rows(reply, resource)
            began = place.began or instant(server_time(reply))
            records = tuple(record(raw) for raw in raws)
            if raws:
                before, place = place, Place(instant(raws[-1]["SystemModstamp"]), raws[-1]["Id"], began)
                if (before.stamp, before.id) == (place.stamp, place.id):
                    raise ShapeChanged(f"Salesforce lists the same {resource} row again and again.")
            # A page may be shorter than asked for when rows are wide; only `done` tells.
            if done and len(records) < PAGE_MAX:
                yield Page(records, resume=place.ended(began).cursor())
                return
            yield Page(records, resume=place.cursor())

    def ids(self, resource: str) -> Iterator[tuple[str, ...]]:
        """All live ids, by queryAll: plain queries leave archived tasks out, which are not deleted."""
        query = "SELECT Id FROM {:literal} WHERE IsDeleted = false AND Id > {} ORDER BY Id ASC LIMIT {}"
        after = "000000000000000AAA"
        while True:
            raws, done = rows(self._query(quoted(query, resource, after, PAGE_MAX)), resource)
            found = tuple(id18(str(raw["Id"])) for raw in raws)
            yield found
            if done and len(found) < PAGE_MAX:
                return
            after = found[-1]

    def fetch(self, resource: str, ids: Sequence[str]) -> tuple[Record, ...]:
        """By POST, because 2,000 ids do not fit in an address. Missing rows come as null."""
        found: list[Record] = []
        for start in range(0, len(ids), PAGE_MAX):
            wanted = [id18(id_) for id_ in ids[start : start + PAGE_MAX]]
            reply = self.http.post(
                f"{self.root}/composite/sobjects/{resource}",
                json={"ids": wanted, "fields": self._columns(resource)},
                headers=HEADERS,
                safe=True,
            )
            raws = answer(reply, resource, list)
            if len(raws) != len(wanted):
                raise ShapeChanged(f"Salesforce answered {len(raws)} of {len(wanted)} {resource} asked for.")
            found += (record(raw) if raw else gone(id_) for id_, raw in zip(wanted, raws, strict=True))
        return tuple(found)

    def find(self, resource: str, create: Create) -> tuple[Record, ...]:
        """The row that carries the create's key."""
        columns = ",".join(self._columns(resource))
        where = quoted("{:literal} = {}", self.external_id, create.key)
        reply = self._query(f"SELECT {columns} FROM {resource} WHERE {where} AND IsDeleted = false")  # noqa: S608
        return tuple(record(raw) for raw in rows(reply, resource)[0])

    def describe(self, resource: str) -> tuple[VendorField, ...]:
        """From the description that this object's reading uses, so what it says and what is read cannot differ."""
        return tuple(vendor_field(field, self.external_id) for field in self._visible(resource))

    def choose(self, resource: str, names: Sequence[str]) -> None:
        self._chosen[resource] = tuple(names)

    def create(self, resource: str, create: Create) -> Record:
        return one(self.send(resource, (create,)))

    def update(self, resource: str, update: Update) -> Record:
        return one(self.send(resource, (update,)))

    def delete(self, resource: str, delete: Delete) -> None:
        one(self.send(resource, (delete,)))

    def send(self, resource: str, changes: Sequence[Change]) -> tuple[Record | SyncError, ...]:
        """One request per kind of change, then one that reads what was written: collections answer with ids alone.

        Creates are upserts by our own id, so a repeat finds the row of the first try. allOrNone is off: each row
        stands for itself. https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/resources_composite_sobjects_collections.htm
        """
        outcomes: dict[int, str | Record | SyncError] = {}
        for kind, write in ((Update, self._update), (Create, self._upsert), (Delete, self._delete)):
            places = [at for at, change in enumerate(changes) if isinstance(change, kind)]
            if not places:
                continue
            results: Sequence[str | Record | SyncError]
            try:
                results = write(resource, [changes[at] for at in places])
            except SyncError as error:
                if len(places) == len(changes):
                    raise
                results = [error] * len(places)
            outcomes |= zip(places, results, strict=True)
        written = [at for at, outcome in outcomes.items() if isinstance(outcome, str)]
        outcomes |= zip(written, self._read_back(resource, [str(outcomes[at]) for at in written]), strict=True)
        return tuple(out for at in range(len(changes)) if not isinstance(out := outcomes[at], str))

    def _update(self, resource: str, updates: Sequence[Any]) -> Sequence[str | SyncError]:
        rows = [{"attributes": {"type": resource}, "id": u.current.id} | own(u.changes) for u in updates]
        return self._write(f"{self.root}/composite/sobjects", resource, rows)

    def _upsert(self, resource: str, creates: Sequence[Any]) -> Sequence[str | SyncError]:
        rows = [{"attributes": {"type": resource}} | own(c.body) | {self.external_id: c.key} for c in creates]
        return self._write(f"{self.root}/composite/sobjects/{resource}/{self.external_id}", resource, rows)

    def _write(self, path: str, resource: str, rows: Sequence[JSON]) -> list[str | SyncError]:
        """Ids of the written rows. One value of a wrong JSON type makes the vendor refuse all: then it is searched."""
        try:
            reply = self.http.patch(path, json={"allOrNone": False, "records": rows}, headers=HEADERS)
            found = entries(reply, resource, len(rows))
        except Refused as error:
            if len(rows) == 1:
                return [error]
            half = len(rows) // 2
            return [*self._write(path, resource, rows[:half]), *self._write(path, resource, rows[half:])]
        return [id18(e["id"]) if e["success"] else failure(e["errors"][0], resource, self.external_id) for e in found]

    def _delete(self, resource: str, deletes: Sequence[Any]) -> Sequence[Record | SyncError]:
        ids = [id18(d.current.id) for d in deletes]
        params = {"ids": ",".join(ids), "allOrNone": "false"}
        reply = self.http.delete(f"{self.root}/composite/sobjects", params=params, headers=HEADERS)
        outcomes: list[Record | SyncError] = []
        for id_, entry in zip(ids, entries(reply, resource, len(ids)), strict=True):
            error = None if entry["success"] else entry["errors"][0]
            is_gone = error is None or (error.get("statusCode") in DELETED and not error.get("fields"))
            outcomes.append(gone(id_) if is_gone else failure(error, resource, self.external_id))
        return outcomes

    def _read_back(self, resource: str, ids: Sequence[str]) -> Sequence[Record | SyncError]:
        try:
            return self.fetch(resource, ids)
        except SyncError as error:
            unread = UnknownOutcome("Salesforce took the change, but could not be asked what it made of it.")
            unread.__cause__ = error
            return [unread] * len(ids)

    def _query(self, query: str) -> Reply:
        headers = {**HEADERS, "Sforce-Query-Options": f"batchSize={PAGE_MAX}"}
        return self.http.get(f"{self.root}/queryAll", params={"q": query}, headers=headers)

    def _describe(self, resource: str) -> JSON:
        """The object as this user sees it; {} when not at all. Read once per connector object."""
        if resource not in self._described:
            reply = self.http.get(f"{self.root}/sobjects/{resource}/describe", headers=HEADERS)
            is_unknown = reply.status == 404 and "json" in reply.headers.get("content-type", "")
            self._described[resource] = {} if is_unknown else answer(reply, resource, dict)
        return self._described[resource]

    def _columns(self, resource: str) -> list[str]:
        """The fields to read: those we know and those asked for, as far as this user sees them."""
        visible = {field["name"] for field in self._visible(resource)}
        wanted = (*FIELDS[resource].names, self.external_id, *self.extra, *self._chosen.get(resource, ()))
        return [name for name in dict.fromkeys(wanted) if name in visible]

    def _visible(self, resource: str) -> list[JSON]:
        fields: list[JSON] = self._describe(resource).get("fields") or []
        if not fields:
            remedy = f"Give the integration user's permission set Read on {resource}."
            raise MissingPermission(f"The signed-in user does not see {resource}.", remedy=remedy)
        return fields


def id18(id_: str) -> str:
    """The 18-character form of an id: old ones have 15, and the two compare unequal.

    The suffix holds, for each group of five characters, one bit per upper-case letter.
    """
    if len(id_) != 15:
        return id_
    groups = (id_[at : at + 5] for at in (0, 5, 10))
    return id_ + "".join(ID_CHECKSUM[sum(1 << n for n, char in enumerate(g) if "A" <= char <= "Z")] for g in groups)


def record(raw: JSON) -> Record:
    """A merged record's loser is a deleted one, too. SystemModstamp tells versions apart to the second, no finer."""
    try:
        version = Version(raw["SystemModstamp"])
        moment(version), id18(raw["Id"])
    except (KeyError, TypeError, ValueError) as error:
        raise ShapeChanged("Salesforce sent a record without Id or SystemModstamp.") from error
    if raw.get("IsDeleted"):
        return Record(id18(raw["Id"]), version, body={}, deleted=True)
    return Record(id18(raw["Id"]), version, {name: value for name, value in raw.items() if name != "attributes"})


def gone(id_: str) -> Record:
    return Record(id_, version=None, body={}, deleted=True)


def one(outcomes: Sequence[Record | SyncError]) -> Record:
    if isinstance(outcome := outcomes[0], SyncError):
        raise outcome
    return outcome


def own(fields: JSON) -> JSON:
    """Fields as they may be sent: an id in the body would name another record."""
    return {name: value for name, value in fields.items() if name.lower() not in ("id", "attributes")}

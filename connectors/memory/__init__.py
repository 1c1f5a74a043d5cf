"""The reference connector: a vendor in a dict, with every capability and every fault of the contract.

`MemoryVendor` is the other system: its people edit it (`person_*`), its rules are arguments (write guard, repeat
guard, tombstones, renditions, paging), and its next call can be made to fail before or after the work. `Memory` is
the connector to it, one short method per capability. They meet in one process by reference (`vendor.connector()`,
or the setting `vendor` with the name under which it was made) or over a file (the setting `file`), which is how a
person tries the service without any account.

A body is a flat or nested JSON object. `updated_at` (ISO 8601, UTC) is the vendor's own and ignored when written.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from weakref import WeakValueDictionary

import orjson

from connectors.contract import (
    JSON,
    Access,
    Account,
    Change,
    Checked,
    Connector,
    Create,
    Cursor,
    Delete,
    Facts,
    OperationKey,
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
    CursorExpired,
    Misconfigured,
    Refused,
    Stale,
    SyncError,
    UnknownOutcome,
    Unreachable,
)

if TYPE_CHECKING:
    from connectors.http import VendorHTTP

Rendition = Literal["as is", "upper", "cut"]
Capability = Literal["fetch", "ids", "create", "update", "delete", "find", "send"]
CAPABILITIES: tuple[Capability, ...] = ("fetch", "ids", "create", "update", "delete", "find", "send")
CUT_CHARS = 3
OWN_FIELD = "updated_at"

SPEC = Spec(
    name="memory",
    title="In memory",
    docs="https://docs.python.org/3/library/stdtypes.html#mapping-types-dict",
    zone="practice",
    hosts=(),
    settings=(
        Setting("file", "A file that holds the records; it is made when missing.", required=False),
        Setting("vendor", "Name of a MemoryVendor in this process.", required=False),
    ),
    resources=tuple(Resource(name) for name in ("people", "companies", "matters", "invoices", "opportunities")),
    facts=Facts(
        write_guard="version",
        repeat_guard="own-id",
        deletions="feed",
        batch_max=50,
        fetch_max=50,
        page_max=100,
        time_resolution_s=0.0,
        describe_every_s=0.0,
    ),
)


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Row:
    """A record as the vendor keeps it. `moment` is the vendor's change counter when it last changed."""

    id: str
    body: JSON
    version: int
    moment: int
    deleted: bool = False
    key: str | None = None

    def record(self, guarded: bool) -> Record:
        version = Version(str(self.version)) if guarded else None
        return Record(self.id, version, {} if self.deleted else copy.deepcopy(self.body), self.deleted)


@dataclass(slots=True)
class Contents:
    """Everything that a vendor remembers: rows by resource and id, and its change counter."""

    rows: dict[str, dict[str, Row]] = field(default_factory=dict)
    moment: int = 0
    expired: int = 0  # how often all cursors were expired; a cursor of an earlier time is refused

    def rows_of(self, resource: str) -> dict[str, Row]:
        return self.rows.setdefault(resource, {})


@dataclass(frozen=True, slots=True)
class Fault:
    """What the next write does: `error` is raised before the work, or after it."""

    when: Literal["before", "after"]
    error: SyncError


class MemoryVendor:
    """The system at the other end, and everything about it that differs from vendor to vendor.

    facts       what it offers, as any connector's facts; they govern what it does, too
    has         which capabilities its connectors have; the rest is missing, as the contract has it
    fields      per resource, the fields that `describe` tells of; None: this vendor describes nothing
    renditions  per top-level field, what it makes of a string that comes through the API: "upper" changes case,
                "cut" keeps the first three characters. What its own people enter stays as it is
    file        keep the contents there instead of in memory; several processes may share it
    name        makes it reachable by the setting `vendor` in this process, as long as somebody holds it

    Public record of what happened: `writes` (API writes that took effect, as "created contacts/1"), `reads` (calls
    that read). Both count this object's own calls only.
    """

    named: ClassVar[WeakValueDictionary[str, MemoryVendor]] = WeakValueDictionary()

    def __init__(
        self,
        *,
        resources: Sequence[Resource] = SPEC.resources,
        facts: Facts = SPEC.facts,
        has: Sequence[Capability] = CAPABILITIES,
        fields: Mapping[str, Sequence[VendorField]] | None = None,
        renditions: Mapping[str, Rendition] | None = None,
        clock: Callable[[], datetime] = utc_now,
        file: Path | None = None,
        name: str | None = None,
    ) -> None:
        self.spec = replace(SPEC, resources=tuple(resources), facts=facts)
        self.account = Account(id=f"memory:{name or file or id(self)}", label=name or "In memory")
        self.has = tuple(has)
        self.fields = None if fields is None else {name: tuple(known) for name, known in fields.items()}
        self.renditions = dict(renditions or {})
        self.clock = clock
        self.writes: list[str] = []
        self.reads = 0
        self._file = file
        self._contents = Contents()
        self._lock = threading.RLock()
        self._faults: list[Fault] = []
        if name is not None:
            self.named[name] = self

    def connector(self) -> Connector:
        """A connector to this vendor, with exactly the capabilities that it has."""
        return connector_class(self)(self)

    # Its people ----------------------------------------------------------------------------------------------------

    def person_creates(self, resource: str, body: JSON, id: str | None = None) -> Record:
        with self._changing() as now:
            return self._put(now, resource, id or self._new_id(now, resource), body, None)

    def person_edits(self, resource: str, id: str, changes: JSON) -> Record:
        with self._changing() as now:
            row = self._live(now, resource, id)
            return self._put(now, resource, id, {**row.body, **changes}, row.key)

    def person_deletes(self, resource: str, id: str) -> None:
        with self._changing() as now:
            self._bury(now, self._live(now, resource, id))

    def admin_sets_fields(self, resource: str, fields: Sequence[VendorField]) -> None:
        """Fields are made, changed or taken away; what stood in those is gone, and no record counts as changed."""
        assert self.fields is not None, "a vendor that describes nothing has no fields to set"
        with self._changing() as now:
            gone = {each.path for each in self.fields.get(resource, ())} - {each.path for each in fields}
            self.fields[resource] = tuple(fields)
            for row in now.rows_of(resource).values():
                row.body = {name: value for name, value in row.body.items() if name not in gone}

    def look(self, resource: str) -> dict[str, JSON]:
        """The bodies of all live records by id, as the vendor's own screen shows them."""
        with self._reading() as now:
            return {row.id: copy.deepcopy(row.body) for row in now.rows_of(resource).values() if not row.deleted}

    # Faults --------------------------------------------------------------------------------------------------------

    def fail_next_write(self, when: Literal["before", "after"], error: SyncError | None = None) -> None:
        """The next API write raises: before the work (Unreachable unless `error` says else), or after it was done
        (UnknownOutcome). Several calls queue up."""
        if error is None:
            error = Unreachable("The vendor is off.") if when == "before" else UnknownOutcome("The line went dead.")
        with self._lock:
            self._faults.append(Fault(when, error))

    def expire_cursors(self) -> None:
        """Every cursor given so far is refused with CursorExpired from now on."""
        with self._changing() as now:
            now.expired += 1

    def forget_faults(self) -> None:
        """Writes work again, whatever was to fail next."""
        with self._lock:
            self._faults.clear()

    def faults_left(self) -> int:
        return len(self._faults)

    # Its API, called by the connector ------------------------------------------------------------------------------

    def api_pull(self, resource: str, since: Cursor | None) -> tuple[Page, bool]:
        """One page of changes after the cursor in the order of change, and whether more follow."""
        with self._reading() as now:
            self.reads += 1
            given, _, moment = (since or f"{now.expired}.0").partition(".")
            after = int(moment)
            if int(given) < now.expired:
                raise CursorExpired("The vendor has forgotten this cursor.")
            feed = self.spec.facts.deletions == "feed" and since is not None
            rows = sorted(
                (r for r in now.rows_of(resource).values() if r.moment > after and (feed or not r.deleted)),
                key=lambda row: row.moment,
            )
            page = rows[: self.spec.facts.page_max]
            # A record that changes while we list moves behind the end of the list, so every page's end is safe. After
            # the last page the counter itself is the cursor: no change of this resource up to it is missing.
            more = len(rows) > len(page)
            resume = Cursor(f"{now.expired}.{page[-1].moment if more else now.moment}")
            return Page(tuple(self._shown(row) for row in page), resume), more

    def api_fetch(self, resource: str, ids: Sequence[str]) -> tuple[Record, ...]:
        with self._reading() as now:
            self.reads += 1
            rows = now.rows_of(resource)
            return tuple(self._shown(rows[id]) if id in rows else Record(id, None, {}, deleted=True) for id in ids)

    def api_ids(self, resource: str, after: int) -> tuple[tuple[str, ...], int, bool]:
        """One page of live ids in the order of change, where the next one starts, and whether it exists."""
        with self._reading() as now:
            self.reads += 1
            rows = sorted(
                (r for r in now.rows_of(resource).values() if not r.deleted and r.moment > after),
                key=lambda row: row.moment,
            )
            page = rows[: self.spec.facts.page_max]
            return tuple(row.id for row in page), page[-1].moment if page else after, len(rows) > len(page)

    def api_find(self, resource: str, create: Create) -> tuple[Record, ...]:
        """By the operation key where it is kept, else by content: every field equal to what the vendor made of ours."""
        wanted = self._rendered(create.body)
        with self._reading() as now:
            self.reads += 1
            rows = [row for row in now.rows_of(resource).values() if not row.deleted]
            if self.spec.facts.repeat_guard == "own-id":
                found = [row for row in rows if row.key == create.key]
            else:
                found = [row for row in rows if all(row.body.get(name) == kept for name, kept in wanted.items())]
            return tuple(self._shown(row) for row in found)

    def api_write(self, resource: str, changes: Sequence[Change]) -> tuple[Record | SyncError | None, ...]:
        """One request with one or more changes: the record, None for a deletion, or that change's own error."""
        kind = self.spec.resource(resource)
        with self._lock:
            fault = self._faults.pop(0) if self._faults else None
            if fault is not None and fault.when == "before":
                raise fault.error
            with self._changing() as now:
                outcomes = tuple(self._one(now, kind, change) for change in changes)
            if fault is not None:
                raise fault.error
            return outcomes

    # Inside --------------------------------------------------------------------------------------------------------

    def _one(self, now: Contents, resource: Resource, change: Change) -> Record | SyncError | None:
        if not resource.writable or (isinstance(change, Create) and not resource.creatable):
            return Refused(f"{resource.name} cannot be written.", code="read_only")
        if isinstance(change, Create):
            return self._create(now, resource.name, change)
        row = now.rows_of(resource.name).get(change.current.id)
        if row is None or row.deleted:
            if isinstance(change, Delete):
                return None
            return Stale("The record is gone.")
        if self._guarded and change.current.version != str(row.version):
            return Stale("The record has changed since it was read.")
        if isinstance(change, Delete):
            self._bury(now, row)
            self.writes.append(f"deleted {resource.name}/{row.id}")
            return None
        written = self._rendered(change.changes)
        self.writes.append(f"updated {resource.name}/{row.id}")
        return self._put(now, resource.name, row.id, {**row.body, **written}, row.key)

    def _create(self, now: Contents, resource: str, create: Create) -> Record:
        key: OperationKey | None = None
        if self.spec.facts.repeat_guard == "own-id":
            key = create.key
            for row in now.rows_of(resource).values():
                if row.key == key and not row.deleted:
                    return self._shown(row)
        id = self._new_id(now, resource)
        self.writes.append(f"created {resource}/{id}")
        return self._put(now, resource, id, self._rendered(create.body), key)

    @property
    def _guarded(self) -> bool:
        return self.spec.facts.write_guard == "version"

    def _shown(self, row: Row) -> Record:
        return row.record(self._guarded)

    def _rendered(self, written: JSON) -> JSON:
        return {
            name: render(value, self.renditions.get(name, "as is"))
            for name, value in written.items()
            if name != OWN_FIELD
        }

    def _new_id(self, now: Contents, resource: str) -> str:
        return str(len(now.rows_of(resource)) + 1)  # rows are never taken out, so no id comes twice

    def _live(self, now: Contents, resource: str, id: str) -> Row:
        row = now.rows_of(resource)[id]
        if row.deleted:
            raise KeyError(id)
        return row

    def _put(self, now: Contents, resource: str, id: str, body: JSON, key: str | None) -> Record:
        now.moment += 1
        old = now.rows_of(resource).get(id)
        stamped = {**copy.deepcopy(body), OWN_FIELD: self.clock().astimezone(UTC).isoformat()}
        row = Row(id, stamped, old.version + 1 if old is not None else 1, now.moment, key=key)
        now.rows_of(resource)[id] = row
        return self._shown(row)

    def _bury(self, now: Contents, row: Row) -> None:
        now.moment += 1
        row.deleted, row.moment, row.version, row.body = True, now.moment, row.version + 1, {}

    @contextmanager
    def _reading(self) -> Iterator[Contents]:
        with self._lock:
            if self._file is not None:
                with file_lock(self._file):
                    self._contents = load(self._file)
            yield self._contents

    @contextmanager
    def _changing(self) -> Iterator[Contents]:
        with self._lock:
            if self._file is None:
                yield self._contents
                return
            with file_lock(self._file):
                self._contents = load(self._file)
                yield self._contents
                save(self._file, self._contents)


class _Base:
    """What every memory connector has: the required part of the contract."""

    spec: ClassVar[Spec] = SPEC
    vendor: MemoryVendor

    @staticmethod
    def access(settings: Mapping[str, str]) -> Access:
        return Access(base_url="", scheme="none")

    def check(self) -> Checked:
        return Checked(self.vendor.account)

    def pull(self, resource: str, since: Cursor | None) -> Iterator[Page]:
        more = True
        while more:
            page, more = self.vendor.api_pull(resource, since)
            since = page.resume
            yield page


class _CanFetch(_Base):
    def fetch(self, resource: str, ids: Sequence[str]) -> tuple[Record, ...]:
        size = self.spec.facts.fetch_max
        parts = (self.vendor.api_fetch(resource, ids[at : at + size]) for at in range(0, len(ids), size))
        return tuple(record for part in parts for record in part)


class _CanList(_Base):
    def ids(self, resource: str) -> Iterator[tuple[str, ...]]:
        after, more = 0, True
        while more:
            page, after, more = self.vendor.api_ids(resource, after)
            if page:
                yield page


class _CanCreate(_Base):
    def create(self, resource: str, create: Create) -> Record:
        return one_record(self.vendor.api_write(resource, [create])[0])


class _CanUpdate(_Base):
    def update(self, resource: str, update: Update) -> Record:
        return one_record(self.vendor.api_write(resource, [update])[0])


class _CanDelete(_Base):
    def delete(self, resource: str, delete: Delete) -> None:
        outcome = self.vendor.api_write(resource, [delete])[0]
        if isinstance(outcome, SyncError):
            raise outcome


class _CanFind(_Base):
    def find(self, resource: str, create: Create) -> tuple[Record, ...]:
        return self.vendor.api_find(resource, create)


class _CanBatch(_Base):
    def send(self, resource: str, changes: Sequence[Change]) -> tuple[Record | SyncError, ...]:
        if len(changes) > self.spec.facts.batch_max:
            raise ValueError(f"at most {self.spec.facts.batch_max} changes in one request, not {len(changes)}")
        outcomes = self.vendor.api_write(resource, changes)
        return tuple(
            tombstone(change) if outcome is None else outcome for change, outcome in zip(changes, outcomes, strict=True)
        )


class _CanDescribe(_Base):
    def describe(self, resource: str) -> tuple[VendorField, ...]:
        assert self.vendor.fields is not None
        return self.vendor.fields.get(resource, ())


class Memory(_CanFetch, _CanList, _CanCreate, _CanUpdate, _CanDelete, _CanFind, _CanBatch):
    """The connector by settings: `file`, or `vendor` (the name of a MemoryVendor that lives in this process)."""

    def __new__(cls, http: VendorHTTP | None, settings: Mapping[str, str]) -> Any:
        # A named vendor may lack capabilities, which is a matter of the object's class: so it gives the object.
        if name := settings.get("vendor"):
            if name not in MemoryVendor.named:
                raise Misconfigured(f"There is no vendor named {name!r} in this process.", remedy="Use a file.")
            return MemoryVendor.named[name].connector()
        return super().__new__(cls)

    def __init__(self, http: VendorHTTP | None, settings: Mapping[str, str]) -> None:
        if not settings.get("file"):
            raise Misconfigured("The memory connector needs a file.", remedy="Set `file` to a path.")
        self.vendor = MemoryVendor(file=Path(settings["file"]))


MIXINS: Mapping[Capability, type[_Base]] = {
    "fetch": _CanFetch,
    "ids": _CanList,
    "create": _CanCreate,
    "update": _CanUpdate,
    "delete": _CanDelete,
    "find": _CanFind,
    "send": _CanBatch,
}


def connector_class(vendor: MemoryVendor) -> Callable[[MemoryVendor], Connector]:
    """The class of this vendor's connectors: capabilities that the vendor lacks are methods that do not exist."""

    def init(self: _Base, vendor: MemoryVendor) -> None:
        self.vendor = vendor

    bases = tuple(MIXINS[name] for name in CAPABILITIES if name in vendor.has)
    bases = (*bases, _CanDescribe) if vendor.fields is not None else bases or (_Base,)
    return type("Memory", bases, {"spec": vendor.spec, "__init__": init})


def one_record(outcome: Record | SyncError | None) -> Record:
    if isinstance(outcome, SyncError):
        raise outcome
    assert outcome is not None, "only a deletion has no record"
    return outcome


def tombstone(change: Change) -> Record:
    assert isinstance(change, Delete), "only a deletion has no record"
    return Record(change.current.id, None, {}, deleted=True)


def render(value: Any, rendition: Rendition) -> Any:
    if not isinstance(value, str) or rendition == "as is":
        return copy.deepcopy(value)
    return value.upper() if rendition == "upper" else value[:CUT_CHARS]


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """One process at a time; beside the file, which is replaced on every write."""
    import fcntl  # POSIX only; a vendor in memory needs none

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(path.suffix + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def load(path: Path) -> Contents:
    if not path.exists():
        return Contents()
    kept = orjson.loads(path.read_bytes())
    rows = {resource: {row["id"]: Row(**row) for row in rows} for resource, rows in kept["rows"].items()}
    return Contents(rows, kept["moment"], kept["expired"])


def save(path: Path, contents: Contents) -> None:
    rows = {resource: list(rows.values()) for resource, rows in contents.rows.items()}
    fresh = path.with_suffix(path.suffix + ".new")
    fresh.write_bytes(orjson.dumps({"rows": rows, "moment": contents.moment, "expired": contents.expired}))
    fresh.replace(path)

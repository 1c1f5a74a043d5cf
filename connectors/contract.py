"""The whole contract between the engine and a connector: values first, then the protocols.

A connector turns one vendor's API into records and back. It knows paging, ids, versions and error bodies;
it knows nothing of our canonical model, the database or the queue. Two methods are required (`check`,
`pull`); everything else is a capability that the engine finds by asking the object (`Capabilities.of`), and
each missing capability has a path in the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NewType, Protocol, runtime_checkable

import orjson

if TYPE_CHECKING:
    from connectors.errors import SyncError
    from connectors.http import VendorHTTP

JSON = dict[str, Any]
Cursor = NewType("Cursor", str)
Version = NewType("Version", str)
OperationKey = NewType("OperationKey", str)


class Record:
    """One vendor object, as last read. Immutable; equal to another with the same contents.

    id       the vendor's key as opaque text, unique within (connection, resource)
    version  the vendor's concurrency token (etag, SyncToken, ...); None if it has none
    body     the vendor's JSON, untouched; only a mapping looks inside. Given as the bytes of one JSON object, it is
             decoded whenever somebody looks, and not kept: most records of a reading are known by their hash alone
    deleted  a tombstone; body is then empty
    """

    __slots__ = ("_content", "deleted", "id", "version")

    def __init__(self, id: str, version: Version | None, body: JSON | bytes, deleted: bool = False) -> None:
        self.id: Final = id
        self.version: Final = version
        self.deleted: Final = deleted
        self._content: Final = body

    @property
    def body(self) -> JSON:
        """Raises orjson.JSONDecodeError when the bytes are no JSON, and TypeError when they are no object."""
        if not isinstance(self._content, bytes):
            return self._content
        body = orjson.loads(self._content)
        if not isinstance(body, dict):
            raise TypeError("a record's body is not an object")
        return body

    @property
    def raw(self) -> bytes:
        """The body as JSON text: as it came, where the connector kept that."""
        return self._content if isinstance(self._content, bytes) else orjson.dumps(self._content)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Record):
            return NotImplemented
        mine, theirs = ((each.id, each.version, each.deleted, each.body) for each in (self, other))
        return mine == theirs

    __hash__ = None  # type: ignore[assignment]  # a body is a dict

    def __repr__(self) -> str:
        return f"<record {self.id}{' deleted' if self.deleted else ''}>"


@dataclass(frozen=True, slots=True)
class Page:
    """Records, and where a later pull may start without missing any.

    resume is None when stopping after this page would lose something. The engine commits a page's records
    and its resume in one transaction, so a cursor is never ahead of its data. A page without records and
    with a resume is how a connector moves the cursor at the end of a pull that found nothing.
    """

    records: tuple[Record, ...]
    resume: Cursor | None


@dataclass(frozen=True, slots=True)
class Account:
    """Who we are signed in as. `id` is the vendor's stable account id: the same account cannot be connected twice."""

    id: str
    label: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that `check` found wrong, or worth knowing, and how to mend it."""

    level: Literal["error", "warning"]
    what: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Checked:
    """The answer to "does this connection work, and with everything that the mapping needs?"."""

    account: Account
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Create:
    """Make a new record. The same key must never make two; body holds the whole new record in the vendor's shape."""

    key: OperationKey
    body: JSON


@dataclass(frozen=True, slots=True)
class Update:
    """Change a record.

    current  the record as last read; its version is the write guard, its body tells what is there now
    changes  top-level properties of the body that shall differ, each with its whole new value; a nested list
             is given whole (the connector turns it into the vendor's own protocol of ids and removals)
    """

    current: Record
    changes: JSON


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a record, guarded by the version as last read."""

    current: Record


Change = Create | Update | Delete
Outcome = "Record | SyncError"  # one per change, same order; a SyncError value is that change's own failure


@dataclass(frozen=True, slots=True)
class Resource:
    """A vendor's collection.

    name      as the mapping files and the console call it
    writable  False: the vendor offers no create and no update, or we must never use them
    creatable False: records may be updated but not made (bills that only the vendor generates)
    """

    name: str
    writable: bool = True
    creatable: bool = True


FieldType = Literal["text", "number", "date", "instant", "bool", "choice", "reference", "list", "object"]


@dataclass(frozen=True, slots=True)
class VendorField:
    """One field that the records of a resource have in this account: what `describe` finds.

    path      where it stands in the body, in the words of a mapping file: Title, or
              custom_field_values[custom_field.id=4711].value
    label     as the vendor's screens call it
    detail    the vendor's own word for its type
    id        the vendor's own id of the field, which outlives a new label; "" when it has none
    custom    made by the firm, not by the vendor
    writable  this account may write it
    values    for a choice: what can stand in a record
    length    the greatest number of characters; None: no limit, or not told
    """

    path: str
    label: str
    type: FieldType
    detail: str = ""
    id: str = ""
    custom: bool = False
    writable: bool = True
    values: tuple[str, ...] = ()
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What the vendor can and cannot do, as data that the engine, the conformance suite and the docs share.

    write_guard       version: a stale write is refused by the vendor; none: the engine reads just before writing
    repeat_guard      own-id: a create carries our key, so `find` sees whether it happened; none: look by content
    deletions         feed: tombstones come with `pull`; listing: only a full id listing shows them
    batch_max         changes per `send`
    fetch_max         ids per `fetch` request
    page_max          records per page
    read_lag_s        seconds until the vendor's own lists show a finished write
    time_resolution_s resolution of the vendor's modified time
    cursor_life_s     seconds a cursor stays valid; None: for ever
    requests_per_minute  the documented budget; None: not documented
    describe_every_s  how old what `describe` said may become before a worker asks again; 0: asked at every turn, where
                      reading needs the description anyway
    """

    write_guard: Literal["version", "none"] = "none"
    repeat_guard: Literal["own-id", "none"] = "none"
    deletions: Literal["feed", "listing"] = "listing"
    batch_max: int = 1
    fetch_max: int = 1
    page_max: int = 100
    read_lag_s: float = 0.0
    time_resolution_s: float = 1.0
    cursor_life_s: float | None = None
    requests_per_minute: int | None = None
    describe_every_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing a person must give to connect: `name` as in `--setting name=value`; a secret goes to the vault."""

    name: str
    help: str
    required: bool = True
    secret: bool = False
    default: str | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """Where a connection's requests go and how they are signed, worked out from its settings alone.

    base_url    root of every request; a server that the settings name may stand in a private network
    scheme      oauth: settings client_id, client_secret, refresh_token, access_token; basic: username, password;
                bearer: the secret setting named by `secret`; none: the connector makes no HTTP requests
    token_url   for oauth
    """

    base_url: str
    scheme: Literal["oauth", "basic", "bearer", "none"]
    token_url: str | None = None
    secret: str | None = None


@dataclass(frozen=True, slots=True)
class Spec:
    """A connector's self-description; no code runs to read it.

    zone   where it belongs by default in the flow matrix (practice, accounting, mail, documents, marketing, staff)
    hosts  host names the connector may call; "*.example.com" matches one label or more. A `base_url` setting
           adds its own host (on-premises servers and sandboxes)
    """

    name: str
    title: str
    docs: str
    zone: Literal["practice", "accounting", "mail", "documents", "marketing", "staff"]
    hosts: tuple[str, ...]
    settings: tuple[Setting, ...]
    resources: tuple[Resource, ...]
    facts: Facts = field(default_factory=Facts)

    def resource(self, name: str) -> Resource:
        """Raises KeyError with the resource's name when there is none of it."""
        for resource in self.resources:
            if resource.name == name:
                return resource
        raise KeyError(f"{self.name} has no resource {name!r}")


@runtime_checkable
class Connector(Protocol):
    """What every connector is. Construction does nothing: no request, file or thread."""

    spec: ClassVar[Spec]

    def __init__(self, http: VendorHTTP, settings: Mapping[str, str]) -> None: ...

    @staticmethod
    def access(settings: Mapping[str, str]) -> Access:
        """Raises Misconfigured when the settings cannot be meant. Secrets are not among them."""
        ...

    def check(self) -> Checked:
        """One or a few cheap reads. Raises NeedsPerson with a remedy when nothing works at all."""
        ...

    def pull(self, resource: str, since: Cursor | None) -> Iterator[Page]:
        """Everything changed since the cursor (None: everything). Order makes every non-None resume safe."""
        ...


@runtime_checkable
class CanFetch(Protocol):
    def fetch(self, resource: str, ids: Sequence[str]) -> tuple[Record, ...]:
        """The records as they are now, in the order of ids; a missing one comes as a tombstone."""
        ...


@runtime_checkable
class CanList(Protocol):
    def ids(self, resource: str) -> Iterator[tuple[str, ...]]:
        """All live ids, page by page: how deletions are found where no feed shows them."""
        ...


@runtime_checkable
class CanCreate(Protocol):
    def create(self, resource: str, create: Create) -> Record: ...


@runtime_checkable
class CanUpdate(Protocol):
    def update(self, resource: str, update: Update) -> Record:
        """Raises Stale when the guard refuses; Refused when the vendor rejects; UnknownOutcome when no one can tell."""
        ...


@runtime_checkable
class CanDelete(Protocol):
    def delete(self, resource: str, delete: Delete) -> None:
        """A record that is already gone is success."""
        ...


@runtime_checkable
class CanFind(Protocol):
    def find(self, resource: str, create: Create) -> tuple[Record, ...]:
        """Records that this create may have made: by its key where the vendor keeps one, else by content."""
        ...


@runtime_checkable
class CanBatch(Protocol):
    def send(self, resource: str, changes: Sequence[Change]) -> tuple[Record | SyncError, ...]:
        """At most facts.batch_max changes in one request; one outcome each, same order.

        An error raised (not returned) counts for every change of the batch.
        """
        ...


@runtime_checkable
class CanDescribe(Protocol):
    def describe(self, resource: str) -> tuple[VendorField, ...]:
        """All fields that a record of the resource can hold in this account, custom ones too: whatever a mapping
        names beyond them, or inside them, does not exist. Raises SyncError, never an incomplete answer."""
        ...


@runtime_checkable
class CanChoose(Protocol):
    def choose(self, resource: str, names: Sequence[str]) -> None:
        """From now on this object's records of the resource hold these top-level properties too, as far as the
        account has them. For vendors that send only what is asked for; an empty field then comes as null."""
        ...


@dataclass(frozen=True, slots=True)
class Capabilities:
    """A connector's optional methods, found once. Tests switch fields off to walk the engine's other paths."""

    fetch: Callable[[str, Sequence[str]], tuple[Record, ...]] | None
    ids: Callable[[str], Iterator[tuple[str, ...]]] | None
    create: Callable[[str, Create], Record] | None
    update: Callable[[str, Update], Record] | None
    delete: Callable[[str, Delete], None] | None
    find: Callable[[str, Create], tuple[Record, ...]] | None
    send: Callable[[str, Sequence[Change]], tuple[Record | SyncError, ...]] | None
    describe: Callable[[str], tuple[VendorField, ...]] | None = None
    choose: Callable[[str, Sequence[str]], None] | None = None

    @classmethod
    def of(cls, connector: Connector) -> Capabilities:
        return cls(
            fetch=connector.fetch if isinstance(connector, CanFetch) else None,
            ids=connector.ids if isinstance(connector, CanList) else None,
            create=connector.create if isinstance(connector, CanCreate) else None,
            update=connector.update if isinstance(connector, CanUpdate) else None,
            delete=connector.delete if isinstance(connector, CanDelete) else None,
            find=connector.find if isinstance(connector, CanFind) else None,
            send=connector.send if isinstance(connector, CanBatch) else None,
            describe=connector.describe if isinstance(connector, CanDescribe) else None,
            choose=connector.choose if isinstance(connector, CanChoose) else None,
        )

"""What every part of the service holds: settings, the database, a clock, the vault; and the world as configured.

Opening is cheap and makes no request. After a fork, open again: neither database connections nor HTTP
connections are shared between processes.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, select, text

from connectors import registry
from mappings import matching
from mappings.canonical import KINDS, Values
from mappings.flows import authorities
from mappings.load import ConnectorMapping, MappingError, RecordMapping, compiled, load_plan
from mappings.normalize import normalizer
from mappings.places import Place, narrowed, places
from mappings.rollups import Rollup, load_rollups
from mappings.transforms import SHIPPED, Transform, TransformError, load_transforms
from syncd.clock import Clock, SystemClock
from syncd.core.ids import canonical_id
from syncd.core.settle import Rule
from syncd.schemas import agreed
from syncd.store.database import is_current, migrate, open_engine, reading
from syncd.store.tables import connections, meta, schemas

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from connectors.contract import Spec
    from syncd.config import Settings
    from syncd.core.claims import Same
    from syncd.vault import Vault


class WrongKey(Exception):
    """The key does not belong to this database. Nothing starts: what it would write could never be read again."""


@dataclass(frozen=True, slots=True)
class Member:
    """One connection as configured, with its mapping as far as the vendor has the fields for it.

    places    what the lines of the whole mapping use, also lines that are off
    off       resource -> places that are not there, and whether they once were
    returned  resource -> canonical fields that came back after having been away, until everything was read again
    """

    name: str
    spec: Spec
    zone: str
    mode: str
    problem: str | None
    settings: Mapping[str, str]
    mapping: ConnectorMapping
    places: tuple[Place, ...] = ()
    off: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)
    returned: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def writes(self) -> bool:
        return self.mode == "live" and self.problem is None


@dataclass(frozen=True, slots=True)
class Target:
    """A place where records of a kind are written."""

    connection: str
    resource: str
    lens: RecordMapping


class World:
    """The configuration as values: which systems there are, how each is mapped, and how fields are settled."""

    def __init__(
        self, settings: Settings, members: Mapping[str, Member], broken: Mapping[str, str] | None = None
    ) -> None:
        """broken: connections whose mapping cannot be used, with what is wrong; they take part in nothing meanwhile."""
        self.settings = settings
        self.members = members
        self.broken = broken or {}
        self.normalizer = normalizer(settings.firm.region)
        self.rollups: tuple[Rollup, ...] = load_rollups()
        self.rollup_fields = {
            kind: tuple(rollup.field for rollup in self.rollups if rollup.kind == kind) for kind in KINDS
        }
        self.matrix = settings.firm.matrix
        self.rule = Rule(first=settings.firm.authority)
        self._rules: dict[str, dict[str, Rule]] = {}
        for path, rule in settings.firm.rules.items():
            kind, _, name = path.partition(".")
            self._rules.setdefault(kind, {})[name] = replace(rule, first=rule.first or rule.authority)
        claimed, _ = authorities({name: member.mapping for name, member in members.items()})
        for kind, fields in claimed.items():
            for name, connection in fields.items():
                rule = Rule(by="authority", authority=(connection,), first=(connection,))
                self._rules.setdefault(kind, {}).setdefault(name, rule)
        self._same: dict[str, Same] = {}
        self._targets: dict[str, tuple[Target, ...]] = {}

    def year(self, now: datetime) -> int:
        """The calendar year that it is for the firm."""
        return now.astimezone(self.settings.firm.zone).year

    def rules(self, kind: str) -> Mapping[str, Rule]:
        return self._rules.get(kind, {})

    def same(self, kind: str) -> Same:
        """Equality of two values of a flat field; empty is None (or an empty text)."""
        if kind not in self._same:
            known = KINDS[kind].fields
            equal = self.normalizer.same

            def same(name: str, a: Any, b: Any) -> bool:
                if a is b or a == b:
                    return True
                field_name = name.partition("/")[0]
                if field_name not in known:
                    return False
                return equal(kind, name, a, b)

            self._same[kind] = same
        return self._same[kind]

    def keys(self, kind: str, values: Values) -> tuple[str, ...]:
        """Under which exact evidence this record can be found."""
        return matching.keys(kind, values, region=self.settings.firm.region)

    def decide(self, kind: str, a: Values, b: Values) -> matching.Verdict:
        return matching.decide(kind, a, b, region=self.settings.firm.region)

    def reference_key(self, token: str) -> str | None:
        """The evidence under which a reference by key ("?matter.number=00012") finds its record."""
        kind_and_field, _, value = token.removeprefix("?").partition("=")
        kind, _, name = kind_and_field.partition(".")
        found = self.keys(kind, {name: value})
        return found[0] if found else None

    def targets(self, kind: str) -> tuple[Target, ...]:
        """Where records of this kind are written, every connection that maps it outward."""
        if kind not in self._targets:
            found = []
            for member in self.members.values():
                lens = member.mapping.for_kind(kind)
                if lens is not None and member.spec.resource(lens.resource).writable:
                    found.append(Target(member.name, lens.resource, lens))
            self._targets[kind] = tuple(found)
        return self._targets[kind]

    def lens(self, connection: str, kind: str, resource: str) -> RecordMapping | None:
        for lens in self.members[connection].mapping.of(resource):
            if lens.kind == kind:
                return lens
        return None

    @staticmethod
    def classes(kind: str) -> Mapping[str, str]:
        return {name: each.cls for name, each in KINDS[kind].fields.items()}

    @staticmethod
    def references(kind: str) -> frozenset[str]:
        return _REFERENCES[kind]


_REFERENCES = {
    kind: frozenset(name for name, each in described.fields.items() if each.type == "ref")
    for kind, described in KINDS.items()
}


@dataclass
class App:
    """Everything an effect needs. `close` gives the database connections back."""

    settings: Settings
    engine: Engine
    clock: Clock = field(default_factory=SystemClock)
    owner: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}:{os.urandom(3).hex()}")

    @cached_property
    def vault(self) -> Vault:
        return self.settings.vault()

    def close(self) -> None:
        self.engine.dispose()

    def world(self) -> World:
        """Read the configuration now. Cheap: one query, and mapping files are compiled once per process."""
        with reading(self.engine) as connection:
            rows = connection.execute(select(connections).order_by(connections.c.name)).mappings().all()
            here = select(
                schemas.c.connection, schemas.c.resource, schemas.c.pinned_at, schemas.c.off, schemas.c.returned
            )
            described = connection.execute(here.order_by(schemas.c.connection, schemas.c.resource)).all()
        members: dict[str, Member] = {}
        broken: dict[str, str] = {}
        transforms, untransformed = _transforms(self.settings.home / "transforms.py")
        for row in rows:
            override = self.settings.home / "mappings" / f"{row['name']}.yaml"
            own = override if override.exists() else None
            try:
                mine = [each for each in described if each.connection == row["name"]]
                mapping, used = self._mapping(row["name"], row["connector"], own, mine, transforms)
            except MappingError as error:
                broken[row["name"]] = untransformed or (error.errors[0] if error.errors else str(error))
                continue
            except FileNotFoundError as error:
                broken[row["name"]] = str(error)
                continue
            members[row["name"]] = Member(
                name=row["name"],
                spec=_spec(row["connector"]),
                zone=row["zone"],
                mode=row["mode"],
                problem=row["problem"],
                settings=json.loads(row["settings"]),
                mapping=mapping,
                places=used,
                off={each.resource: json.loads(each.off) for each in mine},
                returned={each.resource: frozenset(json.loads(each.returned)) for each in mine},
            )
        _, clashes = authorities({name: member.mapping for name, member in members.items()})
        for clash in clashes:
            if f"{clash.kind}.{clash.field}" not in self.settings.firm.rules:
                for name in clash.connections:
                    members.pop(name, None)
                    broken[name] = clash.error
        return World(self.settings, members, broken)

    def _mapping(
        self,
        name: str,
        connector: str,
        override: Path | None,
        described: Sequence[Any],
        transforms: Mapping[str, Transform],
    ) -> tuple[ConnectorMapping, tuple[Place, ...]]:
        """The mapping as far as the account has the fields for it, and the places that all its lines use."""
        region = self.settings.firm.region
        changed = override.stat().st_mtime if override else 0.0
        seals = tuple((own, each.seal) for own, each in transforms.items() if each.seal)
        pinned = tuple((each.resource, each.pinned_at, each.off) for each in described)
        key = (name, connector, region, override, changed, seals, pinned)
        if key not in _COMPILED:
            off = {each.resource: json.loads(each.off) for each in described}
            pins = agreed(self, name) if override is not None else {}
            # The account had these fields, so a record without one of them shows it empty. Whether it still has them is
            # not asked here: lines whose field is gone are among `off`, and still tell their places.
            plan = load_plan(connector, override=override, transforms=transforms, pins=pins, seen=pins)
            _COMPILED[key] = compiled(narrowed(plan, off), region), places(plan)
        return _COMPILED[key]

    def new_id(self) -> str:
        return canonical_id(int(self.clock.now().timestamp() * 1000), int.from_bytes(os.urandom(10)))


# Looking through the installed packages takes milliseconds, and they do not change under a running process.
_spec = cache(registry.spec)
_COMPILED: dict[tuple[object, ...], tuple[ConnectorMapping, tuple[Place, ...]]] = {}
_READ: dict[tuple[str, float], tuple[Mapping[str, Transform], str]] = {}


def _transforms(path: Path) -> tuple[Mapping[str, Transform], str]:
    """The shipped transforms and the firm's own, read again when the file changes; and what is wrong with it, or ""."""
    try:
        key = (str(path), path.stat().st_mtime)
    except FileNotFoundError:
        return SHIPPED, ""
    if key not in _READ:
        try:
            _READ[key] = (load_transforms(path), "")
        except TransformError as error:
            _READ[key] = (SHIPPED, error.errors[0])
    return _READ[key]


def open_app(settings: Settings, *, clock: Clock | None = None) -> App:
    """Open the store, bring its schema up to date, and make sure that the key is the one it was made with.

    Raises WrongKey.
    """
    engine = open_engine(settings.database_url)
    app = App(settings, engine, clock or SystemClock())
    try:
        if not is_current(engine):
            migrate(engine)
        _hold_key(app)
    except BaseException:
        app.close()
        raise
    return app


def _hold_key(app: App) -> None:
    with reading(app.engine) as sql:
        known = sql.execute(select(meta.c.value).where(meta.c.name == "key")).scalar()
    if known is None:
        with app.engine.begin() as sql:
            sql.execute(
                text("INSERT INTO meta (name, value) VALUES ('key', :value) ON CONFLICT (name) DO NOTHING"),
                {"value": app.vault.fingerprint()},
            )
            known = sql.execute(select(meta.c.value).where(meta.c.name == "key")).scalar_one()
    if not app.vault.recognises(known):
        raise WrongKey(
            "The key does not belong to this database, so stored credentials cannot be read. Put back the key that"
            " this database was created with (SYNCD_KEY, SYNCD_KEY_FILE or the file `key` in the home folder)."
        )

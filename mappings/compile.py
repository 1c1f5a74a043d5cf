"""Turns a checked plan into a `RecordMapping`: the functions by which the engine reads and writes a vendor resource."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mappings.normalize import Normalizer, dates
from mappings.plan import (
    Custom,
    Direction,
    Drift,
    KeyLine,
    LinePlan,
    ListLine,
    PartLine,
    Path,
    PrimaryLine,
    RecordPlan,
    SlotsLine,
    Strength,
    ValueLine,
    paths_of,
)
from mappings.reading import Unreadable, condition_of, reader_of, value_at
from mappings.writing import Writers

if TYPE_CHECKING:
    from mappings.canonical import Values

__all__ = ["Line", "RecordMapping", "Unreadable"]

JSON = dict[str, Any]
LANGUAGE_VERSION = "2"
"""Part of every fingerprint: raised when the same words come to mean something else."""


@dataclass(frozen=True, slots=True)
class Line:
    """One field of a record mapping, as the engine plans with it.

    direction   in: read, never written; out: written, its reading is no statement; both
    strength    enforce: always as the golden record says; fill: only where it is empty; create: only in a new record
    authority   this system is the authority for the field
    companions  fields that belong to this one (kept in the same vendor properties; the currency of an amount): a write
                of this one gives their values too, also where the system's own line for them is not written
    where       file and line of the mapping
    by_key      for a reference that the vendor keeps as another record's field: which one, such as "matter.number"
    """

    field: str
    direction: Direction
    strength: Strength
    is_set: bool
    companions: tuple[str, ...]
    by_key: str | None = None
    authority: bool = False
    where: str = ""


class RecordMapping:
    """How one vendor resource becomes records of one kind, and back. Immutable; safe to share between threads.

    connector, resource, kind  what it maps
    creates        whether new records of the kind may be made there
    lines          its fields; `get` reads all of them, those with direction "out" too (what the system holds)
    customs        custom fields that its lines are pinned to
    drift          lines of custom fields that were stopped or renamed; a stopped one is not among `lines`
    plan           the checked text that it was made of
    fingerprint    changes exactly when the mapping may read or write differently
    vendor_fields  top-level vendor properties that it reads or writes
    applies(body)  whether the record falls under this mapping
    get(body)      the record's Values; raises Unreadable
    source         the generated reader, for curious eyes
    """

    def __init__(self, plan: RecordPlan, normalizer: Normalizer) -> None:
        self.connector = plan.connector
        self.resource = plan.resource
        self.kind = plan.kind.name
        self.creates = plan.creates
        self.plan = plan
        self.customs: tuple[Custom, ...] = plan.customs
        self.drift: tuple[Drift, ...] = plan.drift
        self.lines: Mapping[str, Line] = MappingProxyType(
            {line.head.field.name: _line(line, plan) for line in plan.lines}
        )
        seal = f"{LANGUAGE_VERSION}|{normalizer.region}|{plan.connector}|{plan.source}"
        self.fingerprint = hashlib.blake2b(seal.encode(), digest_size=8).hexdigest()
        self.vendor_fields = _vendor_fields(plan)
        self.applies: Callable[[JSON], bool] = condition_of(plan.when)
        self.get: Callable[[JSON], Values]
        self.get, self.source = reader_of(plan, normalizer)
        self._modified = value_at(plan.modified) if plan.modified else None
        self._writers = Writers(plan, normalizer)

    def __repr__(self) -> str:
        return f"<RecordMapping {self.connector}: {self.resource} -> {self.kind}>"

    def modified_at(self, body: JSON) -> str | None:
        """When the vendor says the record last changed, as YYYY-MM-DDTHH:MM:SS.ffffffZ; None when it does not say."""
        if self._modified is None:
            return None
        try:
            found = self._modified(body)
            return dates.instant(found) if isinstance(found, str) and found else None
        except (AttributeError, TypeError, ValueError):
            return None

    def put(self, values: Values, body: JSON | None) -> JSON:
        """The top-level vendor properties that must change, each with its whole new value; {} when none.

        values  fields to write, whole sets; fields with direction "in" are passed over
        body    the record as last read; None for a record to be made

        A value that equals what is there in normalized form is not written, nor one for which the vendor has no
        room. Laws: put(get(r), r) == {}; put(v, r + put(v, r)) == {}; what no line maps stays. Raises Unreadable,
        also for an amount in another currency than the record's.
        """
        return self._writers.put(values, self.get(body) if body is not None else {}, body)

    def render(self, values: Values, body: JSON | None) -> Values:
        """What `get` would give for these fields once `put` was applied: the system's own rendition of the values.

        Fields for which the record would make no statement are left out. Law: rendering a rendition changes nothing.
        """
        shown = self.get({**(body or {}), **self.put(values, body)})
        return {name: shown[name] for name in values if name in shown}


def _line(line: LinePlan, plan: RecordPlan) -> Line:
    head = line.head
    by_key = f"{line.kind}.{line.key}" if isinstance(line, KeyLine) else None
    return Line(
        head.field.name,
        head.direction,
        head.strength,
        head.field.type == "set",
        _companions(line, plan),
        by_key,
        head.authority,
        head.where,
    )


def _companions(line: LinePlan, plan: RecordPlan) -> tuple[str, ...]:
    name = line.head.field.name
    if line.head.direction == "in":
        return ()
    found: list[str] = []
    for other in plan.lines:
        if other is line or other.head.direction == "in":
            continue
        if (
            _is_pair(line, other)
            or _is_pair(other, line)
            or (isinstance(line, PartLine) and isinstance(other, PartLine) and line.path == other.path)
        ):
            found.append(other.head.field.name)
    if isinstance(line, ValueLine) and line.currency is not None:
        found.append("currency")
    return tuple(dict.fromkeys(n for n in found if n != name))


def _is_pair(primary: LinePlan, whole: LinePlan) -> bool:
    """Whether the first line is the primary element of the set that the second maps, in the same vendor property."""
    if isinstance(primary, PrimaryLine):
        return isinstance(whole, ListLine) and primary.of == whole.head.field.name
    return (
        isinstance(primary, ValueLine)
        and isinstance(whole, SlotsLine)
        and primary.head.field.primary_of == whole.head.field.name
        and any(slot.path == primary.path for slot in whole.slots)
    )


def paths(line: LinePlan) -> tuple[Path, ...]:
    """Every vendor place that a line reads or writes, conditions and currencies included."""
    own = paths_of(line)
    if isinstance(line, ValueLine) and isinstance(line.currency, tuple):
        own = (*own, line.currency)
    return own + line.head.unless + tuple(condition.path for condition in line.head.when)


def _vendor_fields(plan: RecordPlan) -> tuple[str, ...]:
    used = [path for line in plan.lines for path in paths(line)]
    used += [condition.path for condition in plan.when] + [made.path for made in plan.derived]
    used += [path for path, _ in plan.on_create]
    used += [plan.modified] if plan.modified else []
    return tuple(dict.fromkeys(str(path[0]) for path in used))

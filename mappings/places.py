"""Where the lines of a mapping stand in the vendor's record, and the same mapping without places that are not there.

A line whose place has vanished makes no statement and is never written: reading "nothing there" as "empty" would clear
the field in every other system. The other lines go on. Which places exist is for the engine to find out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml

from mappings.compile import paths
from mappings.language import reading
from mappings.plan import (
    Direction,
    FilePlan,
    LinePlan,
    Path,
    Pick,
    PrimaryLine,
    RecordPlan,
    Slot,
    SlotsLine,
    Stray,
    path_text,
)
from mappings.reading import MISSING, value_at

Off = Mapping[str, Mapping[str, bool]]
"""resource -> vendor place that is not there -> whether it once was."""


@dataclass(frozen=True, slots=True)
class Place:
    """One vendor place that one line uses.

    path        as in a mapping file
    where       the line, "salesforce.yaml:43"
    kept_apart  the value is an entry of a list that vendors send without empty entries, so that a field that has
                vanished looks like an empty one
    is_slot     one of several places of a set, which can go on without it
    """

    resource: str
    kind: str
    field: str
    path: str
    where: str
    direction: Direction
    kept_apart: bool = False
    is_slot: bool = False


def places(plan: FilePlan) -> tuple[Place, ...]:
    """Every place of every line, in file order. The primary element of a set stands where the set does."""
    return tuple(
        Place(
            record.resource,
            record.kind.name,
            line.head.field.name,
            path_text(path),
            line.head.where,
            line.head.direction,
            any(isinstance(step, Pick) for step in path),
            isinstance(line, SlotsLine) and any(path in _slot_paths(slot) for slot in line.slots),
        )
        for record in plan.records
        for line in record.lines
        for path in dict.fromkeys(_places_of(line, record))
        if not any(isinstance(step, Stray) for step in path)  # a guard against other fields, not a place
    )


def is_there(path: str, known: Collection[str]) -> bool:
    """Whether a place is one of the known fields or lies inside one."""
    return path in known or any(path.startswith((f"{each}.", f"{each}[")) for each in known)


def value_in(path: str) -> Callable[[dict[str, Any]], Any]:
    """body -> what stands at this place, None when nothing does. Raises MappingError when it is no path."""
    reader = reading()
    node = yaml.ScalarNode("tag:yaml.org,2002:str", path, yaml.Mark(path, 0, 0, 0, None, 0))
    steps = reader.path(node, "path")
    reader.raise_faults()
    read = value_at(steps or ())

    def value(body: dict[str, Any]) -> Any:
        try:
            found = read(body)
        except (AttributeError, TypeError):
            return None
        return None if found is MISSING else found

    return value


def narrowed(plan: FilePlan, off: Off) -> FilePlan:
    """The plan without lines at places that are off, and with a fingerprint of its own.

    A set in slots of which one never was there goes on without that slot. If the slot once was there the whole line is
    off, since the elements that it held would look removed.
    """
    if not any(off.values()):
        return plan
    records = tuple(
        _narrowed(record, off[record.resource]) if off.get(record.resource) else record for record in plan.records
    )
    return replace(plan, records=records)


def _narrowed(record: RecordPlan, off: Mapping[str, bool]) -> RecordPlan:
    lines: list[LinePlan] = []
    for line in record.lines:
        gone = [off[text] for path in paths(line) if (text := path_text(path)) in off]
        if not gone:
            lines.append(line)
        elif isinstance(line, SlotsLine) and not any(gone) and (kept := _without(line, off)) is not None:
            lines.append(kept)
    left = {line.head.field.name for line in lines}
    lines = [line for line in lines if not isinstance(line, PrimaryLine) or line.of in left]
    source = hashlib.blake2b(f"{record.source}|{sorted(off.items())}".encode(), digest_size=16).hexdigest()
    return replace(
        record,
        lines=tuple(lines),
        derived=tuple(made for made in record.derived if path_text(made.path) not in off),
        on_create=tuple(made for made in record.on_create if path_text(made[0]) not in off),
        source=source,
    )


def _without(line: SlotsLine, off: Mapping[str, bool]) -> SlotsLine | None:
    slots = tuple(slot for slot in line.slots if not any(path_text(path) in off for path in _slot_paths(slot)))
    said_by = (*line.head.unless, *(condition.path for condition in line.head.when))
    is_speaking = not any(path_text(path) in off for path in said_by)
    if not slots or not is_speaking:
        return None
    return replace(line, slots=slots, others=line.others if any(s.label == line.others for s in slots) else None)


def _slot_paths(slot: Slot) -> tuple[Path, ...]:
    return (slot.path,) if slot.path else tuple(slot.parts.values())


def _places_of(line: LinePlan, record: RecordPlan) -> tuple[Path, ...]:
    if isinstance(line, PrimaryLine):
        return tuple(p for other in record.lines if other.head.field.name == line.of for p in paths(other))
    return paths(line)

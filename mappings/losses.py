"""What a mapping line loses, and whether it says so.

A line joins two types. Where the vendor's holds less than ours, a value that is written and read again is another
one, and where it holds something else, nothing can be written at all. Both are fine when the file says it: a word
such as `cut`, `decimals` or `as` is the declaration, `loses` is it where no word exists. What a vendor's field can hold
comes from the `facts` of the mapping file, or from the account itself (a discovered schema).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from mappings.canonical import ADDRESS_PARTS, LABELS
from mappings.plan import Fact, LinePlan, ListLine, Path, SlotsLine, ValueLine, path_text

if TYPE_CHECKING:
    from mappings.load import ConnectorMapping

_HOLDS: Mapping[str, frozenset[str]] = {
    "text": frozenset({"text", "choice"}),
    "email": frozenset({"text"}),
    "phone": frozenset({"text"}),
    "enum": frozenset({"text", "choice", "bool", "int"}),
    "date": frozenset({"date", "instant", "text"}),
    "instant": frozenset({"instant", "date", "text"}),
    "decimal": frozenset({"decimal", "int"}),
    "int": frozenset({"int", "decimal"}),
    "bool": frozenset({"bool"}),
}
"""canonical type -> vendor types in which its values can stand without a transform."""


def undeclared(mapping: ConnectorMapping, schema: Mapping[str, Mapping[str, Fact]]) -> tuple[str, ...]:
    """What the lines lose, or cannot mean, in this very account, one "file:line: ..." text each.

    schema  resource -> path as the mapping file writes it ("Title", "n.given") -> what the field holds; fields that it
            does not name are passed over
    """
    return tuple(
        f"{line.head.where}: {wrong}"
        for record in mapping.mappings
        for line in record.plan.lines
        if isinstance(line, ValueLine)
        and (fact := schema.get(record.resource, {}).get(path_text(line.path))) is not None
        for wrong in surprises(line, {line.path: fact})
    )


def surprises(line: LinePlan, facts: Mapping[Path, Fact]) -> Iterator[str]:
    """What a line loses without saying so, what it cannot mean, and what it declares in vain; one text each."""
    name = line.head.field.name
    lost = dict(_lost_in_sets(line)) if line.head.direction != "in" else {}
    for loss, why in lost.items():
        if loss not in line.head.loses:
            yield f"{name}: undeclared loss: {why}; say `loses: {loss}`"
    for loss in sorted(line.head.loses - lost.keys()):
        yield f"{name}: `loses: {loss}` is said of a line that does not lose them"
    if isinstance(line, ValueLine) and line.path in facts:
        yield from _lost_in_values(line, facts[line.path])


def _lost_in_sets(line: LinePlan) -> Iterator[tuple[str, str]]:
    name = line.head.field.name
    match line:
        case ListLine(label=None):
            yield "labels", f"entries of {name} have no place for a label"
        case ListLine(label=label) if label is not None and label.fallback is None:
            missing = [each for each in LABELS if each not in label.entries]
            if missing:
                yield "labels", f"the labels {', '.join(missing)} have no word there and there is no `else`"
        case SlotsLine(slots=slots) if any(slot.label is None for slot in slots):
            yield "labels", f"a slot without a label holds {name} whose label is then not kept"
    kept = set(ADDRESS_PARTS)
    match line:
        case ListLine(parts=parts) if parts:
            kept = set(parts)
        case SlotsLine(slots=slots) if any(slot.parts for slot in slots):
            kept = set.intersection(*(set(slot.parts) for slot in slots))
    if gone := [part for part in ADDRESS_PARTS if part not in kept]:
        yield "parts", f"{', '.join(gone)} of an address has no place there"


def _lost_in_values(line: ValueLine, fact: Fact) -> Iterator[str]:
    name, type_, writes = line.head.field.name, line.head.field.type, line.head.direction != "in"
    place = path_text(line.path)
    if line.transform is not None:
        return  # it says itself what it loses
    if fact.type not in _HOLDS[type_] and (writes or (type_, fact.type) not in _READABLE):
        yield f"{name} is {type_}, but the vendor's {place} holds {fact.type}; that needs a transform"
        return
    if type_ == "date" and fact.type == "instant" and line.form != "instant":
        yield f"{name}: undeclared loss: of the vendor's {place}, an instant, only the day is kept; say `as: instant`"
    if not writes:
        return
    if type_ == "instant" and fact.type == "date" and line.form != "date":
        yield f"{name}: undeclared loss: the vendor's {place} is a date and keeps no time of day; say `as: date`"
    if (
        type_ == "text"
        and fact.length is not None
        and line.table is None
        and not (line.cut and line.cut <= fact.length)
    ):
        yield (
            f"{name}: undeclared loss: the vendor's {place} takes {fact.length} characters; say `cut: {fact.length}`"
        )
    if type_ == "text" and fact.type == "choice" and line.table is None:
        yield f"{name}: undeclared loss: the vendor's {place} takes words of its own list only; give a table: `values`"
    if type_ == "decimal" and line.scale is None:
        digits = 0 if fact.type == "int" else fact.decimals
        if digits is not None and (line.decimals is None or line.decimals > digits):
            word = f"`decimals: {digits}`" if digits else "`scale`, which rounds to whole vendor units"
            yield f"{name}: undeclared loss: the vendor's {place} keeps {digits} digits after the point; say {word}"


_READABLE = frozenset(
    {("text", "int"), ("text", "decimal"), ("text", "date"), ("text", "instant"), ("decimal", "text"), ("int", "text")}
)
"""(canonical type, vendor type) that can at least be read."""

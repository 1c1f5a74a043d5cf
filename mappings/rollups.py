"""Rollups: totals computed from other records, declared in rollups.yaml. Pure and exact.

A rollup says which records add up to which field; finding the records that belong to one target is the engine's work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from mappings.canonical import KINDS, Field, Values
from mappings.language import reading
from mappings.nodes import Entries, nearest
from mappings.normalize import money
from mappings.plan import MappingError

Function = Literal["sum", "count", "min", "max", "latest"]

_FILE = Path(__file__).with_name("rollups.yaml")
_FUNCTIONS: tuple[Function, ...] = ("sum", "count", "min", "max", "latest")
_WORDS = ("field", *_FUNCTIONS, "by", "through", "of", "where", "this year", "alike", "blank")
_ORDERED = ("decimal", "int", "date", "instant")
_TIMES = ("date", "instant")


@dataclass(frozen=True, slots=True)
class Source:
    """Which records are added up, and what of them.

    kind, field  whose, and which field; "" for count
    via          their reference that leads to the target, or to what the target's `on` leads to
    where        field -> the values that count; None stands for "not stated", too
    this_year    their date or instant that must lie in the year; "" for any time
    alike        field in which all counted records must agree, or the total is unknown; "" for none
    by           for latest: the date or instant that tells which record is newest
    """

    kind: str
    field: str
    via: str
    where: Mapping[str, tuple[Any, ...]]
    this_year: str
    alike: str
    by: str

    @property
    def reads(self) -> frozenset[str]:
        """The fields of a record on which the total depends; no other change of it matters."""
        named = (self.field, self.via, self.this_year, self.alike, self.by, *self.where)
        return frozenset(name for name in named if name)

    def counts(self, values: Values, year: int) -> bool:
        """Whether a record counts in that year."""
        if self.this_year and not str(values.get(self.this_year) or "").startswith(f"{year:04}-"):
            return False
        return all(values.get(name) in allowed for name, allowed in self.where.items())


@dataclass(frozen=True, slots=True)
class Rollup:
    """One declared total.

    kind, field  what receives it
    function     sum | count | min | max | latest
    on           the target's reference that leads to what the sources' `via` leads to, or "self"
    blank        without any record that states the field there is no total
    sources      what is added up, taken together
    """

    kind: str
    field: str
    function: Function
    on: str
    blank: bool
    sources: tuple[Source, ...]

    @property
    def name(self) -> str:
        return f"{self.kind}.{self.field}"

    @property
    def by_year(self) -> bool:
        """Whether it changes when a new year begins."""
        return any(source.this_year for source in self.sources)

    @property
    def nothing(self) -> Any:
        """The total of no records."""
        return {"sum": "0", "count": 0}.get(self.function) if not self.blank else None

    def compute(self, records: Sequence[Iterable[Values]], year: int) -> Any:
        """The total of the records that belong to one target, one iterable for each of `sources`; the year is the
        firm's current one. Records that do not count are passed over, and their order does not matter.

        sum: plain decimal digits. count: an int. min, max, latest: the field's own form, None for none. None as well
        where the counted records differ in `alike` (two currencies have no sum), and where a blank rollup finds no
        record that states the field, whether it counts or not.
        """
        stated = [
            (source, values)
            for source, group in zip(self.sources, records, strict=True)
            for values in group
            if not source.field or values.get(source.field) is not None
        ]
        if not stated:
            return self.nothing
        counted = [(source, values) for source, values in stated if source.counts(values, year)]
        if self.function == "count":
            return len(counted)
        if len({values.get(source.alike) for source, values in counted if source.alike}) > 1:
            return None
        found = [values[source.field] for source, values in counted]
        match self.function:
            case "sum":
                return money.normal(format(sum((Decimal(str(value)) for value in found), Decimal(0)), "f"))
            case "latest":
                dated = [(values.get(source.by) or "", values[source.field]) for source, values in counted]
                return max(dated, default=("", None))[1]
            case _:
                pick = min if self.function == "min" else max
                if found and KINDS[self.kind].fields[self.field].type == "decimal":
                    return money.normal(format(pick(Decimal(str(value)) for value in found), "f"))
                return pick(found, default=None)


def load_rollups(text: str | None = None, name: str = "rollups.yaml") -> tuple[Rollup, ...]:
    """The declared rollups: the shipped ones (read once), or those of a text. Raises MappingError."""
    return _shipped() if text is None else _parsed(text, name)


@cache
def _shipped() -> tuple[Rollup, ...]:
    return _parsed(_FILE.read_text(encoding="utf-8"), _FILE.name)


def fingerprint(rollups: Iterable[Rollup]) -> str:
    """Changes when totals may come out differently, so that they must all be computed again."""
    return hashlib.blake2b("|".join(sorted(map(repr, rollups))).encode(), digest_size=8).hexdigest()


def _parsed(text: str, name: str) -> tuple[Rollup, ...]:
    reader = reading()
    top = reader.entries(reader.compose(text, name), "the file", ("rollups",))
    node = top["rollups"][1] if "rollups" in top else None
    if not isinstance(node, yaml.SequenceNode):
        raise MappingError([f"{name}:1: the file: expected 'rollups' with a list"])
    found: dict[str, Rollup] = {}
    lines: dict[str, yaml.Node] = {}
    for entry in node.value:
        for rollup in _entry(reader, entry):
            before = found.get(rollup.name)
            if before is None:
                found[rollup.name], lines[rollup.name] = rollup, entry
            elif (before.function, before.on, before.blank) != (rollup.function, rollup.on, rollup.blank):
                reader.fail(entry, f"{rollup.name} is declared before with another function, 'of' or 'blank'")
            else:
                sources = (*before.sources, *rollup.sources)
                found[rollup.name] = Rollup(
                    rollup.kind, rollup.field, rollup.function, rollup.on, rollup.blank, sources
                )
    for each in found:
        if _is_own_source(each, found):
            reader.fail(lines[each], f"{each} is computed from itself")
    reader.raise_faults()
    return tuple(found.values())


def _is_own_source(name: str, found: Mapping[str, Rollup]) -> bool:
    """Whether a total depends on itself, by whatever way round."""
    seen: set[str] = set()
    todo = [name]
    while todo:
        rollup = found.get(todo.pop())
        for source in rollup.sources if rollup is not None else ():
            made_of = {f"{source.kind}.{field}" for field in source.reads}
            if name in made_of:
                return True
            todo += made_of - seen
            seen |= made_of
    return False


def _entry(reader: Any, entry: yaml.Node) -> list[Rollup]:
    """The rollups of one entry of the file, one for each of its fields; [] after a fault."""
    spec: Entries = reader.entries(entry, "a rollup", _WORDS)
    words = {
        word: reader.text(value, word) or ""
        for word, (_, value) in spec.items()
        if word not in ("field", "where", "blank")
    }
    functions = [f for f in _FUNCTIONS if f in words]
    if len(functions) != 1 or "field" not in spec or not {"through", "of"} <= words.keys():
        expected = ", ".join(repr(f) for f in _FUNCTIONS)
        reader.fail(entry, f"a rollup: expected 'field', 'through', 'of' and one of {expected}")
        return []
    function = functions[0]
    kind, _, field = words[function].partition(".")
    if kind not in KINDS:
        reader.fail(entry, f"{function}: there is no kind {kind!r}{nearest(kind, KINDS)}")
        return []
    fields = KINDS[kind].fields
    where = reader.entries(spec["where"][1], "where", fields) if "where" in spec else {}
    source = Source(
        kind=kind,
        field=field,
        via=words["through"],
        where={name: reader.scalars(value, "where") for name, (_, value) in where.items()},
        this_year=words.get("this year", ""),
        alike=words.get("alike", ""),
        by=words.get("by", field if function == "latest" else ""),
    )
    blank = reader.flag(spec["blank"][1], "blank") if "blank" in spec else False
    made = []
    for target in reader.scalars(spec["field"][1], "field"):
        target_kind, _, target_field = str(target).partition(".")
        rollup = Rollup(target_kind, target_field, function, words["of"], blank, (source,))
        if problem := _source_problem(function, source, fields) or _target_problem(rollup, source, fields):
            reader.fail(entry, problem)
        else:
            made.append(rollup)
    return made


def _source_problem(function: Function, source: Source, fields: Mapping[str, Field]) -> str:
    """What is wrong with what is added up, or ""."""
    named: dict[str, str] = {
        function: source.field,
        "through": source.via,
        "this year": source.this_year,
        "alike": source.alike,
    }
    if function == "latest":
        named["by"] = source.by
    for word, name in named.items():
        if name and name not in fields:
            return f"{word}: {source.kind} has no field {name!r}{nearest(name, fields)}"
    if fields[source.via].type != "ref":
        return f"through: {source.via} is {fields[source.via].type}, expected a reference"
    for word in ("this year", "by"):
        if (time := named.get(word)) and fields[time].type not in _TIMES:
            return f"{word}: {time} is {fields[time].type}, expected date or instant"
    if source.by and function != "latest":
        return "by: only 'latest' has it"
    if function == "count":
        return "count: expected a kind without a field" if source.field else ""
    if not source.field:
        return f"{function}: expected a field, such as invoice.total"
    held = fields[source.field].type
    if function == "sum" and held != "decimal":
        return f"sum: {source.field} is {held}, expected decimal"
    if function in ("min", "max") and held not in _ORDERED:
        return f"{function}: {source.field} is {held}, expected one of {', '.join(_ORDERED)}"
    return ""


def _target_problem(rollup: Rollup, source: Source, fields: Mapping[str, Field]) -> str:
    """What is wrong with what receives the total, or ""."""
    if rollup.kind not in KINDS or rollup.field not in KINDS[rollup.kind].fields:
        return _no_rollup(rollup)
    own = KINDS[rollup.kind].fields
    target = own[rollup.field]
    if not target.rollup:
        return _no_rollup(rollup)
    given = "int" if rollup.function == "count" else fields[source.field].type
    if target.type != given:
        return f"field: {rollup.name} is {target.type}, and the {rollup.function} is {given}"
    if target.type == "enum" and not set(fields[source.field].values) <= set(target.values):
        return f"field: {rollup.name} cannot hold every value of {source.kind}.{source.field}"
    leads_to = fields[source.via].refs
    if rollup.on == "self":
        if rollup.kind not in leads_to:
            return f"through: {source.via} leads to {', '.join(leads_to)}, not to {rollup.kind}"
        return ""
    if rollup.on not in own or own[rollup.on].type != "ref":
        return f"of: {rollup.kind} has no reference {rollup.on!r}; expected one, or self"
    if not set(own[rollup.on].refs) & set(leads_to):
        return f"of: {rollup.on} and {source.via} never lead to the same record"
    return ""


def _no_rollup(rollup: Rollup) -> str:
    known = [f"{kind.name}.{field.name}" for kind in KINDS.values() for field in kind.fields.values() if field.rollup]
    return f"field: {rollup.name!r} is no rollup field{nearest(rollup.name, known)}"

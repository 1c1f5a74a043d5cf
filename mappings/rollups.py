"""Rollups: totals computed from other records, declared in rollups.yaml. Pure and exact.

A rollup says which records add up to which field; finding the records that belong to one target is the engine's work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import yaml

from mappings.canonical import KINDS, Values
from mappings.language import MappingError, nearest, reading
from mappings.normalize import money

Function = Literal["sum", "count", "latest"]

_FILE = Path(__file__).with_name("rollups.yaml")
_FUNCTIONS: tuple[Function, ...] = ("sum", "count", "latest")


@dataclass(frozen=True, slots=True)
class Rollup:
    """One declared total.

    kind, field   what receives it
    function      sum | count | latest
    source_kind   the kind of the records that are added up
    source_field  what of them is added up; "" for count
    via           the source's reference field that leads to the matter
    on            the target's reference field that leads to the same matter, or "self"
    where         source field -> the values that count
    alike         source field in which all counted records must agree, or the total is unknown; "" for none
    """

    kind: str
    field: str
    function: Function
    source_kind: str
    source_field: str
    via: str
    on: str
    where: Mapping[str, tuple[Any, ...]]
    alike: str

    @property
    def condition(self) -> Callable[[Values], bool]:
        """Whether a source record counts."""
        return self.counts

    def counts(self, source: Values) -> bool:
        """Whether a source record counts."""
        return all(source.get(name) in allowed for name, allowed in self.where.items())

    def compute(self, values: Iterable[Values]) -> str | None:
        """The total of these source records; those that do not count are passed over.

        sum: plain decimal digits, "0" for none; None when the records differ in `alike` (two currencies have no sum).
        count: digits. latest: a date, None for none. The order of the records does not matter.
        """
        counted = [source for source in values if self.counts(source)]
        if self.function == "count":
            return str(len(counted))
        stated = [source for source in counted if source.get(self.source_field) is not None]
        if self.alike and len({source.get(self.alike) for source in stated}) > 1:
            return None
        if self.function == "latest":
            return max((str(source[self.source_field]) for source in stated), default=None)
        total = sum((Decimal(str(source[self.source_field])) for source in stated), Decimal(0))
        return money.normal(format(total, "f"))


def load_rollups(text: str | None = None, name: str = "rollups.yaml") -> tuple[Rollup, ...]:
    """The declared rollups: the shipped ones, or those of a text. Raises MappingError."""
    if text is None:
        text = _FILE.read_text(encoding="utf-8")
    reader = reading()
    top = reader.entries(reader.compose(text, name), "the file", ("rollups",))
    found: list[Rollup] = []
    node = top["rollups"][1] if "rollups" in top else None
    if not isinstance(node, yaml.SequenceNode):
        raise MappingError([f"{name}:1: the file: expected 'rollups' with a list"])
    known = ("field", *_FUNCTIONS, "through", "of", "where", "alike")
    for entry in node.value:
        spec = reader.entries(entry, "a rollup", known)
        words = {word: reader.text(value, word) or "" for word, (_, value) in spec.items() if word != "where"}
        functions = [f for f in _FUNCTIONS if f in words]
        if len(functions) != 1 or not {"field", "through", "of"} <= words.keys():
            reader.fail(entry, "a rollup: expected 'field', 'through', 'of' and one of 'sum', 'count', 'latest'")
            continue
        kind, _, field = words["field"].partition(".")
        source_kind, _, source_field = words[functions[0]].partition(".")
        problem = _problem(kind, field, functions[0], source_kind, source_field, words)
        if problem:
            reader.fail(entry, problem)
            continue
        where = {
            word: reader.scalars(value, "where")
            for word, (_, value) in (
                reader.entries(spec["where"][1], "where", KINDS[source_kind].fields) if "where" in spec else {}
            ).items()
        }
        found.append(
            Rollup(
                kind=kind,
                field=field,
                function=functions[0],
                source_kind=source_kind,
                source_field=source_field,
                via=words["through"],
                on=words["of"],
                where=where,
                alike=words.get("alike", ""),
            )
        )
    reader.raise_faults()
    return tuple(found)


def _problem(
    kind: str, field: str, function: Function, source_kind: str, source_field: str, words: Mapping[str, str]
) -> str:
    """What is wrong with a rollup's names, or ""."""
    if kind not in KINDS or field not in KINDS[kind].fields or not KINDS[kind].fields[field].rollup:
        rollups = [f"{k.name}.{f.name}" for k in KINDS.values() for f in k.fields.values() if f.rollup]
        return f"field: {words['field']!r} is no rollup field{nearest(words['field'], rollups)}"
    if source_kind not in KINDS:
        return f"{function}: there is no kind {source_kind!r}{nearest(source_kind, KINDS)}"
    fields = KINDS[source_kind].fields
    if function != "count" and source_field not in fields:
        return f"{function}: {source_kind} has no field {source_field!r}{nearest(source_field, fields)}"
    if function == "sum" and fields[source_field].type != "decimal":
        return f"sum: {source_field} is {fields[source_field].type}, expected decimal"
    if words["through"] not in fields or fields[words["through"]].type != "ref":
        return f"through: {source_kind} has no reference {words['through']!r}{nearest(words['through'], fields)}"
    own = KINDS[kind].fields
    if words["of"] != "self" and (words["of"] not in own or own[words["of"]].type != "ref"):
        return f"of: {kind} has no reference {words['of']!r}; expected one, or self"
    if words.get("alike") and words["alike"] not in fields:
        return f"alike: {source_kind} has no field {words['alike']!r}{nearest(words['alike'], fields)}"
    return ""

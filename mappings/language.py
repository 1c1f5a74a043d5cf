"""The mapping language: reads a connector's YAML file into a checked plan, or says everything that is wrong with it.

A file holds record mappings; a record mapping holds one line per canonical field. Each line is a two-way lens: where
the value stands in the vendor's record, and what happens to it on the way in and out. Nothing is guessed: an unknown
word is an error with file, line, what was found, what was expected and the nearest right word, and all errors of a
file come at once. The words stand in words.py, what they say in plan.py; compile.py makes functions.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

import yaml

from mappings import words
from mappings.canonical import KINDS, Kind
from mappings.lines import Beside, Lines, Pins, conditions, sequence
from mappings.losses import surprises
from mappings.nodes import Entries, Reader, listing, nearest, where
from mappings.plan import (
    Derived,
    Fact,
    FilePlan,
    MappingError,
    Path,
    RecordPlan,
    ValueLine,
    path_text,
    paths_of,
)
from mappings.transforms import SHIPPED, Transform

__all__ = ["MappingError", "Pins", "nearest", "parse", "reading"]


def reading() -> Reader:
    """A reader for another declaration file in the same style."""
    return Reader()


def parse(
    text: str,
    name: str,
    *,
    override: tuple[str, str] | None = None,
    transforms: Mapping[str, Transform] = SHIPPED,
    pins: Pins | None = None,
    seen: Pins | None = None,
) -> FilePlan:
    """The checked plan of one file. Raises MappingError.

    override          text and name of the firm's own file
    transforms        what `transform` can name
    pins, seen        custom fields as agreed and as the account has them now; see `Pins`
    """
    reader = Reader()
    beside = Beside(transforms, pins or {}, seen)
    top = reader.entries(reader.compose(text, name), "the file", words.FILE)
    replaced = _Overrides(reader)
    if override is not None:
        replaced.read(*override, base=top)
    root = next(iter(top.values()), None)
    connector = None
    for word in ("connector", "records"):
        if word not in top:
            reader.faults.append(
                (name, 1, f"the file: {word!r} is missing" + ("" if root else f"; expected {listing(words.FILE)}"))
            )
    if "connector" in top:
        connector = reader.text(top["connector"][1], "connector")
    records: list[RecordPlan] = []
    if "records" in top:
        nodes = sequence(reader, top["records"][1], "records")
        resources = _resources(reader, nodes)
        for node in nodes:
            plan = _record(reader, node, connector or "", resources, replaced, beside)
            if plan is not None:
                _check_pair(reader, node, plan, records)
                records.append(plan)
    replaced.report_unused()
    reader.raise_faults()
    return FilePlan(connector or "", tuple(records))


def _resources(reader: Reader, nodes: Iterable[yaml.Node]) -> dict[str, set[str]]:
    """resource -> the kinds that its records become, read ahead so that references can be checked."""
    found: dict[str, set[str]] = {}
    for node in nodes:
        if isinstance(node, yaml.MappingNode):
            plain = {
                k.value: v.value
                for k, v in node.value
                if isinstance(k, yaml.ScalarNode) and isinstance(v, yaml.ScalarNode)
            }
            if "resource" in plain and "kind" in plain:
                found.setdefault(plain["resource"], set()).add(plain["kind"])
    return found


class _Overrides:
    """A firm's own file: single lines (and `creates`) that replace the shipped ones; a line of `off` removes one."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.records: dict[tuple[str, str], tuple[yaml.Node, Entries]] = {}
        self.fields: dict[tuple[str, str], Entries] = {}
        self.used: set[tuple[str, str]] = set()

    def read(self, text: str, name: str, base: Entries) -> None:
        reader = self.reader
        top = reader.entries(reader.compose(text, name, words.OVERRIDE), "the override file", words.OVERRIDE)
        if "overrides" not in top:
            reader.faults.append((name, 1, "the override file: 'overrides' is missing; it names the connector"))
        elif "connector" in base:
            reader.choice(top["overrides"][1], [str(base["connector"][1].value)], "overrides")
        for node in sequence(reader, top["records"][1], "records") if "records" in top else []:
            record = reader.entries(node, "a record", words.CHANGE)
            resource = reader.text(record["resource"][1], "resource") if "resource" in record else None
            kind = reader.text(record["kind"][1], "kind") if "kind" in record else None
            if resource is None or kind is None:
                reader.fail(node, "a record: 'resource' and 'kind' say which shipped record mapping is meant")
                continue
            if (resource, kind) in self.records:
                reader.fail(node, f"{resource} -> {kind} is given twice")
                continue
            self.records[resource, kind] = (node, record)
            self.fields[resource, kind] = reader.entries(record["fields"][1], "fields") if "fields" in record else {}

    def report_unused(self) -> None:
        for key, (node, _) in self.records.items():
            if key not in self.used:
                self.reader.fail(node, f"there is no shipped record mapping {key[0]} -> {key[1]} to change")


def _record(
    reader: Reader,
    node: yaml.Node,
    connector: str,
    resources: Mapping[str, set[str]],
    replaced: _Overrides,
    beside: Beside,
) -> RecordPlan | None:
    entries = reader.entries(node, "a record", words.RECORD)
    for word in ("resource", "kind", "fields"):
        if word not in entries and isinstance(node, yaml.MappingNode):
            reader.fail(node, f"a record: {word!r} is missing")
    if not {"resource", "kind", "fields"} <= entries.keys():
        return None
    resource = reader.text(entries["resource"][1], "resource")
    kind_name = reader.choice(entries["kind"][1], list(KINDS), "kind")
    if resource is None or kind_name is None:
        return None
    kind = KINDS[kind_name]
    key = (resource, kind_name)
    fields = reader.entries(entries["fields"][1], "fields")
    if key in replaced.records:
        replaced.used.add(key)
        own = replaced.records[key][1]
        for word in ("creates", "facts"):
            if word in own:
                entries[word] = own[word]
        for name, (name_node, line_node) in replaced.fields[key].items():
            is_off = isinstance(line_node, yaml.ScalarNode) and line_node.value == "off"
            if is_off and name not in fields:
                reader.fail(
                    name_node,
                    f"{name!r} is not mapped in {resource} -> {kind_name}, so it cannot be off{nearest(name, fields)}",
                )
            elif is_off:
                del fields[name]
            else:
                fields[name] = (name_node, line_node)
    when = conditions(reader, entries["when"][1]) if "when" in entries else ()
    creates = reader.flag(entries["creates"][1], "creates") if "creates" in entries else False
    lines = Lines(reader, kind, resource, resources, beside, creates, when)
    if "custom fields" in entries:
        lines.read_custom_place(entries["custom fields"][1])
    for name, (name_node, line_node) in fields.items():
        lines.read(name, name_node, line_node)
    derived = tuple(
        made
        for path_node, spec_node in (
            reader.entries(entries["derived"][1], "derived").values() if "derived" in entries else ()
        )
        if (made := _derived(reader, kind, path_node, spec_node)) is not None
    )
    lines.check_together(derived)
    on_create = tuple(
        (path, values[0])
        for path_node, value_node in (
            reader.entries(entries["on create"][1], "on create").values() if "on create" in entries else ()
        )
        if (path := reader.path(path_node, "on create")) and (values := reader.scalars(value_node, "on create"))
    )
    if on_create and not creates:
        reader.fail(entries["on create"][0], "on create: this record mapping makes no new records (creates: no)")
    for made in derived:
        lines.claim_path(entries["derived"][1], made.path, "derived")
    facts = _facts(reader, entries["facts"][1], lines) if "facts" in entries else {}
    for line in lines.found.values():
        for wrong in surprises(line, facts):
            reader.fail(lines.nodes[line.head.field.name], wrong)
    return RecordPlan(
        connector=connector,
        resource=resource,
        kind=kind,
        creates=creates,
        modified=reader.path(entries["modified"][1], "modified") if "modified" in entries else None,
        when=when,
        on_create=on_create,
        derived=derived,
        lines=tuple(lines.found.values()),
        source=_source(entries, fields, lines),
        where=where(node),
        facts=facts,
        customs=tuple(lines.customs),
        drift=tuple(lines.drift),
    )


_FACT = re.compile(r"(text)(?: ([1-9]\d*))?|(decimal)(?: (\d+))?|(date|instant|int|bool|choice)")


def _facts(reader: Reader, node: yaml.Node, lines: Lines) -> dict[Path, Fact]:
    found: dict[Path, Fact] = {}
    mapped = {path: path_text(path) for line in lines.found.values() for path in paths_of(line)}
    for path_node, fact_node in reader.entries(node, "facts").values():
        path, text = reader.path(path_node, "facts"), reader.text(fact_node, "facts")
        if path is None or text is None:
            continue
        if path not in mapped:
            known = mapped.values()
            reader.fail(path_node, f"facts: no line maps {path_text(path)!r}{nearest(path_text(path), known)}")
        fact = fact_of(text)
        if fact is None:
            reader.fail(
                fact_node,
                f"facts: cannot read {text!r}; expected text, text 40, decimal, decimal 2, date, instant, int, bool"
                " or choice",
            )
        else:
            found[path] = fact
    return found


def fact_of(text: str) -> Fact | None:
    """The fact that a text such as "text 40" or "decimal 2" states; None when it states none."""
    match = _FACT.fullmatch(text)
    if match is None:
        return None
    if match[1]:
        return Fact("text", length=int(match[2]) if match[2] else None)
    if match[3]:
        return Fact("decimal", decimals=int(match[4]) if match[4] else None)
    return Fact(cast("Any", match[5]))


_SILENT = ("note", "description", "facts", "loses", "authority")
"""Words that change nothing in what is read or written, so they stay out of the fingerprint."""


def _source(entries: Entries, fields: Entries, lines: Lines) -> str:
    def plain(node: yaml.Node, silent: tuple[str, ...] = ()) -> Any:
        if isinstance(node, yaml.MappingNode):
            return {str(k.value): plain(v) for k, v in node.value if k.value not in silent}
        if isinstance(node, yaml.SequenceNode):
            return [plain(v) for v in node.value]
        return [node.tag, node.value]

    record = {name: plain(value) for name, (_, value) in entries.items() if name != "fields" and name not in _SILENT}
    record["fields"] = {name: plain(value, _SILENT) for name, (_, value) in fields.items()}
    record["pins"] = [(custom.field, custom.id, custom.is_known) for custom in lines.customs]
    record["stopped"] = [drift.field for drift in lines.drift if drift.stops]
    record["transforms"] = [
        (line.transform.name, line.transform.seal)
        for line in lines.found.values()
        if isinstance(line, ValueLine) and line.transform is not None
    ]
    return hashlib.blake2b(json.dumps(record, sort_keys=True).encode(), digest_size=16).hexdigest()


def _derived(reader: Reader, kind: Kind, path_node: yaml.Node, spec_node: yaml.Node) -> Derived | None:
    path = reader.path(path_node, "derived")
    spec = reader.entries(spec_node, "derived", words.DERIVED)
    if path is None or "join" not in spec:
        if path is not None and isinstance(spec_node, yaml.MappingNode):
            reader.fail(spec_node, "derived: 'join' is missing; it lists the canonical fields to join")
        return None
    join = reader.scalars(spec["join"][1], "join")
    for name in join:
        if name not in kind.fields:
            reader.fail(spec["join"][1], f"join: {kind.name} has no field {name!r}{nearest(str(name), kind.fields)}")
        elif kind.fields[name].type != "text":
            reader.fail(spec["join"][1], f"join: {name!r} is {kind.fields[name].type}, expected text")
    return Derived(
        path=path,
        join=tuple(str(name) for name in join),
        otherwise=reader.text(spec["else"][1], "else") if "else" in spec else None,
        only_on_create="on" in spec and reader.choice(spec["on"][1], ("create", "change"), "on") == "create",
    )


def _check_pair(reader: Reader, node: yaml.Node, plan: RecordPlan, others: Iterable[RecordPlan]) -> None:
    """No record may fall under two record mappings of one resource."""
    for other in others:
        if other.resource != plan.resource:
            continue
        if other.kind.name == plan.kind.name:
            reader.fail(node, f"{plan.resource} -> {plan.kind.name} is mapped twice (first at {other.where})")
            continue
        apart = any(
            mine.path == theirs.path and not set(mine.allowed) & set(theirs.allowed)
            for mine in plan.when
            for theirs in other.when
        )
        if not apart:
            reader.fail(
                node,
                f"{plan.resource} is also mapped at {other.where}; both need a 'when' that tells their records apart",
            )

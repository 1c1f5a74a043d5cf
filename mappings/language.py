"""The mapping language: reads a connector's YAML file into a checked plan, or says everything that is wrong with it.

A file holds record mappings; a record mapping holds one line per canonical field. Each line is a two-way lens: where
the value stands in the vendor's record, and what happens to it on the way in and out. Nothing is guessed: an unknown
word is an error with file, line, what was found, what was expected and the nearest right word, and all errors of a
file come at once. `docs/mapping-language.md` describes the words for a firm's admin; compile.py makes functions.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

import yaml

from mappings.canonical import ADDRESS_PARTS, KINDS, LABELS, Field, Kind

Direction = Literal["both", "in", "out"]
Strength = Literal["enforce", "fill", "create"]

SIZE_CHARS_MAX = 500_000
NAME_FORMS: Mapping[str, tuple[str, ...]] = {
    "given family": ("given_name", "family_name"),
    "family, given": ("given_name", "family_name"),
    "full name": ("prefix", "given_name", "middle_name", "family_name", "suffix"),
}
"""Ways to keep a person's name in one vendor field, and the canonical fields that each carries."""


FIRST = ("", "")
"""A list whose first element is the primary one."""


class MappingError(Exception):
    """A mapping file is wrong. `errors` holds one "file:line: ..." text per fault, in file order."""

    def __init__(self, errors: Iterable[str]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(self.errors))


@dataclass(frozen=True, slots=True)
class Index:
    """One position of a vendor's list: [0]."""

    n: int


@dataclass(frozen=True, slots=True)
class Pick:
    """The first entry of a vendor's list in which `path` holds `value`: [custom_field.id=4711]."""

    path: tuple[str, ...]
    value: str | int


Step = str | Index | Pick
Path = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Head:
    """What every line states.

    unless     the line says nothing about records in which this vendor property is true
    clearable  False: the vendor takes no empty value here, so an empty one is not written
    """

    field: Field
    direction: Direction
    strength: Strength
    unless: Path | None
    clearable: bool
    where: str


@dataclass(frozen=True, slots=True)
class Table:
    """canonical value -> vendor values (the first is written). fallback: canonical value for vendor values that are
    not listed; has_fallback False: such a value makes the record unreadable; fallback None: no statement."""

    entries: Mapping[str, tuple[Any, ...]]
    fallback: str | None = None
    has_fallback: bool = False


@dataclass(frozen=True, slots=True)
class ValueLine:
    """One value at one path."""

    head: Head
    path: Path
    cut: int | None = None
    empty: str | None = None
    table: Table | None = None
    form: Literal["text", "number", "instant"] | None = None
    scale: int | None = None
    decimals: int | None = None
    negate: bool = False


@dataclass(frozen=True, slots=True)
class ReferenceLine:
    """Another record of the same connector, by its vendor id. wrap: the id stands in an object under this name."""

    head: Head
    path: Path
    resource: str
    id_form: Literal["text", "number"]
    wrap: str | None


@dataclass(frozen=True, slots=True)
class KeyLine:
    """Another canonical record, by one of its own fields."""

    head: Head
    path: Path
    kind: str
    key: str
    cut: int | None


@dataclass(frozen=True, slots=True)
class PartLine:
    """One part of a name that the vendor keeps whole in one field."""

    head: Head
    path: Path
    form: str


@dataclass(frozen=True, slots=True)
class PrimaryLine:
    """The primary element of a list that another line maps."""

    head: Head
    of: str


@dataclass(frozen=True, slots=True)
class Label:
    """Where an element's label stands. among: the property holds a list of words, one of which is the label.
    fallback: the vendor's word for labels without an entry; None: such a label is not written."""

    key: str
    among: bool
    entries: Mapping[str, tuple[str, ...]]
    fallback: str | None


@dataclass(frozen=True, slots=True)
class ListLine:
    """A set kept as the vendor's list of elements.

    value or parts  where an element's value stands; value () is the element itself
    primary         (read name, write name) of the flag; FIRST: the first element is the primary one
    only            entries with these properties, the rest of the list is not ours
    country_codes   countries of addresses are written as ISO 3166 codes
    """

    head: Head
    path: Path
    value: tuple[str, ...] | None
    parts: Mapping[str, str]
    label: Label | None
    primary: tuple[str, str] | None
    only: Mapping[str, tuple[Any, ...]]
    country_codes: bool


@dataclass(frozen=True, slots=True)
class Slot:
    """One fixed place for one element of a set. label None: takes any element."""

    label: str | None
    path: Path | None
    parts: Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class SlotsLine:
    """A set kept in a few fixed vendor fields. others: the label of the slot that takes other labels too."""

    head: Head
    slots: tuple[Slot, ...]
    others: str | None


LinePlan = ValueLine | ReferenceLine | KeyLine | PartLine | PrimaryLine | ListLine | SlotsLine


@dataclass(frozen=True, slots=True)
class Condition:
    """A vendor property that must hold one of these values; None also stands for a missing property."""

    path: Path
    allowed: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Derived:
    """A vendor property that we only write, joined from canonical fields."""

    path: Path
    join: tuple[str, ...]
    otherwise: str | None
    only_on_create: bool


@dataclass(frozen=True, slots=True)
class RecordPlan:
    """One record mapping, checked. source: everything that decides its behaviour, for the fingerprint."""

    connector: str
    resource: str
    kind: Kind
    creates: bool
    modified: Path | None
    when: tuple[Condition, ...]
    on_create: tuple[tuple[Path, Any], ...]
    derived: tuple[Derived, ...]
    lines: tuple[LinePlan, ...]
    source: str
    where: str


@dataclass(frozen=True, slots=True)
class FilePlan:
    """One connector's file, checked."""

    connector: str
    records: tuple[RecordPlan, ...]


Entries = dict[str, tuple[yaml.Node, yaml.Node]]
T = TypeVar("T")

_STEP = re.compile(r"(?:^|\.)([A-Za-z_$@][\w$@-]*)|\[(\d+)\]|\[([A-Za-z_][\w.]*)=([^\]]+)\]")
_ORDINARY = frozenset({"direction", "strength", "note", "unless"})
_FORMS: Mapping[str, frozenset[str]] = {
    "path": frozenset({"path", "cut", "empty", "values", "else", "as", "scale", "decimals", "negate", "clearable"}),
    "ref": frozenset({"ref", "path", "id", "in", "clearable"}),
    "key": frozenset({"key", "path", "cut", "clearable"}),
    "part of": frozenset({"part of", "path"}),
    "primary": frozenset({"primary"}),
    "list": frozenset({"list", "value", "parts", "label", "primary", "only", "countries"}),
    "slots": frozenset({"slots", "others"}),
}
_TOP = ("connector", "description", "records")
_RECORD = ("resource", "kind", "description", "when", "creates", "modified", "on create", "derived", "fields")


class _Named(io.StringIO):
    """A text stream that tells the parser its name, so that every mark carries it."""

    def __init__(self, text: str, name: str) -> None:
        super().__init__(text)
        self.name = name


def _where(node: yaml.Node) -> str:
    return f"{node.start_mark.name}:{node.start_mark.line + 1}"


def nearest(word: str, known: Iterable[str]) -> str:
    """The tail of a message: the right word that was probably meant, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _listing(known: Iterable[str]) -> str:
    return ", ".join(sorted(known))


def _describe(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a group of names"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return f"{node.value!r}" if node.value else "nothing"


def _scalar(node: yaml.ScalarNode) -> Any:
    """The JSON value that the scalar writes."""
    tag = node.tag.rpartition(":")[2]
    if tag == "null":
        return None
    if tag == "bool":
        return node.value.lower() in ("true", "yes", "on")
    if tag == "int":
        try:
            return int(node.value.replace("_", ""))
        except ValueError:
            return node.value
    return node.value


class _Reader:
    """Reads nodes and collects faults; every method returns None (or an empty value) after reporting one."""

    def __init__(self) -> None:
        self.faults: list[tuple[str, int, str]] = []

    def fail(self, node: yaml.Node, message: str) -> None:
        self.faults.append((node.start_mark.name, node.start_mark.line + 1, message))

    def raise_faults(self) -> None:
        if self.faults:
            raise MappingError(f"{name}:{line}: {message}" for name, line, message in sorted(set(self.faults)))

    def compose(self, text: str, name: str) -> yaml.Node:
        if len(text) > SIZE_CHARS_MAX:
            raise MappingError([f"{name}:1: the file is too large: {len(text)} characters, at most {SIZE_CHARS_MAX}"])
        loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            for token in yaml.scan(_Named(text, name), Loader=loader):
                if isinstance(token, yaml.AliasToken | yaml.AnchorToken):
                    self.faults.append(
                        (name, token.start_mark.line + 1, "found an anchor or alias (& or *); write the text out")
                    )
            self.raise_faults()
            node = yaml.compose(_Named(text, name), Loader=loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            raise MappingError([f"{name}:{line}: not readable as YAML: {error.problem}"]) from None
        except (yaml.YAMLError, RecursionError) as error:
            raise MappingError([f"{name}:1: not readable as YAML: {type(error).__name__}"]) from None
        if node is None:
            raise MappingError([f"{name}:1: the file is empty; expected {_listing(_TOP)}"])
        return node

    def entries(self, node: yaml.Node, what: str, known: Iterable[str] | None = None) -> Entries:
        if not isinstance(node, yaml.MappingNode):
            self.fail(node, f"{what}: expected names with values, found {_describe(node)}")
            return {}
        known = None if known is None else tuple(known)
        found: Entries = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.fail(key, f"{what}: expected a name, found {_describe(key)}")
                continue
            name = key.value
            if name in found:
                self.fail(key, f"{what}: {name!r} is given twice (first in line {found[name][0].start_mark.line + 1})")
            elif known is not None and name not in known:
                hint = nearest(name, known) or f"; expected one of: {_listing(known)}"
                self.fail(key, f"{what}: unknown word {name!r}{hint}")
            else:
                found[name] = (key, value)
        return found

    def text(self, node: yaml.Node, what: str) -> str | None:
        if isinstance(node, yaml.ScalarNode) and node.value:
            return cast("str", node.value)
        self.fail(node, f"{what}: expected text, found {_describe(node)}")
        return None

    def flag(self, node: yaml.Node, what: str) -> bool:
        value = _scalar(node) if isinstance(node, yaml.ScalarNode) else None
        if isinstance(value, bool):
            return value
        self.fail(node, f"{what}: expected yes or no, found {_describe(node)}")
        return False

    def count(self, node: yaml.Node, what: str) -> int | None:
        value = _scalar(node) if isinstance(node, yaml.ScalarNode) else None
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1_000_000:
            return value
        self.fail(node, f"{what}: expected a whole number from 1, found {_describe(node)}")
        return None

    def choice(self, node: yaml.Node, known: Sequence[str], what: str) -> str | None:
        value = self.text(node, what)
        if value is None or value in known:
            return value
        self.fail(node, f"{what}: found {value!r}, expected one of: {', '.join(known)}{nearest(value, known)}")
        return None

    def scalars(self, node: yaml.Node, what: str) -> tuple[Any, ...]:
        """One scalar or a list of scalars."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        if not nodes or not all(isinstance(n, yaml.ScalarNode) for n in nodes):
            self.fail(node, f"{what}: expected a value or a list of values, found {_describe(node)}")
            return ()
        return tuple(_scalar(n) for n in nodes if isinstance(n, yaml.ScalarNode))

    def path(self, node: yaml.Node, what: str) -> Path | None:
        text = self.text(node, what)
        if text is None:
            return None
        steps: list[Step] = []
        at = 0
        while at < len(text):
            match = _STEP.match(text, at) if at == 0 or text[at] in ".[" else None
            if match is None or (at == 0 and not match[1]):
                self.fail(
                    node,
                    f"{what}: cannot read the path {text!r}; expected names joined by dots: name.first, items[0].id",
                )
                return None
            if match[1]:
                steps.append(match[1])
            elif match[2]:
                steps.append(Index(int(match[2])))
            else:
                value = match[4].strip()
                steps.append(Pick(tuple(match[3].split(".")), int(value) if value.isdigit() else value.strip("'\"")))
            at = match.end()
        return tuple(steps)

    def names(self, node: yaml.Node, what: str) -> tuple[str, ...] | None:
        path = self.path(node, what)
        if path is None:
            return None
        if all(isinstance(step, str) for step in path):
            return cast("tuple[str, ...]", path)
        self.fail(node, f"{what}: expected plain names joined by dots, found {_describe(node)}")
        return None


def reading() -> _Reader:
    """A reader for another declaration file in the same style."""
    return _Reader()


def parse(text: str, name: str, *, override: tuple[str, str] | None = None) -> FilePlan:
    """The checked plan of one file. override: text and name of the firm's own file. Raises MappingError."""
    reader = _Reader()
    top = reader.entries(reader.compose(text, name), "the file", _TOP)
    replaced = _Overrides(reader)
    if override is not None:
        replaced.read(*override, base=top)
    root = next(iter(top.values()), None)
    connector = None
    for word in ("connector", "records"):
        if word not in top:
            reader.faults.append(
                (name, 1, f"the file: {word!r} is missing" + ("" if root else f"; expected {_listing(_TOP)}"))
            )
    if "connector" in top:
        connector = reader.text(top["connector"][1], "connector")
    records: list[RecordPlan] = []
    if "records" in top:
        nodes = _sequence(reader, top["records"][1], "records")
        resources = _resources(reader, nodes)
        for node in nodes:
            plan = _record(reader, node, connector or "", resources, replaced)
            if plan is not None:
                _check_pair(reader, node, plan, records)
                records.append(plan)
    replaced.report_unused()
    reader.raise_faults()
    return FilePlan(connector or "", tuple(records))


def _sequence(reader: _Reader, node: yaml.Node, what: str) -> list[yaml.Node]:
    if isinstance(node, yaml.SequenceNode) and node.value:
        return list(node.value)
    reader.fail(node, f"{what}: expected a list with a dash before each entry, found {_describe(node)}")
    return []


def _resources(reader: _Reader, nodes: Iterable[yaml.Node]) -> dict[str, set[str]]:
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

    def __init__(self, reader: _Reader) -> None:
        self.reader = reader
        self.records: dict[tuple[str, str], tuple[yaml.Node, Entries]] = {}
        self.fields: dict[tuple[str, str], Entries] = {}
        self.used: set[tuple[str, str]] = set()

    def read(self, text: str, name: str, base: Entries) -> None:
        reader = self.reader
        top = reader.entries(reader.compose(text, name), "the override file", ("overrides", "description", "records"))
        if "overrides" not in top:
            reader.faults.append((name, 1, "the override file: 'overrides' is missing; it names the connector"))
        elif "connector" in base:
            reader.choice(top["overrides"][1], [str(base["connector"][1].value)], "overrides")
        for node in _sequence(reader, top["records"][1], "records") if "records" in top else []:
            record = reader.entries(node, "a record", ("resource", "kind", "creates", "fields"))
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
    reader: _Reader, node: yaml.Node, connector: str, resources: Mapping[str, set[str]], replaced: _Overrides
) -> RecordPlan | None:
    entries = reader.entries(node, "a record", _RECORD)
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
        if "creates" in own:
            entries["creates"] = own["creates"]
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
    lines = _Lines(reader, kind, resources)
    for name, (name_node, line_node) in fields.items():
        lines.read(name, name_node, line_node)
    lines.check_together()
    when = tuple(
        Condition(path, allowed)
        for path_node, value_node in (reader.entries(entries["when"][1], "when").values() if "when" in entries else ())
        if (path := reader.path(path_node, "when")) and (allowed := reader.scalars(value_node, "when"))
    )
    on_create = tuple(
        (path, values[0])
        for path_node, value_node in (
            reader.entries(entries["on create"][1], "on create").values() if "on create" in entries else ()
        )
        if (path := reader.path(path_node, "on create")) and (values := reader.scalars(value_node, "on create"))
    )
    derived = tuple(
        made
        for path_node, spec_node in (
            reader.entries(entries["derived"][1], "derived").values() if "derived" in entries else ()
        )
        if (made := _derived(reader, kind, path_node, spec_node)) is not None
    )
    for made in derived:
        lines.claim_path(entries["derived"][1], made.path, "derived")
    return RecordPlan(
        connector=connector,
        resource=resource,
        kind=kind,
        creates=reader.flag(entries["creates"][1], "creates") if "creates" in entries else False,
        modified=reader.path(entries["modified"][1], "modified") if "modified" in entries else None,
        when=when,
        on_create=on_create,
        derived=derived,
        lines=tuple(lines.found.values()),
        source=_source(entries, fields),
        where=_where(node),
    )


def _source(entries: Entries, fields: Entries) -> str:
    def plain(node: yaml.Node) -> Any:
        if isinstance(node, yaml.MappingNode):
            return {str(k.value): plain(v) for k, v in node.value if k.value not in ("note", "description")}
        if isinstance(node, yaml.SequenceNode):
            return [plain(v) for v in node.value]
        return [node.tag, node.value]

    record = {name: plain(value) for name, (_, value) in entries.items() if name not in ("fields", "description")}
    record["fields"] = {name: plain(value) for name, (_, value) in fields.items()}
    return hashlib.blake2b(json.dumps(record, sort_keys=True).encode(), digest_size=16).hexdigest()


def _derived(reader: _Reader, kind: Kind, path_node: yaml.Node, spec_node: yaml.Node) -> Derived | None:
    path = reader.path(path_node, "derived")
    spec = reader.entries(spec_node, "derived", ("join", "else", "on"))
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


class _Lines:
    """The lines of one record mapping."""

    def __init__(self, reader: _Reader, kind: Kind, resources: Mapping[str, set[str]]) -> None:
        self.reader = reader
        self.kind = kind
        self.resources = resources
        self.found: dict[str, LinePlan] = {}
        self.nodes: dict[str, yaml.Node] = {}
        self.written: list[tuple[Path, str]] = []

    def read(self, name: str, name_node: yaml.Node, node: yaml.Node) -> None:
        reader = self.reader
        field = self.kind.fields.get(name)
        if field is None:
            hint = nearest(name, self.kind.fields) or f"; {self.kind.name} has: {_listing(self.kind.fields)}"
            reader.fail(name_node, f"{self.kind.name} has no field {name!r}{hint}")
            return
        if isinstance(node, yaml.ScalarNode):
            if node.value == "off":
                reader.fail(node, f"{name}: only a firm's own file can say 'off'")
                return
            spec: Entries = {"path": (name_node, node)}
            form = "path"
        else:
            spec = reader.entries(node, name)
            if not spec:
                return
            form = self._form(name, node, spec)
            if not form:
                return
        head = self._head(field, name_node, spec)
        make: dict[str, Callable[[Head, yaml.Node, Entries], LinePlan | None]] = {
            "path": self._value,
            "ref": self._reference,
            "key": self._key,
            "part of": self._part,
            "primary": self._primary,
            "list": self._list,
            "slots": self._slots,
        }
        line = make[form](head, name_node, spec)
        if line is not None:
            self.found[name] = line
            self.nodes[name] = name_node

    def _form(self, name: str, node: yaml.Node, spec: Entries) -> str:
        reader = self.reader
        forms: list[str] = [word for word in ("list", "slots", "ref", "key", "part of") if word in spec]
        if not forms and "primary" in spec:
            forms = ["primary"]
        if not forms and "path" in spec:
            forms = ["path"]
        if len(forms) != 1:
            known = _ORDINARY.union(*_FORMS.values())
            for word in spec:
                if word not in known:
                    reader.fail(spec[word][0], f"{name}: unknown word {word!r}{nearest(word, known)}")
                    return ""
            expected = "path, ref, key, part of, primary, list or slots"
            reader.fail(
                node, f"{name}: expected one of {expected}, found {' and '.join(forms) if forms else 'none of them'}"
            )
            return ""
        form = forms[0]
        known = _FORMS[form] | _ORDINARY
        for word in [w for w in spec if w not in known]:
            hint = nearest(word, known) or f"; a line with {form!r} knows: {_listing(known)}"
            reader.fail(spec[word][0], f"{name}: unknown word {word!r}{hint}")
        return form

    def _head(self, field: Field, name_node: yaml.Node, spec: Entries) -> Head:
        reader = self.reader
        direction = (
            reader.choice(spec["direction"][1], ("both", "in", "out"), "direction") if "direction" in spec else "both"
        )
        strength = (
            reader.choice(spec["strength"][1], ("enforce", "fill", "create"), "strength")
            if "strength" in spec
            else "enforce"
        )
        if field.rollup and direction != "out":
            reader.fail(name_node, f"{field.name} is computed from other records, so its line needs 'direction: out'")
        if direction == "in" and "strength" in spec:
            reader.fail(spec["strength"][0], f"{field.name}: 'strength' is about writing, but the direction is in")
        return Head(
            field=field,
            direction=cast("Direction", direction or "both"),
            strength=cast("Strength", strength or "enforce"),
            unless=reader.path(spec["unless"][1], "unless") if "unless" in spec else None,
            clearable="clearable" not in spec or reader.flag(spec["clearable"][1], "clearable"),
            where=_where(name_node),
        )

    def _path(self, head: Head, name_node: yaml.Node, spec: Entries, word: str = "path") -> Path | None:
        if word not in spec:
            self.reader.fail(name_node, f"{head.field.name}: {word!r} is missing")
            return None
        return self.reader.path(spec[word][1], word)

    def _value(self, head: Head, name_node: yaml.Node, spec: Entries) -> LinePlan | None:
        reader, field = self.reader, head.field
        path = self._path(head, name_node, spec)
        if field.type == "set":
            reader.fail(name_node, f"{field.name} is a set: expected 'list' or 'slots', found a plain path")
            return None
        if field.type == "ref":
            reader.fail(name_node, f"{field.name} refers to another record: expected 'ref' or 'key' beside the path")
            return None
        fits = {
            "cut": ("text",),
            "empty": ("text",),
            "values": ("enum",),
            "else": ("enum",),
            "scale": ("decimal",),
            "decimals": ("decimal",),
            "negate": ("bool",),
            "as": ("date", "decimal", "int"),
        }
        for word, types in fits.items():
            if word in spec and field.type not in types:
                reader.fail(
                    spec[word][0], f"{field.name}: {word!r} is for {' or '.join(types)}, but this field is {field.type}"
                )
                return None
        table = None
        if field.type == "enum":
            if "values" not in spec:
                reader.fail(
                    name_node,
                    f"{field.name}: 'values' is missing; it gives the vendor's word for: {', '.join(field.values)}",
                )
                return None
            table = self._table(head, spec)
        forms = ("instant", "date") if field.type == "date" else ("text", "number")
        form = reader.choice(spec["as"][1], forms, "as") if "as" in spec else None
        if path is None:
            return None
        self.claim(head, name_node, path)
        return ValueLine(
            head=head,
            path=path,
            cut=reader.count(spec["cut"][1], "cut") if "cut" in spec else None,
            empty=reader.text(spec["empty"][1], "empty") if "empty" in spec else None,
            table=table,
            form=cast("Any", None if form == "date" else form),
            scale=reader.count(spec["scale"][1], "scale") if "scale" in spec else None,
            decimals=reader.count(spec["decimals"][1], "decimals") if "decimals" in spec else None,
            negate="negate" in spec and reader.flag(spec["negate"][1], "negate"),
        )

    def _table(self, head: Head, spec: Entries) -> Table:
        reader, field = self.reader, head.field
        entries: dict[str, tuple[Any, ...]] = {}
        seen: dict[Any, str] = {}
        for name, (name_node, value_node) in reader.entries(spec["values"][1], "values", field.values).items():
            entries[name] = reader.scalars(value_node, "values")
            for value in entries[name]:
                if value in seen:
                    reader.fail(name_node, f"values: the vendor's {value!r} already means {seen[value]!r}")
                seen[value] = name
        missing = [value for value in field.values if value not in entries]
        if head.direction != "in" and missing:
            reader.fail(
                spec["values"][0],
                f"values: no vendor value for {', '.join(missing)}; a field that is written needs all of them",
            )
        if "else" not in spec:
            return Table(entries)
        fallback = reader.choice(spec["else"][1], (*field.values, "nothing"), "else")
        return Table(entries, None if fallback == "nothing" else fallback, True)

    def _reference(self, head: Head, name_node: yaml.Node, spec: Entries) -> LinePlan | None:
        reader, field = self.reader, head.field
        path = self._path(head, name_node, spec)
        resource = reader.text(spec["ref"][1], "ref")
        if field.type != "ref":
            reader.fail(spec["ref"][0], f"{field.name}: 'ref' is for references, but this field is {field.type}")
            return None
        if resource is not None and resource not in self.resources:
            reader.fail(
                spec["ref"][1],
                f"ref: no record of this file has the resource {resource!r}{nearest(resource, self.resources)}",
            )
        elif resource is not None and not self.resources[resource] & set(field.refs):
            kinds = " or ".join(field.refs)
            reader.fail(
                spec["ref"][1],
                f"ref: {field.name} needs {kinds}, but {resource!r} holds {_listing(self.resources[resource])}",
            )
        id_form = reader.choice(spec["id"][1], ("text", "number"), "id") if "id" in spec else "text"
        if path is None or resource is None:
            return None
        self.claim(head, name_node, path)
        wrap = reader.text(spec["in"][1], "in") if "in" in spec else None
        return ReferenceLine(head, path, resource, cast("Any", id_form or "text"), wrap)

    def _key(self, head: Head, name_node: yaml.Node, spec: Entries) -> LinePlan | None:
        reader, field = self.reader, head.field
        path = self._path(head, name_node, spec)
        text = reader.text(spec["key"][1], "key")
        if field.type != "ref":
            reader.fail(spec["key"][0], f"{field.name}: 'key' is for references, but this field is {field.type}")
            return None
        kind, _, key = (text or "").partition(".")
        if text is not None and kind not in field.refs:
            reader.fail(
                spec["key"][1],
                f"key: {field.name} refers to {' or '.join(field.refs)}, found {text!r}; expected KIND.FIELD",
            )
            return None
        if text is not None and (
            key not in KINDS[kind].fields or KINDS[kind].fields[key].type not in ("text", "email")
        ):
            reader.fail(spec["key"][1], f"key: {kind} has no text field {key!r}{nearest(key, KINDS[kind].fields)}")
            return None
        if path is None or text is None:
            return None
        self.claim(head, name_node, path)
        return KeyLine(head, path, kind, key, reader.count(spec["cut"][1], "cut") if "cut" in spec else None)

    def _part(self, head: Head, name_node: yaml.Node, spec: Entries) -> LinePlan | None:
        reader = self.reader
        path = self._path(head, name_node, spec)
        form = reader.choice(spec["part of"][1], tuple(NAME_FORMS), "part of")
        if path is None or form is None:
            return None
        if head.field.name not in NAME_FORMS[form]:
            reader.fail(
                name_node, f"{head.field.name} is no part of {form!r}, which carries: {', '.join(NAME_FORMS[form])}"
            )
            return None
        return PartLine(head, path, form)

    def _primary(self, head: Head, name_node: yaml.Node, spec: Entries) -> LinePlan | None:
        of = self.reader.text(spec["primary"][1], "primary")
        if of is None:
            return None
        if head.field.primary_of is None:
            self.reader.fail(
                name_node, f"{head.field.name} is not the primary one of a set, so 'primary' has no meaning here"
            )
            return None
        if of != head.field.primary_of:
            self.reader.fail(spec["primary"][1], f"primary: found {of!r}, expected {head.field.primary_of!r}")
            return None
        return PrimaryLine(head, of)

    def _list(self, head: Head, name_node: yaml.Node, spec: Entries) -> LinePlan | None:
        reader, field = self.reader, head.field
        if field.type != "set":
            reader.fail(spec["list"][0], f"{field.name}: 'list' is for sets, but this field is {field.type}")
            return None
        path = reader.names(spec["list"][1], "list")
        value: tuple[str, ...] | None = None
        parts: dict[str, str] = {}
        if field.item == "address":
            parts = self._address_parts(name_node, spec, lambda node: reader.text(node, "parts"))
        elif "value" not in spec:
            reader.fail(
                name_node,
                f"{field.name}: 'value' is missing; it names the property of an entry that holds the {field.item}",
            )
        else:
            node = spec["value"][1]
            value = () if isinstance(node, yaml.ScalarNode) and node.value == "." else reader.names(node, "value")
        if "parts" in spec and field.item != "address":
            reader.fail(spec["parts"][0], f"{field.name}: 'parts' is for addresses")
        if "value" in spec and field.item == "address":
            reader.fail(spec["value"][0], f"{field.name}: an address needs 'parts', not 'value'")
        primary = self._flag_names(spec["primary"][1]) if "primary" in spec else None
        only = {
            name: reader.scalars(value_node, "only")
            for name, (_, value_node) in (reader.entries(spec["only"][1], "only").items() if "only" in spec else ())
        }
        label = self._label(spec["label"][1]) if "label" in spec else None
        if value == () and (primary not in (None, FIRST) or label is not None or only):
            reader.fail(name_node, f"{field.name}: entries that are plain values have no place for a label or a flag")
        if path is None or (value is None and not parts):
            return None
        self.claim(head, name_node, (*path, Pick(tuple(only), str(sorted(only.values(), key=str)))) if only else path)
        countries = (
            reader.choice(spec["countries"][1], ("codes", "names"), "countries") if "countries" in spec else None
        )
        if countries and field.item != "address":
            reader.fail(spec["countries"][0], f"{field.name}: 'countries' is for addresses")
        return ListLine(head, path, value, parts, label, primary, only, countries == "codes")

    def _address_parts(
        self, name_node: yaml.Node, spec: Entries, read: Callable[[yaml.Node], T | None]
    ) -> dict[str, T]:
        if "parts" not in spec:
            self.reader.fail(
                name_node, f"'parts' is missing; it names the vendor's property for each of: {', '.join(ADDRESS_PARTS)}"
            )
            return {}
        entries = self.reader.entries(spec["parts"][1], "parts", ADDRESS_PARTS)
        parts = {name: found for name, (_, node) in entries.items() if (found := read(node)) is not None}
        if parts and "street" not in parts:
            self.reader.fail(
                spec["parts"][0], "parts: 'street' is missing; addresses are told apart by street and postcode"
            )
        return parts

    def _flag_names(self, node: yaml.Node) -> tuple[str, str] | None:
        reader = self.reader
        if isinstance(node, yaml.ScalarNode):
            name = reader.text(node, "primary")
            return (name, name) if name else None
        entries = reader.entries(node, "primary", ("read", "write", "position"))
        if set(entries) == {"position"}:
            return FIRST if reader.choice(entries["position"][1], ("first",), "position") else None
        if set(entries) != {"read", "write"}:
            reader.fail(node, "primary: expected one name, or 'read' and 'write', or 'position: first'")
            return None
        read, write = reader.text(entries["read"][1], "read"), reader.text(entries["write"][1], "write")
        return (read, write) if read and write else None

    def _label(self, node: yaml.Node) -> Label | None:
        reader = self.reader
        if isinstance(node, yaml.ScalarNode):
            key = reader.text(node, "label")
            return Label(key, False, {name: (name,) for name in LABELS}, None) if key else None
        entries = reader.entries(node, "label", ("path", "among", "values", "else"))
        word = "among" if "among" in entries else "path"
        if word not in entries:
            reader.fail(node, "label: 'path' is missing; it names the property of an entry that holds its label")
            return None
        key = reader.text(entries[word][1], word)
        table: dict[str, tuple[str, ...]] = {}
        seen: dict[str, str] = {}
        if "values" in entries:
            for name, (name_node, value_node) in reader.entries(entries["values"][1], "values", LABELS).items():
                table[name] = tuple(str(value) for value in reader.scalars(value_node, "values"))
                for value in table[name]:
                    if value in seen:
                        reader.fail(name_node, f"values: the vendor's {value!r} already means {seen[value]!r}")
                    seen[value] = name
        else:
            table = {name: (name,) for name in LABELS}
        fallback = reader.text(entries["else"][1], "else") if "else" in entries else None
        return Label(key, word == "among", table, fallback) if key else None

    def _slots(self, head: Head, name_node: yaml.Node, spec: Entries) -> LinePlan | None:
        reader, field = self.reader, head.field
        if field.type != "set":
            reader.fail(spec["slots"][0], f"{field.name}: 'slots' is for sets, but this field is {field.type}")
            return None
        slots: list[Slot] = []
        words = ("label", "parts") if field.item == "address" else ("label", "path")
        for node in _sequence(reader, spec["slots"][1], "slots"):
            entries = reader.entries(node, "a slot", words)
            label = reader.choice(entries["label"][1], LABELS, "label") if "label" in entries else None
            if label is not None and any(slot.label == label for slot in slots):
                reader.fail(entries["label"][1], f"slots: the label {label!r} has a slot already")
            if field.item == "address":
                parts = self._address_parts(node, entries, lambda part: reader.path(part, "parts"))
                slots.append(Slot(label, None, parts))
                for path in parts.values():
                    self.claim(head, name_node, path)
            elif "path" in entries:
                path_or_none = reader.path(entries["path"][1], "path")
                slots.append(Slot(label, path_or_none, {}))
                if path_or_none is not None:
                    self.claim(head, name_node, path_or_none)
            else:
                reader.fail(node, "a slot: 'path' is missing")
        others = (
            reader.choice(spec["others"][1], [s.label for s in slots if s.label], "others")
            if "others" in spec
            else None
        )
        return SlotsLine(head, tuple(slots), others) if slots else None

    def claim(self, head: Head, node: yaml.Node, path: Path) -> None:
        if head.direction != "in":
            self.claim_path(node, path, head.field.name)

    def claim_path(self, node: yaml.Node, path: Path, field: str) -> None:
        """Two lines must not write one vendor field, unless one is the primary element of the other."""
        for other, other_field in self.written:
            shorter, longer = sorted((other, path), key=len)
            if longer[: len(shorter)] != shorter:
                continue
            known = [self.kind.fields[name] for name in (field, other_field) if name in self.kind.fields]
            is_primary = any(f.primary_of in (field, other_field) for f in known if f.primary_of) and path == other
            if not is_primary:
                self.reader.fail(node, f"{field} and {other_field} both write the vendor's {_path_text(shorter)}")
                return
        self.written.append((path, field))

    def check_together(self) -> None:
        reader = self.reader
        forms: dict[Path, tuple[str, str]] = {}
        for name, line in self.found.items():
            if isinstance(line, PartLine):
                form, first = forms.setdefault(line.path, (line.form, name))
                if form != line.form:
                    reader.fail(
                        self.nodes[name],
                        f"{name} reads {_path_text(line.path)} as {line.form!r}, but {first} as {form!r}",
                    )
            if isinstance(line, PrimaryLine):
                of = self.found.get(line.of)
                if not isinstance(of, ListLine) or of.primary is None:
                    reader.fail(
                        self.nodes[name],
                        f"{name} is the primary of {line.of!r}, which needs a line with 'list' and 'primary'",
                    )
                elif of.head.direction != line.head.direction:
                    reader.fail(
                        self.nodes[name], f"{name} and {line.of} stand in one vendor list and need the same direction"
                    )
        for path, (_, first) in forms.items():
            self.claim_path(self.nodes[first], path, first)


def _path_text(path: Path) -> str:
    text = ""
    for step in path:
        if isinstance(step, str):
            text += f".{step}" if text else step
        elif isinstance(step, Index):
            text += f"[{step.n}]"
        elif step.path:
            text += f"[{'.'.join(step.path)}={step.value}]"
    return text


def _check_pair(reader: _Reader, node: yaml.Node, plan: RecordPlan, others: Iterable[RecordPlan]) -> None:
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

"""Cases of a mapping, given and expected, in YAML beside it: an admin's own tests, run without network or database.

A case reads a vendor record (`given`) and says which canonical values it must give, or writes canonical values (`put`)
into a record (`into`; without it: a new one) and says which properties must change, all of them. Sets are written as
lists of their values. `docs/mapping-guide.md` shows how.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mappings.canonical import KINDS, Values
from mappings.compile import RecordMapping, Unreadable
from mappings.language import reading
from mappings.load import ConnectorMapping, load, shipped
from mappings.nodes import nearest, scalar
from mappings.normalize import addresses
from mappings.plan import MappingError

JSON = dict[str, Any]
_FOLDER = Path(__file__).parent / "cases"
_TOP = ("connector", "description", "cases")
_CASE = ("name", "resource", "kind", "note", "given", "put", "into", "expect", "silent", "aside")
ABSENT: Any = object()


@dataclass(frozen=True, slots=True)
class Case:
    """given, or put and into; expect: canonical values of a given record, or all properties that a put changes.

    silent  fields about which the record must make no statement
    aside   the field because of which the record must be put aside
    """

    name: str
    where: str
    resource: str
    kind: str | None
    given: JSON | None
    put: Values | None
    into: JSON | None
    expect: JSON
    silent: tuple[str, ...]
    aside: str | None


@dataclass(frozen=True, slots=True)
class Cases:
    """One file of cases."""

    connector: str
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a case; failures are sentences, none when it holds."""

    name: str
    where: str
    failures: tuple[str, ...]


def shipped_cases() -> dict[str, Cases]:
    """connector -> its cases, as shipped."""
    files = sorted(_FOLDER.glob("*.yaml"))
    return {path.stem: read_cases(path.read_text(encoding="utf-8"), f"cases/{path.name}") for path in files}


def read_cases(text: str, name: str) -> Cases:
    """Raises MappingError with every fault of the file."""
    reader = reading()
    top = reader.entries(reader.compose(text, name), "the file", _TOP)
    for word in ("connector", "cases"):
        if word not in top:
            reader.faults.append((name, 1, f"the file: {word!r} is missing"))
    connector = reader.choice(top["connector"][1], shipped(), "connector") if "connector" in top else None
    found: list[Case] = []
    node = top["cases"][1] if "cases" in top else None
    if node is not None and not isinstance(node, yaml.SequenceNode):
        reader.fail(node, "cases: expected a list with a dash before each case")
    for each in node.value if isinstance(node, yaml.SequenceNode) else ():
        case = _case(reader, each)
        if case is not None:
            found.append(case)
    reader.raise_faults()
    return Cases(connector or "", tuple(found))


def _case(reader: Any, node: yaml.Node) -> Case | None:
    words = reader.entries(node, "a case", _CASE)
    for word in ("name", "resource"):
        if word not in words:
            reader.fail(node, f"a case: {word!r} is missing")
    if ("given" in words) == ("put" in words):
        reader.fail(node, "a case: expected either 'given' (a vendor record) or 'put' (canonical values)")
    if "into" in words and "put" not in words:
        reader.fail(words["into"][0], "a case: 'into' is the record into which 'put' writes, and there is no 'put'")
    if not {"expect", "silent", "aside"} & words.keys():
        reader.fail(node, "a case: 'expect' is missing (or 'silent', or 'aside')")
    kind = reader.choice(words["kind"][1], list(KINDS), "kind") if "kind" in words else None
    plain = {word: _plain(words[word][1]) if word in words else None for word in ("given", "put", "into", "expect")}
    for word, value in plain.items():
        if value is not None and not isinstance(value, dict):
            reader.fail(words[word][1], f"{word}: expected names with values")
            return None
    if "name" not in words or "resource" not in words:
        return None
    silent = reader.scalars(words["silent"][1], "silent") if "silent" in words else ()
    return Case(
        name=reader.text(words["name"][1], "name") or "",
        where=f"{node.start_mark.name}:{node.start_mark.line + 1}",
        resource=reader.text(words["resource"][1], "resource") or "",
        kind=kind,
        given=plain["given"],
        put=plain["put"],
        into=plain["into"],
        expect=plain["expect"] or {},
        silent=tuple(str(name) for name in silent),
        aside=reader.text(words["aside"][1], "aside") if "aside" in words else None,
    )


def _plain(node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return {str(key.value): _plain(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_plain(each) for each in node.value]
    if isinstance(node, yaml.ScalarNode) and node.tag.endswith(":float"):
        return float(node.value)
    return scalar(node) if isinstance(node, yaml.ScalarNode) else None


def run(cases: Cases, mapping: ConnectorMapping) -> Iterator[Outcome]:
    """Every case against a mapping, in file order."""
    for case in cases.cases:
        yield Outcome(case.name, case.where, tuple(_failures(case, mapping)))


def run_shipped(connector: str, region: str = "US") -> Iterator[Outcome]:
    """The shipped cases against the shipped mapping."""
    if (cases := shipped_cases().get(connector)) is not None:
        yield from run(cases, load(connector, region=region))


def _failures(case: Case, mapping: ConnectorMapping) -> Iterator[str]:
    lens = _lens(case, mapping)
    if isinstance(lens, str):
        yield lens
        return
    try:
        if case.put is not None:
            yield from _differences(case.expect, lens.put(_values(case.put, lens, mapping), case.into), exact=True)
            return
        values = lens.get(case.given or {})
    except Unreadable as error:
        if case.aside != error.field:
            yield f"the record is put aside: {error}"
        return
    except _Misnamed as error:
        yield str(error)
        return
    if case.aside is not None:
        yield f"the record was to be put aside because of {case.aside}, and was read"
        return
    for name in case.silent:
        if name in values:
            yield f"{name}: expected no statement, found {_shown(values[name])}"
    known = KINDS[lens.kind].fields
    for name, wanted in case.expect.items():
        if name not in known:
            yield f"expect: {lens.kind} has no field {name!r}{nearest(name, known)}"
            continue
        found = values.get(name, ABSENT)
        if known[name].type == "set" and isinstance(wanted, list) and isinstance(found, dict):
            yield from _set_differences(name, wanted, list(found.values()))
        elif found is ABSENT or found != wanted:
            told = "no statement" if found is ABSENT else _shown(found)
            yield f"{name}: expected {_shown(wanted)}, found {told}"


def _lens(case: Case, mapping: ConnectorMapping) -> RecordMapping | str:
    lenses = mapping.of(case.resource)
    if not lenses:
        known = dict.fromkeys(each.resource for each in mapping.mappings)
        return f"no record mapping has the resource {case.resource!r}{nearest(case.resource, known)}"
    body = case.given if case.given is not None else case.into
    fits = [each for each in lenses if case.kind in (None, each.kind) and (body is None or each.applies(body))]
    if not fits:
        return "no record mapping applies to this record" + (f" as a {case.kind}" if case.kind else "")
    if len(fits) > 1:
        return f"say which 'kind' is meant: {', '.join(each.kind for each in fits)}"
    return fits[0]


class _Misnamed(Exception):
    """A put names a field that the kind does not have."""


def _values(put: JSON, lens: RecordMapping, mapping: ConnectorMapping) -> Values:
    """Values as the engine has them: a list of a set's values becomes the set, by normalized key."""
    keys = {"email": mapping.normalizer.email_key, "phone": mapping.normalizer.phone_key}
    known = KINDS[lens.kind].fields
    values: Values = {}
    for name, value in put.items():
        if name not in known:
            raise _Misnamed(f"put: {lens.kind} has no field {name!r}{nearest(name, known)}")
        if known[name].type != "set" or not isinstance(value, list):
            values[name] = value
            continue
        items = [item if isinstance(item, dict) else {"value": item} for item in value]
        if known[name].item == "address":
            found = {addresses.key(i.get("street"), i.get("postcode")) or addresses.key_of(i): i for i in items}
        else:
            found = {keys[str(known[name].item)](str(i.get("value"))): i for i in items}
        values[name] = {key: item for key, item in found.items() if key is not None}
    return values


def _set_differences(name: str, wanted: list[Any], found: list[Mapping[str, Any]]) -> Iterator[str]:
    """Each wanted element must be there, with the parts that it states, and no other."""
    left = list(found)
    for each in wanted:
        stated = each if isinstance(each, dict) else {"value": each}
        match = next((item for item in left if all(item.get(k) == v for k, v in stated.items())), None)
        if match is None:
            yield f"{name}: expected {_shown(each)}, found {_shown([*found])}"
        else:
            left.remove(match)
    for item in left:
        yield f"{name}: found {_shown(item)}, which was not expected"


def _differences(wanted: JSON, found: JSON, *, exact: bool) -> Iterator[str]:
    for name, value in wanted.items():
        if name not in found:
            yield f"{name}: expected to be written as {_shown(value)}, is not written"
        elif found[name] != value:
            yield f"{name}: expected to be written as {_shown(value)}, would be {_shown(found[name])}"
    for name in found.keys() - wanted.keys() if exact else ():
        yield f"{name}: would be written as {_shown(found[name])}, which was not expected"


def _shown(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True, sort_keys=False)
    return text.strip().removesuffix("...").strip()


__all__ = ["Case", "Cases", "MappingError", "Outcome", "read_cases", "run", "run_shipped", "shipped_cases"]

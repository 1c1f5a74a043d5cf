"""What `connect inspect` shows: an account's fields with masked examples, which lines use them, and lines for the rest.

The fields come from the connector's description and are pinned; where a connector describes nothing, from the records
read so far. Proposals are guesses by name and type for a person to read: only fields of the canonical model that no
line of the record mapping uses are offered, and what fits nowhere is left as a comment.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import orjson
import yaml
from sqlalchemy import select

from connectors.contract import Capabilities, FieldType, VendorField
from connectors.errors import SyncError
from mappings.canonical import KINDS
from mappings.flows import forbidden
from mappings.losses import undeclared
from mappings.places import Place, is_there, value_in
from mappings.plan import Fact
from syncd import connections, schemas
from syncd.connecting import open_connection
from syncd.masking import masked
from syncd.store.database import reading
from syncd.store.tables import links

if TYPE_CHECKING:
    from connectors.contract import Connector
    from mappings.canonical import Field
    from syncd.app import App, Member

EXAMPLES_FROM = 20
OBSERVED_FROM = 200
ALIKE = 0.75
TAKES: Mapping[FieldType, frozenset[str]] = {
    "text": frozenset({"text"}),
    "choice": frozenset({"text", "enum"}),
    "number": frozenset({"decimal", "int"}),
    "date": frozenset({"date"}),
    "instant": frozenset({"instant", "date"}),
    "bool": frozenset({"bool"}),
}
"""Which types of canonical fields a plain line can join with a vendor's type."""
FACTS: Mapping[FieldType, Literal["text", "date", "instant", "decimal", "bool", "choice"]] = {
    "text": "text", "choice": "choice", "number": "decimal", "date": "date", "instant": "instant", "bool": "bool",
}  # fmt: skip
"""A vendor's type in the words of the mapping language; the others hold no single value."""


@dataclass(frozen=True, slots=True)
class Free:
    """A canonical field of a record mapping that no line uses."""

    kind: str
    field: Field


def inspect(app: App, name: str, *, resource: str | None = None, pin_by: str | None = None) -> dict[str, Any]:
    """Every field of every mapped resource (or of one). Raises NoSuchConnection, CannotConnect, SyncError.

    pin_by: accept the fields as they are now, in this person's name.
    """
    member = connections.member(app, name)
    resources = tuple(dict.fromkeys(place.resource for place in member.places))
    if resource is not None and resource not in resources:
        raise connections.CannotConnect(f"{name} maps no resource {resource!r}. It maps: {', '.join(resources)}.")
    talking = open_connection(app, name)
    try:
        chosen = resources if resource is None else (resource,)
        found = [_resource(app, member, talking.connector, each, pin_by) for each in chosen]
    finally:
        talking.close()
    own = app.settings.home / "mappings" / f"{name}.yaml"
    return {
        "connection": name,
        "connector": member.spec.name,
        "resources": found,
        "file": str(own),
        "file_exists": own.exists(),
        "proposal": _proposal(member, found),
    }


def _resource(app: App, member: Member, connector: Connector, resource: str, pin_by: str | None) -> dict[str, Any]:
    bodies: list[dict[str, Any]]
    is_described = Capabilities.of(connector).describe is not None
    if is_described:
        schemas.look(app, app.world(), connector, member.name, resource, at_once=True, pin_by=pin_by)
        row = schemas.stored(app, member.name, resource)
        assert row is not None, "a look stores what it saw"
        fields = tuple(schemas.known(row).values())
        bodies = _examples(app, member, connector, resource, fields)
        pinned: dict[str, Any] | None = {"at": row["pinned_at"], "by": row["pinned_by"]}
        drift = orjson.loads(row["drift"])
    else:
        bodies = _stored(app, member, resource, OBSERVED_FROM)
        fields, pinned, drift = tuple(_observed(bodies)), None, []
    used = [place for place in member.places if place.resource == resource]
    return {
        "resource": resource,
        "described": is_described,
        "pinned": pinned,
        "drift": drift,
        "fields": [_field(each, used, bodies) for each in fields],
    }


def _field(field: VendorField, used: Sequence[Place], bodies: Sequence[dict[str, Any]]) -> dict[str, Any]:
    read = value_in(field.path)
    shapes = (masked(read(body)) for body in bodies)
    return {
        "path": field.path,
        "label": field.label,
        "type": field.type,
        "detail": field.detail,
        "custom": field.custom,
        "writable": field.writable,
        "length": field.length,
        "values": list(field.values),
        "example": next((shape for shape in shapes if shape), ""),
        "lines": [
            {"kind": place.kind, "field": place.field, "where": place.where, "direction": place.direction}
            for place in used
            if is_there(place.path, (field.path,))
        ],
    }


def _examples(
    app: App, member: Member, connector: Connector, resource: str, fields: Sequence[VendorField]
) -> list[dict[str, Any]]:
    """A few records with all their fields, as they are now; none when there are none, or nobody may read them."""
    capable = Capabilities.of(connector)
    if capable.choose is not None:
        capable.choose(resource, tuple(dict.fromkeys(re.split(r"[.\[]", each.path)[0] for each in fields)))
    try:
        if capable.fetch is not None:
            ids = _known_ids(app, member.name, resource)
            if not ids and capable.ids is not None:
                ids = list(next(iter(capable.ids(resource)), ()))[:EXAMPLES_FROM]
            ids = ids[: max(1, min(EXAMPLES_FROM, connector.spec.facts.fetch_max))]
            return [record.body for record in capable.fetch(resource, ids) if not record.deleted] if ids else []
        page = next(iter(connector.pull(resource, None)), None)
        return [record.body for record in (page.records if page else ())[:EXAMPLES_FROM] if not record.deleted]
    except SyncError:
        return _stored(app, member, resource, EXAMPLES_FROM)


def _known_ids(app: App, connection: str, resource: str) -> list[str]:
    with reading(app.engine) as sql:
        here = (links.c.connection == connection, links.c.resource == resource, links.c.alive)
        newest = select(links.c.vendor_id).where(*here).order_by(links.c.vendor_id.desc()).limit(EXAMPLES_FROM)
        return list(sql.execute(newest).scalars())


def _stored(app: App, member: Member, resource: str, most: int) -> list[dict[str, Any]]:
    with reading(app.engine) as sql:
        here = (links.c.connection == member.name, links.c.resource == resource, links.c.alive)
        rows = sql.execute(select(links.c.body).where(*here).order_by(links.c.vendor_id).limit(most)).scalars()
        return [orjson.loads(body) for body in rows]


def _observed(bodies: Sequence[dict[str, Any]]) -> Iterator[VendorField]:
    """Top-level properties of records, where no description says which there are."""
    names = dict.fromkeys(name for body in bodies for name in body if re.fullmatch(r"[A-Za-z_]\w*", name))
    for name in names:
        values = [body[name] for body in bodies if body.get(name) not in (None, "", [], {})]
        yield VendorField(name, name.replace("_", " ").capitalize(), _seen_type(values))


def _seen_type(values: Sequence[Any]) -> FieldType:
    kinds: dict[type, FieldType] = {bool: "bool", int: "number", float: "number", list: "list", dict: "object"}
    found = {kinds.get(type(value), "text") for value in values}
    if found != {"text"}:
        return found.pop() if len(found) == 1 else "text"
    if all(re.fullmatch(r"\d{4}-\d\d-\d\d", str(value)) for value in values):
        return "date"
    return "instant" if all(re.match(r"\d{4}-\d\d-\d\dT\d\d:", str(value)) for value in values) else "text"


# --- proposals -----------------------------------------------------------------------------------------------------


def mistakes(app: App, name: str, file: str) -> tuple[str, ...]:
    """What is wrong with the lines of a connection's own file in its very account, one "file:line: …" text each: what
    they lose without saying so, and what may not enter the connection's zone. () where nothing is connected."""
    world = app.world()
    if (member := world.members.get(name)) is None:
        return ()
    known = {
        resource: schemas.known(row)
        for resource in dict.fromkeys(each.resource for each in member.mapping.mappings)
        if (row := schemas.stored(app, name, resource)) is not None
    }
    facts = {
        resource: {path: fact for path, each in fields.items() if (fact := _fact(each)) is not None}
        for resource, fields in known.items()
    }
    found = (
        *undeclared(member.mapping, facts),
        *forbidden(member.mapping, member.zone, world.matrix.get(member.zone, ())),
    )
    return tuple(each for each in found if each.startswith(f"{file}:"))


def _fact(field: VendorField) -> Fact | None:
    kind = FACTS.get(field.type)
    return Fact(kind, length=field.length if kind == "text" else None) if kind is not None else None


def _proposal(member: Member, resources: Sequence[Mapping[str, Any]]) -> str:
    """Records and lines in the form of a firm's own file; "" when nothing is left to map."""
    blocks = [block for each in resources for block in _blocks(member, each)]
    return "\n".join([f"overrides: {member.spec.name}", "records:", *blocks]) + "\n" if blocks else ""


def _blocks(member: Member, resource: Mapping[str, Any]) -> Iterator[str]:
    unmapped = [field for field in resource["fields"] if not field["lines"] and field["type"] in TAKES]
    lenses = member.mapping.of(resource["resource"])
    used = {(place.kind, place.field) for place in member.places if place.resource == resource["resource"]}
    for lens in lenses:
        free = [
            Free(lens.kind, field)
            for name, field in KINDS[lens.kind].fields.items()
            if name not in lens.lines and (lens.kind, name) not in used and not field.rollup
        ]
        taken = [KINDS[lens.kind].fields[name] for name in lens.lines]
        lines = list(_lines(unmapped, free, taken))
        if not lines:
            continue
        block = [f"  - resource: {resource['resource']}", f"    kind: {lens.kind}", "    fields:", *lines]
        is_open = all(line.lstrip().startswith("#") for line in lines)
        yield "\n".join(f"  # {line[2:]}" if is_open and "#" not in line[:8] else line for line in block)


def _lines(fields: Sequence[Mapping[str, Any]], free: Sequence[Free], taken: Sequence[Field]) -> Iterator[str]:
    pairs = sorted(
        (
            (-_alike(field, each.field.name), n, each.field.name)
            for n, field in enumerate(fields)
            for each in free
            if each.field.type in TAKES[field["type"]]
        ),
    )
    chosen: dict[int, str] = {}
    for score, n, name in pairs:
        if -score >= ALIKE and n not in chosen and name not in chosen.values():
            chosen[n] = name
    targets = {each.field.name: each.field for each in free}
    comments: list[str] = []
    for n, field in enumerate(fields):
        if n in chosen and (line := line_for(field, targets[chosen[n]])) is not None:
            yield f"      {chosen[n]}: {line} # {_told(field)}"
        elif field["custom"]:
            fit = [name for name, each in targets.items() if each.type in TAKES[field["type"]]]
            fit = [name for name in fit if name not in chosen.values()]
            instead = [each.name for each in taken if each.type in TAKES[field["type"]] and not each.rollup]
            choice = f"FIELD could be: {', '.join(fit)}" if fit else "no free field has its type"
            if not fit and instead:
                choice = f"FIELD could be, in place of its line now: {', '.join(instead)}"
            comments.append(f"      # FIELD: {plain_line(field)} # {_told(field)}; {choice}")
    yield from comments


def _told(field: Mapping[str, Any]) -> str:
    kind = field["detail"] or field["type"]
    values = (
        ": " + ", ".join(field["values"][:6]) + (" …" if len(field["values"]) > 6 else "") if field["values"] else ""
    )
    return f"{field['label']} ({kind}{values if ':' not in kind else ''})"


def plain_line(field: Mapping[str, Any]) -> str:
    """The line for a field whose canonical side is still open."""
    path = field["path"]
    words = {"path": path} | ({} if field["writable"] else {"direction": "in"})
    return path if len(words) == 1 and path.isidentifier() else _flow(words)


def line_for(field: Mapping[str, Any], target: Field) -> str | None:
    """A whole line; None when a table of values would be guesswork."""
    words: dict[str, Any] = {"path": field["path"]}
    if target.type == "text" and field["length"] and field["writable"] and field["type"] == "text":
        words["cut"] = field["length"]
    if target.type == "date" and field["type"] == "instant":
        words["as"] = "instant"
    if target.type == "enum":
        table = {value: own for value in target.values for own in field["values"] if _plain(own) == _plain(value)}
        if set(table) != set(target.values):
            return None
        words["values"] = table
    if target.type == "text" and field["type"] == "choice" and field["values"] and field["writable"]:
        # The vendor takes its own words only, and a new one of them says nothing here until somebody has looked.
        words |= {"values": {value: value for value in field["values"]}, "else": "nothing"}
    if not field["writable"]:
        words["direction"] = "in"
    return words["path"] if len(words) == 1 and words["path"].isidentifier() else _flow(words)


def _flow(words: Mapping[str, Any]) -> str:
    text: str = yaml.safe_dump(dict(words), default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True)
    return text.strip()


def _alike(field: Mapping[str, Any], name: str) -> float:
    last = re.sub(r"__c$", "", re.split(r"[.\[]", field["path"])[0])
    wanted = _plain(name)
    named = (field["label"],) if "[" in field["path"] else (field["label"], last)
    return max(difflib.SequenceMatcher(None, _plain(each), wanted).ratio() for each in named)


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", text.lower())

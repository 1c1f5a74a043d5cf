"""One record through the mapping as it is now: what the vendor has, what it means here, what others would be sent.

It is the engine's own work on this one record, in a transaction that is rolled back: the record is read from the
vendor, taken in, settled with what the other systems claim, and planned for each of them. Nothing is written, neither
at a vendor nor here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import select

from connectors.contract import Capabilities, Record, Version
from mappings.compile import RecordMapping, Unreadable
from mappings.places import is_there, value_in
from syncd import connections
from syncd.connecting import open_connection
from syncd.core.plan import Refusal, WaitFor, WaitForReview, Write
from syncd.deliver import Owed, load_owed, plan_owed
from syncd.reconcile import Arrival, Page, Reconciler
from syncd.stewards import NotFound
from syncd.store.database import among, lock_settling, reading
from syncd.store.tables import links, records, turns

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from syncd.app import App, Member, World
    from syncd.core.plan import Planned


def preview(app: App, name: str, record_id: str) -> dict[str, Any]:
    """record_id: the vendor's id, or RESOURCE/ID. Raises NotFound, NoSuchConnection, CannotConnect, SyncError."""
    member = connections.member(app, name)
    resource, record, is_live = _record(app, member, record_id)
    lens = next((each for each in member.mapping.of(resource) if each.applies(record.body)), None)
    if lens is None:
        raise NotFound(f"No record mapping of {name} applies to this record of {resource}: see its `when`.")
    found: dict[str, Any] = {
        "connection": name, "resource": resource, "id": record.id, "kind": lens.kind, "read_now": is_live,
        "vendor": record.body, "fields": [], "aside": None, "record": None, "review": False, "systems": [],
    }  # fmt: skip
    try:
        values = lens.get(record.body)
    except Unreadable as error:
        return {**found, "aside": str(error)}
    taken = _taken_in(app, member.name, resource, record, lens)
    if isinstance(taken, str):
        return {**found, "aside": taken}
    canonical, golden, systems, in_review = taken
    return {
        **found,
        "fields": _fields(member, lens, record.body, values, golden),
        "record": canonical,
        "review": in_review,
        "systems": systems,
    }


def _record(app: App, member: Member, record_id: str) -> tuple[str, Record, bool]:
    """The record as the vendor has it now; as last read where it cannot be fetched."""
    resources = tuple(dict.fromkeys(lens.resource for lens in member.mapping.mappings))
    head, slash, tail = record_id.partition("/")
    is_full = bool(slash) and head in resources
    chosen, wanted = ((head,), tail) if is_full else (resources, record_id)
    with reading(app.engine) as sql:
        here = (links.c.connection == member.name, links.c.vendor_id == wanted, links.c.resource.in_(chosen))
        rows = {row["resource"]: row for row in sql.execute(select(links).where(*here)).mappings()}
    order = sorted(chosen, key=lambda each: each not in rows)
    talking = open_connection(app, member.name, member.mapping)
    try:
        fetch = Capabilities.of(talking.connector).fetch
        for resource in order if fetch is not None else ():
            for record in fetch(resource, [wanted]) if fetch is not None else ():
                if not record.deleted:
                    return resource, record, True
    finally:
        talking.close()
    for resource, row in rows.items():
        if fetch is None and row["alive"]:
            version = Version(row["version"]) if row["version"] else None
            return resource, Record(wanted, version, orjson.loads(row["body"])), False
    raise NotFound(f"{member.name} has no record {record_id!r} in {', '.join(chosen)}.")


def _taken_in(
    app: App, connection: str, resource: str, record: Record, lens: RecordMapping
) -> tuple[str, dict[str, Any], list[dict[str, Any]], bool] | str:
    """(canonical id, golden values, what is planned for each system, whether a steward would be asked first); or why
    the record would be put aside."""
    world = app.world()
    reconciler = Reconciler(app, world, connection, resource, None)
    prepared = reconciler.prepare([Arrival(record)], again=True)
    if not prepared.readings:
        return prepared.dead[0][2]
    with app.engine.connect() as sql, sql.begin() as transaction:
        lock_settling(sql)
        Page(reconciler, sql, prepared).run()
        link = select(links.c.canonical_id).where(
            links.c.connection == connection, links.c.resource == resource, links.c.vendor_id == record.id
        )
        row = sql.execute(select(records).where(records.c.id == link.scalar_subquery())).mappings().one()
        systems = [
            _planned(app, sql, world, target.connection, target.resource, row["id"], lens.kind)
            for target in world.targets(lens.kind)
        ]
        settled = orjson.loads(row["golden"])
        names = _names(sql, [str(settled[name]) for name in world.references(lens.kind) if settled.get(name)])
        golden = {name: _named(names, value) for name, value in settled.items()}
        transaction.rollback()
    for system in systems:
        for change in system["changes"]:
            change["before"], change["after"] = (_named(names, change[side]) for side in ("before", "after"))
    systems = [each for each in systems if each["connection"] != connection or each["changes"]]
    return row["id"], golden, systems, row["status"] == "review"


def _planned(
    app: App, sql: Connection, world: World, connection: str, resource: str, canonical: str, kind: str
) -> dict[str, Any]:
    intent = {"canonical_id": canonical, "kind": kind, "connection": connection, "resource": resource}
    (owed,) = load_owed(sql, world, connection, resource, [intent])
    planned = plan_owed(world, owed)
    here = (turns.c.connection == connection, turns.c.resource == resource)
    read_with = sql.execute(select(turns.c.mapping).where(*here)).scalar() or ""
    changes: list[dict[str, Any]] = []
    if isinstance(planned, Write):
        changes = [
            {"field": field, "before": planned.before.get(field), "after": value}
            for field, value in sorted(planned.meant.items())
        ]
    return {
        "connection": connection,
        "resource": resource,
        "id": owed.link["vendor_id"] if owed.link is not None else None,
        "does": _does(owed, planned),
        "observing": world.members[connection].mode == "observe",
        "behind": bool(read_with) and read_with != Reconciler(app, world, connection, resource, None).salt.hex(),
        "changes": changes,
        "sends": planned.payload if isinstance(planned, Write) else {},
        "stays_behind": sorted(owed.decision.redacted),
    }


def _does(owed: Owed, planned: Planned) -> str:
    if isinstance(planned, Write):
        return "create" if owed.link is None else "update" if planned.meant else "delete"
    if isinstance(planned, WaitFor):
        return "wait for the record that it refers to"
    if isinstance(planned, WaitForReview):
        return "wait for a steward"
    if isinstance(planned, Refusal):
        return f"held by a rule: {planned.rule}"
    if owed.link is not None:
        return "nothing: it holds what it should"
    return "nothing: new records are not made there" if owed.lens is not None and not owed.lens.creates else "nothing"


def _names(sql: Connection, ids: list[str]) -> dict[str, str]:
    """canonical id -> how a person would call it."""
    named: dict[str, str] = {}
    for row in sql.execute(select(records.c.id, records.c.golden).where(among(sql, records.c.id, ids))):
        golden = orjson.loads(row.golden)
        parts = [golden.get(name) for name in ("given_name", "family_name", "name", "number")]
        named[row.id] = " ".join(str(part) for part in parts if part) or row.id
    return named


def _named(names: Mapping[str, str], value: Any) -> Any:
    return names.get(value, value) if isinstance(value, str) else value


def _fields(
    member: Member, lens: RecordMapping, body: dict[str, Any], values: Mapping[str, Any], golden: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Line by line: the vendor's places with their values, what they mean here, and the golden value."""
    found = []
    for name in lens.lines:
        places = [p for p in member.places if (p.resource, p.kind, p.field) == (lens.resource, lens.kind, name)]
        found.append(
            {
                "field": name,
                "direction": lens.lines[name].direction,
                "where": places[0].where if places else "",
                "places": [{"path": place.path, "value": value_in(place.path)(body)} for place in places],
                "stated": name in values,
                "value": values.get(name),
                "golden": golden.get(name),
            }
        )
    lines = set(lens.lines)
    for place in member.places:
        is_ours = (place.resource, place.kind) == (lens.resource, lens.kind)
        if is_ours and place.field not in lines and not is_there(place.path, body.keys()):
            lines.add(place.field)
            found.append(
                {
                    "field": place.field, "direction": "off", "where": place.where, "stated": False, "value": None,
                    "places": [{"path": place.path, "value": None}], "golden": golden.get(place.field),
                }
            )  # fmt: skip
    return found

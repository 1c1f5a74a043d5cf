"""Why a value is what it is, and what a sync would write: both ask the same functions that do the work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import or_, select

from syncd.core.claims import decode
from syncd.core.plan import Refusal, WaitFor, WaitForReview, Write
from syncd.deliver import load_owed, plan_owed
from syncd.stewards import NotFound
from syncd.store.database import reading
from syncd.store.tables import conflicts, intents, links, pins, records, writes

if TYPE_CHECKING:
    from syncd.app import App

PLAN_PART = 500


def explain(app: App, record: str, field: str | None = None) -> dict[str, Any]:
    """A canonical record by its id, or by any system's id ("connection/resource/id"): each value with its source, the
    other claims, what every system holds, and what was written under which decision."""
    with reading(app.engine) as sql:
        canonical = record
        if record.count("/") >= 2:
            connection, resource, vendor_id = record.split("/", 2)
            found = sql.execute(
                select(links.c.canonical_id).where(
                    links.c.connection == connection, links.c.resource == resource, links.c.vendor_id == vendor_id
                )
            ).scalar()
            if found is None:
                raise NotFound(f"There is no record {record!r}.")
            canonical = found
        row = sql.execute(select(records).where(records.c.id == canonical)).mappings().one_or_none()
        while row is not None and row["merged_into"] is not None:
            row = sql.execute(select(records).where(records.c.id == row["merged_into"])).mappings().one_or_none()
        if row is None:
            raise NotFound(f"There is no record {record!r}. Give a canonical id, or connection/resource/id.")
        canonical = row["id"]
        golden = orjson.loads(row["golden"])
        sources = orjson.loads(row["sources"])
        joined = [
            dict(each)
            for each in sql.execute(
                select(links).where(links.c.canonical_id == canonical).order_by(links.c.connection)
            ).mappings()
        ]
        states = {
            f"{each['connection']}/{each['resource']}/{each['vendor_id']}": decode(orjson.loads(each["state"]))
            for each in joined
        }
        pinned = {
            each["field"]: {"value": orjson.loads(each["value"]), "by": each["by"], "at": each["at"]}
            for each in sql.execute(select(pins).where(pins.c.canonical_id == canonical)).mappings()
        }
        disputes = [
            {
                "field": each["field"],
                "state": each["state"],
                "reason": each["reason"],
                "kept": orjson.loads(each["kept"]),
                "others": orjson.loads(each["values"]),
            }
            for each in sql.execute(
                select(conflicts).where(conflicts.c.canonical_id == canonical).order_by(conflicts.c.opened_at)
            ).mappings()
            if field is None or each["field"] == field
        ]
        sent = [
            {
                "at": each["at"],
                "system": each["connection"],
                "record": each["vendor_id"],
                "operation": each["operation"],
                "before": orjson.loads(each["before"]),
                "wrote": orjson.loads(each["meant"]),
                "decision": orjson.loads(each["decision"]),
                "outcome": each["outcome"],
            }
            for each in sql.execute(
                select(writes).where(writes.c.canonical_id == canonical).order_by(writes.c.at, writes.c.id)
            ).mappings()
        ]
    names = sorted(
        {name for state in states.values() for name in state.claims}
        | {n for n in golden if not isinstance(golden[n], dict)}
        | pinned.keys()
    )
    fields: list[dict[str, Any]] = []
    for name in names:
        set_name = name.partition("/")[0]
        if field is not None and field not in (name, set_name):
            continue
        value = golden.get(set_name, {}).get(name.partition("/")[2]) if "/" in name else golden.get(name)
        fields.append(
            {
                "field": name,
                "value": value,
                "from": sources.get(name, sources.get("*")),
                "pinned": pinned.get(name),
                "claims": [
                    {
                        "record": source,
                        "value": state.claims[name].value,
                        "at": state.claims[name].at,
                        "first_meeting": state.claims[name].first,
                    }
                    for source, state in states.items()
                    if name in state.claims
                ],
                "held": {source: state.base.get(name) for source, state in states.items() if name in state.base},
            }
        )
    if field is not None and not fields:
        raise NotFound(
            f"This {row['kind']} has no field {field!r}."
            f" It has: {', '.join(sorted({n.partition('/')[0] for n in names}))}."
        )
    if field is not None:
        sent = [each for each in sent if any(field in (name, name.partition("/")[0]) for name in each["wrote"])]
    return {
        "record": canonical,
        "kind": row["kind"],
        "status": row["status"],
        "systems": [
            {"record": f"{e['connection']}/{e['resource']}/{e['vendor_id']}", "deleted_there": not e["alive"]}
            for e in joined
        ],
        "fields": fields,
        "conflicts": disputes,
        "writes": sent,
    }


def plan(app: App, connection: str | None = None) -> list[dict[str, Any]]:
    """Every write that a sync would make now, with field-by-field before and after, and the gate's decision.

    The plan is computed by the calls that delivery makes; nothing is sent.
    """
    world = app.world()
    found: list[dict[str, Any]] = []
    with reading(app.engine) as sql:
        statement = select(intents).where(
            or_(intents.c.state == "due", intents.c.state == "waiting", intents.c.state == "held")
        )
        if connection is not None:
            statement = statement.where(intents.c.connection == connection)
        rows = [
            dict(row)
            for row in sql.execute(
                statement.order_by(intents.c.connection, intents.c.resource, intents.c.canonical_id)
            ).mappings()
        ]
        places = sorted({(row["connection"], row["resource"]) for row in rows})
        for place in places:
            here = [row for row in rows if (row["connection"], row["resource"]) == place]
            for start in range(0, len(here), PLAN_PART):
                for each in load_owed(sql, world, *place, here[start : start + PLAN_PART]):
                    planned = plan_owed(world, each)
                    entry: dict[str, Any] = {
                        "connection": place[0], "resource": place[1], "record": each.canonical,
                        "kind": each.intent["kind"],
                        "vendor_id": each.link["vendor_id"] if each.link is not None else None,
                        "decision": each.decision.document(),
                    }  # fmt: skip
                    if isinstance(planned, Write):
                        operation = "create" if each.link is None else "update" if planned.meant else "delete"
                        changes = [
                            {"field": name, "before": planned.before.get(name), "after": value}
                            for name, value in sorted(planned.meant.items())
                        ]
                        found.append({**entry, "operation": operation, "changes": changes})
                    elif isinstance(planned, WaitFor):
                        found.append({**entry, "operation": "wait", "for": planned.canonical_id, "changes": []})
                    elif isinstance(planned, WaitForReview):
                        found.append({**entry, "operation": "review", "changes": []})
                    elif isinstance(planned, Refusal):
                        found.append({**entry, "operation": "refused", "why": planned.rule, "changes": []})
    return found

"""How things stand, from outcomes: what was read when, what is owed, and what needs a person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from syncd.clock import iso
from syncd.schemas import drifts
from syncd.store.database import reading
from syncd.store.tables import (
    conflicts,
    connections,
    dead_letters,
    intents,
    links,
    meta,
    reviews,
    runs,
    turns,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection, RowMapping

    from syncd.app import App


def status(app: App) -> dict[str, Any]:
    """One value for the status page, `syncd status` and the health check: names and numbers, no record's content."""
    with reading(app.engine) as sql:
        owed: dict[tuple[str, str], dict[str, int]] = {}
        for row in sql.execute(
            select(intents.c.connection, intents.c.resource, intents.c.state, func.count()).group_by(
                intents.c.connection, intents.c.resource, intents.c.state
            )
        ):
            owed.setdefault((row[0], row[1]), {})[row[2]] = row[3]
        dead = {
            (row[0], row[1]): row[2]
            for row in sql.execute(
                select(dead_letters.c.connection, dead_letters.c.resource, func.count()).group_by(
                    dead_letters.c.connection, dead_letters.c.resource
                )
            )
        }
        linked = {
            (row[0], row[1]): row[2]
            for row in sql.execute(
                select(links.c.connection, links.c.resource, func.count())
                .where(links.c.alive)
                .group_by(links.c.connection, links.c.resource)
            )
        }
        last, stopped = _newest(sql, "pull"), _newest(sql, "stopped")
        by_connection: dict[str, list[dict[str, Any]]] = {}
        for turn in sql.execute(select(turns).order_by(turns.c.connection, turns.c.resource)).mappings():
            place = (turn["connection"], turn["resource"])
            run = last.get(place)
            states = owed.get(place, {})
            by_connection.setdefault(turn["connection"], []).append(
                {
                    "name": turn["resource"],
                    "records": linked.get(place, 0),
                    "first_pull_done": bool(turn["pulled_once"]),
                    "last_pull_at": turn["last_pull_at"],
                    **{key: run[key] if run else 0 for key in ("pulled", "changed", "unchanged", "conflict", "held")},
                    "dead": dead.get(place, 0) + states.get("dead", 0),
                    "due_intents": sum(states.get(state, 0) for state in ("due", "sending", "unknown", "waiting")),
                    "intents": states,
                    "failures": turn["failures"],
                    "trouble": stopped[place]["problem"] if turn["failures"] and place in stopped else None,
                }
            )
        told = drifts(sql)
        found = [
            {
                "name": row["name"],
                "connector": row["connector"],
                "account": row["label"],
                "zone": row["zone"],
                "mode": "stopped" if row["problem"] else row["mode"],
                "problem": row["problem"],
                "remedy": row["remedy"],
                "paused_until": row["paused_until"],
                "resources": by_connection.get(row["name"], []),
                "drift": [each for each in told.get(row["name"], ()) if each["change"] != "unknown"],
            }
            for row in sql.execute(select(connections).order_by(connections.c.name)).mappings()
        ]
        totals: dict[str, int] = {}
        for states in owed.values():
            for state, count in states.items():
                totals[state] = totals.get(state, 0) + count
        return {
            "firm": app.settings.firm.name,
            "as_of": iso(app.clock.now()),
            "connections": found,
            "unknown_names": _unknown_names(app, [each["name"] for each in found]),
            "intents": totals,
            "conflicts": sql.execute(select(func.count()).where(conflicts.c.state == "open")).scalar_one(),
            "reviews": sql.execute(select(func.count()).where(reviews.c.state == "open")).scalar_one(),
            "dead_letters": sum(dead.values()) + totals.get("dead", 0),
            "held": totals.get("held", 0),
            "workers": [
                row.value
                for row in sql.execute(select(meta.c.value).where(meta.c.name.like("worker:%")).order_by(meta.c.name))
            ],
            "sweeper_at": sql.execute(select(meta.c.value).where(meta.c.name == "sweeper_at")).scalar(),
        }


def _unknown_names(app: App, known: list[str]) -> list[str]:
    """Names in firm.yaml's orders of authority that no connection has: such an order decides nothing."""
    firm = app.settings.firm
    named = [*firm.authority, *(name for rule in firm.rules.values() for name in rule.authority)]
    return [name for name in dict.fromkeys(named) if name not in known] if known else []


def _newest(sql: Connection, activity: str) -> dict[tuple[str, str], RowMapping]:
    """The latest run of an activity per (connection, resource)."""
    newest = (
        select(runs.c.connection, runs.c.resource, func.max(runs.c.id).label("id"))
        .where(runs.c.activity == activity)
        .group_by(runs.c.connection, runs.c.resource)
        .subquery()
    )
    rows = sql.execute(select(runs).join(newest, newest.c.id == runs.c.id)).mappings()
    return {(row["connection"], row["resource"]): row for row in rows}

"""What was put aside: records that could not be taken in, and writes that a vendor or the gate refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from syncd.clock import iso
from syncd.connecting import choose, open_connection
from syncd.once import wait_for_lease
from syncd.pull import read_dead_again
from syncd.reconcile import Reconciler
from syncd.schemas import look
from syncd.store.database import reading
from syncd.store.tables import dead_letters, intents

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

    from syncd.app import App

REFUSED = ("dead", "held")


def list_aside(app: App, connection: str | None = None) -> list[dict[str, Any]]:
    """Everything that is aside, with why and what to do; no values."""
    with reading(app.engine) as sql:
        records = sql.execute(
            select(dead_letters).order_by(dead_letters.c.connection, dead_letters.c.resource, dead_letters.c.vendor_id)
        ).mappings()
        found = [_aside("record", row, row["vendor_id"], row["at"]) for row in records]
        writes = sql.execute(
            select(intents)
            .where(intents.c.state.in_(REFUSED))
            .order_by(intents.c.connection, intents.c.resource, intents.c.canonical_id)
        ).mappings()
        found += [_aside("write", row, row["canonical_id"], row["sent_at"] or row["due_at"]) for row in writes]
    return [each for each in found if connection in (None, each["connection"])]


def _aside(what: str, row: RowMapping, id: str, since: str) -> dict[str, Any]:
    return {
        "what": what,
        "id": f"{row['connection']}/{row['resource']}/{id}",
        "connection": row["connection"],
        "why": row["why"],
        "remedy": row["remedy"],
        "since": since,
    }


def retry(app: App, connection: str | None = None) -> dict[str, int]:
    """Read what is aside again, and owe the refused writes anew; {"records": still aside, "writes": owed}."""
    with app.engine.begin() as sql:
        statement = update(intents).where(intents.c.state.in_(REFUSED))
        if connection is not None:
            statement = statement.where(intents.c.connection == connection)
        owed = sql.execute(
            statement.values(state="due", due_at=iso(app.clock.now()), attempts=0, why=None, remedy=None)
        ).rowcount
    with reading(app.engine) as sql:
        places = sql.execute(select(dead_letters.c.connection, dead_letters.c.resource).distinct()).all()
    still = 0
    world = app.world()
    for place in places:
        if connection not in (None, place.connection) or place.connection not in world.members:
            continue
        lease = wait_for_lease(app, (place.connection, place.resource))
        talking = open_connection(app, place.connection, world.members[place.connection].mapping)
        try:
            if look(app, world, talking.connector, place.connection, place.resource, at_once=True):
                world = app.world()
                choose(talking.connector, world.members[place.connection].mapping)
            reconciler = Reconciler(app, world, place.connection, place.resource, lease)
            still += read_dead_again(app, talking.connector, reconciler)
        finally:
            talking.close()
            with app.engine.begin() as sql:
                lease.release(sql)
    return {"records": still, "writes": owed}

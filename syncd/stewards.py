"""What people decide: whether two records are one, who is right in a conflict, and taking such a ruling back.

Rulings are rows, and golden records are recomputed from them: merging moves links, un-merging moves them back,
and nothing is lost on the way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import Connection, and_, delete, insert, or_, select, update

from syncd.clock import iso
from syncd.reconcile import Reconciler
from syncd.store.database import among, lock_settling, reading
from syncd.store.tables import conflicts, edges, identity_keys, intents, links, pins, records, reviews

if TYPE_CHECKING:
    from syncd.app import App


class NotFound(Exception):
    """There is no such review, conflict or record."""


def open_reviews(app: App) -> list[dict[str, Any]]:
    """Pairs that wait, oldest first, both sides with their values and where they are."""
    with reading(app.engine) as sql:
        rows = [
            dict(row)
            for row in sql.execute(
                select(reviews).where(reviews.c.state == "open").order_by(reviews.c.opened_at, reviews.c.id)
            ).mappings()
        ]
        ids = {row[side] for row in rows for side in ("a", "b")}
        goldens = {
            row.id: orjson.loads(row.golden)
            for row in sql.execute(select(records.c.id, records.c.golden).where(among(sql, records.c.id, ids)))
        }
        places: dict[str, list[str]] = {}
        for row in sql.execute(
            select(links.c.canonical_id, links.c.connection, links.c.resource, links.c.vendor_id).where(
                among(sql, links.c.canonical_id, ids)
            )
        ):
            places.setdefault(row.canonical_id, []).append(f"{row.connection}/{row.resource}/{row.vendor_id}")
    return [
        {
            "id": row["id"],
            "kind": row["kind"],
            "reasons": orjson.loads(row["reasons"]),
            "opened_at": row["opened_at"],
            **{
                side: {
                    "id": row[side],
                    "values": goldens.get(row[side], {}),
                    "records": sorted(places.get(row[side], [])),
                }
                for side in ("a", "b")
            },
        }
        for row in rows
    ]


def rule_pair(app: App, review_id: str, *, same: bool, by: str) -> str:
    """Rule on a pair; returns the canonical id that stands afterwards (of the older one, when they are the same)."""
    world = app.world()
    with app.engine.begin() as sql:
        lock_settling(sql)
        row = (
            sql.execute(select(reviews).where(reviews.c.id == review_id, reviews.c.state == "open"))
            .mappings()
            .one_or_none()
        )
        if row is None:
            raise NotFound(f"There is no open review {review_id!r}. See: syncd review list.")
        now = iso(app.clock.now())
        sql.execute(
            update(reviews)
            .where(reviews.c.id == review_id)
            .values(state="same" if same else "different", closed_at=now, closed_by=by)
        )
        older, newer = sorted((str(row["a"]), str(row["b"])))
        touched = {older, newer}
        if same:
            touched |= _merge(sql, older, newer, now)
        for canonical in sorted(touched):
            _release(sql, canonical)
        owners = sql.execute(select(edges.c.canonical_id).where(among(sql, edges.c.target_id, touched))).scalars()
        touched.update(owners)
        Reconciler(app, world, "", "", None).settle_within(sql, sorted(touched))
    return older


def join(app: App, one: str, other: str, *, by: str) -> str:
    """Two canonical records are the same after all, whatever was ruled before; returns the id that stands."""
    now = iso(app.clock.now())
    older, newer = sorted((one, other))
    with app.engine.begin() as sql:
        lock_settling(sql)
        rows = {
            row.id: row
            for row in sql.execute(
                select(records.c.id, records.c.kind, records.c.status).where(among(sql, records.c.id, [one, other]))
            )
        }
        if older == newer or len(rows) != 2 or any(row.status == "merged" for row in rows.values()):
            raise NotFound("Give two different canonical records that stand on their own.")
        if rows[older].kind != rows[newer].kind:
            raise NotFound(f"A {rows[older].kind} and a {rows[newer].kind} cannot be one record.")
        sql.execute(delete(reviews).where(reviews.c.a == older, reviews.c.b == newer))
        review_id = app.new_id()
        sql.execute(
            insert(reviews).values(
                id=review_id, kind=rows[older].kind, a=older, b=newer, reasons="[]", state="open", opened_at=now
            )
        )
    return rule_pair(app, review_id, same=True, by=by)


def _merge(sql: Connection, survivor: str, loser: str, now: str) -> set[str]:
    """The loser's links join the survivor, whose id now stands for both; returns who else may be one of them."""
    sql.execute(update(links).where(links.c.canonical_id == loser).values(canonical_id=survivor))
    keys = sql.execute(select(identity_keys.c.key).where(identity_keys.c.canonical_id == survivor)).scalars().all()
    sql.execute(
        delete(identity_keys).where(identity_keys.c.canonical_id == loser, among(sql, identity_keys.c.key, keys))
    )
    sql.execute(update(identity_keys).where(identity_keys.c.canonical_id == loser).values(canonical_id=survivor))
    # A request that may still be under way is looked after by delivery, which then hands it over to the survivor.
    sql.execute(delete(intents).where(intents.c.canonical_id == loser, intents.c.state.not_in(("sending", "unknown"))))
    sql.execute(delete(edges).where(edges.c.canonical_id == loser))
    sql.execute(update(edges).where(edges.c.target_id == loser).values(target_id=survivor))
    sql.execute(update(records).where(records.c.id == loser).values(status="merged", merged_into=survivor))
    sql.execute(
        update(conflicts)
        .where(conflicts.c.canonical_id == loser, conflicts.c.state == "open")
        .values(state="settled", closed_at=now, closed_by="merge")
    )
    ruled = select(pins.c.field).where(pins.c.canonical_id == survivor)
    sql.execute(
        update(pins)
        .where(pins.c.canonical_id == loser, pins.c.field.not_in(ruled.scalar_subquery()))
        .values(canonical_id=survivor)
    )
    return _doubts_move(sql, survivor, loser)


def _doubts_move(sql: Connection, survivor: str, loser: str) -> set[str]:
    """Whoever may be the same as the loser may be the same as the survivor; returns these others."""
    involved = or_(reviews.c.a == loser, reviews.c.b == loser)
    doubts = sql.execute(
        select(reviews.c.id, reviews.c.a, reviews.c.b).where(reviews.c.state == "open", involved)
    ).all()
    others = {row.b if row.a == loser else row.a for row in doubts} - {survivor}
    for row in doubts:
        first, second = sorted((survivor, row.b if row.a == loser else row.a))
        asked = select(reviews.c.id).where(reviews.c.a == first, reviews.c.b == second)
        if first == second or sql.execute(asked).first() is not None:
            sql.execute(delete(reviews).where(reviews.c.id == row.id))
        else:
            sql.execute(update(reviews).where(reviews.c.id == row.id).values(a=first, b=second))
    return others


def _release(sql: Connection, canonical: str) -> None:
    """A record that waited for rulings goes live when the last one is made."""
    waiting = sql.execute(
        select(reviews.c.id).where(reviews.c.state == "open", or_(reviews.c.a == canonical, reviews.c.b == canonical))
    ).first()
    if waiting is None:
        sql.execute(
            update(records).where(records.c.id == canonical, records.c.status == "review").values(status="live")
        )


def split(app: App, connection: str, resource: str, vendor_id: str, *, by: str) -> str:
    """Un-merge: this vendor record becomes a canonical record of its own again; returns its new id.

    Golden records are recomputed on both sides, and what the wrong merge had delivered is taken back, since no
    claim supports it any more.
    """
    world = app.world()
    with app.engine.begin() as sql:
        lock_settling(sql)
        mine = and_(links.c.connection == connection, links.c.resource == resource, links.c.vendor_id == vendor_id)
        row = sql.execute(select(links.c.canonical_id, links.c.kind).where(mine)).one_or_none()
        if row is None:
            raise NotFound(f"There is no record {connection}/{resource}/{vendor_id}.")
        others = sql.execute(select(links.c.vendor_id).where(links.c.canonical_id == row.canonical_id).limit(2)).all()
        if len(others) < 2:
            raise NotFound(f"{connection}/{resource}/{vendor_id} stands alone already.")
        new = app.new_id()
        now = iso(app.clock.now())
        sql.execute(
            insert(records).values(id=new, kind=row.kind, status="live", golden="{}", sources="{}", merged_into=None)
        )
        sql.execute(update(links).where(mine).values(canonical_id=new))
        first, second = sorted((row.canonical_id, new))
        sql.execute(
            insert(reviews).values(
                id=app.new_id(),
                kind=row.kind,
                a=first,
                b=second,
                reasons="[]",
                state="different",
                opened_at=now,
                closed_at=now,
                closed_by=by,
            )
        )
        sql.execute(delete(identity_keys).where(identity_keys.c.canonical_id == row.canonical_id))
        touched = {row.canonical_id, new}
        touched.update(
            sql.execute(select(edges.c.canonical_id).where(among(sql, edges.c.target_id, touched))).scalars()
        )
        Reconciler(app, world, connection, resource, None).settle_within(sql, sorted(touched))
    return new


def list_conflicts(app: App, *, state: str = "open") -> list[dict[str, Any]]:
    """Conflicts in a state (open, decided, settled), oldest first, with every system's value."""
    with reading(app.engine) as sql:
        rows = sql.execute(
            select(conflicts, records.c.kind)
            .join(records, records.c.id == conflicts.c.canonical_id)
            .where(conflicts.c.state == state)
            .order_by(conflicts.c.opened_at, conflicts.c.id)
        ).mappings()
        return [
            {
                "id": row["id"],
                "record": row["canonical_id"],
                "kind": row["kind"],
                "field": row["field"],
                "reason": row["reason"],
                "kept": orjson.loads(row["kept"]),
                "others": orjson.loads(row["values"]),
                "opened_at": row["opened_at"],
            }
            for row in rows
        ]


def settle_conflict(app: App, conflict_id: str, *, take: str | None = None, value: Any = None, by: str) -> Any:
    """Choose a connection's value (`take`) or give one; it beats every claim that is not newer. Returns the value."""
    world = app.world()
    with app.engine.begin() as sql:
        lock_settling(sql)
        row = sql.execute(select(conflicts).where(conflicts.c.id == conflict_id)).mappings().one_or_none()
        if row is None or row["state"] == "settled":
            raise NotFound(f"There is no conflict {conflict_id!r} to settle. See: syncd conflicts list.")
        sides = [orjson.loads(row["kept"]), *orjson.loads(row["values"])]
        if take is not None:
            side = next((each for each in sides if each["connection"] == take), None)
            if side is None:
                known = ", ".join(sorted({each["connection"] for each in sides}))
                raise NotFound(f"{take!r} is not part of this conflict. Choose one of: {known}.")
            value = side["value"]
        now = iso(app.clock.now())
        # Claims are dated by the vendors' clocks; a ruling must beat those that it was made about.
        at = max([now, *(each["at"] for each in sides if "at" in each)])
        sql.execute(delete(pins).where(pins.c.canonical_id == row["canonical_id"], pins.c.field == row["field"]))
        sql.execute(
            insert(pins).values(
                canonical_id=row["canonical_id"], field=row["field"], value=orjson.dumps(value).decode(), at=at, by=by
            )
        )
        sql.execute(
            update(conflicts).where(conflicts.c.id == conflict_id).values(state="settled", closed_at=now, closed_by=by)
        )
        Reconciler(app, world, "", "", None).settle_within(sql, [row["canonical_id"]])
    return value

"""The fields that a vendor's records have: pinned when first seen, compared at every look, and drift with its remedy.

What a mapping line names and the account does not have is switched off, alone: the line makes no statement and is
never written, so a vanished field is empty nowhere and cleared nowhere. When it comes back everything is read again,
and finding it empty ends no claim. Nothing here holds a record's content.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import orjson
from sqlalchemy import delete, select, update

from connectors.contract import Capabilities, VendorField
from connectors.errors import MissingPermission, Refused, ShapeChanged
from mappings.places import Place, is_there
from syncd import logs
from syncd.clock import from_iso, iso
from syncd.store.database import reading, upsert_rows
from syncd.store.tables import meta, schemas, turns

if TYPE_CHECKING:
    from sqlalchemy import Connection, RowMapping

    from connectors.contract import Connector
    from syncd.app import App, World
    from syncd.turns import Lease

Change = Literal["gone", "unknown", "retyped", "renamed", "choices", "locked"]
NOBODY = "syncd"
IN_VAIN = "fields-not-told:"
ASK_AGAIN = timedelta(hours=1)
log = logs.get("schemas")


class SchemaMoved(Exception):
    """Fields appeared or vanished while they were in use: what was read with the old ones must not be committed."""


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference that somebody should know: what happened to which field, which lines use it, what follows from
    that, and what to do.

    change  gone: it was there when pinned; unknown: a line names it and it never was; retyped, choices: other values
            may stand there now; renamed: another label; locked: it can no longer be written
    """

    resource: str
    field: str
    label: str
    change: Change
    what: str
    lines: tuple[str, ...]
    effect: str
    remedy: str


Fields = Mapping[str, VendorField]


def missing(seen: Fields, pinned: Fields, used: Sequence[Place]) -> dict[str, bool]:
    """Places that lines use and that the account does not have, and whether it had them when it was pinned."""
    return {place.path: is_there(place.path, pinned) for place in used if not is_there(place.path, seen)}


def compare(connection: str, resource: str, pinned: Fields, seen: Fields, used: Sequence[Place]) -> Iterator[Drift]:
    """What is different from the pinned fields, and from what the lines need, in the order of the lines."""
    lines: dict[str, list[Place]] = {}
    for place in used:
        lines.setdefault(place.path, []).append(place)
    off = missing(seen, pinned, used)
    for path, users in lines.items():
        named = tuple(f"{user.where} {user.kind}.{user.field}" for user in users)
        fields = ", ".join(dict.fromkeys(f"{user.kind}.{user.field}" for user in users))
        verb, stay = ("are", "stay") if "," in fields else ("is", "stays")
        if path in off:
            was = off[path]
            label = next((pinned[each].label for each in pinned if is_there(path, (each,))), path)
            yield Drift(
                resource, path, label, "gone" if was else "unknown",
                "is gone" if was else "does not exist",
                named,
                f"{fields} {verb} neither read nor written here, and {stay} unchanged everywhere else;"
                " all other fields keep syncing.",
                _remedy(connection, path, pinned, seen, was=was, is_slot=all(user.is_slot for user in users)),
            )  # fmt: skip
            continue
        before, now = pinned.get(path), seen.get(path)
        if before is None or now is None or before == now:
            continue
        yield from _altered(connection, resource, path, before, now, users, named, fields)


def _altered(
    connection: str,
    resource: str,
    path: str,
    before: VendorField,
    now: VendorField,
    users: Sequence[Place],
    named: tuple[str, ...],
    fields: str,
) -> Iterator[Drift]:
    accept = f"When that is right: syncd connect inspect {connection} --pin"
    if (before.type, before.detail.partition(":")[0]) != (now.type, now.detail.partition(":")[0]):
        told = f"was {before.detail or before.type} and is now {now.detail or now.type}"
        effect = f"Records whose value does not fit {fields} any more are put aside, each with its reason."
        yield Drift(resource, path, now.label, "retyped", told, named, effect, f"Check the line. {accept}")
    elif before.values != now.values:
        lost = [value for value in before.values if value not in now.values]
        new = [value for value in now.values if value not in before.values]
        told = "; ".join(
            f"{word} {', '.join(values)}" for word, values in (("lost", lost), ("has new", new)) if values
        ) or "lists its choices in another order"  # fmt: skip
        effect = f"A table of values in the line does not know new choices of {fields}, and writes lost ones in vain."
        yield Drift(resource, path, now.label, "choices", told, named, effect, f"Check the line. {accept}")
    if before.label != now.label:
        told, effect = f"is now called {now.label!r}", "None: the line goes by the field, not by its name."
        yield Drift(resource, path, before.label, "renamed", told, named, effect, accept)
    if before.writable and not now.writable and any(user.direction != "in" for user in users):
        effect = f"What changes elsewhere in {fields} is refused here."
        remedy = "Let this account write the field again, or give the line `direction: in`."
        yield Drift(
            resource, path, now.label, "locked", "can no longer be written", named, effect, f"{remedy} {accept}"
        )


def _remedy(connection: str, path: str, pinned: Fields, seen: Fields, *, was: bool, is_slot: bool) -> str:
    if not was:
        close = difflib.get_close_matches(path, list(seen), n=1, cutoff=0.6)
        return f"Make the field, let this account see it, or correct the line{_meant(close)}."
    old = next((pinned[each] for each in pinned if is_there(path, (each,))), None)
    heirs = [e.path for e in seen.values() if old is not None and (e.label, e.type) == (old.label, old.type)]
    heir = f" If {heirs[0]} took its place, name that in the line." if heirs else ""
    command = f"syncd connect inspect {connection} --pin"
    accept = f"{command} (the set goes on without it)" if is_slot else f"take the line out (off), then {command}"
    return f"Restore it, or let this account see it again.{heir} If it is meant to be gone: {accept}"


def _meant(close: Sequence[str]) -> str:
    return f" (did you mean {close[0]}?)" if close else ""


# --- looking -------------------------------------------------------------------------------------------------------


def look(
    app: App,
    world: World,
    connector: Connector,
    connection: str,
    resource: str,
    *,
    at_once: bool = False,
    pin_by: str | None = None,
) -> bool:
    """Ask the vendor for its fields when that is due and note what follows; whether the world must be read again.

    at_once  ask however fresh the last answer is; then a refused description is raised, too
    pin_by   accept the fields as they are now, in this person's name

    Raises SyncError when the vendor cannot be reached or takes no sign-in.
    """
    describe = Capabilities.of(connector).describe
    if describe is None:
        return False
    row = stored(app, connection, resource)
    every = timedelta(seconds=connector.spec.facts.describe_every_s)
    now = app.clock.now()
    if (
        every
        and not at_once
        and (_is_in_vain(app, connection, resource) or (row and now < from_iso(row["seen_at"]) + every))
    ):
        return False
    try:
        found = describe(resource)
    except (MissingPermission, Refused, ShapeChanged) as error:
        # It is the description that cannot be had. Whatever else fails (a sign-in, the line) is the turn's own trouble.
        if at_once:
            raise
        if every:
            _ask_later(app, connection, resource)
        log.warning("fields_not_told", connection=connection, resource=resource, error=type(error).__name__)
        return False
    seen = {each.path: each for each in found}
    moved = _note(app, world, connection, resource, seen, row, pin_by, always=bool(every))
    if moved and not at_once:  # a command tells it in its own words
        log.info("fields_moved", connection=connection, resource=resource)
    return moved


def _note(
    app: App,
    world: World,
    connection: str,
    resource: str,
    seen: Fields,
    row: RowMapping | None,
    pin_by: str | None,
    *,
    always: bool,
) -> bool:
    member = world.members[connection]
    used = [place for place in member.places if place.resource == resource]
    now = iso(app.clock.now())
    before = _fields(row["pinned"]) if row is not None else {}
    # What is new since is no drift, and pinned at once: only so its end will be noticed.
    pinned = (
        seen if row is None or pin_by is not None else {**before, **{p: f for p, f in seen.items() if p not in before}}
    )
    off = missing(seen, pinned, used)
    was_off: dict[str, bool] = orjson.loads(row["off"]) if row is not None else {}
    back = {place.field for place in used if was_off.get(place.path) and not off.get(place.path)}
    waiting = set(orjson.loads(row["returned"])) if row is not None else set()
    drift = [asdict(each) for each in compare(connection, resource, pinned, seen, used)]
    is_new_pin = row is None or pin_by is not None
    values = {
        "pinned": _text(pinned),
        "pinned_at": now if is_new_pin else row["pinned_at"] if row is not None else now,
        "pinned_by": (pin_by or NOBODY) if is_new_pin else row["pinned_by"] if row is not None else NOBODY,
        "seen": _text(seen),
        "off": orjson.dumps(off, option=orjson.OPT_SORT_KEYS).decode(),
        "returned": orjson.dumps(sorted(waiting | back)).decode(),
        "drift": orjson.dumps(drift).decode(),
    }
    changed = {name for name, value in values.items() if row is None or row[name] != value}
    if changed or always:
        columns = ("connection", "resource", "seen_at", *values)
        with app.engine.begin() as sql:
            upsert_rows(sql, schemas, columns, [(connection, resource, now, *values.values())])
            if back:
                here = (turns.c.connection == connection, turns.c.resource == resource)
                sql.execute(update(turns).where(*here).values(pull_due_at=now))
    return was_off != off or bool(back - waiting)


def _ask_later(app: App, connection: str, resource: str) -> None:
    """The account may not see its own fields, say: asking at every turn would cost requests and tell nothing new."""
    row = (f"{IN_VAIN}{connection}/{resource}", iso(app.clock.now() + ASK_AGAIN))
    with app.engine.begin() as sql:
        upsert_rows(sql, meta, ("name", "value"), [row])


def _is_in_vain(app: App, connection: str, resource: str) -> bool:
    with reading(app.engine) as sql:
        until = sql.execute(select(meta.c.value).where(meta.c.name == f"{IN_VAIN}{connection}/{resource}")).scalar()
    return until is not None and iso(app.clock.now()) < until


def asking(app: App, world: World, connector: Connector, lease: Lease) -> Callable[[], None] | None:
    """To be called before vanished values are believed: raises SchemaMoved when their fields vanished with them."""
    if Capabilities.of(connector).describe is None:
        return None

    def ask() -> None:
        if look(app, world, connector, lease.connection, lease.resource, at_once=True):
            log.info("fields_moved", connection=lease.connection, resource=lease.resource)
            raise SchemaMoved

    return ask


def read_again(sql: Connection, connection: str, resource: str, names: frozenset[str]) -> None:
    """Everything was read again with these fields: they are fields like any other now."""
    here = (schemas.c.connection == connection, schemas.c.resource == resource)
    waiting = sql.execute(select(schemas.c.returned).where(*here)).scalar()
    if names and waiting is not None:
        left = sorted(set(orjson.loads(waiting)) - names)
        sql.execute(update(schemas).where(*here).values(returned=orjson.dumps(left).decode()))


def forget(sql: Connection, connection: str) -> None:
    """The connection goes, and with it what was pinned."""
    sql.execute(delete(schemas).where(schemas.c.connection == connection))
    sql.execute(delete(meta).where(meta.c.name.like(f"{IN_VAIN}{connection}/%")))


# --- telling -------------------------------------------------------------------------------------------------------


def stored(app: App, connection: str, resource: str) -> RowMapping | None:
    with reading(app.engine) as sql:
        here = (schemas.c.connection == connection, schemas.c.resource == resource)
        return sql.execute(select(schemas).where(*here)).mappings().one_or_none()


def agreed(app: App, connection: str) -> dict[str, dict[str, str]]:
    """resource -> name of a custom field as pinned -> its id. A name that two fields share stands for neither: there
    the id is part of it."""
    with reading(app.engine) as sql:
        rows = sql.execute(select(schemas.c.resource, schemas.c.pinned).where(schemas.c.connection == connection)).all()
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        named = [(each.label, each.id) for each in _fields(row.pinned).values() if each.custom and each.id]
        labels = [label for label, _ in named]
        found[row.resource] = {label if labels.count(label) == 1 else f"{label} [{id_}]": id_ for label, id_ in named}
    return found


def known(row: RowMapping) -> dict[str, VendorField]:
    """The fields of a stored schema as last seen, by place."""
    return _fields(row["seen"])


def drifts(sql: Connection) -> dict[str, list[dict[str, Any]]]:
    """connection -> what is reported about its fields, as documents of `Drift`."""
    found: dict[str, list[dict[str, Any]]] = {}
    rows = sql.execute(
        select(schemas.c.connection, schemas.c.drift)
        .where(schemas.c.drift != "[]")
        .order_by(schemas.c.connection, schemas.c.resource)
    )
    for row in rows:
        found.setdefault(row.connection, []).extend(orjson.loads(row.drift))
    return found


def _text(fields: Fields) -> str:
    return orjson.dumps([asdict(each) for each in fields.values()]).decode()


def _fields(text: str) -> dict[str, VendorField]:
    found = (VendorField(**{**each, "values": tuple(each["values"])}) for each in orjson.loads(text))
    return {each.path: each for each in found}

"""What a firm changed in the shipped mappings, and what upgrades have changed under it since.

The shipped lines are noted when a firm's own file is first seen, and again whenever the firm changes it: so a later
version's lines can be told from those that the firm had before its eyes. Noting happens whenever a worker takes a turn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import delete, select

from mappings.differences import Key, Line, lines, shipped_lines
from syncd.clock import iso
from syncd.store.database import reading, upsert_rows
from syncd.store.tables import connections, mapping_bases

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from syncd.app import App

_SEEN: dict[tuple[str, str], str] = {}
"""(database, connection) -> hash of the own file that was noted by this process."""


def own_file(app: App, connection: str) -> Path:
    return app.settings.home / "mappings" / f"{connection}.yaml"


def connectors(app: App) -> dict[str, str]:
    """connection -> connector, also of those whose mapping cannot be used."""
    with reading(app.engine) as sql:
        rows = sql.execute(select(connections.c.name, connections.c.connector).order_by(connections.c.name)).all()
    return {row.name: row.connector for row in rows}


def note(app: App, connection: str, connector: str, *, again: bool = False) -> None:
    """Note the shipped lines that the firm's own file stands on, if it is new or changed. again: in any case."""
    path = own_file(app, connection)
    if not path.exists():
        return
    own = _hash(path)
    known = (app.settings.database_url, connection)
    if _SEEN.get(known) == own and not again:
        return
    with reading(app.engine) as sql:
        noted = sql.execute(select(mapping_bases.c.own).where(mapping_bases.c.connection == connection)).scalar()
    if noted != own or again:
        document = orjson.dumps(
            ["\t".join((*key, line.text)) for key, line in shipped_lines(connector).items()]
        ).decode()
        row = (connection, own, document, iso(app.clock.now()))
        with app.engine.begin() as sql:
            upsert_rows(sql, mapping_bases, ("connection", "own", "shipped", "at"), [row])
    _SEEN[known] = own


def forget(sql: Connection, connection: str) -> None:
    sql.execute(delete(mapping_bases).where(mapping_bases.c.connection == connection))


def diff(app: App, connection: str, connector: str) -> dict[str, Any]:
    """The firm's lines beside the shipped ones, and what an upgrade did to each since the firm last changed its file.

    upgrade  "" nothing; changed: the shipped line says something else now; gone: it is shipped no more; same: the
             shipped line says now what the firm's says, which is not needed any more
    """
    path = own_file(app, connection)
    now = shipped_lines(connector)
    own = lines(path.read_text(encoding="utf-8"), path.name) if path.exists() else {}
    with reading(app.engine) as sql:
        row = (
            sql.execute(select(mapping_bases).where(mapping_bases.c.connection == connection)).mappings().one_or_none()
        )
    is_current = row is not None and path.exists() and row["own"] == _hash(path)
    base = _base(row["shipped"]) if row is not None and is_current else {key: line.text for key, line in now.items()}
    return {
        "connection": connection,
        "connector": connector,
        "file": str(path) if path.exists() else None,
        "since": row["at"] if row is not None and is_current else None,
        "lines": [_changed(key, line, now.get(key), base.get(key)) for key, line in own.items()],
        "upgrade": list(_upgraded(now, base, own)),
    }


def _changed(key: Key, own: Line, shipped: Line | None, base: str | None) -> dict[str, Any]:
    said = shipped.text if shipped is not None else None
    upgrade = "" if said == base else "gone" if said is None else "changed"
    if said is not None and said == own.text:
        upgrade = "same"
    return {
        "resource": key[0], "kind": key[1], "field": key[2], "own": own.text, "where": own.where,
        "shipped": said, "shipped_where": shipped.where if shipped is not None else None,
        "before": base if said != base else None, "upgrade": upgrade,
    }  # fmt: skip


def _upgraded(now: Mapping[Key, Line], base: Mapping[Key, str], own: Mapping[Key, Line]) -> Iterator[dict[str, Any]]:
    """What an upgrade changed in lines that the firm left alone: these are in force already."""
    for key in dict.fromkeys((*base, *now)):
        before, after = base.get(key), now[key].text if key in now else None
        if before != after and key not in own:
            yield {"resource": key[0], "kind": key[1], "field": key[2], "before": before, "after": after}


def _base(document: str) -> dict[Key, str]:
    found: dict[Key, str] = {}
    for each in orjson.loads(document):
        resource, kind, field, text = each.split("\t", 3)
        found[resource, kind, field] = text
    return found


def _hash(path: Path) -> str:
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()

"""What everything is compared with: the least code that pulls the same pages, and the least that also stores them.

`bare` downloads and decodes. `floor` also stores every contact as about 6.5 rows in five tables, by COPY or by
executemany, without mapping, matching, provenance or the possibility to go on after a crash.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import httpx
import orjson
import psycopg
from sqlalchemy.engine import make_url

from connectors.clio.payloads import COLLECTIONS

PAGES_A_BATCH = 10
Row = tuple[Any, ...]

TABLES = {
    "contacts": "id bigint PRIMARY KEY, etag text, type text, name text, prefix text, first_name text, middle_name text,"  # noqa: E501
    " last_name text, title text, date_of_birth text, is_client boolean, created_at text, updated_at text, company bigint",  # noqa: E501
    "emails": "contact bigint, id bigint, address text, label text, is_primary boolean, PRIMARY KEY (contact, id)",
    "phones": "contact bigint, id bigint, number text, label text, is_primary boolean, PRIMARY KEY (contact, id)",
    "addresses": "contact bigint, id bigint, label text, street text, city text, province text, postal_code text,"
    " country text, is_primary boolean, PRIMARY KEY (contact, id)",
    "custom_values": "contact bigint, id text, field bigint, value text, PRIMARY KEY (contact, id)",
}


def pages(base_url: str) -> Iterator[list[dict[str, Any]]]:
    """Every page of contacts, decoded."""
    query = urlencode({"fields": COLLECTIONS["contacts"].fields, "order": "id(asc)", "limit": "200"})
    url: str | None = f"{base_url}/api/v4/contacts.json?{query}"
    with httpx.Client(headers={"Authorization": "Bearer bench"}) as client:
        while url:
            answer = orjson.loads(client.get(url).content)
            yield answer["data"]
            url = answer["meta"]["paging"].get("next")


def bare(base_url: str) -> int:
    """Download and decode; gives the number of contacts."""
    return sum(map(len, pages(base_url)))


def floor(base_url: str, database_url: str) -> int:
    """Download, decode and store; gives the number of rows."""
    url = make_url(database_url)
    if url.get_backend_name() == "sqlite":
        assert url.database is not None
        connection = sqlite3.connect(url.database)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        _create(connection)
        stored = sum(_store_sqlite(connection, batch) for batch in _batches(base_url))
        connection.close()
        return stored
    with psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False)) as server:
        _create(server)
        return sum(_store_postgresql(server, batch) for batch in _batches(base_url))


def _create(connection: Any) -> None:
    for name, columns in TABLES.items():
        connection.execute(f"CREATE TABLE {name} ({columns})")
    connection.commit()


def _batches(base_url: str) -> Iterator[dict[str, list[Row]]]:
    batch: dict[str, list[Row]] = {name: [] for name in TABLES}
    for number, page in enumerate(pages(base_url), 1):
        for contact in page:
            _rows(contact, batch)
        if number % PAGES_A_BATCH == 0:
            yield batch
            batch = {name: [] for name in TABLES}
    yield batch


def _rows(raw: dict[str, Any], batch: dict[str, list[Row]]) -> None:
    id_, company = raw["id"], raw["company"]
    batch["contacts"].append(
        (
            id_, raw["etag"], raw["type"], raw["name"], raw["prefix"], raw["first_name"], raw["middle_name"], raw["last_name"],  # noqa: E501
            raw["title"], raw["date_of_birth"], raw["is_client"], raw["created_at"], raw["updated_at"],
            company and company["id"],
        )
    )  # fmt: skip
    batch["emails"] += [(id_, e["id"], e["address"], e["name"], e["primary"]) for e in raw["email_addresses"]]
    batch["phones"] += [(id_, p["id"], p["number"], p["name"], p["primary"]) for p in raw["phone_numbers"]]
    batch["addresses"] += [
        (id_, a["id"], a["name"], a["street"], a["city"], a["province"], a["postal_code"], a["country"], a["primary"])
        for a in raw["addresses"]
    ]
    batch["custom_values"] += [(id_, c["id"], c["custom_field"]["id"], c["value"]) for c in raw["custom_field_values"]]


def _store_postgresql(server: psycopg.Connection, batch: dict[str, list[Row]]) -> int:
    with server.cursor() as cursor:
        for name, rows in batch.items():
            with cursor.copy(f"COPY {name} FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
    server.commit()
    return sum(map(len, batch.values()))


def _store_sqlite(connection: sqlite3.Connection, batch: dict[str, list[Row]]) -> int:
    for name, rows in batch.items():
        if rows:
            connection.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(rows[0]))})", rows)
    connection.commit()
    return sum(map(len, batch.values()))

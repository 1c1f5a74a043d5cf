"""Opening the database, and writing many rows at once.

SQLAlchemy Core builds schema and queries; bulk rows go through the raw driver (COPY on PostgreSQL,
executemany on SQLite), because that is two to five times cheaper per row.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import orjson
from sqlalchemy import Connection, Engine, Table, Text, bindparam, create_engine, event, func, select, text
from sqlalchemy import cast as converted
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy.sql import ColumnElement

T = TypeVar("T")
BUSY_TIMEOUT_MS = 30_000
SETTLE_LOCK = 0x73796E63
"""One advisory lock: see docs/decisions/0010-one-settler-at-a-time.md."""


def open_engine(url: str) -> Engine:
    """An engine whose transactions are what the rest of the code expects on either database."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(
            parsed, pool_size=4, max_overflow=4, pool_pre_ping=True, poolclass=QueuePool, hide_parameters=True
        )
    if parsed.database and parsed.database != ":memory:":
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        parsed,
        connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "check_same_thread": False},
        # Kept open: when the last connection closes, SQLite folds its log into the file, which costs milliseconds.
        poolclass=QueuePool,
        pool_size=4,
        max_overflow=4,
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, below
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA cache_size=-65536")
        # A first reading writes some megabytes a batch: with the default of 1,000 pages each would be copied at once.
        cursor.execute("PRAGMA wal_autocheckpoint=8000")
        cursor.execute("PRAGMA journal_size_limit=67108864")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A reader that later writes would fail with "database is locked" if another wrote meanwhile:
        # a transaction that may write takes the write lock at once.
        deferred = connection.get_execution_options().get("read_only", False)
        connection.exec_driver_sql("BEGIN" if deferred else "BEGIN IMMEDIATE")

    return engine


MIGRATIONS = Path(__file__).parent / "migrations"
SCHEMA = "0002"
"""The newest step in migrations/versions."""


def is_current(engine: Engine) -> bool:
    """Whether the schema is this version's; one cheap query, so that every process may ask."""
    try:
        with engine.connect().execution_options(read_only=True) as connection:
            return connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == SCHEMA
    except DBAPIError:
        return False


def migrate(engine: Engine) -> None:
    """Bring the schema to this version. Safe when several processes start at once."""
    # Imported here: a process that finds the schema current never pays for it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": SETTLE_LOCK + 1})
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that only reads: on SQLite it blocks nobody."""
    with engine.connect().execution_options(read_only=True) as connection, connection.begin():
        yield connection


def lock_settling(connection: Connection) -> None:
    """From here to the end of the transaction, nobody else settles. SQLite's single writer gives the same by itself."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": SETTLE_LOCK})


def insert_rows(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Add rows that are known to be new; columns in the order of each row."""
    if not rows:
        return
    names = ", ".join(f'"{name}"' for name in columns)
    raw = cast("Any", connection.connection.driver_connection)
    if connection.dialect.name == "postgresql":
        with raw.cursor() as cursor, cursor.copy(f'COPY "{table.name}" ({names}) FROM STDIN') as copy:
            write = copy.write_row
            for row in rows:
                write(row)
        return
    marks = ", ".join("?" * len(columns))
    raw.executemany(f'INSERT INTO "{table.name}" ({names}) VALUES ({marks})', rows)  # noqa: S608 (our own names)


def upsert_rows(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Add rows, or overwrite the given columns of those that are there (by primary key)."""
    if not rows:
        return
    keys = [column.name for column in table.primary_key.columns]
    names = ", ".join(f'"{name}"' for name in columns)
    sets = ", ".join(f'"{name}" = excluded."{name}"' for name in columns if name not in keys)
    conflict = f"ON CONFLICT ({', '.join(keys)}) " + (f"DO UPDATE SET {sets}" if sets else "DO NOTHING")
    raw = cast("Any", connection.connection.driver_connection)
    if connection.dialect.name == "postgresql" and len(rows) > 50:
        stage = f"stage_{table.name}"
        with raw.cursor() as cursor:
            cursor.execute(
                f'CREATE TEMP TABLE IF NOT EXISTS "{stage}" (LIKE "{table.name}" INCLUDING DEFAULTS)'
                " ON COMMIT DELETE ROWS"
            )
            cursor.execute(f'DELETE FROM "{stage}"')  # noqa: S608 (our own names)
            with cursor.copy(f'COPY "{stage}" ({names}) FROM STDIN') as copy:
                for row in rows:
                    copy.write_row(row)
            cursor.execute(f'INSERT INTO "{table.name}" ({names}) SELECT {names} FROM "{stage}" {conflict}')  # noqa: S608
        return
    mark = "%s" if connection.dialect.name == "postgresql" else "?"
    statement = f'INSERT INTO "{table.name}" ({names}) VALUES ({", ".join([mark] * len(columns))}) {conflict}'  # noqa: S608
    cursor = raw.cursor()
    cursor.executemany(statement, rows)
    cursor.close()


def among(connection: Connection, column: ColumnElement[Any], values: Iterable[str]) -> ColumnElement[bool]:
    """`column IN values` for any number of texts, sent as one parameter: one plan, no limit on variables."""
    document = orjson.dumps(list(values)).decode()
    if connection.dialect.name == "postgresql":
        # As an array that is made once, so that the planner looks each value up in the index, however many there are.
        # JSON, because psycopg writes lists in Python: that was a tenth of a first reading.
        parsed = converted(bindparam(None, document, type_=Text), JSON)
        return column == func.any(func.array(select(func.json_array_elements_text(parsed)).scalar_subquery()))
    each = func.json_each(document).table_valued("value")
    return column.in_(select(each.c.value))


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of at most `size`, for statements that name many values."""
    batch: list[T] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch

"""The migrations make exactly the tables that the code works with, on both databases."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from syncd.store import database
from syncd.store.tables import metadata


def test_the_migrations_make_the_tables(empty_database_url: str) -> None:
    engine = database.open_engine(empty_database_url)
    try:
        assert not database.is_current(engine)
        database.migrate(engine)
        database.migrate(engine)
        assert database.is_current(engine)
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, metadata) == []
    finally:
        engine.dispose()


def test_tables_that_are_read_by_key_alone_are_stored_by_key() -> None:
    engine = database.open_engine("sqlite:///:memory:")
    try:
        database.migrate(engine)
        with engine.connect() as connection:
            rows = connection.execute(text("SELECT name FROM sqlite_master WHERE sql LIKE '%WITHOUT ROWID%'")).scalars()
            assert set(rows) == {"edges", "identity_keys", "pending_refs"}
    finally:
        engine.dispose()


def test_the_newest_step_is_the_one_that_processes_look_for() -> None:
    folder = ScriptDirectory(str(database.MIGRATIONS))
    assert folder.get_current_head() == database.SCHEMA

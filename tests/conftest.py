"""Fixtures that many tests share: databases of both kinds, a Valkey server, and how Hypothesis runs here."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.servers import Postgres, Valkey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# No deadline: on a crowded machine one slow example says nothing. The blob makes a failure repeatable anywhere.
# What a merge has to pass must not depend on luck, so there the same cases are drawn every time; anybody else draws new ones.
settings.register_profile(
    "syncd",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=os.environ.get("CI") == "true",
)
settings.load_profile("syncd")


# `make check` has two minutes, so it runs on SQLite; `make test` runs the same tests on both.
BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL server for this pytest process; `create` and `create_like` make databases on it."""
    with Postgres.open() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """An empty PostgreSQL database of the test's own."""
    url = postgres.create()
    yield url
    postgres.drop(url)


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    """One Valkey server for this pytest process."""
    with Valkey() as server:
        yield server


@pytest.fixture
def valkey_url(valkey: Valkey) -> str:
    """An empty Valkey for the test."""
    valkey.flush()
    return valkey.url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the service's schema, to be copied."""
    path = tmp_path_factory.mktemp("template") / "syncd.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(params=BOTH)
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without any table; the test runs once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    yield request.getfixturevalue("postgres_url")


@pytest.fixture(params=BOTH)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh database with the service's schema; the test runs once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        yield f"sqlite:///{shutil.copy(template, tmp_path / 'syncd.db')}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = server.create_like("schema", _migrate)
    yield url
    server.drop(url)


def _migrate(url: str) -> None:
    from syncd.store.database import migrate, open_engine  # here, so that tests of pure code load no database

    engine = open_engine(url)
    migrate(engine)
    engine.dispose()

"""One installation per test, on both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.system.installation import Installation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def installation(database_url: str, tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path / "home", database_url)
    yield made
    made.close()


@pytest.fixture
def simple(sqlite_template: Path, tmp_path: Path) -> Iterator[Installation]:
    """On SQLite only: for what does not depend on the database."""
    path = tmp_path / "syncd.db"
    path.write_bytes(sqlite_template.read_bytes())
    made = Installation(tmp_path / "home", f"sqlite:///{path}")
    yield made
    made.close()

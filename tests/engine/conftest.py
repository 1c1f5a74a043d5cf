"""One office per test, on both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine.office import Office

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def office(database_url: str, tmp_path: Path) -> Iterator[Office]:
    made = Office(database_url, tmp_path, authority=("a", "b", "c"))
    yield made
    made.close()

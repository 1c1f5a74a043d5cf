"""A home for each test: short enough for a socket, and empty of processes when the test has ended."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.queue.workshop import Workshop


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="syncd-q-"))
    yield folder / "home"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def workshop(home: Path, valkey_url: str) -> Iterator[Workshop]:
    """A workshop on the session's Valkey."""
    with Workshop(home, valkey_url) as made:
        yield made


@pytest.fixture
def alone(home: Path) -> Iterator[Workshop]:
    """A workshop without a Redis of its own: for `up`, which starts the embedded server."""
    with Workshop(home) as made:
        yield made

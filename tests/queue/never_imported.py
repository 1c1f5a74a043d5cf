"""Stands for any module of the machine: a job in Redis names it, and nobody must ever import it."""

from __future__ import annotations

import os
from pathlib import Path

if trace := os.environ.get("NEVER_IMPORTED_TRACE"):
    Path(trace).write_text("imported", encoding="ascii")


def run(*_: object) -> None:
    """What a forged job would like to have called."""

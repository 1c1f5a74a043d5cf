"""The shape of a value in place of the value: what an admin needs to see to map a field, and nothing of a client."""

from __future__ import annotations

import re
from itertools import groupby
from typing import Any

SHOWN_MAX = 18
RUN_MAX = 4
"""Longer runs of one sort of character are cut, so that a name's length is not told either."""

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


def masked(value: Any) -> str:
    """Aaaa 9999 for text, a…@… for a mailbox, 9999.99 for a number; lists and objects by their make; "" for nothing."""
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes or no"
    if isinstance(value, int | float):
        return _runs(f"{value}")
    if isinstance(value, list):
        return "a list" if value else ""
    if isinstance(value, dict):
        return "an object"
    text = str(value)
    return "a…@…" if _EMAIL.fullmatch(text.strip()) else _runs(text)


def _runs(text: str) -> str:
    shape = "".join(
        "".join(run)[:RUN_MAX] for _, run in groupby(map(_sort_of, text[: 4 * SHOWN_MAX]), key=lambda each: each)
    )
    return shape if len(shape) <= SHOWN_MAX else shape[: SHOWN_MAX - 1] + "…"


def _sort_of(character: str) -> str:
    if character.isdigit():
        return "9"
    if character.isalpha():
        return "A" if character.isupper() else "a"
    if character.isspace():
        return " "
    return character if character.isascii() and character.isprintable() else "·"

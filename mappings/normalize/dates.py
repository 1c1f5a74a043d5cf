"""Dates and instants: ISO text in, one ISO spelling out, so that strings compare in time order."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from functools import lru_cache

_PARTIAL = re.compile(r"--\d\d(-?\d\d)?|---\d\d|\d{4}(-\d\d)?")


@lru_cache(maxsize=65536)
def day(raw: str) -> str | None:
    """The date part of an ISO date or instant as YYYY-MM-DD, as written, without moving it to another zone.

    None for a date that is not whole (a vCard's birthday without a year). Raises ValueError for anything else.
    """
    text = raw.strip()
    if _PARTIAL.fullmatch(text):
        return None
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        return datetime.fromisoformat(text).date().isoformat()


@lru_cache(maxsize=4096)
def instant(raw: str) -> str:
    """YYYY-MM-DDTHH:MM:SS.ffffffZ. Text without a zone is taken as UTC. Raises ValueError."""
    at = datetime.fromisoformat(raw.strip())
    try:
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError:
        raise ValueError("outside the calendar") from None
    return at.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"

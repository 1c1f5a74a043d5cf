"""Where the time comes from: decisions take `now` as an argument, effects ask a Clock, SystemClock asks the machine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Anything that can say what time it is."""

    def now(self) -> datetime:
        """The present instant as aware UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class FixedClock:
    """A clock that stands still until somebody moves it: time as an argument, for tests and the demo."""

    def __init__(self, at: datetime) -> None:
        self._at = as_utc(at)

    def now(self) -> datetime:
        return self._at

    def set(self, at: datetime) -> None:
        self._at = as_utc(at)

    def advance(self, step: timedelta) -> datetime:
        """Move by `step` (backwards too: clocks of real machines do that) and give the new instant."""
        self._at += step
        return self._at


def as_utc(at: datetime) -> datetime:
    """The same instant in UTC. Raises ValueError for a naive one: guessing its zone would be wrong by hours."""
    if at.tzinfo is None:
        raise ValueError("an instant needs a time zone; this one has none")
    return at.astimezone(UTC)


def iso(at: datetime) -> str:
    """`YYYY-MM-DDTHH:MM:SS.ffffffZ`, always with six digits, so that text order is time order."""
    return as_utc(at).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def from_iso(text: str) -> datetime:
    """The instant that `iso` wrote (any ISO 8601 text with an offset is understood). Raises ValueError."""
    return as_utc(datetime.fromisoformat(text))

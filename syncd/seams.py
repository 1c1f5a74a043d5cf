"""Places where a crash must be harmless. `seam("intent_sent")` does nothing unless a test armed that place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

NAMES = (
    "page_mapped",
    "page_settled",
    "page_committed",
    "unknown_looked",
    "write_planned",
    "write_marked",
    "write_answered",
    "write_settled",
    "write_committed",
    "sweep_compared",
)
"""Every seam there is, in the order of the road. A test stops at each."""

_armed: Callable[[str], None] | None = None


class Crash(BaseException):
    """A process that dies here. Not an Exception, so that nothing on the way catches it."""


def seam(name: str) -> None:
    if _armed is not None:
        _armed(name)


@contextmanager
def armed(visit: Callable[[str], None]) -> Iterator[None]:
    """Call `visit` with each seam's name while inside."""
    global _armed
    before, _armed = _armed, visit
    try:
        yield
    finally:
        _armed = before

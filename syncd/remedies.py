"""What a person can do about an error, in one sentence and one command; every error has a next step, if only "wait"."""

from __future__ import annotations

from connectors.errors import (
    CursorExpired,
    NeedsPerson,
    RateLimited,
    ReconnectNeeded,
    ShapeChanged,
    SyncError,
    TryLater,
    Unreachable,
)

# The first that fits counts, so the more special ones come first.
STEPS: tuple[tuple[type[SyncError], str], ...] = (
    (RateLimited, "Nothing to do: it goes on by itself after the pause."),
    (Unreachable, "Check the address, and that this machine may reach it; it goes on by itself as soon as it can."),
    (TryLater, "Nothing to do: it is tried again by itself. If it lasts, look at the vendor's status page."),
    (CursorExpired, "Nothing to do: everything is read again from the beginning."),
    (ReconnectNeeded, "Sign in to this system again."),
    (ShapeChanged, "If it lasts: check the address, and whether the vendor has changed its API."),
    (NeedsPerson, "Check the connection's settings."),
    (SyncError, "Nothing to do: it is looked at again by itself."),
)


def next_step(error: SyncError, connection: str | None = None) -> str:
    """The error's own remedy or the usual one for its kind, and the command that makes a stored connection go on."""
    step = error.remedy or next(text for kind, text in STEPS if isinstance(error, kind))
    if connection is None or not isinstance(error, NeedsPerson | ShapeChanged):
        return step
    command = f"syncd connect {'reconnect' if isinstance(error, ReconnectNeeded) else 'check'} {connection}"
    return step if "syncd connect" in step else f"{step} Then: {command}"

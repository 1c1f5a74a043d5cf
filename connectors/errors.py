"""Everything that can go wrong at a vendor, named by what the engine does next.

    SyncError
    ├─ TryLater          nothing is wrong with the request: repeat it later
    │  ├─ RateLimited    the vendor asked us to wait (.until says until when)
    │  └─ Unreachable    no connection: nothing was sent
    ├─ UnknownOutcome    sent, no usable answer: look (fetch, find) before repeating; never a blind retry
    ├─ Stale             the vendor's version moved on: read, settle again
    ├─ CursorExpired     the cursor is dead (410 and its disguises): a full listing is needed
    ├─ NeedsPerson       this connection stops and tells once
    │  ├─ ReconnectNeeded    credentials no longer work
    │  ├─ MissingPermission  scope or role forbids it
    │  └─ Misconfigured      wrong address, wrong kind of account, missing field
    ├─ Refused           the vendor rejects this one record: dead letter, carry on
    └─ ShapeChanged      the answer does not parse: dead letter; many in a row become NeedsPerson

A message is for a person: what happened and what to do. It never holds a body, a name or a token; the
engine adds which connection it happened to. `remedy` is the next step, shown beside the message.
"""

from __future__ import annotations

from datetime import datetime


class SyncError(Exception):
    """The root. `remedy` is one sentence for a person, or empty when nothing needs doing."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class TryLater(SyncError):
    """Repeat the same request later. `until` is an aware UTC instant, or None for "use your own pause"."""

    def __init__(self, message: str, *, remedy: str = "", until: datetime | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.until = until


class RateLimited(TryLater):
    """The vendor asked us to slow down."""


class Unreachable(TryLater):
    """No connection could be made, so nothing was sent."""


class UnknownOutcome(SyncError):
    """The request was sent and no usable answer came: it may or may not have happened."""


class Stale(SyncError):
    """A write guard refused: somebody changed the record since it was read."""


class CursorExpired(SyncError):
    """The vendor no longer knows this cursor."""


class NeedsPerson(SyncError):
    """Only a person can mend this; the connection stops until then."""


class ReconnectNeeded(NeedsPerson):
    """Credentials are refused, expired or revoked."""


class MissingPermission(NeedsPerson):
    """The account's scopes or role do not allow this."""


class Misconfigured(NeedsPerson):
    """The settings point at the wrong place or lack something."""


class Refused(SyncError):
    """The vendor rejects this one record. `code` is the vendor's own error code, `fields` the vendor's field names."""

    def __init__(self, message: str, *, remedy: str = "", code: str = "", fields: tuple[str, ...] = ()) -> None:
        super().__init__(message, remedy=remedy)
        self.code = code
        self.fields = fields


class ShapeChanged(SyncError):
    """The vendor's answer is not what its description says."""

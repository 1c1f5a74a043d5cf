"""Our own record ids: time-ordered, unguessable enough, readable (26 characters of Crockford base 32)."""

from __future__ import annotations

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS = tuple(a + b for a in _ALPHABET for b in _ALPHABET)


def canonical_id(milliseconds: int, entropy: int) -> str:
    """An id from the time in ms since 1970 (48 bits) and 80 bits of randomness, both given by the caller."""
    number = (milliseconds << 80) | entropy
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in range(120, -1, -10)])

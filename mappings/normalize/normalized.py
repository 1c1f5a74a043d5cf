"""What normalizing made of a value, with everything that is needed to judge it: for people, reports and rulings.

The engine compares keys, which are made on the road of every record and say nothing about themselves. A `Normalized`
tells the rest: whether the value was understood, by what, how surely, and why not. What was typed is never lost.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Normalized:
    """One value that was read.

    raw         as it was typed, always
    canonical   the one spelling of it; None when it was refused
    parser      what read it, with its version: "phonenumbers 9.0.2", "countries 1"
    confidence  0 (refused) to 1 (the standard leaves no doubt)
    reason      why it was refused, for a person, without the value; None when it was not

    Law: canonical is None exactly when reason is given and confidence is 0.
    """

    raw: str
    canonical: str | None
    parser: str
    confidence: float
    reason: str | None = None


def refused(raw: str, parser: str, reason: str) -> Normalized:
    return Normalized(raw, None, parser, 0.0, reason)

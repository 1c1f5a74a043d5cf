"""May this write leave? Asked at the moment of sending, for every write, and answered with a reason.

The matrix says which field classes may enter which zone; what it does not name is denied. `trust` and
`consent` are in no row: trust accounting never syncs, and consent never travels as an ordinary field.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SHIPPED_MATRIX: Mapping[str, frozenset[str]] = {
    "practice": frozenset({"public", "contact", "business", "financial", "narrative", "identity_document"}),
    "accounting": frozenset({"public", "contact", "business", "financial", "narrative"}),
    "mail": frozenset({"public", "contact", "business"}),
    "documents": frozenset({"public", "business"}),
    "marketing": frozenset({"public", "contact", "business", "financial"}),
    "staff": frozenset({"public", "contact", "business"}),
}
"""zone -> classes that may be written into it. A firm's `matrix` replaces a zone's row."""


@dataclass(frozen=True, slots=True)
class Decision:
    """outcome: allow (every field), redact (the named fields stay behind) or deny (nothing may leave).

    rule names what decided, for people: "matrix: marketing refuses narrative".
    """

    outcome: str
    allowed: frozenset[str]
    redacted: tuple[tuple[str, str], ...] = ()

    @property
    def rule(self) -> str:
        if not self.redacted:
            return "matrix: every field may enter this zone"
        return "; ".join(sorted({rule for _, rule in self.redacted}))

    def document(self) -> dict[str, object]:
        return {"outcome": self.outcome, "rule": self.rule, "redacted": [name for name, _ in self.redacted]}


def decide(
    fields: Iterable[str], class_of: Mapping[str, str], zone: str, matrix: Mapping[str, frozenset[str]]
) -> Decision:
    """Field names (scalar or set names) that may be written into the zone.

    Laws: an unknown zone or a field without a class is denied; removing a class from a row never allows more.
    """
    row = matrix.get(zone, frozenset())
    allowed: set[str] = set()
    redacted: list[tuple[str, str]] = []
    for name in fields:
        field_class = class_of.get(name)
        if field_class is not None and field_class in row:
            allowed.add(name)
        else:
            redacted.append((name, f"matrix: {zone} refuses {field_class or 'fields without a class'}"))
    if not allowed and redacted:
        return Decision("deny", frozenset(), tuple(redacted))
    return Decision("redact" if redacted else "allow", frozenset(allowed), tuple(redacted))

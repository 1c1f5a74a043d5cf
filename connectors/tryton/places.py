"""What a Tryton cursor holds: how far each model was read, and how many nested rows each range of parties has. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import orjson

from connectors.contract import Cursor
from connectors.errors import CursorExpired

# Into how many ranges of parties the nested rows are counted: more ranges, fewer parties to read again for one loss.
RANGES = 32


@dataclass(frozen=True, slots=True)
class Mark:
    """How far one model was read: to (at, id), that one included.

    floor  where the next listing begins, while one is under way: known when it began, and carried from page to page,
           so that a listing can be left after any page without missing what was committed late
    """

    at: str | None = None
    id: int = 0
    floor: str | None = None

    def behind(self, last: tuple[str, int] | None, floor: str, ended: bool) -> Mark:
        """The mark after a page whose last row is `last` (None: no row); `floor` is used if none is under way."""
        at, id_ = last or (self.at, self.id)
        floor = self.floor or floor
        if not ended:
            return Mark(at, id_, floor)
        return Mark(floor) if at is None or at > floor else Mark(at, id_)


@dataclass(frozen=True, slots=True)
class Tally:
    """Nested rows up to the id `top`, counted per range of `step` owner ids; the last range is open."""

    top: int
    step: int
    counts: tuple[int, ...]

    def bounds(self, n: int) -> tuple[int, int | None]:
        """First owner id of range n, and the first one behind it."""
        return n * self.step, (n + 1) * self.step if n < RANGES - 1 else None

    def grown(self, rows: list[tuple[int, int]]) -> Tally:
        """With new rows (id, owner's id) counted in."""
        counts = list(self.counts)
        for _, owner in rows:
            counts[min(owner // self.step, RANGES - 1)] += 1
        return Tally(max([self.top, *(id_ for id_, _ in rows)]), self.step, tuple(counts))


@dataclass(slots=True)
class Place:
    """What a cursor means: a mark per model read, a tally per nested model."""

    marks: dict[str, Mark] = field(default_factory=dict)
    tallies: dict[str, Tally] = field(default_factory=dict)

    @classmethod
    def of(cls, cursor: Cursor | None) -> Place:
        """Raises CursorExpired for a text that `cursor` did not make."""
        if cursor is None:
            return cls()
        try:
            held = orjson.loads(cursor)
            marks = {model: Mark(*mark) for model, mark in held["marks"].items()}
            return cls(marks, {model: Tally(top, step, tuple(n)) for model, (top, step, n) in held["tallies"].items()})
        except (orjson.JSONDecodeError, TypeError, ValueError, KeyError, AttributeError) as error:
            raise CursorExpired("The stored position is not one of Tryton's.") from error

    def cursor(self) -> Cursor:
        marks = {model: list(asdict(mark).values()) for model, mark in self.marks.items()}
        tallies = {model: list(asdict(tally).values()) for model, tally in self.tallies.items()}
        return Cursor(orjson.dumps({"marks": marks, "tallies": tallies}).decode())

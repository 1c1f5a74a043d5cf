"""Where a listing stands: the cursor of a pull, the SOQL that goes on from it, and times as the vendor writes them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import orjson

from connectors.contract import Cursor
from connectors.errors import CursorExpired, ShapeChanged

if TYPE_CHECKING:
    from connectors.http import Reply

# How far a pull reaches back before the last one's start. A row becomes visible when its transaction ends, some time
# after its SystemModstamp was taken; the vendor cuts a request off at ten minutes.
OVERLAP = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Place:
    """What a cursor means: everything up to (stamp, id) has been read; with `id` empty, up to `stamp` exclusive.

    began  in the middle of a listing: the vendor's clock when it began
    """

    stamp: str = ""
    id: str = ""
    began: str = ""

    @classmethod
    def of(cls, cursor: Cursor | None) -> Place:
        if cursor is None:
            return cls()
        try:
            place = cls(**orjson.loads(cursor))
            for stamp in (place.stamp, place.began or place.stamp):
                moment(stamp)
        except (ValueError, TypeError) as error:
            raise CursorExpired("The stored position is not one of Salesforce's.") from error
        return place

    def cursor(self) -> Cursor:
        return Cursor(orjson.dumps({name: value for name, value in asdict(self).items() if value}).decode())

    def condition(self) -> str:
        """The WHERE clause, with a space before it. The first half alone is what an index can answer."""
        if not self.stamp:
            return " "
        after = quoted(" WHERE SystemModstamp >= {} ", moment(self.stamp))
        if self.id:
            after += quoted("AND (SystemModstamp > {} OR Id > {}) ", moment(self.stamp), self.id)
        return after

    def ended(self, began: str) -> Place:
        """Where the next pull begins: here, or `OVERLAP` before this pull began if that is earlier.

        Rows older than that were visible before this listing looked for them; newer ones may have appeared behind it.
        """
        back = instant(moment(began) - OVERLAP)
        return Place(stamp=back) if not self.stamp or back <= self.stamp else Place(self.stamp, self.id)


def quoted(template: str, *values: object) -> str:
    """A piece of SOQL with its values quoted and escaped."""
    # Imported here: the package brings a SOAP stack that takes a second to load, which reading SPEC must not cost.
    from simple_salesforce.format import format_soql

    return str(format_soql(template, *values))


def server_time(reply: Reply) -> datetime:
    """The vendor's clock: ours may be off, and then changes would be missed."""
    try:
        return parsedate_to_datetime(reply.headers["date"]).astimezone(UTC)
    except (KeyError, ValueError) as error:
        message = "Salesforce's answer has no date, so the next pull would not know where to begin."
        raise ShapeChanged(message) from error


def moment(text: str) -> datetime:
    """Reads both of the vendor's spellings, +0000 and Z."""
    return datetime.fromisoformat(text).astimezone(UTC)


def instant(at: datetime | str) -> str:
    """As cursors hold it; text order is time order."""
    return (moment(at) if isinstance(at, str) else at).strftime("%Y-%m-%dT%H:%M:%SZ")

"""Tryton's REST interface as questions and answers: how a search is put, what a list is, what an error means.

Read in trytond 8.2 (`protocols/rest.py`, `protocols/wrappers.py`, `ir/message.xml`) and seen on a real server: a
refusal by a rule or a validation is a 400 with {"status", "message", "description"}, everything else an HTML page;
an unknown model or field is a 500, so what is asked for must be right beforehand.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import orjson

from connectors.errors import Misconfigured, MissingPermission, Refused, ShapeChanged, Stale, SyncError

if TYPE_CHECKING:
    from connectors.contract import JSON
    from connectors.http import Reply

ADDRESS_REMEDY = "Check base_url (http://host:port, nothing behind it) and the database's name."
KEY_REMEDY = "See connectors/tryton/README.md for the groups that the key's user needs."

BY_ID = (("id", "ASC"),)
EPOCH = "1970-01-01T00:00:00.000000Z"


# Tryton's messages by their fixed words, in English. Values stand in quotes.
MESSAGES = (
    ("not valid according to its domain", "domain"),
    ("A value is required", "required"),
    ("is too long", "too-long"),
    ("number of digits", "digits"),
    ("contains some invalid chars", "forbidden-chars"),
    ("is not one of the allowed options", "selection"),
    ("does not exist", "unknown-reference"),
    ("could not be deleted because they are used", "in-use"),
    ("not allowed to modify the field", "readonly"),
    ("because of at le", "rule"),
    ("because they fail on", "rule"),
    ("phone number", "phone"),
    ("email", "email"),
)


def packed(value: Any) -> str:
    """A domain, an order or a context as the interface takes it: JSON in URL-safe base64."""
    return base64.urlsafe_b64encode(orjson.dumps(value)).decode()


def headers(**context: Any) -> dict[str, str]:
    """English, whatever the user's language: messages are recognised by their text, statuses by their name.

    Of the context, `active_test` is False for reading: otherwise every search, and every list inside it that does not
    mention `active`, leaves archived records out.
    """
    return {"Accept-Language": "en", "X-Tryton-Context": packed(context)}


def search(
    clauses: list[Any], fields: Sequence[str], limit: int, order: Sequence[tuple[str, str]] = BY_ID
) -> list[tuple[str, str]]:
    return [("d", packed(clauses)), ("o", packed(order)), ("s", str(limit)), *(("f", name) for name in fields)]


def listed(reply: Reply, model: str) -> list[JSON]:
    """The records of a good answer to a search."""
    if reply.status != 200:
        raise trouble(reply, model)
    rows = reply.json()
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "id" in row for row in rows):
        raise ShapeChanged(f"Tryton's answer for {model} is not a list of records.")
    return rows


def server_time(reply: Reply, back: timedelta) -> str:
    """The server's clock, less `back`. Without one: long ago, so everything comes again rather than nothing."""
    try:
        at = parsedate_to_datetime(reply.headers["date"]).astimezone(UTC) - back
    except (KeyError, ValueError):
        return EPOCH
    return at.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def trouble(reply: Reply, about: str) -> SyncError:
    """What an answer other than success means. Tryton's own text is never repeated: it quotes names and values."""
    if reply.status == 404 or 300 <= reply.status < 400:
        what = f"There is no Tryton with this database at this address ({reply.status})."
        return Misconfigured(what, remedy=ADDRESS_REMEDY)
    message = vendor_message(reply)
    if reply.status == 403 or message.startswith(("You are not allowed to access", "Calling button")):
        return MissingPermission(f"Tryton does not allow the key's user to use {about}.", remedy=KEY_REMEDY)
    if reply.status == 423:
        return Stale("The record was changed in Tryton since it was read.")
    if reply.status not in (400, 409):
        return ShapeChanged(f"Tryton answered {reply.status} for {about}.")
    code = next((code for words, code in MESSAGES if words in message), "user-error")
    # The field's label as the screen shows it; a value can hold anything, so only what looks like a label is taken.
    found = re.search(r'field "([A-Z][A-Za-z ]{0,40})" (?:in|of)', message)
    return Refused(
        f"Tryton refused the change in {about} ({code}{f', field {found[1]}' if found else ''}).",
        remedy="Correct the value in the system that it comes from, or in the mapping.",
        code=code,
        fields=(found[1],) if found else (),
    )


def vendor_message(reply: Reply) -> str:
    try:
        return str(orjson.loads(reply.content)["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ""

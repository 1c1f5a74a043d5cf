"""Salesforce's answers: a good one is unpacked, an error code becomes what the engine does next. No requests.

The vendor's own messages hold values ("invalid email address: ..."), so ours are written anew from code and
field names. Codes as in the REST guide and the vendor's WSDLs; in a collection's answer the code is called
`statusCode`, elsewhere `errorCode`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from connectors.errors import (
    Misconfigured,
    MissingPermission,
    RateLimited,
    Refused,
    ShapeChanged,
    Stale,
    SyncError,
    TryLater,
    UnknownOutcome,
)

if TYPE_CHECKING:
    from connectors.contract import JSON
    from connectors.http import Reply

ADDRESS_REMEDY = "Set base_url to the org's own address, https://NAME.my.salesforce.com, without a path."

# The row itself is gone; with field names, a row that it refers to.
DELETED = {"ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY", "NOT_FOUND"}
PASSING = {"UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE", "QUERY_TIMEOUT", "REQUEST_RUNNING_TOO_LONG", "UNKNOWN_EXCEPTION"}
FORBIDDEN = {"INSUFFICIENT_ACCESS", "INSUFFICIENT_ACCESS_OR_READONLY", "API_DISABLED_FOR_ORG", "API_CURRENTLY_DISABLED"}

# The daily total is a rolling 24 hours that frees a little every minute; a concurrent slot is free in seconds.
DAILY_PAUSE = timedelta(hours=1)
CONCURRENT_PAUSE = timedelta(seconds=10)

REMEDIES = {
    "DUPLICATES_DETECTED": "Link the two records, or change the duplicate rule so that the integration user may save.",
    "DUPLICATE_VALUE": "Another record holds this value in a field that must be unique.",
    "FIELD_CUSTOM_VALIDATION_EXCEPTION": "Correct the value at its source, or change the validation rule.",
    "INVALID_EMAIL_ADDRESS": "Correct the address in the system that it comes from.",
    "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST": "Add the value to the picklist, or map it to one that is there.",
    "REQUIRED_FIELD_MISSING": "Fill the field at its source, or give it a default in the mapping.",
    "STRING_TOO_LONG": "Shorten the value at its source, or let the mapping cut it.",
    "CANNOT_UPDATE_CONVERTED_LEAD": "A converted lead is frozen; change the contact or account that it became.",
}


def answer(reply: Reply, about: str, kind: type[Any]) -> Any:
    """The body of a good answer."""
    if reply.status != 200:
        raise trouble(reply, about)
    body = reply.json()
    if not isinstance(body, kind):
        raise ShapeChanged(f"Salesforce's answer for {about} is not of the expected kind.")
    return body


def rows(reply: Reply, about: str) -> tuple[list[JSON], bool]:
    """The records of a query's answer, and whether there are no more."""
    body = answer(reply, about, dict)
    found, done = body.get("records"), body.get("done")
    if not isinstance(found, list) or not isinstance(done, bool):
        raise ShapeChanged(f"Salesforce's answer to a query for {about} has no records.")
    if not found and not done:
        raise ShapeChanged(f"Salesforce sent an empty page of {about} and says that more follow.")
    return found, done


def entries(reply: Reply, resource: str, count: int) -> list[JSON]:
    """A collection's answer: one entry per row sent, in the same order."""
    if reply.status != 200:
        raise trouble(reply, resource)
    body = reply.json()
    fits = isinstance(body, list) and len(body) == count and all(isinstance(e, dict) and "success" in e for e in body)
    if not fits or not all(e.get("id") if e["success"] else e.get("errors") for e in body):
        raise UnknownOutcome(f"Salesforce took changes of {resource}, but its answer does not tell which.")
    return list(body)


def failure(error: Any, resource: str, external_id: str) -> SyncError:
    """One entry of a collection's `errors`: this record's own fate, unless it shows that the whole set-up is wrong."""
    code, message, fields = parts(error)
    named = f" ({', '.join(fields)})" if fields else ""
    if code in PASSING or "UNABLE_TO_LOCK_ROW" in message:
        return TryLater(f"Salesforce could not save a {resource} just now ({code}).")
    if code == "REQUEST_LIMIT_EXCEEDED":
        return limited(message)
    if code in DELETED and not set(fields) - {"Id", "id"}:
        return Stale(f"The {resource} was deleted in Salesforce since it was read.")
    if code == "INVALID_FIELD":
        return unknown_field(message, fields, resource)
    if code == "INVALID_FIELD_FOR_INSERT_UPDATE":
        remedy = f"Give the integration user's permission set Edit on {', '.join(fields) or 'these fields'}."
        return MissingPermission(f"The signed-in user may not write fields of {resource}{named}.", remedy=remedy)
    if code == "DUPLICATE_VALUE" and external_id.lower() in message.lower():
        return UnknownOutcome(f"A {resource} with our key was made at the same moment.")
    text = f"Salesforce refused a {resource}: {code}{named}."
    if code == "FIELD_CUSTOM_VALIDATION_EXCEPTION":
        text += f" The rule says: {message[:200]}"  # written by the org's administrator, without values
    if twins := duplicates(error):
        text += f" It resembles {', '.join(twins)}."
    remedy = REMEDIES.get(code, "Correct the value in the system that it comes from, or in the mapping.")
    return Refused(text, remedy=remedy, code=code, fields=fields)


def trouble(reply: Reply, about: str) -> SyncError:
    """An answer that is no success as a whole."""
    try:
        body = orjson.loads(reply.content)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, list) or not body:
        if reply.status == 404 or 300 <= reply.status < 400:
            return Misconfigured(f"There is no Salesforce API at this address ({reply.status}).", remedy=ADDRESS_REMEDY)
        return ShapeChanged(f"Salesforce answered {reply.status} for {about}, without an error that can be read.")
    code, message, fields = parts(body[0])
    if code == "REQUEST_LIMIT_EXCEEDED":
        return limited(message)
    if code in PASSING:
        return TryLater(f"Salesforce could not answer for {about} just now ({code}).")
    if code == "INVALID_FIELD":
        return unknown_field(message, fields, about)
    if code in FORBIDDEN or reply.status == 403:
        remedy = f"Give the integration user API Enabled and access to {about}."
        return MissingPermission(f"Salesforce does not allow access to {about} ({code}).", remedy=remedy)
    if code in {"INVALID_TYPE", "NOT_FOUND"}:
        remedy = f"Give the integration user's permission set Read, Create and Edit on {about}."
        return MissingPermission(f"The signed-in user does not see {about} ({code}).", remedy=remedy)
    if code == "JSON_PARSER_ERROR":
        return Refused(f"Salesforce cannot read a value of {about}.", remedy="Correct the mapping.", code=code)
    return Misconfigured(f"Salesforce refuses the way {about} is asked for ({code}).", remedy="Update syncd.")


def parts(error: Any) -> tuple[str, str, tuple[str, ...]]:
    """(code, message, field names); anything that is not a plain name becomes empty."""
    if not isinstance(error, dict):
        return "UNKNOWN", "", ()
    code = str(error.get("statusCode") or error.get("errorCode") or "")
    fields = tuple(str(name) for name in error.get("fields") or () if re.fullmatch(r"\w{1,80}", str(name)))
    return code if re.fullmatch(r"[A-Z_]{1,80}", code) else "UNKNOWN", str(error.get("message") or ""), fields


def limited(message: str) -> RateLimited:
    is_concurrent = "concurrent" in message.lower()
    until = datetime.now(UTC) + (CONCURRENT_PAUSE if is_concurrent else DAILY_PAUSE)
    what = "requests at the same time" if is_concurrent else "API requests in 24 hours"
    return RateLimited(f"The org's limit of {what} is used up.", until=until)


def unknown_field(message: str, fields: tuple[str, ...], about: str) -> Misconfigured:
    named = re.search(r"No such column '(\w+)'", message)
    name = named[1] if named else ", ".join(fields) or "a field"
    remedy = f"Create {name} in Salesforce, let the integration user see it, or take it out of the mapping."
    return Misconfigured(f"{about} has no field {name} that the signed-in user may use.", remedy=remedy)


def duplicates(error: JSON) -> list[str]:
    """Ids of the records that a duplicate rule found. Where they stand in a collection's answer is not documented."""
    found: list[str] = []
    try:
        for rule in error["duplicateResult"]["matchResults"]:
            found += (str(match["record"]["Id"]) for match in rule["matchRecords"])
    except (KeyError, TypeError):
        pass  # said in another way, or not at all
    return [id_ for id_ in found if re.fullmatch(r"[A-Za-z0-9]{15,18}", id_)][:5]

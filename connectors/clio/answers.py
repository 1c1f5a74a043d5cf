"""What Clio's answers mean: records, pages, and which error each refusal is.

Error bodies are {"error": {"type": ..., "message": ...}}; of the message only what cannot be a person's data is shown.
Vendor pages: https://docs.developers.clio.com/api-reference/ and /api-docs/paging.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
import orjson

from connectors.clio.payloads import COLLECTIONS
from connectors.contract import JSON, Record, Version
from connectors.errors import Misconfigured, MissingPermission, Refused, ShapeChanged, SyncError, UnknownOutcome

if TYPE_CHECKING:
    from connectors.http import Reply

# The default of the description this was written from. A retired version is answered with 410.
HEADERS = {"X-API-VERSION": "4.0.9"}

PAGE_MAX = 200

ADDRESS_REMEDY = "Check the region (us, eu, ca, au) and base_url: a token works only in the account's own region."


def record(raw: Any) -> Record:
    """The version is the etag as given, quotes and all. Without one the record can be read but not changed."""
    if not isinstance(raw, dict) or "id" not in raw:
        raise ShapeChanged("Clio sent a record without an id.")
    etag = raw.get("etag")
    return Record(id=str(raw["id"]), version=Version(etag) if etag else None, body=raw)


class Head(msgspec.Struct):
    """Of a record, what is needed to take it along; its other properties are not even decoded."""

    id: int | str
    etag: str | None = None


class Paging(msgspec.Struct):
    next: str | None = None


class Meta(msgspec.Struct):
    paging: Paging | None = None


class Listing(msgspec.Struct):
    """A page whose records are left as the text that they are."""

    data: list[msgspec.Raw]
    meta: Meta | None = None


HEAD = msgspec.json.Decoder(Head)
LISTING = msgspec.json.Decoder(Listing)


def untouched(reply: Reply, resource: str) -> tuple[tuple[Record, ...], str | None]:
    """A page's records with bodies as they came, and the query of the next page; what `listed` gives, but cheaper."""
    if reply.status != 200:
        raise trouble(reply, resource)
    try:
        page = reply.shaped(LISTING)
        records = tuple(_untouched(bytes(raw)) for raw in page.data)
    except msgspec.DecodeError as error:
        raise ShapeChanged(f"Clio's answer for {resource} is not a list of records with ids.") from error
    paging = page.meta.paging if page.meta else None
    return records, _following(len(records), paging is not None, paging.next if paging else None)


def _untouched(raw: bytes) -> Record:
    head = HEAD.decode(raw)
    return Record(str(head.id), Version(head.etag) if head.etag else None, raw)


def answered(reply: Reply, resource: str) -> JSON:
    """The body of a good answer to a read: {"data": ..., "meta": ...}."""
    if reply.status != 200:
        raise trouble(reply, resource)
    body = reply.json()
    if not isinstance(body, dict) or "data" not in body:
        raise ShapeChanged(f"Clio's answer for {resource} has no data.")
    return body


def listed(reply: Reply, resource: str) -> tuple[list[JSON], str | None]:
    """A page's records, and the query of the next page: only that, so a link can never lead to another server."""
    body = answered(reply, resource)
    raws, meta = body["data"], body.get("meta")
    if not isinstance(raws, list):
        raise ShapeChanged(f"Clio's answer for {resource} is not a list.")
    paging = meta.get("paging") if isinstance(meta, dict) else None
    return raws, _following(len(raws), paging is not None, (paging or {}).get("next"))


def _following(count: int, is_told: bool, link: Any) -> str | None:
    if not is_told and count >= PAGE_MAX:
        raise ShapeChanged("Clio sent a full page without saying whether more follow.")
    if not link:
        return None
    if not (query := urlsplit(str(link)).query):
        raise ShapeChanged("Clio's next page has an address without a query.")
    return query


def written(reply: Reply, resource: str, sent: JSON) -> Record:
    """The whole record as it is after a write, since the write asked for all fields."""
    if reply.status not in (200, 201):
        raise refusal(reply, resource, sent)
    body = reply.json()
    raw = body.get("data") if isinstance(body, dict) else None
    if not isinstance(raw, dict) or "id" not in raw:
        raise UnknownOutcome("Clio took the change, but its answer names no record.")
    return record(raw)


def refusal(reply: Reply, resource: str, sent: JSON) -> SyncError:
    """A write that was refused: 400, 409 and 422 mean this one record. https://docs.developers.clio.com/api-reference/"""
    if reply.status not in (400, 409, 422):
        return trouble(reply, resource)
    kind, message = vendor_error(reply)
    spoken = message.lower().replace(" ", "_")
    fields = tuple(sorted(name for name in sent if name in spoken))
    about = f" It says: {scrubbed(message, sent)}" if message else ""
    return Refused(
        f"Clio refused the change in {resource} ({kind}).{about}",
        remedy="Correct the value in the system that it comes from, or in the mapping.",
        code=kind,
        fields=fields,
    )


def trouble(reply: Reply, resource: str) -> SyncError:
    """An answer that stops the connection rather than one record."""
    kind, _ = vendor_error(reply)
    if reply.status == 403:
        name = COLLECTIONS[resource].permission if resource in COLLECTIONS else "Users"
        remedy = (
            f"Allow {name} (read, and write if it is synced) for the app in Clio's developer portal, check the role of "
            "the connected user, then connect again: a new permission needs a new authorization."
        )
        return MissingPermission(f"Clio does not allow access to {resource} ({kind}).", remedy=remedy)
    if reply.status == 410:
        remedy = "Update syncd: this version of Clio's API has been retired."
        return Misconfigured(f"Clio no longer serves API version {HEADERS['X-API-VERSION']}.", remedy=remedy)
    if reply.status == 404 or 300 <= reply.status < 400:
        return Misconfigured(
            f"There is no Clio API for {resource} at this address ({reply.status}).", remedy=ADDRESS_REMEDY
        )
    if reply.status == 400:
        remedy = "Update syncd: Clio has changed which fields and filters it takes."
        return Misconfigured(f"Clio refuses the way {resource} are asked for ({kind}).", remedy=remedy)
    return ShapeChanged(f"Clio answered {reply.status} ({kind}) for {resource}.")


def vendor_error(reply: Reply) -> tuple[str, str]:
    """(type, message) of {"error": {...}}; a body of another shape gives the status alone."""
    try:
        error = orjson.loads(reply.content)["error"]
        kind = str(error["type"])
        return (kind if re.fullmatch(r"[\w.:-]{1,60}", kind) else str(reply.status)), str(error.get("message") or "")
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return str(reply.status), ""


def scrubbed(message: str, sent: Any) -> str:
    """The vendor's message without anything that was sent, quoted, or looks like an address or a number."""
    for value in sorted(texts(sent), key=len, reverse=True):
        message = re.sub(re.escape(value), "…", message, flags=re.IGNORECASE)
    message = re.sub(r"""(["'`]).*?\1|\S*@\S*|\S*\d\S*""", "…", message)
    return " ".join(message.split())[:200]


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, str):
        yield from (part for part in (value, *value.split()) if len(part) > 2)


def server_time(reply: Reply) -> datetime:
    """The vendor's clock: ours may be off, and then changes would be missed."""
    try:
        return parsedate_to_datetime(reply.headers["date"]).astimezone(UTC)
    except (KeyError, ValueError) as error:
        raise ShapeChanged("Clio's answer has no date, so the next pull would not know where to begin.") from error

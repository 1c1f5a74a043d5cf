"""One DAV request, and what its answer means for the engine. Every status is translated here and nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connectors.carddav import dav
from connectors.errors import Misconfigured, MissingPermission, Refused, ShapeChanged, Stale, SyncError, TryLater

if TYPE_CHECKING:
    from connectors.carddav.dav import Multistatus
    from connectors.http import Reply, VendorHTTP

XML = {"Content-Type": "application/xml; charset=utf-8", "Accept": "application/xml, text/xml"}
# A web server that compresses replies changes their etag ("abc-gzip"), which no If-Match would ever match again.
CARD = {"Accept": "text/vcard, text/x-vcard, text/directory, */*;q=0.1", "Accept-Encoding": "identity"}

ADDRESS_REMEDY = (
    "Set base_url to the server's CardDAV address (Nextcloud: https://host/remote.php/dav), or collection to the"
    " address book's own address."
)
# Preconditions of RFC 6352, 6.3.2.1, that speak of this one card.
ABOUT_THE_CARD = {
    "valid-address-data": "The server does not accept the card's content.",
    "supported-address-data": "The server does not store this kind of card.",
    "max-resource-size": "The card is too large for the server.",
}


def propfind(http: VendorHTTP, url: str, depth: str, *names: str) -> Multistatus:
    reply = http.request("PROPFIND", url, content=dav.propfind(*names), headers={**XML, "Depth": depth})
    return multistatus(reply)


def report(http: VendorHTTP, url: str, body: bytes, depth: str) -> Reply:
    return http.request("REPORT", url, content=body, headers={**XML, "Depth": depth})


def multistatus(reply: Reply) -> Multistatus:
    """A 207 reply's content; raises what any other reply means."""
    if reply.status != 207:
        raise trouble(reply)
    try:
        return dav.read_multistatus(reply.content)
    except dav.NotDav as error:
        raise ShapeChanged(f"The server's answer cannot be read: {error}.") from error


def etag(reply: Reply) -> str | None:
    return dav.bare_etag(reply.headers.get("etag"))


def lacks_report(reply: Reply) -> bool:
    """The server does not know this REPORT: 405 and 501, or the precondition of RFC 3253, 3.6."""
    return reply.status in (405, 501) or "supported-report" in dav.read_conditions(reply.content)


def trouble(reply: Reply) -> SyncError:
    """What an unexpected answer to a read means. 401, 429 and failing servers never come here: see `VendorHTTP`."""
    status = reply.status
    if status < 300:
        what = "a web page" if "html" in reply.headers.get("content-type", "").lower() else f"status {status}"
        return ShapeChanged(f"The server answers a CardDAV request with {what}.", remedy=ADDRESS_REMEDY)
    if status < 400:
        return Misconfigured("The address has moved.", remedy="Enter the address that the server redirects to.")
    if status == 403:
        remedy = "Give this user access to the address book."
        return MissingPermission("The server refuses access to the address book (403).", remedy=remedy)
    if status in (404, 405, 410, 501):
        return Misconfigured(f"There is no address book at this address ({status}).", remedy=ADDRESS_REMEDY)
    if status in (423, 507) or status >= 500:
        return TryLater(f"The server cannot answer now ({status}).")
    return ShapeChanged(f"The server answers a CardDAV request with status {status}.")


def refusal(reply: Reply) -> SyncError:
    """What a refused PUT or DELETE means. 412 is read by its element: it does not always mean a stale etag."""
    status, conditions = reply.status, dav.read_conditions(reply.content)
    if "no-uid-conflict" in conditions:
        return Refused(
            "The address book already holds this card under another name.",
            remedy="Remove one of the two cards on the server.",
            code="no-uid-conflict",
        )
    if status == 412:
        return Stale("Somebody changed the card since it was read.")
    for condition in sorted(conditions & ABOUT_THE_CARD.keys()):
        return Refused(ABOUT_THE_CARD[condition], remedy="Shorten or correct the card.", code=condition)
    if status in (400, 413, 415, 422):
        return Refused(f"The server refuses the card ({status}).", remedy="Look at the card.", code=str(status))
    if status in (403, 405):
        return MissingPermission(
            f"The server does not let this user change the address book ({status}).",
            remedy="Give this user write access to the address book.",
        )
    if status in (404, 409, 410):
        return Misconfigured(f"The address book is gone ({status}).", remedy=ADDRESS_REMEDY)
    if status == 423:
        return TryLater("Another program holds a lock on the card (423).")
    if status == 507:
        return Misconfigured("The server's storage is full (507).", remedy="Make room on the server.")
    return trouble(reply)

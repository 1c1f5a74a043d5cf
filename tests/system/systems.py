"""The connectors' sandboxes as systems to connect: what a person would type, what would be wrong, and one person each.

Every secret given here is a canary: no message and no log may ever show it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from connectors.carddav import vcards
from connectors.carddav.sandbox import CardDavSandbox
from connectors.clio.sandbox import ClioSandbox
from connectors.salesforce.sandbox import SalesforceSandbox
from connectors.sandbox import Request, Response, Sandbox
from tests.system.installation import clio_settings


class Altered(ClioSandbox):
    """A Clio whose answers changed: `alter` may change every record of every answer on its way out, `garble` the text."""

    alter: Callable[[dict[str, Any]], None] | None = None
    garble: Callable[[bytes], bytes] | None = None

    def respond(self, request: Request) -> Response:
        answer = super().respond(request)
        if answer.status != 200 or not request.path.startswith("/api/v4/contacts"):
            return answer
        if self.garble is not None:
            text = answer.body if isinstance(answer.body, bytes) else orjson.dumps(answer.body)
            return Response(answer.status, self.garble(text), answer.headers)
        if self.alter is None:
            return answer
        body = orjson.loads(answer.body) if isinstance(answer.body, bytes) else answer.body
        for record in body["data"] if isinstance(body["data"], list) else [body["data"]]:
            self.alter(record)
        return Response(answer.status, orjson.dumps(body), answer.headers)


@dataclass(frozen=True, slots=True)
class System:
    """One connector under test.

    api       which requests are the vendor's API, beside the sign-in
    place     the resource that holds people
    secrets   names of the settings that must never show
    """

    connector: str
    make: Callable[[], Sandbox]
    given: Callable[[Any], dict[str, str]]
    wrong: Mapping[str, str]
    api: str
    place: str
    add: Callable[[Any, str, str], str]
    names: Callable[[Any], list[str]]

    def secrets(self, given: Mapping[str, str]) -> list[str]:
        return [value for name, value in given.items() if name.endswith(("secret", "token", "password", "key"))]


def salesforce_settings(sandbox: SalesforceSandbox) -> dict[str, str]:
    given = sandbox.settings
    return {name: given[name] for name in ("base_url", "login_url", "client_id", "client_secret", "refresh_token")}


def card_settings(sandbox: CardDavSandbox) -> dict[str, str]:
    return {"base_url": sandbox.url, "username": "demo", "password": "demo"}


def _new_contact(sandbox: ClioSandbox, given: str, family: str) -> str:
    fields = {"type": "Person", "name": f"{given} {family}", "first_name": given, "last_name": family}
    row = sandbox.edit("new_contact", fields={**fields, "email": mail(given, family)})
    return str(row["id"])


def _new_row(sandbox: SalesforceSandbox, given: str, family: str) -> str:
    fields = {"FirstName": given, "LastName": family, "Email": mail(given, family)}
    return str(sandbox.edit("new", sobject="Contact", fields=fields))


def _new_card(sandbox: CardDavSandbox, given: str, family: str) -> str:
    body = {
        "kind": "individual",
        "fn": f"{given} {family}",
        "n": {"family": family, "given": given},
        "emails": [{"value": mail(given, family), "types": ["work"], "pref": True}],
    }
    return str(sandbox.edit("new_card", body=body))


def mail(given: str, family: str) -> str:
    """A mailbox of a person's own, in letters that every system takes."""
    return (
        "".join(c for c in f"{given}.{family}".lower() if c.isascii() and (c.isalnum() or c == "."))[:60]
        + "@example.com"
    )


def clio_names(sandbox: ClioSandbox) -> list[str]:
    with sandbox.lock:
        return sorted(row["last_name"] or "" for row in sandbox.tables["contacts"].values() if row["type"] == "Person")


def crm_names(sandbox: SalesforceSandbox) -> list[str]:
    with sandbox.lock:
        rows = [row for row in sandbox.tables["Contact"].values() if not row.get("IsDeleted")]
    return sorted(row["LastName"] for row in rows)


def card_names(sandbox: CardDavSandbox) -> list[str]:
    with sandbox.lock:
        cards = [row for row in sandbox.tables["cards"].values() if row.get("text")]
    return sorted(vcards.parse(row["text"])["n"]["family"] or "" for row in cards)


CLIO = System(
    connector="clio",
    make=lambda: Altered(size=0),
    given=clio_settings,
    wrong={"refresh_token": "canary-clio-refresh-9f31"},
    api="/api/v4/*",
    place="contacts",
    add=_new_contact,
    names=clio_names,
)
CRM = System(
    connector="salesforce",
    make=lambda: SalesforceSandbox(accounts=0, contacts=0, opportunities=0, tasks=0),
    given=salesforce_settings,
    wrong={"refresh_token": "canary-crm-refresh-71ab"},
    api="/services/data/*",
    place="Contact",
    add=_new_row,
    names=crm_names,
)
CARDS = System(
    connector="carddav",
    make=lambda: CardDavSandbox(size=0),
    given=card_settings,
    wrong={"password": "canary-card-password-55c0"},
    api="/*",
    place="cards",
    add=_new_card,
    names=card_names,
)
SYSTEMS = (CLIO, CRM, CARDS)


def closed_port() -> int:
    """A port on this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def elsewhere(given: Mapping[str, str], url: str) -> dict[str, str]:
    """The same settings with another address."""
    return {name: url if name in ("base_url", "login_url") else value for name, value in given.items()}

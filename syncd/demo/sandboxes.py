"""The demo firm's systems, each a sandbox of its vendor filled from the one roster.

A process runs one of them, so each factory imports its own vendor and nothing of the service.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from syncd.demo.roster import Roster, card, company_phone, roster

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from connectors.carddav.sandbox import CardDavSandbox
    from connectors.clio.sandbox import ClioSandbox
    from connectors.salesforce.sandbox import SalesforceSandbox
    from connectors.sandbox import Sandbox


def clio(*, seed: int = 1, size: int = 300, **how: Any) -> ClioSandbox:
    """Practice management: people with addresses, their companies, and the firm's matters."""
    from connectors.clio.sandbox import ClioSandbox

    fresh = _is_fresh(how)
    sandbox = ClioSandbox(seed=seed, size=0, **how)
    if fresh:
        _fill_clio(sandbox, roster(seed, size))
    return sandbox


def _fill_clio(sandbox: ClioSandbox, firm: Roster) -> None:
    ids: dict[str, int] = {}
    for name in firm.companies[::2]:
        fields: dict[str, Any] = {"type": "Company", "name": name}
        if name != firm.companies[0]:  # of the first one, the two systems have only the name in common
            fields["phone"] = company_phone(firm, name)
        ids[name] = sandbox.edit_new_contact(fields)["id"]
    clients = {each.number for each in firm.clients}
    for person in firm.people:
        if "clio" not in person.systems:
            continue
        city, province, postcode = person.city
        fields = {
            "type": "Person",
            "name": f"{person.given} {person.family}",
            "first_name": person.given,
            "last_name": person.family,
            "email": person.email,
            "addresses": [
                {
                    "name": "Work",
                    "street": person.street,
                    "city": city,
                    "province": province,
                    "postal_code": postcode,
                    "country": "United States",
                }
            ],
        }
        if person.number % 4:
            fields["phone"] = person.bracketed
        if person.company in ids:
            fields["company"] = {"id": ids[person.company or ""]}
        row = sandbox.edit_new_contact(fields)
        if person.number in clients:
            sandbox.edit_new_matter(
                {"client": {"id": row["id"]}, "description": f"{person.family}: advice", "status": "open"}
            )


def crm(*, seed: int = 1, size: int = 300, **how: Any) -> SalesforceSandbox:
    """The CRM: the same people with titles, and an opportunity for every matter it has heard of."""
    from connectors.salesforce.sandbox import SalesforceSandbox

    firm = roster(seed, size)
    # Clio numbers its matters as it makes them, in the roster's order; the CRM's users typed the numbers in.
    numbers = {each.number: f"{place:05}-{each.family}" for place, each in enumerate(firm.clients, 1)}
    rows: dict[str, list[dict[str, Any]]] = {
        "Account": [{"Name": name, "Phone": company_phone(firm, name)} for name in firm.companies[::3]],
        "Contact": [],
        "Opportunity": [],
    }
    accounts = {row["Name"] for row in rows["Account"]}
    for person in firm.people:
        if "crm" in person.systems:
            row: dict[str, Any] = {
                "FirstName": person.given, "LastName": person.family, "Email": person.email,
                "Phone": f"+1 {person.bracketed}", "Title": person.title,
            }  # fmt: skip
            if person.company in accounts:
                row["Account"] = {"Name": person.company}
            rows["Contact"].append(row)
        if person.number in numbers:
            rows["Opportunity"].append(
                {
                    "Name": f"{person.family} advice",
                    "StageName": "Closed Won",
                    "CloseDate": "2026-10-01",
                    "Matter_Number__c": numbers[person.number],
                }
            )
    return SalesforceSandbox(seed=seed, accounts=0, contacts=0, opportunities=0, tasks=0, rows=rows, **how)


def cards(*, seed: int = 1, size: int = 300, **how: Any) -> CardDavSandbox:
    """The firm's shared address book."""
    from connectors.carddav import vcards
    from connectors.carddav.sandbox import CardDavSandbox

    texts = [vcards.serialise(card(person)) for person in roster(seed, size).people if "cards" in person.systems]
    return CardDavSandbox(seed=seed, cards=texts, **how)


FACTORIES: Mapping[str, Callable[..., Sandbox]] = {"clio": clio, "crm": crm, "cards": cards}


def _is_fresh(how: Mapping[str, Any]) -> bool:
    state = how.get("state")
    return state is None or not Path(state).exists() or Path(state).stat().st_size == 0

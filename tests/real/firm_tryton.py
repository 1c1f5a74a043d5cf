"""A firm whose billing is a real Tryton and whose CRM is the Salesforce sandbox, both behind the real engine."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import update

from syncd.store.tables import turns

if TYPE_CHECKING:
    from connectors.salesforce.sandbox import SalesforceSandbox
    from tests.real.servers_tryton import TrytonServer
    from tests.system.installation import Installation

ROUNDS_MAX = 6


def stamps(erp: TrytonServer) -> dict[tuple[str, int], tuple[str | None, str | None]]:
    """(table, id) -> (create_date, write_date) of every row of every model: whatever is written to Tryton moves one."""
    found: dict[tuple[str, int], tuple[str | None, str | None]] = {}
    with closing(sqlite3.connect(f"file:{erp.file}?mode=ro", uri=True, timeout=30)) as database:
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            columns = {row[1] for row in database.execute(f'PRAGMA table_info("{table}")')}
            if {"id", "create_date", "write_date"} <= columns and not table.startswith(("ir_", "res_user")):
                for id_, created, written in database.execute(f'SELECT id, create_date, write_date FROM "{table}"'):
                    found[table, id_] = (created, written)
    return found


class Firm:
    """`round` and `settle` are what the service does; everything else is looked up in the systems themselves."""

    def __init__(self, service: Installation, erp: TrytonServer, crm: SalesforceSandbox) -> None:
        self.service = service
        self.erp = erp
        self.crm = crm
        service.add("erp", "tryton", erp.settings)
        service.add("crm", "salesforce", crm.settings)

    # --- the service ---------------------------------------------------------------------------------------------

    def round(self) -> int:
        """Every resource is read, everything owed is sent; the number of records that either system saw change."""
        before, written = stamps(self.erp), len(self.crm.writes())
        done = self.service.sync()
        assert done.problems == {}, {place: str(error) for place, error in done.problems.items()}
        return len(self.crm.writes()) - written + len(set(stamps(self.erp).items()) ^ set(before.items()))

    def settle(self) -> int:
        """Rounds until one changes nothing; how many did."""
        for count in range(ROUNDS_MAX):
            if self.round() == 0:
                return count
        raise AssertionError(f"still writing after {ROUNDS_MAX} rounds")

    def is_quiet(self, rounds: int = 3) -> bool:
        return all(self.round() == 0 for _ in range(rounds))

    def sweep(self) -> None:
        """The hourly search for deletions, now."""
        with self.service.app.engine.begin() as sql:
            sql.execute(update(turns).where(turns.c.connection == "erp").values(sweep_due_at=turns.c.pull_due_at))
        self.round()

    # --- what Tryton holds ---------------------------------------------------------------------------------------

    def parties(self) -> dict[str, dict[str, Any]]:
        """Active parties with their live contact mechanisms, by name, as the web client reads them."""
        office = self.erp.office
        found: dict[str, dict[str, Any]] = {}
        for row in office.find("party.party", [], ["name", "contact_mechanisms", "addresses"]):
            contacts = office.call(
                "party.contact_mechanism", "read", list(row["contact_mechanisms"]), ["type", "value", "active"]
            )
            assert row["name"] not in found, f"two parties are called {row['name']}"
            found[row["name"]] = {
                "id": str(row["id"]),
                "contacts": sorted((each["type"], each["value"]) for each in contacts if each["active"]),
                "contact_ids": {str(each["id"]): each["value"] for each in contacts if each["active"]},
            }
        return found

    # --- what Salesforce holds -----------------------------------------------------------------------------------

    def rows(self, sobject: str) -> dict[str, Mapping[str, Any]]:
        with self.crm.lock:
            return {id_: dict(row) for id_, row in self.crm.tables[sobject].items() if not row.get("IsDeleted")}

    def row(self, sobject: str, **wanted: Any) -> Mapping[str, Any]:
        """The only row that holds these values."""
        found = [row for row in self.rows(sobject).values() if all(row.get(k) == v for k, v in wanted.items())]
        assert len(found) == 1, f"{len(found)} {sobject} with {wanted}"
        return found[0]

    def billed(self, opportunity: str) -> Decimal:
        return Decimal(str(self.rows("Opportunity")[opportunity].get("Billed_Total__c") or 0))

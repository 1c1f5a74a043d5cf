"""The headline with a real ERP: an invoice posted in Tryton moves the opportunity's billed total in the CRM.

Tryton 8.2 is the billing system, the Salesforce sandbox the CRM, and everything between them is the real service.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from connectors.salesforce.sandbox import SalesforceSandbox
from syncd.once import due_now, places
from tests.real.firm_tryton import Firm
from tests.real.servers_tryton import tryton
from tests.system.installation import Installation, environment

if TYPE_CHECKING:
    from collections.abc import Callable

# The first run on a machine installs Tryton and sets up its firm: about a minute, two on a busy machine.
pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
TODAY = date.today()  # noqa: DTZ011  (the books' own day)
NUMBER = "M-1001"


@pytest.fixture
def firm(database_url: str, tmp_path: Path) -> Iterator[Firm]:
    service = Installation(tmp_path / "home", database_url, authority=["erp", "crm"])
    crm = SalesforceSandbox(accounts=0, contacts=0, opportunities=0, tasks=0)
    with tryton() as erp, crm:
        yield Firm(service, erp, crm)
        service.close()


def an_opportunity(firm: Firm, number: str = NUMBER, name: str = "Smith advice") -> str:
    fields = {"Name": name, "StageName": "Closed Won", "CloseDate": "2026-10-01", "Matter_Number__c": number}
    made: str = firm.crm.edit("new", sobject="Opportunity", fields=fields)
    return made


def a_client(firm: Firm, name: str = "Alice Smith", mail: str = "alice.smith@example.com") -> str:
    contacts = [("email", mail), ("phone", "(212) 555-0101")]
    return firm.erp.new_party(name, kind="Person", contacts=contacts)


def test_posted_invoices_add_up_on_the_opportunity_and_a_cancelled_one_is_taken_back(firm: Firm) -> None:
    client = a_client(firm)
    matter = firm.erp.new_matter(NUMBER, "Smith v. Jones", client)
    firm.erp.log_time(matter, "1.25", TODAY, "Reading the file")
    other = firm.erp.new_matter("M-1002", "Smith lease", client)
    opportunity, second = an_opportunity(firm), an_opportunity(firm, "M-1002", "Smith lease")
    draft = firm.erp.draft_invoice(NUMBER, client, "750.00")
    firm.settle()
    assert firm.billed(opportunity) == 0

    firm.erp.office.call("account.invoice", "post", [int(draft)])
    firm.settle()
    assert firm.billed(opportunity) == Decimal("750.00")
    another = firm.erp.issue_invoice(NUMBER, client, "500.50")
    firm.settle()
    assert firm.billed(opportunity) == Decimal("1250.50")
    firm.erp.issue_invoice("M-1002", client, "99.99")
    firm.settle()
    assert (firm.billed(opportunity), firm.billed(second)) == (Decimal("1250.50"), Decimal("99.99"))

    firm.erp.cancel_invoice(draft)
    firm.settle()
    assert firm.billed(opportunity) == Decimal("500.50")
    firm.erp.credit_invoice(another)
    firm.settle()
    assert firm.billed(opportunity) == 0
    assert firm.billed(second) == Decimal("99.99")
    assert other != matter
    assert firm.is_quiet()


def test_a_matters_number_that_is_corrected_takes_its_invoices_along(firm: Firm) -> None:
    client = a_client(firm)
    firm.erp.new_matter(NUMBER, "Smith v. Jones", client)
    firm.erp.issue_invoice(NUMBER, client, "300.00")
    opportunity = an_opportunity(firm, "M-7777")
    firm.settle()
    assert firm.billed(opportunity) == 0
    firm.crm.edit("update", sobject="Opportunity", id=opportunity, changes={"Matter_Number__c": NUMBER})
    firm.settle()
    assert firm.billed(opportunity) == Decimal("300.00")
    assert firm.is_quiet()

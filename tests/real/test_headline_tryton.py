"""The headline with a real ERP: an invoice posted in Tryton moves the opportunity's billed total in the CRM.

Tryton 8.2 is the billing system, the Salesforce sandbox the CRM, and everything between them is the real service.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from connectors.salesforce.sandbox import SalesforceSandbox
from syncd.explain import explain
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
    assert firm.settle() > 0  # so a round that writes is told from one that does not
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


def test_time_entries_are_read_and_written_nowhere(firm: Firm) -> None:
    client = a_client(firm)
    matter = firm.erp.new_matter(NUMBER, "Smith v. Jones", client)
    line = firm.erp.log_time(matter, "1.25", TODAY, "Reading the file")
    firm.settle()
    record = explain(firm.service.app, f"erp/time_entries/{line}")
    values = {each["field"]: each["value"] for each in record["fields"]}
    assert record["kind"] == "time_entry"
    assert (values["hours"], values["worked_on"], values["narrative"]) == (
        "1.25",
        TODAY.isoformat(),
        "Reading the file",
    )
    assert explain(firm.service.app, values["matter"])["systems"][0]["record"] == f"erp/works/{matter}"
    firm.erp.edit_time(line, description="Reading the whole file")
    firm.settle()
    (narrative,) = explain(firm.service.app, f"erp/time_entries/{line}", "narrative")["fields"]
    assert narrative["value"] == "Reading the whole file"
    assert not any("Reading" in str(entry.request_body) for entry in firm.crm.log)


def test_people_and_companies_of_both_systems_arrive_in_the_other_once(firm: Firm) -> None:
    firm.erp.new_party(
        "Alice Smith",
        kind="Person",
        contacts=[("email", "alice.smith@example.com"), ("phone", "(212) 555-0101"), ("mobile", "(212) 555-0102")],
        addresses=[{"street": "100 Elm Street", "city": "Boston", "postal_code": "02110", "country": "US"}],
    )
    firm.erp.new_party("Harbor Foods LLC", kind="Organisation", contacts=[("website", "https://harbor.example.com")])
    firm.crm.edit("new", sobject="Account", fields={"Name": "Granite Holdings Inc.", "Phone": "(212) 555-0110"})
    contact = {"FirstName": "Omar", "LastName": "Oakes", "Email": "omar.oakes@example.org", "Phone": "(212) 555-0111"}
    firm.crm.edit("new", sobject="Contact", fields=contact)
    # Known to both, written differently.
    firm.erp.new_party("Dana Marsh", kind="Person", contacts=[("email", "dana.marsh@example.com")])
    both = {"FirstName": "Dana", "LastName": "Marsh", "Email": "Dana.Marsh@example.com", "Title": "Director"}
    dana = firm.crm.edit("new", sobject="Contact", fields=both)
    firm.settle()

    alice = firm.row("Contact", LastName="Smith")
    assert (alice["FirstName"], alice["Email"]) == ("Alice", "alice.smith@example.com")
    assert digits(alice["Phone"]).endswith("2125550101")
    assert digits(alice["MobilePhone"]).endswith("2125550102")
    assert (alice["MailingStreet"], alice["MailingCity"]) == ("100 Elm Street", "Boston")
    assert firm.row("Account", Name="Harbor Foods LLC")["Website"] == "https://harbor.example.com"
    parties = firm.parties()
    assert [kind for kind, _ in parties["Omar Oakes"]["contacts"]] == ["email", "phone"]
    assert digits(parties["Omar Oakes"]["contacts"][1][1]).endswith("2125550111")
    assert firm.erp.read("party.party", parties["Omar Oakes"]["id"], "categories")["categories"] == [
        firm.erp.chosen["kinds"]["Person"]
    ]
    assert digits(parties["Granite Holdings Inc."]["contacts"][0][1]).endswith("2125550110")
    assert firm.row("Contact", LastName="Marsh")["Id"] == dana
    assert parties["Dana Marsh"]["contacts"] == [("email", "dana.marsh@example.com")]
    assert firm.is_quiet()


def test_a_phone_edited_in_the_crm_changes_the_one_contact_mechanism_in_tryton(firm: Firm) -> None:
    party = a_client(firm)
    firm.settle()
    before = firm.parties()["Alice Smith"]
    contact = firm.row("Contact", LastName="Smith")
    firm.crm.edit("update", sobject="Contact", id=contact["Id"], changes={"Phone": "(646) 555-0142"})
    firm.settle()
    after = firm.parties()["Alice Smith"]
    assert after["id"] == party
    assert [kind for kind, _ in after["contacts"]] == ["email", "phone"]
    assert digits(after["contacts"][1][1]).endswith("6465550142")
    assert len(after["contact_ids"]) == len(before["contact_ids"]) == 2

    # And the other way: the same mechanism, edited from its own menu, which leaves the party's own time alone.
    phone = next(id_ for id_, value in after["contact_ids"].items() if "@" not in value)
    firm.erp.edit_contact(phone, value="(646) 555-0177")
    firm.settle()
    assert digits(firm.row("Contact", LastName="Smith")["Phone"]).endswith("6465550177")
    assert firm.is_quiet()


def test_a_party_deleted_in_tryton_deletes_nothing_in_the_crm(firm: Firm) -> None:
    gone = firm.erp.new_party("Gert Gone", kind="Person", contacts=[("email", "gert.gone@example.com")])
    kept = firm.erp.new_party("Kim Kept", kind="Person", contacts=[("email", "kim.kept@example.com")])
    firm.settle()
    gert = firm.row("Contact", LastName="Gone")
    firm.erp.delete_party(gone)
    firm.erp.edit_party(kept, active=False)
    firm.sweep()
    firm.settle()
    for party in (gone, kept):
        systems = explain(firm.service.app, f"erp/parties/{party}")["systems"]
        assert [(each["record"].split("/")[0], each["deleted_there"]) for each in systems] == [
            ("crm", False),
            ("erp", True),
        ]
    assert firm.row("Contact", LastName="Gone")["Id"] == gert["Id"]
    assert firm.row("Contact", LastName="Kept")["Email"] == "kim.kept@example.com"
    firm.crm.edit("update", sobject="Contact", id=gert["Id"], changes={"Title": "Director"})
    firm.settle()
    assert "Gert Gone" not in firm.parties()
    assert not [what for what in firm.crm.writes() if what.startswith("deleted")]
    assert firm.is_quiet()


def test_workers_carry_an_invoice_to_the_crm_by_themselves(firm: Firm, valkey_url: str) -> None:
    """As installed: a sweeper and two workers as processes; nobody tells them that something happened."""
    client = a_client(firm)
    firm.erp.new_matter(NUMBER, "Smith v. Jones", client)
    opportunity = an_opportunity(firm)
    with running(firm, valkey_url, "sweeper", "worker", "worker"):
        wait_until(lambda: len(firm.rows("Contact")) == 2, "the firm's people in the CRM")
        firm.erp.issue_invoice(NUMBER, client, "750.00")
        wait_until(lambda: firm.billed(opportunity) == Decimal("750.00"), "the invoice on the opportunity")
        another = firm.erp.issue_invoice(NUMBER, client, "100.00")
        wait_until(lambda: firm.billed(opportunity) == Decimal("850.00"), "the second invoice")
        firm.erp.cancel_invoice(another)
        wait_until(lambda: firm.billed(opportunity) == Decimal("750.00"), "the cancelled invoice to be taken back")
    assert firm.service.status()["dead_letters"] == 0
    assert firm.is_quiet()


@contextmanager
def running(firm: Firm, redis_url: str, *roles: str) -> Iterator[None]:
    """The service's processes, as `syncd worker` and `syncd sweeper` start them."""
    env = {**environment(firm.service), "SYNCD_REDIS_URL": redis_url, "SYNCD_LOG": "json"}
    log = firm.service.home / "processes.log"
    with log.open("ab") as output:
        started = [
            subprocess.Popen([sys.executable, "-m", "syncd", role], env=env, cwd=ROOT, stdout=output, stderr=output)
            for role in roles
        ]
        try:
            yield
            assert [process.poll() for process in started] == [None] * len(roles), log.read_text()[-3000:]
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait(30)


def wait_until(holds: Callable[[], bool], what: str, *, limit_s: float = 90.0) -> None:
    deadline = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline, f"waited {limit_s:.0f} s for {what}"
        time.sleep(0.05)


def digits(phone: str) -> str:
    return "".join(c for c in phone if c.isdigit())

"""One firm, four systems, two of them real servers: about twenty people that overlap, edited on every side, end equal.

Practice management is the Clio sandbox, the CRM the Salesforce sandbox, billing a real Tryton 8.2, and the address
book a real Radicale. Equality is asked of the systems themselves, through their own APIs (`Comparison`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors.carddav import vcards
from syncd import stewards
from syncd.demo.comparison import Comparison, read_all
from syncd.demo.roster import Someone, card, roster
from syncd.demo.sandboxes import clio, crm
from tests.real.firm_tryton import stamps
from tests.real.servers_radicale import BOOK, PASSWORD, USER, Radicale
from tests.real.servers_tryton import tryton
from tests.system.installation import Installation, clio_settings
from tests.system.systems import salesforce_settings

# The first run on a machine installs Tryton and sets up its firm: about a minute, two on a busy machine.
pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(900)]

SIZE, SEED = 20, 7
SYSTEMS = {"pms": "clio", "erp": "tryton", "crm": "salesforce", "cards": "carddav"}
ROUNDS_MAX = 8


class Firm:
    """The four systems and the service between them."""

    def __init__(self, home: Path, database_url: str, stack: ExitStack) -> None:
        self.people = roster(SEED, SIZE).people
        self.service = Installation(home, database_url, authority=list(SYSTEMS))
        stack.callback(self.service.close)
        self.pms = stack.enter_context(clio(seed=SEED, size=SIZE))
        self.crm = stack.enter_context(crm(seed=SEED, size=SIZE))
        self.cards = stack.enter_context(Radicale())
        self.erp = stack.enter_context(tryton())
        for person in self.people:
            if "cards" in person.systems:
                self.cards.put_card(f"demo-{person.number}.vcf", vcards.serialise(card(person)))
            if person.number % 3 != 2:
                self._new_party(person)
        for name in roster(SEED, SIZE).companies[::2]:
            self.erp.new_party(name, kind="Organisation", contacts=[("website", "https://example.com")])
        self.service.add("pms", "clio", clio_settings(self.pms))
        self.service.add("erp", "tryton", self.erp.settings)
        self.service.add("crm", "salesforce", salesforce_settings(self.crm))
        self.service.add("cards", "carddav", {"base_url": self.cards.url, "username": USER, "password": PASSWORD})

    def _new_party(self, person: Someone) -> None:
        contacts = [("email", person.email)]
        if person.number % 2:
            contacts.append(("phone", person.dotted))
        address = {"street": person.street, "city": person.city[0], "postal_code": person.city[2], "country": "US"}
        name = f"{person.given} {person.family}"
        self.erp.new_party(
            name, kind="Person", contacts=contacts, addresses=[address] if person.number % 5 == 0 else ()
        )

    # --- the service ---------------------------------------------------------------------------------------------

    def state(self) -> Counter[Any]:
        """Whatever any system would show as changed: request logs, Tryton's row times, Radicale's etags."""
        found: Counter[Any] = Counter({("pms",): len(self.pms.writes()), ("crm",): len(self.crm.writes())})
        found.update({(*key, *value): 1 for key, value in stamps(self.erp).items()})
        listing = self.cards.request("PROPFIND", BOOK, headers={"Depth": "1"})[1]
        found[listing] += 1
        return found

    def round(self) -> bool:
        """Every resource is read, everything owed is sent. True when any system was written to."""
        before = self.state()
        done = self.service.sync()
        assert done.problems == {}, {place: str(error) for place, error in done.problems.items()}
        return self.state() != before

    def settle(self) -> int:
        for count in range(ROUNDS_MAX):
            wrote = self.round()
            # Companies of which two systems know nothing but the name wait for a steward, who knows that they are one;
            # and two billing systems both have an invoice number 1, which are not the same.
            while reviews := stewards.open_reviews(self.service.app):
                review = reviews[0]
                assert review["kind"] in ("organisation", "invoice"), review
                is_same = review["kind"] == "organisation"
                stewards.rule_pair(self.service.app, review["id"], same=is_same, by="test")
                wrote = True
            if not wrote:
                return count
        raise AssertionError(f"still writing after {ROUNDS_MAX} rounds")

    def assert_equal(self) -> None:
        differences, counts = Comparison(self.service.app, SYSTEMS, "pms").run()
        assert differences == []
        assert all(count >= SIZE for count in counts.values()), counts

    def emails(self, name: str) -> Counter[str]:
        """How often each mailbox is somebody's main one in this system, by its own API."""
        mapping = self.service.app.world().members[name].mapping
        rows = read_all(self.service.app, name, mapping)
        return Counter(str(lens.get(body).get("email")).lower() for lens, _, body in rows if lens.kind == "person")

    # --- its people ----------------------------------------------------------------------------------------------

    def contact(self, mail: str) -> str:
        """A person's id in practice management."""
        with self.pms.lock:
            rows = self.pms.tables["contacts"].items()
            return next(id_ for id_, row in rows if any(e["address"].lower() == mail for e in row["email_addresses"]))

    def row(self, mail: str) -> str:
        """A person's id in the CRM."""
        with self.crm.lock:
            return next(id_ for id_, row in self.crm.tables["Contact"].items() if str(row.get("Email")).lower() == mail)

    def party(self, mail: str) -> tuple[str, str]:
        """A person's id in Tryton, and that of the mechanism with this e-mail."""
        (found,) = self.erp.office.find("party.contact_mechanism", [["value", "=", mail]], ["party"])
        return str(found["party"]), str(found["id"])

    def card(self, mail: str) -> str:
        """The name of a person's card."""
        listing = self.cards.request("PROPFIND", BOOK, headers={"Depth": "1"})[1].decode()
        names = [part.partition("<")[0].rpartition("/")[2] for part in listing.split(BOOK)[1:]]
        return next(name for name in names if name and mail in self.cards.get_card(name).lower())

    def edit_card(self, mail: str, **changes: Any) -> None:
        from connectors.http import utc_now

        name = self.card(mail)
        self.cards.put_card(name, vcards.apply(self.cards.get_card(name), changes, revised_at=utc_now()))


@pytest.fixture
def firm(database_url: str, tmp_path: Path) -> Iterator[Firm]:
    with ExitStack() as stack:
        yield Firm(tmp_path / "home", database_url, stack)


def test_twenty_people_in_four_systems_end_equal_and_stay_so(firm: Firm) -> None:
    assert firm.settle() <= 3
    firm.assert_equal()
    everybody = {person.email for person in firm.people}
    for name in SYSTEMS:
        assert {mail: count for mail, count in firm.emails(name).items() if mail in everybody} == dict.fromkeys(
            everybody, 1
        )

    a, b, c, d, e, f, g = (person.email for person in firm.people[:7])
    firm.pms.edit("contact", id=firm.contact(a), changes={"phone": "(617) 555-0142", "title": "Chair"})
    firm.crm.edit("update", sobject="Contact", id=firm.row(b), changes={"LastName": "Married-Name"})
    party, mechanism = firm.party(c)
    firm.erp.edit_contact(mechanism, value=f"new.{c}")
    firm.edit_card(d, title="Managing Partner", tels=[{"value": "+1 617 555 0177", "types": ["cell"], "pref": True}])
    # One person, two fields, two systems, one moment.
    firm.pms.edit("contact", id=firm.contact(e), changes={"title": "Of Counsel"})
    firm.erp.edit_party(firm.party(e)[0], name="Eve Everafter")
    firm.cards.delete_card(firm.card(f))
    # New ones, one in each system.
    firm.pms.edit(
        "new_contact",
        fields={
            "type": "Person",
            "name": "Nora New",
            "first_name": "Nora",
            "last_name": "New",
            "email": "nora.new@example.org",
        },
    )
    firm.erp.new_party(
        "Tom Tryton", kind="Person", contacts=[("email", "tom.tryton@example.org"), ("mobile", "(212) 555-0190")]
    )
    firm.crm.edit(
        "new", sobject="Contact", fields={"FirstName": "Omar", "LastName": "Oakes", "Email": "omar.oakes@example.org"}
    )
    body = {
        "kind": "individual",
        "fn": "Pia Park",
        "n": {"family": "Park", "given": "Pia"},
        "uid": "pia",
        "emails": [{"value": "pia.park@example.net", "types": ["work"], "pref": True}],
    }
    firm.cards.put_card("pia.vcf", vcards.serialise(body))
    firm.settle()
    firm.assert_equal()
    assert firm.erp.read("party.party", party, "name")["name"] == f"{firm.people[2].given} {firm.people[2].family}"
    assert firm.crm.tables["Contact"][firm.row(f"new.{c}")]["LastName"] == firm.people[2].family
    assert "Married-Name" in firm.cards.get_card(firm.card(b))
    assert firm.crm.tables["Contact"][firm.row(e)]["Title"] == "Of Counsel"
    assert firm.crm.tables["Contact"][firm.row(e)]["LastName"] == "Everafter"
    assert firm.emails("cards")[f] == 0
    assert firm.emails("erp")[f] == firm.emails("crm")[f] == 1
    for mail in ("nora.new@example.org", "tom.tryton@example.org", "omar.oakes@example.org", "pia.park@example.net", g):
        assert [firm.emails(name)[mail] for name in SYSTEMS] == [1, 1, 1, 1], mail
    assert firm.service.dead() == []
    assert [firm.round() for _ in range(3)] == [False, False, False]


def test_invoices_of_two_billing_systems_add_up_on_one_opportunity(firm: Firm) -> None:
    firm.settle()
    with firm.crm.lock:
        opportunity, number = next(
            (id_, row["Matter_Number__c"]) for id_, row in firm.crm.tables["Opportunity"].items()
        )
    with firm.pms.lock:
        matter = next(id_ for id_, row in firm.pms.tables["matters"].items() if row["display_number"] == number)
    client = firm.party(firm.people[0].email)[0]
    firm.erp.new_matter(number, "Advice", client)
    firm.pms.edit("issue_bill", matter_id=matter, total="100.00")
    posted = firm.erp.issue_invoice(number, client, "750.00")
    firm.settle()
    firm.assert_equal()
    assert Decimal(str(firm.crm.tables["Opportunity"][opportunity]["Billed_Total__c"])) == Decimal("850.00")
    firm.erp.cancel_invoice(posted)
    firm.settle()
    firm.assert_equal()
    assert Decimal(str(firm.crm.tables["Opportunity"][opportunity]["Billed_Total__c"])) == Decimal("100.00")
    assert [firm.round() for _ in range(3)] == [False, False, False]

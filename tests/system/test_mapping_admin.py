"""An admin maps the firm's own fields with nothing but the commands, and is told when a vendor's fields change."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console
from sqlalchemy import update

from connectors.clio.sandbox import ClioSandbox
from connectors.memory import MemoryVendor
from connectors.salesforce.sandbox import SalesforceSandbox
from mappings.differences import shipped_lines
from syncd import previewing, wording
from syncd.store.database import reading
from syncd.store.tables import conflicts, identity_keys, intents, links, mapping_bases, records
from tests.system.installation import clio_settings
from tests.system.systems import salesforce_settings

if TYPE_CHECKING:
    from connectors.sandbox import Logged
    from tests.system.installation import Installation

pytestmark = pytest.mark.slow

CUSTOM = (
    "Client_Number__c string 20 label=Client_Number",
    "Suffix__c picklist 10 values=Jr.|Sr.|II|III",
    "Date_of_Birth__c date label=Date_of_Birth",
)
LINES = """overrides: salesforce
records:
  - resource: Contact
    kind: person
    fields:
      client_number: {path: Client_Number__c, cut: 20}
      suffix: {path: Suffix__c, values: {Jr.: Jr., Sr.: Sr., II: II, III: III}, else: nothing}
      birth_date: Date_of_Birth__c
"""
ALL_THREE = {"client_number": "C-17", "suffix": "Jr.", "birth_date": "1980-02-29"}


@dataclass
class Firm:
    """A Salesforce org with three custom fields and a system in a file, both live, that agree about Ana Roe."""

    service: Installation
    org: SalesforceSandbox
    office: MemoryVendor

    @property
    def contact(self) -> str:
        (id_,) = self.org.tables["Contact"]
        return str(id_)

    def row(self) -> dict[str, Any]:
        with self.org.lock:
            return dict(self.org.tables["Contact"][self.contact])

    def person(self) -> dict[str, Any]:
        (body,) = self.office.look("people").values()
        return body

    def edit_contact(self, **changes: Any) -> None:
        self.org.edit("update", sobject="Contact", id=self.contact, changes=changes)

    def edit_person(self, **changes: Any) -> None:
        (id_,) = self.office.look("people")
        self.office.person_edits("people", id_, changes)

    def sync(self) -> None:
        for _ in range(3):
            assert self.service.run("sync", "--once").code == 0

    def write(self, name: str, text: str) -> Path:
        path = self.service.home / "mappings" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def requests(self, since: int) -> list[Logged]:
        with self.org.lock:
            return self.org.log[since:]


@contextmanager
def a_firm(service: Installation, **fields: Any) -> Iterator[Firm]:
    """The contact was last changed long before anybody connected the org: no cursor reaches back that far."""
    row = {"FirstName": "Ana", "LastName": "Roe", "Email": "ana@example.com", "SystemModstamp": "2026-01-02T03:04:05Z"}
    org = SalesforceSandbox(
        accounts=0, contacts=0, opportunities=0, tasks=0, customs={"Contact": CUSTOM}, rows={"Contact": [row | fields]}
    )
    with org:
        place = service.home / "office.json"
        service.add("crm", "salesforce", salesforce_settings(org))
        service.add("office", "memory", {"file": str(place)})
        made = Firm(service, org, MemoryVendor(file=place))
        made.sync()
        assert made.person()["given_name"] == "Ana"
        yield made


@pytest.fixture
def firm(simple: Installation) -> Iterator[Firm]:
    with a_firm(simple) as made:
        yield made


def test_three_custom_fields_are_mapped_both_ways_with_the_commands_alone(firm: Firm) -> None:
    run = firm.service.run
    shown = run("connect", "inspect", "crm", "--resource", "Contact")
    assert shown.code == 0
    for name in ("Client_Number__c", "Suffix__c", "Date_of_Birth__c"):
        assert name in shown.out
    assert "one of:" in shown.text and all(value in shown.text for value in ("Jr.", "Sr.", "II", "III"))
    assert "ana@example.com" not in shown.out and "Roe" not in shown.out, "shapes, never values"

    # What it proposes is pasted; the third field takes the place of a shipped line, which only a person can say.
    proposal = run("connect", "inspect", "crm", "--resource", "Contact", "--json").json()["proposal"]
    (open_line,) = [line for line in proposal.splitlines() if "Date_of_Birth__c" in line]
    assert "birth_date" in open_line
    firm.write("crm.yaml", proposal.replace("# FIELD: Date_of_Birth__c", "birth_date: Date_of_Birth__c"))
    checked = run("mapping", "check")
    assert (checked.code, "crm.yaml own lines, 3 lines" in checked.text) == (0, True)

    firm.edit_contact(Client_Number__c="C-17", Suffix__c="Jr.", Date_of_Birth__c="1980-02-29")
    seen = run("mapping", "preview", "crm", firm.contact).text
    for value in ALL_THREE.values():
        assert value in seen
    assert "office/people update 1" in seen
    assert "Nothing was written." in seen
    assert firm.person().get("client_number") is None

    firm.sync()
    assert {name: firm.person()[name] for name in ALL_THREE} == ALL_THREE
    firm.edit_person(client_number="C-18", suffix="Sr.", birth_date="1981-03-01")
    firm.sync()
    row = firm.row()
    assert (row["Client_Number__c"], row["Suffix__c"], row["Date_of_Birth__c"]) == ("C-18", "Sr.", "1981-03-01")
    assert run("mapping", "diff").code == 0
    assert run("status").code == 0


def test_values_that_stood_in_custom_fields_before_they_were_mapped_are_read(simple: Installation) -> None:
    """The first reading never asked for them, and mapping them changes no record at the vendor."""
    with a_firm(simple, Client_Number__c="C-17", Suffix__c="Jr.", Date_of_Birth__c="1980-02-29") as firm:
        assert firm.person().get("client_number") is None
        firm.write("crm.yaml", LINES)
        firm.sync()
        assert {name: firm.person()[name] for name in ALL_THREE} == ALL_THREE
        since = len(firm.org.log)
        firm.sync()
        queries = [each.query for each in firm.requests(since) if "FROM+Contact" in each.query.replace("%20", "+")]
        assert queries and all("SystemModstamp" in query for query in queries), "from then on only what changed is read"
        assert not any("FROM+Contact+ORDER" in query.replace("%20", "+") for query in queries)


def test_a_custom_field_that_is_deleted_between_two_syncs_is_told_and_harms_nothing(firm: Firm) -> None:
    run = firm.service.run
    firm.write("crm.yaml", LINES)
    firm.edit_contact(Client_Number__c="C-17", Suffix__c="Jr.", Date_of_Birth__c="1980-02-29")
    firm.sync()
    since = len(firm.org.log)

    firm.org.edit("drop_field", sobject="Contact", field="Client_Number__c")
    firm.edit_contact(Title="Partner", Suffix__c="Sr.")
    firm.edit_person(client_number="C-18", given_name="Anna")
    firm.sync()

    assert firm.person()["client_number"] == "C-18", "what people enter elsewhere stays"
    assert (firm.person()["title"], firm.person()["suffix"]) == ("Partner", "Sr.")
    assert firm.row()["FirstName"] == "Anna"
    asked = firm.requests(since)
    assert asked
    assert all(each.status < 400 for each in asked), [(each.method, each.path, each.status) for each in asked]
    assert not any(b"Client_Number__c" in each.request_body or "Client_Number__c" in each.query for each in asked)
    assert any(b"Anna" in each.request_body for each in asked)

    told = run("status")
    assert told.code == 1
    for part in (
        "crm/Contact: the field Client_Number__c (Client Number) is gone.",
        "lines: crm.yaml:6 person.client_number",
        "effect: person.client_number is neither read nor written here, and stays unchanged everywhere else",
        "→ Restore it",
    ):
        assert part in told.text
    assert "Client_Number__c is gone" in run("connect", "check", "crm").text
    inspected = run("connect", "inspect", "crm", "--resource", "Contact")
    assert (inspected.code, "Client_Number__c (Client Number) is gone" in inspected.text) == (1, True)
    assert "C-1" not in told.out + inspected.out

    firm.org.edit("add_field", sobject="Contact", line=CUSTOM[0])
    firm.sync()
    assert firm.row()["Client_Number__c"] == "C-18", "an empty field that came back is filled, and clears nothing"
    assert firm.person()["client_number"] == "C-18"
    assert run("status").code == 0


def test_a_drift_is_accepted_by_name(firm: Firm) -> None:
    run = firm.service.run
    firm.write("crm.yaml", LINES)
    firm.sync()
    firm.org.edit("drop_field", sobject="Contact", field="Suffix__c")
    firm.org.edit("add_field", sobject="Contact", line="Name_Suffix__c picklist 10 label=Suffix values=Jr.|Sr.")
    told = run("connect", "check", "crm").text
    assert "If Name_Suffix__c took its place, name that in the line." in told
    firm.write("crm.yaml", LINES.replace("Suffix__c", "Name_Suffix__c"))
    assert run("connect", "inspect", "crm", "--pin").code == 0
    assert run("status").code == 0
    firm.edit_contact(Name_Suffix__c="Sr.")
    firm.sync()
    assert firm.person()["suffix"] == "Sr."


@pytest.mark.parametrize(
    "line",
    ['{path: "custom_field_values[custom_field.id=6002].value"}', "{custom: Referral source}"],
    ids=["id", "name"],
)
def test_a_custom_field_of_clio_that_is_deleted_clears_nothing(line: str, simple: Installation) -> None:
    """Clio leaves empty custom values out of its records, so a deleted field looks just like an emptied one."""
    with ClioSandbox(size=0) as clio:
        place = simple.home / "office.json"
        simple.add("clio", "clio", clio_settings(clio))
        simple.add("office", "memory", {"file": str(place)})
        office = MemoryVendor(file=place)
        folder = simple.home / "mappings"
        folder.mkdir()
        (folder / "clio.yaml").write_text(
            "overrides: clio\nrecords:\n  - resource: contacts\n    kind: person\n    fields:\n"
            f"      client_number: {line}\n"
        )
        fields = {
            "type": "Person",
            "name": "Ana Roe",
            "first_name": "Ana",
            "last_name": "Roe",
            "email": "a@example.com",
        }
        value = {"custom_field": {"id": 6002}, "value": "C-17"}
        row = clio.edit("new_contact", fields={**fields, "custom_field_values": [value]})
        for _ in range(2):
            assert simple.run("sync", "--once").code == 0
        (person,) = office.look("people")
        assert office.look("people")[person]["client_number"] == "C-17"
        clio.edit("custom_field", id=6002, changes={"deleted": True})
        clio.edit("contact", id=str(row["id"]), changes={"title": "Partner"})
        for _ in range(2):
            assert simple.run("sync", "--once").code == 0
        body = office.look("people")[person]
        assert (body["client_number"], body["title"]) == ("C-17", "Partner")
        told = simple.run("status")
        assert (told.code, "clio.yaml:6 person.client_number" in told.text) == (1, True)
        office.person_edits("people", person, {"client_number": "C-18", "given_name": "Anna"})
        for _ in range(2):
            assert simple.run("sync", "--once").code == 0
        assert clio.tables["contacts"][str(row["id"])]["first_name"] == "Anna", "the rest is still written"


def test_an_account_that_may_not_see_its_custom_fields_syncs_all_the_same(simple: Installation) -> None:
    with ClioSandbox(size=3) as clio:
        clio.forbidden.add("custom_fields")
        simple.add("clio", "clio", clio_settings(clio))
        assert simple.run("sync", "--once").code == 0
        asked = sum("custom_fields" in each.path for each in clio.log)
        for _ in range(3):
            assert simple.run("sync", "--once").code == 0
        assert sum("custom_fields" in each.path for each in clio.log) == asked, "not at every turn"
        told = simple.run("connect", "check", "clio")
        assert (told.code, "which fields there are could not be read" in told.text) == (0, True)
        assert simple.status()["connections"][0]["resources"][2]["records"] > 0


# --- the mapping commands --------------------------------------------------------------------------------------------


def test_check_names_file_line_and_the_nearest_word(firm: Firm) -> None:
    run = firm.service.run
    path = firm.write("crm.yaml", LINES.replace("suffix:", "sufix:"))
    wrong = run("mapping", "check")
    assert wrong.code == 1
    assert "crm.yaml:7: person has no field 'sufix'; did you mean 'suffix'?" in wrong.text
    assert "1 mistake." in wrong.text
    assert run("mapping", "check", str(path), "--json").json()[0]["errors"] == [
        "crm.yaml:7: person has no field 'sufix'; did you mean 'suffix'?"
    ]
    assert run("mapping", "check", str(path.with_name("none.yaml"))).code == 3
    other = firm.write("own.yaml", "overrides: salesfroce\nrecords: []\n")
    assert "own.yaml:1: overrides: there is no mapping 'salesfroce'; did you mean 'salesforce'?" in (
        run("mapping", "check", str(other)).text
    )
    path.write_text(LINES)
    right = run("mapping", "check", str(path))
    assert (right.code, "1 file, 0 mistakes." in right.text) == (0, True)


def test_check_holds_a_firms_lines_against_its_account_and_its_zone(firm: Firm) -> None:
    run = firm.service.run
    head = LINES[: LINES.index("      client_number")]
    path = firm.write("crm.yaml", f"{head}      client_number: Client_Number__c\n      tax_number: Suffix__c\n")
    for line in (("mapping", "check"), ("mapping", "check", str(path))):
        said = run(*line)
        assert said.code == 1
        assert (
            "crm.yaml:6: client_number: undeclared loss: the vendor's Client_Number__c takes 20 characters" in said.text
        )
        assert "crm.yaml:7: tax_number: undeclared loss: the vendor's Suffix__c takes words of its own" in said.text
        assert "crm.yaml:7: person.tax_number is identity_document, which may not enter the zone" in said.text
    path.write_text(LINES)
    assert run("mapping", "check").code == 0


def test_check_tries_the_firms_transforms(firm: Firm) -> None:
    run = firm.service.run
    own = firm.service.home / "transforms.py"
    own.write_text("TRANSFORMS = [\n")
    said = run("mapping", "check")
    assert said.code == 1
    assert "transforms.py" in said.text
    path = firm.write("crm.yaml", LINES.replace("Date_of_Birth__c", "{path: Date_of_Birth__c, transform: us_dat}"))
    told = run("mapping", "check", str(path))
    assert told.code == 1
    assert "did you mean 'us_date'?" in told.text


def test_cases_of_the_firm_run_against_the_firms_lines(firm: Firm) -> None:
    run = firm.service.run
    firm.write("crm.yaml", LINES)
    case = "  - {name: ours, resource: Contact, given: {LastName: Roe, Client_Number__c: C-1}, expect: {client_number: %s}}\n"
    firm.write("cases/crm.yaml", "connector: salesforce\ncases:\n" + case % "C-1")
    right = run("mapping", "test", "crm")
    assert right.code == 0
    assert "crm: 1 case, 0 failed" in right.text
    assert "salesforce (shipped):" in right.text
    firm.write("cases/crm.yaml", "connector: salesforce\ncases:\n" + case % "C-2")
    failed = run("mapping", "test")
    assert failed.code == 1
    assert "cases/crm.yaml:3 ours client_number: expected C-2, found C-1" in failed.text
    firm.write("cases/crm.yaml", "connector: salesforce\ncases:\n" + case.replace("expect", "expects") % "C-2")
    broken = run("mapping", "test")
    assert (broken.code, "cases/crm.yaml:3: a case: unknown word 'expects'; did you mean 'expect'?" in broken.text) == (
        1,
        True,
    )
    assert run("mapping", "test", "nobody").code == 3 or broken.code == 1


def stored(firm: Firm) -> list[list[Any]]:
    """Everything that a record could leave behind."""
    with reading(firm.service.app.engine) as sql:
        return [
            list(sql.execute(table.select()).all()) for table in (links, records, intents, conflicts, identity_keys)
        ]


def test_a_preview_writes_nothing_and_fits_80_columns(installation: Installation) -> None:
    with a_firm(installation) as firm:
        firm.write("crm.yaml", LINES)
        firm.sync()
        firm.edit_contact(Client_Number__c="C-17", Title="Partner")
        before = firm.org.writes(), firm.office.look("people"), stored(firm)
        found = previewing.preview(firm.service.app, "crm", f"Contact/{firm.contact}")
        again = previewing.preview(firm.service.app, "crm", firm.contact)
        assert again == found
        (office,) = found["systems"]
        assert (office["connection"], office["does"]) == ("office", "update")
        assert [(each["field"], each["after"]) for each in office["changes"]] == [
            ("client_number", "C-17"),
            ("title", "Partner"),
        ]
        assert office["sends"] == {"client_number": "C-17", "title": "Partner"}
        assert (firm.org.writes(), firm.office.look("people"), stored(firm)) == before
        for width in (80, 120):
            stream = io.StringIO()
            console = Console(file=stream, width=width, highlight=False)
            for part in wording.previewed(found, width):
                console.print(part)
            text = stream.getvalue()
            assert max(map(len, text.splitlines())) <= width
            assert "C-17" in text and "Partner" in text
        firm.sync()
        assert firm.person()["title"] == "Partner"
        assert firm.service.run("mapping", "preview", "crm", "nope").code == 3
        assert firm.service.run("mapping", "preview", "nope", "1").code == 3


def test_diff_shows_what_the_firm_changed_and_what_an_upgrade_changed_under_it(firm: Firm) -> None:
    run = firm.service.run
    assert "No connection has lines of the firm's own" in run("mapping", "diff").text
    firm.write("crm.yaml", LINES)
    firm.sync()
    shipped = {name: line for (resource, _, name), line in shipped_lines("salesforce").items() if resource == "Contact"}
    born, title = shipped["birth_date"], shipped["title"]
    shown = run("mapping", "diff", "crm")
    assert shown.code == 0
    assert f"birth_date (Contact -> person) crm.yaml:8 - {born.text} {born.where} + Date_of_Birth__c" in shown.text
    # As if the firm's lines had been written against an older version.
    with firm.service.app.engine.begin() as sql:
        noted = sql.execute(mapping_bases.select()).mappings().one()["shipped"]
        older = noted.replace(f"birth_date\\t{born.text}", "birth_date\\tBirthday__c")
        older = older.replace(f"title\\t{title.text}", "title\\tPosition")
        assert noted.count("Birthday__c") == 0 and older.count("Birthday__c") == older.count("Position") == 1
        sql.execute(update(mapping_bases).values(shipped=older))
    firm.sync()
    upgraded = run("mapping", "diff", "crm")
    assert upgraded.code == 1
    assert "an upgrade changed the shipped line under it; it said: Birthday__c" in upgraded.text
    assert f"an upgrade changed person.title, which you left alone: - Position + {title.text}" in upgraded.text
    assert run("mapping", "diff", "crm", "--seen").code == 0
    assert run("mapping", "diff", "crm").code == 0
    assert run("mapping", "diff", "nobody").code == 3

"""Fields of a vendor that vanish and come back: nothing is cleared by that, nothing is written into them, the rest goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from connectors.contract import VendorField
from mappings.differences import shipped_lines
from mappings.load import load
from syncd import connections, schemas
from syncd.connecting import open_connection
from syncd.status import status
from syncd.store.database import reading
from syncd.store.tables import schemas as schemas_table

if TYPE_CHECKING:
    from connectors.memory import MemoryVendor
    from tests.engine.office import Office

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

PLAIN = tuple(VendorField(name, name, "text") for name in load("memory").of("people")[0].vendor_fields)
TITLE = shipped_lines("memory")["people", "person", "title"].where
NUMBER = VendorField("custom[id=7].value", "Client number", "text", id="7", custom=True)
PICKED = """
overrides: memory
records:
  - resource: people
    kind: person
    fields:
      client_number: {path: "custom[id=7].value"}
"""
SLOTS = """
overrides: memory
records:
  - resource: people
    kind: person
    fields:
      phone: off
      phones:
        slots:
          - {label: work, path: phone_1}
          - {label: home, path: phone_2}
"""


def jane(**more: Any) -> dict[str, Any]:
    body = dict.fromkeys(("given_name", "family_name", "title", "birth_date", "client_number"))
    return body | {"given_name": "Jane", "family_name": "Doe", "email": "jane@example.com"} | more


def without(*names: str) -> tuple[VendorField, ...]:
    return tuple(field for field in PLAIN if field.path not in names)


def people(fields: tuple[VendorField, ...]) -> dict[str, tuple[VendorField, ...]]:
    return {"people": fields}


def drift(office: Office) -> list[dict[str, Any]]:
    return [each for row in status(office.app)["connections"] for each in row["drift"]]


def pair(office: Office, fields: tuple[VendorField, ...] = PLAIN, **how: Any) -> tuple[MemoryVendor, str]:
    """Two systems, of which `a` describes its fields, that agree about Jane."""
    vendor = office.vendor("a", fields=people(fields), describe_every_s=0.0, **how)
    office.vendor("b")
    office.only("people")
    id_ = office.new("a", jane(title="Partner"))
    office.settle()
    assert office.one("b")["title"] == "Partner"
    return vendor, id_


def test_a_vanished_field_is_cleared_nowhere_and_the_others_keep_syncing(office: Office) -> None:
    vendor, id_ = pair(office)
    vendor.admin_sets_fields("people", without("title"))
    office.edit("a", id_, {"given_name": "Janet"})
    office.settle()
    assert office.one("b") | {"updated_at": ""} == office.one("b") | {
        "given_name": "Janet", "title": "Partner", "updated_at": "",
    }  # fmt: skip
    assert "title" not in office.one("a")
    (told,) = drift(office)
    assert (told["change"], told["field"], told["lines"]) == ("gone", "title", [f"{TITLE} person.title"])
    assert "person.title is neither read nor written here" in told["effect"]
    assert "syncd connect inspect a --pin" in told["remedy"]


@pytest.mark.slow
def test_nothing_is_written_into_a_field_that_is_not_there(office: Office) -> None:
    vendor, _ = pair(office)
    vendor.admin_sets_fields("people", without("title"))
    (other,) = office.held("b")
    office.edit("b", other, {"title": "Chair", "family_name": "Roe"})
    office.settle()
    assert office.one("a")["family_name"] == "Roe"
    assert "title" not in office.one("a"), "the vendor would have refused the whole record"
    assert office.golden()["title"] == "Chair"


def test_a_field_that_comes_back_empty_is_filled_again_and_clears_nothing(office: Office) -> None:
    vendor, id_ = pair(office)
    vendor.admin_sets_fields("people", without("title"))
    office.settle()
    (other,) = office.held("b")
    office.edit("b", other, {"title": "Chair"})
    office.settle()
    vendor.admin_sets_fields("people", PLAIN)
    office.edit("a", id_, {"title": None})
    office.settle()
    assert office.one("b")["title"] == "Chair"
    assert office.one("a")["title"] == "Chair"
    assert drift(office) == []
    office.edit("a", id_, {"title": None})
    office.settle()
    assert office.one("b")["title"] is None, "from then on somebody who empties it means it"


@pytest.mark.slow
def test_what_stood_in_a_field_that_was_only_hidden_counts_as_before(office: Office) -> None:
    vendor, id_ = pair(office)
    vendor.admin_sets_fields("people", without("title"))
    office.settle()
    vendor.admin_sets_fields("people", PLAIN)
    office.edit("a", id_, {"title": "Of counsel"})
    office.settle()
    assert office.one("b")["title"] == "Of counsel"


def test_an_entry_of_a_list_that_goes_with_its_field_clears_nothing(office: Office) -> None:
    """The vendor leaves empty entries out, so only a look at its fields tells a cleared one from a vanished one."""
    fields = (*without("client_number"), NUMBER)
    vendor = office.vendor("a", mapping=PICKED, fields=people(fields), describe_every_s=86_400.0)
    office.vendor("b")
    office.only("people")
    id_ = office.new("a", jane(custom=[{"id": 7, "value": "C-1"}]))
    office.settle()
    assert office.one("b")["client_number"] == "C-1"
    vendor.admin_sets_fields("people", without("client_number"))
    office.edit("a", id_, {"custom": [], "title": "Partner"})
    office.settle()
    assert office.one("b")["client_number"] == "C-1"
    assert office.one("b")["title"] == "Partner"
    assert [each["change"] for each in drift(office)] == ["gone"]


@pytest.mark.slow
def test_an_entry_that_a_person_cleared_is_cleared_everywhere(office: Office) -> None:
    fields = (*without("client_number"), NUMBER)
    office.vendor("a", mapping=PICKED, fields=people(fields), describe_every_s=86_400.0)
    office.vendor("b")
    office.only("people")
    id_ = office.new("a", jane(custom=[{"id": 7, "value": "C-1"}]))
    office.settle()
    office.edit("a", id_, {"custom": []})
    office.settle()
    assert office.one("b")["client_number"] is None


@pytest.mark.slow
def test_a_set_is_off_while_one_of_its_slots_is_gone_and_goes_on_without_it_once_that_is_accepted(
    office: Office,
) -> None:
    slots = (VendorField("phone_1", "Phone", "text"), VendorField("phone_2", "Other phone", "text"))
    vendor = office.vendor(
        "a", mapping=SLOTS, fields=people((*without("phone", "phones"), *slots)), describe_every_s=0.0
    )
    office.vendor("b")
    office.only("people")
    id_ = office.new("a", jane(phone_1="(212) 555-0101", phone_2="(212) 555-0102"))
    office.settle()
    both = [each["value"] for each in office.one("b")["phones"]]
    assert both == ["(212) 555-0101", "(212) 555-0102"]

    vendor.admin_sets_fields("people", (*without("phone", "phones"), slots[0]))
    office.edit("a", id_, {"title": "Partner"})
    office.settle()
    assert [each["value"] for each in office.one("b")["phones"]] == both
    assert office.one("b")["title"] == "Partner"

    talking = open_connection(office.app, "a")
    assert schemas.look(office.app, office.app.world(), talking.connector, "a", "people", at_once=True, pin_by="ada")
    assert drift(office) == []
    office.settle()
    assert [each["value"] for each in office.one("b")["phones"]] == both
    office.edit("a", id_, {"phone_1": "(212) 555-0199"})
    office.settle()
    assert sorted(each["value"] for each in office.one("b")["phones"]) == ["(212) 555-0102", "(212) 555-0199"]


@pytest.mark.slow
def test_a_slot_that_never_was_there_takes_no_part(office: Office) -> None:
    only = VendorField("phone_1", "Phone", "text")
    vendor = office.vendor("a", mapping=SLOTS, fields=people((*without("phone", "phones"), only)), describe_every_s=0.0)
    office.vendor("b")
    office.only("people")
    office.new("a", jane(phone_1="(212) 555-0101"))
    office.settle()
    (other,) = office.held("b")
    phones = [*office.one("b")["phones"], {"value": "(212) 555-0102", "label": "home"}]
    office.edit("b", other, {"phones": phones})
    office.settle()
    assert "phone_2" not in office.one("a")
    assert office.one("a")["phone_1"] == "(212) 555-0101"
    assert len(office.one("b")["phones"]) == 2
    assert drift(office) == [], "no drift: it is as it was when it was pinned"
    assert not any(what.startswith("updated") for what in vendor.writes)


@pytest.mark.slow
def test_other_changes_of_a_field_are_told_until_somebody_accepts_them(office: Office) -> None:
    was = VendorField("title", "Title", "choice", values=("Partner", "Associate"))
    vendor, _ = pair(office, (*without("title", "prefix"), was, VendorField("prefix", "Prefix", "text")))
    now = VendorField("title", "Position", "choice", values=("Partner", "Counsel"))
    locked = VendorField("prefix", "Prefix", "number", writable=False)
    vendor.admin_sets_fields("people", (*without("title", "prefix"), now, locked))
    office.settle()
    told = {(each["field"], each["change"]): each for each in drift(office)}
    assert set(told) == {("title", "choices"), ("title", "renamed"), ("prefix", "retyped"), ("prefix", "locked")}
    assert told["title", "choices"]["what"] == "lost Associate; has new Counsel"
    assert told["title", "renamed"]["what"] == "is now called 'Position'"
    assert told["prefix", "retyped"]["what"] == "was text and is now number"
    for each in told.values():
        assert each["lines"] and each["effect"] and "syncd connect inspect a --pin" in each["remedy"]
    talking = open_connection(office.app, "a")
    schemas.look(office.app, office.app.world(), talking.connector, "a", "people", at_once=True, pin_by="ada")
    assert drift(office) == []
    with reading(office.app.engine) as sql:
        rows = sql.execute(select(schemas_table.c.resource, schemas_table.c.pinned_by)).all()
    assert ("people", "ada") in [tuple(row) for row in rows]


@pytest.mark.slow
def test_a_field_made_after_the_pin_is_no_drift_and_its_end_is(office: Office) -> None:
    vendor, _ = pair(office, without("suffix"))
    assert drift(office) == []
    vendor.admin_sets_fields("people", PLAIN)
    office.settle()
    assert drift(office) == []
    vendor.admin_sets_fields("people", without("suffix"))
    office.settle()
    assert [(each["field"], each["change"]) for each in drift(office)] == [("suffix", "gone")]


@pytest.mark.slow
def test_when_most_fields_are_gone_at_once_the_connection_stops(office: Office) -> None:
    """New people without names would be made in all other systems."""
    vendor, _ = pair(office)
    vendor.admin_sets_fields("people", PLAIN[:3])
    office.new("a", {"title": "Partner"})
    office.round()
    row = next(each for each in status(office.app)["connections"] if each["name"] == "a")
    assert row["mode"] == "stopped"
    assert "mapped fields of people are gone" in row["problem"]
    assert "syncd connect inspect a --pin" in row["remedy"]
    assert len(office.held("b")) == 1
    vendor.admin_sets_fields("people", PLAIN)
    connections.check(office.app, "a")
    office.settle()
    assert len(office.held("b")) == 2
    assert {body.get("family_name") for body in office.held("b").values()} == {"Doe", None}

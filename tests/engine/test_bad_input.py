"""What vendors and people send that nobody expected: it is taken in, or put aside with its reason, and stops nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from connectors.errors import MissingPermission, Refused
from syncd import aside, connections
from syncd.connections import CannotConnect
from syncd.store.database import reading
from syncd.store.tables import connections as connected
from syncd.store.tables import dead_letters, runs

if TYPE_CHECKING:
    from tests.engine.office import Office


def person(given: str = "Jane", family: str = "Doe", **more: Any) -> dict[str, Any]:
    mail = f"{given.lower()}@example.com"
    return {
        "given_name": given, "family_name": family, "title": None, "email": mail,
        "emails": [{"value": mail, "label": "work"}], **more,
    }  # fmt: skip


def letters(office: Office) -> list[dict[str, Any]]:
    with reading(office.app.engine) as sql:
        return [dict(row) for row in sql.execute(select(dead_letters)).mappings()]


def two(office: Office, **facts: Any) -> None:
    office.vendor("a")
    office.vendor("b", **facts)
    office.only("people")


def names(office: Office, system: str) -> set[str]:
    return {body["given_name"] for body in office.held(system).values()}


def test_a_field_that_cannot_be_read_puts_its_record_aside_and_no_other(office: Office) -> None:
    two(office)
    office.new("a", person(birth_date={"year": 1980}), id="j")
    office.new("a", person("Ravi", "Patel"), id="r")
    office.settle()
    assert names(office, "b") == {"Ravi"}
    (letter,) = letters(office)
    assert letter["vendor_id"] == "j"
    assert "birth_date" in letter["why"]
    assert "1980" not in letter["why"], "a reason quotes no value"
    assert letter["remedy"]
    with reading(office.app.engine) as sql:
        (run,) = [dict(row) for row in sql.execute(select(runs).where(runs.c.dead > 0)).mappings()]
    assert (run["pulled"], run["changed"], run["dead"]) == (2, 1, 1)
    office.edit("a", "j", {"birth_date": "1980-02-29"})
    office.settle()
    assert letters(office) == []
    assert names(office, "b") == {"Jane", "Ravi"}


def test_a_known_record_that_becomes_unreadable_keeps_its_last_good_values(office: Office) -> None:
    two(office)
    office.new("a", person(title="Partner", birth_date="1980-02-29"), id="j")
    office.settle()
    office.edit("a", "j", {"birth_date": 7, "title": "Counsel"})
    office.settle()
    assert [letter["vendor_id"] for letter in letters(office)] == ["j"]
    assert office.one("b")["title"] == "Partner"
    (b_id,) = office.held("b")
    office.edit("b", b_id, {"prefix": "Dr."})
    office.settle()
    office.edit("a", "j", {"birth_date": "1980-02-29"})
    office.settle()
    assert letters(office) == []
    assert (office.one("b")["title"], office.one("a")["prefix"]) == ("Counsel", "Dr.")


def test_a_record_that_is_deleted_leaves_the_dead_letters(office: Office) -> None:
    two(office)
    office.new("a", person("Ravi", "Patel"), id="r")
    office.new("a", person(birth_date=7), id="j")
    office.settle()
    assert letters(office)
    office.delete("a", "j")
    office.settle()
    assert letters(office) == []


def test_a_deleted_record_leaves_the_dead_letters_where_only_listings_show_deletions(office: Office) -> None:
    office.vendor("a", deletions="listing")
    office.only("people")
    office.new("a", person("Ravi", "Patel"), id="r")
    office.new("a", person(birth_date=7), id="j")
    office.settle()
    office.delete("a", "j")
    office.tick(3700)
    office.settle()
    assert letters(office) == []


def test_what_is_aside_is_read_again_when_a_person_asks(office: Office) -> None:
    two(office)
    office.new("a", person(birth_date=7), id="j")
    office.settle()
    assert aside.retry(office.app)["records"] == 1
    assert len(letters(office)) == 1


@pytest.mark.parametrize(
    "name",
    ["🙂🙃 Zoë", "x" * 100_000, 'O\'Brien "the" <b>\\', "line\nbreak", "\u202eevil", "a\u0301"],
    ids=["emoji", "100 kB", "quotes", "newline", "direction", "combining"],
)
def test_any_text_travels_and_does_not_come_back(office: Office, name: str) -> None:
    two(office)
    office.new("a", person(title=name), id="j")
    office.settle()
    assert office.one("b")["title"] == name
    assert office.round() == 0


def test_null_where_a_value_was_is_an_edit_and_a_missing_field_is_not(office: Office) -> None:
    two(office)
    office.new("a", person(title="Partner", prefix="Dr."), id="j")
    office.settle()
    office.edit("a", "j", {"title": None})
    office.settle()
    assert office.one("b")["title"] is None
    office.tick()
    kept = {name: value for name, value in office.held("a")["j"].items() if name != "prefix"}
    office.vendors["a"].person_creates("people", kept, "j")  # the same record, as a vendor shows it that drops a field
    office.settle()
    assert office.one("b")["prefix"] == "Dr."
    assert office.round() == 0


def test_a_first_value_in_a_field_that_was_missing_is_an_edit(office: Office) -> None:
    """The vendor leaves empty fields out: what people enter there later is newer than what others hold."""
    two(office, has=("ids", "create", "update", "delete", "find"), write_guard="none")
    office.new("a", person(), id="j")
    office.settle()
    (b_id,) = office.held("b")
    assert "title" not in office.held("b")[b_id]
    office.edit("a", "j", {"title": "Partner"})
    office.edit("b", b_id, {"title": "Counsel"})
    office.settle()
    assert office.one("a")["title"] == office.one("b")["title"] == "Counsel"


def test_fields_that_no_mapping_knows_are_left_alone(office: Office) -> None:
    two(office)
    office.new("a", person(shoe_size=43, nested={"x": [1, {"y": None}]}), id="j")
    office.settle()
    assert "shoe_size" not in office.one("b")
    (b_id,) = office.held("b")
    office.edit("b", b_id, {"title": "Partner"})
    office.settle()
    assert office.one("a")["shoe_size"] == 43
    assert office.one("a")["nested"] == {"x": [1, {"y": None}]}
    office.edit("a", "j", {"shoe_size": 44})
    assert office.settle() == 0


def test_a_refused_write_is_put_aside_with_its_remedy_and_tried_again_after_a_change(office: Office) -> None:
    two(office)
    office.new("a", person(), id="j")
    office.vendors["b"].fail_next_write("before", Refused("The last name is too long.", remedy="Shorten it."))
    office.settle()
    (intent,) = office.owed()
    assert (intent["state"], intent["why"], intent["remedy"]) == ("dead", "The last name is too long.", "Shorten it.")
    assert office.held("b") == {}
    office.edit("a", "j", {"title": "Partner"})
    office.settle()
    assert office.owed() == []
    assert names(office, "b") == {"Jane"}


def test_a_refused_write_is_tried_again_when_a_person_asks(office: Office) -> None:
    two(office)
    office.new("a", person(), id="j")
    office.vendors["b"].fail_next_write("before", Refused("Not now."))
    office.settle()
    assert aside.retry(office.app)["writes"] == 1
    office.settle()
    assert names(office, "b") == {"Jane"}


def test_one_refusal_in_a_batch_concerns_one_record(office: Office) -> None:
    """The batch goes out; one of its records was deleted in the vendor meanwhile, the others are written."""
    two(office, batch_max=20)
    people = [("Jane", "Doe"), ("Ravi", "Patel"), ("Mona", "Lindqvist")]
    for given, family in people:
        office.new("a", person(given, family), id=given)
    office.settle()
    there = {body["given_name"]: id for id, body in office.held("b").items()}
    for given, _ in people:
        office.edit("a", given, {"title": "Partner"})
    office.pull("a")
    office.delete("b", there["Ravi"])
    office.edit("b", there["Mona"], {"prefix": "Dr."})
    office.settle()
    assert {body["given_name"]: body["title"] for body in office.held("b").values()} == {
        "Jane": "Partner",
        "Mona": "Partner",
    }
    assert office.held("a")["Mona"]["prefix"] == "Dr."
    assert office.owed() == []


def test_a_connection_that_needs_a_person_stops_says_so_once_and_goes_on_after_a_check(office: Office) -> None:
    two(office)
    office.new("a", person(), id="j")
    office.vendors["b"].fail_next_write("before", MissingPermission("May not write people.", remedy="Give the role."))
    office.round()
    for _ in range(3):
        office.round()
    with reading(office.app.engine) as sql:
        (row,) = sql.execute(select(connected.c.problem, connected.c.remedy).where(connected.c.name == "b")).all()
        stops = sql.execute(select(runs).where(runs.c.activity == "stopped", runs.c.connection == "b")).all()
    assert row.problem == "May not write people."
    assert row.remedy.startswith("Give the role.")
    assert len(stops) == 1
    office.new("a", person("Ravi", "Patel"), id="r")
    office.round()
    assert len(office.goldens()) == 2, "the others go on"
    assert office.held("b") == {}
    connections.check(office.app, "b")
    office.tick(60)
    office.settle()
    assert names(office, "b") == {"Jane", "Ravi"}


def test_the_same_account_cannot_be_connected_twice(office: Office) -> None:
    vendor = office.vendor("a")
    with pytest.raises(CannotConnect, match="already connected as 'a'"):
        connections.add(office.app, "again", "memory", {"vendor": vendor.account.label}, live=True)
    assert set(office.app.world().members) == {"a"}
    assert {turn["connection"] for turn in office.turns()} == {"a"}


def test_a_list_where_a_text_belongs_is_put_aside(office: Office) -> None:
    office.vendor("a")
    office.only("people")
    office.new("a", person(title=["a", "list"]), id="j")
    office.settle()
    (letter,) = letters(office)
    assert "title" in letter["why"]

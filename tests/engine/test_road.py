"""The road end to end between memory vendors: what people of one system enter arrives in the others, once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from syncd import once, stewards

if TYPE_CHECKING:
    from tests.engine.office import Office


def jane(**more: Any) -> dict[str, Any]:
    return {
        "given_name": "Jane", "family_name": "Doe", "title": None, "email": "jane@example.com",
        "emails": [{"value": "jane@example.com", "label": "work"}], **more,
    }  # fmt: skip


def test_a_new_person_arrives_everywhere_once(office: Office) -> None:
    for name in "abc":
        office.vendor(name)
    office.new("a", jane())
    assert office.settle() <= 2
    for name in "bc":
        assert office.one(name)["given_name"] == "Jane"
        assert office.one(name)["emails"] == [{"value": "jane@example.com", "label": "work"}]
    assert office.writes() == 2
    for _ in range(3):
        assert office.round() == 0


def test_an_edit_travels_and_does_not_come_back(office: Office) -> None:
    for name in "abc":
        office.vendor(name)
    office.new("a", jane(), id="j")
    office.settle()
    before = office.writes()
    b_id = next(iter(office.held("b")))
    office.edit("b", b_id, {"title": "Partner"})
    office.settle()
    assert [office.one(name)["title"] for name in "abc"] == ["Partner"] * 3
    assert office.writes() - before == 2


def test_the_same_person_in_two_systems_is_joined_and_blanks_are_filled(office: Office) -> None:
    office.vendor("a")
    office.vendor("b")
    office.new("a", jane(title="Counsel"))
    office.new("b", jane(phone="(212) 555-0100", phones=[{"value": "(212) 555-0100", "label": "work"}]))
    office.settle()
    assert len(office.goldens()) == 1
    assert office.one("b")["title"] == "Counsel"
    assert office.one("a")["phones"][0]["value"] == "(212) 555-0100"


def test_at_first_meeting_the_firms_order_decides_and_the_loser_is_kept(office: Office) -> None:
    office.vendor("a")
    office.vendor("b")
    office.new("b", jane(title="Associate"))
    office.new("a", jane(title="Partner"))
    office.settle()
    assert office.one("b")["title"] == "Partner"
    (decided,) = stewards.list_conflicts(office.app, state="decided")
    assert decided["field"] == "title"
    assert [each["value"] for each in decided["others"]] == ["Associate"]


def test_two_edits_in_one_moment_wait_for_a_person(office: Office) -> None:
    office.vendor("a")
    office.vendor("b")
    office.new("a", jane(title="Partner"), id="j")
    office.settle()
    b_id = next(iter(office.held("b")))
    office.edit("a", "j", {"title": "Counsel"})
    office.edit("b", b_id, {"title": "Of counsel"}, after_s=1)
    office.settle()
    assert office.one("a")["title"] == "Counsel"
    assert office.one("b")["title"] == "Of counsel"
    (conflict,) = stewards.list_conflicts(office.app)
    stewards.settle_conflict(office.app, conflict["id"], take="a", by="test")
    office.settle()
    assert office.one("a")["title"] == office.one("b")["title"] == "Counsel"
    assert stewards.list_conflicts(office.app) == []


def test_a_later_edit_wins_over_an_earlier_one(office: Office) -> None:
    office.vendor("a")
    office.vendor("b")
    office.new("a", jane(title="Partner"), id="j")
    office.settle()
    b_id = next(iter(office.held("b")))
    office.edit("b", b_id, {"title": "Of counsel"})
    office.edit("a", "j", {"title": "Counsel"}, after_s=60)
    office.settle()
    assert office.one("b")["title"] == "Counsel"


def test_sets_take_additions_and_removals_from_both_sides(office: Office) -> None:
    office.vendor("a")
    office.vendor("b")
    office.new("a", jane(), id="j")
    office.settle()
    b_id = next(iter(office.held("b")))
    office.edit(
        "a",
        "j",
        {"emails": [{"value": "jane@example.com", "label": "work"}, {"value": "jd@example.org", "label": "home"}]},
    )
    office.edit(
        "b",
        b_id,
        {"emails": [{"value": "jane@example.com", "label": "work"}, {"value": "j3@example.net", "label": "other"}]},
    )
    office.settle()
    for name in "ab":
        assert sorted(each["value"] for each in office.one(name)["emails"]) == [
            "j3@example.net",
            "jane@example.com",
            "jd@example.org",
        ]
    office.edit("a", "j", {"emails": [{"value": "j3@example.net", "label": "other"}]})
    office.settle()
    assert [each["value"] for each in office.one("b")["emails"]] == ["j3@example.net"]


def test_a_deletion_reverts_nothing_and_is_not_undone(office: Office) -> None:
    for name in "abc":
        office.vendor(name)
    office.new("a", jane(title="Partner"), id="j")
    office.settle()
    b_id = next(iter(office.held("b")))
    office.edit("b", b_id, {"title": "Counsel"})
    office.settle()
    office.delete("b", b_id)
    office.settle()
    assert office.held("b") == {}
    assert office.one("a")["title"] == office.one("c")["title"] == "Counsel"


def test_cascading_deletion_is_a_policy_and_an_edit_beats_it(office: Office) -> None:
    import dataclasses

    office.firm = dataclasses.replace(office.firm, deletions="cascade")
    office.restart()
    office.vendor("a")
    office.vendor("b")
    office.new("a", jane(), id="j")
    office.new(
        "a",
        jane(given_name="Ann", email="ann@example.com", emails=[{"value": "ann@example.com", "label": "work"}]),
        id="k",
    )
    office.settle()
    b_ids = {body["given_name"]: id for id, body in office.held("b").items()}
    office.delete("a", "j")
    office.delete("b", b_ids["Ann"])
    office.edit("a", "k", {"title": "Partner"})
    office.settle()
    assert office.held("b") == {}
    assert list(office.held("a")) == ["k"]


def test_many_deletions_at_once_cascade_only_when_a_person_says_so(office: Office) -> None:
    import dataclasses

    office.firm = dataclasses.replace(office.firm, deletions="cascade")
    office.restart()
    office.vendor("a")
    office.vendor("b")
    office.only("people")
    for n in range(30):
        mail = f"p{n}@example.com"
        office.new("a", jane(given_name=f"P{n}", email=mail, emails=[{"value": mail, "label": "work"}]), id=str(n))
    office.settle()
    assert len(office.held("b")) == 30
    for n in range(26):
        office.delete("a", str(n))
    office.edit("a", "29", {"title": "Partner"})
    office.settle()
    assert len(office.held("b")) == 30, "nothing was deleted"
    assert [body["given_name"] for body in office.held("b").values() if body.get("title") == "Partner"] == ["P29"]
    held = [row for row in office.owed() if row["state"] == "held"]
    assert len(held) == 26
    assert "26 of 30 people would be deleted" in held[0]["why"]
    assert "--accept-deletions" in held[0]["remedy"]
    once.sync_once(office.app, "b", "people", accept_deletions=True)
    assert sorted(body["given_name"] for body in office.held("b").values()) == ["P26", "P27", "P28", "P29"]
    assert not [row for row in office.owed() if row["state"] == "held"]


def test_a_company_is_made_before_the_person_who_works_there(office: Office) -> None:
    office.vendor("a")
    office.vendor("b")
    office.new("a", jane(company="acme"))
    office.new("a", {"name": "Acme LLC"}, resource="companies", id="acme")
    office.settle()
    (b_company,) = office.held("b", "companies")
    assert office.one("b")["company"] == b_company


def test_un_merging_gives_both_back_and_takes_back_what_was_copied(office: Office) -> None:
    office.vendor("a")
    office.vendor("b")
    office.new("a", jane(title="Partner"), id="j")
    office.new("b", jane(client_number="77"), id="k")
    office.settle()
    assert office.one("b")["title"] == "Partner"
    stewards.split(office.app, "b", "people", "k", by="test")
    office.settle()
    mine = {name: office.held(name) for name in "ab"}
    assert mine["a"]["j"]["title"] == "Partner"
    assert mine["a"]["j"].get("client_number") is None
    assert mine["b"]["k"].get("title") is None
    assert mine["b"]["k"]["client_number"] == "77"


def test_an_invoice_changes_the_billed_total_of_its_matters_opportunity(office: Office) -> None:
    office.vendor("a")
    office.vendor("b")
    office.new("a", {"number": "00012-Doe", "name": "Doe v. Roe", "status": "open"}, resource="matters", id="m")
    office.new("b", {"name": "Doe", "stage": "Won", "matter_number": "00012-Doe"}, resource="opportunities", id="o")
    office.settle()
    assert office.held("b", "opportunities")["o"]["billed_total"] == "0"
    office.new(
        "a",
        {"number": "1", "matter": "m", "status": "issued", "total": "750.00", "currency": "USD"},
        resource="invoices",
        id="i",
    )
    office.settle()
    assert office.held("b", "opportunities")["o"]["billed_total"] == "750"
    office.edit("a", "i", {"status": "void"}, resource="invoices")
    office.settle()
    assert office.held("b", "opportunities")["o"]["billed_total"] == "0"


@pytest.mark.slow
def test_automations_that_fight_over_a_field_are_stopped_by_name(office: Office) -> None:
    """Two vendors each put their own word back a moment after ours: after the third turn the field waits for a person."""
    for name in "ab":
        office.vendor(name)
    office.new("a", jane(title="Attorney"), id="j")
    office.settle()
    b_id = next(iter(office.held("b")))
    office.edit("b", b_id, {"title": "Lawyer"})
    wrote = 0
    for _ in range(12):
        wrote += office.round()
        if office.one("a")["title"] != "Attorney":
            office.edit("a", "j", {"title": "Attorney"})
        elif office.one("b")["title"] != "Lawyer":
            office.edit("b", b_id, {"title": "Lawyer"})
    (conflict,) = stewards.list_conflicts(office.app)
    assert (conflict["field"], conflict["reason"]) == ("title", "flip")
    assert wrote <= 4
    assert office.round() == 0
    stewards.settle_conflict(office.app, conflict["id"], value="Counsel", by="test")
    office.settle()
    assert office.one("a")["title"] == office.one("b")["title"] == "Counsel"

"""A mapping without the places that are not there: the lines that use them are off, all others stay what they were."""

from __future__ import annotations

import pytest

from mappings.language import parse
from mappings.load import compiled, load_plan
from mappings.places import is_there, narrowed, places, value_in

PLAN = parse(
    """
connector: memory
records:
  - resource: people
    kind: person
    fields:
      given_name: first
      title: {path: job.title, unless: hidden}
      email: {primary: emails}
      emails: {list: mails, value: address, primary: {position: first}, loses: labels}
      phones:
        slots:
          - {label: work, path: phone_1}
          - {label: home, path: phone_2}
        others: home
      client_number: {path: "custom[id=7].value"}
  - resource: companies
    kind: organisation
    fields: {name: first}
""",
    "own.yaml",
)


def test_every_line_tells_its_places_and_where_it_stands() -> None:
    found = [(place.field, place.path, place.where) for place in places(PLAN)]
    assert found == [
        ("given_name", "first", "own.yaml:7"),
        ("title", "job.title", "own.yaml:8"),
        ("title", "hidden", "own.yaml:8"),
        ("email", "mails", "own.yaml:9"),
        ("emails", "mails", "own.yaml:10"),
        ("phones", "phone_1", "own.yaml:11"),
        ("phones", "phone_2", "own.yaml:11"),
        ("client_number", "custom[id=7].value", "own.yaml:16"),
        ("name", "first", "own.yaml:19"),
    ]
    assert [place.field for place in places(PLAN) if place.kept_apart] == ["client_number"]


@pytest.mark.parametrize(
    ("off", "lost"),
    [
        ({"first": True}, {"given_name"}),
        ({"job.title": True}, {"title"}),
        ({"hidden": True}, {"title"}),
        ({"mails": True}, {"email", "emails"}),
        ({"phone_2": True}, {"phones"}),
        ({"phone_2": False}, set()),
        ({"phone_1": False, "phone_2": False}, {"phones"}),
        ({"custom[id=7].value": False}, {"client_number"}),
        ({}, set()),
    ],
)
def test_a_line_is_off_with_its_place(off: dict[str, bool], lost: set[str]) -> None:
    whole = compiled(PLAN).of("people")[0]
    left = compiled(narrowed(PLAN, {"people": off})).of("people")[0]
    assert set(whole.lines) - set(left.lines) == lost
    assert (left.fingerprint == whole.fingerprint) is (not off)
    body = {"first": "Ana", "job": {"title": "Partner"}, "mails": [], "custom": [{"id": 7, "value": "C-1"}]}
    assert not lost & left.get(body).keys()
    wanted = {"given_name": "Anna", "title": "Chair", "client_number": "C-2"}
    assert left.put({k: v for k, v in wanted.items() if k in left.lines}, body).keys() == {
        part
        for name, part in (("given_name", "first"), ("title", "job"), ("client_number", "custom"))
        if name not in lost
    }
    assert compiled(narrowed(PLAN, {"people": off})).of("companies")[0].lines.keys() == {"name"}


def test_a_set_goes_on_without_a_slot_that_never_was_there() -> None:
    left = compiled(narrowed(PLAN, {"people": {"phone_2": False}})).of("people")[0]
    assert [item["value"] for item in left.get({"phone_1": "(212) 555-0101", "phone_2": "x"})["phones"].values()] == [
        "(212) 555-0101"
    ]
    phones = {"+12125550101": {"value": "(212) 555-0101", "label": "home"}}
    assert left.put({"phones": phones}, {"phone_1": None}) == {}, "a home number finds no room"


def test_a_place_is_there_with_its_field_or_inside_one() -> None:
    known = ("Title", "company", "matters", "custom[id=7].value")
    assert all(is_there(path, known) for path in ("Title", "company.name", "matters[0]", "custom[id=7].value"))
    assert not any(is_there(path, known) for path in ("Titl", "Titles", "companyname", "custom[id=8].value", "custom"))


def test_a_value_is_found_at_its_place() -> None:
    body = {"job": {"title": "Partner"}, "custom": [{"id": 7, "value": "C-1"}], "flat": 1}
    found = [
        value_in(path)(body) for path in ("job.title", "custom[id=7].value", "custom[id=8].value", "none", "flat.x")
    ]
    assert found == ["Partner", "C-1", None, None, None]


def test_narrowing_by_nothing_is_the_same_plan() -> None:
    plan = load_plan("clio")
    assert narrowed(plan, {}) is plan
    assert narrowed(plan, {"contacts": {}}) is plan

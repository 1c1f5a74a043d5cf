"""The forms of a line beside paths, lists and slots: custom fields, constants, conditions, amounts, tables, authority."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import mappings
from mappings.flows import authorities, forbidden
from mappings.load import MappingError, RecordMapping, Unreadable, load, load_text

JSON = dict[str, Any]
CLIO = (Path(mappings.__path__[0]) / "clio.yaml").read_text(encoding="utf-8")


def of(kind: str, *lines: str, head: str = "", **given: Any) -> RecordMapping:
    """A mapping of one record with these lines; `head` holds more words of the record, each with its line break."""
    text = f"connector: acme\nrecords:\n  - resource: things\n    kind: {kind}\n    creates: yes\n{head}    fields:\n"
    return load_text(text + "".join(f"      {line}\n" for line in lines), "acme.yaml", **given).mappings[0]


# --- custom fields -------------------------------------------------------------------------------------------------

CUSTOM = "    custom fields: {list: values, name: field_name, id: field.id, value: value}\n"
CLIENT_NUMBER = "client_number: {custom: Client number, id: 4711}"


def entry(id: Any, name: str, value: Any) -> JSON:
    return {"id": f"text_line-{id}", "field_name": name, "field": {"id": id}, "value": value}


def test_a_custom_field_is_found_by_its_id_whatever_its_position() -> None:
    mapping = of("person", CLIENT_NUMBER, head=CUSTOM)
    body = {"values": [entry(1, "Shoe size", "44"), entry(4711, "Client number", "C-17")]}
    assert mapping.get(body) == {"client_number": "C-17"}
    assert mapping.put({"client_number": "C-18"}, body) == {
        "values": [entry(1, "Shoe size", "44"), entry(4711, "Client number", "C-18")]
    }
    assert mapping.get({"values": []}) == {}, "the field itself may be gone, which is never read as empty"
    assert mapping.get({"values": None}) == {}
    assert mapping.get({"values": [entry(4711, "Client number", None)]}) == {"client_number": None}
    assert mapping.put({"client_number": "C-1"}, None) == {"values": [{"field": {"id": 4711}, "value": "C-1"}]}
    assert mapping.customs[0].name == "Client number"


def test_where_the_account_is_seen_to_have_the_field_no_entry_means_empty() -> None:
    unseen = of("person", CLIENT_NUMBER, head=CUSTOM)
    mapping = of("person", CLIENT_NUMBER, head=CUSTOM, seen={"things": {"Client number": 4711}})
    assert mapping.get({"values": []}) == {"client_number": None}
    assert mapping.get({}) == {}
    assert mapping.fingerprint != unseen.fingerprint


def test_a_renamed_custom_field_goes_on_by_its_id() -> None:
    mapping = of("person", CLIENT_NUMBER, head=CUSTOM)
    body = {"values": [entry(4711, "Number of the client", "C-17")]}
    assert mapping.get(body) == {"client_number": "C-17"}
    assert mapping.put({"client_number": "C-18"}, body)["values"][0]["value"] == "C-18"


def test_a_name_that_leads_to_another_id_stops_the_line_and_nothing_is_written() -> None:
    mapping = of("person", CLIENT_NUMBER, "title: title", head=CUSTOM)
    body = {"title": "Counsel", "values": [entry(4712, "Client number", "something else")]}
    assert mapping.get(body) == {"title": "Counsel"}, "no statement: never read as empty"
    assert mapping.put({"client_number": "C-18", "title": "Partner"}, body) == {"title": "Partner"}
    both = {"values": [entry(4711, "Old number", "C-17"), entry(4712, "Client number", "something else")]}
    assert mapping.get(both) == {}
    assert mapping.put({"client_number": None}, both) == {}


def test_the_pin_can_come_from_the_accounts_pinned_fields() -> None:
    line = "client_number: {custom: Client number}"
    mapping = of("person", line, head=CUSTOM, pins={"things": {"Client number": "4711"}})
    assert mapping.get({"values": [entry(4711, "Client number", "C-17")]}) == {"client_number": "C-17"}
    other = of("person", line, head=CUSTOM, pins={"things": {"Client number": 4712}})
    assert other.fingerprint != mapping.fingerprint
    with pytest.raises(MappingError, match=r"acme.yaml:8: custom: 'Client number' is not pinned to an id"):
        of("person", line, head=CUSTOM)


@pytest.mark.parametrize(
    ("seen", "stops", "what"),
    [
        ({"Client number": 4711}, None, ""),
        ({"Client number": 4712}, True, "now has the id 4712, pinned was 4711"),
        ({"Shoe size": 1}, True, "is gone"),
        ({}, True, "is gone"),
        ({"Number of the client": 4711}, False, "is now called 'Number of the client'"),
        ({"Number of the client": 4711, "Client number": 4712}, True, "now has the id 4712"),
    ],
)
def test_drift_of_a_custom_field_is_told_and_stops_that_line_alone(
    seen: dict[str, int], stops: bool | None, what: str
) -> None:
    mapping = of("person", CLIENT_NUMBER, "title: title", head=CUSTOM, seen={"things": seen})
    assert "title" in mapping.lines
    assert ("client_number" in mapping.lines) == (not stops)
    if stops is None:
        assert mapping.drift == ()
        return
    (drift,) = mapping.drift
    assert (drift.field, drift.where, drift.stops) == ("client_number", "acme.yaml:8", stops)
    assert what in drift.what
    assert str(drift).startswith("acme.yaml:8: person.client_number: the custom field ")


def test_a_custom_field_in_clios_shape() -> None:
    own = (
        "overrides: clio\nrecords:\n  - resource: contacts\n    kind: person\n    fields:\n"
        "      client_number: {custom: Client number, id: 2}\n"
    )
    mapping = load_text(CLIO, "clio.yaml", override=(own, "own.yaml")).mappings[0]
    body = {"type": "Person", "custom_field_values": [{"id": "text_line-1", "value": "x", "custom_field": {"id": 2}}]}
    assert mapping.get(body) == {"client_number": "x"}
    written = mapping.put({"client_number": "y"}, body)
    assert written["custom_field_values"] == [{"id": "text_line-1", "value": "y", "custom_field": {"id": 2}}]


# --- constants and conditions ----------------------------------------------------------------------------------------


def test_a_constant_is_read_and_never_written() -> None:
    mapping = of("invoice", "currency: {constant: USD}", "status: {constant: issued}", "total: {path: sum}")
    assert mapping.get({}) == {"currency": "USD", "status": "issued"}
    assert mapping.put({"currency": "EUR", "status": "void"}, {"sum": 1}) == {}
    assert mapping.put({"currency": "EUR", "total": "2"}, None) == {"sum": 2}
    assert mapping.lines["currency"].direction == "in"
    assert mapping.vendor_fields == ("sum",)


def test_a_line_with_a_condition_speaks_only_where_it_holds() -> None:
    mapping = of(
        "person",
        "title: {path: job, when: {kind: [lawyer, null]}}",
        "suffix: {path: rank, when: {kind: soldier, active: true}}",
    )
    assert mapping.get({"kind": "lawyer", "job": "Partner", "rank": "x"}) == {"title": "Partner"}
    assert mapping.get({"job": "Partner"}) == {"title": "Partner"}
    assert mapping.get({"kind": "soldier", "active": True, "job": "x", "rank": "II"}) == {"suffix": "II"}
    assert mapping.put({"title": "A", "suffix": "B"}, {"kind": "soldier", "active": True}) == {"rank": "B"}
    assert mapping.put({"title": "A", "suffix": "B"}, {"kind": "soldier", "active": False}) == {}
    assert set(mapping.vendor_fields) == {"job", "kind", "rank", "active"}


def test_in_a_new_record_a_condition_is_held_against_what_every_new_record_gets() -> None:
    mapping = of(
        "person",
        "title: {path: job, when: {type: lawyer}}",
        "suffix: {path: rank, when: {type: soldier}}",
        head="    on create: {type: lawyer}\n",
    )
    assert mapping.put({"title": "A", "suffix": "B"}, None) == {"job": "A", "type": "lawyer"}


# --- values ----------------------------------------------------------------------------------------------------------


def test_a_text_can_be_kept_as_one_of_the_vendors_words() -> None:
    mapping = of("organisation", "industry: {path: sector, values: {Legal: [L, LAW], Energy: E}, else: nothing}")
    assert mapping.get({"sector": "LAW"}) == {"industry": "Legal"}
    assert mapping.get({"sector": "Z"}) == {}
    assert mapping.put({"industry": "Energy"}, {"sector": "L"}) == {"sector": "E"}
    assert mapping.put({"industry": "Legal"}, {"sector": "LAW"}) == {}
    assert mapping.put({"industry": "Banking"}, {"sector": "L"}) == {}, "no word for it, so no room"
    assert mapping.put({"industry": None}, {"sector": "L"}) == {"sector": None}


def test_dates_and_instants_meet_as_declared() -> None:
    mapping = of("matter", "opened_on: {path: at, as: instant}")
    assert mapping.get({"at": "2026-11-20T17:05:00Z"}) == {"opened_on": "2026-11-20"}
    assert mapping.put({"opened_on": "2026-11-20"}, {"at": "2026-11-20T17:05:00Z"}) == {}, "the time of day stays"
    assert mapping.put({"opened_on": "2026-11-21"}, {"at": "2026-11-20T17:05:00Z"}) == {"at": "2026-11-21T00:00:00Z"}


def test_a_transform_reads_and_writes_a_value() -> None:
    mapping = of("person", "birth_date: {path: born, transform: us_date}")
    assert mapping.get({"born": "1/2/1980"}) == {"birth_date": "1980-01-02"}
    assert mapping.put({"birth_date": "1980-01-02"}, {"born": "1/2/1980"}) == {}, "the same date in another spelling"
    assert mapping.put({"birth_date": "1980-02-29"}, {"born": "1/2/1980"}) == {"born": "02/29/1980"}
    assert mapping.put({"birth_date": None}, {"born": "1/2/1980"}) == {"born": None}
    with pytest.raises(Unreadable, match="birth_date: the transform us_date cannot read it") as caught:
        mapping.get({"born": "soon"})
    assert "soon" not in str(caught.value)


# --- amounts ---------------------------------------------------------------------------------------------------------


def test_an_amount_in_another_currency_is_refused_not_written() -> None:
    mapping = of("opportunity", "amount: {path: sum, currency: unit}", "currency: {path: unit, direction: in}")
    body = {"sum": 10, "unit": "USD"}
    assert mapping.put({"amount": "20", "currency": "usd"}, body) == {"sum": 20}
    assert mapping.put({"amount": "10", "currency": "EUR"}, body) == {}, "nothing is written, so nothing is wrong"
    with pytest.raises(Unreadable, match="another currency"):
        mapping.put({"amount": "20", "currency": "EUR"}, body)
    assert mapping.put({"amount": None, "currency": "EUR"}, body) == {"sum": None}
    assert mapping.lines["amount"].companions == ("currency",)


def test_a_currency_that_changes_with_the_amount_is_no_mismatch() -> None:
    mapping = of("opportunity", "amount: {path: sum, currency: unit}", "currency: unit")
    assert mapping.put({"amount": "20", "currency": "EUR"}, {"sum": 10, "unit": "USD"}) == {"sum": 20, "unit": "EUR"}


def test_an_account_of_one_currency_takes_no_other() -> None:
    mapping = of("opportunity", "amount: {path: sum, currency: {always: CAD}}")
    assert mapping.put({"amount": "20", "currency": "CAD"}, None) == {"sum": 20}
    with pytest.raises(Unreadable, match="another currency"):
        mapping.put({"amount": "20", "currency": "USD"}, None)
    created = of("opportunity", "amount: {path: sum, currency: unit}", head="    on create: {unit: USD}\n")
    with pytest.raises(Unreadable, match="another currency"):
        created.put({"amount": "20", "currency": "EUR"}, None)


# --- between connections ---------------------------------------------------------------------------------------------


def test_authorities_are_found_and_two_of_them_are_an_error_at_a_line() -> None:
    text = "connector: {}\nrecords:\n  - resource: r\n    kind: person\n    fields:\n      title: {{path: t, authority: {}}}\n"
    clio, crm, mail = (
        load_text(text.format(name, claim), f"{name}.yaml")
        for name, claim in (("clio", "yes"), ("crm", "yes"), ("mail", "no"))
    )
    assert authorities({"a": clio, "c": mail}) == ({"person": {"title": "a"}}, ())
    found, (clash,) = authorities({"a": clio, "b": crm, "c": mail})
    assert found == {"person": {"title": "a"}}
    assert clash.connections == ("a", "b")
    assert clash.error.startswith("crm.yaml:6: person.title: two authorities: b here and a at clio.yaml:6;")


def test_a_class_that_may_not_enter_a_zone_is_named_with_its_line() -> None:
    clio = load("clio")
    assert forbidden(clio, "practice", {"public", "contact", "business", "financial", "narrative"}) == ()
    wrong = forbidden(clio, "marketing", {"public", "contact", "business", "financial"})
    assert len(wrong) == 1
    line = 1 + [each.strip() for each in CLIO.splitlines()].index("narrative: note")
    assert wrong[0].startswith(
        f"clio.yaml:{line}: time_entry.narrative is narrative, which may not enter the zone marketing"
    )

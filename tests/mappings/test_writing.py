"""What mappings make of real shapes: lists, primary flags, slots, tables, references, names, lengths."""

from __future__ import annotations

from typing import Any

import pytest

from mappings.load import RecordMapping, Unreadable, load, load_text

JSON = dict[str, Any]


def clio_person() -> RecordMapping:
    return load("clio").of("contacts")[0]


def salesforce_contact() -> RecordMapping:
    return load("salesforce").of("Contact")[0]


def a_clio_contact(**more: Any) -> JSON:
    return {
        "id": 1,
        "etag": '"a"',
        "type": "Person",
        "first_name": "Jane",
        "last_name": "Doe",
        "updated_at": "2026-05-01T12:00:00-07:00",
        "email_addresses": [
            {"id": 1, "address": "Jane@X.org", "name": "Work", "primary": False, "etag": "e1"},
            {"id": 2, "address": "j@home.example", "name": "Home", "primary": True},
        ],
        "phone_numbers": [{"id": 3, "number": "(212) 555-0100", "name": "Mobile", "primary": True}],
        "addresses": [],
        "company": {"id": 7, "name": "Acme"},
        **more,
    }


def test_a_contact_reads_as_values() -> None:
    assert clio_person().get(a_clio_contact()) == {
        "given_name": "Jane",
        "family_name": "Doe",
        "email": "j@home.example",
        "emails": {
            "jane@x.org": {"value": "Jane@X.org", "label": "work"},
            "j@home.example": {"value": "j@home.example", "label": "home"},
        },
        "phone": "(212) 555-0100",
        "phones": {"+12125550100": {"value": "(212) 555-0100", "label": "mobile"}},
        "addresses": {},
        "organisation": "contacts:7",
    }


def test_the_modified_time_sorts_as_text() -> None:
    mapping = clio_person()
    assert mapping.modified_at(a_clio_contact()) == "2026-05-01T19:00:00.000000Z"
    assert mapping.modified_at({"updated_at": None}) is None
    assert mapping.modified_at({"updated_at": "yesterday"}) is None
    assert load("salesforce").mappings[0].modified_at({"SystemModstamp": "2021-12-02T18:25:25.000+0000"}) == (
        "2021-12-02T18:25:25.000000Z"
    )
    assert load("carddav").mappings[0].modified_at({"rev": "20261120T101500Z"}) == "2026-11-20T10:15:00.000000Z"


def test_a_list_keeps_ids_and_unknown_data_of_what_stays() -> None:
    changes = clio_person().put(
        {"emails": {"jane@x.org": {"value": "jane@x.org", "label": "other"}, "new@x.org": {"value": "new@x.org"}}},
        a_clio_contact(),
    )
    assert changes == {
        "email_addresses": [
            {"id": 1, "address": "Jane@X.org", "name": "Other", "primary": False, "etag": "e1"},
            {"address": "new@x.org"},
        ]
    }


def test_choosing_another_primary_moves_the_flag() -> None:
    changes = clio_person().put({"email": "JANE@x.org"}, a_clio_contact())
    assert [entry["primary"] for entry in changes["email_addresses"]] == [True, False]
    assert clio_person().put({"email": "J@HOME.example"}, a_clio_contact()) == {}


def test_a_new_primary_joins_the_list() -> None:
    mapping, body = clio_person(), a_clio_contact()
    changes = mapping.put({"email": "third@x.org"}, body)
    assert [entry["address"] for entry in changes["email_addresses"]] == ["Jane@X.org", "j@home.example", "third@x.org"]
    wanted = {"email": "third@x.org", "emails": {"jane@x.org": {"value": "jane@x.org"}}}
    assert mapping.render(wanted, body)["emails"].keys() == {"jane@x.org", "third@x.org"}
    assert mapping.lines["email"].companions == ("emails",)
    assert mapping.lines["emails"].companions == ("email",)


def test_flags_that_are_read_and_written_under_two_names() -> None:
    mapping = load_text(
        "connector: acme\nrecords:\n  - resource: r\n    kind: person\n    fields:\n      email: {primary: emails}\n"
        "      emails: {list: mails, value: a, primary: {read: primary, write: make_primary},"
        " loses: labels}\n",
        "acme.yaml",
    ).mappings[0]
    body = {"mails": [{"a": "x@x.org", "primary": True}, {"a": "y@y.org", "primary": False}]}
    changes = mapping.put({"email": "y@y.org"}, body)
    assert changes == {"mails": [{"a": "x@x.org", "make_primary": False}, {"a": "y@y.org", "make_primary": True}]}
    assert mapping.get({**body, **changes})["email"] == "y@y.org"


def test_a_reference_is_written_whole_and_only_to_its_own_resource() -> None:
    mapping, body = clio_person(), a_clio_contact()
    assert mapping.put({"organisation": "contacts:9"}, body) == {"company": {"id": 9}}
    assert mapping.put({"organisation": "Account:001"}, body) == {}
    assert mapping.put({"organisation": None}, body) == {}, "Clio takes no null there"
    assert mapping.render({"organisation": None}, body) == {"organisation": "contacts:7"}


def test_a_reference_by_key() -> None:
    mapping = load("salesforce").of("Opportunity")[0]
    body = {"Matter_Number__c": "00012-Smith", "AccountId": "001A", "Billed_Total__c": 10.5}
    assert mapping.get(body) == {
        "matter": "?matter.number=00012-Smith",
        "client": "Account:001A",
        "billed_total": "10.5",
    }
    assert mapping.put({"matter": "?matter.number=00013-Roe", "billed_total": "750.00"}, body) == {
        "Matter_Number__c": "00013-Roe",
        "Billed_Total__c": 750,
    }
    assert mapping.put({"billed_total": "10.50"}, body) == {}
    assert mapping.lines["billed_total"].direction == "out"


def test_slots_keep_what_they_hold_while_it_is_wanted() -> None:
    mapping = salesforce_contact()
    body = {"Phone": "212-555-0100", "MobilePhone": None, "HomePhone": "212-555-0101", "Fax": None, "OtherPhone": None}
    held = mapping.get(body)["phones"]
    more = {**held, "+12125550102": {"value": "212-555-0102", "label": "mobile"}}
    assert mapping.put({"phones": more}, body) == {"MobilePhone": "212-555-0102"}
    second = {**held, "+12125550103": {"value": "212-555-0103", "label": "work"}}
    assert mapping.put({"phones": second}, body) == {}, "no room for a second number at work"
    assert mapping.render({"phones": second}, body) == {"phones": held}
    odd = {**held, "+12125550104": {"value": "212-555-0104", "label": "pager"}}
    assert mapping.put({"phones": odd}, body) == {"OtherPhone": "212-555-0104"}
    relabelled = {"+12125550100": {"value": "212-555-0100", "label": "mobile"}}
    assert mapping.put({"phones": relabelled}, body) == {
        "Phone": None,
        "MobilePhone": "212-555-0100",
        "HomePhone": None,
    }


def test_elements_that_go_to_their_own_slots_make_room_for_one_another() -> None:
    mapping = salesforce_contact()
    body = {"Phone": "212-555-0100", "MobilePhone": "212-555-0101", "HomePhone": None, "Fax": None, "OtherPhone": None}
    values = {
        "phones": {
            "+12125550100": {"value": "212-555-0100", "label": "mobile"},
            "+12125550101": {"value": "212-555-0101", "label": "home"},
        }
    }
    changes = mapping.put(values, body)
    assert changes == {"Phone": None, "MobilePhone": "212-555-0100", "HomePhone": "212-555-0101"}
    assert mapping.put(values, {**body, **changes}) == {}


def test_a_slot_goes_to_its_own_label_before_others() -> None:
    mapping = load("salesforce").of("Account")[0]
    phones = {
        "+12125550100": {"value": "212-555-0100"},
        "+12125550101": {"value": "212-555-0101", "label": "work"},
    }
    assert mapping.put({"phones": phones}, None) == {"Phone": "212-555-0101"}


def test_the_primary_decides_its_slot() -> None:
    mapping, body = salesforce_contact(), {"Email": "a@x.org", "Phone": None}
    both = {"a@x.org": {"value": "a@x.org"}, "b@x.org": {"value": "b@x.org"}}
    assert mapping.put({"emails": both}, body) == {}
    assert mapping.put({"emails": both, "email": "b@x.org"}, body) == {"Email": "b@x.org"}
    assert mapping.lines["emails"].companions == ("email",)


def test_compound_addresses_stand_in_slots() -> None:
    mapping = salesforce_contact()
    body = {
        "MailingStreet": "1 Main Street",
        "MailingCity": "New York",
        "MailingState": "NY",
        "MailingPostalCode": "10001",
    }
    assert mapping.get(body)["addresses"] == {
        "1mainst|10001": {
            "street": "1 Main Street", "city": "New York", "region": "NY", "postcode": "10001", "label": "mailing",
        }
    }  # fmt: skip
    same = {
        "1mainst|10001": {"street": "1 Main St", "city": "NEW YORK", "region": "New York", "postcode": "10001-1234"}
    }
    assert mapping.put({"addresses": same}, body) == {}
    moved = {"2elmave|10002": {"street": "2 Elm Ave", "city": "Albany", "postcode": "10002"}}
    assert mapping.put({"addresses": moved}, body) == {
        "MailingStreet": "2 Elm Ave", "MailingCity": "Albany", "MailingState": None, "MailingPostalCode": "10002",
    }  # fmt: skip


def test_lengths_cut_as_declared_and_an_empty_last_name_has_a_stand_in() -> None:
    mapping = salesforce_contact()
    long = "x" * 200
    assert mapping.render({"title": long}, {"Title": None}) == {"title": "x" * 128}
    assert mapping.put({"given_name": "Cher"}, None) == {"FirstName": "Cher", "LastName": "[not provided]"}
    assert mapping.get({"LastName": "[not provided]"}) == {"family_name": None}
    assert mapping.put({"family_name": None}, {"LastName": "Doe"}) == {"LastName": "[not provided]"}


def test_tables_read_all_spellings_and_write_the_first() -> None:
    mapping = load("clio").of("matters")[0]
    assert mapping.get({"status": "Open"}) == {"status": "open"}
    assert mapping.put({"status": "open"}, {"status": "Open"}) == {}
    assert mapping.put({"status": "closed"}, {"status": "Open"}) == {"status": "closed"}
    with pytest.raises(Unreadable, match="status") as caught:
        mapping.get({"status": "Escalated"})
    assert "Escalated" not in str(caught.value)


def test_seconds_are_hours_and_redacted_hours_are_no_statement() -> None:
    mapping = load("clio").of("activities")[0]
    body = {"type": "TimeEntry", "quantity": 5400, "non_billable": True, "matter": {"id": 3}}
    assert mapping.get(body) == {"hours": "1.5", "billable": False, "matter": "matters:3"}
    assert mapping.put({"hours": "0.1"}, body) == {"quantity": 360}
    redacted = {"type": "TimeEntry", "quantity": None, "quantity_redacted": True}
    assert "hours" not in mapping.get(redacted)
    assert mapping.put({"hours": "1"}, redacted) == {}
    assert not mapping.applies({"type": "ExpenseEntry"})


def test_a_bill_belongs_to_its_first_matter() -> None:
    mapping = load("clio").of("bills")[0]
    body = {"state": "awaiting_payment", "matters": [{"id": 5}, {"id": 6}], "total": 100.1, "currency": {"code": "USD"}}
    assert mapping.get(body) == {"status": "issued", "matter": "matters:5", "total": "100.1", "currency": "USD"}
    assert mapping.get({"matters": []}) == {"matter": None}
    assert mapping.put({"total": "1"}, body) == {}
    assert load("clio").for_kind("invoice") is None


def test_a_card_has_a_formatted_name_from_the_start_and_whenever_names_change() -> None:
    mapping = load("carddav").of("cards")[0]
    made = mapping.put(
        {"given_name": "Jane", "family_name": "Doe", "emails": {"j@x.org": {"value": "j@x.org", "label": "work"}}}, None
    )
    assert made == {
        "n": {"given": "Jane", "family": "Doe"},
        "emails": [{"value": "j@x.org", "types": ["work"]}],
        "fn": "Jane Doe",
        "kind": "individual",
    }
    assert mapping.put({"family_name": "Roe"}, made) == {"n": {"given": "Jane", "family": "Roe"}, "fn": "Jane Roe"}
    assert mapping.put({"title": "Partner"}, made) == {"title": "Partner"}
    assert mapping.put({}, None)["fn"] == "(no name)"
    assert mapping.applies({"n": {}}), "a card without a kind is a person's"
    firm = load("carddav").of("cards")[1]
    assert firm.put({"name": "Acme"}, {"kind": "org", "fn": "ACME", "org": ["ACME", "Tax"]}) == {
        "fn": "Acme",
        "org": ["Acme", "Tax"],
    }


def test_types_of_a_card_keep_words_that_are_no_label() -> None:
    mapping = load("carddav").of("cards")[0]
    body = {"tels": [{"value": "212-555-0100", "types": ["voice", "work"], "pref": False}]}
    assert mapping.get(body)["phones"] == {"+12125550100": {"value": "212-555-0100", "label": "work"}}
    changes = mapping.put({"phones": {"+12125550100": {"value": "212-555-0100", "label": "mobile"}}}, body)
    assert changes["tels"] == [{"value": "212-555-0100", "types": ["cell", "voice"], "pref": False}]


def test_a_birthday_without_a_year_makes_no_statement() -> None:
    assert "birth_date" not in load("carddav").of("cards")[0].get({"bday": "--04-12"})


SPLIT = """\
connector: acme
records:
  - resource: r
    kind: person
    fields:
      given_name: {part of: given family, path: name}
      family_name: {part of: given family, path: name}
"""


@pytest.mark.parametrize(
    ("given", "family", "written"),
    [
        ("Jane", "Doe", "Jane Doe"),
        ("Jan", "van Dyke", "van Dyke, Jan"),
        (None, "Doe", "Doe"),
        ("Mary Ann", "Poe", "Mary Ann Poe"),
    ],
)
def test_a_whole_name_comes_apart_as_it_was_joined(given: str | None, family: str, written: str) -> None:
    mapping = load_text(SPLIT, "acme.yaml").mappings[0]
    values = {"given_name": given, "family_name": family}
    assert mapping.put(values, None) == {"name": written}
    assert mapping.get({"name": written}) == values
    assert mapping.lines["given_name"].companions == ("family_name",)


def test_one_part_of_a_whole_name_keeps_the_other() -> None:
    mapping = load_text(SPLIT, "acme.yaml").mappings[0]
    assert mapping.put({"family_name": "Roe"}, {"name": "Jane Doe"}) == {"name": "Jane Roe"}
    assert mapping.put({"given_name": "Jane", "family_name": "Doe"}, {"name": "Doe,  Jane"}) == {}


def test_a_shared_list_is_split_by_what_its_entries_are() -> None:
    mapping = load("tryton").of("parties")[1]
    body = {
        "kind": "organisation",
        "contact_mechanisms": [
            {"id": "1", "type": "email", "value": "a@acme.example", "name": None},
            {"id": "2", "type": "phone", "value": "+12125550100", "name": None},
            {"id": "3", "type": "website", "value": "acme.example", "name": None},
            {"id": "4", "type": "irc", "value": "#acme", "name": None},
            {"id": "5", "type": "email", "value": "b@acme.example", "name": None},
        ],
    }
    values = mapping.get(body)
    assert values["email"] == "a@acme.example"
    assert values["website"] == "acme.example"
    assert values["phones"] == {"+12125550100": {"value": "+12125550100", "label": "work"}}
    changes = mapping.put({"email": "b@acme.example", "phones": {}, "website": "www.acme.example"}, body)
    assert [(e["id"], e["value"]) for e in changes["contact_mechanisms"]] == [
        ("5", "b@acme.example"), ("1", "a@acme.example"), ("3", "www.acme.example"), ("4", "#acme"),
    ]  # fmt: skip
    made = mapping.put({"name": "Acme", "phones": {"+12125550101": {"value": "212-555-0101", "label": "mobile"}}}, None)
    assert made == {
        "name": "Acme",
        "kind": "organisation",
        "contact_mechanisms": [{"value": "212-555-0101", "type": "mobile"}],
    }


def test_countries_are_written_as_codes_where_the_vendor_wants_them() -> None:
    mapping = load("tryton").of("parties")[0]
    street = {"street": "1 Main St", "postcode": "10001"}
    made = mapping.put({"addresses": {"1mainst|10001": {**street, "country": "Canada"}}}, None)
    assert made["addresses"] == [{"street": "1 Main St", "postal_code": "10001", "country": "CA"}]
    unknown = mapping.put({"addresses": {"1mainst|10001": {**street, "country": "Wonderland"}}}, None)
    assert unknown["addresses"] == [{"street": "1 Main St", "postal_code": "10001"}]


def test_missing_is_not_empty() -> None:
    mapping = clio_person()
    assert mapping.get({}) == {}
    assert mapping.get({"title": None, "email_addresses": None}) == {"title": None, "emails": {}, "email": None}
    assert mapping.put({"title": None, "emails": {}}, {}) == {}


@pytest.mark.parametrize(
    "body",
    [
        {"first_name": {"x": 1}},
        {"first_name": ["x"]},
        {"date_of_birth": "soon"},
        {"date_of_birth": 7},
        {"email_addresses": "jane@x.org"},
        {"email_addresses": [7]},
        {"email_addresses": [{"address": {"x": 1}}]},
        {"addresses": [{"street": 7}]},
        {"company": 7},
        {"company": {"id": [1]}},
    ],
)
def test_an_impossible_shape_names_the_field_and_no_data(body: JSON) -> None:
    with pytest.raises(Unreadable) as caught:
        clio_person().get(body)
    assert caught.value.field in clio_person().lines
    assert caught.value.reason
    assert not any(word in str(caught.value) for word in ("jane", "soon", "7"))


def test_a_foreign_national_number_is_written_in_full() -> None:
    british = load("clio", region="GB").of("contacts")[0]
    held = british.get({"phone_numbers": [{"number": "020 7946 0018", "name": "Work"}]})["phones"]
    assert held.keys() == {"+442079460018"}
    american = salesforce_contact()
    assert american.put({"phones": held}, {"Phone": None}) == {"Phone": "+442079460018"}


def test_vendor_fields_are_the_top_level_properties() -> None:
    assert set(load("salesforce").of("Opportunity")[0].vendor_fields) == {
        "Name", "AccountId", "ContactId", "StageName", "Amount", "Probability", "LeadSource", "CloseDate",
        "Matter_Number__c", "Billed_Total__c", "SystemModstamp",
    }  # fmt: skip

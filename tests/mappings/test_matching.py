"""Matching against the traps of a law firm: what links by itself, what asks, what stays apart."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from mappings.matching import KEYS_MAX, decide, keys
from mappings.normalize import normalizer
from mappings.normalize.names import given_agreement, nicknames

JSON = dict[str, Any]


def a_person(name: str = "", *, mail: str | None = None, phone: str | None = None, **more: Any) -> JSON:
    """ "Jane Q. Doe, Jr." -> a person with these parts; more: other fields."""
    plain, _, suffix = name.partition(", ")
    given, _, rest = plain.partition(" ")
    middle, _, family = rest.rpartition(" ")
    person = {"given_name": given or None, "middle_name": middle or None, "family_name": family or None}
    return person | {"suffix": suffix or None, "email": mail, "phone": phone} | more


def a_company(name: str, **more: Any) -> JSON:
    return {"name": name, **more}


HOUSE = {"emails": {"home@example.net": {"value": "home@example.net"}}, "phone": "212-555-0100"}

PERSONS: list[tuple[str, JSON, JSON, str]] = [
    # what links by itself
    (
        "same e-mail, same name",
        a_person("Jane Doe", mail="jane@x.org"),
        a_person("JANE DOE", mail="Jane@X.org"),
        "same",
    ),
    (
        "same phone, same name",
        a_person("Jane Doe", phone="(212) 555-0100"),
        a_person("Jane Doe", phone="+1 212 555 0100"),
        "same",
    ),
    (
        "e-mail among several",
        a_person("Jane Doe", mail="jane@x.org"),
        a_person("Jane Doe", mail="j@y.org", emails={"jane@x.org": {"value": "jane@x.org"}}),
        "same",
    ),
    ("nickname with e-mail", a_person("Bob Smith", mail="rs@x.org"), a_person("Robert Smith", mail="rs@x.org"), "same"),
    ("diacritics", a_person("José Núñez", mail="jn@x.org"), a_person("Jose Nunez", mail="jn@x.org"), "same"),
    ("apostrophe", a_person("Sean O'Brien", mail="s@x.org"), a_person("Sean O’Brien", mail="s@x.org"), "same"),  # noqa: RUF001
    (
        "middle initial fits",
        a_person("Jane Q. Doe", mail="j@x.org"),
        a_person("Jane Quinn Doe", mail="j@x.org"),
        "same",
    ),
    (
        "dots at Gmail",
        a_person("Jane Doe", mail="jane.doe@gmail.com"),
        a_person("Jane Doe", mail="janedoe+x@googlemail.com"),
        "same",
    ),
    ("client number", a_person("Jane Doe", client_number="C-17"), a_person("Jane Doe", client_number="c-17"), "same"),
    (
        "same generation",
        a_person("John Smith, Jr.", mail="j@x.org"),
        a_person("John Smith, Junior", mail="j@x.org"),
        "same",
    ),
    # father and son
    ("Jr and Sr", a_person("John Smith, Jr.", mail="js@x.org"), a_person("John Smith, Sr.", mail="js@x.org"), "review"),
    ("II and III", a_person("John Smith, II", mail="js@x.org"), a_person("John Smith, III", mail="js@x.org"), "review"),
    (
        "Jr and nothing",
        a_person("John Smith, Jr.", phone="212-555-0100"),
        a_person("John Smith", phone="212-555-0100"),
        "review",
    ),
    (
        "Jr in the last name",
        a_person("John Smith", mail="js@x.org") | {"family_name": "Smith Jr."},
        a_person("John Smith", mail="js@x.org"),
        "review",
    ),
    (
        "no suffix at all, the household's phone",
        a_person("John Smith", mail="old@x.org", phone="212-555-0100"),
        a_person("John Smith", mail="young@y.org", phone="212-555-0100"),
        "review",
    ),
    (
        "different birth dates",
        a_person("John Smith", mail="js@x.org", birth_date="1950-01-02"),
        a_person("John Smith", mail="js@x.org", birth_date="1980-05-06"),
        "review",
    ),
    (
        "birth date one slip apart",
        a_person("John Smith", mail="js@x.org", birth_date="1950-01-02"),
        a_person("John Smith", mail="js@x.org", birth_date="1950-01-03"),
        "review",
    ),
    # couples, twins, assistants, desks
    (
        "spouses share mail and phone",
        a_person("Connie McClure") | HOUSE,
        a_person("Monty McClure") | HOUSE,
        "different",
    ),
    ("spouses with one initial", a_person("Carl Roe") | HOUSE, a_person("Carla Roe") | HOUSE, "different"),
    ("initial may be either", a_person("C. Roe") | HOUSE, a_person("Carla Roe") | HOUSE, "review"),
    (
        "twins",
        a_person("Ann Lee", phone="212-555-0100", birth_date="1990-01-01"),
        a_person("Amy Lee", phone="212-555-0100", birth_date="1990-01-01"),
        "different",
    ),
    (
        "shared assistant's phone",
        a_person("Ann Lee", phone="212-555-0100"),
        a_person("Bo Chan", phone="212-555-0100"),
        "different",
    ),
    (
        "role mailbox is no evidence",
        a_person("Jane Doe", mail="info@x.org"),
        a_person("Jane Doe", mail="info@x.org"),
        "review",
    ),
    (
        "role mailbox, other names",
        a_person("Jane Doe", mail="reception@x.org"),
        a_person("Kim Poe", mail="reception@x.org"),
        "different",
    ),
    # joint parties, estates, trusts, companies
    (
        "joint party",
        a_person("Monty McClure") | HOUSE,
        a_person("Monty McClure") | HOUSE | {"given_name": "Monty & Connie"},
        "review",
    ),
    (
        "joint party twice",
        a_person("X McClure") | HOUSE | {"given_name": "Monty & Connie"},
        a_person("X McClure") | HOUSE | {"given_name": "Monty and Connie"},
        "review",
    ),
    (
        "estate",
        a_person("John Smith", mail="js@x.org"),
        a_person("John Smith", mail="js@x.org") | {"given_name": "Estate of John"},
        "review",
    ),
    (
        "trust",
        a_person("John Smith", mail="js@x.org"),
        a_person("John Smith", mail="js@x.org") | {"suffix": "Trustee"},
        "review",
    ),
    (
        "company in a person's record",
        a_person("Jane Doe", mail="j@x.org") | {"family_name": "Doe LLC"},
        a_person("Jane Doe", mail="j@x.org"),
        "review",
    ),
    # names that changed or were typed otherwise
    (
        "maiden and married name",
        a_person("Jane Doe", mail="jane@x.org"),
        a_person("Jane Roe", mail="jane@x.org"),
        "review",
    ),
    (
        "double name",
        a_person("Jane Smith-Jones", mail="jane@x.org"),
        a_person("Jane Smith", mail="jane@x.org"),
        "review",
    ),
    (
        "first and last exchanged",
        a_person("Doe Jane", mail="jane@x.org"),
        a_person("Jane Doe", mail="jane@x.org"),
        "review",
    ),
    (
        "goes by the middle name",
        a_person("James Earl Carter", mail="jc@x.org"),
        a_person("Earl Carter", mail="jc@x.org"),
        "review",
    ),
    (
        "middle names differ",
        a_person("Jane A. Doe", mail="jane@x.org"),
        a_person("Jane B. Doe", mail="jane@x.org"),
        "review",
    ),
    (
        "first name missing",
        a_person("Jane Doe", mail="jane@x.org"),
        a_person(mail="jane@x.org") | {"family_name": "Doe"},
        "review",
    ),
    (
        "nickname, phone only",
        a_person("Bob Smith", phone="212-555-0100"),
        a_person("Robert Smith", phone="212-555-0100"),
        "review",
    ),
    (
        "recycled e-mail",
        a_person("Jane Doe", mail="sales1@x.org"),
        a_person("Omar Haddad", mail="sales1@x.org"),
        "different",
    ),
    (
        "recycled phone",
        a_person("Jane Doe", phone="212-555-0100"),
        a_person("Jane Miller", phone="212-555-0100"),
        "review",
    ),
    # a name alone
    ("name alone, nothing to compare", a_person("Jane Doe"), a_person("Jane Doe", mail="j@x.org"), "review"),
    (
        "name alone, contacts differ",
        a_person("Jane Doe", mail="j@a.org"),
        a_person("Jane Doe", mail="j@b.org"),
        "different",
    ),
    (
        "two mailboxes of one employer",
        a_person("Jane Doe", mail="j@a.org"),
        a_person("Jane Doe", mail="jdoe@a.org"),
        "review",
    ),
    (
        "same birth date",
        a_person("Jane Doe", mail="j@a.org", birth_date="1990-01-01"),
        a_person("Jane Doe", mail="j@b.org", birth_date="1990-01-01"),
        "review",
    ),
    (
        "client numbers differ",
        a_person("Jane Doe", mail="j@a.org", client_number="1"),
        a_person("Jane Doe", mail="j@a.org", client_number="2"),
        "review",
    ),
    ("hardly anything", a_person(), a_person(), "different"),
    ("only a phone", a_person(phone="212-555-0100"), a_person(phone="212-555-0100"), "review"),
    (
        "a fax is no evidence",
        a_person("Jane Doe", phones={"+12125550100": {"value": "212-555-0100", "label": "fax"}}),
        a_person("Jane Doe", phones={"+12125550100": {"value": "212-555-0100", "label": "fax"}}),
        "review",
    ),
    (
        "unreadable phones are no evidence",
        a_person("Jane Doe", phone="555-0100"),
        a_person("Jane Doe", phone="555-0100"),
        "review",
    ),
]

ACME = {"website": "https://www.acme.example/about"}

COMPANIES: list[tuple[str, JSON, JSON, str]] = [
    (
        "same name, form and site",
        a_company("Acme, Inc.", **ACME),
        a_company("ACME Incorporated", website="acme.example"),
        "same",
    ),
    (
        "same name, form and mail domain",
        a_company("Acme LLC", email="a@acme.example"),
        a_company("Acme L.L.C.", email="b@acme.example"),
        "same",
    ),
    (
        "same name and phone, no form",
        a_company("City of Springfield", phone="212-555-0100"),
        a_company("City of Springfield", phone="2125550100"),
        "same",
    ),
    ("client number", a_company("Acme Inc", client_number="9"), a_company("Acme Inc.", client_number="9"), "same"),
    ("form differs", a_company("Acme LLC", **ACME), a_company("Acme Inc.", **ACME), "review"),
    ("form on one side", a_company("Acme", **ACME), a_company("Acme LLC", **ACME), "review"),
    ("a word more", a_company("Acme LLC", **ACME), a_company("Acme Holdings LLC", **ACME), "review"),
    ("a word more, nothing shared", a_company("Acme LLC"), a_company("Acme Holdings LLC"), "different"),
    ("numbered fund", a_company("Alder Fund I LP", **ACME), a_company("Alder Fund II LP", **ACME), "different"),
    ("number on one side", a_company("Alder LLC", **ACME), a_company("Alder II LLC", **ACME), "different"),
    ("ordinal", a_company("First Alder Trust", **ACME), a_company("Second Alder Trust", **ACME), "different"),
    ("place", a_company("Acme of Delaware Inc", **ACME), a_company("Acme of Nevada Inc", **ACME), "different"),
    ("name alone", a_company("Acme LLC"), a_company("Acme LLC"), "review"),
    (
        "shared phone, other names",
        a_company("Acme LLC", phone="212-555-0100"),
        a_company("Zenith LLC", phone="212-555-0100"),
        "different",
    ),
    (
        "free mail domain is no evidence",
        a_company("Acme LLC", email="acme1@gmail.com"),
        a_company("Acme LLC", email="acme2@gmail.com"),
        "review",
    ),
    (
        "the form is kept as a class",
        a_company("Müller GmbH", **ACME),
        a_company("Muller GmbH & Co. KG", **ACME),
        "review",
    ),
    ("not the boring", a_company("The Boring Company", **ACME), a_company("Boring Co", **ACME), "same"),
    (
        "client numbers differ",
        a_company("Acme LLC", client_number="1", **ACME),
        a_company("Acme LLC", client_number="2", **ACME),
        "review",
    ),
    ("no name", a_company("", **ACME), a_company("Acme LLC", **ACME), "review"),
]

MATTERS: list[tuple[str, JSON, JSON, str]] = [
    (
        "same number",
        {"number": "00012-Smith", "name": "Smith v. Jones"},
        {"number": "00012-SMITH", "name": "Smith (Jones)"},
        "same",
    ),
    (
        "same number, names apart",
        {"number": "12", "name": "Smith v. Jones"},
        {"number": "12", "name": "Lease of premises"},
        "review",
    ),
    ("other number", {"number": "12", "name": "Smith"}, {"number": "13", "name": "Smith"}, "different"),
    ("no number", {"number": None, "name": "Smith"}, {"number": None, "name": "Smith"}, "different"),
]

INVOICES: list[tuple[str, JSON, JSON, str]] = [
    ("same", {"number": "7", "total": "750.00", "currency": "USD"}, {"number": "7", "total": "750", "currency": "USD"}, "same"),
    ("total differs", {"number": "7", "total": "750", "currency": "USD"}, {"number": "7", "total": "751", "currency": "USD"}, "review"),
    ("number differs", {"number": "7", "total": "750"}, {"number": "8", "total": "750"}, "different"),
]  # fmt: skip

TRAPS: list[tuple[str, str, JSON, JSON, str]] = [
    (kind, trap[0], trap[1], trap[2], trap[3])
    for kind, traps in (("person", PERSONS), ("organisation", COMPANIES), ("matter", MATTERS), ("invoice", INVOICES))
    for trap in traps
]


@pytest.mark.parametrize(("kind", "trap", "a", "b", "outcome"), TRAPS, ids=[f"{t[0]}: {t[1]}" for t in TRAPS])
def test_traps(kind: str, trap: str, a: JSON, b: JSON, outcome: str) -> None:
    verdict = decide(kind, a, b)
    assert verdict.outcome == outcome, verdict.reasons
    assert verdict.reasons
    assert decide(kind, b, a).outcome == outcome


@pytest.mark.parametrize("kind", ["person", "organisation", "matter", "invoice"])
def test_decisions_are_symmetric(kind: str) -> None:
    records = [side for trap in TRAPS if trap[0] == kind for side in (trap[2], trap[3])]
    for a, b in itertools.combinations(records, 2):
        assert decide(kind, a, b) == decide(kind, b, a)


def test_what_links_by_itself_is_found_by_a_shared_key() -> None:
    for kind, trap, a, b, outcome in TRAPS:
        if outcome == "same":
            assert set(keys(kind, a)) & set(keys(kind, b)), trap


def test_reasons_hold_no_data() -> None:
    words = {"jane", "doe", "smith", "acme", "mcclure", "x.org", "2125550100", "00012"}
    for kind, _, a, b, _ in TRAPS:
        spoken = " ".join(decide(kind, a, b).reasons).lower()
        assert not [word for word in words if word in spoken]


def test_keys_are_few_and_say_what_they_are() -> None:
    jane = a_person("Jane Doe", mail="jane@x.org", phone="(212) 555-0100", client_number="C-17")
    jane["emails"] = {f"{n}@x.org": {"value": f"{n}@x.org"} for n in "abcdef"}
    found = keys("person", jane)
    assert found[:2] == ("i:c-17", "e:jane@x.org")
    assert {"p:+12125550100", "n:jane|doe"} <= set(found)
    assert len(found) <= KEYS_MAX
    assert keys("person", a_person("", mail="info@x.org")) == ()
    assert keys("organisation", a_company("Acme, LLC", website="www.acme.example")) == (
        "o:acme|llc",
        "o:acme",
        "w:acme.example",
    )
    assert keys("matter", {"number": "00012-Smith"}) == ("m:00012-smith",)
    assert keys("time_entry", {"hours": "1"}) == ()


def test_kinds_without_rules_are_never_linked() -> None:
    assert decide("time_entry", {"hours": "1"}, {"hours": "1"}).outcome == "different"


def test_two_formal_names_are_never_one_anothers_nickname() -> None:
    for pair in (
        ("carla", "karla"),
        ("michele", "michelle"),
        ("john", "jonathan"),
        ("frances", "francis"),
        ("alexander", "alexandra"),
    ):
        assert given_agreement(*pair) == "none", pair
    assert {("bob", "robert"), ("bill", "william"), ("elizabeth", "liz")} <= nicknames()


def test_matching_uses_the_region_of_national_numbers() -> None:
    a, b = a_person("Jane Doe", phone="020 7946 0018"), a_person("Jane Doe", phone="+44 20 7946 0018")
    assert decide("person", a, b, region="GB").outcome == "same"
    assert decide("person", a, b, region="US").outcome == "review"
    assert normalizer("GB").phone_key("020 7946 0018") == "+442079460018"

"""Normal forms: equal things meet, different things stay apart, and normalizing twice is normalizing once."""

from __future__ import annotations

import random
from typing import Any

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mappings.canonical import KINDS
from mappings.normalize import Normalizer, addresses, countries, dates, emails, money, names, organisations, phones
from mappings.normalize.text import alnum, fold, tidy

US = Normalizer("US")


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        ("(212) 555-0100", "+12125550100"),
        ("212.555.0100", "+12125550100"),
        ("1-212-555-0100", "+12125550100"),
        ("+1 212 555 0100", "+12125550100"),
        ("+44 20 7946 0018", "+442079460018"),
        ("+44 (0)20 7946 0018", "+442079460018"),
        ("212-555-0100 x12", "+12125550100;ext=12"),
        ("(212) 555-0100 (cell)", "+12125550100"),
        ("212-555-0100 / 212-555-0101", "+12125550100"),
        ("tel:+12125550100", "+12125550100"),
        ("555-0100", "raw:5550100"),
        ("(555) 555-0100", "raw:5555550100"),
        ("ask Ann", "raw:askann"),
        ("   ", None),
        ("--", None),
    ],
)
def test_phone_keys(raw: str, key: str | None) -> None:
    assert phones.key(raw, "US") == key


def test_the_short_path_for_north_american_numbers_agrees_with_the_library() -> None:
    draw = random.Random(7)
    agreed = 0
    for _ in range(4000):
        digits = f"{draw.randint(200, 999)}{draw.randint(200, 999)}{draw.randint(0, 9999):04}"
        number = phonenumbers.parse(digits, "US")
        is_valid = phonenumbers.is_valid_number(number)
        assert phones.key(digits, "US") == (f"+1{digits}" if is_valid else f"raw:{digits}")
        agreed += is_valid
    assert agreed > 1000


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        (" Jane@X.ORG ", "jane@x.org"),
        ("Jane Doe <jane@x.org>", "jane@x.org"),
        ("mailto:jane@x.org", "jane@x.org"),
        ("jane@bücher.example", "jane@xn--bcher-kva.example"),
        ("not an address", "not an address"),
        ("", None),
    ],
)
def test_email_keys(raw: str, key: str | None) -> None:
    assert emails.key(raw) == key


def test_mailboxes_forgive_what_providers_ignore() -> None:
    assert emails.mailbox("Jane.Doe+news@GoogleMail.com") == "janedoe@gmail.com"
    assert emails.mailbox("jane-x@yahoo.com") == "jane@yahoo.com"
    assert emails.mailbox("jane@mac.com") == "jane@icloud.com"
    assert emails.mailbox("jane.doe+x@firm.example") == "jane.doe+x@firm.example"
    assert emails.is_role("Info@x.org")
    assert emails.is_role("front-desk@x.org")
    assert not emails.is_role("jane@x.org")
    assert emails.problem("jane@example.com") is None
    assert emails.problem("jane@") is not None


@given(st.text(max_size=20) | st.emails())
def test_keys_are_their_own_keys(raw: str) -> None:
    for key_of in (emails.key, US.phone_key, tidy, lambda text: fold(text) or None, lambda text: alnum(text) or None):
        key = key_of(raw)
        assert key is None or key_of(key) == key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            {"street": "100 Main Street, Suite 4", "postcode": "10001"},
            {"street": "100 Main St. Ste 4", "postcode": "10001-2222"},
        ),
        ({"street": "1 Rue de l'Été", "postcode": "H2X 1Y4"}, {"street": "1 rue de l’ete", "postcode": "h2x1y4"}),  # noqa: RUF001
        ({"city": "Paris"}, {"city": "PARIS", "street": ""}),
    ],
)
def test_equal_addresses_meet(one: dict[str, str | None], other: dict[str, str | None]) -> None:
    assert addresses.key_of(one) == addresses.key_of(other) is not None


def test_different_addresses_stay_apart() -> None:
    assert addresses.key("1 Main St", "10001") != addresses.key("1 Main St", "10002")
    assert addresses.key("1 Main St", "10001") != addresses.key("11 Main St", "10001")
    assert addresses.key_of({"street": " ", "city": None}) is None


def test_countries_and_regions_compare_by_code() -> None:
    assert {countries.country(name) for name in ("US", "usa", "U.S.A.", "United States of America")} == {"US"}
    assert countries.country_code("UK") == countries.country_code("England") == "GB"
    assert countries.country_code("Wonderland") is None
    assert countries.region("New York") == countries.region("NY") == countries.region("US-NY") == "ny"


def test_dates_and_instants() -> None:
    assert dates.day("2026-11-20") == dates.day("20261120") == dates.day("2026-11-20T23:59:00-08:00") == "2026-11-20"
    assert dates.day("--11-20") is None
    assert dates.instant("2026-11-20T12:00:00.5+02:00") == "2026-11-20T10:00:00.500000Z"
    assert dates.instant("2026-11-20 12:00:00") == "2026-11-20T12:00:00.000000Z"
    for wrong in ("soon", "2026-13-01"):
        with pytest.raises(ValueError, match=r"isoformat|month"):
            dates.day(wrong)
    with pytest.raises(ValueError, match="calendar"):
        dates.instant("0001-01-01T00:00:00+10:00")


@given(st.datetimes(), st.datetimes())
def test_instants_sort_as_text(a: Any, b: Any) -> None:
    assert (a < b) == (dates.instant(a.isoformat()) < dates.instant(b.isoformat()))


def test_money_is_exact() -> None:
    assert money.plain(0.1) == "0.1"
    assert money.plain("750.00") == "750.00"
    assert money.normal(money.plain(1e15)) == "1000000000000000"
    assert money.normal("750.00") == money.normal("7.5E+2") == "750"
    assert money.normal("-0.00") == "0"
    assert money.json_number("750.00") == 750
    for wrong in (True, None, "NaN", "1e999999", "twelve", [1]):
        with pytest.raises(ValueError, match="not a number"):
            money.plain(wrong)


@pytest.mark.parametrize(
    ("kind", "field", "a", "b", "same"),
    [
        ("person", "given_name", " Zoë ", "Zoe\u0308", True),
        ("person", "given_name", "", None, True),
        ("person", "given_name", "Jane", "JANE", False),
        ("person", "email", "Jane@X.org", "jane@x.org", True),
        ("person", "phone", "(212) 555-0100", "+12125550100", True),
        ("person", "phone", "212-555-0100", "212-555-0101", False),
        ("invoice", "total", "750.00", "750", True),
        ("invoice", "total", "750.00", None, False),
        (
            "person",
            "emails",
            {"a@x.org": {"value": "A@x.org"}},
            {"a@x.org": {"value": "a@x.org", "label": "work"}},
            True,
        ),
        (
            "person",
            "emails",
            {"a@x.org": {"value": "a", "label": "home"}},
            {"a@x.org": {"value": "a", "label": "work"}},
            False,
        ),
        ("person", "emails", {}, None, True),
        ("person", "emails", {}, {"a@x.org": {"value": "a"}}, False),
        ("person", "emails/a@x.org", {"value": "A"}, {"value": "a", "label": "work"}, True),
        ("person", "emails/a@x.org", {"value": "A"}, None, False),
        ("person", "addresses/k", {"country": "USA", "region": "NY"}, {"country": "United States", "city": "x"}, True),
        ("person", "addresses/k", {"city": "Rome"}, {"city": "Oslo"}, False),
        ("person", "addresses/k", {"city": "Rome"}, {"city": None}, False),
        ("matter", "client", "contacts:1", "contacts:2", False),
        ("time_entry", "billable", True, False, False),
    ],
)
def test_same(kind: str, field: str, a: Any, b: Any, same: bool) -> None:
    assert US.same(kind, field, a, b) is same
    assert US.same(kind, field, b, a) is same
    assert US.same(kind, field, a, a)
    if "/" not in field and KINDS[kind].fields[field].type != "set":
        assert (US.normal(kind, field, a) == US.normal(kind, field, b)) is same


def test_parties_are_told_apart() -> None:
    assert names.party("Monty & Connie McClure") == "joint"
    assert names.party("Mr. and Mrs. Roe") == "joint"
    assert names.party("Estate of John Smith") == "fiduciary"
    assert names.party("The Smith Family Trust") == "fiduciary"
    assert names.party("José Ortega y Gasset") == "person"
    assert names.party("Andrea Sandoval") == "person"


def test_legal_forms_are_classes_and_numbers_are_kept() -> None:
    assert (
        organisations.name_of("Alder II, L.L.C.").form == organisations.name_of("Alder Limited Liability Company").form
    )
    assert organisations.name_of("Fund II LP").numbers == ("2",)
    assert organisations.name_of("Fund II LP") != organisations.name_of("Fund LP")
    assert organisations.name_of("Inc").core == ("inc",), "a form alone is a name"
    assert organisations.looks_like_one("Doe Holdings, LLC")
    assert not organisations.looks_like_one("Jane Doe")

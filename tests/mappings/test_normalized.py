"""Normalized values for people: what was typed is kept, refusals say why, and reading a canonical form changes nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.normalize import (
    Normalized,
    Normalizer,
    addresses,
    countries,
    domains,
    emails,
    names,
    organisations,
    phones,
)
from syncd.config import REGIONS

US = Normalizer("US")
READERS: dict[str, Callable[[str], Normalized]] = {
    "email": emails.read,
    "phone": lambda raw: phones.read(raw, "US"),
    "phone of Germany": lambda raw: phones.read(raw, "DE"),
    "name": names.read,
    "organisation": organisations.read,
    "address": addresses.read,
    "address abroad": lambda raw: addresses.read(raw, "H2X 1Y4", "Canada"),
    "country": countries.read,
    "domain": domains.read,
}
TYPED = st.sampled_from(
    """Jane@X.org|Jane Doe <jane@x.org>|mailto:j@x.org|a b@x.org|x@y|@|jane@bücher.example|(212) 555-0100|555-0100
    |+44 (0)20 7946 0018|212-555-0100 x12|212-555-0100 (cell)|0|+|Jane Q. Doe Jr.|Doe, Jane|Monty & Connie McClure
    |Estate of John Smith|Иван Петров|Alder II, L.L.C.|Spzoo|Kraus GmbH & Co. KG|3M|The|100 Main St Ste 4|PO Box 12
    |Main & 5th|1 Rue de l'Été|UK|u.s.a.|Wonderland|https://www.law.smith.co.uk/x?y#z|http://[::1|//|a.b.c.d|.com""".split("|")
)  # fmt: skip
anything = st.text(max_size=30) | TYPED | st.tuples(TYPED, st.text(max_size=3)).map("".join)


@pytest.mark.parametrize("what", READERS)
@settings(max_examples=60, deadline=None)
@given(raw=anything)
def test_reading_never_fails_and_never_loses_what_was_typed(what: str, raw: str) -> None:
    found = READERS[what](raw)
    assert found.raw == raw
    assert found.parser.split()[-1][0].isdigit(), "the parser's version is known"
    assert 0 <= found.confidence <= 1
    if found.canonical is None:
        assert found.confidence == 0
        assert found.reason
        assert not raw.strip() or len(raw.strip()) < 6 or raw.strip() not in found.reason
    else:
        assert found.canonical
        assert found.reason is None
        assert found.confidence > 0
    assert READERS[what](raw) is found, "kept by the raw value"


@pytest.mark.parametrize("what", [name for name in READERS if not name.startswith("address")])
@settings(max_examples=60, deadline=None)
@given(raw=anything)
def test_a_canonical_form_is_its_own(what: str, raw: str) -> None:
    found = READERS[what](raw)
    if found.canonical is not None and found.confidence >= 0.8:
        assert READERS[what](found.canonical).canonical == found.canonical


@settings(max_examples=60, deadline=None)
@given(raw=anything)
def test_what_is_shown_is_what_is_compared_by(raw: str) -> None:
    assert emails.read(raw).canonical in (None, emails.key(raw))
    key = phones.key(raw, "US")
    assert phones.read(raw, "US").canonical == (None if key is None or key.startswith("raw:") else key)


@pytest.mark.parametrize(
    ("what", "raw", "canonical", "confidence"),
    [
        ("email", "Jane@X.org", "jane@x.org", 1.0),
        ("email", "Jane Doe <jane@x.org>", "jane@x.org", 0.9),
        ("phone", "+1 212 555 0100", "+12125550100", 1.0),
        ("phone", "212-555-0100 x12", "+12125550100;ext=12", 0.9),
        ("phone of Germany", "030 901820", "+4930901820", 0.9),
        ("name", "Dr. John Smith Jr.", "smith, john, jr", 0.9),
        ("name", "Cher", "cher", 0.3),
        ("organisation", "Alder II, L.L.C.", "alder 2 llc", 0.95),
        ("organisation", "Fund II LP", "fund 2 lp", 0.95),
        ("organisation", "Quarry Foods", "quarry foods", 0.8),
        ("address", "100 Main Street, Suite 4", "100mainstste4|", 0.7),
        ("address abroad", "1 Rue de l'Été", "1ruedelete|h2x1y4", 0.8),
        ("country", "u.s.a.", "US", 0.95),
        ("country", "gb", "GB", 1.0),
        ("domain", "https://www.law.smith.co.uk/x", "smith.co.uk", 1.0),
        ("domain", "jane@mail.acme.com", "acme.com", 1.0),
        ("domain", "bücher.de", "xn--bcher-kva.de", 1.0),
        ("domain", "www.acme.example", "acme.example", 0.5),
    ],
)
def test_what_is_understood(what: str, raw: str, canonical: str, confidence: float) -> None:
    found = READERS[what](raw)
    assert (found.canonical, found.confidence) == (canonical, confidence)


@pytest.mark.parametrize(
    ("what", "raw", "reason"),
    [
        ("email", " ", "it is blank"),
        ("email", "jane", "it has no @"),
        ("email", "a b@x.org", "what stands before the @ is no mailbox"),
        ("email", "jane@x", "what stands after the @ is no domain"),
        ("email", "jane@", "nothing stands after the @"),
        ("phone", "555-0100", "the area code is missing"),
        ("phone", "(555) 555-0100", "no such number is assigned"),
        ("phone", "+999 123 4567", "no country has this prefix"),
        ("phone", "123456789012345678901", "it has too many digits"),
        ("phone", "ask Ann", "it is no number"),
        ("name", "Monty & Connie McClure", "it names several people"),
        ("name", "Estate of John Smith", "it names an estate or trust"),
        ("name", "...", "it has no word that could be a name"),
        ("organisation", "---", "it has no word or number"),
        ("address", "Main & 5th", "it names a crossing, not a house"),
        ("address", "", "the street is blank"),
        ("country", "Wonderland", "no country has this name or code"),
        ("domain", "localhost", "it is a single word"),
        ("domain", "10.0.0.1", "it is an address, not a name"),
        ("domain", "co.uk", "nobody can register it"),
        ("domain", "http://[::1", "it names no host"),
    ],
)
def test_refusals_say_why(what: str, raw: str, reason: str) -> None:
    assert READERS[what](raw) == Normalized(raw, None, READERS[what](raw).parser, 0.0, reason)


def test_every_country_of_the_standard_is_known_by_its_code() -> None:
    assert {code for code in REGIONS if countries.country_code(code) != code} == set()


def test_fields_are_read_by_their_type() -> None:
    phone = US.read("person", "phones/+12125550100", {"value": "(212) 555-0100", "label": "work"})
    assert phone is not None
    assert (phone.raw, phone.canonical) == ("(212) 555-0100", "+12125550100")
    address = US.read("organisation", "addresses/k", {"street": "1 Main St", "postcode": "10001-2222", "country": None})
    assert address is not None
    assert (address.canonical, address.confidence) == ("1mainst|10001", 0.95)
    for kind, field, value, canonical in (
        ("person", "email", "Jane@X.org", "jane@x.org"),
        ("staff_member", "phone", "212-555-0100", "+12125550100"),
        ("organisation", "name", "Doe LLC", "doe llc"),
        ("organisation", "website", "www.doe.example.com", "example.com"),
    ):
        found = US.read(kind, field, value)
        assert found is not None
        assert (found.raw, found.canonical) == (value, canonical)
    assert US.read("person", "title", "Partner") is None
    assert US.read("person", "email", None) is None
    assert US.read("person", "emails", {}) is None

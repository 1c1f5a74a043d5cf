"""Rollups: exact totals of what counts, whatever the order; declared faults are named."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mappings.canonical import KINDS, Values
from mappings.language import MappingError
from mappings.rollups import Rollup, fingerprint, load_rollups

BY_NAME = {rollup.name: rollup for rollup in load_rollups()}
TOTAL = BY_NAME["opportunity.billed_total"]
LIFETIME = BY_NAME["person.lifetime_billed"]


def an_invoice(total: str | None, status: str = "issued", currency: str = "USD", **more: Any) -> Values:
    return {"total": total, "status": status, "currency": currency, **more}


def total(rollup: Rollup, *records: Values, year: int = 2026) -> Any:
    return rollup.compute([records, *[()] * (len(rollup.sources) - 1)], year)


def declared(entry: str) -> Rollup:
    (rollup,) = load_rollups("rollups:\n  - {" + entry + "}\n")
    return rollup


def test_every_rollup_field_is_declared_and_the_file_is_read_once() -> None:
    fields = {f"{k.name}.{f.name}" for k in KINDS.values() for f in k.fields.values() if f.rollup}
    assert set(BY_NAME) == fields
    assert load_rollups() is load_rollups()


def test_the_headline_total_leads_from_bills_to_the_opportunity() -> None:
    (source,) = TOTAL.sources
    assert (source.kind, source.field, source.via, TOTAL.on) == ("invoice", "total", "matter", "matter")
    assert BY_NAME["matter.billed_total"].on == "self"


def test_only_what_is_issued_or_paid_counts() -> None:
    sources = [an_invoice("100.10"), an_invoice("0.20", "paid"), an_invoice("5", "draft"), an_invoice("7", "void")]
    assert total(TOTAL, *sources) == "100.3"
    assert TOTAL.sources[0].counts(sources[0], 2026)
    assert not TOTAL.sources[0].counts(sources[2], 2026)


def test_nothing_adds_up_to_zero_and_a_blank_total_stays_blank() -> None:
    assert total(TOTAL) == TOTAL.nothing == "0"
    assert total(TOTAL, an_invoice("5", "draft"), an_invoice(None)) == "0"
    assert total(LIFETIME) is LIFETIME.nothing is None
    assert total(LIFETIME, an_invoice(None)) is None
    assert total(LIFETIME, an_invoice("5", "draft")) == "0", "somebody is billed, but nothing was issued"


def test_two_currencies_have_no_sum() -> None:
    assert total(TOTAL, an_invoice("1"), an_invoice("1", currency="EUR")) is None
    assert total(TOTAL, an_invoice("1"), an_invoice("1", "draft", "EUR")) == "1"
    currency = BY_NAME["person.billed_currency"]
    assert total(currency, an_invoice("1", issued_on="2026-01-01"), an_invoice("2", issued_on=None)) == "USD"
    assert total(currency, an_invoice("1"), an_invoice("1", currency="EUR")) is None


@given(st.lists(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=2)))
def test_sums_are_exact_in_any_order(amounts: list[Decimal]) -> None:
    sources = [an_invoice(format(amount, "f")) for amount in amounts]
    found = total(TOTAL, *sources)
    random.Random(3).shuffle(sources)
    assert total(TOTAL, *sources) == found is not None
    assert Decimal(found) == sum(amounts)


ENTRIES = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["open", "closed", None]),
        "opened_on": st.sampled_from(["2026-01-02", "2025-12-31", "1999-07-01", None]),
        "billed_total": st.sampled_from(["9", "10", "-1.50", None]),
    }
)


@given(st.lists(ENTRIES, max_size=6))
def test_every_function_against_a_plain_loop(matters: list[Values]) -> None:
    through = "through: client, of: self"
    count = declared(f"field: person.open_matters, count: matter, where: {{status: [open, null]}}, {through}")
    assert total(count, *matters) == sum(m["status"] in ("open", None) for m in matters)
    days = sorted(m["opened_on"] for m in matters if m["opened_on"])
    assert total(declared(f"field: person.first_matter_on, min: matter.opened_on, {through}"), *matters) == (
        days[0] if days else None
    )
    assert total(declared(f"field: person.first_matter_on, max: matter.opened_on, {through}"), *matters) == (
        days[-1] if days else None
    )
    amounts = [Decimal(m["billed_total"]) for m in matters if m["billed_total"]]
    greatest = total(declared(f"field: person.lifetime_billed, max: matter.billed_total, {through}"), *matters)
    assert (greatest is None) if not amounts else Decimal(greatest) == max(amounts), "as numbers, not as text"
    this_year = declared(f"field: person.open_matters, count: matter, this year: opened_on, {through}")
    assert total(this_year, *matters, year=2025) == days.count("2025-12-31")


def test_the_newest_record_gives_any_of_its_fields() -> None:
    newest = BY_NAME["person.last_touch_type"]
    calls: list[Values] = [
        {"type": "call", "at": "2026-03-01T09:00:00.000000Z", "status": "done"},
        {"type": "mail", "at": "2026-02-01T09:00:00.000000Z", "status": "done", "is_bulk": False},
        {"type": "mail", "at": "2026-04-01T09:00:00.000000Z", "status": "done", "is_bulk": True},
        {"type": "meeting", "at": "2026-05-01T09:00:00.000000Z", "status": "planned"},
        {"type": "other", "at": "2026-06-01T09:00:00.000000Z", "status": "done"},
    ]
    assert total(newest, *calls) == "call", "no newsletter, nothing that is only planned, no mere task"
    assert total(BY_NAME["person.last_touch_at"], *reversed(calls)) == calls[0]["at"]


def test_several_sources_are_taken_together() -> None:
    last = BY_NAME["organisation.last_touch_at"]
    own: Values = {"at": "2026-01-01T00:00:00.000000Z", "type": "call", "status": "done"}
    people: list[Values] = [{"last_touch_at": "2026-02-01T00:00:00.000000Z"}, {"last_touch_at": None}]
    assert [source.kind for source in last.sources] == ["touchpoint", "person"]
    assert last.compute([[own], people], 2026) == "2026-02-01T00:00:00.000000Z"
    assert last.compute([[own], []], 2026) == own["at"]


def test_a_year_is_the_firms() -> None:
    hours = BY_NAME["matter.hours_this_year"]
    worked = [{"hours": "1.5", "worked_on": "2025-12-31"}, {"hours": "2", "worked_on": "2026-01-01"}]
    assert hours.by_year
    assert not BY_NAME["person.hours_this_year"].by_year, "made of the matters' hours, which change when the year does"
    assert [total(hours, *worked, year=year) for year in (2025, 2026, 2027)] == ["1.5", "2", "0"]


def test_the_fingerprint_changes_with_what_is_declared() -> None:
    assert fingerprint(load_rollups()) == fingerprint(reversed(load_rollups()))
    assert fingerprint(load_rollups()) != fingerprint(load_rollups()[1:])


SOUND = "field: matter.billed_total, sum: invoice.total, through: matter, of: self"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sum: invoice.total", "sum: invoice.totl", "invoice has no field 'totl'; did you mean 'total'?"),
        ("sum: invoice.total", "sum: invoice.number", "number is text, expected decimal"),
        ("sum: invoice.total", "sum: invioce.total", "there is no kind 'invioce'; did you mean 'invoice'?"),
        ("sum: invoice.total", "sum: invoice", "expected a field, such as invoice.total"),
        ("sum: invoice.total", "min: invoice.number", "number is text, expected one of decimal"),
        ("sum: invoice.total", "count: invoice.total", "count: expected a kind without a field"),
        ("sum: invoice.total", "count: invoice", "matter.billed_total is decimal, and the count is int"),
        ("sum: invoice.total", "sum: invoice.total, by: issued_on", "by: only 'latest' has it"),
        ("sum: invoice.total", "latest: invoice.total", "by: total is decimal, expected date or instant"),
        ("sum: invoice.total", "sum: invoice.total, this year: number", "number is text, expected date or instant"),
        (
            "sum: invoice.total",
            "sum: invoice.total, alike: curency",
            "has no field 'curency'; did you mean 'currency'?",
        ),
        ("sum: invoice.total", "sum: invoice.total, where: {staus: paid}", "unknown word 'staus'"),
        ("sum: invoice.total", "sum: invoice.total, blank: maybe", "blank: expected yes or no"),
        ("sum: invoice.total", "sum: invoice.total, count: invoice", "one of 'sum', 'count', 'min', 'max', 'latest'"),
        ("sum: invoice.total", "sum: opportunity.billed_total", "matter.billed_total is computed from itself"),
        ("field: matter.billed_total", "field: matter.name", "'matter.name' is no rollup field"),
        ("field: matter.billed_total", "field: matter.biled_total", "did you mean 'matter.billed_total'?"),
        ("field: matter.billed_total", "field: person.lifetime_billed", "matter leads to matter, not to person"),
        ("through: matter", "through: number", "through: number is text, expected a reference"),
        ("of: self", "of: number", "matter has no reference 'number'"),
        ("of: self", "of: client", "client and matter never lead to the same record"),
        ("of: self", "off: self", "unknown word 'off'; did you mean 'of'?"),
    ],
)
def test_faults_are_named(old: str, new: str, message: str) -> None:
    entry = SOUND.replace(old, new)
    if "opportunity.billed_total" in new:  # a loop of two
        entry += "}\n  - {field: opportunity.billed_total, sum: matter.billed_total, through: client, of: client"
        entry = entry.replace("through: matter, of: self", "through: client, of: client", 1)
    with pytest.raises(MappingError) as caught:
        load_rollups("rollups:\n  - {" + entry + "}\n")
    assert any(message in error and error.startswith("rollups.yaml:2:") for error in caught.value.errors), caught.value


def test_one_field_has_one_function() -> None:
    with pytest.raises(MappingError, match=r"rollups\.yaml:3: matter\.billed_total is declared before with another"):
        load_rollups(f"rollups:\n  - {{{SOUND}}}\n  - {{{SOUND}, blank: yes}}\n")

"""Rollups: exact sums of what counts, whatever the order; declared faults are named."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mappings.canonical import KINDS, Values
from mappings.language import MappingError
from mappings.rollups import load_rollups

TOTAL, MATTER_TOTAL = load_rollups()


def an_invoice(total: str | None, status: str = "issued", currency: str = "USD") -> Values:
    return {"total": total, "status": status, "currency": currency}


def test_the_shipped_rollups() -> None:
    assert (TOTAL.kind, TOTAL.field, TOTAL.source_kind, TOTAL.via, TOTAL.on) == (
        "opportunity", "billed_total", "invoice", "matter", "matter",
    )  # fmt: skip
    assert (MATTER_TOTAL.kind, MATTER_TOTAL.on) == ("matter", "self")
    declared = {(rollup.kind, rollup.field) for rollup in load_rollups()}
    assert declared == {(k.name, f.name) for k in KINDS.values() for f in k.fields.values() if f.rollup}


def test_only_what_is_issued_or_paid_counts() -> None:
    sources = [an_invoice("100.10"), an_invoice("0.20", "paid"), an_invoice("5", "draft"), an_invoice("7", "void")]
    assert TOTAL.compute(sources) == "100.3"
    assert TOTAL.condition(sources[0])
    assert not TOTAL.condition(sources[2])


def test_nothing_adds_up_to_zero() -> None:
    assert TOTAL.compute([]) == "0"
    assert TOTAL.compute([an_invoice("5", "draft"), an_invoice(None)]) == "0"


def test_two_currencies_have_no_sum() -> None:
    assert TOTAL.compute([an_invoice("1"), an_invoice("1", currency="EUR")]) is None
    assert TOTAL.compute([an_invoice("1"), an_invoice("1", "draft", "EUR")]) == "1"


@given(st.lists(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=2)))
def test_sums_are_exact_in_any_order(amounts: list[Decimal]) -> None:
    sources = [an_invoice(format(amount, "f")) for amount in amounts]
    total = TOTAL.compute(sources)
    random.Random(3).shuffle(sources)
    assert TOTAL.compute(sources) == total is not None
    assert Decimal(total) == sum(amounts)


def test_counts_and_latest() -> None:
    text = (
        "rollups:\n  - {field: matter.billed_total, count: invoice, through: matter, of: self}\n"
        "  - {field: matter.billed_total, latest: invoice.issued_on, through: matter, of: self}\n"
    )
    count, latest = load_rollups(text)
    sources: list[Values] = [{"issued_on": "2026-01-02"}, {"issued_on": "2026-03-01"}, {"issued_on": None}]
    assert count.compute(sources) == "3"
    assert latest.compute(sources) == "2026-03-01"
    assert latest.compute([]) is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sum: invoice.total", "sum: invoice.totl", "invoice has no field 'totl'; did you mean 'total'?"),
        ("sum: invoice.total", "sum: invoice.number", "number is text, expected decimal"),
        ("sum: invoice.total", "sum: invioce.total", "there is no kind 'invioce'; did you mean 'invoice'?"),
        ("field: matter.billed_total", "field: matter.name", "'matter.name' is no rollup field"),
        ("through: matter", "through: number", "invoice has no reference 'number'"),
        ("of: self", "of: number", "matter has no reference 'number'"),
        ("of: self", "off: self", "unknown word 'off'; did you mean 'of'?"),
    ],
)
def test_faults_are_named(old: str, new: str, message: str) -> None:
    text = "rollups:\n  - {field: matter.billed_total, sum: invoice.total, through: matter, of: self}\n"
    with pytest.raises(MappingError) as caught:
        load_rollups(text.replace(old, new))
    assert any(message in error and error.startswith("rollups.yaml:2:") for error in caught.value.errors)

"""Laws of the gate: what no row names stays behind, and taking a class out of a row never lets more through."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mappings.canonical import CLASSES, KINDS
from syncd.core.gate import SHIPPED_MATRIX, decide

names = st.sampled_from(["title", "total", "narrative", "balance", "unheard_of"])
class_of = {"title": "contact", "total": "financial", "narrative": "narrative", "balance": "trust"}
rows = st.frozensets(st.sampled_from(CLASSES))


@given(st.frozensets(names), rows)
def test_every_field_is_either_allowed_or_refused_with_its_rule(fields: frozenset[str], row: frozenset[str]) -> None:
    decision = decide(fields, class_of, "practice", {"practice": row})
    refused = {name for name, _ in decision.redacted}
    assert decision.allowed | refused == fields
    assert not decision.allowed & refused
    assert decision.outcome == ("allow" if not refused else "redact" if decision.allowed else "deny")
    assert all(rule.startswith("matrix: practice refuses") for _, rule in decision.redacted)


@given(st.frozensets(names), rows, rows)
def test_a_smaller_row_never_allows_more(fields: frozenset[str], row: frozenset[str], less: frozenset[str]) -> None:
    wide = decide(fields, class_of, "practice", {"practice": row})
    narrow = decide(fields, class_of, "practice", {"practice": row - less})
    assert narrow.allowed <= wide.allowed
    assert {n for n in wide.allowed if class_of[n] not in less} == narrow.allowed


@given(st.frozensets(names, min_size=1), rows)
def test_an_unknown_zone_gets_nothing(fields: frozenset[str], row: frozenset[str]) -> None:
    assert decide(fields, class_of, "elsewhere", {"practice": row}).outcome == "deny"


@given(rows)
def test_a_field_without_a_class_never_leaves(row: frozenset[str]) -> None:
    assert decide(["unheard_of"], class_of, "practice", {"practice": row}).outcome == "deny"


def test_trust_money_and_consent_are_in_no_shipped_row_and_every_field_has_a_class() -> None:
    for row in SHIPPED_MATRIX.values():
        assert not row & {"trust", "consent"}
        assert row <= set(CLASSES)
    for kind in KINDS.values():
        assert all(field.cls in CLASSES for field in kind.fields.values())


def test_the_decision_is_stored_with_its_rule() -> None:
    decision = decide(["title", "narrative"], class_of, "marketing", SHIPPED_MATRIX)
    assert decision.document() == {
        "outcome": "redact",
        "rule": "matrix: marketing refuses narrative",
        "redacted": ["narrative"],
    }

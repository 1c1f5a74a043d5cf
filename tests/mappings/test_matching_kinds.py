"""Matching of staff, payments, touchpoints and documents: sure on exact evidence, doubtful ones wait, the rest stay apart."""

from __future__ import annotations

from typing import Any

import pytest

from mappings.canonical import KINDS, Values
from mappings.matching import decide, keys

ADA: Values = {"given_name": "Ada", "family_name": "Whitfield", "email": "ada@firm.example"}
PAID: Values = {"number": "P-17", "amount": "750.00", "currency": "USD"}
CALL: Values = {"message_id": "<17@mail.example>", "at": "2026-11-20T10:00:00.000000Z", "type": "mail"}
DEED: Values = {"number": "4711", "version": "2", "name": "Deed of Trust.docx"}


@pytest.mark.parametrize(
    ("kind", "a", "change", "outcome"),
    [
        ("staff_member", ADA, {}, "same"),
        ("staff_member", ADA, {"given_name": "ADA"}, "same"),
        ("staff_member", ADA, {"email": None}, "review"),
        ("staff_member", ADA, {"email": "ada.whitfield@firm.example"}, "review"),
        ("staff_member", ADA, {"given_name": "Bruno", "family_name": "Castell"}, "review"),
        ("staff_member", ADA, {"given_name": "Bruno", "family_name": "Castell", "email": None}, "different"),
        ("staff_member", ADA | {"timekeeper_id": "AW"}, {"email": None}, "same"),
        ("staff_member", ADA | {"timekeeper_id": "AW"}, {"timekeeper_id": "AX"}, "review"),
        ("staff_member", ADA, {"given_name": None, "email": None}, "different"),
        ("payment", PAID, {}, "same"),
        ("payment", PAID, {"amount": "750"}, "same"),
        ("payment", PAID, {"amount": "75"}, "review"),
        ("payment", PAID, {"currency": "EUR"}, "review"),
        ("payment", PAID, {"currency": None}, "review"),
        ("payment", PAID, {"number": "P-18"}, "different"),
        ("payment", PAID, {"number": None}, "different"),
        ("touchpoint", CALL, {}, "same"),
        ("touchpoint", CALL, {"message_id": "17@mail.example", "type": None}, "same"),
        ("touchpoint", CALL, {"at": "2026-11-27T10:00:00.000000Z"}, "review"),
        ("touchpoint", CALL, {"message_id": None}, "different"),
        ("touchpoint", CALL, {"message_id": "<18@mail.example>"}, "different"),
        ("document", DEED, {}, "same"),
        ("document", DEED, {"name": "deed of trust.DOCX"}, "same"),
        ("document", DEED, {"name": "Complaint.docx"}, "review"),
        ("document", DEED, {"name": None}, "review"),
        ("document", DEED, {"version": "3"}, "different"),
        ("document", DEED, {"number": None}, "different"),
    ],
)
def test_verdicts(kind: str, a: Values, change: dict[str, Any], outcome: str) -> None:
    b = {**a, **change}
    verdict = decide(kind, a, b)
    assert verdict.outcome == outcome, verdict
    assert verdict == decide(kind, b, a)
    assert verdict.reasons
    assert not any(str(value) in reason for reason in verdict.reasons for value in a.values() if len(str(value)) > 3)


@pytest.mark.parametrize(
    ("kind", "values"), [("staff_member", ADA), ("payment", PAID), ("touchpoint", CALL), ("document", DEED)]
)
def test_records_that_are_the_same_share_a_key(kind: str, values: Values) -> None:
    assert keys(kind, values)
    assert keys(kind, {}) == ()


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"person", "organisation", "matter", "invoice", "staff_member"}))
def test_a_kind_without_evidence_is_never_linked_by_itself(kind: str) -> None:
    assert decide(kind, {}, {}).outcome == "different"

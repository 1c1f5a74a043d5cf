"""The canonical model: complete, described, published as it is, and closed where nothing may leave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from mappings import model_reference
from mappings.canonical import CLASSES, KINDS, MODELS, TYPES, validate
from mappings.load import load, shipped
from syncd.core.gate import SHIPPED_MATRIX, decide
from tests.mappings.generated import mappings, records

DOCS = Path(__file__).parents[2] / "docs"
ALL = mappings()
SCHEMA = model_reference.json_schema()


def test_every_kind_that_a_firm_works_with_is_there() -> None:
    assert set(KINDS) == set(
        "person organisation relationship matter opportunity time_entry expense invoice payment touchpoint document"
        " referral staff_member".split()
    )


@pytest.mark.parametrize("name", KINDS)
def test_every_field_says_what_it_is(name: str) -> None:
    kind = KINDS[name]
    assert kind.description
    for field in kind.fields.values():
        assert field.description.endswith(".")
        assert field.type in TYPES
        assert field.cls in CLASSES
        assert (field.type == "enum") == bool(field.values)
        assert (field.type == "ref") == bool(field.refs)
        assert (field.type == "set") == (field.item is not None)
        assert set(field.refs) <= set(KINDS)
        if field.primary_of:
            assert kind.fields[field.primary_of].item == field.type


@pytest.mark.parametrize("name", KINDS)
def test_names_carry_their_unit(name: str) -> None:
    for field in KINDS[name].fields.values():
        assert (field.type == "date") == (field.name.endswith("_on") or field.name == "birth_date"), field.name
        assert (field.type == "instant") == (field.name == "at" or field.name.endswith("_at")), field.name
        if "currency" in field.name:
            assert "ISO 4217" in field.description


@pytest.mark.parametrize("name", KINDS)
def test_money_has_a_currency_beside_it(name: str) -> None:
    fields = KINDS[name].fields
    amounts = {f.name for f in fields.values() if f.type == "decimal" and f.cls == "financial"} - {
        "fee_percent",
        "quantity",
    }
    assert not amounts or any("currency" in field for field in fields), amounts


def test_what_is_free_text_about_the_work_is_narrative() -> None:
    for kind in KINDS.values():
        for field in kind.fields.values():
            if field.name in ("narrative", "subject", "next_step", "folder") or (
                kind.name == "document" and field.name == "name"
            ):
                assert field.cls == "narrative", f"{kind.name}.{field.name}"
    assert {field.cls for field in KINDS["relationship"].fields.values()} == {"narrative"}
    assert KINDS["matter"].fields["trust_balance"].cls == KINDS["payment"].fields["is_from_trust"].cls == "trust"


@pytest.mark.parametrize("zone", [*SHIPPED_MATRIX, "somewhere else"])
@pytest.mark.parametrize("name", KINDS)
def test_trust_and_consent_enter_no_zone_and_identity_documents_stay_in_practice(name: str, zone: str) -> None:
    classes = {field.name: field.cls for field in KINDS[name].fields.values()}
    allowed = {classes[field] for field in decide([*classes, "no such field"], classes, zone, SHIPPED_MATRIX).allowed}
    assert not allowed & {"trust", "consent"}
    assert zone == "practice" or "identity_document" not in allowed
    assert zone in ("practice", "accounting") or "narrative" not in allowed
    assert zone in SHIPPED_MATRIX or not allowed, "an unknown zone is denied everything"


@pytest.mark.parametrize("connector", shipped())
def test_no_shipped_line_writes_what_the_gate_would_refuse_everywhere(connector: str) -> None:
    for mapping in load(connector).mappings:
        for name, line in mapping.lines.items():
            assert line.direction == "in" or KINDS[mapping.kind].fields[name].cls not in ("trust", "consent"), name


def test_subjects_and_descriptions_of_touchpoints_are_not_even_read() -> None:
    (task,) = load("salesforce").of("Task")
    assert not {"Subject", "Description"} & set(task.vendor_fields)


def test_the_published_files_are_current() -> None:
    schema = json.loads((DOCS / model_reference.SCHEMA_FILE).read_text(encoding="utf-8"))
    assert schema == SCHEMA, "run: python -m mappings.model_reference docs"
    page = (DOCS / model_reference.PAGE_FILE).read_text(encoding="utf-8")
    assert page == model_reference.page(), "run: python -m mappings.model_reference docs"


def test_the_page_names_every_field() -> None:
    page = model_reference.page()
    for kind in KINDS.values():
        _, _, section = page.partition(f"\n## {kind.name}\n")
        section = section.partition("\n## ")[0]
        for field in kind.fields.values():
            row = next(line for line in section.splitlines() if line.startswith(f"| `{field.name}` |"))
            assert f"| {field.cls} |" in row
            assert ("Computed: " in row) == field.rollup


def validator(kind: str) -> Draft202012Validator:
    return Draft202012Validator(
        {**SCHEMA, "$ref": f"#/$defs/{kind}"}, format_checker=Draft202012Validator.FORMAT_CHECKER
    )


def test_the_schema_is_a_schema_and_refuses_what_the_model_refuses() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("person", {"given_nam": "Jane"}),
        ("person", {"birth_date": "20. 11. 1980"}),
        ("person", {"emails": {"a@b.c": {"label": "work"}}}),
        ("person", {"emails": {"a@b.c": {"value": "a@b.c", "label": "cell"}}}),
        ("matter", {"status": "paused"}),
        ("invoice", {"total": "twelve"}),
        ("organisation", {"employees": "many"}),
        ("touchpoint", {"type": "fax"}),
    ]
    for kind, values in wrong:
        assert not validator(kind).is_valid(values), (kind, values)
        with pytest.raises(ValueError, match="validation error"):
            validate(kind, values)


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_what_mappings_read_fits_the_published_schema(name: str, data: st.DataObject) -> None:
    mapping, _ = ALL[name]
    values = mapping.get(data.draw(records(mapping.plan)))
    assert list(validator(mapping.kind).iter_errors(values)) == []


def test_models_and_tables_agree() -> None:
    for name, model in MODELS.items():
        assert tuple(model.model_fields) == tuple(KINDS[name].fields)
        assert model().model_dump(exclude_none=True) == {}, "nothing is required: a missing field was not stated"

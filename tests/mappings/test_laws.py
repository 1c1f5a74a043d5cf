"""The laws of every shipped mapping, over generated vendor records and generated values to write."""

from __future__ import annotations

import copy
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mappings.canonical import validate
from mappings.plan import FIRST, ListLine
from tests.mappings.generated import canonical_values, plans, records

JSON = dict[str, Any]
ALL = {f"{mapping.connector}: {mapping.resource} -> {mapping.kind}": (plan, mapping) for plan, mapping in plans()}
every_mapping = pytest.mark.parametrize("name", ALL)
laws = settings(
    max_examples=int(os.environ.get("SYNCD_LAW_EXAMPLES", "30")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def after(body: JSON | None, changes: JSON) -> JSON:
    return {**(body or {}), **copy.deepcopy(changes)}


@every_mapping
@laws
@given(data=st.data())
def test_writing_what_was_read_changes_nothing(name: str, data: st.DataObject) -> None:
    plan, mapping = ALL[name]
    body = data.draw(records(plan))
    assert mapping.applies(body)
    assert mapping.put(mapping.get(body), body) == {}


@every_mapping
@laws
@given(data=st.data())
def test_what_was_written_reads_as_the_declared_rendition(name: str, data: st.DataObject) -> None:
    plan, mapping = ALL[name]
    body, values = data.draw(records(plan) | st.none()), data.draw(canonical_values(plan))
    shown = mapping.get(after(body, mapping.put(values, body)))
    assert {name: shown[name] for name in values if name in shown} == mapping.render(values, body)


@every_mapping
@laws
@given(data=st.data())
def test_writing_twice_is_writing_once(name: str, data: st.DataObject) -> None:
    plan, mapping = ALL[name]
    body, values = data.draw(records(plan) | st.none()), data.draw(canonical_values(plan))
    once = after(body, mapping.put(values, body))
    assert mapping.put(values, once) == {}


@every_mapping
@laws
@given(data=st.data())
def test_rendering_a_rendition_changes_nothing(name: str, data: st.DataObject) -> None:
    plan, mapping = ALL[name]
    body, values = data.draw(records(plan)), data.draw(canonical_values(plan))
    shown = mapping.render(values, body)
    written = after(body, mapping.put(values, body))
    assert mapping.render(shown, written) == shown
    assert mapping.put(shown, written) == {}


@every_mapping
@laws
@given(data=st.data())
def test_a_write_touches_only_what_differs_and_keeps_what_is_not_mapped(name: str, data: st.DataObject) -> None:
    plan, mapping = ALL[name]
    body, values = data.draw(records(plan)), data.draw(canonical_values(plan))
    untouched = copy.deepcopy(body)
    changes = mapping.put(values, body)
    assert body == untouched, "the record itself is never edited"
    assert changes.keys() <= set(mapping.vendor_fields)
    assert all(name not in body or body[name] != value for name, value in changes.items())
    for property_name, value in changes.items():
        held = body.get(property_name)
        if isinstance(value, list) and isinstance(held, list):
            before = [
                (entry["id"], entry["unknown"]) for entry in held if isinstance(entry, dict) and "unknown" in entry
            ]
            now = [(entry["id"], entry["unknown"]) for entry in value if isinstance(entry, dict) and "unknown" in entry]
            assert all(now.count(entry) <= before.count(entry) for entry in now), "kept entries keep their ids and data"
            if not any(isinstance(line, ListLine) and line.primary == FIRST for line in plan.lines):
                rest = iter(before)
                assert all(entry in rest for entry in now), "and their order"


@every_mapping
@laws
@given(data=st.data())
def test_values_fit_the_canonical_model(name: str, data: st.DataObject) -> None:
    plan, mapping = ALL[name]
    values = mapping.get(data.draw(records(plan)))
    validate(mapping.kind, values)
    assert values.keys() <= mapping.lines.keys()


@every_mapping
@laws
@given(data=st.data())
def test_a_new_record_falls_under_its_own_mapping(name: str, data: st.DataObject) -> None:
    plan, mapping = ALL[name]
    assert mapping.applies(mapping.put(data.draw(canonical_values(plan)), None))

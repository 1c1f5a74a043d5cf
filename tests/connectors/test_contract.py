"""Values of the contract."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.contract import Record, Version

plain = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()
values = plain | st.lists(plain, max_size=2) | st.dictionaries(st.text(), plain, max_size=2)
bodies = st.dictionaries(st.text(), values, max_size=4)


@given(bodies)
def test_a_record_is_the_same_from_a_body_and_from_its_text(body: dict[str, Any]) -> None:
    text = orjson.dumps(body)
    there, here = Record("1", Version("v"), body), Record("1", Version("v"), text)
    assert there == here
    assert here.body == there.body == body
    assert here.raw == there.raw == text


def test_records_differ_by_each_of_their_parts() -> None:
    one = Record("1", Version("v"), {"a": 1})
    others = [
        Record("2", Version("v"), {"a": 1}), Record("1", None, {"a": 1}), Record("1", Version("v"), b'{"a":2}'),
        Record("1", Version("v"), {"a": 1}, deleted=True),
    ]  # fmt: skip
    assert all(one != other for other in others)
    assert one != "1"


def test_a_record_shows_no_data_of_a_person() -> None:
    assert repr(Record("1", None, {"name": "Jane"})) == "<record 1>"


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b"null", b'{"a": "\xff"}'])
def test_text_that_is_no_object_is_an_error_when_somebody_looks(text: bytes) -> None:
    record = Record("1", None, text)
    with pytest.raises((ValueError, TypeError)):
        _ = record.body
    assert record.raw == text

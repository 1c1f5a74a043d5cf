"""A masked example tells how a value is made up, and nothing that was in it."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.masking import SHOWN_MAX, masked


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        ("Ana 17", "Aaaa 99".replace("aaa", "aa", 1)),
        ("Wintherbottom", "Aaaaa"),
        ("(212) 555-0101", "(999) 999-9999"),
        ("ana@example.com", "a…@…"),
        ("1980-02-29", "9999-99-99"),
        ("Łukasz Ö", "Aaaaa A"),
        (1250.5, "9999.9"),
        (True, "yes or no"),
        ([1], "a list"),
        ([], ""),
        ({"id": 1}, "an object"),
        (None, ""),
        ("", ""),
    ],
)
def test_shapes(value: Any, shape: str) -> None:
    assert masked(value) == shape


@given(st.text(max_size=200))
def test_no_letter_and_no_digit_of_a_value_shows(value: str) -> None:
    shape = masked(value)
    assert len(shape) <= SHOWN_MAX
    assert set(shape) <= set(string.punctuation) | set("Aa9 ·…")

"""The pages that are made from the code are current, and name every word and transform."""

from __future__ import annotations

from pathlib import Path

import pytest

from mappings import words
from mappings.reference import PAGE, pages
from mappings.transforms import SHIPPED

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", pages())
def test_a_made_page_is_current(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == pages()[name], "run: python -m mappings.reference"


def test_the_reference_names_every_word_and_every_transform() -> None:
    page = pages()[PAGE]
    known = {word.name for form in words.FORMS.values() for word in form.words} | set(SHIPPED) | set(words.RECORD)
    assert [name for name in sorted(known) if f"`{name}`" not in page] == []

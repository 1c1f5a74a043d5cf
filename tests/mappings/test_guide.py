"""The guide's own files: the lines load on the shipped mapping, and its cases hold with them."""

from __future__ import annotations

import re
from pathlib import Path

from mappings.cases import read_cases, run
from mappings.load import load

GUIDE = Path(__file__).parents[2] / "docs" / "mapping-guide.md"


def test_what_the_guide_shows_works(tmp_path: Path) -> None:
    lines, cases = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    own = tmp_path / "crm.yaml"
    own.write_text(lines)
    mapping = load("salesforce", override=own)
    assert mapping.of("Contact")[0].lines.keys() >= {"client_number", "suffix", "birth_date"}
    outcomes = list(run(read_cases(cases, "cases/crm.yaml"), mapping))
    assert len(outcomes) == 2
    assert [each.failures for each in outcomes] == [(), ()]


def test_every_word_of_a_case_is_in_the_guide() -> None:
    from mappings.cases import _CASE

    text = GUIDE.read_text(encoding="utf-8")
    table = text[text.index("| word of a case") :]
    assert [word for word in _CASE if f"`{word}`" not in table and word != "note"] == []

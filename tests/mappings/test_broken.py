"""More than a hundred broken mapping files: each is refused with the right words at the right line.

The cases stand in broken.txt: a good file with some lines (-) replaced by others (+), then the line and the words of
the error. A third column of a case's title says what else is looked at, beside loading: `twice` (two connections with
this mapping), `zone NAME` (the flow matrix), `holds RESOURCE PATH FACT` (what the account's own schema says).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from mappings.flows import authorities, forbidden
from mappings.language import fact_of
from mappings.load import MappingError, load_text, shipped
from mappings.losses import undeclared
from mappings.schema import json_schema
from syncd.core.gate import SHIPPED_MATRIX

HERE = Path(__file__).parent
MAPPINGS = HERE.parents[1] / "mappings"
GOOD = {path.stem: path.read_text(encoding="utf-8") for path in sorted((HERE / "good").glob("*.yaml"))}
SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


@dataclass(frozen=True)
class Case:
    fault: str
    base: str
    also: str
    text: str
    line: int
    says: str


def cases() -> Iterator[Case]:
    for block in (HERE / "broken.txt").read_text(encoding="utf-8").strip().split("\n\n"):
        title, *rest = block.split("\n")
        fault, base, also = ([part.strip() for part in title.split("|")] + ["", ""])[:3]
        old = "".join(f"{line[2:]}\n" for line in rest if line.startswith("- "))
        new = "".join(f"{line[2:]}\n" for line in rest if line.startswith("+ "))
        line, _, says = rest[-1].partition(": ")
        good = GOOD.get(base, "")
        assert good.count(old) == 1 or not base, (
            f"{fault}: the lines to replace stand {good.count(old)} times in {base}"
        )
        yield Case(fault, base, also, good.replace(old, new) if base else new, int(line), says)


CASES = list(cases())


def errors_of(text: str, base: str, also: str) -> tuple[tuple[str, ...], str]:
    """What is said of a mapping, and the file that it is said of."""
    try:
        if base == "own":
            clio = (MAPPINGS / "clio.yaml").read_text(encoding="utf-8")
            mapping = load_text(clio, "clio.yaml", override=(text, "own.yaml"))
        else:
            mapping = load_text(text, "acme.yaml")
    except MappingError as error:
        return error.errors, "own.yaml" if base == "own" else "acme.yaml"
    question, _, rest = also.partition(" ")
    match question:
        case "twice":
            return tuple(clash.error for clash in authorities({"a": mapping, "b": mapping})[1]), "acme.yaml"
        case "zone":
            return forbidden(mapping, rest, SHIPPED_MATRIX[rest]), "acme.yaml"
        case "holds":
            resource, path, fact = rest.split(" ", 2)
            known = fact_of(fact)
            assert known is not None
            return undeclared(mapping, {resource: {path: known}}), "acme.yaml"
    return (), ""


@pytest.mark.parametrize("case", CASES, ids=[case.fault for case in CASES])
def test_a_broken_file_is_refused_with_the_right_words_at_the_right_line(case: Case) -> None:
    errors, file = errors_of(case.text, case.base, case.also)
    assert any(each.startswith(f"{file}:{case.line}: ") and case.says in each for each in errors), errors
    assert len(errors) <= 3, "one fault is not told as many"


def test_there_are_more_than_a_hundred_and_the_good_files_are_good() -> None:
    assert len(CASES) > 100
    assert len({case.fault for case in CASES}) == len(CASES)
    assert all(errors_of(text, base, "") == ((), "") for base, text in GOOD.items())
    for case in CASES:
        if case.also.startswith("zone"):
            assert errors_of(case.text, case.base, "zone practice")[0] == ()


class _Plain(yaml.SafeLoader):
    """YAML 1.2, as editors read it: yes, no, on, off are words."""


_Plain.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if not tag.endswith((":bool", ":timestamp"))]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Plain.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("true|false"), list("tf"))


def as_editors_read(text: str) -> Any:
    return yaml.load(text, Loader=_Plain)


@pytest.mark.parametrize("connector", shipped())
def test_every_shipped_mapping_fits_the_schema(connector: str) -> None:
    text = (MAPPINGS / f"{connector}.yaml").read_text(encoding="utf-8")
    VALIDATOR.validate(as_editors_read(text))
    VALIDATOR.validate(yaml.safe_load(text))


def test_the_schema_is_one_and_refuses_most_broken_files() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for text in GOOD.values():
        VALIDATOR.validate(as_editors_read(text))
    seen = unseen = 0
    for case in CASES:
        if case.also:
            continue
        try:
            valid = VALIDATOR.is_valid(as_editors_read(case.text))
        except yaml.YAMLError:
            continue
        seen, unseen = seen + (not valid), unseen + valid
    assert seen > 75, (seen, unseen)
    assert seen > unseen, (seen, unseen)

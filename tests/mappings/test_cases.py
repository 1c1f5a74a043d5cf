"""Cases of mappings: the shipped ones hold, each sort of failure is told, and wrong files are told with their line."""

from __future__ import annotations

import pytest

from mappings.cases import read_cases, run, run_shipped, shipped_cases
from mappings.differences import lines, shipped_lines
from mappings.language import MappingError
from mappings.load import load, shipped

HEAD = "connector: clio\ncases:\n"


@pytest.mark.parametrize("connector", shipped())
def test_the_shipped_cases_hold(connector: str) -> None:
    outcomes = list(run_shipped(connector))
    assert outcomes
    assert [(each.name, each.failures) for each in outcomes if each.failures] == []
    cases = shipped_cases()[connector]
    assert any(case.given for case in cases.cases)
    assert connector == "memory" or len(cases.cases) >= 2


@pytest.mark.parametrize(
    ("case", "failure"),
    [
        ("given: {type: Person, first_name: Ana}, expect: {given_name: Eva}", "given_name: expected Eva, found Ana"),
        ("given: {type: Person}, expect: {given_name: Eva}", "given_name: expected Eva, found no statement"),
        ("given: {type: Person, title: x}, silent: [title]", "title: expected no statement, found x"),
        (
            "given: {type: Person}, expect: {givn_name: x}",
            "person has no field 'givn_name'; did you mean 'given_name'?",
        ),
        ("given: {type: Person, title: {a: 1}}, expect: {title: x}", "the record is put aside: title: expected text"),
        ("given: {type: Person}, aside: title", "was to be put aside because of title, and was read"),
        ("given: {type: Robot}, expect: {title: x}", "no record mapping applies to this record"),
        ("put: {title: Chair}, into: {type: Person, title: x}, expect: {}", "title: would be written as Chair"),
        ("put: {title: Chair}, into: {type: Person}, expect: {titel: x}", "titel: expected to be written as x"),
        ("put: {title: A}, into: {type: Person}, expect: {title: B}", "expected to be written as B, would be A"),
        ("put: {titel: A}, into: {type: Person}, expect: {}", "person has no field 'titel'; did you mean 'title'?"),
        ("put: {title: A}, expect: {}", "say which 'kind' is meant: person, organisation"),
        (
            "given: {type: Person, email_addresses: [{address: a@x.org}]}, expect: {emails: [b@x.org]}",
            "emails: expected b@x.org, found [{value: a@x.org}]",
        ),
        (
            "given: {type: Person, email_addresses: [{address: a@x.org}]}, expect: {emails: []}",
            "emails: found {value: a@x.org}, which was not expected",
        ),
    ],
)
def test_a_case_that_does_not_hold_says_why(case: str, failure: str) -> None:
    cases = read_cases(f"{HEAD}  - {{name: one, resource: contacts, {case}}}\n", "clio.yaml")
    (outcome,) = run(cases, load("clio"))
    assert outcome.where == "clio.yaml:3"
    assert failure in " ".join(outcome.failures), outcome.failures


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("connector: clo\ncases: []\n", "clio.yaml:1: connector: found 'clo', expected one of"),
        ("connector: clio\n", "clio.yaml:1: the file: 'cases' is missing"),
        (HEAD + "  - {resource: contacts, given: {}, expect: {}}\n", "clio.yaml:3: a case: 'name' is missing"),
        (
            HEAD + "  - {name: a, resource: contacts, expect: {}}\n",
            "expected either 'given' (a vendor record) or 'put'",
        ),
        (HEAD + "  - {name: a, resource: contacts, given: {}}\n", "clio.yaml:3: a case: 'expect' is missing"),
        (HEAD + "  - {name: a, resource: contacts, given: x, expect: {}}\n", "given: expected names with values"),
        (
            HEAD + "  - name: a\n    resorce: contacts\n",
            "clio.yaml:4: a case: unknown word 'resorce'; did you mean 'resource'?",
        ),
        (HEAD + "  - {name: a, resource: c, given: {}, into: {}, expect: {}}\n", "'into' is the record into which"),
        (
            HEAD + "  - {name: a, resource: c, kind: robot, given: {}, expect: {}}\n",
            "kind: found 'robot', expected one of",
        ),
    ],
)
def test_a_wrong_file_of_cases_is_told_with_its_line(text: str, fault: str) -> None:
    with pytest.raises(MappingError) as raised:
        read_cases(text, "clio.yaml")
    assert any(fault in error for error in raised.value.errors), raised.value.errors


def test_lines_are_compared_by_what_they_say() -> None:
    one = lines(
        "records:\n- resource: a\n  kind: person\n  fields:\n    title: {path: T, note: ours, cut: 3}\n", "x.yaml"
    )
    two = lines("records:\n- {resource: a, kind: person, fields: {title: {path: T,   cut: 3}}}\n", "y.yaml")
    key = ("a", "person", "title")
    assert one[key].text == two[key].text == "{path: T, cut: 3}"
    assert (one[key].where, two[key].where) == ("x.yaml:5", "y.yaml:2")
    assert shipped_lines("nobody") == {}
    assert shipped_lines("clio")["contacts", "person", "title"].text == "title"
    assert lines("a: [", "broken.yaml") == {}

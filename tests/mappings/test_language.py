"""Broken mapping files: every fault is named with its file and line, what was found, and what was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from mappings.language import MappingError
from mappings.load import load, load_text, shipped

GOOD = """\
connector: acme
records:
  - resource: contacts
    kind: person
    creates: yes
    modified: updated_at
    fields:
      given_name: first
      family_name: last
      emails: {list: mails, value: address, loses: labels, primary: main}
      organisation: {ref: firms, path: firm, in: id, id: number}
  - resource: firms
    kind: organisation
    fields:
      name: name
"""


def broken(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new, 1)


BROKEN = [
    ("unknown field", broken("given_name: first", "givn_name: first"), "8", "person has no field 'givn_name'; did you mean 'given_name'?"),
    ("field of another kind", broken("given_name: first", "industry: first"), "8", "person has no field 'industry'"),
    ("unknown kind", broken("kind: person", "kind: human"), "4", "kind: found 'human', expected one of: person, organisation"),
    ("unknown record word", broken("creates: yes", "create: yes"), "5", "unknown word 'create'; did you mean 'creates'?"),
    ("unknown line word", broken("primary: main}", "primery: main}"), "10", "emails: unknown word 'primery'; did you mean 'primary'?"),
    ("missing connector", broken("connector: acme\n", ""), "1", "'connector' is missing"),
    ("missing records", "connector: acme\n", "1", "'records' is missing"),
    ("missing resource", broken("resource: firms\n    kind", "kind"), "12", "a record: 'resource' is missing"),
    ("not yes or no", broken("creates: yes", "creates: maybe"), "5", "creates: expected yes or no, found 'maybe'"),
    ("direction", broken("value: address,", "value: address, direction: inn,"), "10", "direction: found 'inn', expected one of: both, in, out"),
    ("strength", broken("value: address,", "value: address, strength: enforced,"), "10", "did you mean 'enforce'?"),
    ("path", broken("given_name: first", "given_name: first..x"), "8", "cannot read the path 'first..x'"),
    ("set as a plain path", broken("given_name: first", "phones: tel"), "8", "phones is a set: expected 'list' or 'slots'"),
    ("list for text", broken("given_name: first", "given_name: {list: x, value: y}"), "8", "'list' is for sets, but this field is text"),
    ("reference without ref", broken("given_name: first", "given_name: first\n      organisation: firm").replace("      organisation: {ref: firms, path: firm, in: id, id: number}\n", ""), "9", "organisation refers to another record: expected 'ref' or 'key'"),
    ("ref to an unknown resource", broken("ref: firms", "ref: firm"), "11", "no record of this file has the resource 'firm'; did you mean 'firms'?"),
    ("ref to the wrong kind", broken("ref: firms", "ref: contacts"), "11", "organisation needs organisation, but 'contacts' holds person"),
    ("list without value", broken("value: address, ", ""), "10", "emails: 'value' is missing"),
    ("cut on a date", broken("given_name: first", "birth_date: {path: born, cut: 3}"), "8", "'cut' is for text, but this field is date"),
    ("cut of nothing", broken("given_name: first", "given_name: {path: first, cut: 0}"), "8", "cut: expected a whole number from 1, found '0'"),
    ("written twice", broken("family_name: last", "family_name: first"), "9", "family_name and given_name both write the vendor's first"),
    ("same name twice", broken("family_name: last", "given_name: last"), "9", "'given_name' is given twice (first in line 8)"),
    ("primary without a flag", broken(", primary: main}", "}\n      email: {primary: emails}"), "11", "email is the primary of 'emails', which needs a line with 'list' and 'primary'"),
    ("primary of something else", broken("given_name: first", "email: {primary: phones}"), "8", "primary: found 'phones', expected 'emails'"),
    ("unknown label", broken("primary: main}", "label: {path: x, values: {wrok: Work}}}"), "10", "values: unknown word 'wrok'; did you mean 'work'?"),
    ("key of another kind", broken("{ref: firms, path: firm, in: id, id: number}", "{key: matter.number, path: firm}"), "11", "key: organisation refers to organisation, found 'matter.number'"),
    ("key that does not exist", broken("{ref: firms, path: firm, in: id, id: number}", "{key: organisation.nmae, path: firm}"), "11", "organisation has no text field 'nmae'; did you mean 'name'?"),
    ("name form", broken("given_name: first", "given_name: {part of: fullname, path: x}"), "8", "part of: found 'fullname', expected one of: given family"),
    ("two forms", broken("given_name: first", "given_name: {path: x, key: y, ref: z}"), "8", "expected one of path, custom, constant, ref, key"),
    ("off in a shipped file", broken("given_name: first", "given_name: off"), "8", "only a firm's own file can say 'off'"),
    ("same resource twice", broken("resource: firms", "resource: contacts"), "12", "contacts is also mapped at acme.yaml:3; both need a 'when'"),
    ("no YAML", broken("fields:\n      given_name: first", "fields:\n      given_name: [first"), "9", "not readable as YAML"),
    ("alias", broken("given_name: first", "given_name: &x first"), "8", "found an anchor or alias"),
    ("empty", "# nothing\n", "1", "the file is empty"),
    ("a list of records it is not", "connector: acme\nrecords: contacts\n", "2", "records: expected a list with a dash before each entry, found 'contacts'"),
]  # fmt: skip

MATTERS = """\
connector: acme
records:
  - resource: matters
    kind: matter
    fields:
      status: {path: state, values: {pending: p, open: o, closed: c}}
      billed_total: {path: billed, direction: out}
"""

BROKEN_MATTERS = [
    ("enum value missing", "closed: c", "", "6", "values: no vendor value for closed"),
    ("enum value unknown", "closed: c", "closd: c", "6", "values: unknown word 'closd'; did you mean 'closed'?"),
    ("vendor value twice", "closed: c", "closed: o", "6", "values: the vendor's 'o' already means 'open'"),
    (
        "no table",
        "{path: state, values: {pending: p, open: o, closed: c}}",
        "state",
        "6",
        "status: 'values' is missing",
    ),
    ("a total that is read", "direction: out", "direction: both", "7", "billed_total is computed from other records"),
]


@pytest.mark.parametrize(("fault", "text", "line", "message"), BROKEN, ids=[b[0] for b in BROKEN])
def test_a_fault_is_named_with_its_line(fault: str, text: str, line: str, message: str) -> None:
    with pytest.raises(MappingError) as caught:
        load_text(text, "acme.yaml")
    matching = [error for error in caught.value.errors if message in error]
    assert matching, caught.value.errors
    assert matching[0].startswith(f"acme.yaml:{line}: ")


@pytest.mark.parametrize(("fault", "old", "new", "line", "message"), BROKEN_MATTERS, ids=[b[0] for b in BROKEN_MATTERS])
def test_a_faulty_table_or_total_is_named(fault: str, old: str, new: str, line: str, message: str) -> None:
    load_text(MATTERS, "acme.yaml")
    assert old in MATTERS
    with pytest.raises(MappingError) as caught:
        load_text(MATTERS.replace(old, new, 1), "acme.yaml")
    assert any(error.startswith(f"acme.yaml:{line}: ") and message in error for error in caught.value.errors)


def test_the_good_file_loads() -> None:
    mapping = load_text(GOOD, "acme.yaml")
    assert [m.kind for m in mapping.mappings] == ["person", "organisation"]
    assert mapping.of("contacts") == (mapping.mappings[0],)
    assert mapping.of("elsewhere") == ()
    assert mapping.for_kind("person") is mapping.mappings[0]
    assert mapping.for_kind("matter") is None


def test_all_faults_of_a_file_come_at_once_in_order() -> None:
    text = (
        broken("given_name: first", "givn_name: first").replace("last", "last]").replace("creates: yes", "creates: 7")
    )
    with pytest.raises(MappingError) as caught:
        load_text(text, "acme.yaml")
    lines = [int(error.split(":")[1]) for error in caught.value.errors]
    assert len(lines) == 3
    assert lines == sorted(lines)


OWN = """\
overrides: clio
records:
  - resource: contacts
    kind: person
    fields:
      title: off
      client_number: {path: "custom_field_values[custom_field.id=4711].value"}
      prefix: {path: prefix, direction: in}
"""


def test_a_firms_own_file_changes_single_lines(tmp_path: Path) -> None:
    own = tmp_path / "clio-firm.yaml"
    own.write_text(OWN, encoding="utf-8")
    shipped_lines = load("clio").of("contacts")[0]
    changed = load("clio", override=own).of("contacts")[0]
    assert "title" not in changed.lines
    assert changed.lines["prefix"].direction == "in"
    assert changed.lines["given_name"] == shipped_lines.lines["given_name"]
    assert changed.fingerprint != shipped_lines.fingerprint
    body = {"custom_field_values": [{"id": "text_line-1", "value": "x", "custom_field": {"id": 1}}]}
    assert changed.get(body)["client_number"] is None
    written = changed.put({"client_number": "C-17"}, body)
    assert written["custom_field_values"] == [
        *body["custom_field_values"],
        {"custom_field": {"id": 4711}, "value": "C-17"},
    ]
    assert changed.get({**body, **written})["client_number"] == "C-17"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (OWN.replace("overrides: clio", "overrides: salesforce"), 1, "overrides: found 'salesforce', expected one of: clio"),
        (OWN.replace("kind: person", "kind: matter"), 3, "there is no shipped record mapping contacts -> matter to change"),
        (OWN.replace("title: off", "titel: off"), 6, "'titel' is not mapped in contacts -> person, so it cannot be off; did you mean 'title'?"),
        (OWN.replace("path: prefix,", "path: [prefix],"), 8, "path: expected text, found a list"),
    ],
)  # fmt: skip
def test_faults_in_a_firms_own_file_carry_its_name(tmp_path: Path, text: str, line: int, message: str) -> None:
    own = tmp_path / "firm.yaml"
    own.write_text(text, encoding="utf-8")
    with pytest.raises(MappingError) as caught:
        load("clio", override=own)
    assert any(error.startswith(f"firm.yaml:{line}: ") and message in error for error in caught.value.errors)


def test_fingerprints_follow_behaviour_not_comments_or_notes() -> None:
    def of(text: str, region: str = "US") -> str:
        return load_text(text, "acme.yaml", region).mappings[0].fingerprint

    assert of(GOOD) == of("# a comment\n" + GOOD)
    assert of(GOOD) == of(broken("value: address,", "value: address, note: the main one,"))
    assert of(GOOD) != of(broken("given_name: first", "given_name: forename"))
    assert of(GOOD) != of(GOOD, "GB")


def test_an_unknown_connector_is_named_with_the_known_ones() -> None:
    with pytest.raises(FileNotFoundError, match="clio"):
        load("clo")
    with pytest.raises(FileNotFoundError):
        load("../secrets")
    assert set(shipped()) == {"carddav", "clio", "memory", "salesforce", "tryton"}

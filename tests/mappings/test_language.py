"""What loading a mapping file means as a whole: all faults at once, a firm's own file, fingerprints."""

from __future__ import annotations

from pathlib import Path

import pytest

from mappings.language import MappingError
from mappings.load import load, load_text, shipped

GOOD = (Path(__file__).parent / "good" / "people.yaml").read_text(encoding="utf-8")


def broken(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new, 1)


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

"""The laws over the vendors' own documented examples, as far as their records fit a shipped mapping.

The examples are the vendors' documents and are not part of this project: they are looked for in
`../shared/vendors/examples` beside the project, or in `$SYNCD_VENDOR_FACTS/examples`; without them the tests are skipped.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.carddav import vcards
from mappings.load import RecordMapping, load
from mappings.losses import undeclared
from mappings.plan import Fact, ListLine
from tests.connectors.descriptions import specs
from tests.mappings.laws import broken_law

JSON = dict[str, Any]
FOLDERS = {"clio": "clio", "salesforce": "salesforce", "carddav": "caldav-carddav"}


def examples(connector: str) -> Path:
    folder = specs().parent / "examples" / FOLDERS[connector]
    if not folder.is_dir():
        pytest.skip(f"the vendors' examples are not here ({folder}); set SYNCD_VENDOR_FACTS to their folder")
    return folder


def objects(value: Any) -> Iterator[JSON]:
    if isinstance(value, list):
        for each in value:
            yield from objects(each)
    elif isinstance(value, dict):
        yield value
        for each in value.values():
            yield from objects(each)


def documented(connector: str) -> Iterator[tuple[str, JSON]]:
    """Every object of every example, with its file's name; for CardDAV every card, as the connector reads it."""
    for path in sorted(examples(connector).iterdir()):
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            for found in objects(json.loads(text)):
                yield path.name, found
        elif connector == "carddav":
            plain = re.sub(r"(?m)^[<>] ?", "", html.unescape(text))
            for card in re.findall(r"BEGIN:VCARD.*?END:VCARD", plain, re.DOTALL):
                yield path.name, vcards.parse(card.replace("\n", "\r\n") + "\r\n")


def fitting(mapping: RecordMapping, found: JSON) -> JSON | None:
    """The object as a record of the mapping's resource; None when it is something else."""
    named = found["attributes"].get("type") if isinstance(found.get("attributes"), dict) else None
    if named is not None and named != mapping.resource:
        return None
    lines = {str(line.path[0]): line for line in mapping.plan.lines if hasattr(line, "path")}
    shared = [lines[name] for name in found if name in lines]
    if not shared or (named is None and "ChangeEventHeader" in found):
        return None
    # Parts of other things share a name with a field: an address's `name`, say. A record has more of them, or a list.
    if len(shared) < 2 and not isinstance(shared[0], ListLine) and named is None:
        return None
    # A request to change a record leaves out what says which kind it is.
    given = {str(condition.path[0]): condition.allowed[0] for condition in mapping.plan.when}
    return {**given, **found}


# What fits, at least; more may come with more examples.
AT_LEAST = {"clio": 6, "salesforce": 12, "carddav": 3}


@pytest.mark.parametrize("connector", FOLDERS)
def test_the_laws_hold_for_the_vendors_own_examples(connector: str) -> None:
    loaded = load(connector)
    held = 0
    found = list(documented(connector))
    for mapping in loaded.mappings:
        bodies = [(file, body) for file, each in found if (body := fitting(mapping, each)) is not None]
        bodies = [(file, body) for file, body in bodies if mapping.applies(body)]
        stated = [mapping.get(body) for _, body in bodies]
        for file, body in bodies:
            held += 1
            for values in [*stated, {}]:
                assert broken_law(mapping, loaded.normalizer, body, values) == "", (mapping, file, values)
    assert held >= AT_LEAST[connector], held


def test_clio_custom_fields_and_addresses_read_as_documented() -> None:
    people = load("clio").of("contacts")[0]
    found = [body for _, each in documented("clio") if (body := fitting(people, each)) is not None]
    emails = [people.get(body)["emails"] for body in found if "email_addresses" in body]
    assert emails[0] == {
        "demo@clio.com": {"value": "demo@clio.com", "label": "work"},
        "home@clio.com": {"value": "home@clio.com", "label": "home"},
    }


TYPES = {
    "boolean": "bool", "int": "int", "date": "date", "datetime": "instant",
    "currency": "decimal", "double": "decimal", "percent": "decimal",
}  # fmt: skip


def fact(field: JSON) -> Fact:
    """What a field of a describe answer holds. A picklist that is not restricted takes any text."""
    type_: Any = "choice" if field.get("restrictedPicklist") else TYPES.get(field["type"], "text")
    return Fact(type_, field.get("length"), field.get("scale") if type_ == "decimal" else None)


@pytest.mark.parametrize("name", ["account", "contact"])
def test_the_salesforce_mapping_loses_nothing_that_it_does_not_say(name: str) -> None:
    path = specs() / f"salesforce-describe-{name}.recorded-v42.json"
    if not path.is_file():
        pytest.skip(f"the vendors' descriptions are not here ({path.parent}); set SYNCD_VENDOR_FACTS to their folder")
    recorded = json.loads(path.read_text(encoding="utf-8"))
    described = recorded.get("response", {}).get("body", recorded)
    schema = {described["name"]: {field["name"]: fact(field) for field in described["fields"]}}
    mapping = load("salesforce")
    assert undeclared(mapping, schema) == ()
    shorter = {described["name"]: {key: Fact("text", length=3) for key in schema[described["name"]]}}
    assert undeclared(mapping, shorter), "the check sees what it is given"

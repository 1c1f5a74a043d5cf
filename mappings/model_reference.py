"""The canonical model for readers outside the code: its JSON Schema and its reference page, both made from `KINDS`.

`python -m mappings.model_reference docs` writes `docs/schema/canonical.schema.json` and `docs/canonical-model.md`; a
test holds both current.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from mappings.canonical import ADDRESS_PARTS, KINDS, LABELS, Field, Kind, Labelled
from mappings.canonical import Address as AddressModel
from mappings.rollups import Rollup, Source, load_rollups

SCHEMA_FILE = "schema/canonical.schema.json"
PAGE_FILE = "canonical-model.md"

_TEXT = {"type": ["string", "null"]}
_TYPES: dict[str, dict[str, Any]] = {
    "text": _TEXT,
    "email": _TEXT,
    "phone": _TEXT,
    "ref": _TEXT,
    "date": {**_TEXT, "format": "date"},
    "instant": {**_TEXT, "format": "date-time"},
    "decimal": {**_TEXT, "pattern": r"^-?[0-9]+(\.[0-9]+)?$"},
    "bool": {"type": ["boolean", "null"]},
    "int": {"type": ["integer", "null"]},
}
_CLASSES = {
    "public": "what anybody can look up",
    "contact": "who somebody is and how to reach them",
    "business": "that and how the firm works for somebody",
    "financial": "money, except money held in trust",
    "narrative": "free text and facts that reveal strategy",
    "trust": "money held in trust; enters no zone",
    "identity_document": "tax numbers and the like; stays in the practice zone",
    "consent": "wishes about marketing; read, never written as an ordinary field",
}


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of the Values of every kind, under `$defs`; nothing is required, since a missing field
    was not stated. `x-type`, `x-class`, `x-refs` and `x-rollup` say what JSON Schema has no words for.
    """
    definitions = {name: _kind(kind) for name, kind in KINDS.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The canonical client model",
        "description": "Refer to one kind: canonical.schema.json#/$defs/person.",
        "$defs": definitions | {"labelled": _labelled(), "address": _address()},
    }


def _kind(kind: Kind) -> dict[str, Any]:
    return {
        "type": "object",
        "description": kind.description,
        "properties": {name: _field(field) for name, field in kind.fields.items()},
        "additionalProperties": False,
    }


def _field(field: Field) -> dict[str, Any]:
    shape: dict[str, Any]
    if field.type == "set":
        item = "address" if field.item == "address" else "labelled"
        shape = {"type": ["object", "null"], "additionalProperties": {"$ref": f"#/$defs/{item}"}}
    elif field.type == "enum":
        shape = {"enum": [*field.values, None]}
    else:
        shape = dict(_TYPES[field.type])
    shape |= {"description": field.description, "x-type": field.type, "x-class": field.cls}
    if field.refs:
        shape["x-refs"] = list(field.refs)
    if field.primary_of:
        shape["x-primary-of"] = field.primary_of
    if field.rollup:
        shape["x-rollup"] = True
    return shape


def _labelled() -> dict[str, Any]:
    value = {"type": "string", "description": Labelled.model_fields["value"].description}
    return _item({"value": value}, required=["value"])


def _address() -> dict[str, Any]:
    parts = AddressModel.model_fields
    return _item({part: {**_TEXT, "description": parts[part].description} for part in ADDRESS_PARTS}, required=[])


def _item(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    label = {"enum": [*LABELS, None], "description": Labelled.model_fields["label"].description}
    return {
        "type": "object",
        "properties": properties | {"label": label},
        "required": required,
        "additionalProperties": False,
    }


def page() -> str:
    """The reference page, as Markdown."""
    lines = [
        "# The canonical model",
        "",
        "Made by `python -m mappings.model_reference docs` from `mappings/canonical.py` and `mappings/rollups.yaml`;",
        "do not edit. The same as JSON Schema: [canonical.schema.json](schema/canonical.schema.json). How to map a",
        "vendor's records to it: [mapping-language.md](mapping-language.md).",
        "",
        "A mapping line names a kind and one of its fields. The class says where a field may go: the matrix in",
        "[settings.md](operating/settings.md) names the classes that each zone takes; what it does not name is denied.",
        "",
        "| class | holds |",
        "| --- | --- |",
        *(f"| `{name}` | {meaning} |" for name, meaning in _CLASSES.items()),
        "",
        "Amounts are decimal digits in text, with a currency (ISO 4217) in a field of its own. Dates are ISO dates,",
        "instants ISO 8601 in UTC, languages BCP 47 tags. Phone numbers, e-mail addresses and countries stay as they",
        "were typed and are compared in normal form: E.164, the address in lower case, ISO 3166. Labels of e-mails,",
        f"phones and addresses: {', '.join(LABELS)}.",
        "",
        "Kinds: " + ", ".join(f"[{name}](#{name})" for name in KINDS) + ".",
    ]
    declared = {(rollup.kind, rollup.field): rollup for rollup in load_rollups()}
    for name, kind in KINDS.items():
        lines += ["", f"## {name}", "", " ".join(kind.description.split()), ""]
        lines += ["| field | type | class | meaning |", "| --- | --- | --- | --- |"]
        for field in kind.fields.values():
            meaning = field.description
            if (name, field.name) in declared:
                meaning += f" Computed: {_computed(declared[name, field.name])}."
            lines.append(f"| `{field.name}` | {_type(field)} | {field.cls} | {meaning} |")
    return "\n".join(lines) + "\n"


def _type(field: Field) -> str:
    if field.type == "ref":
        return "→ " + ", ".join(field.refs)
    if field.type == "set":
        return f"set of {field.item}"
    if field.type == "enum":
        return "one of " + ", ".join(f"`{value}`" for value in field.values)
    return field.type + (" (primary)" if field.primary_of else "")


_FUNCTIONS = {"sum": "sum of", "count": "number of", "min": "least", "max": "greatest", "latest": "newest"}


def _computed(rollup: Rollup) -> str:
    """The declaration in words: "sum of invoice.total where status is issued or paid"."""
    return f"{_FUNCTIONS[rollup.function]} " + ", or ".join(map(_source, rollup.sources))


def _source(source: Source) -> str:
    words = f"`{source.kind}.{source.field}`" if source.field else f"`{source.kind}`"
    if source.by != source.field:
        words += f" by `{source.by}`" if source.by else ""
    words += f" through `{source.via}`"
    conditions = [
        f"`{name}` is " + " or ".join(_shown(value) for value in allowed) for name, allowed in source.where.items()
    ]
    if source.this_year:
        conditions.append(f"`{source.this_year}` is in the firm's current year")
    if source.alike:
        conditions.append(f"all agree in `{source.alike}`")
    return words + (" where " + " and ".join(conditions) if conditions else "")


def _shown(value: Any) -> str:
    return {None: "not stated", True: "yes", False: "no"}.get(value, str(value))


def write(folder: Path) -> None:
    """Write both files into the documentation's folder."""
    schema = folder / SCHEMA_FILE
    schema.parent.mkdir(parents=True, exist_ok=True)
    schema.write_text(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / PAGE_FILE).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1] if len(sys.argv) > 1 else "docs"))

"""JSON Schema of mapping files, made from the language's own tables, so that editors complete and check them.

It says what can be said without knowing the whole file: words, shapes, which form fits which field. What needs more
(two lines that write one property, a reference to a resource that is not there) only the parser finds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mappings import words
from mappings.canonical import KINDS, Field
from mappings.words import Form, Word

JSON = dict[str, Any]
ID = "urn:syncd:mapping"


def json_schema() -> JSON:
    """The schema (2020-12) of a connector's file and of a firm's own file."""
    defs: JSON = {name: _group(members.values()) for name, (_, members) in words.GROUPS.items()}
    defs |= {_shape_name(name): shape for name, (_, shape) in words.SHAPES.items()}
    defs["record"] = _record(words.RECORD.values(), own=False)
    defs["change"] = _record(words.CHANGE.values(), own=True)
    for kind in KINDS.values():
        for own in (False, True):
            defs[_fields_name(kind.name, own=own)] = {
                "type": "object",
                "additionalProperties": False,
                "properties": {field.name: _line(field, own=own) for field in kind.fields.values()},
            }
    for form in words.FORMS.values():
        for type_ in form.types:
            defs[_form_name(form, type_)] = _group(_fitting(form, type_)) | _together(form, type_)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": ID,
        "title": "A mapping file of syncd",
        "description": "docs/mapping-language.md",
        "oneOf": [_group(words.FILE.values()), _group(words.OVERRIDE.values())],
        "$defs": defs,
    }


def _shape(word: Word) -> JSON:
    schema: JSON = {"enum": list(word.choices)} if word.choices else {"$ref": f"#/$defs/{_shape_name(word.shape)}"}
    return {**schema, "description": word.meaning}


def _shape_name(shape: str) -> str:
    return f"a-{shape.replace(' ', '-')}"


def _group(members: Iterable[Word]) -> JSON:
    members = tuple(members)
    schema: JSON = {
        "type": "object",
        "additionalProperties": False,
        "properties": {word.name: _shape(word) for word in members},
    }
    if required := [word.name for word in members if word.required]:
        schema["required"] = required
    return schema


def _record(members: Iterable[Word], *, own: bool) -> JSON:
    schema = _group(members)
    schema["allOf"] = [
        {
            "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
            "then": {"properties": {"fields": {"$ref": f"#/$defs/{_fields_name(kind, own=own)}"}}},
        }
        for kind in KINDS
    ]
    return schema


def _fields_name(kind: str, *, own: bool) -> str:
    return f"{kind}-changes" if own else f"{kind}-fields"


def _form_name(form: Form, type_: str) -> str:
    return f"{form.name.replace(' ', '-')}-{type_}"


def _fitting(form: Form, type_: str) -> list[Word]:
    """A form's words for fields of one type."""
    found = [word for word in form.words if not word.types or type_ in word.types]
    choices = {"date": ("instant", "date"), "instant": ("date", "instant")}.get(type_, ("text", "number"))
    return [Word(w.name, w.shape, w.meaning, w.types, choices, w.required) if w.name == "as" else w for w in found]


_CONSTANTS: Mapping[str, JSON] = {
    "text": {"type": ["string", "number"]},
    "decimal": {"type": ["string", "number"], "pattern": r"^-?\d+(\.\d+)?$"},
    "int": {"type": "integer"},
    "bool": words.SHAPES["flag"][1],  # type: ignore[dict-item]
    "date": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\d$"},
    "instant": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT"},
    "enum": {"type": "string"},
}


def _together(form: Form, type_: str) -> JSON:
    """What words of a form say about one another."""
    match form.name:
        case "path" | "custom":
            alone = ["cut", "empty", "values", "as", "scale", "decimals", "negate"]
            schema: JSON = {
                "dependentRequired": {"else": ["values"]},
                "if": {"required": ["transform"]},
                "then": {"properties": dict.fromkeys(alone, False)},
            }
            if type_ == "enum":
                schema["anyOf"] = [{"required": ["values"]}, {"required": ["transform"]}]
            return schema
        case "constant":
            return {"allOf": [{"properties": {"constant": _CONSTANTS[type_]}}]}
        case "key":
            return {"allOf": [{"properties": {"key": {"pattern": r"^[a-z_]+\.[a-z_]+$"}}}]}
    return {}


def _line(field: Field, *, own: bool) -> JSON:
    """What may stand behind a field's name."""
    forms = [form for form in words.FORMS.values() if field.type in form.types and _suits(form, field)]
    any_of: list[Mapping[str, Any]] = [{"$ref": f"#/$defs/{_form_name(form, field.type)}"} for form in forms]
    if "path" in (form.name for form in forms) and field.type != "enum":
        # A firm's own file may say off, which is no path.
        any_of.insert(0, {"$ref": f"#/$defs/{_shape_name('path')}", "not": {"const": "off"}})
    if own:
        # Editors that read YAML 1.1 take a plain off for false.
        any_of.append({"enum": ["off", False]})
    schema: JSON = {"anyOf": any_of, "description": f"{field.description} ({field.type}, {field.cls})"}
    if field.type == "enum":
        schema["properties"] = {
            "values": {"propertyNames": {"enum": list(field.values)}},
            "else": {"enum": [*field.values, "nothing"]},
            "constant": {"enum": list(field.values)},
        }
    if field.rollup:
        schema["allOf"] = [{"type": "object", "required": ["direction"], "properties": {"direction": {"const": "out"}}}]
        if own:
            schema["allOf"] = [{"anyOf": [schema["allOf"][0], {"enum": ["off", False]}]}]
    if field.type == "set":
        has_parts = field.item == "address"
        wrong = ["value"] if has_parts else ["parts", "countries"]
        schema["properties"] = dict.fromkeys(wrong, False)
        schema["if"] = {"type": "object", "required": ["list"]}
        schema["then"] = {"required": ["parts" if has_parts else "value"]}
    if field.primary_of is not None:
        schema["if"] = {"type": "object", "required": ["primary"]}
        schema["then"] = {"properties": {"primary": {"const": field.primary_of}}}
    if field.type == "text":
        carrying = [form for form, names in words.NAME_FORMS.items() if field.name in names]
        schema["properties"] = {"part of": {"enum": carrying} if carrying else False}
    return schema


def _suits(form: Form, field: Field) -> bool:
    if form.name == "primary":
        return field.primary_of is not None
    if form.name == "part of":
        choices = next(word for word in form.words if word.name == "part of").choices
        return any(field.name in words.NAME_FORMS[choice] for choice in choices)
    return True

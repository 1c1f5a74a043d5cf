"""The words of the mapping language, as data: which there are, what each takes, and what it means.

The parser checks against these tables, the JSON Schema for editors and the reference page are generated from them.
A word that is not here does not exist; a word that is here is in the schema and in the reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mappings.canonical import ADDRESS_PARTS, KINDS, LABELS

TEXTS = ("text", "email", "phone")
SCALARS = ("text", "email", "phone", "date", "instant", "decimal", "int", "bool", "enum")
NAME_FORMS: Mapping[str, tuple[str, ...]] = {
    "given family": ("given_name", "family_name"),
    "family, given": ("given_name", "family_name"),
    "full name": ("prefix", "given_name", "middle_name", "family_name", "suffix"),
}
"""Ways to keep a person's name in one vendor field, and the canonical fields that each carries."""
LOSSES: Mapping[str, str] = {
    "labels": "some labels of the set's elements have no place there",
    "parts": "some parts of an address have no place there",
}
"""What a line can lose without a word that says how; `loses` declares it."""

_NAME = r"[A-Za-z_$@][\w$@-]*"
_PATH = rf"^{_NAME}(\.{_NAME}|\[\d+\]|\[[A-Za-z_][\w.]*=[^\]]+\])*$"
_SCALAR: dict[str, Any] = {"type": ["string", "number", "boolean", "null"]}
_SCALARS: dict[str, Any] = {"anyOf": [_SCALAR, {"type": "array", "minItems": 1, "items": _SCALAR}]}

SHAPES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "text": ("text", {"type": ["string", "number"]}),
    "path": ("a path", {"type": "string", "pattern": _PATH}),
    "names": ("names joined by dots", {"type": "string", "pattern": rf"^{_NAME}(\.{_NAME})*$"}),
    "name in an entry": ('names joined by dots, or "."', {"type": "string", "pattern": rf"^(\.|{_NAME}(\.{_NAME})*)$"}),
    # Editors that read YAML 1.2 take a plain yes for text.
    "flag": ("yes or no", {"enum": [True, False, "yes", "no"]}),
    "count": ("a whole number from 1", {"type": "integer", "minimum": 1, "maximum": 999_999}),
    "id": ("an id", {"type": ["string", "integer"]}),
    "scalar": ("a value", _SCALAR),
    "conditions": (
        "property: value or list of values",
        {"type": "object", "minProperties": 1, "propertyNames": {"pattern": _PATH}, "additionalProperties": _SCALARS},
    ),
    "values once": (
        "property: value",
        {"type": "object", "minProperties": 1, "propertyNames": {"pattern": _PATH}, "additionalProperties": _SCALARS},
    ),
    "table": (
        "our value: the vendor's value, or a list of them",
        {"type": "object", "minProperties": 1, "additionalProperties": _SCALARS},
    ),
    "label table": (
        "label: the vendor's word, or a list of them",
        {"type": "object", "propertyNames": {"enum": list(LABELS)}, "additionalProperties": _SCALARS},
    ),
    "parts": (
        "part of an address: property",
        {
            "type": "object",
            "propertyNames": {"enum": list(ADDRESS_PARTS)},
            "required": ["street"],
            "additionalProperties": {"type": "string"},
        },
    ),
    "losses": (
        f"one of {', '.join(LOSSES)}, or a list of them",
        {"anyOf": [{"enum": list(LOSSES)}, {"type": "array", "minItems": 1, "items": {"enum": list(LOSSES)}}]},
    ),
    "facts": (
        "path: what the vendor's field holds",
        {
            "type": "object",
            "additionalProperties": {
                "type": "string",
                "pattern": r"^(text( [1-9]\d*)?|decimal( \d+)?|date|instant|int|bool|choice)$",
            },
        },
    ),
    "transform": ("a transform's name", {"type": "string", "pattern": "^[a-z][a-z0-9_]*$"}),
    "label": (
        "a property, or a group",
        {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/label"}]},
    ),
    "flag place": (
        "a property, or {read: ..., write: ...}, or {position: first}",
        {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["read", "write"],
                    "properties": {"read": {"type": "string"}, "write": {"type": "string"}},
                },
                {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["position"],
                    "properties": {"position": {"const": "first"}},
                },
            ]
        },
    ),
    "currency": (
        "a path, or {always: CODE}",
        {
            "anyOf": [
                {"type": "string", "pattern": _PATH},
                {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["always"],
                    "properties": {"always": {"type": "string", "pattern": "^[A-Z]{3}$"}},
                },
            ]
        },
    ),
    "slots": (
        "a list of slots",
        {
            "type": "array",
            "minItems": 1,
            "items": {"$ref": "#/$defs/slot", "anyOf": [{"required": ["path"]}, {"required": ["parts"]}]},
        },
    ),
    "derived": (
        "path: how it is made",
        {
            "type": "object",
            "propertyNames": {"pattern": _PATH},
            "additionalProperties": {"$ref": "#/$defs/derived"},
        },
    ),
    "custom place": ("a group", {"$ref": "#/$defs/custom-fields"}),
    "joined": (
        "a list of text fields",
        {"anyOf": [{"type": "string"}, {"type": "array", "minItems": 1, "items": {"type": "string"}}]},
    ),
    "fields": ("a line for each canonical field", {"type": "object"}),
    "records": ("a list of records", {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/record"}}),
    "changes": ("a list of changed records", {"type": "array", "items": {"$ref": "#/$defs/change"}}),
}
"""What a word can take: in words for people, and as JSON Schema."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word.

    shape    a key of `SHAPES`, or "choice" (then one of `choices`)
    types    canonical types of the fields that it fits; () for all that its form takes
    """

    name: str
    shape: str
    meaning: str
    types: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    required: bool = False


@dataclass(frozen=True, slots=True)
class Form:
    """One way to say where a field stands. types: canonical types of the fields that it is for."""

    name: str
    title: str
    meaning: str
    types: tuple[str, ...]
    words: tuple[Word, ...]


def _words(*words: Word) -> Mapping[str, Word]:
    return {word.name: word for word in words}


_NOTE = Word("note", "text", "Free text for people.")
_UNLESS = Word("unless", "path", "The line says nothing about records in which this property is true.")
_WHEN = Word(
    "when", "conditions", "The line speaks only of records in which these hold. No line may write such a property."
)
_DIRECTION = Word(
    "direction",
    "choice",
    "both (the default); in: read, never written; out: written, and what stands there is no statement.",
    choices=("both", "in", "out"),
)
_STRENGTH = Word(
    "strength",
    "choice",
    "enforce (the default): as the golden record says; fill: only where it is empty; create: only in new records.",
    choices=("enforce", "fill", "create"),
)
_AUTHORITY = Word(
    "authority",
    "flag",
    "yes: where systems differ, this one's value stays. A rule for the field in firm.yaml goes before.",
)
_CLEARABLE = Word("clearable", "flag", "no: the vendor takes no empty value here, so none is written.")
_LOSES = Word("loses", "losses", "Declares what has no place in the vendor's record.")
_PATH_WORD = Word("path", "path", "Where the value stands.", required=True)
ORDINARY: tuple[Word, ...] = (_DIRECTION, _STRENGTH, _AUTHORITY, _UNLESS, _WHEN, _NOTE)
"""Words of every line, except where a form says otherwise."""

_VALUE_WORDS = (
    Word("cut", "count", "The vendor's greatest length; longer text is cut.", ("text",)),
    Word("empty", "text", "Text that stands for empty where the vendor wants something.", ("text",)),
    Word(
        "values",
        "table",
        "A table: for each of our values the vendor's, or several; all are read, the first is written.",
        ("enum", "text"),
    ),
    Word(
        "else",
        "text",
        "What a vendor value outside the table means; nothing: no statement. Without it such a record is put aside.",
        ("enum", "text"),
    ),
    Word(
        "as",
        "choice",
        "How the vendor keeps it: a date as an instant, an instant as a date, a number as text.",
        ("date", "instant", "decimal", "int"),
        choices=("instant", "date", "text", "number"),
    ),
    Word("scale", "count", "Vendor units in one of ours: 3600 seconds in an hour.", ("decimal",)),
    Word("decimals", "count", "Digits after the point that the vendor keeps; more are rounded.", ("decimal",)),
    Word(
        "currency",
        "currency",
        "Where the amount's currency stands there. An amount in another currency is refused, never written.",
        ("decimal",),
    ),
    Word("negate", "flag", "yes: the vendor's property says the opposite.", ("bool",)),
    Word("transform", "transform", "A named transform, shipped or the firm's own, reads and writes the value."),
    _CLEARABLE,
)

FORMS: Mapping[str, Form] = {
    form.name: form
    for form in (
        Form(
            "path",
            "One value",
            "One value at one path. A line that only says where is just the path.",
            SCALARS,
            (_PATH_WORD, *_VALUE_WORDS, *ORDINARY),
        ),
        Form(
            "custom",
            "A custom field",
            "One value of a custom field, named as people see it and pinned by the vendor's id. The record's"
            " `custom fields` says where they stand.",
            SCALARS,
            (
                Word("custom", "text", "The custom field's name.", required=True),
                Word("id", "id", "Its id: the pin. It may come from the account's pinned schema instead."),
                *_VALUE_WORDS,
                *ORDINARY,
            ),
        ),
        Form(
            "constant",
            "A constant",
            "A value that every record under this mapping has. It is read, never written.",
            ("text", "date", "instant", "decimal", "int", "bool", "enum"),
            (Word("constant", "scalar", "The value.", required=True), _UNLESS, _WHEN, _NOTE),
        ),
        Form(
            "ref",
            "A reference",
            "Another record of this connector, by its id.",
            ("ref",),
            (
                Word("ref", "text", "The resource of the other record.", required=True),
                _PATH_WORD,
                Word("in", "text", "The id stands in an object, under this name."),
                Word("id", "choice", "How the vendor writes ids.", choices=("text", "number")),
                _CLEARABLE,
                *ORDINARY,
            ),
        ),
        Form(
            "key",
            "A reference by key",
            "A record of any system, by one of its own fields, such as matter.number.",
            ("ref",),
            (
                Word("key", "text", "KIND.FIELD of the other record.", required=True),
                _PATH_WORD,
                Word("cut", "count", "The vendor's greatest length; longer text is cut."),
                _CLEARABLE,
                *ORDINARY,
            ),
        ),
        Form(
            "part of",
            "Part of a name",
            "A part of a name that the vendor keeps whole. Where the plain spelling would not come apart again, the"
            " comma form is written.",
            ("text",),
            (
                Word(
                    "part of",
                    "choice",
                    "How the vendor writes the whole name.",
                    choices=tuple(NAME_FORMS),
                    required=True,
                ),
                _PATH_WORD,
                *ORDINARY,
            ),
        ),
        Form(
            "primary",
            "The primary element",
            "The primary element of a set that another line keeps in a list.",
            ("email", "phone"),
            (
                Word("primary", "text", "The set's field: emails or phones.", required=True),
                _DIRECTION,
                _STRENGTH,
                _AUTHORITY,
                _NOTE,
            ),
        ),
        Form(
            "list",
            "A set as a list",
            "A set that the vendor keeps as a list. Entries are matched by value, never by position; what is not"
            " mapped in them stays.",
            ("set",),
            (
                Word("list", "names", "The vendor's list.", required=True),
                Word("value", "name in an entry", 'Where an entry\'s value stands; "." when the entry is the value.'),
                Word("parts", "parts", "For addresses, instead of `value`."),
                Word("label", "label", "Where an entry's label stands."),
                Word("primary", "flag place", "What marks the primary entry."),
                Word("only", "conditions", "Only entries like this; the rest of the list is left alone."),
                Word("countries", "choice", "How countries of addresses are written.", choices=("codes", "names")),
                _LOSES,
                *ORDINARY,
            ),
        ),
        Form(
            "slots",
            "A set in slots",
            "A set in a few fixed vendor fields. A slot keeps what it holds while that is wanted. What finds no slot"
            " has no room there, and its absence removes nothing.",
            ("set",),
            (
                Word("slots", "slots", "The fixed fields.", required=True),
                Word(
                    "others",
                    "choice",
                    "The slot that takes elements with other labels when it is free.",
                    choices=LABELS,
                ),
                _LOSES,
                *ORDINARY,
            ),
        ),
    )
}
"""The forms of a line. A group's form is the one whose own word it holds."""

FILE = _words(
    Word("connector", "text", "Whose records these are.", required=True),
    Word("description", "text", "Free text for people."),
    Word("records", "records", "The record mappings.", required=True),
)
OVERRIDE = _words(
    Word("overrides", "text", "The connector whose shipped file this changes.", required=True),
    Word("description", "text", "Free text for people."),
    Word("records", "changes", "The changed record mappings.", required=True),
)
RECORD = _words(
    Word("resource", "text", "The connector's name for the collection.", required=True),
    Word("kind", "choice", "The canonical kind.", choices=tuple(KINDS), required=True),
    Word("description", "text", "Free text for people."),
    Word("when", "conditions", "Only records in which these hold; a new record gets the first value of each."),
    Word("creates", "flag", "Whether new records may be made there; without it: no."),
    Word("modified", "path", "Where the vendor's modified time stands."),
    Word("on create", "values once", "Written into new records only."),
    Word("derived", "derived", "Properties that are only written, joined from text fields."),
    Word("custom fields", "custom place", "Where this resource keeps custom fields."),
    Word(
        "facts", "facts", "What vendor fields hold: `text 40`, `decimal 2`, `date`, `instant`, `int`, `bool`, `choice`."
    ),
    Word("fields", "fields", "The lines.", required=True),
)
CHANGE = _words(
    RECORD["resource"], RECORD["kind"], RECORD["creates"], RECORD["facts"], Word("fields", "fields", "The lines.")
)
"""What a firm's own file may say of a shipped record mapping."""

LABEL = _words(
    Word("path", "text", "The property of an entry that holds its label."),
    Word("among", "text", "Instead of `path`: the property holds a list of words, one of which is the label."),
    Word("values", "label table", "The vendor's word for each label; without it the words are ours."),
    Word("else", "text", "The vendor's word for labels outside the table."),
)
SLOT = _words(
    Word("label", "choice", "The label of what stands here; without it any.", choices=LABELS),
    Word("path", "path", "The vendor's field."),
    Word("parts", "parts", "For addresses, instead of `path`: a path for each part."),
)
DERIVED = _words(
    Word("join", "joined", "The canonical text fields, joined by blanks.", required=True),
    Word("else", "text", "What is written when all of them are empty."),
    Word("on", "choice", "change (the default), or create: only in new records.", choices=("create", "change")),
)
CUSTOM_FIELDS = _words(
    Word("list", "names", "The list of custom field values.", required=True),
    Word("name", "names", "Where an entry names its field.", required=True),
    Word("id", "names", "Where an entry holds its field's id.", required=True),
    Word("value", "names", "Where an entry holds the value.", required=True),
)
GROUPS: Mapping[str, tuple[str, Mapping[str, Word]]] = {
    "label": ("A label", LABEL),
    "slot": ("A slot", SLOT),
    "derived": ("A derived property", DERIVED),
    "custom-fields": ("Custom fields", CUSTOM_FIELDS),
}

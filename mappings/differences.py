"""The lines of a mapping file as text, side by side with another file's: what a firm changed, and what an upgrade did.

Lines are compared by what they say, not by how they are laid out; notes and descriptions say nothing. Wrong files are
the business of language.py: what cannot be read as lines has none here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mappings.load import shipped

Key = tuple[str, str, str]
"""(resource, kind, canonical field or a word of the record such as "creates")"""

_FOLDER = Path(__file__).parent
_SILENT = frozenset({"note", "description"})


@dataclass(frozen=True, slots=True)
class Line:
    """What a line says, in one row of text, and where: "crm.yaml:7"."""

    text: str
    where: str


def lines(text: str, name: str) -> dict[Key, Line]:
    """Every line of a mapping file or of a firm's own file, in file order."""
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        root = yaml.compose(text, Loader=loader)
    except yaml.YAMLError:
        return {}
    return dict(_lines(root, name))


def shipped_lines(connector: str) -> dict[Key, Line]:
    """The lines of the file that this version ships; {} when it ships none."""
    path = _FOLDER / f"{connector}.yaml"
    return lines(path.read_text(encoding="utf-8"), path.name) if connector in shipped() else {}


def _lines(root: yaml.Node | None, name: str) -> Iterator[tuple[Key, Line]]:
    records = _entries(root).get("records")
    for record in records[1].value if records and isinstance(records[1], yaml.SequenceNode) else ():
        words = _entries(record)
        resource, kind = (str(words[word][1].value) if word in words else "" for word in ("resource", "kind"))
        for word, (key, node) in words.items():
            if word == "fields":
                for field, (at, line) in _entries(node).items():
                    yield (resource, kind, field), Line(_said(line), f"{name}:{at.start_mark.line + 1}")
            elif word not in ("resource", "kind", *_SILENT):
                yield (resource, kind, f"({word})"), Line(_said(node), f"{name}:{key.start_mark.line + 1}")


def _entries(node: yaml.Node | None) -> Mapping[str, tuple[yaml.Node, yaml.Node]]:
    return {str(k.value): (k, v) for k, v in node.value} if isinstance(node, yaml.MappingNode) else {}


def _said(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        inner = ", ".join(f"{k.value}: {_said(v)}" for k, v in node.value if k.value not in _SILENT)
        return "{" + inner + "}"
    if isinstance(node, yaml.SequenceNode):
        return "[" + ", ".join(_said(each) for each in node.value) + "]"
    return str(node.value)

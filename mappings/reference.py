"""Writes the reference page and the JSON Schema of mapping files: `python -m mappings.reference`.

Both are made from the tables that the parser itself reads and are kept in docs/, where a test holds them current.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mappings import words
from mappings.canonical import LABELS
from mappings.schema import json_schema
from mappings.transforms import SHIPPED

if TYPE_CHECKING:
    from mappings.words import Word

PAGE = "mapping-reference.md"
SCHEMA = "schema/mapping.schema.json"


def pages() -> Mapping[str, str]:
    """file name below docs/ -> its text."""
    return {PAGE: "\n".join(_page()) + "\n", SCHEMA: json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"}


def _page() -> Iterator[str]:
    yield "# Mapping files: every word"
    yield ""
    yield "Made from the code by `python -m mappings.reference`. How to use it all stands in"
    yield "[mapping-language.md](mapping-language.md)."
    yield "`*` marks a word that must be there."
    yield ""
    for title, members in (
        ("A connector's file", words.FILE),
        ("A firm's own file", words.OVERRIDE),
        ("A record", words.RECORD),
        ("A changed record in a firm's own file", words.CHANGE),
    ):
        yield f"## {title}"
        yield ""
        yield from _table(members.values())
    yield "## Any line"
    yield ""
    yield from _table(words.ORDINARY)
    ordinary = {word.name for word in words.ORDINARY}
    for form in words.FORMS.values():
        yield f"## {form.title}: `{form.name}`"
        yield ""
        yield f"{form.meaning} For fields of type {_listed(form.types)}."
        missing = [word for word in words.ORDINARY if word.name not in {w.name for w in form.words}]
        if missing:
            yield f"Without {_listed(word.name for word in missing)}."
        said = ordinary
        if form.name == "custom":
            yield "The words of one value fit here, too."
            said = ordinary | {word.name for word in words.FORMS["path"].words}
        yield ""
        yield from _table(word for word in form.words if word.name not in said)
    for title, members in words.GROUPS.values():
        yield f"## {title}"
        yield ""
        yield from _table(members.values())
    yield "## Losses"
    yield ""
    yield "A line that loses something without a word that says how (`cut`, `decimals`, `as`, `values`, `scale`,"
    yield "`transform`) declares it with `loses`; else the file does not load."
    yield ""
    yield "| loss | means |"
    yield "| --- | --- |"
    yield from (f"| `{name}` | {_cell(meaning)} |" for name, meaning in words.LOSSES.items())
    yield ""
    yield "## Names kept whole"
    yield ""
    yield "| `part of` | carries |"
    yield "| --- | --- |"
    yield from (f"| `{form}` | {_listed(fields)} |" for form, fields in words.NAME_FORMS.items())
    yield ""
    yield "## Labels"
    yield ""
    yield f"{_listed(LABELS)}."
    yield ""
    yield "## Transforms"
    yield ""
    yield "| name | for | what it does | examples | loses |"
    yield "| --- | --- | --- | --- | --- |"
    for each in SHIPPED.values():
        examples = ", ".join(f"`{json.dumps(vendor, ensure_ascii=False)}`" for vendor, _ in each.examples)
        yield (
            f"| `{each.name}` | {_listed(each.types)} | {_cell(each.description)} | {_cell(examples)} |"
            f" {_cell(each.loses) or 'nothing'} |"
        )


def _table(members: Iterable[Word]) -> Iterator[str]:
    members = tuple(members)
    fits = any(word.types for word in members)
    yield "| word | takes | fits | means |" if fits else "| word | takes | means |"
    yield "| --- | --- | --- | --- |" if fits else "| --- | --- | --- |"
    for word in members:
        takes = _listed(f"`{choice}`" for choice in word.choices) if word.choices else words.SHAPES[word.shape][0]
        must = "*" if word.required else ""
        type_ = f" {_listed(word.types) or 'all'} |" if fits else ""
        yield f"| `{word.name}`{must} | {_cell(takes)} |{type_} {_cell(word.meaning)} |"
    yield ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main(folder: Path) -> None:
    for name, text in pages().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "docs")

"""Names kept whole in one vendor field: how to take them apart, and how to write them so that they come apart again.

`join` is the inverse of `split` wherever one exists: if the plain spelling would not be read back as the same
parts ("Jan van Dyke" as van Dyke, Jan), the comma form is written ("van Dyke, Jan"); if neither does, join says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mappings.normalize import names

Parts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Splitter:
    """split gives one text per part ("" for none); forms are ways to write parts, the best first."""

    split: Callable[[str], Parts]
    forms: tuple[Callable[[Sequence[str]], str], ...]

    def join(self, parts: Sequence[str]) -> tuple[str, bool]:
        """The text to write, and whether splitting it gives exactly these parts."""
        clean = tuple(" ".join(part.split()) for part in parts)
        for form in self.forms:
            text = " ".join(form(clean).split())
            if self.split(text) == clean:
                return text, True
        return " ".join(self.forms[0](clean).split()), False


def _given_family(text: str) -> Parts:
    text = " ".join(text.split())
    if "," in text:
        family, _, given = text.partition(",")
        return (given.strip(), family.strip())
    given, _, family = text.rpartition(" ")
    return (given, family)


def _full(text: str) -> Parts:
    return names.split(" ".join(text.split()))


def _plain(parts: Sequence[str]) -> str:
    return " ".join(part for part in parts if part)


def _family_first(parts: Sequence[str]) -> str:
    given, family = parts
    return f"{family}, {given}" if given else family


def _full_with_comma(parts: Sequence[str]) -> str:
    prefix, given, middle, family, suffix = parts
    return f"{family}, {prefix} {given} {middle}" + (f", {suffix}" if suffix else "")


def _full_suffix_comma(parts: Sequence[str]) -> str:
    *name, suffix = parts
    return _plain(name) + (f", {suffix}" if suffix else "")


SPLITTERS: Mapping[str, Splitter] = {
    "given family": Splitter(_given_family, (_plain, _family_first)),
    "family, given": Splitter(_given_family, (_family_first, _plain)),
    "full name": Splitter(_full, (_plain, _full_suffix_comma, _full_with_comma)),
}

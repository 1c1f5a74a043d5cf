"""Checks mapping files as they lie on disk: shipped ones, a firm's own, and files of cases, without any connection."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mappings.cases import read_cases
from mappings.differences import lines
from mappings.language import MappingError, nearest
from mappings.load import compiled, load, load_plan, load_text, shipped
from mappings.transforms import SHIPPED, Transform, TransformError, load_transforms

if TYPE_CHECKING:
    from mappings.lines import Pins

_OVERRIDES = re.compile(r"^overrides:[ \t]*([\w-]+)", re.MULTILINE)
_CASES = re.compile(r"^cases:", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """file: its path, for shipped ones its name. lines: how many it holds. errors: "file:line: …", none when right."""

    file: str
    what: str
    lines: int
    errors: tuple[str, ...]


def check_shipped() -> Iterator[CheckedFile]:
    for connector in shipped():
        try:
            count = sum(len(each.lines) for each in load(connector).mappings)
        except MappingError as error:
            yield CheckedFile(f"{connector}.yaml", "shipped", 0, error.errors)
        else:
            yield CheckedFile(f"{connector}.yaml", "shipped", count, ())


def check_transforms(path: Path) -> tuple[CheckedFile, Mapping[str, Transform]]:
    """The firm's own transforms, each tried on its examples; and what lines may name."""
    try:
        own = load_transforms(path)
    except TransformError as error:
        return CheckedFile(str(path), "own transforms", 0, error.errors), SHIPPED
    return CheckedFile(str(path), "own transforms", len(own) - len(SHIPPED), ()), own


def check_file(path: Path, transforms: Mapping[str, Transform] = SHIPPED, pins: Pins | None = None) -> CheckedFile:
    """One file of whatever sort. Raises OSError and UnicodeDecodeError when it cannot be read at all.

    transforms, pins  what its lines may name beside what is shipped: the firm's transforms, the account's custom fields
    """
    text = path.read_text(encoding="utf-8")
    overridden = _OVERRIDES.search(text)
    what = "cases" if _CASES.search(text) else "own lines" if overridden else "a whole mapping"
    count = 0
    try:
        if what == "cases":
            count = len(read_cases(text, path.name).cases)
        elif overridden:
            connector = overridden[1]
            if connector not in shipped():
                line = text[: overridden.start()].count("\n") + 1
                hint = nearest(connector, shipped()) or f"; there are: {', '.join(shipped())}"
                raise MappingError([f"{path.name}:{line}: overrides: there is no mapping {connector!r}{hint}"])
            compiled(load_plan(connector, override=path, transforms=transforms, pins=pins))
            count = len(lines(text, path.name))
        else:
            count = sum(
                len(each.lines) for each in load_text(text, path.name, transforms=transforms, pins=pins).mappings
            )
    except MappingError as error:
        return CheckedFile(str(path), what, count, error.errors)
    return CheckedFile(str(path), what, count, ())

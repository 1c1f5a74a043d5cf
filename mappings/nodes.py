"""Reads YAML so that every fault carries its file and line: nodes in, checked plain values out.

Declaration files of several kinds (mappings, rollups) are read with the same `Reader`, so they fail in the same words.
"""

from __future__ import annotations

import difflib
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any, cast

import yaml

from mappings.plan import Index, MappingError, Path, Pick, Step

Entries = dict[str, tuple[yaml.Node, yaml.Node]]
"""name -> its node and the node of its value."""

SIZE_CHARS_MAX = 500_000

STEP = re.compile(r"(?:^|\.)([A-Za-z_$@][\w$@-]*)|\[(\d+)\]|\[([A-Za-z_][\w.]*)=([^\]]+)\]")


class _Named(io.StringIO):
    """A text stream that tells the parser its name, so that every mark carries it."""

    def __init__(self, text: str, name: str) -> None:
        super().__init__(text)
        self.name = name


def where(node: yaml.Node) -> str:
    return f"{node.start_mark.name}:{node.start_mark.line + 1}"


def nearest(word: str, known: Iterable[str]) -> str:
    """The tail of a message: the right word that was probably meant, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def listing(known: Iterable[str]) -> str:
    return ", ".join(sorted(known))


def describe(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a group of names"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return f"{node.value!r}" if node.value else "nothing"


def scalar(node: yaml.ScalarNode) -> Any:
    """The JSON value that the scalar writes."""
    tag = node.tag.rpartition(":")[2]
    if tag == "null":
        return None
    if tag == "bool":
        return node.value.lower() in ("true", "yes", "on")
    if tag == "int":
        try:
            return int(node.value.replace("_", ""))
        except ValueError:
            return node.value
    return node.value


class Reader:
    """Reads nodes and collects faults; every method returns None (or an empty value) after reporting one."""

    def __init__(self) -> None:
        self.faults: list[tuple[str, int, str]] = []

    def fail(self, node: yaml.Node, message: str) -> None:
        self.faults.append((node.start_mark.name, node.start_mark.line + 1, message))

    def raise_faults(self) -> None:
        if self.faults:
            raise MappingError(f"{name}:{line}: {message}" for name, line, message in sorted(set(self.faults)))

    def compose(self, text: str, name: str, expected: Iterable[str] = ("connector", "records")) -> yaml.Node:
        if len(text) > SIZE_CHARS_MAX:
            raise MappingError([f"{name}:1: the file is too large: {len(text)} characters, at most {SIZE_CHARS_MAX}"])
        loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            for token in yaml.scan(_Named(text, name), Loader=loader):
                if isinstance(token, yaml.AliasToken | yaml.AnchorToken):
                    self.faults.append(
                        (name, token.start_mark.line + 1, "found an anchor or alias (& or *); write the text out")
                    )
            self.raise_faults()
            node = yaml.compose(_Named(text, name), Loader=loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            raise MappingError([f"{name}:{line}: not readable as YAML: {error.problem}"]) from None
        except (yaml.YAMLError, RecursionError) as error:
            raise MappingError([f"{name}:1: not readable as YAML: {type(error).__name__}"]) from None
        if node is None:
            raise MappingError([f"{name}:1: the file is empty; expected {listing(expected)}"])
        return node

    def entries(self, node: yaml.Node, what: str, known: Iterable[str] | None = None) -> Entries:
        if not isinstance(node, yaml.MappingNode):
            self.fail(node, f"{what}: expected names with values, found {describe(node)}")
            return {}
        known = None if known is None else tuple(known)
        found: Entries = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.fail(key, f"{what}: expected a name, found {describe(key)}")
                continue
            name = key.value
            if name in found:
                self.fail(key, f"{what}: {name!r} is given twice (first in line {found[name][0].start_mark.line + 1})")
            elif known is not None and name not in known:
                hint = nearest(name, known) or f"; expected one of: {listing(known)}"
                self.fail(key, f"{what}: unknown word {name!r}{hint}")
            else:
                found[name] = (key, value)
        return found

    def text(self, node: yaml.Node, what: str) -> str | None:
        if isinstance(node, yaml.ScalarNode) and node.value:
            return cast("str", node.value)
        self.fail(node, f"{what}: expected text, found {describe(node)}")
        return None

    def flag(self, node: yaml.Node, what: str) -> bool:
        value = scalar(node) if isinstance(node, yaml.ScalarNode) else None
        if isinstance(value, bool):
            return value
        self.fail(node, f"{what}: expected yes or no, found {describe(node)}")
        return False

    def count(self, node: yaml.Node, what: str) -> int | None:
        value = scalar(node) if isinstance(node, yaml.ScalarNode) else None
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1_000_000:
            return value
        self.fail(node, f"{what}: expected a whole number from 1, found {describe(node)}")
        return None

    def choice(self, node: yaml.Node, known: Sequence[str], what: str) -> str | None:
        value = self.text(node, what)
        if value is None or value in known:
            return value
        self.fail(node, f"{what}: found {value!r}, expected one of: {', '.join(known)}{nearest(value, known)}")
        return None

    def scalars(self, node: yaml.Node, what: str) -> tuple[Any, ...]:
        """One scalar or a list of scalars."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        if not nodes or not all(isinstance(n, yaml.ScalarNode) for n in nodes):
            self.fail(node, f"{what}: expected a value or a list of values, found {describe(node)}")
            return ()
        return tuple(scalar(n) for n in nodes if isinstance(n, yaml.ScalarNode))

    def path(self, node: yaml.Node, what: str) -> Path | None:
        text = self.text(node, what)
        if text is None:
            return None
        steps: list[Step] = []
        at = 0
        while at < len(text):
            match = STEP.match(text, at) if at == 0 or text[at] in ".[" else None
            if match is None or (at == 0 and not match[1]):
                self.fail(
                    node,
                    f"{what}: cannot read the path {text!r}; expected names joined by dots: name.first, items[0].id",
                )
                return None
            if match[1]:
                steps.append(match[1])
            elif match[2]:
                steps.append(Index(int(match[2])))
            else:
                value = match[4].strip()
                steps.append(Pick(tuple(match[3].split(".")), int(value) if value.isdigit() else value.strip("'\"")))
            at = match.end()
        return tuple(steps)

    def names(self, node: yaml.Node, what: str) -> tuple[str, ...] | None:
        path = self.path(node, what)
        if path is None:
            return None
        if all(isinstance(step, str) for step in path):
            return cast("tuple[str, ...]", path)
        self.fail(node, f"{what}: expected plain names joined by dots, found {describe(node)}")
        return None

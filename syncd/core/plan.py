"""The smallest write that makes one system's record agree with the golden record, or the reason why none is due.

Everything is compared in the target's own terms: `render` says what the system would hold after the write
(its lengths, tables, slots), so a value that a system cannot express never looks like a difference.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from syncd.core.claims import Flat, LinkState, Same, Values, flatten

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from syncd.core.gate import Decision


class Line(Protocol):
    """One field of a mapping, as the planner needs it."""

    @property
    def direction(self) -> str: ...
    @property
    def strength(self) -> str: ...
    @property
    def is_set(self) -> bool: ...
    @property
    def companions(self) -> tuple[str, ...]: ...


class Lens(Protocol):
    """One record mapping, as the planner needs it."""

    @property
    def lines(self) -> Mapping[str, Line]: ...
    def put(self, values: Values, body: dict[str, Any] | None) -> dict[str, Any]: ...
    def render(self, values: Values, body: dict[str, Any] | None) -> Values: ...


@dataclass(frozen=True, slots=True)
class References:
    """References in a target's own words.

    tokens   canonical id -> the target's token for it
    ids      the target's token -> canonical id
    awaited  canonical ids that will get a record in the target, so a write should wait for them
    fields   names of the reference fields
    """

    tokens: Mapping[str, str] = field(default_factory=dict)
    ids: Mapping[str, str] = field(default_factory=dict)
    awaited: frozenset[str] = frozenset()
    fields: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Nothing:
    """The system holds what it should."""


@dataclass(frozen=True, slots=True)
class WaitFor:
    """A referenced record has no counterpart in the system yet, but will have one."""

    canonical_id: str


@dataclass(frozen=True, slots=True)
class WaitForReview:
    """A record may be the same as another one: making it now could make it twice."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The gate lets nothing of this write through."""

    rule: str


@dataclass(frozen=True, slots=True)
class Write:
    """payload: vendor-shaped properties to send; meant: flat values that the system should then hold;
    before: what it held of them as far as we know."""

    payload: dict[str, Any]
    meant: Flat
    before: Flat


Planned = Nothing | WaitFor | WaitForReview | Refusal | Write


def outgoing(lens: Lens) -> tuple[str, ...]:
    return tuple(name for name, line in lens.lines.items() if line.direction != "in")


def plan_write(
    golden: Values,
    undecided: frozenset[str],
    state: LinkState | None,
    body: dict[str, Any] | None,
    lens: Lens,
    refs: References,
    decision: Decision,
    same: Same,
) -> Planned:
    """What to write so that the record shows the golden values; state and body are None for a record to be made.

    golden is nested, references as canonical ids; a field that golden lacks is supported by no claim, so a
    value of ours that is still there is taken back.
    """
    wanted: Values = {}
    wait: str | None = None
    refused = 0
    for name in outgoing(lens):
        line = lens.lines[name]
        if name in undecided and state is not None:
            continue
        if name not in decision.allowed:
            refused += golden.get(name) is not None
            continue
        if state is not None and (line.strength == "create" or (line.strength == "fill" and _holds(state, name, line))):
            continue
        value = golden.get(name, {} if line.is_set else None)
        if name in refs.fields and value is not None:
            held = state.as_held(name) if state is not None else None
            if held is not None and refs.ids.get(held) == value:
                value = held
            elif value in refs.tokens:
                value = refs.tokens[value]
            elif value in refs.awaited:
                wait = value
                continue
            else:
                continue
        wanted[name] = value
    if state is None:
        return _plan_create(wanted, golden, lens, wait, decision, refused)
    expected = flatten(lens.render(wanted, body))
    for name in state.base:
        set_name, slash, _ = name.partition("/")
        if slash and set_name in wanted and name not in expected:
            expected[name] = None
    plain = flatten(wanted)
    changed = {
        name: value
        for name, value in expected.items()
        # What already equals the golden value itself stays, even where the mapping declares less room than there is.
        if not same(name, held := state.as_held(name), value) and not (name in plain and same(name, held, plain[name]))
    }
    if not changed:
        return WaitFor(wait) if wait is not None else Nothing()
    touched = {name.partition("/")[0] for name in changed}
    for name in tuple(touched):
        touched.update(companion for companion in lens.lines[name].companions if companion in wanted)
    payload = lens.put({name: wanted[name] for name in wanted if name in touched} | beside(touched, golden, lens), body)
    if not payload:
        return Nothing()
    return Write(payload, changed, {name: state.base.get(name) for name in changed})


def _plan_create(
    wanted: Values, golden: Values, lens: Lens, wait: str | None, decision: Decision, refused: int
) -> Planned:
    values = {name: value for name, value in wanted.items() if value is not None and value != {}}
    if wait is not None:
        return WaitFor(wait)
    if not values:
        return Refusal(decision.rule) if refused else Nothing()
    meant = flatten(lens.render(values, None))
    return Write(lens.put(values | beside(values, golden, lens), None), meant, {})


def beside(names: Iterable[str], golden: Values, lens: Lens) -> Values:
    """Golden values that are not written but that the written ones depend on: the currency of an amount."""
    companions = {companion for name in names if name in lens.lines for companion in lens.lines[name].companions}
    return {
        name: golden[name]
        for name in companions
        if name in golden and (name not in lens.lines or lens.lines[name].direction == "in")
    }


def _holds(state: LinkState, name: str, line: Line) -> bool:
    if not line.is_set:
        return state.as_held(name) is not None
    prefix = name + "/"
    return any(key.startswith(prefix) and value is not None for key, value in state.base.items())

"""What one system's record says, and what we know that it holds: claims, base and renditions.

A link joins one vendor record to one canonical record. Per field it keeps

    claim   the last value that a person entered in that system, and when
    base    the value that the system holds as far as we know
    ours    what we meant when we wrote it, where the vendor made something else of it

`see` is the only way these change. A reading that shows the base is our own echo and changes nothing; any
other value is an edit. Our own writes move the base alone, never a claim: so claims change only when people
change things, and when people stop, everything stops.

Values come nested from a mapping (`{"title": "Partner", "emails": {"jane@x.org": {...}}}`) and are worked on
flat, one entry per scalar field and one per element of a set (`"emails/jane@x.org"`), so that adding and
removing an element obeys the same rules as changing a field. An absent element is None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Values = dict[str, Any]
Flat = dict[str, Any]
Same = Callable[[str, Any, Any], bool]
"""same(field, a, b): equal in normalized form. field is a flat name; None is empty."""


def flatten(values: Mapping[str, Any]) -> Flat:
    """Nested to flat. A set becomes one entry per element; an empty set leaves no entry (see `covered`)."""
    flat: Flat = {}
    for name, value in values.items():
        if type(value) is dict:
            for key, item in value.items():
                flat[f"{name}/{key}"] = item
        else:
            flat[name] = value
    return flat


def nest(flat: Mapping[str, Any]) -> Values:
    """Flat to nested. Absent elements (None) are left out of their set; the set itself stays, perhaps empty."""
    values: Values = {}
    for name, value in flat.items():
        set_name, slash, key = name.partition("/")
        if not slash:
            values[name] = value
            continue
        items = values.setdefault(set_name, {})
        if value is not None:
            items[key] = value
    return values


def covered(values: Mapping[str, Any]) -> frozenset[str]:
    """The sets that these values speak about: an element missing from one of them is gone."""
    return frozenset(name for name, value in values.items() if type(value) is dict)


@dataclass(frozen=True, slots=True)
class Claim:
    """What a person entered.

    at     the vendor's modified time when the value first appeared, ISO UTC
    first  it was there when we first looked: its time says little about the field
    over   what the system held, as we meant it, when the person replaced it
    """

    value: Any
    at: str
    first: bool = False
    over: Any = None


@dataclass(slots=True)
class LinkState:
    """Everything one link knows, flat. `held` and `held_at` are the first reading, kept whole for storage."""

    held: Values = field(default_factory=dict)
    held_at: str = ""
    claims: dict[str, Claim] = field(default_factory=dict)
    base: Flat = field(default_factory=dict)
    ours: Flat = field(default_factory=dict)

    @classmethod
    def met(cls, held: Values, at: str) -> LinkState:
        """The state after the very first reading: each non-empty value is a claim of the first meeting."""
        flat = flatten(held)
        claims = {name: Claim(value, at, first=True) for name, value in flat.items() if value is not None}
        return cls(held, at, claims, flat, {})

    def as_held(self, name: str) -> Any:
        """What we consider the system to hold: what we meant, where the vendor only rendered it differently."""
        return self.ours[name] if name in self.ours else self.base.get(name)

    def document(self) -> Values:
        """The stored form: the first reading once, and only what differs from it beside it."""
        return encode(self)


def encode(state: LinkState) -> Values:
    """{"h": first reading, "t": its time, "c": claims since, "b": base since, "o": ours}; empty parts are left out."""
    document: Values = {}
    met = LinkState.met(state.held, state.held_at) if state.held_at else LinkState()
    if state.held_at:
        document["h"], document["t"] = state.held, state.held_at
    claims = {
        name: [claim.value, claim.at, int(claim.first), claim.over]
        for name, claim in state.claims.items()
        if met.claims.get(name) != claim
    }
    base = {name: value for name, value in state.base.items() if name not in met.base or met.base[name] != value}
    if claims:
        document["c"] = claims
    if base:
        document["b"] = base
    if state.ours:
        document["o"] = state.ours
    return document


def first_document(held: Values, at: str, silent: frozenset[str] = frozenset()) -> Values:
    """What `encode` gives after a first `see`, without building the state: stored record by record in a first load."""
    if silent.isdisjoint(held):
        return {"h": held, "t": at}
    spoken = {name: value for name, value in held.items() if name not in silent}
    return {"h": spoken, "t": at, "b": flatten({name: value for name, value in held.items() if name in silent})}


def decode(document: Mapping[str, Any]) -> LinkState:
    """The inverse of `encode`."""
    state = LinkState.met(document["h"], document["t"]) if "h" in document else LinkState()
    for name, (value, at, first, over) in document.get("c", {}).items():
        state.claims[name] = Claim(value, at, bool(first), over)
    state.base.update(document.get("b", {}))
    state.ours.update(document.get("o", {}))
    return state


@dataclass(frozen=True, slots=True)
class Edit:
    """One value that a person changed: `expected` is what we thought the system held."""

    field: str
    value: Any
    expected: Any


def see(
    state: LinkState,
    values: Values,
    at: str,
    same: Same,
    *,
    wrote: Mapping[str, Any] | None = None,
    new_fields: Iterable[str] = (),
    silent: frozenset[str] = frozenset(),
    returned: frozenset[str] = frozenset(),
) -> tuple[Edit, ...]:
    """Take one reading into the state, in place; returns what people changed.

    wrote       this reading is the vendor's answer to our write of these flat values (what we meant): whatever
                it shows for them is the vendor's rendition and becomes the base, without a claim
    new_fields  scalar or set names that we may look at for the first time, because the mapping or the link is new:
                where nothing was known, their values are a first meeting, not an edit. Otherwise a value in a field
                that the vendor never showed before is an edit: many leave empty fields out of what they send
    silent      scalar or set names that are only ever written: what they show is the base, never a claim
    returned    scalar or set names that the vendor had no field for until just now: it starts empty, and nobody emptied
                it, so that an empty one is the base and no claim ends

    Laws: seeing twice is seeing once; seeing the base changes nothing; an answer to a write makes no claim on
    a written field; a field missing from `values` is untouched.
    """
    if not state.base and not state.held_at and not wrote:
        spoken = {name: value for name, value in values.items() if name not in silent}
        met = LinkState.met(spoken, at)
        state.held, state.held_at, state.claims = met.held, met.held_at, met.claims
        state.base = met.base | flatten({name: value for name, value in values.items() if name in silent})
        return ()
    flat = flatten(values)
    sets = covered(values)
    fresh = frozenset(new_fields)
    for name, value in state.base.items():
        if value is not None and name not in flat and "/" in name and name.partition("/")[0] in sets:
            flat[name] = None
    lost_sets: set[str] = set()
    if wrote is not None:
        for name, meant in wrote.items():
            set_name, slash, _ = name.partition("/")
            if name not in flat:
                if slash and set_name not in sets:
                    continue
                flat[name] = None
            if slash and meant is not None and flat[name] is None:
                lost_sets.add(set_name)
    edits: list[Edit] = []
    for name, value in flat.items():
        if wrote is not None and name in wrote:
            state.base[name] = value
            if same(name, value, wrote[name]):
                state.ours.pop(name, None)
            else:
                state.ours[name] = wrote[name]
        elif name.partition("/")[0] in silent:
            if not same(name, value, state.base.get(name)):
                state.ours.pop(name, None)
            state.base[name] = value
        elif name not in state.base:
            state.base[name] = value
            if value is None:
                continue
            set_name, slash, _ = name.partition("/")
            if set_name in lost_sets:
                # The element that we wrote came back under another key: the vendor's rendition, not a person's.
                state.ours[name] = None
                continue
            first = set_name in fresh
            state.claims[name] = Claim(value, at, first=first)
            if not first:
                edits.append(Edit(name, value, None))
        elif value is None and name.partition("/")[0] in returned:
            state.base[name] = None
            state.ours.pop(name, None)
        elif not same(name, value, state.base[name]):
            expected = state.as_held(name)
            state.claims[name] = Claim(value, at, over=expected)
            state.base[name] = value
            state.ours.pop(name, None)
            edits.append(Edit(name, value, expected))
    return tuple(edits)


def found_ours(values: Values, meant: Mapping[str, Any], same: Same) -> Flat:
    """After an unknown outcome: the part of what we meant that the record really shows, so it counts as written."""
    flat = flatten(values)
    sets = covered(values)
    return {
        name: value
        for name, value in meant.items()
        if (name in flat or name.partition("/")[0] in sets) and same(name, flat.get(name), value)
    }

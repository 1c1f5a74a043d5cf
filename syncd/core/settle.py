"""Which claim becomes the golden value, and why: a pure function of claims, rules and a steward's pins.

It is recomputed, never patched, so order of arrival, repeats and retries do not matter, an un-merge is a
recomputation, and "why this value?" is this function's own answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from syncd.core.claims import Claim, Flat, LinkState, Same


@dataclass(frozen=True, slots=True)
class Rule:
    """How one field is settled.

    by             latest: the latest edit beyond the tolerance; authority: the first connection in `authority`
                   that says anything; ask: differing edits always wait for a person
    authority      connections, strongest first (for `by="authority"`)
    first          connections, strongest first: who wins where only first-meeting values differ
    tolerance_s    two edits closer than this have no order
    first_meeting  order: by `first`, else a conflict; latest: by time, as if they were edits
    """

    by: Literal["latest", "authority", "ask"] = "latest"
    authority: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    tolerance_s: float = 5.0
    first_meeting: Literal["order", "latest"] = "order"


@dataclass(frozen=True, slots=True)
class Source:
    """Who claims: a connection and its record, in a total order that breaks every tie the same way everywhere."""

    connection: str
    resource: str
    id: str

    def __lt__(self, other: Source) -> bool:
        return (self.connection, self.resource, self.id) < (other.connection, other.resource, other.id)


STEWARD = Source("steward", "", "")
ROLLUP = Source("rollup", "", "")


@dataclass(frozen=True, slots=True)
class Settled:
    """One field's outcome.

    reason     only | agreed | latest | authority | first-meeting | pinned | undecided
    rivals     claims with another value that lost (or tie), kept for people to see
    undecided  no rule can choose: nothing is written anywhere for this field until a person or an edit decides;
               value is then only provisional (used where a new record must be filled)
    """

    value: Any
    source: Source
    reason: str
    rivals: tuple[tuple[Source, Claim], ...] = ()
    undecided: bool = False


def seconds_between(a: str, b: str) -> float:
    """Distance of two ISO instants in seconds; an unreadable one counts as far away from nothing (0)."""
    if a == b:
        return 0.0
    return abs((datetime.fromisoformat(a) - datetime.fromisoformat(b)).total_seconds())


def settle_field(
    name: str, claims: Mapping[Source, Claim], rule: Rule, same: Same, pin: Claim | None = None
) -> Settled | None:
    """The golden value of one scalar field, or None when nobody claims it.

    Laws: the outcome depends on the claims alone, not on their order; a claim that repeats the winner's value
    changes nothing; adding a strictly later edit beyond the tolerance makes it win under `latest`.
    """
    if pin is not None:
        newer = {source: claim for source, claim in claims.items() if not claim.first and claim.at > pin.at}
        overruled = tuple(
            (s, c) for s, c in sorted(claims.items()) if s not in newer and not same(name, c.value, pin.value)
        )
        if not newer:
            return Settled(pin.value, STEWARD, "pinned", overruled)
        claims = newer
    if not claims:
        return None
    ordered = sorted(claims.items())
    if all(same(name, claim.value, ordered[0][1].value) for _, claim in ordered[1:]):
        source, claim = _strongest(ordered, rule)
        return Settled(claim.value, source, "only" if len(ordered) == 1 else "agreed")
    if rule.by == "authority":
        for connection in rule.authority:
            for source, claim in ordered:
                if source.connection == connection:
                    return Settled(claim.value, source, "authority", _rivals(name, ordered, claim, same))
    edits = [(source, claim) for source, claim in ordered if not claim.first]
    if not edits and rule.first_meeting == "order":
        return _first_meeting(name, ordered, rule, same)
    pool = ordered if rule.first_meeting == "latest" else edits
    newest = max(claim.at for _, claim in pool)
    source, winner = _strongest([pair for pair in pool if pair[1].at == newest], rule)
    rivals = tuple(
        (other, claim)
        for other, claim in _rivals(name, pool, winner, same)
        if not _superseded(name, claim, ordered, same)
    )
    if rule.by == "ask":
        open_rivals = rivals
    else:
        open_rivals = tuple(pair for pair in rivals if seconds_between(pair[1].at, winner.at) <= rule.tolerance_s)
    if open_rivals:
        return Settled(winner.value, source, "undecided", open_rivals, undecided=True)
    return Settled(winner.value, source, "latest", rivals)


def _strongest(pairs: Iterable[tuple[Source, Claim]], rule: Rule) -> tuple[Source, Claim]:
    def rank(pair: tuple[Source, Claim]) -> tuple[int, tuple[str, str, str]]:
        source = pair[0]
        place = rule.first.index(source.connection) if source.connection in rule.first else len(rule.first)
        return place, (source.connection, source.resource, source.id)

    return min(pairs, key=rank)


def _rivals(
    name: str, pairs: Iterable[tuple[Source, Claim]], winner: Claim, same: Same
) -> tuple[tuple[Source, Claim], ...]:
    return tuple((source, claim) for source, claim in pairs if not same(name, claim.value, winner.value))


def _superseded(name: str, rival: Claim, pairs: Iterable[tuple[Source, Claim]], same: Same) -> bool:
    """A person elsewhere saw this very value and replaced it: the two edits follow one another."""
    return any(
        not claim.first and claim is not rival and claim.at >= rival.at and same(name, claim.over, rival.value)
        for _, claim in pairs
    )


def _first_meeting(name: str, pairs: list[tuple[Source, Claim]], rule: Rule, same: Same) -> Settled:
    source, winner = _strongest(pairs, rule)
    rivals = _rivals(name, pairs, winner, same)
    if source.connection in rule.first:
        return Settled(winner.value, source, "first-meeting", rivals)
    return Settled(winner.value, source, "undecided", rivals, undecided=True)


def settle_element(name: str, claims: Mapping[Source, Claim], rule: Rule) -> Settled | None:
    """Whether one element belongs to the golden set, and its label: the latest statement wins, presence wins a tie.

    An element's label is settled apart from its presence: a system that cannot label says nothing about labels.
    """
    if not claims:
        return None
    ordered = sorted(claims.items())
    newest = max((claim.at if not claim.first else "") for _, claim in ordered)
    latest = [pair for pair in ordered if (pair[1].at if not pair[1].first else "") == newest]
    present = [pair for pair in latest if pair[1].value is not None]
    source, winner = _strongest(present or latest, rule)
    rivals = tuple(pair for pair in ordered if (pair[1].value is None) != (winner.value is None))
    if winner.value is None:
        return Settled(None, source, "latest", rivals)
    value = winner.value
    if value.get("label") is None:
        labelled = [pair for pair in ordered if pair[1].value is not None and pair[1].value.get("label") is not None]
        if labelled:
            value = {**value, "label": _strongest(labelled, rule)[1].value["label"]}
    return Settled(value, source, "only" if len(ordered) == 1 else "latest", rivals)


@dataclass(frozen=True, slots=True)
class Golden:
    """A canonical record as settled: flat values (absent elements left out) and each field's outcome."""

    values: Flat
    why: Mapping[str, Settled]

    @property
    def undecided(self) -> frozenset[str]:
        return frozenset(name for name, settled in self.why.items() if settled.undecided)


def settle(
    links: Mapping[Source, LinkState],
    rule_of: Mapping[str, Rule],
    default: Rule,
    same: Same,
    pins: Mapping[str, Claim] | None = None,
    rollups: Mapping[str, Any] | None = None,
) -> Golden:
    """The golden record of these links. `rule_of` maps scalar and set names to rules; others use `default`.

    Reference claims must already be canonical ids (see `resolved`); a rollup is computed, so no claim competes.
    """
    by_field: dict[str, dict[Source, Claim]] = {}
    for source, state in links.items():
        for name, claim in state.claims.items():
            by_field.setdefault(name, {})[source] = claim
    pins = pins or {}
    values: Flat = {}
    why: dict[str, Settled] = {}
    for name in sorted(by_field.keys() | pins.keys()):
        set_name, slash, _ = name.partition("/")
        rule = rule_of.get(set_name, default)
        claims = by_field.get(name, {})
        settled = (
            settle_element(name, claims, rule) if slash else settle_field(name, claims, rule, same, pins.get(name))
        )
        if settled is None:
            continue
        why[name] = settled
        if not slash or settled.value is not None:
            values[name] = settled.value
    for name, value in (rollups or {}).items():
        values[name] = value
        why[name] = Settled(value, ROLLUP, "rollup")
    return Golden(values, why)

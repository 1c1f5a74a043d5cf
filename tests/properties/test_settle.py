"""Laws of settling: the golden value is a function of claims, rules and pins, and of nothing else."""

from __future__ import annotations

from copy import deepcopy
from itertools import permutations
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from syncd.core.claims import Claim, LinkState, encode
from syncd.core.settle import STEWARD, Rule, Settled, Source, settle, settle_element, settle_field
from tests.properties.people import mails, moments, same, sources, states, texts

A, B, C = (Source(name, "people", "1") for name in "abc")
EARLY, LATE = "2026-11-20T10:00:00.000000Z", "2026-11-20T11:00:00.000000Z"
orders = st.sampled_from([(), ("a", "b", "c"), ("c",)])
rules = st.builds(
    Rule,
    by=st.sampled_from(["latest", "authority", "ask"]),
    authority=orders,
    first=orders,
    tolerance_s=st.sampled_from([0.0, 5.0]),
    first_meeting=st.sampled_from(["order", "latest"]),
)
claims = st.builds(Claim, texts, moments, first=st.booleans(), over=texts)
met = st.builds(Claim, texts.filter(lambda value: value is not None), moments, first=st.just(True))
edits = st.builds(Claim, texts, moments, over=texts)
said = st.dictionaries(sources, claims, min_size=1, max_size=4)
items = st.none() | st.fixed_dictionaries({"value": mails}, optional={"label": st.sampled_from(["work", "home"])})
elements = st.dictionaries(sources, st.builds(Claim, items, moments, first=st.booleans()), min_size=1, max_size=4)
firms = st.dictionaries(sources, states(), max_size=4)
pins = st.none() | st.builds(Claim, texts, moments)


def settled(claims: dict[Source, Claim], rule: Rule, pin: Claim | None = None) -> Settled:
    found = settle_field("title", claims, rule, same, pin)
    assert found is not None
    return found


@given(said, rules, pins, st.randoms())
def test_the_order_in_which_claims_came_does_not_matter(
    claims: dict[Source, Claim], rule: Rule, pin: Claim | None, random: Any
) -> None:
    shuffled = list(claims.items())
    random.shuffle(shuffled)
    assert settled(dict(shuffled), rule, pin) == settled(claims, rule, pin)


@given(elements, rules, st.randoms())
def test_the_order_in_which_elements_came_does_not_matter(claims: dict[Source, Claim], rule: Rule, random: Any) -> None:
    shuffled = list(claims.items())
    random.shuffle(shuffled)
    assert settle_element("emails/a", dict(shuffled), rule) == settle_element("emails/a", claims, rule)


@given(firms, rules)
def test_settling_changes_no_claim_so_parting_gives_back_what_was_before(
    links: dict[Source, LinkState], rule: Rule
) -> None:
    before = {source: deepcopy(encode(state)) for source, state in links.items()}
    alone = {source: settle({source: state}, {}, rule, same) for source, state in links.items()}
    settle(links, {}, rule, same)
    assert {source: encode(state) for source, state in links.items()} == before
    assert {source: settle({source: state}, {}, rule, same) for source, state in links.items()} == alone


@given(firms, rules)
def test_every_golden_value_was_claimed_by_somebody(links: dict[Source, LinkState], rule: Rule) -> None:
    golden = settle(links, {}, rule, same)
    for name, value in golden.values.items():
        claimed = [state.claims[name].value for state in links.values() if name in state.claims]
        if "/" in name:
            assert any(claim is not None and claim["value"] == value["value"] for claim in claimed)
        else:
            assert value in claimed
    assert all(name in golden.why for name in golden.values)


@given(said, rules)
def test_nothing_that_nobody_said_wins(claims: dict[Source, Claim], rule: Rule) -> None:
    outcome = settled(claims, rule)
    assert outcome.value in [claim.value for claim in claims.values()]
    assert all(not same("title", claim.value, outcome.value) for _, claim in outcome.rivals)
    assert outcome.undecided <= bool(outcome.rivals)


@given(said, rules, sources, moments, st.booleans())
def test_repeating_the_winner_changes_nothing(
    claims: dict[Source, Claim], rule: Rule, source: Source, at: str, first: bool
) -> None:
    winner = settled(claims, rule)
    assume(source not in claims)
    assert same("title", settled({**claims, source: Claim(winner.value, at, first)}, rule).value, winner.value)


@given(said, rules, texts, st.sampled_from([A, B, C]))
def test_a_strictly_later_edit_wins(claims: dict[Source, Claim], rule: Rule, value: Any, source: Source) -> None:
    assume(rule.by == "latest" or (rule.by == "authority" and not rule.authority))
    outcome = settled({**claims, source: Claim(value, LATE)}, rule)
    assert same("title", outcome.value, value)
    assert not outcome.undecided


@given(edits, edits, st.sampled_from([0.0, 5.0]))
def test_two_edits_within_the_tolerance_wait_for_a_person(one: Claim, other: Claim, tolerance_s: float) -> None:
    assume(not same("title", one.value, other.value))
    assume(not same("title", one.over, other.value))
    assume(not same("title", other.over, one.value))
    apart = abs(int(one.at[17:19]) - int(other.at[17:19]))
    outcome = settled({A: one, B: other}, Rule(tolerance_s=tolerance_s))
    assert outcome.undecided == (apart <= tolerance_s)


@given(texts, texts)
def test_an_edit_that_replaced_the_other_one_does_not_compete_with_it(value: Any, newer: Any) -> None:
    assume(not same("title", value, newer))
    outcome = settled({A: Claim(value, EARLY), B: Claim(newer, EARLY[:-1] + "Z", over=value)}, Rule())
    if outcome.value == newer:
        assert not outcome.undecided
    later = Claim(newer, "2026-11-20T10:00:01.000000Z", over=value)
    assert settled({A: Claim(value, EARLY), B: later}, Rule()) == Settled(newer, B, "latest", ())
    assert not settled({A: Claim(value, EARLY), B: later}, Rule(by="ask")).undecided


@given(st.dictionaries(sources, met, min_size=2), orders)
def test_at_first_meeting_the_order_decides_and_without_one_a_person(
    claims: dict[Source, Claim], order: tuple[str, ...]
) -> None:
    outcome = settled(claims, Rule(first=order))
    values = [claim.value for claim in claims.values()]
    if all(same("title", value, values[0]) for value in values):
        assert outcome.reason == "agreed"
        assert not outcome.undecided
        return
    ranked = [name for name in order if name in {source.connection for source in claims}]
    assert outcome.undecided == (not ranked)
    if ranked:
        assert outcome.source.connection == ranked[0]
        assert outcome.reason == "first-meeting"


@given(st.dictionaries(sources, met, min_size=1), edits, orders)
def test_an_edit_beats_what_was_only_met(claims: dict[Source, Claim], edit: Claim, order: tuple[str, ...]) -> None:
    editor = Source("z", "people", "1")
    outcome = settled({**claims, editor: edit}, Rule(first=order))
    assert same("title", outcome.value, edit.value)
    assert not outcome.undecided


@given(said, st.sampled_from(list(permutations("abc"))))
def test_an_authority_wins_whatever_the_times_say(claims: dict[Source, Claim], order: tuple[str, ...]) -> None:
    outcome = settled(claims, Rule(by="authority", authority=order))
    strongest = next(name for name in order if name in {source.connection for source in claims})
    of_it = [claim.value for source, claim in claims.items() if source.connection == strongest]
    assert any(same("title", outcome.value, value) for value in of_it)
    assert not outcome.undecided


@given(st.dictionaries(sources, st.builds(Claim, texts, moments, over=st.just("what was there")), min_size=2))
def test_ask_leaves_differing_edits_to_a_person_however_far_apart(claims: dict[Source, Claim]) -> None:
    values = [claim.value for claim in claims.values()]
    outcome = settled(claims, Rule(by="ask"))
    assert outcome.undecided == (not all(same("title", value, values[0]) for value in values))


@given(said, rules, st.builds(Claim, texts, moments))
def test_a_ruling_beats_every_claim_that_is_not_a_newer_edit(
    claims: dict[Source, Claim], rule: Rule, pin: Claim
) -> None:
    newer = {source: claim for source, claim in claims.items() if not claim.first and claim.at > pin.at}
    outcome = settled(claims, rule, pin)
    if newer:
        assert outcome == settled(newer, rule)
    else:
        assert (outcome.value, outcome.source, outcome.undecided) == (pin.value, STEWARD, False)


def test_a_ruling_stands_where_nobody_claims() -> None:
    outcome = settled({}, Rule(), Claim("Partner", EARLY))
    assert (outcome.value, outcome.reason) == ("Partner", "pinned")
    assert settle_field("title", {}, Rule(), same) is None


@given(elements, rules)
def test_the_latest_statement_about_an_element_wins_and_presence_wins_a_tie(
    claims: dict[Source, Claim], rule: Rule
) -> None:
    outcome = settle_element("emails/a", claims, rule)
    assert outcome is not None
    edited = [claim for claim in claims.values() if not claim.first]
    latest = [c for c in edited if c.at == max(e.at for e in edited)] if edited else list(claims.values())
    assert (outcome.value is not None) == any(claim.value is not None for claim in latest)


def test_a_system_that_cannot_label_takes_no_label_away() -> None:
    plain, labelled = {"value": "a@example.com"}, {"value": "a@example.com", "label": "work"}
    outcome = settle_element("emails/a", {A: Claim(labelled, EARLY), B: Claim(plain, LATE)}, Rule())
    assert outcome is not None
    assert outcome.value == labelled


@given(firms, rules, st.integers(1, 9))
def test_what_is_computed_has_no_rivals(links: dict[Source, LinkState], rule: Rule, total: int) -> None:
    golden = settle(links, {}, rule, same, rollups={"title": str(total)})
    assert golden.values["title"] == str(total)
    assert golden.why["title"].reason == "rollup"
    assert "title" not in golden.undecided

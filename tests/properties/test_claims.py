"""Laws of claims: what a reading may change, and what it must not."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from hypothesis import assume, example, given
from hypothesis import strategies as st

from syncd.core.claims import (
    Claim,
    LinkState,
    Values,
    covered,
    decode,
    encode,
    first_document,
    flatten,
    found_ours,
    nest,
    see,
)
from tests.properties.people import SCALARS, mailboxes, moments, readings, same, silences, spaced, states, texts

EARLY, LATER = "2026-11-20T10:00:00.000000Z", "2026-11-21T10:00:00.000000Z"


@given(readings())
def test_nesting_undoes_flattening(values: Values) -> None:
    assert {**{name: {} for name in covered(values)}, **nest(flatten(values))} == values


@given(states(), readings(), moments, silences)
def test_seeing_twice_is_seeing_once(state: LinkState, values: Values, at: str, silent: frozenset[str]) -> None:
    see(state, values, at, same, silent=silent)
    once = deepcopy(encode(state))
    assert see(state, values, LATER, same, silent=silent) == ()
    assert encode(state) == once


@given(states(), moments)
def test_seeing_what_is_held_changes_nothing(state: LinkState, at: str) -> None:
    assume(state.base)
    before = deepcopy(encode(state))
    assert see(state, nest(state.base), at, same) == ()
    after = encode(state)
    assert [after.get(part) for part in "cbo"] == [before.get(part) for part in "cbo"]


@given(states(), moments)
def test_the_vendors_rendition_of_what_it_holds_makes_no_claim(state: LinkState, at: str) -> None:
    assume(state.base)
    claims = dict(state.claims)
    assert see(state, spaced(nest(state.base)), at, same) == ()
    assert state.claims == claims


@given(states(), readings(), moments, st.data())
def test_an_answer_to_a_write_makes_no_claim_on_what_was_written(
    state: LinkState, answer: Values, at: str, data: st.DataObject
) -> None:
    assume(state.base or state.held)
    wrote = {name: data.draw(texts, label=name) for name in answer if name in SCALARS}
    if "emails" in answer and data.draw(st.booleans()):
        wrote |= flatten({"emails": data.draw(mailboxes())})
    assume(wrote)
    claims = dict(state.claims)
    edits = see(state, answer, at, same, wrote=wrote)
    for name, meant in wrote.items():
        assert state.claims.get(name) == claims.get(name)
        assert name not in {edit.field for edit in edits}
        shown = flatten(answer).get(name)
        assert state.base[name] == shown
        assert same(name, state.as_held(name), meant)


@given(states(), readings(), moments)
def test_a_field_that_a_reading_does_not_state_is_untouched(state: LinkState, values: Values, at: str) -> None:
    assume(state.base)
    before = deepcopy(state)
    see(state, values, at, same)
    sets = covered(values)
    for name in before.base:
        if name not in flatten(values) and name.partition("/")[0] not in sets:
            assert state.claims.get(name) == before.claims.get(name)
            assert state.base[name] == before.base[name]
            assert state.as_held(name) == before.as_held(name)


@given(states(), readings(), moments)
def test_every_edit_is_a_claim_that_remembers_what_it_replaced(state: LinkState, values: Values, at: str) -> None:
    assume(state.base)
    held, base = {name: state.as_held(name) for name in state.base}, dict(state.base)
    for edit in see(state, values, at, same):
        assert state.claims[edit.field] == Claim(edit.value, at, over=held.get(edit.field))
        assert edit.field not in base or not same(edit.field, edit.value, base[edit.field])
        assert state.as_held(edit.field) == edit.value


@given(states(), readings(), moments, silences)
def test_a_field_that_is_only_written_never_claims(
    state: LinkState, values: Values, at: str, silent: frozenset[str]
) -> None:
    claims = {name: claim for name, claim in state.claims.items() if name.partition("/")[0] in silent}
    see(state, values, at, same, silent=silent)
    assert {name: claim for name, claim in state.claims.items() if name.partition("/")[0] in silent} == claims


@given(states())
def test_what_is_stored_reads_back_the_same(state: LinkState) -> None:
    again = decode(deepcopy(encode(state)))
    assert (again.claims, again.base, again.ours) == (state.claims, state.base, state.ours)
    assert encode(again) == encode(state)


@given(readings(), moments, silences)
@example({}, LATER, frozenset())
@example({"title": "x"}, LATER, frozenset({"title"}))
@example({"emails": {}}, LATER, frozenset({"emails"}))
def test_the_short_way_of_a_first_load_stores_what_seeing_would(
    values: Values, at: str, silent: frozenset[str]
) -> None:
    state = LinkState()
    see(state, values, at, same, silent=silent)
    short = decode(first_document(deepcopy(values), at, silent))
    assert (short.claims, short.base, short.ours) == (state.claims, state.base, state.ours)
    spoken = {name: value for name, value in values.items() if name not in silent}
    if spoken == values or any(flatten({name: values[name]}) for name in silent & values.keys()):
        assert first_document(values, at, silent) == encode(state)


@given(readings(), moments)
def test_a_first_reading_claims_only_what_is_not_empty(values: Values, at: str) -> None:
    state = LinkState()
    assert see(state, values, at, same) == ()
    assert state.claims == {n: Claim(v, at, first=True) for n, v in flatten(values).items() if v is not None}


def test_a_value_in_a_field_that_was_not_there_before_is_an_edit() -> None:
    """Many vendors leave empty fields out, so a missing one says nothing about whether we have looked."""
    mail: dict[str, Any] = {"a@example.com": {"value": "a@example.com"}}
    by_people, made_by_us = LinkState(), LinkState()
    see(by_people, {"title": "x", "emails": {}}, EARLY, same)
    see(made_by_us, {"title": "x", "emails": {}}, EARLY, same, wrote={"title": "x"}, new_fields=("title", "emails"))
    for state in (by_people, made_by_us):
        kept = decode(deepcopy(encode(state)))
        edits = see(kept, {"title": "x", "suffix": "Jr.", "emails": mail}, LATER, same)
        assert {edit.field for edit in edits} == {"suffix", "emails/a@example.com"}
        assert kept.claims["suffix"] == Claim("Jr.", LATER)
        assert kept.claims["emails/a@example.com"] == Claim(mail["a@example.com"], LATER)


def test_what_a_new_line_of_the_mapping_shows_is_a_first_meeting() -> None:
    state = LinkState()
    see(state, {"title": "x"}, EARLY, same)
    mail = {"a@example.com": {"value": "a@example.com"}}
    assert see(state, {"title": "x", "emails": mail}, LATER, same, new_fields=("title", "emails")) == ()
    assert state.claims["emails/a@example.com"].first


@given(readings(), st.data())
def test_what_is_found_after_an_unknown_outcome_is_part_of_what_was_meant(values: Values, data: st.DataObject) -> None:
    meant = flatten(data.draw(readings()))
    found = found_ours(values, meant, same)
    shown = flatten(values)
    for name, value in meant.items():
        stated = name in shown or name.partition("/")[0] in covered(values)
        assert (name in found) == (stated and same(name, shown.get(name), value))

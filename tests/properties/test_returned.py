"""A field that comes back after having been away: finding it empty ends no claim, everything else is seen as ever."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from syncd.core.claims import LinkState, encode, see

NAMES = ("title", "name", "note")
values = st.dictionaries(st.sampled_from(NAMES), st.sampled_from([None, "a", "b"]), max_size=3)
sets = st.dictionaries(st.sampled_from(["x", "y"]), st.fixed_dictionaries({"value": st.just("v")}), max_size=2)


def same(_: str, a: Any, b: Any) -> bool:
    return bool(a == b)


def state_of(first: dict[str, Any]) -> LinkState:
    state = LinkState()
    see(state, {"title": "a"} | first, "2026-01-01", same)
    return state


@given(values, sets, values, sets, st.frozensets(st.sampled_from([*NAMES, "emails"])))
def test_an_empty_field_that_came_back_ends_no_claim(
    held: dict[str, Any], items: dict[str, Any], shown: dict[str, Any], now: dict[str, Any], returned: frozenset[str]
) -> None:
    before = state_of(held | {"emails": items})
    after = deepcopy(before)
    reading = shown | {"emails": now}
    edits = see(after, reading, "2026-02-02", same, returned=returned)
    assert not [edit for edit in edits if edit.value is None and edit.field.partition("/")[0] in returned]
    for name, claim in before.claims.items():
        if name.partition("/")[0] in returned and after.base.get(name) is None:
            assert after.claims[name] == claim
    again = encode(after)
    see(after, reading, "2026-03-03", same, returned=returned)
    assert encode(after) == again, "seeing twice is seeing once"


@given(values, sets, values, sets)
def test_without_such_fields_nothing_differs(
    held: dict[str, Any], items: dict[str, Any], shown: dict[str, Any], now: dict[str, Any]
) -> None:
    before = state_of(held | {"emails": items})
    usual, other = deepcopy(before), deepcopy(before)
    reading = {name: value for name, value in shown.items() if value is not None} | {"emails": items | now}
    assert see(usual, reading, "2026-02-02", same) == see(
        other, reading, "2026-02-02", same, returned=frozenset([*NAMES, "emails"])
    )
    assert encode(usual) == encode(other)

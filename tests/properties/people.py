"""Generated readings of a person, as mappings give them, and the equality by which the engine compares them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from syncd.app import World
from syncd.config import Firm, Settings
from syncd.core.claims import LinkState, Values, see
from syncd.core.settle import Source
from syncd.vault import new_key, parse_key

if TYPE_CHECKING:
    from syncd.core.claims import Same

FIRM = Settings(
    home=Path(),
    database_url="",
    redis_url=None,
    key=parse_key(new_key()),
    old_keys=(),
    firm=Firm(name="Test & Partners"),
)
same: Same = World(FIRM, {}).same("person")
"""The engine's own equality for the fields of a person."""

SCALARS = ("title", "prefix", "suffix")
texts = st.sampled_from(["x", "y", "Mixed Case", "a long value", "  y "]) | st.none()
mails = st.sampled_from(["a@example.com", "b@example.com", "c@example.com"])
labels = st.sampled_from([None, "work", "home"])


@st.composite
def mailboxes(draw: st.DrawFn) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for mail in draw(st.lists(mails, max_size=3, unique=True)):
        label = draw(labels)
        found[mail] = {"value": mail} if label is None else {"value": mail, "label": label}
    return found


@st.composite
def readings(draw: st.DrawFn) -> Values:
    """Some fields are not stated at all."""
    values: Values = {name: draw(texts) for name in SCALARS if draw(st.booleans())}
    if draw(st.booleans()):
        values["emails"] = draw(mailboxes())
    return values


moments = st.integers(0, 59).map(lambda second: f"2026-11-20T10:00:{second:02}.000000Z")
silences = st.frozensets(st.sampled_from([*SCALARS, "emails"]), max_size=1)
wrotes = st.none() | st.dictionaries(
    st.sampled_from([*SCALARS, "emails/a@example.com"]), st.none(), min_size=1, max_size=2
)


@st.composite
def states(draw: st.DrawFn) -> LinkState:
    """A link after some readings, a few of them answers to our own writes."""
    state = LinkState()
    for _ in range(draw(st.integers(0, 4))):
        values = draw(readings())
        wrote = None
        if draw(st.booleans()):
            wrote = {name: draw(texts) for name in values if name in SCALARS} or None
        see(state, values, draw(moments), same, wrote=wrote, new_fields=draw(st.sampled_from([(), SCALARS])))
    return state


sources = st.builds(Source, st.sampled_from(["a", "b", "c"]), st.just("people"), st.sampled_from(["1", "2"]))


def spaced(values: Values) -> Values:
    """The same reading as a vendor may show it: blanks around and inside texts, nothing else."""
    return {
        name: f"  {value.replace(' ', '   ')} " if isinstance(value, str) else value for name, value in values.items()
    }

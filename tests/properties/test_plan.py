"""Laws of planning: the smallest write, after which nothing is left to write."""

from __future__ import annotations

from typing import Any

from hypothesis import given, reject
from hypothesis import strategies as st

from mappings.canonical import KINDS
from mappings.load import load_text
from syncd.core.claims import LinkState, Values, decode, encode, see
from syncd.core.gate import Decision, decide
from syncd.core.plan import Nothing, References, Refusal, WaitFor, Write, outgoing, plan_write
from tests.properties.people import mailboxes, readings, same, texts

MAPPING = """
connector: acme
records:
  - resource: people
    kind: person
    creates: yes
    fields:
      title: {path: title, cut: 3}
      prefix: {path: prefix, strength: fill}
      suffix: {path: suffix, strength: create}
      middle_name: {path: middle, direction: in}
      emails: {list: emails, value: value, label: label}
      organisation: {ref: companies, path: company}
  - resource: companies
    kind: organisation
    fields: {name: name}
"""
LENS, _ = load_text(MAPPING, "acme.yaml").mappings
CLASSES = {name: field.cls for name, field in KINDS["person"].fields.items()}
EVERYTHING = decide(outgoing(LENS), CLASSES, "practice", {"practice": frozenset(CLASSES.values())})
AT, LATER = "2026-11-20T10:00:00.000000Z", "2026-11-21T10:00:00.000000Z"
COMPANY = "01company"
NOBODY = frozenset[str]()


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    body: dict[str, Any] = {
        name: draw(texts) for name in ("title", "prefix", "suffix", "middle") if draw(st.booleans())
    }
    if draw(st.booleans()):
        body["emails"] = list(draw(mailboxes()).values())
    return body | {"id": 7}


def met(body: dict[str, Any]) -> LinkState:
    state = LinkState()
    see(state, LENS.get(body), AT, same, new_fields=LENS.lines)
    return decode(encode(state))


def plan(
    golden: Values, state: LinkState | None, body: dict[str, Any] | None, *,
    refs: References | None = None, undecided: frozenset[str] = NOBODY, decision: Decision = EVERYTHING,
) -> Nothing | WaitFor | Refusal | Write | Any:  # fmt: skip
    refs = refs or References(fields=frozenset({"organisation"}))
    return plan_write(golden, undecided, state, body, LENS, refs, decision, same)


def upper(payload: dict[str, Any]) -> dict[str, Any]:
    return {name: value.upper() if isinstance(value, str) else value for name, value in payload.items()}


goldens = readings().map(lambda values: {name: value for name, value in values.items() if value not in (None, {})})


@given(goldens, bodies(), st.booleans())
def test_after_an_update_nothing_is_left_to_write_and_nobody_has_claimed_anything(
    golden: Values, body: dict[str, Any], shouts: bool
) -> None:
    state = met(body)
    planned = plan(golden, state, body)
    if not isinstance(planned, Write):
        reject()
    claims = dict(state.claims)
    body = body | (upper(planned.payload) if shouts else planned.payload)
    assert see(state, LENS.get(body), LATER, same, wrote=planned.meant, new_fields=LENS.lines) == ()
    assert state.claims == claims
    assert plan(golden, state, body) == Nothing()
    # And reading it again is no news.
    assert see(state, LENS.get(body), LATER, same, new_fields=LENS.lines) == ()
    assert plan(golden, decode(encode(state)), body) == Nothing()


@given(goldens, st.booleans())
def test_after_a_create_nothing_is_left_to_write(golden: Values, shouts: bool) -> None:
    planned = plan(golden, None, None)
    if not golden:
        assert planned == Nothing()
        return
    assert isinstance(planned, Write)
    body = upper(planned.payload) if shouts else planned.payload
    state = LinkState()
    see(state, LENS.get(body), AT, same, wrote=planned.meant, new_fields=LENS.lines)
    assert not state.claims
    assert plan(golden, state, body) == Nothing()


@given(bodies())
def test_a_record_that_shows_the_golden_values_needs_nothing(body: dict[str, Any]) -> None:
    values = LENS.get(body)
    golden = {name: value for name, value in values.items() if value not in (None, {})}
    assert plan(golden, met(body), body) == Nothing()


@given(goldens, bodies())
def test_only_what_differs_is_written_and_nothing_that_is_read_only(golden: Values, body: dict[str, Any]) -> None:
    planned = plan({**golden, "middle_name": "Q"}, met(body), body)
    if isinstance(planned, Write):
        assert planned.payload.keys() <= {"title", "prefix", "emails"}
        shown = LENS.get(body)
        assert all(not same(name, before, planned.meant[name]) for name, before in planned.before.items())
        assert "title" not in planned.payload or not same("title", shown.get("title"), golden.get("title"))


@given(goldens, bodies())
def test_fill_writes_only_where_it_is_empty_and_create_only_at_the_beginning(
    golden: Values, body: dict[str, Any]
) -> None:
    planned = plan(golden, met(body), body)
    held = LENS.get(body).get("prefix")
    if isinstance(planned, Write):
        assert "suffix" not in planned.payload
        assert held is None or "prefix" not in planned.payload
    fills = "prefix" in golden and held is None
    assert not fills or (isinstance(planned, Write) and same("prefix", planned.meant["prefix"], golden["prefix"]))
    made = plan(golden, None, None)
    if "suffix" in golden:
        assert isinstance(made, Write)
        assert same("suffix", made.payload["suffix"], golden["suffix"])


@given(goldens, bodies())
def test_what_waits_for_a_person_is_not_written(golden: Values, body: dict[str, Any]) -> None:
    planned = plan(golden, met(body), body, undecided=frozenset({"title", "emails"}))
    assert not isinstance(planned, Write) or not planned.payload.keys() & {"title", "emails"}


@given(goldens, bodies())
def test_what_the_gate_redacts_stays_behind(golden: Values, body: dict[str, Any]) -> None:
    decision = Decision("redact", EVERYTHING.allowed - {"title"}, (("title", "matrix: practice refuses contact"),))
    for state, there in ((met(body), body), (None, None)):
        planned = plan(golden, state, there, decision=decision)
        assert not isinstance(planned, Write) or "title" not in planned.payload
    nothing = Decision("deny", NOBODY, tuple((name, "matrix: no") for name in outgoing(LENS)))
    assert plan(golden, None, None, decision=nothing) == (Refusal("matrix: no") if golden else Nothing())


@given(goldens, bodies())
def test_an_update_does_not_wait_for_a_reference_but_a_new_record_does(golden: Values, body: dict[str, Any]) -> None:
    golden = {**golden, "organisation": COMPANY}
    fields = frozenset({"organisation"})
    awaited = References(awaited=frozenset({COMPANY}), fields=fields)
    known = References({COMPANY: "companies:9"}, {"companies:9": COMPANY}, fields=fields)
    nowhere = References(fields=fields)
    assert plan(golden, None, None, refs=awaited) == WaitFor(COMPANY)
    planned = plan(golden, met(body), body, refs=awaited)
    assert planned == WaitFor(COMPANY) or (isinstance(planned, Write) and "company" not in planned.payload)
    made = plan(golden, None, None, refs=known)
    assert isinstance(made, Write)
    assert made.payload["company"] == "9"
    linked = plan(golden, met(body), body, refs=known)
    assert isinstance(linked, Write)
    assert linked.payload["company"] == "9"
    alone = plan(golden, met(body), body, refs=nowhere)
    assert not isinstance(alone, Write) or "company" not in alone.payload
    assert not isinstance(alone, WaitFor)


@given(bodies())
def test_what_no_claim_supports_any_more_is_taken_back(body: dict[str, Any]) -> None:
    golden = {"title": "x", "emails": {"n@example.com": {"value": "n@example.com"}}}
    state = met(body)
    written = plan(golden, state, body)
    if not isinstance(written, Write):
        reject()
    body = body | written.payload
    see(state, LENS.get(body), LATER, same, wrote=written.meant, new_fields=LENS.lines)
    back = plan({}, state, body)
    assert isinstance(back, Write)
    shown = LENS.get(body | back.payload)
    assert not shown.get("title")
    assert not shown.get("emails")

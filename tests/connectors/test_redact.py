"""No registered secret is ever seen, and a Secret shows nothing."""

from __future__ import annotations

import base64
import copy
import dataclasses
import json
import pickle
import traceback
from urllib.parse import quote, urlencode

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.redact import MARK, TELLING_KEYS, Redactor, Secret

VALUE = "s3cr+t/valu=e å"


def test_a_secret_shows_nothing() -> None:
    secret = Secret(VALUE)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret:>40}", f"{secret!r}", f"{secret}", repr([secret])]
    assert all(VALUE not in text for text in shown)
    assert secret.reveal() == VALUE
    assert not hasattr(secret, "__dict__")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_secret_is_not_pickled(protocol: int) -> None:
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps({"token": Secret(VALUE)}, protocol)
    with pytest.raises(TypeError, match="never pickled"):
        Secret(VALUE).__getstate__()


def test_a_secret_survives_copies_and_dataclasses() -> None:
    @dataclasses.dataclass
    class Kept:
        token: Secret

    kept = Kept(Secret(VALUE))
    assert copy.deepcopy(kept).token.reveal() == VALUE
    assert copy.copy(kept.token) == kept.token
    assert VALUE not in repr(dataclasses.asdict(kept))
    with pytest.raises(TypeError):
        json.dumps({"token": kept.token})
    with pytest.raises(TypeError):
        orjson.dumps({"token": kept.token})


def test_secrets_compare_by_value() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
    assert not Secret("")


def test_overlapping_secrets_leave_no_rest() -> None:
    redactor = Redactor(["abcdef", "defghi", "cd"])
    assert redactor.text("x abcdefghi y") == f"x {MARK} y"
    assert redactor.text("abcd abcdefabcdef") == f"ab{MARK} {MARK}"


def test_a_secret_that_overlaps_itself() -> None:
    assert Redactor(["aa"]).text("baaab") == f"b{MARK}b"


@pytest.mark.parametrize(
    "spelled",
    [
        VALUE,
        quote(VALUE),
        quote(VALUE, safe=""),
        quote(VALUE, safe="").lower(),
        urlencode({"q": VALUE})[2:],
        json.dumps(VALUE),
        json.dumps(VALUE, ensure_ascii=False),
        orjson.dumps(VALUE).decode(),
        repr(VALUE),
        ascii(VALUE),
        repr(VALUE.encode()),
        base64.b64encode(VALUE.encode()).decode(),
        base64.urlsafe_b64encode(VALUE.encode()).decode(),
    ],
)
def test_other_spellings_are_found_too(spelled: str) -> None:
    shown = Redactor([VALUE]).text(f"before {spelled} after")
    assert "s3cr" not in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    assert base64.b64encode(VALUE.encode()).decode()[2:-3] not in shown


@pytest.mark.parametrize("user", ["a", "ab", "abc", "jane.doe"])
def test_a_password_inside_a_basic_header_is_found(user: str) -> None:
    password = "correct-horse-battery"
    header = base64.b64encode(f"{user}:{password}".encode()).decode()
    shown = Redactor([password]).text(f"sent <{header}> to the vendor")
    kept = shown.split("<")[1].split(">")[0].split(MARK)
    decoded = "".join(base64.b64decode(part + "=" * (-len(part) % 4)).decode("latin-1") for part in kept[:1])
    assert password not in decoded
    assert header not in shown


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("Authorization: Bearer abc.def-123", "abc.def-123"),
        ("sent Bearer abc.def-123 to it", "abc.def-123"),
        ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ('{"refresh_token": "r-99\\"x", "ok": 1}', "r-99"),
        ("{'client_secret': 'c-77'}", "c-77"),
        ("grant=x&client_secret=c-77&y=1", "c-77"),
        ("password = hunter2", "hunter2"),
        ("Set-Cookie: sid=9f8e7d; Path=/", "9f8e7d"),
        ("X-Api-Key: k-123456", "k-123456"),
        ("postgresql://syncd:pw-8@db/syncd", "pw-8"),
        ("accessToken=zzz9", "zzz9"),
    ],
)
def test_what_stands_beside_a_telling_name_is_cut_out(text: str, gone: str) -> None:
    shown = Redactor().text(text)
    assert gone not in shown
    assert MARK in shown


def test_text_without_secrets_stays_as_it_is() -> None:
    text = 'connection 7: 200 records in 0.8 s, cursor 2026-03-02T09:30:00Z, {"id": 12, "name": "x"}'
    assert Redactor(["s3cret"]).text(text) == text


def test_nested_values_keep_their_shape() -> None:
    value = {
        "headers": [("Authorization", "Bearer tok-1234567"), ("Accept", "json")],
        "client-secret": {"any": ["thing"]},
        "note": b"the key is k-42",
        "k-42": {"deep": ("k-42", 7, None, True, 1.5)},
        "when": Secret("q"),
    }
    shown = Redactor(["k-42"]).value(value)
    assert shown == {
        "headers": [("Authorization", f"Bearer {MARK}"), ("Accept", "json")],
        "client-secret": MARK,
        "note": f"the key is {MARK}".encode(),
        MARK: {"deep": (MARK, 7, None, True, 1.5)},
        "when": "<secret>",
    }


def test_numbers_and_unknown_objects_are_searched_as_well() -> None:
    class Odd:
        def __repr__(self) -> str:
            return "<Odd 123456>"

    assert Redactor(["123456"]).value([123456, 0.5, Odd(), {123456}]) == [MARK, 0.5, f"<Odd {MARK}>", [MARK]]


def test_a_value_that_holds_itself_ends() -> None:
    loop: dict[str, object] = {"token": "x"}
    loop["self"] = loop
    assert Redactor().value(loop) == {"token": MARK, "self": "..."}


def test_extra_key_names() -> None:
    assert Redactor(keys=["Lead-Inbox-Key"]).value({"lead_inbox_key": "v"}) == {"lead_inbox_key": MARK}


def test_a_traceback_shows_no_registered_secret() -> None:
    redactor = Redactor([VALUE])
    try:
        raise ValueError(f"cannot parse {VALUE!r}")
    except ValueError:
        shown = redactor.text(traceback.format_exc())
    assert VALUE not in shown
    assert "ValueError" in shown


secrets = st.lists(st.text(min_size=1, max_size=12) | st.text(alphabet="ab*", min_size=1, max_size=4), max_size=6)


@given(secrets, st.data())
def test_law_no_registered_secret_is_left_in_any_text(values: list[str], data: st.DataObject) -> None:
    redactor = Redactor(values)
    pieces = st.text(max_size=8) | st.text(alphabet="ab*=: ", max_size=6) | st.sampled_from([*values, "token=", ""])
    text = "".join(data.draw(st.lists(pieces, max_size=10)))
    shown = redactor.text(text)
    assert all(value not in shown for value in values)
    nested = redactor.value({"list": [text, {text: text}], "bytes": text.encode("utf-8", "replace")})
    assert all(value not in part for value in values for part in strings(nested["list"]))
    assert redactor.text(text) == shown


@given(st.text(max_size=40))
def test_law_nothing_but_secrets_is_lost(text: str) -> None:
    if not any(mark in text.lower() for mark in (*TELLING_KEYS, "bearer", "basic", "digest", "://", "_", "-")):
        assert Redactor(["\x00never"]).text(text) == text


def strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for one in pair for text in strings(one)]
    if isinstance(value, list):
        return [text for one in value for text in strings(one)]
    return []

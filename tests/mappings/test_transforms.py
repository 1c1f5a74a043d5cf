"""Every shipped transform keeps its laws; a firm's own are held to the same ones before a mapping can use them."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mappings.load import load_text
from mappings.transforms import SHIPPED, UNREADABLE, Transform, TransformError, check_transform, load_transforms

STRATEGIES: dict[str, st.SearchStrategy[Any]] = {
    "text": st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30),
    "phone": st.integers(10**9, 10**12).map(lambda n: f"+{n}"),
    "bool": st.booleans(),
    "date": st.dates(min_value=date(1000, 1, 1)).map(str),
    "instant": st.datetimes().map(lambda at: at.isoformat(timespec="microseconds") + "Z"),
    "decimal": st.decimals(0, 9999, places=4).map(lambda n: format(n, "f")),
}


@pytest.mark.parametrize("name", SHIPPED)
@given(data=st.data())
def test_every_shipped_transform_keeps_its_laws(name: str, data: st.DataObject) -> None:
    transform = SHIPPED[name]
    values = [data.draw(STRATEGIES[type_]) for type_ in transform.types]
    assert check_transform(transform, values) == ()


@given(
    name=st.sampled_from(sorted(SHIPPED)),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=5,
    ),
)
def test_a_transform_refuses_what_it_cannot_mean_in_one_way(name: str, value: Any) -> None:
    try:
        read = SHIPPED[name].read(value)
    except UNREADABLE:
        return
    assert read is None or isinstance(read, str | bool | int)


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("html_text", "<p>a&nbsp;&lt;b&gt;</p><script>alert(1)</script><!-- x --><div>c</div>", "a <b>\nc"),
        ("html_text", "<p></p>", None),
        ("amount_text", "€ 1,234.50", "1234.50"),
        ("amount_text", "-$5", "-5"),
        ("hours_minutes", "0:20", "0.3333"),
        ("epoch_milliseconds_date", 1795194300250, "2026-11-20"),
        ("tel_uri", "+1 212 555 0100", "+1 212 555 0100"),
        ("yes_no", True, True),
    ],
)
def test_what_people_type_is_read(name: str, given: Any, expected: Any) -> None:
    assert SHIPPED[name].read(given) == expected


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("us_date", "20/11/2026"),
        ("us_date", "11/20/26"),
        ("amount_text", "1.234,50"),
        ("amount_text", "$-5"),
        ("amount_text", "(5"),
        ("hours_minutes", "1:75"),
        ("hours_minutes", 1.5),
        ("epoch_seconds", True),
        ("epoch_seconds", 1.5),
        ("epoch_seconds", 10**30),
        ("yes_no", "maybe"),
    ],
)
def test_what_could_be_misread_is_refused(name: str, given: Any) -> None:
    with pytest.raises(UNREADABLE):
        SHIPPED[name].read(given)


GOOD = Transform(
    "shout", ("text",), "Text in capitals.", lambda v: v.lower(), lambda v: v.upper(),
    examples=(("ACME", "acme"), ("X", "x")), loses="small letters",
)  # fmt: skip


_count = itertools.count()


def counted(value: Any) -> str:
    return f"{value}{next(_count)}"


def failing(value: Any) -> Any:
    raise OSError


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"loses": ""}, "expected the same value, or say what it loses"),
        ({"read": lambda v: v}, "read gives 'ACME' for its example 'ACME', which should be 'acme'"),
        ({"write": lambda v: v + "!"}, "a second round gives"),
        ({"examples": (("ACME", "acme"),)}, "it needs two examples at least"),
        ({"name": "Shout it"}, "its name needs small letters"),
        ({"description": " "}, "it needs a description"),
        ({"types": ("set",)}, "types: expected some of text"),
        ({"read": lambda v: v.lower() if isinstance(v, str) else v}, "which is no text"),
        ({"read": lambda v: v.lower() if isinstance(v, str) else failing(v)}, "read raises OSError"),
        ({"write": lambda v: v.encode()}, "write gives bytes"),
        ({"write": counted}, "write gives two answers"),
        ({"write": failing}, "write raises OSError"),
        ({"read": lambda v: v.append(1) if isinstance(v, list) else v.lower()}, "read edits the value"),
    ],
)  # fmt: skip
def test_a_transform_that_breaks_a_law_is_told_which(change: dict[str, Any], says: str) -> None:
    assert check_transform(GOOD) == ()
    assert any(says in wrong for wrong in check_transform(replace(GOOD, **change)))


OWN = """
from mappings.transforms import Transform

client_code = Transform(
    "client_code",
    ("text",),
    "Our client codes carry the year of the first matter after a slash, which nobody else needs.",
    lambda value: value.partition("/")[0],
    lambda value: value,
    examples=(("C-17/2019", "C-17"), ("C-18", "C-18")),
)
"""


def own_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "transforms.py"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


MAPPING = "connector: acme\nrecords:\n  - {resource: r, kind: person, fields: {client_number: {path: code, transform: client_code}}}\n"


def test_a_firms_own_transform_is_used_and_decides_the_fingerprint(tmp_path: Path) -> None:
    known = load_transforms(own_file(tmp_path, OWN))
    assert known.keys() - SHIPPED.keys() == {"client_code"}
    mapping = load_text(MAPPING, "acme.yaml", transforms=known).mappings[0]
    assert mapping.get({"code": "C-17/2019"}) == {"client_number": "C-17"}
    assert mapping.put({"client_number": "C-17"}, {"code": "C-17/2019"}) == {}
    changed = load_transforms(own_file(tmp_path, OWN + "\n# another version\n"))
    assert load_text(MAPPING, "acme.yaml", transforms=changed).mappings[0].fingerprint != mapping.fingerprint


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (OWN.replace('"client_code",', '"us_date",'), "transforms.py: us_date: a shipped transform has this name"),
        (OWN.replace('partition("/")[0]', "upper()"), "transforms.py: client_code: read gives"),
        ("raise RuntimeError('broken')", "transforms.py: cannot run it: RuntimeError: broken"),
        ("x = (", "transforms.py: cannot run it: SyntaxError"),
    ],
)
def test_a_firms_file_that_cannot_be_used_says_why(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(TransformError) as caught:
        load_transforms(own_file(tmp_path, text))
    assert any(says in error for error in caught.value.errors)


def test_a_file_that_everybody_may_change_is_not_run(tmp_path: Path) -> None:
    path = own_file(tmp_path, "raise SystemExit")
    path.chmod(0o666)
    with pytest.raises(TransformError, match="every user of this machine may change it"):
        load_transforms(path)

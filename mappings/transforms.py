"""Named transforms: the only Python in the mapping language, each with its own inverse.

A line says `transform: us_date`; what that name does stands here, or in the firm's own `transforms.py`, which is read
when a person names that file and never because a mapping does. A transform is two pure functions that undo each
other, says what it loses, and carries examples; `check_transform` holds it to its laws.
"""

from __future__ import annotations

import copy
import hashlib
import html
import re
import runpy
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mappings.normalize import dates, money
from mappings.normalize.text import tidy

if TYPE_CHECKING:
    from mappings.canonical import Type

UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, ArithmeticError)
"""What read and write may raise for a value that they cannot mean."""


@dataclass(frozen=True, slots=True)
class Transform:
    """How one vendor spelling of a value is read and written. Neither function ever sees a missing or empty value.

    name         as mapping lines say it: small letters, digits and underscores
    types        canonical types of the fields that it is for
    description  one sentence for an admin
    read         the vendor's JSON value -> canonical value (see mappings/canonical.py for the shape of each type),
                 None when it stands for "empty"; raises one of `UNREADABLE` for anything it cannot mean
    write        canonical value -> the vendor's JSON value; raises one of `UNREADABLE` where there is none
    examples     (vendor's value, canonical value) pairs, at least two
    loses        what of a canonical value the vendor cannot keep, in words; "" for nothing
    seal         changes when a firm's own file does; part of a mapping's fingerprint

    Laws: read(v) is c for each example; read(write(c)) == c, or with `loses` at least read(write(read(write(c)))) ==
    read(write(c)); the same value gives the same answer and is never edited.
    """

    name: str
    types: tuple[Type, ...]
    description: str
    read: Callable[[Any], Any]
    write: Callable[[Any], Any]
    examples: tuple[tuple[Any, Any], ...]
    loses: str = ""
    seal: str = ""


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return value.strip()


def _words(yes: str, no: str) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Reading takes any common spelling, so that a word typed by hand does not stop the record."""
    meaning = dict.fromkeys(("yes", "y", "true", "1", "on"), True) | dict.fromkeys(
        ("no", "n", "false", "0", "off"), False
    )
    meaning |= {yes.lower(): True, no.lower(): False}

    def read(value: Any) -> bool:
        return value if isinstance(value, bool) else meaning[_text(value).lower()]

    return read, lambda value: yes if value else no


_YES, _TRUE = _words("Yes", "No"), _words("true", "false")


def _day_in(form: str) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    def read(value: Any) -> str:
        # strptime also takes 20/11/0026 and blanks between digits; a date that does not print back was not one.
        found = datetime.strptime(_text(value), form).replace(tzinfo=UTC).date()
        if found.year < 1000:
            raise ValueError("a year of four digits is needed")
        return found.isoformat()

    return read, lambda value: date.fromisoformat(value).strftime(form)


_US, _DOTTED, _BRITISH = _day_in("%m/%d/%Y"), _day_in("%d.%m.%Y"), _day_in("%d/%m/%Y")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _whole(value: Any) -> int:
    if isinstance(value, bool):
        raise TypeError("not a number")
    if isinstance(value, str):
        return int(value.strip())
    if isinstance(value, float) and not value.is_integer():
        raise ValueError("not a whole number")
    return int(value)


def _epoch(unit: timedelta) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    def read(value: Any) -> str:
        return dates.instant((_EPOCH + _whole(value) * unit).isoformat())

    return read, lambda value: (datetime.fromisoformat(value) - _EPOCH) // unit


_SECONDS, _MILLISECONDS = _epoch(timedelta(seconds=1)), _epoch(timedelta(milliseconds=1))


def _read_epoch_day(value: Any) -> str:
    return _MILLISECONDS[0](value)[:10]  # type: ignore[no-any-return]


def _write_epoch_day(value: str) -> int:
    return (date.fromisoformat(value) - _EPOCH.date()) // timedelta(milliseconds=1)


def _read_clock(value: Any) -> str:
    match = re.fullmatch(r"(\d{1,4}):([0-5]\d)(?::([0-5]\d))?", _text(value), re.ASCII)
    if match is None:
        raise ValueError("not hours and minutes")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return money.normal(format(round(Decimal(hours * 3600 + minutes * 60 + seconds) / 3600, 4), "f"))


def _write_clock(value: str) -> str:
    minutes = round(Decimal(value) * 60)
    if minutes < 0 or minutes >= 10_000 * 60:
        raise ValueError("no such time of work")
    return f"{minutes // 60}:{minutes % 60:02d}"


def _read_amount(value: Any) -> str:
    if isinstance(value, int | float):
        return money.plain(value)
    match = re.fullmatch(
        r"(\(?-?)[^\d\-().,]{0,4}(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?\s?[A-Z]{0,3}(\)?)", _text(value), re.ASCII
    )
    if match is None or match[1].startswith("(") != bool(match[4]):
        raise ValueError("not an amount")
    try:
        return money.plain(("-" if match[1] else "") + match[2].replace(",", "") + (match[3] or ""))
    except InvalidOperation:
        raise ValueError("not an amount") from None


def _read_html(value: Any) -> str | None:
    text = _text(value)
    text = re.sub(r"(?is)<(script|style)\b.*?</\1\s*>|<!--.*?-->", "", text)
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"(?i) ?<(br|/p|/div|/li|/tr|/h[1-6])\b[^>]*> ?", "\n", text)
    text = html.unescape(re.sub(r"</?[A-Za-z][^>]*>", "", text)).replace("\xa0", " ")
    return "\n".join(line.strip() for line in text.strip().split("\n")) or None


def _write_html(value: str) -> str:
    return "<br>".join(html.escape(line, quote=False) for line in value.splitlines())


def _read_tel(value: Any) -> str:
    text = _text(value)
    return text[4:].partition(";")[0] if text.lower().startswith("tel:") else text


def _write_tel(value: str) -> str:
    digits = "".join(c for c in value if c.isascii() and (c.isdigit() or c == "+"))
    if not digits.strip("+"):
        raise ValueError("no number")
    return f"tel:{digits}"


_SHIPPED = (
    Transform(
        "yes_no",
        ("bool",),
        "Yes or No as text; also reads y, n, true, false, 1, 0, on, off in any case.",
        *_YES,
        examples=(("Yes", True), ("No", False), ("y", True), ("FALSE", False)),
    ),
    Transform(
        "true_false",
        ("bool",),
        "true or false as text, as custom check boxes are often kept; reads what yes_no reads.",
        *_TRUE,
        examples=(("true", True), ("false", False), ("Yes", True)),
    ),
    Transform(
        "us_date",
        ("date",),
        "A date as text, month first: 11/20/2026.",
        *_US,
        examples=(("11/20/2026", "2026-11-20"), ("1/2/1980", "1980-01-02")),
    ),
    Transform(
        "british_date",
        ("date",),
        "A date as text, day first: 20/11/2026.",
        *_BRITISH,
        examples=(("20/11/2026", "2026-11-20"), ("2/1/1980", "1980-01-02")),
    ),
    Transform(
        "dotted_date",
        ("date",),
        "A date as text with dots, day first: 20.11.2026.",
        *_DOTTED,
        examples=(("20.11.2026", "2026-11-20"), ("2.1.1980", "1980-01-02")),
    ),
    Transform(
        "epoch_seconds",
        ("instant",),
        "Whole seconds since 1970 (UTC).",
        *_SECONDS,
        examples=((1795194300, "2026-11-20T17:05:00.000000Z"), ("0", "1970-01-01T00:00:00.000000Z")),
        loses="fractions of a second",
    ),
    Transform(
        "epoch_milliseconds",
        ("instant",),
        "Milliseconds since 1970 (UTC).",
        *_MILLISECONDS,
        examples=((1795194300250, "2026-11-20T17:05:00.250000Z"), (-1, "1969-12-31T23:59:59.999000Z")),
        loses="microseconds",
    ),
    Transform(
        "epoch_milliseconds_date",
        ("date",),
        "A date as milliseconds from 1970 to its midnight in UTC, as HubSpot keeps date properties.",
        _read_epoch_day,
        _write_epoch_day,
        examples=((1795132800000, "2026-11-20"), ("315619200000", "1980-01-02")),
    ),
    Transform(
        "hours_minutes",
        ("decimal",),
        "Time worked as hours and minutes: 1:30 is 1.5 hours.",
        _read_clock,
        _write_clock,
        examples=(("1:30", "1.5"), ("0:06", "0.1"), ("12:00:00", "12")),
        loses="fractions of a minute",
    ),
    Transform(
        "amount_text",
        ("decimal",),
        "An amount typed as text: $1,234.50, 1,234.50 USD, (75.00) for less than nothing. Written as plain digits.",
        _read_amount,
        lambda value: money.plain(value),
        examples=(("$1,234.50", "1234.50"), ("(75.00)", "-75.00"), ("20", "20"), (7.5, "7.5")),
    ),
    Transform(
        "html_text",
        ("text",),
        "Rich text as plain text: tags go, paragraphs become lines. A text that changes is written without formatting.",
        _read_html,
        _write_html,
        examples=(
            ("<p>Call &amp; ask</p><p>Tuesday</p>", "Call & ask\nTuesday"),
            ("a<br>b", "a\nb"),
            ("plain", "plain"),
        ),
        loses="formatting, and blanks at the ends of lines",
    ),
    Transform(
        "tel_uri",
        ("phone",),
        "A telephone number as a tel: address (RFC 3966).",
        _read_tel,
        _write_tel,
        examples=(("tel:+12125550100", "+12125550100"), ("tel:+12125550100;ext=12", "+12125550100")),
        loses="extensions and punctuation",
    ),
)
SHIPPED: Mapping[str, Transform] = MappingProxyType({transform.name: transform for transform in _SHIPPED})


class TransformError(Exception):
    """The firm's file of transforms cannot be used. `errors`: "transforms.py: ..." lines."""

    def __init__(self, errors: Iterable[str]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(self.errors))


def load_transforms(path: Path) -> Mapping[str, Transform]:
    """The shipped transforms and those of a firm's own Python file: every `Transform` that it holds at the top.

    The file runs with the rights of the service, so it must belong to those who may change the service: one that
    everybody may write is refused. Raises TransformError (each own transform is held to its laws), FileNotFoundError.
    """
    if path.stat().st_mode & stat.S_IWOTH:
        raise TransformError([f"{path.name}: every user of this machine may change it; take that right away first"])
    source = path.read_bytes()
    try:
        found = runpy.run_path(str(path), run_name="syncd_transforms")
    except Exception as error:
        raise TransformError([f"{path.name}: cannot run it: {type(error).__name__}: {error}"]) from error
    seal = hashlib.blake2b(source, digest_size=8).hexdigest()
    own: dict[str, Transform] = {}
    errors: list[str] = []
    for value in found.values():
        if not isinstance(value, Transform) or SHIPPED.get(value.name) is value or value.name in own:
            continue
        if value.name in SHIPPED:
            errors.append(f"{path.name}: {value.name}: a shipped transform has this name; choose another")
        errors += [f"{path.name}: {value.name}: {wrong}" for wrong in check_transform(value)]
        own[value.name] = replace(value, seal=seal)
    if errors:
        raise TransformError(errors)
    return MappingProxyType({**SHIPPED, **own})


_CANONICAL: Mapping[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str),
    "email": lambda value: isinstance(value, str),
    "phone": lambda value: isinstance(value, str),
    "enum": lambda value: isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "date": lambda value: isinstance(value, str) and date.fromisoformat(value).isoformat() == value,
    "instant": lambda value: isinstance(value, str) and dates.instant(value) == value,
    "decimal": lambda value: isinstance(value, str) and money.plain(value) == value,
}
_SAMPLES: Mapping[str, tuple[Any, ...]] = {
    "text": ("x", "two words", "line\nbreak", "Zoë & <Co> 🙂", "'; --", "long " * 500),
    "email": ("jane@x.org", "J.Doe@Example.com"),
    "phone": ("+12125550100", "(212) 555-0100", "212.555.0101 x12"),
    "enum": (),
    "bool": (True, False),
    "int": (0, 1, -7, 10**6),
    "date": ("2026-11-20", "1980-02-29", "1999-12-31"),
    "instant": ("2026-11-20T17:05:00.000000Z", "1969-12-31T23:59:59.999999Z", "2026-01-01T00:00:00.123456Z"),
    "decimal": ("0", "750.00", "-12.34", "0.3333", "1234567.89", "1.5"),
}
_HOSTILE: tuple[Any, ...] = (
    "",
    "  ",
    "\x00",
    "no such thing",
    0,
    -1,
    10**30,
    1.5,
    True,
    [],
    [1],
    {},
    {"x": 1},
    "9" * 5000,
)


def check_transform(transform: Transform, values: Iterable[Any] = ()) -> tuple[str, ...]:
    """What is wrong with a transform by its laws, in words; () when it keeps them.

    values  more canonical values to try, beside its own examples and the samples of its types
    """
    wrong: list[str] = []
    if not re.fullmatch(r"[a-z][a-z0-9_]*", transform.name):
        wrong.append("its name needs small letters, digits and underscores")
    if not transform.types or any(type_ not in _CANONICAL for type_ in transform.types):
        wrong.append(f"types: expected some of {', '.join(_CANONICAL)}")
        return tuple(wrong)
    if not transform.description.strip():
        wrong.append("it needs a description")
    if len(transform.examples) < 2:
        wrong.append("it needs two examples at least")
    for vendor, canonical in transform.examples:
        found, error = _tried(transform.read, copy.deepcopy(vendor))
        if error is not None:
            wrong.append(f"read cannot take its own example {shown(vendor)} ({type(error).__name__})")
        elif found != canonical:
            wrong.append(
                f"read gives {shown(found)} for its example {shown(vendor)}, which should be {shown(canonical)}"
            )
    for type_ in transform.types:
        for value in (*(c for _, c in transform.examples if c is not None), *_SAMPLES[type_], *values):
            wrong.extend(_broken_laws(transform, type_, value))
    for vendor in _HOSTILE:
        given = copy.deepcopy(vendor)
        found, error = _tried(transform.read, given)
        if error is not None and not isinstance(error, UNREADABLE):
            wrong.append(f"read raises {type(error).__name__} for {shown(vendor)}; expected ValueError")
        if given != vendor:
            wrong.append(f"read edits the value that it is given ({shown(vendor)})")
        if error is None and found is not None and not any(_fits(type_, found) for type_ in transform.types):
            wrong.append(f"read gives {shown(found)} for {shown(vendor)}, which is no {' or '.join(transform.types)}")
    return tuple(dict.fromkeys(wrong))


def shown(value: Any) -> str:
    """A value in a message: short."""
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _fits(type_: str, value: Any) -> bool:
    try:
        return _CANONICAL[type_](value)
    except UNREADABLE:
        return False


def _broken_laws(transform: Transform, type_: str, value: Any) -> Iterable[str]:
    written, error = _tried(transform.write, value)
    if error is not None:
        if not isinstance(error, UNREADABLE):
            yield f"write raises {type(error).__name__} for {shown(value)}; expected ValueError"
        return  # otherwise the vendor has no spelling for it, so nothing would be written
    if not isinstance(written, str | int | float | bool | list | dict):
        yield f"write gives {type(written).__name__} for {shown(value)}; expected a JSON value"
        return
    if _tried(transform.write, value) != (written, None):
        yield f"write gives two answers for {shown(value)}"
    once, error = _tried(transform.read, written)
    if error is not None:
        yield f"read cannot take what write made of {shown(value)} ({type(error).__name__})"
        return
    if not _same(type_, once, value) and not transform.loses:
        yield f"read(write(x)) is {shown(once)} for {shown(value)}; expected the same value, or say what it loses"
    if once is not None:
        rewritten, _ = _tried(transform.write, once)
        again, error = _tried(transform.read, rewritten)
        if error is not None or not _same(type_, again, once):
            yield f"a second round gives {shown(again)} for {shown(value)}, the first gave {shown(once)}"


def _tried(function: Callable[[Any], Any], value: Any) -> tuple[Any, Exception | None]:
    """What a function answers, or what it raises: a firm's own code may raise anything, and is to be told about it."""
    try:
        return function(value), None
    except Exception as error:
        return None, error


def _same(type_: str, a: Any, b: Any) -> bool:
    if a is None or b is None or not (_fits(type_, a) and _fits(type_, b)):
        return a is b
    if type_ == "decimal":
        return money.normal(a) == money.normal(b)
    if type_ in ("text", "email", "phone", "enum"):
        return tidy(a) == tidy(b)
    return bool(a == b)

"""Decimal numbers and currencies. Amounts travel as plain digits in text; binary floats never take part in sums."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation


def plain(raw: object) -> str:
    """A JSON number or text as plain digits, no exponent; trailing zeros are kept. Raises ValueError.

    A float means the shortest decimal that it prints as: 0.1 is one tenth.
    """
    if isinstance(raw, bool) or not isinstance(raw, str | int | float | Decimal):
        raise ValueError("not a number")
    try:
        number = Decimal(repr(raw) if isinstance(raw, float) else raw.strip() if isinstance(raw, str) else raw)
    except InvalidOperation:
        raise ValueError("not a number") from None
    if not number.is_finite() or abs(number.adjusted()) > 30:
        raise ValueError("not a number")
    return format(number, "f")


def normal(text: str) -> str:
    """The form amounts are compared by: no trailing zeros, no sign on zero."""
    number = format(Decimal(text), "f")
    if "." in number:
        number = number.rstrip("0").rstrip(".")
    return "0" if number in ("-0", "") else number


def json_number(text: str) -> int | float:
    """For vendors that want a JSON number."""
    number = Decimal(text)
    return int(number) if number == number.to_integral_value() else float(number)

"""Plain text: one spelling of the same characters, for comparing. What people typed is kept elsewhere."""

from __future__ import annotations

import unicodedata

_LETTERS = str.maketrans(
    {
        "ß": "ss",
        "æ": "ae",
        "Æ": "AE",
        "ø": "o",
        "Ø": "O",
        "đ": "d",
        "Đ": "D",
        "ł": "l",
        "Ł": "L",
        "œ": "oe",
        "Œ": "OE",
        "þ": "th",
        "Þ": "Th",
        "\u0131": "i",
        "\u2019": "'",
        "\u2018": "'",
        "`": "'",
    }
)


def tidy(text: str) -> str | None:
    """NFC, stripped, inner white space collapsed to one space; None when nothing is left. Case is kept."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return " ".join(text.split()) or None


def fold(text: str) -> str:
    """For finding, not for equality: no accents, no case, tidy. Letters without a Latin base stay as they are."""
    if not text.isascii():
        text = unicodedata.normalize("NFKD", text.translate(_LETTERS))
        text = "".join(c for c in text if not unicodedata.combining(c))
        text = unicodedata.normalize("NFC", text)
        text = text.casefold()
    else:
        text = text.lower()
    return " ".join(text.split())


def alnum(text: str) -> str:
    """`fold`, letters and digits only."""
    return "".join(c for c in fold(text) if c.isalnum())

"""Postal addresses: the key under which equal ones meet, and each part in the form it is compared by.

The key is made of street and postcode, because these two are what systems agree on; street words are brought
to their usual abbreviations first ("100 Main Street, Suite 4" and "100 Main St Ste 4" are one address).
"""

from __future__ import annotations

import re
from functools import lru_cache

from mappings.normalize import countries
from mappings.normalize.text import alnum, fold

_WORDS = {
    "street": "st",
    "avenue": "ave",
    "av": "ave",
    "road": "rd",
    "drive": "dr",
    "lane": "ln",
    "boulevard": "blvd",
    "place": "pl",
    "court": "ct",
    "square": "sq",
    "terrace": "ter",
    "parkway": "pkwy",
    "highway": "hwy",
    "circle": "cir",
    "suite": "ste",
    "apartment": "apt",
    "floor": "fl",
    "building": "bldg",
    "room": "rm",
    "north": "n",
    "south": "s",
    "east": "e",
    "west": "w",
    "northeast": "ne",
    "northwest": "nw",
    "southeast": "se",
    "southwest": "sw",
    "straße": "str",
    "strasse": "str",
}
_TOKEN = re.compile(r"\w+")
_ZIP_PLUS_4 = re.compile(r"(\d{5})-?\d{4}")


def street(raw: str) -> str:
    """The street as it is compared: folded, usual abbreviations, letters and digits only."""
    plain = raw.lower() if raw.isascii() else fold(raw)
    return "".join([_WORDS.get(token, token) for token in _TOKEN.findall(plain)])


def postcode(raw: str) -> str:
    """The postcode as it is compared: no blanks, no case, a ZIP without its +4."""
    plain = raw.strip()
    if plain.isascii() and plain.isdigit() and len(plain) < 9:
        return plain
    zip_code = _ZIP_PLUS_4.fullmatch(plain)
    return zip_code[1] if zip_code else alnum(plain)


@lru_cache(maxsize=8192)
def key(street_raw: str | None, postcode_raw: str | None) -> str | None:
    """street|postcode, or None when both are blank."""
    text = f"{street(street_raw or '')}|{postcode(postcode_raw or '')}"
    return None if text == "|" else text


def key_of(item: dict[str, str | None]) -> str | None:
    """The key of a whole address; one without street and postcode is known by its town and country."""
    if text := key(item.get("street"), item.get("postcode")):
        return text
    rest = [part(name, item.get(name)) or "" for name in ("city", "region", "country")]
    return f"~{','.join(rest)}" if any(rest) else None


def part(name: str, raw: str | None) -> str | None:
    """One part in the form it is compared by; None when blank."""
    if raw is None or not raw.strip():
        return None
    if name == "street":
        return street(raw)
    if name == "postcode":
        return postcode(raw)
    if name == "country":
        return countries.country(raw)
    if name == "region":
        return countries.region(raw)
    return fold(raw)

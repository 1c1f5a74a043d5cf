"""Postal addresses: the key under which equal ones meet, and each part in the form it is compared by.

The key is made of street and postcode, because these two are what systems agree on; street words are brought
to their usual abbreviations first ("100 Main Street, Suite 4" and "100 Main St Ste 4" are one address).
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.metadata import version

from mappings.normalize import countries
from mappings.normalize.normalized import Normalized, refused
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


@lru_cache(maxsize=1)
def parser() -> str:
    return f"usaddress {version('usaddress')}"


OWN_PARSER = "addresses 1"
_NUMBER = re.compile(r"\d")


@lru_cache(maxsize=8192)
def read(street_raw: str, postcode_raw: str = "", country_raw: str = "", *, region: str = "US") -> Normalized:
    """Street and postcode as they are compared ("100mainstste4|10001"), or why they are no address.

    raw is the street. A street in the United States is also taken apart, to see whether it is one: house number and
    street, or a post office box. Elsewhere a number and a postcode are all that can be asked for.
    """
    found = key(street_raw, postcode_raw)
    code = countries.country_code(country_raw) if country_raw.strip() else region
    by = parser() if code == "US" else OWN_PARSER
    if found is None or found.startswith("|"):
        return refused(street_raw, by, "the street is blank")
    if code != "US":
        sure = bool(_NUMBER.search(street_raw)) and not found.endswith("|")
        return Normalized(street_raw, found, by, 0.8 if sure else 0.5)
    from usaddress import RepeatedLabelError, tag  # loads its model of American addresses

    try:
        parts, kind = tag(street_raw)
    except (RepeatedLabelError, ValueError):
        return Normalized(street_raw, found, by, 0.4)
    if kind == "PO Box" or {"AddressNumber", "StreetName"} <= parts.keys():
        return Normalized(street_raw, found, by, 0.95 if not found.endswith("|") else 0.7)
    if kind == "Intersection":
        return refused(street_raw, by, "it names a crossing, not a house")
    return Normalized(street_raw, found, by, 0.4)

"""Phone numbers: E.164 as the key under which equal ones meet.

Most numbers in a firm's systems are plain national ones in a handful of spellings; those of North America take
a short path that is proven equal to the long one by a test. Everything else goes to phonenumbers. A number that
cannot be valid keeps its digits behind "raw:", so that nothing is lost and nothing invalid looks normalized.
"""

from __future__ import annotations

import re
from functools import lru_cache

import phonenumbers

from mappings.normalize.normalized import Normalized, refused

_NOTES = re.compile(r"\s*[(\[]\s*[A-Za-z][^)\]]*[)\]]\s*")
_WIDE = str.maketrans("", "", "\u00a0\u2010\u2011\u2013")
_NANP = frozenset("US CA PR DO JM BS BB TT AG AI BM VG KY GD MS TC LC DM VC KN GU AS MP VI SX".split())


@lru_cache(maxsize=16384)
def _is_north_american(first_six: str) -> bool:
    """Whether numbers beginning so are assigned. The plan decides by area code and exchange alone."""
    return phonenumbers.is_valid_number(
        phonenumbers.PhoneNumber(country_code=1, national_number=int(first_six + "0199"))
    )


def _short_path(text: str, region: str) -> str | None:
    if not text.isascii():
        text = text.translate(_WIDE)
        if not text.isascii():
            return None
    digits = text.replace(" ", "").replace("(", "").replace(")", "").replace("-", "").replace(".", "")
    if digits.startswith("+1"):
        digits = digits[2:]
    elif region not in _NANP or digits[:1] == "+":
        return None
    elif len(digits) == 11 and digits[0] == "1":
        digits = digits[1:]
    if len(digits) != 10 or not digits.isdigit() or digits[0] in "01" or digits[3] in "01":
        return None
    return "+1" + digits if _is_north_american(digits[:6]) else None


def key(raw: str, region: str) -> str | None:
    """E.164, with ";ext=" and the extension where one is given; else "raw:" and the digits; None when blank.

    region is the ISO 3166 code of the country whose national spelling a number without "+" has.
    """
    text = raw.strip()
    if not text:
        return None
    if text.startswith("raw:"):
        return text if len(text) > 4 else None
    text = text.removeprefix("tel:")
    if short := _short_path(text, region):
        return short
    cleaned = _NOTES.sub(" ", text).split("/")[0].split("|")[0].strip()
    try:
        number = phonenumbers.parse(cleaned, region)
    except phonenumbers.NumberParseException:
        number = None
    if number is not None and phonenumbers.is_valid_number(number):
        e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
        return f"{e164};ext={number.extension}" if number.extension else e164
    plain = "".join(c for c in text if c.isdigit()) or "".join(c for c in text.casefold() if c.isalnum())
    return f"raw:{plain}" if plain else None


PARSER = f"phonenumbers {phonenumbers.__version__}"
_REASONS = {
    phonenumbers.NumberParseException.INVALID_COUNTRY_CODE: "no country has this prefix",
    phonenumbers.NumberParseException.NOT_A_NUMBER: "it is no number",
    phonenumbers.NumberParseException.TOO_SHORT_AFTER_IDD: "it ends after the international prefix",
    phonenumbers.NumberParseException.TOO_SHORT_NSN: "it has too few digits",
    phonenumbers.NumberParseException.TOO_LONG: "it has too many digits",
}
_LENGTHS = {
    phonenumbers.ValidationResult.TOO_SHORT: "it has too few digits",
    phonenumbers.ValidationResult.TOO_LONG: "it has too many digits",
    phonenumbers.ValidationResult.INVALID_LENGTH: "no number there has so many digits",
    phonenumbers.ValidationResult.IS_POSSIBLE_LOCAL_ONLY: "the area code is missing",
}


@lru_cache(maxsize=8192)
def read(raw: str, region: str) -> Normalized:
    """The number in E.164, with its extension behind ";ext=", or why it is none. canonical is `key`'s spelling.

    A number that names its country is surer than one that was read as the region's.
    """
    found = key(raw, region)
    if found is None:
        return refused(raw, PARSER, "it is blank")
    if not found.startswith("raw:"):
        is_whole = raw.strip().removeprefix("tel:").startswith("+")
        return Normalized(raw, found, PARSER, 1.0 if is_whole else 0.9)
    try:
        number = phonenumbers.parse(_NOTES.sub(" ", raw).split("/")[0].split("|")[0].strip(), region)
    except phonenumbers.NumberParseException as error:
        return refused(raw, PARSER, _REASONS.get(error.error_type, "it is no number"))
    length = phonenumbers.is_possible_number_with_reason(number)
    return refused(raw, PARSER, _LENGTHS.get(length, "no such number is assigned"))

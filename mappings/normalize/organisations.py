"""Names of organisations: core words, numbers and the legal form as a class of its own.

The legal form is kept, not deleted: "Alder II LLC" and "Alder II LP" are two companies, and so are "Fund I"
and "Fund II". What may differ without meaning anything is spelling: "L.L.C.", "llc", "Limited Liability Company".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from mappings.normalize.normalized import Normalized, refused
from mappings.normalize.text import fold

# class | spellings, without dots; longest are tried first
_FORMS = """
llc|llc|limited liability company|limited liability co|ltd liability company
pllc|pllc|professional limited liability company
corp|inc|incorporated|corp|corporation
pc|pc|professional corporation|prof corp|apc
pa|pa|professional association
llp|llp|limited liability partnership
lllp|lllp
lp|lp|limited partnership|ltd partnership
ltd|ltd|limited|pty ltd|pty limited|pvt ltd|private limited
plc|plc|public limited company
gmbh|gmbh|gesellschaft mit beschrankter haftung|mbh
gmbh co kg|gmbh & co kg|gmbh and co kg|gmbh co kg
ag|ag|aktiengesellschaft
kg|kg
ug|ug|ug haftungsbeschrankt
sa|sa|societe anonyme|sociedad anonima
sarl|sarl|s a r l
sas|sas
srl|srl
sl|sl
spa|spa|societa per azioni
bv|bv|besloten vennootschap
nv|nv|naamloze vennootschap
ab|ab|aktiebolag
as|a/s
oy|oy|oyj
spzoo|sp z o o|sp zoo|spolka z oo
kk|kk|kabushiki kaisha
se|se
co|co|company
trust|trust
foundation|foundation
"""


def _form_table() -> dict[tuple[str, ...], str]:
    table = {}
    for line in _FORMS.strip().splitlines():
        name, *spellings = line.split("|")
        for spelling in (name, *spellings):
            table[tuple(spelling.split())] = name
    return table


_BY_WORDS = _form_table()
_LONGEST = max(map(len, _BY_WORDS))
_CLEAR_FORMS = frozenset("llc pllc llp lllp lp gmbh plc".split()) | {
    "inc",
    "incorporated",
    "corporation",
    "corp",
    "ltd",
    "limited",
}
_ROMAN = {
    "i": "1",
    "ii": "2",
    "iii": "3",
    "iv": "4",
    "v": "5",
    "vi": "6",
    "vii": "7",
    "viii": "8",
    "ix": "9",
    "x": "10",
    "xi": "11",
    "xii": "12",
}
_ORDINALS = {
    "first": "1",
    "second": "2",
    "third": "3",
    "fourth": "4",
    "fifth": "5",
    "one": "1",
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "1st": "1",
    "2nd": "2",
    "3rd": "3",
    "4th": "4",
    "5th": "5",
}
_DOTTED = re.compile(r"\b(?:\w\.){2,}")
_WORD = re.compile(r"[^\W_]+(?:/[^\W_]+)?|&", re.UNICODE)
_NOISE = frozenset({"the", "and", "&", "of"})


@dataclass(frozen=True, slots=True)
class OrganisationName:
    """core: content words in order; numbers: every number, ordinal or roman numeral in order; form: class or None."""

    core: tuple[str, ...]
    numbers: tuple[str, ...]
    form: str | None


@lru_cache(maxsize=65536)
def name_of(text: str) -> OrganisationName:
    """The name in comparable parts."""
    plain = _DOTTED.sub(lambda m: m[0].replace(".", "") + " ", fold(text)).replace("'", "")
    words = _WORD.findall(plain)
    form = None
    while len(words) > 1:
        for length in range(min(_LONGEST, len(words) - 1), 0, -1):
            if found := _BY_WORDS.get(tuple(words[-length:])):
                form = found if form is None else f"{found} {form}"
                del words[-length:]
                break
        else:
            break
    numbers = []
    core = []
    for position, word in enumerate(words):
        if word in _NOISE:
            continue
        if any(c.isdigit() for c in word) or (position and word in _ROMAN) or (position and word in _ORDINALS):
            numbers.append(_ROMAN.get(word) or _ORDINALS.get(word) or word.lstrip("0") or "0")
        else:
            core.append(word)
    return OrganisationName(tuple(core), tuple(numbers), form)


def looks_like_one(text: str) -> bool:
    """True when the text ends in a legal form that no person's name ends in."""
    words = _WORD.findall(_DOTTED.sub(lambda m: m[0].replace(".", "") + " ", fold(text)))
    return len(words) > 1 and words[-1] in _CLEAR_FORMS


PARSER = "organisations 1"


@lru_cache(maxsize=8192)
def read(raw: str) -> Normalized:
    """Content words, then numbers, then the legal form's class, or why there is none: "alder 2 llc".

    Unsure without a legal form, and most where the result would be read as something else.
    """
    found = name_of(raw)
    if not (found.core or found.numbers):
        return refused(raw, PARSER, "it has no word or number" if raw.strip() else "it is blank")
    canonical = _spelled(found)
    if _spelled(name_of(canonical)) != canonical:
        return Normalized(raw, canonical, PARSER, 0.2)
    return Normalized(raw, canonical, PARSER, 0.95 if found.form is not None else 0.8)


def _spelled(found: OrganisationName) -> str:
    return " ".join([*found.core, *found.numbers, *([found.form] if found.form is not None else [])])

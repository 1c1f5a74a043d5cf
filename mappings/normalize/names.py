"""Names of people: their parts, what kind of party a name really is, and whether two given names can be one person.

nameparser splits Western names well and is slow, so `split` is cached. What it does not know is decided here
first: joint parties ("Monty & Connie McClure"), estates and trusts, generations (Jr., II), nicknames.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from itertools import combinations
from typing import Literal

from mappings.normalize.normalized import Normalized, refused
from mappings.normalize.text import fold

Party = Literal["person", "joint", "fiduciary"]

_JOINT = re.compile(r"\s(?:&|\+|and|und|et|y|e|or)\s|\s*[&/;]\s*|\bet\s+(?:ux|vir|al)\b", re.IGNORECASE)
_JOINT_SAFE_GIVEN = re.compile(r"\s(?:y|e)\s", re.IGNORECASE)  # Ortega y Gasset: one family name
_FIDUCIARY = re.compile(
    r"\b(?:estate|trusts?|trustees?|executors?|executrix|administrat(?:or|rix)s?|guardians?|conservators?|conservatorship|"
    r"guardianship|custodians?|decedent|deceased|heirs?|beneficiar(?:y|ies)|receiver|nachlass|a minor|in re|"
    r"minor child(?:ren)?|personal representative|dated|u/?a|f/?b/?o)\b",
    re.IGNORECASE,
)
_GENERATIONS = {
    "sr": "1",
    "senior": "1",
    "i": "1",
    "jr": "2",
    "junior": "2",
    "jnr": "2",
    "snr": "1",
    "ii": "2",
    "2nd": "2",
    "iii": "3",
    "3rd": "3",
    "iv": "4",
    "4th": "4",
    "v": "5",
    "5th": "5",
}

_NICKNAMES = """
abigail abby gail
albert al bert
alexander alex alec sandy xander
alexandra alex sandra lexi
alfred al fred alf
amanda mandy
andrew andy drew
anthony tony
antonio tony
arthur art
barbara barb barbie
benjamin ben benny
catherine cathy cate kate kitty
charles charlie chuck chas
charlotte charlie lottie
christina tina chrissy
christine chris tina chrissy
christopher chris kit topher
cynthia cindy
daniel dan danny
david dave davy
deborah deb debbie
dennis denny
donald don donnie
dorothy dot dottie
douglas doug
edward ed eddie ted ned
eleanor ellie nell nora
elizabeth liz beth betty eliza lizzie libby betsy
emily em emmy
eugene gene
evelyn evie
florence flo
frances fran frannie
francis frank
francisco paco pancho
frank frankie
franklin frank
frederick fred freddie
gabriel gabe
george georgie
gerald gerry jerry
gregory greg
guillermo memo
harold harry hal
heinrich heinz
helen nell
henry hank harry
herbert herb bert
howard howie
isabella bella izzy
jacob jake
jacqueline jackie
james jim jimmy jamie
janet jan
jeffrey jeff
jennifer jen jenny
jeremy jerry
jessica jess jessie
john johnny jack
jonathan jon nathan
johannes hans
jose pepe
joseph joe joey
josephine jo josie
joshua josh
judith judy
julia jules
katherine kathy kate katie kay kitty
kathleen kathy kate katie
kenneth ken kenny
kimberly kim
lawrence larry
leonard leo len lenny
leonardo leo
lewis lew
louis lou
louise lou
luis lucho
madeline maddie
manuel manny manolo
margaret maggie meg peggy marge margie rita
martin marty
matthew matt
maximilian max
maxwell max
melissa mel missy
michael mike mikey mick
mildred millie
mitchell mitch
nancy nan
natalie nat
natasha tasha
nathan nate
nathaniel nate nathan nat
nicholas nick nicky
nicole nikki
olivia liv
oliver ollie
pamela pam
patricia pat patty tricia trish
patrick pat paddy
peter pete
philip phil
phillip phil
rachel rae
randall randy
raymond ray
rebecca becky becca
reginald reggie
richard rich rick dick ricky
robert rob bob bobby robbie bert
roberto beto
ronald ron ronnie
rosemary rose
russell russ
samantha sam
samuel sam sammy
sandra sandy
sarah sally sadie
sebastian seb
stanley stan
stephanie steph
stephen steve
steven steve
stuart stu
susan sue susie
suzanne sue suzy
tamara tammy
teresa terry tess
theresa terry tess
theodore ted teddy theo
thomas tom tommy
timothy tim
tobias toby
valerie val
veronica ronnie
victor vic
victoria vicky tori
vincent vince vinny
virginia ginny
walter walt wally
wilhelm willi willy
william bill will billy willie liam
zachary zach zack
"""


def _roots() -> dict[str, frozenset[str]]:
    roots: dict[str, set[str]] = {}
    for line in _NICKNAMES.strip().splitlines():
        formal, *short = line.split()
        for name in (formal, *short):
            roots.setdefault(name, set()).add(formal)
    return {name: frozenset(formals) for name, formals in roots.items()}


_ROOTS = _roots()


@dataclass(frozen=True, slots=True)
class Name:
    """A person's name in folded parts, to be compared. generation: "1" for Sr. or I, "2" for Jr. or II, or None."""

    given: tuple[str, ...]
    middle: tuple[str, ...]
    family: tuple[str, ...]
    generation: str | None
    party: Party


def party(text: str) -> Party:
    """What the text names: one person, several at once, or an estate, trust or guardianship."""
    if _FIDUCIARY.search(text):
        return "fiduciary"
    match = _JOINT.search(text)
    if match and _JOINT_SAFE_GIVEN.fullmatch(match[0]):
        return "person"
    return "joint" if match else "person"


def generation(text: str | None) -> str | None:
    """The generation in a suffix such as "Jr.", "III" or "Esq., Jr"; None when it names none."""
    for token in re.split(r"[\s,.]+", fold(text or "")):
        if token in _GENERATIONS:
            return _GENERATIONS[token]
    return None


def _tokens(text: str | None) -> tuple[str, ...]:
    return tuple(t for t in re.split(r"[\s.,\-]+", fold(text or "").replace("'", "")) if t)


@lru_cache(maxsize=65536)
def split(text: str) -> tuple[str, str, str, str, str]:
    """A full name as prefix, given, middle, family and suffix; 0.5 ms when not cached. "Doe, Jane" is understood."""
    from nameparser import HumanName  # slow to import, and most mappings never need it

    name = HumanName(text)
    return (name.title, name.first, name.middle, name.last, name.suffix)


@lru_cache(maxsize=65536)
def name_of(given: str | None, middle: str | None, family: str | None, suffix: str | None) -> Name:
    """The folded name. A whole name that stands in one field is taken apart; "Jr." is found wherever it was typed."""
    whole = " ".join(part for part in (given, middle, family, suffix) if part)
    kind = party(whole)
    if kind == "person" and (not given or not family) and len(_tokens(given or family)) > 1:
        _, given, middle_2, family, suffix_2 = split(given or family or "")
        middle, suffix = middle or middle_2, suffix or suffix_2
    family_tokens, found = _family(family)
    given_tokens = _tokens(given)
    return Name(given_tokens[:1], given_tokens[1:] + _tokens(middle), family_tokens, generation(suffix) or found, kind)


def _family(text: str | None) -> tuple[tuple[str, ...], str | None]:
    """The family name's words, and the generation that was typed behind them."""
    tokens = _tokens(text)
    found = None
    while len(tokens) > 1 and tokens[-1] in _GENERATIONS:
        found = found or _GENERATIONS[tokens[-1]]
        tokens = tokens[:-1]
    return tokens, found


def pair(given: str, family: str) -> tuple[str, str] | None:
    """(first given name, family name) as `name_of` has them, for names that stand in two fields; None if one is blank.

    Made for every record that is pulled: the parts repeat, so they are remembered one by one.
    """
    first, last = _first_word(given), _family_words(family)
    return (first, last) if first and last else None


@lru_cache(maxsize=65536)
def _first_word(given: str) -> str:
    return next(iter(_tokens(given)), "")


@lru_cache(maxsize=65536)
def _family_words(family: str) -> str:
    return " ".join(_family(family)[0])


def given_agreement(a: str, b: str) -> Literal["equal", "nickname", "initial", "none"]:
    """How two folded given names can belong to one person."""
    if a == b:
        return "equal"
    if len(a) == 1 or len(b) == 1:
        return "initial" if a[0] == b[0] else "none"
    if _ROOTS.get(a, frozenset((a,))) & _ROOTS.get(b, frozenset((b,))) and not _both_formal(a, b):
        return "nickname"
    return "none"


def _both_formal(a: str, b: str) -> bool:
    """Two full names are never one another's nickname, whatever short form they share."""
    return a in _ROOTS.get(a, ()) and b in _ROOTS.get(b, ()) and a not in _ROOTS[b] and b not in _ROOTS[a]


def nicknames() -> frozenset[tuple[str, str]]:
    """All pairs that `given_agreement` calls nicknames, for tests and documentation."""
    return frozenset(pair for pair in combinations(sorted(_ROOTS), 2) if given_agreement(*pair) == "nickname")


@lru_cache(maxsize=1)
def parser() -> str:
    return f"nameparser {version('nameparser')}"


_SHOWN = {"1": "sr", "2": "jr", "3": "iii", "4": "iv", "5": "v"}


@lru_cache(maxsize=8192)
def read(raw: str) -> Normalized:
    """A person's whole name as "family, given middle, generation", folded, or why it is none.

    The parser guesses which word is what, so it is never sure: less with one word or many, least where it takes its
    own result for something else.
    """
    if not raw.strip():
        return refused(raw, parser(), "it is blank")
    kind = party(raw)
    if kind != "person":
        return refused(raw, parser(), "it names several people" if kind == "joint" else "it names an estate or trust")
    canonical, words = _whole(raw)
    if not any(character.isalpha() for character in canonical):
        return refused(raw, parser(), "it has no word that could be a name")
    is_stable = _whole(canonical)[0] == canonical
    return Normalized(raw, canonical, parser(), {1: 0.3, 2: 0.9, 3: 0.8}.get(words, 0.6) if is_stable else 0.2)


def _whole(text: str) -> tuple[str, int]:
    """The name in canonical order, and how many words it has."""
    found = name_of(text, None, None, None)
    given, family = " ".join((*found.given, *found.middle)), " ".join(found.family)
    parts = [part for part in (family, given) if part]
    if parts and found.generation is not None:
        parts.append(_SHOWN[found.generation])
    return ", ".join(parts), len(given.split()) + len(family.split())

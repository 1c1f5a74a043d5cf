"""Who works with the demo firm: one list of people, companies and matters, and what each system knows of it.

The same seed and size give the same firm. Systems overlap in part and differ in spelling, in what they leave
blank and in what only they know, as in any firm that kept them by hand. Nobody is real: names are combined,
phones are 555-01xx, mail is example.*.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

GIVEN = (
    "Alice Amir Ana Arjun Beatriz Bram Carmen Chloe Dana David Elif Emma Farid Freya George Greta Hana Hugo Ines Ivan"
    " Jack Jana Kofi Lena Leo Lucia Maja Marco Mina Nadia Noah Olga Oscar Paula Petra Quinn Rania Rosa Samuel Sara"
    " Tara Theo Uma Vera Victor Wanda Yara Zoe"
).split()
ROOTS = (
    "Abbot Baker Carver Dalton Ellis Farrow Garner Hollis Ingram Jarvis Keller Lambert Mercer Norris Osborn Palmer"
    " Quincy Ramsey Sawyer Turner Upton Vaughn Warner Yates Zeller Ashby Barlow Colby Darby Easton Fenwick Granby"
).split()
ENDS = ("", "son", "field", "more", "ham", "stead", "ford", "wick")
TRADES = "Analytics Bakery Capital Dental Electric Foods Gallery Holdings Imports Logistics Marine Press".split()
FORMS = ("LLC", "Inc.", "LLP", "Corp.")
TITLES = ("General Counsel", "Owner", "Director", "Office Manager", "Chief Financial Officer", "Engineer")
AREAS = [str(code) for code in range(201, 990) if code % 100 != 11 and code // 10 % 10 != 9]
CITIES = (("Boston", "MA", "02110"), ("Denver", "CO", "80202"), ("Seattle", "WA", "98101"), ("Chicago", "IL", "60603"))


@dataclass(frozen=True, slots=True)
class Someone:
    """One person, as the truth would have it."""

    number: int
    given: str
    family: str
    email: str
    phone: str
    title: str
    company: str | None
    street: str
    city: tuple[str, str, str]
    systems: frozenset[str]

    @property
    def dotted(self) -> str:
        return f"{self.phone[:3]}.{self.phone[3:6]}.{self.phone[6:]}"

    @property
    def bracketed(self) -> str:
        return f"({self.phone[:3]}) {self.phone[3:6]}-{self.phone[6:]}"


@dataclass(frozen=True, slots=True)
class Roster:
    people: tuple[Someone, ...]
    companies: tuple[str, ...]

    @property
    def clients(self) -> tuple[Someone, ...]:
        """Every third person in practice management has a matter."""
        return tuple(each for each in self.people if "clio" in each.systems)[::3]


def roster(seed: int, size: int) -> Roster:
    """`size` people; about one in six has a company of their own, where two more work."""
    chance = random.Random(seed)  # noqa: S311 (made-up people)
    companies = []
    for n in range(max(1, size // 6)):
        root = ROOTS[(n * 7 + seed) % len(ROOTS)] + ENDS[n // len(ROOTS) % len(ENDS)]
        companies.append(f"{root} {TRADES[n % len(TRADES)]} {FORMS[n % len(FORMS)]}")
    companies = list(dict.fromkeys(companies))
    people = []
    for n in range(size):
        given = GIVEN[n % len(GIVEN)]
        lap = n // len(GIVEN)
        family = ROOTS[(lap + n) % len(ROOTS)] + ENDS[(lap // len(ROOTS) + n) % len(ENDS)]
        where = {
            0: "clio crm cards",
            1: "clio crm",
            2: "clio cards",
            3: "crm cards",
            4: "clio",
            5: "clio crm cards",
            6: "crm",
        }
        people.append(
            Someone(
                number=n,
                given=given,
                family=family,
                email=f"{given}.{family}.{n}@example.com".lower(),
                phone=f"{AREAS[n // 100 % len(AREAS)]}55501{n % 100:02}",
                title=chance.choice(TITLES),
                company=companies[n % len(companies)] if n % 2 == 0 else None,
                street=f"{100 + n} {ROOTS[n % len(ROOTS)]} Street",
                city=CITIES[n % len(CITIES)],
                systems=frozenset(where[n % 7].split()),
            )
        )
    return Roster(tuple(people), tuple(companies))


def company_phone(firm: Roster, name: str) -> str:
    """A switchboard number that no person has."""
    place = firm.companies.index(name)
    return f"({AREAS[-1 - place // 100]}) 555-01{place % 100:02}"


def card(person: Someone) -> dict[str, Any]:
    """The person as the address book has them: another way to write the phone, sometimes no title."""
    return {
        "uid": f"demo-{person.number}",
        "kind": "individual",
        "fn": f"{person.given} {person.family}",
        "n": {"family": person.family, "given": person.given, "additional": None, "prefix": None, "suffix": None},
        "emails": [{"value": person.email, "types": ["work"], "pref": True}],
        "tels": [{"value": person.dotted, "types": ["work"], "pref": True}],
        "adrs": [],
        "org": [],
        "title": person.title if person.number % 3 == 0 else None,
        "urls": [],
    }

"""Matching: whether two records are one person, organisation, matter or the like. Exact evidence, with vetoes.

`keys` gives the short strings under which candidates meet; `decide` looks at two candidates. Only exact evidence
links by itself: the same mailbox or phone together with the same full name, or the same number of the firm's own.
In a law firm the most similar records are the traps (father and son, "Alder II LLC" beside "Alder LLC", couples,
estates), so a veto outweighs any similarity, and what is doubtful waits for a person. A wrong link is worse than a
missed one. Pure; symmetric: decide(k, a, b) and decide(k, b, a) are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Literal

from mappings.normalize import Normalizer, domains, emails, names, normalizer, organisations
from mappings.normalize.text import alnum, fold, tidy

if TYPE_CHECKING:
    from mappings.canonical import Values

Outcome = Literal["same", "review", "different"]

KEYS_MAX = 6


@dataclass(frozen=True, slots=True)
class Verdict:
    """outcome: same (link by itself) | review (a person decides) | different. reasons: what spoke, without data."""

    outcome: Outcome
    reasons: tuple[str, ...]


def keys(kind: str, values: Values, *, region: str = "US") -> tuple[str, ...]:
    """Under which this record can be found, the most telling first; at most `KEYS_MAX`, () when it says too little.

    i: the firm's own number · e: mailbox (never a desk's, such as info@) · p: phone · w: web domain ·
    n: given|family name · o: company core|form · m: matter number · k: timekeeper id · y: payment number ·
    t: message or event id · d: document number
    """
    made = _KEYS.get(kind)
    return () if made is None else tuple(dict.fromkeys(made(values, normalizer(region))))[:KEYS_MAX]


def decide(kind: str, a: Values, b: Values, *, region: str = "US") -> Verdict:
    """Whether two records of one kind from different systems are the same. Kinds without rules are never linked."""
    made = _RULES.get(kind)
    if made is None:
        return Verdict("different", ("records of this kind are not matched",))
    return made(a, b, normalizer(region))


# Evidence that persons and organisations share ------------------------------------------------------------------------


def _texts(values: Values, field: str) -> str | None:
    value = values.get(field)
    return tidy(value) if isinstance(value, str) else None


def _normal(values: Values, one: str, many: str, key_of: Callable[[str], str | None]) -> list[str]:
    """The normalized values, the primary one first. Those of a set are its keys, so they need not be made again."""
    primary = values.get(one)
    first: str | None = None
    found: list[str] = []
    for key, item in (values.get(many) or {}).items():
        if item and item.get("value"):
            if first is None and item["value"] == primary:
                first = key
            else:
                found.append(key)
    if primary and first is None:
        first = key_of(primary)
        if first in found:
            found.remove(first)
    return found if first is None else [first, *found]


def _mailboxes(values: Values) -> dict[str, None]:
    """Personal mailboxes, in order."""
    found = [emails.personal(address) for address in _normal(values, "email", "emails", emails.key)]
    return dict.fromkeys([box for box in found if box])


def _phones(values: Values, normal: Normalizer) -> dict[str, None]:
    """Complete numbers, in order; a number that could not be read is no evidence, nor is a fax machine."""
    items = values.get("phones") or {}
    found = _normal(values, "phone", "phones", normal.phone_key)
    return dict.fromkeys(
        [key for key in found if key[:1] == "+" and (key not in items or items[key].get("label") != "fax")]
    )


def _domains(values: Values) -> set[str]:
    """Domains that belong to the organisation: of its web site and of its mail, without mail providers."""
    found = {emails.domain(address) for address in _normal(values, "email", "emails", emails.key)}
    found.add(_texts(values, "website"))
    return {d for host in found if host and (d := domains.registered(host)) and d not in emails.FREE_DOMAINS}


def _addresses(values: Values) -> set[str]:
    return {key for key in (values.get("addresses") or {}) if "|" in key and not key.startswith("|")}


# Persons --------------------------------------------------------------------------------------------------------------


def _name(values: Values) -> names.Name:
    return names.name_of(*(_texts(values, f) for f in ("given_name", "middle_name", "family_name", "suffix")))


def _full_text(values: Values) -> str:
    fields = ("prefix", "given_name", "middle_name", "family_name", "suffix")
    return " ".join(text for f in fields if (text := _texts(values, f)))


def _person_keys(values: Values, normal: Normalizer) -> list[str]:
    number = _texts(values, "client_number")
    found = [f"i:{fold(number)}"] if number else []
    found += ["e:" + box for box in list(_mailboxes(values))[:2]]
    found += ["p:" + phone for phone in list(_phones(values, normal))[:2]]
    given, family = values.get("given_name"), values.get("family_name")
    pair = names.pair(given, family) if given and family else None
    if pair is None:
        name = _name(values)
        pair = (name.given[0], " ".join(name.family)) if name.given and name.family else None
    if pair is not None:
        found.append(f"n:{pair[0]}|{pair[1]}")
    return found


def _person(a: Values, b: Values, normal: Normalizer) -> Verdict:
    vetoes = list(_person_vetoes(a, b))
    number_a, number_b = _texts(a, "client_number"), _texts(b, "client_number")
    same_number = bool(number_a and number_b and fold(number_a) == fold(number_b))
    if number_a and number_b and not same_number:
        vetoes.append("different client numbers")
    mail = bool(_mailboxes(a).keys() & _mailboxes(b).keys())
    phone = bool(_phones(a, normal).keys() & _phones(b, normal).keys())
    shared = [
        text
        for held, text in ((same_number, "same client number"), (mail, "same e-mail"), (phone, "same phone"))
        if held
    ]
    agreement, why = _names_agree(_name(a), _name(b))
    reasons = (*shared, why, *vetoes)
    if agreement == "conflict":
        # Two known names that cannot be one person's: couples and colleagues share mailboxes and phones.
        return Verdict("review" if same_number else "different", reasons)
    if vetoes:
        return Verdict("review" if shared or agreement == "full" else "different", reasons)
    if agreement == "full" and (same_number or mail):
        return Verdict("same", reasons)
    if agreement == "nickname" and (same_number or mail):
        return Verdict("same", reasons)
    if agreement == "full" and phone:
        apart = _mailboxes(a) and _mailboxes(b)  # a household's phone with two mailboxes may be two people
        return Verdict("review", (*reasons, "different e-mails")) if apart else Verdict("same", reasons)
    if shared:
        return Verdict("review", reasons)
    if agreement == "full":
        return _by_name_alone(a, b, normal, reasons)
    return Verdict("different", reasons)


def _by_name_alone(a: Values, b: Values, normal: Normalizer, reasons: tuple[str, ...]) -> Verdict:
    """The same full name and no contact in common."""
    conflicting = (_mailboxes(a) and _mailboxes(b)) or (_phones(a, normal) and _phones(b, normal))
    if a.get("birth_date") and a.get("birth_date") == b.get("birth_date"):
        return Verdict("review", (*reasons, "same date of birth"))
    if _addresses(a) & _addresses(b):
        return Verdict("review", (*reasons, "same address"))
    if {emails.domain(m) for m in _mailboxes(a)} & {emails.domain(m) for m in _mailboxes(b)} - emails.FREE_DOMAINS:
        return Verdict("review", (*reasons, "same employer's mail domain"))
    if conflicting:
        return Verdict("different", (*reasons, "contacts differ"))
    return Verdict("review", (*reasons, "no contact to compare"))


def _person_vetoes(a: Values, b: Values) -> Iterator[str]:
    """What never links by itself, whatever else agrees."""
    parties = {names.party(_full_text(a)), names.party(_full_text(b))}
    if "fiduciary" in parties:
        yield "an estate, trust or guardianship"
    if "joint" in parties:
        yield "more than one person in a record"
    if organisations.looks_like_one(_full_text(a)) or organisations.looks_like_one(_full_text(b)):
        yield "an organisation's name in a person's record"
    one, other = _name(a), _name(b)
    if one.generation != other.generation:
        yield (
            "Jr., Sr. or a numeral on one side"
            if None in (one.generation, other.generation)
            else "different generations"
        )
    if one.middle and other.middle and not _middles_agree(one.middle, other.middle):
        yield "different middle names"
    born_a, born_b = a.get("birth_date"), b.get("birth_date")
    if born_a and born_b and born_a != born_b:
        yield "birth dates one slip apart" if _one_slip(born_a, born_b) else "different birth dates"


def _middles_agree(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    return all(x == y or (x[0] == y[0] and 1 in (len(x), len(y))) for x, y in zip(a, b, strict=False))


def _one_slip(a: str, b: str) -> bool:
    """One digit typed wrong, or day and month exchanged."""
    try:
        one, other = date.fromisoformat(a), date.fromisoformat(b)
    except ValueError:
        return False
    if (one.year, one.month, one.day) == (other.year, other.day, other.month):
        return True
    return sum(x != y for x, y in zip(a, b, strict=True)) == 1


def _names_agree(a: names.Name, b: names.Name) -> tuple[Literal["full", "nickname", "partial", "conflict"], str]:
    """How two names agree; "partial" is everything that neither proves nor excludes."""
    if not (a.given or a.family) or not (b.given or b.family):
        return "partial", "a name is missing"
    family, given = _families_agree(a.family, b.family), "none"
    if a.given and b.given:
        given = names.given_agreement(a.given[0], b.given[0])
    elif not (a.given and b.given):
        given = "missing"
    if family == "equal" and given == "equal":
        return "full", "same name"
    if family == "equal" and given == "nickname":
        return "nickname", "same family name, short form of the first name"
    if family == "equal" and given in ("initial", "missing"):
        return "partial", "same family name, first name not complete"
    if a.given == b.family and a.family == b.given:
        return "partial", "first and last name exchanged"
    if given == "none":
        # A middle name may be the one that somebody goes by.
        if family != "none" and (set(a.given) & set(b.middle) or set(b.given) & set(a.middle)):
            return "partial", "first name is the other's middle name"
        return "conflict", "different first names"
    if family == "part":
        return "partial", "one family name holds the other"
    if given == "equal":
        return "partial", "same first name, different family names"
    return "conflict", "different names"


def _families_agree(a: tuple[str, ...], b: tuple[str, ...]) -> Literal["equal", "part", "none"]:
    if not a or not b:
        return "part"
    if a == b or "".join(a) == "".join(b):
        return "equal"
    return "part" if set(a) & set(b) else "none"


# Organisations --------------------------------------------------------------------------------------------------------


def _organisation_keys(values: Values, normal: Normalizer) -> Iterator[str]:
    if number := _texts(values, "client_number"):
        yield f"i:{fold(number)}"
    if name := _texts(values, "name"):
        parts = organisations.name_of(name)
        if parts.core or parts.numbers:
            yield f"o:{' '.join((*parts.core, *parts.numbers))}|{parts.form or ''}"
            yield f"o:{' '.join((*parts.core, *parts.numbers))}"
    yield from (f"w:{name}" for name in sorted(_domains(values))[:1])
    yield from (f"e:{box}" for box in list(_mailboxes(values))[:1])
    yield from (f"p:{number}" for number in list(_phones(values, normal))[:1])


def _organisation(a: Values, b: Values, normal: Normalizer) -> Verdict:
    name_a, name_b = _texts(a, "name"), _texts(b, "name")
    number_a, number_b = _texts(a, "client_number"), _texts(b, "client_number")
    same_number = bool(number_a and number_b and fold(number_a) == fold(number_b))
    mail = bool(_mailboxes(a).keys() & _mailboxes(b).keys())
    web = bool(_domains(a) & _domains(b))
    phone = bool(_phones(a, normal).keys() & _phones(b, normal).keys())
    shared = [
        text
        for held, text in (
            (same_number, "same client number"),
            (web, "same web domain"),
            (mail, "same e-mail"),
            (phone, "same phone"),
        )
        if held
    ]
    vetoes = ["different client numbers"] if number_a and number_b and not same_number else []
    if not name_a or not name_b:
        return Verdict("review" if shared else "different", (*shared, "a name is missing", *vetoes))
    agreement, why = _company_names(organisations.name_of(name_a), organisations.name_of(name_b))
    if {names.party(name_a), names.party(name_b)} & {"fiduciary"} and fold(name_a) != fold(name_b):
        vetoes.append("an estate or trust")
    reasons = (*shared, why, *vetoes)
    if agreement == "different":
        return Verdict("review" if same_number else "different", reasons)
    if agreement == "doubt" or vetoes:
        return Verdict("review" if shared or agreement == "equal" else "different", reasons)
    if shared:
        return Verdict("same", reasons)
    return Verdict("review", (*reasons, "no contact in common"))


def _company_names(
    a: organisations.OrganisationName, b: organisations.OrganisationName
) -> tuple[Literal["equal", "doubt", "different"], str]:
    """equal: every word, number and the legal form; doubt: may be a sibling; different: cannot be one company."""
    if a.numbers != b.numbers:
        return "different", "a number differs"
    if a.core != b.core:
        if "".join(a.core) == "".join(b.core):
            return "doubt", "names differ in their spaces"
        common = set(a.core) & set(b.core)
        if common and (set(a.core) <= set(b.core) or set(b.core) <= set(a.core)):
            return "doubt", "a word more on one side"
        return "different", "different names"
    if not a.core and not a.numbers:
        return "doubt", "no word to compare"
    if a.form == b.form:
        return "equal", "same name and legal form" if a.form else "same name, no legal form"
    if a.form is None or b.form is None:
        return "doubt", "legal form on one side only"
    return "doubt", "different legal forms"


# Matters and invoices -------------------------------------------------------------------------------------------------


def _matter_keys(values: Values, _: Normalizer) -> Iterator[str]:
    if number := _texts(values, "number"):
        yield f"m:{fold(number)}"


def _matter(a: Values, b: Values, _: Normalizer) -> Verdict:
    number_a, number_b = _texts(a, "number"), _texts(b, "number")
    if not number_a or not number_b:
        return Verdict("different", ("a matter number is missing",))
    if fold(number_a) != fold(number_b):
        return Verdict("different", ("different matter numbers",))
    words_a, words_b = (_words(v, "name") for v in (a, b))
    if words_a and words_b and not words_a & words_b:
        return Verdict("review", ("same matter number", "names have no word in common"))
    return Verdict("same", ("same matter number",))


def _words(values: Mapping[str, Any], field: str) -> set[str]:
    return {alnum(word) for word in (_texts(dict(values), field) or "").split()} - {""}


def _invoice_keys(values: Values, _: Normalizer) -> Iterator[str]:
    if number := _texts(values, "number"):
        yield f"i:{fold(number)}"


def _invoice(a: Values, b: Values, normal: Normalizer) -> Verdict:
    return _numbered("invoice", "total", a, b, normal)


def _numbered(kind: str, amount: str, a: Values, b: Values, normal: Normalizer) -> Verdict:
    """Two papers about money are one by their number and their amount; the number alone may be any year's."""
    number_a, number_b = _texts(a, "number"), _texts(b, "number")
    if not number_a or not number_b or fold(number_a) != fold(number_b):
        return Verdict("different", (f"different {kind} numbers",))
    for field, text in ((amount, f"different {amount}s"), ("currency", "different currencies")):
        if a.get(field) is None or b.get(field) is None:
            return Verdict("review", (f"same {kind} number", f"no {field} to compare"))
        if not normal.same(kind, field, a[field], b[field]):
            return Verdict("review", (f"same {kind} number", text))
    return Verdict("same", (f"same {kind} number", f"same {amount}"))


def _payment_keys(values: Values, _: Normalizer) -> Iterator[str]:
    if number := _texts(values, "number"):
        yield f"y:{fold(number)}"


def _payment(a: Values, b: Values, normal: Normalizer) -> Verdict:
    return _numbered("payment", "amount", a, b, normal)


# Staff, touchpoints, documents ----------------------------------------------------------------------------------------


def _staff_keys(values: Values, _: Normalizer) -> Iterator[str]:
    if number := _texts(values, "timekeeper_id"):
        yield f"k:{fold(number)}"
    yield from (f"e:{box}" for box in _mailboxes(values))
    name = _name(values)
    if name.given and name.family:
        yield f"n:{name.given[0]}|{' '.join(name.family)}"


def _staff_member(a: Values, b: Values, _: Normalizer) -> Verdict:
    """Colleagues are few and known, so the name may agree less than a client's must; but it has to agree."""
    mail = bool(_mailboxes(a).keys() & _mailboxes(b).keys())
    id_a, id_b = (fold(_texts(values, "timekeeper_id") or "") for values in (a, b))
    shared = [text for held, text in ((mail, "same e-mail"), (id_a and id_a == id_b, "same timekeeper id")) if held]
    agreement, why = _names_agree(_name(a), _name(b))
    vetoes = ["different timekeeper ids"] if id_a and id_b and id_a != id_b else []
    reasons = (*shared, why, *vetoes)
    if agreement == "conflict":
        return Verdict("review" if shared else "different", reasons)
    if vetoes or agreement == "partial":
        return Verdict("review" if shared else "different", reasons)
    return Verdict("same" if shared else "review", reasons)


def _touchpoint_keys(values: Values, _: Normalizer) -> Iterator[str]:
    if message := _texts(values, "message_id"):
        yield f"t:{message.strip('<>')}"


def _touchpoint(a: Values, b: Values, _: Normalizer) -> Verdict:
    """A message or event carries one id through every system; how they name its type differs."""
    id_a, id_b = ((_texts(values, "message_id") or "").strip("<>") for values in (a, b))
    if not id_a or id_a != id_b:
        return Verdict("different", ("no message id in common",))
    if a.get("at") and b.get("at") and a["at"][:10] != b["at"][:10]:
        return Verdict("review", ("same message id", "different days"))  # one event of a series, or a day's zone
    return Verdict("same", ("same message id",))


def _document_keys(values: Values, _: Normalizer) -> Iterator[str]:
    if number := _texts(values, "number"):
        yield f"d:{fold(number)}"


def _document(a: Values, b: Values, _: Normalizer) -> Verdict:
    """Two document systems may both have a number 4711, so the name must agree too."""
    number_a, number_b = _texts(a, "number"), _texts(b, "number")
    if not number_a or not number_b or fold(number_a) != fold(number_b):
        return Verdict("different", ("different document numbers",))
    version_a, version_b = (_texts(values, "version") for values in (a, b))
    if version_a and version_b and fold(version_a) != fold(version_b):
        return Verdict("different", ("same document number", "different versions"))
    name_a, name_b = (alnum(_texts(values, "name") or "") for values in (a, b))
    if not name_a or name_a != name_b:
        return Verdict("review", ("same document number", "names differ" if name_a and name_b else "a name is missing"))
    return Verdict("same", ("same document number", "same name"))


_KEYS: Mapping[str, Callable[[Values, Normalizer], Iterable[str]]] = {
    "person": _person_keys,
    "organisation": _organisation_keys,
    "matter": _matter_keys,
    "invoice": _invoice_keys,
    "payment": _payment_keys,
    "staff_member": _staff_keys,
    "touchpoint": _touchpoint_keys,
    "document": _document_keys,
}
_RULES: Mapping[str, Callable[[Values, Values, Normalizer], Verdict]] = {
    "person": _person,
    "organisation": _organisation,
    "matter": _matter,
    "invoice": _invoice,
    "payment": _payment,
    "staff_member": _staff_member,
    "touchpoint": _touchpoint,
    "document": _document,
}

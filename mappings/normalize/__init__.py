"""Normalizing: the form in which two systems' values of one field are compared, per type of field.

A `Normalizer` holds the one hint that normalizing needs, the region whose national phone numbers lack a "+".
Values keep what people typed; a normalized value is for comparing and for the keys of sets, never for display.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from mappings.canonical import ADDRESS_PARTS, KINDS, Field
from mappings.normalize import addresses, domains, emails, money, organisations, phones
from mappings.normalize.normalized import Normalized
from mappings.normalize.text import tidy

__all__ = ["Normalized", "Normalizer", "normalizer"]

_CACHE_SIZE = 8192
"""Enough for the records of a few pages: most values of a firm come once, and a large cache costs time."""


class Normalizer:
    """Normal forms and equality for all fields of all kinds. Caches by raw value; safe to share between threads.

    region  ISO 3166 code of the country of national phone numbers
    """

    def __init__(self, region: str = "US") -> None:
        self.region = region.upper()
        self.email_key = lru_cache(maxsize=_CACHE_SIZE)(emails.key)
        self.phone_key = lru_cache(maxsize=_CACHE_SIZE)(self._phone_key)

    def _phone_key(self, raw: str) -> str | None:
        return phones.key(raw, self.region)

    def normal(self, kind: str, field: str, value: Any) -> Any:
        """The value in its comparable form; None when it is empty.

        field is a canonical name; "emails/jane@x.org" means one element of the set. A set becomes
        {key: {"label": ..., address parts ...}} with only what its items state. Raises KeyError for unknown names,
        ValueError for a decimal that is none.
        """
        name, slash, _ = field.partition("/")
        facts = KINDS[kind].fields[name]
        if slash:
            return self._item(facts, value)
        return self._value(facts, value)

    def _value(self, facts: Field, value: Any) -> Any:
        if value is None:
            return None
        match facts.type:
            case "text":
                return tidy(value)
            case "email":
                return self.email_key(value)
            case "phone":
                return self.phone_key(value)
            case "decimal":
                return money.normal(value)
            case "set":
                return {key: self._item(facts, item) for key, item in value.items() if item is not None}
            case _:
                return value if value != "" else None

    def _item(self, facts: Field, item: dict[str, Any] | None) -> dict[str, Any] | None:
        if item is None:
            return None
        shown = {"label": item["label"]} if item.get("label") else {}
        if facts.item == "address":
            shown |= {part: addresses.part(part, item[part]) for part in ADDRESS_PARTS if part in item}
        return shown

    def read(self, kind: str, field: str, value: Any) -> Normalized | None:
        """What normalizing made of one value, with parser, confidence and the reason of a refusal; None for an empty
        one and for fields that are not normalized.

        field is a canonical name; "emails/jane@x.org" means one element of the set, and value is then its item.
        """
        name, slash, _ = field.partition("/")
        facts = KINDS[kind].fields[name]
        if value is None or value == "" or (facts.type == "set" and not slash):
            return None
        if facts.item == "address":
            parts = [value.get(part) or "" for part in ("street", "postcode", "country")]
            return addresses.read(*parts, region=self.region)
        if facts.type == "email" or facts.item == "email":
            return emails.read(value["value"] if slash else value)
        if facts.type == "phone" or facts.item == "phone":
            return phones.read(value["value"] if slash else value, self.region)
        readers = {("organisation", "name"): organisations.read, ("organisation", "website"): domains.read}
        reader = readers.get((kind, name))
        return reader(value) if reader is not None else None

    def same(self, kind: str, field: str, a: Any, b: Any) -> bool:
        """Equal in normalized form. Elements of sets compare in what both state; set keys always compare.

        field may name one element of a set ("phones/+12125550100"); a and b are then items or None.
        Law: symmetric, and same(a, a).
        """
        if a == b:
            return True
        name, slash, _ = field.partition("/")
        facts = KINDS[kind].fields[name]
        if slash:
            return self._same_item(facts, a, b)
        if facts.type == "set":
            a, b = a or {}, b or {}
            return a.keys() == b.keys() and all(self._same_item(facts, item, b[key]) for key, item in a.items())
        return bool(self._value(facts, a) == self._value(facts, b))

    def _same_item(self, facts: Field, a: dict[str, Any] | None, b: dict[str, Any] | None) -> bool:
        if a is None or b is None:
            return a is b
        left, right = self._item(facts, a) or {}, self._item(facts, b) or {}
        return all(right[part] == stated for part, stated in left.items() if part in right)


@lru_cache(maxsize=64)
def normalizer(region: str = "US") -> Normalizer:
    """The shared normalizer of a region, so that all mappings of a firm use one set of caches."""
    return Normalizer(region)

"""The canonical client model: what this service understands of a law firm's people, work and bills.

Six kinds of record, as immutable pydantic models that say for every field what it means, its type and its
*class* (who may see it: the flow matrix and the gate decide by class). From the models come `KINDS`, the plain
tables that the engine, the mapping language and the documentation read, and `json_schema()`.

Between the parts of the service a record travels as *Values*, a plain dict that JSON can hold:

    text, email, phone   as typed in the vendor's system; compare with `Normalizer.same`, not with ==
    date                 "2026-11-20"
    instant              "2026-11-20T17:05:00.000000Z"
    decimal              plain digits as text, "750.00"
    enum, bool, int      the value itself
    ref                  "contacts:1234", a record of the same connection; or "?matter.number=00012-Smith", by key
    set                  {key: item}; the key is the normalized value, the item is {"value": ..., "label": ...}, for
                         addresses {"street", "city", "region", "postcode", "country", "label"}

A field missing from Values was not stated by the vendor; None (for a set: {}) says that it is empty. An item
without a label, or an address without one of its parts, makes no statement about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict
from pydantic import Field as model_field

Values = dict[str, Any]
Type = Literal["text", "date", "instant", "decimal", "email", "phone", "enum", "bool", "int", "ref", "set"]
Class = Literal["public", "contact", "business", "financial", "narrative", "trust", "identity_document", "consent"]
Item = Literal["email", "phone", "address"]
TYPES: tuple[str, ...] = get_args(Type)
CLASSES: tuple[str, ...] = get_args(Class)

LABELS = ("work", "home", "mobile", "fax", "pager", "billing", "mailing", "main", "personal", "other")
"""The labels that elements of sets can have."""

ADDRESS_PARTS = ("street", "city", "region", "postcode", "country")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Labelled(_Frozen):
    """One e-mail address or phone number of a set."""

    value: str = model_field(description="As it was typed.")
    label: str | None = model_field(default=None, description="What it is for; missing means: no statement.")


class Address(_Frozen):
    """One postal address of a set. A part that is missing was not stated."""

    street: str | None = model_field(default=None, description="Street and number; lines separated by a line feed.")
    city: str | None = model_field(default=None, description="Town or city.")
    region: str | None = model_field(default=None, description="State, province or county.")
    postcode: str | None = model_field(default=None, description="Postal code.")
    country: str | None = model_field(default=None, description="Country, by name or by ISO 3166 code.")
    label: str | None = model_field(default=None, description="What it is for; missing means: no statement.")


Emails = dict[str, Labelled]
Phones = dict[str, Labelled]
Addresses = dict[str, Address]


def _is(
    description: str,
    type_: Type,
    cls: Class,
    *,
    refs: tuple[str, ...] = (),
    item: Item | None = None,
    primary_of: str | None = None,
    rollup: bool = False,
) -> Any:
    facts: dict[str, Any] = {"x-type": type_, "x-class": cls}
    if refs:
        facts["x-refs"] = list(refs)
    if item is not None:
        facts["x-item"] = item
    if primary_of is not None:
        facts["x-primary-of"] = primary_of
    if rollup:
        facts["x-rollup"] = True
    return model_field(default=None, description=description, json_schema_extra=facts)


class Person(_Frozen):
    """A human being: a client, a contact at a client, an opposing party, a referrer."""

    given_name: str | None = _is("First name.", "text", "contact")
    middle_name: str | None = _is("Middle name or initial.", "text", "contact")
    family_name: str | None = _is("Last name.", "text", "contact")
    prefix: str | None = _is("Form of address before the name, such as Dr.", "text", "contact")
    suffix: str | None = _is("What follows the name, such as Jr. or III.", "text", "contact")
    title: str | None = _is("Job title.", "text", "contact")
    birth_date: date | None = _is("Date of birth.", "date", "contact")
    email: str | None = _is("The primary e-mail address.", "email", "contact", primary_of="emails")
    phone: str | None = _is("The primary phone number.", "phone", "contact", primary_of="phones")
    emails: Emails | None = _is("All e-mail addresses.", "set", "contact", item="email")
    phones: Phones | None = _is("All phone numbers.", "set", "contact", item="phone")
    addresses: Addresses | None = _is("All postal addresses.", "set", "contact", item="address")
    organisation: str | None = _is("Where the person works.", "ref", "contact", refs=("organisation",))
    client_number: str | None = _is("The firm's own number for this client.", "text", "business")


class Organisation(_Frozen):
    """A company, authority, trust or other body."""

    name: str | None = _is("Legal or trading name, with its legal form.", "text", "contact")
    email: str | None = _is("The primary e-mail address.", "email", "contact", primary_of="emails")
    phone: str | None = _is("The primary phone number.", "phone", "contact", primary_of="phones")
    emails: Emails | None = _is("All e-mail addresses.", "set", "contact", item="email")
    phones: Phones | None = _is("All phone numbers.", "set", "contact", item="phone")
    addresses: Addresses | None = _is("All postal addresses.", "set", "contact", item="address")
    website: str | None = _is("Web site.", "text", "public")
    industry: str | None = _is("Line of business.", "text", "public")
    employees: int | None = _is("Number of employees.", "int", "public")
    client_number: str | None = _is("The firm's own number for this client.", "text", "business")


class Matter(_Frozen):
    """A piece of work that the firm does for a client."""

    number: str | None = _is("The firm's number for the matter.", "text", "business")
    name: str | None = _is("Short description.", "text", "business")
    status: Literal["pending", "open", "closed"] | None = _is("Where the matter stands.", "enum", "business")
    client: str | None = _is("For whom.", "ref", "business", refs=("person", "organisation"))
    practice_area: str | None = _is("Area of law.", "text", "business")
    opened_on: date | None = _is("When it was opened.", "date", "business")
    closed_on: date | None = _is("When it was closed.", "date", "business")
    billed_total: Decimal | None = _is("Sum of its issued and paid invoices.", "decimal", "financial", rollup=True)


class Invoice(_Frozen):
    """A bill to a client: totals only, never its lines."""

    number: str | None = _is("Invoice number.", "text", "financial")
    matter: str | None = _is("The matter it bills.", "ref", "financial", refs=("matter",))
    client: str | None = _is("Who is billed.", "ref", "financial", refs=("person", "organisation"))
    status: Literal["draft", "issued", "paid", "void"] | None = _is("Where the invoice stands.", "enum", "financial")
    issued_on: date | None = _is("Date of issue.", "date", "financial")
    due_on: date | None = _is("When payment is due.", "date", "financial")
    total: Decimal | None = _is("What is asked, taxes included.", "decimal", "financial")
    balance: Decimal | None = _is("What is still open.", "decimal", "financial")
    currency: str | None = _is("ISO 4217 code of total and balance.", "text", "financial")


class Opportunity(_Frozen):
    """A possible or won piece of business, as the CRM sees it."""

    name: str | None = _is("Short description.", "text", "business")
    client: str | None = _is("With whom.", "ref", "business", refs=("person", "organisation"))
    stage: str | None = _is("The CRM's stage.", "text", "business")
    amount: Decimal | None = _is("Expected value, as the CRM's users enter it.", "decimal", "business")
    currency: str | None = _is("ISO 4217 code of the amount.", "text", "business")
    closes_on: date | None = _is("Expected or actual closing date.", "date", "business")
    matter: str | None = _is("The matter that it became.", "ref", "business", refs=("matter",))
    billed_total: Decimal | None = _is("What its matter has billed.", "decimal", "financial", rollup=True)


class TimeEntry(_Frozen):
    """Time worked on a matter."""

    matter: str | None = _is("The matter worked on.", "ref", "business", refs=("matter",))
    worked_on: date | None = _is("The day.", "date", "business")
    hours: Decimal | None = _is("Time spent, in hours.", "decimal", "business")
    billable: bool | None = _is("Whether it may be billed.", "bool", "business")
    timekeeper: str | None = _is("Who worked.", "text", "business")
    narrative: str | None = _is("What was done, as the timekeeper wrote it.", "text", "narrative")


MODELS: Mapping[str, type[BaseModel]] = MappingProxyType(
    {
        "person": Person,
        "organisation": Organisation,
        "matter": Matter,
        "invoice": Invoice,
        "opportunity": Opportunity,
        "time_entry": TimeEntry,
    }
)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a kind.

    cls         who may see it
    values      for an enum: what it can be
    refs        for a reference: the kinds it can point to
    item        for a set: what its elements are
    primary_of  the set whose primary element this field is
    rollup      computed from other records, never entered
    """

    name: str
    type: Type
    cls: Class
    description: str
    values: tuple[str, ...] = ()
    refs: tuple[str, ...] = ()
    item: Item | None = None
    primary_of: str | None = None
    rollup: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of canonical record; `fields` in the order in which people read them."""

    name: str
    description: str
    fields: Mapping[str, Field]


def _enum_values(annotation: Any) -> tuple[str, ...]:
    for part in get_args(annotation):
        if values := get_args(part):
            return tuple(values)
    return ()


def _kind(name: str, model: type[BaseModel]) -> Kind:
    fields = {}
    for field_name, info in model.model_fields.items():
        facts: Any = info.json_schema_extra
        fields[field_name] = Field(
            name=field_name,
            type=facts["x-type"],
            cls=facts["x-class"],
            description=info.description or "",
            values=_enum_values(info.annotation) if facts["x-type"] == "enum" else (),
            refs=tuple(facts.get("x-refs", ())),
            item=facts.get("x-item"),
            primary_of=facts.get("x-primary-of"),
            rollup=facts.get("x-rollup", False),
        )
    return Kind(name, (model.__doc__ or "").strip(), MappingProxyType(fields))


KINDS: Mapping[str, Kind] = MappingProxyType({name: _kind(name, model) for name, model in MODELS.items()})


def validate(kind: str, values: Values) -> BaseModel:
    """The Values as a typed, immutable model; raises pydantic.ValidationError. Instants and references stay text."""
    return MODELS[kind].model_validate(values)


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of all kinds, with each field's type and class under x-type and x-class."""
    return {name: model.model_json_schema() for name, model in MODELS.items()}

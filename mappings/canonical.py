"""The canonical client model: what this service understands of a law firm's people, work and bills.

Thirteen kinds of record, as immutable pydantic models that say for every field what it means, its type and its
*class* (who may see it: the flow matrix and the gate decide by class). From the models come `KINDS`, the plain
tables that the engine, the mapping language and the documentation (`model_reference.py`) read. Why these kinds and
fields, and why these classes: docs/decisions/0016-the-canonical-model.md.

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
from datetime import date, datetime
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

Label = Literal["work", "home", "mobile", "fax", "pager", "billing", "mailing", "main", "personal", "other"]
LABELS: tuple[str, ...] = get_args(Label)
"""The labels that elements of sets can have."""

ADDRESS_PARTS = ("street", "city", "region", "postcode", "country")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Labelled(_Frozen):
    """One e-mail address or phone number of a set."""

    value: str = model_field(description="As it was typed.")
    label: Label | None = model_field(default=None, description="What it is for; missing means: no statement.")


class Address(_Frozen):
    """One postal address of a set. A part that is missing was not stated."""

    street: str | None = model_field(default=None, description="Street and number; lines separated by a line feed.")
    city: str | None = model_field(default=None, description="Town or city.")
    region: str | None = model_field(default=None, description="State, province or county.")
    postcode: str | None = model_field(default=None, description="Postal code.")
    country: str | None = model_field(default=None, description="Country, by name or by ISO 3166 code.")
    label: Label | None = model_field(default=None, description="What it is for; missing means: no statement.")


PARTIES = ("person", "organisation")
STAFF = ("staff_member",)
Lifecycle = Literal["lead", "prospect", "client", "former_client", "other"]
TouchType = Literal["mail", "call", "meeting", "letter", "message", "other"]
Role = Literal[
    "employee", "director", "owner", "parent_company", "affiliate", "spouse", "parent", "child", "guardian", "trustee",
    "beneficiary", "executor", "referrer", "client", "opposing_party", "opposing_counsel", "co_counsel", "co_party",
    "witness", "expert", "judge", "mediator", "insurer", "bill_recipient", "other",
]  # fmt: skip
"""What somebody can be to somebody else, or in a matter."""

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
    preferred_name: str | None = _is("The first name that the person goes by.", "text", "contact")
    title: str | None = _is("Job title.", "text", "contact")
    department: str | None = _is("Department at the employer.", "text", "contact")
    birth_date: date | None = _is("Date of birth.", "date", "contact")
    language: str | None = _is("Language for letters and calls, as a BCP 47 tag such as es-MX.", "text", "contact")
    email: str | None = _is("The primary e-mail address.", "email", "contact", primary_of="emails")
    phone: str | None = _is("The primary phone number.", "phone", "contact", primary_of="phones")
    emails: Emails | None = _is("All e-mail addresses.", "set", "contact", item="email")
    phones: Phones | None = _is("All phone numbers.", "set", "contact", item="phone")
    addresses: Addresses | None = _is("All postal addresses.", "set", "contact", item="address")
    linkedin: str | None = _is("Address of the LinkedIn profile.", "text", "contact")
    organisation: str | None = _is("Where the person works.", "ref", "contact", refs=("organisation",))
    client_number: str | None = _is("The firm's own number for this client.", "text", "business")
    ebilling_id: str | None = _is("The client's id in LEDES invoices (CLIENT_ID).", "text", "business")
    lifecycle: Lifecycle | None = _is("What the person is to the firm; unknown is never a client.", "enum", "business")
    lead_source: str | None = _is("How the person first came to the firm.", "text", "business")
    referred_by: str | None = _is("Who sent the person.", "ref", "business", refs=PARTIES)
    owner: str | None = _is(
        "Who looks after the relationship: the CRM's owner, the responsible attorney.", "ref", "business", refs=STAFF
    )
    opted_out_of_mail: bool | None = _is("Wants no marketing by e-mail.", "bool", "consent")
    opted_out_of_calls: bool | None = _is("Wants no marketing by phone.", "bool", "consent")
    opted_out_of_fax: bool | None = _is("Wants no marketing by fax.", "bool", "consent")
    opted_out_of_post: bool | None = _is("Wants no marketing by letter.", "bool", "consent")
    tax_number: str | None = _is("Personal tax or social security number.", "text", "identity_document")
    open_matters: int | None = _is("Open matters as their client.", "int", "business", rollup=True)
    first_matter_on: date | None = _is("When the first matter was opened.", "date", "business", rollup=True)
    hours_this_year: Decimal | None = _is(
        "Hours worked this calendar year on matters as their client.", "decimal", "business", rollup=True
    )
    lifetime_billed: Decimal | None = _is("Sum of all issued and paid invoices.", "decimal", "financial", rollup=True)
    billed_currency: str | None = _is("ISO 4217 code of lifetime_billed.", "text", "financial", rollup=True)
    last_invoice_on: date | None = _is("When the newest invoice was issued.", "date", "financial", rollup=True)
    last_touch_at: datetime | None = _is("The newest mail, call or meeting.", "instant", "business", rollup=True)
    last_touch_type: TouchType | None = _is("What the newest touch was.", "enum", "business", rollup=True)


class Organisation(_Frozen):
    """A company, authority, trust or other body."""

    name: str | None = _is("Legal or trading name, with its legal form.", "text", "contact")
    trading_name: str | None = _is("The name it trades under, where that is another one.", "text", "contact")
    email: str | None = _is("The primary e-mail address.", "email", "contact", primary_of="emails")
    phone: str | None = _is("The primary phone number.", "phone", "contact", primary_of="phones")
    emails: Emails | None = _is("All e-mail addresses.", "set", "contact", item="email")
    phones: Phones | None = _is("All phone numbers.", "set", "contact", item="phone")
    addresses: Addresses | None = _is("All postal addresses.", "set", "contact", item="address")
    website: str | None = _is("Web site.", "text", "public")
    linkedin: str | None = _is("Address of the LinkedIn page.", "text", "public")
    industry: str | None = _is("Line of business.", "text", "public")
    industry_code: str | None = _is("NAICS, SIC or NACE code, with its scheme: naics:541110.", "text", "public")
    employees: int | None = _is("Number of employees.", "int", "public")
    revenue: Decimal | None = _is("Its own yearly revenue.", "decimal", "public")
    revenue_currency: str | None = _is("ISO 4217 code of revenue.", "text", "public")
    registration_number: str | None = _is("Number in the register of companies.", "text", "public")
    lei: str | None = _is("Legal entity identifier (ISO 17442).", "text", "public")
    vat_number: str | None = _is("VAT number, as it stands on invoices.", "text", "business")
    tax_number: str | None = _is("Tax number that is not public, such as an EIN.", "text", "identity_document")
    parent: str | None = _is("The company that owns it.", "ref", "contact", refs=("organisation",))
    client_number: str | None = _is("The firm's own number for this client.", "text", "business")
    ebilling_id: str | None = _is("The client's id in LEDES invoices (CLIENT_ID).", "text", "business")
    lifecycle: Lifecycle | None = _is(
        "What the organisation is to the firm; unknown is never a client.", "enum", "business"
    )
    lead_source: str | None = _is("How it first came to the firm.", "text", "business")
    referred_by: str | None = _is("Who sent it.", "ref", "business", refs=PARTIES)
    owner: str | None = _is(
        "Who looks after the relationship: the CRM's owner, the responsible attorney.", "ref", "business", refs=STAFF
    )
    open_matters: int | None = _is("Open matters as their client.", "int", "business", rollup=True)
    first_matter_on: date | None = _is("When the first matter was opened.", "date", "business", rollup=True)
    hours_this_year: Decimal | None = _is(
        "Hours worked this calendar year on matters as their client.", "decimal", "business", rollup=True
    )
    lifetime_billed: Decimal | None = _is("Sum of all issued and paid invoices.", "decimal", "financial", rollup=True)
    billed_currency: str | None = _is("ISO 4217 code of lifetime_billed.", "text", "financial", rollup=True)
    last_invoice_on: date | None = _is("When the newest invoice was issued.", "date", "financial", rollup=True)
    last_touch_at: datetime | None = _is(
        "The newest mail, call or meeting with it or with somebody who works there.", "instant", "business", rollup=True
    )


class Relationship(_Frozen):
    """Who is what to whom, in general or in one matter: a client, an opposing party, a spouse, a trustee.

    What a CRM shows of it (employer, parent company, referrer) are fields of the person and the organisation. The rest
    tells which side somebody is on, so it enters only zones that may see narratives.
    """

    subject: str | None = _is("Who.", "ref", "narrative", refs=PARTIES)
    role: Role | None = _is("What the subject is to the object: subject is the spouse of object.", "enum", "narrative")
    object: str | None = _is("To whom; empty where the role is one in the matter.", "ref", "narrative", refs=PARTIES)
    matter: str | None = _is("The matter in which it holds; empty: in general.", "ref", "narrative", refs=("matter",))
    description: str | None = _is("The role in the words of the system that keeps it.", "text", "narrative")
    from_on: date | None = _is("Since when.", "date", "narrative")
    until_on: date | None = _is("Until when; empty: it still holds.", "date", "narrative")


class Matter(_Frozen):
    """A piece of work that the firm does for a client."""

    number: str | None = _is("The firm's number for the matter.", "text", "business")
    name: str | None = _is("Short description.", "text", "business")
    status: Literal["pending", "open", "closed"] | None = _is("Where the matter stands.", "enum", "business")
    stage: str | None = _is("The step within the matter's course, in the system's words.", "text", "business")
    client: str | None = _is("For whom.", "ref", "business", refs=PARTIES)
    client_reference: str | None = _is(
        "The client's own number for it (CLIENT_MATTER_ID in LEDES invoices).", "text", "business"
    )
    practice_area: str | None = _is("Area of law.", "text", "business")
    location: str | None = _is("Jurisdiction or place of the court.", "text", "business")
    responsible_attorney: str | None = _is("Who answers for the work.", "ref", "business", refs=STAFF)
    originating_attorney: str | None = _is("Who brought the work in.", "ref", "business", refs=STAFF)
    referred_by: str | None = _is("Who sent the work.", "ref", "business", refs=PARTIES)
    lead_source: str | None = _is("How the work came to the firm, copied once at intake.", "text", "business")
    opened_on: date | None = _is("When it was opened.", "date", "business")
    pending_on: date | None = _is("Since when it is pending.", "date", "business")
    closed_on: date | None = _is("When it was closed.", "date", "business")
    billable: bool | None = _is("Whether its work may be billed.", "bool", "business")
    billing_method: Literal["hourly", "flat", "contingency", "other"] | None = _is(
        "How it is billed.", "enum", "financial"
    )
    budget: Decimal | None = _is("Agreed fee budget.", "decimal", "financial")
    currency: str | None = _is("ISO 4217 code of its money.", "text", "financial")
    trust_balance: Decimal | None = _is("Money held in trust for it.", "decimal", "trust")
    billed_total: Decimal | None = _is("Sum of its issued and paid invoices.", "decimal", "financial", rollup=True)
    billed_currency: str | None = _is("ISO 4217 code of billed_total.", "text", "financial", rollup=True)
    hours_this_year: Decimal | None = _is("Hours worked on it this calendar year.", "decimal", "business", rollup=True)
    last_worked_on: date | None = _is("The newest day with time on it.", "date", "business", rollup=True)


class Opportunity(_Frozen):
    """A possible or won piece of business, as the CRM sees it."""

    name: str | None = _is("Short description.", "text", "business")
    client: str | None = _is("With whom.", "ref", "business", refs=PARTIES)
    contact: str | None = _is("Whom the firm talks to.", "ref", "business", refs=("person",))
    stage: str | None = _is("The CRM's stage.", "text", "business")
    status: Literal["open", "won", "lost"] | None = _is(
        "Where it stands, whatever the stage's name.", "enum", "business"
    )
    amount: Decimal | None = _is("Expected value, as the CRM's users enter it.", "decimal", "business")
    currency: str | None = _is("ISO 4217 code of the amount.", "text", "business")
    probability: Decimal | None = _is("Chance of winning it, in percent.", "decimal", "business")
    practice_area: str | None = _is("Area of law.", "text", "business")
    lead_source: str | None = _is("How it came to the firm.", "text", "business")
    campaign: str | None = _is("The campaign that brought it.", "text", "business")
    referred_by: str | None = _is("Who sent it.", "ref", "business", refs=PARTIES)
    owner: str | None = _is("Who works on winning it.", "ref", "business", refs=STAFF)
    next_step: str | None = _is("What is to be done next, in free text.", "text", "narrative")
    opened_on: date | None = _is("When it was opened.", "date", "business")
    closes_on: date | None = _is("Expected or actual closing date.", "date", "business")
    matter: str | None = _is("The matter that it became.", "ref", "business", refs=("matter",))
    billed_total: Decimal | None = _is("What its matter has billed.", "decimal", "financial", rollup=True)
    billed_currency: str | None = _is("ISO 4217 code of billed_total.", "text", "financial", rollup=True)


class TimeEntry(_Frozen):
    """Time worked on a matter."""

    matter: str | None = _is("The matter worked on.", "ref", "business", refs=("matter",))
    timekeeper: str | None = _is("Who worked.", "ref", "business", refs=STAFF)
    worked_on: date | None = _is("The day.", "date", "business")
    hours: Decimal | None = _is("Time spent, in hours.", "decimal", "business")
    billable: bool | None = _is("Whether it may be billed.", "bool", "business")
    billed: bool | None = _is("Whether it stands on an issued invoice.", "bool", "financial")
    rate: Decimal | None = _is("Price of an hour.", "decimal", "financial")
    amount: Decimal | None = _is("What it costs the client.", "decimal", "financial")
    currency: str | None = _is("ISO 4217 code of rate and amount.", "text", "financial")
    task_code: str | None = _is("UTBMS task code, such as L120 (LEDES LINE_ITEM_TASK_CODE).", "text", "narrative")
    activity_code: str | None = _is(
        "UTBMS activity code, such as A103 (LEDES LINE_ITEM_ACTIVITY_CODE).", "text", "narrative"
    )
    narrative: str | None = _is("What was done, as the timekeeper wrote it.", "text", "narrative")


class Expense(_Frozen):
    """Money that the firm laid out for a matter."""

    matter: str | None = _is("For which matter.", "ref", "business", refs=("matter",))
    incurred_by: str | None = _is("Who laid it out.", "ref", "business", refs=STAFF)
    incurred_on: date | None = _is("The day.", "date", "business")
    quantity: Decimal | None = _is("How many units.", "decimal", "financial")
    unit_price: Decimal | None = _is("Price of a unit.", "decimal", "financial")
    amount: Decimal | None = _is("What it costs the client, taxes not included.", "decimal", "financial")
    tax: Decimal | None = _is("Taxes on it.", "decimal", "financial")
    currency: str | None = _is("ISO 4217 code of its money.", "text", "financial")
    category: str | None = _is("The system's own category.", "text", "financial")
    expense_code: str | None = _is(
        "UTBMS expense code, such as E112 (LEDES LINE_ITEM_EXPENSE_CODE).", "text", "financial"
    )
    billable: bool | None = _is("Whether it may be billed.", "bool", "financial")
    billed: bool | None = _is("Whether it stands on an issued invoice.", "bool", "financial")
    payee: str | None = _is("Who was paid.", "ref", "narrative", refs=PARTIES)
    narrative: str | None = _is("What it was for, as somebody wrote it.", "text", "narrative")


class Invoice(_Frozen):
    """A bill to a client: totals only, never its lines."""

    number: str | None = _is("Invoice number.", "text", "financial")
    matter: str | None = _is("The matter it bills.", "ref", "financial", refs=("matter",))
    client: str | None = _is("Who is billed.", "ref", "financial", refs=PARTIES)
    status: Literal["draft", "issued", "paid", "void"] | None = _is("Where the invoice stands.", "enum", "financial")
    issued_on: date | None = _is("Date of issue.", "date", "financial")
    due_on: date | None = _is("When payment is due.", "date", "financial")
    paid_on: date | None = _is("When it was paid in full.", "date", "financial")
    work_from_on: date | None = _is("First day of the work it bills.", "date", "financial")
    work_until_on: date | None = _is("Last day of the work it bills.", "date", "financial")
    fees: Decimal | None = _is("Fees, taxes not included.", "decimal", "financial")
    expenses: Decimal | None = _is("Expenses, taxes not included.", "decimal", "financial")
    discount: Decimal | None = _is("What was taken off.", "decimal", "financial")
    subtotal: Decimal | None = _is("What is asked before taxes.", "decimal", "financial")
    tax: Decimal | None = _is("Taxes.", "decimal", "financial")
    total: Decimal | None = _is("What is asked, taxes included.", "decimal", "financial")
    paid: Decimal | None = _is("What was paid of it.", "decimal", "financial")
    balance: Decimal | None = _is("What is still open.", "decimal", "financial")
    currency: str | None = _is("ISO 4217 code of its money.", "text", "financial")


class Payment(_Frozen):
    """Money that came in on an invoice, into the operating account.

    Payments into a trust account are no kind here: a mapping leaves such records out. Where the money came out of
    trust, that alone is of the class trust.
    """

    number: str | None = _is("Number or reference of the payment.", "text", "financial")
    invoice: str | None = _is("The invoice it pays.", "ref", "financial", refs=("invoice",))
    matter: str | None = _is("The matter it is for.", "ref", "financial", refs=("matter",))
    client: str | None = _is("Who paid.", "ref", "financial", refs=PARTIES)
    status: Literal["pending", "cleared", "failed", "refunded", "void"] | None = _is(
        "Where the payment stands.", "enum", "financial"
    )
    method: Literal["card", "bank", "cheque", "cash", "other"] | None = _is("How it was paid.", "enum", "financial")
    paid_on: date | None = _is("The day.", "date", "financial")
    amount: Decimal | None = _is("How much.", "decimal", "financial")
    refunded: Decimal | None = _is("How much of it was given back.", "decimal", "financial")
    currency: str | None = _is("ISO 4217 code of its money.", "text", "financial")
    is_from_trust: bool | None = _is("Whether it was paid out of money held in trust.", "bool", "trust")


class Touchpoint(_Frozen):
    """A mail, call or meeting with somebody outside the firm: that it took place, never what was said."""

    type: TouchType | None = _is("What it was.", "enum", "business")
    status: Literal["planned", "done", "cancelled"] | None = _is("Whether it took place.", "enum", "business")
    direction: Literal["in", "out", "both"] | None = _is("Who began it, seen from the firm.", "enum", "business")
    at: datetime | None = _is("When it took place or began.", "instant", "business")
    minutes: Decimal | None = _is("How long it took.", "decimal", "business")
    is_bulk: bool | None = _is("A newsletter or invitation to many.", "bool", "business")
    person: str | None = _is("With whom.", "ref", "business", refs=("person",))
    organisation: str | None = _is("With which organisation.", "ref", "business", refs=("organisation",))
    staff_member: str | None = _is("Who of the firm.", "ref", "business", refs=STAFF)
    matter: str | None = _is("About which matter.", "ref", "narrative", refs=("matter",))
    opportunity: str | None = _is("About which opportunity.", "ref", "business", refs=("opportunity",))
    subject: str | None = _is("Subject line or title.", "text", "narrative")
    location: str | None = _is("Where a meeting took place.", "text", "narrative")
    message_id: str | None = _is(
        "Message-ID of a mail (RFC 5322) or UID of an event (RFC 5545): the same in every system.", "text", "business"
    )


class Document(_Frozen):
    """That a document exists and where: never what is in it."""

    number: str | None = _is("Number in the document management system.", "text", "business")
    version: str | None = _is("Version.", "text", "business")
    name: str | None = _is("Name or title.", "text", "narrative")
    folder: str | None = _is("Where it is filed.", "text", "narrative")
    url: str | None = _is("Where people with the right to see it open it.", "text", "business")
    category: str | None = _is("The system's category, such as contract.", "text", "narrative")
    media_type: str | None = _is("Media type, such as application/pdf.", "text", "business")
    size_bytes: int | None = _is("Size.", "int", "business")
    matter: str | None = _is("The matter it belongs to.", "ref", "business", refs=("matter",))
    client: str | None = _is("Whom it is about, where no matter is named.", "ref", "business", refs=PARTIES)
    author: str | None = _is("Who made it.", "ref", "business", refs=STAFF)
    created_at: datetime | None = _is("When it was made.", "instant", "business")
    edited_at: datetime | None = _is("When it was last changed.", "instant", "business")


class Referral(_Frozen):
    """Somebody sent a possible client to the firm, or the firm sent one on."""

    referred: str | None = _is("Who was sent.", "ref", "business", refs=PARTIES)
    referrer: str | None = _is("Who sent them.", "ref", "business", refs=(*PARTIES, *STAFF))
    recipient: str | None = _is(
        "To whom, where the firm sent them on; empty: to the firm.", "ref", "business", refs=PARTIES
    )
    source: str | None = _is("The channel, such as bar association or web site.", "text", "business")
    status: Literal["new", "accepted", "declined", "converted"] | None = _is("What became of it.", "enum", "business")
    received_on: date | None = _is("The day.", "date", "business")
    practice_area: str | None = _is("Area of law.", "text", "business")
    matter: str | None = _is("The matter that it became.", "ref", "business", refs=("matter",))
    opportunity: str | None = _is("The opportunity that it became.", "ref", "business", refs=("opportunity",))
    fee_percent: Decimal | None = _is("Share of the fee that was agreed for it.", "decimal", "financial")
    narrative: str | None = _is("What was said about it.", "text", "narrative")


class StaffMember(_Frozen):
    """Somebody who works for the firm: attorney, paralegal, assistant, CRM user."""

    given_name: str | None = _is("First name.", "text", "contact")
    family_name: str | None = _is("Last name.", "text", "contact")
    initials: str | None = _is("Initials by which the firm knows them.", "text", "contact")
    title: str | None = _is("Job title.", "text", "contact")
    email: str | None = _is("The e-mail address at the firm.", "email", "contact")
    phone: str | None = _is("The phone number at the firm.", "phone", "contact")
    timekeeper_id: str | None = _is("Id in invoices (TIMEKEEPER_ID in LEDES invoices).", "text", "business")
    position: Literal["partner", "of_counsel", "associate", "paralegal", "assistant", "other"] | None = _is(
        "Rank (TIMEKEEPER_CLASSIFICATION in LEDES invoices).", "enum", "business"
    )
    is_attorney: bool | None = _is("Whether admitted to practise law.", "bool", "business")
    practice_area: str | None = _is("Main area of law.", "text", "business")
    office: str | None = _is("Which office.", "text", "business")
    rate: Decimal | None = _is("Usual price of an hour.", "decimal", "financial")
    currency: str | None = _is("ISO 4217 code of the rate.", "text", "financial")
    is_active: bool | None = _is("Whether they still work here.", "bool", "business")
    hours_this_year: Decimal | None = _is("Hours worked this calendar year.", "decimal", "business", rollup=True)


MODELS: Mapping[str, type[BaseModel]] = MappingProxyType(
    {
        "person": Person,
        "organisation": Organisation,
        "relationship": Relationship,
        "matter": Matter,
        "opportunity": Opportunity,
        "time_entry": TimeEntry,
        "expense": Expense,
        "invoice": Invoice,
        "payment": Payment,
        "touchpoint": Touchpoint,
        "document": Document,
        "referral": Referral,
        "staff_member": StaffMember,
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
    """The Values as a typed, immutable model; raises pydantic.ValidationError. References stay text."""
    return MODELS[kind].model_validate(values)

"""Tryton's shapes: what is asked for per resource, and how its values become plain JSON and go back. No requests.

Tryton sends dates, decimals and durations as {"__class__": ...} objects, references as nested objects and booleans
as 0 and 1. A body holds plain JSON under Tryton's own field names: instants as ISO 8601 in UTC with microseconds,
dates as ISO dates, decimals as text, durations as hours in text, references as the other record's id in text.
Keys that Tryton does not have are computed here and say so: `kind`, `matter`, `matter_number`, a work's `number` and
`name`, an invoice's `is_credit_note` and `status`, `modified_at`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from connectors.errors import Refused, ShapeChanged, Stale

if TYPE_CHECKING:
    from connectors.contract import JSON

# How a value is written: the name of a field's kind decides which object Tryton wants.
TEXT, DATE, DECIMAL, HOURS, NUMBER, REF = "text", "date", "decimal", "hours", "number", "ref"

# Finds the id of a record by a field's value: (model, field, value, body key that asked) -> id.
Lookup = Callable[[str, str, str, str], int]


@dataclass(frozen=True, slots=True)
class Collection:
    """A resource: its model, what to read, what may be written, which records belong to it.

    fields    names for the REST interface's `f` parameter; `a.b` reads through a reference or a list
    writes    body keys that go straight to a field of the same name, with their kind
    special   body keys that need more than that
    only      clauses of Tryton's search language that every search carries
    archives  the model keeps archived records (active: false), which count as deleted
    nested    models of the lists inside the body, with the field that leads back here
    by_company  records belong to a company
    """

    model: str
    module: str
    fields: tuple[str, ...]
    body: Callable[[JSON], JSON]
    writes: Mapping[str, str]
    special: tuple[str, ...] = ()
    only: tuple[tuple[str, str, Any], ...] = ()
    archives: bool = False
    nested: tuple[tuple[str, str], ...] = ()
    by_company: bool = True

    @property
    def writable(self) -> frozenset[str]:
        return frozenset((*self.writes, *self.special))


STAMPS = ("create_date", "write_date", "last_modified_at")
ROW_STAMPS = ("id", "active", "sequence", "last_modified_at")
ADDRESS = ("party_name", "attn", "street", "postal_code", "city", "country", "subdivision")
CONTACT = ("type", "value", "name")
ADDRESS_READ = ("party_name attn street street_unstructured postal_code city country.code subdivision.code").split()

MEND = "Correct the value in the system that it comes from, or in the mapping."

# The categories by which a firm marks what a party is; Tryton itself does not distinguish people and organisations.
KINDS = {
    "person": ("person", "individual", "people"),
    "organisation": ("organisation", "organization", "company", "business"),
}


# --- out of Tryton ----------------------------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """One field's value as plain JSON."""
    if not isinstance(value, dict) or "__class__" not in value:
        return value
    kind = value["__class__"]
    try:
        if kind == "datetime":
            parts = [value[part] for part in ("year", "month", "day", "hour", "minute", "second", "microsecond")]
            # Tryton's servers run in UTC and send instants without a zone (trytond/__init__.py sets TZ).
            return datetime(*parts).isoformat(timespec="microseconds") + "Z"  # noqa: DTZ001
        if kind == "date":
            return date(value["year"], value["month"], value["day"]).isoformat()
        if kind == "Decimal":
            return value["decimal"]
        if kind == "timedelta":
            return trimmed(Decimal(str(value["seconds"])) / 3600)
    except (KeyError, TypeError, ValueError, InvalidOperation) as error:
        raise ShapeChanged("Tryton sent a date or number in an unknown form.") from error
    raise ShapeChanged("Tryton sent a value of an unknown class.")


def trimmed(hours: Decimal) -> str:
    """1.2500 -> "1.25", 2 -> "2"; four decimals, which is finer than a second."""
    return f"{hours:.4f}".rstrip("0").rstrip(".")


def ref(value: Any) -> str | None:
    """A reference's id: sent as a number, or as an object when a field was read through it."""
    if isinstance(value, dict):
        value = value["id"]
    return None if value is None else str(value)


def through(value: Any, field: str) -> Any:
    """A field of the record that a reference leads to."""
    return value.get(field) if isinstance(value, dict) else None


def stamps(raw: JSON) -> JSON:
    return {
        "create_date": plain(raw["create_date"]),
        "write_date": plain(raw["write_date"]),
        "modified_at": plain(raw["last_modified_at"]),
    }


def live(raw: JSON) -> JSON:
    """Without the archived rows of its lists: what users see."""
    return {
        name: [row for row in value if not isinstance(row, dict) or row.get("active", True)]
        if isinstance(value, list)
        else value
        for name, value in raw.items()
    }


def party(raw: JSON) -> JSON:
    categories = [row["name"] for row in raw["categories"]]
    return {
        "name": raw["name"],
        "code": raw["code"],
        "active": bool(raw["active"]),
        "kind": kind_of(categories),
        "categories": categories,
        "lang": through(raw["lang"], "code"),
        "addresses": [address(row) for row in raw["addresses"]],
        "contact_mechanisms": [contact(row) for row in raw["contact_mechanisms"]],
        **stamps(raw),
        # An address or e-mail can change without its party: for whoever asks when this was last edited, it counts.
        "modified_at": max(
            plain(row["last_modified_at"]) for row in (raw, *raw["addresses"], *raw["contact_mechanisms"])
        ),
    }


def kind_of(categories: list[str]) -> str | None:
    """What the party is, by its categories; None when they say nothing or contradict each other."""
    held = {name.strip().casefold() for name in categories}
    found = [kind for kind, names in KINDS.items() if held.intersection(names)]
    return found[0] if len(found) == 1 else None


def address(row: JSON) -> JSON:
    return {
        "id": str(row["id"]),
        **{name: row[name] for name in ("party_name", "attn", "street", "postal_code", "city")},
        "country": through(row["country"], "code"),
        "subdivision": through(row["subdivision"], "code"),
    }


def contact(row: JSON) -> JSON:
    return {"id": str(row["id"]), **{name: row[name] for name in CONTACT}}


def work(raw: JSON) -> JSON:
    number, name = split_number(raw["name"])
    return {
        "number": number or raw["number"],
        "name": name,
        "full_name": raw["name"],
        "sequence_number": raw["number"],
        "party": ref(raw["party"]),
        "status": through(raw["status"], "name"),
        "is_done": through(raw["status"], "progress") == 1.0,
        "company": ref(raw["company"]),
        "timesheet_works": [str(id_) for id_ in raw["timesheet_works"]],
        **stamps(raw),
    }


def time_entry(raw: JSON) -> JSON:
    origin = str(through(raw["work"], "origin") or "")
    return {
        "work": ref(raw["work"]),
        "matter": origin.removeprefix("project.work,") if origin.startswith("project.work,") else None,
        "employee": ref(raw["employee"]),
        "employee_party": ref(through(raw["employee"], "party")),
        "date": plain(raw["date"]),
        "duration": plain(raw["duration"]),
        "description": raw["description"],
        "company": ref(raw["company"]),
        **stamps(raw),
    }


def invoice(raw: JSON) -> JSON:
    total = plain(raw["total_amount"])
    is_credit_note = total is not None and Decimal(total) < 0
    return {
        "state": raw["state"],
        "status": invoice_status(raw, is_credit_note),
        "is_credit_note": is_credit_note,
        "number": raw["number"],
        "reference": raw["reference"],
        "matter_number": first_number(raw["reference"]),
        "description": raw["description"],
        "invoice_date": plain(raw["invoice_date"]),
        "total_amount": total,
        "untaxed_amount": plain(raw["untaxed_amount"]),
        "tax_amount": plain(raw["tax_amount"]),
        "currency": through(raw["currency"], "code"),
        "party": ref(raw["party"]),
        "company": ref(raw["company"]),
        **stamps(raw),
    }


def invoice_status(raw: JSON, is_credit_note: bool) -> str:
    """draft, issued, paid or void.

    Crediting an invoice in full makes Tryton cancel it and leave the credit note as paid: the pair is worth
    nothing, so a credit note whose invoices are all cancelled is void as well, not a negative sale.
    """
    state = raw["state"]
    if state == "cancelled":
        return "void"
    origins = raw["origin_invoices"] or []
    if is_credit_note and origins and all(row["state"] == "cancelled" for row in origins):
        return "void"
    return {"posted": "issued", "paid": "paid"}.get(state, "draft")


def opportunity(raw: JSON) -> JSON:
    return {
        "number": raw["number"],
        "reference": raw["reference"],
        "matter_number": first_number(raw["reference"]),
        "description": raw["description"],
        "party": ref(raw["party"]),
        "amount": plain(raw["amount"]),
        "currency": through(raw["currency"], "code"),
        "state": raw["state"],
        "start_date": plain(raw["start_date"]),
        "end_date": plain(raw["end_date"]),
        "conversion_probability": raw["conversion_probability"],
        "employee": ref(raw["employee"]),
        "company": ref(raw["company"]),
        **stamps(raw),
    }


# A matter's number as firms write it: letters, a mark and digits (M-1001, LIT/22), or at least three digits, with or
# without letters before them (AB123, 00123-0004). A bare year is none: "2026 audit" is a name.
LEADING_NUMBER = re.compile(
    r"(?!(?:19|20)\d\d(?:\s|$))((?:[A-Za-z]{1,8}[-./#]\d|[A-Za-z]{0,4}\d{3})[\w./#-]*?)[:,;]?(?:\s+(?:[-\u2013\u2014]\s+)?|$)"
)


def split_number(name: str) -> tuple[str | None, str]:
    """ "M-1001 Smith v. Jones" -> ("M-1001", "Smith v. Jones"); a name without a leading number stays whole."""
    if (found := LEADING_NUMBER.match(name)) and (rest := name[found.end() :].strip()):
        return found[1], rest
    return None, name


def first_number(reference: str | None) -> str | None:
    """The matter's number at the beginning of an invoice's or opportunity's reference."""
    found = LEADING_NUMBER.match((reference or "").strip())
    return found[1] if found else None


# --- into Tryton ------------------------------------------------------------------------------------------------------


def outgoing(collection: Collection, changes: JSON, held: JSON | None, look_up: Lookup) -> JSON:
    """What to send for these body keys. `held` is the record as Tryton sent it just now, None for a new one.

    Raises Refused for a key that is not written, Stale when a nested row that the change keeps has gone.
    """
    if unknown := sorted(changes.keys() - collection.writable):
        raise Refused(
            f"Tryton's {', '.join(unknown)} cannot be written.",
            remedy="Make these fields read-only in the mapping.",
            code="not-writable",
            fields=tuple(unknown),
        )
    sent = {name: value_of(kind, changes[name], name) for name, kind in collection.writes.items() if name in changes}
    if "kind" in changes:
        sent["categories"] = kind_commands(changes["kind"], held, look_up)
    if "lang" in changes:
        sent["lang"] = None if changes["lang"] is None else look_up("ir.lang", "code", changes["lang"], "lang")
    if "addresses" in changes:
        rows = [address_values(row, look_up) for row in changes["addresses"] or ()]
        sent["addresses"] = row_commands(rows, (held or {}).get("addresses", []), address_held, "addresses")
    if "contact_mechanisms" in changes:
        rows = [only(row, CONTACT, "contact_mechanisms") for row in changes["contact_mechanisms"] or ()]
        sent["contact_mechanisms"] = row_commands(rows, (held or {}).get("contact_mechanisms", []), dict, "contacts")
    if changes.get("currency"):
        sent["currency"] = look_up("currency.currency", "code", changes["currency"], "currency")
    if collection.model == "project.work" and {"number", "name"} & changes.keys():
        sent["name"] = joined_name(changes, held)
    return sent


def joined_name(changes: JSON, held: JSON | None) -> str:
    """Number and name as one text. A number that Tryton's own sequence gave is not repeated in the name."""
    before = work(held) if held else {"number": None, "name": "", "full_name": "", "sequence_number": None}
    number, name = changes.get("number", before["number"]), changes.get("name", before["name"])
    if number == before["sequence_number"]:
        number = None
    return " ".join(part for part in (number, name) if part)


def value_of(kind: str, value: Any, name: str) -> Any:
    """A plain value in the form that Tryton's field wants."""
    if value is None or kind == NUMBER:
        return value
    try:
        if kind == TEXT:
            return text(value)
        if kind == REF:
            return int(value)
        if kind == DATE:
            day = date.fromisoformat(value)
            return {"__class__": "date", "year": day.year, "month": day.month, "day": day.day}
        if kind == DECIMAL:
            return {"__class__": "Decimal", "decimal": str(Decimal(str(value)))}
        return {"__class__": "timedelta", "seconds": float(Decimal(str(value)) * 3600)}
    except (ValueError, InvalidOperation, TypeError) as error:
        raise Refused(f"{name} is no {kind}.", remedy=MEND, code="bad-value", fields=(name,)) from error


def text(value: Any) -> str:
    """Tryton would store a number or an object as Python prints it."""
    if not isinstance(value, str):
        raise TypeError(type(value).__name__)
    return value


def instant(at: str) -> JSON:
    """A body's instant as Tryton's search wants it."""
    moment = datetime.fromisoformat(at.removesuffix("Z"))
    parts = ("year", "month", "day", "hour", "minute", "second", "microsecond")
    return {"__class__": "datetime", **{part: getattr(moment, part) for part in parts}}


def kind_commands(kind: str | None, held: JSON | None, look_up: Lookup) -> list[list[Any]]:
    """Add the category of the new kind, remove those of the others, leave the firm's own categories alone."""
    rows = (held or {}).get("categories", [])
    of_a_kind = {row["id"]: row["name"] for row in rows if kind_of([row["name"]])}
    commands: list[list[Any]] = []
    if gone := [id_ for id_, name in of_a_kind.items() if kind_of([name]) != kind]:
        commands.append(["remove", gone])
    if kind is not None and len(gone) == len(of_a_kind):
        if kind not in KINDS:
            raise Refused("kind is person or organisation.", remedy=MEND, code="bad-value", fields=("kind",))
        commands.append(["add", [look_up("party.category", "name", kind, "kind")]])
    return commands


def only(row: JSON, names: tuple[str, ...], where: str) -> JSON:
    if unknown := sorted(row.keys() - {*names, "id"}):
        raise Refused(f"{where} have no {', '.join(unknown)}.", remedy=MEND, code="not-writable", fields=(where,))
    return {name: value if name == "id" else value_of(TEXT, value, where) for name, value in row.items()}


def address_values(row: JSON, look_up: Lookup) -> JSON:
    values = only(row, ADDRESS, "addresses")
    for name in ("country", "subdivision"):
        if values.get(name):
            values[name] = look_up(f"country.{name}", "code", values[name].upper(), "addresses")
    if "country" in values:
        values.setdefault("subdivision", None)  # a part of another country would be refused
    return values


def address_held(row: JSON) -> JSON:
    """An address as `address_values` gives it: references as ids."""
    return {**row, "country": through(row["country"], "id"), "subdivision": through(row["subdivision"], "id")}


def row_commands(wanted: list[JSON], held: list[JSON], shape: Callable[[JSON], JSON], where: str) -> list[list[Any]]:
    """Turn the list that shall be into Tryton's commands on the list that is.

    A row that is no longer wanted is archived, not deleted: invoices and opportunities may point at it, and then
    Tryton refuses to delete. The order is kept too (Tryton's first e-mail is the main one): as long as new rows
    only follow, their ids order them; otherwise every row gets its number.
    """
    rows = {str(row["id"]): shape(row) for row in held}
    kept = [str(row["id"]) for row in wanted if row.get("id") is not None]
    if not rows.keys() >= set(kept):
        raise Stale(f"One of the {where} that the change keeps is gone.")
    ordered = [row.get("id") is None for row in wanted] == sorted(row.get("id") is None for row in wanted)
    in_order = ordered and kept == [id_ for id_ in rows if id_ in set(kept)]
    numbered = not in_order or (len(kept) < len(wanted) and any(rows[id_]["sequence"] is not None for id_ in kept))
    commands: list[list[Any]] = []
    new: list[JSON] = []
    gone = [int(id_) for id_ in rows if id_ not in set(kept)]
    for place, row in enumerate(wanted, start=1):
        values = {name: value for name, value in row.items() if name != "id"}
        if numbered:
            values["sequence"] = place
        if row.get("id") is None:
            new.append(values)
            continue
        before = rows[str(row["id"])]
        changed = {name: value for name, value in values.items() if before[name] != value}
        if "street" in changed and before["street"] and not before["street_unstructured"]:
            # Street, house and floor are kept apart here, and then Tryton lets nobody write the street as one text.
            gone.append(int(row["id"]))
            new.append({**{name: before[name] for name in (*ADDRESS, "sequence")}, **values})
        elif changed:
            commands.append(["write", [int(row["id"])], changed])
    if gone:
        commands.append(["write", gone, {"active": False}])
    if new:
        commands.append(["create", new])
    return commands


# --- the resources ----------------------------------------------------------------------------------------------------

COLLECTIONS: Mapping[str, Collection] = {
    "parties": Collection(
        model="party.party",
        module="party",
        fields=(
            *("name", "code", "active", "categories.name", "categories.active", "lang.code", *STAMPS),
            *(f"addresses.{name}" for name in (*ADDRESS_READ, *ROW_STAMPS)),
            *(f"contact_mechanisms.{name}" for name in (*CONTACT, *ROW_STAMPS)),
        ),
        body=party,
        writes={"name": TEXT},
        special=("kind", "lang", "addresses", "contact_mechanisms"),
        archives=True,
        nested=(("party.contact_mechanism", "party"), ("party.address", "party")),
        by_company=False,
    ),
    "works": Collection(
        model="project.work",
        module="project",
        fields=("name", "number", "party", "status.name", "status.progress", "company", "timesheet_works", *STAMPS),
        body=work,
        writes={"party": REF},
        special=("number", "name", "status"),
        only=(("type", "=", "project"),),
    ),
    "time_entries": Collection(
        model="timesheet.line",
        module="timesheet",
        fields=("work.origin", "employee.party", "date", "duration", "description", "company", *STAMPS),
        body=time_entry,
        writes={"work": REF, "employee": REF, "date": DATE, "duration": HOURS, "description": TEXT},
        special=("matter",),
    ),
    "invoices": Collection(
        model="account.invoice",
        module="account_invoice",
        fields=(
            *("state", "number", "reference", "description", "invoice_date", "total_amount", "untaxed_amount"),
            *("tax_amount", "currency.code", "party", "company", "origin_invoices.state", *STAMPS),
        ),
        body=invoice,
        writes={},
        only=(("type", "=", "out"),),
    ),
    "opportunities": Collection(
        model="sale.opportunity",
        module="sale_opportunity",
        fields=(
            *("number", "reference", "description", "party", "amount", "currency.code", "state", "start_date"),
            *("end_date", "conversion_probability", "employee", "company", *STAMPS),
        ),
        body=opportunity,
        writes={
            "reference": TEXT,
            "description": TEXT,
            "party": REF,
            "amount": DECIMAL,
            "start_date": DATE,
            "end_date": DATE,
            "conversion_probability": NUMBER,
            "employee": REF,
        },
        special=("currency", "state"),
    ),
}

"""Clio's shapes and their quirks: which fields are asked for, what may be written, and how nested lists are written.

Values in, values out. Pages of the vendor: https://docs.developers.clio.com/api-docs/fields and the Contacts and
Matters parts of https://docs.developers.clio.com/api-reference/.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from connectors.errors import Refused

if TYPE_CHECKING:
    from connectors.contract import JSON

CUSTOM_FIELD_VALUES = "custom_field_values{id,field_name,field_type,value,custom_field}"


@dataclass(frozen=True, slots=True)
class Collection:
    """How one resource is read and what of it may be written.

    permission  its name among the app's permissions in the developer portal
    fields      the selection: without it Clio answers only id and etag. Fields of a second nested level cannot be
                chosen (400), so `custom_field` inside a custom field value comes with id and etag
    only        filters that every listing carries
    plain       properties written as they are
    references  properties written as {"id": n}; True: {"id": null} means "none", False: Clio takes no null there
    """

    permission: str
    fields: str
    only: tuple[tuple[str, str], ...] = ()
    plain: frozenset[str] = frozenset()
    references: Mapping[str, bool] = field(default_factory=dict)


COLLECTIONS: Mapping[str, Collection] = {
    "contacts": Collection(
        permission="Contacts",
        fields="id,etag,type,name,prefix,first_name,middle_name,last_name,title,date_of_birth,is_client,created_at,updated_at,"
        "primary_email_address,primary_phone_number,company{id,name},email_addresses{id,address,name,primary},"
        "phone_numbers{id,number,name,primary},addresses{id,name,street,city,province,postal_code,country,primary},"
        "web_sites{id,address,name,default_web_site}," + CUSTOM_FIELD_VALUES,
        plain=frozenset("type name prefix first_name middle_name last_name title date_of_birth".split()),
        references={"company": False},
    ),
    "matters": Collection(
        permission="Matters",
        fields="id,etag,number,display_number,custom_number,description,status,client_reference,location,billable,"
        "billing_method,open_date,pending_date,close_date,created_at,updated_at,client{id,name,type},"
        "practice_area{id,name},matter_stage{id,name},responsible_attorney{id,name,email},"
        "originating_attorney{id,name,email}," + CUSTOM_FIELD_VALUES,
        plain=frozenset(
            "display_number description status client_reference location billable open_date pending_date "
            "close_date".split()
        ),
        references={
            "client": False,
            "practice_area": True,
            "matter_stage": True,
            "responsible_attorney": False,
            "originating_attorney": False,
        },
    ),
    "bills": Collection(
        permission="Billing",
        fields="id,etag,number,type,kind,state,subject,issued_at,due_at,paid_at,start_at,end_at,sub_total,total_tax,"
        "total,paid,pending,due,balance,created_at,updated_at,client{id,name,type},matters{id,display_number},"
        "user{id,name},currency{id,code}",
    ),
    "activities": Collection(
        permission="Activities",
        # quantity of a time entry is in seconds since 4.0.4; quantity_in_hours is a view of it and read only. The
        # quantity of an expense is a number of units, and its price that of one.
        fields="id,etag,type,date,quantity,quantity_in_hours,rounded_quantity_in_hours,quantity_redacted,price,total,"
        "note,reference,flat_rate,billed,on_bill,non_billable,no_charge,created_at,updated_at,"
        "matter{id,display_number},user{id,name,email},activity_description{id,name},expense_category{id,name},"
        "bill{id,number,state}",
        plain=frozenset("type date quantity price note reference non_billable no_charge".split()),
        references={"matter": False, "user": True, "activity_description": False},
    ),
    "users": Collection(
        permission="Users",
        fields="id,etag,name,first_name,last_name,initials,email,phone_number,enabled,subscription_type,rate,"
        "created_at,updated_at",
    ),
}


@dataclass(frozen=True, slots=True)
class ListShape:
    """A nested list that is written by entry ids.

    key      what tells two entries apart when one has no id yet
    written  the properties of an entry that can be written
    flag     how the primary entry is marked when read and when written; None: Clio does not let us choose
    """

    key: tuple[str, ...]
    written: tuple[str, ...]
    flag: tuple[str, str] | None


LISTS: Mapping[str, ListShape] = {
    "email_addresses": ListShape(("address",), ("name", "address"), ("primary", "default_email")),
    "phone_numbers": ListShape(("number",), ("name", "number"), ("primary", "default_number")),
    "web_sites": ListShape(("address",), ("name", "address"), ("default_web_site", "default_web_site")),
    "addresses": ListShape(
        ("street", "city", "province", "postal_code", "country"),
        ("name", "street", "city", "province", "postal_code", "country"),
        None,
    ),
}


def outgoing(resource: str, wanted: JSON, held: JSON) -> JSON:
    """What to send so that `held` becomes `wanted`, in Clio's own protocol; Refused for what cannot be written."""
    collection = COLLECTIONS[resource]
    with_custom_values = "custom_field_values" in collection.fields
    data: JSON = {}
    barred = []
    for name, value in wanted.items():
        if name in collection.plain:
            # Read as "Open", written as "open".
            data[name] = value.lower() if name == "status" and isinstance(value, str) else value
        elif name in collection.references:
            if value is None and not collection.references[name]:
                barred.append(name)
            else:
                data[name] = reference(name, value)
        elif name in LISTS and resource == "contacts":
            if changes := list_changes(LISTS[name], held.get(name) or (), value or ()):
                data[name] = changes
        elif name == "custom_field_values" and with_custom_values:
            if changes := custom_value_changes(held.get(name) or (), value or ()):
                data[name] = changes
        else:
            barred.append(name)
    if barred:
        listed = ", ".join(sorted(barred))
        raise Refused(
            f"Clio does not let {listed} of {resource} be written like this.",
            remedy="Take the field out of what the mapping writes, or change it in Clio.",
            code="not_writable",
            fields=tuple(sorted(barred)),
        )
    if {"first_name", "last_name"} & data.keys():
        # A person's name is made from the parts; sending it too makes Clio guess them again.
        data.pop("name", None)
    return data


def reference(name: str, value: Any) -> JSON:
    given = value.get("id") if isinstance(value, dict) else value
    if given is None:
        return {"id": None}
    if not str(given).isdecimal():
        raise Refused(f"{name} does not name a record of Clio.", code="bad_reference", fields=(name,))
    return {"id": int(given)}


def list_changes(shape: ListShape, held: Sequence[JSON], wanted: Sequence[JSON]) -> list[JSON]:
    """The entries to send: new ones, changed ones with their id, removed ones with `_destroy`; the rest is left out."""
    left = {str(entry["id"]): entry for entry in held}
    kept = [left.pop(str(entry.get("id")), None) for entry in wanted]  # by id first: those cannot be taken by others
    changes: list[JSON] = []
    for entry, named in zip(wanted, kept, strict=True):
        now = named or next((e for e in left.values() if _key(shape, e) == _key(shape, entry)), None)
        if now is None:
            change = {name: entry[name] for name in shape.written if entry.get(name) is not None}
            if shape.flag and entry.get(shape.flag[0]):
                change[shape.flag[1]] = True
            changes.append(change)
            continue
        left.pop(str(now["id"]), None)
        # Unchanged properties stay out: a label that Clio shows but does not accept must not spoil the request.
        change = {name: entry[name] for name in shape.written if name in entry and entry[name] != now.get(name)}
        if shape.flag and entry.get(shape.flag[0]) and not now.get(shape.flag[0]):
            change[shape.flag[1]] = True
        if change:
            changes.append({"id": now["id"], **change})
    return changes + [{"id": entry["id"], "_destroy": True} for entry in left.values()]


def custom_value_changes(held: Sequence[JSON], wanted: Sequence[JSON]) -> list[JSON]:
    """Custom field values are told apart by their field. A value's own id is null while the field is empty, and
    then naming the field creates it; a picklist is written by the option's id."""
    left = {str(value["custom_field"]["id"]): value for value in held}
    changes: list[JSON] = []
    for entry in wanted:
        field_id = str(entry["custom_field"]["id"])
        now = left.pop(field_id, None)
        value = written_text(entry.get("value"))
        if now is None or now["id"] is None:
            if value is not None:
                changes.append({"custom_field": reference("custom_field", field_id), "value": value})
        elif value is None:
            changes.append({"id": now["id"], "_destroy": True})
        elif value != written_text(now.get("value")):
            changes.append({"id": now["id"], "value": value})
    return changes + [{"id": entry["id"], "_destroy": True} for entry in left.values() if entry["id"] is not None]


def written_text(value: Any) -> str | None:
    """A custom value is text on the wire, whatever its field's type."""
    if value is None or isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else str(value)


def narrowed(resource: str, sent: JSON) -> Iterator[tuple[str, str]]:
    """Filters that keep a record made from `sent`, to look for it without reading everything."""
    if resource == "contacts":
        if "type" in sent:
            yield "type", sent["type"]
        names = " ".join(sent.get(part) or "" for part in ("name", "first_name", "last_name"))
        # One plain word: how the search reads quotes, dashes and spaces is not described.
        if words := re.findall(r"\w+", names):
            yield "query", max(words, key=len)
    elif resource == "matters" and "client" in sent:
        yield "client_id", str(sent["client"]["id"])
    elif resource == "activities":
        if "matter" in sent:
            yield "matter_id", str(sent["matter"]["id"])
        if "date" in sent:
            yield "start_date", f"{sent['date']}T00:00:00Z"
            yield "end_date", f"{sent['date']}T23:59:59Z"


def holds(body: JSON, sent: JSON) -> bool:
    """Whether a record has everything that was sent, forgiving what Clio rewrites: spaces, case, phone punctuation.

    display_number is not compared: unless the firm numbers by hand, Clio gives its own.
    """
    for name, value in sent.items():
        now = body.get(name)
        if name in LISTS:
            shape = LISTS[name]
            if not {_key(shape, e) for e in value} <= {_key(shape, e) for e in now or ()}:
                return False
        elif name == "custom_field_values":
            have = {e["custom_field"]["id"]: _plain(e.get("value")) for e in now or ()}
            if any(have.get(e["custom_field"]["id"]) != _plain(e["value"]) for e in value):
                return False
        elif isinstance(value, dict):
            if (now or {}).get("id") != value["id"]:
                return False
        elif name != "display_number" and _plain(now) != _plain(value):
            return False
    return True


def _key(shape: ListShape, entry: JSON) -> tuple[str, ...]:
    if shape.key == ("number",):
        return (re.sub(r"\D", "", str(entry.get("number") or "")),)
    return tuple(_plain(entry.get(name)) for name in shape.key)


def _plain(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(float(value))
    return " ".join(str("" if value is None else value).split()).casefold()

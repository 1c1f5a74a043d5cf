"""Which fields a record of Clio can hold: those that the connector always asks for, and the firm's custom fields.

Custom fields exist for contacts and matters. Their values stand in the record's `custom_field_values`, each beside the
id of its field. https://docs.developers.clio.com/guides/clio-manage/custom-fields/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from connectors.clio.payloads import LISTS
from connectors.contract import FieldType, VendorField
from connectors.errors import ShapeChanged

if TYPE_CHECKING:
    from connectors.clio.payloads import Collection
    from connectors.contract import JSON

CUSTOM_PARENTS: Mapping[str, str] = {"contacts": "contact", "matters": "matter"}
DEFINITION = "id,etag,name,parent_type,field_type,displayed,deleted,required,picklist_options{id,option,deleted_at}"
TYPES: Mapping[str, FieldType] = {
    "checkbox": "bool",
    "currency": "number",
    "numeric": "number",
    "date": "date",
    "picklist": "choice",
    "contact": "reference",
    "matter": "reference",
}
"""Clio's types of custom fields; all others are text. A value is text on the wire whatever its type."""

DATES = frozenset({"issued_at", "due_at", "paid_at", "start_at", "end_at", "date", "date_of_birth"})
NUMBERS = frozenset("quantity price total paid pending due balance sub_total total_tax".split())
FLAGS = frozenset("billable billed flat_rate is_client no_charge non_billable on_bill quantity_redacted".split())


def own_fields(collection: Collection) -> tuple[VendorField, ...]:
    """The fields of the connector's own selection, custom field values left out."""
    found = []
    for match in re.finditer(r"([a-z_]+)(\{[^}]*\})?", collection.fields):
        name, inner = match[1], match[2]
        if name == "custom_field_values":
            continue
        is_written = (
            name in collection.plain or name in collection.references or (bool(collection.plain) and bool(inner))
        )
        label = name.replace("_", " ").capitalize()
        found.append(VendorField(name, label, _type(name, inner), writable=is_written))
    return tuple(found)


def _type(name: str, inner: str | None) -> FieldType:
    if inner:
        return "list" if name in LISTS or name == "matters" else "reference"
    if name in DATES or name.endswith("_date"):
        return "date"
    if name.endswith("_at"):
        return "instant"
    if name in FLAGS:
        return "bool"
    return "number" if name in NUMBERS or name.endswith("_in_hours") else "text"


def custom_field(raw: JSON) -> VendorField:
    """A definition. A picklist's records hold the option's id, so the options are told as ids; `detail` names them."""
    try:
        options = [each for each in raw.get("picklist_options") or () if not each.get("deleted_at")]
        kind, words = str(raw["field_type"]), ", ".join(f"{each['id']} = {each['option']}" for each in options)
        return VendorField(
            path=f"custom_field_values[custom_field.id={raw['id']}].value",
            label=str(raw["name"]),
            type=TYPES.get(kind, "text"),
            detail=f"{kind}: {words}" if words else kind,
            id=str(raw["id"]),
            custom=True,
            values=tuple(str(each["id"]) for each in options),
        )
    except (KeyError, TypeError) as error:
        raise ShapeChanged("Clio sent a custom field without id, name or type.") from error

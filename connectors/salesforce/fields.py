"""Which fields of each object are read, and what `check` has to say about an object's description.

Field-level security, not the licence, decides which fields exist for a user: a hidden field is missing from
`describe`, and naming it in a query fails the whole query. So every list here is a wish, cut down to what is visible.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from connectors.contract import JSON, FieldType, Finding, VendorField

SYSTEM = ("Id", "IsDeleted", "SystemModstamp", "CreatedDate", "LastModifiedDate", "LastModifiedById", "OwnerId")
CONSENT = ("HasOptedOutOfEmail", "HasOptedOutOfFax", "DoNotCall")


def address(prefix: str) -> tuple[str, ...]:
    """The compound MailingAddress and its like are read-only; their parts are not."""
    return tuple(prefix + part for part in ("Street", "City", "State", "PostalCode", "Country"))


@dataclass(frozen=True, slots=True)
class Wanted:
    """An object's fields: `written` are read and written, `read` are read where they are visible."""

    written: tuple[str, ...]
    read: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return (*SYSTEM, *self.written, *self.read)


FIELDS: Mapping[str, Wanted] = {
    "Account": Wanted(
        written=(
            *("Name", "Type", "Industry", "NumberOfEmployees", "Phone", "Fax", "Website", "Description", "ParentId"),
            *address("Billing"),
            *address("Shipping"),
        ),
        read=("MasterRecordId", "AccountNumber", "AccountSource", "AnnualRevenue", "Ownership", "Rating", "Site"),
    ),
    "Contact": Wanted(
        written=(
            *("AccountId", "FirstName", "LastName", "Salutation", "Title", "Department", "Email", "Phone"),
            *("MobilePhone", "HomePhone", "OtherPhone", "Fax", "Birthdate", "LeadSource", "Description"),
            *CONSENT,
            *address("Mailing"),
            *address("Other"),
        ),
        read=("MasterRecordId", "Name", "ReportsToId", "EmailBouncedReason", "EmailBouncedDate", "IndividualId"),
    ),
    "Opportunity": Wanted(
        written=(
            *("Name", "AccountId", "StageName", "CloseDate", "Amount", "Type", "NextStep", "LeadSource"),
            *("Description", "Matter_Number__c", "Billed_Total__c"),
        ),
        read=("ContactId", "Probability", "IsClosed", "IsWon", "ForecastCategoryName", "CampaignId"),
    ),
    "Task": Wanted(
        written=(
            *("WhoId", "WhatId", "Subject", "Status", "Priority", "ActivityDate", "Description"),
            *("CallType", "CallDurationInSeconds", "TaskSubtype"),
        ),
        read=("AccountId", "IsClosed", "IsArchived"),
    ),
}

# What the firm has to create, and how: type, then the choices on the second page of the wizard.
CUSTOM = {
    ("Opportunity", "Matter_Number__c"): ("Text", "length 40"),
    ("Opportunity", "Billed_Total__c"): ("Currency", "length 16, decimal places 2"),
}


def clicks(resource: str, name: str, kind: str, choices: str) -> str:
    """How to create a field. Custom fields of tasks belong to the object Activity."""
    where = "Activity" if resource == "Task" else resource
    return (
        f"In Salesforce: Setup > Object Manager > {where} > Fields & Relationships > New > {kind} > Next; "
        f"Field Label and Field Name {name.removesuffix('__c')}, {choices} > Next; make it visible, not read-only, for "
        "the profile or permission set of the integration user > Next; no page layout > Save."
    )


def findings(resource: str, seen: JSON, external_id: str) -> Iterator[Finding]:
    """What is wrong with an object as this user sees it (a describe answer, {} for none)."""
    grant = f"Setup > Permission Sets > the integration user's set > Object Settings > {resource}"
    if not seen:
        yield Finding("error", f"{resource} is not visible.", f"{grant}: tick Read, Create and Edit.")
        return
    for ability in ("createable", "updateable"):
        if not seen.get(ability):
            yield Finding("error", f"{resource} is not {ability}.", f"{grant}: tick Read, Create and Edit.")
    fields = {field["name"]: field for field in seen["fields"]}
    yield from _external_id(resource, fields, external_id)
    for (where, name), (kind, choices) in CUSTOM.items():
        if where == resource and name not in fields:
            yield Finding("error", f"{resource} has no field {name}.", clicks(resource, name, kind, choices))
    wanted = FIELDS[resource].written
    custom = {name for where, name in CUSTOM if where == resource}
    hidden = [name for name in wanted if name not in fields and name not in custom]
    consent = [name for name in hidden if name in CONSENT]
    if consent:
        yield Finding(
            "warning",
            f"Consent fields of {resource} are not visible: {', '.join(consent)}. That opts nobody in.",
            f"{grant}: tick Read and Edit Access for {', '.join(consent)}.",
        )
    if others := [name for name in hidden if name not in CONSENT]:
        yield Finding("warning", f"{resource}: not visible: {', '.join(others)}.", f"{grant}: tick Read Access.")
    frozen = [name for name in wanted if name in fields and not fields[name].get("updateable")]
    if blocking := [name for name in frozen if name in custom or name in CONSENT]:
        yield Finding("error", f"{resource}: not writable: {', '.join(blocking)}.", f"{grant}: tick Edit Access.")
    if rest := [name for name in frozen if name not in custom and name not in CONSENT]:
        yield Finding("warning", f"{resource}: read, not written: {', '.join(rest)}.", f"{grant}: tick Edit Access.")


def _external_id(resource: str, fields: Mapping[str, JSON], name: str) -> Iterator[Finding]:
    """Without it a create whose answer got lost could be made twice."""
    field = fields.get(name)
    how = clicks(resource, name, "Text", "length 80, tick Unique and External ID")
    if field is None:
        yield Finding("error", f"{resource} has no field {name} for our own key.", how)
    elif not field.get("externalId"):
        yield Finding("error", f"{resource}.{name} is not an external id.", "Edit the field and tick External ID.")
    elif not field.get("unique"):
        yield Finding("error", f"{resource}.{name} is not unique.", "Edit the field and tick Unique.")
    elif not field.get("createable"):
        yield Finding("error", f"{resource}.{name} is not writable.", "Give the integration user Edit Access to it.")


def unseen(names: Sequence[str], described: Mapping[str, JSON]) -> Iterator[Finding]:
    """Names in the setting `fields` that no object has."""
    visible = {field["name"] for seen in described.values() for field in seen.get("fields", ())}
    for name in names:
        if name not in visible:
            remedy = "Correct the setting `fields` (API names: Practice_Area__c), or let the user see the field."
            yield Finding("warning", f"No object has a field {name}.", remedy)


TYPES: Mapping[str, FieldType] = {
    "boolean": "bool",
    "int": "number",
    "double": "number",
    "currency": "number",
    "percent": "number",
    "date": "date",
    "datetime": "instant",
    "picklist": "choice",
    "combobox": "choice",
    "multipicklist": "choice",
    "reference": "reference",
    "address": "object",
    "location": "object",
}
"""The vendor's types; all others are text.
https://developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference/field_types.htm"""


def vendor_field(field: JSON, own_key: str) -> VendorField:
    """One entry of a describe answer. A field has no id there: its API name is what stays when the label changes.

    own_key: the field that holds our own key, which is nothing of the firm's.
    """
    return VendorField(
        path=field["name"],
        label=field["label"],
        type=TYPES.get(field["type"], "text"),
        detail=field["type"] if field["name"] != own_key else "our own key",
        custom=field["custom"] and field["name"] != own_key,
        writable=field["updateable"],
        values=tuple(each["value"] for each in field["picklistValues"] if each["active"]),
        length=field["length"] or None,
    )

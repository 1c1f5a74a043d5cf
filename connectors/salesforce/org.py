"""The data of the sandbox org: rows, what may be written to them, and what the vendor computes or refuses.

Rows hold only fields that are not empty, in the vendor's form: text trimmed, empty text as null, times as whole
seconds. Deleted rows stay, marked. Field-level security holds for the integration user alone; the org's own people
(`by`) see and write everything. Whatever speaks HTTP is in `sandbox.py`.
"""

from __future__ import annotations

import bisect
import itertools
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from connectors.salesforce import id18, seeds
from connectors.salesforce.objects import FIELDS, OBJECTS, PREFIXES, RECORDED, STAGES, Field, field_of
from connectors.salesforce.soql import Row, instant

if TYPE_CHECKING:
    from connectors.sandbox import Tables

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
EMAIL = re.compile(r"[^@\s,;<>()\[\]]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?\.[A-Za-z]{2,}")
TEXT = {"string", "textarea", "phone", "url", "picklist", "combobox", "email"}


class Problem(Exception):
    """A refusal: `status` when it is the whole answer, code, message and fields also inside a collection's answer.

    more holds further properties of the error, such as duplicateResult.
    """

    def __init__(self, status: int, code: str, message: str, fields: Sequence[str] = (), more: Any = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.fields = list(fields)
        self.more: dict[str, Any] = more or {}

    def entry(self) -> dict[str, Any]:
        error = {"statusCode": self.code, "message": self.message, "fields": self.fields}
        return {"success": False, "errors": [error | self.more]}


class Org:
    """Rows by object and id, in `tables`; `wrote` is told of every record that the integration user writes.

    fields              the fields of each object: the usual ones, and what the org's administrator made or deleted
    hidden, read_only   fields per object that field-level security keeps from the integration user
    duplicate_rules     objects whose creates are blocked when they resemble a row
    refusals            (object, id) -> what the org's automation answers next; id "" is a create, "*" any write
    """

    def __init__(self, tables: Tables, clock: Callable[[], datetime], wrote: Callable[[str], None]) -> None:
        self.tables = tables
        self.clock = clock
        self.wrote = wrote
        self.fields: dict[str, dict[str, Field]] = {sobject: dict(fields) for sobject, fields in FIELDS.items()}
        self.hidden: dict[str, set[str]] = {sobject: set() for sobject in OBJECTS}
        self.read_only: dict[str, set[str]] = {sobject: set() for sobject in OBJECTS}
        self.duplicate_rules: set[str] = set()
        self.refusals: dict[tuple[str, str], list[Problem]] = {}
        self.order: dict[str, list[tuple[str, str]]] = {sobject: [] for sobject in OBJECTS}
        self.keys: dict[str, dict[str, str]] = {sobject: {} for sobject in OBJECTS}
        self.ids: dict[str, list[str]] = {sobject: [] for sobject in OBJECTS}
        self.number = 0
        for sobject in OBJECTS:
            for row in self.tables[sobject].values():
                self._index(sobject, row)

    @property
    def is_empty(self) -> bool:
        return not self.order["Organization"]

    @property
    def id(self) -> str:
        return next(iter(self.tables["Organization"]))

    @property
    def api_user(self) -> str:
        return next(iter(self.tables["User"]))

    @property
    def owner(self) -> str:
        users = iter(self.tables["User"])
        next(users)
        return next(users)

    def held(self, sobject: str, id: str) -> Row | None:
        """A row that will only be read: not by way of the table, which would write it to the journal again."""
        return dict.get(self.tables[sobject], id)

    def field(self, sobject: str, name: str) -> Field:
        spelled = self.spelled(sobject, name.strip())
        if spelled is None or spelled in self.hidden[sobject]:
            message = (
                f"No such column '{name}' on entity '{sobject}'. If you are attempting to use a custom field, be sure "
                "to append the '__c' after the custom field name. Please reference your WSDL or the describe call for "
                "the appropriate names."
            )
            raise Problem(400, "INVALID_FIELD", message)
        return self.fields[sobject][spelled]

    def spelled(self, sobject: str, name: str) -> str | None:
        """The field's name as the org writes it; callers may use any case."""
        if name in self.fields[sobject]:
            return name
        return next((known for known in self.fields[sobject] if known.lower() == name.lower()), None)

    def add_field(self, sobject: str, line: str) -> None:
        """The administrator makes a custom field, told as a line of objects.py."""
        field = field_of(sobject, line)
        self.fields[sobject][field.name] = field

    def drop_field(self, sobject: str, name: str) -> None:
        """The administrator deletes a custom field: its values are gone from all rows, and no row counts as changed."""
        del self.fields[sobject][name]
        for row in list(self.tables[sobject].values()):
            if name in row:
                self.tables[sobject][row["Id"]] = {key: value for key, value in row.items() if key != name}

    def rows(self, sobject: str, *, after: str = "", by_id: bool = False, with_deleted: bool) -> Iterator[Row]:
        """Rows by (SystemModstamp, Id), or by Id alone, from `after` on."""
        table = self.tables[sobject]
        if by_id:
            ids = self.ids[sobject]
            found: Iterator[str] = itertools.islice(ids, bisect.bisect_left(ids, after), None)
        else:
            order = self.order[sobject]
            found = (id for _, id in itertools.islice(order, bisect.bisect_left(order, (after, "")), None))
        for id in found:
            row = dict.__getitem__(table, id)
            if with_deleted or not row.get("IsDeleted"):
                yield row

    def matching(self, sobject: str, field: Field, value: str) -> list[str]:
        """Ids of live rows whose key field holds the value."""
        if field.is_external:
            id = self.keys[sobject].get(value.casefold())
            return [id] if id else []
        wanted = id18(value) if field.type == "id" else value.casefold()
        rows = (row for row in self.tables[sobject].values() if not row.get("IsDeleted"))
        held = ((row["Id"], str(read_field(field, row) or "")) for row in rows)
        return [id for id, text in held if (text if field.type == "id" else text.casefold()) == wanted]

    def create(self, sobject: str, fields: Mapping[str, Any], *, by: str = "") -> str:
        if sobject not in RECORDED:
            raise Problem(405, "METHOD_NOT_ALLOWED", f"{sobject} cannot be created here")
        row = self._cleaned(sobject, fields, {}, is_person=bool(by))
        self._refuse(sobject, "")
        for field in self.fields[sobject].values():
            if field.default is not None and not field.is_readonly and row.get(field.name) is None:
                row[field.name] = field.default
        row["OwnerId"] = self.owner if row.get("OwnerId") in {None, "USER"} else row["OwnerId"]
        self._check_duplicates(sobject, row)
        now = stamp(self.clock())
        row |= {"Id": self._new_id(sobject), "CreatedDate": now, "CreatedById": by or self.api_user}
        self.save(sobject, row, by, now)
        if not by:
            self.wrote(f"created {sobject}/{row['Id']}")
        return str(row["Id"])

    def update(self, sobject: str, id: str, fields: Mapping[str, Any], *, by: str = "") -> None:
        row = self.held(sobject, id)
        if row is None:
            raise Problem(404, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
        if row.get("IsDeleted"):
            raise Problem(404, "ENTITY_IS_DELETED", "entity is deleted")
        changes = self._cleaned(sobject, fields, row, is_person=bool(by))
        self._refuse(sobject, id)
        merged = {**row, **changes}
        if "StageName" in changes and "Probability" not in changes:
            merged.pop("Probability", None)
        self.save(sobject, merged, by, stamp(self.clock()))
        if not by:
            self.wrote(f"updated {sobject}/{id}")

    def delete(self, sobject: str, id: str, *, by: str = "") -> None:
        row = self.held(sobject, id)
        if row is None:
            raise Problem(404, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id")
        if row.get("IsDeleted"):
            raise Problem(404, "ENTITY_IS_DELETED", "entity is deleted")
        self._refuse(sobject, id)
        self.save(sobject, {**row, "IsDeleted": True}, by, stamp(self.clock()))
        if not by:
            self.wrote(f"deleted {sobject}/{id}")
        for child in ("Contact", "Opportunity") if sobject == "Account" else ():
            for held in [r for r in self.tables[child].values() if r.get("AccountId") == id and not r.get("IsDeleted")]:
                self.delete(child, held["Id"], by=by)

    def _refuse(self, sobject: str, id: str) -> None:
        for key in ((sobject, id), (sobject, "*")):
            if waiting := self.refusals.get(key):
                raise waiting.pop(0)

    def _check_duplicates(self, sobject: str, row: Row) -> None:
        """A duplicate rule that blocks: contacts by e-mail, accounts by name."""
        field = self.fields[sobject].get({"Contact": "Email", "Account": "Name"}.get(sobject, ""))
        if sobject not in self.duplicate_rules or field is None or not row.get(field.name):
            return
        if found := self.matching(sobject, field, row[field.name]):
            matches = [
                {"matchConfidence": 100.0, "record": {"attributes": {"type": sobject}, "Id": id}, "fieldDiffs": []}
                for id in found
            ]
            result = {
                "entityType": sobject,
                "matchEngine": "ExactMatchEngine",
                "matchRecords": matches,
                "rule": "Standard_Rule",
            }
            more = {"allowSave": False, "duplicateRule": "Standard_Rule", "matchResults": [result | {"success": True}]}
            raise Problem(400, "DUPLICATES_DETECTED", "Use one of these records?", [], {"duplicateResult": more})

    def save(self, sobject: str, row: dict[str, Any], by: str, now: str) -> None:
        _derive(sobject, row)
        if sobject == "Task":
            row["AccountId"] = self._task_account(row)
        row |= {"LastModifiedDate": now, "LastModifiedById": by or self.api_user, "SystemModstamp": now}
        self._put(sobject, {name: value for name, value in row.items() if value is not None})

    def _task_account(self, row: Row) -> str | None:
        for id in (row.get("WhatId"), row.get("WhoId")):
            if id and id[:3] == "001":
                return str(id)
            parent = self.held(PREFIXES[id[:3]], id) if id and id[:3] in PREFIXES else None
            if parent and parent.get("AccountId"):
                return str(parent["AccountId"])
        return None

    def _put(self, sobject: str, row: dict[str, Any]) -> None:
        if old := self.held(sobject, row["Id"]):
            self.unindex(sobject, old)
        self.tables[sobject][row["Id"]] = row
        self._index(sobject, row)

    def restore(self, before: Mapping[str, Mapping[str, Row]]) -> None:
        for sobject, rows in before.items():
            for id in list(self.tables[sobject]):
                if id not in rows:
                    self.unindex(sobject, self.tables[sobject][id])
                    del self.tables[sobject][id]
                elif rows[id] is not self.tables[sobject][id]:
                    self._put(sobject, dict(rows[id]))

    def _index(self, sobject: str, row: Row) -> None:
        bisect.insort(self.order[sobject], (row["SystemModstamp"], row["Id"]))
        bisect.insort(self.ids[sobject], row["Id"])
        if (key := row.get("syncd_id__c")) and not row.get("IsDeleted"):
            self.keys[sobject][str(key).casefold()] = row["Id"]
        number = 0
        for char in row["Id"][6:15]:
            number = number * 62 + BASE62.index(char)
        self.number = max(self.number, number)

    def unindex(self, sobject: str, row: Row) -> None:
        order = self.order[sobject]
        del order[bisect.bisect_left(order, (row["SystemModstamp"], row["Id"]))]
        del self.ids[sobject][bisect.bisect_left(self.ids[sobject], row["Id"])]
        if key := row.get("syncd_id__c"):
            self.keys[sobject].pop(str(key).casefold(), None)

    def _new_id(self, sobject: str) -> str:
        self.number += 1
        digits, number = "", self.number
        for _ in range(9):
            number, digit = divmod(number, 62)
            digits = BASE62[digit] + digits
        return id18(f"{OBJECTS[sobject][0]}5g0{digits}")

    def _cleaned(self, sobject: str, given: Mapping[str, Any], row: Row, *, is_person: bool) -> dict[str, Any]:
        """The changes as the vendor stores them: trimmed, empty text as None, numbers rounded. Raises Problem."""
        changes: dict[str, Any] = {}
        for name, value in given.items():
            if name == "attributes":
                continue
            spelled = self.spelled(sobject, name)
            if spelled is None or (spelled in self.hidden[sobject] and not is_person):
                raise Problem(400, "INVALID_FIELD", f"No such column '{name}' on sobject of type {sobject}")
            field = self.fields[sobject][spelled]
            if field.is_readonly or (spelled in self.read_only[sobject] and not is_person):
                message = (
                    f"Unable to create/update fields: {spelled}. Please check the security settings of this field and "
                    "verify that it is read/write for your profile or permission set."
                )
                raise Problem(400, "INVALID_FIELD_FOR_INSERT_UPDATE", message, [spelled])
            changes[spelled] = self._value(field, value)
        merged = {**row, **changes}
        missing = [f.name for f in self.fields[sobject].values() if f.is_required and merged.get(f.name) is None]
        if missing:
            message = f"Required fields are missing: [{', '.join(missing)}]"
            raise Problem(400, "REQUIRED_FIELD_MISSING", message, missing)
        if key := changes.get("syncd_id__c"):
            holder = self.keys[sobject].get(str(key).casefold())
            if holder and holder != row.get("Id"):
                message = f"duplicate value found: syncd_id__c duplicates value on record with id: {holder}"
                raise Problem(400, "DUPLICATE_VALUE", message, [])
        return changes

    def _value(self, field: Field, value: Any) -> Any:
        if value is None:
            return False if field.type == "boolean" else None
        if field.type in TEXT:
            return _text(field, value)
        if field.type == "boolean":
            if not isinstance(value, bool):
                raise _unreadable(field, value)
            return value
        if field.type in {"int", "double", "currency", "percent"}:
            return _number(field, value)
        try:
            if field.type == "date":
                return date.fromisoformat(str(value)).isoformat()
            if field.type == "datetime":
                return instant(str(value))
        except ValueError:
            raise _unreadable(field, value) from None
        return self._reference(field, value)

    def _reference(self, field: Field, value: Any) -> str | None:
        if value == "":
            return None
        id = id18(str(value))
        if len(id) != 18:
            raise Problem(400, "MALFORMED_ID", f"{field.label}: id value of incorrect type: {id}", [field.name])
        target = PREFIXES.get(id[:3])
        if target not in field.refers_to:
            raise Problem(
                400, "FIELD_INTEGRITY_EXCEPTION", f"{field.label}: id value of incorrect type: {id}", [field.name]
            )
        row = self.held(target, id)
        if row is None:
            raise Problem(400, "INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", [field.name])
        if row.get("IsDeleted"):
            raise Problem(400, "ENTITY_IS_DELETED", "entity is deleted", [field.name])
        return id

    def seed(self, rng: random.Random, accounts: int, contacts: int, opportunities: int, tasks: int) -> None:
        midnight = self.clock().astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        start = midnight - timedelta(days=30)
        for sobject, fields in (("Organization", seeds.ORGANISATION), *(("User", user) for user in seeds.USERS)):
            self._seed_row(sobject, dict(fields), start)
        total = max(accounts + contacts + opportunities + tasks, 1)
        step = timedelta(seconds=29 * 86_400 / total)
        moments = (start + timedelta(hours=1) + step * number for number in itertools.count())
        account_ids = [self._seed_row("Account", row, next(moments)) for row in seeds.accounts(rng, accounts)]
        contact_ids = [
            self._seed_row("Contact", row, next(moments)) for row in seeds.contacts(rng, contacts, account_ids)
        ]
        opportunity_ids = [
            self._seed_row("Opportunity", row, next(moments))
            for row in seeds.opportunities(rng, opportunities, account_ids, midnight.date())
        ]
        for row in seeds.tasks(rng, tasks, contact_ids, opportunity_ids, midnight.date()):
            self._seed_row("Task", row, next(moments))

    def _seed_row(self, sobject: str, row: dict[str, Any], at: datetime) -> str:
        """Stores without checks: the seeds are known to be valid, and there may be a hundred thousand of them."""
        row["Id"] = self._new_id(sobject)
        owner = "" if sobject in {"User", "Organization"} else self.owner
        if owner:
            row |= {"OwnerId": owner, "CreatedById": owner}
        row["CreatedDate"] = stamp(at)
        self.save(sobject, row, owner or row["Id"], stamp(at))
        return str(row["Id"])

    def add_given(self, sobject: str, given: Mapping[str, Any]) -> None:
        """A row asked for by name: checked like a person's, with its own Id or times where it brings them."""
        fields = dict(given)
        if (account := fields.pop("Account", None)) is not None:
            fields["AccountId"] = next(
                id for id, row in self.tables["Account"].items() if row.get("Name") == account["Name"]
            )
        own: dict[str, Any] = {
            name: fields.pop(name) for name in ("Id", "CreatedDate", "SystemModstamp", "IsDeleted") if name in fields
        }
        id = self.create(sobject, fields, by=self.owner)
        if own:
            row = dict(self.tables[sobject][id])
            self.unindex(sobject, row)
            del self.tables[sobject][id]
            row |= own | {"Id": id18(own.get("Id", id))}
            with suppress(KeyError):
                row["SystemModstamp"] = row["LastModifiedDate"] = instant(own["SystemModstamp"])
            self._put(sobject, row)


def stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def read_field(field: Field, row: Row) -> Any:
    """A field of a stored row, which keeps only what is not empty. Addresses are put together from their parts."""
    if field.type == "boolean":
        return bool(row.get(field.name))
    if field.type != "address":
        return row.get(field.name)
    prefix = field.name.removesuffix("Address")
    parts = {
        "city": "City",
        "country": "Country",
        "geocodeAccuracy": "GeocodeAccuracy",
        "latitude": "Latitude",
        "longitude": "Longitude",
        "postalCode": "PostalCode",
        "state": "State",
        "street": "Street",
    }
    address = {name: row.get(prefix + part) for name, part in parts.items()}
    return address if any(value is not None for value in address.values()) else None


def _derive(sobject: str, row: dict[str, Any]) -> None:
    """Fill in what the vendor computes."""
    if sobject == "Contact":
        row["Name"] = " ".join(part for part in (row.get("FirstName"), row.get("LastName")) if part)
    elif sobject == "Opportunity":
        probability, closed, won, category = STAGES.get(row["StageName"], (0.0, False, False, "Pipeline"))
        if row.get("Probability") is None:
            row["Probability"] = probability
        row |= {
            "IsClosed": closed,
            "IsWon": won,
            "ForecastCategory": category.replace(" ", ""),
            "ForecastCategoryName": category,
        }
    elif sobject == "Task":
        row |= {"IsClosed": row.get("Status") == "Completed", "IsHighPriority": row.get("Priority") == "High"}


def _text(field: Field, value: Any) -> str | None:
    if not isinstance(value, str):
        raise _unreadable(field, value)
    text = value.strip()
    if not text:
        return None
    if len(text) > field.length:
        shown = f"{field.label}: data value too large: {text[:40]} (max length={field.length})"
        raise Problem(400, "STRING_TOO_LONG", shown, [field.name])
    if field.type == "email" and not EMAIL.fullmatch(text):
        raise Problem(400, "INVALID_EMAIL_ADDRESS", f"{field.label}: invalid email address: {text}", [field.name])
    if field.is_restricted and text not in field.values:
        message = f"{field.label}: bad value for restricted picklist field: {text}"
        raise Problem(400, "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, [field.name])
    return text


def _number(field: Field, value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise _unreadable(field, value)
    try:
        number = Decimal(str(value)).quantize(Decimal(1).scaleb(-field.scale), ROUND_HALF_UP)
    except InvalidOperation:
        raise _unreadable(field, value) from None
    if abs(number) >= Decimal(10) ** (field.digits - field.scale):
        message = f"{field.label}: value outside of valid range on numeric field: {value}"
        raise Problem(400, "NUMBER_OUTSIDE_VALID_RANGE", message, [field.name])
    return int(number) if field.type == "int" else float(number)


def _unreadable(field: Field, value: Any) -> Problem:
    kind = {"double": "double", "currency": "double", "percent": "double"}.get(field.type, field.type)
    token = {bool: "VALUE_TRUE", int: "VALUE_NUMBER_INT", float: "VALUE_NUMBER_FLOAT", str: "VALUE_STRING"}.get(
        type(value), "START_OBJECT"
    )
    message = f"Cannot deserialize instance of {kind} from {token} value or request may be missing a required field"
    return Problem(400, "JSON_PARSER_ERROR", message)

"""What the simulated Clio keeps, and its own rules for changing it: checks, numbering, etags, nested entries.

`Books` knows nothing of HTTP; a broken rule is a `Problem` with the status that Clio would answer. Error types and
texts other than the documented ArgumentError are made up in Clio's manner.
"""

from __future__ import annotations

import bisect
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from connectors.clio import firm

if TYPE_CHECKING:
    from connectors.sandbox import Row, Tables

FIRST_IDS = {
    "contacts": 1_000_001,
    "matters": 2_000_001,
    "bills": 3_000_001,
    "activities": 4_000_001,
    "nested": 5_000_001,
}

LABELS = {
    "email_addresses": ("Work", "Home", "Other"),
    "phone_numbers": ("Work", "Home", "Mobile", "Fax", "Pager", "Skype", "Other"),
    "web_sites": ("Work", "Personal", "Twitter", "Facebook", "LinkedIn", "Instant Messenger", "Other"),
    "addresses": ("Work", "Home", "Billing", "Other"),
}
ENTRY_TEXTS = {
    "email_addresses": ("address",),
    "phone_numbers": ("number",),
    "web_sites": ("address",),
    "addresses": ("street", "city", "province", "postal_code", "country"),
}
FLAGS = {"email_addresses": "default_email", "phone_numbers": "default_number", "web_sites": "default_web_site"}
CONTACT_TEXTS = ("prefix", "first_name", "middle_name", "last_name", "title", "ledes_client_id", "sales_tax_number")
MATTER_TEXTS = ("client_reference", "location")
MATTER_DATES = ("open_date", "pending_date", "close_date")
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


class Problem(Exception):
    """An error answer: status, the type in its body, its text."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind


class Books:
    """The tables with the rules around them.

    names_changed  goes up when something changed that other records show: a name, a number, a state
    """

    def __init__(
        self,
        tables: Tables,
        next_id: Callable[[str, int], int],
        clock: Callable[[], datetime],
        manual_numbering: bool,
    ) -> None:
        self.tables = tables
        self.next_id = next_id
        self.clock = clock
        self.manual_numbering = manual_numbering
        self.names_changed = 0
        self.totals: dict[tuple[Any, ...], int] = {}
        self._orders: dict[str, list[int]] = {}
        self._clients: set[int] | None = None

    def row(self, resource: str, id_: str) -> Row:
        row: Row | None = dict.get(self.tables[resource], id_)
        if row is None:
            raise Problem(404, "RecordNotFound", "The requested resource was not found")
        return row

    def order(self, resource: str) -> list[int]:
        order = self._orders.get(resource)
        if order is None:
            order = self._orders[resource] = sorted(map(int, self.tables[resource]))
        return order

    def custom_fields(self, parent: str) -> dict[str, Row]:
        """The fields of Contact or Matter that are in use, by id."""
        rows = self.tables["custom_fields"]
        return {id_: rows[id_] for id_ in rows if rows[id_]["parent_type"] == parent and not rows[id_]["deleted"]}

    def add_custom_field(
        self, id_: int, parent: str, kind: str, name: str, displayed: bool, options: Sequence[str] = ()
    ) -> None:
        now = firm.instant(self.clock())
        choices = [
            {"id": id_ * 100 + n, "etag": quoted(f"option {id_}.{n}"), "option": option, "deleted_at": None}
            | {"created_at": now, "updated_at": now}
            for n, option in enumerate(options)
        ]
        self.tables["custom_fields"][str(id_)] = {
            "id": id_, "etag": quoted(f"custom_field {id_}"), "created_at": now, "updated_at": now, "name": name,
            "parent_type": parent, "field_type": kind, "displayed": displayed, "deleted": False, "required": False,
            "display_order": len(self.tables["custom_fields"]), "picklist_options": choices,
        }  # fmt: skip
        self._custom_fields_changed()

    def change_custom_field(self, id_: int, changes: Row) -> None:
        row = self.tables["custom_fields"][str(id_)]
        self.tables["custom_fields"][str(id_)] = {**row, **changes, "updated_at": firm.instant(self.clock())}
        self._custom_fields_changed()

    def _custom_fields_changed(self) -> None:
        """Records show their fields' names, and the values of deleted ones no more, without counting as changed."""
        self.names_changed += 1
        self.totals.clear()
        self._orders.pop("custom_fields", None)

    def clients(self) -> set[int]:
        """Who has a matter."""
        if self._clients is None:
            self._clients = {matter["client"] for matter in self.tables["matters"].values()}
        return self._clients

    def make(self, resource: str, data: Row) -> Row:
        now = firm.instant(self.clock())
        blank: Mapping[str, Row] = {
            "contacts": {
                **dict.fromkeys((*CONTACT_TEXTS, "name", "date_of_birth", "company")),
                "type": None,
                "email_addresses": [],
                "phone_numbers": [],
                "web_sites": [],
                "addresses": [],
                "custom_values": {},
            },
            "matters": {
                **dict.fromkeys(
                    (*MATTER_TEXTS, *MATTER_DATES, "description", "client", "practice_area", "matter_stage")
                ),
                "status": None,
                "billable": True,
                "billing_method": "hourly",
                "responsible_attorney": None,
                "originating_attorney": None,
                "custom_number": None,
                "custom_values": {},
            },
            "activities": {
                **dict.fromkeys(
                    ("date", "matter", "note", "reference", "activity_description", "expense_category", "bill", "price")
                ),
                "type": None,
                "user": firm.USERS[0][0],
                "quantity": 0,
                "non_billable": False,
                "no_charge": False,
                "flat_rate": False,
                "billed": False,
                "on_bill": False,
                "quantity_redacted": False,
            },
        }
        row = {"id": 0, **blank[resource], "created_at": now, "updated_at": now, "revision": 0}
        self._apply(resource, row, data, new=True)
        row["id"] = self.next_id(resource, FIRST_IDS[resource])
        if resource == "matters":
            self._number(row, data)
        return self.put(resource, row)

    def change(self, resource: str, row: Row, data: Row) -> Row:
        if resource == "activities" and row["billed"]:
            raise Problem(422, "ValidationError", "A billed activity cannot be changed")
        changed = orjson.loads(orjson.dumps(row))
        self._apply(resource, changed, data, new=False)
        if resource == "matters" and self.manual_numbering and data.get("display_number"):
            changed["display_number"] = trimmed(data["display_number"])
        if changed == row:
            return row
        changed["updated_at"] = firm.instant(self.clock())
        return self.put(resource, changed)

    def put(self, resource: str, row: Row) -> Row:
        """Store a row under a new etag."""
        row["revision"] += 1
        row["etag"] = quoted(f"{resource} {row['id']} {row['revision']}")
        for name in LABELS if resource == "contacts" else ():
            for entry in row[name]:
                entry["etag"] = row["etag"]
        table = self.tables[resource]
        before = dict.get(table, str(row["id"]))
        if before is None:
            order = self.order(resource)
            if order and order[-1] > row["id"]:
                bisect.insort(order, row["id"])
            else:
                order.append(row["id"])
            if resource == "matters":
                self._clients = None
                self.names_changed += 1
        elif any(before.get(name) != row.get(name) for name in ("name", "display_number", "client", "state", "number")):
            self._clients = None
            self.names_changed += 1
        table[str(row["id"])] = row
        self.totals.clear()
        return row

    def _apply(self, resource: str, row: Row, data: Row, *, new: bool) -> None:
        {"contacts": self._apply_contact, "matters": self._apply_matter, "activities": self._apply_activity}[resource](
            row, data, new
        )

    def _apply_contact(self, row: Row, data: Row, new: bool) -> None:
        if new or "type" in data:
            if data.get("type") not in ("Person", "Company"):
                raise Problem(422, "ValidationError", "Type is not included in the list")
            row["type"] = data["type"]
        for name in CONTACT_TEXTS:
            if name in data:
                row[name] = trimmed(data[name])
        if "date_of_birth" in data:
            row["date_of_birth"] = a_date(data["date_of_birth"], "Date of birth")
        self._apply_name(row, data)
        if "company" in data:
            row["company"] = self._company(data["company"])
        for name in LABELS:
            if name in data:
                row[name] = self._entries(name, row[name], data[name] or ())
        self._apply_custom_values("Contact", row, data.get("custom_field_values") or ())

    def _apply_name(self, row: Row, data: Row) -> None:
        """A person's name is made of the parts; given only a name, Clio guesses the parts."""
        given = trimmed(data.get("name"))
        if row["type"] == "Company":
            row["name"] = given if "name" in data else row["name"]
            if not row["name"]:
                raise Problem(422, "ValidationError", "Name can't be blank")
        else:
            if given and not {"first_name", "last_name"} & data.keys():
                *first, last = given.split()
                row["first_name"], row["last_name"] = " ".join(first) or None, last
            row["name"] = " ".join(part for part in (row["first_name"], row["last_name"]) if part)
            if not row["name"]:
                raise Problem(422, "ValidationError", "At least one of first name or last name must be provided")
        if len(row["name"]) > 255:
            raise Problem(422, "ValidationError", f"Name '{row['name']}' is too long (maximum is 255 characters)")

    def _company(self, given: Any) -> int | None:
        if given is None:
            return None
        row = dict.get(self.tables["contacts"], str(given.get("id")))
        if row is None or row["type"] != "Company":
            raise Problem(422, "ValidationError", "Company must be an existing company")
        return int(row["id"])

    def _entries(self, name: str, held: Sequence[Row], given: Sequence[Row]) -> list[Row]:
        entries = [dict(entry) for entry in held]
        flag = FLAGS.get(name)
        primary: int | None = None
        for change in given:
            if (id_ := change.get("id")) is None:
                entry: Row = {"id": self.next_id("nested", FIRST_IDS["nested"]), "name": "Other", "primary": False}
                entry |= dict.fromkeys(ENTRY_TEXTS[name])
                entries.append(entry)
            else:
                found = next((e for e in entries if e["id"] == id_), None)
                if found is None:
                    raise Problem(422, "ValidationError", f"There is no entry {id_} in {name}")
                if change.get("_destroy"):
                    entries.remove(found)
                    continue
                entry = found
            if "name" in change:
                if change["name"] not in LABELS[name]:
                    raise Problem(422, "ValidationError", f"{spoken(name)} name is not included in the list")
                entry["name"] = change["name"]
            entry |= {text: trimmed(change[text]) for text in ENTRY_TEXTS[name] if text in change}
            self._check_entry(name, entry)
            if flag and change.get(flag):
                primary = entry["id"]
        if primary is None:
            primary = next((e["id"] for e in entries if e["primary"]), entries[0]["id"] if entries else None)
        for entry in entries:
            entry["primary"] = entry["id"] == primary
            if name == "web_sites":
                entry["default_web_site"] = entry["primary"]
        return entries

    def _check_entry(self, name: str, entry: Row) -> None:
        if name == "email_addresses" and not EMAIL.fullmatch(entry["address"] or ""):
            raise Problem(422, "ValidationError", f"Email addresses address '{entry['address']}' is invalid")
        if name == "phone_numbers" and not entry["number"]:
            raise Problem(422, "ValidationError", "Phone numbers number can't be blank")
        if name == "web_sites" and not entry["address"]:
            raise Problem(422, "ValidationError", "Web sites address can't be blank")

    def _apply_custom_values(self, parent: str, row: Row, given: Sequence[Row]) -> None:
        fields = self.custom_fields(parent)
        held = {f"{fields[id_]['field_type']}-{row['id']}{id_}": id_ for id_ in row["custom_values"] if id_ in fields}
        for change in given:
            if change.get("id") is not None:
                field_id = held.get(change["id"])
            else:
                field_id = str((change.get("custom_field") or {}).get("id"))
            if field_id not in fields:
                raise Problem(422, "ValidationError", "Custom field values custom field must exist")
            value = None if change.get("_destroy") else trimmed(change.get("value"))
            if value is None:
                row["custom_values"].pop(field_id, None)
                continue
            if fields[field_id]["field_type"] == "numeric" and not re.fullmatch(r"-?\d+(\.\d+)?", value):
                raise Problem(422, "ValidationError", "Custom field values value is not a number")
            row["custom_values"][field_id] = value

    def _apply_matter(self, row: Row, data: Row, new: bool) -> None:
        if new or "client" in data:
            given = str((data.get("client") or {}).get("id"))
            if given not in self.tables["contacts"]:
                raise Problem(422, "ValidationError", "Client must exist")
            row["client"] = int(given)
        if new or "description" in data:
            row["description"] = trimmed(data.get("description"))
            if not row["description"]:
                raise Problem(422, "ValidationError", "Description can't be blank")
        for name in MATTER_TEXTS:
            if name in data:
                row[name] = trimmed(data[name])
        for name in MATTER_DATES:
            if name in data:
                row[name] = a_date(data[name], spoken(name))
        for name, table in (("practice_area", "practice_areas"), ("matter_stage", "matter_stages")):
            if name in data:
                row[name] = self._choice(table, data[name], spoken(name))
        for name in ("responsible_attorney", "originating_attorney"):
            if name in data:
                row[name] = self._choice("users", data[name], spoken(name))
        if "billable" in data:
            row["billable"] = bool(data["billable"])
        if new or "status" in data:
            status = data.get("status") or "open"
            if status not in ("open", "pending", "closed"):
                raise Problem(422, "ValidationError", "Status is not included in the list")
            row["status"] = status.capitalize()
            today = self.clock().date().isoformat()
            row[f"{'close' if status == 'closed' else status}_date"] = (
                row[f"{'close' if status == 'closed' else status}_date"] or today
            )
        self._apply_custom_values("Matter", row, data.get("custom_field_values") or ())

    def _number(self, row: Row, data: Row) -> None:
        """Clio numbers matters itself, in its own form, unless the firm numbers by hand."""
        row["number"] = self.next_id("matter numbers", 1)
        client = self.contact(row["client"])
        row["display_number"] = f"{row['number']:05d}-{client.get('last_name') or client['name']}"
        if self.manual_numbering and data.get("display_number"):
            row["display_number"] = trimmed(data["display_number"])

    def _apply_activity(self, row: Row, data: Row, new: bool) -> None:
        if new or "type" in data:
            if data.get("type") not in ("TimeEntry", "ExpenseEntry"):
                raise Problem(422, "ValidationError", "Type is not included in the list")
            row["type"] = data["type"]
        if new or "date" in data:
            row["date"] = a_date(data.get("date"), "Date")
            if row["date"] is None:
                raise Problem(422, "ValidationError", "Date can't be blank")
        if "matter" in data:
            row["matter"] = self._choice("matters", data["matter"], "Matter")
        if "user" in data:
            row["user"] = self._choice("users", data["user"], "User")
        if "activity_description" in data:
            row["activity_description"] = self._choice(
                "activity_descriptions", data["activity_description"], "Activity description"
            )
        if "expense_category" in data:
            row["expense_category"] = self._choice("expense_categories", data["expense_category"], "Expense category")
        for name in ("note", "reference"):
            if name in data:
                row[name] = trimmed(data[name])
        for name in ("non_billable", "no_charge"):
            if name in data:
                row[name] = bool(data[name])
        for name in ("quantity", "price"):
            if name in data:
                if not isinstance(data[name], int | float) or isinstance(data[name], bool) or data[name] < 0:
                    raise Problem(422, "ValidationError", f"{spoken(name)} must be a number of at least 0")
                row[name] = data[name]
        if row["price"] is None:
            row["price"] = next((user[3] for user in firm.USERS if user[0] == row["user"]), 0.0)

    def _choice(self, table: str, given: Any, label: str) -> int | None:
        id_ = given.get("id") if isinstance(given, dict) else given
        if id_ is None:
            return None
        if str(id_) not in self.tables[table]:
            raise Problem(422, "ValidationError", f"{label} must exist")
        return int(id_)

    def contact(self, id_: int) -> Row:
        row: Row = dict.get(self.tables["contacts"], str(id_)) or {}
        return row

    def remove_contact(self, row: Row) -> None:
        if any(matter["client"] == row["id"] for matter in self.tables["matters"].values()):
            raise Problem(403, "ForbiddenError", "A contact with matters cannot be deleted")
        del self.tables["contacts"][str(row["id"])]
        self.order("contacts").remove(row["id"])
        self.totals.clear()
        self.names_changed += 1

    def set_bill_state(self, bill_id: str, state: str) -> Row:
        row: Row = orjson.loads(orjson.dumps(self.row("bills", str(bill_id))))
        at = firm.instant(self.clock())
        row |= {"state": state, "balance": 0.0, "due": 0.0, "updated_at": at, "available_state_transitions": []}
        if state == "paid":
            row |= {"paid": row["total"], "paid_at": at}
        return self.put("bills", row)

    def put_bill(self, matter: Row, issued: datetime, state: str, cents: int, updated_at: str) -> Row:
        number = self.next_id("bill numbers", 1)
        total = cents / 100
        open_ = total if state in ("awaiting_payment", "awaiting_approval", "draft") else 0.0
        out = state not in ("draft", "awaiting_approval")
        row: Row = {
            "id": self.next_id("bills", FIRST_IDS["bills"]),
            "revision": 0,
            "number": str(number),
            "type": "MatterBill",
            "kind": "revenue_kind",
            "state": state,
            "subject": None,
            "memo": None,
            "purchase_order": None,
            "issued_at": issued.date().isoformat() if out else None,
            "due_at": (issued.date() + timedelta(days=30)).isoformat() if out else None,
            "paid_at": updated_at if state == "paid" else None,
            "start_at": (issued.date() - timedelta(days=30)).isoformat(),
            "end_at": issued.date().isoformat(),
            "sub_total": total,
            "total_tax": 0.0,
            "tax_sum": 0.0,
            "total": total,
            "paid": total if state == "paid" else 0.0,
            "pending": 0.0,
            "due": open_,
            "balance": open_,
            "tax_rate": 0.0,
            "secondary_tax_rate": 0.0,
            "can_update": state == "draft",
            "available_state_transitions": ["paid", "void"] if state == "awaiting_payment" else [],
            "shared": False,
            "created_at": firm.instant(issued),
            "updated_at": updated_at,
            "client": matter["client"],
            "matter_ids": [matter["id"]],
            "user": matter["responsible_attorney"] or firm.USERS[0][0],
            "currency": 1,
        }
        return self.put("bills", row)

    def seed(self, seed: int, size: int, matters: int, bills: int, activities: int) -> None:
        at = firm.instant(firm.OPENED)
        fixed = {"created_at": at, "updated_at": at}
        for id_, first, last, rate, kind in firm.USERS:
            self.tables["users"][str(id_)] = {
                "id": id_,
                "etag": quoted(f"user {id_}"),
                "name": f"{first} {last}",
                "first_name": first,
                "last_name": last,
                "email": f"{first}.{last}@firm.example.com".lower(),
                "enabled": True,
                "account_owner": id_ == firm.USERS[0][0],
                "rate": rate,
                "roles": [],
                "subscription_type": kind,
                "time_zone": "America/Los_Angeles",
                "initials": first[0] + last[0],
                "phone_number": None,
                "revision": 0,
                "account": 9001,
                **fixed,
            }
        listed: tuple[tuple[str, list[tuple[int, Row]]], ...] = (
            ("accounts", [(9001, {"name": "Whitfield & Castell LLP", "state": "active"})]),
            ("currencies", [(1, {"code": "USD", "sign": "$"})]),
            (
                "practice_areas",
                [(id_, {"name": name, "category": kind, "code": None}) for id_, name, kind in firm.AREAS],
            ),
            ("matter_stages", [(id_, {"name": name, "order": n}) for n, (id_, name) in enumerate(firm.STAGES)]),
            ("expense_categories", [(id_, {"name": name, "rate": None}) for id_, name in firm.EXPENSES]),
            ("activity_descriptions", [(id_, {"name": name, "type": "User"}) for id_, name in firm.DESCRIPTIONS]),
        )
        for table, rows in listed:
            for id_, named in rows:
                self.tables[table][str(id_)] = {"id": id_, "etag": quoted(f"{table} {id_}"), **named, **fixed}
        first_contact, first_matter = FIRST_IDS["contacts"], FIRST_IDS["matters"]
        for row in firm.contacts(seed, size):
            row |= {name: self._entries(name, (), row[name]) for name in LABELS}
            row |= {"id": self.next_id("contacts", first_contact), "revision": 0}
            row["company"] = None if row["company"] is None else first_contact + row["company"]
            name = {"name": row["name"]} if row["type"] == "Company" else {"last_name": row["last_name"]}
            self._apply_name(row, name)
            self.put("contacts", row)
        for row in firm.matters(seed, matters, size):
            row |= {"id": self.next_id("matters", first_matter), "revision": 0, "custom_number": None}
            row["client"] += first_contact
            self._number(row, {})
            self.put("matters", row)
        for bill in firm.bills(seed, bills, matters):
            matter = self.row("matters", str(first_matter + bill["matter"]))
            self.put_bill(matter, bill["issued"], bill["state"], bill["cents"], firm.instant(bill["issued"]))
        for row in firm.time_entries(seed, activities, matters):
            row |= {
                "reference": None,
                "expense_category": None,
                "no_charge": False,
                "flat_rate": False,
                "billed": False,
                "on_bill": False,
            }
            row |= {"type": "TimeEntry", "bill": None, "quantity_redacted": False, "revision": 0}
            row["id"] = self.next_id("activities", FIRST_IDS["activities"])
            row["matter"] += first_matter
            self.put("activities", row)


def trimmed(value: Any) -> str | None:
    """Text without outer white space; an empty one is null."""
    return None if value is None else str(value).strip() or None


def spoken(name: str) -> str:
    return name.replace("_", " ").capitalize()


def a_date(value: Any, label: str) -> str | None:
    if value in (None, ""):
        return None
    try:
        return date.fromisoformat(str(value)).isoformat()
    except ValueError:
        raise Problem(422, "ValidationError", f"{label} is not a date") from None


def parsed(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a time without a zone")
    return at


def quoted(text: str) -> str:
    return f'"{hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()}"'

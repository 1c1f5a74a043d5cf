"""Clio Manage simulated: a real HTTP server on loopback with a made-up firm.

Paths, field selection, paging, etags, rate-limit headers, nested lists and error bodies follow the vendor's
description and pages; README.md lists what is guessed (error types and texts, what an empty text becomes). Only
the resources that the connector uses are here. `edit_*` methods are the firm's own people at work in Clio.

    python -m connectors.clio.sandbox --port 9101 --state clio.jsonl --seed 1 --size 300
"""

from __future__ import annotations

import base64
import bisect
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson

from connectors.clio import firm
from connectors.clio.books import Books, Problem, parsed, quoted
from connectors.sandbox import Request, Response, Row, Sandbox, main, utc_now

VERSIONS = tuple(f"4.0.{n}" for n in range(4, 14))
PAGE_MAX = 200
OFFSET_MAX = 10_000
RENDERED_MAX = 20_000
PLURALS = ("contacts", "matters", "bills", "activities", "users", "custom_fields")
READ_ONLY = ("bills", "users", "custom_fields")
# Every plain property that the description names, so that asking for one is never "unknown" here.
PLAIN: Mapping[str, frozenset[str]] = {
    "contacts": frozenset(
        "id etag name first_name middle_name last_name date_of_birth type created_at updated_at prefix title initials "
        "clio_connect_email locked_clio_connect_email client_connect_user_id primary_email_address "
        "secondary_email_address primary_phone_number secondary_phone_number ledes_client_id "
        "has_clio_for_clients_permission is_client is_clio_for_client_user is_co_counsel is_bill_recipient "
        "sales_tax_number currency".split()
    ),
    "matters": frozenset(
        "id etag number display_number custom_number currency description status location client_reference client_id "
        "billable maildrop_address billing_method open_date close_date pending_date created_at updated_at shared "
        "has_tasks last_activity_date matter_stage_updated_at".split()
    ),
    "bills": frozenset(
        "id etag number issued_at created_at due_at tax_rate secondary_tax_rate updated_at subject purchase_order type "
        "memo start_at end_at balance state kind total paid paid_at pending due discount_services_only can_update "
        "credits_issued shared last_sent_at services_secondary_tax services_sub_total services_tax "
        "services_taxable_sub_total services_secondary_taxable_sub_total taxable_sub_total secondary_taxable_sub_total "
        "sub_total tax_sum secondary_tax_sum total_tax available_state_transitions".split()
    ),
    "activities": frozenset(
        "id etag type date quantity_in_hours rounded_quantity_in_hours quantity rounded_quantity quantity_redacted "
        "price note flat_rate billed on_bill total contingency_fee created_at updated_at reference non_billable "
        "non_billable_total no_charge tax_setting".split()
    ),
    "users": frozenset(
        "account_owner created_at email enabled etag first_name id initials last_name name phone_number rate roles "
        "subscription_type time_zone updated_at".split()
    ),
    "custom_fields": frozenset(
        "id etag created_at updated_at name parent_type field_type displayed deleted required display_order".split()
    ),
}
NAMED = frozenset(("id", "etag", "name", "created_at", "updated_at"))
ENTRY = frozenset(("id", "etag", "created_at", "updated_at"))
NESTED: Mapping[str, Mapping[str, frozenset[str]]] = {
    "contacts": {
        "company": PLAIN["contacts"],
        "email_addresses": ENTRY | {"address", "name", "primary"},
        "phone_numbers": ENTRY | {"number", "name", "primary"},
        "web_sites": ENTRY | {"address", "name", "default_web_site"},
        "addresses": ENTRY | {"street", "city", "province", "postal_code", "country", "name", "primary"},
        "custom_field_values": ENTRY | {"field_name", "field_type", "value", "soft_deleted", "custom_field"},
    },
    "matters": {
        "client": PLAIN["contacts"],
        "practice_area": NAMED | {"category", "code"},
        "matter_stage": NAMED | {"order", "practice_area_id"},
        "responsible_attorney": PLAIN["users"],
        "originating_attorney": PLAIN["users"],
        "user": PLAIN["users"],
        "custom_field_values": ENTRY | {"field_name", "field_type", "value", "soft_deleted", "custom_field"},
    },
    "bills": {
        "client": PLAIN["contacts"],
        "matters": PLAIN["matters"],
        "user": PLAIN["users"],
        "currency": ENTRY | {"code", "sign"},
    },
    "activities": {
        "matter": PLAIN["matters"],
        "user": PLAIN["users"],
        "activity_description": NAMED | {"type", "default"},
        "expense_category": NAMED | {"rate", "entry_type"},
        "bill": PLAIN["bills"],
    },
    "users": {"account": NAMED | {"state"}},
    "custom_fields": {"picklist_options": ENTRY | {"option", "deleted_at"}},
}
# A second nested level comes with these whatever is asked for.
DEFAULTS = ("id", "etag")
Selection = tuple[tuple[str, tuple[str, ...] | None], ...]


class ClioSandbox(Sandbox):
    """One firm.

    size                how many contacts; matters, bills and activities follow from it unless given
    page_max            records per page at most, however many are asked for: some endpoints give less than 200
    per_minute          requests per token and minute before 429; None never refuses
    manual_numbering    whether display_number can be written, as a firm may choose
    token_life_s        life of the tokens that /oauth/token gives
    forbidden           resources that the app has no permission for (403)
    access_token        one that works from the start and does not end
    """

    name = "clio"
    client_id, client_secret = "sandbox-app", "sandbox-secret"
    refresh_token, access_token = "sandbox-refresh", "sandbox-access"

    def __init__(
        self,
        *,
        port: int = 0,
        state: Path | None = None,
        seed: int = 1,
        size: int = 300,
        matters: int | None = None,
        bills: int | None = None,
        activities: int | None = None,
        page_max: int = PAGE_MAX,
        per_minute: int | None = None,
        manual_numbering: bool = False,
        token_life_s: int = 2_592_000,
        clock: Callable[[], datetime] = utc_now,
        observe: Callable[[Request, Response], None] | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        super().__init__(port=port, state=state, clock=clock, observe=observe, host=host)
        self.page_max = page_max
        self.per_minute = per_minute
        self.token_life_s = token_life_s
        self.forbidden: set[str] = set()
        self._window = (0, 0)
        self._rendered: dict[tuple[str, Selection], dict[int, tuple[str, bytes]]] = {}
        self.books = Books(self.tables, self.next_id, clock, manual_numbering)
        if not self.tables:
            matters = size // 2 if matters is None else matters
            bills = matters // 2 if bills is None else bills
            activities = matters * 2 if activities is None else activities
            self.tables["tokens"][self.access_token] = {"ends_at": 32_503_680_000}
            self.books.seed(seed, size, matters if size else 0, bills if matters else 0, activities if matters else 0)
        if not self.tables["custom_fields"]:
            for field in firm.CUSTOM_FIELDS:
                self.books.add_custom_field(*field)

    # The API -------------------------------------------------------------------------------------------------------

    def respond(self, request: Request) -> Response:
        if request.path == "/oauth/token" and request.method == "POST":
            return self._token(request)
        limits = self._limits()
        try:
            version = request.headers.get("X-API-VERSION", "4.0.9")
            answer = self._api(request, version)
            answer.headers["X-API-VERSION"] = version
        except Problem as problem:
            answer = Response(problem.status, {"error": {"type": problem.kind, "message": str(problem)}})
            if problem.status == 429:
                answer.headers["Retry-After"] = str(int(limits["X-RateLimit-Reset"]) - int(self.clock().timestamp()))
        answer.headers |= limits
        if answer.status not in (204, 304):
            answer.headers["Content-Type"] = "application/json; charset=utf-8"
        return answer

    def _api(self, request: Request, version: str) -> Response:
        if not request.path.startswith("/api/v4/"):
            raise Problem(404, "RecordNotFound", "Not found")
        self._signed_in(request)
        if self.per_minute is not None and self._window[1] > self.per_minute:
            raise Problem(429, "RateLimited", "Rate limit exceeded")
        if version not in VERSIONS:
            raise Problem(410, "ApiVersionGone", "This API version is not supported")
        resource, _, id_ = request.path.removeprefix("/api/v4/").removesuffix(".json").partition("/")
        if resource in self.forbidden:
            raise Problem(403, "ForbiddenError", "User is forbidden from taking that action")
        if (resource, id_) == ("users", "who_am_i") and request.method == "GET":
            return self._single("users", str(firm.USERS[0][0]), request)
        if resource not in PLURALS or (id_ and not id_.isdecimal()):
            raise Problem(404, "RecordNotFound", "Not found")
        if request.method == "GET":
            return self._single(resource, id_, request) if id_ else self._list(resource, request)
        if request.method == "POST" and not id_ and resource not in READ_ONLY:
            selection = selected(resource, request.first("fields"))
            made = self.books.make(resource, body_data(request))
            self.wrote(f"created {resource}/{made['id']}")
            return Response(201, b'{"data":' + self._shown(resource, made, selection) + b"}", {"ETag": made["etag"]})
        if request.method == "PATCH" and id_ and resource not in READ_ONLY:
            selection = selected(resource, request.first("fields"))
            row = self.books.row(resource, id_)
            wanted = request.headers.get("If-Match")
            if wanted is not None and row["etag"] not in [part.strip() for part in wanted.split(",")]:
                raise Problem(412, "PreconditionFailed", "The record has been changed since it was read")
            changed = self.books.change(resource, row, body_data(request))
            self.wrote(f"updated {resource}/{id_}")
            return Response(
                200, b'{"data":' + self._shown(resource, changed, selection) + b"}", {"ETag": changed["etag"]}
            )
        if request.method == "DELETE" and id_ and resource == "contacts":
            self.books.remove_contact(self.books.row(resource, id_))
            self.wrote(f"deleted {resource}/{id_}")
            return Response(204)
        raise Problem(404, "RecordNotFound", "Not found")

    def _token(self, request: Request) -> Response:
        """Refresh tokens do not end, are not rotated, and the answer holds no new one."""
        form = request.form()
        if (form.get("client_id"), form.get("client_secret")) != (self.client_id, self.client_secret):
            return Response(401, {"error": "invalid_client", "error_description": "Client authentication failed"})
        if form.get("grant_type") != "refresh_token":
            return Response(400, {"error": "unsupported_grant_type", "error_description": "Only refresh_token here"})
        if form.get("refresh_token") != self.refresh_token or "revoked" in self.tables["tokens"]:
            return Response(400, {"error": "invalid_grant", "error_description": "The grant is invalid or revoked"})
        token = f"{self.access_token}-{self.next_id('tokens')}"
        self.tables["tokens"][token] = {"ends_at": self.clock().timestamp() + self.token_life_s}
        return Response(200, {"token_type": "bearer", "access_token": token, "expires_in": self.token_life_s})

    def _signed_in(self, request: Request) -> None:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        known = self.tables["tokens"].get(token)
        if kind.lower() != "bearer" or known is None or known["ends_at"] <= self.clock().timestamp():
            raise Problem(401, "UnauthorizedError", "You do not have access to this resource")

    def _limits(self) -> dict[str, str]:
        """Counts this request. The window is the vendor's clock minute."""
        now = int(self.clock().timestamp())
        minute, used = self._window
        self._window = (now // 60, used + 1 if minute == now // 60 else 1)
        limit = 100_000 if self.per_minute is None else self.per_minute
        return {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(max(0, limit - self._window[1])),
            "X-RateLimit-Reset": str((now // 60 + 1) * 60),
        }

    def _single(self, resource: str, id_: str, request: Request) -> Response:
        selection = selected(resource, request.first("fields"))
        row = self.books.row(resource, id_)
        changed_at = parsed(row["updated_at"])
        headers = {"ETag": row["etag"], "Last-Modified": format_datetime(changed_at, usegmt=True)}
        if (known := request.headers.get("If-None-Match")) is not None:
            if row["etag"] in [part.strip() for part in known.split(",")]:
                return Response(304, b"", headers)
        elif (since := request.headers.get("If-Modified-Since")) and changed_at <= parsedate_to_datetime(since):
            return Response(304, b"", headers)
        return Response(200, b'{"data":' + self._shown(resource, row, selection) + b"}", headers)

    # Lists ---------------------------------------------------------------------------------------------------------

    def _list(self, resource: str, request: Request) -> Response:
        """`order=id(asc)` without offset is followed by page tokens, without end; any other order by offsets."""
        selection = selected(resource, request.first("fields"))
        limit = whole(request, "limit", PAGE_MAX)
        if not 1 <= limit <= PAGE_MAX:
            raise Problem(400, "ArgumentError", f"limit must be between 1 and {PAGE_MAX}")
        limit = min(limit, self.page_max)
        order, offset = request.first("order", "id(asc)"), whole(request, "offset", 0)
        keeps = self._filter(resource, request)
        if order == "id(asc)" and "offset" not in request.query:
            after = page_after(request.first("page_token"))
            rows, more = self._after(resource, self._candidates(resource, request), after, limit, keeps)
            following = [("page_token", page_token(int(rows[-1]["id"])))] if more else []
        else:
            ordered = self._ordered(resource, self._candidates(resource, request), str(order), keeps)
            rows, more = ordered[offset : offset + limit], len(ordered) > offset + limit
            if more and offset + limit >= OFFSET_MAX:
                raise Problem(400, "ArgumentError", f"offset cannot go beyond {OFFSET_MAX} records")
            following = [("offset", str(offset + limit))] if more else []
        paging = {}
        if following:
            again = [(n, v) for n, values in request.query.items() for v in values if n not in ("page_token", "offset")]
            paging["next"] = f"{self.url}{request.raw_path}?{urlencode([*again, *following])}"
        meta = {"paging": paging, "records": self._total(resource, request, keeps)}
        body = b",".join([self._shown(resource, row, selection) for row in rows])
        return Response(200, b'{"data":[' + body + b'],"meta":' + orjson.dumps(meta) + b"}")

    def _filter(self, resource: str, request: Request) -> list[Callable[[Row], bool]]:
        keeps: list[Callable[[Row], bool]] = []
        for name, at in (("updated_since", "updated_at"), ("created_since", "created_at")):
            if given := request.first(name):
                try:
                    keeps.append(later(at, firm.instant(parsed(given))))
                except ValueError:
                    raise Problem(400, "ArgumentError", f"{name} is not a time") from None
        if kind := request.first("type"):
            allowed = {"contacts": ("Person", "Company"), "activities": ("TimeEntry", "ExpenseEntry")}.get(resource, ())
            if kind not in allowed:
                raise Problem(400, "ArgumentError", "type is not one of its values")
            keeps.append(lambda row: row["type"] == kind)
        if statuses := request.first("status"):
            keeps.append(lambda row: str(row.get("status", "")).lower() in statuses.split(","))
        if parent := request.first("parent_type"):
            keeps.append(lambda row: str(row["parent_type"]).lower() == parent)
        if deleted := request.first("deleted"):
            keeps.append(lambda row: row["deleted"] is (deleted == "true"))
        if state := request.first("state"):
            keeps.append(lambda row: row.get("state") == state)
        wanted = {name: request.first(name) for name in ("client_id", "matter_id", "user_id") if name in request.query}
        if wanted:
            keeps.append(lambda row: all(id_ in related(row, name) for name, id_ in wanted.items()))
        if start := request.first("start_date"):
            keeps.append(lambda row: row["date"] >= start[:10])
        if end := request.first("end_date"):
            keeps.append(lambda row: row["date"] <= end[:10])
        if query := (request.first("query") or "").strip().casefold():
            keeps.append(lambda row: query in self._searched(resource, row))
        return keeps

    def _searched(self, resource: str, row: Row) -> str:
        if resource == "contacts":
            lists = [e for name in ("email_addresses", "phone_numbers", "web_sites", "addresses") for e in row[name]]
            texts = [
                row["name"],
                row.get("title"),
                *(v for e in lists for v in e.values()),
                *row["custom_values"].values(),
            ]
        elif resource == "matters":
            client = self.books.contact(row["client"]).get("name")
            texts = [row["display_number"], row["number"], row["description"], client]
        else:
            texts = [row.get("note"), row.get("number")]
        return "\n".join(str(text) for text in texts if text is not None).casefold()

    def _candidates(self, resource: str, request: Request) -> list[int]:
        """Ids in order: those asked for by ids[], or all."""
        if "ids[]" not in request.query:
            return self.books.order(resource)
        table = self.tables[resource]
        return sorted(int(id_) for id_ in set(request.query["ids[]"]) if id_ in table)

    def _after(
        self,
        resource: str,
        order: Sequence[int],
        after: int,
        limit: int,
        keeps: Sequence[Callable[[Row], bool]],
    ) -> tuple[list[Row], bool]:
        table = self.tables[resource]
        rows: list[Row] = []
        for at in range(bisect.bisect_right(order, after), len(order)):
            row = dict.__getitem__(table, str(order[at]))
            if all(keep(row) for keep in keeps):
                if len(rows) == limit:
                    return rows, True
                rows.append(row)
        return rows, False

    def _ordered(
        self, resource: str, candidates: Sequence[int], order: str, keeps: Sequence[Callable[[Row], bool]]
    ) -> list[Row]:
        match = re.fullmatch(r"([a-z_]+)\((asc|desc)\)", order)
        if match is None or match[1] not in {
            "id",
            "name",
            "updated_at",
            "created_at",
            "display_number",
            "number",
            "date",
        }:
            raise Problem(400, "ArgumentError", "order is not one of its values")
        table = self.tables[resource]
        every = (dict.__getitem__(table, str(id_)) for id_ in candidates)
        rows = [row for row in every if all(keep(row) for keep in keeps)]
        if rows and match[1] not in rows[0]:
            raise Problem(400, "ArgumentError", "order is not one of its values")
        return sorted(rows, key=lambda row: (row[match[1]], row["id"]), reverse=match[2] == "desc")

    def _total(self, resource: str, request: Request, keeps: Sequence[Callable[[Row], bool]]) -> int:
        """Counted once per filter until something is written: a long listing must not count itself at every page."""
        candidates = self._candidates(resource, request)
        if not keeps:
            return len(candidates)
        key = (
            resource,
            *sorted((n, *v) for n, v in request.query.items() if n not in ("page_token", "offset", "fields")),
        )
        if key not in self.books.totals:
            if len(self.books.totals) > 1000:
                self.books.totals.clear()
            table = self.tables[resource]
            rows = (dict.__getitem__(table, str(id_)) for id_ in candidates)
            self.books.totals[key] = sum(all(keep(row) for keep in keeps) for row in rows)
        return self.books.totals[key]

    # Rows as JSON --------------------------------------------------------------------------------------------------

    def _shown(self, resource: str, row: Row, selection: Selection) -> bytes:
        """A row with the chosen fields; kept until the row, or a name that it may show, changes."""
        kept = self._rendered.setdefault((resource, selection), {})
        stamp = f"{row['etag']} {self.books.names_changed}"
        known = kept.get(row["id"])
        if known is not None and known[0] == stamp:
            return known[1]
        if len(kept) >= RENDERED_MAX:
            kept.clear()
        chosen = {name: self._value(resource, row, name, inner) for name, inner in selection}
        kept[row["id"]] = (stamp, made := orjson.dumps(chosen))
        return made

    def _value(self, resource: str, row: Row, name: str, inner: tuple[str, ...] | None) -> Any:
        if name not in NESTED.get(resource, {}):
            return self._plain(resource, row, name)
        inner = inner or DEFAULTS
        if name == "custom_field_values":
            return [{field: value.get(field) for field in inner} for value in self._custom_values(resource, row)]
        if name == "matters":
            return [self._reference("matters", id_, inner) for id_ in row["matter_ids"]]
        if isinstance(entries := row.get(name), list):
            return [{field: entry.get(field) for field in inner} for entry in entries]
        table = {
            "client": "contacts",
            "company": "contacts",
            "matter": "matters",
            "bill": "bills",
            "responsible_attorney": "users",
            "originating_attorney": "users",
            "user": "users",
            "account": "accounts",
            "currency": "currencies",
            "expense_category": "expense_categories",
        }.get(name, name + "s")
        return self._reference(table, row.get(name), inner)

    def _reference(self, table: str, id_: int | None, inner: Sequence[str]) -> Row | None:
        row = None if id_ is None else dict.get(self.tables[table], str(id_))
        return None if row is None else {field: self._plain(table, row, field) for field in inner}

    def _plain(self, resource: str, row: Row, name: str) -> Any:
        if resource == "contacts":
            if name == "is_client":
                return row["id"] in self.books.clients()
            if name in ("primary_email_address", "primary_phone_number"):
                which, text = ("email_addresses", "address") if "email" in name else ("phone_numbers", "number")
                return next((entry[text] for entry in row[which] if entry["primary"]), None)
            if name == "initials":
                return "".join(word[0] for word in str(row["name"]).split() if word[0].isalpha())[:3]
        if resource == "matters" and name == "client_id":
            return row["client"]
        if resource == "activities" and row["type"] == "ExpenseEntry":
            if name in ("quantity_in_hours", "rounded_quantity_in_hours"):
                return 0.0
            if name == "total":
                return 0.0 if row["non_billable"] else round(row["price"] * row["quantity"], 2)
        elif resource == "activities":
            hours = round(row["quantity"] / 3600, 2)
            if name in ("quantity_in_hours", "rounded_quantity_in_hours"):
                return hours if name == "quantity_in_hours" else math.ceil(row["quantity"] / 360) / 10
            if name == "total":
                return 0.0 if row["non_billable"] else round(row["price"] * row["quantity"] / 3600, 2)
        return row.get(name)

    def _custom_values(self, resource: str, row: Row) -> Iterator[Row]:
        """Values held, and fields shown by default without one: those come with a null id."""
        parent = "Contact" if resource == "contacts" else "Matter"
        for field in self.books.custom_fields(parent).values():
            id_, kind = field["id"], field["field_type"]
            value = row["custom_values"].get(str(id_))
            if value is not None or field["displayed"]:
                yield {
                    "id": None if value is None else f"{kind}-{row['id']}{id_}",
                    "etag": row["etag"],
                    "field_name": field["name"],
                    "field_type": kind,
                    "value": value,
                    "soft_deleted": False,
                    "created_at": row["created_at"],
                    "updated_at": row["updated_at"],
                    "custom_field": {"id": id_, "etag": quoted(f"custom_field {id_}")},
                }

    # What the firm's people do -------------------------------------------------------------------------------------

    def edit_contact(self, id: str, changes: Row) -> Row:
        """`changes` as in a PATCH; `email` and `phone` are shorthand for changing the primary one."""
        row = self.books.row("contacts", str(id))
        changes = dict(changes)
        for short, name, text, flag in (
            ("email", "email_addresses", "address", "default_email"),
            ("phone", "phone_numbers", "number", "default_number"),
        ):
            if short in changes:
                value = changes.pop(short)
                held = next((entry for entry in row[name] if entry["primary"]), None)
                if value is None:
                    changes[name] = [{"id": held["id"], "_destroy": True}] if held else []
                elif held:
                    changes[name] = [{"id": held["id"], text: value}]
                else:
                    changes[name] = [{"name": "Work", text: value, flag: True}]
        return self._edited("contacts", row, changes)

    def edit_new_contact(self, fields: Row) -> Row:
        """`fields` as in a POST, with `email` and `phone` as shorthand."""
        fields = dict(fields)
        if email := fields.pop("email", None):
            fields["email_addresses"] = [{"name": "Work", "address": email}]
        if phone := fields.pop("phone", None):
            fields["phone_numbers"] = [{"name": "Work", "number": phone}]
        return self._edited("contacts", None, fields)

    def edit_delete_contact(self, id: str) -> None:
        with self.lock:
            try:
                self.books.remove_contact(self.books.row("contacts", str(id)))
            except Problem as problem:
                raise ValueError(str(problem)) from problem

    def edit_matter(self, id: str, changes: Row) -> Row:
        return self._edited("matters", self.books.row("matters", str(id)), changes)

    def edit_new_matter(self, fields: Row) -> Row:
        return self._edited("matters", None, fields)

    def edit_time_entry(self, id: str, changes: Row) -> Row:
        return self._edited("activities", self.books.row("activities", str(id)), changes)

    def edit_new_time_entry(self, fields: Row) -> Row:
        return self._edited("activities", None, {"type": "TimeEntry", **fields})

    def edit_new_expense(self, fields: Row) -> Row:
        """`fields` as in a POST: date, matter, quantity (units), price (of one), note, expense_category."""
        return self._edited("activities", None, {"type": "ExpenseEntry", "quantity": 1, **fields})

    def edit_user(self, id: str, changes: Row) -> Row:
        """Users are managed in Clio's own settings; its API only reads them."""
        with self.lock:
            row = {**self.books.row("users", str(id)), **changes, "updated_at": firm.instant(self.clock())}
            return self.books.put("users", row)

    def edit_issue_bill(self, matter_id: str, total: float | str) -> Row:
        """A new bill over one matter, awaiting payment, due in 30 days."""
        with self.lock:
            matter = self.books.row("matters", str(matter_id))
            now = self.clock()
            return self.books.put_bill(matter, now, "awaiting_payment", round(float(total) * 100), firm.instant(now))

    def edit_void_bill(self, bill_id: str) -> Row:
        return self.books.set_bill_state(bill_id, "void")

    def edit_pay_bill(self, bill_id: str) -> Row:
        return self.books.set_bill_state(bill_id, "paid")

    def edit_new_custom_field(
        self, id: int, parent: str, kind: str, name: str, *, displayed: bool = False, options: Sequence[str] = ()
    ) -> None:
        """The administrator makes a custom field for Contact or Matter."""
        with self.lock:
            self.books.add_custom_field(id, parent, kind, name, displayed, options)

    def edit_custom_field(self, id: int, changes: Row) -> None:
        """The administrator renames a custom field, or deletes it ({"deleted": True}): its values show nowhere then."""
        with self.lock:
            self.books.change_custom_field(id, changes)

    def edit_revoke_access(self) -> None:
        """The firm takes the app's authorization back: no token works any more."""
        with self.lock:
            self.tables["tokens"].clear()
            self.tables["tokens"]["revoked"] = {"ends_at": 0}

    def edit_expire_tokens(self) -> None:
        """Every access token ends; the refresh token still works."""
        with self.lock:
            self.tables["tokens"].clear()

    def _edited(self, resource: str, row: Row | None, changes: Row) -> Row:
        with self.lock:
            try:
                books = self.books
                row = books.make(resource, changes) if row is None else books.change(resource, row, changes)
            except Problem as problem:
                raise ValueError(str(problem)) from problem
            copied: Row = orjson.loads(orjson.dumps(row))
            return copied


# Plain functions -------------------------------------------------------------------------------------------------


def selected(resource: str, fields: str | None) -> Selection:
    """`fields` as (name, inner names or None); without it id and etag. An unknown or too deep name is a 400."""
    if not fields:
        return tuple((name, None) for name in DEFAULTS)
    if fields in SELECTED.get(resource, {}):
        return SELECTED[resource][fields]
    chosen: list[tuple[str, tuple[str, ...] | None]] = []
    nested = NESTED.get(resource, {})
    at = 0
    for match in re.finditer(r"([a-z_]+)(?:\{([^{}]*)\})?(?:,|$)", fields):
        if match.start() != at:
            break
        at = match.end()
        name, inner = match[1], match[2]
        if name not in PLAIN[resource] and name not in nested:
            raise Problem(400, "ArgumentError", f"{name} is not a valid field")
        if inner is None:
            chosen.append((name, None))
            continue
        inside = tuple(inner.split(","))
        if bad := [part for part in inside if part not in nested.get(name, ())]:
            raise Problem(400, "ArgumentError", f"{bad[0]} is not a valid field of {name}")
        chosen.append((name, inside))
    if at != len(fields):
        raise Problem(400, "ArgumentError", "fields is malformed, or nested more than one level deep")
    SELECTED.setdefault(resource, {})[fields] = tuple(chosen)
    return tuple(chosen)


SELECTED: dict[str, dict[str, Selection]] = {}


def later(at: str, since: str) -> Callable[[Row], bool]:
    """Strictly later, as the description says "after". All times are whole seconds in one form, so text compares."""
    return lambda row: row[at] > since


def related(row: Row, filter_name: str) -> tuple[str, ...]:
    """The ids that a filter such as matter_id compares with; a bill has several matters."""
    if filter_name == "matter_id" and "matter_ids" in row:
        return tuple(map(str, row["matter_ids"]))
    return (str(row.get(filter_name.removesuffix("_id"))),)


def body_data(request: Request) -> Row:
    try:
        body = request.json()
    except ValueError:
        raise Problem(400, "ArgumentError", "The body is not JSON") from None
    data = body.get("data") if isinstance(body, dict) else None
    if not isinstance(data, dict):
        raise Problem(400, "ArgumentError", "data is missing")
    return data


def whole(request: Request, name: str, default: int) -> int:
    given = request.first(name)
    if given is not None and not given.isdecimal():
        raise Problem(400, "ArgumentError", f"{name} is not a number")
    return default if given is None else int(given)


def page_token(after: int) -> str:
    return base64.urlsafe_b64encode(f"after:{after}".encode()).decode()


def page_after(token: str | None) -> int:
    if token is None:
        return 0
    try:
        kind, _, after = base64.urlsafe_b64decode(token).decode().partition(":")
        if kind == "after":
            return int(after)
    except ValueError:
        pass
    raise Problem(400, "ArgumentError", "page_token is not valid")


if __name__ == "__main__":
    main(ClioSandbox)

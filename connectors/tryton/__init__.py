"""Tryton 8.2, a real ERP: parties, project works as matters, timesheet lines, customer invoices, opportunities.

Speaks Tryton's REST interface, as read in trytond 8.2 (`protocols/rest.py`) and run against a real server. This file
knows what to ask and in which order, `answers.py` the interface's forms and errors, `payloads.py` the shapes,
`places.py` the cursor. What matters most:

- The interface has no write guard: `_timestamp`, Tryton's own one, is heeded by JSON-RPC alone. So every update reads
  the record first and compares, which leaves a gap of one request.
- Addresses and contact mechanisms can be edited without their party's `write_date` moving: they are streams of
  their own. Deleted rows leave no trace at all: counts per range of parties find them.
- A row carries the time when its transaction began, and shows when that ended: every pull reaches back `OVERLAP`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from hashlib import blake2s
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import quote, urlsplit

import orjson

from connectors.contract import (
    JSON,
    Access,
    Account,
    Checked,
    Create,
    Cursor,
    Delete,
    Facts,
    Finding,
    Page,
    Record,
    Resource,
    Setting,
    Spec,
    Update,
    Version,
)
from connectors.errors import Misconfigured, Refused, ShapeChanged, Stale, UnknownOutcome
from connectors.tryton.answers import (
    ADDRESS_REMEDY,
    BY_ID,
    KEY_REMEDY,
    headers,
    listed,
    search,
    server_time,
    trouble,
)
from connectors.tryton.payloads import COLLECTIONS, KINDS, Collection, instant, kind_of, live, outgoing, plain, value_of
from connectors.tryton.places import RANGES, Mark, Place, Tally

if TYPE_CHECKING:
    from connectors.http import VendorHTTP

PAGE_MAX = 200
IDS_MAX = 1000

# Longer than any request lives (trytond ends them after 60 s unless configured otherwise), and than clocks differ.
OVERLAP = timedelta(minutes=5)

# Which button of sale.opportunity leads to a state; `converted` would make a sale, and `won` follows from one.
BUTTONS = {"lead": "lead", "opportunity": "opportunity", "lost": "lost", "cancelled": "cancel"}

SPEC = Spec(
    name="tryton",
    title="Tryton",
    docs="https://docs.tryton.org/",
    zone="accounting",
    hosts=(),
    settings=(
        Setting("base_url", "the server's address, such as https://erp.example.com:8000"),
        Setting("database", "the database's name, as in the client's login window"),
        Setting("key", "the key of a validated user application named REST API", secret=True),
        Setting("company", "the company's id, if the key's user belongs to several", required=False),
    ),
    resources=(
        Resource("parties"),
        Resource("works"),
        Resource("time_entries"),
        Resource("invoices", writable=False, creatable=False),
        Resource("opportunities"),
    ),
    facts=Facts(
        write_guard="none",
        repeat_guard="none",
        deletions="listing",
        fetch_max=PAGE_MAX,
        page_max=PAGE_MAX,
        time_resolution_s=0.000001,
    ),
)


class Tryton:
    """One database of one server, seen with the rights of the key's user."""

    spec: ClassVar[Spec] = SPEC

    def __init__(self, http: VendorHTTP, settings: Mapping[str, str]) -> None:
        self.http = http
        self.settings = settings
        self._company_id: int | None = None
        self._found: dict[tuple[str, str], int] = {}

    @staticmethod
    def access(settings: Mapping[str, str]) -> Access:
        for name in ("base_url", "database"):
            if not settings.get(name):
                raise Misconfigured(f"The setting {name} is empty.", remedy=ADDRESS_REMEDY)
        return Access(settings["base_url"].rstrip("/"), scheme="bearer", secret="key")  # noqa: S106  (a setting's name)

    # --- is it all right? ---------------------------------------------------------------------------------------------

    def check(self) -> Checked:
        """Signs in, then compares modules and rights with what the resources need. Reads only."""
        try:
            preferences = self._preferences()
            company = self._company(preferences)
        except ShapeChanged as error:
            raise Misconfigured("The server does not answer like Tryton.", remedy=ADDRESS_REMEDY) from error
        models = [collection.model for collection in COLLECTIONS.values()]
        known = {row["name"] for row in self._search("ir.model", [["name", "in", models]], ["name"], 100)}
        rights = self._act("ir.model.access/get_access", {"models": sorted(known)})
        findings = []
        for name, collection in COLLECTIONS.items():
            if collection.model not in known:
                remedy = f"Activate the module {collection.module}, or leave {name} out of the mapping."
                findings.append(Finding("error", f"{name}: Tryton has no {collection.model}.", remedy))
                continue
            needed = ("read", "write", "create") if SPEC.resource(name).writable else ("read",)
            if lacking := [right for right in needed if not rights[collection.model][right]]:
                level: Literal["error", "warning"] = "error" if "read" in lacking else "warning"
                findings.append(Finding(level, f"{name}: the key's user may not {', '.join(lacking)}.", KEY_REMEDY))
        findings += self._check_lists()
        account = f"{urlsplit(self.settings['base_url']).netloc}/{self.settings['database']}/{company}"
        return Checked(Account(account, str(preferences.get("company.rec_name") or account)), tuple(findings))

    def _check_lists(self) -> Iterator[Finding]:
        if not self._search("country.country", [], [], 1):
            remedy = "Run trytond_import_countries; until then addresses with a country are refused."
            yield Finding("warning", "parties: Tryton's list of countries is empty.", remedy)
        for kind in KINDS:
            if self._category(kind) is None:
                remedy = f"Make a party category named {kind.capitalize()} and give it to the parties that are one."
                yield Finding("warning", f"parties: no category says that a party is a {kind}.", remedy)

    def _preferences(self) -> JSON:
        preferences = self._act("res.user/get_preferences", {"context_only": True})
        if not isinstance(preferences, dict):
            raise ShapeChanged("Tryton's answer for the user's preferences is not an object.")
        return preferences

    def _company(self, preferences: JSON | None = None) -> int:
        """The company whose records are synced; asked once."""
        if self._company_id is None:
            preferences = preferences or self._preferences()
            chosen = self.settings.get("company") or preferences.get("company")
            if chosen is None:
                remedy = "Give the key's user a company, or set `company` to its id."
                raise Misconfigured("The key's user works for no company.", remedy=remedy)
            if not str(chosen).isdecimal() or int(chosen) not in preferences.get("companies", ()):
                remedy = "Set `company` to the id of a company that the key's user belongs to."
                raise Misconfigured("The key's user does not belong to that company.", remedy=remedy)
            self._company_id = int(chosen)
        return self._company_id

    # --- reading ------------------------------------------------------------------------------------------------------

    def pull(self, resource: str, since: Cursor | None) -> Iterator[Page]:
        """Everything changed since the cursor, in the order of (change, id), then what nested rows lead to.

        One transaction gives all its rows one time, so a position is a time and an id. The position of the next pull
        is never later than `OVERLAP` before this one began: what is newer comes again. Archived parties come as
        tombstones; deleted records do not come (see `ids`).
        """
        collection, place = COLLECTIONS[resource], Place.of(since)
        for ids in self._lost(collection, place):
            yield Page(self.fetch(resource, ids), resume=None)
        models = ((collection.model, None), *collection.nested)
        for model, back in models:
            ended = False
            while not ended:
                rows, ended = self._advance(collection, place, model, back)
                if back is None:
                    records = tuple(record(collection, row) for row in rows)
                else:
                    records = self.fetch(resource, list(dict.fromkeys(str(row[back]) for row in rows)))
                resume = place.cursor()
                if records or (ended and model == models[-1][0] and resume != since):
                    yield Page(records, resume)

    def _advance(self, collection: Collection, place: Place, model: str, back: str | None) -> tuple[list[JSON], bool]:
        """The next page of one model's changes; moves the place behind it. True: that was the last one."""
        mark = place.marks.get(model, Mark())
        clauses: list[Any] = self._scope(collection) if back is None else []
        if mark.at is not None:
            same = [["last_modified_at", "=", instant(mark.at)], ["id", ">", mark.id]]
            clauses.append(["OR", ["last_modified_at", ">", instant(mark.at)], same])
        fields = collection.fields if back is None else (back, "last_modified_at")
        params = search(clauses, fields, PAGE_MAX, (("last_modified_at", "ASC"), ("id", "ASC")))
        reply = self.http.get(self._path(model), params, self._headers(reading=True))
        rows = listed(reply, model)
        floor = server_time(reply, OVERLAP)
        for nested, _ in collection.nested:  # what the first listing of the owners shows is not listed again
            place.marks.setdefault(nested, Mark(floor))
        ended = len(rows) < PAGE_MAX
        last = (plain(rows[-1]["last_modified_at"]), int(rows[-1]["id"])) if rows else None
        place.marks[model] = mark.behind(last, floor, ended)
        return rows, ended

    def ids(self, resource: str) -> Iterator[tuple[str, ...]]:
        """All live ids, in order; an archived party is not live."""
        collection, after = COLLECTIONS[resource], 0
        while True:
            clauses = [*self._scope(collection), ["id", ">", after]]
            if collection.archives:
                clauses.append(["active", "=", True])
            rows = self._search(collection.model, clauses, ["id"], IDS_MAX)
            if rows:
                yield tuple(str(row["id"]) for row in rows)
                after = int(rows[-1]["id"])
            if len(rows) < IDS_MAX:
                return

    def fetch(self, resource: str, ids: Sequence[str]) -> tuple[Record, ...]:
        raws = self._raws(COLLECTIONS[resource], ids)
        return tuple(record(COLLECTIONS[resource], raws[id_]) if id_ in raws else gone(id_) for id_ in ids)

    def _raws(self, collection: Collection, ids: Sequence[str]) -> dict[str, JSON]:
        known = [int(id_) for id_ in ids if id_.isdecimal()]
        found: list[JSON] = []
        for start in range(0, len(known), PAGE_MAX):
            clauses = [*self._scope(collection), ["id", "in", known[start : start + PAGE_MAX]]]
            found += self._search(collection.model, clauses, collection.fields, PAGE_MAX)
        return {str(raw["id"]): live(raw) for raw in found}

    def find(self, resource: str, create: Create) -> tuple[Record, ...]:
        """A party by our key, which it carries as an identifier; everything else by its content.

        So a time entry with the same employee, day, duration and text is found too, although somebody may have
        entered it: it is then for the caller to see that another record is already linked to it.
        """
        collection = COLLECTIONS[resource]
        clauses = self._scope(collection)
        if resource == "parties":
            clauses.append(["identifiers.code", "=", own_code(create)])
        else:
            sent = self._values(resource, create.body, None)
            clauses += [[name, "=", value] for name, value in sent.items() if not isinstance(value, list | float)]
        rows = self._search(collection.model, clauses, collection.fields, PAGE_MAX)
        return tuple(record(collection, row) for row in rows)

    # --- nested rows that were deleted: they leave no trace but a smaller number --------------------------------------

    def _lost(self, collection: Collection, place: Place) -> Iterator[list[str]]:
        """Ids of the owners in each range where rows have gone since they were counted.

        Counts come before the reading of owners, so a row that goes in between is missing next time at the latest.
        """
        for model, back in collection.nested:
            tally = place.tallies.get(model)
            if tally is not None and self._count(model, back, tally) < sum(tally.counts):
                now = Tally(tally.top, tally.step, self._counts(model, back, tally))
                for n in range(RANGES):
                    if now.counts[n] < tally.counts[n]:
                        yield from self._owners(collection, *tally.bounds(n))
                tally = now
            newest = self._newest(collection.model)
            if tally is None or newest >= 2 * RANGES * tally.step:  # the firm has grown: wider ranges
                empty = Tally(self._newest(model), newest // RANGES + 1, ())
                place.tallies[model] = Tally(empty.top, empty.step, self._counts(model, back, empty))
            else:
                place.tallies[model] = self._grown(model, back, tally)

    def _owners(self, collection: Collection, start: int, end: int | None) -> Iterator[list[str]]:
        rows = [{"id": start - 1}]
        while rows:
            clauses = between("id", int(rows[-1]["id"]) + 1, end)
            if rows := self._search(collection.model, clauses, ["id"], PAGE_MAX):
                yield [str(row["id"]) for row in rows]

    def _grown(self, model: str, back: str, tally: Tally) -> Tally:
        while rows := self._search(model, [["id", ">", tally.top]], [back], PAGE_MAX):
            tally = tally.grown([(int(row["id"]), int(row[back])) for row in rows])
        return tally

    def _newest(self, model: str) -> int:
        rows = self._search(model, [], ["id"], 1, (("id", "DESC"),))
        return int(rows[0]["id"]) if rows else 0

    def _counts(self, model: str, back: str, tally: Tally) -> tuple[int, ...]:
        return tuple(self._count(model, back, tally, n) for n in range(RANGES))

    def _count(self, model: str, back: str, tally: Tally, n: int | None = None) -> int:
        clauses = [["id", "<=", tally.top]]
        if n is not None:
            clauses += between(back, *tally.bounds(n))
        return int(self._act(f"{model}/search_count", {"domain": clauses}))

    # --- writing ------------------------------------------------------------------------------------------------------

    def create(self, resource: str, create: Create) -> Record:
        collection = self._writable(resource)
        sent = self._values(resource, create.body, None)
        if resource == "parties":
            sent["identifiers"] = [["create", [{"code": own_code(create)}]]]
        if resource == "works":
            sent |= {"type": "project", "timesheet_available": True}
            if "status" not in sent:
                sent |= self._status("Open")
        made = self._write("POST", self._path(collection.model), sent, resource)
        if (state := create.body.get("state")) and state != made.body["state"]:
            try:
                return self._press(made, state)
            except Refused:
                return made  # it exists: its state is a difference that the next round sees, not a failed create
        return made

    def update(self, resource: str, update: Update) -> Record:
        collection = self._writable(resource)
        raw = self._raws(collection, [update.current.id]).get(update.current.id)
        if raw is None or (now := record(collection, raw)).deleted:
            raise Stale("The record was removed or archived in Tryton since it was read.")
        if update.current.version is not None and now.version != update.current.version:
            raise Stale("The record was changed in Tryton since it was read.")
        if sent := self._values(resource, update.changes, raw):
            now = self._write("PUT", self._path(collection.model, now.id), sent, resource)
        if (state := update.changes.get("state")) and state != now.body["state"]:
            now = self._press(now, state)
        return now

    def delete(self, resource: str, delete: Delete) -> None:
        """Really deletes; what other records point at, Tryton refuses to delete (a party is then archived or erased
        by a person)."""
        collection = self._writable(resource)
        held = self.fetch(resource, [delete.current.id])[0]
        if held.deleted:
            return
        if delete.current.version is not None and held.version != delete.current.version:
            raise Stale("The record was changed in Tryton since it was read.")
        reply = self.http.delete(self._path(collection.model, held.id), headers=self._headers())
        if reply.status not in (200, 204, 404):
            raise trouble(reply, resource)

    def _writable(self, resource: str) -> Collection:
        if not SPEC.resource(resource).writable:
            raise Refused(f"{resource} are never written to Tryton.", code="not-writable")
        return COLLECTIONS[resource]

    def _values(self, resource: str, changes: JSON, held: JSON | None) -> JSON:
        """What to send. New records need their company named: the REST interface has no default for it."""
        collection = COLLECTIONS[resource]
        sent = outgoing(collection, changes, held, self._named)
        if changes.get("matter") is not None:
            sent["work"] = self._timesheet_work(changes["matter"])
        if resource == "works" and changes.get("status") is not None:
            sent |= self._status(changes["status"])
        if held is None and collection.by_company:
            sent["company"] = self._company()
        return sent

    def _write(self, method: str, path: str, sent: JSON, resource: str) -> Record:
        collection = COLLECTIONS[resource]
        params = [("f", name) for name in collection.fields]
        reply = self.http.request(method, path, params=params, json=sent, headers=self._headers())
        if reply.status == 204:
            raise UnknownOutcome("Tryton took the change but does not let the key's user read the record.")
        if reply.status == 404 and method == "PUT":
            raise Stale("The record was removed or archived in Tryton since it was read.")
        if reply.status != 200:
            raise trouble(reply, resource)
        raw = reply.json()
        if not isinstance(raw, dict) or "id" not in raw:
            raise UnknownOutcome("Tryton took the change, but its answer names no record.")
        return record(collection, raw)

    def _press(self, held: Record, state: str) -> Record:
        """Move an opportunity to a state by its button: `state` itself is read-only."""
        if state not in BUTTONS:
            raise Refused(f"Only Tryton's users move an opportunity to {state}.", code="state", fields=("state",))
        path = f"{self._path('sale.opportunity', held.id)}/{BUTTONS[state]}"
        return self._write("POST", path, {}, "opportunities")

    def _timesheet_work(self, matter: str) -> int:
        """The timesheet work behind a matter: time is recorded there, not on the project itself."""
        rows = self._search(
            "timesheet.work", [["origin", "=", f"project.work,{value_of('ref', matter, 'matter')}"]], [], 1
        )
        if not rows:
            remedy = "Tick “Available on timesheets” on the project."
            raise Refused(
                "The matter takes no timesheet lines.", remedy=remedy, code="no-timesheet", fields=("matter",)
            )
        return int(rows[0]["id"])

    def _status(self, name: str) -> JSON:
        """A work's status by its name, and the progress that Tryton asks for with it (Done: 100 %)."""
        id_ = self._named("project.work.status", "name", name, "status")
        (row,) = self._search("project.work.status", [["id", "=", id_]], ["progress"], 1)
        return {"status": id_} if row["progress"] is None else {"status": id_, "progress": row["progress"]}

    def _named(self, model: str, name: str, value: str, key: str) -> int:
        """The id of a country, currency, status ... by its code or name; asked once each."""
        if (model, value) not in self._found:
            if model == "party.category":
                id_ = self._category(value)
            else:
                rows = self._search(model, [[name, "=", value]], [], 1)
                id_ = int(rows[0]["id"]) if rows else None
            if id_ is None:
                remedy = f"Add it to Tryton's {model}, or correct the value."
                raise Refused(
                    f"Tryton has no {model} for this {key}.", remedy=remedy, code="unknown-value", fields=(key,)
                )
            self._found[model, value] = id_
        return self._found[model, value]

    def _category(self, kind: str) -> int | None:
        rows = self._search("party.category", [["active", "=", True]], ["name"], IDS_MAX)
        return next((int(row["id"]) for row in rows if kind_of([row["name"]]) == kind), None)

    # --- requests -----------------------------------------------------------------------------------------------------

    def _scope(self, collection: Collection) -> list[Any]:
        """The clauses that keep a search to this resource: its kind of record, this company."""
        clauses: list[Any] = [list(clause) for clause in collection.only]
        if collection.by_company:
            clauses.append(["company", "=", self._company()])
        return clauses

    def _path(self, model: str, id_: str | None = None) -> str:
        path = f"{quote(self.settings['database'], safe='')}/rest/model/{model}"
        return f"{path}/{id_}" if id_ else path

    def _headers(self, *, reading: bool = False) -> Mapping[str, str]:
        """The company is part of the context: a party's language, for one, is kept per company."""
        return headers(company=self._company(), active_test=False) if reading else headers(company=self._company())

    def _search(
        self,
        model: str,
        clauses: list[Any],
        fields: Sequence[str],
        limit: int,
        order: Sequence[tuple[str, str]] = BY_ID,
    ) -> list[JSON]:
        params = search(clauses, fields, limit, order)
        return listed(self.http.get(self._path(model), params, self._headers(reading=True)), model)

    def _act(self, what: str, arguments: JSON) -> Any:
        """Call a reading method of a model; the interface has only POST for that."""
        reply = self.http.post(self._path(what), json=arguments, headers=headers(active_test=False), safe=True)
        if reply.status != 200:
            raise trouble(reply, what.partition("/")[0])
        return reply.json()


def record(collection: Collection, raw: JSON) -> Record:
    """A body of plain values; an archived party is a tombstone.

    Raises ShapeChanged when a field that was asked for is missing: the key's user may no longer read it.
    """
    id_ = str(raw["id"])
    if collection.archives and not raw.get("active", True):
        return gone(id_)
    raw = live(raw)
    try:
        return Record(id_, version_of(raw), collection.body(raw))
    except KeyError as error:
        raise ShapeChanged(f"Tryton left out {error.args[0]} of a {collection.model}.") from error


def gone(id_: str) -> Record:
    return Record(id_, version=None, body={}, deleted=True)


def version_of(raw: JSON) -> Version:
    """Changes with the record and with each of its nested rows, which have times of their own."""
    rows = [raw, *(row for value in raw.values() if isinstance(value, list) for row in value if isinstance(row, dict))]
    parts = [(row["__name__"], row["id"], plain(row.get("last_modified_at"))) for row in rows]
    return Version(blake2s(orjson.dumps(sorted(parts, key=str)), digest_size=12).hexdigest())


def own_code(create: Create) -> str:
    return f"syncd:{create.key}"


def between(name: str, start: int, end: int | None) -> list[Any]:
    return [[name, ">=", start]] + ([[name, "<", end]] if end is not None else [])

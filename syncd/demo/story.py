"""The demo's story, told unattended: first sync, edits on every side, a conflict, an invoice, quiet; then the proof.

The proof is taken from the systems themselves: their data read through their own APIs with the connectors alone,
and their request logs. The service's tables are only asked whether it believes to be done.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from sqlalchemy import func, select

from mappings.load import ConnectorMapping, RecordMapping, load
from mappings.normalize import normalizer
from syncd import stewards
from syncd.app import App, open_app
from syncd.clock import iso
from syncd.config import load_settings
from syncd.connecting import open_connection
from syncd.demo.systems import PLACE, SYSTEMS, prepare, url_of, wait_for_systems
from syncd.once import due_now, places
from syncd.store.database import reading
from syncd.store.tables import connections, intents, turns
from syncd.turns import OWED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROUNDS_MAX = 12
ECHO_ROUNDS = 3
ROUND_S = 300.0
INVOICE = "750.00"


class StoryFailed(Exception):
    """The demo could not be told to its end; the message says where it stopped."""


def once(home: Path | None, *, size: int, seed: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Run the whole story in a home of its own (temporary unless given); returns the report of `demo --once --json`."""
    if home is not None:
        return _told(home, size=size, seed=seed, tell=tell)
    with tempfile.TemporaryDirectory(prefix="syncd-demo-") as folder:
        return _told(Path(folder), size=size, seed=seed, tell=tell)


def _told(home: Path, *, size: int, seed: int, tell: Callable[[str], None]) -> dict[str, Any]:
    prepare(home, size=size, seed=seed, port=0)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SYNCD_")}
    log = home / "service.log"
    with log.open("ab") as output:
        service = subprocess.Popen(  # noqa: S603 (our own command)
            [sys.executable, "-m", "syncd", "up", "--demo", "--home", str(home), "--size", str(size)],
            env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        return Story(home, service, tell).run()
    except StoryFailed as error:
        tail = log.read_text(errors="replace").splitlines()[-15:]
        raise StoryFailed(f"{error}\nThe service's last lines:\n" + "\n".join(tail)) from error
    finally:
        service.send_signal(signal.SIGTERM)
        try:
            service.wait(30)
        except subprocess.TimeoutExpired:
            service.kill()
            service.wait(10)


class Story:
    """One telling. `app` looks into the same database as the running service."""

    def __init__(self, home: Path, service: subprocess.Popen[bytes], tell: Callable[[str], None]) -> None:
        self.home = home
        self.service = service
        self.tell = tell
        self.place = json.loads((home / PLACE).read_text())
        self.seconds: dict[str, float] = {}
        self.app: App = open_app(load_settings(home, {}))

    def run(self) -> dict[str, Any]:
        with self._stage("start"):
            wait_for_systems(self.place)
            self._until(self._connected, "the systems to be connected", limit_s=90)
        with self._stage("first_sync"):
            self._until(self._first_pulls, "the first readings")
            self.rounds("first sync")
        with self._stage("edits"):
            self.edits()
            reviewed = self._rule_reviews()
            conflicts = self._settle_conflict()
            rounds = self.rounds("edits")
        with self._stage("headline"):
            headline = self.headline()
        self.rounds("headline")
        with self._stage("echo"):
            before = self._writes()
            for _ in range(ECHO_ROUNDS):
                self.round()
            echo = self._writes() - before
        systems = self._numbers()
        with self._stage("compare"):
            differences, records = Comparison(self.app, self.place).run()
        self.app.close()
        for name, count in records.items():
            systems[name]["records"] = count
        return {
            "systems": systems,
            "rounds_until_quiet": rounds,
            "echo_writes": echo,
            "equal": not differences,
            "differences": differences,
            "headline": headline,
            "conflicts": conflicts,
            "reviews": reviewed,
            "seconds": {name: round(value, 2) for name, value in self.seconds.items()},
        }

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        self.tell(f"{name.replace('_', ' ')} ...")
        started = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - started

    # --- what the service is doing -----------------------------------------------------------------------------

    def _until(self, done: Callable[[], bool], what: str, *, limit_s: float = ROUND_S) -> None:
        deadline = time.monotonic() + limit_s
        while not done():
            if self.service.poll() is not None:
                raise StoryFailed(f"The service ended while waiting for {what}.")
            if time.monotonic() > deadline:
                raise StoryFailed(f"Waited {limit_s:.0f} s for {what}.")
            time.sleep(0.05)

    def _connected(self) -> bool:
        with reading(self.app.engine) as sql:
            count = sql.execute(select(func.count()).where(connections.c.mode == "live")).scalar_one()
        return int(count) == len(SYSTEMS)

    def _first_pulls(self) -> bool:
        with reading(self.app.engine) as sql:
            return sql.execute(select(turns.c.resource).where(~turns.c.pulled_once).limit(1)).first() is None

    def round(self) -> int:
        """Every resource is read again by the workers, and everything owed is sent; returns the writes it took."""
        before = self._writes()
        asked = iso(self.app.clock.now())
        due_now(self.app, places(self.app))

        def done() -> bool:
            now = iso(self.app.clock.now())
            with reading(self.app.engine) as sql:
                behind = sql.execute(
                    select(turns.c.resource).where(func.coalesce(turns.c.last_pull_at, "") < asked).limit(1)
                ).first()
                busy = sql.execute(select(intents.c.canonical_id).where(intents.c.state.in_(OWED)).limit(1)).first()
                held = sql.execute(
                    select(turns.c.owner).where(turns.c.owner.is_not(None), turns.c.lease_until > now).limit(1)
                ).first()
            return behind is None and busy is None and held is None

        self._until(done, "a round to end")
        return self._writes() - before

    def rounds(self, what: str) -> int:
        """Rounds until one needs no write; returns how many did."""
        for count in range(ROUNDS_MAX):
            wrote = self.round()
            self.tell(f"  {what}, round {count + 1}: {wrote} writes")
            if wrote == 0:
                return count
        raise StoryFailed(f"Still writing after {ROUNDS_MAX} rounds ({what}).")

    # --- what people do ----------------------------------------------------------------------------------------

    def edit(self, system: str, do: str, **args: Any) -> Any:
        reply = httpx.post(f"{url_of(self.place, system)}/__sandbox__/edit", json={"do": do, "args": args}, timeout=30)
        if reply.status_code != 200:
            raise StoryFailed(f"{system}: the edit {do} answered {reply.status_code}.")
        return reply.json()

    def edits(self) -> None:
        """People work in every system: changes, new records, a deletion, and one field changed on two sides at once."""
        shared = self._shared_people()
        if len(shared) < 6:
            raise StoryFailed("The demo firm is too small for its story; use --size 12 or more.")
        a, b, c, d, e, f = shared[:6]
        self.edit("clio", "contact", id=a["clio"], changes={"phone": "(617) 555-0142"})
        self.edit(
            "clio",
            "new_contact",
            fields={
                "type": "Person",
                "name": "Nora Newman",
                "first_name": "Nora",
                "last_name": "Newman",
                "email": "nora.newman@example.org",
            },
        )
        self.edit("crm", "update", sobject="Contact", id=b["crm"], changes={"Title": "Managing Partner"})
        self.edit(
            "crm",
            "new",
            sobject="Contact",
            fields={"FirstName": "Omar", "LastName": "Oakes", "Email": "omar.oakes@example.org", "Title": "Founder"},
        )
        self.edit("crm", "update", sobject="Contact", id=c["crm"], changes={"LastName": "Married-Name"})
        self.edit(
            "cards",
            "card",
            href=d["cards"],
            changes={"emails": [{"value": f"new.{d['email']}", "types": ["work"], "pref": True}]},
        )
        self.edit(
            "cards",
            "new_card",
            body={
                "kind": "individual",
                "fn": "Pia Park",
                "n": {"family": "Park", "given": "Pia"},
                "emails": [{"value": "pia.park@example.net", "types": ["work"], "pref": True}],
            },
        )
        self.edit("cards", "delete_card", href=e["cards"])
        self.edit("clio", "contact", id=f["clio"], changes={"title": "Chair of the board"})
        self.edit("crm", "update", sobject="Contact", id=f["crm"], changes={"Title": "Board member"})

    def _shared_people(self) -> list[dict[str, str]]:
        """People who are in all three systems, by each system's own id, as the systems themselves tell."""
        found: dict[str, dict[str, str]] = {}
        for name, connector in SYSTEMS.items():
            mapping = load(connector)
            for lens, id, body in read_all(self.app, name, mapping):
                if lens.kind == "person" and (email := lens.get(body).get("email")):
                    found.setdefault(email.lower(), {"email": email})[name] = id
        return [found[email] for email in sorted(found) if all(name in found[email] for name in SYSTEMS)]

    def _settle_conflict(self) -> int:
        """The field that two people changed at once waits; a steward takes the word of practice management."""
        self._until(lambda: bool(stewards.list_conflicts(self.app)), "the conflict to show", limit_s=60)
        self.round()
        found = stewards.list_conflicts(self.app)
        for conflict in found:
            stewards.settle_conflict(self.app, conflict["id"], take="clio", by="demo")
        return len(found)

    def _rule_reviews(self) -> int:
        """Companies of one name that show nothing else in common wait for a steward, who knows that they are one."""
        found = stewards.open_reviews(self.app)
        for review in found:
            stewards.rule_pair(self.app, review["id"], same=True, by="demo")
        return len(found)

    def headline(self) -> dict[str, Any]:
        """An invoice is issued in Clio; nobody tells the service. Voiding it takes the amount back."""
        matters = {
            body["display_number"]: id
            for lens, id, body in read_all(self.app, "clio", load("clio"))
            if lens.kind == "matter"
        }
        opportunity, number = next(
            (id, body["Matter_Number__c"])
            for lens, id, body in read_all(self.app, "crm", load("salesforce"))
            if lens.kind == "opportunity" and body.get("Matter_Number__c") in matters
        )
        before = self._billed(opportunity)
        started = time.monotonic()
        bill = self.edit("clio", "issue_bill", matter_id=matters[number], total=INVOICE)
        expected = before + Decimal(INVOICE)
        self._until(lambda: self._billed(opportunity) == expected, "the invoice to reach the opportunity", limit_s=60)
        seconds = time.monotonic() - started
        after = self._billed(opportunity)
        bill_id = str(bill["result"]["id"] if "result" in bill else bill["id"])
        self.edit("clio", "void_bill", bill_id=bill_id)
        self._until(lambda: self._billed(opportunity) == before, "the voided invoice to be taken back", limit_s=60)
        return {
            "invoice_total": INVOICE,
            "opportunity_before": str(before),
            "opportunity_after": str(after),
            "opportunity_after_void": str(self._billed(opportunity)),
            "seconds": round(seconds, 2),
        }

    def _billed(self, opportunity: str) -> Decimal:
        state = httpx.get(f"{url_of(self.place, 'crm')}/__sandbox__/state", timeout=30).json()
        row = _rows(state, "Opportunity")[opportunity]
        return Decimal(str(row.get("Billed_Total__c") or 0)).quantize(Decimal("0.01"))

    # --- numbers -----------------------------------------------------------------------------------------------

    def _numbers(self) -> dict[str, dict[str, int]]:
        return {
            name: httpx.get(f"{url_of(self.place, name)}/__sandbox__/counts", timeout=30).json() for name in SYSTEMS
        }

    def _writes(self) -> int:
        return sum(numbers["writes"] for numbers in self._numbers().values())


def _rows(state: Mapping[str, Any], table: str) -> Mapping[str, Any]:
    tables: Mapping[str, Any] = state.get("tables", state)
    found: Mapping[str, Any] = tables[table]
    return found


def read_all(app: App, name: str, mapping: ConnectorMapping) -> Iterator[tuple[RecordMapping, str, dict[str, Any]]]:
    """Every live record of a system, read through its API from the beginning, with the mapping that applies."""
    talking = open_connection(app, name)
    try:
        for resource in dict.fromkeys(lens.resource for lens in mapping.mappings):
            for page in talking.connector.pull(resource, None):
                for record in page.records:
                    if record.deleted:
                        continue
                    lens = next((each for each in mapping.of(resource) if each.applies(record.body)), None)
                    if lens is not None:
                        yield lens, record.id, record.body
    finally:
        talking.close()


class Comparison:
    """Are the systems equal? Everybody in practice management is held against the other systems' records.

    Clio has room for everything, so it is the yardstick: what another system would hold after taking Clio's values
    (its own rendition of them) must be what it holds, for every field that both map and the other's zone may see.
    The other way round, no set may hold an element that Clio lacks.
    People are told apart by e-mail, companies by name, in the systems' own data; links of the service play no part.
    """

    def __init__(self, app: App, place: Mapping[str, Any]) -> None:
        self.app = app
        self.place = place
        self.world = app.world()
        self.equal = normalizer("US")

    def run(self) -> tuple[list[dict[str, Any]], dict[str, int]]:
        seen: dict[str, dict[str, list[tuple[RecordMapping, str, dict[str, Any]]]]] = {}
        counts: dict[str, int] = {}
        everything = {name: list(read_all(self.app, name, load(connector))) for name, connector in SYSTEMS.items()}
        for name, rows in everything.items():
            counts[name] = len(rows)
            for lens, id, body in rows:
                identity = self._identity(lens, body)
                if identity is not None:
                    seen.setdefault(identity, {}).setdefault(name, []).append((lens, id, body))
        deleted = self._deleted_cards()
        differences: list[dict[str, Any]] = []
        for identity, held in sorted(seen.items()):
            differences.extend(
                {"record": identity, "system": name, "what": f"{len(rows)} records for one"}
                for name, rows in held.items()
                if len(rows) > 1
            )
            missing = [name for name in SYSTEMS if name not in held and not (name == "cards" and identity in deleted)]
            differences.extend({"record": identity, "system": name, "what": "missing"} for name in missing)
            if "clio" in held:
                differences.extend(self._differences(identity, held))
        differences.extend(self._billed(everything))
        return differences, counts

    def _identity(self, lens: RecordMapping, body: dict[str, Any]) -> str | None:
        values = lens.get(body)
        if lens.kind == "person":
            return f"person {str(values.get('email')).lower()}"
        if lens.kind == "organisation":
            return f"organisation {str(values.get('name')).casefold()}"
        return None

    def _differences(
        self, identity: str, held: Mapping[str, list[tuple[RecordMapping, str, dict[str, Any]]]]
    ) -> Iterator[dict[str, Any]]:
        lens, _, body = held["clio"][0]
        truth = lens.get(body)
        references = self.world.references(lens.kind)
        for name, rows in held.items():
            if name == "clio":
                continue
            other, _, other_body = rows[0]
            classes = self.world.classes(lens.kind)
            row = self.world.matrix.get(self.world.members[name].zone, frozenset())
            shared = {
                field: value
                for field, value in truth.items()
                if field in other.lines
                and other.lines[field].direction != "in"
                and field not in references
                and classes[field] in row
            }
            # What the other system would hold after taking Clio's values, against what it holds.
            expected, actual = other.render(shared, other_body), other.get(other_body)
            for field, value in expected.items():
                if not self.equal.same(lens.kind, field, value, actual.get(field)):
                    yield {"record": identity, "system": name, "what": f"{field} differs from Clio's record"}
            mine = lens.get(body)
            for field in other.lines.keys() - references:
                if other.lines[field].is_set and set(actual.get(field) or {}) - set(mine.get(field) or {}):
                    yield {
                        "record": identity,
                        "system": name,
                        "what": f"{field} has something that Clio's record lacks",
                    }

    def _deleted_cards(self) -> set[str]:
        """Who was deleted in the address book by its own users: they stay deleted there, and live on elsewhere."""
        from syncd.store.tables import links, records

        with reading(self.app.engine) as sql:
            rows = sql.execute(
                select(records.c.golden)
                .join(links, links.c.canonical_id == records.c.id)
                .where(links.c.connection == "cards", ~links.c.alive)
            ).scalars()
            return {f"person {str(json.loads(row).get('email')).lower()}" for row in rows}

    def _billed(
        self, everything: Mapping[str, list[tuple[RecordMapping, str, dict[str, Any]]]]
    ) -> Iterator[dict[str, Any]]:
        """Each opportunity shows what Clio has billed on its matter: added up here from the bills themselves."""
        numbers = {id: body["display_number"] for lens, id, body in everything["clio"] if lens.kind == "matter"}
        billed: dict[str, Decimal] = {}
        for lens, _, body in everything["clio"]:
            values = lens.get(body) if lens.kind == "invoice" else {}
            if values.get("status") in ("issued", "paid") and values.get("matter"):
                number = numbers[str(values["matter"]).partition(":")[2]]
                billed[number] = billed.get(number, Decimal(0)) + Decimal(str(values["total"]))
        for lens, id, body in everything["crm"]:
            if lens.kind == "opportunity" and body.get("Matter_Number__c"):
                shown = Decimal(str(body.get("Billed_Total__c") or 0))
                if shown != billed.get(body["Matter_Number__c"], Decimal(0)):
                    yield {
                        "record": f"opportunity {id}",
                        "system": "crm",
                        "what": "billed total differs from the bills",
                    }

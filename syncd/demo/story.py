"""The demo's story, told unattended: first sync, edits on every side, a conflict, an invoice, quiet; then the proof.

The proof is taken from the systems themselves: their data read through their own APIs with the connectors alone,
and their request logs. The service's tables are only asked whether it believes to be done.
"""

from __future__ import annotations

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

from mappings.load import load
from syncd import stewards
from syncd.app import App, open_app
from syncd.clock import iso
from syncd.config import load_settings
from syncd.demo.comparison import Comparison, read_all
from syncd.demo.joining import SystemSilent, wait_for_systems
from syncd.demo.systems import SYSTEMS, place_of, prepare, url_of
from syncd.once import due_now, places
from syncd.starting import dies_with_parent
from syncd.store.database import reading
from syncd.store.tables import connections, intents, turns
from syncd.turns import OWED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SIZE_MIN = 12
ROUNDS_MAX = 12
ECHO_ROUNDS = 3
ROUND_S = 300.0
INVOICE = "750.00"


class StoryFailed(Exception):
    """The demo could not be told to its end; the message says where it stopped."""


def once(home: Path | None, *, size: int, seed: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Run the whole story in a home of its own (temporary unless given); returns the report of `demo --once --json`:

    systems {name: {records, requests, writes}}, rounds_until_quiet, echo_writes, equal, headline {invoice_total,
    opportunity_before, opportunity_after, seconds}, conflicts, seconds {stage: s}. Raises StoryFailed.
    """
    if size < SIZE_MIN:
        raise StoryFailed(f"The demo firm is too small for its story; use --size {SIZE_MIN} or more.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the service and removes the home, as Ctrl-C does
    if home is not None:
        return _told(home, size=size, seed=seed, tell=tell)
    with tempfile.TemporaryDirectory(prefix="syncd-demo-") as folder:
        return _told(Path(folder), size=size, seed=seed, tell=tell)


def _told(home: Path, *, size: int, seed: int, tell: Callable[[str], None]) -> dict[str, Any]:
    prepare(home, size=size, seed=seed, port=0)
    app = open_app(load_settings(home, {}))  # first, so that the schema is made once
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SYNCD_")}
    log = home / "service.log"
    with log.open("ab") as output:
        service = subprocess.Popen(  # noqa: S603 (our own command)
            [sys.executable, "-m", "syncd", "up", "--demo", "--home", str(home), "--size", str(size)],
            env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            preexec_fn=dies_with_parent(signal.SIGTERM),
        )  # fmt: skip
    try:
        return Story(app, service, tell).run()
    except (StoryFailed, SystemSilent) as error:
        tail = log.read_text(errors="replace").splitlines()[-15:]
        raise StoryFailed(f"{error}\nThe service's last lines:\n" + "\n".join(tail)) from error
    finally:
        app.close()
        service.send_signal(signal.SIGTERM)
        try:
            service.wait(30)
        except subprocess.TimeoutExpired:
            service.kill()
            service.wait(10)


class Story:
    """One telling. `app` looks into the same database as the running service."""

    def __init__(self, app: App, service: subprocess.Popen[bytes], tell: Callable[[str], None]) -> None:
        self.app = app
        self.service = service
        self.tell = tell
        self.seconds: dict[str, float] = {}

    @property
    def place(self) -> Mapping[str, Any]:
        """Read anew: a start may have moved a sandbox to another port."""
        return place_of(self.app.settings.home)

    def run(self) -> dict[str, Any]:
        with self._stage("start"):
            wait_for_systems(self.place)
            self._until(self._connected, "the systems to be connected", limit_s=90)
        with self._stage("first_sync"):
            self._until(self._first_pulls, "the first readings")
            self.rounds("first sync")
        with self._stage("edits"):
            self.edits()
            self.rule_reviews()
            conflicts = self.settle_conflict()
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
            differences, records = Comparison(self.app).run()
        for name, count in records.items():
            systems[name]["records"] = count
        for each in differences:
            self.tell(f"  {each['record']} in {each['system']}: {each['what']}")
        return {
            "systems": systems,
            "rounds_until_quiet": rounds,
            "echo_writes": echo,
            "equal": not differences,
            "headline": headline,
            "conflicts": conflicts,
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
        a, b, c, d, e, f = self._shared_people()[:6]
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

    def settle_conflict(self) -> int:
        """The field that two people changed at once waits; a steward takes the word of practice management."""
        self._until(lambda: bool(stewards.list_conflicts(self.app)), "the conflict to show", limit_s=60)
        self.round()
        found = stewards.list_conflicts(self.app)
        for conflict in found:
            stewards.settle_conflict(self.app, conflict["id"], take="clio", by="demo")
        return len(found)

    def rule_reviews(self) -> None:
        """Companies of one name that show nothing else in common wait for a steward, who knows that they are one."""
        for review in stewards.open_reviews(self.app):
            stewards.rule_pair(self.app, review["id"], same=True, by="demo")

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

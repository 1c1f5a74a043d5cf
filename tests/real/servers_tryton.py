"""A real Tryton 8.2 for tests: installed once, set up once, copied per session, driven as its own users would.

Tryton is an ERP under the GPL. It lives in a virtual environment of its own below `.cache/` and is only ever
spoken to over HTTP: nothing of it is imported here, and syncd does not depend on it. What is kept between runs
is the environment (about 110 MB) and a template database of a small law firm; both are made under a file lock,
so parallel test workers share them. `tryton()` copies the template, starts a server of its own on a free
loopback port and stops it.

`TrytonServer` speaks JSON-RPC as the firm's bookkeeper. The connector under test uses REST with an application
key of another user: the two share no code, so a mistake in one is not mirrored by the other.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import re
import secrets
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"
VENV = CACHE / "tryton-venv"
# The server and every module it activates, pinned; their own small dependencies follow the upper bounds they declare.
PINS = (
    "trytond==8.2.1",
    "trytond-account==8.2.1",
    "trytond-account-invoice==8.2.0",
    "trytond-account-invoice-stock==8.2.0",
    "trytond-account-product==8.2.0",
    "trytond-company==8.2.0",
    "trytond-company-work-time==8.2.0",
    "trytond-country==8.2.0",
    "trytond-currency==8.2.0",
    "trytond-party==8.2.0",
    "trytond-product==8.2.0",
    "trytond-project==8.2.0",
    "trytond-sale==8.2.0",
    "trytond-sale-opportunity==8.2.0",
    "trytond-stock==8.2.1",
    "trytond-timesheet==8.2.0",
)
MODULES = ("party", "company", "country", "account_invoice", "timesheet", "sale_opportunity", "project")
DATABASE = "firm"
SETUP = 6  # raise it whenever `_furnish` changes: the template is then made anew
INSTALL_S, DATABASE_S, START_S, CALL_S = 600, 300, 60, 60

# The rights of the user behind the connector's key, as connectors/tryton/README.md asks for them.
RIGHTS = (
    "Party Administration",
    "Accounting",
    "Timesheet Administration",
    "Project Administration",
    "Sale Opportunity",
)
COUNTRIES = {
    "US": ("United States", {"US-NY": "New York", "US-CA": "California", "US-IL": "Illinois", "US-TX": "Texas"}),
    "CA": ("Canada", {"CA-ON": "Ontario"}),
    "GB": ("United Kingdom", {}),
    "DE": ("Germany", {}),
    "FR": ("France", {}),
}


class TrytonFailed(RuntimeError):
    """The real server could not be installed, set up, started, or refused what a user did; the text says which."""


# --- installing, once ---------------------------------------------------------------------------------------------


@contextmanager
def _locked(name: str) -> Iterator[None]:
    """Hold `.cache/NAME.lock` against other processes: the second test worker waits for the first one's work."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _run(what: str, command: Sequence[str], *, timeout_s: float, env: Mapping[str, str] | None = None) -> None:
    try:
        done = subprocess.run(
            command,
            timeout=timeout_s,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        raise TrytonFailed(f"{what}: not done after {timeout_s:.0f} s") from late
    if done.returncode:
        raise TrytonFailed(f"{what}: exit {done.returncode}\n{(done.stdout + done.stderr)[-3000:]}")


def installed() -> Path:
    """The folder of Tryton's own programs; installs them when missing or when the pins changed.

    A half-made environment has no marker, so an interrupted install is simply made again.
    """
    marker, wanted = VENV / "pins.json", json.dumps(PINS)
    with _locked("tryton-install"):
        if not (marker.is_file() and marker.read_text() == wanted):
            shutil.rmtree(VENV, ignore_errors=True)
            _run("making Tryton's virtual environment", [sys.executable, "-m", "venv", str(VENV)], timeout_s=120)
            pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            _run("installing Tryton with pip", [*pip, *PINS], timeout_s=INSTALL_S)
            marker.write_text(wanted)
    return VENV / "bin"


@dataclass(frozen=True, slots=True)
class Template:
    """The set-up firm on disk: `folder/firm.sqlite`, and what its set-up chose (passwords, keys, ids)."""

    folder: Path
    chosen: Mapping[str, Any]


def template() -> Template:
    """The template database, made once per pins, set-up number and year (its fiscal year is the current one)."""
    programs = installed()
    year = datetime.now().astimezone().year
    folder = CACHE / f"tryton-template-{SETUP}-{year}"
    with _locked("tryton-template"):
        facts = folder / "chosen.json"
        if not (facts.is_file() and json.loads(facts.read_text())["pins"] == list(PINS)):
            shutil.rmtree(folder, ignore_errors=True)
            making = Path(tempfile.mkdtemp(prefix="tryton-template-", dir=CACHE))
            try:
                chosen = _make_template(programs, making)
                (making / "chosen.json").write_text(json.dumps(chosen))
                making.rename(folder)
            except BaseException:
                shutil.rmtree(making, ignore_errors=True)
                raise
        return Template(folder, json.loads(facts.read_text()))


def _make_template(programs: Path, folder: Path) -> dict[str, Any]:
    password = secrets.token_hex(12)
    passfile = folder / "pass"
    passfile.write_text(password + "\n")
    (folder / f"{DATABASE}.sqlite").touch()
    _config(folder)
    _run(
        "activating Tryton's modules",
        [
            str(programs / "trytond-admin"),
            *("-c", str(folder / "trytond.conf"), "-d", DATABASE, "--all", "--email", "admin@example.com"),
            *("--activate-dependencies", "-u", *MODULES),
        ],
        timeout_s=DATABASE_S,
        env={"TRYTONPASSFILE": str(passfile)},
    )
    passfile.unlink()
    with _serving(programs, folder) as url, httpx.Client(base_url=url, timeout=CALL_S) as http:
        chosen = {"pins": list(PINS), "password": password, **_furnish(_Office(http, "admin", password))}
    # The stopped server leaves what it wrote last in SQLite's write-ahead log: fold it in, so one file is the firm.
    with closing(sqlite3.connect(folder / f"{DATABASE}.sqlite")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return chosen


# --- running --------------------------------------------------------------------------------------------------------


def _config(folder: Path) -> None:
    # Port 0: the kernel picks a free one and the server's log names it, so two workers can never collide.
    (folder / "trytond.conf").write_text(
        f"[database]\nuri = sqlite://\npath = {folder}\n[web]\nlisten = 127.0.0.1:0\n[session]\nmax_attempt = 1000\n"
    )


@contextmanager
def _serving(programs: Path, folder: Path) -> Iterator[str]:
    """Start trytond on the folder's database, wait until it answers, and stop it at the end."""
    log_path = folder / "trytond.log"
    with log_path.open("w") as log:
        process = subprocess.Popen(
            [str(programs / "trytond"), "-c", str(folder / "trytond.conf"), "-d", DATABASE],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield _answering(process, log_path)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def _answering(process: subprocess.Popen[bytes], log_path: Path) -> str:
    give_up = time.monotonic() + START_S
    while time.monotonic() < give_up:
        if process.poll() is not None:
            raise TrytonFailed(
                f"trytond stopped while starting (exit {process.returncode})\n{log_path.read_text()[-3000:]}"
            )
        if found := re.search(r"Running on (http://127\.0\.0\.1:\d+)", log_path.read_text()):
            try:
                version = {"id": 0, "method": "common.server.version", "params": []}
                if httpx.post(f"{found[1]}/rpc/", json=version, timeout=5).json()["result"].startswith("8.2"):
                    return found[1]
            except httpx.TransportError:
                pass
        time.sleep(0.05)
    raise TrytonFailed(f"trytond did not answer within {START_S} s\n{log_path.read_text()[-3000:]}")


@contextmanager
def tryton() -> Iterator[TrytonServer]:
    """A fresh copy of the firm on a server of its own; stopped and removed at the end."""
    programs, made = installed(), template()
    folder = Path(tempfile.mkdtemp(prefix="tryton-"))
    try:
        shutil.copy(made.folder / f"{DATABASE}.sqlite", folder)
        _config(folder)
        with _serving(programs, folder) as url, httpx.Client(base_url=url, timeout=CALL_S) as http:
            office = _Office(http, "admin", made.chosen["password"])
            yield TrytonServer(url, made.chosen, office, folder / f"{DATABASE}.sqlite")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# --- JSON-RPC as one of the system's users ---------------------------------------------------------------------------


def _dump(value: object) -> dict[str, object]:
    if isinstance(value, datetime):
        parts = ("year", "month", "day", "hour", "minute", "second", "microsecond")
        return {"__class__": "datetime"} | {part: getattr(value, part) for part in parts}
    if isinstance(value, date):
        return {"__class__": "date", "year": value.year, "month": value.month, "day": value.day}
    if isinstance(value, Decimal):
        return {"__class__": "Decimal", "decimal": str(value)}
    if isinstance(value, timedelta):
        return {"__class__": "timedelta", "seconds": value.total_seconds()}
    raise TypeError(type(value).__name__)


def _load(value: dict[str, Any]) -> Any:
    match value.get("__class__"):
        case "datetime":
            parts = ("year", "month", "day", "hour", "minute", "second", "microsecond")
            return datetime(*(value[part] for part in parts))  # noqa: DTZ001  (Tryton's instants are naive UTC)
        case "date":
            return date(value["year"], value["month"], value["day"])
        case "Decimal":
            return Decimal(value["decimal"])
        case "timedelta":
            return timedelta(seconds=value["seconds"])
    return value


class _Office:
    """A signed-in user of the web client: JSON-RPC calls with the session that the login gave."""

    def __init__(self, http: httpx.Client, login: str, password: str) -> None:
        self._http = http
        self._headers = {"Content-Type": "application/json"}
        self.context: dict[str, Any] = {"language": "en"}
        session = self._post("common.db.login", login, {"password": password}, "en")
        token = base64.b64encode(f"{login}:{session[0]}:{session[1]}".encode()).decode()
        self._headers["Authorization"] = f"Session {token}"
        self.user_id: int = session[0]
        self.context |= self.call("res.user", "get_preferences", True)

    def _post(self, method: str, *params: Any) -> Any:
        body = json.dumps({"id": 0, "method": method, "params": params}, default=_dump)
        reply = self._http.post(f"/{DATABASE}/rpc/", content=body, headers=self._headers)
        if reply.status_code != 200:
            raise TrytonFailed(f"{method}: HTTP {reply.status_code}")
        answer = json.loads(reply.content, object_hook=_load)
        if "error" in answer:
            raise TrytonFailed(f"{method}: {answer['error']}")
        return answer.get("result")

    def call(self, model: str, method: str, *params: Any, **context: Any) -> Any:
        return self._post(f"model.{model}.{method}", *params, {**self.context, **context})

    def create(self, model: str, **values: Any) -> int:
        (made,) = self.call(model, "create", [values])
        return int(made)

    def write(self, model: str, id: int | str, values: Mapping[str, Any], **context: Any) -> None:
        self.call(model, "write", [int(id)], dict(values), **context)

    def delete(self, model: str, id: int | str) -> None:
        self.call(model, "delete", [int(id)])

    def find(self, model: str, domain: Sequence[Any], fields: Sequence[str] = ("id",)) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.call(model, "search_read", domain, 0, None, [["id", "ASC"]], list(fields))
        return rows

    def one(self, model: str, domain: Sequence[Any]) -> int:
        found = self.find(model, domain)
        if len(found) != 1:
            raise TrytonFailed(f"expected one {model}, found {len(found)}")
        return int(found[0]["id"])

    def wizard(self, name: str, steps: Sequence[tuple[str, Mapping[str, Any]]], **context: Any) -> Any:
        """Walk a wizard: each step is the state to execute and the data of its form."""
        merged = {**self.context, **context}
        session, _start, _end = self._post(f"wizard.{name}.create", merged)
        shown = None
        for state, data in steps:
            shown = self._post(f"wizard.{name}.execute", session, data, state, merged)
        self._post(f"wizard.{name}.delete", session, merged)
        return shown


# --- the firm's set-up ------------------------------------------------------------------------------------------------


def _furnish(office: _Office) -> dict[str, Any]:
    """Company in USD, chart of accounts, fiscal year, countries, categories, staff, the connector's user and key."""
    for code, (name, parts) in COUNTRIES.items():
        country = office.create("country.country", name=name, code=code)
        for part, title in parts.items():
            office.create("country.subdivision", name=title, code=part, type="state", country=country)
    kinds = {name: office.create("party.category", name=name) for name in ("Person", "Organisation")}
    usd = office.create(
        "currency.currency", name="US Dollar", code="USD", symbol="$", rounding=Decimal("0.01"), digits=2
    )
    eur = office.create("currency.currency", name="Euro", code="EUR", symbol="€", rounding=Decimal("0.01"), digits=2)
    for currency, rate in ((usd, "1.0"), (eur, "0.9")):
        office.create("currency.currency.rate", currency=currency, date=date(2000, 1, 1), rate=Decimal(rate))
    firm = office.create("party.party", name="Example & Partners LLP", addresses=[["create", [{"city": "Albany"}]]])
    company = office.create("company.company", party=firm, currency=usd)
    office.write("res.user", office.user_id, {"companies": [["add", [company]]], "company": company})
    office.context |= {"company": company}
    person = office.create("party.party", name="Bo Keeper", categories=[["add", [kinds["Person"]]]])
    employee = office.create("company.employee", party=person, company=company)
    office.write("res.user", office.user_id, {"employees": [["add", [employee]]], "employee": employee})
    office.context |= office.call("res.user", "get_preferences", True)
    _open_books(office, company)
    chosen: dict[str, Any] = {"company": str(company), "employee": str(employee), "kinds": kinds}
    chosen["key"], chosen["key_user"] = _new_key(office, "syncd", RIGHTS, company)
    chosen["powerless_key"], _ = _new_key(office, "clerk", (), company)
    return chosen


def _open_books(office: _Office, company: int) -> None:
    chart = office.one("account.account.template", [["parent", "=", None]])
    steps: list[tuple[str, Mapping[str, Any]]] = [
        ("start", {}),
        ("account", {}),
        ("create_account", {"account": {"account_template": chart, "company": company}}),
    ]
    office.wizard("account.create_chart", steps)
    settings = {f"default_account_{kind}": _account(office, kind, company) for kind in ("receivable", "payable")}
    office.call("account.configuration", "write", [1], settings)
    today = date.today()  # noqa: DTZ011  (a fiscal year is a matter of local dates)
    sequences = {}
    for kind in ("Account Move", "Invoice"):
        of_kind = office.one("ir.sequence.type", [["name", "=", kind]])
        sequences[kind] = office.create("ir.sequence.strict", name=kind, sequence_type=of_kind, company=company)
    invoices = sequences["Invoice"]
    year = office.create(
        "account.fiscalyear",
        name=str(today.year),
        start_date=date(today.year, 1, 1),
        end_date=date(today.year, 12, 31),
        company=company,
        move_sequence=sequences["Account Move"],
        invoice_sequences=[
            [
                "create",
                [
                    {
                        "company": company,
                        "out_invoice_sequence": invoices,
                        "in_invoice_sequence": invoices,
                        "out_credit_note_sequence": invoices,
                        "in_credit_note_sequence": invoices,
                    }
                ],
            ]
        ],
    )
    office.call("account.fiscalyear", "create_period", [year])


def _account(office: _Office, kind: str, company: int | str) -> int:
    """The chart's first account of a kind; for receivable and payable the first one that is kept per party."""
    where: list[list[Any]] = [[f"type.{kind}", "=", True], ["company", "=", int(company)], ["closed", "=", False]]
    if kind in ("receivable", "payable"):
        where.append(["party_required", "=", True])
    return int(office.find("account.account", where)[0]["id"])


def _new_key(office: _Office, login: str, groups: Sequence[str], company: int) -> tuple[str, int]:
    """A user with these rights, and a validated application key for the REST interface."""
    ids = [office.one("res.group", [["name", "=", name]]) for name in groups]
    user = office.create(
        "res.user",
        name=login,
        login=login,
        groups=[["add", ids]],
        companies=[["add", [company]]],
        company=company,
    )
    key = secrets.token_hex(32)
    application = office.create("res.user.application", user=user, application="rest", key=key)
    if office.find("res.user.application", [["id", "=", application]], ["state"])[0]["state"] != "validated":
        office.call("res.user.application", "validate_", [application])
    return key, user


class TrytonServer:
    """One running firm, and what its people do in it. Ids are text, as the connector gives them."""

    def __init__(self, url: str, chosen: Mapping[str, Any], office: _Office, file: Path) -> None:
        self.url = url
        self.file = file
        self.database = DATABASE
        self.chosen = chosen
        self.key: str = chosen["key"]
        self.powerless_key: str = chosen["powerless_key"]
        self.company: str = chosen["company"]
        self.employee: str = chosen["employee"]
        self.office = office

    @property
    def settings(self) -> dict[str, str]:
        """The connector's settings for this server."""
        return {"base_url": self.url, "database": self.database, "key": self.key}

    def new_party(
        self,
        name: str,
        *,
        kind: str | None = None,
        contacts: Sequence[tuple[str, str]] = (),
        addresses: Sequence[Mapping[str, Any]] = (),
        **fields: Any,
    ) -> str:
        """A client or contact. contacts: (type, value); addresses: Tryton's fields, places as codes."""
        rows = [self._places(address) for address in addresses] or [{}]
        return str(
            self.office.create(
                "party.party",
                name=name,
                addresses=[["create", rows]],
                contact_mechanisms=[["create", [{"type": type_, "value": value} for type_, value in contacts]]],
                categories=[["add", [self.chosen["kinds"][kind]] if kind else []]],
                **fields,
            )
        )

    def _places(self, address: Mapping[str, Any]) -> dict[str, Any]:
        row = dict(address)
        for name, model in (("country", "country.country"), ("subdivision", "country.subdivision")):
            if row.get(name):
                row[name] = self.office.one(model, [["code", "=", row[name]]])
        return row

    def edit_party(self, party: str, **fields: Any) -> None:
        """Change fields of the party itself; nested lists take Tryton's own commands."""
        self.office.write("party.party", party, fields)

    def edit_contact(self, contact: str, **fields: Any) -> None:
        """Change a contact mechanism from its own menu, without opening the party."""
        self.office.write("party.contact_mechanism", contact, fields)

    def edit_address(self, address: str, **fields: Any) -> None:
        """Change an address from its own menu, without opening the party."""
        self.office.write("party.address", address, self._places(fields))

    def delete_contact(self, contact: str) -> None:
        self.office.delete("party.contact_mechanism", contact)

    def delete_party(self, party: str) -> None:
        self.office.delete("party.party", party)

    def new_matter(self, number: str, name: str, party: str) -> str:
        """A project that takes timesheet lines, named as firms name them: number first."""
        return str(
            self.office.create(
                "project.work",
                name=f"{number} {name}".strip(),
                type="project",
                party=int(party),
                company=int(self.company),
                timesheet_available=True,
                status=self.office.one("project.work.status", [["name", "=", "Open"]]),
            )
        )

    def edit_matter(self, matter: str, **fields: Any) -> None:
        self.office.write("project.work", matter, fields)

    def draft_invoice(
        self, matter_number: str, party: str, total: Decimal | str, *, on: date | None = None, description: str = ""
    ) -> str:
        company = int(self.company)
        address = self.office.find("party.address", [["party", "=", int(party)]])
        if not address:
            raise TrytonFailed("a party without an address cannot be invoiced")
        usd = self.office.one("currency.currency", [["code", "=", "USD"]])
        line = {
            "type": "line",
            "description": "Legal services",
            "account": _account(self.office, "revenue", company),
            "quantity": 1,
            "unit_price": Decimal(str(total)),
            "company": company,
            "currency": usd,
        }
        return str(
            self.office.create(
                "account.invoice",
                type="out",
                company=company,
                party=int(party),
                invoice_address=address[0]["id"],
                currency=usd,
                account=_account(self.office, "receivable", company),
                journal=self.office.one("account.journal", [["type", "=", "revenue"]]),
                reference=matter_number,
                description=description or None,
                invoice_date=on or date.today(),  # noqa: DTZ011
                lines=[["create", [line]]],
            )
        )

    def issue_invoice(
        self, matter_number: str, party: str, total: Decimal | str, *, on: date | None = None, description: str = ""
    ) -> str:
        """A posted customer invoice of one line, its reference the matter's number."""
        invoice = self.draft_invoice(matter_number, party, total, on=on, description=description)
        self.office.call("account.invoice", "post", [int(invoice)])
        return invoice

    def cancel_invoice(self, invoice: str) -> None:
        """Void an invoice so that it no longer counts: state `cancelled`, its move reversed by Tryton itself."""
        self.office.write("company.company", self.company, {"cancel_invoice_out": True})
        self.office.call("account.invoice", "cancel", [int(invoice)])

    def credit_invoice(self, invoice: str) -> str:
        """Credit an invoice in full: the other way firms void a bill. Returns the credit note's id."""
        before = {row["id"] for row in self.office.find("account.invoice", [])}
        steps: list[tuple[str, Mapping[str, Any]]] = [
            ("start", {}),
            ("credit", {"start": {"with_refund": True, "invoice_date": date.today()}}),  # noqa: DTZ011
        ]
        about = {"active_model": "account.invoice", "active_id": int(invoice), "active_ids": [int(invoice)]}
        self.office.wizard("account.invoice.credit", steps, **about)
        (made,) = {row["id"] for row in self.office.find("account.invoice", [])} - before
        return str(made)

    def log_time(self, matter: str, hours: Decimal | str, on: date, description: str = "") -> str:
        """A timesheet line of the bookkeeper on the matter's timesheet work."""
        work = self.office.one("timesheet.work", [["origin", "=", f"project.work,{matter}"]])
        return str(
            self.office.create(
                "timesheet.line",
                company=int(self.company),
                employee=int(self.employee),
                work=work,
                date=on,
                duration=timedelta(hours=float(hours)),
                description=description,
            )
        )

    def edit_time(self, line: str, **fields: Any) -> None:
        self.office.write("timesheet.line", line, fields)

    def new_opportunity(
        self, description: str, party: str, *, amount: Decimal | str | None = None, reference: str = ""
    ) -> str:
        """A lead in the firm's currency; `reference` is where firms note the matter's number once there is one."""
        return str(
            self.office.create(
                "sale.opportunity",
                description=description,
                party=int(party),
                company=int(self.company),
                employee=int(self.employee),
                currency=self.office.one("currency.currency", [["code", "=", "USD"]]),
                amount=None if amount is None else Decimal(str(amount)),
                reference=reference,
            )
        )

    def edit_opportunity(self, opportunity: str, **fields: Any) -> None:
        self.office.write("sale.opportunity", opportunity, fields)

    def read(self, model: str, id: str, *fields: str) -> dict[str, Any]:
        """What the web client would show of one record."""
        rows: list[dict[str, Any]] = self.office.call(model, "read", [int(id)], list(fields))
        return rows[0]

    def let_a_day_pass(self) -> None:
        """Move every record's times one day into the past, as if it had been made and changed yesterday."""
        tables = ["party_party", "party_address", "party_contact_mechanism", "project_work", "timesheet_line"]
        with closing(sqlite3.connect(self.file, timeout=30)) as database, database:
            for table in [*tables, "account_invoice", "sale_opportunity"]:
                for column in ("create_date", "write_date"):
                    earlier = f"strftime('%Y-%m-%d', {column}, '-1 day') || substr({column}, 11)"
                    database.execute(f"UPDATE {table} SET {column} = {earlier} WHERE {column} IS NOT NULL")

    @contextmanager
    def without_model(self, model: str) -> Iterator[None]:
        """As if the module behind a model had never been activated, as far as Tryton's list of models tells."""
        self._rename_model(model, f"{model}.away")
        try:
            yield
        finally:
            self._rename_model(f"{model}.away", model)

    def _rename_model(self, before: str, after: str) -> None:
        with closing(sqlite3.connect(self.file, timeout=30)) as database, database:
            database.execute("UPDATE ir_model SET name = ? WHERE name = ?", (after, before))

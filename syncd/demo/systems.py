"""The demo firm's systems as processes: each a vendor's sandbox, filled from one roster, its data in a file.

`python -m syncd.demo clio --port 9101 --state FILE --size 300` runs one; `up` runs all of them with the service.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from sqlalchemy import select, update

from connectors.carddav import vcards
from connectors.carddav.sandbox import CardDavSandbox
from connectors.clio.sandbox import ClioSandbox
from connectors.salesforce.sandbox import SalesforceSandbox
from syncd import connections, supervisor
from syncd.app import App, open_app
from syncd.config import FIRM_FILE, SettingsError, load_settings, write_firm_template
from syncd.demo.roster import Roster, card, company_phone, roster
from syncd.store.database import reading
from syncd.store.tables import connections as connections_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from connectors.sandbox import Sandbox
    from syncd.config import Settings

PLACE = "demo.json"
POLL_S = 2.0
READY_S = 60.0
SYSTEMS: Mapping[str, str] = {"clio": "clio", "crm": "salesforce", "cards": "carddav"}
"""connection name -> connector"""

FIRM_YAML = """\
name: Demo & Partners
region: US
authority: [clio, crm, cards]
poll_s: 2
workers: 2
listen: 127.0.0.1:{port}
"""


def clio(*, seed: int = 1, size: int = 300, **how: Any) -> ClioSandbox:
    """Practice management: people with addresses, their companies, and the firm's matters."""
    fresh = _is_fresh(how)
    sandbox = ClioSandbox(seed=seed, size=0, **how)
    if fresh:
        _fill_clio(sandbox, roster(seed, size))
    return sandbox


def _fill_clio(sandbox: ClioSandbox, firm: Roster) -> None:
    ids: dict[str, int] = {}
    for name in firm.companies[::2]:
        fields: dict[str, Any] = {"type": "Company", "name": name}
        if name != firm.companies[0]:  # of the first one, the two systems have only the name in common
            fields["phone"] = company_phone(firm, name)
        ids[name] = sandbox.edit_new_contact(fields)["id"]
    clients = {each.number for each in firm.clients}
    for person in firm.people:
        if "clio" not in person.systems:
            continue
        city, province, postcode = person.city
        fields = {
            "type": "Person",
            "name": f"{person.given} {person.family}",
            "first_name": person.given,
            "last_name": person.family,
            "email": person.email,
            "addresses": [
                {
                    "name": "Work",
                    "street": person.street,
                    "city": city,
                    "province": province,
                    "postal_code": postcode,
                    "country": "United States",
                }
            ],
        }
        if person.number % 4:
            fields["phone"] = person.bracketed
        if person.company in ids:
            fields["company"] = {"id": ids[person.company or ""]}
        row = sandbox.edit_new_contact(fields)
        if person.number in clients:
            sandbox.edit_new_matter(
                {"client": {"id": row["id"]}, "description": f"{person.family}: advice", "status": "open"}
            )


def crm(*, seed: int = 1, size: int = 300, **how: Any) -> SalesforceSandbox:
    """The CRM: the same people with titles, and an opportunity for every matter it has heard of."""
    firm = roster(seed, size)
    # Clio numbers its matters as it makes them, in the roster's order; the CRM's users typed the numbers in.
    numbers = {each.number: f"{place:05}-{each.family}" for place, each in enumerate(firm.clients, 1)}
    rows: dict[str, list[dict[str, Any]]] = {
        "Account": [{"Name": name, "Phone": company_phone(firm, name)} for name in firm.companies[::3]],
        "Contact": [],
        "Opportunity": [],
    }
    accounts = {row["Name"] for row in rows["Account"]}
    for person in firm.people:
        if "crm" in person.systems:
            row: dict[str, Any] = {
                "FirstName": person.given, "LastName": person.family, "Email": person.email,
                "Phone": f"+1 {person.bracketed}", "Title": person.title,
            }  # fmt: skip
            if person.company in accounts:
                row["Account"] = {"Name": person.company}
            rows["Contact"].append(row)
        if person.number in numbers:
            rows["Opportunity"].append(
                {
                    "Name": f"{person.family} advice",
                    "StageName": "Closed Won",
                    "CloseDate": "2026-10-01",
                    "Matter_Number__c": numbers[person.number],
                }
            )
    return SalesforceSandbox(seed=seed, accounts=0, contacts=0, opportunities=0, tasks=0, rows=rows, **how)


def cards(*, seed: int = 1, size: int = 300, **how: Any) -> CardDavSandbox:
    """The firm's shared address book."""
    texts = [vcards.serialise(card(person)) for person in roster(seed, size).people if "cards" in person.systems]
    return CardDavSandbox(seed=seed, cards=texts, **how)


FACTORIES: Mapping[str, Callable[..., Sandbox]] = {"clio": clio, "crm": crm, "cards": cards}


def _is_fresh(how: Mapping[str, Any]) -> bool:
    state = how.get("state")
    return state is None or not Path(state).exists() or Path(state).stat().st_size == 0


# --- starting and connecting ---------------------------------------------------------------------------------------


def prepare(home: Path, *, size: int, seed: int, port: int | None = None) -> dict[str, Any]:
    """Make the demo's home on first use; afterwards only find ports that are free. Returns its place document."""
    home.mkdir(parents=True, exist_ok=True)
    if not (home / FIRM_FILE).exists():
        write_firm_template(home, "Demo & Partners")
        (home / FIRM_FILE).write_text(FIRM_YAML.format(port=8620 if port is None else port), encoding="utf-8")
    path = home / PLACE
    place: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"size": size, "seed": seed, "ports": {}}
    place["ports"] = {name: _free_port(place["ports"].get(name, 0)) for name in SYSTEMS}
    path.write_text(json.dumps(place, indent=2))
    return place


def _free_port(wanted: int) -> int:
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")


def children(home: Path, place: Mapping[str, Any]) -> list[supervisor.Child]:
    return [
        supervisor.Child(
            f"{SYSTEMS[name]} sandbox ({name})",
            (
                sys.executable,
                "-m",
                "syncd.demo",
                name,
                "--port",
                str(place["ports"][name]),
                "--state",
                str(home / f"{name}.jsonl"),
                "--size",
                str(place["size"]),
                "--seed",
                str(place["seed"]),
            ),
        )
        for name in SYSTEMS
    ]


def url_of(place: Mapping[str, Any], name: str) -> str:
    return f"http://127.0.0.1:{place['ports'][name]}"


def settings_for(place: Mapping[str, Any], name: str) -> dict[str, str]:
    """What a person would type to connect this sandbox."""
    url = url_of(place, name)
    if name == "clio":
        return {
            "base_url": url, "client_id": ClioSandbox.client_id, "client_secret": ClioSandbox.client_secret,
            "refresh_token": ClioSandbox.refresh_token,
        }  # fmt: skip
    if name == "crm":
        return {
            "base_url": url, "login_url": url, "client_id": SalesforceSandbox.client_id,
            "client_secret": SalesforceSandbox.client_secret, "refresh_token": "5Aep861.sandbox.0",
        }  # fmt: skip
    return {"base_url": url, "username": "demo", "password": "demo"}


def wait_for_systems(place: Mapping[str, Any]) -> None:
    deadline = time.monotonic() + READY_S
    for name in SYSTEMS:
        while True:
            try:
                if httpx.get(f"{url_of(place, name)}/__sandbox__/health", timeout=2).status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            if time.monotonic() > deadline:
                raise TimeoutError(f"The {name} sandbox does not answer.")
            time.sleep(0.05)


def connect(app: App, place: Mapping[str, Any], tell: Callable[[str], None]) -> None:
    """Connect what is not connected yet; on another start, follow a sandbox to its new port."""
    wait_for_systems(place)
    with reading(app.engine) as sql:
        known = {
            row.name: json.loads(row.settings)
            for row in sql.execute(select(connections_table.c.name, connections_table.c.settings))
        }
    for name, connector in SYSTEMS.items():
        wanted = settings_for(place, name)
        if name not in known:
            connections.add(app, name, connector, wanted, poll_s=POLL_S, live=True)
            tell(f"Connected {name} ({connector}).")
        elif known[name].get("base_url") != wanted["base_url"]:
            moved = {key: wanted.get(key, value) for key, value in known[name].items()}
            with app.engine.begin() as sql:
                sql.execute(
                    update(connections_table).where(connections_table.c.name == name).values(settings=json.dumps(moved))
                )


def up(home: Path | None, size: int, tell: Callable[[str], None], *, seed: int = 1, port: int | None = None) -> int:
    """The demo firm until Ctrl-C; a second start goes on where the first stopped."""
    folder = home or Path(".run/demo").absolute()
    settings = _settings(folder, size=size, seed=seed, port=port, tell=tell)
    if settings is None:
        return 2
    place = json.loads((folder / PLACE).read_text())
    tell(f"Demo firm in {folder} ({place['size']} people): clio (Clio), crm (Salesforce), cards (an address book).")
    joiner = subprocess.Popen(  # noqa: S603 (our own command)
        [sys.executable, "-m", "syncd.demo", "connect", str(folder)], stdin=subprocess.DEVNULL
    )
    try:
        return supervisor.run(settings, extra=children(folder, place), announce=tell)
    finally:
        joiner.terminate()
        joiner.wait(10)


def _settings(folder: Path, *, size: int, seed: int, port: int | None, tell: Callable[[str], None]) -> Settings | None:
    try:
        prepare(folder, size=size, seed=seed, port=port)
        return load_settings(folder, os.environ)
    except SettingsError as error:
        tell(str(error))
        return None


def join_firm(folder: Path) -> None:
    app = open_app(load_settings(folder, os.environ))
    place = json.loads((folder / PLACE).read_text())
    try:
        connect(app, place, lambda line: print(line, flush=True))
        print(f"Syncing. What is where: syncd status --home {folder}", flush=True)
    finally:
        app.close()

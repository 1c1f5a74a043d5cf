"""Connects the demo firm's systems to the service, as an administrator would with `syncd connect add`."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import httpx
from sqlalchemy import delete, select

from connectors.errors import SyncError
from syncd import connections
from syncd.app import App, open_app
from syncd.config import load_settings
from syncd.demo.systems import SYSTEMS, place_of, url_of
from syncd.store.database import reading
from syncd.store.tables import connections as connections_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

POLL_S = 2.0
READY_S = 60.0


def join(home: Path) -> int:
    """Connect whatever is not connected yet; the exit code. Called again after a failure, it goes on."""
    place = place_of(home)
    app = open_app(load_settings(home, os.environ))
    try:
        connect(app, place, lambda line: print(line, flush=True))
    except (SyncError, connections.CannotConnect, SystemSilent) as error:
        print(f"The demo's systems are not connected yet: {error}", file=sys.stderr, flush=True)
        return 1
    finally:
        app.close()
    print(f"Syncing {', '.join(SYSTEMS)}. In another terminal: syncd status --home {home}", flush=True)
    return 0


def connect(app: App, place: Mapping[str, Any], tell: Callable[[str], None]) -> None:
    """Connect what is not connected yet; on another start, follow a sandbox to its new port."""
    wait_for_systems(place)
    with app.engine.begin() as sql:
        # Half of a connection, from a start that was killed in between. Nobody else connects anything in a demo's home.
        sql.execute(delete(connections_table).where(connections_table.c.mode == "checking"))
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
            connections.move(app, name, {key: wanted[key] for key in known[name].keys() & wanted.keys()})


def settings_for(place: Mapping[str, Any], name: str) -> dict[str, str]:
    """What a person would type to connect this sandbox."""
    from connectors.clio.sandbox import ClioSandbox
    from connectors.salesforce.sandbox import SalesforceSandbox

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


class SystemSilent(Exception):
    """A sandbox does not answer."""


def wait_for_systems(place: Mapping[str, Any]) -> None:
    """Return when every sandbox answers. Raises SystemSilent."""
    deadline = time.monotonic() + READY_S
    for name in SYSTEMS:
        while not _answers(place, name):
            if time.monotonic() > deadline:
                raise SystemSilent(f"the {name} sandbox does not answer at {url_of(place, name)}.")
            time.sleep(0.05)


def _answers(place: Mapping[str, Any], name: str) -> bool:
    try:
        return httpx.get(f"{url_of(place, name)}/__sandbox__/health", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False

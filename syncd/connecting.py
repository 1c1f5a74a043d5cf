"""From a stored connection to a connector that can talk: egress rules, HTTP client, and tokens that renew themselves.

Credentials are one sealed document per connection. A refreshed token is stored before it is used, under a lock
in the database that all processes on all machines share.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, select, text, update

from connectors import registry
from connectors.egress import Egress
from connectors.errors import ReconnectNeeded, TryLater
from connectors.http import Auth, BasicAuth, BearerAuth, VendorHTTP
from connectors.oauth import OAuthAuth, Tokens, VersionMoved
from connectors.redact import Secret
from syncd.clock import from_iso, iso
from syncd.store.database import reading
from syncd.store.tables import connections, meta

if TYPE_CHECKING:
    from connectors.contract import Access, Connector
    from collections.abc import Iterator, Mapping
    from syncd.app import App

REFRESH_LOCK = timedelta(seconds=60)
REFRESH_WAIT_S = 45.0


def sealed(app: App, name: str, secrets: Mapping[str, str]) -> bytes:
    """Secrets as they are stored: encrypted, and bound to this connection so that rows cannot be swapped."""
    return app.vault.seal(json.dumps(dict(secrets), sort_keys=True).encode(), f"connection:{name}")


@dataclass(frozen=True)
class StoredTokens:
    """The OAuth tokens of one connection, in its sealed document."""

    app: App
    name: str

    def load(self) -> Tokens:
        with reading(self.app.engine) as sql:
            row = sql.execute(
                select(connections.c.secrets, connections.c.secrets_version).where(connections.c.name == self.name)
            ).one_or_none()
        if row is None:
            raise ReconnectNeeded("The connection was removed.")
        secrets = json.loads(self.app.vault.open(bytes(row.secrets), f"connection:{self.name}"))
        expires = secrets.get("expires_at")
        return Tokens(
            access=Secret(secrets["access_token"]) if secrets.get("access_token") else None,
            refresh=Secret(secrets["refresh_token"]) if secrets.get("refresh_token") else None,
            expires_at=from_iso(expires) if expires else None,
            version=row.secrets_version,
        )

    def save(self, tokens: Tokens, expected_version: int) -> Tokens:
        with self.app.engine.begin() as sql:
            row = sql.execute(
                select(connections.c.secrets, connections.c.secrets_version).where(connections.c.name == self.name)
            ).one_or_none()
            if row is None or row.secrets_version != expected_version:
                raise VersionMoved
            secrets = json.loads(self.app.vault.open(bytes(row.secrets), f"connection:{self.name}"))
            if tokens.access is not None:
                secrets["access_token"] = tokens.access.reveal()
            if tokens.refresh is not None:
                secrets["refresh_token"] = tokens.refresh.reveal()
            secrets["expires_at"] = iso(tokens.expires_at) if tokens.expires_at is not None else ""
            moved = sql.execute(
                update(connections)
                .where(connections.c.name == self.name, connections.c.secrets_version == expected_version)
                .values(secrets=sealed(self.app, self.name, secrets), secrets_version=expected_version + 1)
            )
            if moved.rowcount != 1:
                raise VersionMoved
        return Tokens(tokens.access, tokens.refresh, tokens.expires_at, expected_version + 1, tokens.extra)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Exclude every other refresh of this connection. A lock whose holder died is free again after a minute."""
        mine = f"{self.app.owner}:{os.urandom(4).hex()}"
        name = f"refresh:{self.name}"
        deadline = time.monotonic() + REFRESH_WAIT_S
        while not self._take(name, mine):
            if time.monotonic() > deadline:
                raise TryLater("Another worker has been renewing this sign-in for a long time.")
            time.sleep(0.05)
        try:
            yield
        finally:
            with self.app.engine.begin() as sql:
                sql.execute(delete(meta).where(meta.c.name == name, meta.c.value.like(f"%|{mine}")))

    def _take(self, name: str, mine: str) -> bool:
        now = self.app.clock.now()
        with self.app.engine.begin() as sql:
            taken = sql.execute(
                text(
                    "INSERT INTO meta (name, value) VALUES (:name, :value) ON CONFLICT (name)"
                    " DO UPDATE SET value = excluded.value WHERE meta.value < :now"
                ),
                {"name": name, "value": f"{iso(now + REFRESH_LOCK)}|{mine}", "now": iso(now)},
            )
        return taken.rowcount == 1


@dataclass(frozen=True)
class Talking:
    """An open connector. `requests` counts what it sent; close it when the turn is over."""

    connector: Connector
    http: VendorHTTP | None

    def requests(self) -> int:
        return self.http.requests if self.http is not None else 0

    def close(self) -> None:
        if self.http is not None:
            self.http.close()


def open_connection(app: App, name: str) -> Talking:
    """The connector of a stored connection, ready to be called. No request is made here. Raises SyncError, VaultError."""
    with reading(app.engine) as sql:
        row = sql.execute(select(connections).where(connections.c.name == name)).mappings().one()
    settings = json.loads(row["settings"])
    secrets = json.loads(app.vault.open(bytes(row["secrets"]), f"connection:{name}"))
    return talk(app, name, row["connector"], settings, secrets, stored=True)


def talk(
    app: App, name: str, connector: str, settings: Mapping[str, str], secrets: Mapping[str, str], *, stored: bool
) -> Talking:
    """A connector from settings and secrets; `stored` false while a new connection is being tried out."""
    made = registry.load(connector)
    access = made.access(settings)
    if access.scheme == "none":
        return Talking(made(None, settings), None)  # type: ignore[arg-type]  # such a connector makes no request
    own = settings.get("base_url")
    egress = Egress.allow(made.spec.hosts, access.base_url, private=own is not None)
    auth = _auth(app, name, access, settings, secrets, egress, stored=stored)
    http = VendorHTTP(base_url=access.base_url, egress=egress, auth=auth)
    return Talking(made(http, settings), http)


def _auth(
    app: App,
    name: str,
    access: Access,
    settings: Mapping[str, str],
    secrets: Mapping[str, str],
    egress: Egress,
    *,
    stored: bool,
) -> Auth:
    if access.scheme == "basic":
        return BasicAuth(settings.get("username", ""), Secret(secrets.get("password", "")))
    if access.scheme == "bearer":
        return BearerAuth(Secret(secrets.get(access.secret or "", "")))
    if not stored and secrets.get("access_token") and not secrets.get("refresh_token"):
        return BearerAuth(Secret(secrets["access_token"]))
    secret = secrets.get("client_secret")
    return OAuthAuth(
        StoredTokens(app, name),
        token_url=access.token_url or "",
        client_id=settings.get("client_id", ""),
        client_secret=Secret(secret) if secret else None,
        egress=egress,
    )

"""From a stored connection to a connector that can talk: egress rules, HTTP client, and tokens that renew themselves.

Credentials are one sealed document per connection. A refreshed token is stored before it is used, under a lock
in the database that all processes on all machines share. Whatever is opened or arrives here is hidden from the logs
of this process before anything else is done with it.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import delete, select, text, update

from connectors import registry
from connectors.contract import Capabilities
from connectors.egress import Egress
from connectors.errors import ReconnectNeeded, TryLater
from connectors.http import Auth, BasicAuth, BearerAuth, VendorHTTP
from connectors.oauth import OAuthAuth, Tokens, VersionMoved
from connectors.redact import Secret
from syncd import logs
from syncd.clock import from_iso, iso
from syncd.store.database import reading
from syncd.store.tables import connections, meta

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Connection, RowMapping

    from connectors.contract import Access, Connector
    from connectors.oauth import TokenStore
    from mappings.load import ConnectorMapping
    from syncd.app import App

# Looking through the installed packages takes milliseconds, and they do not change under a running process.
connector_class = cache(registry.load)

REFRESH_LOCK = timedelta(seconds=60)
REFRESH_WAIT_S = 45.0
INTERRUPTED = (
    "A renewal of this sign-in was interrupted before the vendor's new token could be stored, and the vendor takes the"
    " old one no more."
)
SHOWN = frozenset({"expires_at", "extra"})
"""What the sealed document holds beside secrets: when the token ends, and other strings of the vendor's reply."""


@dataclass(frozen=True)
class Place:
    """Where a connection's secrets belong: its name, its connector, and its settings as the row holds them.

    Secrets open only there, so whoever can write to the database can neither swap rows nor send a credential to a
    server of their own by changing an address.
    """

    name: str
    connector: str
    settings: str

    @staticmethod
    def of(row: RowMapping | Mapping[str, Any]) -> Place:
        return Place(row["name"], row["connector"], row["settings"])

    @property
    def context(self) -> str:
        return "\n".join((f"connection:{self.name}", self.connector, self.settings))


BOUND = (connections.c.name, connections.c.connector, connections.c.settings)
"""The columns that `Place.of` reads."""


def sealed(app: App, place: Place, secrets: Mapping[str, Any]) -> bytes:
    """Secrets as they are stored: encrypted, and bound to their place."""
    hide(secrets)
    return app.vault.seal(json.dumps(dict(secrets), sort_keys=True).encode(), place.context)


def unsealed(app: App, place: Place, blob: bytes) -> dict[str, Any]:
    """The inverse of `sealed`. Raises VaultError."""
    secrets: dict[str, Any] = json.loads(app.vault.open(bytes(blob), place.context))
    hide(secrets)
    return secrets


def hide(secrets: Mapping[str, Any]) -> None:
    """From now on no log of this process shows one of these values."""
    for key, value in secrets.items():
        if key not in SHOWN and isinstance(value, str):
            logs.hide(value)


@dataclass(frozen=True)
class StoredTokens:
    """The OAuth tokens of one connection, in its sealed document."""

    app: App
    name: str

    def load(self) -> Tokens:
        with reading(self.app.engine) as sql:
            row = self._row(sql)
        if row is None:
            raise ReconnectNeeded("The connection was removed.")
        return tokens_in(unsealed(self.app, Place.of(row), row["secrets"]), row["secrets_version"])

    def save(self, tokens: Tokens, expected_version: int) -> Tokens:
        hide(changed({}, tokens))
        with self.app.engine.begin() as sql:
            row = self._row(sql)
            if row is None or row["secrets_version"] != expected_version:
                raise VersionMoved
            place = Place.of(row)
            secrets = changed(unsealed(self.app, place, row["secrets"]), tokens)
            moved = sql.execute(
                update(connections)
                .where(connections.c.name == self.name, connections.c.secrets_version == expected_version)
                .values(secrets=sealed(self.app, place, secrets), secrets_version=expected_version + 1)
            )
            if moved.rowcount != 1:
                raise VersionMoved
        return replace(tokens, version=expected_version + 1)

    def _row(self, sql: Connection) -> RowMapping | None:
        columns = (*BOUND, connections.c.secrets, connections.c.secrets_version)
        return sql.execute(select(*columns).where(connections.c.name == self.name)).mappings().one_or_none()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Exclude every other refresh of this connection. A lock whose holder died is free again after a minute."""
        mine = f"{self.app.owner}:{os.urandom(4).hex()}"
        name = f"refresh:{self.name}"
        deadline = time.monotonic() + REFRESH_WAIT_S
        while (taken := self._take(name, mine)) is None:
            if time.monotonic() > deadline:
                raise TryLater("Another worker has been renewing this sign-in for a long time.")
            time.sleep(0.05)
        try:
            yield
        except ReconnectNeeded as error:
            if taken == "left":
                raise ReconnectNeeded(INTERRUPTED, remedy=error.remedy) from error
            raise
        finally:
            with self.app.engine.begin() as sql:
                sql.execute(delete(meta).where(meta.c.name == name, meta.c.value.like(f"%|{mine}")))

    def _take(self, name: str, mine: str) -> Literal["free", "left"] | None:
        """None: somebody holds the lock. left: somebody had it who never came back to give it up."""
        now = self.app.clock.now()
        with self.app.engine.begin() as sql:
            before = sql.execute(select(meta.c.value).where(meta.c.name == name)).scalar()
            taken = sql.execute(
                text(
                    "INSERT INTO meta (name, value) VALUES (:name, :value) ON CONFLICT (name)"
                    " DO UPDATE SET value = excluded.value WHERE meta.value < :now"
                ),
                {"name": name, "value": f"{iso(now + REFRESH_LOCK)}|{mine}", "now": iso(now)},
            )
        if taken.rowcount != 1:
            return None
        return "free" if before is None else "left"


@dataclass
class OfferedTokens:
    """Tokens that a person has just given, while they are tried out; whoever asked stores them when they work."""

    secrets: dict[str, Any]
    version: int = 0

    def load(self) -> Tokens:
        return tokens_in(self.secrets, self.version)

    def save(self, tokens: Tokens, expected_version: int) -> Tokens:
        if expected_version != self.version:
            raise VersionMoved
        self.secrets, self.version = changed(self.secrets, tokens), expected_version + 1
        hide(self.secrets)
        return replace(tokens, version=self.version)

    @contextmanager
    def locked(self) -> Iterator[None]:
        yield


def offer(stored: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
    """The stored document with newly given secrets; an access token that belongs to the old sign-in is dropped."""
    new = {**stored, **given}
    if "access_token" not in given:
        new.pop("access_token", None)
    new |= {"expires_at": "", "extra": {}}
    hide(new)
    return new


def tokens_in(secrets: Mapping[str, Any], version: int) -> Tokens:
    """The tokens in an opened document."""
    expires = secrets.get("expires_at")
    return Tokens(
        access=Secret(secrets["access_token"]) if secrets.get("access_token") else None,
        refresh=Secret(secrets["refresh_token"]) if secrets.get("refresh_token") else None,
        expires_at=from_iso(expires) if expires else None,
        version=version,
        extra=dict(secrets.get("extra") or {}),
    )


def changed(secrets: Mapping[str, Any], tokens: Tokens) -> dict[str, Any]:
    """The document with these tokens in it; what a reply does not name stays."""
    held = dict(secrets)
    if tokens.access is not None:
        held["access_token"] = tokens.access.reveal()
    if tokens.refresh is not None:
        held["refresh_token"] = tokens.refresh.reveal()
    held["expires_at"] = iso(tokens.expires_at) if tokens.expires_at is not None else ""
    held["extra"] = dict(tokens.extra)
    return held


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


def open_connection(app: App, name: str, mapping: ConnectorMapping | None = None) -> Talking:
    """The connector of a stored connection, ready to be called; makes no request. Raises SyncError, VaultError.

    mapping: what its records must hold, for vendors that send only what is asked for.
    """
    with reading(app.engine) as sql:
        row = sql.execute(select(connections).where(connections.c.name == name)).mappings().one()
    settings = json.loads(row["settings"])
    talking = talk(row["connector"], settings, unsealed(app, Place.of(row), row["secrets"]), StoredTokens(app, name))
    if mapping is not None:
        choose(talking.connector, mapping)
    return talking


def choose(connector: Connector, mapping: ConnectorMapping) -> None:
    """Have the connector read what the mapping names, where the vendor sends only what is asked for."""
    chosen = Capabilities.of(connector).choose
    if chosen is None:
        return
    for resource in dict.fromkeys(lens.resource for lens in mapping.mappings):
        names = [name for lens in mapping.of(resource) for name in lens.vendor_fields]
        chosen(resource, tuple(dict.fromkeys(names)))


def talk(connector: str, settings: Mapping[str, str], secrets: Mapping[str, Any], tokens: TokenStore) -> Talking:
    """A connector from settings and secrets; `tokens` keeps what a sign-in renews."""
    made = connector_class(connector)
    access = made.access(settings)
    if access.scheme == "none":
        return Talking(made(None, settings), None)  # type: ignore[arg-type]  # such a connector makes no request
    own = settings.get("base_url")
    egress = Egress.allow(made.spec.hosts, access.base_url, private=own is not None)
    auth = _auth(access, settings, secrets, tokens, egress)
    http = VendorHTTP(base_url=access.base_url, egress=egress, auth=auth)
    return Talking(made(http, settings), http)


def _auth(
    access: Access, settings: Mapping[str, str], secrets: Mapping[str, Any], tokens: TokenStore, egress: Egress
) -> Auth:
    if access.scheme == "basic":
        return BasicAuth(settings.get("username", ""), Secret(secrets.get("password", "")))
    if access.scheme == "bearer":
        return BearerAuth(Secret(secrets.get(access.secret or "", "")))
    secret = secrets.get("client_secret")
    return OAuthAuth(
        tokens,
        token_url=access.token_url or "",
        client_id=settings.get("client_id", ""),
        client_secret=Secret(secret) if secret else None,
        egress=egress,
    )

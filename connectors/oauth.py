"""OAuth 2.0 tokens, renewed once however many processes notice at the same time that they ran out.

Many vendors rotate refresh tokens: each works once, and two workers that refresh together disconnect the firm. So a
refresh happens under a lock that all processes share, reads the store again once it has the lock (somebody else may
have refreshed meanwhile: then their token is used), and saves the new tokens before anything uses them. Where tokens
are kept and what the lock is, the caller decides (`TokenStore`). The first sign-in of a person is not done here.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol
from urllib.parse import quote, urlencode

import httpx
import orjson

from connectors.egress import Egress, GuardedTransport, refused
from connectors.errors import (
    Misconfigured,
    RateLimited,
    ReconnectNeeded,
    ShapeChanged,
    TryLater,
    Unreachable,
)
from connectors.http import FINAL_5XX, USER_AGENT, Headers, TooLarge, exchange
from connectors.pacing import read_limits
from connectors.redact import Secret

Grant = Literal["refresh_token", "client_credentials"]
ANSWER_BYTES_MAX = 1_000_000
RECONNECT = "Sign in to this system again (Reconnect on its connection page)."


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a sign-in or a refresh gave, and which edition of it this is.

    access      None before the first client_credentials grant
    refresh     None where the grant gives none
    expires_at  aware UTC; None when the vendor does not say (Salesforce): then a 401 is the sign
    version     counted by the store: every save raises it
    extra       other strings of the token reply that a connector may need, such as Salesforce's instance_url
    """

    access: Secret | None
    refresh: Secret | None
    expires_at: datetime | None
    version: int = 0
    extra: Mapping[str, str] = field(default_factory=dict)


class VersionMoved(Exception):
    """The store holds another version than the one that was to be replaced; its tokens are the newer ones."""


class TokenStore(Protocol):
    """Where one connection's tokens are kept, for all processes.

    load    the tokens as they are now, never from a cache. Raises ReconnectNeeded when there are none
    locked  excludes every other process and thread that refreshes this connection's tokens; released when the process
            dies. Raises TryLater when the lock cannot be had in good time
    save    replaces the tokens if the stored version is still expected_version, else raises VersionMoved; durable
            before it returns; gives the tokens back with their new version
    """

    def load(self) -> Tokens: ...

    def locked(self) -> AbstractContextManager[None]: ...

    def save(self, tokens: Tokens, expected_version: int) -> Tokens: ...


def utc_now() -> datetime:
    return datetime.now(UTC)


class OAuthAuth:
    """Bearer tokens that renew themselves; an `Auth` for VendorHTTP. Safe to share between threads.

    token_url      must be allowed by `egress`
    grant          "refresh_token", or "client_credentials" (no person signs in; there is no refresh token)
    client_auth    where the client id and secret go: "body" (form fields) or "basic" (RFC 6749, section 2.3.1)
    scope, params  further form fields that some vendors want
    early          renew this long before the end, so that no request meets it on the way
    """

    def __init__(
        self,
        store: TokenStore,
        *,
        token_url: str,
        client_id: str,
        client_secret: Secret | None,
        egress: Egress,
        grant: Grant = "refresh_token",
        client_auth: Literal["body", "basic"] = "body",
        scope: str | None = None,
        params: Mapping[str, str] | None = None,
        early: timedelta = timedelta(seconds=60),
        timeout_s: float = 20.0,
        transport: httpx.BaseTransport | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        if not (verdict := egress.verdict(token_url)).allowed:
            raise refused(verdict)
        self._store = store
        self._token_url = token_url
        self._client_id = client_id
        self._client_secret = client_secret
        self._grant: Grant = grant
        self._client_auth = client_auth
        self._params = {**(params or {}), **({"scope": scope} if scope else {})}
        self._early = early
        self._timeout_s = timeout_s
        self._transport = transport
        self._egress = egress
        self._now = now
        self._threads = threading.RLock()
        self._tokens: Tokens | None = None
        self._unsaved: Tokens | None = None

    @property
    def tokens(self) -> Tokens:
        """The tokens in use: renewed if they are about to run out."""
        with self._threads:
            if self._tokens is None:
                self._tokens = self._store.load()
            if not self._usable(self._tokens):
                self._tokens = self._renewed(bearer(self._tokens))
            return self._tokens

    def headers(self) -> Mapping[str, str]:
        return bearer(self.tokens)

    def refresh(self, refused: Mapping[str, str]) -> bool:
        """After a 401. Raises ReconnectNeeded when the vendor takes the refresh token no more, TryLater when unsure."""
        with self._threads:
            if self._tokens is not None and refused != bearer(self._tokens):
                return True  # another thread renewed them while this request was on its way
            self._tokens = self._renewed(refused)
            return True

    def _usable(self, tokens: Tokens) -> bool:
        return tokens.access is not None and (
            tokens.expires_at is None or self._now() < tokens.expires_at - self._early
        )

    def _renewed(self, worn: Mapping[str, str]) -> Tokens:
        """Tokens that give other headers than `worn`: somebody else's if they were faster, else freshly asked for."""
        with self._store.locked():
            tokens = self._settled(self._store.load())
            # Compared by the token itself, not by a version remembered here: it is what the vendor refused.
            if bearer(tokens) != worn and self._usable(tokens):
                return tokens
            try:
                fresh = self._asked(tokens)
            except ReconnectNeeded:
                # Somebody may have signed in again meanwhile (a person's sign-in does not wait for this lock).
                later = self._store.load()
                if later.version != tokens.version and bearer(later) != worn:
                    return later
                raise
            return self._saved(fresh, tokens.version)

    def _settled(self, stored: Tokens) -> Tokens:
        """Finish a save that failed earlier (the database was away): those tokens are the only valid ones."""
        unsaved, self._unsaved = self._unsaved, None
        if unsaved is None or unsaved.version != stored.version:
            return stored
        return self._saved(unsaved, stored.version)

    def _saved(self, fresh: Tokens, expected_version: int) -> Tokens:
        try:
            return self._store.save(fresh, expected_version)
        except VersionMoved:
            return self._store.load()
        except Exception:
            self._unsaved = replace(fresh, version=expected_version)
            raise

    def _asked(self, tokens: Tokens) -> Tokens:
        """One token request. The tokens that come back are not saved yet."""
        form = {"grant_type": self._grant, **self._params}
        if self._grant == "refresh_token":
            if tokens.refresh is None:
                raise ReconnectNeeded("The sign-in has run out and cannot be renewed.", remedy=RECONNECT)
            form["refresh_token"] = tokens.refresh.reveal()
        status, answer = self._exchanged(form)
        if status != 200:
            raise_refusal(status, answer.get("error"))
        access = answer.get("access_token")
        if not isinstance(access, str) or not access:
            raise ShapeChanged("The token server answered without an access token.")
        # Clio answers without a refresh token and the old one stays valid; others rotate it.
        rotated = answer.get("refresh_token")
        refresh = Secret(rotated) if isinstance(rotated, str) and rotated else tokens.refresh
        extra = {
            name: value
            for name, value in answer.items()
            if isinstance(value, str) and name not in ("access_token", "refresh_token", "id_token", "signature")
        }
        return Tokens(
            access=Secret(access),
            refresh=refresh,
            expires_at=expiry(answer.get("expires_in"), self._now()),
            version=tokens.version,
            extra={**tokens.extra, **extra},
        )

    def _exchanged(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        headers = Headers(
            {
                "Content-Type": "application/x-www-form-urlencoded",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "User-Agent": USER_AGENT,
            }
        )
        secret = self._client_secret.reveal() if self._client_secret is not None else ""
        if self._client_auth == "basic":
            pair = f"{quote(self._client_id, safe='')}:{quote(secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form = {**form, "client_id": self._client_id, **({"client_secret": secret} if secret else {})}
        request = httpx.Request("POST", self._token_url, headers=headers, content=urlencode(form).encode())
        # A refresh is rare and the answer is small: no connection is kept open between two.
        transport = self._transport if self._transport is not None else GuardedTransport(self._egress)
        try:
            status, reply_headers, body = exchange(transport, request, self._timeout_s, ANSWER_BYTES_MAX)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise Unreachable("The token server cannot be reached.") from error
        except httpx.TransportError as error:
            # A rotated token may be lost with the answer. The next try shows it: the old one works, or invalid_grant.
            raise TryLater("The token server did not answer.") from error
        except TooLarge as error:
            raise ShapeChanged("The token server's answer cannot be read.") from error
        finally:
            if self._transport is None:
                transport.close()
        if status == 429 or (status >= 500 and status not in FINAL_5XX):
            limits = read_limits(reply_headers, self._now())
            if status == 429:
                raise RateLimited("The token server asks for a pause.", until=limits.retry_at)
            raise TryLater(f"The token server answered with status {status}.", until=limits.retry_at)
        try:
            answer = orjson.loads(body)
        except orjson.JSONDecodeError:
            answer = None
        if not isinstance(answer, dict):
            raise ShapeChanged(f"The token server answered with something that is not JSON (status {status}).")
        return status, answer


def raise_refusal(status: int, code: object) -> None:
    """RFC 6749, section 5.2: what the error code means for us. The description is not passed on: it may name people."""
    if code in ("invalid_grant", "interaction_required", "access_denied"):
        raise ReconnectNeeded("The vendor no longer accepts this sign-in.", remedy=RECONNECT)
    if code in ("invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope"):
        raise Misconfigured(
            f"The vendor refuses this application ({code}).", remedy="Check the client id, the secret and the scopes."
        )
    if code in ("temporarily_unavailable", "server_error", "slow_down"):
        raise TryLater(f"The token server is busy ({code}).")
    if status in (400, 401, 403):
        raise ReconnectNeeded(f"The vendor refused to renew the sign-in (status {status}).", remedy=RECONNECT)
    raise ShapeChanged(f"The token server answered with status {status}.")


def bearer(tokens: Tokens) -> Mapping[str, str]:
    return Headers({"Authorization": f"Bearer {tokens.access.reveal()}"} if tokens.access is not None else {})


def expiry(expires_in: object, now: datetime) -> datetime | None:
    """`expires_in` as an instant: seconds, sometimes sent as text; None when it is missing or senseless."""
    try:
        seconds = float(expires_in) if isinstance(expires_in, int | float | str) else 0.0
    except ValueError:
        return None
    return now + timedelta(seconds=min(seconds, 10 * 365 * 86400.0)) if seconds > 0 else None

"""Secrets at rest: AES-256-GCM under one key of the firm's, each value bound to the place where it belongs.

A sealed value opens only with the key (or one of the old keys given for a rotation) and only under the context it
was sealed for, so a blob copied from one connection's row to another's does not open. This module makes no
files and stores nothing; `syncd.config` finds the key, the store keeps the blobs.

    blob = version (1 byte) | key id (8) | nonce (12) | ciphertext and tag (16 more than the plain value)

The key never encrypts by itself: HKDF-SHA256 derives one key for sealing and one for the fingerprint, so that a
fingerprint in a stolen database says nothing about a sealed value.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES: Final = 32
VERSION: Final = b"\x01"
_ID_BYTES: Final = 8
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_HEADER_BYTES: Final = len(VERSION) + _ID_BYTES


class VaultError(Exception):
    """A key that cannot be used, or a blob that does not open. The message never holds key or value."""


def new_key() -> str:
    """A fresh key as text: 32 bytes from the system's generator, base64url without padding (43 characters)."""
    while True:
        text = base64.urlsafe_b64encode(os.urandom(KEY_BYTES)).rstrip(b"=").decode()
        try:
            parse_key(text)
        except VaultError:  # about once in four thousand million keys; see _looks_typed
            continue
        return text


def parse_key(text: str) -> bytes:
    """The 32 bytes behind a key's text. Raises VaultError for anything that a person may have thought up.

    No key is stretched from a passphrase here: a passphrase that guards every vendor's credentials would be
    the weakest part of the whole, and the key is never typed anyway.
    """
    stripped = text.strip()
    try:
        key = base64.b64decode(stripped + "=" * (-len(stripped) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise VaultError(
            f"expected 32 random bytes in base64url (43 characters, as `syncd init` makes them), found {len(stripped)} "
            "characters that are something else"
        )
    if _looks_typed(stripped, key):
        raise VaultError("expected 32 random bytes in base64url, found something that looks typed, not drawn at random")
    return key


def _looks_typed(text: str, key: bytes) -> bool:
    """True for what a generator gives less than once in 10^9: few different bytes, plain text, one letter case."""
    readable = all(32 <= byte < 127 for byte in key)
    return len(set(key)) < 16 or readable or text.lower() == text or text.upper() == text


class Vault:
    """Seals with one key, opens with that key and with the old ones given.

    Keys are the 32 bytes that `parse_key` gives. A Vault is immutable and safe to share between threads.
    """

    def __init__(self, key: bytes, *, old: Sequence[bytes] = ()) -> None:
        if any(len(each) != KEY_BYTES for each in (key, *old)):
            raise VaultError("a vault key has 32 bytes; use parse_key on its text")
        self._current = _key_id(key)
        self._ciphers = {_key_id(each): AESGCM(_derive(each, b"syncd vault seal v1")) for each in (*old, key)}
        self._fingerprint = _fingerprint(key)
        self._known = frozenset(_fingerprint(each) for each in (key, *old))

    def __repr__(self) -> str:
        return f"<Vault {self._fingerprint[:8]}>"

    def fingerprint(self) -> str:
        """32 hex digits that only this key gives. Stored once, so that a wrong key refuses to start."""
        return self._fingerprint

    def recognises(self, fingerprint: str) -> bool:
        """True when the fingerprint is that of the key or of one of the old keys."""
        return any(hmac.compare_digest(known.encode(), fingerprint.encode()) for known in self._known)

    def is_current(self, blob: bytes) -> bool:
        """False when the blob was sealed with an old key, so a rotation still has to `reseal` it."""
        return blob[len(VERSION) : _HEADER_BYTES] == self._current

    def seal(self, plain: bytes, context: str) -> bytes:
        """Encrypt for one place. `context` tells it from every other; messages show its first line as the name."""
        header = VERSION + self._current
        nonce = os.urandom(_NONCE_BYTES)
        return header + nonce + self._ciphers[self._current].encrypt(nonce, plain, _bound(header, context))

    def open(self, blob: bytes, context: str) -> bytes:
        """The plain value. Raises VaultError when another key sealed it, or it was moved or changed."""
        named = context.partition("\n")[0]
        if len(blob) < _HEADER_BYTES + _NONCE_BYTES + _TAG_BYTES or not blob.startswith(VERSION):
            raise VaultError(f"{named}: this is not a sealed value of this version; the row was cut or overwritten")
        header, rest = blob[:_HEADER_BYTES], blob[_HEADER_BYTES:]
        cipher = self._ciphers.get(header[len(VERSION) :])
        if cipher is None:
            raise VaultError(
                f"{named}: sealed with another key. Give the key that was used (SYNCD_KEY or SYNCD_KEY_FILE), "
                "or name it among the old ones (SYNCD_OLD_KEYS)"
            )
        try:
            return cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], _bound(header, context))
        except InvalidTag as wrong:
            raise VaultError(
                f"{named}: the sealed value was changed, or moved here from another place, or its place was changed"
            ) from wrong

    def reseal(self, blob: bytes, context: str) -> bytes:
        """The same value under the current key: one step of a rotation. Raises VaultError like `open`."""
        return self.seal(self.open(blob, context), context)


def _bound(header: bytes, context: str) -> bytes:
    """Associated data. The header has a fixed length, so no two (header, context) pairs give the same bytes."""
    return header + context.encode()


def _derive(key: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(key)


def _key_id(key: bytes) -> bytes:
    return _derive(key, b"syncd vault key id v1")[:_ID_BYTES]


def _fingerprint(key: bytes) -> str:
    return _derive(key, b"syncd vault fingerprint v1")[:16].hex()

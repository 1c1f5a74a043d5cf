"""The vault: what it seals it opens, and nothing that was moved, changed or sealed elsewhere."""

from __future__ import annotations

import base64
import hashlib
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.vault import Vault, VaultError, new_key, parse_key

# Fixed, so that every xdist worker collects the same test names.
KEY, OLD_KEY, OTHER_KEY = (hashlib.sha256(name).digest() for name in (b"key", b"old", b"other"))


@given(st.binary(max_size=300), st.text(max_size=60))
def test_what_was_sealed_opens_under_the_same_context(plain: bytes, context: str) -> None:
    vault = Vault(KEY)
    assert vault.open(vault.seal(plain, context), context) == plain


@given(st.data())
def test_any_changed_byte_is_noticed(data: st.DataObject) -> None:
    vault = Vault(KEY)
    blob = bytearray(vault.seal(b"refresh-token", "connection/1/refresh_token"))
    place = data.draw(st.integers(0, len(blob) - 1))
    blob[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(VaultError):
        vault.open(bytes(blob), "connection/1/refresh_token")


@given(st.integers(0, 60))
def test_a_cut_blob_is_noticed(length: int) -> None:
    vault = Vault(KEY)
    blob = vault.seal(b"refresh-token-refresh-token", "c")
    with pytest.raises(VaultError):
        vault.open(blob[:length], "c")


def test_a_blob_moved_to_another_connection_does_not_open() -> None:
    vault = Vault(KEY)
    blob = vault.seal(b"secret of the firm's bank", "connection/1/token")
    with pytest.raises(VaultError, match="moved here from another place"):
        vault.open(blob, "connection/2/token")


def test_another_key_is_told_apart_from_a_changed_value() -> None:
    blob = Vault(OTHER_KEY).seal(b"x", "connection/1/token")
    with pytest.raises(VaultError, match="sealed with another key") as caught:
        Vault(KEY).open(blob, "connection/1/token")
    assert "connection/1/token" in str(caught.value)


def test_sealing_twice_never_gives_the_same_blob() -> None:
    vault = Vault(KEY)
    assert len({vault.seal(b"same", "same") for _ in range(200)}) == 200


def test_the_plain_value_is_not_in_the_blob() -> None:
    assert b"refresh-token" not in Vault(KEY).seal(b"refresh-token", "c")


def test_rotation_opens_old_values_and_reseals_them_under_the_new_key() -> None:
    before = Vault(OLD_KEY).seal(b"token", "c")
    during = Vault(KEY, old=[OLD_KEY])
    assert during.open(before, "c") == b"token"
    assert not during.is_current(before)
    after = during.reseal(before, "c")
    assert during.is_current(after)
    assert Vault(KEY).open(after, "c") == b"token"
    with pytest.raises(VaultError):
        Vault(KEY).open(before, "c")


def test_the_fingerprint_belongs_to_the_key() -> None:
    vault = Vault(KEY, old=[OLD_KEY])
    assert vault.fingerprint() == Vault(KEY).fingerprint()
    assert vault.recognises(Vault(OLD_KEY).fingerprint())
    assert not vault.recognises(Vault(OTHER_KEY).fingerprint())
    assert not vault.recognises("ü")
    assert KEY.hex() not in vault.fingerprint()


def test_a_vault_shows_no_key_and_is_not_pickled_into_a_job() -> None:
    vault = Vault(KEY)
    for spelling in (KEY.hex(), base64.b64encode(KEY).decode(), repr(KEY)[2:-1]):
        assert spelling not in repr(vault)
    with pytest.raises(TypeError):
        pickle.dumps(vault)


def test_new_keys_differ_and_parse() -> None:
    texts = {new_key() for _ in range(50)}
    assert len(texts) == 50
    assert all(len(parse_key(text)) == 32 and len(text) == 43 for text in texts)


def test_a_key_may_carry_padding_and_a_line_end() -> None:
    text = new_key()
    assert parse_key(f"{text}=\n") == parse_key(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hunter2",
        "correct horse battery staple",
        "correcthorsebatterystaplecorrecthorsebatter",  # 43 letters: base64url by its looks
        "CORRECTHORSEBATTERYSTAPLECORRECTHORSEBATTER",
        base64.urlsafe_b64encode(b"this is my very secret pass word").decode(),
        base64.urlsafe_b64encode(bytes(32)).decode(),
        base64.urlsafe_b64encode(bytes(range(8)) * 4).decode(),
        base64.urlsafe_b64encode(KEY[:16]).decode(),
        base64.urlsafe_b64encode(KEY + KEY).decode(),
        KEY.hex(),
        "ключ" * 11,
    ],
)
def test_what_a_person_may_have_typed_is_no_key(text: str) -> None:
    with pytest.raises(VaultError) as caught:
        parse_key(text)
    assert not text or text not in str(caught.value)


def test_a_vault_takes_only_whole_keys() -> None:
    with pytest.raises(VaultError):
        Vault(KEY[:16])
    with pytest.raises(VaultError):
        Vault(KEY, old=[b"short"])

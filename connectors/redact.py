"""Keeps secrets out of everything that is shown or stored: a type that shows nothing, and a redactor for the rest.

`Secret` is how a token or password travels through the program. `Redactor` is the last line, for text that
was made elsewhere (a vendor's error, a traceback): registered values are cut out wherever they stand, also
in the spellings that URLs, JSON and base64 give them, and so is whatever stands beside a telling key name.
It leaves the rest of the text alone; personal data is not its subject.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn
from urllib.parse import quote, quote_plus

SHOWN = "<secret>"
# Parts of key names, compared without case, "-" and "_".
TELLING_KEYS = (
    "password passwd passphrase secret token apikey privatekey authorization cookie credential clientassertion "
    "sessionid signature"
).split()
# What stands in a secret's place. It shares no character with any registered secret, so no secret can come into
# being where a mark meets what is left of the text; a secret that holds an asterisk makes the redactor take a block.
MARK = "***"
OTHER_MARKS = range(0x2588, 0x10000)
NAME = r"[A-Za-z0-9_\-]{0,60}(?:" + "|".join("[-_]?".join(key) for key in TELLING_KEYS) + r")[A-Za-z0-9_\-]{0,60}"
PATTERNS = (
    # Authorization: Bearer abc; also without the header's name
    re.compile(r"\b(?:bearer|basic|token|digest)[ \t]+(?P<hide>[A-Za-z0-9._~+/=:\-]{6,})", re.IGNORECASE),
    # "refresh_token": "abc"   'client_secret': 'abc'   password=abc&   Set-Cookie: abc
    re.compile(
        r"(?P<open>[\"']?)\b" + NAME + r"(?P=open)\s*[:=]\s*"
        r"(?:\"(?P<hide>(?:[^\"\\]|\\.)*)\"?|'(?P<hide2>(?:[^'\\]|\\.)*)'?|"
        r"(?P<hide3>(?:(?:bearer|basic)[ \t]+)?[^\s&;,\"'<>}\]]+))",
        re.IGNORECASE,
    ),
    # https://user:password@host
    re.compile(r"://[^/\s:@]*:(?P<hide>[^/\s@]+)@"),
)


class Secret:
    """A value that shows nothing in repr, str, format, pickle or a copy; `reveal()` is the one way to it."""

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        self.__value = value

    def reveal(self) -> str:
        return self.__value

    def __repr__(self) -> str:
        return SHOWN

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return SHOWN

    def __bool__(self) -> bool:
        return bool(self.__value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.__value.encode(), other.__value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self.__value))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret is never pickled: pass the id of the vault entry and read it there")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a Secret is never pickled: pass the id of the vault entry and read it there")


class Redactor:
    """Cuts secrets out of strings and nested values.

    Law: no registered value of at least one character is a substring of what `text` returns.
    """

    def __init__(self, secrets: Iterable[str | Secret] = (), keys: Iterable[str] = ()) -> None:
        """secrets: values to hide everywhere; keys: more key names whose values are hidden, besides TELLING_KEYS."""
        self._spellings: set[str] = set()
        self._keys = tuple(sorted({*TELLING_KEYS, *(plain(key) for key in keys)}))
        self.mark = MARK
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str | Secret) -> None:
        value = secret.reveal() if isinstance(secret, Secret) else secret
        if value:
            self._spellings.update(spellings(value))
            used = set().union(*self._spellings)
            if not used.isdisjoint(self.mark):
                self.mark = 3 * next(chr(code) for code in OTHER_MARKS if chr(code) not in used)

    def text(self, text: str) -> str:
        # All places are found in the original text first: replacing one secret after another would leave the rest
        # of a secret that overlaps another one.
        places = sorted([*self._registered(text), *beside_names(text)])
        if not places:
            return text
        parts: list[str] = []
        at = 0
        for start, end in places:
            if start > at or not parts:
                parts += text[at:start], self.mark
            at = max(at, end)
        return "".join([*parts, text[at:]])

    def value(self, value: Any) -> Any:
        """The same shape with secrets cut out: dicts, lists, tuples, sets, bytes; anything unknown by its repr."""
        return self._value(value, frozenset())

    def _registered(self, text: str) -> Iterator[tuple[int, int]]:
        for secret in self._spellings:
            at = text.find(secret)
            while at >= 0:
                yield at, at + len(secret)
                at = text.find(secret, at + 1)

    def _value(self, value: Any, inside: frozenset[int]) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, int | float):
            shown = self.text(repr(value))
            return value if shown == repr(value) else shown
        if isinstance(value, bytes | bytearray):
            return self.text(value.decode("utf-8", "backslashreplace")).encode()
        if id(value) in inside:
            return "..."
        inside |= {id(value)}
        if isinstance(value, Mapping):
            return {
                self._value(key, inside): self.mark if self._tells(key) else self._value(kept, inside)
                for key, kept in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset):
            kept_values = [self._value(one, inside) for one in value]
            return tuple(kept_values) if isinstance(value, tuple) else kept_values
        return self.text(repr(value))

    def _tells(self, key: object) -> bool:
        name = plain(key.decode("latin-1") if isinstance(key, bytes) else str(key))
        return any(part in name for part in self._keys)


def plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def spellings(value: str) -> Iterator[str]:
    """The value as it is, and as URLs, JSON, repr and base64 write it."""
    yield value
    for encoded in (quote(value, safe=""), quote(value), quote_plus(value)):
        yield encoded
        yield re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), encoded)
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield repr(value)[1:-1]
    yield ascii(value)[1:-1]
    raw = value.encode("utf-8", "surrogatepass")
    yield repr(raw)[2:-1]
    if len(raw) < 6:
        return  # three characters of base64 stand in any text
    for shift in range(3):
        # Inside a longer text (user:password) the value starts at any of three offsets; only the characters that
        # depend on nothing around it are searched for.
        coded = base64.b64encode(bytes(shift) + raw).decode()
        start = -(-shift * 8 // 6)
        core = coded[start : (shift + len(raw)) * 8 // 6]
        yield core
        yield core.replace("+", "-").replace("/", "_")


def beside_names(text: str) -> Iterator[tuple[int, int]]:
    for pattern in PATTERNS:
        for found in pattern.finditer(text):
            group = next(name for name in found.re.groupindex if name != "open" and found[name] is not None)
            if found.start(group) < found.end(group):
                yield found.start(group), found.end(group)

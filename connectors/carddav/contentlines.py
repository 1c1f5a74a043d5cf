"""Content lines of a vCard: cut a text into lines, decode a value, render a changed line. Pure.

A line keeps its exact text (folds, spelling, line end), so joining the lines of an unedited card gives the card
back byte for byte. Reading is lenient (vCard 2.1 quoted-printable, base64, unterminated quotes, folds in the
middle of a UTF-8 sequence); writing is strict. What the properties mean is left to `vcards`.

Formats: RFC 2426 (3.0), RFC 6350 (4.0), vCard 2.1 of the Versit Consortium.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass

FOLD_OCTETS = 75

_PHYSICAL = re.compile(r"[^\n]*\n|[^\n]+\Z")
_HEAD = re.compile(r'((?:"[^"]*"|[^":])*+):', re.DOTALL)
_SEGMENT = re.compile(r'(?:"[^"]*"|[^;])++', re.DOTALL)
_TYPE_WORD = re.compile(r'"([^"]*)"|([^,]+)')
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_ESCAPED_BYTE = re.compile("[\ud800-\udc7f\udd00-\udfff]")
# Neither a vCard line nor XML 1.0 can carry these: control characters other than tab and newline, halves of
# surrogate pairs, and the two non-characters that XML names.
_UNWRITABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
_ENCODINGS = {"QUOTED-PRINTABLE", "BASE64", "B", "Q", "8BIT", "7BIT"}


@dataclass(frozen=True, slots=True)
class Line:
    """One content line.

    raw    its exact text, with folds and line end
    label  group and name as written, such as "item1.EMAIL"; "" for text that is no property of this card
    params the parts between semicolons, as written: 'TYPE=WORK', 'PREF', 'X-A="b;c"'
    value  unfolded, still escaped or encoded
    """

    raw: str
    label: str
    params: tuple[str, ...]
    value: str

    @property
    def name(self) -> str:
        """Upper case, without the group; "" for text that is no property."""
        return self.label.rpartition(".")[2].upper()

    @property
    def group(self) -> str:
        """Lower case; "" if there is none."""
        return self.label.rpartition(".")[0].lower()

    def param(self, name: str) -> str | None:
        """The first value of a parameter, without quotes; None if the line has no such parameter."""
        for segment in self.params:
            key, equals, value = segment.partition("=")
            if equals and key.strip().upper() == name:
                return value.strip().strip('"')
        return None

    def encoding(self) -> str:
        """QUOTED-PRINTABLE, BASE64 or "" (vCard 2.1 allows the bare word)."""
        named = (self.param("ENCODING") or "").upper()
        bare = {segment.strip().upper() for segment in self.params if "=" not in segment}
        if named in ("QUOTED-PRINTABLE", "Q") or "QUOTED-PRINTABLE" in bare:
            return "QUOTED-PRINTABLE"
        return "BASE64" if named in ("B", "BASE64") or "BASE64" in bare else ""

    def types(self) -> set[str]:
        """All TYPE words in lower case, with the bare words of vCard 2.1; 'pref' is among them if written."""
        words: set[str] = set()
        for segment in self.params:
            key, equals, value = segment.partition("=")
            if not equals:
                if key.strip().upper() not in _ENCODINGS:
                    words.add(key.strip().lower())
            elif key.strip().upper() == "TYPE":
                # A comma inside quotes separates too: TYPE="work,voice" is what RFC 6350's own examples write.
                for match in _TYPE_WORD.finditer(value):
                    words.update(word.strip().lower() for word in (match[1] or match[2] or "").split(","))
        return words - {""}


def cut(text: str) -> list[Line]:
    """All lines of a text. `"".join(line.raw for line in cut(text)) == text` for every text.

    Bytes that are not UTF-8 should come as surrogate escapes: they are kept, and read as Windows-1252.
    """
    keep_space = re.search(r"^VERSION:2\.1\s*$", text, re.IGNORECASE | re.MULTILINE) is not None
    lines: list[Line] = []
    parts: list[str] = []
    quoted_printable = False
    for part in _PHYSICAL.findall(text):
        soft_break = quoted_printable and bool(parts) and parts[-1].rstrip("\r\n").endswith("=")
        if parts and (soft_break or part[0] in " \t"):
            parts.append(part)
            continue
        if parts:
            lines.append(_line(parts, quoted_printable, keep_space))
        parts = [part]
        quoted_printable = "QUOTED-PRINTABLE" in part.partition(":")[0].upper()
    if parts:
        lines.append(_line(parts, quoted_printable, keep_space))
    return lines


def _line(parts: list[str], quoted_printable: bool, keep_space: bool) -> Line:
    unfolded = [parts[0].rstrip("\r\n")]
    for part in parts[1:]:
        content = part.rstrip("\r\n")
        if quoted_printable and unfolded[-1].endswith("="):
            unfolded[-1] = unfolded[-1][:-1]
            unfolded.append(content)
        else:
            # vCard 2.1 folds at white space that belongs to the value; later versions add one character.
            unfolded.append(content if keep_space else content[1:])
    logical = _repaired("".join(unfolded)).removeprefix("\ufeff")
    raw = "".join(parts)
    head = _HEAD.match(logical)
    if head:
        before, value = head[1], logical[head.end() :]
    else:
        before, colon, value = logical.partition(":")
        if not colon:
            return Line(raw, "", (), "")
    label, *params = _SEGMENT.findall(before) or [""]
    return Line(raw, label.strip(), tuple(params), value)


def _repaired(text: str) -> str:
    """Put back together a UTF-8 sequence that a fold cut in two; read other stray bytes as Windows-1252."""
    if not _SURROGATE.search(text):
        return text
    octets = _NOT_ESCAPED_BYTE.sub("\ufffd", text).encode("utf-8", "surrogateescape")
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        return octets.decode("cp1252", "replace")


def clean(text: str) -> str:
    """What a card can carry of a text: newlines as "\\n", no other control characters."""
    return _UNWRITABLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def text_of(line: Line, version: str) -> str:
    """The whole value as plain text; unescaped separators are kept as they are."""
    return _decoded(line, line.value, version)


def components_of(line: Line, version: str) -> list[str]:
    """The parts of a structured value (N, ADR, ORG), each still holding its commas escaped or not, undecoded."""
    if line.encoding() == "BASE64":
        return [escape(part, version) for part in _decoded(line, line.value, version).split(";")]
    return pieces(line.value, ";")


def component_text(line: Line, part: str, version: str) -> str:
    """One part of a structured value as plain text, commas included."""
    return unescape(part, version) if line.encoding() == "BASE64" else _decoded(line, part, version)


def _decoded(line: Line, value: str, version: str) -> str:
    encoding = line.encoding()
    if encoding == "":
        return clean(unescape(value, version))
    charset = line.param("CHARSET") or "utf-8"
    try:
        if encoding == "BASE64":
            octets = binascii.a2b_base64("".join(value.split()))
        else:
            octets = binascii.a2b_qp(unescape(value, "2.1").encode("utf-8"))
        return clean(octets.decode(charset, "replace"))
    except (binascii.Error, LookupError):
        return clean(unescape(value, version))


def pieces(value: str, separator: str) -> list[str]:
    """Cut at each separator that no backslash protects."""
    found: list[list[str]] = [[]]
    for token in re.findall(rf"\\.?|[^\\{separator}]+|{separator}", value, re.DOTALL):
        if token == separator:
            found.append([])
        else:
            found[-1].append(token)
    return ["".join(tokens) for tokens in found]


def unescape(value: str, version: str) -> str:
    """vCard 2.1 knows only the escaped semicolon: a backslash before anything else is a backslash."""
    known = {";": ";"} if version == "2.1" else {"n": "\n", "N": "\n", ",": ",", ";": ";", ":": ":", "\\": "\\"}
    return _ESCAPE.sub(lambda match: known.get(match[1], match[0]), value)


def escape(value: str, version: str) -> str:
    """The opposite of `unescape`; a 2.1 value that needs more than the semicolon is rendered quoted-printable."""
    if version == "2.1":
        return value.replace(";", "\\;")
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace(",", "\\,").replace(";", "\\;")


def render(label: str, params: tuple[str, ...], values: list[str], version: str, newline: str, separator: str) -> Line:
    """A line with these plain parts, escaped, encoded and folded as the version wants it.

    `values` are the components (one for a simple property), in plain text; `separator` joins them. For parts
    that are escaped already, see `render_escaped`.
    """
    if version != "2.1":
        return render_escaped(label, params, separator.join(escape(value, version) for value in values), newline)
    value = separator.join(escape(value, version) for value in values)
    short = len(";".join((label, *params))) + len(value) < FOLD_OCTETS
    if short and value.isascii() and value == value.strip() and not set(value) & set("\\\n="):
        return render_escaped(label, params, value, newline)
    encoded = separator.join(_quoted(value) for value in values)
    params = (*params, "CHARSET=UTF-8", "ENCODING=QUOTED-PRINTABLE")
    head = ";".join((label, *params)) + ":"
    text = _soft_broken(head, encoded, newline)
    return Line(text, label, params, encoded)


def render_escaped(label: str, params: tuple[str, ...], value: str, newline: str) -> Line:
    """A line whose value is in its final form, folded at 75 octets and never inside a character (RFC 6350, 3.2)."""
    octets = (";".join((label, *params)) + ":" + value).encode("utf-8", "surrogateescape")
    folded: list[bytes] = []
    start, room = 0, FOLD_OCTETS
    while len(octets) - start > room:
        end = start + room
        while octets[end] & 0xC0 == 0x80:
            end -= 1
        folded.append(octets[start:end])
        start, room = end, FOLD_OCTETS - 1
    folded.append(octets[start:])
    return Line(
        (newline + " ").join(part.decode("utf-8", "surrogateescape") for part in folded) + newline, label, params, value
    )


def _quoted(value: str) -> str:
    """Quoted-printable without line breaks; everything with a meaning in a vCard line becomes =XX."""
    return "".join(
        chr(octet) if (chr(octet).isalnum() and octet < 128) or chr(octet) in " -_.@+,/()'" else f"={octet:02X}"
        for octet in value.encode("utf-8", "surrogateescape")
    )


def _soft_broken(head: str, encoded: str, newline: str) -> str:
    """Quoted-printable lines of at most 76 characters; a break never falls inside =XX, nor right after a space."""
    lines, current = [], head
    for piece in re.findall(r"=[0-9A-F]{2}|[^=]", encoded):
        if len(current) + len(piece) > FOLD_OCTETS:
            lines.append(current + "=")
            current = ""
        current += "=20" if piece == " " and current == "" else piece
    if current.endswith(" "):
        current = current[:-1] + "=20"
    return newline.join([*lines, current]) + newline

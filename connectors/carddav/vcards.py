"""vCards as JSON bodies, and changes to a body applied to the card's own text. Pure; no vCard library.

`parse` gives the part of a card that may be synchronised. `apply` edits the text itself and touches only the
lines whose meaning changes, because a card holds far more than we read (photos, grouped labels, properties of
one client program) and losing any of it is losing somebody's data. The usual library re-orders and re-writes
every line, so it is not used here. Notes are left out of the body on purpose: private notes never leave.

The body, with every key always there (None or [] says that the card has none):

    version  "2.1", "3.0", "4.0"              uid      text or None
    kind     "individual", "org", "group"...  fn       text or None
    n        {family, given, additional, prefix, suffix}, each text or None
    org      ["Company", "Unit", ...]         title, role  text or None
    emails, tels, urls  [{value, types, pref}]; types are sorted lower-case words without "pref"
    adrs     [{pobox, extended, street, locality, region, code, country, types, pref}]
    bday     "YYYY-MM-DD" or None (a birthday without its year is None)
    rev      "YYYY-MM-DDTHH:MM:SSZ" or None

Laws: parse(serialise(body)) == body; apply(text, {}) is text; parse(apply(text, changes)) shows the changes;
no line that the changes do not concern differs by a byte (REV apart).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from connectors.carddav import contentlines
from connectors.carddav.contentlines import Line

JSON = dict[str, Any]

NAME_KEYS = ("family", "given", "additional", "prefix", "suffix")
ADDRESS_KEYS = ("pobox", "extended", "street", "locality", "region", "code", "country")
TEXTS = {"fn": "FN", "title": "TITLE", "role": "ROLE"}
LISTS = {"emails": "EMAIL", "tels": "TEL", "adrs": "ADR", "urls": "URL"}
FIXED = ("version", "uid", "rev")
WRITABLE = ("fn", "n", "org", "title", "role", "emails", "tels", "adrs", "urls", "bday", "kind")

_WORD = re.compile(r'[^\x00-\x1f\x7f",;:=\\]+')
_KIND = re.compile(r"[a-z0-9-]+")
# These describe the value they stand on (its encoding, how it sorts, where it lies): wrong once it is another value.
_OF_THE_VALUE = {"VALUE", "ENCODING", "CHARSET", "SORT-AS", "LABEL", "GEO", "TZ", "X-APPLE-OMIT-YEAR"}
_KIND_MARKS = ("KIND", "X-ADDRESSBOOKSERVER-KIND", "X-ABSHOWAS")


class NotACard(ValueError):
    """The text holds no vCard."""


class CannotWrite(ValueError):
    """A change that no card can carry. `field` is the body's key."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field


@dataclass(slots=True)
class _Card:
    """A card being read or edited. `lines` has all of the text; only lines with a name are this card's properties."""

    lines: list[Line]
    version: str
    newline: str = "\r\n"

    def named(self, name: str) -> list[int]:
        return [index for index, line in enumerate(self.lines) if line.name == name]

    def text(self) -> str:
        return "".join(line.raw for line in self.lines)


def parse(text: str) -> JSON:
    """The body of a card's text. Raises NotACard; everything else that is odd about a card is read leniently."""
    return _body(_card(text))


def serialise(body: Mapping[str, Any]) -> str:
    """A new card with this body; keys may be missing. Version 3.0 unless the body says otherwise.

    FN must not be empty in any version: without one it is made from the name, the company or the first address.
    Raises CannotWrite.
    """
    version = body.get("version") or "3.0"
    if version not in ("2.1", "3.0", "4.0"):
        raise CannotWrite("version", "only 2.1, 3.0 and 4.0 exist")
    card = _card(f"BEGIN:VCARD\r\nVERSION:{version}\r\nEND:VCARD\r\n")
    if uid := _text("uid", body.get("uid")):
        _set_value(card, "UID", [uid])
    _edit(card, {key: value for key, value in body.items() if key not in FIXED})
    _complete(card)
    if moment := _read_revision(_text("rev", body.get("rev"))):
        _set_revision(card, moment)
    return card.text()


def apply(text: str, changes: Mapping[str, Any], *, revised_at: datetime | None = None) -> str:
    """The card's text with these top-level keys of its body changed; the same text if nothing would differ.

    A key that is missing inside a changed value ("types" of an address) means no opinion. REV becomes
    `revised_at` (aware) if anything changed. Raises NotACard, CannotWrite.
    """
    card = _card(text)
    before = _body(card)
    for key in FIXED:
        if key in changes and changes[key] != before[key]:
            raise CannotWrite(key, "cannot be changed")
    _edit(card, {key: value for key, value in changes.items() if key not in FIXED})
    edited = card.text()
    if edited == text or revised_at is None:
        return edited
    _set_revision(card, revised_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    return card.text()


# -- reading


def _card(text: str) -> _Card:
    lines = contentlines.cut(text)
    depth, done, seen = 0, False, False
    version = ""
    for index, line in enumerate(lines):
        begins = line.name == "BEGIN" and line.value.strip().upper() == "VCARD"
        ends = line.name == "END" and line.value.strip().upper() == "VCARD"
        depth += begins
        seen = seen or begins
        if depth != 1 or done:
            # Text around the card and cards inside it (AGENT in 2.1) are kept and otherwise left alone.
            lines[index] = Line(line.raw, "", (), "")
        elif line.name == "VERSION" and not version:
            version = line.value.strip()
        if ends:
            depth -= 1
            done = done or depth == 0
    if not seen:
        raise NotACard("no BEGIN:VCARD")
    newline = "\r\n" if "\r\n" in text or "\n" not in text else "\n"
    return _Card(lines, version if version in ("2.1", "4.0") else "3.0", newline)


def _body(card: _Card) -> JSON:
    body: JSON = {"version": card.version, "uid": _first_text(card, "UID")}
    body |= {key: _first_text(card, name) for key, name in TEXTS.items()}
    body["n"] = _read_name(card)
    body["org"] = _read_org(card)
    body |= {key: [item for _, item in _read_items(card, key)] for key in LISTS}
    body["bday"] = next((day for index in card.named("BDAY") if (day := _read_date(card.lines[index]))), None)
    body["rev"] = _read_revision(_first_text(card, "REV"))
    body["kind"] = _read_kind(card, body)
    return body


def _first_text(card: _Card, name: str) -> str | None:
    texts = (contentlines.text_of(card.lines[index], card.version) for index in card.named(name))
    return next((text for text in texts if text.strip()), None)


def _read_name(card: _Card) -> JSON:
    for index in card.named("N"):
        values = _components(card, card.lines[index], NAME_KEYS)
        if any(values.values()):
            return values
    return dict.fromkeys(NAME_KEYS)


def _components(card: _Card, line: Line, keys: Sequence[str]) -> JSON:
    parts = contentlines.components_of(line, card.version)
    return {key: _component(card, line, parts[at], key) if at < len(parts) else None for at, key in enumerate(keys)}


def _component(card: _Card, line: Line, part: str, key: str) -> str | None:
    """A component may be a list: names are joined by spaces, parts of an address and suffixes by commas."""
    pieces = [part] if card.version == "2.1" else contentlines.pieces(part, ",")
    values = [contentlines.component_text(line, piece, card.version) for piece in pieces]
    if len(values) == 1:
        return values[0] if values[0].strip() else None
    joint = " " if key in NAME_KEYS and key != "suffix" else ", "
    return joint.join(value.strip() for value in values if value.strip()) or None


def _read_org(card: _Card) -> list[str]:
    for index in card.named("ORG"):
        line = card.lines[index]
        units = [
            contentlines.component_text(line, part, card.version)
            for part in contentlines.components_of(line, card.version)
        ]
        units = _trimmed(units)
        if units:
            return units
    return []


def _trimmed(units: list[str]) -> list[str]:
    units = [unit if unit.strip() else "" for unit in units]
    while units and not units[-1]:
        units.pop()
    return units


def _read_items(card: _Card, key: str) -> list[tuple[int, JSON]]:
    """Line number and item of every e-mail, phone, address or link; lines with nothing in them are no items."""
    found: list[tuple[int, JSON]] = []
    for index in card.named(LISTS[key]):
        line = card.lines[index]
        types = line.types()
        marks = {"types": sorted(types - {"pref"}), "pref": "pref" in types or line.param("PREF") == "1"}
        if key == "adrs":
            address = _components(card, line, ADDRESS_KEYS)
            if any(address.values()):
                found.append((index, address | marks))
        elif (value := _read_value(card, line)).strip():
            found.append((index, {"value": value} | marks))
    return found


def _read_value(card: _Card, line: Line) -> str:
    value = contentlines.text_of(line, card.version)
    if (line.param("VALUE") or "").lower() == "uri":
        for scheme in ("tel:", "mailto:"):
            if value.lower().startswith(scheme):
                return value[len(scheme) :]
    return value


def _read_date(line: Line) -> str | None:
    match = re.match(r"\s*(\d{4})-?(\d{2})-?(\d{2})(?:$|[T\s])", line.value)
    if not match or match[1] == line.param("X-APPLE-OMIT-YEAR"):
        return None
    try:
        return date(int(match[1]), int(match[2]), int(match[3])).isoformat()
    except ValueError:
        return None


def _read_revision(value: str | None) -> str | None:
    """Any of the forms in use, as UTC to the second; a time without a zone counts as UTC."""
    try:
        moment = datetime.fromisoformat((value or "").strip())
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment.year >= 1000 else None
    except OverflowError:
        return None


def _read_kind(card: _Card, body: JSON) -> str:
    """KIND, else Apple's marks for groups and companies, else (before 4.0) "the name is the company's name"."""
    for mark in _KIND_MARKS[:2]:
        if kind := _first_text(card, mark):
            return kind.strip().lower()
    if shown := _first_text(card, "X-ABSHOWAS"):
        return "org" if shown.strip().upper() == "COMPANY" else "individual"
    if card.version == "4.0" or not body["org"] or any(body["n"].values()):
        return "individual"
    return "org" if _same(body["fn"], body["org"][0]) or _same(body["fn"], " ".join(body["org"])) else "individual"


def _same(one: str | None, other: str) -> bool:
    return one is not None and one.strip().casefold() == other.strip().casefold()


# -- editing


def _edit(card: _Card, changes: Mapping[str, Any]) -> None:
    for key in changes:
        if key not in WRITABLE:
            raise CannotWrite(key, "is no part of a card that we write")
    before = _body(card)
    kind = _wanted_kind(changes["kind"]) if "kind" in changes else before["kind"]
    unedited = card.text()
    for key in WRITABLE:
        if key in changes and key != "kind":
            _WRITERS[key](card, key, before[key], changes[key])
    if card.text() != unedited or kind != before["kind"]:
        _complete(card)
    if _read_kind(card, _body(card)) != kind:
        _set_kind(card, kind)


def _complete(card: _Card) -> None:
    """FN (and N before 4.0) must be there, or servers refuse the card."""
    if not card.named("N") and card.version != "4.0":
        _insert(card, contentlines.render("N", (), [""] * 5, card.version, card.newline, ";"))
    body = _body(card)
    if body["fn"]:
        return
    full = " ".join(body["n"][key] for key in ("prefix", "given", "additional", "family", "suffix") if body["n"][key])
    values = [full, *body["org"], *(item["value"] for item in (*body["emails"], *body["tels"])), "(no name)"]
    _set_value(card, "FN", [next(value for value in values if value.strip())])


def _text(key: str, value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise CannotWrite(key, "must be text")
    cleaned = contentlines.clean(value)
    return cleaned if cleaned.strip() else None


def _object(key: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise CannotWrite(key, "must be an object")
    return value


def _write_text(card: _Card, key: str, before: str | None, wanted: object) -> None:
    text = _text(key, wanted)
    if text != before:
        _set_value(card, TEXTS[key], None if text is None else [text])


def _write_date(card: _Card, key: str, before: str | None, wanted: object) -> None:
    text = _text(key, wanted)
    if text is not None:
        try:
            text = date.fromisoformat(text).isoformat()
        except ValueError as error:
            raise CannotWrite(key, "must be a date such as 1980-12-31") from error
    if text != before:
        written = text.replace("-", "") if text and card.version == "4.0" else text
        _set_value(card, "BDAY", None if written is None else [written])


def _write_name(card: _Card, key: str, before: JSON, wanted: object) -> None:
    given = {} if wanted is None else _object(key, wanted)
    if unknown := set(given) - set(NAME_KEYS):
        raise CannotWrite(key, f"has no part {min(unknown)}")
    values = {
        part: None if wanted is None else _text(key, given[part]) if part in given else before[part]
        for part in NAME_KEYS
    }
    if values == before:
        return
    lines = [index for index in card.named("N") if any(_components(card, card.lines[index], NAME_KEYS).values())]
    index = next(iter(lines or card.named("N")), None)
    if index is None:
        _insert(
            card,
            contentlines.render("N", (), [values[part] or "" for part in NAME_KEYS], card.version, card.newline, ";"),
        )
    else:
        _rewrite_components(card, index, NAME_KEYS, values, card.lines[index].params)
    if not any(values.values()):
        _drop(card, lines[1:])


def _write_org(card: _Card, key: str, before: list[str], wanted: object) -> None:
    if wanted is not None and (not isinstance(wanted, Sequence) or isinstance(wanted, str)):
        raise CannotWrite(key, "must be a list of texts")
    units = _trimmed([_text(key, unit) or "" for unit in wanted or ()])
    if units != before:
        _set_value(card, "ORG", units or None)


def _write_items(card: _Card, key: str, before: list[JSON], wanted: object) -> None:
    """Make the card's e-mails (phones, addresses, links) this set, keeping every line that can stay.

    A line stays untouched if an item equals it; it keeps its place, group and other parameters if only types
    differ, or if it is plainly the one that was edited (same types). Only then lines are removed and added.
    """
    items = [_item(key, item) for item in _listed(key, wanted)]
    lines = _read_items(card, key)
    left = dict(lines)
    todo: list[JSON] = []
    for item in items:
        twin = next((index for index, there in left.items() if there == there | item), None)
        if twin is None:
            todo.append(item)
        else:
            del left[twin]
    plan: dict[int, JSON] = {}
    for close in (_same_value, _same_types):
        alone = len(left) == 1 and len(todo) == 1
        for item in list(todo):
            usable = (
                i
                for i, there in left.items()
                if close(there, item) and (close is _same_value or alone or not _labelled(card, i))
            )
            index = next(usable, None)
            if index is not None:
                plan[index] = left.pop(index) | item
                todo.remove(item)
    for index, item in plan.items():
        _rewrite_item(card, index, key, item)
    new = [_new_item(card, key, item) for item in todo]
    if lines:
        # Behind the last one, so that the numbers of the lines to drop stay right.
        for line in reversed(new):
            _insert(card, line, after=lines[-1][0])
    else:
        for line in new:
            _insert(card, line)
    _drop(card, set(left))


def _listed(key: str, wanted: object) -> Sequence[object]:
    if wanted is None:
        return ()
    if not isinstance(wanted, Sequence) or isinstance(wanted, str):
        raise CannotWrite(key, "must be a list")
    return [item for item in wanted if _filled(key, item)]


def _filled(key: str, item: object) -> bool:
    parts = _object(key, item)
    return any(_text(key, parts.get(part)) for part in (ADDRESS_KEYS if key == "adrs" else ("value",)))


def _item(key: str, wanted: object) -> JSON:
    given = _object(key, wanted)
    values = ADDRESS_KEYS if key == "adrs" else ("value",)
    if unknown := set(given) - {*values, "types", "pref"}:
        raise CannotWrite(key, f"has no part {min(unknown)}")
    item: JSON = {part: _text(key, given[part]) for part in values if part in given}
    words = given.get("types")
    if words is not None:
        if not isinstance(words, Sequence) or isinstance(words, str):
            raise CannotWrite(key, "types must be a list of words")
        types = {contentlines.clean(word).strip().lower() if isinstance(word, str) else "" for word in words}
        if not all(_WORD.fullmatch(word) for word in types):
            raise CannotWrite(key, "a type must be one word")
        item["types"] = sorted(types - {"pref"})
        if "pref" in types:
            item["pref"] = True
    if given.get("pref") is not None:
        item["pref"] = bool(given["pref"]) or item.get("pref", False)
    return item


def _same_value(there: JSON, item: JSON) -> bool:
    return all(_folded(there[part]) == _folded(item[part]) for part in item if part not in ("types", "pref"))


def _folded(value: str | None) -> str:
    return (value or "").strip().casefold()


def _same_types(there: JSON, item: JSON) -> bool:
    return "types" not in item or bool(there["types"] == item["types"])


def _labelled(card: _Card, index: int) -> bool:
    group = card.lines[index].group
    return bool(group) and any(line.name == "X-ABLABEL" and line.group == group for line in card.lines)


def _rewrite_item(card: _Card, index: int, key: str, item: JSON) -> None:
    line = card.lines[index]
    there = dict(_read_items(card, key))[index]
    params = line.params
    if (there["types"], there["pref"]) != (item["types"], item["pref"]):
        params = _marked(card, params, item["types"], item["pref"])
    is_same = all(there[part] == item[part] for part in item if part not in ("types", "pref"))
    if is_same and card.version != "2.1" and not line.encoding():  # neither encoding may be folded like other lines
        card.lines[index] = contentlines.render_escaped(line.label, params, line.value, card.newline)
    elif key == "adrs":
        _rewrite_components(card, index, ADDRESS_KEYS, item, params)
    else:
        card.lines[index] = _valued(card, line.label, _kept(params), item["value"])


def _new_item(card: _Card, key: str, item: JSON) -> Line:
    params = _marked(card, (), item.get("types", []), item.get("pref", False))
    if key == "adrs":
        values = [item.get(part) or "" for part in ADDRESS_KEYS]
        return contentlines.render("ADR", params, values, card.version, card.newline, ";")
    return _valued(card, LISTS[key], params, item["value"])


def _valued(card: _Card, label: str, params: tuple[str, ...], value: str) -> Line:
    # A URI is not text, so its commas and semicolons need no escape (RFC 6350, 5.6); but servers built on vobject cut
    # an unescaped link at its first comma (seen: Radicale 3.9), and every reader we know of understands the escape.
    return contentlines.render(label, params, [value], card.version, card.newline, "")


def _marked(card: _Card, params: tuple[str, ...], types: Sequence[str], pref: bool) -> tuple[str, ...]:
    """The parameters with these types and this preference, in the place where the old ones stood."""
    at, others = len(params), []
    for position, segment in enumerate(params):
        name, equals, _ = segment.partition("=")
        if name.strip().upper() in ("TYPE", "PREF") or (not equals and Line("", "", (segment,), "").types()):
            at = min(at, position)
        else:
            others.append(segment)
    new: list[str] = []
    if card.version == "4.0":
        new += [f"TYPE={','.join(types)}"] if types else []
        new += ["PREF=1"] if pref else []
    elif words := [*types, *(["pref"] if pref else [])]:
        new += [f"TYPE={word}" for word in words] if card.version == "2.1" else [f"TYPE={','.join(words)}"]
    return (*others[:at], *new, *others[at:])


def _kept(params: tuple[str, ...]) -> tuple[str, ...]:
    """Without the parameters that described the old value."""

    def stays(segment: str) -> bool:
        name, equals, _ = segment.partition("=")
        encoding = not equals and Line("", "", (segment,), "").types() == set()
        return name.strip().upper() not in _OF_THE_VALUE and not encoding

    return tuple(segment for segment in params if stays(segment))


def _rewrite_components(
    card: _Card, index: int, keys: Sequence[str], wanted: Mapping[str, Any], params: tuple[str, ...]
) -> None:
    """Change single components; the others keep their own escaping, and components beyond ours stay."""
    line = card.lines[index]
    there = _components(card, line, keys)
    parts = contentlines.components_of(line, card.version)
    if line.encoding() or card.version == "2.1":
        values = [wanted[key] or "" for key in keys]
        values += [contentlines.component_text(line, part, card.version) for part in parts[len(keys) :]]
        card.lines[index] = contentlines.render(line.label, _kept(params), values, card.version, card.newline, ";")
        return
    parts += [""] * (len(keys) - len(parts))
    for at, key in enumerate(keys):
        if there[key] != wanted[key]:
            parts[at] = contentlines.escape(wanted[key] or "", card.version)
    card.lines[index] = contentlines.render_escaped(line.label, _kept(params), ";".join(parts), card.newline)


def _set_value(card: _Card, name: str, values: list[str] | None) -> None:
    """Set a property that we read the first filled line of; None removes every line, or the next would show."""
    found = card.named(name)
    if values is None:
        _drop(card, found)
        return
    index = next((index for index in found if _filled_line(card, index)), found[0] if found else None)
    line = card.lines[index] if index is not None else Line("", name, (), "")
    new = contentlines.render(line.label, _kept(line.params), values, card.version, card.newline, ";")
    if index is None:
        _insert(card, new)
    else:
        card.lines[index] = new


def _filled_line(card: _Card, index: int) -> bool:
    line = card.lines[index]
    if line.name == "BDAY":
        return _read_date(line) is not None
    text = contentlines.text_of(line, card.version)
    return bool(text.replace(";", "").strip() if line.name == "ORG" else text.strip())


def _set_revision(card: _Card, moment: str) -> None:
    written = moment.replace("-", "").replace(":", "") if card.version == "4.0" else moment
    new = contentlines.render_escaped("REV", (), written, card.newline)
    if found := card.named("REV"):
        card.lines[found[0]] = new
    else:
        _insert(card, new)


def _wanted_kind(value: object) -> str:
    kind = (_text("kind", value) or "individual").lower()
    if not _KIND.fullmatch(kind):
        raise CannotWrite("kind", "must be one word")
    return kind


def _set_kind(card: _Card, kind: str) -> None:
    """Write the mark that the card's version and its common clients understand, and nothing where none is needed."""
    _drop(card, [index for mark in _KIND_MARKS for index in card.named(mark)])
    if _read_kind(card, _body(card)) == kind:
        return
    if card.version == "4.0":
        mark, value = "KIND", kind
    elif kind in ("org", "individual"):
        mark, value = "X-ABShowAs", "COMPANY" if kind == "org" else "PERSON"
    else:
        mark, value = "X-ADDRESSBOOKSERVER-KIND", kind
    _insert(card, contentlines.render_escaped(mark, (), value, card.newline))


def _insert(card: _Card, line: Line, after: int | None = None) -> None:
    """Put a line behind another and what belongs to its group, else at the end of the card."""
    if after is None:
        at = next(iter(card.named("END")), len(card.lines))
    else:
        at = after + 1
        group = card.lines[after].group
        while group and at < len(card.lines) and card.lines[at].group == group:
            at += 1
    if at and not card.lines[at - 1].raw.endswith("\n"):
        last = card.lines[at - 1]
        card.lines[at - 1] = Line(last.raw + card.newline, last.label, last.params, last.value)
    card.lines.insert(at, line)


def _drop(card: _Card, indexes: Sequence[int] | set[int]) -> None:
    """Remove lines, and the labels (X-AB...) of groups in which nothing else is left."""
    gone = set(indexes)
    groups = {card.lines[index].group for index in gone} - {""}
    for group in groups:
        rest = [index for index, line in enumerate(card.lines) if line.group == group and index not in gone]
        if all(card.lines[index].name.startswith("X-AB") for index in rest):
            gone.update(rest)
    if gone:
        card.lines[:] = [line for index, line in enumerate(card.lines) if index not in gone]


_WRITERS: dict[str, Callable[[_Card, str, Any, object], None]] = {
    **dict.fromkeys(TEXTS, _write_text),
    **dict.fromkeys(LISTS, _write_items),
    "n": _write_name,
    "org": _write_org,
    "bday": _write_date,
}

"""Writes canonical values into vendor records: the smallest set of top-level properties that has to change.

Each line of a mapping becomes one writer when the mapping loads. A writer looks at the values to be written, at what
the record holds now in our terms, and edits a draft of the vendor's record in place; what it does not understand
in the record (ids of list entries, unmapped properties) stays as it is. A value equal in normalized form to what is
there already is not written.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from mappings.canonical import Field, Values
from mappings.normalize import Normalizer, addresses, countries, money
from mappings.plan import (
    FIRST,
    ConstantLine,
    Derived,
    Index,
    KeyLine,
    ListLine,
    PartLine,
    Path,
    PrimaryLine,
    RecordPlan,
    ReferenceLine,
    SlotsLine,
    Step,
    Stray,
    ValueLine,
)
from mappings.reading import MISSING, Unreadable, _address_key, label_words, speaks_of, within
from mappings.splitting import SPLITTERS, Splitter
from mappings.transforms import UNREADABLE, Transform
from mappings.words import NAME_FORMS

JSON = dict[str, Any]
NO_ROOM: Any = MISSING
"""What an encoder answers when the vendor cannot express the value: nothing is written."""


class Draft:
    """A vendor record being edited: copies a top-level property when it is first touched."""

    __slots__ = ("before", "is_new", "now")

    def __init__(self, body: JSON | None) -> None:
        self.is_new = body is None
        self.before: JSON = body or {}
        self.now: JSON = {}

    def top(self, name: str) -> Any:
        """The property as it stands; not to be edited."""
        return self.now[name] if name in self.now else self.before.get(name, MISSING)

    def own(self, name: str) -> Any:
        """The property as ours to edit; MISSING or None if there is none."""
        if name not in self.now:
            value = self.before.get(name, MISSING)
            if value is MISSING or value is None:
                return value
            self.now[name] = copy.deepcopy(value)
        return self.now[name]

    def read(self, path: Path) -> Any:
        """The value at a path as it stands; MISSING if it is not there."""
        value: Any = self.top(str(path[0]))
        for step in path[1:]:
            if value is MISSING or value is None:
                return value
            found = _entry(value, step)
            value = found
        return value

    def write(self, path: Path, value: Any) -> None:
        """Set the value at a path, making the objects and lists on the way. None empties it without making anything."""
        first = str(path[0])
        if len(path) == 1:
            if value is None and self.top(first) is MISSING:
                return
            self.now[first] = value
            return
        held = self.own(first)
        if held is MISSING or held is None:
            if value is None:
                return
            self.now[first] = held = [] if not isinstance(path[1], str) else {}
        for step, after in itertools.pairwise(path[1:]):
            inner = _entry(held, step)
            if inner is MISSING or inner is None:
                if value is None:
                    return
                inner = _set(held, step, [] if not isinstance(after, str) else {})
                if inner is MISSING:
                    return
            held = inner
        _set(held, path[-1], value)

    def changes(self) -> JSON:
        """The top-level properties that differ from the record as it was, whole."""
        return {
            name: value for name, value in self.now.items() if name not in self.before or self.before[name] != value
        }


def _entry(held: Any, step: Step) -> Any:
    assert not isinstance(step, Stray), "a stray entry is looked for, never written"
    if isinstance(step, str):
        return held.get(step, MISSING)
    if isinstance(step, Index):
        return held[step.n] if len(held) > step.n else MISSING
    text = str(step.value)
    return next((entry for entry in held if str(within(entry, step.path)) == text), MISSING)


def _set(held: Any, step: Step, value: Any) -> Any:
    """Put the value into an object or list; answers what stands there then, MISSING if there was no room."""
    assert not isinstance(step, Stray), "a stray entry is looked for, never written"
    if isinstance(step, str):
        if value is not None or step in held:
            held[step] = value
        return value
    if isinstance(step, Index):
        if value is None:
            # Only the last entry can go without moving another one into its place.
            if len(held) == step.n + 1:
                held.pop()
        elif len(held) > step.n:
            held[step.n] = value
        elif len(held) == step.n:
            held.append(value)
        else:
            return MISSING
        return value
    entry = _entry(held, step)
    if entry is MISSING and value is not None:
        entry = value
        inner: Any = entry
        for name in step.path[:-1]:
            inner = inner.setdefault(name, {})
        inner[step.path[-1]] = step.value
        held.append(entry)
    return entry


Writer = Callable[[Values, Values, Draft], None]
"""writer(values to write, values held now, draft)"""


def cut_text(text: str, length: int | None) -> str:
    """The declared rendition of a text that is too long: cut, without a trailing blank."""
    return text if length is None or len(text) <= length else text[:length].rstrip()


class Writers:
    """All writers of one record mapping, in the order in which they run: fields, amounts, sets, derived properties."""

    def __init__(self, plan: RecordPlan, normalizer: Normalizer) -> None:
        self.plan = plan
        self.normalizer = normalizer
        self.writers: list[Writer] = []
        amounts: list[Writer] = []
        lists: list[Writer] = []
        groups: set[tuple[Path, str]] = set()
        for line in plan.lines:
            if line.head.direction == "in":
                continue
            match line:
                case ValueLine() if line.currency is not None:
                    # After the others, so that a currency that changes in the same write stands there already.
                    self._join(amounts, line, self._amount(line, line.currency))
                case ValueLine():
                    self._join(self.writers, line, self._scalar(line, _encoder(line)))
                case ReferenceLine() | KeyLine():
                    encode = _reference(line) if isinstance(line, ReferenceLine) else _key(line)
                    self._join(self.writers, line, self._scalar(line, encode))
                case PartLine():
                    if (line.path, line.form) not in groups:
                        groups.add((line.path, line.form))
                        self._join(self.writers, line, self._parts(line))
                case ListLine():
                    self._join(lists, line, self._list(line))
                case SlotsLine():
                    self._join(lists, line, self._slots(line))
                case PrimaryLine() | ConstantLine():
                    pass  # written together with its list; never written
        self.writers.extend(amounts)
        self.writers.extend(lists)
        self.writers.extend(self._derived(made) for made in plan.derived)

    def put(self, values: Values, held: Values, body: JSON | None) -> JSON:
        """The changes that bring `values` into the record; held: what `get` gives for it now."""
        draft = Draft(body)
        for write in self.writers:
            write(values, held, draft)
        if draft.is_new:
            self._complete(draft)
        return draft.changes()

    def _complete(self, draft: Draft) -> None:
        """What every new record needs beside its fields."""
        for condition in self.plan.when:
            if condition.allowed[0] is not None and draft.read(condition.path) in (MISSING, None):
                draft.write(condition.path, condition.allowed[0])
        for path, value in self.plan.on_create:
            if draft.read(path) in (MISSING, None):
                draft.write(path, value)

    def _join(self, writers: list[Writer], line: Any, write: Writer) -> None:
        speaks = speaks_of(line.head)
        if speaks is None:
            writers.append(write)
            return
        fresh = Draft(None)
        self._complete(fresh)

        def write_where_it_speaks(values: Values, held: Values, draft: Draft) -> None:
            if speaks(fresh.now if draft.is_new else draft.before):
                write(values, held, draft)

        writers.append(write_where_it_speaks)

    def _same(self, field: Field, a: Any, b: Any) -> bool:
        return self.normalizer.same(self.plan.kind.name, field.name, a, b)

    def _scalar(self, line: ValueLine | ReferenceLine | KeyLine, encode: Callable[[Any], Any]) -> Writer:
        field, path, clearable, same = line.head.field, line.path, line.head.clearable, self._same
        name, stand_in = field.name, line.empty if isinstance(line, ValueLine) else None

        def write(values: Values, held: Values, draft: Draft) -> None:
            if name in values and not same(field, held.get(name), values[name]):
                encoded = encode(values[name])
                if encoded is not NO_ROOM and (clearable or encoded is not None):
                    draft.write(path, encoded)
            elif draft.is_new and stand_in is not None:
                draft.write(path, stand_in)

        return write

    def _amount(self, line: ValueLine, currency: Path | str) -> Writer:
        write_scalar = self._scalar(line, _encoder(line))
        field, same, plan = line.head.field, self._same, self.plan

        def write(values: Values, held: Values, draft: Draft) -> None:
            amount, ours = values.get(field.name), values.get("currency")
            if amount is not None and isinstance(ours, str) and not same(field, held.get(field.name), amount):
                theirs = currency if isinstance(currency, str) else draft.read(currency)
                if theirs in (MISSING, None) and draft.is_new:
                    theirs = next((value for path, value in plan.on_create if path == currency), None)
                if isinstance(theirs, str) and theirs and theirs.upper() != ours.upper():
                    raise Unreadable(field.name, "the amount is in another currency than the vendor's record")
            write_scalar(values, held, draft)

        return write

    def _parts(self, line: PartLine) -> Writer:
        mapped = {
            other.head.field.name
            for other in self.plan.lines
            if isinstance(other, PartLine) and other.path == line.path and other.head.direction != "in"
        }
        splitter: Splitter = SPLITTERS[line.form]
        order = NAME_FORMS[line.form]
        fields = [self.plan.kind.fields[name] for name in order if name in mapped]
        path, same = line.path, self._same

        def write(values: Values, held: Values, draft: Draft) -> None:
            if all(f.name not in values or same(f, held.get(f.name), values[f.name]) for f in fields):
                return
            now = draft.read(path)
            before = splitter.split(now) if isinstance(now, str) else ("",) * len(order)
            parts = [
                (values[name] or "") if name in mapped and name in values else before[position]
                for position, name in enumerate(order)
            ]
            text, is_exact = splitter.join(parts)
            if is_exact or all(f.name in values for f in fields):
                draft.write(path, text or None)

        return write

    def _list(self, line: ListLine) -> Writer:
        primary = next(
            (o.head.field for o in self.plan.lines if isinstance(o, PrimaryLine) and o.of == line.head.field.name), None
        )
        return _ListWriter(line, primary, self.normalizer)

    def _slots(self, line: SlotsLine) -> Writer:
        forced = {
            other.path: other.head.field.name
            for other in self.plan.lines
            if isinstance(other, ValueLine)
            and other.head.field.primary_of == line.head.field.name
            and other.head.direction != "in"
        }
        return _SlotsWriter(line, forced, self.normalizer)

    def _derived(self, made: Derived) -> Writer:
        fields = [self.plan.kind.fields[name] for name in made.join]
        same = self._same

        def write(values: Values, held: Values, draft: Draft) -> None:
            changed = any(f.name in values and not same(f, held.get(f.name), values[f.name]) for f in fields)
            if not draft.is_new and (made.only_on_create or not changed):
                return
            words = ((values[f.name] if f.name in values else held.get(f.name)) or "" for f in fields)
            text = " ".join(" ".join(words).split()) or made.otherwise
            if text and draft.read(made.path) != text:
                draft.write(made.path, text)

        return write


def _encoder(line: ValueLine) -> Callable[[Any], Any]:
    empty, cut, table, form = line.empty, line.cut, line.table, line.form
    if line.transform is not None:
        return _through(line.transform)
    if table is not None:
        first = {name: values[0] for name, values in table.entries.items()}
        return lambda value: first.get(value, NO_ROOM) if value else None
    match line.head.field.type:
        case "text" | "email" | "phone":
            return lambda value: empty if not value or value.isspace() else cut_text(value, cut)
        case "date" if form == "instant":
            return lambda value: None if not value else f"{value}T00:00:00Z"
        case "decimal":
            scale, decimals = line.scale, line.decimals

            def encode_decimal(value: str | None) -> Any:
                if value is None:
                    return None
                if scale is not None:
                    value = format(round(Decimal(value) * scale), "f")
                elif decimals is not None:
                    value = format(round(Decimal(value), decimals), "f")
                return value if form == "text" else money.json_number(value)

            return encode_decimal
        case "int" if form == "text":
            return lambda value: None if value is None else str(value)
        case "bool" if line.negate:
            return lambda value: None if value is None else not value
        case "instant" if form == "date":
            return lambda value: value[:10] if value else None
        case _:
            return lambda value: value


def _through(transform: Transform) -> Callable[[Any], Any]:
    """Writing through a transform; a value for which it has no spelling finds no room."""
    write = transform.write

    def encode(value: Any) -> Any:
        if value is None or value == "":
            return None
        try:
            return write(value)
        except UNREADABLE:
            return NO_ROOM

    return encode


def _reference(line: ReferenceLine) -> Callable[[Any], Any]:
    prefix, wrap, is_number = f"{line.resource}:", line.wrap, line.id_form == "number"

    def encode(token: str | None) -> Any:
        if token is None:
            return None
        if not token.startswith(prefix):
            return NO_ROOM
        written: Any = token[len(prefix) :]
        if is_number:
            if not written.isdecimal():
                return NO_ROOM
            written = int(written)
        return written if wrap is None else {wrap: written}

    return encode


def _key(line: KeyLine) -> Callable[[Any], Any]:
    prefix, cut = f"?{line.kind}.{line.key}=", line.cut

    def encode(token: str | None) -> Any:
        if token is None:
            return None
        return cut_text(token[len(prefix) :], cut) if token.startswith(prefix) else NO_ROOM

    return encode


class _Elements:
    """What list and slots have in common: keys of elements, and the wanted set in this connector's own keys."""

    def __init__(self, field: Field, normalizer: Normalizer) -> None:
        self.field = field
        self.is_address = field.item == "address"
        self.value_key = normalizer.email_key if field.item == "email" else normalizer.phone_key

    def key(self, item: Mapping[str, Any]) -> str | None:
        if self.is_address:
            return _address_key(dict(item))
        value = item.get("value")
        return self.value_key(value) if isinstance(value, str) else None

    def shown(self, item: Mapping[str, Any]) -> Mapping[str, Any]:
        """The element as the vendor would hold it: without the parts for which it has no place."""
        return item

    def wanted(self, items: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
        """The desired elements by the key that they will have when read back; those that would have none find no room.

        A number typed nationally in another country is written as E.164.
        """
        found: dict[str, Mapping[str, Any]] = {}
        for given, item in (items or {}).items():
            if item is None:
                continue
            own = self.key(self.shown(item))
            if self.field.item == "phone" and given.startswith("+") and own != given:
                item = {**item, "value": given}
                own = self.key(item)
            if own is not None and own not in found:
                found[own] = item
        return found


class _ListWriter(_Elements):
    """Writes a set, and its primary element, into the vendor's list. Entries are matched by key, never by position."""

    def __init__(self, line: ListLine, primary: Field | None, normalizer: Normalizer) -> None:
        super().__init__(line.head.field, normalizer)
        self.line = line
        self.primary = primary
        self.read_words = label_words(line.label) if line.label else {}

    def __call__(self, values: Values, held: Values, draft: Draft) -> None:
        name = self.field.name
        has_set = name in values and values[name] != held.get(name)
        chosen = values.get(self.primary.name) if self.primary else None
        if not has_set and (chosen is None or (self.primary and chosen == held.get(self.primary.name))):
            return
        chosen_key = self.value_key(chosen) if chosen else None
        if name not in values and chosen_key is None:
            return
        before = draft.read(self.line.path)
        before = before if isinstance(before, list) else []
        entries: list[Any] = list(before)
        if name in values:
            wanted = self.wanted(values[name])
            if chosen_key is not None and chosen_key not in wanted:
                wanted[chosen_key] = {"value": chosen}
            entries = list(self._kept(entries, wanted))
            there = {self._entry_key(entry) for entry in entries}
            entries.extend(self._new(item) for key, item in wanted.items() if key not in there)
        elif all(self._entry_key(entry) != chosen_key for entry in entries):
            entries.append(self._new({"value": chosen}))
        if chosen_key is not None and self.line.primary is not None:
            self._choose(entries, chosen_key)
        if entries != before:
            draft.write(self.line.path, entries)

    def shown(self, item: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self.is_address:
            return item
        parts = {part: self._part(part, item.get(part)) for part in self.line.parts}
        return {part: value for part, value in parts.items() if value is not NO_ROOM}

    def _is_ours(self, entry: Any) -> bool:
        return all(within(entry, (name,)) in allowed for name, allowed in self.line.only.items())

    def _entry_key(self, entry: Any) -> str | None:
        if not self._is_ours(entry):
            return None
        if self.is_address:
            return self.key({part: entry.get(name) for part, name in self.line.parts.items()})
        value = within(entry, self.line.value or ())
        return self.value_key(value) if isinstance(value, str) and value else None

    def _kept(self, entries: Sequence[Any], wanted: Mapping[str, Mapping[str, Any]]) -> Iterator[Any]:
        seen: set[str] = set()
        for entry in entries:
            key = self._entry_key(entry)
            if key is None:
                yield entry
            elif key in wanted:
                yield entry if key in seen else self._patched(entry, wanted[key])
                seen.add(key)

    def _patched(self, entry: Any, item: Mapping[str, Any]) -> Any:
        """The entry with what the element states differently; the given one is left as it is."""
        if not isinstance(entry, dict):
            return entry
        entry = dict(entry)
        for part, name in self.line.parts.items():
            if part in item and addresses.part(part, entry.get(name)) != addresses.part(part, item[part]):
                value = self._part(part, item[part])
                if value is not NO_ROOM:
                    entry[name] = value
        self._write_label(entry, item.get("label"))
        return entry

    def _part(self, part: str, value: str | None) -> Any:
        """One part as the vendor takes it; a country that must be a code and is unknown finds no room."""
        if not value:
            return None
        if part == "country" and self.line.country_codes:
            return countries.country_code(value) or NO_ROOM
        return value

    def _write_label(self, entry: JSON, label: str | None) -> None:
        spec = self.line.label
        if spec is None or label is None:
            return
        words = spec.entries.get(label)
        word = words[0] if words else spec.fallback
        if word is None:
            return
        if spec.among:
            now = [w for w in entry.get(spec.key) or [] if isinstance(w, str)]
            if next((self.read_words[w.lower()] for w in now if w.lower() in self.read_words), None) != label:
                entry[spec.key] = [word, *(w for w in now if w.lower() not in self.read_words and w.lower() != word)]
        elif self.read_words.get(entry.get(spec.key, "")) != label:
            entry[spec.key] = word

    def _new(self, item: Mapping[str, Any]) -> Any:
        if self.line.value == ():
            return item["value"]
        entry: JSON = {}
        if self.is_address:
            written = {name: self._part(part, item.get(part)) for part, name in self.line.parts.items()}
            entry = {name: value for name, value in written.items() if value is not None and value is not NO_ROOM}
        else:
            inner = entry
            for name in (self.line.value or ())[:-1]:
                inner = inner.setdefault(name, {})
            inner[(self.line.value or ())[-1]] = item["value"]
        self._write_label(entry, item.get("label"))
        for name, allowed in self.line.only.items():
            if entry.get(name) not in allowed:
                entry[name] = allowed[0]
        return entry

    def _choose(self, entries: list[Any], chosen: str) -> None:
        """Flag the chosen element, unless it is the one that reads as primary already."""
        assert self.line.primary is not None
        read, write = self.line.primary
        ours = [entry for entry in entries if self._entry_key(entry) is not None]
        if self.line.primary == FIRST:
            target = next(entry for entry in ours if self._entry_key(entry) == chosen)
            if self._entry_key(ours[0]) != chosen:
                first = next(n for n, entry in enumerate(entries) if entry is ours[0])
                entries[:] = [entry for entry in entries if entry is not target]
                entries.insert(first, target)
            return

        def flag(entry: JSON) -> bool:
            found = entry.get(read)
            return bool(entry.get(write) if found is None else found)

        flagged = next((entry for entry in ours if flag(entry)), ours[0] if ours else None)
        if flagged is None or self._entry_key(flagged) == chosen:
            return
        target = next(entry for entry in ours if self._entry_key(entry) == chosen)
        for n, entry in enumerate(entries):
            if entry is target or (self._entry_key(entry) is not None and flag(entry)):
                entries[n] = {k: v for k, v in entry.items() if k != read} | {write: entry is target}


class _SlotsWriter(_Elements):
    """Writes a set into a few fixed vendor fields.

    A slot keeps the element it holds while that is wanted; it gives it up only to the element's own slot, when that
    one holds nothing wanted. New elements go to the slot of their label, else to a slot without label, or (when no
    slot has their label) to the one that `others` names. What finds no slot has no room.
    """

    def __init__(self, line: SlotsLine, forced: Mapping[Path, str], normalizer: Normalizer) -> None:
        super().__init__(line.head.field, normalizer)
        self.slots = line.slots
        self.forced = {n: forced[slot.path] for n, slot in enumerate(line.slots) if slot.path and slot.path in forced}
        self.of_label: dict[Any, int] = {slot.label: n for n, slot in enumerate(line.slots) if slot.label is not None}
        self.parts = [part for part in line.slots[0].parts if all(part in slot.parts for slot in line.slots)]
        self.without_label = [n for n, slot in enumerate(line.slots) if slot.label is None]
        self.others = [self.of_label[line.others]] if line.others is not None else []

    def __call__(self, values: Values, held: Values, draft: Draft) -> None:
        name = self.field.name
        if name not in values:
            return
        if values[name] == held.get(name) and all(
            primary not in values or values[primary] == held.get(primary) for primary in self.forced.values()
        ):
            return
        wanted = self.wanted(values[name])
        now = [self._held(draft, n) for n in range(len(self.slots))]
        fixed = {n for n, primary in self.forced.items() if primary in values}
        taken = self._assign(wanted, now, fixed)
        seen: set[str] = set()
        for n in range(len(self.slots)):
            new = taken.get(n)
            # A second slot with the same element reads as nothing of its own, so it is left as it is.
            if n not in fixed and (new is None or new != now[n] or new not in seen):
                self._write(draft, n, now[n], new, wanted)
            if new is not None:
                seen.add(new)

    def shown(self, item: Mapping[str, Any]) -> Mapping[str, Any]:
        return {part: item.get(part) for part in self.parts} if self.is_address else item

    def _item(self, draft: Draft, n: int) -> dict[str, Any]:
        slot = self.slots[n]
        if slot.path is not None:
            value = draft.read(slot.path)
            return {"value": value} if isinstance(value, str) else {}
        found = {part: draft.read(path) for part, path in slot.parts.items()}
        return {part: value for part, value in found.items() if value is not MISSING}

    def _held(self, draft: Draft, n: int) -> str | None:
        return self.key(self._item(draft, n))

    def _assign(
        self, wanted: Mapping[str, Mapping[str, Any]], now: Sequence[str | None], fixed: set[int]
    ) -> dict[int, str]:
        taken = {n: key for n, key in enumerate(now) if n not in fixed and key is not None and key in wanted}
        # Again until nothing moves: an element that goes home may leave the slot that another one waits for.
        moved = True
        while moved:
            moved = False
            for n, key in list(taken.items()):
                own = self.of_label.get(wanted[key].get("label"))
                if own is not None and own != n and own not in taken and own not in fixed:
                    del taken[n]
                    taken[own] = key
                    moved = True
        placed = set(taken.values()) | {now[n] for n in fixed}
        # Elements with a slot of their own first, so that none finds it taken by one that fits elsewhere, too.
        for key, item in sorted(wanted.items(), key=lambda pair: pair[1].get("label") not in self.of_label):
            if key in placed:
                continue
            own = self.of_label.get(item.get("label"))
            choices = ([own] if own is not None else self.others) + self.without_label
            free = next((n for n in choices if n not in taken and n not in fixed), None)
            if free is not None:
                taken[free] = key
        return taken

    def _write(
        self, draft: Draft, n: int, now: str | None, new: str | None, wanted: Mapping[str, Mapping[str, Any]]
    ) -> None:
        slot = self.slots[n]
        if slot.path is not None:
            if new != now:
                draft.write(slot.path, None if new is None else wanted[new]["value"])
            return
        if new is None and now is None:
            return
        item = wanted[new] if new is not None else {}
        for part, path in slot.parts.items():
            there = draft.read(path)
            there = there if isinstance(there, str) else None
            value = item.get(part) if part in item or new != now else there
            if addresses.part(part, there) != addresses.part(part, value):
                draft.write(path, value or None)

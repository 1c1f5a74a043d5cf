"""The lines of a record mapping: one reader per form, and what the lines of one record must not do together.

Each form gives a plan line (plan.py) or faults that name file and line. Which words a form has stands in words.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

import yaml

from mappings import words
from mappings.canonical import ADDRESS_PARTS, KINDS, LABELS, Field, Kind
from mappings.nodes import Entries, Reader, describe, listing, nearest, scalar, where
from mappings.normalize import dates, money
from mappings.plan import (
    FIRST,
    Condition,
    ConstantLine,
    Custom,
    Derived,
    Direction,
    Drift,
    Head,
    KeyLine,
    Label,
    LinePlan,
    ListLine,
    PartLine,
    Path,
    Pick,
    PrimaryLine,
    ReferenceLine,
    Slot,
    SlotsLine,
    Stray,
    Strength,
    Table,
    ValueLine,
    path_text,
    paths_of,
)

if TYPE_CHECKING:
    from mappings.transforms import Transform

Pins = Mapping[str, Mapping[str, str | int]]
"""Custom fields of an account: resource -> name for people -> the vendor's id."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Beside:
    """What a mapping file is read with.

    transforms  what `transform` can name
    pins        custom fields as they were agreed: the pin of lines that give no id
    seen        custom fields as the account has them now; what differs from the pins is drift
    """

    transforms: Mapping[str, Transform]
    pins: Pins
    seen: Pins | None


def sequence(reader: Reader, node: yaml.Node, what: str) -> list[yaml.Node]:
    if isinstance(node, yaml.SequenceNode) and node.value:
        return list(node.value)
    reader.fail(node, f"{what}: expected a list with a dash before each entry, found {describe(node)}")
    return []


def conditions(reader: Reader, node: yaml.Node) -> tuple[Condition, ...]:
    return tuple(
        Condition(path, allowed)
        for path_node, value_node in reader.entries(node, "when").values()
        if (path := reader.path(path_node, "when")) and (allowed := reader.scalars(value_node, "when"))
    )


def _constant_of(field: Field, value: Any) -> Any:
    """The canonical value that a file's scalar states for a field. Raises ValueError."""
    match field.type:
        case "bool" | "int" if type(value) is (bool if field.type == "bool" else int):
            return value
        case "enum" if value in field.values:
            return value
        case "text" if value is not None and not isinstance(value, bool) and str(value).strip():
            return str(value)
        case "decimal" if value is not None:
            return money.plain(value)
        case "date" if isinstance(value, str) and dates.day(value) == value:
            return value
        case "instant" if isinstance(value, str):
            return dates.instant(value)
    raise ValueError


class Lines:
    """The lines of one record mapping."""

    def __init__(
        self,
        reader: Reader,
        kind: Kind,
        resource: str,
        resources: Mapping[str, set[str]],
        beside: Beside,
        creates: bool,
        when: tuple[Condition, ...],
    ) -> None:
        self.reader = reader
        self.kind = kind
        self.resource = resource
        self.resources = resources
        self.beside = beside
        self.creates = creates
        self.when = when
        self.custom_place: Mapping[str, tuple[str, ...]] = {}
        self.customs: list[Custom] = []
        self.drift: list[Drift] = []
        self.found: dict[str, LinePlan] = {}
        self.nodes: dict[str, yaml.Node] = {}
        self.written: list[tuple[Path, str]] = []

    def read(self, name: str, name_node: yaml.Node, node: yaml.Node) -> None:
        reader = self.reader
        field = self.kind.fields.get(name)
        if field is None:
            hint = nearest(name, self.kind.fields) or f"; {self.kind.name} has: {listing(self.kind.fields)}"
            reader.fail(name_node, f"{self.kind.name} has no field {name!r}{hint}")
            return
        if isinstance(node, yaml.ScalarNode):
            if node.value == "off":
                reader.fail(node, f"{name}: only a firm's own file can say 'off'")
                return
            spec: Entries = {"path": (name_node, node)}
            form = "path"
        else:
            spec = reader.entries(node, name)
            if not spec:
                return
            form = self._form(name, node, spec)
            if not form:
                return
        head = self._head(field, name_node, spec)
        if field.type not in words.FORMS[form].types:
            reader.fail(spec[form][0], self._misplaced(field, form))
            return
        make: dict[str, Callable[[Head, yaml.Node, Entries], LinePlan | None]] = {
            "path": self._value,
            "custom": self._custom,
            "constant": self._constant,
            "ref": self._reference,
            "key": self._key,
            "part of": self._part,
            "primary": self._primary,
            "list": self._list,
            "slots": self._slots,
        }
        line = make[form](head, name_node, spec)
        if line is not None:
            self.found[name] = line
            self.nodes[name] = name_node

    def _form(self, name: str, node: yaml.Node, spec: Entries) -> str:
        reader = self.reader
        # `path` also stands beside ref and key, `primary` also in a list: they name the form only where nothing else
        # does.
        forms = [form for form in words.FORMS if form in spec and form not in ("path", "primary")]
        forms = forms or [form for form in words.FORMS if form in spec][-1:]
        if len(forms) != 1:
            known = {word.name for form in words.FORMS.values() for word in form.words}
            for word in spec:
                if word not in known:
                    reader.fail(spec[word][0], f"{name}: unknown word {word!r}{nearest(word, known)}")
                    return ""
            *most, last = words.FORMS
            reader.fail(
                node,
                f"{name}: expected one of {', '.join(most)} or {last}, found"
                f" {' and '.join(forms) if forms else 'none of them'}",
            )
            return ""
        form = forms[0]
        known = {word.name for word in words.FORMS[form].words}
        for word in [w for w in spec if w not in known]:
            hint = nearest(word, known) or f"; a line with {form!r} knows: {listing(known)}"
            reader.fail(spec[word][0], f"{name}: unknown word {word!r}{hint}")
            del spec[word]
        field = self.kind.fields[name]
        for allowed in words.FORMS[form].words:
            fits = not allowed.types or field.type in allowed.types
            if allowed.name in spec and not fits and field.type in words.FORMS[form].types:
                reader.fail(
                    spec[allowed.name][0],
                    f"{name}: {allowed.name!r} is for {' or '.join(allowed.types)}, but this field is {field.type}",
                )
                return ""
        return form

    def _misplaced(self, field: Field, form: str) -> str:
        """Why a form is not for a field, in words."""
        if field.type == "set" and form in ("path", "custom", "constant"):
            return f"{field.name} is a set: expected 'list' or 'slots', found a plain path"
        if field.type == "ref" and form in ("path", "custom", "constant"):
            return f"{field.name} refers to another record: expected 'ref' or 'key' beside the path"
        if form == "primary":
            return f"{field.name} is not the primary one of a set, so 'primary' has no meaning here"
        what = {"ref": "references", "key": "references", "list": "sets", "slots": "sets", "part of": "names"}
        return f"{field.name}: {form!r} is for {what.get(form, 'single values')}, but this field is {field.type}"

    def _head(self, field: Field, name_node: yaml.Node, spec: Entries) -> Head:
        reader = self.reader
        direction = self._choice(spec, "direction", ("both", "in", "out")) or "both"
        strength = self._choice(spec, "strength", ("enforce", "fill", "create")) or "enforce"
        authority = "authority" in spec and reader.flag(spec["authority"][1], "authority")
        if "constant" in spec:
            direction = "in"
        if field.rollup and direction != "out":
            reader.fail(name_node, f"{field.name} is computed from other records, so its line needs 'direction: out'")
        if direction == "in" and "strength" in spec:
            reader.fail(spec["strength"][0], f"{field.name}: 'strength' is about writing, but the direction is in")
        if direction == "out" and authority:
            reader.fail(
                spec["authority"][0],
                f"{field.name}: 'authority' is about what this system says, but the direction is out",
            )
        if strength == "create" and not self.creates:
            reader.fail(
                spec["strength"][0],
                f"{field.name}: 'strength: create' writes new records only, and this record mapping makes none",
            )
        when = conditions(reader, spec["when"][1]) if "when" in spec else ()
        for condition in when:
            for whole in self.when:
                if condition.path == whole.path and not set(condition.allowed) & set(whole.allowed):
                    reader.fail(
                        spec["when"][0],
                        f"{field.name}: no record under this mapping has such a {path_text(condition.path)},"
                        " so the line never speaks",
                    )
        unless = reader.path(spec["unless"][1], "unless") if "unless" in spec else None
        loses = reader.scalars(spec["loses"][1], "loses") if "loses" in spec else ()
        for loss in loses:
            if loss not in words.LOSSES:
                known = words.LOSSES
                reader.fail(
                    spec["loses"][1],
                    f"loses: found {loss!r}, expected one of: {listing(known)}{nearest(str(loss), known)}",
                )
        return Head(
            field=field,
            direction=cast("Direction", direction),
            strength=cast("Strength", strength),
            authority=authority,
            unless=() if unless is None else (unless,),
            when=when,
            clearable="clearable" not in spec or reader.flag(spec["clearable"][1], "clearable"),
            loses=frozenset(str(loss) for loss in loses),
            where=where(name_node),
        )

    def _choice(self, spec: Entries, word: str, known: tuple[str, ...]) -> str | None:
        return self.reader.choice(spec[word][1], known, word) if word in spec else None

    def _path(self, head: Head, name_node: yaml.Node, spec: Entries, word: str = "path") -> Path | None:
        if word not in spec:
            self.reader.fail(name_node, f"{head.field.name}: {word!r} is missing")
            return None
        return self.reader.path(spec[word][1], word)

    def _value(self, head: Head, name_node: yaml.Node, spec: Entries) -> LinePlan | None:
        path = self._path(head, name_node, spec)
        if path is None:
            return None
        place = self.custom_place
        named = [step for step in path if isinstance(step, Pick) and step.path == place.get("name")]
        if named and path[: len(place["list"])] == place["list"]:
            self.reader.fail(
                spec["path"][1],
                f"path: a custom field known by its name alone may come to mean another one; say"
                f" `custom: {named[0].value}` with its `id`",
            )
        return self._value_at(head, path, name_node, spec)

    def _value_at(self, head: Head, path: Path, name_node: yaml.Node, spec: Entries) -> LinePlan | None:
        reader, field = self.reader, head.field
        transform = self._transform(field, spec)
        table = None
        if "values" in spec:
            table = self._table(head, spec)
        elif "else" in spec:
            reader.fail(spec["else"][0], f"{field.name}: 'else' belongs to a table; 'values' is missing")
        elif field.type == "enum" and "transform" not in spec:
            reader.fail(
                name_node,
                f"{field.name}: 'values' is missing; it gives the vendor's word for: {', '.join(field.values)}",
            )
            return None
        forms = {"date": ("instant", "date"), "instant": ("date", "instant")}.get(field.type, ("text", "number"))
        form = self._choice(spec, "as", forms)
        self.claim(head, name_node, path)
        return ValueLine(
            head=head,
            path=path,
            cut=reader.count(spec["cut"][1], "cut") if "cut" in spec else None,
            empty=reader.text(spec["empty"][1], "empty") if "empty" in spec else None,
            table=table,
            form=None if form == field.type else cast("Any", form),
            scale=reader.count(spec["scale"][1], "scale") if "scale" in spec else None,
            decimals=reader.count(spec["decimals"][1], "decimals") if "decimals" in spec else None,
            negate="negate" in spec and reader.flag(spec["negate"][1], "negate"),
            transform=transform,
            currency=self._currency(field, spec),
        )

    def _transform(self, field: Field, spec: Entries) -> Transform | None:
        if "transform" not in spec:
            return None
        reader, known = self.reader, self.beside.transforms
        for word in ("cut", "empty", "values", "as", "scale", "decimals", "negate"):
            if word in spec:
                reader.fail(spec[word][0], f"{field.name}: {word!r} has no place beside 'transform', which does it all")
        name = reader.text(spec["transform"][1], "transform")
        if name is None:
            return None
        found = known.get(name)
        if found is None:
            reader.fail(
                spec["transform"][1],
                f"transform: there is no transform {name!r}{nearest(name, known) or '; known: ' + listing(known)}",
            )
        elif field.type not in found.types:
            reader.fail(
                spec["transform"][1],
                f"transform: {name} is for {' or '.join(found.types)}, but {field.name} is {field.type}",
            )
        return found

    def _currency(self, field: Field, spec: Entries) -> Path | str | None:
        if "currency" not in spec:
            return None
        reader, node = self.reader, spec["currency"][1]
        if "currency" not in self.kind.fields:
            reader.fail(spec["currency"][0], f"{field.name}: {self.kind.name} has no field 'currency' to compare with")
        if not isinstance(node, yaml.MappingNode):
            return reader.path(node, "currency")
        always = reader.entries(node, "currency", ("always",)).get("always")
        code = reader.text(always[1], "always") if always else None
        if code is not None and not re.fullmatch("[A-Z]{3}", code):
            reader.fail(node, f"always: expected a currency's code of three letters, found {code!r}")
        elif code is None:
            reader.fail(node, "currency: expected a path, or 'always' with a currency's code")
        return code

    def read_custom_place(self, node: yaml.Node) -> None:
        """Where the resource keeps custom fields."""
        reader = self.reader
        entries = reader.entries(node, "custom fields", words.CUSTOM_FIELDS)
        missing = [word for word in words.CUSTOM_FIELDS if word not in entries]
        if missing:
            reader.fail(
                node, f"custom fields: {', '.join(missing)} is missing; all of list, name, id, value are needed"
            )
            return
        names = {word: reader.names(value, word) for word, (_, value) in entries.items()}
        self.custom_place = {word: name for word, name in names.items() if name is not None}

    def _custom(self, head: Head, name_node: yaml.Node, spec: Entries) -> LinePlan | None:
        """A custom field: its entry is found by the pinned id; where the name is astray, the line is silent."""
        reader, place = self.reader, self.custom_place
        name = reader.text(spec["custom"][1], "custom")
        if len(place) != len(words.CUSTOM_FIELDS):
            reader.fail(
                spec["custom"][0],
                f"custom: {self.resource} has no 'custom fields' that say where they stand; use 'path' instead",
            )
            return None
        if name is None:
            return None
        given = reader.text(spec["id"][1], "id") if "id" in spec else None
        agreed = given if given is not None else self.beside.pins.get(self.resource, {}).get(name)
        now = None if self.beside.seen is None else self.beside.seen.get(self.resource)
        if agreed is None:
            hint = "" if now is None else nearest(name, now) if name not in now else f"; now its id is {now[name]}"
            reader.fail(
                spec["custom"][1],
                f"custom: {name!r} is not pinned to an id{hint}; write `id:` beside it, or let"
                " `syncd connect inspect` pin the account's fields",
            )
            return None
        pin: str | int = int(agreed) if str(agreed).isdecimal() else str(agreed)
        self.customs.append(Custom(head.field.name, name, str(pin), now is not None, head.where))
        if now is not None and self._drifted(head, name, str(pin), now):
            return None
        stray = Stray(place["name"], name, place["id"], pin)
        guarded = replace(head, unless=(*head.unless, (*place["list"], stray)))
        return self._value_at(
            guarded,
            (*place["list"], Pick(place["id"], pin, absent_is_empty=now is not None), *place["value"]),
            name_node,
            spec,
        )

    def _drifted(self, head: Head, name: str, pin: str, now: Mapping[str, str | int]) -> bool:
        """Note how the account differs from the pin; True when the line must stop."""

        def note(what: str, remedy: str, *, stops: bool) -> bool:
            drift = Drift(head.where, self.resource, self.kind.name, head.field.name, stops, what, remedy)
            self.drift.append(drift)
            return stops

        found = now.get(name)
        if found is not None and str(found) != pin:
            return note(
                f"the custom field {name!r} now has the id {found}, pinned was {pin}",
                "Look which of the two is meant, and write its id.",
                stops=True,
            )
        other = next((each for each, id_ in now.items() if str(id_) == pin), None)
        if other is None:
            return note(
                f"the custom field {name!r} ({pin}) is gone",
                "Take the line out, or name another field.",
                stops=True,
            )
        if other != name:
            note(f"the custom field {name!r} ({pin}) is now called {other!r}", "Write the new name.", stops=False)
        return False

    def _constant(self, head: Head, name_node: yaml.Node, spec: Entries) -> LinePlan | None:
        reader, field = self.reader, head.field
        node = spec["constant"][1]
        value = scalar(node) if isinstance(node, yaml.ScalarNode) else None
        known = f"one of: {', '.join(field.values)}" if field.type == "enum" else f"a value of the type {field.type}"
        try:
            value = _constant_of(field, value)
        except ValueError:
            hint = nearest(str(value), field.values) if field.type == "enum" else ""
            reader.fail(node, f"constant: {field.name} expects {known}, found {describe(node)}{hint}")
            return None
        return ConstantLine(head, value)

    def _table(self, head: Head, spec: Entries) -> Table:
        reader, field = self.reader, head.field
        entries: dict[str, tuple[Any, ...]] = {}
        seen: dict[Any, str] = {}
        known = field.values if field.type == "enum" else None
        for name, (name_node, value_node) in reader.entries(spec["values"][1], "values", known).items():
            entries[name] = reader.scalars(value_node, "values")
            for value in entries[name]:
                if value in seen:
                    reader.fail(name_node, f"values: the vendor's {value!r} already means {seen[value]!r}")
                seen[value] = name
        missing = [value for value in field.values if value not in entries]
        if head.direction != "in" and missing:
            reader.fail(
                spec["values"][0],
                f"values: no vendor value for {', '.join(missing)}; a field that is written needs all of them",
            )
        if "else" not in spec:
            return Table(entries)
        if field.type == "enum":
            fallback = reader.choice(spec["else"][1], (*field.values, "nothing"), "else")
        else:
            fallback = reader.text(spec["else"][1], "else")
        return Table(entries, None if fallback == "nothing" else fallback, True)

    def _reference(self, head: Head, name_node: yaml.Node, spec: Entries) -> LinePlan | None:
        reader, field = self.reader, head.field
        path = self._path(head, name_node, spec)
        resource = reader.text(spec["ref"][1], "ref")
        if resource is not None and resource not in self.resources:
            reader.fail(
                spec["ref"][1],
                f"ref: no record of this file has the resource {resource!r}{nearest(resource, self.resources)}",
            )
        elif resource is not None and not self.resources[resource] & set(field.refs):
            kinds = " or ".join(field.refs)
            reader.fail(
                spec["ref"][1],
                f"ref: {field.name} needs {kinds}, but {resource!r} holds {listing(self.resources[resource])}",
            )
        id_form = reader.choice(spec["id"][1], ("text", "number"), "id") if "id" in spec else "text"
        if path is None or resource is None:
            return None
        self.claim(head, name_node, path)
        wrap = reader.text(spec["in"][1], "in") if "in" in spec else None
        return ReferenceLine(head, path, resource, cast("Any", id_form or "text"), wrap)

    def _key(self, head: Head, name_node: yaml.Node, spec: Entries) -> LinePlan | None:
        reader, field = self.reader, head.field
        path = self._path(head, name_node, spec)
        text = reader.text(spec["key"][1], "key")
        kind, _, key = (text or "").partition(".")
        if text is not None and kind not in field.refs:
            reader.fail(
                spec["key"][1],
                f"key: {field.name} refers to {' or '.join(field.refs)}, found {text!r}; expected KIND.FIELD",
            )
            return None
        if text is not None and (
            key not in KINDS[kind].fields or KINDS[kind].fields[key].type not in ("text", "email")
        ):
            reader.fail(spec["key"][1], f"key: {kind} has no text field {key!r}{nearest(key, KINDS[kind].fields)}")
            return None
        if path is None or text is None:
            return None
        self.claim(head, name_node, path)
        return KeyLine(head, path, kind, key, reader.count(spec["cut"][1], "cut") if "cut" in spec else None)

    def _part(self, head: Head, name_node: yaml.Node, spec: Entries) -> LinePlan | None:
        reader = self.reader
        path = self._path(head, name_node, spec)
        form = reader.choice(spec["part of"][1], tuple(words.NAME_FORMS), "part of")
        if path is None or form is None:
            return None
        if head.field.name not in words.NAME_FORMS[form]:
            reader.fail(
                name_node,
                f"{head.field.name} is no part of {form!r}, which carries: {', '.join(words.NAME_FORMS[form])}",
            )
            return None
        return PartLine(head, path, form)

    def _primary(self, head: Head, name_node: yaml.Node, spec: Entries) -> LinePlan | None:
        of = self.reader.text(spec["primary"][1], "primary")
        if of is None:
            return None
        if head.field.primary_of is None:
            self.reader.fail(
                name_node, f"{head.field.name} is not the primary one of a set, so 'primary' has no meaning here"
            )
            return None
        if of != head.field.primary_of:
            self.reader.fail(spec["primary"][1], f"primary: found {of!r}, expected {head.field.primary_of!r}")
            return None
        return PrimaryLine(head, of)

    def _list(self, head: Head, name_node: yaml.Node, spec: Entries) -> LinePlan | None:
        reader, field = self.reader, head.field
        path = reader.names(spec["list"][1], "list")
        value: tuple[str, ...] | None = None
        parts: dict[str, str] = {}
        if field.item == "address":
            parts = self._address_parts(name_node, spec, lambda node: reader.text(node, "parts"))
        elif "value" not in spec:
            reader.fail(
                name_node,
                f"{field.name}: 'value' is missing; it names the property of an entry that holds the {field.item}",
            )
        else:
            node = spec["value"][1]
            value = () if isinstance(node, yaml.ScalarNode) and node.value == "." else reader.names(node, "value")
        if "parts" in spec and field.item != "address":
            reader.fail(spec["parts"][0], f"{field.name}: 'parts' is for addresses")
        if "value" in spec and field.item == "address":
            reader.fail(spec["value"][0], f"{field.name}: an address needs 'parts', not 'value'")
        primary = self._flag_names(spec["primary"][1]) if "primary" in spec else None
        only = {
            name: reader.scalars(value_node, "only")
            for name, (_, value_node) in (reader.entries(spec["only"][1], "only").items() if "only" in spec else ())
        }
        label = self._label(spec["label"][1]) if "label" in spec else None
        if value == () and (primary not in (None, FIRST) or label is not None or only):
            reader.fail(name_node, f"{field.name}: entries that are plain values have no place for a label or a flag")
        if path is None or (value is None and not parts):
            return None
        self.claim(head, name_node, _list_place(path, only))
        countries = (
            reader.choice(spec["countries"][1], ("codes", "names"), "countries") if "countries" in spec else None
        )
        if countries and field.item != "address":
            reader.fail(spec["countries"][0], f"{field.name}: 'countries' is for addresses")
        return ListLine(head, path, value, parts, label, primary, only, countries == "codes")

    def _address_parts(
        self, name_node: yaml.Node, spec: Entries, read: Callable[[yaml.Node], T | None]
    ) -> dict[str, T]:
        if "parts" not in spec:
            self.reader.fail(
                name_node, f"'parts' is missing; it names the vendor's property for each of: {', '.join(ADDRESS_PARTS)}"
            )
            return {}
        entries = self.reader.entries(spec["parts"][1], "parts", ADDRESS_PARTS)
        parts = {name: found for name, (_, node) in entries.items() if (found := read(node)) is not None}
        if parts and "street" not in parts:
            self.reader.fail(
                spec["parts"][0], "parts: 'street' is missing; addresses are told apart by street and postcode"
            )
        return parts

    def _flag_names(self, node: yaml.Node) -> tuple[str, str] | None:
        reader = self.reader
        if isinstance(node, yaml.ScalarNode):
            name = reader.text(node, "primary")
            return (name, name) if name else None
        entries = reader.entries(node, "primary", ("read", "write", "position"))
        if set(entries) == {"position"}:
            return FIRST if reader.choice(entries["position"][1], ("first",), "position") else None
        if set(entries) != {"read", "write"}:
            reader.fail(node, "primary: expected one name, or 'read' and 'write', or 'position: first'")
            return None
        read, write = reader.text(entries["read"][1], "read"), reader.text(entries["write"][1], "write")
        return (read, write) if read and write else None

    def _label(self, node: yaml.Node) -> Label | None:
        reader = self.reader
        if isinstance(node, yaml.ScalarNode):
            key = reader.text(node, "label")
            return Label(key, False, {name: (name,) for name in LABELS}, None) if key else None
        entries = reader.entries(node, "label", words.LABEL)
        word = "among" if "among" in entries else "path"
        if word not in entries:
            reader.fail(node, "label: 'path' is missing; it names the property of an entry that holds its label")
            return None
        key = reader.text(entries[word][1], word)
        table: dict[str, tuple[str, ...]] = {}
        seen: dict[str, str] = {}
        if "values" in entries:
            for name, (name_node, value_node) in reader.entries(entries["values"][1], "values", LABELS).items():
                table[name] = tuple(str(value) for value in reader.scalars(value_node, "values"))
                for value in table[name]:
                    if value in seen:
                        reader.fail(name_node, f"values: the vendor's {value!r} already means {seen[value]!r}")
                    seen[value] = name
        else:
            table = {name: (name,) for name in LABELS}
        fallback = reader.text(entries["else"][1], "else") if "else" in entries else None
        return Label(key, word == "among", table, fallback) if key else None

    def _slots(self, head: Head, name_node: yaml.Node, spec: Entries) -> LinePlan | None:
        reader, field = self.reader, head.field
        slots: list[Slot] = []
        words = ("label", "parts") if field.item == "address" else ("label", "path")
        for node in sequence(reader, spec["slots"][1], "slots"):
            entries = reader.entries(node, "a slot", words)
            label = reader.choice(entries["label"][1], LABELS, "label") if "label" in entries else None
            if label is not None and any(slot.label == label for slot in slots):
                reader.fail(entries["label"][1], f"slots: the label {label!r} has a slot already")
            if field.item == "address":
                parts = self._address_parts(node, entries, lambda part: reader.path(part, "parts"))
                slots.append(Slot(label, None, parts))
                for path in parts.values():
                    self.claim(head, name_node, path)
            elif "path" in entries:
                path_or_none = reader.path(entries["path"][1], "path")
                slots.append(Slot(label, path_or_none, {}))
                if path_or_none is not None:
                    self.claim(head, name_node, path_or_none)
            else:
                reader.fail(node, "a slot: 'path' is missing")
        others = (
            reader.choice(spec["others"][1], [s.label for s in slots if s.label], "others")
            if "others" in spec
            else None
        )
        return SlotsLine(head, tuple(slots), others) if slots else None

    def claim(self, head: Head, node: yaml.Node, path: Path) -> None:
        if head.direction != "in":
            self.claim_path(node, path, head.field.name)

    def claim_path(self, node: yaml.Node, path: Path, field: str) -> None:
        """Two lines must not write one vendor field, unless one is the primary element of the other."""
        for other, other_field in self.written:
            if not _overlap(other, path):
                continue
            known = [self.kind.fields[name] for name in (field, other_field) if name in self.kind.fields]
            is_primary = any(f.primary_of in (field, other_field) for f in known if f.primary_of) and path == other
            if not is_primary:
                self.reader.fail(
                    node, f"{field} and {other_field} both write the vendor's {path_text(min(other, path, key=len))}"
                )
                return
        self.written.append((path, field))

    def check_together(self, derived: Iterable[Derived]) -> None:
        self._check_reachable()
        self._check_loops(derived)
        self._check_conditions()
        reader = self.reader
        forms: dict[Path, tuple[str, str]] = {}
        for name, line in self.found.items():
            if isinstance(line, PartLine):
                form, first = forms.setdefault(line.path, (line.form, name))
                if form != line.form:
                    reader.fail(
                        self.nodes[name],
                        f"{name} reads {path_text(line.path)} as {line.form!r}, but {first} as {form!r}",
                    )
                other = self.found[first].head
                if (other.when, other.unless) != (line.head.when, line.head.unless):
                    reader.fail(
                        self.nodes[name],
                        f"{name} and {first} are parts of one name and need the same 'when' and 'unless'",
                    )
            if isinstance(line, PrimaryLine):
                of = self.found.get(line.of)
                if not isinstance(of, ListLine) or of.primary is None:
                    reader.fail(
                        self.nodes[name],
                        f"{name} is the primary of {line.of!r}, which needs a line with 'list' and 'primary'",
                    )
                elif of.head.direction != line.head.direction:
                    reader.fail(
                        self.nodes[name], f"{name} and {line.of} stand in one vendor list and need the same direction"
                    )
        for path, (_, first) in forms.items():
            self.claim(self.found[first].head, self.nodes[first], path)

    def _check_reachable(self) -> None:
        """Below a place that holds a plain value nothing can stand."""
        plain = {
            line.path: name
            for name, line in self.found.items()
            if isinstance(line, ValueLine | KeyLine | PartLine) or (isinstance(line, ReferenceLine) and not line.wrap)
        }
        for name, line in self.found.items():
            for path in paths_of(line):
                above = next((plain[path[:n]] for n in range(1, len(path)) if path[:n] in plain), None)
                if above is not None:
                    place = path_text(paths_of(self.found[above])[0])
                    self.reader.fail(
                        self.nodes[name],
                        f"{name} cannot be reached: {above} says that the vendor's {place} is a plain value,"
                        f" so nothing stands at {path_text(path)}",
                    )

    def _check_loops(self, derived: Iterable[Derived]) -> None:
        """What we only write must not come back as somebody's edit of another field."""
        written = {
            path: name for name, line in self.found.items() if line.head.direction == "out" for path in _places(line)
        }
        written |= {made.path: "a derived property" for made in derived}
        for name, line in self.found.items():
            if line.head.direction != "in":
                continue
            for path in _places(line):
                writer = next((w for p, w in written.items() if _overlap(p, path)), None)
                if writer is not None:
                    self.reader.fail(
                        self.nodes[name],
                        f"{name} reads the vendor's {path_text(path)}, which {writer} writes: a loop, in which our own"
                        " value comes back as an edit",
                    )

    def _check_conditions(self) -> None:
        """A line must not switch another one on or off, or writing twice would not be writing once."""
        for name, line in self.found.items():
            tested = [*(c.path for c in line.head.when), *line.head.unless]
            for path in tested:
                if any(isinstance(step, Stray) for step in path):
                    continue
                writer = next((w for p, w in self.written if _overlap(p, path)), None)
                if writer is not None:
                    self.reader.fail(
                        self.nodes[name],
                        f"{name} depends on the vendor's {path_text(path)}, which {writer} writes; a condition needs a"
                        " property that no line writes",
                    )


def _list_place(path: Path, only: Mapping[str, tuple[Any, ...]]) -> Path:
    """Where a list's own entries stand: lists that share a vendor's list are told apart by `only`."""
    return (*path, Pick(tuple(only), str(sorted(only.values(), key=str)))) if only else path


def _places(line: LinePlan) -> tuple[Path, ...]:
    return (_list_place(line.path, line.only),) if isinstance(line, ListLine) else paths_of(line)


def _overlap(a: Path, b: Path) -> bool:
    shorter, longer = sorted((a, b), key=len)
    return longer[: len(shorter)] == shorter

"""Generates the functions that read vendor records: one plain Python function per record mapping.

This is the hot path, called once for every changed record, so nothing is interpreted there: the generated text
holds one straight block per line of the mapping, with the vendor's property names as literals, and is compiled once
when the mapping loads. Only names and constants that passed the language's checks enter the text, always as
Python literals (repr); no value of a record ever does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from mappings.normalize import Normalizer, addresses, dates, money
from mappings.plan import (
    FIRST,
    Condition,
    ConstantLine,
    Head,
    Index,
    KeyLine,
    Label,
    LinePlan,
    ListLine,
    PartLine,
    Path,
    Pick,
    PrimaryLine,
    RecordPlan,
    ReferenceLine,
    Slot,
    SlotsLine,
    Stray,
    Table,
    ValueLine,
    paths_of,
)
from mappings.splitting import SPLITTERS
from mappings.transforms import UNREADABLE, Transform
from mappings.words import NAME_FORMS

if TYPE_CHECKING:
    from mappings.canonical import Values


class Unreadable(ValueError):
    """A vendor value has a shape that its mapping line cannot mean. `reason` names shapes, never the value."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class _Missing:
    """Marks "the vendor's property is not there", which None cannot."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Any = _Missing()
NONE_GIVEN: tuple[Any, ...] = ()

_SHAPES = {
    dict: "an object",
    list: "a list",
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "nothing",
}


def shape(value: Any) -> str:
    """What a JSON value is, in words that give nothing away."""
    return _SHAPES.get(type(value), type(value).__name__)


def bad(field: str, expected: str, value: Any) -> Unreadable:
    return Unreadable(field, f"expected {expected}, found {shape(value)}")


def at(items: Any, n: int) -> Any:
    """items[n], None where the list is shorter. Raises TypeError when it is no list."""
    if type(items) is not list:
        raise TypeError
    return items[n] if len(items) > n else None


def within(entry: Any, path: tuple[str, ...]) -> Any:
    """The value at a path of names inside one entry of a list; MISSING when it is not there."""
    for name in path:
        if type(entry) is not dict:
            return MISSING
        entry = entry.get(name, MISSING)
    return entry


def picked(items: Any, path: tuple[str, ...], value: Any) -> Any:
    """The first entry that holds the value at the path, or None. Raises TypeError when it is no list."""
    if type(items) is not list:
        raise TypeError
    text = str(value)
    return next((entry for entry in items if str(within(entry, path)) == text), None)


def strayed(items: Any, name_path: tuple[str, ...], name: str, id_path: tuple[str, ...], id: Any) -> Any:
    """The first entry that carries the name but another id, or None. Raises TypeError when it is no list."""
    if type(items) is not list:
        raise TypeError
    text = str(id)
    for entry in items:
        if within(entry, name_path) == name:
            found = within(entry, id_path)
            if found is not MISSING and str(found) != text:
                return entry
    return None


def through(transform: Transform) -> Callable[[Any, str], Any]:
    """Reading through a transform: whatever it raises becomes a reason that gives nothing away."""
    read = transform.read

    def transformed(value: Any, field: str) -> Any:
        try:
            return read(value)
        except UNREADABLE:
            reason = f"the transform {transform.name} cannot read it (found {shape(value)})"
            raise Unreadable(field, reason) from None

    return transformed


def _text(value: Any, field: str) -> str:
    """Numbers are fine where text is expected: vendors send ids and numbers either way."""
    if type(value) is int or type(value) is float:
        return money.plain(value)
    raise bad(field, "text", value)


def _no_date(field: str) -> Unreadable:
    return Unreadable(field, "expected a date, found other text")


def _decimal(value: Any, field: str) -> str:
    try:
        return money.plain(value)
    except ValueError:
        raise Unreadable(field, f"expected a decimal number, found {shape(value)}") from None


def _scaled(value: Any, field: str, scale: int, decimals: int) -> str:
    number = Decimal(_decimal(value, field)) / scale
    return money.normal(format(round(number, decimals), "f"))


def _integer(value: Any, field: str) -> int:
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer():
        return int(value)
    if type(value) is str and value.strip().removeprefix("-").isdecimal():
        return int(value)
    raise bad(field, "a whole number", value)


def _unlisted(value: Any, field: str) -> Unreadable:
    if type(value) is str:
        return Unreadable(field, "the vendor's word is not in the table of values")
    return bad(field, "a word", value)


def among(words: Any, table: Mapping[str, str]) -> str | None:
    """The label in a list of words: the first that the table knows."""
    for word in words or ():
        label = table.get(word.lower())
        if label is not None:
            return label
    return None


_LOCAL = frozenset({"M", "NONE", "email_key", "phone_key", "street_key"})
"""What a generated reader looks up again and again, and therefore keeps as defaults of its own."""


class _Text:
    """Python source under construction.

    marks  from which of its lines on which field is read
    outs   field -> the variable that holds what it reads as
    roots  top-level property -> the variable that holds it already
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.marks: list[tuple[int, str]] = []
        self.outs: dict[str, str] = {}
        self.roots: dict[Any, str] = {}
        self.depth = 0
        self.constants: dict[str, Any] = {}

    def add(self, text: str) -> None:
        self.lines.extend("    " * self.depth + line for line in text.splitlines())

    def out(self, field: str) -> str:
        """The variable that holds what a field reads as; M as long as nothing is stated."""
        return self.outs.setdefault(field, f"o{len(self.outs)}")

    def mark(self, field: str) -> None:
        self.marks.append((len(self.lines) + 1, field))

    def field_at(self, line: int) -> str:
        """Which field was being read at a line of the source. An error tells its place, so reading need not."""
        return next((field for start, field in reversed(self.marks) if start <= line), "the record")

    def constant(self, value: Any) -> str:
        name = f"C{len(self.constants)}"
        self.constants[name] = value
        return name

    def compiled(self, name: str, environment: Mapping[str, Any]) -> Callable[..., Any]:
        space = dict(environment) | self.constants
        kept = [name for name in space if name in _LOCAL or name in self.constants]
        first = f"def generated(b, {', '.join(f'{name}={name}' for name in kept)}):" if kept else self.lines[0]
        exec(compile("\n".join([first, *self.lines[1:]]) + "\n", f"<mapping {name}>", "exec"), space)  # noqa: S102 - see the module's first lines
        made: Callable[..., Any] = space["generated"]
        return made


def _together(text: _Text, source: str, reads: Mapping[str, tuple[str, str]]) -> None:
    """Emit the reading of several properties: variable -> (property, what a missing one is).

    Plain subscripts, and `get` only where one is missing: vendors nearly always send every property that was asked for.
    """
    text.add("try:")
    text.add("\n".join(f"    {variable} = {source}[{name!r}]" for variable, (name, _) in reads.items()))
    text.add("except KeyError:")
    text.add("\n".join(f"    {var} = {source}.get({name!r}, {missing})" for var, (name, missing) in reads.items()))


def _read(text: _Text, path: Path, variable: str) -> None:
    """Emit statements that leave the value at the path in the variable: MISSING or None if a step is so."""
    first, *rest = path
    text.add(f"{variable} = {text.roots.get(first) or f'b.get({first!r}, M)'}")
    for step in rest:
        if isinstance(step, Index):
            then = f"at({variable}, {step.n})"
        elif isinstance(step, Pick):
            then = f"picked({variable}, {step.path!r}, {step.value!r})"
            if not step.absent_is_empty:
                text.add(f"if {variable} is None: {variable} = M")
                then += f"\n    if {variable} is None: {variable} = M"
        elif isinstance(step, Stray):
            then = f"strayed({variable}, {step.name_path!r}, {step.name!r}, {step.id_path!r}, {step.id!r})"
        else:
            then = f"{variable}.get({step!r}, M)"
        text.add(f"if {variable} is not M and {variable} is not None:\n    {variable} = {then}")


def label_words(label: Label) -> dict[str, str]:
    """The vendor's word -> our label; words of an `among` list are compared without case."""
    return {(word.lower() if label.among else word): name for name, words in label.entries.items() for word in words}


def table_words(table: Table) -> dict[Any, str]:
    """The vendor's value -> canonical value."""
    return {value: name for name, values in table.entries.items() for value in values}


def _value(text: _Text, line: ValueLine) -> None:
    name = line.head.field.name
    out = text.out(name)
    _read(text, line.path, "v")
    if line.transform is not None:
        read = text.constant(through(line.transform))
        text.add(f"if v is None or v == '': {out} = None\nelif v is not M: {out} = {read}(v, {name!r})")
        return
    if line.table is not None:
        _table(text, name, line.table)
        return
    match line.head.field.type:
        case "text" | "email" | "phone":
            empty = f"None if v == {line.empty!r} else v or None" if line.empty is not None else "v or None"
            text.add(
                f"if v.__class__ is str: {out} = {empty}\n"
                f"elif v is None: {out} = None\n"
                f"elif v is not M: {out} = text(v, {name!r})"
            )
        case "date":
            text.add(
                f"if v.__class__ is str and v:\n    try: d = day(v)\n"
                f"    except ValueError: raise no_date({name!r}) from None\n"
                f"    if d is not None: {out} = d\n"
                f"elif v is None or v == '': {out} = None\n"
                f"elif v is not M: raise bad({name!r}, 'a date', v)"
            )
        case "instant":
            text.add(f"if v is None or v == '': {out} = None\nelif v is not M: {out} = instant(v)")
        case "decimal":
            convert = f"decimal(v, {name!r})"
            if line.scale is not None:
                convert = f"scaled(v, {name!r}, {line.scale}, {4 if line.decimals is None else line.decimals})"
            text.add(f"if v is None or v == '': {out} = None\nelif v is not M: {out} = {convert}")
        case "int":
            text.add(f"if v is None or v == '': {out} = None\nelif v is not M: {out} = integer(v, {name!r})")
        case "bool":
            text.add(
                f"if v is True or v is False: {out} = {'not v' if line.negate else 'v'}\n"
                f"elif v is None: {out} = None\nelif v is not M: raise bad({name!r}, 'true or false', v)"
            )
        case other:
            raise AssertionError(f"no reading for {other}")


def _table(text: _Text, name: str, table: Table) -> None:
    out, words = text.out(name), text.constant(table_words(table))
    if not table.has_fallback:
        otherwise = f"raise unlisted(v, {name!r})"
    elif table.fallback is None:
        otherwise = "pass"
    else:
        otherwise = f"{out} = {table.fallback!r}"
    text.add(
        f"if v is not M:\n    e = {words}.get(v)\n    if e is not None: {out} = e\n"
        f"    elif v is None or v == '': {out} = None\n    else: {otherwise}"
    )


def _reference(text: _Text, line: ReferenceLine) -> None:
    name = line.head.field.name
    out = text.out(name)
    written = repr(f"{line.resource}:".replace("{", "{{").replace("}", "}}") + "{v}")
    _read(text, line.path, "v")
    if line.wrap is not None:
        text.add(f"if v is not M and v is not None: v = v.get({line.wrap!r}, M)")
    text.add(
        f"if v is None or v == '': {out} = None\n"
        f"elif v.__class__ is int or v.__class__ is str: {out} = f{written}\n"
        f"elif v is not M: raise bad({name!r}, 'an id', v)"
    )


def _key(text: _Text, line: KeyLine) -> None:
    name, prefix = line.head.field.name, f"?{line.kind}.{line.key}="
    out = text.out(name)
    _read(text, line.path, "v")
    text.add(
        f"if v.__class__ is str: {out} = {prefix!r} + v if v and not v.isspace() else None\n"
        f"elif v is None: {out} = None\n"
        f"elif v is not M: {out} = {prefix!r} + text(v, {name!r})"
    )


def _parts(text: _Text, path: Path, form: str, names: Iterable[str]) -> None:
    wanted = [(NAME_FORMS[form].index(name), name) for name in names]
    _read(text, path, "v")
    splitter = text.constant(SPLITTERS[form].split)
    text.add("if v.__class__ is str:")
    text.add(f"    p = {splitter}(v)")
    for position, name in wanted:
        text.add(f"    {text.out(name)} = p[{position}] or None")
    text.add("elif v is None:")
    for _, name in wanted:
        text.add(f"    {text.out(name)} = None")
    text.add(f"elif v is not M: raise bad({wanted[0][1]!r}, 'text', v)")


def _only(text: _Text, only: Mapping[str, tuple[Any, ...]]) -> None:
    for name, allowed in only.items():
        text.add(f"if i.get({name!r}) not in {text.constant(tuple(allowed))}: continue")


def _item_label(text: _Text, label: Label | None) -> None:
    """Emit l, the label of the entry whose own word is n."""
    if label is None:
        return
    words = text.constant(label_words(label))
    text.add(f"l = among(n, {words})" if label.among else f"l = {words}.get(n)")


def _address_item(text: _Text, name: str, reads: Iterable[tuple[str, str]], has: str) -> None:
    """Emit the building of one address from part variables; `has` is a template telling whether a part is there."""
    text.add("x = {}")
    for part, variable in reads:
        text.add(
            f"if {variable}.__class__ is str: x[{part!r}] = {variable} or None\n"
            f"elif {variable} is None:\n    if {has.format(part=part, variable=variable)}: x[{part!r}] = None\n"
            f"elif {variable} is not M: raise bad({name!r}, 'text in an address', {variable})"
        )


def _list(text: _Text, line: ListLine, primary: str | None) -> None:
    name = line.head.field.name
    _read(text, line.path, "v")
    text.add("if v is not M:\n    items = {}")
    text.depth += 1
    if primary is not None:
        text.add("chosen = None")
    text.add("for i in v or NONE:")
    text.depth += 1
    _only(text, line.only)
    label_read = {"n": (line.label.key, "None")} if line.label is not None else {}
    if line.parts:
        variables = {part: f"s{n}" for n, part in enumerate(line.parts)}
        reads = {variables[part]: (key, "M") for part, key in line.parts.items()}
        _together(text, "i", reads | label_read)
        # Nearly every address is text in all its parts: one dict display, and its key straight from two of them.
        _item_label(text, line.label)
        values = ", ".join(f"{part!r}: {variable} or None" for part, variable in variables.items())
        text.add("if " + " and ".join(f"{variable}.__class__ is str" for variable in variables.values()) + ":")
        text.add(
            f"    x = {{{values}}}"
            if line.label is None
            else f"    x = {{{values}}} if l is None else {{{values}, 'label': l}}"
        )
        text.add(f"    k = street_key({variables['street']}, {variables.get('postcode')})")
        text.add("    if k is None: k = address_key(x)\nelse:")
        text.depth += 1
        _address_item(text, name, variables.items(), "True")
        if line.label is not None:
            text.add("if l is not None: x['label'] = l")
        text.add("k = address_key(x)")
        text.depth -= 1
        text.add("if k is not None and k not in items: items[k] = x")
    else:
        read, write = (None, None) if primary is None or line.primary in (None, FIRST) else line.primary
        reads = {"a": (line.value[0], "None")} if line.value and len(line.value) == 1 else {}
        reads |= label_read | ({"g": (read, "None")} if read else {})
        if reads:
            _together(text, "i", reads)
        if not line.value:
            text.add("a = i")
        elif len(line.value) > 1:
            text.add(f"a = within(i, {line.value!r})\nif a is M: a = None")
        text.add("if a:")
        text.depth += 1
        text.add(f"k = {line.head.field.item}_key(a)\nif k is not None:")
        text.depth += 1
        if read and read != write:
            text.add(f"if g is None: g = i.get({write!r})")
        if read:
            text.add("if g and chosen is None: chosen = a")
        text.add("if k not in items:")
        text.depth += 1
        _item_label(text, line.label)
        if line.label is None:
            text.add("items[k] = {'value': a}")
        else:
            text.add("items[k] = {'value': a} if l is None else {'value': a, 'label': l}")
        text.depth -= 3
    text.depth -= 1
    text.add(f"{text.out(name)} = items")
    if primary is not None:
        text.add("if chosen is None and items: chosen = next(iter(items.values()))['value']")
        text.add(f"{text.out(primary)} = chosen")
    text.depth -= 1


def _slots(text: _Text, line: SlotsLine) -> None:
    name = line.head.field.name
    text.add("items = {}\nhas = False")
    for slot in line.slots:
        tail = "" if slot.label is None else f", 'label': {slot.label!r}"
        if slot.path is not None:
            _read(text, slot.path, "v")
            text.add(
                "if v is not M:\n    has = True\n    if v:\n"
                f"        k = {line.head.field.item}_key(v)\n"
                f"        if k is not None and k not in items: items[k] = {{'value': v{tail}}}"
            )
        else:
            _address_slot(text, name, slot)
    text.add(f"if has: {text.out(name)} = items")


def _address_slot(text: _Text, name: str, slot: Slot) -> None:
    variables = {part: f"s{n}" for n, part in enumerate(slot.parts)}
    for part, path in slot.parts.items():
        _read(text, path, variables[part])
    _address_item(text, name, variables.items(), "True")
    text.add(
        "if x:\n    has = True\n    k = address_key(x)\n    if k is not None and k not in items:\n"
        + (f"        x['label'] = {slot.label!r}\n" if slot.label is not None else "")
        + "        items[k] = x"
    )


def _emit(text: _Text, line: LinePlan, plan: RecordPlan, done: set[str]) -> None:
    name = line.head.field.name
    if name in done:
        return
    done.add(name)
    text.mark(name)
    depth = text.depth
    for path in line.head.unless:
        _read(text, path, "u")
        text.add("if u is M or not u:")
        text.depth += 1
    for condition in line.head.when:
        _read(text, condition.path, "u")
        text.add(f"if (None if u is M else u) in {text.constant(condition.allowed)}:")
        text.depth += 1
    match line:
        case ValueLine():
            _value(text, line)
        case ConstantLine():
            text.add(f"{text.out(name)} = {line.value!r}")
        case ReferenceLine():
            _reference(text, line)
        case KeyLine():
            _key(text, line)
        case PartLine():
            same = [
                other.head.field.name for other in plan.lines if isinstance(other, PartLine) and other.path == line.path
            ]
            done.update(same)
            _parts(text, line.path, line.form, same)
        case ListLine():
            primary = next(
                (other.head.field.name for other in plan.lines if isinstance(other, PrimaryLine) and other.of == name),
                None,
            )
            _list(text, line, primary)
        case SlotsLine():
            _slots(text, line)
        case PrimaryLine():
            pass
    text.depth = depth


_STEPS = {"M": MISSING, "at": at, "picked": picked, "strayed": strayed}
"""What the generated steps along a path call."""


def _address_key(item: dict[str, str | None]) -> str | None:
    return addresses.key(item.get("street"), item.get("postcode")) or addresses.key_of(item)


def environment(normalizer: Normalizer) -> dict[str, Any]:
    """What generated functions call."""
    return {
        "M": MISSING,
        "NONE": NONE_GIVEN,
        "Unreadable": Unreadable,
        "bad": bad,
        "unlisted": _unlisted,
        "shape": shape,
        "at": at,
        "within": within,
        "picked": picked,
        "strayed": strayed,
        "among": among,
        "text": _text,
        "day": dates.day,
        "no_date": _no_date,
        "instant": dates.instant,
        "decimal": _decimal,
        "scaled": _scaled,
        "integer": _integer,
        "email_key": normalizer.email_key,
        "phone_key": normalizer.phone_key,
        "street_key": addresses.key,
        "address_key": _address_key,
    }


def reader_of(plan: RecordPlan, normalizer: Normalizer) -> tuple[Callable[[dict[str, Any]], Values], str]:
    """get(body) for a record mapping, and its generated source. Raises Unreadable at run time."""
    text = _Text()
    text.add("def generated(b):")
    text.depth = 1
    for line in plan.lines:
        text.out(line.head.field.name)
    if text.outs:
        text.add(" = ".join(text.outs.values()) + " = M")
    text.add("try:")
    text.depth = 2
    if names := tuple(
        dict.fromkeys(
            path[0]
            for line in plan.lines
            for path in (*paths_of(line), *line.head.unless, *(c.path for c in line.head.when))
        )
    ):
        _together(text, "b", {f"r{n}": (str(name), "M") for n, name in enumerate(names)})
        text.roots = {name: f"r{n}" for n, name in enumerate(names)}
    else:
        text.add("pass")
    done: set[str] = set()
    for line in plan.lines:
        _emit(text, line, plan, done)
    text.depth = 1
    text.add(
        "except Unreadable: raise\n"
        "except (AttributeError, TypeError, ValueError, KeyError) as error:\n"
        "    field = field_at(error.__traceback__.tb_lineno)\n"
        "    raise Unreadable(field, f'the shape is not what the mapping expects ({type(error).__name__})') from None"
    )
    # One dict display costs a third of as many assignments to a growing dict; nearly every record states every field.
    shown = ", ".join(f"{name!r}: {variable}" for name, variable in text.outs.items())
    if text.outs:
        text.add("if " + " and ".join(f"{variable} is not M" for variable in text.outs.values()) + ":")
        text.add(f"    return {{{shown}}}")
    text.add(f"return {{name: value for name, value in {{{shown}}}.items() if value is not M}}")
    space = environment(normalizer) | {"field_at": text.field_at}
    return text.compiled(f"{plan.resource} -> {plan.kind.name}", space), "\n".join(text.lines)


def condition_of(when: Iterable[Condition]) -> Callable[[dict[str, Any]], bool]:
    """applies(body): whether every condition holds. A body of another shape does not apply."""
    text = _Text()
    text.add("def generated(b):")
    text.depth = 1
    text.add("try:")
    text.depth = 2
    for condition in when:
        _read(text, condition.path, "v")
        text.add("if v is M: v = None")
        text.add(f"if v not in {text.constant(condition.allowed)}: return False")
    text.add("return True")
    text.depth = 1
    text.add("except (AttributeError, TypeError): return False")
    return text.compiled("when", _STEPS)


def value_at(path: Path) -> Callable[[dict[str, Any]], Any]:
    """The value at a path, MISSING when it is not there. Raises AttributeError or TypeError for another shape."""
    text = _Text()
    text.add("def generated(b):")
    text.depth = 1
    _read(text, path, "v")
    text.add("return v")
    return text.compiled("path", _STEPS)


def speaks_of(head: Head) -> Callable[[dict[str, Any]], bool] | None:
    """Whether a line says anything about a record; None when it always does. Raises TypeError for another shape."""
    if not head.unless and not head.when:
        return None
    flags = [value_at(path) for path in head.unless]
    applies = condition_of(head.when)

    def speaks(body: dict[str, Any]) -> bool:
        return all((found := flag(body)) is MISSING or not found for flag in flags) and applies(body)

    return speaks

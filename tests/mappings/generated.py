"""Vendor records generated from a checked plan: mapped properties there, null, empty or missing, others beside."""

from __future__ import annotations

from pathlib import Path as Folder
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mappings.canonical import KINDS, LABELS, Field
from mappings.load import RecordMapping, load, load_text, shipped
from mappings.normalize.addresses import key_of
from mappings.plan import (
    ConstantLine,
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
    SlotsLine,
    Step,
    Stray,
    ValueLine,
)

if TYPE_CHECKING:
    from mappings.normalize import Normalizer

JSON = dict[str, Any]

WORDS = [
    "Jane",
    "van Dyke",
    "O'Brien",
    "Smith, Jr.",
    "Ælfric",
    "x",
    "  padded  ",
    "two  spaces",
    "Zoë",
    "line\nbreak",
    "🙂",
    "-",
]
EMAILS = [
    "jane@x.org",
    "Jane@X.org",
    "j.doe@example.com",
    "info@example.com",
    "jane@bücher.example",
    "no address",
    " a@b.c ",
]
PHONES = [
    *("(212) 555-0100", "+1 212 555 0100", "212.555.0101", "+44 20 7946 0018", "555-0100", "212-555-0102 x12"),
    *("ask Ann", "020 7946 0018", "(212) 555-0103 (cell)"),
]
STREETS = ["1 Main Street", "1 Main St", "2 Elm Avenue, Suite 4", "3 Rue de l'Été", "", None]
CITIES = ["New York", "Montréal", "", None]
REGIONS = ["NY", "New York", "QC", "", None]
POSTCODES = ["10001", "10001-1234", "H2X 1Y4", "", None]
COUNTRIES = ["US", "USA", "United States", "Canada", "Wonderland", "", None]
PARTS = {"street": STREETS, "city": CITIES, "region": REGIONS, "postcode": POSTCODES, "country": COUNTRIES}
DATES = ["2026-11-20", "1980-02-29", "2026-11-20T10:00:00Z", "--11-20", "19800229"]
DECIMALS: list[Any] = ["750.00", 750, 750.5, 0, "0", "-12.34", 0.1, 1e15]

text = st.sampled_from(WORDS) | st.text(max_size=12)


GOOD = Folder(__file__).parent / "good"


def mappings(*, shipped_too: bool = True) -> dict[str, tuple[RecordMapping, Normalizer]]:
    """Every shipped record mapping, and those of the tests' own files, which use every form of a line."""
    own = [load_text(path.read_text(encoding="utf-8"), path.name) for path in sorted(GOOD.glob("[dfmp]*.yaml"))]
    loaded = [load(connector) for connector in shipped() if shipped_too] + own
    return {
        f"{each.connector}: {mapping.resource} -> {mapping.kind} ({mapping.plan.where})": (mapping, each.normalizer)
        for each in loaded
        for mapping in each.mappings
    }


def drawn(strategy: st.SearchStrategy[JSON], count: int) -> list[JSON]:
    """That many draws, the same ones every time."""
    found: list[JSON] = []

    @settings(
        max_examples=count,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        phases=[Phase.generate],
        database=None,
        derandomize=True,
    )
    @given(strategy)
    def collect(value: JSON) -> None:
        found.append(value)

    collect()
    return found


def vendor_value(line: ValueLine) -> st.SearchStrategy[Any]:
    field = line.head.field
    if line.transform is not None:
        return st.sampled_from([vendor for vendor, _ in line.transform.examples])
    if line.table is not None:
        return st.sampled_from([v for values in line.table.entries.values() for v in values])
    match field.type:
        case "email":
            return st.sampled_from(EMAILS)
        case "phone":
            return st.sampled_from(PHONES)
        case "date":
            return st.sampled_from(DATES)
        case "instant":
            return st.sampled_from([raw for raw in DATES if not raw.startswith("--")])
        case "decimal":
            return st.sampled_from(DECIMALS) if line.scale is None else st.integers(0, 10**6)
        case "int":
            return st.integers(0, 10**6)
        case "bool":
            return st.booleans()
        case _:
            long = [] if line.cut is None else [st.just("long " * 200)]
            empty = [] if line.empty is None else [st.just(line.empty)]
            return st.one_of(text, *long, *empty)


def labels(label: Label) -> st.SearchStrategy[Any]:
    words = [w for ws in label.entries.values() for w in ws] + ["unheard of"]
    return st.lists(st.sampled_from(words), max_size=2) if label.among else st.sampled_from([*words, None])


@st.composite
def entries(draw: st.DrawFn, line: ListLine) -> Any:
    values = {"email": EMAILS, "phone": PHONES}
    if line.value == ():
        return draw(st.sampled_from(values[line.head.field.item or ""]))
    entry: JSON = {"id": draw(st.integers(1, 99)), "unknown": {"kept": draw(text)}}
    if line.value:
        place(entry, line.value, draw(st.sampled_from([*values[line.head.field.item or ""], None, ""])))
    for part, name in line.parts.items():
        if draw(st.integers(0, 5)):
            entry[name] = draw(st.sampled_from(PARTS[part]))
    if line.label is not None and draw(st.booleans()):
        entry[line.label.key] = draw(labels(line.label))
    if line.primary and line.primary[0] and draw(st.booleans()):
        entry[line.primary[0]] = draw(st.booleans())
    for name, allowed in line.only.items():
        entry[name] = draw(st.sampled_from([*allowed, "something else"]))
    return entry


def place(body: JSON, path: Path, value: Any) -> None:
    """Put a value at a path, making what is on the way."""
    held: Any = body
    for step, after in zip(path, [*path[1:], None], strict=True):
        empty: Any = None if after is None else ({} if isinstance(after, str) else [])
        if isinstance(step, str):
            if after is None:
                held[step] = value
                return
            if not isinstance(held.get(step), dict | list):
                held[step] = empty
            held = held[step]
        elif isinstance(step, Pick):
            entry: JSON = {}
            place(entry, step.path, step.value)
            held.append(entry)
            held = entry
        elif after is None:
            held[:] = [value, *held[1:]]
        else:
            held[:] = held or [empty]
            held = held[0]


@st.composite
def records(draw: st.DrawFn, plan: RecordPlan) -> JSON:
    """One vendor record that falls under the plan."""
    body: JSON = {"id": draw(st.integers(1, 10**6)), "not mapped": {"kept": draw(text)}}
    for line in plan.lines:
        for path, strategy in line_values(line):
            there = draw(st.integers(0, 9))
            if there >= 2:
                place(body, path, draw(strategy))
            elif there == 1:
                place(body, path, None)
        for condition in line.head.when:
            place(body, condition.path, draw(st.sampled_from([*condition.allowed, "something else"])))
        for path in line.head.unless:
            if draw(st.integers(0, 3)) == 0:
                *before, last = path
                place(body, (*before, *_astray(last)), draw(st.booleans()))
        if isinstance(line, ValueLine) and isinstance(line.currency, tuple) and draw(st.booleans()):
            place(body, line.currency, draw(st.sampled_from(["USD", "eur", None])))
    for condition in plan.when:
        place(body, condition.path, draw(st.sampled_from(condition.allowed)))
    return body


def _astray(step: Step) -> Path:
    """A place whose being there switches a line off: a flag, or an entry with the pinned name and another id."""
    if not isinstance(step, Stray):
        return (step,)
    return (Pick(step.name_path, step.name), *step.id_path)


def line_values(line: LinePlan) -> list[tuple[Path, st.SearchStrategy[Any]]]:
    match line:
        case ValueLine():
            return [(line.path, vendor_value(line))]
        case ReferenceLine():
            number: st.SearchStrategy[Any] = st.integers(1, 9)
            if line.id_form == "text":
                number = number.map(str)
            wrap = line.wrap
            return [(line.path, number if wrap is None else number.map(lambda n: {str(wrap): n, "name": "old"}))]
        case KeyLine() | PartLine():
            return [(line.path, text)]
        case ListLine():
            return [(line.path, st.lists(entries(line), max_size=4))]
        case SlotsLine():
            slots: list[tuple[Path, st.SearchStrategy[Any]]] = []
            for slot in line.slots:
                if slot.path is not None:
                    slots.append((slot.path, st.sampled_from(EMAILS if line.head.field.item == "email" else PHONES)))
                slots.extend((path, st.sampled_from(PARTS[part])) for part, path in slot.parts.items())
            return slots
        case PrimaryLine() | ConstantLine():
            return []


def canonical_value(field: Field, plan: RecordPlan, normal: Normalizer) -> st.SearchStrategy[Any]:
    """Values that the engine could want to write."""
    if field.type == "set":
        return canonical_set(field, normal) if field.item != "address" else canonical_addresses()
    line = next(line for line in plan.lines if line.head.field.name == field.name)
    some: st.SearchStrategy[Any]
    match field.type:
        case _ if isinstance(line, ValueLine) and line.table is not None:
            some = st.sampled_from([*line.table.entries, *field.values, *([] if field.values else ["Nobility"])])
        case "email":
            some = st.sampled_from(EMAILS)
        case "phone":
            some = st.sampled_from(PHONES)
        case "date":
            some = st.sampled_from(["2026-11-20", "1980-02-29"])
        case "decimal":
            some = st.sampled_from(["750.00", "0", "0.1", "-12.34", "0.3333", "1234567.89"])
        case "int":
            some = st.integers(0, 10**6)
        case "bool":
            some = st.booleans()
        case "enum":
            some = st.sampled_from(field.values)
        case "ref" if isinstance(line, ReferenceLine):
            some = st.sampled_from([f"{line.resource}:7", f"{line.resource}:8", "x" * len(line.resource) + ":1"])
        case "ref" if isinstance(line, KeyLine):
            some = st.sampled_from([f"?{line.kind}.{line.key}=00012-Smith", f"?{line.kind}.{line.key}=" + "9" * 60])
        case _:
            some = text | st.just("long " * 200)
    return some | st.none()


@st.composite
def canonical_set(draw: st.DrawFn, field: Field, normal: Normalizer) -> JSON:
    found: JSON = {}
    key = normal.email_key if field.item == "email" else normal.phone_key
    for raw in draw(st.lists(st.sampled_from(EMAILS if field.item == "email" else PHONES), max_size=4)):
        item: JSON = {"value": raw}
        if draw(st.booleans()):
            item["label"] = draw(st.sampled_from(LABELS))
        found[str(key(raw))] = item
    return found


@st.composite
def canonical_addresses(draw: st.DrawFn) -> JSON:
    found: JSON = {}
    for _ in range(draw(st.integers(0, 3))):
        item: JSON = {part: draw(st.sampled_from(PARTS[part])) for part in PARTS if draw(st.integers(0, 5))}
        item = {part: value or None for part, value in item.items()}
        key = key_of(item)
        if draw(st.booleans()):
            item["label"] = draw(st.sampled_from(LABELS))
        if key is not None:
            found[key] = item
    return found


@st.composite
def canonical_values(draw: st.DrawFn, plan: RecordPlan, normal: Normalizer) -> JSON:
    """Some fields of the plan, each with a value to write."""
    names = [line.head.field.name for line in plan.lines if line.head.direction != "in"]
    if not names:
        return {}
    chosen = draw(st.lists(st.sampled_from(names), unique=True, min_size=1))
    values = {name: draw(canonical_value(KINDS[plan.kind.name].fields[name], plan, normal)) for name in chosen}
    if any(isinstance(line, ValueLine) and line.currency for line in plan.lines) and draw(st.booleans()):
        values["currency"] = draw(st.sampled_from(["USD", "EUR"]))  # the engine gives it beside the amount
    return values

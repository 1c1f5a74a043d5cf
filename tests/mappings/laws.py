"""The laws of a record mapping, as one check of one case, and what a value should read as once it is written.

`broken_law` says in words which law a case breaks. It is used on generated records, on the vendors' documented
examples, and on builds with a fault put in on purpose, which it has to find.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from mappings.canonical import validate
from mappings.load import RecordMapping, Unreadable
from mappings.plan import (
    FIRST,
    ConstantLine,
    Index,
    KeyLine,
    LinePlan,
    ListLine,
    PartLine,
    Path,
    Pick,
    PrimaryLine,
    RecordPlan,
    ReferenceLine,
    SlotsLine,
    ValueLine,
)
from mappings.splitting import SPLITTERS
from mappings.transforms import UNREADABLE
from mappings.words import NAME_FORMS

if TYPE_CHECKING:
    from mappings.normalize import Normalizer

JSON = dict[str, Any]
UNSAID: Any = object()
"""The laws do not say what such a value reads as."""


def after(body: JSON | None, changes: JSON) -> JSON:
    return {**(body or {}), **copy.deepcopy(changes)}


def broken_law(mapping: RecordMapping, normal: Normalizer, body: JSON, values: JSON) -> str:
    """The first law that a vendor record and some values to write break, or ""."""
    plan = mapping.plan
    untouched = copy.deepcopy(body)
    if not mapping.applies(body):
        return "a record of the mapping's own kind falls under it"
    read = mapping.get(body)
    validate(mapping.kind, read)
    if not read.keys() <= mapping.lines.keys():
        return "only mapped fields are read"
    if mapping.put(read, body) != {}:
        return "writing what was read changes nothing"
    values = writable(mapping, values, body)
    changes = mapping.put(values, body)
    if body != untouched:
        return "the record itself is never edited"
    return (
        broken_write(mapping, normal, body, values, changes)
        or next(touched(plan, mapping, body, changes), "")
        or next(silent(plan, body, read, changes), "")
        or broken_new(mapping, normal, writable(mapping, values, None))
    )


def writable(mapping: RecordMapping, values: JSON, body: JSON | None) -> JSON:
    """The values without a currency that would refuse the amount: a refusal writes nothing, so there is nothing to hold."""
    try:
        mapping.put(values, body)
    except Unreadable:
        return {name: value for name, value in values.items() if name != "currency"}
    return values


def broken_write(mapping: RecordMapping, normal: Normalizer, body: JSON | None, values: JSON, changes: JSON) -> str:
    written = after(body, changes)
    shown, held = mapping.get(written), mapping.get(body) if body is not None else {}
    rendered = mapping.render(values, body)
    if {name: shown[name] for name in values if name in shown} != rendered:
        return "what was written reads as the declared rendition"
    if mapping.put(values, written) != {}:
        return "writing twice is writing once"
    if mapping.render(rendered, written) != rendered or mapping.put(rendered, written) != {}:
        return "rendering a rendition changes nothing"
    for line in mapping.plan.lines:
        name = line.head.field.name
        if name not in values or line.head.direction == "in" or not speaks(line, body):
            continue
        found, kind = shown.get(name), mapping.kind
        if not line.head.clearable and values[name] is None and found != held.get(name):
            return f"nothing is emptied where the vendor takes no empty value ({name})"
        if isinstance(line, ReferenceLine) and is_foreign(line, values[name]) and found != held.get(name):
            return f"a reference to another connector's record is never written ({name})"
        if mistaken(line, values, body, changes, held, normal, kind):
            return f"an amount is never written beside another currency ({name})"
        expected = reads_as(line, values, body, mapping.plan, normal)
        # A value that stands there already stays, even where the mapping declares less room than there is.
        if expected is UNSAID or (name in held and normal.same(kind, name, held[name], values[name])):
            continue
        if not fits(line, found, expected, normal, kind):
            return f"what was written is read again ({name}, {type(line).__name__})"
        if isinstance(line, ListLine) and not labels_kept(line, values[name] or {}, found or {}):
            return f"labels are written ({name})"
    return ""


def is_foreign(line: ReferenceLine, token: str | None) -> bool:
    return token is not None and not token.startswith(f"{line.resource}:")


def labels_kept(line: ListLine, wanted: JSON, found: JSON) -> bool:
    if line.label is None or line.head.field.item == "address":
        return True
    known = {key: item["label"] for key, item in wanted.items() if item.get("label") in line.label.entries}
    return all(found[key].get("label") == label for key, label in known.items() if key in found)


def mistaken(
    line: LinePlan, values: JSON, body: JSON | None, changes: JSON, held: JSON, normal: Normalizer, kind: str
) -> bool:
    """Whether an amount was written although the record, as it stands then, is in another currency than ours."""
    if not isinstance(line, ValueLine) or line.currency is None or values[line.head.field.name] is None:
        return False
    name, ours = line.head.field.name, values.get("currency")
    theirs = line.currency if isinstance(line.currency, str) else stands(after(body, changes), line.currency)
    unchanged = normal.same(kind, name, held.get(name), values[name])
    return bool(ours and theirs) and not unchanged and str(ours).upper() != str(theirs).upper()


def stands(body: Any, path: Path) -> Any:
    """What stands at a path; None for nothing."""
    for step in path:
        if isinstance(step, str):
            body = body.get(step) if isinstance(body, dict) else None
        elif isinstance(step, Index):
            body = body[step.n] if isinstance(body, list) and len(body) > step.n else None
        elif isinstance(step, Pick):
            body = next((e for e in body or [] if str(stands(e, step.path)) == str(step.value)), None)
        else:
            named = [e for e in body or [] if stands(e, step.name_path) == step.name]
            ids = [(e, stands(e, step.id_path)) for e in named]
            body = next((e for e, id_ in ids if id_ is not None and str(id_) != str(step.id)), None)
    return body


def silent(plan: RecordPlan, body: JSON, read: JSON, changes: JSON) -> Iterator[str]:
    """A line that does not speak of a record reads nothing from it and writes nothing into it."""
    for line in plan.lines:
        head, name = line.head, line.head.field.name
        holds = all(stands(body, condition.path) in condition.allowed for condition in head.when)
        if holds and not any(stands(body, path) for path in head.unless):
            continue
        if name in read:
            yield f"a line that does not speak reads nothing ({name})"
        if isinstance(line, ValueLine) and stands(body, line.path) != stands({**body, **changes}, line.path):
            yield f"a line that does not speak writes nothing ({name})"


def touched(plan: RecordPlan, mapping: RecordMapping, body: JSON, changes: JSON) -> Iterator[str]:
    """A write names only what differs and keeps what is not mapped."""
    if not changes.keys() <= set(mapping.vendor_fields):
        yield "a write touches mapped properties only"
    if any(name in body and body[name] == value for name, value in changes.items()):
        yield "a write names only what differs"
    for name, value in changes.items():
        held = body.get(name)
        if not isinstance(value, list) or not isinstance(held, list):
            continue
        lists = [line for line in plan.lines if isinstance(line, ListLine) and line.path == (name,)]
        if lists and [e for e in held if not ours(e, lists)] != [e for e in value if not ours(e, lists)]:
            yield "entries that are not ours stay as they are"
        for place in [line.parts["country"] for line in lists if line.country_codes]:
            before_too = [e.get(place) for e in held if isinstance(e, dict)]
            now_too = [e.get(place) for e in value if isinstance(e, dict)]
            if any(c and c not in before_too and not re.fullmatch("[A-Z]{2}", c) for c in now_too):
                yield "countries are written as codes where the vendor wants codes"
        before = [(e["id"], e["unknown"]) for e in held if isinstance(e, dict) and "unknown" in e]
        now = [(e["id"], e["unknown"]) for e in value if isinstance(e, dict) and "unknown" in e]
        if any(now.count(entry) > before.count(entry) for entry in now):
            yield "kept entries keep their ids and data"
        rest = iter(before)
        first = any(isinstance(line, ListLine) and line.primary == FIRST for line in plan.lines)
        if not first and not all(entry in rest for entry in now):
            yield "kept entries keep their order"


def ours(entry: Any, lists: list[ListLine]) -> bool:
    """Whether one of the lines maps the entry. Entries that a plain path picks out of a shared list count, too."""
    if not isinstance(entry, dict) or "unknown" not in entry:
        return True
    return any(
        all(entry.get(key) in allowed for key, allowed in line.only.items())
        and (stands(entry, line.value) if line.value is not None else any(map(entry.get, line.parts.values())))
        for line in lists
    )


def broken_new(mapping: RecordMapping, normal: Normalizer, values: JSON) -> str:
    made = mapping.put(values, None)
    if not mapping.applies(made):
        return "a new record falls under its own mapping"
    if any(stands(made, path) is None for path, _ in mapping.plan.on_create):
        return "a new record has what is written on create"
    return broken_write(mapping, normal, None, values, made)


def speaks(line: LinePlan, body: JSON | None) -> bool:
    if body is None:
        return not line.head.when
    return all(stands(body, c.path) in c.allowed for c in line.head.when) and not any(
        stands(body, path) for path in line.head.unless
    )


def reads_as(line: LinePlan, values: JSON, body: JSON | None, plan: RecordPlan, normal: Normalizer) -> Any:
    """What the value reads as once it is written, worked out from the line alone."""
    value = values[line.head.field.name]
    match line:
        case ConstantLine():
            return UNSAID
        case ValueLine() | ReferenceLine() | KeyLine() if value is None or (
            isinstance(value, str) and not value.strip()
        ):
            return None if line.head.clearable else UNSAID
        case ValueLine():
            return value_reads_as(line, value)
        case ReferenceLine():
            own = value.startswith(f"{line.resource}:")
            return value if own and (line.id_form == "text" or value.rpartition(":")[2].isdecimal()) else UNSAID
        case KeyLine():
            head, _, key = value.partition("=")
            return f"{head}={key[: line.cut].rstrip()}" if key.strip() else UNSAID
        case PartLine():
            group = [o for o in plan.lines if isinstance(o, PartLine) and o.path == line.path]
            names = [o.head.field.name for o in group]
            if set(names) != set(NAME_FORMS[line.form]) or not set(names) <= values.keys():
                return UNSAID
            _, exact = SPLITTERS[line.form].join([values[name] or "" for name in NAME_FORMS[line.form]])
            return (" ".join((value or "").split()) or None) if exact else UNSAID
        case PrimaryLine():
            return value if value and normal.normal(plan.kind.name, line.head.field.name, value) else UNSAID
        case ListLine() if line.head.field.item != "address" or len(line.parts) == 5:
            return list_reads_as(line, values, plan, normal)
        case SlotsLine() if body is None:
            return slots_read_as(line, values, plan)
    return UNSAID


def value_reads_as(line: ValueLine, value: Any) -> Any:
    if line.transform is not None:
        if line.transform.loses:
            return UNSAID
        try:
            line.transform.write(value)
        except UNREADABLE:
            return UNSAID
        return value
    if line.table is not None:
        return value if value in line.table.entries else UNSAID
    match line.head.field.type:
        case "text":
            text = value if line.cut is None else value[: line.cut]
            return None if not text.strip() or text == line.empty else text
        case "instant" if line.form == "date":
            return f"{value[:10]}T00:00:00.000000Z"
        case "decimal" if line.scale is not None:
            return str(round(Decimal(value) * line.scale) / Decimal(line.scale))
        case "decimal" if line.decimals is not None:
            return str(round(Decimal(value), line.decimals))
    return value


def list_reads_as(line: ListLine, values: JSON, plan: RecordPlan, normal: Normalizer) -> Any:
    """The keys of the set; a primary element that is written with it joins it."""
    name = line.head.field.name
    if line.country_codes:
        return UNSAID
    primary = next((o.head.field.name for o in plan.lines if isinstance(o, PrimaryLine) and o.of == name), None)
    more = [] if primary is None else [values.get(primary)]
    if line.head.field.item == "address":
        return set(values[name] or {})
    texts = [item["value"] for item in (values[name] or {}).values()] + [m for m in more if m]
    key = normal.email_key if line.head.field.item == "email" else normal.phone_key
    return {found for text in texts if (found := key(text)) is not None}


def slots_read_as(line: SlotsLine, values: JSON, plan: RecordPlan) -> Any:
    """In a new record every element that alone has its slot's label stands there."""
    primary = next((o.head.field.name for o in plan.lines if o.head.field.primary_of == line.head.field.name), None)
    if line.head.field.item == "address" or (primary is not None and primary in values):
        return UNSAID
    own = {slot.label for slot in line.slots if slot.label}
    labels = [item.get("label") for item in (values[line.head.field.name] or {}).values()]
    return {
        key
        for key, item in (values[line.head.field.name] or {}).items()
        if key != "None" and item.get("label") in own and labels.count(item.get("label")) == 1
    } or UNSAID


def fits(line: LinePlan, shown: Any, expected: Any, normal: Normalizer, kind: str) -> bool:
    if isinstance(expected, set):
        keys = set(shown or {})
        return expected <= keys if isinstance(line, SlotsLine) else expected == keys
    if line.head.field.type == "decimal" and shown is not None and expected is not None:
        return abs(Decimal(shown) - Decimal(expected)) < Decimal("0.0001")
    return normal.same(kind, line.head.field.name, shown, expected)

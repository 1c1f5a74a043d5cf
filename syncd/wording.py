"""What the command line says, from values: lines and tables for people. No database, no decisions.

Each function yields lines (in Rich's markup) and tables in the order in which they are printed. Tables stay within
80 columns where names are short; a column that holds nothing but zeros is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.markup import escape
from rich.table import Table

from syncd.clock import from_iso
from syncd.web.page import ago, counted

if TYPE_CHECKING:
    from datetime import datetime

    from connectors.contract import Checked, Spec
    from mappings.cases import Outcome
    from mappings.checking import CheckedFile

Part = str | Table
GOOD, BAD, NOTE = "[green]✓[/green]", "[red]✗[/red]", "[yellow]![/yellow]"
SILENT_S = 30.0
CHANGES_SHOWN = 12


def table(*heads: str, right: Sequence[str] = (), folded: Sequence[str] = ()) -> Table:
    """A table without lines between its cells. right: columns of numbers; folded: those that give way when narrow."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for head in heads:
        made.add_column(head, no_wrap=head not in folded, overflow="fold", justify="right" if head in right else "left")
    return made


def text_of(value: Any) -> str:
    """A value for a person: dash for empty, an item's own value, no JSON where a word belongs."""
    if value is None or value == "":
        return "—"
    if isinstance(value, dict):
        if "value" in value:
            return f"{value['value']} ({value['label']})" if value.get("label") else str(value["value"])
        return ", ".join(str(part) for part in value.values() if part) or "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def moment(instant: str) -> str:
    """An instant without fractions; all times are UTC."""
    return instant[:19].replace("T", " ")


# --- connections ---------------------------------------------------------------------------------------------------


def findings(checked: Checked) -> Iterator[Part]:
    for finding in checked.findings:
        yield f"  {BAD if finding.level == 'error' else NOTE} {escape(finding.what)}"
        if finding.remedy:
            yield f"    → {escape(finding.remedy)}"


def kinds(specs: Iterable[Spec]) -> Iterator[Part]:
    """The kinds of systems with their settings."""
    for spec in specs:
        yield f"[bold]{spec.name}[/bold]  {escape(spec.title)} (zone {spec.zone})"
        grid = Table.grid(padding=(0, 2))
        grid.add_column(no_wrap=True, min_width=18)
        grid.add_column()
        for each in spec.settings:
            marks = ", ".join(word for word, on in (("secret", each.secret), ("required", each.required)) if on)
            grid.add_row(f"  {each.name}", escape(each.help) + (f" [dim]({marks})[/dim]" if marks else ""))
        yield grid


def connections(found: Sequence[Mapping[str, Any]]) -> Iterator[Part]:
    if not found:
        yield "Nothing is connected yet. See: syncd connect list --available"
        return
    heads = ("name", "connector", "account", "zone", "mode", "records")
    made = table(*heads, right=("records",), folded=("account",))
    for each in found:
        records = sum(r["records"] for r in each["resources"])
        made.add_row(
            each["name"], each["connector"], escape(each["account"]), each["zone"], _mode(each), f"{records:,}"
        )
    yield made


def _mode(connection: Mapping[str, Any], failures: int = 0) -> str:
    if connection["mode"] == "stopped":
        return "[red]stopped[/red]"
    if failures:
        return f"{connection['mode']}, [yellow]retrying[/yellow]"
    return "observing" if connection["mode"] == "observe" else str(connection["mode"])


# --- syncing -------------------------------------------------------------------------------------------------------


def synced(totals: Mapping[str, int], problems: Mapping[str, Mapping[str, str]]) -> Iterator[Part]:
    yield (
        f"Read {totals['pulled']:,}: {totals['changed']:,} changed, {totals['unchanged']:,} unchanged,"
        f" {totals['conflict']:,} in conflict, {totals['held']:,} held, {totals['dead']:,} put aside."
    )
    yield f"Wrote {counted(totals['written'], 'record', 'records')} with {totals['requests']:,} requests."
    for place, problem in problems.items():
        yield f"{BAD} {place}: {escape(problem['what'])} {escape(problem['remedy'])}"


def plan(found: Sequence[Mapping[str, Any]]) -> Iterator[Part]:
    """What a sync would write, system by system; first the writes, then what waits and why."""
    if not found:
        yield "Nothing would be written."
        return
    counts: dict[str, int] = {}
    for entry in found:
        counts[entry["operation"]] = counts.get(entry["operation"], 0) + 1
        yield from _planned(entry)
    yield ""
    yield ", ".join(
        counted(counts[operation], one, many) for operation, one, many in _OPERATIONS if operation in counts
    )


_OPERATIONS = (
    ("create", "new record", "new records"),
    ("update", "change", "changes"),
    ("delete", "deletion", "deletions"),
    ("wait", "waits for another record", "wait for another record"),
    ("review", "waits for a ruling", "wait for a ruling"),
    ("refused", "held by a rule", "held by a rule"),
)


def _planned(entry: Mapping[str, Any]) -> Iterator[Part]:
    target = escape(str(entry["vendor_id"])) if entry["vendor_id"] else "[green]new[/green]"
    deletes = "[red]delete[/red] " if entry["operation"] == "delete" else ""
    place = f"[bold]{entry['connection']}/{entry['resource']}[/bold]"
    yield f"{place}  {deletes}{target}  ({entry['kind']} {entry['record']})"
    match entry["operation"]:
        case "wait":
            yield f"    waits until {entry['for']} has a record there"
        case "review":
            yield "    waits until somebody has said whether it is the same as another: syncd review list"
        case "refused":
            yield f"    held by a rule: {escape(str(entry['why']))}"
    for change in entry["changes"]:
        before = f"{escape(text_of(change['before']))} → " if entry["vendor_id"] else ""
        yield f"    {change['field']}: {before}{escape(text_of(change['after']))}"
    if entry["decision"]["redacted"]:
        yield f"    stays behind: {', '.join(entry['decision']['redacted'])} ({escape(entry['decision']['rule'])})"


def status(found: Mapping[str, Any]) -> Iterator[Part]:
    now = from_iso(found["as_of"])
    yield f"[bold]{escape(found['firm'])}[/bold]"
    if not found["connections"]:
        yield "Nothing is connected yet. See: syncd connect list --available"
        return
    made = table("system", "records", "last read", "owed", "aside", "mode", right=("records", "owed", "aside"))
    for each in found["connections"]:
        for r in each["resources"]:
            numbers = (f"{r[name]:,}" for name in ("due_intents", "dead"))
            place = f"{each['name']}/{r['name']}"
            made.add_row(place, f"{r['records']:,}", _last_read(r, now), *numbers, _mode(each, r["failures"]))
    yield made
    yield from _needed(found, now)


def _last_read(resource: Mapping[str, Any], now: datetime) -> str:
    if resource["last_pull_at"] is None:
        return "first reading" if resource["records"] else "not yet"
    return ago((now - from_iso(resource["last_pull_at"])).total_seconds())


def _needed(found: Mapping[str, Any], now: datetime) -> Iterator[Part]:
    silent_s = (now - from_iso(found["sweeper_at"])).total_seconds() if found["sweeper_at"] else None
    if silent_s is None or silent_s > SILENT_S:
        seen = "It has not run yet" if silent_s is None else f"Its last sign of life was {ago(silent_s)}"
        yield f"{NOTE} The service is not running. {seen}. Start it: syncd up"
    for each in found["connections"]:
        if each["mode"] == "stopped":
            yield f"{BAD} {each['name']} stopped: {escape(each['problem'])} {escape(each['remedy'] or '')}"
            continue
        # One cause usually stops all of a system's resources, and is said once.
        for trouble in dict.fromkeys(r["trouble"] for r in each["resources"] if r["trouble"]):
            yield f"{NOTE} {each['name']}: {escape(trouble)} It is tried again by itself."
        yield from drift(each["name"], each["drift"])
        if each["mode"] == "observe":
            yield (
                f"{NOTE} {each['name']} only observes: syncd plan {each['name']}, then"
                f" syncd connect approve {each['name']}"
            )
    for name in found["unknown_names"]:
        yield f"{NOTE} firm.yaml gives authority to {escape(name)}, and no connection has that name."
    for count, one, many, command in (
        (found["conflicts"], "conflict", "conflicts", "syncd conflicts list"),
        (found["reviews"], "doubtful match", "doubtful matches", "syncd review list"),
        (found["dead_letters"], "record or write put aside", "records and writes put aside", "syncd aside list"),
        (found["held"], "write held by a rule", "writes held by a rule", "syncd plan"),
    ):
        if count:
            yield f"{NOTE} {counted(count, one, many)}: {command}"


def drift(name: str, found: Iterable[Mapping[str, Any]]) -> Iterator[Part]:
    """What became of the fields of a system: field, lines, effect, remedy."""
    for each in found:
        field = escape(each["field"]) + (f" ({escape(each['label'])})" if each["label"] != each["field"] else "")
        yield f"{NOTE} {name}/{each['resource']}: the field {field} {escape(each['what'])}."
        yield f"    lines:  {escape('; '.join(each['lines']))}"
        yield f"    effect: {escape(each['effect'])}"
        yield f"    → {escape(each['remedy'])}"


_NUMBERS = (
    ("pulled", "read"),
    ("changed", "changed"),
    ("unchanged", "same"),
    ("conflict", "conflict"),
    ("held", "held"),
    ("dead", "aside"),
    ("written", "wrote"),
)


def runs(found: Sequence[Mapping[str, Any]]) -> Iterator[Part]:
    if not found:
        yield "Nothing has run yet."
        return
    shown = [(key, head) for key, head in _NUMBERS if any(row[key] for row in found)]
    days = {row["started_at"][:10] for row in found}
    made = table("started (UTC)", "what", *(head for _, head in shown), right=[head for _, head in shown])
    for row in found:
        at = moment(row["started_at"])
        what = f"{row['activity']} {row['connection']}/{row['resource']}"
        numbers = [f"{row[key]:,}" if row[key] else "·" for key, _ in shown]
        made.add_row(at if len(days) > 1 else at[11:], what, *numbers)
    yield made
    for problem in dict.fromkeys(
        f"{row['connection']}/{row['resource']}: {escape(row['problem'])}" for row in found if row["problem"]
    ):
        yield f"{NOTE} {problem}"


def explained(found: Mapping[str, Any]) -> Iterator[Part]:
    yield f"[bold]{found['kind']}[/bold] {found['record']} ({found['status']})"
    for system in found["systems"]:
        yield f"  {escape(system['record'])}{' (deleted there)' if system['deleted_there'] else ''}"
    for each in found["fields"]:
        why = f"chosen by {escape(each['pinned']['by'])}" if each["pinned"] else f"from {escape(str(each['from']))}"
        yield f"[bold]{escape(each['field'])}[/bold]: {escape(text_of(each['value']))}  ({why})"
        for claim in each["claims"]:
            first = ", first meeting" if claim["first_meeting"] else ""
            said = escape(text_of(claim["value"]))
            yield f"    {escape(claim['record'])} says {said} (since {moment(claim['at'])}{first})"
    for dispute in found["conflicts"]:
        yield f"{NOTE} {escape(dispute['field'])}: {dispute['state']} conflict ({escape(dispute['reason'])})"
    if found["writes"]:
        yield "[bold]writes[/bold] (UTC)"
    for write in found["writes"]:
        wrote = [f"{name} = {text_of(value)}" for name, value in write["wrote"].items()]
        more = f" and {len(wrote) - CHANGES_SHOWN} more" if len(wrote) > CHANGES_SHOWN else ""
        what = escape(", ".join(wrote[:CHANGES_SHOWN]) + more)
        why = f"{escape(write['outcome'])}; {escape(write['decision']['rule'])}"
        yield f"  {moment(write['at'])} {write['operation']} in {write['system']}: {what} ({why})"


# --- what people decide --------------------------------------------------------------------------------------------


def reviews(found: Sequence[Mapping[str, Any]]) -> Iterator[Part]:
    if not found:
        yield "No doubtful matches."
    for row in found:
        yield f"[bold]{row['id']}[/bold] {row['kind']}: {escape('; '.join(row['reasons']))}"
        a, b = row["a"], row["b"]
        sides = [escape("\n".join(side["records"]) or side["id"]) for side in (a, b)]
        made = table("field", *sides, folded=sides)
        for name in sorted(a["values"].keys() | b["values"].keys()):
            left, right = (_items(side["values"].get(name)) for side in (a, b))
            made.add_row(name, escape(left), escape(right), style=None if left == right else "yellow")
        yield made
        yield f"  the same:      syncd review same {row['id']}"
        yield f"  not the same:  syncd review different {row['id']}"


def _items(value: Any) -> str:
    if isinstance(value, dict) and "value" not in value:
        return "\n".join(text_of(item) for item in value.values()) or "—"
    return text_of(value)


def conflicts(found: Sequence[Mapping[str, Any]], state: str) -> Iterator[Part]:
    if not found:
        yield f"No {state} conflicts."
    for row in found:
        yield f"[bold]{row['id']}[/bold] {row['kind']} {row['record']}, {escape(row['field'])}: {escape(row['reason'])}"
        sides = (row["kept"], *row["others"])
        for side in sides:
            yield f"    {side['connection']}: {escape(text_of(side['value']))}"
        if state == "open":
            either = "|".join(dict.fromkeys(side["connection"] for side in sides))
            yield f"    syncd conflicts settle {row['id']} --take {either}"


def aside(found: Sequence[Mapping[str, Any]]) -> Iterator[Part]:
    if not found:
        yield "Nothing is aside."
    for row in found:
        yield f"[bold]{row['what']}[/bold] {escape(row['id'])} (since {moment(row['since'])})"
        yield f"    {escape(row['why'] or '')}"
        if row["remedy"]:
            yield f"    → {escape(row['remedy'])}"


def demo_report(report: Mapping[str, Any]) -> Iterator[Part]:
    numbers = ("records", "requests", "writes")
    made = table("system", *numbers, right=numbers)
    for name, counts in report["systems"].items():
        made.add_row(name, *(f"{counts[each]:,}" for each in numbers))
    yield made
    h = report["headline"]
    yield (
        f"An invoice over {h['invoice_total']} moved the opportunity from {h['opportunity_before']}"
        f" to {h['opportunity_after']} in {h['seconds']:.1f} s."
    )
    yield (
        f"{counted(report['conflicts'], 'conflict', 'conflicts')} settled by a person; quiet after"
        f" {counted(report['rounds_until_quiet'], 'round', 'rounds')};"
        f" {counted(report['echo_writes'], 'echo write', 'echo writes')}."
    )
    yield f"{GOOD} equal" if report["equal"] else f"{BAD} not equal; the differences are listed above"


# --- fields and mappings -------------------------------------------------------------------------------------------


def inspected(found: Mapping[str, Any], *, every: bool) -> Iterator[Part]:
    """The fields of an account, resource by resource, then lines for what is not mapped."""
    name = found["connection"]
    for each in found["resources"]:
        fields = each["fields"]
        mapped = [field for field in fields if field["lines"]]
        shown = [field for field in fields if every or field["lines"] or field["custom"]]
        yield f"[bold]{name}/{each['resource']}[/bold]  {len(fields)} fields, {len(mapped)} of them mapped"
        made = table("field", "type", "example", "line", folded=("field", "example", "line"))
        for field in shown:
            label = f"\n[dim]{escape(field['label'])}[/dim]" if _is_other(field["label"], field["path"]) else ""
            lines = "\n".join(_line(line) for line in field["lines"]) or "—"
            locked = "" if field["writable"] else "\n[dim]read only[/dim]"
            path = f"[cyan]{escape(field['path'])}[/cyan]" if field["custom"] else escape(field["path"])
            made.add_row(path + label, escape(_type(field)) + locked, escape(_example(field)), lines)
        if not fields:
            yield "No record of it has been read yet."
            yield ""
            continue
        yield made
        if len(shown) < len(fields):
            left = counted(len(fields) - len(shown), "standard field is", "standard fields are")
            yield f"{left} not mapped: syncd connect inspect {name} --resource {each['resource']} --all"
        if each["pinned"]:
            yield f"Pinned {moment(each['pinned']['at'])} by {escape(each['pinned']['by'])}."
        else:
            yield "This system does not describe its fields: these stood in the records read so far."
        yield from drift(name, each["drift"])
        yield ""
    if not found["proposal"]:
        yield "Nothing is left to map."
        return
    where = f"add these lines to {found['file']}" if found["file_exists"] else f"put this into {found['file']}"
    yield f"To map more, {escape(where)}, choose a name for each FIELD, then: syncd mapping check"
    yield ""
    yield escape(found["proposal"])


def _line(line: Mapping[str, Any]) -> str:
    arrow = {"in": " (in)", "out": " (out)"}.get(line["direction"], "")
    return f"{line['kind']}.{line['field']}{arrow} [dim]{escape(line['where'])}[/dim]"


def _is_other(label: str, path: str) -> bool:
    return label.replace(" ", "").replace("_", "").lower() not in path.replace("_", "").lower()


def _type(field: Mapping[str, Any]) -> str:
    kind = field["detail"].partition(":")[0] or field["type"]
    return f"{kind} {field['length']}" if field["length"] and field["type"] == "text" else str(kind)


def _example(field: Mapping[str, Any]) -> str:
    if field["type"] != "choice" or not field["values"]:
        return str(field["example"]) or "—"
    words = field["detail"].partition(": ")[2] or ", ".join(field["values"])
    return f"one of: {words}" if len(words) <= 60 else f"one of {len(field['values'])} choices"


def checked_files(found: Iterable[CheckedFile]) -> Iterator[Part]:
    """Each file with its mistakes, then the sum."""
    files = wrong = 0
    for each in found:
        files += 1
        wrong += len(each.errors)
        what = counted(each.lines, "case", "cases") if each.what == "cases" else counted(each.lines, "line", "lines")
        yield f"{BAD if each.errors else GOOD} {escape(each.file)}" + ("" if each.errors else f"  {each.what}, {what}")
        for error in each.errors:
            yield f"    {escape(error)}"
    yield f"{counted(files, 'file', 'files')}, {counted(wrong, 'mistake', 'mistakes')}."


def tested(found: Sequence[tuple[str, Sequence[Outcome]]]) -> Iterator[Part]:
    """Failing cases with what differs, then the numbers."""
    for name, outcomes in found:
        failed = [each for each in outcomes if each.failures]
        mark = BAD if failed else GOOD
        yield f"{mark} {escape(name)}: {counted(len(outcomes), 'case', 'cases')}, {len(failed)} failed"
        for each in failed:
            yield f"    {escape(each.where)} {escape(each.name)}"
            for failure in each.failures:
                yield f"        {escape(failure)}"


_UPGRADES = {
    "changed": "an upgrade changed the shipped line under it; it said: {before}",
    "gone": "an upgrade took the shipped line away; it said: {before}",
    "same": "the shipped line says the same now: yours is not needed any more",
}


def mapping_diff(found: Sequence[Mapping[str, Any]]) -> Iterator[Part]:
    """Line by line: the firm's, the shipped one, and what an upgrade did in between."""
    if not any(each["file"] for each in found):
        yield "No connection has lines of the firm's own: all shipped mappings are in force as they are."
        return
    for each in found:
        if each["file"] is None:
            continue
        since = f", noted {moment(each['since'])}" if each["since"] else ""
        yield f"[bold]{each['connection']}[/bold]  {escape(each['file'])} on {each['connector']}.yaml{since}"
        for line in each["lines"]:
            place = f"{line['resource']} -> {line['kind']}"
            yield f"  [bold]{escape(line['field'])}[/bold] ({escape(place)})  [dim]{escape(line['where'])}[/dim]"
            shipped = escape(line["shipped"]) if line["shipped"] is not None else "(no line)"
            at = f"  [dim]{escape(line['shipped_where'])}[/dim]" if line["shipped_where"] else ""
            yield f"    [red]- {shipped}[/red]{at}"
            yield f"    [green]+ {escape(line['own'])}[/green]"
            if line["upgrade"]:
                before = line["before"] if line["before"] is not None else "nothing"
                yield f"    {NOTE} {escape(_UPGRADES[line['upgrade']].format(before=before))}"
        for line in each["upgrade"]:
            before, after = (
                escape(line[side]) if line[side] is not None else "(no line)" for side in ("before", "after")
            )
            yield f"  {NOTE} an upgrade changed {line['kind']}.{escape(line['field'])}, which you left alone:"
            yield f"    [red]- {before}[/red]"
            yield f"    [green]+ {after}[/green]"


SIDE_BY_SIDE = 110
"""From this many columns on, the other systems stand beside the record; below, each has a table of its own."""


def previewed(found: Mapping[str, Any], width: int) -> Iterator[Part]:
    """The vendor's record, its meaning, the golden value, and what each other system would be sent."""
    name = found["connection"]
    read = "as it is there now" if found["read_now"] else "as last read"
    yield f"[bold]{name}/{found['resource']}/{escape(found['id'])}[/bold]  {_a(found['kind'])}, {read}"
    if found["aside"]:
        yield f"{BAD} It would be put aside: {escape(found['aside'])}"
        return
    beside = found["systems"] if width >= SIDE_BY_SIDE and len(found["systems"]) <= 2 else []
    made = table(
        f"in {name}", "field", "means", "settled", *(f"to {each['connection']}" for each in beside),
        folded=(f"in {name}", "means", "settled", *(f"to {each['connection']}" for each in beside)),
    )  # fmt: skip
    shown = set()
    for field in found["fields"]:
        shown.add(field["field"])
        filled = [place for place in field["places"] if place["value"] not in (None, "")] or field["places"][:1]
        places = "\n".join(f"{place['path']} = {_brief(place['value'])}" for place in filled)
        means = _items(field["value"]) if field["stated"] else "(no statement)"
        sent = [_to(each, field["field"]) for each in beside]
        golden = "=" if field["stated"] and _items(field["golden"]) == means else _items(field["golden"])
        label = field["field"] + (f" ({field['direction']})" if field["direction"] != "both" else "")
        made.add_row(escape(places), label, escape(means), escape(golden), *map(escape, sent))
    others = dict.fromkeys(
        change["field"].partition("/")[0] for each in beside for change in each["changes"]
    )  # fmt: skip
    for field_name in (each for each in others if each not in shown):
        made.add_row("", field_name, "", "", *(escape(_to(each, field_name)) for each in beside))
    yield made
    if found["review"]:
        yield f"{NOTE} It may be the same as another record: it is made nowhere else before somebody has looked."
    for each in found["systems"]:
        yield from _to_system(each, with_changes=each not in beside)
    yield "Nothing was written."


def _a(kind: str) -> str:
    words = kind.replace("_", " ")
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _to_system(each: Mapping[str, Any], *, with_changes: bool) -> Iterator[Part]:
    place = f"[bold]{each['connection']}/{each['resource']}[/bold]"
    target = escape(str(each["id"])) if each["id"] else "new"
    observing = "  (it only observes)" if each["observing"] else ""
    if not each["changes"]:
        yield f"{place}  {escape(each['does'])}{observing}"
    else:
        yield f"{place}  {each['does']} {target}{observing}"
        if with_changes:
            made = table("field", "holds", "would hold", folded=("field", "holds", "would hold"))
            for change in each["changes"]:
                after = escape(text_of(change["after"]))
                made.add_row(escape(change["field"]), escape(text_of(change["before"])), after)
            yield made
        yield f"    sends: {escape(', '.join(each['sends']))}"
    if each["behind"]:
        yield f"    its mapping has changed since it was read; read it first: syncd sync {each['connection']} --once"
    if each["stays_behind"]:
        yield f"    stays behind by the matrix: {', '.join(each['stays_behind'])}"


def _to(system: Mapping[str, Any], field: str) -> str:
    """What one system would hold of a field, empty where nothing changes."""
    changes = [each for each in system["changes"] if each["field"].partition("/")[0] == field]
    return "\n".join(
        f"without {text_of(each['before'])}"
        if each["after"] is None and "/" in each["field"]
        else text_of(each["after"])
        for each in changes
    )


def _brief(value: Any) -> str:
    if isinstance(value, list | dict):
        return f"{len(value)} entries" if isinstance(value, list) else "…"
    return text_of(value)

"""The command line: every command says what it did and what to do next, and speaks JSON where a script would listen.

Exit codes: 0 done · 1 something needs a person (a connection stopped, a check found errors, not equal) ·
2 wrong settings or arguments, nothing was started · 3 no such thing (connection, record, conflict) · 4 busy.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import select

from connectors import registry
from connectors.errors import SyncError
from mappings.language import MappingError
from syncd import aside as putting_aside
from syncd import connections as connecting
from syncd import explain as explaining
from syncd import logs, once, stewards
from syncd.app import App, WrongKey, open_app
from syncd.config import FIRM_FILE, Settings, SettingsError, default_home, load_settings, write_firm_template
from syncd.remedies import next_step
from syncd.status import status as current_status
from syncd.store.database import reading
from syncd.store.tables import runs as runs_table
from syncd.vault import VaultError

if TYPE_CHECKING:
    from connectors.contract import Checked

OK, NEEDS_PERSON, WRONG, NOT_FOUND, BUSY = 0, 1, 2, 3, 4
out = Console(highlight=False, soft_wrap=False)
err = Console(stderr=True, highlight=False)

cli = typer.Typer(
    name="syncd",
    help="Keeps a law firm's systems consistent, in both directions.\n\n"
    "Start with `syncd init`, connect systems with `syncd connect add`, look at `syncd plan`, then `syncd up`.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)
connect = typer.Typer(no_args_is_help=True, help="Connect systems, check them, and take them out again.")
review = typer.Typer(no_args_is_help=True, help="Records that may be the same: a person decides.")
conflicts = typer.Typer(no_args_is_help=True, help="Fields on which two systems disagree: a person decides.")
cli.add_typer(connect, name="connect")
cli.add_typer(review, name="review")
cli.add_typer(conflicts, name="conflicts")
aside = typer.Typer(no_args_is_help=True, help="What was put aside with its reason, and trying it again.")
cli.add_typer(aside, name="aside")

Home = Annotated[
    Path | None,
    typer.Option(
        "--home", envvar="SYNCD_HOME", help="The home folder (settings, key, embedded database).", show_default=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON value instead of text.")]


def fail(message: str, code: int) -> NoReturn:
    err.print(f"[red]✗[/red] {_plain(message)}")
    raise typer.Exit(code)


def _plain(text: str) -> str:
    return text.replace("[", "\\[")


def settings_of(home: Path | None) -> Settings:
    try:
        settings = load_settings(home, os.environ)
    except SettingsError as error:
        fail(str(error), WRONG)
    logs.configure(settings.log_form, settings.log_level)
    return settings


@contextmanager
def opened(home: Path | None) -> Iterator[App]:
    """The application, and one place where every expected failure becomes a sentence and an exit code."""
    settings = settings_of(home)
    try:
        app = open_app(settings)
    except (WrongKey, VaultError) as error:
        fail(str(error), WRONG)
    try:
        yield app
    except SyncError as error:
        fail(f"{error.message} {next_step(error)}", NEEDS_PERSON)
    except MappingError as error:
        fail("A mapping is wrong; nothing was done.\n" + "\n".join(error.errors), WRONG)
    except connecting.CannotConnect as error:
        fail(str(error), WRONG)
    except (stewards.NotFound, once.Unknown) as error:
        fail(str(error), NOT_FOUND)
    except once.Busy as error:
        fail(str(error), BUSY)
    except VaultError as error:
        fail(str(error), WRONG)
    finally:
        app.close()


@contextmanager
def about(name: str, *, stored: bool = True) -> Iterator[None]:
    """An error of a vendor is told with the connection's name and the next step."""
    try:
        yield
    except SyncError as error:
        nothing = "" if stored else " Nothing was stored."
        fail(f"{name}: {error.message} {next_step(error, name if stored else None)}{nothing}", NEEDS_PERSON)


def show_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, default=str, ensure_ascii=False) + "\n")


def me() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def text_of(value: Any) -> str:
    """A value for a person: dash for empty, an item's own value, no JSON where a word belongs."""
    if value is None or value == "":
        return "—"
    if isinstance(value, dict):
        if "value" in value:
            return f"{value['value']} ({value['label']})" if value.get("label") else str(value["value"])
        return ", ".join(str(part) for part in value.values() if part)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


# --- running it ----------------------------------------------------------------------------------------------------


@cli.command()
def init(
    name: Annotated[str, typer.Option(help="The firm's name.")] = "My firm",
    home: Home = None,
) -> None:
    """Make the home folder: `firm.yaml` to edit, and the key that encrypts credentials (keep a copy of it safe)."""
    folder = home or default_home(os.environ)
    keyed = not (os.environ.get("SYNCD_KEY") or os.environ.get("SYNCD_KEY_FILE"))
    try:
        write_firm_template(folder, name, with_key=keyed)
    except SettingsError as error:
        fail(str(error), WRONG)
    settings = settings_of(folder)
    open_app(settings).close()
    out.print(
        f"[green]✓[/green] {_plain(str(folder / FIRM_FILE))} holds the settings, {_plain(str(folder / 'key'))} the key."
    )
    out.print("Copy the key to a safe place: without it, stored credentials cannot be read.")
    out.print("Next: [bold]syncd connect list --available[/bold], then [bold]syncd connect add[/bold].")


@cli.command()
def up(
    home: Home = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Add the demo firm: sandboxes of several systems on this machine.")
    ] = False,
    size: Annotated[int, typer.Option(help="Contacts in the demo firm.", min=1)] = 300,
) -> None:
    """Run everything on this machine: queue, web, workers and sweeper under one supervisor. Ctrl-C stops all of it."""
    from syncd import demo as demonstration
    from syncd import supervisor

    if demo:
        raise typer.Exit(demonstration.up(home, size, lambda line: out.print(_plain(line))))
    settings = settings_of(home)
    _opens(settings)
    raise typer.Exit(supervisor.run(settings, announce=lambda line: out.print(_plain(line))))


def _opens(settings: Settings) -> None:
    """Nothing starts half: the database, the key and every mapping must be right first."""
    try:
        app = open_app(settings)
    except (WrongKey, VaultError) as error:
        fail(str(error), WRONG)
    try:
        broken = app.world().broken
    except MappingError as error:
        fail("A mapping is wrong; nothing was started.\n" + "\n".join(error.errors), WRONG)
    else:
        if broken:
            wrong = "\n".join(f"  {name}: {what}" for name, what in broken.items())
            fail(f"A mapping is wrong; nothing was started.\n{wrong}", WRONG)
    finally:
        app.close()


@cli.command()
def web(home: Home = None) -> None:
    """Run the web process alone (status page and health check)."""
    from syncd.web import app as web_app

    raise typer.Exit(web_app.run(settings_of(home)))


@cli.command()
def worker(home: Home = None) -> None:
    """Run one worker. More workers on more machines share the same database and Redis."""
    from syncd import worker as worker_process

    raise typer.Exit(worker_process.run(settings_of(home)))


@cli.command()
def sweeper(home: Home = None) -> None:
    """Run the sweeper: it finds work that is due in the database and rings for workers."""
    from syncd import sweeper as sweeper_process

    raise typer.Exit(sweeper_process.run(settings_of(home)))


# --- connections ---------------------------------------------------------------------------------------------------


def _pairs(given: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name:
            fail(f"Expected NAME=VALUE, found {each!r}.", WRONG)
        found[name] = value
    return found


def _secrets(connector: str, given: dict[str, str], secret_file: list[str]) -> None:
    """Secrets come from files, the environment (SYNCD_SECRET_NAME) or a prompt, never from the command line."""
    for name, path in _pairs(secret_file).items():
        try:
            given[name] = Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            fail(f"{path}: cannot be read ({error.strerror}).", WRONG)
    for setting in registry.spec(connector).settings:
        if not setting.secret or setting.name in given:
            continue
        from_env = os.environ.get(f"SYNCD_SECRET_{setting.name.upper()}")
        if from_env:
            given[setting.name] = from_env
        elif setting.required and sys.stdin.isatty():
            given[setting.name] = typer.prompt(f"{setting.name} ({setting.help})", hide_input=True)


@connect.command("add")
def connect_add(
    name: Annotated[str, typer.Argument(help="Your name for it, such as clio or crm.")],
    connector: Annotated[str, typer.Option(help="Which kind of system (see: syncd connect list --available).")],
    setting: Annotated[
        list[str] | None, typer.Option("--setting", "-s", help="NAME=VALUE, as often as needed.")
    ] = None,
    secret_file: Annotated[list[str] | None, typer.Option(help="NAME=FILE: read a secret from a file.")] = None,
    zone: Annotated[
        str | None, typer.Option(help="Where it belongs in the flow matrix; default: the connector's.")
    ] = None,
    poll: Annotated[float | None, typer.Option(help="Seconds between two readings; default: firm.yaml.")] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Skip the observing phase: write without an approved plan.")
    ] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Check an account and connect it. It observes until you approve its plan (`syncd connect approve`).

    Secrets are asked for, or read from --secret-file NAME=FILE or SYNCD_SECRET_NAME; they are stored encrypted.
    """
    with opened(home) as app:
        given = _pairs(setting or [])
        _secrets(connector, given, secret_file or [])
        with about(name, stored=False):
            added = connecting.add(app, name, connector, given, zone=zone, poll_s=poll, live=live)
        if as_json:
            show_json(
                {
                    "name": name,
                    "account": added.checked.account.label,
                    "findings": _findings(added.checked),
                    "resources": added.resources,
                }
            )
            return
        out.print(f"[green]✓[/green] {name}: signed in to {_plain(added.checked.account.label)}")
        _show_findings(added.checked)
        out.print(
            f"It will read: {', '.join(added.resources)}. "
            + ("It writes at once." if live else "It writes nothing until you approve.")
        )
        if not live:
            out.print(
                f"Next: [bold]syncd sync {name} --once[/bold], [bold]syncd plan[/bold],"
                f" [bold]syncd connect approve {name}[/bold]"
            )


def _findings(checked: Checked) -> list[dict[str, str]]:
    return [{"level": f.level, "what": f.what, "remedy": f.remedy} for f in checked.findings]


def _show_findings(checked: Checked) -> None:
    for finding in checked.findings:
        mark = "[red]✗[/red]" if finding.level == "error" else "[yellow]![/yellow]"
        out.print(f"  {mark} {_plain(finding.what)}")
        if finding.remedy:
            out.print(f"    → {_plain(finding.remedy)}")


@connect.command("list")
def connect_list(
    available: Annotated[
        bool, typer.Option("--available", help="Show the kinds of systems and their settings.")
    ] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Connected systems, or the kinds that can be connected."""
    if available:
        specs = [registry.spec(each) for each in registry.names()]
        if as_json:
            show_json(
                [
                    {
                        "connector": s.name,
                        "title": s.title,
                        "zone": s.zone,
                        "settings": [
                            {"name": x.name, "help": x.help, "required": x.required, "secret": x.secret}
                            for x in s.settings
                        ],
                    }
                    for s in specs
                ]
            )
            return
        for spec in specs:
            out.print(f"[bold]{spec.name}[/bold]  {_plain(spec.title)} (zone {spec.zone})")
            for each in spec.settings:
                marks = ", ".join(word for word, on in (("secret", each.secret), ("required", each.required)) if on)
                out.print(f"  {each.name:20} {_plain(each.help)}{f' ({marks})' if marks else ''}")
        return
    with opened(home) as app:
        found = current_status(app)["connections"]
    if as_json:
        show_json(found)
        return
    if not found:
        out.print("Nothing is connected yet. See: syncd connect list --available")
        return
    table = Table("connection", "connector", "account", "zone", "mode", "records")
    for each in found:
        table.add_row(
            each["name"],
            each["connector"],
            each["account"],
            each["zone"],
            each["mode"],
            str(sum(r["records"] for r in each["resources"])),
        )
    out.print(table)


@connect.command("check")
def connect_check(name: str, home: Home = None, as_json: AsJson = False) -> None:
    """Check a connection again; when it works, what had stopped it is cleared and it goes on."""
    with opened(home) as app, about(name):
        checked = connecting.check(app, name)
    if as_json:
        show_json({"name": name, "account": checked.account.label, "findings": _findings(checked)})
    else:
        bad = any(f.level == "error" for f in checked.findings)
        out.print(
            f"{'[red]✗[/red]' if bad else '[green]✓[/green]'} {name}: signed in to {_plain(checked.account.label)}"
        )
        _show_findings(checked)
    if any(f.level == "error" for f in checked.findings):
        raise typer.Exit(NEEDS_PERSON)


@connect.command("approve")
def connect_approve(name: str, home: Home = None) -> None:
    """Let an observing connection write. Look at `syncd plan` first."""
    with opened(home) as app:
        connecting.approve(app, name)
    out.print(f"[green]✓[/green] {name} is live: what the plan shows will be written.")


@connect.command("reconnect")
def connect_reconnect(
    name: str,
    secret_file: Annotated[list[str] | None, typer.Option(help="NAME=FILE: read a secret from a file.")] = None,
    home: Home = None,
) -> None:
    """Give new credentials for the same account."""
    with opened(home) as app:
        found = {each["name"]: each["connector"] for each in current_status(app)["connections"]}
        if name not in found:
            fail(f"There is no connection named {name!r}.", NOT_FOUND)
        given: dict[str, str] = {}
        _secrets(found[name], given, secret_file or [])
        with about(name):
            checked = connecting.replace_secrets(app, name, given)
    out.print(f"[green]✓[/green] {name}: signed in to {_plain(checked.account.label)} again")


@connect.command("remove")
def connect_remove(
    name: str,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: Home = None,
) -> None:
    """Forget a connection: its credentials and links. Nothing is deleted in any system."""
    with opened(home) as app:
        if not yes:
            typer.confirm(f"Forget {name}, its credentials and what it claimed? No system is changed.", abort=True)
        dropped = connecting.remove(app, name)
    out.print(f"[green]✓[/green] {name} is forgotten ({dropped} links).")


# --- syncing -------------------------------------------------------------------------------------------------------


@cli.command()
def sync(
    connection: Annotated[str | None, typer.Argument(help="Only this connection.")] = None,
    resource: Annotated[str | None, typer.Option(help="Only this resource.")] = None,
    pull_only: Annotated[bool, typer.Option("--pull-only", help="Read, match and plan; write nothing.")] = False,
    in_process: Annotated[bool, typer.Option("--once", help="Do it here and now, without queue and workers.")] = False,
    accept_deletions: Annotated[
        bool, typer.Option("--accept-deletions", help="Believe a listing from which many records are missing.")
    ] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Sync now. With --once everything happens in this process; else the running workers are told to look."""
    with opened(home) as app:
        if not in_process:
            if pull_only or accept_deletions:
                fail("--pull-only and --accept-deletions need --once.", WRONG)
            chosen = once.places(app, connection, resource)
            once.due_now(app, chosen)
            if as_json:
                show_json({"due": ["/".join(each) for each in chosen]})
            else:
                out.print(
                    f"[green]✓[/green] {len(chosen)} resources are due now; the workers take them within seconds"
                    " (syncd status)."
                )
            return
        if as_json or not err.is_terminal:
            result = once.sync_once(app, connection, resource, pull_only=pull_only, accept_deletions=accept_deletions)
        else:
            with err.status("starting") as spinner:
                result = once.sync_once(
                    app,
                    connection,
                    resource,
                    pull_only=pull_only,
                    accept_deletions=accept_deletions,
                    tell=spinner.update,
                )
    problems = {
        place: {"what": e.message, "remedy": next_step(e, place.partition("/")[0])}
        for place, e in result.problems.items()
    }
    if as_json:
        show_json({**result.totals, "problems": problems})
    else:
        t = result.totals
        out.print(
            f"read {t['pulled']}: {t['changed']} changed, {t['unchanged']} unchanged, {t['conflict']} in conflict,"
            f" {t['held']} held, {t['dead']} put aside; wrote {t['written']}; {t['requests']} requests"
        )
        for place, problem in problems.items():
            out.print(f"[red]✗[/red] {place}: {_plain(problem['what'])} {_plain(problem['remedy'])}")
    if problems:
        raise typer.Exit(NEEDS_PERSON)


@cli.command()
def plan(
    connection: Annotated[str | None, typer.Argument(help="Only writes to this connection.")] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Every write that a sync would make now, field by field, with the gate's decision. Nothing is sent."""
    with opened(home) as app:
        found = explaining.plan(app, connection)
    if as_json:
        show_json(found)
        return
    if not found:
        out.print("Nothing would be written.")
        return
    for entry in found:
        target = entry["vendor_id"] or "a new record"
        out.print(
            f"[bold]{entry['connection']}/{entry['resource']}[/bold] {entry['operation']} {_plain(str(target))}"
            f" ({entry['kind']} {entry['record']})"
        )
        for change in entry["changes"]:
            out.print(
                f"    {change['field']}: {_plain(text_of(change['before']))} → {_plain(text_of(change['after']))}"
            )
        if entry["operation"] == "wait":
            out.print(f"    waits for {entry['for']}, to which it refers")
        if entry["operation"] == "review":
            out.print("    waits until somebody has said whether it is the same as another: syncd review list")
        if entry["decision"]["redacted"]:
            out.print(
                f"    stays behind: {', '.join(entry['decision']['redacted'])} ({_plain(entry['decision']['rule'])})"
            )
    counted: dict[str, int] = {}
    for entry in found:
        counted[entry["operation"]] = counted.get(entry["operation"], 0) + 1
    out.print(", ".join(f"{count} {operation}" for operation, count in sorted(counted.items())))


@cli.command()
def status(home: Home = None, as_json: AsJson = False) -> None:
    """How things stand: freshness, what is owed, and what needs a person. Exit code 1 when something does."""
    with opened(home) as app:
        found = current_status(app)
    stopped = [each for each in found["connections"] if each["mode"] == "stopped"]
    person = bool(stopped or found["conflicts"] or found["reviews"] or found["dead_letters"])
    if as_json:
        show_json(found)
        raise typer.Exit(NEEDS_PERSON if person else OK)
    out.print(f"[bold]{_plain(found['firm'])}[/bold]")
    table = Table("connection", "resource", "records", "last read", "changed", "owed", "aside", "mode")
    for each in found["connections"]:
        for r in each["resources"]:
            read = (r["last_pull_at"] or "never")[:19].replace("T", " ")
            mode = "[red]stopped[/red]" if each["mode"] == "stopped" else each["mode"]
            table.add_row(
                each["name"],
                r["name"],
                str(r["records"]),
                read,
                str(r["changed"]),
                str(r["due_intents"]),
                str(r["dead"]),
                mode,
            )
    out.print(table)
    for each in stopped:
        out.print(f"[red]✗[/red] {each['name']} stopped: {_plain(each['problem'])} {_plain(each['remedy'] or '')}")
    for count, what, command in (
        (found["conflicts"], "conflicts", "syncd conflicts list"),
        (found["reviews"], "doubtful matches", "syncd review list"),
        (found["dead_letters"], "records and writes put aside", "syncd aside list"),
        (found["held"], "writes held by the gate", "syncd plan"),
    ):
        if count:
            out.print(f"[yellow]![/yellow] {count} {what}: {command}")
    raise typer.Exit(NEEDS_PERSON if person else OK)


@cli.command()
def runs(
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1, max=1000)] = 20,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """The latest stretches of work with their numbers: read = changed + unchanged + conflict + held + aside."""
    with opened(home) as app, reading(app.engine) as sql:
        found = [
            dict(row)
            for row in sql.execute(select(runs_table).order_by(runs_table.c.id.desc()).limit(limit)).mappings()
        ]
    if as_json:
        show_json(found)
        return
    table = Table("started", "what", "read", "changed", "unchanged", "conflict", "held", "aside", "wrote", "problem")
    for row in found:
        numbers = [str(row[k]) for k in ("pulled", "changed", "unchanged", "conflict", "held", "dead", "written")]
        table.add_row(
            row["started_at"][:19].replace("T", " "),
            f"{row['activity']} {row['connection']}/{row['resource']}",
            *numbers,
            _plain(row["problem"] or ""),
        )
    out.print(table)


@cli.command()
def explain(
    record: Annotated[str, typer.Argument(help="A canonical id, or CONNECTION/RESOURCE/ID.")],
    field: Annotated[str | None, typer.Argument(help="Only this field.")] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Why a value is what it is: who claims what, which system holds what, and what was written and why."""
    with opened(home) as app:
        found = explaining.explain(app, record, field)
    if as_json:
        show_json(found)
        return
    out.print(f"[bold]{found['kind']}[/bold] {found['record']} ({found['status']})")
    for system in found["systems"]:
        out.print(f"  {_plain(system['record'])}{' (deleted there)' if system['deleted_there'] else ''}")
    for each in found["fields"]:
        why = f"pinned by {each['pinned']['by']}" if each["pinned"] else f"from {each['from']}"
        out.print(f"[bold]{_plain(each['field'])}[/bold]: {_plain(text_of(each['value']))}  ({why})")
        for claim in each["claims"]:
            first = ", first meeting" if claim["first_meeting"] else ""
            out.print(
                f"    {_plain(claim['record'])} says {_plain(text_of(claim['value']))}"
                f" (since {claim['at'][:19]}{first})"
            )
    for dispute in found["conflicts"]:
        out.print(f"[yellow]![/yellow] {dispute['field']}: conflict {dispute['state']} ({dispute['reason']})")
    for write in found["writes"]:
        wrote = ", ".join(f"{name} = {text_of(value)}" for name, value in write["wrote"].items())
        why = _plain(f"[{write['outcome']}; {write['decision']['rule']}]")
        out.print(f"  {write['at'][:19]} {write['operation']} in {write['system']}: {_plain(wrote)} {why}")


# --- what people decide --------------------------------------------------------------------------------------------


@review.command("list")
def review_list(home: Home = None, as_json: AsJson = False) -> None:
    """Pairs that may be the same person, organisation or matter. Nothing is copied between them until you decide."""
    with opened(home) as app:
        found = stewards.open_reviews(app)
    if as_json:
        show_json(found)
        return
    if not found:
        out.print("No doubtful matches.")
    for row in found:
        out.print(f"[bold]{row['id']}[/bold] {row['kind']}: {_plain('; '.join(row['reasons']))}")
        table = Table("field", ", ".join(row["a"]["records"]), ", ".join(row["b"]["records"]))
        for name in sorted(row["a"]["values"].keys() | row["b"]["values"].keys()):
            left, right = (_set_text(row[side]["values"].get(name)) for side in ("a", "b"))
            table.add_row(name, _plain(left), _plain(right), style=None if left == right else "yellow")
        out.print(table)
        out.print(f"syncd review same {row['id']}   or   syncd review different {row['id']}")


def _set_text(value: Any) -> str:
    if isinstance(value, dict) and "value" not in value:
        return "\n".join(text_of(item) for item in value.values()) or "—"
    return text_of(value)


@review.command("same")
def review_same(id: str, home: Home = None) -> None:
    """They are the same: join them. `syncd review split` takes it back."""
    with opened(home) as app:
        stands = stewards.rule_pair(app, id, same=True, by=me())
    out.print(f"[green]✓[/green] Joined as {stands}.")


@review.command("different")
def review_different(id: str, home: Home = None) -> None:
    """They are not the same; nobody will ask again."""
    with opened(home) as app:
        stewards.rule_pair(app, id, same=False, by=me())
    out.print("[green]✓[/green] Kept apart.")


@review.command("split")
def review_split(record: Annotated[str, typer.Argument(help="CONNECTION/RESOURCE/ID")], home: Home = None) -> None:
    """Un-merge: take one system's record out of a joined one. What the wrong merge had copied is taken back."""
    parts = record.split("/", 2)
    if len(parts) != 3:
        fail("Give the record as CONNECTION/RESOURCE/ID.", WRONG)
    with opened(home) as app:
        new = stewards.split(app, parts[0], parts[1], parts[2], by=me())
    out.print(f"[green]✓[/green] {_plain(record)} stands alone now, as {new}.")


@conflicts.command("list")
def conflicts_list(
    state: Annotated[str, typer.Option(help="open, decided (by a rule) or settled")] = "open",
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Fields on which systems disagree. An open one is written nowhere until you choose."""
    if state not in ("open", "decided", "settled"):
        fail(f"A state is open, decided or settled (found {state!r}).", WRONG)
    with opened(home) as app:
        found = stewards.list_conflicts(app, state=state)
    if as_json:
        show_json(found)
        return
    if not found:
        out.print(f"No {state} conflicts.")
    for row in found:
        out.print(f"[bold]{row['id']}[/bold] {row['kind']} {row['record']}, {row['field']} ({row['reason']})")
        for side in (row["kept"], *row["others"]):
            out.print(f"    {side['connection']}: {_plain(text_of(side['value']))}")
        if state == "open":
            out.print(f"    syncd conflicts settle {row['id']} --take {row['kept']['connection']}")


@conflicts.command("settle")
def conflicts_settle(
    id: str,
    take: Annotated[str | None, typer.Option(help="Take this connection's value.")] = None,
    value: Annotated[str | None, typer.Option(help="Use this value instead.")] = None,
    home: Home = None,
) -> None:
    """Choose: the choice goes to every system, and stands until somebody edits the field again."""
    if (take is None) == (value is None):
        fail("Give either --take CONNECTION or --value TEXT.", WRONG)
    with opened(home) as app:
        chosen = stewards.settle_conflict(app, id, take=take, value=value, by=me())
    out.print(f"[green]✓[/green] Settled: {_plain(text_of(chosen))}")


@aside.command("list")
def aside_list(
    connection: Annotated[str | None, typer.Argument(help="Only this connection.")] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Records that could not be taken in, and writes that were refused: why, and what to do."""
    with opened(home) as app:
        found = putting_aside.list_aside(app, connection)
    if as_json:
        show_json(found)
        return
    if not found:
        out.print("Nothing is aside.")
    for row in found:
        out.print(f"[bold]{row['what']}[/bold] {_plain(row['id'])} (since {row['since'][:19]})")
        out.print(f"    {_plain(row['why'] or '')}")
        if row["remedy"]:
            out.print(f"    → {_plain(row['remedy'])}")


@aside.command("retry")
def aside_retry(
    connection: Annotated[str | None, typer.Argument(help="Only this connection.")] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Read such records again and owe such writes anew, after the cause is mended."""
    with opened(home) as app:
        result = putting_aside.retry(app, connection)
    if as_json:
        show_json(result)
        return
    out.print(f"{result['writes']} writes are owed again; {result['records']} records are still aside.")


@cli.command()
def demo(
    in_one_go: Annotated[
        bool, typer.Option("--once", help="Run the whole story unattended, then stop and report.")
    ] = False,
    size: Annotated[int, typer.Option(help="Contacts in the demo firm.", min=1)] = 300,
    seed: Annotated[int, typer.Option(help="Another seed makes another firm.")] = 1,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """The demo firm: sandboxes of Clio, Salesforce and an address book, kept equal while people edit all of them.

    With --once it exits 0 only if the systems' own states are equal and three more rounds wrote nothing.
    """
    from syncd import demo as demonstration

    if not in_one_go:
        raise typer.Exit(demonstration.up(home, size, lambda line: out.print(_plain(line))))
    try:
        report = demonstration.once(home, size=size, seed=seed, tell=lambda line: err.print(_plain(line)))
    except demonstration.StoryFailed as error:
        fail(str(error), NEEDS_PERSON)
    if as_json:
        show_json(report)
    else:
        _show_report(report)
    raise typer.Exit(OK if report["equal"] and report["echo_writes"] == 0 else NEEDS_PERSON)


def _show_report(report: Mapping[str, Any]) -> None:
    table = Table("system", "records", "requests", "writes")
    for name, numbers in report["systems"].items():
        table.add_row(name, str(numbers["records"]), str(numbers["requests"]), str(numbers["writes"]))
    out.print(table)
    h = report["headline"]
    out.print(
        f"An invoice over {h['invoice_total']} moved the opportunity from {h['opportunity_before']}"
        f" to {h['opportunity_after']} in {h['seconds']:.1f} s."
    )
    out.print(
        f"{report['conflicts']} conflict; quiet after {report['rounds_until_quiet']} rounds;"
        f" {report['echo_writes']} echo writes."
    )
    out.print("[green]✓ equal[/green]" if report["equal"] else "[red]✗ not equal[/red]")
    for difference in report.get("differences", [])[:20]:
        out.print(f"  {_plain(json.dumps(difference, default=str))}")


def main() -> None:
    """The console script. An interrupt is a clean stop, not a traceback."""
    try:
        cli()
    except KeyboardInterrupt:
        sys.exit(130)

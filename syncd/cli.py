"""The command line: every command says what it did and what to do next, and speaks JSON where a script would listen.

Exit codes: 0 done · 1 something needs a person (a connection stopped, a check found errors, not equal) ·
2 wrong settings or arguments, nothing was started · 3 no such thing (connection, record, conflict) · 4 busy.

A command imports the engine when it runs, so that `--help` answers at once and `syncd up` starts soon.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from syncd import cli_mapping
from syncd.config import (
    FIRM_FILE,
    Settings,
    SettingsError,
    default_home,
    write_firm_template,
)
from syncd.terminal import (
    NEEDS_PERSON,
    NOT_FOUND,
    OK,
    WRONG,
    AsJson,
    Home,
    Name,
    Only,
    about,
    done,
    err,
    fail,
    log,
    me,
    open_store,
    opened,
    out,
    say,
    settings_of,
    show,
    show_json,
)

if TYPE_CHECKING:
    from connectors.contract import Checked

cli = typer.Typer(
    name="syncd",
    help="Keeps a law firm's systems consistent, in both directions.\n\n"
    "Start with `syncd init`, connect systems with `syncd connect add`, look at `syncd plan`, then `syncd up`."
    " `syncd up --demo` shows it with a made-up firm.\n\n"
    "Exit codes: 0 done, 1 something needs a person, 2 wrong settings or arguments, 3 no such thing, 4 busy.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)
connect = typer.Typer(no_args_is_help=True, help="Connect systems, check them, and take them out again.")
review = typer.Typer(no_args_is_help=True, help="Records that may be the same: a person decides.")
conflicts = typer.Typer(no_args_is_help=True, help="Fields on which two systems disagree: a person decides.")
aside = typer.Typer(no_args_is_help=True, help="What was put aside with its reason, and trying it again.")
cli.add_typer(connect, name="connect")
cli.add_typer(review, name="review")
cli.add_typer(conflicts, name="conflicts")
cli.add_typer(cli_mapping.mapping, name="mapping")
cli.add_typer(aside, name="aside")
connect.command("inspect")(cli_mapping.connect_inspect)

SecretFiles = Annotated[list[str] | None, typer.Option(help="NAME=FILE: read a secret from a file.")]
Size = Annotated[int, typer.Option(help="People in the demo firm.", min=1)]


# --- running it ----------------------------------------------------------------------------------------------------


@cli.command()
def init(
    name: Annotated[str, typer.Option(help="The firm's name.")] = "My firm",
    home: Home = None,
) -> None:
    """Make the home folder: `firm.yaml` to edit, and the key that encrypts credentials (keep a copy of it safe)."""
    folder = (home or default_home(os.environ)).expanduser().absolute()
    keyed = not (os.environ.get("SYNCD_KEY") or os.environ.get("SYNCD_KEY_FILE"))
    try:
        write_firm_template(folder, name, with_key=keyed)
    except SettingsError as error:
        fail(str(error), WRONG)
    open_store(settings_of(folder)).close()
    done(f"{folder / FIRM_FILE} holds the settings.")
    if keyed:
        done(f"{folder / 'key'} holds the key. Copy it to a safe place: without it, stored credentials are lost.")
    say("Next: syncd connect list --available, then syncd connect add.")


@cli.command()
def up(
    home: Home = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Add the demo firm: sandboxes of several systems on this machine.")
    ] = False,
    size: Size = 300,
) -> None:
    """Run everything on this machine: queue, web, workers and sweeper under one supervisor. Ctrl-C stops all of it."""
    if demo:
        raise typer.Exit(_demo_firm(home, size, seed=1))
    from syncd import supervisor

    settings = settings_of(home)
    names = _opens(settings)
    say(f"Syncing {', '.join(names)}." if names else "Nothing is connected yet. See: syncd connect list --available")
    raise typer.Exit(supervisor.run(settings, announce=say))


def _demo_firm(home: Path | None, size: int, seed: int) -> int:
    """The demo firm until Ctrl-C; a second start goes on where the first one stopped."""
    from syncd.demo import systems

    folder = (home or systems.HOME).expanduser().absolute()
    try:
        place = systems.prepare(folder, size=size, seed=seed)
    except SettingsError as error:
        fail(str(error), WRONG)
    settings = settings_of(folder)
    _opens(settings)
    return systems.up(settings, place, say)


def _opens(settings: Settings) -> tuple[str, ...]:
    """Nothing starts half: the database, the key and every mapping must be right first. Returns the connections."""
    from mappings.language import MappingError

    app = open_store(settings)
    try:
        world = app.world()
    except MappingError as error:
        fail("A mapping is wrong; nothing was started.\n" + "\n".join(error.errors), WRONG)
    finally:
        app.close()
    if world.broken:
        wrong = "\n".join(f"  {name}: {what}" for name, what in world.broken.items())
        fail(f"A mapping is wrong; nothing was started.\n{wrong}", WRONG)
    return tuple(world.members)


def _refuse_wrong_key(settings: Settings) -> None:
    """A role that runs alone must not start with a key that is not the database's; a database that is away may come."""
    from sqlalchemy.exc import SQLAlchemyError

    from syncd.app import WrongKey, open_app
    from syncd.vault import VaultError

    try:
        open_app(settings).close()
    except (WrongKey, VaultError) as error:
        fail(str(error), WRONG)
    except SQLAlchemyError as error:
        log.warning("unreachable", what="database", error=type(error).__name__)


@cli.command()
def web(home: Home = None) -> None:
    """Run the web process alone (status page and health check)."""
    from syncd.web import app as web_app

    raise typer.Exit(web_app.run(settings_of(home)))


@cli.command()
def worker(home: Home = None) -> None:
    """Run one worker. More workers on more machines share the same database and Redis."""
    from syncd import worker as worker_process

    settings = settings_of(home)
    _refuse_wrong_key(settings)
    raise typer.Exit(worker_process.run(settings))


@cli.command()
def sweeper(home: Home = None) -> None:
    """Run the sweeper: it finds work that is due in the database and rings for workers."""
    from syncd import sweeper as sweeper_process

    settings = settings_of(home)
    _refuse_wrong_key(settings)
    raise typer.Exit(sweeper_process.run(settings))


# --- connections ---------------------------------------------------------------------------------------------------


def _pairs(given: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name:
            fail(f"Expected NAME=VALUE, found {each.partition('=')[0]!r} without a name or a value.", WRONG)
        found[name] = value
    return found


def _secrets(connector: str, given: dict[str, str], secret_file: list[str]) -> None:
    """Secrets come from files, the environment (SYNCD_SECRET_NAME) or a prompt, never from the command line."""
    from connectors import registry
    from connectors.errors import Misconfigured

    try:
        known = registry.spec(connector).settings
    except Misconfigured as error:
        fail(error.message, WRONG)
    for setting in known:
        if setting.secret and setting.name in given:
            fail(
                f"{setting.name} is a secret, and others can read a command line. Give it with --secret-file"
                f" {setting.name}=FILE or SYNCD_SECRET_{setting.name.upper()}, or leave it out to be asked.",
                WRONG,
            )
    for name, path in _pairs(secret_file).items():
        try:
            given[name] = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            fail(f"{path}: cannot be read ({getattr(error, 'strerror', None) or 'not a text'}).", WRONG)
    for setting in known:
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
    secret_file: SecretFiles = None,
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
    from syncd import connections, wording

    with opened(home) as app:
        given = _pairs(setting or [])
        _secrets(connector, given, secret_file or [])
        with about(name, stored=False):
            added = connections.add(app, name, connector, given, zone=zone, poll_s=poll, live=live)
    if as_json:
        show_json({**_checked(name, added.checked), "resources": added.resources})
        return
    done(f"{name}: signed in to {added.checked.account.label}")
    show(wording.findings(added.checked))
    say(f"It reads {', '.join(added.resources)}.")
    if live:
        say("It writes at once.")
    else:
        say("It writes nothing until you approve.")
        say(f"Next: syncd sync {name} --once, then syncd plan {name}, then syncd connect approve {name}")


def _checked(name: str, checked: Checked) -> dict[str, Any]:
    findings = [{"level": f.level, "what": f.what, "remedy": f.remedy} for f in checked.findings]
    return {"name": name, "account": checked.account.label, "findings": findings}


@connect.command("list")
def connect_list(
    available: Annotated[
        bool, typer.Option("--available", help="Show the kinds of systems and their settings.")
    ] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Connected systems, or the kinds that can be connected."""
    from syncd import wording

    if available:
        from connectors import registry

        specs = [registry.spec(each) for each in registry.names()]
        if as_json:
            show_json([_kind(spec) for spec in specs])
        else:
            show(wording.kinds(specs))
        return
    from syncd.status import status as current_status

    with opened(home) as app:
        found = current_status(app)["connections"]
    if as_json:
        show_json(found)
    else:
        show(wording.connections(found))


def _kind(spec: Any) -> dict[str, Any]:
    settings = [{"name": x.name, "help": x.help, "required": x.required, "secret": x.secret} for x in spec.settings]
    return {"connector": spec.name, "title": spec.title, "zone": spec.zone, "settings": settings}


@connect.command("check")
def connect_check(name: Name, home: Home = None, as_json: AsJson = False) -> None:
    """Check a connection again; when it works, what had stopped it is cleared and it goes on."""
    from syncd import connections, wording

    with opened(home) as app, about(name):
        checked = connections.check(app, name)
    bad = any(finding.level == "error" for finding in checked.findings)
    if as_json:
        show_json(_checked(name, checked))
    else:
        mark = wording.BAD if bad else wording.GOOD
        out.print(f"{mark} {name}: signed in to {escape(checked.account.label)}", soft_wrap=True)
        show(wording.findings(checked))
    raise typer.Exit(NEEDS_PERSON if bad else OK)


@connect.command("approve")
def connect_approve(name: Name, home: Home = None) -> None:
    """Let an observing connection write. Look at `syncd plan` first."""
    from syncd import connections

    with opened(home) as app:
        connections.approve(app, name)
    done(f"{name} is live: what the plan shows is written from now on.")


@connect.command("reconnect")
def connect_reconnect(name: Name, secret_file: SecretFiles = None, home: Home = None) -> None:
    """Give new credentials for the same account."""
    from syncd import connections
    from syncd.status import status as current_status

    with opened(home) as app:
        found = {each["name"]: each["connector"] for each in current_status(app)["connections"]}
        if name not in found:
            fail(f"There is no connection named {name!r}.", NOT_FOUND)
        given: dict[str, str] = {}
        _secrets(found[name], given, secret_file or [])
        with about(name):
            checked = connections.replace_secrets(app, name, given)
    done(f"{name}: signed in to {checked.account.label} again")


@connect.command("remove")
def connect_remove(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: Home = None,
) -> None:
    """Forget a connection: its credentials and links. Nothing is deleted in any system."""
    from syncd import connections

    with opened(home) as app:
        if not yes:
            typer.confirm(f"Forget {name}, its credentials and what it claimed? No system is changed.", abort=True)
        dropped = connections.remove(app, name)
    done(f"{name} is forgotten, with {dropped} links. Nothing was deleted in any system.")


# --- syncing -------------------------------------------------------------------------------------------------------


@cli.command()
def sync(
    connection: Only = None,
    resource: Annotated[str | None, typer.Option(help="Only this resource.")] = None,
    pull_only: Annotated[bool, typer.Option("--pull-only", help="Read, match and plan; write nothing.")] = False,
    in_process: Annotated[bool, typer.Option("--once", help="Do it here and now, without queue and workers.")] = False,
    accept_deletions: Annotated[
        bool, typer.Option("--accept-deletions", help="Believe that so many records at once are really deleted.")
    ] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Sync now. With --once everything happens in this process; else the running workers are told to look."""
    from syncd import once, wording
    from syncd.remedies import next_step

    with opened(home) as app:
        if not in_process:
            if pull_only or accept_deletions:
                fail("--pull-only and --accept-deletions need --once.", WRONG)
            chosen = once.places(app, connection, resource)
            once.due_now(app, chosen)
            if as_json:
                show_json({"due": ["/".join(each) for each in chosen]})
            else:
                done(f"{len(chosen)} resources are due now; running workers take them within seconds: syncd status")
            return
        with _progress(quiet=as_json) as tell:
            result = once.sync_once(
                app, connection, resource, pull_only=pull_only, accept_deletions=accept_deletions, tell=tell
            )
    problems = {
        place: {"what": e.message, "remedy": next_step(e, place.partition("/")[0])}
        for place, e in result.problems.items()
    }
    if as_json:
        show_json({**result.totals, "problems": problems})
    else:
        show(wording.synced(result.totals, problems))
    raise typer.Exit(NEEDS_PERSON if problems else OK)


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Where a long command is, on a terminal only."""
    if quiet or not err.is_terminal:
        yield lambda _: None
        return
    with err.status("starting") as spinner:
        yield spinner.update


@cli.command()
def plan(
    connection: Annotated[str | None, typer.Argument(help="Only writes to this connection.")] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Every write that a sync would make now, field by field, with the gate's decision. Nothing is sent."""
    from syncd import explain as explaining
    from syncd import once, wording

    with opened(home) as app:
        if connection is not None:
            once.places(app, connection)
        found = explaining.plan(app, connection)
    if as_json:
        show_json(found)
    else:
        show(wording.plan(found))


@cli.command()
def status(home: Home = None, as_json: AsJson = False) -> None:
    """How things stand: freshness, what is owed, and what needs a person. Exit code 1 when something does."""
    from syncd import wording
    from syncd.status import status as current_status

    with opened(home) as app:
        found = current_status(app)
    stopped = any(each["mode"] == "stopped" for each in found["connections"])
    if as_json:
        show_json(found)
    else:
        show(wording.status(found))
    drift = any(each["drift"] for each in found["connections"])
    person = stopped or drift or found["conflicts"] or found["reviews"] or found["dead_letters"]
    raise typer.Exit(NEEDS_PERSON if person else OK)


@cli.command()
def runs(
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1, max=1000)] = 20,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """The latest stretches of work with their numbers: read = changed + unchanged + conflict + held + aside."""
    from syncd import wording
    from syncd.runs import latest

    with opened(home) as app:
        found = latest(app, limit)
    if as_json:
        show_json(found)
    else:
        show(wording.runs(found))


@cli.command()
def explain(
    record: Annotated[str, typer.Argument(help="A canonical id, or CONNECTION/RESOURCE/ID.")],
    field: Annotated[str | None, typer.Argument(help="Only this field.")] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Why a value is what it is: who claims what, which system holds what, and what was written and why."""
    from syncd import explain as explaining
    from syncd import wording

    with opened(home) as app:
        found = explaining.explain(app, record, field)
    if as_json:
        show_json(found)
    else:
        show(wording.explained(found))


# --- what people decide --------------------------------------------------------------------------------------------


@review.command("list")
def review_list(home: Home = None, as_json: AsJson = False) -> None:
    """Pairs that may be the same person, organisation or matter. Nothing is copied between them until you decide."""
    from syncd import stewards, wording

    with opened(home) as app:
        found = stewards.open_reviews(app)
    if as_json:
        show_json(found)
    else:
        show(wording.reviews(found))


Review = Annotated[str, typer.Argument(help="The pair's id (see: syncd review list).")]


@review.command("same")
def review_same(id: Review, home: Home = None) -> None:
    """They are the same: join them. `syncd review split` takes it back."""
    from syncd import stewards

    with opened(home) as app:
        stands = stewards.rule_pair(app, id, same=True, by=me())
    done(f"Joined as {stands}.")


@review.command("different")
def review_different(id: Review, home: Home = None) -> None:
    """They are not the same; nobody will ask again."""
    from syncd import stewards

    with opened(home) as app:
        stewards.rule_pair(app, id, same=False, by=me())
    done("Kept apart.")


@review.command("split")
def review_split(record: Annotated[str, typer.Argument(help="CONNECTION/RESOURCE/ID")], home: Home = None) -> None:
    """Un-merge: take one system's record out of a joined one. What the wrong merge had copied is taken back."""
    from syncd import stewards

    parts = record.split("/", 2)
    if len(parts) != 3:
        fail("Give the record as CONNECTION/RESOURCE/ID.", WRONG)
    with opened(home) as app:
        new = stewards.split(app, parts[0], parts[1], parts[2], by=me())
    done(f"{record} stands alone now, as {new}.")


@conflicts.command("list")
def conflicts_list(
    state: Annotated[str, typer.Option(help="open, decided (by a rule) or settled")] = "open",
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Fields on which systems disagree. An open one is written nowhere until you choose."""
    from syncd import stewards, wording

    if state not in ("open", "decided", "settled"):
        fail(f"A state is open, decided or settled (found {state!r}).", WRONG)
    with opened(home) as app:
        found = stewards.list_conflicts(app, state=state)
    if as_json:
        show_json(found)
    else:
        show(wording.conflicts(found, state))


@conflicts.command("settle")
def conflicts_settle(
    id: Annotated[str, typer.Argument(help="The conflict's id (see: syncd conflicts list).")],
    take: Annotated[str | None, typer.Option(help="Take this connection's value.")] = None,
    value: Annotated[str | None, typer.Option(help="Use this value instead.")] = None,
    home: Home = None,
) -> None:
    """Choose: the choice goes to every system, and stands until somebody edits the field again."""
    from syncd import stewards, wording

    if (take is None) == (value is None):
        fail("Give either --take CONNECTION or --value TEXT.", WRONG)
    with opened(home) as app:
        chosen = stewards.settle_conflict(app, id, take=take, value=value, by=me())
    done(f"Settled: {wording.text_of(chosen)}")


@aside.command("list")
def aside_list(connection: Only = None, home: Home = None, as_json: AsJson = False) -> None:
    """Records that could not be taken in, and writes that were refused: why, and what to do."""
    from syncd import aside as putting_aside
    from syncd import once, wording

    with opened(home) as app:
        if connection is not None:
            once.places(app, connection)
        found = putting_aside.list_aside(app, connection)
    if as_json:
        show_json(found)
    else:
        show(wording.aside(found))


@aside.command("retry")
def aside_retry(connection: Only = None, home: Home = None, as_json: AsJson = False) -> None:
    """Read such records again and owe such writes anew, after the cause is mended."""
    from syncd import aside as putting_aside
    from syncd import once

    with opened(home) as app:
        if connection is not None:
            once.places(app, connection)
        result = putting_aside.retry(app, connection)
    if as_json:
        show_json(result)
    else:
        done(f"{result['writes']} writes are owed again; {result['records']} records are still aside.")


@cli.command()
def demo(
    in_one_go: Annotated[
        bool, typer.Option("--once", help="Run the whole story unattended, then stop and report.")
    ] = False,
    size: Size = 300,
    seed: Annotated[int, typer.Option(help="Another seed makes another firm.")] = 1,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """The demo firm: sandboxes of Clio, Salesforce and an address book, kept equal while people edit all of them.

    With --once it exits 0 only if the systems' own states are equal and three more rounds wrote nothing.
    """
    if not in_one_go:
        raise typer.Exit(_demo_firm(home, size, seed))
    from syncd import wording
    from syncd.demo import story

    try:
        report = story.once(home, size=size, seed=seed, tell=lambda line: err.print(escape(line), soft_wrap=True))
    except story.StoryFailed as error:
        fail(str(error), NEEDS_PERSON)
    except SettingsError as error:
        fail(str(error), WRONG)
    if as_json:
        show_json(report)
    else:
        show(wording.demo_report(report))
    raise typer.Exit(OK if report["equal"] and report["echo_writes"] == 0 else NEEDS_PERSON)


def main() -> None:
    """The console script. An interrupt is a clean stop, not a traceback, and neither is a mistake of ours."""
    try:
        cli()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        log.exception("command_failed")
        err.print(f"[red]✗[/red] This is a mistake in syncd itself ({type(error).__name__}); the log says where.")
        sys.exit(NEEDS_PERSON)

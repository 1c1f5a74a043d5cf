"""The command line from end to end: what every command says, its exit code, and what never leaves it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer
from sqlalchemy import delete, update
from typer.testing import CliRunner

from connectors import registry
from connectors.clio.sandbox import ClioSandbox
from connectors.sandbox import status as answer
from syncd import cli
from syncd.clock import iso
from syncd.demo.joining import settings_for
from syncd.demo.sandboxes import FACTORIES
from syncd.demo.systems import SYSTEMS
from syncd.store.tables import connections, turns
from syncd.turns import take
from tests.system.demo_firm import plain_environment
from tests.system.installation import clio_settings

if TYPE_CHECKING:
    from connectors.sandbox import Sandbox
    from syncd.turns import Lease
    from tests.system.installation import Installation, Said

pytestmark = pytest.mark.timeout(180)

SIZE = 14
"""Small, and still with shared people, companies of one name, matters, and opportunities."""


@dataclass
class Connected:
    """An installation, the demo's three systems, and what a person gives to connect them."""

    installation: Installation
    sandboxes: Mapping[str, Sandbox]

    def given(self, name: str) -> dict[str, str]:
        return settings_for({"ports": {each: sandbox.port for each, sandbox in self.sandboxes.items()}}, name)

    def secrets(self) -> list[str]:
        """Everything that nobody may ever see."""
        return [value for name in SYSTEMS for key, value in self.given(name).items() if key in hidden(SYSTEMS[name])]

    def run(self, *arguments: str, **secrets: str) -> Said:
        return self.installation.run(*arguments, **secrets)

    def add(self, name: str, *more: str) -> Said:
        return self.installation.connect(name, SYSTEMS[name], self.given(name), *more)

    def writes(self, name: str) -> list[str]:
        return self.sandboxes[name].writes()

    def json(self, *arguments: str) -> Any:
        said = self.run(*arguments, "--json")
        assert said.err == ""
        return said.json()


def hidden(connector: str) -> set[str]:
    return {setting.name for setting in registry.spec(connector).settings if setting.secret}


@pytest.fixture
def firm(simple: Installation) -> Iterator[Connected]:
    with ExitStack() as stack:
        (simple.home / "firm.yaml").write_text("name: Test & Partners\nauthority: [clio, crm, cards]\npoll_s: 1\n")
        yield Connected(simple, {name: stack.enter_context(make(size=SIZE)) for name, make in FACTORIES.items()})


@pytest.fixture
def synced(firm: Connected) -> Connected:
    """All three systems live and read; doubtful matches wait."""
    for name in SYSTEMS:
        assert firm.add(name, "--live").code == 0
    assert firm.run("sync", "--once").code == 0
    return firm


# --- help ------------------------------------------------------------------------------------------------------------


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, each in getattr(command, "commands", {}).items():
        yield from commands(each, (*path, name))


ALL = list(commands(typer.main.get_command(cli.cli)))


@pytest.mark.parametrize("path", ALL, ids=lambda path: " ".join(path) or "syncd")
def test_every_command_teaches(path: tuple[str, ...]) -> None:
    said = CliRunner(env={"COLUMNS": "100"}).invoke(cli.cli, [*path, "--help"])
    assert said.exit_code == 0
    assert said.stderr == ""
    text = said.stdout
    assert "Usage: " in text
    assert max(len(line) for line in text.splitlines()) <= 100
    command: Any = typer.main.get_command(cli.cli)
    for name in path:
        command = command.commands[name]
    assert command.help and command.help[0].isupper() and len(command.help) > 25
    for each in command.params:
        if each.name != "help" and each.param_type_name == "option":
            assert getattr(each, "help", None), f"{path}: {each.name} has no help"
    for each in getattr(command, "commands", {}).values():
        assert each.help.strip().splitlines()[0][:20] in " ".join(text.split())


def test_the_first_help_names_the_way_and_the_exit_codes() -> None:
    text = " ".join(CliRunner().invoke(cli.cli, ["--help"]).stdout.split())
    for step in ("syncd init", "syncd connect add", "syncd plan", "syncd up", "syncd up --demo"):
        assert step in text
    assert "0 done, 1 something needs a person, 2 wrong settings or arguments, 3 no such thing, 4 busy" in text


def test_help_loads_nothing_of_the_engine() -> None:
    heavy = ("sqlalchemy", "httpx", "pydantic", "fastapi", "phonenumbers", "nameparser", "alembic", "rq", "redis")
    program = f"import sys, syncd.cli; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_sandbox_loads_nothing_of_the_service(system: str) -> None:
    heavy = ("sqlalchemy", "pydantic", "fastapi", "phonenumbers", "alembic", "rq", "redis", "typer", "syncd.app")
    program = (
        "import sys; from syncd.demo.sandboxes import FACTORIES;"
        f" FACTORIES[{system!r}](size=3); print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- the way of a first connection -----------------------------------------------------------------------------------


def test_a_new_connection_observes_and_writes_nothing_until_it_is_approved(firm: Connected) -> None:
    assert firm.run("connect", "list").text.startswith("Nothing is connected yet.")
    assert firm.add("clio", "--live").code == 0
    assert firm.run("sync", "--once").code == 0

    added = firm.add("crm")
    assert added.code == 0
    assert "✓ crm: signed in to integration@sandbox.example.com" in added.text
    assert "It writes nothing until you approve." in added.text
    assert "syncd sync crm --once, then syncd plan crm, then syncd connect approve crm" in added.text

    assert firm.run("sync", "--once").code == 0
    assert firm.writes("crm") == []
    planned = firm.json("plan", "crm")
    assert planned
    assert {entry["connection"] for entry in planned} == {"crm"}
    assert "new records" in firm.run("plan", "crm").text
    status = firm.run("status")
    assert "crm only observes: syncd plan crm, then syncd connect approve crm" in status.text
    assert "observing" in status.out
    assert firm.run("sync", "--once").code == 0
    assert firm.writes("crm") == [], "seeing a plan is not approving it"

    assert "crm is live" in firm.run("connect", "approve", "crm").text
    synced = firm.run("sync", "--once")
    assert synced.code == 0
    creates = [entry for entry in planned if entry["operation"] == "create"]
    made = [what for what in firm.writes("crm") if what.startswith("created ")]
    assert len(made) >= len(creates) > 0
    assert firm.json("connect", "list")[1]["mode"] == "live"


def test_the_numbers_of_a_run_add_up_in_words_and_in_json(synced: Connected) -> None:
    result = synced.json("sync", "--once")
    assert result["problems"] == {}
    assert result["pulled"] == sum(result[name] for name in ("changed", "unchanged", "conflict", "held", "dead"))
    said = synced.run("sync", "clio", "--once")
    assert re.search(r"Read \d+: \d+ changed, \d+ unchanged, \d+ in conflict, \d+ held, \d+ put aside\.", said.text)
    assert re.search(r"Wrote \d+ records? with \d+ requests\.", said.text)
    table = synced.run("runs", "--limit", "5")
    assert table.code == 0
    assert "pull " in table.out or "deliver " in table.out
    for row in synced.json("runs"):
        assert row["pulled"] == row["changed"] + row["unchanged"] + row["conflict"] + row["held"] + row["dead"]


def test_sync_without_once_makes_due_and_says_who_does_it(synced: Connected) -> None:
    said = synced.run("sync", "clio")
    assert said.code == 0
    assert "5 resources are due now; running workers take them within seconds: syncd status" in said.text
    assert synced.json("sync", "crm")["due"] == ["crm/Account", "crm/Contact", "crm/Opportunity", "crm/Task"]


def test_status_is_for_a_glance(synced: Connected) -> None:
    said = synced.run("status")
    assert said.code == 1, "a doubtful match waits"
    assert said.out.startswith("Test & Partners\n")
    assert re.search(r"^clio/contacts +\d+ +(just now|\d+ s ago) ", said.out, re.MULTILINE)
    assert "! 1 doubtful match: syncd review list" in said.text
    assert "The service is not running." in said.text
    found = synced.json("status")
    assert [each["name"] for each in found["connections"]] == ["cards", "clio", "crm"]
    assert found["reviews"] == 1
    assert found["unknown_names"] == []


def test_an_order_that_names_nobody_is_shown(simple: Installation) -> None:
    (simple.home / "firm.yaml").write_text(
        "name: Test & Partners\nauthority: [cilo]\nrules:\n  person.title: {by: authority, authority: [cmr, cilo]}\n"
    )
    assert simple.run("status", "--json").json()["unknown_names"] == [], "nothing is connected yet"
    with ClioSandbox(size=2) as clio:
        simple.add("clio", "clio", clio_settings(clio))
        assert "firm.yaml gives authority to cilo, and no connection has that name." in simple.run("status").text
        assert simple.run("status", "--json").json()["unknown_names"] == ["cilo", "cmr"]


def test_a_doubtful_match_is_shown_side_by_side_ruled_and_taken_apart(synced: Connected) -> None:
    (pair,) = synced.json("review", "list")
    shown = synced.run("review", "list")
    assert f"syncd review same {pair['id']}" in shown.text
    assert f"syncd review different {pair['id']}" in shown.text
    for side in ("a", "b"):
        assert pair[side]["records"][0] in shown.text
    joined = synced.run("review", "same", pair["id"])
    assert joined.code == 0
    assert joined.text == f"✓ Joined as {pair['a']['id']}."
    assert synced.run("review", "list").text == "No doubtful matches."
    assert synced.run("status").code == 0, "nothing waits for a person"

    record = pair["b"]["records"][0]
    split = synced.run("review", "split", record)
    assert split.code == 0
    assert f"{record} stands alone now" in split.text


def test_a_conflict_is_shown_and_settled(synced: Connected) -> None:
    contact, crm_id = both(synced)
    synced.sandboxes["clio"].edit("contact", id=contact, changes={"title": "Chair [sic]"})
    synced.sandboxes["crm"].edit("update", sobject="Contact", id=crm_id, changes={"Title": "Board member"})
    assert synced.run("sync", "--once").code == 0
    (conflict,) = synced.json("conflicts", "list")
    assert conflict["field"] == "title"
    shown = synced.run("conflicts", "list").text
    assert "clio: Chair [sic]" in shown
    assert "crm: Board member" in shown
    assert f"syncd conflicts settle {conflict['id']} --take" in shown
    explained = synced.run("explain", f"crm/Contact/{crm_id}", "title").text
    assert "title: open conflict" in explained
    assert "Chair [sic]" in explained

    settled = synced.run("conflicts", "settle", conflict["id"], "--take", "crm")
    assert settled.text == "✓ Settled: Board member"
    assert synced.run("conflicts", "list").text == "No open conflicts."
    assert len(synced.json("conflicts", "list", "--state", "settled")) == 1
    assert synced.run("sync", "--once").code == 0
    found = synced.json("explain", f"crm/Contact/{crm_id}", "title")
    (title,) = found["fields"]
    assert title["value"] == "Board member"
    assert title["pinned"]["by"]
    assert set(title["held"].values()) == {"Board member"}


def both(firm: Connected) -> tuple[str, str]:
    """The ids of somebody who is in Clio and in the CRM."""
    for row in firm.sandboxes["crm"].tables["Contact"].values():
        found = firm.json("explain", f"crm/Contact/{row['Id']}")
        ids = dict(each["record"].split("/", 2)[::2] for each in found["systems"])
        if "clio" in ids:
            return ids["clio"], ids["crm"]
    raise AssertionError("nobody is in both")


def test_explain_tells_where_a_value_came_from_and_where_it_went(synced: Connected) -> None:
    contact, _ = both(synced)
    found = synced.json("explain", f"clio/contacts/{contact}")
    assert found["kind"] == "person"
    assert {each["record"].partition("/")[0] for each in found["systems"]} == set(SYSTEMS)
    said = synced.run("explain", f"clio/contacts/{contact}")
    assert said.text.startswith(f"person {found['record']} (live)")
    assert "family_name: " in said.out
    assert f"clio/contacts/{contact} says" in said.text
    assert synced.json("explain", found["record"])["record"] == found["record"]


def test_a_connection_is_checked_and_forgotten(synced: Connected) -> None:
    assert synced.run("connect", "check", "clio").text.startswith("✓ clio: signed in to ")
    assert synced.json("connect", "check", "clio")["name"] == "clio"
    table = synced.run("connect", "list").out
    assert re.search(r"^crm +salesforce +integration@sandbox\.example\.com +marketing +live +\d+$", table, re.MULTILINE)
    before = synced.writes("cards")
    gone = synced.run("connect", "remove", "cards", "--yes")
    assert gone.code == 0
    assert "cards is forgotten" in gone.text
    assert [each["name"] for each in synced.json("connect", "list")] == ["clio", "crm"]
    assert synced.writes("cards") == before, "nothing is deleted in any system"
    assert synced.add("cards").code == 0, "and it may come again"


def test_what_an_interrupted_check_left_behind_is_replaced(firm: Connected) -> None:
    app = firm.installation.app

    assert firm.add("clio").code == 0
    for minutes, code in ((1, 2), (3, 0)):
        with app.engine.begin() as sql:
            begun = iso(app.clock.now() - timedelta(minutes=minutes))
            sql.execute(delete(turns).where(turns.c.connection == "clio"))
            sql.execute(update(connections).values(mode="checking", account="checking:clio", created_at=begun))
        assert firm.add("clio").code == code
    assert firm.run("sync", "clio", "--once").code == 0


# --- exit codes ------------------------------------------------------------------------------------------------------

WRONG = (
    (("connect", "add", "x", "--connector", "clo"), "There is no connector named 'clo'. Did you mean 'clio'?"),
    (("connect", "add", "X!", "--connector", "memory"), "name is lower-case letters"),
    (("connect", "add", "x", "--connector", "memory", "-s", "fil=a"), "memory has no setting 'fil'"),
    (("connect", "add", "x", "--connector", "memory", "-s", "file"), "Expected NAME=VALUE"),
    (("connect", "add", "x", "--connector", "memory", "--zone", "moon"), "There is no zone 'moon'"),
    (("connect", "add", "x", "--connector", "carddav", "-s", "password=canary"), "password is a secret"),
    (("connect", "add", "x", "--connector", "carddav", "--secret-file", "password=/nowhere"), "cannot be read"),
    (("connect", "add", "x", "--connector", "carddav"), "carddav needs more settings"),
    (("connect", "add", "clio", "--connector", "memory"), "already a connection named 'clio'"),
    (("sync", "--pull-only"), "need --once"),
    (("conflicts", "list", "--state", "odd"), "A state is open, decided or settled"),
    (("conflicts", "settle", "x"), "Give either --take CONNECTION or --value TEXT"),
    (("review", "split", "clio"), "Give the record as CONNECTION/RESOURCE/ID"),
    (("sync", "--nonsense"), "No such option"),
    (("runs", "--limit", "0"), "Invalid value for '--limit'"),
)
NO_SUCH_THING = (
    (("connect", "check", "nobody"), "There is no connection named 'nobody'. There are: cards, clio, crm."),
    (("connect", "approve", "nobody"), "There is no connection named 'nobody'"),
    (("connect", "reconnect", "nobody"), "There is no connection named 'nobody'"),
    (("connect", "remove", "nobody", "--yes"), "There is no connection named 'nobody'"),
    (("sync", "nobody"), "Connected: cards/cards, clio/activities"),
    (("sync", "clio", "--resource", "nothing"), "Connected: cards/cards"),
    (("plan", "nobody"), "Connected: cards/cards"),
    (("aside", "list", "nobody"), "Connected: cards/cards"),
    (("explain", "clio/contacts/0"), "There is no record 'clio/contacts/0'"),
    (("explain", "nothing"), "Give a canonical id, or connection/resource/id"),
    (("review", "same", "nothing"), "There is no open review"),
    (("review", "different", "nothing"), "There is no open review"),
    (("review", "split", "clio/contacts/0"), "There is no record clio/contacts/0"),
    (("conflicts", "settle", "nothing", "--take", "clio"), "There is no conflict 'nothing'"),
)


def test_mistakes_have_a_code_a_reason_and_change_nothing(synced: Connected) -> None:
    before = {name: synced.writes(name) for name in SYSTEMS}
    for code, cases in ((2, WRONG), (3, NO_SUCH_THING)):
        for arguments, words in cases:
            said = synced.run(*arguments)
            assert said.code == code, (arguments, said)
            assert words in said.text, (arguments, said.text)
            assert said.out == "", arguments
            assert "canary" not in said.text
            assert "Traceback" not in said.err
    assert {name: synced.writes(name) for name in SYSTEMS} == before
    assert [each["name"] for each in synced.json("connect", "list")] == ["cards", "clio", "crm"]


def test_a_stopped_connection_needs_a_person_and_says_what_to_do(synced: Connected) -> None:
    synced.sandboxes["cards"].faults.add("*", answer(401), times=None)
    said = synced.run("sync", "cards", "--once")
    assert said.code == 1
    assert "✗ cards/cards: " in said.text
    assert "syncd connect reconnect cards" in said.text
    status = synced.run("status")
    assert status.code == 1
    assert "✗ cards stopped: " in status.text
    assert synced.run("connect", "check", "cards").code == 1
    synced.sandboxes["cards"].faults.clear()
    assert synced.run("connect", "check", "cards").code == 0
    assert "stopped" not in synced.run("status").text


@pytest.mark.slow
def test_a_resource_that_a_worker_holds_is_busy(synced: Connected) -> None:
    app = synced.installation.app
    with app.engine.begin() as sql:
        lease = take(sql, "cards", "cards", "another worker", app.clock)
    assert lease is not None
    with going_on(synced, lease):
        said = synced.run("sync", "cards", "--once")
    assert said.code == 4
    assert "A worker is busy with cards/cards" in said.text


@contextmanager
def going_on(firm: Connected, lease: Lease) -> Iterator[None]:
    """Another worker that extends its lease all the time."""
    end = threading.Event()

    def hold() -> None:
        while not end.wait(2):
            with firm.installation.app.engine.begin() as sql:
                lease.hold(sql)

    worker = threading.Thread(target=hold)
    worker.start()
    try:
        yield
    finally:
        end.set()
        worker.join()


# --- as a program ----------------------------------------------------------------------------------------------------


def syncd(home: Path, *arguments: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "syncd", *arguments],
        env={**plain_environment(), "SYNCD_HOME": str(home), **env},
        input=stdin, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_init_makes_a_home_once_and_keeps_the_key_to_itself(tmp_path: Path) -> None:
    home = tmp_path / "home"
    said = syncd(home, "init", "--name", "Smith & Partners")
    assert said.returncode == 0, said.stderr
    assert f"✓ {home / 'firm.yaml'} holds the settings." in said.stdout
    assert "Copy it to a safe place" in said.stdout
    assert "Next: syncd connect list --available" in said.stdout
    key = (home / "key").read_text().strip()
    assert key not in said.stdout + said.stderr
    assert (home / "key").stat().st_mode & 0o077 == 0
    assert home.stat().st_mode & 0o077 == 0
    again = syncd(home, "init")
    assert again.returncode == 2
    assert (home / "key").read_text().strip() == key
    status = syncd(home, "status")
    assert status.returncode == 0
    assert "Smith & Partners" in status.stdout
    assert "Nothing is connected yet." in status.stdout


def test_without_a_home_it_says_how_to_make_one(tmp_path: Path) -> None:
    said = syncd(tmp_path / "nothing", "status")
    assert said.returncode == 2
    assert "run `syncd init`" in said.stderr
    assert not (tmp_path / "nothing").exists()


@pytest.mark.slow
def test_no_secret_is_ever_shown_or_logged(firm: Connected) -> None:
    """Every command with the most talkative log, as real processes: settings, errors, status, JSON, all of it."""
    home = firm.installation.home
    talk = {**firm.installation.env, "SYNCD_LOG_LEVEL": "debug", "SYNCD_LOG": "json"}
    told: list[str] = []
    for name, connector in SYSTEMS.items():
        given = firm.given(name)
        hide = hidden(connector)
        line = [part for key, value in given.items() if key not in hide for part in ("-s", f"{key}={value}")]
        env = {f"SYNCD_SECRET_{key.upper()}": value for key, value in given.items() if key in hide}
        done = syncd(home, "connect", "add", name, "--connector", connector, *line, "--live", "--json", **talk, **env)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["name"] == name
        told.append(done.stdout + done.stderr)
    for arguments in (("sync", "--once"), ("status", "--json"), ("runs", "--json"), ("connect", "list", "--json")):
        done = syncd(home, *arguments, **talk)
        assert done.returncode in (0, 1), done.stderr
        told.append(done.stdout + done.stderr)
    firm.sandboxes["clio"].faults.add("*", "half_body", times=None)
    done = syncd(home, "sync", "clio", "--once", **talk)
    assert done.returncode == 1
    told.append(done.stdout + done.stderr)
    key = (home / "key").read_text().strip()
    for secret in (*firm.secrets(), key):
        assert len(secret) > 3
        if secret != "demo":  # also the user's name, which is no secret
            assert secret not in "\n".join(told)
    tokens = {row.get("access_token") for row in firm.sandboxes["clio"].tables.get("tokens", {}).values()}
    assert not any(token and token in "\n".join(told) for token in tokens)


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_mistake(synced: Connected) -> None:
    env = {**plain_environment(), **synced.installation.env}
    with subprocess.Popen(
        [sys.executable, "-m", "syncd", "runs", "--json"], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""


@pytest.mark.slow
def test_text_fits_eighty_columns_and_a_file_is_never_cut(synced: Connected) -> None:
    narrow = {**synced.installation.env, "COLUMNS": "80"}
    for arguments in (("status",), ("runs",), ("connect", "list")):
        done = syncd(synced.installation.home, *arguments, **narrow)
        table = [line for line in done.stdout.splitlines() if not line.startswith(("!", "✗"))]
        assert max(len(line) for line in table) <= 80, done.stdout
        assert "…" not in done.stdout, done.stdout

"""`syncd up` as a person meets it: what it says, where to look, how it stops, and when it refuses to start."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from syncd.app import open_app
from syncd.config import load_settings, write_firm_template
from syncd.demo.systems import SYSTEMS as CONNECTORS
from syncd.vault import new_key
from tests.system.demo_firm import STOP_S, DemoFirm, identities, plain_environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def firm() -> Iterator[DemoFirm]:
    with DemoFirm(size=16) as made:
        yield made


def syncd(home: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "syncd", *arguments],
        env={**plain_environment(), "SYNCD_HOME": str(home), **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def processes_of(home: Path) -> list[str]:
    found = []
    for each in psutil.process_iter():
        try:
            if each.status() != psutil.STATUS_ZOMBIE and each.environ().get("SYNCD_HOME") == str(home):
                found.append(" ".join(each.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home as `syncd init` makes it, on any free web port."""
    made = tmp_path / "home"
    write_firm_template(made, "Test & Partners")
    (made / "firm.yaml").write_text("name: Test & Partners\nlisten: 127.0.0.1:0\nworkers: 1\n")
    open_app(load_settings(made, {})).close()
    return made


def test_it_says_what_it_does_and_a_second_start_goes_on(firm: DemoFirm) -> None:
    running = firm.up_and_syncing()
    story = firm.story(running)
    story.rounds("first sync")
    said = firm.log()
    assert f"The demo firm is in {firm.home}: 16 people in Clio, Salesforce and an address book." in said
    for name, connector in CONNECTORS.items():
        assert f"Connected {name} ({connector})." in said
    assert re.search(r"^syncd is running\. Status: http://127\.0\.0\.1:\d+/ Stop it with Ctrl-C\.$", said, re.MULTILINE)
    assert f"In another terminal: syncd status --home {firm.home}" in said
    page = httpx.get(firm.page)
    assert page.status_code == 200
    assert "Demo &amp; Partners" in page.text
    firm.wait(lambda: httpx.get(f"{firm.page}healthz").status_code == 200, "health", 30)

    assert firm.stop(running, signal.SIGINT) < STOP_S
    assert firm.log().rstrip().endswith("Stopped.")
    assert "Traceback" not in firm.log()
    assert not (firm.home / "valkey" / "valkey.sock").exists()

    again = firm.up_and_syncing()
    known = {name: identities(firm.app, name) for name in CONNECTORS}
    wrote = firm.writes()
    assert [firm.story(again).round() for _ in range(2)] == [0, 0]
    assert firm.writes() == wrote == 0, "the systems' logs are new, and nothing was written"
    assert {name: identities(firm.app, name) for name in CONNECTORS} == known
    firm.stop(again)


def test_a_second_start_on_the_same_home_is_refused_and_disturbs_nothing(firm: DemoFirm) -> None:
    running = firm.up_and_syncing()
    before = (firm.home / "demo.json").read_bytes()
    second = syncd(firm.home, "up", "--demo")
    assert second.returncode == 1
    assert f"syncd already runs for {firm.home} (process {running.pid})." in second.stdout
    assert "choose another home with SYNCD_HOME" in second.stdout
    assert (firm.home / "demo.json").read_bytes() == before
    assert running.poll() is None
    firm.story(running).round()
    firm.stop(running)


def test_a_taken_web_address_is_named_and_nothing_stays(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        (home / "firm.yaml").write_text(f"name: Test & Partners\nlisten: {address}\n")
        refused = syncd(home, "up")
    assert refused.returncode == 1
    assert f"Another program already uses the web address {address}." in refused.stdout
    assert "SYNCD_LISTEN" in refused.stdout
    assert processes_of(home) == []


def test_what_a_killed_queue_server_left_is_no_hindrance(firm: DemoFirm) -> None:
    folder = firm.home / "valkey"
    folder.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(folder / "valkey.sock"))  # a socket that nobody listens at
    (folder / "valkey.pid").write_text("1\n")
    running = firm.up_and_syncing()
    firm.wait(lambda: httpx.get(f"{firm.page}healthz").status_code == 200, "health", 30)
    firm.stop(running)


def test_a_wrong_setting_is_told_with_its_line_and_nothing_starts(home: Path) -> None:
    (home / "firm.yaml").write_text("name: Test & Partners\nregion: US\nworker: 3\npoll_s: soon\n")
    for arguments in (("up",), ("up", "--demo"), ("web",)):
        refused = syncd(home, *arguments)
        assert refused.returncode == 2, arguments
        assert f"{home / 'firm.yaml'}:3: " in refused.stderr
        assert "workers" in refused.stderr, "the nearest right name"
        assert f"{home / 'firm.yaml'}:4: " in refused.stderr
        assert "Traceback" not in refused.stderr
    assert processes_of(home) == []
    assert not (home / "valkey").exists()


def test_a_wrong_key_is_refused_by_every_role(home: Path) -> None:
    for arguments in (("up",), ("worker",), ("sweeper",)):
        refused = syncd(home, *arguments, SYNCD_KEY=new_key())
        assert refused.returncode == 2, arguments
        assert "The key does not belong to this database" in refused.stderr
        assert "Traceback" not in refused.stderr
    assert processes_of(home) == []


def test_a_wrong_mapping_is_told_with_its_line_and_nothing_starts(firm: DemoFirm) -> None:
    running = firm.up_and_syncing()
    firm.stop(running)
    (firm.home / "mappings").mkdir()
    (firm.home / "mappings" / "crm.yaml").write_text("connector: salesforce\nrecords:\n  - nonsense\n")
    refused = syncd(firm.home, "up", "--demo")
    assert refused.returncode == 2
    assert "A mapping is wrong; nothing was started." in refused.stderr
    assert "crm.yaml:" in refused.stderr
    assert firm.processes() == []


def test_a_database_that_is_away_is_named_without_its_password(home: Path) -> None:
    url = "postgresql://syncd:canary-password@127.0.0.1:1/syncd"
    for arguments in (("up",), ("status",)):
        refused = syncd(home, *arguments, SYNCD_DATABASE_URL=url)
        assert refused.returncode == 1, arguments
        assert "127.0.0.1:1/syncd cannot be used" in refused.stderr
        assert "canary-password" not in refused.stdout + refused.stderr
        assert "Traceback" not in refused.stderr


def test_without_any_connection_it_runs_and_says_how_to_connect_one(home: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "syncd", "up"],
        env={**plain_environment(), "SYNCD_HOME": str(home), "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    ) as running:  # fmt: skip
        assert running.stdout is not None
        lines: list[str] = []
        for line in running.stdout:
            lines.append(line)
            if "syncd is running." in line:
                running.send_signal(signal.SIGTERM)
        assert running.wait(STOP_S) == 0
    assert "Nothing is connected yet. See: syncd connect list --available\n" in lines
    assert lines[-1] == "Stopped.\n"
    assert processes_of(home) == []

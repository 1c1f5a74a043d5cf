"""`syncd demo --once`: the whole story as one command, for people and for scripts."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import psutil
import pytest

from syncd.starting import dies_with_parent
from tests.system.demo_firm import plain_environment, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

SYSTEMS = {"clio", "crm", "cards"}


def demo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command with a temporary folder of its own, marked so that its processes can be found."""
    return subprocess.run(
        [sys.executable, "-m", "syncd", "demo", "--once", *arguments],
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )


def environment(folder: Path) -> dict[str, str]:
    return {**plain_environment(), "TMPDIR": str(folder), "DEMO_TEST": str(folder)}


def left_running(folder: Path) -> list[str]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("DEMO_TEST") == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def test_the_story_ends_equal_and_tells_it_in_one_json_value(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    done = demo(folder, "--json", "--size", "24")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)

    assert report.keys() == {
        "systems", "rounds_until_quiet", "echo_writes", "equal", "headline", "conflicts", "seconds"
    }  # fmt: skip
    assert report["systems"].keys() == SYSTEMS
    for numbers in report["systems"].values():
        assert numbers.keys() == {"records", "requests", "writes"}
        assert all(isinstance(number, int) and number > 0 for number in numbers.values())
    assert report["echo_writes"] == 0
    assert report["equal"] is True
    assert report["conflicts"] >= 1
    assert 1 <= report["rounds_until_quiet"] <= 2
    assert report["headline"].keys() == {"invoice_total", "opportunity_before", "opportunity_after", "seconds"}
    before, after = (Decimal(report["headline"][name]) for name in ("opportunity_before", "opportunity_after"))
    assert after - before == Decimal(report["headline"]["invoice_total"]) > 0
    assert report["seconds"].keys() == {"start", "first_sync", "edits", "headline", "echo", "compare"}

    assert left_running(folder) == []
    assert list(folder.iterdir()) == []


def test_people_read_the_same_story_in_words(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    done = demo(folder, "--size", "16", "--seed", "7")
    assert done.returncode == 0, done.stderr
    assert "✓ equal" in done.stdout
    assert "0 echo writes" in done.stdout
    assert "first sync ..." in done.stderr
    assert left_running(folder) == []


def test_a_firm_too_small_for_the_story_is_refused_in_words_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    done = demo(folder, "--json", "--size", "3")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "too small for its story" in done.stderr
    assert "Traceback" not in done.stderr
    assert left_running(folder) == []
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_in_the_middle_leaves_nothing(tmp_path: Path, signum: signal.Signals) -> None:
    folder = tmp_path / "t"
    folder.mkdir()
    with (tmp_path / "said").open("wb") as said:
        running = subprocess.Popen(
            [sys.executable, "-m", "syncd", "demo", "--once", "--size", "24"],
            env=environment(folder), stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True,
            preexec_fn=dies_with_parent(signal.SIGKILL),
        )  # fmt: skip
        wait_until(lambda: "first sync ..." in (tmp_path / "said").read_text(), "the first sync")
        running.send_signal(signum)
        assert running.wait(40) not in (0, None)
    assert "Traceback" not in (tmp_path / "said").read_text()
    assert left_running(folder) == []
    assert list(folder.iterdir()) == []

"""The benchmark itself: a small run measures everything, and does the work right. How long it takes is not asked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.server import PAGE, Firm, contact

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("postgres")  # skips where there is none to be had
def test_a_quick_run_does_the_work_right() -> None:
    """It exits with 1 when a record is missing, changed without cause, or a write took more requests than needed."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.run", "--quick", "--json"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads(done.stdout)
    for database in ("postgresql", "sqlite"):
        found = report[database]
        assert found["requests"] == {"full": 10, "again": 10, "idle": 1, "some": 1}
        assert found["changed"] == 20
        assert len(found["costs"]) == 5
    assert report["mapping"]["get_to_hand"] > 0
    assert all(cost > 0 for cost in report["mapping"]["microseconds"].values())
    calls = report["calls"]
    assert calls["create"] == calls["update"] == calls["least"] == -(-calls["people"] // 200)


def test_the_server_gives_the_same_contacts_every_time() -> None:
    assert [contact(number) for number in range(50)] == [contact(number) for number in range(50)]


def test_an_edit_always_changes_the_same_contacts() -> None:
    firm = Firm(2 * PAGE)
    before = list(firm.pages)
    assert firm.edit(1) == 4
    assert [old == new for old, new in zip(before, firm.pages, strict=True)] == [False, False]
    ids = [each["id"] for each in json.loads(b"[" + firm.changed[0] + b"]")]
    firm.edit(1)
    assert [each["id"] for each in json.loads(b"[" + firm.changed[0] + b"]")] == ids

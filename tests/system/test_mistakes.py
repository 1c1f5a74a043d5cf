"""What must not happen, and how it shows when it does: several unanswered writes at once, and a mistake of our own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from syncd import connections, runs
from syncd.seams import Crash, armed
from syncd.status import status
from tests.engine.office import Office

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PEOPLE = ("Alice", "Bram", "Carmen")


@pytest.fixture
def office(database_url: str, tmp_path: Path) -> Iterator[Office]:
    made = Office(database_url, tmp_path, authority=("a", "b"))
    made.vendor("a")
    made.vendor("b")
    yield made
    made.close()


def person(given: str) -> dict[str, Any]:
    mail = f"{given.lower()}@example.com"
    return {
        "given_name": given, "family_name": "Doe", "email": mail, "emails": [{"value": mail, "label": "work"}]
    }  # fmt: skip


def test_a_whole_batch_without_an_answer_is_looked_up_and_settled(office: Office) -> None:
    for given in PEOPLE:
        office.new("a", person(given), id=given)
    office.settle()
    for given in PEOPLE:
        office.edit("a", given, {"title": "Partner"})

    def dies(seam: str) -> None:
        if seam == "write_answered":
            raise Crash(seam)

    with armed(dies), pytest.raises(Crash):
        office.settle()
    assert [row["state"] for row in office.owed()] == ["sending"] * len(PEOPLE)
    wrote = office.writes()
    office.restart()
    office.settle()
    assert {body["title"] for body in office.held("b").values()} == {"Partner"}
    assert office.writes() == wrote, "what had arrived was sent again"
    assert office.owed() == []


def test_a_mistake_of_ours_is_told_stops_one_connection_and_lets_the_others_work(office: Office) -> None:
    broken = office.vendor("c")
    office.new("a", person("Alice"))
    office.settle()
    for _ in range(2):
        broken.fail_next_write("before", ZeroDivisionError("Bram's secret"))  # type: ignore[arg-type]

    office.new("b", person("Bram"))
    office.tick(120)
    fails(office)
    assert modes(office) == {"a": "live", "b": "live", "c": "live"}
    (told,) = [run["problem"] for run in runs.latest(office.app, 100) if run["problem"]]
    assert "mistake in syncd itself (ZeroDivisionError)" in told

    office.tick(60)  # the lease has run out
    fails(office)
    assert modes(office) == {"a": "live", "b": "live", "c": "stopped"}
    (stopped,) = [each for each in status(office.app)["connections"] if each["name"] == "c"]
    assert "ZeroDivisionError" in stopped["problem"]
    assert "syncd connect check c" in stopped["remedy"]
    assert "secret" not in str(stopped)

    office.tick(60)
    office.work()
    assert {body["given_name"] for body in office.held("a").values()} == {"Alice", "Bram"}
    connections.check(office.app, "c")
    office.settle()
    assert {body["given_name"] for body in office.held("c").values()} == {"Alice", "Bram"}
    assert len(office.held("c")) == 2


def fails(office: Office) -> None:
    with pytest.raises(ZeroDivisionError):
        office.work()


def modes(office: Office) -> dict[str, str]:
    return {each["name"]: each["mode"] for each in status(office.app)["connections"]}

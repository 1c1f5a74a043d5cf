"""The scenario files, each told in every way: straight, again, stopped at each seam, and with no write answered.

A file says who does what in which system, and how everything must stand at the end. One act is one group of edits
that the service has not seen yet when it comes to look.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from syncd import stewards
from syncd.seams import Crash
from tests.engine.office import Office
from tests.engine.stories import carry_over, check_ledger, tell_every_way

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FILES = sorted(Path(__file__).parent.glob("*.yaml"))
STRIDE = {"sqlite": 2, "postgresql": 9}


class Scenario:
    """One file. People and things have names of their own in it; every system calls them by its own ids."""

    def __init__(self, path: Path) -> None:
        self.told: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))

    @property
    def acts(self) -> list[Any]:
        return [self._act(steps) for steps in self.told["acts"]]

    def _act(self, steps: list[dict[str, Any]]) -> Any:
        def act(office: Office) -> None:
            for step in steps:
                self._step(office, step)

        return act

    def _step(self, office: Office, step: dict[str, Any]) -> None:
        resource = step.get("in", "people")
        system = step.get("system", "")
        if "new" in step:
            office.new(system, step["with"], resource, step["new"])
        elif "edit" in step:
            where = self._id(office, system, resource, step["edit"])
            office.edit(system, where, step["to"], resource, after_s=step.get("after_s", 10))
        elif "delete" in step:
            office.delete(system, self._id(office, system, resource, step["delete"]), resource)
        elif "wait_s" in step:
            office.tick(step["wait_s"])
        elif "split" in step:
            stewards.split(office.app, system, resource, self._id(office, system, resource, step["split"]), by="test")
        elif "settle" in step:
            (conflict,) = stewards.list_conflicts(office.app)
            assert conflict["field"] == step["settle"]
            stewards.settle_conflict(office.app, conflict["id"], take=step["take"], by="test")
        elif "rule" in step:
            (review,) = stewards.open_reviews(office.app)
            stewards.rule_pair(office.app, review["id"], same=step["rule"] == "same", by="test")
        else:
            raise AssertionError(f"nobody knows how to do {step}")

    @staticmethod
    def _id(office: Office, system: str, resource: str, named: dict[str, Any]) -> str:
        """The one record of this system that shows these values."""
        (found,) = [id for id, body in office.held(system, resource).items() if shows(body, named)]
        return found

    def check(self, office: Office) -> None:
        for place, rows in self.told["ends"].items():
            system, _, resource = place.partition("/")
            held = list(office.held(system, resource).values())
            assert len(held) == len(rows), f"{place} holds {held}"
            for row in rows:
                assert any(shows(body, row) for body in held), f"{place}: nobody shows {row} in {held}"
        open_conflicts = [conflict["field"] for conflict in stewards.list_conflicts(office.app)]
        assert open_conflicts == self.told.get("conflicts", [])
        assert len(stewards.open_reviews(office.app)) == self.told.get("reviews", 0)


def shows(body: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether a record shows the values; e-mails and phones by their addresses and numbers, in any order."""
    for name, value in wanted.items():
        held = body.get(name)
        if name in ("emails", "phones"):
            if sorted(item["value"] for item in held or []) != sorted(value):
                return False
        elif (held or None) != value:
            return False
    return True


@pytest.fixture
def office(database_url: str, tmp_path: Path) -> Iterator[Office]:
    """Three systems: one that offers everything, one without guards, one that writes one by one."""
    made = Office(database_url, tmp_path, authority=("practice", "crm", "cards"))
    made.vendor("practice")
    made.vendor("crm", write_guard="none")
    made.vendor("cards", batch_max=1)
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_scenario(office: Office, path: Path) -> None:
    scenario = Scenario(path)
    office.only(*scenario.told.get("resources", ["people"]))
    stride = STRIDE[office.url.partition(":")[0].partition("+")[0]]
    if scenario.told.get("compare") == "end":
        tell_to_the_end(office, scenario, stride)
    else:
        tell_every_way(office, scenario.acts, every=stride)
    scenario.check(office)


def tell_to_the_end(office: Office, scenario: Scenario, every: int) -> None:
    """For stories in which what is seen first decides what is written on the way: only the end must be the same."""
    before = office.snapshot()
    visited: list[str] = []
    for act in scenario.acts:
        act(office)
        carry_over(office, visited.append)
    scenario.check(office)
    check_ledger(office)
    for stop in range(0, len(visited), every):
        office.restore(before)
        crash = _once(stop)
        for act in scenario.acts:
            act(office)
            carry_over(office, crash)
        scenario.check(office)
        check_ledger(office)


def _once(stop: int) -> Callable[[str], None]:
    passed = itertools.count()

    def visit(name: str) -> None:
        if next(passed) == stop:
            raise Crash(name)

    return visit


def test_there_are_scenarios() -> None:
    assert len(FILES) >= 7

"""kill -9 of any process at any moment: the work goes on by itself, ends equal, and nobody is made twice."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.system.demo_firm import DemoFirm

if TYPE_CHECKING:
    import subprocess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

GOES_ON_S = 60.0
ANSWER_S = 0.15  # how long every answer of a system takes, so that a kill meets work under way


@pytest.fixture
def firm() -> Iterator[DemoFirm]:
    with DemoFirm() as made:
        yield made


def kill(*processes: psutil.Process) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def kill_a_worker(firm: DemoFirm) -> None:
    worker, _ = firm.at_work()
    kill(worker)


def kill_a_fork(firm: DemoFirm) -> None:
    _, fork = firm.at_work()
    kill(fork)


def kill_a_worker_and_its_fork(firm: DemoFirm) -> None:
    worker, fork = firm.at_work()
    os.kill(worker.pid, signal.SIGSTOP)  # so that it cannot notice that its fork is gone
    kill(fork, worker)


def kill_all_workers_and_forks(firm: DemoFirm) -> None:
    firm.at_work()
    both = firm.role("worker")
    for worker in both:
        os.kill(worker.pid, signal.SIGSTOP)
    kill(*(fork for worker in both for fork in worker.children()), *both)


def kill_the_sweeper(firm: DemoFirm) -> None:
    kill(*firm.role("sweeper"))


def kill_the_queue(firm: DemoFirm) -> None:
    firm.at_work()
    kill(*firm.role("queue"))


VICTIMS = (
    kill_a_worker,
    kill_a_fork,
    kill_a_worker_and_its_fork,
    kill_all_workers_and_forks,
    kill_the_sweeper,
    kill_the_queue,
)


@pytest.mark.parametrize("strike", VICTIMS, ids=lambda each: each.__name__)
def test_the_work_goes_on_and_nobody_is_made_twice(firm: DemoFirm, strike: Callable[[DemoFirm], None]) -> None:
    running = firm.up_and_syncing()
    story = firm.story(running)
    firm.slow(ANSWER_S)
    firm.wait(lambda: firm.writes() >= 4, "the first sync to be in the middle of its writes")
    strike_and_see(firm, strike)
    firm.slow(0)
    story.rounds("first sync")

    story.edits()
    firm.slow(ANSWER_S)
    begun = firm.writes()
    firm.wait(lambda: firm.writes() > begun, "edits to be carried over")
    strike_and_see(firm, strike)
    firm.slow(0)
    story.rule_reviews()
    story.settle_conflict()
    story.rounds("edits")

    before = firm.writes()
    assert story.round() == 0
    assert firm.writes() == before
    firm.assert_equal()
    firm.assert_nothing_twice()
    firm.stop(running)


def strike_and_see(firm: DemoFirm, strike: Callable[[DemoFirm], None]) -> None:
    """Kill, and see that whatever was being worked on is taken up again, and that the roles are all there again."""
    roles = {name: len(firm.role(name)) for name in ("worker", "sweeper", "web", "queue")}
    strike(firm)
    held = firm.leases()

    def goes_on() -> bool:
        now = firm.leases()
        return all(now.get(place) != fence for place, fence in held.items())

    firm.wait(goes_on, "the interrupted work to go on", GOES_ON_S)
    firm.wait(
        lambda: {name: len(firm.role(name)) for name in roles} == roles, "every process to be there again", GOES_ON_S
    )


@pytest.mark.parametrize("during", ["first sync", "edits"])
def test_a_killed_supervisor_takes_all_with_it_and_the_next_start_goes_on(firm: DemoFirm, during: str) -> None:
    first = firm.up_and_syncing()
    if during == "first sync":
        firm.slow(ANSWER_S)
        firm.wait(lambda: firm.writes() >= 4, "the first sync to be in the middle of its writes")
    else:
        story = firm.story(first)
        story.rounds("first sync")
        story.edits()
        firm.slow(ANSWER_S)
        begun = firm.writes()
        firm.wait(lambda: firm.writes() > begun, "edits to be carried over")
    first.kill()
    first.wait()
    firm.wait(lambda: firm.processes() == [], "its children to end", 20)

    second = firm.up_and_syncing()
    story = firm.story(second)
    story.rounds("first sync")
    if during == "first sync":
        story.edits()
    story.rule_reviews()
    story.settle_conflict()
    story.rounds("edits")
    assert story.round() == 0
    firm.assert_equal()
    firm.assert_nothing_twice()
    firm.stop(second)


def test_a_start_that_is_killed_while_it_connects_is_made_good_by_the_next(firm: DemoFirm) -> None:
    first: subprocess.Popen[bytes] = firm.up()
    firm.wait(lambda: firm.said("Connected clio"), "the first system to be connected")
    first.kill()
    first.wait()
    firm.wait(lambda: firm.processes() == [], "its children to end", 20)
    second = firm.up_and_syncing()
    story = firm.story(second)
    story.rounds("first sync")
    story.rule_reviews()
    story.rounds("rulings")
    firm.assert_equal()
    firm.assert_nothing_twice()
    firm.stop(second)

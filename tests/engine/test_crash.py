"""A worker may die at any instant: the story ends in the same state as if it had not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from syncd.seams import NAMES
from tests.engine.office import Office
from tests.engine.stories import tell_every_way

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

LONG = os.environ.get("SYNCD_TEST_LONG") == "1"
ISSUED = {"number": "1", "matter": "m", "status": "issued", "total": "750.00", "currency": "USD"}


def person(given: str, family: str, **more: Any) -> dict[str, Any]:
    mail = f"{given.lower()}@example.com"
    return {
        "given_name": given,
        "family_name": family,
        "email": mail,
        "emails": [{"value": mail, "label": "work"}],
        **more,
    }


def a_company_and_its_people_arrive(office: Office) -> None:
    office.new("a", {"name": "Acme LLC", "website": "https://acme.example.org"}, resource="companies", id="acme")
    office.new("a", person("Jane", "Doe", company="acme"), id="jane")
    office.new("b", person("Ravi", "Patel", title="Counsel"), id="ravi")


def both_sides_change_something(office: Office) -> None:
    (b_id,) = [id for id, body in office.held("b").items() if body["given_name"] == "Jane"]
    office.edit("b", b_id, {"title": "Partner"})
    mails = [{"value": "jane@example.com", "label": "work"}, {"value": "j.doe@example.org", "label": "home"}]
    office.edit("a", "jane", {"prefix": "Dr.", "emails": mails})


def an_answer_is_lost(office: Office) -> None:
    office.edit("a", "jane", {"title": "Of counsel"})
    office.vendors["b"].fail_next_write("after")


def an_invoice_is_issued(office: Office) -> None:
    office.new("a", {"number": "00012", "name": "Doe v. Roe", "status": "open"}, resource="matters", id="m")
    office.new("b", {"name": "Doe", "stage": "Won", "matter_number": "00012"}, resource="opportunities", id="o")
    office.new("a", ISSUED, resource="invoices", id="i")


def somebody_is_deleted(office: Office) -> None:
    (b_id,) = [id for id, body in office.held("b").items() if body["given_name"] == "Jane"]
    office.delete("b", b_id)
    office.tick(3700)  # the listing that shows it is compared once an hour


PEOPLE = (a_company_and_its_people_arrive, both_sides_change_something, an_answer_is_lost, somebody_is_deleted)
BILLS = (an_invoice_is_issued,)


@pytest.fixture
def two(database_url: str, tmp_path: Path) -> Iterator[Office]:
    """One system that offers everything, and one that offers little."""
    made = Office(database_url, tmp_path, authority=("a", "b"))
    made.vendor("a")
    made.vendor(
        "b", has=("fetch", "ids", "create", "update", "find"), write_guard="none", repeat_guard="none",
        deletions="listing", batch_max=1,
    )  # fmt: skip
    yield made
    made.close()


def test_a_crash_at_any_seam_changes_nothing_in_the_end(two: Office) -> None:
    two.only("people", "companies")
    passed = tell_every_way(two, PEOPLE, every=stride(two))
    assert set(passed) == set(NAMES), "every seam is on the way of this story"


def test_a_crash_at_any_seam_changes_no_total(two: Office) -> None:
    two.only("matters", "invoices", "opportunities")
    tell_every_way(two, BILLS, every=stride(two))
    assert two.one("b", "opportunities")["billed_total"] == "750"


def stride(office: Office) -> int:
    """Every seam on SQLite; on PostgreSQL a sample, since the decisions are the same."""
    return 1 if LONG or office.url.startswith("sqlite") else 7

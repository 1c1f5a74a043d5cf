"""Narrow places of the road: moments, gaps and capabilities that vendors lack. Each of these once lost or doubled something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest
from sqlalchemy import select

from connectors.errors import Refused, ShapeChanged, UnknownOutcome
from syncd import connections, once, stewards
from syncd.core.claims import decode
from syncd.reconcile import Arrival, Reconciler
from syncd.seams import armed
from syncd.store.database import reading
from syncd.store.tables import conflicts, intents, links, pins, records, reviews, turns
from syncd.turns import LostLease, take

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engine.office import Office

ALL = ("fetch", "ids", "create", "update", "delete", "find", "send")
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def person(given: str = "Jane", family: str = "Doe", **more: Any) -> dict[str, Any]:
    mail = f"{given.lower()}@example.com"
    return {
        "given_name": given, "family_name": family, "title": None, "email": mail,
        "emails": [{"value": mail, "label": "work"}], **more,
    }  # fmt: skip


def company(name: str = "Acme LLC") -> dict[str, Any]:
    return {"name": name, "website": f"https://{name.split()[0].lower()}.example.org"}


def without(*missing: str) -> tuple[str, ...]:
    return tuple(name for name in ALL if name not in missing)


def at(office: Office, seam: str, do: Callable[[], None]) -> Callable[[str], None]:
    """Do something the first time that the engine passes this seam."""
    done = False

    def visit(name: str) -> None:
        nonlocal done
        if name == seam and not done:
            done = True
            do()

    return visit


def rows(office: Office, table: Any) -> list[dict[str, Any]]:
    with reading(office.app.engine) as sql:
        return [dict(row) for row in sql.execute(select(table)).mappings()]


def settled_pair(office: Office, **facts: Any) -> str:
    """Jane in a and, made by us, in b; returns her id in b."""
    office.vendor("a")
    office.vendor("b", **facts)
    office.only("people", "companies")
    office.new("a", person(), id="j")
    office.settle()
    return next(iter(office.held("b")))


# --- reading ----------------------------------------------------------------------------------------------------------


def test_a_record_that_changes_while_a_listing_goes_on_is_taken_as_it_came_last(office: Office) -> None:
    vendor = office.vendor("a")
    office.new("a", person(title="Counsel"), id="j")
    (before,) = vendor.connector().fetch("people", ["j"])  # type: ignore[attr-defined]
    office.edit("a", "j", {"title": "Partner"})
    (after,) = vendor.connector().fetch("people", ["j"])  # type: ignore[attr-defined]
    with office.app.engine.begin() as sql:
        lease = take(sql, "a", "people", office.app.owner, office.clock)
    reconciler = Reconciler(office.app, office.app.world(), "a", "people", lease)
    counts = reconciler.commit(reconciler.prepare([Arrival(before), Arrival(after)]))
    assert office.golden()["title"] == "Partner"
    assert (counts.pulled, counts.changed, counts.unchanged) == (2, 1, 1)


def test_a_worker_that_lost_its_lease_commits_nothing(office: Office) -> None:
    vendor = office.vendor("a")
    office.new("a", person(), id="j")
    with office.app.engine.begin() as sql:
        late = take(sql, "a", "people", "the late one", office.clock)
    reconciler = Reconciler(office.app, office.app.world(), "a", "people", late)
    prepared = reconciler.prepare([Arrival(each) for each in vendor.connector().fetch("people", ["j"])])  # type: ignore[attr-defined]
    office.tick(31)
    office.edit("a", "j", {"title": "Partner"})
    office.full_turn("a")
    before = {table.name: rows(office, table) for table in (links, records, intents, turns)}
    with pytest.raises(LostLease):
        reconciler.commit(prepared)
    assert {table.name: rows(office, table) for table in (links, records, intents, turns)} == before
    assert office.golden()["title"] == "Partner"


def test_a_deletion_behind_an_expired_cursor_is_found(office: Office) -> None:
    b_id = settled_pair(office)
    office.new("a", person("Ravi", "Patel"), id="r")
    office.settle()
    office.delete("b", b_id)
    office.vendors["b"].expire_cursors()
    office.round()
    office.round()
    assert not office.link("b", b_id)["alive"]


def test_without_listing_and_feed_deletions_are_found_by_asking_for_every_record(office: Office) -> None:
    office.vendor("a", deletions="listing", has=without("ids"))
    office.new("a", person(), id="j")
    office.new("a", person("Ravi", "Patel"), id="k")
    office.settle()
    office.delete("a", "j")
    office.tick(3700)
    office.round()
    assert not office.link("a", "j")["alive"]
    assert office.link("a", "k")["alive"]


def test_an_empty_listing_deletes_nothing_until_a_person_says_so(office: Office) -> None:
    office.vendor("a", deletions="listing")
    office.new("a", person(), id="j")
    office.settle()
    office.delete("a", "j")
    office.tick(3700)
    office.round()
    assert office.link("a", "j")["alive"]
    once.sync_once(office.app, "a", "people", accept_deletions=True)
    assert not office.link("a", "j")["alive"]


def test_a_list_that_lags_behind_our_write_does_not_hide_a_later_edit(office: Office) -> None:
    office.vendor("a")
    vendor = office.vendor("b")
    office.new("a", person(), id="j")
    office.settle()
    (b_id,) = office.held("b")
    (stale,) = vendor.connector().fetch("people", [b_id])  # type: ignore[attr-defined]
    office.edit("a", "j", {"title": "Partner"})
    office.pull("a")
    office.deliver("b")
    with office.app.engine.begin() as sql:
        lease = take(sql, "b", "people", office.app.owner, office.clock)
    reconciler = Reconciler(office.app, office.app.world(), "b", "people", lease)
    asked_at = "2026-11-02T09:00:00.000000Z"  # before our write, as with a vendor whose lists lag
    reconciler.commit(reconciler.prepare([Arrival(stale)], asked_at=asked_at))
    assert office.golden()["title"] == "Partner"
    office.edit("b", b_id, {"title": "Counsel"})
    (fresh,) = vendor.connector().fetch("people", [b_id])  # type: ignore[attr-defined]
    reconciler.commit(reconciler.prepare([Arrival(fresh)], asked_at=asked_at))
    assert office.golden()["title"] == "Counsel"


# --- what is owed -----------------------------------------------------------------------------------------------------


def test_what_is_noted_while_an_intent_is_closed_is_not_forgotten(office: Office) -> None:
    b_id = settled_pair(office)
    for title in ("Counsel", None):  # an edit and its withdrawal: something is owed, and nothing is to be written
        office.edit("a", "j", {"title": title})
        office.pull("a")

    def meanwhile() -> None:
        office.edit("a", "j", {"title": "Partner"})
        office.pull("a")

    with armed(at(office, "write_planned", meanwhile)):
        office.deliver("b")
    office.deliver("b")
    assert office.held("b")[b_id]["title"] == "Partner"


def test_a_refused_write_is_tried_again_when_its_reason_went_away_meanwhile(office: Office) -> None:
    b_id = settled_pair(office)
    office.edit("a", "j", {"title": "Not allowed"})
    office.pull("a")
    office.vendors["b"].fail_next_write("before", Refused("No such title."))

    def meanwhile() -> None:
        office.edit("a", "j", {"title": "Partner"})
        office.pull("a")

    with armed(at(office, "write_answered", meanwhile)):
        office.deliver("b")
    office.deliver("b")
    assert office.held("b")[b_id]["title"] == "Partner"


def test_a_person_does_not_wait_for_a_company_that_people_deleted_there(office: Office) -> None:
    settled_pair(office)
    office.new("a", company(), resource="companies", id="acme")
    office.settle()
    (b_company,) = office.held("b", "companies")
    office.delete("b", b_company, resource="companies")
    office.settle()
    office.new("a", person("Ravi", "Patel", company="acme"), id="r")
    office.settle()
    assert {body["given_name"] for body in office.held("b").values()} == {"Jane", "Ravi"}


def test_who_waits_for_a_company_learns_that_it_is_gone(office: Office) -> None:
    settled_pair(office)
    office.new("a", company(), resource="companies", id="acme")
    office.new("a", person("Ravi", "Patel", company="acme"), id="r")
    office.vendors["b"].fail_next_write("before", Refused("No companies today."))
    office.settle()
    assert len(office.held("b")) == 1
    office.delete("a", "acme", resource="companies")
    office.settle()
    assert {body["given_name"] for body in office.held("b").values()} == {"Jane", "Ravi"}


def test_a_mailbox_that_somebody_enters_again_comes_back_though_it_was_removed_elsewhere(office: Office) -> None:
    """The set was read empty before, so its first element is an edit, and not what we happened to find."""
    office.vendor("a")
    office.new("a", person(emails=[]), id="j")
    office.settle()
    office.edit("a", "j", {"emails": [{"value": "jd@example.org", "label": "home"}]})
    office.settle()
    office.edit("a", "j", {"emails": []})
    office.settle()
    office.vendor("b")
    office.settle()
    (b_id,) = office.held("b")
    office.edit("b", b_id, {"emails": [{"value": "jd@example.org", "label": "home"}]})
    office.settle()
    for name in "ab":
        assert [each["value"] for each in office.one(name)["emails"]] == ["jd@example.org"]


# --- unanswered writes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("finds", [True, False])
def test_a_lost_create_that_people_changed_meanwhile_is_not_made_again(office: Office, finds: bool) -> None:
    office.vendor("a")
    office.vendor("b", repeat_guard="none", has=ALL if finds else without("find"))
    office.only("people")
    office.round()
    office.new("a", person(), id="j")
    office.pull("a")
    office.vendors["b"].fail_next_write("after")
    office.deliver("b")
    (b_id,) = office.held("b")
    office.edit("b", b_id, {"title": "Partner"})
    office.settle()
    assert list(office.held("b")) == [b_id]
    assert office.one("a")["title"] == "Partner"
    assert len(office.goldens()) == 1


def test_a_lost_create_is_recognised_before_it_is_met_as_somebody_elses(office: Office) -> None:
    """Also where nothing but the key tells: a company of which the vendor changes the name and keeps nothing else."""
    office.vendor("a")
    office.vendor("b", renditions={"name": "cut"})
    office.only("companies")
    office.round()
    office.new("a", {"name": "Acme LLC"}, resource="companies", id="acme")
    office.pull("a", "companies")
    office.vendors["b"].fail_next_write("after")
    office.deliver("b", "companies")
    office.pull("b", "companies")
    office.settle()
    assert len(office.goldens("organisation")) == 1
    assert [len(office.held(name, "companies")) for name in "ab"] == [1, 1]


def test_a_lost_update_is_not_taken_for_an_edit_where_nothing_can_be_fetched(office: Office) -> None:
    b_id = settled_pair(office, has=without("fetch"), write_guard="none")
    office.edit("a", "j", {"title": "Partner"})
    office.pull("a")
    office.vendors["b"].fail_next_write("after")
    office.deliver("b")
    office.edit("a", "j", {"title": "Counsel"})  # earlier than the pull of b that shows our own write
    office.pull("b")
    assert "title" not in claims(office, "b", b_id)
    office.settle()
    assert office.held("b")[b_id]["title"] == "Counsel"


def claims(office: Office, name: str, id: str) -> dict[str, Any]:
    return dict(decode(orjson.loads(office.link(name, id)["state"])).claims)


def test_a_system_without_guard_and_fetch_is_read_before_it_is_written(office: Office) -> None:
    b_id = settled_pair(office, has=without("fetch"), write_guard="none")
    office.edit("a", "j", {"title": "Partner", "prefix": "Dr."})
    office.pull("a")
    office.edit("b", b_id, {"title": "Counsel"})
    office.deliver("b")
    assert (office.held("b")[b_id]["title"], office.held("b")[b_id]["prefix"]) == ("Counsel", "Dr.")


def test_an_answer_that_cannot_be_read_is_no_reason_to_write_again(office: Office) -> None:
    office.vendor("a")
    office.vendor("b")
    office.only("people")
    office.round()
    office.new("a", person(), id="j")
    office.vendors["b"].fail_next_write("after", ShapeChanged("HTML instead of JSON."))
    office.settle()
    assert office.vendors["b"].writes == ["created people/1"]
    assert office.owed() == []


def test_a_write_that_never_gets_an_answer_is_tried_ever_less_often(office: Office) -> None:
    b_id = settled_pair(office)
    office.edit("a", "j", {"title": "Partner"})
    office.pull("a")
    requests = 0
    for _ in range(120):
        vendor = office.vendors["b"]
        vendor.forget_faults()
        # The vendor answers nothing and does nothing.
        vendor.fail_next_write("before", UnknownOutcome("No answer."))
        office.deliver("b")
        requests += vendor.faults_left() == 0
    assert 4 <= requests <= 9
    assert office.owed()[0]["state"] in ("unknown", "due")
    office.vendors["b"].forget_faults()
    office.tick(7300)
    office.settle()
    assert office.held("b")[b_id]["title"] == "Partner"


def test_a_record_that_we_made_and_cannot_read_is_not_made_again(office: Office) -> None:
    office.vendor("a")
    office.vendor("b", renditions={"birth_date": "cut"})
    office.only("people")
    office.round()
    office.new("a", person(birth_date="1980-02-29"), id="j")
    office.settle()
    assert len(office.held("b")) == 1
    (intent,) = office.owed()
    assert intent["state"] == "dead"
    assert "birth_date" in intent["why"]
    office.edit("a", "j", {"title": "Partner"})
    office.settle()
    assert len(office.held("b")) == 1


# --- rulings ----------------------------------------------------------------------------------------------------------


def test_whoever_may_be_the_merged_one_may_be_the_survivor(office: Office) -> None:
    office.vendor("a")
    office.vendor("b")
    office.only("people")
    for id in ("j1", "j2", "j3"):
        office.new("a", person(), id=id)
    office.settle()
    pairs = stewards.open_reviews(office.app)
    assert len(pairs) >= 2
    stewards.rule_pair(office.app, pairs[0]["id"], same=True, by="test")
    still = stewards.open_reviews(office.app)
    standing = {row["id"] for row in rows(office, records) if row["status"] != "merged"}
    assert still
    assert {each[side]["id"] for each in still for side in "ab"} <= standing
    assert not [row for row in rows(office, reviews) if row["closed_by"] == "merge"]
    for pair in still:
        stewards.rule_pair(office.app, pair["id"], same=False, by="test")
    office.settle()
    assert len(office.held("b")) == 2
    assert {row["status"] for row in rows(office, records)} == {"live", "merged"}


def test_merging_leaves_no_conflict_and_no_ruling_behind(office: Office) -> None:
    office.vendor("a")
    office.vendor("b")
    office.only("people")
    office.new("a", person(title="Partner"), id="j")
    office.new("b", person("Ravi", "Patel", title="Associate"), id="r")
    office.settle()
    ravi = {body["given_name"]: id for id, body in office.held("a").items()}["Ravi"]
    office.edit("a", ravi, {"title": "Counsel", "prefix": "Mr."})
    office.edit("b", "r", {"title": "Of counsel", "prefix": "Dr."}, after_s=1)
    office.settle()
    (title,) = [each for each in stewards.list_conflicts(office.app) if each["field"] == "title"]
    stewards.settle_conflict(office.app, title["id"], take="a", by="test")
    ids = [office.link("a", id)["canonical_id"] for id in ("j", ravi)]
    survivor = stewards.join(office.app, *ids, by="test")
    assert {row["canonical_id"] for row in rows(office, conflicts) if row["state"] == "open"} <= {survivor}
    assert [(row["canonical_id"], row["field"]) for row in rows(office, pins)] == [(survivor, "title")]
    office.settle()
    assert {body["title"] for name in "ab" for body in office.held(name).values()} == {"Counsel"}


def test_a_request_under_way_survives_a_merge(office: Office) -> None:
    office.vendor("a")
    office.vendor("b")
    office.only("people")
    office.round()
    office.new("a", person(), id="j")
    office.new("a", person("Janet", "Dough"), id="k")
    office.pull("a")
    office.vendors["b"].fail_next_write("after")
    office.deliver("b")
    assert {row["state"] for row in office.owed()} == {"unknown"}
    ids = [office.link("a", id)["canonical_id"] for id in ("j", "k")]
    stewards.join(office.app, *ids, by="test")
    office.settle()
    assert {row["canonical_id"] for row in rows(office, links)} == {min(ids)}
    assert len(office.held("b")) == 2


def test_a_check_begins_with_resources_that_the_mapping_has_learned_since(office: Office) -> None:
    office.vendor("a")
    office.only("people")
    matter = {"number": "00012-Doe", "name": "Doe v. Roe", "status": "open"}
    office.new("a", matter, resource="matters", id="m")
    office.settle()
    assert office.goldens("matter") == {}
    connections.check(office.app, "a")
    office.settle()
    assert office.golden("matter")["number"] == "00012-Doe"
    assert len(office.turns()) == 5


def test_those_who_surely_are_one_stay_equal_while_somebody_looks_whether_they_are_another_too(office: Office) -> None:
    """Found by the state machine: an edit stayed where it was made, for as long as a doubtful match was open."""
    office.vendor("a")
    office.vendor("b")
    office.only("people")
    office.new("a", person(), id="1")
    office.settle()
    office.new("a", person(), id="2")
    office.new("b", person(), id="two")
    office.settle()
    assert office.link("a", "2")["canonical_id"] == office.link("b", "two")["canonical_id"]
    assert len(stewards.open_reviews(office.app)) == 1, "two in one system may be one person"
    office.edit("b", "two", {"title": "Counsel"})
    office.settle()
    assert office.held("a")["2"]["title"] == "Counsel"
    assert office.held("a")["1"].get("title") != "Counsel"
    assert len(office.held("a")) == len(office.held("b")) == 2, "and nobody is made meanwhile"

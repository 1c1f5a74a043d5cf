"""The reference connector: what the engine may rely on, with every capability and guard switched on and off."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from connectors import (
    Capabilities,
    Connector,
    Create,
    Cursor,
    CursorExpired,
    Delete,
    Facts,
    Misconfigured,
    OperationKey,
    Record,
    Refused,
    Resource,
    Stale,
    SyncError,
    UnknownOutcome,
    Unreachable,
    Update,
)
from connectors.memory import CAPABILITIES, SPEC, Capability, Memory, MemoryVendor

AT = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
KEY = OperationKey("op-1")


def a_vendor(**options: Any) -> MemoryVendor:
    return MemoryVendor(**{"clock": lambda: AT, **options})


def all_of(connector: Connector, since: Cursor | None = None, resource: str = "people") -> tuple[list[Record], Cursor]:
    pages = list(connector.pull(resource, since))
    resume = pages[-1].resume
    assert resume is not None
    return [record for page in pages for record in page.records], resume


def called(connector: Connector) -> Capabilities:
    return Capabilities.of(connector)


def bare(record: Record) -> dict[str, Any]:
    return {name: value for name, value in record.body.items() if name != "updated_at"}


@given(st.sets(st.sampled_from(CAPABILITIES)))
def test_every_capability_can_be_missing(has: set[Capability]) -> None:
    connector = a_vendor(has=tuple(has)).connector()
    assert isinstance(connector, Connector)
    found = called(connector)
    assert {name for name in CAPABILITIES if getattr(found, name) is not None} == has
    assert all_of(connector)[0] == []


def test_pull_gives_changes_in_pages_and_every_resume_is_safe() -> None:
    vendor = a_vendor(facts=replace(SPEC.facts, page_max=2))
    for number in range(5):
        vendor.person_creates("people", {"name": f"Doe {number}"})
    connector = vendor.connector()
    pages = list(connector.pull("people", None))
    assert [len(page.records) for page in pages] == [2, 2, 1]
    for at, page in enumerate(pages):
        rest, _ = all_of(connector, page.resume)
        assert [r.id for r in rest] == [r.id for later in pages[at + 1 :] for r in later.records]


def test_an_edit_in_the_middle_of_a_pull_is_not_missed() -> None:
    vendor = a_vendor(facts=replace(SPEC.facts, page_max=1))
    for name in "ab":
        vendor.person_creates("people", {"name": name})
    seen: list[dict[str, Any]] = []
    for page in vendor.connector().pull("people", None):
        if not seen:
            vendor.person_edits("people", "1", {"name": "A"})
        seen += [bare(record) for record in page.records]
    assert seen == [{"name": "a"}, {"name": "b"}, {"name": "A"}]


def test_nothing_changed_gives_an_empty_page_with_a_resume() -> None:
    vendor = a_vendor()
    vendor.person_creates("people", {"name": "a"})
    _, cursor = all_of(vendor.connector())
    (page,) = vendor.connector().pull("people", cursor)
    assert (page.records, page.resume) == ((), cursor)


def test_deletions_come_as_tombstones_or_only_by_listing() -> None:
    for deletions in ("feed", "listing"):
        vendor = a_vendor(facts=replace(SPEC.facts, deletions=deletions))
        vendor.person_creates("people", {"name": "a"})
        vendor.person_creates("people", {"name": "b"})
        connector = vendor.connector()
        _, cursor = all_of(connector)
        vendor.person_deletes("people", "1")
        records, _ = all_of(connector, cursor)
        assert [(r.id, r.deleted, r.body) for r in records] == ([("1", True, {})] if deletions == "feed" else [])
        assert [r.id for r in all_of(connector)[0]] == ["2"]  # a first pull needs no tombstones
        ids = called(connector).ids
        assert ids is not None
        assert list(ids("people")) == [("2",)]


def test_ids_come_in_pages() -> None:
    vendor = a_vendor(facts=replace(SPEC.facts, page_max=2))
    for number in range(5):
        vendor.person_creates("people", {"n": number})
    ids = called(vendor.connector()).ids
    assert ids is not None
    assert list(ids("people")) == [("1", "2"), ("3", "4"), ("5",)]
    assert list(ids("matters")) == []


def test_fetch_keeps_the_order_and_tells_what_is_missing() -> None:
    vendor = a_vendor(facts=replace(SPEC.facts, fetch_max=2))
    for name in "abc":
        vendor.person_creates("people", {"name": name})
    vendor.person_deletes("people", "2")
    fetch = called(vendor.connector()).fetch
    assert fetch is not None
    assert [(r.id, r.deleted) for r in fetch("people", ["3", "9", "2", "1"])] == [
        ("3", False),
        ("9", True),
        ("2", True),
        ("1", False),
    ]


def test_a_stale_write_is_refused_only_where_there_is_a_guard() -> None:
    for guard in ("version", "none"):
        vendor = a_vendor(facts=replace(SPEC.facts, write_guard=guard))
        read = vendor.person_creates("people", {"name": "a", "phone": "1"})
        assert (read.version is None) is (guard == "none")
        vendor.person_edits("people", "1", {"name": "by a person"})
        can = called(vendor.connector())
        assert can.update is not None
        assert can.delete is not None
        if guard == "version":
            with pytest.raises(Stale):
                can.update("people", Update(read, {"phone": "2"}))
            with pytest.raises(Stale):
                can.delete("people", Delete(read))
            assert vendor.writes == []
        else:
            assert bare(can.update("people", Update(read, {"phone": "2"}))) == {"name": "by a person", "phone": "2"}
            can.delete("people", Delete(read))
            assert vendor.writes == ["updated people/1", "deleted people/1"]


def test_an_answer_to_a_write_is_the_next_guard() -> None:
    vendor = a_vendor()
    can = called(vendor.connector())
    assert can.create is not None
    assert can.update is not None
    record = can.create("people", Create(KEY, {"name": "a"}))
    for name in "bc":
        record = can.update("people", Update(record, {"name": name}))
    assert (record.version, bare(record)) == ("3", {"name": "c"})


def test_the_same_key_makes_one_record_where_the_vendor_keeps_keys() -> None:
    for facts, records in ((SPEC.facts, 1), (replace(SPEC.facts, repeat_guard="none"), 2)):
        vendor = a_vendor(facts=facts)
        can = called(vendor.connector())
        assert can.create is not None
        first = can.create("people", Create(KEY, {"name": "a"}))
        second = can.create("people", Create(KEY, {"name": "a"}))
        assert (first == second) is (records == 1)
        assert len(vendor.look("people")) == len(vendor.writes) == records


def test_find_by_key_or_by_what_the_vendor_made_of_the_content() -> None:
    for guard in ("own-id", "none"):
        vendor = a_vendor(facts=replace(SPEC.facts, repeat_guard=guard), renditions={"name": "upper", "code": "cut"})
        can = called(vendor.connector())
        assert can.create is not None
        assert can.find is not None
        create = Create(KEY, {"name": "doe", "code": "abcdef", "city": "Bern"})
        assert can.find("people", create) == ()
        made = can.create("people", create)
        assert bare(made) == {"name": "DOE", "code": "abc", "city": "Bern"}
        assert can.find("people", create) == (made,)
        vendor.person_edits("people", made.id, {"city": "Basel"})
        assert len(can.find("people", create)) == (1 if guard == "own-id" else 0)
        vendor.person_deletes("people", made.id)
        assert can.find("people", create) == ()


def test_renditions_change_what_the_api_writes_and_nothing_that_people_enter() -> None:
    vendor = a_vendor(renditions={"name": "upper"})
    record = vendor.person_creates("people", {"name": "doe", "list": ["a"]})
    assert bare(record) == {"name": "doe", "list": ["a"]}
    update = called(vendor.connector()).update
    assert update is not None
    assert bare(update("people", Update(record, {"name": "roe", "list": None}))) == {"name": "ROE", "list": None}


def test_the_vendors_own_field_cannot_be_written() -> None:
    vendor = a_vendor()
    create = called(vendor.connector()).create
    assert create is not None
    assert create("people", Create(KEY, {"updated_at": "1999"})).body == {"updated_at": AT.isoformat()}


def test_what_is_handed_out_is_a_copy() -> None:
    vendor = a_vendor()
    body = {"phones": ["1"]}
    record = vendor.person_creates("people", body)
    body["phones"].append("2")
    record.body["phones"].append("3")
    vendor.look("people")["1"]["phones"].append("4")
    assert vendor.look("people")["1"]["phones"] == ["1"]


def test_a_failure_before_the_write_changes_nothing_and_one_after_it_does() -> None:
    vendor = a_vendor()
    create = called(vendor.connector()).create
    assert create is not None
    vendor.fail_next_write("before")
    vendor.fail_next_write("after")
    vendor.fail_next_write("before", Refused("No.", code="invalid"))
    with pytest.raises(Unreachable):
        create("people", Create(KEY, {"name": "a"}))
    assert vendor.look("people") == {}
    with pytest.raises(UnknownOutcome):
        create("people", Create(KEY, {"name": "a"}))
    assert vendor.writes == ["created people/1"]
    with pytest.raises(Refused):
        create("people", Create(KEY, {"name": "a"}))
    assert vendor.faults_left() == 0
    assert create("people", Create(KEY, {"name": "a"})).id == "1"


def test_a_batch_gives_one_outcome_each_in_order() -> None:
    vendor = a_vendor(facts=replace(SPEC.facts, batch_max=4))
    old = vendor.person_creates("people", {"name": "old"})
    gone = vendor.person_creates("people", {"name": "gone"})
    vendor.person_edits("people", old.id, {"name": "newer"})
    send = called(vendor.connector()).send
    assert send is not None
    changes: Sequence[Any] = [
        Create(KEY, {"name": "a"}),
        Update(old, {"name": "late"}),
        Delete(gone),
        Delete(Record("99", None, {})),
    ]
    made, stale, deleted, never = send("people", changes)
    assert isinstance(made, Record)
    assert isinstance(stale, Stale)
    assert deleted == Record(gone.id, None, {}, deleted=True)
    assert isinstance(never, Record)
    assert vendor.writes == ["created people/3", "deleted people/2"]
    with pytest.raises(ValueError, match="at most 4"):
        send("people", [*changes, *changes])


def test_a_batch_whose_answer_is_lost_was_done() -> None:
    vendor = a_vendor()
    send = called(vendor.connector()).send
    assert send is not None
    vendor.fail_next_write("after")
    with pytest.raises(UnknownOutcome):
        send("people", [Create(OperationKey("a"), {}), Create(OperationKey("b"), {})])
    assert len(vendor.writes) == 2


def test_resources_that_may_not_be_written_refuse() -> None:
    vendor = a_vendor(resources=(Resource("bills", creatable=False), Resource("staff", writable=False)))
    can = called(vendor.connector())
    assert can.create is not None
    assert can.update is not None
    bill = vendor.person_creates("bills", {"total": "1"})
    staff = vendor.person_creates("staff", {"name": "a"})
    assert bare(can.update("bills", Update(bill, {"total": "2"}))) == {"total": "2"}
    with pytest.raises(Refused):
        can.create("bills", Create(KEY, {}))
    with pytest.raises(Refused):
        can.update("staff", Update(staff, {"name": "b"}))


def test_a_record_that_is_gone_is_stale_to_update_and_done_to_delete() -> None:
    vendor = a_vendor()
    record = vendor.person_creates("people", {"name": "a"})
    vendor.person_deletes("people", record.id)
    can = called(vendor.connector())
    assert can.update is not None
    assert can.delete is not None
    with pytest.raises(Stale):
        can.update("people", Update(record, {"name": "b"}))
    can.delete("people", Delete(record))
    with pytest.raises(KeyError):
        vendor.person_edits("people", record.id, {})
    assert vendor.writes == []


def test_expired_cursors_ask_for_a_full_listing() -> None:
    vendor = a_vendor()
    vendor.person_creates("people", {"name": "a"})
    connector = vendor.connector()
    _, old = all_of(connector)
    vendor.expire_cursors()
    with pytest.raises(CursorExpired):
        all_of(connector, old)
    records, fresh = all_of(connector)
    assert len(records) == 1
    assert all_of(connector, fresh)[0] == []


def test_settings_lead_to_a_named_vendor_or_a_file(tmp_path: Path) -> None:
    vendor = a_vendor(name="north", facts=Facts(page_max=7), has=("create",))
    connector = Memory(None, {"vendor": "north"})
    assert Capabilities.of(connector).create is not None
    assert Capabilities.of(connector).fetch is None
    assert connector.vendor is vendor
    assert connector.spec.facts.page_max == 7
    assert Memory.spec is SPEC
    assert connector.check().account.label == "north"
    for settings in ({}, {"vendor": "nowhere"}):
        with pytest.raises(Misconfigured):
            Memory(None, settings)
    file = tmp_path / "deep" / "firm.json"
    by_file = Memory(None, {"file": str(file)})
    assert not file.exists()
    made = by_file.create("people", Create(KEY, {"name": "a"}))
    by_file.vendor.person_deletes("people", by_file.vendor.person_creates("people", {}).id)
    assert all_of(Memory(None, {"file": str(file)})) == ([made], Cursor("0.3"))
    assert Memory(None, {"file": str(file)}).create("people", Create(KEY, {"name": "a"})) == made


WRITER = """
import sys
from pathlib import Path
from connectors.memory import MemoryVendor
vendor = MemoryVendor(file=Path(sys.argv[1]))
for number in range(25):
    vendor.person_creates("people", {"by": sys.argv[2], "n": number})
"""


def test_processes_that_share_a_file_lose_nothing(tmp_path: Path) -> None:
    file = tmp_path / "firm.json"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(file), name]) for name in "abc"]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    bodies = MemoryVendor(file=file).look("people").values()
    assert sorted((body["by"], body["n"]) for body in bodies) == [(name, n) for name in "abc" for n in range(25)]


class Following(RuleBasedStateMachine):
    """Whatever people and the API do, a copy kept by pulls and tombstones equals what the vendor holds."""

    def __init__(self) -> None:
        super().__init__()
        self.vendor = a_vendor(facts=replace(SPEC.facts, page_max=2), renditions={"name": "upper"})
        self.connector = self.vendor.connector()
        self.can = Capabilities.of(self.connector)
        self.copy: dict[str, Record] = {}
        self.cursor: Cursor | None = None
        self.keys = 0

    def live(self, draw: int) -> str | None:
        ids = sorted(self.vendor.look("people"))
        return ids[draw % len(ids)] if ids else None

    @rule(name=st.text(max_size=3))
    def person_creates(self, name: str) -> None:
        self.vendor.person_creates("people", {"name": name})

    @rule(draw=st.integers(0, 9), name=st.text(max_size=3))
    def person_edits(self, draw: int, name: str) -> None:
        if id := self.live(draw):
            self.vendor.person_edits("people", id, {"name": name})

    @rule(draw=st.integers(0, 9))
    def person_deletes(self, draw: int) -> None:
        if id := self.live(draw):
            self.vendor.person_deletes("people", id)

    @rule(when=st.sampled_from(["before", "after", None]), again=st.booleans())
    def api_creates(self, when: Any, again: bool) -> None:
        assert self.can.create is not None
        self.keys += not again
        if when is not None:
            self.vendor.fail_next_write(when)
        try:
            made = self.can.create("people", Create(OperationKey(str(self.keys)), {"name": "x"}))
        except SyncError:
            return
        assert self.vendor.look("people")[made.id] == made.body

    @rule(draw=st.integers(0, 9), name=st.text(max_size=3))
    def api_updates_what_it_last_read(self, draw: int, name: str) -> None:
        assert self.can.update is not None
        if not self.copy:
            return
        known = self.copy[sorted(self.copy)[draw % len(self.copy)]]
        before = self.vendor.look("people").get(known.id)
        try:
            self.copy[known.id] = self.can.update("people", Update(known, {"name": name}))
        except Stale:
            assert before != known.body or before is None or before["name"] == known.body["name"]
        else:
            assert before == known.body

    @rule()
    def cursors_expire(self) -> None:
        self.vendor.expire_cursors()

    @rule(stop_after=st.integers(1, 3))
    def pull(self, stop_after: int) -> None:
        try:
            for count, page in enumerate(self.connector.pull("people", self.cursor), 1):
                for record in page.records:
                    self.copy[record.id] = record
                    if record.deleted:
                        del self.copy[record.id]
                self.cursor = page.resume
                if count == stop_after:
                    return
        except CursorExpired:
            self.cursor, self.copy = None, {}

    @invariant()
    def a_whole_pull_makes_the_copy_equal(self) -> None:
        copy, cursor = dict(self.copy), self.cursor
        try:
            records, _ = all_of(self.connector, cursor)
        except CursorExpired:
            return
        for record in records:
            copy[record.id] = record
        live = {id: record.body for id, record in copy.items() if not record.deleted}
        assert live == self.vendor.look("people")


TestFollowing = Following.TestCase

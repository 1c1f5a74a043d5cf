"""Everything that goes wrong between us and a vendor: what it is called, what a person shall do, and what goes on.

Each test breaks one connection in one way while another one works. The message names the connection, the cause and
the next step; nothing is lost; and neither a secret nor anybody's name shows in a message or a log.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from connectors.sandbox import Effect, Sandbox, half_body, html, rate_limit, status
from syncd import connections
from syncd.web.page import status_page
from tests.system.installation import Installation, Said, free_of
from tests.system.systems import CARDS, CLIO, CRM, SYSTEMS, Altered, System, closed_port, elsewhere

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

PERSON = ("Zephyrine", "Canaryworth")
"""Somebody whose name no message may show."""

systems = pytest.mark.parametrize("system", SYSTEMS, ids=[each.connector for each in SYSTEMS])


@pytest.fixture
def vendors() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def broken(sandbox: Sandbox, system: System, effect: Effect) -> None:
    sandbox.faults.add(f"* {system.api}", effect, times=None)


# --- connecting ------------------------------------------------------------------------------------------------------

NOT_FOUND = status(404, {"Content-Type": "text/html"}, b"<html><body>Not Found</body></html>")

ADDING: dict[str, tuple[Effect | str, dict[str, tuple[str, ...]]]] = {
    "unreachable": ("closed", {"*": ("cannot be reached", "Check")}),
    "wrong secret": (
        "wrong",
        {
            "clio": ("no longer accepts this sign-in", "Sign in"),
            "salesforce": ("no longer accepts this sign-in", "Sign in"),
            "carddav": ("no longer accepts the sign-in (401)", "Check username and password"),
        },
    ),
    "404": (NOT_FOUND, {"*": ("404", "base_url")}),
    "html": (html, {"*": ("base_url",)}),
    "half a body": (half_body, {"*": ("was not answered with a whole answer", "tried again")}),
    "503": (status(503), {"*": ("503", "status page")}),
}


@systems
@pytest.mark.parametrize("fault", ADDING)
def test_a_connection_that_does_not_work_is_not_added(
    system: System, fault: str, simple: Installation, vendors: ExitStack
) -> None:
    sandbox = vendors.enter_context(system.make())
    given = system.given(sandbox)
    how, words = ADDING[fault]
    if isinstance(how, Effect):
        broken(sandbox, system, how)
        said = simple.connect("mine", system.connector, given)
    elif how == "closed":
        said = simple.connect("mine", system.connector, elsewhere(given, f"http://127.0.0.1:{closed_port()}"))
    else:
        said = simple.connect("mine", system.connector, {**given, **system.wrong})
    assert said.code == 1, said.text
    assert "mine:" in said.text
    assert "Nothing was stored" in said.text
    for word in words.get(system.connector, words.get("*", ())):
        assert word in said.text, said.text
    free_of(said.text + simple.said_anywhere(), *system.wrong.values(), *canaries(system, given))
    assert simple.status()["connections"] == []

    sandbox.faults.clear()
    assert simple.connect("mine", system.connector, given).code == 0


def canaries(system: System, given: dict[str, str]) -> list[str]:
    return [secret for secret in system.secrets(given) if secret not in ("", "demo")]


@systems
def test_the_same_account_cannot_be_connected_twice(system: System, simple: Installation, vendors: ExitStack) -> None:
    sandbox = vendors.enter_context(system.make())
    given = system.given(sandbox)
    assert simple.connect("mine", system.connector, given).code == 0
    again = simple.connect("other", system.connector, given)
    assert again.code == 2
    assert "already connected as 'mine'" in again.text
    same_name = simple.connect("mine", system.connector, given)
    assert "already a connection named 'mine'" in same_name.text
    assert [each["name"] for each in simple.status()["connections"]] == ["mine"]


def test_a_setting_that_is_missing_or_misspelt_is_named(simple: Installation, vendors: ExitStack) -> None:
    sandbox = vendors.enter_context(CRM.make())
    given = CRM.given(sandbox)
    lacking = simple.connect("crm", "salesforce", {key: value for key, value in given.items() if key != "client_id"})
    assert (lacking.code, "client_id" in lacking.text, "consumer key" in lacking.text) == (2, True, True)
    odd = simple.connect("crm", "salesforce", {**given, "basurl": "x"})
    assert (odd.code, "no setting 'basurl'" in odd.text, "base_url" in odd.text) == (2, True, True)
    assert simple.run("connect", "check", "crm").code == 3


@systems
def test_check_tells_what_stopped_a_connection_and_sets_it_going_again(
    system: System, simple: Installation, vendors: ExitStack
) -> None:
    sandbox = vendors.enter_context(system.make())
    simple.add("mine", system.connector, system.given(sandbox))
    broken(sandbox, system, NOT_FOUND)
    said = simple.run("connect", "check", "mine")
    assert said.code == 1
    assert "mine:" in said.text
    assert "404" in said.text
    sandbox.faults.clear()
    assert simple.run("connect", "check", "mine").code == 0


# --- syncing ---------------------------------------------------------------------------------------------------------


class Pair:
    """The system under test as `mine`, and another one as `other`, both live and in agreement about one person."""

    def __init__(self, service: Installation, vendors: ExitStack, system: System) -> None:
        self.service = service
        self.system = system
        self.partner = CARDS if system is CRM else CRM
        self.mine: Any = vendors.enter_context(system.make())
        self.other: Any = vendors.enter_context(self.partner.make())
        service.add("mine", system.connector, system.given(self.mine))
        service.add("other", self.partner.connector, self.partner.given(self.other))
        system.add(self.mine, *PERSON)
        self.settle()
        assert self.partner.names(self.other) == [PERSON[1]]

    def settle(self) -> None:
        """Rounds until nothing is written any more; fails on any problem."""
        for _ in range(6):
            before = len(self.mine.writes()) + len(self.other.writes())
            done = self.service.sync()
            assert done.problems == {}, {place: str(error) for place, error in done.problems.items()}
            if len(self.mine.writes()) + len(self.other.writes()) == before and not self.service.outstanding():
                return
            self.service.later(5)
        raise AssertionError("still writing after 6 rounds")

    def problem(self) -> str:
        """One round: what stopped `mine`. The other connection must have no trouble."""
        done = self.service.sync()
        assert {place.partition("/")[0] for place in done.problems} == {"mine"}, done.problems
        return "\n".join(f"{error.message} {error.remedy}" for error in done.problems.values())

    def cli(self) -> Said:
        """The same as a person at the terminal would see it."""
        return self.service.run("sync", "--once")

    def goes_on(self, family: str) -> None:
        """While `mine` is broken: a new person in `other` is read, and waits for `mine`."""
        self.partner.add(self.other, "Otto", family)
        self.service.sync()
        known = {row["name"]: row for each in self.service.status()["connections"] for row in each["resources"]}
        assert known[self.partner.place]["records"] == len(self.partner.names(self.other))

    def free_of_data(self) -> None:
        given = canaries(self.system, self.system.given(self.mine)) + canaries(
            self.partner, self.partner.given(self.other)
        )
        free_of(self.service.said_anywhere(), *PERSON, "Waitington", *given)

    def equal(self) -> bool:
        return self.system.names(self.mine) == self.partner.names(self.other)


BREAKING: dict[str, tuple[Effect | None, tuple[str, ...]]] = {
    "unreachable": (None, ("cannot be reached",)),
    "html": (html, ()),
    "half a body": (half_body, ("was not answered with a whole answer",)),
    "404": (NOT_FOUND, ("404",)),
    "503 storm": (status(503), ("503",)),
    "429 storm": (rate_limit(retry_after=120), ("asks for a pause (429)",)),
    "429 without a time": (rate_limit(), ("asks for a pause (429)",)),
}


@systems
@pytest.mark.parametrize("fault", BREAKING)
def test_a_system_that_breaks_loses_nothing_and_stops_nobody_else(
    system: System, fault: str, simple: Installation, vendors: ExitStack
) -> None:
    pair = Pair(simple, vendors, system)
    effect, words = BREAKING[fault]
    if effect is None:
        pair.mine.stop()
    else:
        broken(pair.mine, system, effect)
    told = pair.problem()
    for word in words:
        assert word in told
    said = pair.cli()
    assert said.code == 1
    assert "mine/" in said.text
    assert "✗ other" not in said.text
    assert len(said.text.partition("mine/")[2]) > 60, "the cause and the next step"
    assert_on_the_status_page(simple, words)
    pair.goes_on("Waitington")
    pair.free_of_data()

    if effect is None:
        pair.mine.start()
    pair.mine.faults.clear()
    simple.later(600)
    if simple.row("mine")["problem"] is not None:
        connections.check(simple.app, "mine")
    pair.settle()
    assert pair.equal(), "it went on by itself, or after one check"
    assert len(pair.partner.names(pair.other)) == 2
    pair.free_of_data()


def assert_on_the_status_page(service: Installation, words: tuple[str, ...]) -> None:
    """The status of the console and the command line names the system and the cause."""
    health: dict[str, Any] = {
        "database": {"ok": True},
        "redis": {"ok": True, "workers": 1},
        "sweeper": {"ok": True, "at": None},
    }
    page = status_page(service.status(), health, service.clock.now(), refresh_s=5)
    (card,) = [card for card in page.connections if card.name == "mine"]
    shown = service.run("status").text
    assert card.problem or card.troubles
    for word in words:
        assert word in " ".join((card.problem, *card.troubles))
        assert word in shown
    assert not [card for card in page.connections if card.name != "mine" and (card.problem or card.troubles)]


@systems
def test_a_sign_in_that_was_taken_back_stops_one_connection_and_names_the_way_back(
    system: System, installation: Installation, vendors: ExitStack
) -> None:
    pair = Pair(installation, vendors, system)
    sandbox = pair.mine
    match system.connector:
        case "clio":
            sandbox.edit("revoke_access")
        case "salesforce":
            sandbox.edit("revoke")
        case _:
            broken(sandbox, system, status(401))
    told = pair.problem()
    assert "accepts" in told
    assert "sign-in" in told
    (row,) = [each for each in installation.status()["connections"] if each["name"] == "mine"]
    assert row["mode"] == "stopped"
    assert "syncd connect reconnect mine" in row["remedy"]
    shown = installation.run("status")
    assert shown.code == 1
    assert "mine stopped" in shown.text
    requests = len(sandbox.log)
    pair.goes_on("Waitington")
    assert len(sandbox.log) == requests, "a stopped connection is left alone until a person acts"
    pair.free_of_data()

    fresh = "canary-fresh-secret-83b1"
    match system.connector:
        case "clio":
            with sandbox.lock:
                del sandbox.tables["tokens"]["revoked"]
            sandbox.refresh_token = fresh
        case "salesforce":
            sandbox.refresh_token = fresh
        case _:
            sandbox.faults.clear()
            fresh = "demo"
    name = "password" if system is CARDS else "refresh_token"
    wrong = installation.run("connect", "reconnect", "mine", **{name: "canary-wrong-secret-11d0"})
    assert wrong.code == 1
    assert "mine:" in wrong.text
    done = installation.run("connect", "reconnect", "mine", **{name: fresh})
    assert done.code == 0, done.text
    pair.settle()
    assert pair.equal()
    free_of(installation.said_anywhere() + wrong.text + done.text, "canary-")


def test_a_missing_permission_names_the_permission(simple: Installation, vendors: ExitStack) -> None:
    pair = Pair(simple, vendors, CLIO)
    pair.mine.forbidden.add("contacts")
    told = pair.problem()
    assert "does not allow access to contacts" in told
    assert "Allow Contacts" in told
    assert "syncd connect check mine" in simple.row("mine")["remedy"]
    pair.goes_on("Waitington")
    checked = simple.run("connect", "check", "mine")
    assert checked.code == 1
    assert "Allow Contacts" in checked.text
    pair.mine.forbidden.clear()
    assert simple.run("connect", "check", "mine").code == 0
    pair.settle()
    assert pair.equal()
    pair.free_of_data()


def test_a_field_that_is_hidden_from_us_is_no_deletion(simple: Installation, vendors: ExitStack) -> None:
    """An administrator hides Title: it vanishes from answers, and stays what it is everywhere."""
    pair = Pair(simple, vendors, CRM)
    (contact,) = pair.mine.tables["Contact"]
    href = pair.other.names()[0]
    pair.other.edit("card", href=href, changes={"title": "Director"})
    pair.settle()
    assert pair.mine.tables["Contact"][contact]["Title"] == "Director"
    pair.mine.edit("hide", sobject="Contact", field="Title")
    pair.mine.edit("update", sobject="Contact", id=contact, changes={"Phone": "(212) 555-0188"})
    pair.settle()
    assert "Director" in card_text(pair.other)
    assert "0188" in card_text(pair.other)
    checked = simple.run("connect", "check", "mine")
    assert "Title" in checked.text
    # A value for the hidden field has no place there: that is said, with the field's name, and stops nothing else.
    pair.other.edit("card", href=href, changes={"title": "Chair"})
    pair.settle()
    told = simple.run("status")
    assert told.code == 1
    assert "mine/Contact: the field Title is gone." in told.text
    assert "person.title is neither read nor written here" in told.text
    assert not any(b"Chair" in each.request_body for each in pair.mine.log)
    pair.mine.edit("show", sobject="Contact", field="Title")
    assert simple.run("connect", "check", "mine").code == 0
    pair.settle()
    assert pair.mine.tables["Contact"][contact]["Title"] == "Chair"
    pair.free_of_data()


def card_text(sandbox: Any) -> str:
    return "\n".join(sandbox.card(name) for name in sandbox.names())


@systems
def test_a_cursor_that_the_vendor_forgot_costs_one_full_reading(
    system: System, simple: Installation, vendors: ExitStack
) -> None:
    pair = Pair(simple, vendors, system)
    if system is CARDS:
        pair.mine.edit("forget_tokens")
    else:
        _spoil_cursor(simple, system.place)
    system.add(pair.mine, "Wilma", "Waitington")
    for _ in range(2):
        simple.sync()
    pair.settle()
    assert pair.equal()
    assert len(pair.partner.names(pair.other)) == 2
    assert simple.turn("mine", system.place)["cursor"] is not None
    pair.free_of_data()


def _spoil_cursor(service: Installation, resource: str) -> None:
    """As after an update of the connector that no longer understands an old position."""
    from sqlalchemy import update

    from syncd.store.tables import turns

    with service.app.engine.begin() as sql:
        here = (turns.c.connection == "mine", turns.c.resource == resource)
        assert sql.execute(update(turns).where(*here).values(cursor="?not-a-position")).rowcount == 1


# --- odd content -----------------------------------------------------------------------------------------------------


def test_a_new_field_in_the_vendors_answers_changes_nothing(simple: Installation, vendors: ExitStack) -> None:
    pair = Pair(simple, vendors, CLIO)
    mine: Altered = pair.mine
    mine.alter = lambda record: record.update(brand_new={"deep": [1, None, PERSON[1]]})
    before = len(pair.other.writes())
    pair.settle()
    CLIO.add(mine, "Wilma", "Waitington")
    pair.settle()
    assert pair.equal()
    assert len(pair.other.writes()) == before + 1
    pair.free_of_data()


@pytest.mark.parametrize("field", ["first_name", "phone_numbers", "title", "updated_at", "company", "addresses"])
def test_a_null_where_a_value_was_stops_nothing(field: str, simple: Installation, vendors: ExitStack) -> None:
    pair = Pair(simple, vendors, CLIO)
    mine: Altered = pair.mine
    id_ = CLIO.add(mine, "Nell", "Nullington")
    pair.settle()

    def without(record: dict[str, Any]) -> None:
        if str(record["id"]) == id_ and field in record:
            record[field] = None

    mine.alter = without
    mine.edit("contact", id=id_, changes={"last_name": "Nullingham"})
    CLIO.add(mine, "Wilma", "Waitington")
    pair.settle()
    assert "Waitington" in pair.partner.names(pair.other)
    assert "Nullingham" in pair.partner.names(pair.other)
    assert simple.dead() == []
    pair.free_of_data()


@pytest.mark.parametrize("value", [{"x": PERSON[1]}, [[PERSON[1]]], True], ids=["object", "list", "flag"])
@pytest.mark.parametrize(("field", "named"), [("email_addresses", "emails"), ("last_name", "family_name")])
def test_a_value_of_another_kind_puts_one_record_aside_with_its_reason(
    field: str, named: str, value: Any, simple: Installation, vendors: ExitStack
) -> None:
    pair = Pair(simple, vendors, CLIO)
    mine: Altered = pair.mine
    id_ = CLIO.add(mine, "Odette", "Oddington")
    pair.settle()
    names = pair.partner.names(pair.other)

    def odd(record: dict[str, Any]) -> None:
        if str(record["id"]) == id_ and field in record:
            record[field] = value

    mine.alter = odd
    mine.edit("contact", id=id_, changes={"title": "Director"})
    CLIO.add(mine, "Wilma", "Waitington")
    pair.settle()
    assert pair.partner.names(pair.other) == sorted([*names, "Waitington"])
    (letter,) = simple.dead()
    assert letter["vendor_id"] == id_
    assert letter["why"].startswith(f"{named}: ")
    assert "the mapping of mine" in letter["remedy"]
    pair.free_of_data()
    free_of(simple.said_anywhere(), "Oddington")

    mine.alter = None
    mine.edit("contact", id=id_, changes={"title": "Chair"})
    pair.settle()
    assert simple.dead() == []
    assert pair.equal()


def test_text_that_is_no_text_puts_one_record_aside(simple: Installation, vendors: ExitStack) -> None:
    """Bytes that are not UTF-8 in one record of a page: the page is read, and only that record waits for somebody."""
    pair = Pair(simple, vendors, CLIO)
    mine: Altered = pair.mine
    id_ = CLIO.add(mine, "Odette", "Oddington")
    pair.settle()
    names = pair.partner.names(pair.other)
    mine.garble = lambda text: text.replace(b"Director", b"Direct\xff\xfe")
    mine.edit("contact", id=id_, changes={"title": "Director"})
    CLIO.add(mine, "Wilma", "Waitington")
    pair.settle()
    assert pair.partner.names(pair.other) == sorted([*names, "Waitington"])
    (letter,) = simple.dead()
    assert (letter["vendor_id"], letter["why"]) == (id_, "The record is not readable as JSON.")
    pair.free_of_data()
    mine.garble = None
    mine.edit("contact", id=id_, changes={"title": "Chair"})
    pair.settle()
    assert simple.dead() == []
    assert pair.equal()


@systems
@pytest.mark.parametrize(
    ("given", "family"),
    [
        ("Zo\u00eb \U0001f98a", "Fox\U0001f43e"),
        ("\u674e", "\u5c0f\u9f99"),
        ("Anne-Marie", 'O\'Neill; "Ann" \\ <b>,'),
        ("N" * 30, "Long" * 25_000),
    ],
    ids=["emoji", "chinese", "punctuation", "100 kB"],
)
def test_an_odd_name_arrives_as_far_as_the_other_system_has_room(
    system: System, given: str, family: str, simple: Installation, vendors: ExitStack
) -> None:
    if system is not CARDS and len(family) > 80:
        given, family = "Nat", "Long" * 20  # as much as Salesforce holds; Clio holds 255 with the first name
    pair = Pair(simple, vendors, system)
    system.add(pair.mine, given, family)
    system.add(pair.mine, "Wilma", "Waitington")
    pair.settle()
    arrived = pair.partner.names(pair.other)
    assert len(arrived) == 3
    room = 80 if pair.partner is CRM else len(family)
    assert family[:room] in arrived
    assert "Waitington" in arrived
    assert simple.dead() == []
    before = system.names(pair.mine)
    for _ in range(3):
        pair.settle()
    assert system.names(pair.mine) == before, "what was cut elsewhere is not cut here"
    free_of(simple.said_anywhere(), family[:40])


def test_a_name_for_which_a_system_has_no_room_is_put_aside_with_its_reason(
    simple: Installation, vendors: ExitStack
) -> None:
    cards, clio = vendors.enter_context(CARDS.make()), vendors.enter_context(CLIO.make())
    simple.add("cards", "carddav", CARDS.given(cards))
    simple.add("pms", "clio", CLIO.given(clio))
    CARDS.add(cards, "Nat", "Long" * 25_000)
    CARDS.add(cards, "Wilma", "Waitington")
    for _ in range(3):
        assert simple.sync().problems == {}
    assert CLIO.names(clio) == ["Waitington"]
    (letter,) = simple.dead()
    assert "Clio refused the change in contacts (ValidationError)" in letter["why"]
    assert "Correct the value" in letter["remedy"]
    assert len(letter["why"]) < 400
    free_of(simple.said_anywhere(), "LongLong", "Waitington")


# --- writes that a vendor refuses ------------------------------------------------------------------------------------


def test_a_refused_write_is_a_dead_letter_with_its_reason_and_the_others_arrive(
    simple: Installation, vendors: ExitStack
) -> None:
    pair = Pair(simple, vendors, CARDS)
    assert pair.partner is CRM
    pair.other.edit(
        "refuse", sobject="Contact", code="INVALID_EMAIL_ADDRESS", id="", message=f"bad: {PERSON[1]}", fields=["Email"]
    )
    CARDS.add(pair.mine, "Rena", "Refusington")
    simple.sync()
    CARDS.add(pair.mine, "Wilma", "Waitington")
    done = simple.sync()
    assert done.problems == {}
    assert CRM.names(pair.other) == sorted([PERSON[1], "Waitington"])
    (letter,) = simple.dead()
    assert "INVALID_EMAIL_ADDRESS" in letter["why"]
    assert "Email" in letter["why"]
    assert "Correct the address" in letter["remedy"]
    shown = simple.run("aside", "list")
    assert "INVALID_EMAIL_ADDRESS" in shown.text
    free_of(simple.said_anywhere() + shown.text, *PERSON, "Refusington", "Waitington")
    # Mended at its source, it arrives by itself.
    href = next(name for name in pair.mine.names() if "Refusington" in pair.mine.card(name))
    pair.mine.edit("card", href=href, changes={"title": "Director"})
    pair.settle()
    assert "Refusington" in CRM.names(pair.other)
    assert simple.dead() == []


# --- a mapping of the firm's own with a mistake ----------------------------------------------------------------------

TYPO = """\
overrides: salesforce
records:
  - resource: Contact
    kind: person
    fields:
      titel: Title
"""


def test_a_mapping_with_a_typo_stops_its_connection_alone_and_names_file_and_line(
    installation: Installation, vendors: ExitStack
) -> None:
    pair = Pair(installation, vendors, CRM)
    override = a_mapping(installation, "mine", TYPO)
    told = pair.problem()
    assert "mine.yaml:6" in told
    assert "titel" in told
    assert "Correct the mapping" in told
    pair.goes_on("Waitington")
    for command in (["connect", "check", "mine"], ["up"], ["sync", "--once"]):
        said = installation.run(*command)
        assert said.code != 0
        assert "mine.yaml:6" in said.text, (command, said.text)

    override.unlink()
    assert installation.run("connect", "check", "mine").code == 0
    pair.settle()
    assert pair.equal(), "what was new meanwhile has arrived"
    assert len(CRM.names(pair.mine)) == 2
    pair.free_of_data()


def test_a_connection_is_not_added_with_a_mapping_that_is_wrong(simple: Installation, vendors: ExitStack) -> None:
    sandbox = vendors.enter_context(CRM.make())
    override = a_mapping(simple, "crm", TYPO)
    said = simple.connect("crm", "salesforce", CRM.given(sandbox))
    assert said.code != 0
    assert "crm.yaml:6" in said.text
    assert simple.status()["connections"] == []
    override.unlink()
    assert simple.connect("crm", "salesforce", CRM.given(sandbox)).code == 0


def a_mapping(service: Installation, name: str, text: str) -> Path:
    path = service.home / "mappings" / f"{name}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path

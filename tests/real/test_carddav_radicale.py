"""The CardDAV connector on a real Radicale: the whole battery, and what only a real server shows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from connectors.carddav import CardDAV, own_id
from connectors.contract import Create, OperationKey, Update
from connectors.errors import Misconfigured, MissingPermission, ReconnectNeeded, Refused
from tests.connectors.carddav_battery import Battery, a_card, connected, pulled
from tests.real.servers_radicale import BOOK, PASSWORD, USER, Radicale

pytestmark = pytest.mark.real

_numbers = itertools.count(1)


class RadicaleBook:
    """One address book on a server that other tests use, too."""

    user, password = USER, PASSWORD

    def __init__(self, server: Radicale, book: str) -> None:
        self.server = server
        self.url = server.url
        self.book = book

    def put_card(self, name: str, text: str) -> None:
        self.server.put_card(name, text, self.book)

    def get_card(self, name: str) -> str:
        return self.server.get_card(name, self.book)

    def delete_card(self, name: str) -> None:
        self.server.delete_card(name, self.book)


@pytest.fixture(scope="module")
def radicale() -> Iterator[Radicale]:
    with Radicale() as server:
        yield server


@pytest.fixture(scope="module")
def single() -> Iterator[Radicale]:
    """A server with no address book but its first one."""
    with Radicale() as server:
        yield server


@pytest.fixture
def end(radicale: Radicale) -> RadicaleBook:
    book = f"/{USER}/book{next(_numbers)}/"
    radicale.make_book(book, "Test")
    return RadicaleBook(radicale, book)


class TestOnRadicale(Battery):
    @pytest.mark.parametrize("start", ["", "/", f"/{USER}/", BOOK, f"/{USER}/contacts", "/.well-known/carddav"])
    def test_the_address_book_is_found_from_any_start(self, single: Radicale, start: str) -> None:
        end = RadicaleBook(single, BOOK)
        with connected(end, base_url=single.url + start, collection="") as connector:
            checked = connector.check()
        assert checked.account.id == f"{single.url.removeprefix('http://')}{BOOK}"
        assert checked.findings == ()

    def test_a_healthy_address_book_has_no_findings(self, end: RadicaleBook) -> None:
        with connected(end) as connector:
            checked = connector.check()
        assert checked.findings == ()
        assert checked.account.id == f"{end.url.removeprefix('http://')}{end.book}"

    def test_several_address_books_are_pointed_out(self, end: RadicaleBook) -> None:
        with connected(end, collection="") as connector:
            assert [finding.level for finding in connector.check().findings] == ["warning"]

    def test_a_wrong_password_asks_to_reconnect(self, end: RadicaleBook) -> None:
        with connected(end, password="wrong") as connector, pytest.raises(ReconnectNeeded) as told:
            connector.check()
        assert "password" in told.value.remedy

    def test_a_wrong_collection_is_named(self, end: RadicaleBook) -> None:
        with connected(end, collection=f"/{USER}/nothing/") as connector, pytest.raises(Misconfigured):
            connector.check()

    def test_a_user_who_may_only_read_can_pull_and_cannot_write(self, end: RadicaleBook) -> None:
        end.put_card("x.vcf", a_card("x"))
        with connected(end, username="guest", password="guest") as connector:
            assert [finding.level for finding in connector.check().findings] == ["error"]
            records, _ = pulled(connector)
            with pytest.raises(MissingPermission):
                connector.update("cards", Update(records["x.vcf"], {"title": "Partner"}))
            with pytest.raises(MissingPermission):
                connector.create("cards", Create(OperationKey("k"), {"fn": "Ada"}))

    def test_our_card_under_a_foreign_name_is_a_refusal_and_not_a_lost_update(self, end: RadicaleBook) -> None:
        end.put_card("moved.vcf", a_card(own_id(OperationKey("k"))))
        with connected(end) as connector, pytest.raises(Refused) as refused:
            connector.create("cards", Create(OperationKey("k"), {"fn": "Ada"}))
        assert refused.value.code == "no-uid-conflict"

    @pytest.mark.parametrize("version", ["3.0", "4.0"])
    def test_a_card_keeps_its_version(self, end: RadicaleBook, version: str) -> None:
        end.put_card("v.vcf", a_card("v").replace("VERSION:3.0", f"VERSION:{version}"))
        with connected(end) as connector:
            record = connector.fetch("cards", ["v.vcf"])[0]
            changed = connector.update("cards", Update(record, {"title": "Partner", "kind": "org"}))
        assert (changed.body["version"], changed.body["kind"]) == (version, "org")

    def test_a_name_of_100_kb_goes_there_and_back(self, end: RadicaleBook) -> None:
        name = "Ångström \N{OFFICE BUILDING} " * 5_000 + "."
        with connected(end) as connector:
            made = connector.create("cards", Create(OperationKey("long"), {"fn": name}))
            assert connector.fetch("cards", [made.id])[0].body["fn"] == name
            assert isinstance(connector, CardDAV)

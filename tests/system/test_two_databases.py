"""The same firm on SQLite and on PostgreSQL: the same golden records, from the same sources, in the same systems."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from syncd import once, stewards
from syncd.app import open_app
from syncd.config import load_settings, write_firm_template
from syncd.demo.joining import connect
from syncd.demo.sandboxes import FACTORIES
from syncd.store.database import reading
from syncd.store.tables import intents, links, records
from tests.system.demo_firm import assert_equal, assert_nothing_twice

if TYPE_CHECKING:
    from pathlib import Path

    from syncd.app import App

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SIZE = 40
ROUNDS_MAX = 6
FIRM = "name: Test & Partners\nauthority: [clio, crm, cards]\n"


def test_both_databases_come_to_the_same_golden_records(tmp_path: Path, postgres_url: str) -> None:
    on_sqlite = first_sync(tmp_path / "sqlite", f"sqlite:///{tmp_path / 'syncd.db'}")
    on_postgres = first_sync(tmp_path / "postgres", postgres_url)
    assert on_sqlite.keys() == on_postgres.keys()
    different = {who: (on_sqlite[who], on_postgres[who]) for who in on_sqlite if on_sqlite[who] != on_postgres[who]}
    assert different == {}
    kinds = {who.partition(" ")[0] for who in on_sqlite}
    assert kinds == {"person", "organisation", "matter", "opportunity", "staff_member"}
    assert len(on_sqlite) >= SIZE


def first_sync(home: Path, database_url: str) -> dict[str, Any]:
    """Sync fresh sandboxes until nothing is written any more; what the service then knows, by who it is about."""
    home.mkdir()
    write_firm_template(home, "Test & Partners")
    (home / "firm.yaml").write_text(FIRM)
    app = open_app(load_settings(home, {"SYNCD_DATABASE_URL": database_url}))
    with ExitStack() as open_until_done:
        open_until_done.callback(app.close)
        running = {name: open_until_done.enter_context(make(size=SIZE)) for name, make in FACTORIES.items()}
        connect(app, {"ports": {name: sandbox.port for name, sandbox in running.items()}}, lambda _: None)
        settle(app)
        for review in stewards.open_reviews(app):
            stewards.rule_pair(app, review["id"], same=True, by="test")
        settle(app)
        assert_equal(app)
        assert_nothing_twice(app, {name: sandbox.writes() for name, sandbox in running.items()})
        return known(app)


def settle(app: App) -> None:
    for _ in range(ROUNDS_MAX):
        result = once.sync_once(app)
        assert result.problems == {}
        t = result.totals
        assert t["pulled"] == t["changed"] + t["unchanged"] + t["conflict"] + t["held"] + t["dead"]
        if not t["written"]:
            return
    raise AssertionError(f"still writing after {ROUNDS_MAX} rounds")


def known(app: App) -> dict[str, Any]:
    """Golden record, sources and systems of everybody, by identity: the service's own ids are random."""
    with reading(app.engine) as sql:
        rows = sql.execute(select(records).where(records.c.status == "live")).mappings().all()
        linked = sql.execute(select(links.c.canonical_id, links.c.connection, links.c.resource)).all()
        systems = [(row.canonical_id, f"{row.connection}/{row.resource}") for row in linked]
        assert sql.execute(select(intents.c.state).where(intents.c.state != "waiting")).all() == []
    goldens = {row["id"]: json.loads(row["golden"]) for row in rows}
    names = {row["id"]: f"{row['kind']} {identity(goldens[row['id']])}" for row in rows}
    assert len(set(names.values())) == len(names)

    def without_ids(golden: dict[str, Any]) -> dict[str, Any]:
        return {name: names.get(value, value) if isinstance(value, str) else value for name, value in golden.items()}

    return {
        names[row["id"]]: {
            "golden": without_ids(goldens[row["id"]]),
            "sources": json.loads(row["sources"]),
            "systems": sorted(system for id, system in systems if id == row["id"]),
        }
        for row in rows
    }


def identity(golden: dict[str, Any]) -> str:
    return str(golden.get("email") or golden.get("number") or f"{golden.get('name')} {golden.get('close_on', '')}")

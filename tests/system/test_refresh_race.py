"""A vendor that rotates refresh tokens, and many processes: one renewal per expiry, and nobody is disconnected."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from connectors.clio.sandbox import ClioSandbox
from connectors.errors import ReconnectNeeded, TryLater
from connectors.salesforce.sandbox import SalesforceSandbox
from connectors.sandbox import Request, Response, cut_after
from syncd.app import WrongKey, open_app
from syncd.config import load_settings
from syncd.connecting import StoredTokens, open_connection
from syncd.connections import move
from syncd.store.tables import connections
from syncd.vault import new_key
from tests.system.installation import Installation, clio_settings, environment

ROOT = Path(__file__).parents[2]
PROCESSES = 4
EXPIRIES = 6
TOKEN = "/services/oauth2/token"


def an_org(**how: Any) -> SalesforceSandbox:
    return SalesforceSandbox(accounts=0, contacts=2, opportunities=0, tasks=0, rotate=True, **how)


def renewals(org: SalesforceSandbox) -> int:
    return sum(entry.path == TOKEN for entry in org.log)


@contextmanager
def workers(installation: Installation, count: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes with applications of their own, each ready to use the connection `crm`."""
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.system.refresher", "crm"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment(installation),
        )
        for _ in range(count)
    ]
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        yield started
    finally:
        for process in started:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()
            process.wait(30)
            process.stdout.close()


def asked(processes: list[subprocess.Popen[str]]) -> list[dict[str, str]]:
    """All of them use the connection at once; what each of them got."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = []
    for process in processes:
        assert process.stdout is not None
        answers.append(json.loads(process.stdout.readline()))
    return answers


@pytest.mark.slow
def test_processes_that_meet_an_expired_token_together_renew_it_once(installation: Installation) -> None:
    with an_org() as org:
        installation.add("crm", "salesforce", org.settings)
        with workers(installation, PROCESSES) as processes:
            asked(processes)
            before, version = renewals(org), installation.row("crm")["secrets_version"]
            for expiry in range(1, EXPIRIES + 1):
                org.edit("expire_token")
                answers = asked(processes)
                assert [answer.get("account") for answer in answers] == [org.org.id] * PROCESSES, answers
                assert renewals(org) - before == expiry
        assert installation.row("crm")["secrets_version"] - version == EXPIRIES
        assert installation.row("crm")["problem"] is None
        assert StoredTokens(installation.app, "crm").load().refresh is not None


def test_an_answer_that_got_lost_is_reported_as_a_sign_in_to_be_repeated(installation: Installation) -> None:
    """The vendor has replaced the token and we never learned the new one: first "unsure", then what it is."""
    with an_org() as org:
        installation.add("crm", "salesforce", org.settings)
        org.edit("expire_token")
        org.faults.add(f"POST {TOKEN}", cut_after)
        talking = open_connection(installation.app, "crm")
        with pytest.raises(TryLater):
            talking.connector.check()
        with pytest.raises(ReconnectNeeded) as refused:
            talking.connector.check()
        talking.close()
        assert "no longer accepts" in refused.value.message
        assert "Sign in" in refused.value.remedy


@pytest.mark.slow
def test_a_crash_between_the_new_token_and_our_commit_is_told_as_one(installation: Installation) -> None:
    """kill -9 at the moment when the vendor has rotated the token and its answer is on the way."""
    doomed: list[subprocess.Popen[str]] = []

    def kill(request: Request, response: Response) -> None:
        if request.path == TOKEN and doomed:
            doomed.pop().kill()

    with an_org(observe=kill) as org:
        installation.add("crm", "salesforce", org.settings)
        with workers(installation, 1) as (process,):
            org.edit("expire_token")
            doomed.append(process)
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("go\n")
            process.stdin.flush()
            assert process.stdout.readline() == ""
            process.wait(30)
        # The dead process's lock is respected for a minute; a test need not wait for it.
        installation.later(61)
        result = installation.sync("crm", resource="Contact")
        (problem,) = result.problems.values()
        assert isinstance(problem, ReconnectNeeded)
        assert "interrupted before the vendor's new token could be stored" in problem.message
        stopped = installation.status()["connections"][0]
        assert stopped["mode"] == "stopped"
        assert "interrupted" in stopped["problem"]
        assert "syncd connect reconnect crm" in stopped["remedy"]

        # And a new sign-in is all it takes.
        assert org.refresh_token != "5Aep861.sandbox.0"
        done = installation.run("connect", "reconnect", "crm", refresh_token=org.refresh_token)
        assert done.code == 0, done.text
        assert installation.sync("crm", resource="Contact").problems == {}


def test_what_a_token_reply_says_besides_tokens_is_kept(installation: Installation) -> None:
    with an_org() as org:
        installation.add("crm", "salesforce", org.settings)
        org.edit("expire_token")
        assert installation.sync("crm", resource="Contact").problems == {}
        kept = StoredTokens(installation.app, "crm").load()
        assert kept.extra["instance_url"] == org.url
        assert "access_token" not in kept.extra
        org.edit("expire_token")
        assert installation.sync("crm", resource="Contact").problems == {}
        assert StoredTokens(installation.app, "crm").load().extra["instance_url"] == org.url


def test_a_wrong_key_refuses_to_start_and_touches_nothing(installation: Installation) -> None:
    with an_org() as org:
        installation.add("crm", "salesforce", org.settings)
    before = installation.row("crm")
    (installation.home / "key").write_text(new_key() + "\n")
    with pytest.raises(WrongKey, match="does not belong to this database"):
        open_app(load_settings(installation.home, installation.env))
    refused = installation.run("sync", "--once")
    assert refused.code == 2
    assert "Put back the key" in refused.text
    assert installation.row("crm") == before


def test_a_row_sealed_for_another_connection_does_not_open(installation: Installation) -> None:
    """Somebody who can write to the database cannot lend one connection's credentials to another."""
    with an_org() as org, ClioSandbox(size=2) as other:
        installation.add("crm", "salesforce", org.settings)
        installation.add("pms", "clio", clio_settings(other))
        with installation.app.engine.begin() as sql:
            stolen = installation.row("crm")["secrets"]
            sql.execute(update(connections).where(connections.c.name == "pms").values(secrets=stolen))
        requests = len(other.log)
        (problem, *_) = installation.sync("pms").problems.values()
        assert "cannot be read with this key" in problem.message
        assert "connect reconnect pms" in installation.row("pms")["remedy"]
        assert len(other.log) == requests
        assert installation.sync("crm").problems == {}
        secrets = {"client_secret": other.client_secret, "refresh_token": other.refresh_token}
        lacking = installation.run("connect", "reconnect", "pms", refresh_token=other.refresh_token)
        assert lacking.code == 2
        assert "client_secret" in lacking.text
        assert installation.run("connect", "reconnect", "pms", **secrets).code == 0
        assert installation.sync("pms").problems == {}


def test_an_address_changed_in_the_database_is_sent_no_credential(installation: Installation) -> None:
    """Somebody who can write to the database cannot have a credential sent to a server of their own."""
    with ClioSandbox(size=2) as clio, ClioSandbox(size=2) as theirs:
        installation.add("pms", "clio", clio_settings(clio))
        settings = json.loads(installation.row("pms")["settings"])
        with installation.app.engine.begin() as sql:
            bent = json.dumps(settings | {"base_url": theirs.url})
            sql.execute(update(connections).where(connections.c.name == "pms").values(settings=bent))
        (problem, *_) = installation.sync("pms").problems.values()
        assert "cannot be read" in problem.message
        assert theirs.log == []
        with installation.app.engine.begin() as sql:
            straight = json.dumps(settings)
            sql.execute(update(connections).where(connections.c.name == "pms").values(settings=straight, problem=None))
        assert installation.sync("pms").problems == {}


def test_a_connection_that_moves_takes_its_credential_along(installation: Installation) -> None:
    with ClioSandbox(size=2) as clio:
        installation.add("pms", "clio", clio_settings(clio))
        there = clio.url.replace("127.0.0.1", "localhost")
        move(installation.app, "pms", {"base_url": there})
        assert json.loads(installation.row("pms")["settings"])["base_url"] == there
        assert installation.sync("pms").problems == {}

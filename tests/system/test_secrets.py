"""Canaries: secrets that were stored, given or renewed reach no log, however they are wrapped, and no message."""

from __future__ import annotations

import base64
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote

import pytest

from connectors.salesforce.sandbox import SalesforceSandbox
from syncd import logs
from syncd.connecting import StoredTokens
from syncd.vault import VaultError
from tests.system.installation import Installation, environment, free_of
from tests.system.systems import CARDS, CLIO, CRM, SYSTEMS, System

ROOT = Path(__file__).parents[2]
CANARY = "canary+secret/&= 5e1f07"

systems = pytest.mark.parametrize("system", SYSTEMS, ids=[each.connector for each in SYSTEMS])


@pytest.fixture
def vendors() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """A log of this process as JSON lines, for as long as the test runs."""
    root = logging.getLogger()
    handlers, level, root.handlers = root.handlers[:], root.level, []
    lines = io.StringIO()
    logs.configure("json", "debug", stream=lines)
    yield lines
    logging.captureWarnings(capture=False)
    root.handlers = handlers
    root.setLevel(level)


def wrapped(secret: str) -> list[str]:
    """How a secret may come along in somebody's text."""
    basic = base64.b64encode(f"lawyer:{secret}".encode()).decode()
    return [
        secret,
        f"Bearer {secret}",
        f"Basic {basic}",
        f"?token={quote(secret)}",
        json.dumps({"x": secret}),
        repr(secret),
    ]


def said(stream: io.StringIO, *secrets: str) -> str:
    """The log after somebody tried to log the secrets in every way."""
    log = logs.get("test")
    for secret in secrets:
        for text in wrapped(secret):
            log.info("something", detail=text, more=[text])
            logging.getLogger("somebody.elses").warning("it said %s", text)
            try:
                raise VaultError(text)  # one of ours, so its text is shown
            except VaultError:
                log.exception("it_failed")
    return stream.getvalue()


@systems
def test_what_the_vault_opens_is_hidden_from_then_on(
    system: System, simple: Installation, vendors: ExitStack, stream: io.StringIO
) -> None:
    sandbox = vendors.enter_context(system.make())
    if system is CARDS:
        given = {**system.given(sandbox), "password": CANARY}
        added = simple.connect("mine", system.connector, given)
        assert added.code == 1  # a secret that was only tried is one, too
        secrets = [CANARY]
    else:
        given = system.given(sandbox)
        simple.add("mine", system.connector, given)
        assert simple.sync().problems == {}
        secrets = [secret for secret in system.secrets(given) if secret]
    shown = said(stream, *secrets)
    assert "something" in shown
    free_of(shown, *secrets)


@pytest.mark.parametrize("system", [CLIO, CRM], ids=["clio", "salesforce"])
def test_tokens_that_arrive_are_hidden_at_once(
    system: System, simple: Installation, vendors: ExitStack, stream: io.StringIO
) -> None:
    sandbox = vendors.enter_context(system.make())
    if system is CRM:
        sandbox.rotate = True  # type: ignore[attr-defined]
    simple.add("mine", system.connector, system.given(sandbox))
    sandbox.edit("expire_tokens" if system is CLIO else "expire_token")
    assert simple.sync().problems == {}
    kept = StoredTokens(simple.app, "mine").load()
    assert kept.access is not None
    assert kept.refresh is not None
    fresh = [kept.access.reveal(), kept.refresh.reveal()]
    if system is CRM:
        assert isinstance(sandbox, SalesforceSandbox)
        assert fresh == [max(sandbox.access_tokens), sandbox.refresh_token]
    free_of(said(stream, *fresh), *fresh)


def test_a_new_secret_of_a_reconnect_is_hidden_whether_it_works_or_not(
    simple: Installation, vendors: ExitStack, stream: io.StringIO
) -> None:
    sandbox = vendors.enter_context(CRM.make())
    simple.add("mine", CRM.connector, CRM.given(sandbox))
    done = simple.run("connect", "reconnect", "mine", refresh_token=CANARY)
    assert done.code == 1
    free_of(done.text + said(stream, CANARY), CANARY)


@pytest.mark.parametrize("word", ["event", "at", "error", "e", "info", "1"])
def test_a_password_that_is_an_everyday_word_breaks_no_log_line(word: str, stream: io.StringIO) -> None:
    """In a process of its own: from here on the word is hidden everywhere."""
    program = f"""
import io, json, logging
from connectors.salesforce.sandbox import SalesforceSandbox
from syncd import logs
logs.hide({word!r})
for form in ("json", "human"):
    stream = io.StringIO()
    logs.configure(form, "debug", stream=stream)
    try:
        raise ValueError("x")
    except ValueError:
        logs.get("part").exception("something_failed", number=1, word={word!r})
    (line,) = stream.getvalue().splitlines()
    if form == "json":
        found = json.loads(line)
        assert {{"at", "level", "part", "event", "number", "word", "error"}} == found.keys(), found
        assert found["word"] == "***"
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_processes_say_nothing_of_their_secrets_at_the_lowest_level(
    installation: Installation, vendors: ExitStack
) -> None:
    """A sync as a command of its own, everything logged, with a token that has to be renewed and a server that fails."""
    crm = vendors.enter_context(CRM.make())
    assert isinstance(crm, SalesforceSandbox)
    cards = vendors.enter_context(CARDS.make())
    installation.add("crm", CRM.connector, CRM.given(crm))
    installation.add("cards", CARDS.connector, CARDS.given(cards))
    CRM.add(crm, "Zephyrine", "Canaryworth")
    crm.edit("expire_token")
    cards.faults.add("REPORT *", "html")
    env = {**environment(installation), "SYNCD_LOG": "json", "SYNCD_LOG_LEVEL": "debug"}
    done = subprocess.run(
        [sys.executable, "-m", "syncd", "sync", "--once"],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1, done.stderr
    assert "batch_committed" in done.stderr
    secrets = [*CRM.secrets(CRM.given(crm)), *crm.access_tokens, (installation.home / "key").read_text().strip()]
    free_of(done.stdout + done.stderr, "Zephyrine", "Canaryworth", *filter(None, secrets))

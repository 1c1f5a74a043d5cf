"""The test servers themselves: they answer, are empty for each test, and die with the process that started them."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import redis
from sqlalchemy import create_engine, inspect, text

ROOT = Path(__file__).parents[2]


def test_a_fresh_database_answers_and_is_empty(empty_database_url: str) -> None:
    engine = create_engine(empty_database_url)
    with engine.begin() as connection:
        assert inspect(connection).get_table_names() == []
        connection.execute(text("CREATE TABLE made_by_this_test (id INTEGER)"))
    engine.dispose()


def test_a_database_with_the_schema_is_the_tests_own(database_url: str) -> None:
    engine = create_engine(database_url)
    with engine.begin() as connection:
        names = inspect(connection).get_table_names()
        assert "alembic_version" in names
        assert "made_by_this_test" not in names
        connection.execute(text("CREATE TABLE made_by_this_test (id INTEGER)"))
    engine.dispose()


def test_valkey_is_empty_for_each_test(valkey_url: str) -> None:
    with redis.Redis.from_url(valkey_url) as client:
        assert client.dbsize() == 0
        client.set("left", "behind")


def test_valkey_is_empty_for_the_next_test_too(valkey_url: str) -> None:
    with redis.Redis.from_url(valkey_url) as client:
        assert client.dbsize() == 0
        client.set("left", "behind")


@pytest.mark.slow
def test_a_server_dies_and_cleans_up_when_its_test_run_is_killed() -> None:
    program = "import sys; from tests.servers import Valkey; v = Valkey(); print(v.url, flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as run:
        assert run.stdout is not None
        socket_path = Path(run.stdout.readline().strip().removeprefix("unix://"))
        assert socket_path.exists()
        servers = [child for child in psutil.Process(run.pid).children(recursive=True) if child.is_running()]
        assert len(servers) == 2  # the keeper's shell and the server
        run.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(servers, timeout=20)
    assert alive == []
    deadline = time.monotonic() + 5
    while socket_path.parent.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not socket_path.parent.exists()

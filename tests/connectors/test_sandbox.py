"""The simulator toolkit: a real server, its log, its tables that survive, its fault script, its control paths."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from connectors.sandbox import (
    Effect,
    Request,
    Response,
    Sandbox,
    SandboxBroken,
    Tables,
    cut_after,
    cut_before,
    drip,
    half_body,
    html,
    rate_limit,
    slow,
    status,
)

AT = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


class Notes(Sandbox):
    """A vendor of notes."""

    name = "notes"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if not self.tables:
            self.tables["notes"]["1"] = {"text": "seeded"}
            self.tables.flush()

    def respond(self, request: Request) -> Response:
        notes = self.tables["notes"]
        id = request.path.removeprefix("/notes").strip("/")
        if request.path == "/crash":
            raise RuntimeError("a bug in the simulator")
        if request.method == "GET" and not id:
            return Response(200, list(notes.values()), {"X-Total": str(len(notes))})
        if request.method == "POST":
            id = str(self.next_id("notes", first=100))
            notes[id] = request.json()
            self.wrote(f"created notes/{id}")
            return Response(201, {"id": id})
        if id not in notes:
            return Response(404, {"error": "no such note"})
        if request.method == "DELETE":
            del notes[id]
            self.wrote(f"deleted notes/{id}")
            return Response(204)
        if request.method == "PATCH":
            notes[id]["text"] = request.json()["text"]
            self.wrote(f"updated notes/{id}")
        return Response(200, notes[id])

    def edit_note(self, id: str, text: str) -> str:
        self.tables["notes"][id]["text"] = text
        return text


@pytest.fixture
def notes() -> Iterator[Notes]:
    with Notes(clock=lambda: AT) as sandbox:
        yield sandbox


@pytest.fixture
def web(notes: Notes) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=notes.url, trust_env=False, timeout=10) as client:
        yield client


def test_many_requests_over_one_connection(notes: Notes, web: httpx.Client) -> None:
    streams = {id(web.get("/notes/1").extensions["network_stream"].get_extra_info("socket")) for _ in range(3)}
    assert len(streams) == 1
    assert web.post("/notes", json={"text": "a"}).json() == {"id": "100"}
    assert web.patch("/notes/100", json={"text": "b"}).json() == {"text": "b"}
    assert web.delete("/notes/100").status_code == 204
    assert web.get("/notes/100").status_code == 404
    assert notes.writes() == ["created notes/100", "updated notes/100", "deleted notes/100"]
    assert notes.counts() == {"requests": 7, "writes": 3}


def test_the_log_is_a_witness(notes: Notes, web: httpx.Client) -> None:
    web.post("/notes?a=%20b", json={"text": "a"})
    entry = notes.log[0]
    assert (entry.at, entry.method, entry.path, entry.query) == (AT.timestamp(), "POST", "/notes", "a=%20b")
    assert (entry.request_body, entry.status, entry.wrote) == (b'{"text":"a"}', 201, ("created notes/100",))
    assert orjson.loads(entry.response_body) == {"id": "100"}


def test_a_request_is_decoded_for_the_vendor() -> None:
    seen: list[Request] = []

    class Seeing(Sandbox):
        def respond(self, request: Request) -> Response:
            seen.append(request)
            return Response(200, {})

    def chunks() -> Iterator[bytes]:
        yield b"grant=x"
        yield b"&code=%C3%BC"

    with Seeing() as sandbox:
        httpx.post(
            f"{sandbox.url}/a%20b/%2Fc?x=1&x=2&empty=&q=%26",
            content=chunks(),
            headers=[("X-Two", "1"), ("X-Two", "2")],
            trust_env=False,
        )
    (request,) = seen
    assert (request.path, request.raw_path) == ("/a b//c", "/a%20b/%2Fc")
    assert request.query == {"x": ["1", "2"], "empty": [""], "q": ["&"]}
    assert (request.first("x"), request.first("none"), request.first("none", "d")) == ("1", None, "d")
    assert request.headers.get("X-TWO") == request.headers["x-two"] == "1, 2"
    assert request.form() == {"grant": "x", "code": "ü"}


def test_expect_100_continue(notes: Notes) -> None:
    with socket.create_connection(("127.0.0.1", notes.port), timeout=10) as line:
        line.sendall(b"POST /notes HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert line.recv(100).startswith(b"HTTP/1.1 100 ")
        line.sendall(b"{}")
        assert line.recv(1000).startswith(b"HTTP/1.1 201 Created")


@pytest.mark.parametrize("raw", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"])
def test_what_is_no_http_gets_400(notes: Notes, raw: bytes) -> None:
    with socket.create_connection(("127.0.0.1", notes.port), timeout=10) as line:
        line.sendall(raw)
        assert line.recv(1000).startswith(b"HTTP/1.1 400 ")
        assert line.recv(1000) == b""


@pytest.mark.parametrize(
    ("effect", "outcome", "wrote"),
    [
        (cut_before, httpx.RemoteProtocolError, 0),
        (cut_after, httpx.RemoteProtocolError, 1),
        (half_body, httpx.RemoteProtocolError, 1),
        (html, 200, 0),
        (status(503, {"Retry-After": "9"}, {"error": "x"}), 503, 0),
        (status(500), 500, 0),
        (rate_limit(7), 429, 0),
        (rate_limit(), 429, 0),
        (slow(0.01), 201, 1),
        (drip(0.001), 201, 1),
    ],
    ids=lambda value: value.kind if isinstance(value, Effect) else "",
)
def test_every_effect_and_then_all_is_well(
    notes: Notes, web: httpx.Client, effect: Effect, outcome: Any, wrote: int
) -> None:
    notes.faults.add("POST /notes*", effect)
    if isinstance(outcome, int):
        answer = web.post("/notes", json={"text": "a"})
        assert answer.status_code == outcome
        for name, value in effect.headers:
            assert answer.headers[name] == value
        if effect is html:
            assert answer.headers["content-type"].startswith("text/html")
    else:
        with pytest.raises(outcome):
            web.post("/notes", json={"text": "a"})
    assert len(notes.writes()) == wrote
    assert notes.faults.pending() == 0
    assert web.post("/notes", json={"text": "b"}).status_code == 201
    assert len(notes.log) == 2


def test_faults_start_late_and_run_out(notes: Notes, web: httpx.Client) -> None:
    notes.faults.add("GET /notes/?", status(500), times=2, after=1)
    notes.faults.add("PATCH *", "cut_before", times=None)
    assert [web.get("/notes/1").status_code for _ in range(5)] == [200, 500, 500, 200, 200]
    assert web.get("/notes").status_code == 200
    for _ in range(2):
        with pytest.raises(httpx.RemoteProtocolError):
            web.patch("/notes/1", json={"text": "x"})
    notes.faults.clear()
    assert web.patch("/notes/1", json={"text": "x"}).status_code == 200


def test_control_paths(notes: Notes, web: httpx.Client) -> None:
    web.get("/notes/1")
    control = "/__sandbox__"
    assert web.get(f"{control}/health").json() == {"ok": True, "name": "notes"}
    assert web.get(f"{control}/state").json()["notes"] == {"1": {"text": "seeded"}}
    assert web.post(f"{control}/edit", json={"do": "note", "args": {"id": "1", "text": "by hand"}}).json() == {
        "result": "by hand"
    }
    assert web.get("/notes/1").json() == {"text": "by hand"}
    fault = {"match": "GET /notes/1", "effect": "status", "args": {"code": 418, "body": {"a": 1}}, "times": 1}
    assert web.post(f"{control}/faults", json=fault).json() == {"pending": 1}
    assert web.get("/notes/1").json() == {"a": 1}
    web.post(f"{control}/faults", json={"effect": "cut_before", "times": None})
    assert web.post(f"{control}/faults", json={"clear": True}).json() == {"pending": 0}
    assert web.get(f"{control}/counts").json() == {"requests": 3, "writes": 0}
    (last,) = web.get(f"{control}/log", params={"since": 2}).json()
    assert (last["path"], last["status"], last["response_body"]) == ("/notes/1", 418, '{"a":1}')


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"do": "everything"}, "no such edit"),
        ({"do": "note", "args": {"id": "1"}}, "text"),
        ({"do": "note", "args": {"id": "7", "text": "x"}}, "KeyError"),
        ({}, "do"),
    ],
)
def test_a_wrong_edit_says_why(web: httpx.Client, body: dict[str, Any], says: str) -> None:
    answer = web.post("/__sandbox__/edit", json=body)
    assert answer.status_code == 400
    assert says in answer.json()["error"]


def test_control_paths_answer_no_other_site(notes: Notes, web: httpx.Client) -> None:
    assert web.get("/__sandbox__/state", headers={"Host": f"evil.example:{notes.port}"}).status_code == 403
    plain = {"Content-Type": "text/plain"}
    assert web.post("/__sandbox__/faults", content=b'{"effect":"html"}', headers=plain).status_code == 415
    assert web.get("/__sandbox__/other").status_code == 404
    assert notes.faults.pending() == 0
    assert notes.log == []


def test_a_bug_in_the_simulator_is_not_the_vendors(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SandboxBroken) as caught, Notes() as notes:
        assert httpx.get(f"{notes.url}/crash", trust_env=False).status_code == 500
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert "a bug in the simulator" in capsys.readouterr().err


def test_observers_see_both_sides() -> None:
    seen: list[tuple[str, int]] = []
    with Notes(observe=lambda request, response: seen.append((request.path, response.status))) as notes:
        notes.faults.add("GET /notes", status(500))
        for path in ("/notes", "/notes", "/notes/9"):
            httpx.get(notes.url + path, trust_env=False)
    assert seen == [("/notes", 200), ("/notes/9", 404)]  # an answer of the fault script is not the vendor's


def test_an_observer_that_objects_fails_the_test() -> None:
    def object_to(request: Request, response: Response) -> None:
        raise AssertionError("not as described")

    with pytest.raises(SandboxBroken) as caught, Notes(observe=object_to) as notes:
        assert httpx.get(f"{notes.url}/notes", trust_env=False).status_code == 200
    assert "not as described" in str(caught.value.__cause__)


def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    state = tmp_path / "deep" / "notes.jsonl"
    with Notes(state=state) as notes, httpx.Client(base_url=notes.url, trust_env=False) as web:
        web.post("/notes", json={"text": "kept"})
        web.post("/notes", json={"text": "dropped"})
        web.patch("/notes/100", json={"text": "changed in place"})
        web.delete("/notes/101")
        notes.edit("note", id="1", text="by hand")
        before = {name: dict(table) for name, table in notes.tables.items()}
    with Notes(state=state) as notes:
        assert {name: dict(table) for name, table in notes.tables.items()} == before
        assert httpx.post(f"{notes.url}/notes", json={}, trust_env=False).json() == {"id": "102"}


def test_a_torn_journal_loses_only_its_last_line(tmp_path: Path) -> None:
    state = tmp_path / "t.jsonl"
    tables = Tables(state)
    assert not tables
    tables["a"].update({"1": {"n": 1}, "2": {"n": 2}})
    tables.close()
    state.write_bytes(state.read_bytes() + b'{"t":"a","id":"3","row":{"n"')
    tables = Tables(state)
    assert tables
    assert dict(tables["a"]) == {"1": {"n": 1}, "2": {"n": 2}}
    tables["a"]["3"] = {"n": 3}
    tables.close()
    assert dict(Tables(state)["a"]) == {"1": {"n": 1}, "2": {"n": 2}, "3": {"n": 3}}


def test_the_journal_holds_changes_only(tmp_path: Path) -> None:
    state = tmp_path / "t.jsonl"
    tables = Tables(state)
    table = tables["a"]
    table["1"] = {"n": 1}
    tables.flush()
    table["1"]["n"] = 2
    assert table["1"] is table.get("1")
    assert table.get("none") is None
    tables.flush()
    assert table.setdefault("2", {"n": 5}) == {"n": 5}
    assert table.pop("2") == {"n": 5}
    tables.flush()
    table["3"] = {}
    tables.flush()
    assert table.popitem() == ("3", {})
    table.clear()
    tables.close()
    lines = [orjson.loads(line) for line in state.read_bytes().splitlines()]
    assert [(line["id"], line["row"]) for line in lines] == [
        ("1", {"n": 1}),
        ("1", {"n": 2}),
        ("3", {}),
        ("1", None),
        ("3", None),
    ]
    assert not Tables(state)


def test_bodies_of_old_log_entries_make_room() -> None:
    class Big(Sandbox):
        def respond(self, request: Request) -> Response:
            return Response(200, bytes(30_000_000))

    with Big() as sandbox:
        for _ in range(3):
            assert len(httpx.get(sandbox.url, trust_env=False).content) == 30_000_000
    assert [len(entry.response_body) for entry in sandbox.log] == [0, 30_000_000, 30_000_000]


def test_stop_ends_every_thread_and_start_may_follow() -> None:
    before = set(threading.enumerate())
    notes = Notes()

    def cut_off() -> None:
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{notes.url}/x", trust_env=False)

    with httpx.Client(trust_env=False) as web:
        for _ in range(2):
            notes.start()
            assert web.get(f"{notes.url}/notes").status_code == 200
            notes.faults.add("*", slow(60))
            asking = threading.Thread(target=cut_off)
            asking.start()
            while notes.faults.pending():
                asking.join(0.01)
            notes.stop()
            asking.join(10)
            assert not asking.is_alive()
    assert set(threading.enumerate()) <= before


PROGRAM = """
from tests.connectors.test_sandbox import Notes
from connectors.sandbox import main
main(lambda port, host, state, seed, size=None: Notes(port=port, host=host, state=state))
"""


def test_it_runs_as_a_program(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", PROGRAM, "--state", str(tmp_path / "notes.jsonl"), "--seed", "3"]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root, env=environment) as program:
        try:
            assert program.stdout is not None
            url = program.stdout.readline().split()[-1]
            assert httpx.get(f"{url}/__sandbox__/health", trust_env=False).json()["name"] == "notes"
            assert httpx.post(f"{url}/notes", json={"text": "kept"}, trust_env=False).status_code == 201
            program.send_signal(signal.SIGTERM)
            assert program.wait(20) == 0
        finally:
            program.kill()
    assert dict(Tables(tmp_path / "notes.jsonl")["notes"])["100"] == {"text": "kept"}


def test_the_standard_librarys_client_understands_it_too(notes: Notes) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{notes.url}/notes/1") as answer:
        assert orjson.loads(answer.read()) == {"text": "seeded"}
    with pytest.raises(urllib.error.HTTPError, match="404") as caught:
        opener.open(f"{notes.url}/notes/none")
    caught.value.close()

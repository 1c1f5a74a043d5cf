"""What every vendor simulator is made of: a real HTTP server on loopback, tables, a request log and a fault script.

A subclass answers `respond(request)` as the vendor's documentation says. It serves the demo, the tests and
people who try a mapping. `edit_*` methods act as that system's own users; they are reachable over HTTP, too:

    GET  /__sandbox__/health          {"ok": true, "name": ...}
    GET  /__sandbox__/state           every table
    GET  /__sandbox__/log?since=N     the request log from entry N on
    GET  /__sandbox__/counts          {"requests": ..., "writes": ...}
    POST /__sandbox__/edit            {"do": "rename_contact", "args": {...}} calls edit_rename_contact(**args)
    POST /__sandbox__/faults          {"match": "PATCH /contacts*", "effect": "cut_after", "args": {}, "times": 1,
                                       "after": 0}; {"clear": true} forgets all

It is no server for the open network: no TLS, no limits, and the control paths answer loopback clients only.
"""

from __future__ import annotations

import argparse
import dataclasses
import fnmatch
import io
import ipaddress
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, unquote

import orjson

CONTROL = "/__sandbox__/"
LOG_BYTES_MAX = 64_000_000
HEADER_BYTES_MAX = 65_536
REASONS = {status.value: status.phrase for status in HTTPStatus}
Row = dict[str, Any]


def utc_now() -> datetime:
    return datetime.now(UTC)


class CaseInsensitive(Mapping[str, str]):
    """Header values by name, whatever the name's case. Repeated headers are joined with a comma."""

    __slots__ = ("_values",)

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._values: dict[str, str] = {}
        for name, value in pairs:
            low = name.lower()
            self._values[low] = f"{self._values[low]}, {value}" if low in self._values else value

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the vendor sees it.

    path      percent-decoded, without the query; raw_path is the same as it was sent
    query     every value of every name, decoded; raw_query as it was sent
    """

    method: str
    path: str
    query: dict[str, list[str]]
    headers: Mapping[str, str]
    body: bytes
    raw_path: str
    raw_query: str = ""

    def json(self) -> Any:
        """The body; raises orjson.JSONDecodeError (a ValueError) when it is not JSON."""
        return orjson.loads(self.body)

    def form(self) -> dict[str, str]:
        """The body as an HTML form, first value of each name (OAuth token requests)."""
        pairs = parse_qs(self.body.decode("utf-8", "replace"), keep_blank_values=True)
        return {name: values[0] for name, values in pairs.items()}

    def first(self, name: str, default: str | None = None) -> str | None:
        """The first value of a query parameter."""
        values = self.query.get(name)
        return values[0] if values else default


@dataclass(slots=True)
class Response:
    """An answer. A dict or list body is sent as JSON; bytes go out as they are, with the headers' content type."""

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Logged:
    """One request and what became of it.

    at     unix time by the sandbox's clock
    query  as it was sent
    status 0 when the connection was closed before any work
    wrote  "created contacts/12", "updated contacts/12", "deleted contacts/12": records written through the API

    Bodies of the oldest entries are emptied when all bodies together pass 64 MB.
    """

    at: float
    method: str
    path: str
    query: str
    request_body: bytes
    status: int
    response_body: bytes
    wrote: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Effect:
    """What a fault does; made by the functions and constants below."""

    kind: str
    status: int = 503
    headers: tuple[tuple[str, str], ...] = ()
    body: Any = None
    seconds: float = 0.0


cut_before = Effect("cut_before")  # the connection is closed, nothing was done
cut_after = Effect("cut_after")  # the work is done, the connection is closed without an answer
half_body = Effect("half_body")  # the work is done, the answer stops in the middle
html = Effect("html")  # nothing was done, a web page with status 200 comes instead (a proxy, a log-in page)


def status(code: int, headers: Mapping[str, str] | None = None, body: Any = None) -> Effect:
    """Nothing is done; this answer comes."""
    return Effect("status", status=code, headers=tuple((headers or {}).items()), body=body)


def slow(seconds: float) -> Effect:
    """The answer is right, and late."""
    return Effect("slow", seconds=seconds)


def drip(seconds: float) -> Effect:
    """The answer is right and comes byte by byte, this long apart."""
    return Effect("drip", seconds=seconds)


def rate_limit(retry_after: float | None = None) -> Effect:
    """429; `retry_after` seconds go into the header, None leaves the header out."""
    headers = () if retry_after is None else (("Retry-After", f"{retry_after:g}"),)
    return Effect("status", status=429, headers=headers, body={"message": "Too Many Requests"})


EFFECTS: Mapping[str, Callable[..., Effect]] = {
    "cut_before": lambda: cut_before,
    "cut_after": lambda: cut_after,
    "half_body": lambda: half_body,
    "html": lambda: html,
    "status": status,
    "slow": slow,
    "drip": drip,
    "rate_limit": rate_limit,
}


@dataclass(slots=True)
class _Fault:
    match: str
    effect: Effect
    times: int | None
    after: int


class Faults:
    """The fault script: what goes wrong with which request, how often, from when on."""

    def __init__(self) -> None:
        self._faults: list[_Fault] = []
        self._lock = threading.Lock()

    def add(self, match: str = "*", effect: Effect | str = cut_before, times: int | None = 1, after: int = 0) -> None:
        """The requests that match meet the effect: the first `after` of them pass, the next `times` do not.

        match   "METHOD /path", decoded and without the query, with * and ? as in file names
        effect  a constant or function of this module, or the name of one that needs no arguments
        times   None: every time
        """
        if isinstance(effect, str):
            effect = EFFECTS[effect]()
        with self._lock:
            self._faults.append(_Fault(match, effect, times, after))

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def pending(self) -> int:
        """How many faults have not run out: a test that armed one can see that it was met."""
        with self._lock:
            return len(self._faults)

    def next_for(self, request: Request) -> Effect | None:
        line = f"{request.method} {request.path}"
        with self._lock:
            for fault in self._faults:
                if not fnmatch.fnmatchcase(line, fault.match):
                    continue
                if fault.after > 0:
                    fault.after -= 1
                    continue
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._faults.remove(fault)
                return fault.effect
        return None


class Table(dict[str, Row]):
    """Rows by id. Remembers which ids were touched, for the journal.

    A row changed in place is noticed when it was reached by its id; a row reached by looping over the table must
    be put back (`table[id] = row`) to survive a restart.
    """

    def __init__(self, rows: Mapping[str, Row] | None = None) -> None:
        super().__init__(rows or {})
        self.touched: set[str] = set()

    def __getitem__(self, id: str) -> Row:
        self.touched.add(id)
        return super().__getitem__(id)

    def get(self, id: str, default: Any = None) -> Any:
        self.touched.add(id)
        return super().get(id, default)

    def __setitem__(self, id: str, row: Row) -> None:
        self.touched.add(id)
        super().__setitem__(id, row)

    def __delitem__(self, id: str) -> None:
        self.touched.add(id)
        super().__delitem__(id)

    def pop(self, id: str, *default: Any) -> Any:
        self.touched.add(id)
        return super().pop(id, *default)

    def popitem(self) -> tuple[str, Row]:
        id, row = super().popitem()
        self.touched.add(id)
        return id, row

    def setdefault(self, id: str, row: Any = None) -> Row:
        self.touched.add(id)
        return super().setdefault(id, row)

    def update(self, rows: Any = (), /, **more: Row) -> None:
        for id, row in {**dict(rows), **more}.items():
            self[id] = row

    def clear(self) -> None:
        self.touched.update(self)
        super().clear()


class Tables(dict[str, Table]):
    """Tables by name, made when first asked for; journalled to a file of JSON lines if one is given.

    A line is {"t": table, "id": id, "row": row or null}; the last line of an id counts, a torn last line is ignored.
    False while there is no row at all: that is when a sandbox fills in its seeded data.
    """

    def __init__(self, state: Path | None = None) -> None:
        super().__init__()
        self._state = state
        self._file: io.BufferedWriter | None = None
        self._kept: dict[tuple[str, str], int] = {}
        if state is not None:
            self._load(state)

    def __missing__(self, name: str) -> Table:
        table = self[name] = Table()
        return table

    def __bool__(self) -> bool:
        return any(self.values())

    def flush(self) -> None:
        """Append every changed row to the journal."""
        lines: list[bytes] = []
        for name, table in self.items():
            if not table.touched:
                continue
            if self._state is not None:
                for id in sorted(table.touched):
                    row = dict.get(table, id)
                    line = orjson.dumps({"t": name, "id": id, "row": row})
                    known = self._kept.get((name, id))
                    if known == hash(line) or (row is None and known is None):
                        continue
                    self._kept[name, id] = hash(line)
                    lines.append(line)
            table.touched.clear()
        if lines and self._state is not None:
            if self._file is None:
                self._state.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._state.open("ab")
            self._file.write(b"\n".join(lines) + b"\n")
            self._file.flush()

    def close(self) -> None:
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _load(self, state: Path) -> None:
        if not state.exists():
            return
        read = 0
        for raw in state.read_bytes().split(b"\n"):
            try:
                entry = orjson.loads(raw)
            except orjson.JSONDecodeError:
                continue
            read += 1
            if entry["row"] is None:
                self[entry["t"]].pop(entry["id"], None)
            else:
                self[entry["t"]][entry["id"]] = entry["row"]
        live = [
            orjson.dumps({"t": name, "id": id, "row": row}) for name, table in self.items() for id, row in table.items()
        ]
        self._kept = {
            (name, id): hash(orjson.dumps({"t": name, "id": id, "row": row}))
            for name, table in self.items()
            for id, row in table.items()
        }
        for table in self.values():
            table.touched.clear()
        # Rewritten on every load: drops overwritten rows, and a torn last line that the next append would lengthen.
        fresh = state.with_suffix(state.suffix + ".new")
        fresh.write_bytes(b"".join(line + b"\n" for line in live))
        fresh.replace(state)


class SandboxBroken(Exception):
    """The simulator itself raised; its own errors must not pass for the vendor's."""


class Sandbox:
    """Base class of every vendor simulator. Use it as a context manager, or `start()` and `stop()`.

    port     0 picks a free one
    state    a file to keep the tables in, so that a restart goes on where it was
    clock    the vendor's own clock
    observe  called after every request, for checks against the vendor's published description

    A subclass fills its tables in __init__ `if not self.tables`, and implements `respond`.
    """

    name = "sandbox"

    def __init__(
        self,
        *,
        port: int = 0,
        state: Path | None = None,
        clock: Callable[[], datetime] = utc_now,
        observe: Callable[[Request, Response], None] | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.clock = clock
        self.lock = threading.RLock()
        self.log: list[Logged] = []
        self.faults = Faults()
        self.tables = Tables(state)
        self.errors: list[BaseException] = []
        self.stopping = threading.Event()
        self._observe = observe
        self._address = (host, port)
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._open: dict[socket.socket, threading.Thread] = {}
        self._open_lock = threading.Lock()
        self._wrote: list[str] = []
        self._log_bytes = 0
        self._log_emptied = 0

    # What a subclass says ------------------------------------------------------------------------------------------

    def respond(self, request: Request) -> Response:
        """The vendor's API. Runs under `lock`, one request at a time."""
        raise NotImplementedError

    def wrote(self, what: str) -> None:
        """Note one record that the API call in progress wrote: "created contacts/12"."""
        self._wrote.append(what)

    def next_id(self, table: str, first: int = 1) -> int:
        """A number never given before for this table; survives a restart."""
        counters = self.tables["__counters__"]
        number = int(counters.get(table, {}).get("last", first - 1)) + 1
        counters[table] = {"last": number}
        return number

    # Life ----------------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"http://{self._address[0]}:{self._address[1]}"

    @property
    def port(self) -> int:
        return self._address[1]

    def start(self) -> Self:
        self.stopping.clear()
        self._listener = socket.create_server(self._address, backlog=128)
        self._address = (self._address[0], self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, args=(self._listener,), daemon=True, name="sandbox")
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close every connection and the journal. The tables and the log stay readable; `start` may follow."""
        self.stopping.set()
        if self._listener is not None and self._thread is not None:
            # A connection of our own is the portable way to wake a blocking accept.
            with socket.socket() as wake:
                wake.settimeout(5)
                wake.connect_ex(("127.0.0.1", self._address[1]))
            self._thread.join(10)
            self._listener.close()
            self._listener = self._thread = None
        with self._open_lock:
            threads = list(self._open.values())
            for connection in self._open:
                hang_up(connection)
        for thread in threads:
            thread.join(10)
        with self.lock:
            self.tables.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.stop()
        if kind is None and self.errors:
            raise SandboxBroken(f"{type(self).__name__} raised while it answered") from self.errors[0]

    # Reading the log -----------------------------------------------------------------------------------------------

    def writes(self, since: int = 0) -> list[str]:
        """Every record write through the API from log entry `since` on, in order."""
        return [what for entry in self.log[since:] for what in entry.wrote]

    def counts(self) -> dict[str, int]:
        with self.lock:
            return {"requests": len(self.log), "writes": len(self.writes())}

    def edit(self, do: str, **args: Any) -> Any:
        """Call edit_<do> under the lock, as a user of that system would."""
        method = getattr(self, f"edit_{do}", None)
        if method is None:
            offered = sorted(name[5:] for name in dir(self) if name.startswith("edit_"))
            raise ValueError(f"no such edit: {do}; there are {', '.join(offered) or 'none'}")
        with self.lock:
            result = method(**args)
            self.tables.flush()
            return result

    # The server ----------------------------------------------------------------------------------------------------

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            if self.stopping.is_set():
                connection.close()
                return
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True, name="sandbox-connection")
            with self._open_lock:
                self._open[connection] = thread
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with connection.makefile("rb") as stream:
                while not self.stopping.is_set() and self._serve_one(connection, stream):
                    pass
        except OSError:
            pass  # the client went away; nothing to tell it
        finally:
            with self._open_lock:
                self._open.pop(connection, None)
            hang_up(connection)
            connection.close()

    def _serve_one(self, connection: socket.socket, stream: io.BufferedReader) -> bool:
        """Answer one request; False when the connection must be closed."""
        try:
            request = read_request(stream, connection)
        except ValueError as error:
            send(connection, Response(400, {"error": str(error)}), self._date(), keep=False)
            return False
        if request is None:
            return False
        keep = request.headers.get("connection", "").lower() != "close"
        if request.path.startswith(CONTROL):
            answer = self._control(request, connection.getpeername()[0])
            send(connection, answer, self._date(), keep, request.method)
            return keep
        effect = self.faults.next_for(request)
        if effect is not None and effect.kind == "slow" and self.stopping.wait(effect.seconds):
            return False
        if effect is not None and effect.kind == "cut_before":
            self._note(request, 0, b"", ())
            return False
        answer, sent = self._answer(request, effect)
        if effect is not None and effect.kind == "cut_after":
            return False
        if effect is not None and effect.kind == "half_body":
            send(connection, answer, self._date(), keep, request.method, half=True)
            return False
        if effect is not None and effect.kind == "drip":
            head, body = frame(answer, self._date(), keep, request.method)
            connection.sendall(head)
            for at in range(len(body)):
                if self.stopping.wait(effect.seconds):
                    return False
                connection.sendall(body[at : at + 1])
            return keep
        connection.sendall(sent if keep else b"".join(frame(answer, self._date(), keep, request.method)))
        return keep

    def _answer(self, request: Request, effect: Effect | None) -> tuple[Response, bytes]:
        with self.lock:
            self._wrote = []
            if effect is not None and effect.kind == "status":
                answer = Response(effect.status, b"" if effect.body is None else effect.body, dict(effect.headers))
            elif effect is not None and effect.kind == "html":
                page = b"<!doctype html><html><body><h1>Sign in</h1></body></html>"
                answer = Response(200, page, {"Content-Type": "text/html; charset=utf-8"})
            else:
                try:
                    answer = self.respond(request)
                    self.tables.flush()
                except Exception as error:
                    traceback.print_exc(file=sys.stderr)
                    self.errors.append(error)
                    answer = Response(500, {"error": "the sandbox itself is broken, see its standard error"})
            head, body = frame(answer, self._date(), True, request.method)
            self._note(request, answer.status, body, tuple(self._wrote))
            if self._observe is not None and effect is None:
                try:
                    self._observe(request, answer)
                except Exception as error:
                    self.errors.append(error)
            return answer, head + body

    def _note(self, request: Request, status: int, body: bytes, wrote: tuple[str, ...]) -> None:
        with self.lock:
            entry = Logged(
                self.clock().timestamp(),
                request.method,
                request.path,
                request.raw_query,
                request.body,
                status,
                body,
                wrote,
            )
            self.log.append(entry)
            self._log_bytes += len(entry.request_body) + len(body)
            while self._log_bytes > LOG_BYTES_MAX and self._log_emptied < len(self.log) - 1:
                old = self.log[self._log_emptied]
                self._log_bytes -= len(old.request_body) + len(old.response_body)
                self.log[self._log_emptied] = dataclasses.replace(old, request_body=b"", response_body=b"")
                self._log_emptied += 1

    def _date(self) -> str:
        return format_datetime(self.clock().astimezone(UTC), usegmt=True)

    def _control(self, request: Request, peer: str) -> Response:
        host = request.headers.get("host", "").rpartition(":")[0].strip("[]")
        if not ipaddress.ip_address(peer).is_loopback or host not in ("127.0.0.1", "localhost", "::1"):
            return Response(403, {"error": "only from this machine"})
        what = request.path.removeprefix(CONTROL)
        if request.method == "GET" and what == "health":
            return Response(200, {"ok": True, "name": self.name})
        with self.lock:
            if request.method == "GET" and what == "state":
                return Response(200, dict(self.tables))
            if request.method == "GET" and what == "counts":
                return Response(200, self.counts())
            if request.method == "GET" and what == "log":
                since = int(request.first("since", "0") or 0)
                return Response(200, [shown(entry) for entry in self.log[since:]])
        if request.method != "POST" or what not in ("edit", "faults"):
            return Response(404, {"error": "no such control path"})
        # A web page can send plain text to loopback without asking, but not this content type.
        if not request.headers.get("content-type", "").startswith("application/json"):
            return Response(415, {"error": "send application/json"})
        try:
            told = request.json()
            if what == "edit":
                return Response(200, {"result": self.edit(told["do"], **told.get("args", {}))})
            if told.get("clear"):
                self.faults.clear()
            else:
                effect = EFFECTS[told["effect"]](**told.get("args", {}))
                self.faults.add(told.get("match", "*"), effect, told.get("times", 1), told.get("after", 0))
            return Response(200, {"pending": self.faults.pending()})
        except (ValueError, TypeError, LookupError) as error:
            return Response(400, {"error": f"{type(error).__name__}: {error}"})


def read_request(stream: io.BufferedReader, connection: socket.socket) -> Request | None:
    """One HTTP/1.1 request; None at the end of the connection. Raises ValueError for what is no request."""
    line = stream.readline(HEADER_BYTES_MAX)
    if not line.strip():
        return None
    try:
        method, target, _version = line.decode("latin-1").split()
    except ValueError:
        raise ValueError("the request line is malformed") from None
    pairs: list[tuple[str, str]] = []
    while (line := stream.readline(HEADER_BYTES_MAX)) not in (b"\r\n", b"\n"):
        if not line:
            return None
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or len(pairs) > 200:
            raise ValueError("a header is malformed")
        pairs.append((name, value.strip()))
    headers = CaseInsensitive(pairs)
    if headers.get("expect", "").lower() == "100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = read_chunks(stream)
    else:
        body = stream.read(int(headers.get("content-length", "0")))
    if target.startswith(("http://", "https://")):
        target = "/" + target.split("/", 3)[3] if target.count("/") > 2 else "/"
    raw_path, _, raw_query = target.partition("?")
    return Request(
        method=method,
        path=unquote(raw_path),
        query=parse_qs(raw_query, keep_blank_values=True),
        headers=headers,
        body=body,
        raw_path=raw_path,
        raw_query=raw_query,
    )


def read_chunks(stream: io.BufferedReader) -> bytes:
    parts: list[bytes] = []
    while size := int(stream.readline(100).split(b";")[0], 16):
        parts.append(stream.read(size))
        stream.readline(100)
    while stream.readline(HEADER_BYTES_MAX) not in (b"\r\n", b"\n", b""):
        pass
    return b"".join(parts)


def frame(answer: Response, date: str, keep: bool, method: str = "GET") -> tuple[bytes, bytes]:
    """(status line and headers, body) as they go over the wire."""
    headers = {"Date": date, **answer.headers}
    names = {name.lower() for name in headers}
    body = answer.body
    if isinstance(body, str):
        body = body.encode()
    if not isinstance(body, bytes | bytearray | memoryview):
        body = orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS)
        if "content-type" not in names:
            headers["Content-Type"] = "application/json; charset=utf-8"
    bodiless = answer.status in (204, 304) or answer.status < 200
    if not bodiless and "content-length" not in names:
        headers["Content-Length"] = str(len(body))
    headers["Connection"] = "keep-alive" if keep else "close"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'Unknown')}\r\n{lines}\r\n"
    return head.encode("latin-1", "replace"), b"" if bodiless or method == "HEAD" else bytes(body)


def send(
    connection: socket.socket, answer: Response, date: str, keep: bool, method: str = "GET", half: bool = False
) -> None:
    head, body = frame(answer, date, keep, method)
    connection.sendall(head + (body[: len(body) // 2] if half else body))


def hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it is closed already


def shown(entry: Logged) -> dict[str, Any]:
    """A log entry as JSON; bodies as text."""
    return {
        **dataclasses.asdict(entry),
        "request_body": entry.request_body.decode("utf-8", "replace"),
        "response_body": entry.response_body.decode("utf-8", "replace"),
    }


def main(factory: Callable[..., Sandbox], argv: list[str] | None = None) -> None:
    """Run a sandbox until it is interrupted: `python -m connectors.clio.sandbox --port 9101 --state clio.jsonl`.

    `factory` takes the keywords port, host, state, seed and size (how many records; None: its own default).
    Prints its address on one line as soon as it answers.
    """
    parser = argparse.ArgumentParser(description="A simulated vendor on this machine, with made-up data.")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--state", type=Path, default=None, help="a file to keep the data in")
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same data")
    parser.add_argument("--size", type=int, default=None, help="how many records to make up")
    chosen = parser.parse_args(argv)
    options = {name: value for name, value in vars(chosen).items() if value is not None}
    options = {**options, "state": chosen.state}
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with factory(**options) as sandbox:
        print(f"{sandbox.name} sandbox on {sandbox.url}", flush=True)
        stop.wait()

"""Holds every request and answer of a test against the vendor's own published description (OpenAPI 3.0 or 3.1).

A `Description` is used as the `observe=` hook of a sandbox (`observe=description.check`) or wrapped around an
httpx transport (`description.transport(inner)`), and collects `Divergence` values. Beyond what openapi-core
checks (path, parameters, bodies, statuses) it also reports query parameters and properties that the description
does not declare, so a misspelt field cannot pass. What must differ is an `Exemption` with its reason; `unused`
names those that no longer explain anything, so that they are taken out again.

The descriptions are the vendors' documents and are not part of this project: they are looked for in
`../shared/vendors/specs` beside the project, or in `$SYNCD_VENDOR_FACTS/specs`; without them the test is skipped.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import orjson
import pytest
import yaml
from openapi_core import Config, OpenAPI
from openapi_core.datatypes import RequestParameters
from werkzeug.datastructures import Headers, ImmutableMultiDict

if TYPE_CHECKING:
    from connectors.sandbox import Request, Response


@dataclass(frozen=True, slots=True)
class Divergence:
    """where: "PATCH /contacts/{id}.json request" or "... answer 200"; what: the place in it and the complaint."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


@dataclass(frozen=True, slots=True)
class Exemption:
    """Divergences that are meant. `where` and `what` are regular expressions, searched for; `why` is for a reader."""

    where: str
    what: str
    why: str

    def explains(self, divergence: Divergence) -> bool:
        return bool(re.search(self.where, divergence.where) and re.search(self.what, divergence.what))


@dataclass(slots=True)
class Call:
    """A request in the form that openapi-core reads, whatever client or server it came from."""

    host_url: str
    path: str
    method: str
    content_type: str
    body: bytes | None
    parameters: RequestParameters


@dataclass(slots=True)
class Answer:
    """A response in the form that openapi-core reads."""

    data: bytes
    status_code: int
    content_type: str
    headers: Headers


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the document: what is declared for it, found by matching path templates."""

    template: str
    raw: Mapping[str, Any]
    parameters: tuple[Mapping[str, Any], ...]


@dataclass(slots=True)
class Description:
    """A vendor's document and what was found to differ from it.

    server  scheme and host that the requests are read as if sent to (sandboxes listen on loopback)
    skip    path prefixes that the document does not cover; those requests are not looked at
    """

    document: Mapping[str, Any]
    openapi: OpenAPI
    server: str
    skip: tuple[str, ...]
    base_path: str
    divergences: list[Divergence] = field(default_factory=list)
    calls: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def load(cls, name: str, *, server: str | None = None, skip: Sequence[str] = ()) -> Description:
        """The document `name` of the vendors' specs; skips the calling test when it is absent."""
        found = cls.find(name, server=server, skip=skip)
        if found is None:
            pytest.skip(f"the vendors' descriptions are not here ({specs()}); set SYNCD_VENDOR_FACTS to their folder")
        return found

    @classmethod
    def find(cls, name: str, *, server: str | None = None, skip: Sequence[str] = ()) -> Description | None:
        """As `load`, but None when the document is absent: for tests that mean something without it, too."""
        if not (path := specs() / name).is_file():
            return None
        document, openapi = _read(str(path))
        first = document["servers"][0]
        url = first["url"]
        for variable, given in first.get("variables", {}).items():
            url = url.replace("{" + variable + "}", given["default"])
        parts = urlsplit(url)
        return cls(
            document=document,
            openapi=openapi,
            server=server or f"{parts.scheme}://{parts.netloc}",
            skip=("/__sandbox__/", *skip),
            base_path=parts.path.rstrip("/"),
        )

    def check(self, request: Request, response: Response) -> None:
        """The `observe=` hook of a sandbox."""
        query = [(name, value) for name, values in request.query.items() for value in values]
        body = response.body
        self.hold(
            request_call(self.server, request.method, request.path, query, request.headers, request.body),
            given_answer(response.status, response.headers, body if isinstance(body, bytes) else orjson.dumps(body)),
        )

    def transport(self, inner: httpx.BaseTransport) -> httpx.BaseTransport:
        """A transport that sends through `inner` and looks at every exchange."""
        return _Watched(inner, self)

    def unexplained(self, exemptions: Sequence[Exemption] = ()) -> list[str]:
        """What differs without an exemption, each once."""
        return sorted({str(d) for d in self.divergences if not any(e.explains(d) for e in exemptions)})

    def unused(self, exemptions: Sequence[Exemption]) -> list[Exemption]:
        """Exemptions that explained nothing: they are to be taken out."""
        return [e for e in exemptions if not any(e.explains(d) for d in self.divergences)]

    def hold(self, call: Call, answer: Answer) -> None:
        """Look at one exchange."""
        if call.path.startswith(self.skip):
            return
        found = list(self._differences(call, answer))
        with self._lock:
            self.calls += 1
            self.divergences += found

    def _differences(self, call: Call, answer: Answer) -> Iterator[Divergence]:
        operation = self._operation(call)
        asked = f"{call.method.upper()} {operation.template if operation else call.path} request"
        for error in self.openapi.iter_request_errors(call):
            yield from (Divergence(asked, reason) for reason in _reasons(error))
        if operation is None:
            return
        declared = {p["name"] for p in operation.parameters if p["in"] == "query"}
        for name in call.parameters.query.keys() - declared:
            yield Divergence(asked, f"query parameter {name} is not declared")
        content = self._resolved(operation.raw.get("requestBody", {})).get("content", {})
        yield from (Divergence(asked, what) for what in self._undeclared(content, call.content_type, call.body))
        given = asked.removesuffix("request") + f"answer {answer.status_code}"
        for error in self.openapi.iter_response_errors(call, answer):
            yield from (Divergence(given, reason) for reason in _reasons(error))
        replies = operation.raw.get("responses", {})
        reply = self._resolved(replies.get(str(answer.status_code), replies.get("default", {})))
        content = reply.get("content", {})
        yield from (Divergence(given, what) for what in self._undeclared(content, answer.content_type, answer.data))

    def _operation(self, call: Call) -> Operation | None:
        """The operation of the most literal template that fits the path."""
        if not call.path.startswith(self.base_path + "/"):
            return None
        path = call.path[len(self.base_path) :]
        for template, pattern in _patterns(tuple(self.document["paths"])):
            if pattern.fullmatch(path) and call.method in (item := self.document["paths"][template]):
                raw = item[call.method]
                both = (*item.get("parameters", ()), *raw.get("parameters", ()))
                return Operation(template, raw, tuple(self._resolved(p) for p in both))
        return None

    def _undeclared(self, content: Mapping[str, Any], content_type: str, body: bytes | None) -> Iterator[str]:
        plain = content_type.split(";")[0].strip().lower()
        media = next((m for key, m in content.items() if key.split(";")[0].strip().lower() == plain), None)
        if media is None or not body or "json" not in plain:
            return
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError:
            return  # openapi-core has said so already
        yield from self._surplus(media.get("schema", {}), value, "")

    def _surplus(self, schema: Mapping[str, Any], value: Any, at: str) -> Iterator[str]:
        """Properties of `value` that the schema does not name. A schema that names none accepts any."""
        if isinstance(value, list):
            items = [part["items"] for part in self._parts(schema) if "items" in part]
            for entry in value if items else ():
                yield from self._surplus(items[0], entry, f"{at}.*")
        elif isinstance(value, dict):
            named: dict[str, Any] = {}
            for part in self._parts(schema):
                named.update(part.get("properties", {}))
                if part.get("additionalProperties") or "oneOf" in part or "anyOf" in part:
                    return
            for name, inner in value.items() if named else ():
                if name not in named:
                    yield f"{at}.{name}: the property is not declared".lstrip(".")
                else:
                    yield from self._surplus(named[name], inner, f"{at}.{name}")

    def _parts(self, schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        schema = self._resolved(schema)
        yield schema
        for part in schema.get("allOf", ()):
            yield from self._parts(part)

    def _resolved(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in node:
            target: Any = self.document
            for step in node["$ref"].removeprefix("#/").split("/"):
                target = target[step.replace("~1", "/").replace("~0", "~")]
            node = target
        return node


class _Watched(httpx.BaseTransport):
    def __init__(self, inner: httpx.BaseTransport, description: Description) -> None:
        self.inner = inner
        self.description = description

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        body = request.read()
        response = self.inner.handle_request(request)
        content = response.read()
        query = parse_qsl(request.url.query.decode(), keep_blank_values=True)
        self.description.hold(
            request_call(self.description.server, request.method, request.url.path, query, request.headers, body),
            given_answer(response.status_code, response.headers, content),
        )
        return response

    def close(self) -> None:
        self.inner.close()


def request_call(
    server: str, method: str, path: str, query: Sequence[tuple[str, str]], headers: Mapping[str, str], body: bytes
) -> Call:
    sent = Headers(list(headers.items()))
    parameters = RequestParameters(query=ImmutableMultiDict(query), header=sent, cookie=ImmutableMultiDict())
    return Call(server, path, method.lower(), sent.get("content-type", ""), body or None, parameters)


def given_answer(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    received = Headers(list(headers.items()))
    return Answer(body, status, received.get("content-type", "application/json"), received)


def _reasons(error: BaseException) -> Iterator[str]:
    """Every schema complaint below an openapi-core error, else the error's own text."""
    cause: BaseException | None = error
    while cause is not None:
        if complaints := getattr(cause, "schema_errors", None):
            for complaint in complaints:
                # List places become *: a page of 200 records with one fault is one divergence.
                place = ".".join("*" if isinstance(step, int) else step for step in complaint.absolute_path)
                yield f"{place}: {complaint.message}"[:400]
            return
        cause = cause.__cause__
    yield f"{type(error).__name__}: {error}"[:400]


@cache
def _patterns(templates: tuple[str, ...]) -> list[tuple[str, re.Pattern[str]]]:
    literal_first = sorted(templates, key=lambda template: (template.count("{"), template))
    return [(t, re.compile(re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(t)))) for t in literal_first]


@cache
def _read(path: str) -> tuple[Mapping[str, Any], OpenAPI]:
    raw = Path(path).read_bytes()
    document = orjson.loads(raw) if path.endswith(".json") else yaml.safe_load(raw)
    # Checking the document itself would take ten seconds for the big ones and is the vendor's business.
    read: Callable[..., OpenAPI] = OpenAPI.from_dict
    return document, read(document, config=Config(spec_validator_cls=None))


def specs() -> Path:
    facts = os.environ.get("SYNCD_VENDOR_FACTS") or Path(__file__).resolve().parents[3] / "shared" / "vendors"
    return Path(facts) / "specs"

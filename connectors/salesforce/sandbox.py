"""A Salesforce org on loopback: OAuth, SOQL, rows, collections, upsert by external id, soft deletes, limits.

It answers as the vendor's REST guide and recorded traffic say, down to error bodies and headers, with
seeded data. Text is trimmed and empty text becomes null; times are whole seconds; deleted rows stay, marked.
It leaves out Bulk, Composite, CDC, triggers, sharing and validation rules; `edit_refuse` stands for whatever an
org's own automation may answer. The `edit_*` methods act as the org's users.
"""

from __future__ import annotations

import hashlib
import itertools
import operator
import random
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import orjson

from connectors.salesforce import id18
from connectors.salesforce.objects import OBJECTS, PREFIXES, RECORDED, Field, describe, summary
from connectors.salesforce.org import Org, Problem, read_field, stamp
from connectors.salesforce.soql import Column, Query, Row, SoqlError, instant, parse
from connectors.sandbox import Request, Response, Sandbox, main, utc_now

JSON_UTF8 = "application/json;charset=UTF-8"
COLLECTION_MAX = 200
RETRIEVE_MAX = 2000
QUERY_PAGE_MAX = 2000
CURSORS_MAX = 10
RECYCLE_BIN_DAYS = 15
VERSIONS = [f"{number}.0" for number in range(42, 68)]
LIMITS = """ActiveScratchOrgs=3 AnalyticsExternalDataSizeMB=40960 ConcurrentAsyncGetReportInstances=200
ConcurrentEinsteinDataInsightsStoryCreation=5 ConcurrentEinsteinDiscoveryStoryCreation=2 ConcurrentSyncReportRuns=20
DailyAnalyticsDataflowJobExecutions=60 DailyAnalyticsUploadedFilesSizeMB=51200 DailyApiRequests=0
DailyAsyncApexExecutions=250000 DailyAsyncApexTests=540 DailyBulkApiBatches=15000 DailyBulkV2QueryFileStorageMB=976562
DailyBulkV2QueryJobs=10000 DailyDeliveredPlatformEvents=10000 DailyDurableGenericStreamingApiEvents=10000
DailyDurableStreamingApiEvents=10000 DailyEinsteinDataInsightsStoryCreation=1000
DailyEinsteinDiscoveryOptimizationJobRuns=25 DailyEinsteinDiscoveryPredictAPICalls=50000
DailyEinsteinDiscoveryPredictionsByCDC=500000 DailyEinsteinDiscoveryStoryCreation=100 DailyFunctionsApiCallLimit=50000
DailyGenericStreamingApiEvents=10000 DailyScratchOrgs=6 DailyStandardVolumePlatformEvents=10000
DailyStreamingApiEvents=10000 DailyWorkflowEmails=405 DataStorageMB=5 DurableStreamingApiConcurrentClients=20
FileStorageMB=20 HourlyAsyncReportRuns=1200 HourlyDashboardRefreshes=200 HourlyDashboardResults=5000
HourlyDashboardStatuses=999999999 HourlyLongTermIdMapping=100000 HourlyManagedContentPublicRequests=50000
HourlyODataCallout=1000 HourlyPublishedPlatformEvents=50000 HourlyPublishedStandardVolumePlatformEvents=1000
HourlyShortTermIdMapping=100000 HourlySyncReportRuns=500 HourlyTimeBasedWorkflow=50 MassEmail=10
MonthlyEinsteinDiscoveryStoryCreation=500 Package2VersionCreates=6 Package2VersionCreatesWithoutValidation=500
PermissionSets=1500 PrivateConnectOutboundCalloutHourlyLimitMB=0 PublishCallbackUsageInApex=5242880 SingleEmail=15
StreamingApiConcurrentClients=20"""


class SalesforceSandbox(Sandbox):
    """One org. `settings` is what a connection to it needs.

    size       contacts to make up; a third as many accounts and opportunities, a quarter as many tasks, unless said
    rows       more rows per object, as field dictionaries; "Account": {"Name": ...} points at an account by name
    customs    custom fields per object, each as a line of objects.py: "Fee_Band__c picklist 40 values=A|B"
    hidden     fields per object that field-level security hides from the integration user
    page_max   rows per query answer, whatever LIMIT says
    rotate     each refresh also replaces the refresh token
    """

    name = "salesforce"
    client_id = "3MVG9sandbox.syncd"
    client_secret = "sandbox-consumer-secret"

    def __init__(
        self,
        *,
        seed: int = 1,
        size: int = 60,
        accounts: int | None = None,
        contacts: int | None = None,
        opportunities: int | None = None,
        tasks: int | None = None,
        rows: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
        customs: Mapping[str, Sequence[str]] | None = None,
        hidden: Mapping[str, Iterable[str]] | None = None,
        page_max: int = QUERY_PAGE_MAX,
        rotate: bool = False,
        daily_max: int = 5_000_000,
        port: int = 0,
        state: Path | None = None,
        clock: Callable[[], datetime] = utc_now,
        observe: Callable[[Request, Response], None] | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        super().__init__(port=port, state=state, clock=clock, observe=observe, host=host)
        self.page_max = page_max
        self.rotate = rotate
        self.daily_max = daily_max
        self.used = 0
        self.org = Org(self.tables, clock, self.wrote)
        for sobject, lines in (customs or {}).items():
            for line in lines:
                self.org.add_field(sobject, line)
        for sobject, names in (hidden or {}).items():
            self.org.hidden[sobject].update(names)
        self.access_tokens = {"00D5g000001SbXx!AQ.sandbox.0"}
        self.refresh_token = "5Aep861.sandbox.0"
        self._token_numbers = itertools.count(1)
        self._cursors: OrderedDict[str, tuple[Query, list[str]]] = OrderedDict()
        self._cursor_numbers = itertools.count(1)
        if self.org.is_empty:
            counts = [size // 3 if accounts is None else accounts, size if contacts is None else contacts]
            counts += [size // 3 if opportunities is None else opportunities, size // 4 if tasks is None else tasks]
            self.org.seed(random.Random(seed), *counts)
            for sobject in (s for s in RECORDED if s in (rows or {})):
                for given in (rows or {})[sobject]:
                    self.org.add_given(sobject, given)

    # -- what a connection needs

    @property
    def settings(self) -> dict[str, str]:
        """Settings for a connection to this org."""
        return {
            "base_url": self.url,
            "login_url": self.url,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "refresh_token": self.refresh_token,
            "access_token": max(self.access_tokens, default=""),
        }

    # -- the API

    def respond(self, request: Request) -> Response:
        parts = [unquote(part) for part in request.raw_path.strip("/").split("/")]
        try:
            match parts:
                case ["services", "oauth2", "token"] if request.method == "POST":
                    return self._token(request)
                case ["services", "oauth2", "revoke"] if request.method == "POST":
                    return self._revoke(request)
                case ["services", "oauth2", "userinfo"]:
                    return self._userinfo(request)
                case ["services", "data"]:
                    return _json(
                        200, [{"label": f"v{v}", "url": f"/services/data/v{v}", "version": v} for v in VERSIONS]
                    )
                case ["services", "data", version, *rest]:
                    self._allow(request, version)
                    response = self._api(request, f"/services/data/{version}", rest)
                case _:
                    return Response(
                        404, b"<html><body>URL No Longer Exists</body></html>", {"Content-Type": "text/html"}
                    )
        except Problem as problem:
            response = _error(problem)
        except orjson.JSONDecodeError:
            unreadable = Problem(400, "JSON_PARSER_ERROR", "Unexpected character in the request body")
            response = _error(unreadable)
        if response.status != 204:
            response.headers["Sforce-Limit-Info"] = f"api-usage={self.used}/{self.daily_max}"
        return response

    def _allow(self, request: Request, version: str) -> None:
        scheme, _, token = (request.headers.get("authorization") or "").partition(" ")
        if scheme not in {"Bearer", "OAuth"} or token not in self.access_tokens:
            raise Problem(401, "INVALID_SESSION_ID", "Session expired or invalid")
        if version.removeprefix("v") not in VERSIONS:
            raise Problem(404, "NOT_FOUND", "The requested resource does not exist")
        if self.used >= self.daily_max:
            raise Problem(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")
        self.used += 1

    def _api(self, request: Request, root: str, parts: list[str]) -> Response:
        match (request.method, *parts):
            case ("GET", "limits"):
                return _json(200, self._limits())
            case ("GET", "limits", "recordCount"):
                named = [s for s in (request.first("sObjects") or ",".join(RECORDED)).split(",") if s in OBJECTS]
                live = {s: sum(not row.get("IsDeleted") for row in self.org.tables[s].values()) for s in named}
                return _json(200, {"sObjects": [{"count": count, "name": name} for name, count in live.items()]})
            case ("GET", "query" | "queryAll" as verb):
                return self._query(request, root, with_deleted=verb == "queryAll")
            case ("GET", "query" | "queryAll", locator):
                return _json(200, self._query_more(root, locator, self._batch(request)))
            case ("GET", "sobjects"):
                listed = [summary(s, root) for s in OBJECTS]
                return _json(200, {"encoding": "UTF-8", "maxBatchSize": COLLECTION_MAX, "sobjects": listed})
            case (_, "sobjects", sobject, *rest):
                return self._sobject(request, root, self._object(sobject), rest)
            case (_, "composite", "sobjects", *rest):
                return self._collection(request, root, rest)
            case _:
                raise Problem(404, "NOT_FOUND", "The requested resource does not exist")

    def _sobject(self, request: Request, root: str, sobject: str, parts: list[str]) -> Response:
        match (request.method, *parts):
            case ("GET",):
                return _json(200, {"objectDescribe": summary(sobject, root), "recentItems": []})
            case ("POST",):
                id = self.org.create(sobject, _body(request))
                return _json(201, {"id": id, "success": True, "errors": []}, Location=f"{root}/sobjects/{sobject}/{id}")
            case ("GET", "describe"):
                return self._describe(request, root, sobject)
            case ("GET", "deleted" | "updated" as feed):
                return _json(200, self._feed(request, sobject, feed))
            case (method, id):
                row = self._row(sobject, id)
                if method != "DELETE" and (unmet := self._precondition(request, sobject, row)):
                    return Response(unmet, b"", {})
                return self._one(request, root, sobject, row)
            case (method, field, value):
                return self._by_key(request, root, sobject, field, value)
            case _:
                raise Problem(404, "NOT_FOUND", "The requested resource does not exist")

    def _one(self, request: Request, root: str, sobject: str, row: Row) -> Response:
        match request.method:
            case "GET":
                wanted = request.first("fields")
                names = self._columns(sobject, wanted.split(",")) if wanted else None
                headers = {"Last-Modified": _http_date(row)} | ({"ETag": _etag(row)} if sobject == "Account" else {})
                return _json(200, self._shown(root, sobject, row, names), **headers)
            case "PATCH":
                self.org.update(sobject, row["Id"], _body(request))
                return Response(204, b"", {})
            case "DELETE":
                self.org.delete(sobject, row["Id"])
                return Response(204, b"", {})
            case _:
                raise Problem(
                    405,
                    "METHOD_NOT_ALLOWED",
                    f"HTTP Method '{request.method}' not allowed. Allowed are DELETE,GET,PATCH",
                )

    def _by_key(self, request: Request, root: str, sobject: str, field: str, value: str) -> Response:
        """A row named by an external id or another lookup field: read, upsert (200 or 201) or delete."""
        column = self.org.field(sobject, field)
        if not (column.is_external or column.is_lookup):
            raise Problem(404, "NOT_FOUND", f"Provided external ID field does not exist or is not accessible: {field}")
        found = self.org.matching(sobject, column, value)
        if len(found) > 1:
            return _json(300, [f"{root}/sobjects/{sobject}/{id}" for id in found])
        if request.method == "PATCH":
            body = _body(request)
            if any(name.lower() == column.name.lower() for name in body):
                message = f"The {sobject}.{column.name} field should not be specified in the sobject data."
                raise Problem(400, "INVALID_FIELD", message, [column.name])
            if found:
                self.org.update(sobject, found[0], body)
            elif (request.first("updateOnly") or "").lower() == "true":
                raise Problem(404, "NOT_FOUND", "The requested resource does not exist")
            id = found[0] if found else self.org.create(sobject, body | {column.name: value})
            return _json(200 if found else 201, {"id": id, "success": True, "errors": [], "created": not found})
        if not found:
            raise Problem(404, "NOT_FOUND", "The requested resource does not exist")
        return self._one(request, root, sobject, self.org.tables[sobject][found[0]])

    # -- collections

    def _collection(self, request: Request, root: str, parts: list[str]) -> Response:
        match (request.method, *parts):
            case ("POST", sobject):
                body = _body(request)
                return self._retrieve(root, self._object(sobject), body.get("ids", []), body.get("fields", []))
            case ("GET", sobject):
                ids, fields = (request.first("ids") or "").split(","), (request.first("fields") or "").split(",")
                return self._retrieve(root, self._object(sobject), ids, fields)
            case ("POST",):
                return self._each(request, lambda record: {"id": self.org.create(self._type(record), record)})
            case ("PATCH",):
                return self._each(request, self._update_entry)
            case ("PATCH", sobject, field):
                return self._upsert_all(request, self._object(sobject), field)
            case ("DELETE",):
                ids = (request.first("ids") or "").split(",")
                if len(ids) > COLLECTION_MAX:
                    raise Problem(
                        400,
                        "EXCEEDED_ID_LIMIT",
                        "record limit reached. cannot submit more than 200 records into this call",
                    )
                return self._all(request.first("allOrNone") == "true", ids, self._delete_entry)
            case _:
                raise Problem(404, "NOT_FOUND", "The requested resource does not exist")

    def _records(self, request: Request) -> tuple[bool, list[dict[str, Any]]]:
        body = _body(request)
        records = body.get("records")
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            raise Problem(
                400, "JSON_PARSER_ERROR", "Cannot deserialize the request: 'records' must be a list of objects"
            )
        if len(records) > COLLECTION_MAX:
            raise Problem(
                400, "EXCEEDED_ID_LIMIT", "record limit reached. cannot submit more than 200 records into this call"
            )
        return bool(body.get("allOrNone", False)), records

    def _each(self, request: Request, write: Callable[[dict[str, Any]], dict[str, Any]]) -> Response:
        all_or_none, records = self._records(request)
        runs = [kind for kind, _ in itertools.groupby(self._type(record) for record in records)]
        if len(runs) > 10:
            message = "Cannot process more than 10 chunks of different types in one call."
            raise Problem(400, "INVALID_BATCH_OPERATION", message)
        return self._all(all_or_none, records, write)

    def _upsert_all(self, request: Request, sobject: str, field: str) -> Response:
        all_or_none, records = self._records(request)
        column = self.org.field(sobject, field)
        if not column.is_external and column.name != "Id":
            raise Problem(
                400, "INVALID_FIELD", f"Field name provided, {field} does not match an External ID for {sobject}"
            )
        values = [str(_pop(record, column.name) or "") for record in (dict(r) for r in records)]

        def write(record: dict[str, Any]) -> dict[str, Any]:
            fields = dict(record)
            value = str(_pop(fields, column.name) or "")
            if not value:
                raise Problem(400, "MISSING_ARGUMENT", f"{column.name} not specified", [])
            if values.count(value) > 1:
                raise Problem(400, "DUPLICATE_VALUE", f"Duplicate external id specified: {value}", [column.name])
            found = self.org.matching(sobject, column, value)
            if found:
                self.org.update(sobject, found[0], fields)
            id = found[0] if found else self.org.create(sobject, fields | {column.name: value})
            return {"id": id, "created": not found}

        return self._all(all_or_none, records, write, on_failure={"created": False})

    def _all(
        self, all_or_none: bool, items: Sequence[Any], write: Callable[[Any], dict[str, Any]], on_failure: Any = None
    ) -> Response:
        """One entry per item, in order. With allOrNone, one failure takes back the others.

        A value of a wrong JSON type makes the vendor refuse the request as a whole, with nothing written.
        """
        before = {sobject: dict(self.org.tables[sobject]) for sobject in RECORDED}
        written = len(self._wrote)
        entries: list[dict[str, Any]] = []
        for item in items:
            try:
                done = write(item)
                entries.append({"id": done.pop("id"), "success": True, "errors": []} | done)
            except Problem as problem:
                if problem.code == "JSON_PARSER_ERROR":
                    self.org.restore(before)
                    del self._wrote[written:]
                    raise
                entries.append(problem.entry() | (on_failure or {}))
        if all_or_none and not all(entry["success"] for entry in entries):
            self.org.restore(before)
            del self._wrote[written:]
            undone = Problem(
                400, "ALL_OR_NONE_OPERATION_ROLLED_BACK", "Record rolled back because not all records were valid"
            )
            entries = [undone.entry() if entry["success"] else entry for entry in entries]
        return _json(200, entries)

    def _update_entry(self, record: dict[str, Any]) -> dict[str, Any]:
        fields = dict(record)
        id = id18(str(_pop(fields, "Id") or ""))
        if not id:
            raise Problem(400, "MISSING_ARGUMENT", "Id not specified in an update call", ["Id"])
        sobject = self._type(record)
        if PREFIXES.get(id[:3]) != sobject:
            raise Problem(400, "MALFORMED_ID", f"{sobject} ID: id value of incorrect type: {id}", ["Id"])
        self.org.update(sobject, id, fields)
        return {"id": id}

    def _delete_entry(self, id: str) -> dict[str, Any]:
        sobject = PREFIXES.get(id[:3], "")
        if sobject not in RECORDED or len(id) not in {15, 18}:
            raise Problem(400, "MALFORMED_ID", f"malformed id {id}")
        self.org.delete(sobject, id18(id))
        return {"id": id18(id)}

    def _retrieve(self, root: str, sobject: str, ids: Any, fields: Any) -> Response:
        if not isinstance(ids, list) or not isinstance(fields, list) or not all(fields):
            raise Problem(400, "MISSING_ARGUMENT", "ids and fields are required")
        if len(ids) > RETRIEVE_MAX:
            raise Problem(400, "EXCEEDED_ID_LIMIT", f"too many records requested; the maximum is {RETRIEVE_MAX}")
        columns = self._columns(sobject, fields)
        rows = (self.org.held(sobject, id18(str(id))) for id in ids)
        return _json(
            200,
            [None if row is None or row.get("IsDeleted") else self._shown(root, sobject, row, columns) for row in rows],
        )

    # -- queries

    def _query(self, request: Request, root: str, *, with_deleted: bool) -> Response:
        text = request.first("q")
        if not text:
            raise Problem(400, "MALFORMED_QUERY", "SOQL query is required")
        try:
            query = parse(text, self._resolve)
            sobject = self._queried(query.sobject)
        except SoqlError as error:
            raise Problem(400, error.code, error.message) from error
        found = query.run(
            self.org.rows(sobject, after=query.after, by_id=query.index == "id", with_deleted=with_deleted)
        )
        if query.is_count:
            return _json(200, {"totalSize": len(found), "done": True, "records": []})
        size = self._batch(request)
        if len(found) <= size:
            records = [self._selected(root, sobject, query, row) for row in found]
            return _json(200, {"totalSize": len(found), "done": True, "records": records})
        cursor = f"0r8Sb{next(self._cursor_numbers):013d}"
        self._cursors[cursor] = (query, [row["Id"] for row in found])
        if len(self._cursors) > CURSORS_MAX:
            self._cursors.popitem(last=False)
        return _json(200, self._query_more(root, f"{cursor}-0", size))

    def _batch(self, request: Request) -> int:
        asked = re.search(r"batchSize=(\d+)", request.headers.get("sforce-query-options") or "")
        wanted = min(max(int(asked.group(1)), 200), QUERY_PAGE_MAX) if asked else QUERY_PAGE_MAX
        return min(self.page_max, wanted)

    def _query_more(self, root: str, locator: str, size: int) -> dict[str, Any]:
        cursor, _, start = locator.rpartition("-")
        if cursor not in self._cursors or not start.isdigit():
            raise Problem(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        query, ids = self._cursors[cursor]
        sobject = self._object(query.sobject)
        end = int(start) + size
        held = (self.org.held(sobject, id) for id in ids[int(start) : end])
        records = [self._selected(root, sobject, query, row) for row in held if row is not None]
        more = {} if end >= len(ids) else {"nextRecordsUrl": f"{root}/query/{cursor}-{end}"}
        return {"totalSize": len(ids), "done": end >= len(ids), **more, "records": records}

    def _queried(self, name: str) -> str:
        spelled = next((s for s in OBJECTS if s.lower() == name.lower()), None)
        if spelled is None:
            raise SoqlError("INVALID_TYPE", f"sObject type '{name}' is not supported.")
        return spelled

    def _resolve(self, sobject: str, path: str) -> Column:
        spelled = self._queried(sobject)
        head, dot, tail = path.partition(".")
        if dot and head.lower() == sobject.lower():
            return self._resolve(sobject, tail)
        if not dot:
            field = self.org.field(spelled, head)
            if field.type in {"boolean", "address"}:
                return Column(field.name, field.type, lambda row: read_field(field, row))
            return Column(field.name, field.type, operator.methodcaller("get", field.name))
        via = next(
            (f for f in self.org.fields[spelled].values() if (f.relationship or "").lower() == head.lower()), None
        )
        target = next((t for t in via.refers_to if t in OBJECTS), None) if via else None
        if via is None or target is None:
            message = f"Didn't understand relationship '{head}' in field path."
            raise SoqlError("INVALID_FIELD", message)
        inner = self._resolve(target, tail)

        def parent(row: Row) -> Row | None:
            id = row.get(via.name)
            return self.org.held(PREFIXES[id[:3]], id) if id and id[:3] in PREFIXES else None

        def read(row: Row) -> Any:
            held = parent(row)
            return None if held is None else inner.read(held)

        return Column(f"{via.relationship}.{inner.name}", inner.type, read, parent)

    def _selected(self, root: str, sobject: str, query: Query, row: Row) -> dict[str, Any]:
        out: dict[str, Any] = {"attributes": _attributes(root, sobject, row)}
        for column in query.columns:
            if column.parent is None:
                out[column.name] = column.read(row)
                continue
            *parents, name = column.name.split(".")
            held = column.parent(row)
            if held is None:
                out[parents[0]] = None
                continue
            nested = out.setdefault(parents[0], {"attributes": _attributes(root, PREFIXES[held["Id"][:3]], held)})
            nested[".".join([*parents[1:], name])] = column.read(row)
        return out

    # -- descriptions and feeds

    def _object(self, name: str) -> str:
        spelled = next((s for s in OBJECTS if s.lower() == name.lower()), None)
        if spelled is None:
            raise Problem(404, "NOT_FOUND", "The requested resource does not exist")
        return spelled

    def _columns(self, sobject: str, names: Iterable[str]) -> list[Field]:
        return [self.org.field(sobject, str(name)) for name in names]

    def _describe(self, request: Request, root: str, sobject: str) -> Response:
        body = describe(
            sobject,
            root,
            self.org.fields[sobject],
            hidden=self.org.hidden[sobject],
            read_only=self.org.read_only[sobject],
        )
        etag = f'"{hashlib.sha256(orjson.dumps(body)).hexdigest()[:8]}"'
        if request.headers.get("if-none-match") == etag:
            return Response(304, b"", {"ETag": etag})
        return _json(200, body, ETag=etag)

    def _limits(self) -> dict[str, Any]:
        limits: dict[str, Any] = {}
        for name, _, most in (pair.partition("=") for pair in LIMITS.split()):
            limits[name] = {"Max": int(most), "Remaining": int(most)}
        limits["DailyApiRequests"] = {"Max": self.daily_max, "Remaining": self.daily_max - self.used}
        limits["PermissionSets"]["CreateCustom"] = {"Max": 1000, "Remaining": 998}
        return limits

    def _feed(self, request: Request, sobject: str, feed: str) -> dict[str, Any]:
        try:
            start, end = (instant(request.first(name) or "") for name in ("start", "end"))
        except ValueError:
            raise Problem(400, "MALFORMED_QUERY", "start and end must be dates with a time and a zone") from None
        now = self.clock()
        earliest = stamp(now - timedelta(days=RECYCLE_BIN_DAYS if feed == "deleted" else 30))
        if not start < end or start < earliest:
            raise Problem(400, "INVALID_REPLICATION_DATE", f"startDate before {earliest} or not before endDate")
        rows = [
            row
            for row in self.org.rows(sobject, after=start, with_deleted=True)
            if row["SystemModstamp"] < end and bool(row.get("IsDeleted")) == (feed == "deleted")
        ]
        covered = min(end, stamp(now))
        if feed == "updated":
            return {"ids": [row["Id"] for row in rows], "latestDateCovered": covered}
        gone = [{"deletedDate": row["SystemModstamp"], "id": row["Id"]} for row in rows]
        return {"deletedRecords": gone, "earliestDateAvailable": earliest, "latestDateCovered": covered}

    # -- rows

    def _type(self, record: Mapping[str, Any]) -> str:
        name = (record.get("attributes") or {}).get("type")
        if name not in RECORDED:
            raise Problem(400, "INVALID_TYPE", f"sObject type '{name}' is not supported.")
        return str(name)

    def _row(self, sobject: str, id: str) -> Row:
        row = self.org.held(sobject, id18(id))
        if row is None:
            raise Problem(404, "NOT_FOUND", "The requested resource does not exist")
        if row.get("IsDeleted"):
            raise Problem(404, "ENTITY_IS_DELETED", "entity is deleted")
        return row

    def _precondition(self, request: Request, sobject: str, row: Row) -> int | None:
        """304 or 412 as the conditional headers say; entity tags exist for Account rows only."""
        etag, headers = _etag(row), request.headers
        failed = 304 if request.method == "GET" else 412
        if sobject == "Account" and (wanted := headers.get("if-match")) and wanted not in {etag, "*"}:
            return 412
        if sobject == "Account" and (known := headers.get("if-none-match")) in {etag, "*"} and known:
            return failed
        changed = parsedate_to_datetime(_http_date(row))
        if (since := _since(headers, "if-modified-since")) and changed <= since:
            return failed
        if (since := _since(headers, "if-unmodified-since")) and changed > since:
            return 412
        return None

    def _shown(self, root: str, sobject: str, row: Row, fields: Sequence[Field] | None) -> dict[str, Any]:
        shown = fields or [f for f in self.org.fields[sobject].values() if f.name not in self.org.hidden[sobject]]
        return {"attributes": _attributes(root, sobject, row)} | {field.name: read_field(field, row) for field in shown}

    # -- OAuth

    def _token(self, request: Request) -> Response:
        form = request.form()
        if form.get("grant_type") != "refresh_token":
            return _json(400, {"error": "unsupported_grant_type", "error_description": "grant type not supported"})
        if (form.get("client_id"), form.get("client_secret")) != (self.client_id, self.client_secret):
            return _json(400, {"error": "invalid_client", "error_description": "invalid client credentials"})
        if form.get("refresh_token") != self.refresh_token:
            return _json(400, {"error": "invalid_grant", "error_description": "expired access/refresh token"})
        number = next(self._token_numbers)
        token = f"00D5g000001SbXx!AQ.sandbox.{number}"
        self.access_tokens = {token}
        reply = {
            "access_token": token,
            "signature": "c2FuZGJveA==",
            "scope": "refresh_token api openid",
            "instance_url": self.url,
            "id": f"{self.url}/id/{self.org.id}/{self.org.api_user}",
            "token_type": "Bearer",
            "issued_at": str(int(self.clock().timestamp() * 1000)),
        }
        if self.rotate:
            self.refresh_token = f"5Aep861.sandbox.{number}"
            reply["refresh_token"] = self.refresh_token
        return _json(200, reply)

    def _revoke(self, request: Request) -> Response:
        token = request.form().get("token", "")
        self.access_tokens.discard(token)
        if token == self.refresh_token:
            self.access_tokens.clear()
            self.refresh_token = ""
        return Response(200, b"", {})

    def _userinfo(self, request: Request) -> Response:
        if (request.headers.get("authorization") or "").partition(" ")[2] not in self.access_tokens:
            return Response(403, b"Bad_OAuth_Token", {"Content-Type": "text/html;charset=UTF-8"})
        user = self.org.tables["User"][self.org.api_user]
        return _json(
            200,
            {
                "sub": f"{self.url}/id/{self.org.id}/{self.org.api_user}",
                "user_id": self.org.api_user,
                "organization_id": self.org.id,
                "preferred_username": user["Username"],
                "name": user["Name"],
                "email": user["Email"],
                "email_verified": True,
                "user_type": "STANDARD",
                "active": True,
            },
        )

    # -- the org's users

    def edit_new(self, sobject: str, fields: Mapping[str, Any]) -> str:
        """A person makes a record; returns its id."""
        with self.lock:
            return self.org.create(sobject, fields, by=self.org.owner)

    def edit_update(self, sobject: str, id: str, changes: Mapping[str, Any]) -> None:
        """A person changes fields of a record."""
        with self.lock:
            self.org.update(sobject, id18(id), changes, by=self.org.owner)

    def edit_delete(self, sobject: str, id: str) -> None:
        """A person deletes a record: it goes to the recycle bin, an account with its contacts and opportunities."""
        with self.lock:
            self.org.delete(sobject, id18(id), by=self.org.owner)

    def edit_undelete(self, sobject: str, id: str) -> None:
        """A person takes a record out of the recycle bin."""
        with self.lock:
            row = {**self.org.tables[sobject][id18(id)], "IsDeleted": False}
            self.org.save(sobject, row, self.org.owner, stamp(self.clock()))

    def edit_purge(self, sobject: str, id: str) -> None:
        """The recycle bin is emptied of a record: no feed or query shows it any more."""
        with self.lock:
            self.org.unindex(sobject, self.org.tables[sobject][id18(id)])
            del self.org.tables[sobject][id18(id)]

    def edit_merge(self, sobject: str, winner: str, loser: str) -> None:
        """A person merges two records: the loser is deleted, with MasterRecordId; its children move to the winner."""
        with self.lock:
            winner, loser, now = id18(winner), id18(loser), stamp(self.clock())
            row = {**self.org.tables[sobject][loser], "IsDeleted": True, "MasterRecordId": winner}
            self.org.save(sobject, row, self.org.owner, now)
            self.org.save(sobject, dict(self.org.tables[sobject][winner]), self.org.owner, now)
            for child in RECORDED:
                for held in list(self.org.tables[child].values()):
                    moved = {f: winner for f in ("AccountId", "ContactId", "WhoId", "WhatId") if held.get(f) == loser}
                    if moved and not held.get("IsDeleted"):
                        self.org.save(child, {**held, **moved}, self.org.owner, now)

    # -- the org's administrator

    def edit_add_field(self, sobject: str, line: str) -> None:
        """A custom field is made, visible and writable for the integration user. `line` as in objects.py."""
        with self.lock:
            self.org.add_field(sobject, line)

    def edit_drop_field(self, sobject: str, field: str) -> None:
        """A custom field is deleted with all its values. No record counts as changed by that."""
        with self.lock:
            self.org.drop_field(sobject, field)

    def edit_hide(self, sobject: str, field: str) -> None:
        """Field-level security hides a field from the integration user."""
        with self.lock:
            self.org.hidden[sobject].add(field)

    def edit_show(self, sobject: str, field: str) -> None:
        """The field becomes visible and writable again."""
        with self.lock:
            self.org.hidden[sobject].discard(field)
            self.org.read_only[sobject].discard(field)

    def edit_read_only(self, sobject: str, field: str) -> None:
        """The integration user may see a field and not write it."""
        with self.lock:
            self.org.read_only[sobject].add(field)

    def edit_refuse(
        self,
        sobject: str,
        code: str,
        *,
        id: str = "*",
        message: str = "refused",
        fields: Sequence[str] = (),
        times: int = 1,
    ) -> None:
        """The org's automation refuses the next writes of this record ("" : creates only, "*": any) with this code."""
        with self.lock:
            key = (sobject, id18(id))
            self.org.refusals.setdefault(key, []).extend(Problem(400, code, message, fields) for _ in range(times))

    def edit_duplicate_rule(self, sobject: str, *, active: bool = True) -> None:
        """A duplicate rule that blocks creates: contacts with a known e-mail, accounts with a known name."""
        with self.lock:
            self.org.duplicate_rules.add(sobject) if active else self.org.duplicate_rules.discard(sobject)

    def edit_expire_token(self) -> None:
        """Every session ends; the refresh token still works."""
        with self.lock:
            self.access_tokens.clear()

    def edit_revoke(self) -> None:
        """The administrator takes the app's access away: neither session nor refresh token works."""
        with self.lock:
            self.access_tokens.clear()
            self.refresh_token = ""

    def edit_api_limit(self, daily_max: int) -> None:
        """How many requests the org allows in 24 hours."""
        with self.lock:
            self.daily_max = daily_max


def _body(request: Request) -> dict[str, Any]:
    if not (request.headers.get("content-type") or "").lower().startswith("application/json"):
        raise Problem(415, "UNSUPPORTED_MEDIA_TYPE", "Content-Type must be application/json")
    body = request.json()
    if not isinstance(body, dict):
        raise Problem(400, "JSON_PARSER_ERROR", "The request body must be a JSON object")
    return body


def _pop(fields: dict[str, Any], name: str) -> Any:
    """Take a field out whatever its case."""
    spelled = next((key for key in fields if key.lower() == name.lower()), None)
    return None if spelled is None else fields.pop(spelled)


def _json(status: int, body: Any, **headers: str) -> Response:
    return Response(status, orjson.dumps(body), {"Content-Type": JSON_UTF8, **headers})


def _error(problem: Problem) -> Response:
    entry: dict[str, Any] = {"message": problem.message, "errorCode": problem.code}
    if problem.fields:
        entry["fields"] = problem.fields
    return _json(problem.status, [entry | problem.more])


def _attributes(root: str, sobject: str, row: Row) -> dict[str, str]:
    return {"type": sobject, "url": f"{root}/sobjects/{sobject}/{row['Id']}"}


def _http_date(row: Row) -> str:
    return format_datetime(datetime.fromisoformat(row["LastModifiedDate"]).astimezone(UTC), usegmt=True)


def _since(headers: Mapping[str, str], name: str) -> datetime | None:
    try:
        return parsedate_to_datetime(headers[name]) if name in headers else None
    except ValueError:
        raise Problem(400, "INVALID_HEADER", f"{name} is not a date") from None


def _etag(row: Row) -> str:
    return f'"{hashlib.sha256(orjson.dumps(row, option=orjson.OPT_SORT_KEYS)).hexdigest()[:24]}"'


if __name__ == "__main__":
    main(SalesforceSandbox)

"""The Salesforce sandbox held against what is known of the vendor: its published description, recorded answers, and a
client library written by others (simple-salesforce), besides the rules of its query language.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import orjson
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter
from simple_salesforce.api import Salesforce as SimpleSalesforce
from simple_salesforce.exceptions import (
    SalesforceExpiredSession,
    SalesforceGeneralError,
    SalesforceMalformedRequest,
    SalesforceMoreThanOneRecord,
    SalesforceRefusedRequest,
    SalesforceResourceNotFound,
)
from simple_salesforce.format import format_external_id, format_soql

from connectors.contract import Change, Create, Delete, OperationKey, Update
from connectors.egress import Egress
from connectors.http import BearerAuth, VendorHTTP
from connectors.salesforce import Salesforce, id18
from connectors.salesforce.fields import FIELDS as WANTED
from connectors.salesforce.objects import FIELDS
from connectors.salesforce.sandbox import SalesforceSandbox
from connectors.salesforce.soql import Column, SoqlError, parse
from tests.connectors.descriptions import Description, Exemption

NOON = datetime(2026, 3, 2, 12, 0, 0, tzinfo=UTC)
ROOT = "/services/data/v64.0"
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000\+0000")


def noon() -> datetime:
    return NOON


@contextmanager
def an_org(**options: Any) -> Iterator[tuple[SalesforceSandbox, httpx.Client]]:
    """A running org whose clock stands still, and a plain HTTP client that is signed in."""
    options.setdefault("clock", noon)
    with SalesforceSandbox(**options) as org:
        headers = {"Authorization": f"Bearer {org.settings['access_token']}"}
        with httpx.Client(base_url=org.url, headers=headers) as client:
            yield org, client


class Loopback(HTTPAdapter):
    """simple-salesforce builds https addresses only: this takes them to the sandbox's own."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        assert request.url is not None
        request.url = re.sub(r"^https://[^/]+", f"http://127.0.0.1:{self.port}", request.url)
        return super().send(request, *args, **kwargs)


@contextmanager
def simple(org: SalesforceSandbox) -> Iterator[Any]:
    with requests.Session() as session:
        session.mount("https://", Loopback(org.port))
        yield SimpleSalesforce(
            session_id=org.settings["access_token"],
            instance_url="https://acme.my.salesforce.com",
            version="64.0",
            session=session,
        )


def soql(client: httpx.Client, query: str, verb: str = "query") -> Any:
    return client.get(f"{ROOT}/{verb}", params={"q": query})


def found(client: httpx.Client, where: str, verb: str = "query") -> list[str]:
    """Last names of the contacts that a condition finds, in order."""
    reply = soql(client, f"SELECT LastName FROM Contact {where}", verb)
    assert reply.status_code == 200, reply.text
    return [record["LastName"] for record in reply.json()["records"]]


# -- the vendor's published description

ONE_EXAMPLE = "the schema was inferred from one example, so it knows and requires that example's fields only"
EXEMPTIONS = (
    Exemption(
        r"^PATCH .*/composite/sobjects.* request", r"^records\.\*: '(NumberOfEmployees|Name|Id)' is", ONE_EXAMPLE
    ),
    Exemption(
        r"^PATCH .*/composite/sobjects.* request", r"^records\.\*\.\w+: the property is not declared", ONE_EXAMPLE
    ),
    Exemption(
        r"^PATCH .*/\{RECORD_ID\} request", r"'field API name' is|^Title: the property is not declared", ONE_EXAMPLE
    ),
    Exemption(r"^GET .*/queryAll answer 200", r"^records\.\*: 'Name' is a required", ONE_EXAMPLE),
    Exemption(r"^GET .*/queryAll answer 200", r"^records\.\*\.\w+: the property is not declared", ONE_EXAMPLE),
    Exemption(
        r"^PATCH .*/composite/sobjects answer 200",
        r"^\*: 'id' is a required property|^\*\.errors\.\*: .*is not of type 'string'",
        "recorded: a failed row has no id, and errors are objects (collections-update-partial-failure.recorded.json)",
    ),
    Exemption(
        r"/describe answer 200",
        r"^fields\.\*\.defaultValue: .* is valid under each of",
        "oneOf with an empty schema beside the others: no value at all but a number could be valid",
    ),
    Exemption(
        r"/describe answer 200",
        r"^fields\.\*\.picklistValues\.\*: .* is valid under each of",
        "oneOf of two forms, one of which includes the other: a whole entry is always valid under both",
    ),
    Exemption(
        r"^POST /services/data/v64\.0/composite/sobjects/Contact request",
        r"OperationNotFound",
        "reading rows by POST stands in the REST guide; the collection of requests has only the GET",
    ),
    Exemption(
        r"^(GET /services/data/v64\.0/(limits|query)/|POST /services/data/v64\.0/sobjects/Contact/) request",
        r"^(PathNotFound|OperationNotFound)",
        "simple-salesforce ends these addresses with a slash, and the vendor takes it",
    ),
    Exemption(
        r"^(PATCH|DELETE) .*/\{RECORD_ID\} answer 204",
        r"^ResponseNotFound",
        "the collection has no recorded answer; simple-salesforce and the REST guide expect 204",
    ),
)


def test_every_exchange_fits_the_published_description() -> None:
    description = Description.load("salesforce-rest-v64.openapi.json")
    with an_org(observe=description.check) as (org, _):
        egress = Egress.allow((), org.url)
        with VendorHTTP(base_url=org.url, egress=egress, auth=BearerAuth(org.settings["access_token"])) as http:
            connector = Salesforce(http, org.settings)
            connector.check()
            for resource in WANTED:
                for page in connector.pull(resource, None):
                    assert page.records
                assert [len(ids) for ids in connector.ids(resource)]
            first, second = list(org.tables["Contact"])[:2]
            row, other = connector.fetch("Contact", [first, second])
            create = Create(OperationKey("described"), {"LastName": "Described"})
            changes: list[Change] = [create, Update(row, {"Email": "bad"}), Update(other, {"Title": "X"})]
            outcomes = connector.send("Contact", changes)
            assert [type(outcome).__name__ for outcome in outcomes] == ["Record", "Refused", "Record"]
            assert connector.find("Contact", create) == (outcomes[0],)
            connector.delete("Contact", Delete(other))
        with simple(org) as sf:
            exercise(sf)
    assert description.calls > 20
    assert description.unexplained(EXEMPTIONS) == []
    assert description.unused(EXEMPTIONS) == []


# -- simple-salesforce


def exercise(sf: Any) -> None:
    """What a program that uses the library does."""
    assert sf.query("SELECT COUNT() FROM Contact")["totalSize"] > 0
    assert sf.describe()["sobjects"]
    assert sf.Contact.describe()["name"] == "Contact"
    assert sf.limits()["DailyApiRequests"]["Remaining"] > 0
    made = sf.Contact.create({"LastName": "Simple", "Email": "simple@example.com"})
    assert made["success"] is True
    assert sf.Contact.get(made["id"])["LastName"] == "Simple"
    assert sf.Contact.update(made["id"], {"Title": "Partner"}) == 204
    assert sf.Contact.get(made["id"])["Title"] == "Partner"
    assert sf.Contact.delete(made["id"]) == 204


def test_simple_salesforce_reads_writes_and_deletes() -> None:
    with an_org() as (org, _), simple(org) as sf:
        exercise(sf)
        assert [what.split()[0] for what in org.writes()] == ["created", "updated", "deleted"]


def test_simple_salesforce_follows_the_pages_of_a_query() -> None:
    with an_org(contacts=45, page_max=10) as (org, _), simple(org) as sf:
        rows = list(sf.query_all_iter("SELECT Id, Account.Name FROM Contact ORDER BY Id"))
        assert [row["Id"] for row in rows] == sorted(org.tables["Contact"])
        assert {row["Account"]["attributes"]["type"] for row in rows if row["Account"]} == {"Account"}
        first = sf.query("SELECT Id FROM Contact")
        assert (first["totalSize"], first["done"], len(first["records"])) == (45, False, 10)
        org.edit_delete("Contact", rows[0]["Id"])
        assert sf.query_all("SELECT Id FROM Contact")["totalSize"] == 44
        assert sf.query_all("SELECT Id FROM Contact", include_deleted=True)["totalSize"] == 45


def test_simple_salesforce_upserts_by_external_id() -> None:
    with an_org(size=0) as (org, _), simple(org) as sf:
        path = format_external_id("syncd_id__c", "a b/1%")
        assert sf.Contact.upsert(path, {"LastName": "Up"}) == 201
        assert sf.Contact.upsert(path, {"Title": "Sert"}) == 200
        (row,) = org.tables["Contact"].values()
        assert (row["syncd_id__c"], row["LastName"], row["Title"]) == ("a b/1%", "Up", "Sert")
        org.edit_update("Contact", row["Id"], {"syncd_id__c": "plain"})
        assert sf.Contact.get_by_custom_id("syncd_id__c", "plain")["Id"] == row["Id"]
        for _ in range(2):
            sf.Contact.create({"LastName": "Twin", "Email": "twin@example.com"})
        with pytest.raises(SalesforceMoreThanOneRecord):
            sf.Contact.upsert("Email/twin@example.com", {"Title": "Which"})


def test_simple_salesforce_sees_what_was_deleted_and_updated() -> None:
    with an_org() as (org, _), simple(org) as sf:
        gone = next(iter(org.tables["Contact"]))
        org.edit_delete("Contact", gone)
        feed = sf.Contact.deleted(NOON - timedelta(days=1), NOON + timedelta(seconds=1))
        assert [(row["id"], row["deletedDate"]) for row in feed["deletedRecords"]] == [
            (gone, "2026-03-02T12:00:00.000+0000")
        ]
        changed = sf.Contact.updated(NOON - timedelta(days=29), NOON + timedelta(seconds=1))
        assert gone not in changed["ids"]
        assert len(changed["ids"]) > 50
        with pytest.raises(SalesforceMalformedRequest, match="INVALID_REPLICATION_DATE"):
            sf.Contact.deleted(NOON - timedelta(days=16), NOON)


def test_simple_salesforce_meets_the_errors_that_it_knows() -> None:
    with an_org() as (org, _), simple(org) as sf:
        with pytest.raises(SalesforceMalformedRequest, match="MALFORMED_QUERY"):
            sf.query("SELECT FROM Contact")
        with pytest.raises(SalesforceResourceNotFound):
            sf.Contact.get("0035g0000zzzzzzAAA")
        unchanged = {"If-Modified-Since": "Mon, 02 Mar 2026 12:00:00 GMT"}
        with pytest.raises(SalesforceGeneralError) as not_modified:
            sf.Contact.get(next(iter(org.tables["Contact"])), headers=unchanged)
        assert not_modified.value.status == 304
        org.edit_api_limit(org.used)
        with pytest.raises(SalesforceRefusedRequest, match="REQUEST_LIMIT_EXCEEDED"):
            sf.query("SELECT Id FROM Contact")
        org.edit_expire_token()
        with pytest.raises(SalesforceExpiredSession, match="INVALID_SESSION_ID"):
            sf.query("SELECT Id FROM Contact")


# -- recorded answers


def recorded(name: str) -> Any:
    facts = os.environ.get("SYNCD_VENDOR_FACTS") or Path(__file__).resolve().parents[3] / "shared" / "vendors"
    path = Path(facts) / "examples" / "salesforce" / name
    if not path.is_file():
        pytest.skip(f"the recorded answers are not here ({path}); set SYNCD_VENDOR_FACTS to their folder")
    return orjson.loads(path.read_bytes())


def described(name: str) -> Any:
    facts = os.environ.get("SYNCD_VENDOR_FACTS") or Path(__file__).resolve().parents[3] / "shared" / "vendors"
    path = Path(facts) / "specs" / f"salesforce-describe-{name}.recorded-v42.json"
    if not path.is_file():
        pytest.skip(f"the recorded descriptions are not here ({path}); set SYNCD_VENDOR_FACTS to their folder")
    return orjson.loads(path.read_bytes())


def shape(value: Any) -> Any:
    """The form of a JSON value: keys and types, a list as the forms of its entries. Ids and stamps have forms of
    their own."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    if isinstance(value, str) and STAMP.fullmatch(value):
        return "stamp"
    if isinstance(value, str) and re.fullmatch(r"[a-zA-Z0-9]{18}", value) and id18(value[:15]) == value:
        return "id"
    return type(value).__name__


def same_form(reply: httpx.Response, example: Mapping[str, Any]) -> None:
    """Status, content type and body of an answer have the form of the recorded one."""
    assert reply.status_code == example["status"]
    assert reply.headers["content-type"] == example["headers"]["Content-Type"]
    assert re.fullmatch(r"api-usage=\d+/\d+", reply.headers["sforce-limit-info"])
    assert shape(reply.json()) == shape(example["body"])


def test_collections_answer_in_the_recorded_form() -> None:
    with an_org() as (org, client):
        first, second, third = list(org.tables["Contact"])[:3]
        account = next(iter(org.tables["Account"]))
        create = recorded("collections-create.recorded.json")
        same_form(client.post(f"{ROOT}/composite/sobjects", json=create["request"]["body"]), create["response"])
        partial = recorded("collections-update-partial-failure.recorded.json")
        body = partial["request"]["body"]
        for row, id_ in zip(body["records"], (first, second), strict=True):
            row |= {"id": id_, "AccountId": account}
        body["records"][1]["Email"] = body["records"][1].pop("email_field__c")
        reply = client.patch(f"{ROOT}/composite/sobjects", json=body)
        same_form(reply, partial["response"])
        error, theirs = reply.json()[1]["errors"][0], partial["response"]["body"][1]["errors"][0]
        assert error["statusCode"] == theirs["statusCode"]
        assert error["message"] == theirs["message"].replace("email field", "Email")
        frozen = recorded("collections-update-converted-lead.recorded.json")
        org.edit_refuse("Contact", "CANNOT_UPDATE_CONVERTED_LEAD", message="cannot reference converted lead")
        body = {"records": [{"attributes": {"type": "Contact"}, "id": first, "LastName": "NoEdit"}]}
        reply = client.patch(f"{ROOT}/composite/sobjects", json=body)
        assert reply.json() == frozen["response"]["body"]
        delete = recorded("collections-delete.recorded.json")
        params = {"ids": f"{first},{second},{third}", "allOrNone": delete["request"]["query"]["allOrNone"]}
        same_form(client.delete(f"{ROOT}/composite/sobjects", params=params), delete["response"])


def test_rows_answer_in_the_recorded_form() -> None:
    with an_org() as (org, client):
        for name, sobject in (("account", "Account"), ("contact", "Contact")):
            example = recorded(f"{name}-row.recorded.json")["response"]
            id_ = next(iter(org.tables[sobject]))
            reply = client.get(f"{ROOT}/sobjects/{sobject}/{id_}")
            assert set(example["headers"]) <= {header.title().replace("Etag", "ETag") for header in reply.headers}
            assert ("etag" in reply.headers) == (sobject == "Account")
            ours, theirs = reply.json(), example["body"]
            assert shape(ours["attributes"]) == shape(theirs["attributes"])
            for field in ours.keys() & theirs.keys():
                both = (shape(ours[field]), shape(theirs[field]))
                assert both[0] == both[1] or "NoneType" in both, field
            assert {
                "Id",
                "IsDeleted",
                "OwnerId",
                "SystemModstamp",
                "CreatedById",
                "Name",
            } <= ours.keys() & theirs.keys()
        missing = recorded("not-found.recorded.json")
        reply = client.get(f"{ROOT}/sobjects/Contact/0034S000002sSahUAE")
        same_form(reply, missing["response"])
        assert reply.json() == missing["response"]["body"]
        example = recorded("create-campaign.recorded.json")["response"]
        reply = client.post(f"{ROOT}/sobjects/Account", json={"Name": "(test) High Value4"})
        same_form(reply, example)
        assert reply.headers["location"] == f"{ROOT}/sobjects/Account/{reply.json()['id']}"
        example = recorded("upsert-created.constructed.json")
        path = f"{ROOT}/sobjects/Contact/syncd_id__c/7d1f0b7e"
        reply = client.patch(path, json=example["request"]["body"])
        assert (reply.status_code, shape(reply.json())) == (201, shape(example["response"]["body"]))


def test_queries_and_feeds_answer_in_the_recorded_form() -> None:
    with an_org() as (org, client):
        org.edit_new("Contact", {"LastName": "Smith", "Email": "additivebrian@demo.com"})
        example = recorded("query.recorded.json")
        query = unquote(example["request"]["query"]["q"])
        same_form(soql(client, query), example["response"])
        assert soql(client, query).json()["totalSize"] == 1
        listed = recorded("query-all.json")["response"]["body"]
        ours = soql(client, "SELECT Name FROM Account LIMIT 12", "queryAll").json()
        assert (ours["totalSize"], ours["done"]) == (listed["totalSize"], listed["done"])
        assert [shape(row) for row in ours["records"]] == [shape(row) for row in listed["records"]]
        gone = next(iter(org.tables["Contact"]))
        org.edit_delete("Contact", gone)
        window = {"start": "2026-03-02T00:00:00+00:00", "end": "2026-03-02T12:00:01Z"}
        deleted = client.get(f"{ROOT}/sobjects/Contact/deleted/", params=window).json()
        assert shape(deleted) == shape(recorded("get-deleted.json"))
        updated = client.get(f"{ROOT}/sobjects/Contact/updated/", params=window).json()
        theirs = recorded("get-updated.json")
        assert updated.keys() == theirs.keys()
        assert set(shape(updated["ids"])) == set(shape(theirs["ids"]))
        limits = recorded("limits.json")["response"]["body"]
        missing = limits.keys() - client.get(f"{ROOT}/limits").json().keys()
        assert missing == set()
        counts = recorded("record-count.json")["response"]["body"]
        reply = client.get(f"{ROOT}/limits/recordCount", params={"sObjects": "Account,Contact,Task"})
        assert shape(reply.json()) == shape(counts)


@pytest.mark.parametrize("sobject", ["Account", "Contact"])
def test_descriptions_agree_with_a_real_org_s(sobject: str) -> None:
    theirs = described(sobject.lower())
    with an_org() as (_, client):
        ours = client.get(f"{ROOT}/sobjects/{sobject}/describe").json()
    assert theirs.keys() <= ours.keys()
    fields = {field["name"]: field for field in ours["fields"]}
    compared = ("type", "length", "createable", "updateable", "nillable", "referenceTo", "relationshipName", "soapType")
    seen = 0
    for field in theirs["fields"]:
        if mine := fields.get(field["name"]):
            seen += 1
            assert field.keys() <= mine.keys()
            for name in set(compared) & field.keys():
                assert mine[name] == field[name], (field["name"], name)
    assert seen > 35


# -- the query language


PEOPLE = {
    "Account": [{"Name": "Acme Law"}],
    "Contact": [
        {
            "LastName": "Abel",
            "FirstName": "Ann",
            "DoNotCall": True,
            "Birthdate": "1970-05-01",
            "Account": {"Name": "Acme Law"},
        },
        {"LastName": "Bohr", "FirstName": "Bo", "Title": "100% owner", "Email": "bo@example.com"},
        {"LastName": "Cruz", "FirstName": "Cy", "Title": "1000 owner", "Birthdate": "1980-05-01"},
        {"LastName": "O'Dea", "Title": "new\nline"},
    ],
}


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ("WHERE LastName = 'abel'", ["Abel"]),
        ("WHERE LastName != 'Abel' ORDER BY LastName", ["Bohr", "Cruz", "O'Dea"]),
        ("WHERE LastName = 'O\\'Dea'", ["O'Dea"]),
        ("WHERE Title = 'new\\nline'", ["O'Dea"]),
        ("WHERE Title LIKE '100\\% %'", ["Bohr"]),
        ("WHERE Title LIKE '1%owner' ORDER BY LastName DESC", ["Cruz", "Bohr"]),
        ("WHERE LastName LIKE '_o%'", ["Bohr"]),
        ("WHERE FirstName = null", ["O'Dea"]),
        ("WHERE FirstName != null AND Birthdate = null", ["Bohr"]),
        ("WHERE Birthdate > 1975-01-01", ["Cruz"]),
        ("WHERE Birthdate <= 1970-05-01", ["Abel"]),
        ("WHERE DoNotCall = true", ["Abel"]),
        ("WHERE DoNotCall = FALSE AND Email != NULL", ["Bohr"]),
        ("WHERE LastName IN ('Abel', 'Cruz') ORDER BY LastName", ["Abel", "Cruz"]),
        ("WHERE LastName NOT IN ('Abel','Cruz') ORDER BY LastName", ["Bohr", "O'Dea"]),
        ("WHERE NOT LastName = 'Abel' ORDER BY LastName", ["Bohr", "Cruz", "O'Dea"]),
        ("WHERE NOT (LastName = 'Abel' OR LastName = 'Bohr') ORDER BY LastName", ["Cruz", "O'Dea"]),
        (
            "WHERE (LastName = 'Abel' OR Title != null) AND (NOT FirstName = 'Cy') ORDER BY LastName",
            ["Abel", "Bohr", "O'Dea"],
        ),
        ("where account.name = 'acme law'", ["Abel"]),
        ("WHERE Contact.Account.Name != null", ["Abel"]),
        ("WHERE SystemModstamp = 2026-03-02T12:00:00Z ORDER BY LastName", ["Abel", "Bohr", "Cruz", "O'Dea"]),
        ("WHERE SystemModstamp >= 2026-03-02T13:00:00.000+01:00 ORDER BY LastName LIMIT 1", ["Abel"]),
        ("WHERE SystemModstamp < 2026-03-02T12:00:00+00:00", []),
        ("WHERE CreatedDate > 2026-03-01T12:00:00-0500 ORDER BY LastName LIMIT 2 OFFSET 1", ["Bohr", "Cruz"]),
        ("ORDER BY FirstName NULLS LAST, LastName", ["Abel", "Bohr", "Cruz", "O'Dea"]),
        ("ORDER BY FirstName", ["O'Dea", "Abel", "Bohr", "Cruz"]),
        ("ORDER BY Birthdate DESC NULLS LAST, LastName DESC", ["Cruz", "Abel", "O'Dea", "Bohr"]),
        ("LIMIT 0", []),
    ],
)
def test_conditions_find_what_they_say(where: str, names: list[str]) -> None:
    with an_org(size=0, rows=PEOPLE) as (_, client):
        assert found(client, where) == names


@pytest.mark.parametrize(
    ("query", "code", "part"),
    [
        ("SELECT Id FROM", "MALFORMED_QUERY", "<EOF>"),
        ("SELECT Id Name FROM Contact", "MALFORMED_QUERY", "Name"),
        ("SELECT Id FROM Contact WHERE LastName = 'a' AND Title = 'b' OR Email = 'c'", "MALFORMED_QUERY", "OR"),
        ('SELECT Id FROM Contact WHERE LastName = "a"', "MALFORMED_QUERY", "unexpected token"),
        ("SELECT Id FROM Contact LIMIT all", "MALFORMED_QUERY", "all"),
        ("SELECT Id FROM Contact WHERE LastName = 'a\\q'", "MALFORMED_QUERY", "escape"),
        ("SELECT Id, Nothing__c FROM Contact", "INVALID_FIELD", "No such column 'Nothing__c'"),
        ("SELECT Boss.Name FROM Contact", "INVALID_FIELD", "relationship 'Boss'"),
        ("SELECT Id FROM Contact WHERE DoNotCall = 'true'", "INVALID_FIELD", "must be of type boolean"),
        ("SELECT Id FROM Contact WHERE SystemModstamp > '2026-01-01T00:00:00Z'", "INVALID_FIELD", "type dateTime"),
        ("SELECT Id FROM Contact WHERE SystemModstamp > 2026-01-01", "INVALID_FIELD", "type dateTime"),
        ("SELECT Id FROM Nobody", "INVALID_TYPE", "Nobody"),
        ("SELECT COUNT() FROM Nobody", "INVALID_TYPE", "Nobody"),
        ("", "MALFORMED_QUERY", "required"),
    ],
)
def test_a_wrong_query_is_refused_as_the_vendor_does(query: str, code: str, part: str) -> None:
    with an_org(size=0) as (_, client):
        reply = soql(client, query)
        assert reply.status_code == 400
        (error,) = reply.json()
        assert error["errorCode"] == code
        assert part in error["message"]


def test_both_spellings_of_a_query_s_address_work() -> None:
    with an_org(size=0, rows=PEOPLE) as (_, client):
        for path in (f"{ROOT}/query/?q=SELECT+Id+FROM+Contact", f"{ROOT}/query?q=SELECT%20Id%20FROM%20Contact"):
            assert client.get(path).json()["totalSize"] == 4
        counted = soql(client, "SELECT COUNT() FROM Contact WHERE FirstName != null").json()
        assert counted == {"totalSize": 3, "done": True, "records": []}


def column(_: str, name: str) -> Column:
    kind = {"Id": "id", "SystemModstamp": "datetime"}.get(name, "string")
    return Column(name, kind, lambda row: row.get(name))


@given(st.text(max_size=30))
def test_any_text_that_is_quoted_by_the_library_means_itself(text: str) -> None:
    query = parse(format_soql("SELECT Id FROM Contact WHERE Title = {}", text), column)
    assert query.matches({"Title": text})
    assert not query.matches({"Title": text + "x"})


@given(
    st.lists(st.tuples(st.integers(0, 3), st.text("abCD", min_size=1, max_size=4)), unique=True, max_size=40),
    st.integers(1, 7),
)
def test_pages_behind_the_last_row_list_every_row_once(rows: list[tuple[int, str]], size: int) -> None:
    stored = [{"SystemModstamp": f"2026-03-02T12:00:0{second}.000+0000", "Id": id_} for second, id_ in rows]
    stored.sort(key=lambda row: (row["SystemModstamp"], row["Id"]))
    listed: list[Mapping[str, Any]] = []
    while True:
        where = ""
        if listed:
            stamp, last = listed[-1]["SystemModstamp"], listed[-1]["Id"]
            where = f"WHERE SystemModstamp >= {stamp} AND (SystemModstamp > {stamp} OR Id > '{last}')"
        query = parse(f"SELECT Id FROM X {where} ORDER BY SystemModstamp, Id LIMIT {size}", column)
        page = query.run(row for row in stored if row["SystemModstamp"] >= query.after)
        listed += page
        if len(page) < size:
            break
    assert listed == stored


@given(st.text(max_size=60))
def test_nonsense_is_refused_and_never_breaks_the_parser(text: str) -> None:
    try:
        parse("SELECT Id FROM Contact WHERE " + text, column)
    except SoqlError as error:
        assert error.code in {"MALFORMED_QUERY", "INVALID_FIELD"}


# -- the rest of the vendor's behaviour


def test_a_query_cursor_pages_ends_and_is_forgotten_after_ten_others() -> None:
    with an_org(contacts=25, page_max=10) as (_, client):
        first = soql(client, "SELECT Id FROM Contact").json()
        assert (first["done"], first["totalSize"]) == (False, 25)
        second = client.get(first["nextRecordsUrl"]).json()
        assert (second["done"], second["totalSize"], len(second["records"])) == (False, 25, 10)
        third = client.get(second["nextRecordsUrl"]).json()
        assert (third["done"], len(third["records"]), "nextRecordsUrl" in third) == (True, 5, False)
        for _ in range(10):
            soql(client, "SELECT Id FROM Contact")
        (error,) = client.get(first["nextRecordsUrl"]).json()
        assert error["errorCode"] == "INVALID_QUERY_LOCATOR"


def test_text_is_trimmed_numbers_are_rounded_and_empty_text_is_null() -> None:
    with an_org(size=0) as (_, client):
        body = {"name": "  Acme  ", "Phone": "", "AnnualRevenue": "1000.5", "NumberOfEmployees": 12}
        id_ = client.post(f"{ROOT}/sobjects/account", json=body).json()["id"]
        row = client.get(f"{ROOT}/sobjects/Account/{id_[:15]}").json()
        assert (row["Name"], row["Phone"], row["AnnualRevenue"], row["NumberOfEmployees"]) == ("Acme", None, 1001.0, 12)
        deal = {"Name": "Deal", "StageName": "Closed Won", "CloseDate": "2026-05-01", "Billed_Total__c": 10.005}
        id_ = client.post(f"{ROOT}/sobjects/Opportunity", json=deal).json()["id"]
        row = client.get(f"{ROOT}/sobjects/Opportunity/{id_}").json()
        assert (row["IsWon"], row["Probability"], row["Billed_Total__c"]) == (True, 100.0, 10.01)
        person = {"FirstName": "Ada", "LastName": "Byron", "MailingCity": "Boston"}
        id_ = client.post(f"{ROOT}/sobjects/Contact", json=person).json()["id"]
        row = client.get(f"{ROOT}/sobjects/Contact/{id_}").json()
        assert (row["Name"], row["MailingAddress"]["city"], row["OtherAddress"]) == ("Ada Byron", "Boston", None)
        task = client.post(f"{ROOT}/sobjects/Task", json={"Subject": "Call", "WhoId": id_, "Priority": "High"}).json()
        row = client.get(f"{ROOT}/sobjects/Task/{task['id']}").json()
        assert (row["Status"], row["IsClosed"], row["IsHighPriority"], row["AccountId"]) == (
            "Not Started",
            False,
            True,
            None,
        )


@pytest.mark.parametrize(
    ("fields", "code", "named"),
    [
        ({"FirstName": "Only"}, "REQUIRED_FIELD_MISSING", ["LastName"]),
        ({"LastName": "x" * 81}, "STRING_TOO_LONG", ["LastName"]),
        ({"LastName": "A", "Email": "a@b"}, "INVALID_EMAIL_ADDRESS", ["Email"]),
        ({"LastName": "A", "Nothing__c": 1}, "INVALID_FIELD", []),
        ({"LastName": "A", "Name": "B"}, "INVALID_FIELD_FOR_INSERT_UPDATE", ["Name"]),
        (
            {"LastName": "A", "MailingGeocodeAccuracy": "Odd"},
            "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
            ["MailingGeocodeAccuracy"],
        ),
        ({"LastName": "A", "AccountId": "0015g0000zzzzzzAAA"}, "INVALID_CROSS_REFERENCE_KEY", ["AccountId"]),
        ({"LastName": "A", "AccountId": "0035g0000000001AAA"}, "FIELD_INTEGRITY_EXCEPTION", ["AccountId"]),
        ({"LastName": "A", "AccountId": "short"}, "MALFORMED_ID", ["AccountId"]),
        ({"LastName": "A", "DoNotCall": "yes"}, "JSON_PARSER_ERROR", []),
        ({"LastName": "A", "Birthdate": "01.05.1970"}, "JSON_PARSER_ERROR", []),
        ({"LastName": 5}, "JSON_PARSER_ERROR", []),
    ],
)
def test_what_the_vendor_would_not_store_is_refused(fields: dict[str, Any], code: str, named: list[str]) -> None:
    with an_org(size=0) as (org, client):
        reply = client.post(f"{ROOT}/sobjects/Contact", json=fields)
        assert reply.status_code == 400
        (error,) = reply.json()
        assert (error["errorCode"], error.get("fields", [])) == (code, named)
        assert not org.tables["Contact"]


def test_an_external_id_is_unique_whatever_its_case() -> None:
    with an_org(size=0) as (_, client):
        client.post(f"{ROOT}/sobjects/Contact", json={"LastName": "A", "syncd_id__c": "Key"})
        (error,) = client.post(f"{ROOT}/sobjects/Contact", json={"LastName": "B", "syncd_id__c": "KEY"}).json()
        assert error["errorCode"] == "DUPLICATE_VALUE"
        path = f"{ROOT}/sobjects/Contact/syncd_id__c"
        assert client.patch(f"{path}/key", json={"LastName": "C"}).json()["created"] is False
        (error,) = client.patch(f"{path}/key", json={"syncd_id__c": "key"}).json()
        assert error["errorCode"] == "INVALID_FIELD"
        assert client.patch(f"{path}/other?updateOnly=true", json={"LastName": "D"}).status_code == 404
        records = [{"attributes": {"type": "Contact"}, "LastName": n, "syncd_id__c": "same"} for n in "ab"]
        entries = client.patch(f"{ROOT}/composite/sobjects/Contact/syncd_id__c", json={"records": records}).json()
        assert [entry["errors"][0]["statusCode"] for entry in entries] == ["DUPLICATE_VALUE"] * 2


def test_all_or_none_takes_back_what_was_written() -> None:
    with an_org(size=0) as (org, client):
        records = [{"attributes": {"type": "Contact"}, "LastName": "A"}, {"attributes": {"type": "Contact"}}]
        body = {"allOrNone": True, "records": records}
        entries = client.post(f"{ROOT}/composite/sobjects", json=body).json()
        codes = [entry["errors"][0]["statusCode"] for entry in entries]
        assert codes == ["ALL_OR_NONE_OPERATION_ROLLED_BACK", "REQUIRED_FIELD_MISSING"]
        assert not org.tables["Contact"]
        assert org.writes() == []


def test_a_collection_holds_two_hundred_rows_and_reads_two_thousand() -> None:
    with an_org(size=0) as (_, client):
        rows = [{"attributes": {"type": "Contact"}, "LastName": "A"}] * 201
        (error,) = client.post(f"{ROOT}/composite/sobjects", json={"records": rows}).json()
        assert error["errorCode"] == "EXCEEDED_ID_LIMIT"
        body = {"ids": ["0035g0000zzzzzzAAA"] * 2001, "fields": ["Id"]}
        (error,) = client.post(f"{ROOT}/composite/sobjects/Contact", json=body).json()
        assert error["errorCode"] == "EXCEEDED_ID_LIMIT"
        params = {"ids": "0035g0000zzzzzzAAA", "fields": "Id,Name"}
        assert client.get(f"{ROOT}/composite/sobjects/Contact", params=params).json() == [None]


def test_conditional_requests_hold_by_time_and_for_accounts_by_etag() -> None:
    with an_org() as (org, client):
        account, contact = (next(iter(org.tables[name])) for name in ("Account", "Contact"))
        path = f"{ROOT}/sobjects/Account/{account}"
        etag = client.get(path).headers["etag"]
        assert client.get(path, headers={"If-None-Match": etag}).status_code == 304
        assert client.patch(path, json={"Fax": "1"}, headers={"If-Match": etag}).status_code == 204
        assert client.patch(path, json={"Fax": "2"}, headers={"If-Match": etag}).status_code == 412
        path = f"{ROOT}/sobjects/Contact/{contact}"
        read_at = client.get(path).headers["last-modified"]
        assert client.patch(path, json={"Fax": "1"}, headers={"If-Unmodified-Since": read_at}).status_code == 204
        assert client.patch(path, json={"Fax": "2"}, headers={"If-Unmodified-Since": read_at}).status_code == 412
        assert client.get(path, headers={"If-Modified-Since": read_at}).status_code == 200
        assert client.get(path, headers={"If-Modified-Since": "yesterday"}).status_code == 400


def test_sign_in_refusals_have_the_documented_bodies() -> None:
    with an_org() as (org, client):
        reply = client.get(f"{ROOT}/limits", headers={"Authorization": "Bearer wrong"})
        assert reply.status_code == 401
        assert reply.json() == [{"errorCode": "INVALID_SESSION_ID", "message": "Session expired or invalid"}]
        assert client.get("/services/oauth2/userinfo", headers={"Authorization": "Bearer wrong"}).status_code == 403
        assert {"version": "64.0"}.items() <= client.get("/services/data").json()[-4].items()
        form = {"grant_type": "refresh_token", "refresh_token": "wrong"}
        app = {"client_id": org.client_id, "client_secret": org.client_secret}
        assert client.post("/services/oauth2/token", data=form).json()["error"] == "invalid_client"
        assert client.post("/services/oauth2/token", data=form | app).json()["error"] == "invalid_grant"
        form["refresh_token"] = org.refresh_token
        tokens = client.post("/services/oauth2/token", data=form | app).json()
        assert tokens["instance_url"] == org.url
        assert "expires_in" not in tokens
        fresh = {"Authorization": f"Bearer {tokens['access_token']}"}
        assert client.get("/services/oauth2/userinfo", headers=fresh).json()["organization_id"] == org.org.id
        client.post("/services/oauth2/revoke", data={"token": tokens["access_token"]})
        assert client.get(f"{ROOT}/limits", headers=fresh).status_code == 401
        assert client.get("/lightning").headers["content-type"] == "text/html"


def test_the_same_seed_makes_the_same_people_and_a_state_file_keeps_them(tmp_path: Path) -> None:
    def people(org: SalesforceSandbox) -> list[dict[str, Any]]:
        return list(org.tables["Contact"].values())

    assert people(SalesforceSandbox(clock=noon)) == people(SalesforceSandbox(clock=noon))
    assert people(SalesforceSandbox(clock=noon)) != people(SalesforceSandbox(clock=noon, seed=2))
    state = tmp_path / "org.jsonl"
    with an_org(state=state) as (org, client):
        made = client.post(f"{ROOT}/sobjects/Contact", json={"LastName": "Kept", "syncd_id__c": "k"}).json()["id"]
        org.edit_delete("Contact", next(iter(org.tables["Contact"])))
        before = people(org)
    with an_org(state=state) as (org, client):
        assert people(org) == before
        assert client.get(f"{ROOT}/sobjects/Contact/syncd_id__c/k").json()["Id"] == made
        assert client.post(f"{ROOT}/sobjects/Contact", json={"LastName": "Next"}).json()["id"] > made


def test_edits_can_be_made_over_http_as_the_org_s_users() -> None:
    with an_org() as (org, client):
        edit = {"do": "new", "args": {"sobject": "Contact", "fields": {"LastName": "Typed"}}}
        id_ = client.post("/__sandbox__/edit", json=edit).json()["result"]
        assert org.tables["Contact"][id_]["CreatedById"] == org.org.owner != org.org.api_user
        assert org.writes() == []


def test_everything_that_the_connector_reads_exists_in_the_sandbox() -> None:
    for sobject, wanted in WANTED.items():
        assert set(wanted.names) <= FIELDS[sobject].keys()

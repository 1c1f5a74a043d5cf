"""What connectors tell about an account's fields, held against the vendors' published descriptions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from connectors.clio import Clio
from connectors.clio.sandbox import ClioSandbox
from connectors.contract import Capabilities, VendorField
from connectors.egress import Egress
from connectors.errors import MissingPermission, ShapeChanged
from connectors.http import BearerAuth, VendorHTTP
from connectors.memory import MemoryVendor
from connectors.redact import Secret
from connectors.salesforce import Salesforce
from connectors.salesforce.sandbox import SalesforceSandbox
from connectors.sandbox import status
from mappings.load import load_plan
from mappings.places import is_there, places
from tests.connectors.descriptions import Description, Exemption

CUSTOM = ("Fee_Band__c picklist 20 label=Fee_Band values=Standard|Premium", "Opened__c date")
NULLS = Exemption("answer 200", "None (for not nullable|is not of type)", "an empty property has to come as something")
PAGING = Exemption("answer 200", "^meta: the property is not declared$", "the vendor's paging page describes it")


@contextmanager
def signed_in(sandbox: Any, connector: Any, token: str, settings: dict[str, str] | None = None) -> Iterator[Any]:
    with sandbox:
        http = VendorHTTP(
            base_url=sandbox.url, egress=Egress.allow((), sandbox.url, private=True), auth=BearerAuth(Secret(token))
        )
        try:
            yield connector(http, settings or {})
        finally:
            http.close()


def by_path(fields: tuple[VendorField, ...]) -> dict[str, VendorField]:
    found = {field.path: field for field in fields}
    assert len(found) == len(fields), "no place is told twice"
    return found


def test_salesforce_tells_types_choices_lengths_and_which_fields_are_the_firms() -> None:
    org = SalesforceSandbox(size=3, customs={"Contact": CUSTOM})
    with signed_in(org, Salesforce, max(org.access_tokens)) as connector:
        fields = by_path(connector.describe("Contact"))
        assert fields["Fee_Band__c"] == VendorField(
            "Fee_Band__c", "Fee Band", "choice", "picklist", custom=True, values=("Standard", "Premium"), length=20
        )
        assert (fields["Opened__c"].type, fields["Birthdate"].type) == ("date", "date")
        assert (fields["LastName"].length, fields["LastName"].custom) == (80, False)
        assert not fields["Name"].writable
        assert not fields["syncd_id__c"].custom, "our own key is nothing of the firm's"
        assert {fields[name].type for name in ("IsDeleted", "SystemModstamp", "AccountId")} == {
            "bool", "instant", "reference",
        }  # fmt: skip


def test_salesforce_reads_what_is_chosen_as_far_as_it_is_there() -> None:
    org = SalesforceSandbox(size=2, customs={"Contact": CUSTOM})
    with signed_in(org, Salesforce, max(org.access_tokens)) as connector:
        (first, *_) = (r for page in connector.pull("Contact", None) for r in page.records)
        assert "Fee_Band__c" not in first.body
        connector.choose("Contact", ("Fee_Band__c", "Nowhere__c"))
        (chosen,) = connector.fetch("Contact", [first.id])
        assert chosen.body["Fee_Band__c"] is None
        assert "Nowhere__c" not in chosen.body


def test_salesforce_without_access_to_an_object_describes_nothing() -> None:
    org = SalesforceSandbox(size=0)
    with signed_in(org, Salesforce, max(org.access_tokens)) as connector:
        org.faults.add("GET */describe", status(404, body=[{"errorCode": "NOT_FOUND", "message": "not found"}]))
        with pytest.raises(MissingPermission, match="Contact"):
            connector.describe("Contact")


def test_a_field_that_is_deleted_takes_its_values_with_it() -> None:
    org = SalesforceSandbox(size=0, customs={"Contact": CUSTOM}, rows={"Contact": [{"LastName": "Roe"}]})
    with signed_in(org, Salesforce, max(org.access_tokens)) as connector:
        (id_,) = org.tables["Contact"]
        org.edit_update("Contact", id_, {"Fee_Band__c": "Premium"})
        org.edit_drop_field("Contact", "Fee_Band__c")
        assert "Fee_Band__c" not in by_path(connector.describe("Contact"))
        org.edit_add_field("Contact", CUSTOM[0])
        fresh = Salesforce(connector.http, {})
        fresh.choose("Contact", ("Fee_Band__c",))
        assert fresh.fetch("Contact", [id_])[0].body["Fee_Band__c"] is None


def test_clio_tells_its_own_fields_and_the_firms_with_their_ids() -> None:
    clio = ClioSandbox(size=3, page_max=2)
    with signed_in(clio, Clio, clio.access_token) as connector:
        clio.edit_new_custom_field(6009, "Contact", "picklist", "Fee band", options=("Standard", "Premium"))
        clio.edit_custom_field(6003, {"deleted": True})
        fields = by_path(connector.describe("contacts"))
        number = fields["custom_field_values[custom_field.id=6001].value"]
        assert (number.label, number.type, number.id, number.custom) == ("Client number", "text", "6001", True)
        band = fields["custom_field_values[custom_field.id=6009].value"]
        assert (band.type, band.values) == ("choice", ("600900", "600901"))
        assert band.detail == "picklist: 600900 = Standard, 600901 = Premium"
        assert not any("6003" in path or "6101" in path for path in fields), "deleted, and a matter's"
        assert "custom_field_values" not in fields, "a value is told by its field"
        matters = by_path(connector.describe("matters"))
        assert "custom_field_values[custom_field.id=6102].value" in matters
        assert not any(field.custom for field in connector.describe("bills"))


def test_clio_is_asked_for_custom_fields_as_its_description_says() -> None:
    description = Description.find("clio-manage.json", skip=("/oauth/",))
    if description is None:
        pytest.skip("clio-manage.json is not here")
    clio = ClioSandbox(size=0, observe=description.check)
    with signed_in(clio, Clio, clio.access_token) as connector:
        clio.edit_new_custom_field(6009, "Contact", "picklist", "Fee band", options=("Standard", "Premium"))
        connector.describe("contacts")
        connector.describe("matters")
    assert description.calls == 2
    assert description.unexplained((NULLS, PAGING)) == []


def test_clio_custom_fields_of_another_shape_are_told_as_that() -> None:
    clio = ClioSandbox(size=0)
    with signed_in(clio, Clio, clio.access_token) as connector:
        clio.faults.add("GET */custom_fields.json", status(200, body={"data": [{"name": "Fee band"}]}))
        with pytest.raises(ShapeChanged, match="custom field"):
            connector.describe("contacts")


@pytest.mark.parametrize("connector", ["clio", "salesforce"])
def test_every_place_of_the_shipped_mapping_is_there(connector: str) -> None:
    made: Any = (
        (ClioSandbox(size=0), Clio, ClioSandbox.access_token)
        if connector == "clio"
        else ((org := SalesforceSandbox(size=0)), Salesforce, max(org.access_tokens))
    )
    with signed_in(*made) as talking:
        for place in places(load_plan(connector)):
            known = {field.path for field in talking.describe(place.resource)}
            assert is_there(place.path, known), f"{place.where} {place.path}"


def test_a_memory_vendor_describes_what_it_was_given_or_cannot() -> None:
    title = VendorField("title", "Title", "text")
    vendor = MemoryVendor(fields={"people": (title,)})
    describe = Capabilities.of(vendor.connector()).describe
    assert describe is not None
    assert describe("people") == (title,)
    assert describe("companies") == ()
    id_ = vendor.person_creates("people", {"title": "Partner", "given_name": "Ana"}).id
    vendor.admin_sets_fields("people", ())
    assert describe("people") == ()
    assert "title" not in vendor.look("people")[id_]
    assert Capabilities.of(MemoryVendor().connector()).describe is None

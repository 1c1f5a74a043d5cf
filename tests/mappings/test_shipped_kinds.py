"""What the shipped mappings make of documented shapes: expenses, users, tasks."""

from __future__ import annotations

from typing import Any

from mappings.canonical import validate
from mappings.load import load

JSON = dict[str, Any]


def an_expense(**more: Any) -> JSON:
    """Clio's Activity, as its published description has it."""
    return {
        "id": 77, "type": "ExpenseEntry", "date": "2026-11-20", "quantity": 4.0, "price": 12.5, "total": 50.0,
        "quantity_redacted": False, "note": "Taxi to court", "non_billable": False, "billed": True,
        "updated_at": "2026-11-20T10:00:00Z", "matter": {"id": 5, "display_number": "00005-Roe"},
        "user": {"id": 301, "name": "Ada Whitfield"}, "expense_category": {"id": 4302, "name": "Travel"}, **more,
    }  # fmt: skip


def test_an_expense_of_clio() -> None:
    entries = load("clio").of("activities")
    (lens,) = [each for each in entries if each.applies(an_expense())]
    assert (lens.kind, lens.creates) == ("expense", False)
    values = lens.get(an_expense())
    validate("expense", values)
    assert values == {
        "matter": "matters:5", "incurred_by": "users:301", "incurred_on": "2026-11-20", "quantity": "4.0",
        "unit_price": "12.5", "amount": "50.0", "category": "Travel", "billable": True, "billed": True,
        "narrative": "Taxi to court",
    }  # fmt: skip
    assert {"quantity", "amount"}.isdisjoint(lens.get(an_expense(quantity_redacted=True)))
    assert [each.kind for each in entries if each.applies(an_expense(type="HardCostEntry"))] == ["expense"]
    assert [each.kind for each in entries if each.applies(an_expense(type="TimeEntry"))] == ["time_entry"]


def test_a_user_of_clio_is_a_member_of_the_staff_and_never_written() -> None:
    (lens,) = load("clio").of("users")
    user = {"id": 301, "first_name": "Ada", "last_name": "Whitfield", "email": "ada@firm.example", "enabled": False}
    assert lens.get(user) == {
        "given_name": "Ada", "family_name": "Whitfield", "email": "ada@firm.example", "is_active": False,
    }  # fmt: skip
    assert load("clio").for_kind("staff_member") is None


def test_a_task_of_salesforce_is_a_touchpoint_once_it_is_completed() -> None:
    (lens,) = load("salesforce").of("Task")
    task = {
        "Id": "00T1", "TaskSubtype": "Call", "Status": "Completed", "CallType": "Inbound", "ActivityDate": "2026-11-20",
        "CallDurationInSeconds": 90, "WhoId": "0031", "AccountId": None, "Subject": "Settlement offer",
    }  # fmt: skip
    values = lens.get(task)
    validate("touchpoint", values)
    assert values == {
        "type": "call", "status": "done", "direction": "in", "at": "2026-11-20T00:00:00.000000Z", "minutes": "1.5",
        "person": "Contact:0031", "organisation": None,
    }  # fmt: skip
    assert lens.get({**task, "Status": "Deferred", "TaskSubtype": "Task"})["status"] == "planned"
    assert load("salesforce").for_kind("touchpoint") is None


def test_opt_outs_are_read_and_never_written_as_ordinary_fields() -> None:
    (lens,) = load("salesforce").of("Contact")
    read = lens.get({"Id": "0031", "LastName": "Roe", "HasOptedOutOfEmail": True, "DoNotCall": False})
    assert (read["opted_out_of_mail"], read["opted_out_of_calls"]) == (True, False)
    assert lens.put({"opted_out_of_mail": False}, {"Id": "0031", "HasOptedOutOfEmail": True}) == {}

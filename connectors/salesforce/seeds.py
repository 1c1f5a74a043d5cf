"""Seeded rows for the sandbox org: plausible, fixed by the seed, and nobody real (555-01xx phones, example.* mail)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from random import Random
from typing import Any

from connectors.salesforce.objects import STAGES

ORGANISATION = {
    "Name": "Sandbox Law LLP",
    "IsSandbox": True,
    "OrganizationType": "Enterprise Edition",
    "InstanceName": "SBX1",
}
USERS: tuple[dict[str, Any], ...] = (
    {"Username": "integration@sandbox.example.com", "FirstName": "Integration", "LastName": "User"},
    {"Username": "m.rivera@sandbox.example.com", "FirstName": "Mara", "LastName": "Rivera"},
    {"Username": "t.osei@sandbox.example.com", "FirstName": "Tom", "LastName": "Osei"},
)
for _user in USERS:
    _user |= {
        "Email": _user["Username"],
        "Name": f"{_user['FirstName']} {_user['LastName']}",
        "IsActive": True,
        "UserType": "Standard",
        "TimeZoneSidKey": "America/New_York",
    }

FIRST = (
    "Ada Amir Anna Ben Bianca Carlos Chidi Clara Dana David Elena Emil Farah Felix Grace Hana Hugo Ines Ivan Jane "
    "Kofi Lara Leo Lucia Maya Mei Nadia Noah Olga Omar Paula Priya Quinn Rosa Ruth Sam Sofia Tariq Uma Victor Wanda Zoe"
).split()
LAST = (
    "Abbott Adeyemi Alvarez Baker Bianchi Brandt Castillo Chen Cohen Dupont Eriksen Farouk Fischer Garcia Grant Haddad "
    "Hayes Iversen Jensen Kaplan Khan Kowalski Larsen Lindqvist Malik Mendez Moreau Nakamura Novak O'Brien Okafor Park "
    "Quist Reyes Rossi Schneider Silva Sokolov Tanaka Ueda Varga Weber Yilmaz Zhang"
).split()
NAMES = (
    "Alder Beacon Birch Cedar Clearwater Copper Crescent Evergreen Falcon Granite Harbor Highland Juniper Keystone "
    "Lakeside Meridian Northgate Oakridge Pioneer Quarry Redwood Riverbend Sterling Summit Sycamore Trident Union Vista"
).split()
TRADES = {
    "Construction": "Construction",
    "Energy": "Energy",
    "Foods": "Food & Beverage",
    "Health": "Healthcare",
    "Insurance": "Insurance",
    "Logistics": "Shipping",
    "Media": "Media",
    "Properties": "Other",
    "Software": "Technology",
    "Textiles": "Apparel",
}
FORMS = ("Inc.", "LLC", "Ltd", "Group", "LLP", "Co.")
PLACES = (
    ("Boston", "MA", "021"),
    ("Chicago", "IL", "606"),
    ("Denver", "CO", "802"),
    ("New York", "NY", "100"),
    ("Portland", "OR", "972"),
    ("Seattle", "WA", "981"),
)
STREETS = ("Main Street", "Oak Avenue", "Harbor Road", "State Street", "Mill Lane", "Park Place")
TITLES = (
    "General Counsel",
    "Chief Executive Officer",
    "Finance Director",
    "Head of HR",
    "Partner",
    "Owner",
    "Secretary",
    None,
)
SUBJECTS = ("Acquisition", "Employment dispute", "Lease review", "Patent filing", "Shareholder agreement", "Tax appeal")
ERRANDS = ("Call", "Send Letter", "Send Quote", "Follow up on the proposal", "Invite to the seminar")


def _address(rng: Random, prefix: str) -> dict[str, str]:
    city, state, zip_start = rng.choice(PLACES)
    return {
        f"{prefix}Street": f"{rng.randint(1, 999)} {rng.choice(STREETS)}",
        f"{prefix}City": city,
        f"{prefix}State": state,
        f"{prefix}PostalCode": f"{zip_start}{rng.randint(1, 99):02d}",
        f"{prefix}Country": "USA",
    }


def _phone(rng: Random) -> str:
    return f"({rng.choice((212, 303, 312, 503, 617))}) 555-01{rng.randint(0, 99):02d}"


def accounts(rng: Random, count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        trade = rng.choice(list(TRADES))
        word = NAMES[number % len(NAMES)]
        serial = f" {number // len(NAMES) + 1}" if number >= len(NAMES) else ""
        yield {
            "Name": f"{word} {trade}{serial} {rng.choice(FORMS)}",
            "Type": rng.choice(("Prospect", "Customer - Direct")),
            "Industry": TRADES[trade],
            "NumberOfEmployees": rng.randint(3, 5000),
            "Phone": _phone(rng),
            "Website": f"https://www.{word.lower()}{number}.example.com",
            **_address(rng, "Billing"),
        }


def contacts(rng: Random, count: int, account_ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    for number in range(count):
        first, last = rng.choice(FIRST), rng.choice(LAST)
        mailbox = f"{first}.{last}.{number}".lower().replace("'", "")
        yield {
            "FirstName": first,
            "LastName": last,
            "Salutation": rng.choice((None, None, "Mr.", "Ms.", "Dr.")),
            "Email": f"{mailbox}@example.{rng.choice(('com', 'org', 'net'))}" if rng.random() < 0.95 else None,
            "Phone": _phone(rng),
            "MobilePhone": _phone(rng) if rng.random() < 0.4 else None,
            "Title": rng.choice(TITLES),
            "AccountId": rng.choice(account_ids) if account_ids and rng.random() < 0.9 else None,
            "LeadSource": rng.choice(("Web", "Partner Referral", "Other", None)),
            "HasOptedOutOfEmail": rng.random() < 0.08,
            "DoNotCall": rng.random() < 0.04,
            **_address(rng, "Mailing"),
        }


def opportunities(rng: Random, count: int, account_ids: Sequence[str], today: date) -> Iterator[dict[str, Any]]:
    for number in range(count):
        stage = rng.choice(list(STAGES))
        yield {
            "Name": f"{rng.choice(SUBJECTS)} {number + 1}",
            "AccountId": rng.choice(account_ids) if account_ids else None,
            "StageName": stage,
            "Amount": float(rng.randint(10, 900) * 100),
            "CloseDate": (today + timedelta(days=rng.randint(-60, 120))).isoformat(),
            "Matter_Number__c": f"{10000 + number}-{rng.randint(1, 99):04d}" if stage == "Closed Won" else None,
        }


def tasks(
    rng: Random, count: int, contact_ids: Sequence[str], opportunity_ids: Sequence[str], today: date
) -> Iterator[dict[str, Any]]:
    for _ in range(count):
        yield {
            "Subject": rng.choice(ERRANDS),
            "Status": rng.choice(("Not Started", "In Progress", "Completed")),
            "Priority": rng.choice(("Normal", "Normal", "High")),
            "ActivityDate": (today + timedelta(days=rng.randint(-20, 30))).isoformat(),
            "WhoId": rng.choice(contact_ids) if contact_ids else None,
            "WhatId": rng.choice(opportunity_ids) if opportunity_ids and rng.random() < 0.5 else None,
            "TaskSubtype": "Task",
        }

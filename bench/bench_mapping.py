"""What reading a record costs: the compiled `get` of shipped mappings against hand-written code with the same result.

Run: python bench/bench_mapping.py. Prints microseconds per record (best of several rounds, warm caches) and the ratio.
"""

from __future__ import annotations

import timeit
from typing import Any

from mappings.load import load
from mappings.matching import decide, keys
from mappings.normalize import normalizer
from mappings.normalize.addresses import key as address_key

JSON = dict[str, Any]
ROUNDS, RECORDS = 7, 2000

CONTACT: JSON = {
    "id": 1,
    "etag": '"x"',
    "type": "Person",
    "first_name": "Jane",
    "middle_name": None,
    "last_name": "Doe",
    "prefix": "",
    "title": "General Counsel",
    "date_of_birth": "1980-01-02",
    "updated_at": "2026-05-01T12:00:00-07:00",
    "email_addresses": [
        {"id": 1, "address": "Jane@X.example", "name": "Work", "primary": False},
        {"id": 2, "address": "jane@home.example", "name": "Home", "primary": True},
    ],
    "phone_numbers": [
        {"id": 3, "number": "(212) 555-0100", "name": "Mobile", "primary": True},
        {"id": 4, "number": "212.555.0101", "name": "Work", "primary": False},
    ],
    "addresses": [
        {
            "id": 5,
            "name": "Work",
            "street": "1 Main Street",
            "city": "New York",
            "province": "NY",
            "postal_code": "10001",
            "country": "United States",
        }
    ],
    "company": {"id": 7, "name": "Acme"},
}
EMAIL_LABELS = {"Work": "work", "Home": "home", "Other": "other"}
PHONE_LABELS = EMAIL_LABELS | {"Mobile": "mobile", "Fax": "fax", "Pager": "pager", "Personal": "personal"}
ADDRESS_LABELS = EMAIL_LABELS | {"Billing": "billing"}
SHARED = normalizer("US")


def by_hand(body: JSON) -> JSON:
    """The same values without checks of shape: what a programmer in a hurry would write."""
    emails, phones, addresses = {}, {}, {}
    email = phone = None
    for entry in body["email_addresses"]:
        emails[SHARED.email_key(entry["address"])] = {
            "value": entry["address"],
            "label": EMAIL_LABELS[entry["name"]],
        }
        if entry["primary"]:
            email = entry["address"]
    for entry in body["phone_numbers"]:
        phones[SHARED.phone_key(entry["number"])] = {"value": entry["number"], "label": PHONE_LABELS[entry["name"]]}
        if entry["primary"]:
            phone = entry["number"]
    for entry in body["addresses"]:
        addresses[address_key(entry["street"], entry["postal_code"])] = {
            "street": entry["street"],
            "city": entry["city"],
            "region": entry["province"],
            "postcode": entry["postal_code"],
            "country": entry["country"],
            "label": ADDRESS_LABELS[entry["name"]],
        }
    company = body["company"]
    return {
        "given_name": body["first_name"] or None,
        "middle_name": body["middle_name"] or None,
        "family_name": body["last_name"] or None,
        "prefix": body["prefix"] or None,
        "title": body["title"] or None,
        "birth_date": body["date_of_birth"],
        "email": email,
        "phone": phone,
        "emails": emails,
        "phones": phones,
        "addresses": addresses,
        "organisation": f"contacts:{company['id']}" if company else None,
    }


def microseconds(work: Any) -> float:
    return min(timeit.repeat(work, number=RECORDS, repeat=ROUNDS)) / RECORDS * 1e6


def main() -> None:
    mapping = load("clio").of("contacts")[0]
    values = mapping.get(CONTACT)
    assert values == by_hand(CONTACT)
    compiled, hand = microseconds(lambda: mapping.get(CONTACT)), microseconds(lambda: by_hand(CONTACT))
    other = {**values, "title": "Partner", "emails": {**values["emails"], "new@x.example": {"value": "new@x.example"}}}
    rows = [
        ("get, compiled mapping", compiled),
        ("get, written by hand", hand),
        ("applies", microseconds(lambda: mapping.applies(CONTACT))),
        ("modified_at", microseconds(lambda: mapping.modified_at(CONTACT))),
        ("put, nothing changed", microseconds(lambda: mapping.put(values, CONTACT))),
        ("put, two fields changed", microseconds(lambda: mapping.put(other, CONTACT))),
        ("render, two fields changed", microseconds(lambda: mapping.render(other, CONTACT))),
        ("matching keys", microseconds(lambda: keys("person", values))),
        ("matching decision", microseconds(lambda: decide("person", values, other))),
    ]
    for name, cost in rows:
        print(f"{name:28} {cost:8.2f} us")
    print(f"compiled / by hand: {compiled / hand:.2f}")


if __name__ == "__main__":
    main()

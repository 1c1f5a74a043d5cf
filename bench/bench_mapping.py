"""What a mapping costs: reading, comparing and writing a contact, and normalizing with cold and warm caches.

Run: python -m bench.bench_mapping [--json]. The compiled `get` of the shipped Clio mapping is measured in turn with
hand-written code that fills the same model, so that a busy machine slows both; the median of the ratios is what counts.
All figures are microseconds of processor time per record or value.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
import timeit
from collections.abc import Callable, Iterable
from typing import Any

from mappings.load import load
from mappings.matching import decide, keys
from mappings.normalize import Normalizer, normalizer
from mappings.normalize.addresses import key as address_key

JSON = dict[str, Any]
ROUNDS, RECORDS = 41, 1000

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


def once(work: Callable[[], object]) -> float:
    return timeit.timeit(work, number=RECORDS, timer=time.process_time) / RECORDS * 1e6


def microseconds(work: Callable[[], object]) -> float:
    return min(once(work) for _ in range(9))


def normalizing() -> dict[str, float]:
    """Values never seen before, then the same ones again. Each round has a normalizer and values of its own."""
    found: dict[str, list[float]] = {}
    for made in range(5):
        fresh = Normalizer("US")
        emails = [f"Jane.Doe+{made}.{n}@Example{n % 97}.com" for n in range(RECORDS)]
        phones = [f"(212) {200 + made}-{n:04d} x{n % 7}" for n in range(RECORDS)]
        streets = [f"{n} East Main Street, Suite {made}" for n in range(RECORDS)]
        for name, normal, values in (
            ("e-mail address", fresh.email_key, emails),
            ("phone number", fresh.phone_key, phones),
            ("address", lambda street: address_key(street, "10001-1234"), streets),
        ):
            for heat in ("cold", "warm"):
                found.setdefault(f"{name}, {heat}", []).append(per_value(normal, values))
    return {name: min(costs) for name, costs in found.items()}


def per_value(normal: Callable[[str], object], values: Iterable[str]) -> float:
    values = list(values)
    began = time.process_time()
    for value in values:
        normal(value)
    return (time.process_time() - began) / len(values) * 1e6


def measured() -> dict[str, Any]:
    mapping = load("clio").of("contacts")[0]
    values = mapping.get(CONTACT)
    assert values == by_hand(CONTACT)
    pairs = [(once(lambda: mapping.get(CONTACT)), once(lambda: by_hand(CONTACT))) for _ in range(ROUNDS)]
    other = {**values, "title": "Partner", "emails": {**values["emails"], "new@x.example": {"value": "new@x.example"}}}
    costs = {
        "get, compiled mapping": min(compiled for compiled, _ in pairs),
        "get, written by hand": min(hand for _, hand in pairs),
        "diff, nothing to write": microseconds(lambda: mapping.put(values, CONTACT)),
        "put, two fields changed": microseconds(lambda: mapping.put(other, CONTACT)),
        "put, a new record": microseconds(lambda: mapping.put(values, None)),
        "render, two fields changed": microseconds(lambda: mapping.render(other, CONTACT)),
        "applies": microseconds(lambda: mapping.applies(CONTACT)),
        "modified_at": microseconds(lambda: mapping.modified_at(CONTACT)),
        "matching keys": microseconds(lambda: keys("person", values)),
        "matching decision": microseconds(lambda: decide("person", values, other)),
    }
    return {
        "get_to_hand": round(statistics.median(compiled / hand for compiled, hand in pairs), 2),
        "microseconds": {name: round(cost, 2) for name, cost in (costs | normalizing()).items()},
    }


def show(found: dict[str, Any]) -> None:
    print(f"  compiled get           {found['get_to_hand']:>6} x by hand [1.5]")
    for name, cost in found["microseconds"].items():
        print(f"    {name:28} {cost:8.2f} us")


if __name__ == "__main__":
    report = measured()
    if "--json" in sys.argv:
        print(json.dumps(report))
    else:
        print("mapping a Clio contact")
        show(report)

"""A made-up law firm for the sandbox: the same seed and size give the same firm, whatever the clock says.

Names come from short lists, phone numbers from 555-01xx, addresses of the net from example.com, .org and .net, so
nothing here can reach a real person. What is untidy is so on purpose: phone formats differ, some people have no
e-mail, two share a name, and many records carry the same second (an import).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

Row = dict[str, Any]

GIVEN = (
    "Amelia Benjamin Chidi Chloé Daniel Deepa Elena Fatima Gabriel Grace Hannah Hiroshi Ingrid Isaac Jamal Jorge "
    "Katarzyna Kwame Laila Liam Mabel Marcus Mei Miriam Nadia Niels Noor Olivia Omar Paulo Priya Quentin Rachel Rafael "
    "Ruth Samir Saoirse Sofía Tariq Teresa Thanh Una Victor Wanjiru William Ximena Yusuf Zoë"
).split()
FAMILY = (
    "Abbott Adeyemi Alvarez Bakker Bergström Castellanos Chaudhry Chen Cohen D'Angelo Delacroix Dubois Eriksen "
    "Fairweather Ferreira Fitzgerald Gallagher Goldberg Gupta Haddad Hughes Ibrahim Ishikawa Janssen Kaplan "
    "Kowalski Lindqvist Macleod Marchetti Mbeki Nakamura Nguyen O'Connor Okafor Osei-Bonsu Patel Petrov Quigley "
    "Ramírez Rosenthal Santos Schneider Silva Singh Sørensen Takahashi Thornbury Ueda Van-Dijk Vasquez Whitcombe "
    "Xu Yamamoto Zieliński"
).split()
COMPANY = (
    "Alder Beacon Cobalt Driftwood Emberline Foxglove Granite Harbor Ironbridge Juniper Kestrel Lantern Meridian "
    "Northgate Orchard Pinecrest Quarry Redwood Saltmarsh Tamarack Upland Veridian Westerly Yarrow"
).split()
TRADE = "Logistics Analytics Bakery Capital Clinics Construction Dairy Electric Foods Marine Media Robotics".split()
FORM = ("LLC", "Inc.", "LLP", "Ltd", "Corp.")
STREET = "Alder Birch Cedar Chestnut Elm Grove Hawthorn Linden Maple Oak Sycamore Willow".split()
CITY = (
    ("Oakland", "CA", "94612", "510"),
    ("Boston", "MA", "02110", "617"),
    ("Denver", "CO", "80202", "303"),
    ("Atlanta", "GA", "30303", "404"),
    ("Chicago", "IL", "60603", "312"),
    ("Seattle", "WA", "98101", "206"),
)
TITLE = ("General Counsel", "Chief Financial Officer", "Owner", "Director", "Office Manager", None, None, None)
SUBJECT = (
    "Commercial lease review",
    "Employment dispute",
    "Estate plan",
    "Purchase of business assets",
    "Trademark registration",
    "Divorce settlement",
    "Construction defect claim",
    "Shareholder agreement",
    "Personal injury claim",
    "Regulatory inquiry",
)
WORK = (
    "Telephone call with client about next steps",
    "Draft and revise agreement",
    "Review documents produced by opposing party",
    "Legal research on limitation periods",
    "Prepare for and attend meeting",
    "Correspondence with opposing counsel",
)
AREAS = (
    (4001, "Business Formation and Compliance", "business_formation_and_compliance"),
    (4002, "Commercial Litigation", "commercial_litigation"),
    (4003, "Employment and Labor", "employment_and_labor"),
    (4004, "Family", "family"),
    (4005, "Intellectual Property", "intellectual_property"),
    (4006, "Real Estate", "real_estate"),
    (4007, "Wills and Estates", "wills_and_estates"),
)
STAGES = ((4101, "Intake"), (4102, "In progress"), (4103, "Settlement"))
DESCRIPTIONS = ((4201, "Drafting"), (4202, "Research"), (4203, "Meeting"), (4204, "Correspondence"))
EXPENSES = ((4301, "Court fees"), (4302, "Travel"), (4303, "Copying"))
USERS = (
    (301, "Ada", "Whitfield", 420.0, "Attorney"),
    (302, "Bruno", "Castell", 380.0, "Attorney"),
    (303, "Carmen", "Oyelaran", 350.0, "Attorney"),
    (304, "Dilip", "Raman", 180.0, "NonAttorney"),
)
CUSTOM_FIELDS = (
    (6001, "Contact", "text_line", "Client number", True),
    (6002, "Contact", "text_line", "Referral source", False),
    (6003, "Contact", "checkbox", "Marketing consent", False),
    (6101, "Matter", "text_line", "Budget code", False),
    (6102, "Matter", "numeric", "Estimated value", False),
)
OPENED = datetime(2023, 1, 9, 9, 0, tzinfo=UTC)


def instant(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def phone(draw: random.Random, area: str) -> str:
    last = f"01{draw.randrange(100):02d}"
    return draw.choice((f"({area}) 555-{last}", f"{area}-555-{last}", f"+1 {area} 555 {last}", f"{area}.555.{last}"))


def ascii_part(name: str) -> str:
    table = str.maketrans("éëíïöøőñáńüűś", "eeiiooonanuus")
    return "".join(c for c in name.lower().translate(table) if c.isalnum() and c.isascii())


def contacts(seed: int, size: int) -> Iterator[Row]:
    """Rows without ids in nested lists: a fifth are companies, and come first, so that people can work there.

    `company` is the place of the employer among these rows.
    """
    draw = random.Random(f"contacts {seed}")
    companies = size // 5
    for n in range(size):
        city, province, postal_code, area = draw.choice(CITY)
        at = instant(OPENED + timedelta(days=draw.randrange(700), minutes=draw.randrange(600) if n % 3 else 0))
        address: Row = {
            "name": draw.choice(("Work", "Billing") if n < companies else ("Home", "Work", "Other")),
            "street": f"{draw.randrange(1, 999)} {draw.choice(STREET)} Street",
            "city": city,
            "province": province,
            "postal_code": postal_code,
            "country": "US",
        }
        row: Row = {
            "created_at": at,
            "updated_at": at,
            "prefix": None,
            "first_name": None,
            "middle_name": None,
            "last_name": None,
            "title": None,
            "date_of_birth": None,
            "company": None,
            "addresses": [address] if n % 4 else [],
            "web_sites": [],
            "custom_values": {},
        }
        if n < companies:
            stem, trade = COMPANY[n % len(COMPANY)], draw.choice(TRADE)
            turn = f" {n // len(COMPANY) + 1}" if n >= len(COMPANY) else ""
            host = f"{stem.lower()}{turn.strip()}.example.{draw.choice(('com', 'org', 'net'))}"
            row |= {"type": "Company", "name": f"{stem} {trade}{turn} {draw.choice(FORM)}"}
            mail = f"office@{host}"
            row["web_sites"] = [{"name": "Work", "address": f"https://{host}"}]
        else:
            first, last = draw.choice(GIVEN), draw.choice(FAMILY)
            row |= {"type": "Person", "first_name": first, "last_name": last, "title": draw.choice(TITLE)}
            row["middle_name"] = draw.choice("ABCDEFGJKLMRST") + "." if draw.random() < 0.15 else None
            row["prefix"] = draw.choice(("Dr.", "Ms.", "Mr.")) if draw.random() < 0.1 else None
            if companies and draw.random() < 0.4:
                row["company"] = draw.randrange(companies)
            if draw.random() < 0.3:
                row["date_of_birth"] = (date(1945, 1, 1) + timedelta(days=draw.randrange(20_000))).isoformat()
            domain = draw.choice(("example.com", "example.org", "example.net"))
            mail = f"{ascii_part(first)}.{ascii_part(last)}{n if n % 2 else ''}@{domain}"
        row["email_addresses"] = [{"name": "Work", "address": mail}] if draw.random() < 0.92 else []
        if row["email_addresses"] and draw.random() < 0.12:
            row["email_addresses"].append({"name": "Home", "address": f"{ascii_part(mail.split('@')[0])}@example.net"})
        label = "Work" if n < companies else draw.choice(("Work", "Mobile", "Home"))
        row["phone_numbers"] = [{"name": label, "number": phone(draw, area)}] if draw.random() < 0.85 else []
        if draw.random() < 0.4:
            row["custom_values"]["6001"] = f"C{1000 + n}"
        if draw.random() < 0.2:
            row["custom_values"]["6002"] = draw.choice(("Website", "Former client", "Bar association"))
        if row["type"] == "Person" and draw.random() < 0.5:
            row["custom_values"]["6003"] = draw.choice(("true", "false"))
        yield row


def matters(seed: int, size: int, contacts_size: int) -> Iterator[Row]:
    """`client` is the place of the client among the contacts."""
    draw = random.Random(f"matters {seed}")
    for n in range(size):
        opened = OPENED + timedelta(days=draw.randrange(700))
        status = draw.choices(("Open", "Pending", "Closed"), (6, 1, 3))[0]
        closed = opened + timedelta(days=draw.randrange(20, 300))
        attorney = draw.choice(USERS[:3])[0]
        yield {
            "created_at": instant(opened),
            "updated_at": instant(closed if status == "Closed" else opened),
            "number": n + 1,
            "description": draw.choice(SUBJECT),
            "client": draw.randrange(contacts_size),
            "client_reference": f"REF-{draw.randrange(10_000):04d}" if draw.random() < 0.3 else None,
            "status": status,
            "billable": True,
            "billing_method": draw.choice(("hourly", "hourly", "flat")),
            "location": draw.choice(CITY)[0] if draw.random() < 0.3 else None,
            "open_date": None if status == "Pending" else opened.date().isoformat(),
            "pending_date": opened.date().isoformat() if status == "Pending" else None,
            "close_date": closed.date().isoformat() if status == "Closed" else None,
            "practice_area": draw.choice(AREAS)[0],
            "matter_stage": draw.choice(STAGES)[0] if draw.random() < 0.5 else None,
            "responsible_attorney": attorney,
            "originating_attorney": draw.choice((attorney, USERS[0][0])),
            "custom_values": {"6101": f"B-{draw.randrange(90) + 10}"} if draw.random() < 0.3 else {},
        }


def bills(seed: int, size: int, matters_size: int) -> Iterator[Row]:
    """`matter` is the place of the matter among the matters; `total` is in whole cents."""
    draw = random.Random(f"bills {seed}")
    for n in range(size):
        issued = OPENED + timedelta(days=draw.randrange(60, 760))
        state = draw.choices(("draft", "awaiting_approval", "awaiting_payment", "paid", "void"), (2, 1, 4, 6, 1))[0]
        yield {
            "number": n + 1,
            "matter": draw.randrange(matters_size),
            "issued": issued,
            "state": state,
            "cents": draw.randrange(20_000, 2_000_000),
        }


def time_entries(seed: int, size: int, matters_size: int) -> Iterator[Row]:
    draw = random.Random(f"activities {seed}")
    for _ in range(size):
        worked = OPENED + timedelta(days=draw.randrange(760))
        user = draw.choice(USERS)
        yield {
            "created_at": instant(worked),
            "updated_at": instant(worked),
            "date": worked.date().isoformat(),
            "matter": draw.randrange(matters_size),
            "user": user[0],
            "price": user[3],
            "quantity": draw.randrange(1, 40) * 360,
            "note": draw.choice(WORK),
            "activity_description": draw.choice(DESCRIPTIONS)[0],
            "non_billable": draw.random() < 0.1,
        }

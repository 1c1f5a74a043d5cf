"""A server in Clio's shape that costs nothing, so that what is measured is the client.

It serves one made-up firm's contacts at /api/v4/contacts.json as `connectors.clio` asks for them: pages of 200 in the
order of ids with a `next` link, `updated_since`, etags, and a Date header. Pages are rendered before the first request;
a request only picks one. The other collections are empty. It is no simulator: no tokens, limits, filters or errors.

    python -m bench.server --size 100000          prints its address, serves until its input closes
    POST /bench/edit?percent=1                    edits every hundredth contact, always the same ones
    GET  /bench/requests                          how many requests were answered

Everything but the time of an edit is a function of the contact's number. E-mail domains end in .example and phone
numbers are of the exchange 555, so nothing is real; both are nearly as unique as a firm's own.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import parse_qs, unquote, urlsplit

import orjson

PAGE = 200
FIRST_ID = 3_400_001
BORN = "2026-02-03T10:15:00Z"
COMPANY_EVERY = 10

_ONSETS = "b br c ch d dr f fl g gr h j k kl l m n p pr r s sch st t tr v w z".split()
_VOWELS = "a e i o u ai ea ie oo".split()
_ENDINGS = "n r l s t nd rt man ler son ski ton berg ley ez ford".split()
_GIVEN = """Aaron Abigail Alice Andrew Angela Anna Anthony Barbara Benjamin Brian Carla Carlos Catherine Charles
Christine Claire Daniel David Deborah Diana Donald Dorothy Edward Elena Elizabeth Emma Eric Esther Felix Frances Frank
George Gloria Grace Gregory Hannah Harold Helen Henry Ines Irene Jack Jacob James Jane Janet Jason Joan Jonah Jorge
Joseph Joyce Judith Julia Karen Keith Kevin Laura Lena Leon Linda Louis Lucia Marcus Maria Mark Martha Martin Mary
Matthew Megan Michael Mona Nancy Naomi Nathan Nicholas Nora Olga Oliver Oscar Pamela Patricia Patrick Paul Peter Philip
Rachel Ralph Raymond Rebecca Richard Robert Rosa Ruth Samuel Sandra Sara Scott Sharon Simon Sofia Stephen Susan Teresa
Thomas Timothy Ursula Vera Victor Walter Wanda William Yolanda""".split()
_TITLES = "Owner|Director|General Counsel|Controller|Office Manager|Trustee|Engineer|Paralegal|Claims Adjuster".split(
    "|"
)
_STREETS = "Main Oak Cedar Lake Hill Park Pine Maple River Church Mill Spring".split()
_KINDS = "Street|Avenue|Road|Lane|Drive|Court".split("|")
_CITIES = "Springfield IL|Fairview TX|Riverside CA|Franklin TN|Greenville SC|Madison WI|Salem OR|Bristol CT".split("|")
_AREAS = """
201 202 203 205 206 207 208 209 210 212 213 214 215 216 217 218 219 225 228 229 231 234 239 240 248 251 252 253 254
256 260 262 267 269 270 276 281 301 302 303 304 305 307 308 309 310 312 313 314 315 316 317 318 319 320 321 323 325
330 334 336 337 339 347 351 352 360 361 386 401 402 404 405 406 407 408 409 410 412 413 414 415 417 419 423 424 425
432 434 435 440 443 469 478 479 480 484 501 502 503 504 505 507 508 509 510 512 513 515 516 517 518 520 530 540 541
551 559 561 562 563 567 570 571 573 574 580 585 586 601 602 603 605 606 607 608 609 610 612 614 615 616 617 618 619
620 623 626 630 631 636 641 646 650 651 660 661 662 678 682 701 702 703 704 706 707 708 712 713 714 715 716 717 718
719 720
""".split()
_SOURCES = "Referral|Web site|Bar association|Returning client|Advertisement".split("|")
_FORMS = "LLC|Inc.|LLP|Ltd.|Corporation".split("|")


def mix(number: int, salt: int) -> int:
    """A fixed draw: the same for the same number and salt, on every machine."""
    value = (number * 0x9E3779B97F4A7C15 + salt * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    return (value ^ (value >> 27)) >> 8


def surname(draw: int) -> str:
    """One of about 90,000."""
    draw, onset = divmod(draw, len(_ONSETS))
    draw, vowel = divmod(draw, len(_VOWELS))
    draw, middle = divmod(draw, len(_ONSETS))
    draw, second = divmod(draw, len(_VOWELS))
    return f"{_ONSETS[onset]}{_VOWELS[vowel]}{_ONSETS[middle][0]}{_VOWELS[second]}{_ENDINGS[draw % 2]}".capitalize()


def phone(number: int, salt: int) -> str:
    draw = mix(number, salt)
    area, line = _AREAS[draw % len(_AREAS)], draw // 1000 % 10_000
    return f"({area}) 555-{line:04}" if draw % 3 else f"+1 {area}-555-{line:04}"


def company_name(number: int) -> str:
    return f"{surname(mix(number, 1))} {surname(mix(number, 2))} {_FORMS[mix(number, 3) % len(_FORMS)]}"


def domain(company: int) -> str:
    return f"{surname(mix(company, 1)).lower()}{company:x}.example"


def contact(number: int, edited_at: str | None = None, times: int = 0) -> bytes:
    """Contact `number` (from 0) as JSON; `times` says how often it was edited, the last time at `edited_at`."""
    id_ = FIRST_ID + number
    is_company = number % COMPANY_EVERY == 0
    employer = (
        None
        if is_company or mix(number, 4) % 10 > 5
        else mix(number, 5) % (number // COMPANY_EVERY + 1) * COMPANY_EVERY
    )
    mail_domain = domain(number if is_company else number if employer is None else employer)
    if is_company:
        names = {
            "name": company_name(number),
            "prefix": None,
            "first_name": None,
            "middle_name": None,
            "last_name": None,
        }
        locals_ = ["info", "office"]
    else:
        given, family = _GIVEN[mix(number, 6) % len(_GIVEN)], surname(mix(number, 7))
        middle = chr(65 + mix(number, 8) % 26) if mix(number, 8) % 4 == 0 else None
        names = {
            "name": f"{given} {family}", "prefix": "Ms." if mix(number, 9) % 5 == 0 else None,
            "first_name": given, "middle_name": middle, "last_name": family,
        }  # fmt: skip
        locals_ = [f"{given}.{family}{number:x}".lower(), f"{family}{number:x}".lower()]
    emails = [
        {"id": id_ + n, "address": f"{local}@{mail_domain}", "name": "Home" if n else "Work", "primary": n == 0}
        for n, local in enumerate(locals_[: 1 + mix(number, 10) % 2])
    ]
    phones = [
        {"id": id_ + n, "number": phone(number, 20 + n), "name": ("Work", "Mobile")[n], "primary": n == 0}
        for n in range(1 + mix(number, 11) % 2)
    ]
    city, _, state = _CITIES[mix(number, 12) % len(_CITIES)].partition(" ")
    street = f"{1 + mix(number, 13) % 9999} {_STREETS[mix(number, 14) % 12]} {_KINDS[mix(number, 15) % 6]}"
    address = {
        "id": id_, "name": "Work" if is_company else "Home", "street": street, "city": city, "province": state,
        "postal_code": f"{10_000 + mix(number, 16) % 89_999}", "country": "US", "primary": True,
    }  # fmt: skip
    custom = [
        {
            "id": f"text_line-{id_ + n}",
            "field_name": ("Source", "Language")[n],
            "field_type": "text_line",
            "value": (_SOURCES[mix(number, 17) % 5], "English")[n],
            "custom_field": {"id": 4711 + n, "etag": '"c0ffee"'},
        }
        for n in range(1 + mix(number, 18) % 2)
    ]
    title = None if is_company else _TITLES[mix(number, 19) % len(_TITLES)] + (f" {times}" if times else "")
    body = {
        "id": id_,
        "etag": f'"{mix(number, 30 + times):014x}"',
        "type": "Company" if is_company else "Person",
        **names,
        "title": title,
        "date_of_birth": None,
        "is_client": number % 3 == 0,
        "created_at": BORN,
        "updated_at": edited_at or BORN,
        "primary_email_address": emails[0]["address"],
        "primary_phone_number": phones[0]["number"],
        "company": None if employer is None else {"id": FIRST_ID + employer, "name": company_name(employer)},
        "email_addresses": emails,
        "phone_numbers": phones,
        "addresses": [address],
        "web_sites": [{"id": id_, "address": f"https://www.{mail_domain}", "name": "Work", "default_web_site": True}]
        if is_company
        else [],
        "custom_field_values": custom,
    }
    if is_company and times:
        body["name"] = f"{names['name']} {times}"
    return orjson.dumps(body)


class Firm:
    """The contacts as pages of JSON, joined and ready to be sent."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.times = 0
        self.edited_at = ""
        self.every = 0
        self.requests = 0
        self.pages = [self._page(start) for start in range(0, size, PAGE)]
        self.changed: list[bytes] = []

    def _page(self, start: int) -> bytes:
        return b",".join([self._contact(number) for number in range(start, min(start + PAGE, self.size))])

    def _contact(self, number: int) -> bytes:
        if self.every and number % self.every == 1:
            return contact(number, self.edited_at, self.times)
        return contact(number)

    def edit(self, percent: float) -> int:
        """People change every n-th contact (persons), always the same ones; gives how many."""
        self.times += 1
        self.every = round(100 / percent)
        self.edited_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        numbers = range(1, self.size, self.every)
        for start in sorted({number - number % PAGE for number in numbers}):
            self.pages[start // PAGE] = self._page(start)
        edited = [self._contact(number) for number in numbers]
        self.changed = [b",".join(edited[start : start + PAGE]) for start in range(0, len(edited), PAGE)]
        return len(edited)

    def answer(self, target: str, host: str) -> bytes:
        self.requests += 1
        path, _, query = target.partition("?")
        if path == "/api/v4/contacts.json" and "fields=id%2C" in query and "email_addresses" in query:
            return self._listing(path, query, host)
        return orjson.dumps(self._small(path, parse_qs(query)))

    def _listing(self, path: str, query: str, host: str) -> bytes:
        head, _, token = query.partition("&page_token=")
        pages = self.pages
        if "updated_since=" in head:
            since = unquote(head.partition("updated_since=")[2].partition("&")[0])
            pages = self.changed if self.edited_at >= since else []
        at = int(token) if token else 0
        total = f'"records":{self.size}'
        paging = f'{{"next":"http://{host}{path}?{head}&page_token={at + 1}"}}' if at + 1 < len(pages) else "{}"
        body = pages[at] if pages else b""
        return b'{"data":[' + body + f'],"meta":{{"paging":{paging},{total}}}}}'.encode()

    def _small(self, path: str, query: dict[str, list[str]]) -> object:
        if path == "/bench/edit":
            return {"edited": self.edit(float(query["percent"][0]))}
        if path == "/bench/requests":
            return {"requests": self.requests}
        if path.endswith("/who_am_i.json"):
            return {"data": {"id": 1, "name": "Bench", "account": {"id": 77, "name": "Bench & Partners"}}}
        return {"data": [], "meta": {"paging": {}, "records": 0}}


class Speaker(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, and no more of it than the clients here use."""

    transport: asyncio.Transport

    def __init__(self, firm: Firm) -> None:
        self.firm = firm
        self.left = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.left += data
        while (end := self.left.find(b"\r\n\r\n")) >= 0:
            head, self.left = self.left[:end].decode("latin-1"), self.left[end + 4 :]
            line, _, rest = head.partition("\r\n")
            host = next(each[6:] for each in rest.split("\r\n") if each[:6].lower() == "host: ")
            parts = urlsplit(line.split(" ")[1])
            body = self.firm.answer(f"{parts.path}?{parts.query}", host)
            date = format_datetime(datetime.now(UTC), usegmt=True)
            self.transport.write(
                f"HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Type: application/json; charset=utf-8\r\n"
                f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )


async def serve(firm: Firm, port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Speaker(firm), "127.0.0.1", port)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    # Whoever started it holds the other end of our input: it cannot outlive them.
    await loop.run_in_executor(None, sys.stdin.buffer.read)
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--size", type=int, default=100_000, help="contacts")
    parser.add_argument("--changed", type=float, default=0.0, help="percent of them that were edited just now")
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args()
    firm = Firm(given.size)
    if given.changed:
        firm.edit(given.changed)
    asyncio.run(serve(firm, given.port))


if __name__ == "__main__":
    main()

"""Response headers and the time -> when the next request may go. Pure: no clock, no waiting, no state.

Understood: `Retry-After` (RFC 9110: seconds or an HTTP date), `X-RateLimit-*`, `X-Rate-Limit-*` and `RateLimit-*`
(Clio sends the reset as unix time, others as seconds from now), and Salesforce's `Sforce-Limit-Info`. Who waits,
and which workers share a budget, is decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

# A vendor's clock or unit may be wrong; no header keeps a connection silent for longer than this.
WAIT_MAX = timedelta(hours=24)
# Numbers above are points in time (2001 and later), below are seconds from now.
UNIX_TIME_MIN = 1_000_000_000
UNIX_MILLISECONDS_MIN = 1_000_000_000_000
SPELLINGS = ("x-ratelimit-", "x-rate-limit-", "ratelimit-")
SFORCE_PART = re.compile(r"\s*([A-Za-z-]+)=(\d+)/(\d+)")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one answer said about the budget; None is "it did not say".

    limit      requests per window
    remaining  requests left in this window
    reset_at   when the window starts anew
    retry_at   when the vendor asks to be called again (Retry-After)
    """

    limit: int | None = None
    remaining: int | None = None
    reset_at: datetime | None = None
    retry_at: datetime | None = None

    def next_at(self, now: datetime) -> datetime:
        """When the next request may go; `now` when nothing speaks against it."""
        if self.retry_at is not None:
            return max(self.retry_at, now)
        if self.remaining is not None and self.remaining <= 0 and self.reset_at is not None:
            return max(self.reset_at, now)
        return now


@dataclass(frozen=True, slots=True)
class Usage:
    """One part of Sforce-Limit-Info: `used` of `limit` calls in the last 24 hours (api-usage) or the burst window."""

    used: int
    limit: int


def read_limits(headers: Mapping[str, str], now: datetime) -> Limits:
    """All that the headers say. `headers` answers `get` regardless of case, as httpx.Headers does."""
    retry_at = retry_after(headers.get("retry-after"), now, headers.get("date"))
    for spelling in SPELLINGS:
        remaining = whole(headers.get(spelling + "remaining"))
        reset_at = reset(headers.get(spelling + "reset"), now)
        if remaining is not None or reset_at is not None:
            return Limits(whole(headers.get(spelling + "limit")), remaining, reset_at, retry_at)
    if usage := sforce_limits(headers.get("sforce-limit-info", "")).get("api-usage"):
        return Limits(usage.limit, max(0, usage.limit - usage.used), None, retry_at)
    return Limits(retry_at=retry_at)


def retry_after(value: str | None, now: datetime, date: str | None = None) -> datetime | None:
    """When to call again; None if the header is missing or makes no sense.

    An HTTP date is measured against the vendor's own `Date` header where there is one: its clock may be off.
    """
    if value is None:
        return None
    text = value.strip()
    if text.replace(".", "", 1).isdigit() and text.isascii():
        return within_bounds(now, seconds(text))
    at = http_date(text)
    if at is None:
        return None
    vendor_now = http_date(date) if date else None
    return within_bounds(now, (at - (vendor_now or now)).total_seconds())


def reset(value: str | None, now: datetime) -> datetime | None:
    """A reset header as an instant: unix seconds or milliseconds, seconds from now, or an HTTP date."""
    if value is None:
        return None
    text = value.strip()
    if not (text.replace(".", "", 1).isdigit() and text.isascii()):
        at = http_date(text)
        return None if at is None else within_bounds(now, (at - now).total_seconds())
    number = seconds(text)
    if number >= UNIX_MILLISECONDS_MIN:
        number /= 1000
    if number >= UNIX_TIME_MIN:
        return within_bounds(now, number - now.timestamp())
    return within_bounds(now, number)


def sforce_limits(value: str) -> dict[str, Usage]:
    """`api-usage=18/5000; api-bursts=1/750; per-app-api-usage=17/250(appName=x)` by name; {} when it is absent.

    https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/headers_api_usage.htm
    """
    found = (SFORCE_PART.match(part) for part in value.split(";"))
    return {part[1].lower(): Usage(int(part[2]), int(part[3])) for part in found if part and len(part[0]) < 80}


def whole(value: str | None) -> int | None:
    """The number at the front ("49, 50;w=60" is 49); None when there is none."""
    front = (value or "").split(",")[0].split(";")[0].strip()
    return int(front) if front.isascii() and front.isdigit() and len(front) < 19 else None


def seconds(text: str) -> float:
    return float(text) if len(text) < 30 else float("inf")


def http_date(text: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def within_bounds(now: datetime, wait_s: float) -> datetime:
    return now + timedelta(seconds=min(max(wait_s, 0.0), WAIT_MAX.total_seconds()))

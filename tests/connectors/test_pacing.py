"""Response headers and the time -> when the next request may go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.pacing import WAIT_MAX, Limits, Usage, read_limits, reset, retry_after, sforce_limits

NOW = datetime(2026, 3, 2, 9, 30, 0, tzinfo=UTC)


def in_s(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("30", in_s(30)),
        (" 30 ", in_s(30)),
        ("0.5", in_s(0.5)),
        ("0", NOW),
        ("Mon, 02 Mar 2026 09:31:00 GMT", in_s(60)),
        ("Mon, 02 Mar 2026 10:31:00 +0100", in_s(60)),
        ("Mon, 02 Mar 2026 09:29:00 GMT", NOW),
        ("99999999999", NOW + WAIT_MAX),
        ("9" * 400, NOW + WAIT_MAX),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("٣٠", None),
        ("1.2.3", None),
        (None, None),
    ],
)
def test_retry_after(value: str | None, expected: datetime | None) -> None:
    assert retry_after(value, NOW) == expected


def test_retry_date_is_measured_by_the_vendors_own_clock() -> None:
    vendor_now = NOW + timedelta(hours=2)
    then = format_datetime(vendor_now + timedelta(seconds=20), usegmt=True)
    assert retry_after(then, NOW, format_datetime(vendor_now, usegmt=True)) == in_s(20)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (str(int(NOW.timestamp()) + 42), in_s(42)),  # Clio: unix time
        (str((int(NOW.timestamp()) + 42) * 1000), in_s(42)),
        ("42", in_s(42)),
        (str(int(NOW.timestamp()) - 42), NOW),
        ("Mon, 02 Mar 2026 09:31:00 GMT", in_s(60)),
        ("never", None),
    ],
)
def test_reset_in_every_unit(value: str, expected: datetime | None) -> None:
    assert reset(value, NOW) == expected


def test_clio_says_when_the_minute_is_used_up() -> None:
    headers = httpx.Headers(
        {"X-RateLimit-Limit": "50", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(in_s(25).timestamp()))}
    )
    limits = read_limits(headers, NOW)
    assert limits == Limits(limit=50, remaining=0, reset_at=in_s(25))
    assert limits.next_at(NOW) == in_s(25)


def test_calls_that_are_left_need_no_waiting() -> None:
    headers = httpx.Headers({"X-RateLimit-Limit": "50", "X-RateLimit-Remaining": "1", "X-RateLimit-Reset": "25"})
    assert read_limits(headers, NOW).next_at(NOW) == NOW


def test_retry_after_beats_the_window() -> None:
    headers = httpx.Headers({"Retry-After": "7", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "60"})
    assert read_limits(headers, NOW).next_at(NOW) == in_s(7)


def test_the_standard_names_with_a_policy_behind_the_number() -> None:
    headers = httpx.Headers({"RateLimit-Limit": "100, 100;w=60", "RateLimit-Remaining": "0", "RateLimit-Reset": "9"})
    assert read_limits(headers, NOW) == Limits(100, 0, in_s(9))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("api-usage=10018/100000", {"api-usage": Usage(10018, 100000)}),
        ("api-usage=18/5000; api-bursts=1/750", {"api-usage": Usage(18, 5000), "api-bursts": Usage(1, 750)}),
        (
            "api-usage=25/5000; per-app-api-usage=17/250(appName=sample-connected-app)",
            {"api-usage": Usage(25, 5000), "per-app-api-usage": Usage(17, 250)},
        ),
        ("", {}),
        ("nonsense; api-usage=x/y", {}),
    ],
)
def test_salesforce_counts_every_part(value: str, expected: dict[str, Usage]) -> None:
    assert sforce_limits(value) == expected


def test_salesforce_daily_budget_becomes_remaining() -> None:
    limits = read_limits(httpx.Headers({"Sforce-Limit-Info": "api-usage=5003/5000"}), NOW)
    assert (limits.limit, limits.remaining) == (5000, 0)
    assert limits.next_at(NOW) == NOW  # it does not say until when; the vendor's refusal will


def test_headers_without_a_word_about_limits() -> None:
    assert read_limits(httpx.Headers({"Content-Type": "text/html"}), NOW) == Limits()


HEADERS = (
    "retry-after",
    "date",
    "x-ratelimit-limit",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "sforce-limit-info",
)


@given(st.dictionaries(st.sampled_from(HEADERS), st.text(max_size=40) | st.integers().map(str)))
def test_no_header_raises_or_silences_a_connection_for_long(headers: dict[str, str]) -> None:
    at = read_limits(headers, NOW).next_at(NOW)
    assert NOW <= at <= NOW + WAIT_MAX

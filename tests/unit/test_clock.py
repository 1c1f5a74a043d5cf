"""Instants are aware UTC, and their text form sorts as time does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.clock import FixedClock, SystemClock, as_utc, from_iso, iso

instants = st.datetimes(timezones=st.just(UTC))


@given(instants)
def test_text_and_back_is_the_same_instant(at: datetime) -> None:
    assert len(iso(at)) == 27
    assert from_iso(iso(at)) == at


@given(instants, instants)
def test_text_order_is_time_order(a: datetime, b: datetime) -> None:
    assert (iso(a) < iso(b)) == (a < b)


def test_another_zone_is_written_as_utc() -> None:
    berlin_summer = timezone(timedelta(hours=2))
    assert iso(datetime(2026, 7, 1, 12, 30, tzinfo=berlin_summer)) == "2026-07-01T10:30:00.000000Z"


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        as_utc(datetime(2026, 7, 1))  # noqa: DTZ001


def test_a_fixed_clock_moves_only_when_told() -> None:
    clock = FixedClock(datetime(2026, 7, 1, tzinfo=UTC))
    assert clock.now() == clock.now() == datetime(2026, 7, 1, tzinfo=UTC)
    assert clock.advance(timedelta(minutes=5)) == clock.now() == datetime(2026, 7, 1, 0, 5, tzinfo=UTC)
    clock.set(datetime(2025, 1, 1, tzinfo=UTC))
    assert clock.now() == datetime(2025, 1, 1, tzinfo=UTC)


def test_the_system_clock_gives_aware_utc() -> None:
    assert SystemClock().now().tzinfo is UTC

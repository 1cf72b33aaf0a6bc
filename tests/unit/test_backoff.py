"""The delays between attempts, and what the defaults come to."""

from __future__ import annotations

from datetime import timedelta
from unittest import mock

from tallystick.pipeline.backoff import backoff_s
from tallystick.settings import Settings


def test_the_defaults_spread_twelve_attempts_over_up_to_three_and_a_half_days() -> None:
    settings = Settings()
    with mock.patch("random.uniform", max):
        delays = [
            backoff_s(attempt, base_s=settings.retry_base_s, cap_s=settings.retry_cap_s)
            for attempt in range(1, settings.retry_limit)
        ]
    assert settings.retry_limit == 12
    assert delays[:4] == [2, 8, 32, 128]
    assert delays == sorted(delays)
    assert max(delays) == timedelta(days=1).total_seconds()
    assert timedelta(days=3) < timedelta(seconds=sum(delays)) < timedelta(days=3, hours=13)


def test_the_jitter_is_full_and_a_great_number_of_attempts_does_not_overflow() -> None:
    drawn = [backoff_s(3, base_s=2, cap_s=1000) for _ in range(2000)]
    assert 0 <= min(drawn) < 3.2
    assert 28.8 < max(drawn) <= 32
    assert 0 <= backoff_s(10_000, base_s=2, cap_s=60) <= 60

"""Billing periods: calendar arithmetic in UTC, pure.

Source: Stripe, "Billing cycle anchor": a cycle starts on the anchor's day and time of day; where a month has
no such day, on its last day, and the next cycle is again on the anchor's own day.
"""

from __future__ import annotations

import calendar
from datetime import UTC, datetime
from typing import Final

_SECONDS: Final = {"day": 86_400, "week": 7 * 86_400}
_MONTHS: Final = {"month": 1, "year": 12}
_MEAN_MONTH: Final = 2_629_746

INTERVALS: Final = ("day", "week", "month", "year")


def add(moment: int, interval: str, count: int) -> int:
    """``moment`` (seconds since the epoch) and ``count`` intervals, also negative ones."""
    if interval in _SECONDS:
        return moment + count * _SECONDS[interval]
    start = datetime.fromtimestamp(moment, UTC)
    year, month = divmod(start.year * 12 + start.month - 1 + count * _MONTHS[interval], 12)
    day = min(start.day, calendar.monthrange(year, month + 1)[1])
    return int(start.replace(year=year, month=month + 1, day=day).timestamp())


def length(interval: str, count: int) -> int:
    """About how many seconds, to compare intervals with."""
    return count * (_SECONDS.get(interval) or _MEAN_MONTH * _MONTHS[interval])


def containing(anchor: int, interval: str, count: int, moment: int) -> tuple[int, int]:
    """The cycle of ``count`` intervals, counted from ``anchor``, in which ``moment`` lies: [start, end)."""
    number = (moment - anchor) // length(interval, count)
    while add(anchor, interval, number * count) > moment:
        number -= 1
    while add(anchor, interval, (number + 1) * count) <= moment:
        number += 1
    return add(anchor, interval, number * count), add(anchor, interval, (number + 1) * count)


def following(anchor: int, interval: str, count: int, moment: int) -> int:
    """The first cycle boundary after ``moment``."""
    return containing(anchor, interval, count, moment)[1]


def aligned(
    moment: int,
    interval: str,
    count: int,
    *,
    day: int | None,
    month: int | None,
    clock: tuple[int | None, int | None, int | None],
) -> int:
    """The first time after ``moment`` on a given day of month (and month, for years) and time of day.

    What is None is as in ``moment``. Stripe's ``billing_cycle_anchor_config``.
    """
    start = datetime.fromtimestamp(moment, UTC)
    hour, minute, second = (
        given if given is not None else own
        for given, own in zip(clock, (start.hour, start.minute, start.second), strict=True)
    )
    year, at_month = start.year, month or start.month
    step = 12 if month is not None else 1
    while True:
        at_day = min(day or start.day, calendar.monthrange(year, at_month)[1])
        found = int(datetime(year, at_month, at_day, hour, minute, second, tzinfo=UTC).timestamp())
        if found > moment:
            break
        year, zero_based = divmod(year * 12 + at_month - 1 + step, 12)
        at_month = zero_based + 1
    if interval in _MONTHS and found - moment > length(interval, count) + 31 * 86_400:
        return containing(found, interval, count, moment)[1]
    return found

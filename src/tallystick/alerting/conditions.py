"""When something is wrong: the alert rules that can be read from the database. Pure.

Names and meaning are those of ``monitoring/alerts/tallystick.rules.yml``; each has its section in
``docs/alerts.md``. Thresholds are settings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from tallystick.money import Money
from tallystick.pipeline.pulls import gap_audit, settlement
from tallystick.pipeline.views.state import State
from tallystick.settings import Settings

Severity = Literal["warning", "critical"]

_CONFLICT: Final = "effect_differs"
_MANY: Final = 100
"""Dead letters: so many at once have one cause."""
_AUDIT_EDGE: Final = timedelta(days=7)
"""Three weeks before what is missing is lost at Stripe."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Something that holds now and should not.

    It fires once it has held for ``patience``. ``about`` tells apart those of one name: a currency, or "".
    ``value`` is in seconds, a count, or minor units.
    """

    name: str
    severity: Severity
    value: int
    summary: str
    about: str = ""
    patience: timedelta = timedelta(minutes=5)


def conditions(state: State, settings: Settings) -> list[Condition]:
    """Everything that is wrong now."""
    return [found for rule in RULES for found in rule(state, settings)]


def _events(state: State, settings: Settings) -> Iterator[Condition]:
    lag = _seconds(state, state.events_overdue_since)
    if lag > settings.alert_inbox_lag_s:
        yield Condition("TallystickInboxLag", "critical", lag, f"Events wait {_long(lag)} to be processed")
    age = _seconds(state, state.pending_events.oldest_at)
    if age > settings.alert_event_age_s:
        yield Condition("TallystickEventsStuck", "warning", age, f"An event has waited {_long(age)}")


def _dead_letters(state: State, settings: Settings) -> Iterator[Condition]:
    count = sum(each.count for each in state.dead_letters)
    if count >= settings.alert_dead_letters:
        told = "1 dead letter" if count == 1 else f"{count} dead letters"
        yield Condition("TallystickDeadLetters", "warning", count, told, patience=timedelta(minutes=1))
    if count > _MANY:
        yield Condition("TallystickDeadLettersMany", "critical", count, f"{count} dead letters")
    age = max((_seconds(state, each.oldest_at) for each in state.dead_letters), default=0)
    if age > settings.alert_dead_letter_age_s:
        summary = f"A dead letter lies for {_long(age)}"
        yield Condition("TallystickDeadLetterOld", "warning", age, summary, patience=timedelta(0))
    conflicts = sum(each.count for each in state.dead_letters if each.code == _CONFLICT)
    if conflicts:
        summary = "The books and Stripe tell different amounts for one fact"
        yield Condition("TallystickKeyConflict", "critical", conflicts, summary, patience=timedelta(0))


def _gap_audit(state: State, settings: Settings) -> Iterator[Condition]:
    audit = state.listing(gap_audit.NAME)
    if audit is None:
        return  # the first one has not begun
    age = _seconds(state, audit.finished_at)
    if age > settings.alert_audit_age_s:
        summary = f"The gap audit has not come to its end for {_long(age)}"
        yield Condition("TallystickGapAuditLate", "warning", age, summary)
    behind = _seconds(state, audit.read_through)
    if behind > _AUDIT_EDGE.total_seconds():
        summary = f"Events are not audited since {_long(behind)}; Stripe keeps them for 30 days"
        yield Condition("TallystickGapAuditEdge", "critical", behind, summary)
    if audit.found_last:
        summary = f"The last gap audit found {audit.found_last} events that no delivery brought"
        yield Condition("TallystickEventsMissed", "warning", audit.found_last, summary, patience=timedelta(0))


def _settlement(state: State, settings: Settings) -> Iterator[Condition]:
    pulled = state.listing(settlement.LATEST)
    age = _seconds(state, pulled.finished_at) if pulled is not None else 0
    if age > settings.alert_settlement_age_s:
        summary = f"Balance transactions were last read {_long(age)} ago"
        yield Condition("TallystickSettlementStale", "warning", age, summary)
    age = _seconds(state, state.unposted_balance_transactions.oldest_at)
    if age > settings.alert_event_age_s:
        summary = f"A balance transaction waits for {_long(age)}"
        yield Condition("TallystickSettlementUnposted", "warning", age, summary)


def _stripe(state: State, settings: Settings) -> Iterator[Condition]:
    age = _seconds(state, state.unfinished_stripe_calls.oldest_at)
    if age > settings.alert_call_age_s:
        summary = f"A change at Stripe has had no outcome for {_long(age)}"
        yield Condition("TallystickCallsUnfinished", "warning", age, summary)


def _ledger(state: State, settings: Settings) -> Iterator[Condition]:
    lag = _seconds(state, state.unsealed_since)
    if lag > settings.alert_seal_lag_s:
        summary = f"The ledger has not been sealed for {_long(lag)}"
        yield Condition("TallystickSealLag", "warning", lag, summary)
    for currency, balance in state.suspense.items():
        if balance:
            summary = f"{Money(balance, currency)} in suspense"
            yield Condition("TallystickSuspense", "warning", balance, summary, about=currency)
    for currency, balance in state.unapplied.items():
        if balance:
            patience = timedelta(seconds=settings.alert_unapplied_s)
            summary = f"{Money(balance, currency)} unapplied for {_long(settings.alert_unapplied_s)}"
            yield Condition(
                "TallystickUnapplied", "warning", balance, summary, about=currency, patience=patience
            )


def _notices(state: State, settings: Settings) -> Iterator[Condition]:
    age = _seconds(state, state.endpoints.failing_since)
    if age > settings.alert_notice_age_s:
        summary = f"An endpoint for notices has failed for {_long(age)}"
        yield Condition("TallystickNoticesFailing", "warning", age, summary)
    if disabled := state.endpoints.disabled_by_failures:
        summary = f"{disabled} endpoints for notices are disabled after failures"
        yield Condition(
            "TallystickNoticeEndpointDisabled", "warning", disabled, summary, patience=timedelta(0)
        )
    age = _seconds(state, state.pending_notices.oldest_at)
    if age > settings.alert_notice_age_s:
        yield Condition("TallystickNoticesLate", "warning", age, f"A notice has waited for {_long(age)}")


RULES: Final[tuple[Callable[[State, Settings], Iterator[Condition]], ...]] = (
    _events, _dead_letters, _gap_audit, _settlement, _stripe, _ledger, _notices,
)  # fmt: skip


def _seconds(state: State, since: datetime | None) -> int:
    return round(state.age(since).total_seconds())


def _long(seconds: float) -> str:
    """A time as people say it: ``45 s``, ``12 min``, ``3 h``, ``8 days``."""
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= (2 * length if unit == "days" else length):
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:g} s"

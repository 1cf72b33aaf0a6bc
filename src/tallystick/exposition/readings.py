"""The state of the installation as samples of the readings that ``monitoring.metrics`` declares. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from tallystick.monitoring import metrics
from tallystick.monitoring.metrics import Reading
from tallystick.pipeline.views.state import State

Sample = tuple[Reading, Sequence[str], float]
"""A reading, the values of its labels, and its own."""


def state_samples(state: State) -> Iterator[Sample]:
    """Everything that comes from the database; an age of zero where nothing waits."""
    for reading, value in _plain(state).items():
        yield reading, (), value
    for letters in state.dead_letters:
        labels = (letters.kind, letters.code)
        yield metrics.DEAD_LETTERS, labels, letters.count
        if letters.oldest_at is not None:
            yield metrics.DEAD_LETTER_AGE, labels, state.age(letters.oldest_at).total_seconds()
    for listing in state.listings:
        yield metrics.LIST_FOUND, (listing.name,), listing.found_in_all
        times = {metrics.LIST_DONE: listing.finished_at, metrics.LIST_THROUGH: listing.read_through}
        for reading, at in times.items():
            if at is not None:
                yield reading, (listing.name,), at.timestamp()
    endpoints = state.endpoints
    for status in ("enabled", "disabled_by_hand", "disabled_by_failures"):
        yield metrics.ENDPOINTS, (status,), getattr(endpoints, status)
    for reading, balances in ((metrics.SUSPENSE, state.suspense), (metrics.UNAPPLIED, state.unapplied)):
        for currency, balance in balances.items():
            yield reading, (currency,), balance


def _plain(state: State) -> Mapping[Reading, float]:
    """Those without labels."""

    def age(since: datetime | None) -> float:
        return state.age(since).total_seconds()

    return {
        metrics.PENDING_EVENTS: state.pending_events.count,
        metrics.PENDING_AGE: age(state.pending_events.oldest_at),
        metrics.RETRIED_EVENTS: state.retried_events,
        metrics.EVENT_LAG: age(state.events_overdue_since),
        metrics.UNPOSTED: state.unposted_balance_transactions.count,
        metrics.UNPOSTED_AGE: age(state.unposted_balance_transactions.oldest_at),
        metrics.PENDING_NOTICES: state.pending_notices.count,
        metrics.NOTICE_AGE: age(state.pending_notices.oldest_at),
        metrics.FAILING_ENDPOINTS: state.endpoints.failing,
        metrics.FAILING_AGE: age(state.endpoints.failing_since),
        metrics.OPEN_CALLS: state.unfinished_stripe_calls.count,
        metrics.OPEN_CALL_AGE: age(state.unfinished_stripe_calls.oldest_at),
        metrics.SEAL_BLOCKS: state.seal_blocks,
        metrics.UNSEALED_AGE: age(state.unsealed_since),
    }

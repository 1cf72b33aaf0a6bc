"""Counts what a committed batch came to, for ``monitoring.metrics``. Call it after the commit."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from tallystick.events.spec import Effects
from tallystick.monitoring import metrics
from tallystick.pipeline.effects import Written
from tallystick.stripe_gateway.declines import known_code

_PAYMENT_FAILED = "payment.failed"


def count_written(effects: Sequence[Effects], written: Written) -> None:
    """What was posted, and what became known with it; what stood before is counted by whoever wrote it."""
    metrics.LEDGER_TRANSACTIONS.inc(len(written.posted.new))
    if written.told:
        _count_facts(effects, written.told)


def count_conflicts(keys: Collection[object]) -> None:
    """Effect keys that came with other legs than they stand with."""
    metrics.KEY_CONFLICTS.inc(len(keys))


def _count_facts(effects: Sequence[Effects], told: Collection[str]) -> None:
    left = set(told)
    for each in effects:
        for notice in each.notices:
            if notice.key not in left:
                continue
            left.remove(notice.key)  # several events of a batch may tell it
            metrics.FACTS.labels(notice.type).inc()
            if notice.type == _PAYMENT_FAILED:
                metrics.PAYMENT_FAILURES.labels(_why(each, notice.payment_id)).inc()


def _why(effects: Effects, payment_id: str | None) -> str:
    """The decline code, or else the error code; one that Stripe does not document has no name of its own."""
    errors = [report.last_error for report in effects.payments if report.id == payment_id]
    error = (errors[0] if errors else None) or {}
    return known_code(error.get("decline_code"), error.get("code")) or metrics.OTHER

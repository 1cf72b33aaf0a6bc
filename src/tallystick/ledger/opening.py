"""The opening of the books on a Stripe account that is in use already. Pure.

At an instant, the cut-over, Stripe's balances are posted against ``equity:opening``. What happened before is
in that position, and must not count a second time; what happens afterwards to something older (a payout on
its way, an open dispute) takes its other side from ``equity:opening``, since nothing was opened for it.
``since_opening`` is the one place that says so, for whoever posts and for whoever builds the ledger again.

Books may hold something already when they are opened, posted as if there were no cut-over. What of that would
not stand as it does, had they been opened before, is *superseded*: taken back whole, and posted anew under a
key of its own as far as it belongs to the time since.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from tallystick.ledger import chart
from tallystick.ledger.entries import (
    LedgerEntry,
    LedgerTransaction,
    credit,
    debit,
    post,
    reverse,
    transactions,
)

EFFECT_KEY: Final = "opening"
"""One for the whole ledger: books are opened once."""

SUPERSEDED: Final = ":superseded"
POSTED_ANEW: Final = ":since_opening"
"""What the keys of effects end with that take back, and post anew, what stood when the books were opened."""

IN_TRANSIT: Final = frozenset(
    {chart.CLEARING, chart.PAYOUTS_IN_TRANSIT, chart.TOPUPS_IN_TRANSIT, chart.DISPUTED}
)
"""Accounts that one fact fills and another one empties, both about the same object at Stripe.

They are not opened. Of an object that was made before the cut-over, both facts use ``equity:opening``
instead: what the first one put there before is what the position at the cut-over lacks.
"""


@dataclass(frozen=True, slots=True)
class OpeningBalance:
    """What stood on an account at the cut-over, in minor units: positive on the debit side."""

    account: str
    currency: str
    amount: int


@dataclass(frozen=True, slots=True)
class Opening:
    """The position from which the books begin; ``cut_over`` is aware, in whole seconds."""

    cut_over: datetime
    balances: tuple[OpeningBalance, ...]


def opening_transaction(opening: Opening) -> LedgerTransaction | None:
    """The ledger transaction that opens the books; None when there was nothing at the cut-over."""
    return post(
        EFFECT_KEY,
        "opening",
        [
            leg
            for each in opening.balances
            for leg in (
                debit(each.account, each.amount, each.currency),
                credit(chart.OPENING, each.amount, each.currency),
            )
        ],
        description=f"Position at Stripe at {opening.cut_over:%Y-%m-%d %H:%M:%S} UTC",
        occurred_at=opening.cut_over,
        source=EFFECT_KEY,
    )


def since_opening(transaction: LedgerTransaction, cut_over: datetime | None) -> LedgerTransaction | None:
    """What is posted of a fact in books that were opened at ``cut_over``; all of it where they were not.

    Nothing, where the fact happened before or is not known to have happened since (``not_before``): then it
    is in the opening position, or another source will tell its time. Legs on accounts in transit that are
    about an object older than the cut-over (``object_created_at``) go to ``equity:opening``.
    """
    if cut_over is None:
        return transaction
    if (transaction.not_before or transaction.occurred_at) < cut_over:
        return None
    if transaction.occurred_at < cut_over:  # known by a day only: the fact itself was later
        transaction = replace(transaction, occurred_at=cut_over)
    if transaction.object_created_at is None or transaction.object_created_at >= cut_over:
        return transaction
    if not any(leg.account in IN_TRANSIT for leg in transaction.entries):
        return transaction
    legs = _netted(
        replace(leg, account=chart.OPENING) if leg.account in IN_TRANSIT else leg
        for leg in transaction.entries
    )
    return replace(transaction, entries=legs) if legs else None


def taken_back(superseded: LedgerTransaction) -> LedgerTransaction:
    """The mirror of a transaction that was posted before the books were opened; it happened at no time."""
    key = f"{superseded.effect_key}{SUPERSEDED}"
    return reverse(superseded, key=key, occurred_at=superseded.occurred_at)


def posted_anew(transaction: LedgerTransaction, cut_over: datetime) -> tuple[LedgerTransaction, ...]:
    """What a source implies of a superseded effect: that it stood, that it is taken back, what is left of it.

    So the books come to what they would be, had they been opened before anything was posted.
    """
    kept = since_opening(transaction, cut_over)
    again = replace(kept, effect_key=f"{kept.effect_key}{POSTED_ANEW}") if kept is not None else None
    return transactions(transaction, taken_back(transaction), again)


def _netted(legs: Iterable[LedgerEntry]) -> tuple[LedgerEntry, ...]:
    """The legs as they are, those on ``equity:opening`` summed up in each currency."""
    kept: list[LedgerEntry] = []
    opening: dict[str, int] = defaultdict(int)
    for leg in legs:
        if leg.account == chart.OPENING:
            opening[leg.currency] += leg.direction * leg.amount
        else:
            kept.append(leg)
    kept += [debit(chart.OPENING, net, currency) for currency, net in sorted(opening.items()) if net]
    return tuple(kept)

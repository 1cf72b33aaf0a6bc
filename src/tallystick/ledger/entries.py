"""Ledger transactions and their entries as plain, immutable values. Pure.

The words are those of double-entry bookkeeping: a *ledger transaction* (header) has two or more *ledger
entries* (legs), each a debit or a credit of a positive amount; debits equal credits in every currency.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from tallystick.errors import UnbalancedError

DEBIT: Final = 1
CREDIT: Final = -1


def direction_word(direction: int) -> str:
    """``debit`` or ``credit``, as the public face names it."""
    return "debit" if direction == DEBIT else "credit"


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One leg. ``amount`` is positive, in minor units of ``currency``; ``direction`` is DEBIT or CREDIT."""

    account: str
    direction: int
    amount: int
    currency: str


def debit(account: str, amount: int, currency: str) -> LedgerEntry:
    """A leg on the debit side; a negative amount swaps the side."""
    return LedgerEntry(account, DEBIT if amount >= 0 else CREDIT, abs(amount), currency)


def credit(account: str, amount: int, currency: str) -> LedgerEntry:
    """A leg on the credit side; a negative amount swaps the side."""
    return debit(account, -amount, currency)


@dataclass(frozen=True, slots=True)
class LedgerTransaction:
    """One fact in the ledger, under the key that names it.

    ``occurred_at`` is when it happened at Stripe (aware, UTC). ``source`` is the id of the event or object
    that told of it. ``payment_id`` is our payment it belongs to, if it belongs to one. ``rule_version``
    counts up when the rule that made it changes its legs.

    Two times matter where books are opened on an account in use (see ``opening.py``): ``not_before``, before
    which the fact certainly did not happen, where ``occurred_at`` may be the time of a later source (None:
    it is exact), and ``object_created_at``, when the object at Stripe that it is about was made.
    """

    effect_key: str
    kind: str
    description: str
    occurred_at: datetime
    entries: tuple[LedgerEntry, ...]
    source: str
    payment_id: str | None = None
    rule_version: int = 1
    not_before: datetime | None = None
    object_created_at: datetime | None = None
    digest: bytes = field(init=False)

    def __post_init__(self) -> None:
        check_balanced(self.effect_key, self.entries)
        object.__setattr__(self, "digest", legs_digest(self.entries))


def transactions(*candidates: LedgerTransaction | None) -> tuple[LedgerTransaction, ...]:
    """The given transactions without those that came out empty."""
    return tuple(transaction for transaction in candidates if transaction is not None)


def post(
    effect_key: str,
    kind: str,
    legs: Iterable[LedgerEntry],
    *,
    description: str,
    occurred_at: datetime,
    source: str,
    payment_id: str | None = None,
    rule_version: int = 1,
    not_before: datetime | None = None,
    object_created_at: datetime | None = None,
) -> LedgerTransaction | None:
    """Make a ledger transaction; zero legs are dropped, and one without legs is none.

    Raises UnbalancedError when debits and credits differ in any currency.
    """
    entries = tuple(leg for leg in legs if leg.amount)
    if not entries:
        return None
    return LedgerTransaction(
        effect_key,
        kind,
        description,
        occurred_at,
        entries,
        source,
        payment_id,
        rule_version,
        not_before,
        object_created_at,
    )


def reverse(
    transaction: LedgerTransaction,
    *,
    occurred_at: datetime,
    key: str | None = None,
    not_before: datetime | None = None,
) -> LedgerTransaction:
    """The mirror of a transaction, the only way to take a fact back: as ``key``, else ``KEY:reversed``."""
    mirrored = tuple(
        LedgerEntry(leg.account, -leg.direction, leg.amount, leg.currency) for leg in transaction.entries
    )
    return replace(
        transaction,
        effect_key=key or f"{transaction.effect_key}:reversed",
        kind=f"{transaction.kind}_reversed",
        description=f"Reversal: {transaction.description}",
        entries=mirrored,
        occurred_at=occurred_at,
        not_before=not_before,
    )


def check_balanced(effect_key: str, entries: Iterable[LedgerEntry]) -> None:
    """Raise UnbalancedError unless debits equal credits in every currency and all amounts are positive."""
    sums: dict[str, int] = defaultdict(int)
    count = 0
    for leg in entries:
        if leg.amount <= 0:
            raise UnbalancedError(f"{effect_key}: an entry of {leg.amount} is not positive.")
        sums[leg.currency] += leg.direction * leg.amount
        count += 1
    if count == 0 or any(sums.values()):
        off = ", ".join(f"{total:+d} {currency}" for currency, total in sorted(sums.items()) if total)
        raise UnbalancedError(f"{effect_key}: debits and credits differ by {off or 'having no entries'}.")


def legs_digest(entries: Iterable[LedgerEntry]) -> bytes:
    """SHA-256 over the legs in a canonical order: equal exactly when accounts and amounts are equal."""
    lines = sorted(f"{leg.account}|{leg.currency}|{leg.direction}|{leg.amount}" for leg in entries)
    return hashlib.sha256("\n".join(lines).encode()).digest()

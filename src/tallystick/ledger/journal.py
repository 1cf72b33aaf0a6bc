"""Operators' journal entries: what one says, what it may say, and the ledger transaction it makes. Pure.

An operator corrects the books by adding to them. Entries are stored inputs, like events: ``posting`` makes
the ledger transaction of a stored one, today and whenever the ledger is built again from its inputs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from tallystick.errors import (
    InvalidAmountError,
    InvalidRequestError,
    UnbalancedEntryError,
    UnknownCurrencyRequestError,
)
from tallystick.ledger import chart
from tallystick.ledger.entries import CREDIT, DEBIT, LedgerEntry, LedgerTransaction, direction_word
from tallystick.money import CURRENCIES

MOST_LINES: Final = 200
MAX_AMOUNT: Final = 10**15
"""In minor units; sums of it stay far inside 64 bits."""

ANY_CURRENCY: Final = "*"
"""Stands for every currency that ``approval_above`` does not name."""


class EntryStatus(StrEnum):
    """Where a journal entry stands."""

    PENDING_APPROVAL = "pending_approval"
    POSTED = "posted"
    REJECTED = "rejected"


class Outcome(StrEnum):
    """What was decided of an entry that needed a second person."""

    APPROVED = "approved"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Person:
    """Who did something: the name of an API key and its id, or an operator at the command line."""

    name: str
    key_id: str | None = None

    def is_same_as(self, other: Person) -> bool:
        """Whether this may be one person. Keys that replace each other share a name, so a name decides."""
        same_key = self.key_id is not None and self.key_id == other.key_id
        return same_key or _plain(self.name) == _plain(other.name)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a second person decided, and why."""

    outcome: Outcome
    by: Person
    comment: str | None
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """A journal entry as it is stored. ``reverses`` is the id of the entry that it takes back."""

    id: str
    description: str
    reason: str
    occurred_at: datetime
    lines: tuple[LedgerEntry, ...]
    payment_id: str | None
    reverses: str | None
    author: Person
    needs_approval: bool
    created_at: datetime
    decision: Decision | None = None
    reversed_by: str | None = None
    """The posted entry that took this one back."""

    @property
    def status(self) -> EntryStatus:
        """Where it stands."""
        if self.decision is not None and self.decision.outcome is Outcome.REJECTED:
            return EntryStatus.REJECTED
        if self.needs_approval and self.decision is None:
            return EntryStatus.PENDING_APPROVAL
        return EntryStatus.POSTED

    @property
    def effect_key(self) -> str:
        """The key of its ledger transaction; an entry can be taken back once."""
        return f"journal:{self.reverses}:reversed" if self.reverses else f"journal:{self.id}"


def posting(entry: JournalEntry) -> LedgerTransaction:
    """The ledger transaction of a stored entry; that it is posted is the caller's to know."""
    return LedgerTransaction(
        entry.effect_key,
        "journal_entry_reversed" if entry.reverses else "journal_entry",
        entry.description,
        entry.occurred_at,
        entry.lines,
        source=entry.id,
        payment_id=entry.payment_id,
    )


def lines_from_json(stored: Sequence[Mapping[str, Any]]) -> tuple[LedgerEntry, ...]:
    """Lines from ``[{"account", "direction": "debit"|"credit", "amount", "currency"}]``."""
    return tuple(
        LedgerEntry(
            line["account"],
            DEBIT if line["direction"] == "debit" else CREDIT,
            line["amount"],
            line["currency"],
        )
        for line in stored
    )


def lines_to_json(lines: Sequence[LedgerEntry]) -> list[dict[str, Any]]:
    """What ``lines_from_json`` reads."""
    return [
        {
            "account": line.account,
            "direction": direction_word(line.direction),
            "amount": line.amount,
            "currency": line.currency,
        }
        for line in lines
    ]


def check_lines(lines: Sequence[LedgerEntry]) -> None:
    """Raise what is wrong with an entry's lines, whatever the ledger holds.

    InvalidRequestError, InvalidAmountError, UnknownCurrencyRequestError, UnbalancedEntryError.
    """
    if not 2 <= len(lines) <= MOST_LINES:
        raise InvalidRequestError(f"An entry has 2 to {MOST_LINES} lines.", param="lines")
    sums: dict[str, int] = defaultdict(int)
    for number, line in enumerate(lines):
        _check_account(line.account, param=f"lines.{number}.account")
        if line.currency not in CURRENCIES:
            raise UnknownCurrencyRequestError(
                f"{line.currency!r} is not a currency that Stripe takes.", param=f"lines.{number}.currency"
            )
        if not 0 < line.amount <= MAX_AMOUNT:
            raise InvalidAmountError(
                f"An amount is positive and at most {MAX_AMOUNT} minor units: its direction says the side.",
                param=f"lines.{number}.amount",
            )
        sums[line.currency] += line.direction * line.amount
    off = {currency: total for currency, total in sorted(sums.items()) if total}
    if off:
        said = ", ".join(f"{total:+d} {currency}" for currency, total in off.items())
        raise UnbalancedEntryError(
            f"Debits less credits are {said}, and must be zero in each currency.",
            param="lines",
            extra={"differences": off},
        )


def _check_account(name: str, *, param: str) -> None:
    try:
        chart.account_type(name)
    except ValueError as error:
        raise InvalidRequestError(str(error), param=param) from None
    if chart.is_stripe_balance(name):
        raise InvalidRequestError(
            f"{name} is what Stripe says that it holds: only Stripe's balance transactions post to it.",
            param=param,
        )


def mirrored(lines: Sequence[LedgerEntry]) -> tuple[LedgerEntry, ...]:
    """The same lines on the other sides."""
    return tuple(LedgerEntry(line.account, -line.direction, line.amount, line.currency) for line in lines)


def needs_approval(lines: Sequence[LedgerEntry], above: Mapping[str, int | None]) -> bool:
    """Whether an entry's debits pass, in any currency, the amount up to which one person may post alone.

    ``above`` has amounts in minor units by currency, None for no limit; ``*`` is for all it does not name,
    and where even that is absent, every entry needs a second person.
    """
    debits: dict[str, int] = defaultdict(int)
    for line in lines:
        debits[line.currency] += line.amount if line.direction == DEBIT else 0
    limits = {currency: above.get(currency, above.get(ANY_CURRENCY, 0)) for currency in debits}
    return any(limit is not None and debits[currency] > limit for currency, limit in limits.items())


def _plain(name: str) -> str:
    return " ".join(name.casefold().split())

"""Journal entries as JSON; as in ``bodies``, amounts are integers in minor units, times RFC 3339 in UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt

from tallystick.api.bodies import Currency, Description
from tallystick.api.choices import Direction
from tallystick.api.event_bodies import Words
from tallystick.api.ledger_bodies import LedgerEntry as EntryLine
from tallystick.api.values import Moment, Shape, up_to
from tallystick.ledger import journal
from tallystick.ledger.corrections import Draft
from tallystick.ledger.entries import CREDIT, DEBIT, LedgerEntry, direction_word

Account = Annotated[
    str,
    up_to(200),
    Shape("^[a-z]+(:[a-z0-9_]+)+$", "must be an account's name, such as expenses:stripe_fees"),
    Field(description="An account's name", examples=["expenses:stripe_fees"]),
]
PaymentId = Annotated[str, up_to(300), Shape("^pay_[!-~]+$", "must be the id of a payment, pay_…")]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class JournalLine(_In):
    """A debit or a credit; ``amount`` is positive, in minor units."""

    account: Account
    direction: Direction
    amount: Annotated[StrictInt, Field(description="In minor units of the currency", examples=[1999])]
    currency: Currency


class CreateJournalEntry(_In):
    """An entry to post: its lines balance in each currency. ``occurred_at`` defaults to now.

    ``description`` is shown in the ledger; ``reason`` is for whoever approves it or audits it.
    """

    description: Description
    reason: Words
    lines: Annotated[list[JournalLine], Field(min_length=2, max_length=journal.MOST_LINES)]
    occurred_at: Moment | None = None
    payment: PaymentId | None = Field(None, description="Our payment that the entry is about")
    allow_new_accounts: StrictBool = Field(
        False, description="Whether accounts may be named that nothing was ever posted to"
    )

    def draft(self) -> Draft:
        """As the ledger takes it."""
        return Draft(
            description=self.description,
            reason=self.reason,
            lines=tuple(
                LedgerEntry(
                    line.account, DEBIT if line.direction == "debit" else CREDIT, line.amount, line.currency
                )
                for line in self.lines
            ),
            occurred_at=self.occurred_at,
            payment_id=self.payment,
            allow_new_accounts=self.allow_new_accounts,
        )


class ApproveJournalEntry(_In):
    """What the second person has to say, if anything."""

    comment: Words | None = None


class ReverseJournalEntry(_In):
    """Why an entry is taken back, and as of when; ``occurred_at`` defaults to now."""

    reason: Words
    occurred_at: Moment | None = None


class Person(BaseModel):
    """Who did it: the name of an API key and its id, or a user of the command line."""

    name: str
    api_key: str | None

    @classmethod
    def of(cls, person: journal.Person) -> Self:
        """As the API shows it."""
        return cls(name=person.name, api_key=person.key_id)


class JournalDecision(BaseModel):
    """What the second person decided."""

    outcome: journal.Outcome
    by: Person
    comment: str | None
    decided_at: datetime


class JournalEntry(BaseModel):
    """An operator's journal entry. ``effect_key`` is that of its ledger transaction, once it is posted.

    ``reverses`` is the entry that this one takes back; ``reversed_by`` the one that took it back.
    """

    id: str
    object: Literal["journal_entry"] = "journal_entry"
    status: journal.EntryStatus
    description: str
    reason: str
    lines: list[EntryLine]
    occurred_at: datetime
    payment: str | None
    author: Person
    needs_approval: bool
    decision: JournalDecision | None
    effect_key: str | None
    reverses: str | None
    reversed_by: str | None
    created_at: datetime

    @classmethod
    def of(cls, entry: journal.JournalEntry) -> Self:
        """As the API shows it."""
        found = entry.decision
        return cls(
            id=entry.id,
            status=entry.status,
            description=entry.description,
            reason=entry.reason,
            lines=[
                EntryLine(
                    account=line.account,
                    direction=direction_word(line.direction),
                    amount=line.amount,
                    currency=line.currency,
                )
                for line in entry.lines
            ],
            occurred_at=entry.occurred_at,
            payment=entry.payment_id,
            author=Person.of(entry.author),
            needs_approval=entry.needs_approval,
            decision=found
            and JournalDecision(
                outcome=found.outcome,
                by=Person.of(found.by),
                comment=found.comment,
                decided_at=found.decided_at,
            ),
            effect_key=entry.effect_key if entry.status is journal.EntryStatus.POSTED else None,
            reverses=entry.reverses,
            reversed_by=entry.reversed_by,
            created_at=entry.created_at,
        )


class JournalEntryPage(BaseModel):
    """Journal entries, the latest first."""

    data: list[JournalEntry]
    has_more: bool
    next_cursor: str | None

"""What a rule gets and what it gives back. Pure.

A rule is a function of one Stripe event and of stored facts. It returns Effects: ledger transactions,
reports about payments, refunds and disputes, notices, balance transactions to fetch, and questions that
Stripe still has to answer. It reads no mutable state, so any order and any repetition of events ends in the
same books.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from operator import add, attrgetter
from typing import Any, Final

from tallystick.errors import PayloadError
from tallystick.ledger.entries import LedgerTransaction
from tallystick.outbox.notices import Notice
from tallystick.payments.customer_reports import CustomerReport, PaymentMethodReport
from tallystick.payments.dispute_reports import DisputeReport
from tallystick.payments.reports import PaymentReport, RefundReport
from tallystick.stripe_gateway.fields import (
    JsonObject,
    filled,
    optional_text_field,
    optional_time_field,
    reference,
    time_field,
)

_STATUSES: Final = frozenset(
    {"succeeded", "failed", "canceled", "paid", "pending", "processing", "requires_action", "reversed"}
)
"""Last words of event types that are statuses of their objects."""


def moment(seconds: int) -> datetime:
    """Stripe's Unix seconds as an aware datetime; raises PayloadError for a time no calendar has."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise PayloadError(f"{seconds} is no point in time.") from error


@dataclass(frozen=True, slots=True)
class Event:
    """A Stripe event, read from the inbox. ``created`` is in Unix seconds."""

    id: str
    type: str
    created: int
    api_version: str | None
    object: JsonObject
    account: str | None = None
    """The connected account it happened in (Connect); None for the platform's own."""
    previous: JsonObject | None = None
    """The former values of what changed, in events that something was updated; None where it is not told."""

    @classmethod
    def read(cls, body: JsonObject) -> Event:
        """From the event's JSON; raises PayloadError when it is not a snapshot event with an object."""
        data = body.get("data")
        if not isinstance(data, Mapping) or not isinstance(obj := data.get("object"), Mapping):
            raise PayloadError("The event carries no data.object.", param="data.object")
        previous = data.get("previous_attributes")
        return cls.about(
            obj,
            id=str(body.get("id")),
            type=str(body.get("type")),
            created=time_field(body, "created"),
            api_version=optional_text_field(body, "api_version"),
            # its name until 2017
            account=reference(body.get("account")) or reference(body.get("user_id")),
            previous=previous if previous and isinstance(previous, Mapping) else None,
        )

    @classmethod
    def about(cls, obj: JsonObject, *, created: int, **envelope: Any) -> Event:
        """An event about this object.

        Where the object does not say so itself, it is as old as its event, and its status is the one that
        the event's type names.
        """
        if optional_time_field(obj, "created") is None:
            obj = {**obj, "created": created}
        said = str(envelope["type"]).rpartition(".")[2]
        if said in _STATUSES:
            obj = filled(obj, status=said)
        return cls(object=obj, created=created, **envelope)


@dataclass(frozen=True, slots=True)
class Question:
    """Something only Stripe can answer: the object ``id`` of ``kind``, e.g. ``("charge", "ch_1")``.

    What is decided here rather than at Stripe (``events.revenue``) is ``told`` along; it is no part of the
    question, which the first who tells decides for all.
    """

    kind: str
    id: str
    told: JsonObject | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"


Facts = Mapping[Question, JsonObject | None]
"""Stored answers. A question that is absent was not asked yet; None says that Stripe knows no such object."""


@dataclass(frozen=True, slots=True)
class BalanceTransactionSeen:
    """A balance transaction that an object names. ``body`` is the whole of it where Stripe sent it along."""

    id: str
    body: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class Effects:
    """All that an event means."""

    transactions: tuple[LedgerTransaction, ...] = ()
    payments: tuple[PaymentReport, ...] = ()
    refunds: tuple[RefundReport, ...] = ()
    disputes: tuple[DisputeReport, ...] = ()
    customers: tuple[CustomerReport, ...] = ()
    payment_methods: tuple[PaymentMethodReport, ...] = ()
    notices: tuple[Notice, ...] = ()
    balance_transactions: tuple[BalanceTransactionSeen, ...] = ()
    """To be posted by the settlement puller, which fetches those without a body."""
    waiting_for: tuple[Question, ...] = ()
    """Questions to ask Stripe; the event is read again when they are answered."""

    @property
    def about(self) -> str | None:
        """The payment at Stripe that the event is about: a PaymentIntent, or a charge without one."""
        reports: tuple[PaymentReport | RefundReport | DisputeReport, ...] = (
            self.payments or self.refunds or self.disputes
        )
        return (reports[0].stripe_payment_intent or reports[0].stripe_charge) if reports else None

    def dated(self, *, created: int, not_before: int) -> Effects:
        """The same, its ledger transactions with the times (Unix seconds) that an opening of the books needs.

        ``created`` is when the object that they are about was made; ``not_before`` see LedgerTransaction.
        """
        return replace(
            self,
            transactions=tuple(
                replace(each, object_created_at=moment(created), not_before=moment(not_before))
                for each in self.transactions
            ),
        )

    def __add__(self, other: Effects) -> Effects:
        return self if other is NO_EFFECTS else Effects(*map(add, _parts(self), _parts(other)))


NO_EFFECTS = Effects()
_parts: Final = attrgetter(*(part.name for part in fields(Effects)))
Rule = Callable[[Event, Facts], Effects]


@dataclass(frozen=True, slots=True)
class EventSpec:
    """One event type that we act on: its rule, and in a line what it does (docs are made from it)."""

    type: str
    rule: Rule = field(repr=False)
    meaning: str

"""Reads payments and refunds as they stand. Functions take a connection and write nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, Select, cast, func, literal_column, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.db.tables import payments, refunds
from tallystick.errors import NotFoundError
from tallystick.payments.lists import EVER, Between, Page, ids_of_payment, page_of
from tallystick.payments.reports import adopted_payment
from tallystick.payments.status import REFUND_RELEASED, PaymentStatus, RefundStatus
from tallystick.stripe_gateway.payloads import PAYMENT_METADATA, theirs

_PAYMENT_ID: Final = re.compile(r"pay_[0-9A-Za-z_]{1,255}", re.ASCII)
_REFUND_ID: Final = re.compile(r"ref_[0-9A-Za-z_]{1,255}", re.ASCII)
_INTENT_ID: Final = re.compile(r"pi_[0-9A-Za-z_]{1,255}", re.ASCII)
_STRIPE_REFUND_ID: Final = re.compile(r"(re|pyr)_[0-9A-Za-z_]{1,255}", re.ASCII)
MOST_COUNTED: Final = 100_000
"""Payments of a status that are counted; a count that has reached it says "so many or more"."""
_COUNTS: Final = text("""
SELECT s.status, (
         SELECT count(*) FROM (
           SELECT 1 FROM payments p WHERE p.status = s.status AND p.created_at >= :since LIMIT :most
         ) AS found
       ) AS payments
  FROM unnest(CAST(:statuses AS text[])) AS s(status)
""")
_NOT_REFUNDED: Final = (*REFUND_RELEASED, RefundStatus.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment as it stands; amounts in minor units. ``amount_refunded`` leaves out undecided refunds."""

    id: str
    origin: str
    status: PaymentStatus
    amount: int
    currency: str
    amount_capturable: int
    amount_captured: int
    amount_refunded: int
    livemode: bool
    stripe_payment_intent: str | None
    stripe_charge: str | None
    customer: str | None
    description: str | None
    metadata: dict[str, str]
    capture_method: str | None
    payment_method: str | None
    client_secret: str | None
    cancellation_reason: str | None
    last_error: dict[str, str] | None
    next_action: dict[str, Any] | None
    receipt_email: str | None
    statement_descriptor: str | None
    statement_descriptor_suffix: str | None
    setup_future_usage: str | None
    created_at: datetime
    updated_at: datetime

    @property
    def names(self) -> list[str]:
        """The ids under which the payment appears elsewhere in the database."""
        return names_of(self.id, self.stripe_payment_intent)


@dataclass(frozen=True, slots=True)
class Refund:
    """A refund as it stands; ``amount`` in minor units."""

    id: str
    payment_id: str | None
    status: RefundStatus
    amount: int
    currency: str
    stripe_refund: str | None
    reason: str | None
    failure_reason: str | None
    metadata: dict[str, str]
    created_at: datetime
    updated_at: datetime


def names_of(payment_id: str, payment_intent: str | None) -> list[str]:
    """Our id, and the id that an event gives the payment when it does not carry ours."""
    return [payment_id] if payment_intent is None else [payment_id, adopted_payment(payment_intent)]


def checked_payment_id(payment_id: str) -> str:
    """The id itself; raises NotFoundError for what cannot be one."""
    if not _PAYMENT_ID.fullmatch(payment_id):
        raise _no_payment(payment_id)
    return payment_id


async def get_payment(connection: AsyncConnection, payment_id: str) -> Payment:
    """Raises NotFoundError."""
    wanted = _PAYMENTS.where(payments.c.id == checked_payment_id(payment_id))
    row = (await connection.execute(wanted)).first()
    if row is None:
        raise _no_payment(payment_id)
    return _payment(row)


async def find_payment(connection: AsyncConnection, name: str) -> Payment:
    """By our id or by its PaymentIntent's, which is what Stripe's dashboard shows. Raises NotFoundError."""
    if not _INTENT_ID.fullmatch(name):
        return await get_payment(connection, name)
    row = (await connection.execute(_PAYMENTS.where(payments.c.stripe_payment_intent == name))).first()
    if row is None:
        raise _no_payment(name)
    return _payment(row)


async def get_payment_of_intent(connection: AsyncConnection, intent: str) -> Payment:
    """The payment that a PaymentIntent belongs to; there must be one."""
    wanted = _PAYMENTS.where(payments.c.stripe_payment_intent == intent)
    return _payment((await connection.execute(wanted)).one())


@dataclass(frozen=True, slots=True)
class PaymentFilter:
    """What a list of payments is narrowed to; None, or no pair of metadata: not at all."""

    status: PaymentStatus | None = None
    customer: str | None = None
    currency: str | None = None
    created: Between = EVER
    metadata: dict[str, str] = field(default_factory=dict)


async def list_payments(
    connection: AsyncConnection, narrowed: PaymentFilter, *, limit: int, cursor: str | None = None
) -> Page[Payment]:
    """A page of at most ``limit`` payments, newest first, beginning after ``cursor``.

    Raises InvalidRequestError when the cursor is none of ours.
    """
    wanted = _PAYMENTS
    for name in ("status", "customer", "currency"):
        if (value := getattr(narrowed, name)) is not None:
            wanted = wanted.where(payments.c[name] == value)
    if narrowed.metadata:
        wanted = wanted.where(_SEARCHED.op("@>")(cast(narrowed.metadata, JSONB)))
    return await page_of(connection, wanted, payments, narrowed.created, _payment, limit=limit, cursor=cursor)


async def count_payments(connection: AsyncConnection, since: datetime) -> dict[PaymentStatus, int]:
    """How many payments created since then have each status, by its index; counts end at ``MOST_COUNTED``."""
    given = {"statuses": list(PaymentStatus), "since": since, "most": MOST_COUNTED}
    rows = await connection.execute(_COUNTS, given)
    return {PaymentStatus(row.status): row.payments for row in rows}


async def list_refunds(
    connection: AsyncConnection,
    created: Between,
    *,
    payment: str | None = None,
    status: RefundStatus | None = None,
    limit: int,
    cursor: str | None = None,
) -> Page[Refund]:
    """Refunds, newest first; raises InvalidRequestError when the cursor is none of ours."""
    wanted = _REFUNDS
    if payment is not None:
        wanted = wanted.where(refunds.c.payment_id.in_(ids_of_payment(payment)))
    if status is not None:
        wanted = wanted.where(refunds.c.status == status)
    return await page_of(connection, wanted, refunds, created, _refund, limit=limit, cursor=cursor)


async def get_refund(connection: AsyncConnection, refund_id: str) -> Refund:
    """Raises NotFoundError."""
    known = _REFUND_ID.fullmatch(refund_id)
    row = known and (await connection.execute(_REFUNDS.where(refunds.c.id == refund_id))).first()
    if not row:
        raise _no_refund(refund_id)
    return _refund(row)


async def find_refund(connection: AsyncConnection, name: str) -> Refund:
    """By our id or by Stripe's. Raises NotFoundError."""
    if not _STRIPE_REFUND_ID.fullmatch(name):
        return await get_refund(connection, name)
    row = (await connection.execute(_REFUNDS.where(refunds.c.stripe_refund == name))).first()
    if row is None:
        raise _no_refund(name)
    return _refund(row)


async def get_refund_of(connection: AsyncConnection, stripe_refund: str) -> Refund:
    """The refund that this one at Stripe is; there must be one."""
    return _refund((await connection.execute(_REFUNDS.where(refunds.c.stripe_refund == stripe_refund))).one())


async def refunds_of(connection: AsyncConnection, payment: Payment) -> list[Refund]:
    """All refunds of a payment, oldest first."""
    wanted = _REFUNDS.where(refunds.c.payment_id.in_(payment.names)).order_by(
        refunds.c.created_at, refunds.c.id
    )
    return [_refund(row) for row in await connection.execute(wanted)]


_SEARCHED: Final = payments.c.metadata.op("-", return_type=JSONB)(
    literal_column(f"'{PAYMENT_METADATA}'::text")
)
"""As the index has it: without the key that every payment has for itself alone."""


def _select_payments() -> Select[Any]:
    refunded = (
        select(func.coalesce(func.sum(refunds.c.amount), 0))
        .where(refunds.c.payment_id.in_([payments.c.id, "pay_" + payments.c.stripe_payment_intent]))
        .where(refunds.c.status.not_in(_NOT_REFUNDED))
        .scalar_subquery()
    )
    names = [name for name in Payment.__slots__ if name != "amount_refunded"]
    return select(*(payments.c[name] for name in names), refunded.label("amount_refunded"))


_PAYMENTS: Final = _select_payments()
_REFUNDS: Final = select(*(refunds.c[name] for name in Refund.__slots__))


def _payment(row: Row[Any]) -> Payment:
    values = dict(row._mapping)  # noqa: SLF001 - the documented way to a row's names
    values["status"] = PaymentStatus(values["status"])
    values["amount_refunded"] = int(values["amount_refunded"])  # a sum of bigints is numeric
    values["metadata"] = theirs(values["metadata"])
    if values["capture_method"] == "automatic_async":
        values["capture_method"] = "automatic"  # how Stripe does it by default
    return Payment(**values)


def _refund(row: Row[Any]) -> Refund:
    values = dict(row._mapping)  # noqa: SLF001 - the documented way to a row's names
    values["status"] = RefundStatus(values["status"])
    values["metadata"] = theirs(values["metadata"])
    return Refund(**values)


def _no_payment(payment_id: str) -> NotFoundError:
    return NotFoundError(f"There is no payment {payment_id[:300]!r}.", param="id")


def _no_refund(refund_id: str) -> NotFoundError:
    return NotFoundError(f"There is no refund {refund_id[:300]!r}.", param="id")

"""Which ledger transactions belong to what: a payment, a customer, a payout, a refund, a dispute, an event.

Nothing is written for it: keys name their facts, balance transactions name their source, and an event is read
again by its own rule, so it is told what it means whoever told of that first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.ledger.history import Among
from tallystick.ledger.openings import cut_over_of
from tallystick.payments.reading import names_of
from tallystick.pipeline.archives import COLUMNS
from tallystick.pipeline.reading import read_events

_PAYMENTS: Final = """
SELECT id, stripe_payment_intent FROM payments WHERE {narrowed}
"""
_PAYMENT: Final = text(_PAYMENTS.format(narrowed="id = :name OR stripe_payment_intent = :name"))
_OF_CUSTOMER: Final = text(_PAYMENTS.format(narrowed="customer = :name"))
_REFUND: Final = text("SELECT stripe_refund FROM refunds WHERE id = :name AND stripe_refund IS NOT NULL")
_OF_SOURCE: Final = text("SELECT id FROM balance_transactions WHERE source = :name")
_EVENT: Final = text(f"""
SELECT {COLUMNS} FROM webhook_events WHERE id = :name
""")


@dataclass(frozen=True, slots=True)
class Belonging:
    """What ledger transactions belong to, all of it; ids of Stripe's, or ours where there are such."""

    payment: str | None = None
    customer: str | None = None
    charge: str | None = None
    refund: str | None = None
    dispute: str | None = None
    payout: str | None = None
    topup: str | None = None
    balance_transaction: str | None = None
    journal_entry: str | None = None
    event: str | None = None
    effect_key: str | None = None


async def among(connection: AsyncConnection, belonging: Belonging) -> tuple[Among, ...]:
    """What to look for in the ledger, one for each that is given; of what is not known there is nothing."""
    return tuple(
        [
            await _of(connection, field.name, name)
            for field in fields(belonging)
            if (name := getattr(belonging, field.name)) is not None
        ]
    )


async def _of(connection: AsyncConnection, kind: str, name: str) -> Among:
    if kind in ("payment", "customer"):
        return await _of_payments(connection, name, customer=kind == "customer")
    if kind == "event":
        return await _of_event(connection, name)
    if kind in _BY_KEY:
        return _BY_KEY[kind](name)
    if kind == "refund":
        name = (await connection.execute(_REFUND, {"name": name})).scalar_one_or_none() or name
    return await _of_object(connection, kind, name)


async def _of_payments(connection: AsyncConnection, name: str, *, customer: bool) -> Among:
    rows = (await connection.execute(_OF_CUSTOMER if customer else _PAYMENT, {"name": name})).all()
    names = {each for row in rows for each in names_of(row.id, row.stripe_payment_intent)}
    return Among(payments=tuple(sorted(names if customer else {name, *names})))


async def _of_object(connection: AsyncConnection, kind: str, name: str) -> Among:
    """What its own key names, and the balance transactions that Stripe booked for it."""
    booked = (await connection.execute(_OF_SOURCE, {"name": name})).scalars().all()
    own, moved = _under(f"{kind}:{name}"), _of_balance_transactions(booked)
    return Among(own.keys + moved.keys, own.stems + moved.stems)


def _of_balance_transactions(ids: Sequence[str]) -> Among:
    keys = tuple(f"{kind}:{txn}" for txn in ids for kind in ("balance_transaction", "fx"))
    return Among(keys, keys)


def _under(key: str) -> Among:
    return Among((key,), (key,))


async def _of_event(connection: AsyncConnection, event: str) -> Among:
    rows = (await connection.execute(_EVENT, {"name": event})).all()
    reads, _ = await read_events(connection, rows, cut_over=await cut_over_of(connection))
    return Among(keys=tuple(item.effect_key for read in reads for item in read.effects.transactions))


_BY_KEY: Final[dict[str, Callable[[str], Among]]] = {
    "balance_transaction": lambda name: _of_balance_transactions([name]),
    "journal_entry": lambda name: _under(f"journal:{name}"),
    "effect_key": lambda name: Among(keys=(name,)),
}
"""What needs no look-up."""

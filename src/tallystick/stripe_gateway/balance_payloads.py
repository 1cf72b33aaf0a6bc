"""The fields we read from Stripe's balance transactions and top-ups. Pure; as in ``payloads``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from tallystick.stripe_gateway.fields import (
    JsonObject,
    all_whole,
    as_mapping,
    currency_field,
    filled,
    int_field,
    optional_text_field,
    optional_time_field,
    rate,
    reference,
    text_field,
    time_field,
)


@dataclass(frozen=True, slots=True)
class FeeDetail:
    """One line of a balance transaction's fee."""

    type: str
    amount: int
    currency: str


@dataclass(frozen=True, slots=True)
class BalanceTransaction:
    """What we read of a balance transaction; ``amount``, ``fee`` and ``net`` are in ``currency``."""

    id: str
    type: str
    reporting_category: str
    exchange_rate: Decimal | None
    """Units of ``currency`` for one unit of the source's currency, where the two differ."""
    amount: int
    fee: int
    net: int
    currency: str
    created: int
    available_on: int
    balance_type: str | None
    description: str | None
    fee_details: tuple[FeeDetail, ...]
    source: str | None
    source_object: JsonObject | None
    """The source, where the answer was asked to expand it: only it carries the presentment amount."""

    @classmethod
    def read(cls, obj: JsonObject) -> BalanceTransaction:
        """Raises PayloadError."""
        source = obj.get("source")
        amount, fee, currency = int_field(obj, "amount"), int_field(obj, "fee", 0), currency_field(obj)
        details = all_whole(obj.get("fee_details"), "type", "amount") or ()
        return cls(
            id=text_field(obj, "id"),
            type=text_field(obj, "type"),
            reporting_category=optional_text_field(obj, "reporting_category") or text_field(obj, "type"),
            exchange_rate=rate(obj.get("exchange_rate")),
            amount=amount,
            fee=fee,
            net=int_field(obj, "net", amount - fee),
            currency=currency,
            created=time_field(obj, "created"),
            available_on=optional_time_field(obj, "available_on") or time_field(obj, "created"),
            balance_type=optional_text_field(obj, "balance_type"),
            description=optional_text_field(obj, "description"),
            fee_details=tuple(
                FeeDetail(
                    text_field(line, "type"),
                    int_field(line, "amount"),
                    currency_field(filled(line, currency=currency)),
                )
                for line in details
            ),
            source=reference(source),
            source_object=source if isinstance(source, Mapping) else None,
        )


@dataclass(frozen=True, slots=True)
class Topup:
    """What we read of a top-up."""

    id: str
    status: str
    amount: int
    currency: str
    created: int | None
    balance_transaction: str | None

    @classmethod
    def read(cls, obj: JsonObject) -> Topup:
        """Raises PayloadError."""
        return cls(
            id=text_field(obj, "id"),
            status=text_field(obj, "status"),
            amount=int_field(obj, "amount"),
            currency=currency_field(obj),
            created=optional_time_field(obj, "created"),
            balance_transaction=reference(obj.get("balance_transaction")),
        )


def funds(balance: JsonObject) -> dict[tuple[str, str], int]:
    """What Stripe's Balance object says is held, in minor units, by balance type and currency.

    Available and pending money together. ``instant_available`` is a part of what is there already, and
    ``connect_reserved`` has left the balance by balance transactions of its own: neither counts. Raises
    PayloadError.
    """
    found: dict[tuple[str, str], int] = {}
    parts: list[tuple[str, JsonObject]] = [("payments", balance)]
    parts += [(name, as_mapping(balance.get(name))) for name in ("issuing", "refund_and_dispute_prefunding")]
    for balance_type, part in parts:
        for status in ("available", "pending"):
            for fund in part.get(status) or ():
                key = (balance_type, text_field(fund, "currency"))
                found[key] = found.get(key, 0) + int_field(fund, "amount")
    return found


BALANCE_TYPES: Final = frozenset({"payments", "issuing", "refund_and_dispute_prefunding"})
"""The balances that Stripe's Balance object shows."""

"""Balance transactions in another currency than their source, and exchange differences. Pure.

Each balance transaction converts at its own rate through ``equity:fx``. What goes back at another rate than
it came at would leave the difference there for ever: ``fx:TXN`` takes it out, as a gain or a loss. Only then
does ``equity:fx`` tell what was converted and stayed converted.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from tallystick.events.charges import balance_transaction_seen
from tallystick.events.spec import NO_EFFECTS, Effects, Facts, Question, moment
from tallystick.ledger import chart
from tallystick.ledger.entries import credit, debit, post, transactions
from tallystick.money import CURRENCIES, convert, round_minor
from tallystick.stripe_gateway.balance_payloads import BalanceTransaction, Topup
from tallystick.stripe_gateway.billing_payloads import Payout
from tallystick.stripe_gateway.fields import reference
from tallystick.stripe_gateway.payloads import Charge, Refund

SETTLED_CHARGE: Final = "settled_charge"
"""A question for a charge with its balance transaction inside, once it has one."""

_BACK: Final = frozenset(
    {"payment_failure_refund", "payment_reversal", "charge_failure", "partial_capture_reversal"}
)
"""Kinds with a charge as their source that take back what it brought."""


def in_sources_currency(txn: BalanceTransaction) -> tuple[int, str] | None:
    """What the source moved in its own currency, signed as the transaction is; None if it has none."""
    source = txn.source_object
    if source is None:
        return None
    sign = -1 if txn.amount < 0 else 1
    match source.get("object"):
        case "charge":
            charge = Charge.read(source)
            return sign * _of_charge(txn, charge), charge.currency
        case "refund":
            refund = Refund.read(source)
            return sign * refund.amount, refund.currency
        case "payout":
            payout = Payout.read(source)  # of a negative amount, it takes from the bank
            return sign * abs(payout.amount), payout.currency
        case "topup":
            topup = Topup.read(source)
            return sign * topup.amount, topup.currency
        case _:
            return None


def _of_charge(txn: BalanceTransaction, charge: Charge) -> int:
    """How much of the charge this balance transaction is about, in the charge's currency.

    Of a partial capture Stripe books either what was captured, or the whole and a reversal of the rest; of
    several captures one each. The exchange rate tells which.
    """
    if charge.currency == txn.currency:
        return abs(txn.amount)
    rest = charge.amount - charge.amount_captured
    if txn.exchange_rate is None or txn.currency not in CURRENCIES or charge.currency not in CURRENCIES:
        if txn.reporting_category == "partial_capture_reversal":
            return rest
        return charge.amount_captured or charge.amount  # of a bank debit that failed nothing is captured
    if charge.multicapture:
        return convert(abs(txn.amount), txn.currency, charge.currency, 1 / txn.exchange_rate)
    rate = txn.exchange_rate
    candidates = {charge.amount_captured, charge.amount, rest} - {0}
    return min(
        sorted(candidates),
        key=lambda amount: abs(convert(amount, charge.currency, txn.currency, rate) - abs(txn.amount)),
    )


def exchange_difference(txn: BalanceTransaction, facts: Facts, payment_id: str | None) -> Effects:
    """What a refund, its failure, or the failure of a charge moved more or less than at the charge's rate.

    It needs the charge's own balance transaction, which may be settled later than this one: until Stripe has
    told of it, the effects wait for it.
    """
    charge_id = _goes_back_to(txn)
    moved = in_sources_currency(txn)
    if charge_id is None or moved is None or moved[1] == txn.currency:
        return NO_EFFECTS
    question = Question(SETTLED_CHARGE, charge_id)
    if question not in facts:
        return Effects(waiting_for=(question,))
    origin = _origin(facts, question)
    came = in_sources_currency(origin) if origin is not None else None
    if origin is None or came is None or came[0] == 0 or origin.currency != txn.currency:
        return NO_EFFECTS  # another pair of currencies: there is no rate to compare with
    gained = txn.amount - round_minor(Decimal(origin.amount * moved[0]) / Decimal(came[0]))
    difference = post(
        f"fx:{txn.id}",
        "exchange_difference",
        [
            debit(chart.FX, gained, txn.currency),
            credit(chart.FX_GAINS if gained > 0 else chart.FX_LOSSES, gained, txn.currency),
        ],
        description=f"Exchange difference of {txn.type} {txn.id} to {origin.id}",
        occurred_at=moment(txn.created),
        source=txn.id,
        payment_id=payment_id,
    )
    return Effects(transactions=transactions(difference))


def _goes_back_to(txn: BalanceTransaction) -> str | None:
    """The charge that brought what this transaction takes back, or brings again."""
    source = txn.source_object
    match source.get("object") if source is not None else None:
        case "refund":
            assert source is not None
            return reference(source.get("charge"))
        case "charge" if not _BACK.isdisjoint((txn.reporting_category, txn.type)):
            assert source is not None
            return reference(source)
        case _:
            return None


def _origin(facts: Facts, question: Question) -> BalanceTransaction | None:
    """The charge's own balance transaction, with the charge as its source."""
    charge = facts[question]
    txn_id = reference(charge.get("balance_transaction")) if charge is not None else None
    if charge is None or txn_id is None:
        return None
    body = balance_transaction_seen(txn_id, charge).body
    return BalanceTransaction.read(body) if body is not None else None

"""Stripe's balance transactions: one signed rule and one table. Pure.

``balance_transaction:TXN``: debit our balance at Stripe by the net, debit a fee account for each fee line,
credit the counter account by the amount; a negative amount swaps the sides. The counter account is chosen
by the posting table. What is in none of its rows goes to suspense: posted, never dropped.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from tallystick.events.applications import WHOLLY_GOODS, Purpose, purpose_of
from tallystick.events.charges import Capture, charge_effects
from tallystick.events.exchange import exchange_difference, in_sources_currency
from tallystick.events.payouts import payout_postings
from tallystick.events.posting_table import FEE_ACCOUNTS, PostingRule, posting_rule
from tallystick.events.refunds import refund_effects
from tallystick.events.revenue import DECIDED_HERE, revenue_shares
from tallystick.events.spec import NO_EFFECTS, Effects, Facts, Question, moment
from tallystick.events.topups import topup_postings
from tallystick.ledger import chart
from tallystick.ledger.entries import LedgerEntry, LedgerTransaction, credit, debit, post, transactions
from tallystick.payments.reports import adopted_payment, our_payment
from tallystick.stripe_gateway.balance_payloads import BalanceTransaction, FeeDetail, Topup
from tallystick.stripe_gateway.billing_payloads import Payout
from tallystick.stripe_gateway.fields import JsonObject
from tallystick.stripe_gateway.payloads import Charge, Refund


def balance_transaction_effects(body: JsonObject, facts: Facts) -> Effects:
    """What a balance transaction means, listed with its source expanded. Raises PayloadError.

    While it waits for a fact all is told but an exchange difference, and what one of several captures of a
    payment that began elsewhere was for.
    """
    txn = BalanceTransaction.read(body)
    payment_id = _payment_of(txn.source_object)
    transaction = post(
        f"balance_transaction:{txn.id}",
        f"balance_transaction_{txn.type}",
        [*_own_side(txn), *_counter_side(txn)],
        description=txn.description or f"{txn.type} {txn.id}",
        occurred_at=moment(txn.created),
        source=txn.id,
        payment_id=payment_id,
        rule_version=_rule_of(txn).version,
        object_created_at=_source_created(txn.source_object),
    )
    moved = Effects(transactions=transactions(transaction)) + _sale_of_one_capture(txn, transaction, facts)
    return moved + exchange_difference(txn, facts, payment_id) + _source_effects(txn, facts)


def counter_account(txn: BalanceTransaction) -> str:
    """The account on the other side, by the posting table; one of several captures has none between."""
    found = _rule_of(txn).account
    if found == chart.CLEARING and _is_multicapture(txn.source_object):
        return chart.UNAPPLIED
    return found


def _rule_of(txn: BalanceTransaction) -> PostingRule:
    return posting_rule(txn.reporting_category, txn.type)


def _own_side(txn: BalanceTransaction) -> list[LedgerEntry]:
    is_dispute = _rule_of(txn).account == chart.DISPUTED
    legs = [debit(chart.stripe_balance(txn.balance_type), txn.net, txn.currency)]
    for line in _fee_lines(txn):
        account = FEE_ACCOUNTS.get(line.type, chart.SUSPENSE)
        if is_dispute and account == chart.STRIPE_FEES:
            account = chart.DISPUTE_FEES
        legs.append(debit(account, line.amount, line.currency))
    return legs


def _fee_lines(txn: BalanceTransaction) -> list[FeeDetail]:
    """The lines of the fee, which come to the whole of it: what they leave out is a line for suspense.

    The fee is in the transaction's currency; a line in another one cannot be a part of it. Without any line
    it is Stripe's own.
    """
    lines = [line for line in txn.fee_details if line.currency == txn.currency]
    rest = txn.fee - sum(line.amount for line in lines)
    if rest:
        lines.append(FeeDetail("not itemised" if txn.fee_details else "stripe_fee", rest, txn.currency))
    return lines


_IN_THE_SOURCES_CURRENCY = (
    chart.CLEARING,
    chart.UNAPPLIED,
    chart.PAYOUTS_IN_TRANSIT,
    chart.TOPUPS_IN_TRANSIT,
)
"""Accounts on which the source itself posts the other side, in its own currency."""


def _counter_side(txn: BalanceTransaction) -> list[LedgerEntry]:
    """The counter leg, in the source's own currency where the two differ, through ``equity:fx``."""
    account = counter_account(txn)
    presentment = in_sources_currency(txn) if account in _IN_THE_SOURCES_CURRENCY else None
    if presentment is None or presentment[1] == txn.currency:
        return [credit(account, txn.amount, txn.currency)]
    amount, currency = presentment
    return [
        credit(chart.FX, txn.amount, txn.currency),
        debit(chart.FX, amount, currency),
        credit(account, amount, currency),
    ]


def _sale_of_one_capture(
    txn: BalanceTransaction, movement: LedgerTransaction | None, facts: Facts
) -> Effects:
    """The sale of one of several captures of a charge: what it left unapplied, to the unit.

    One that pays an invoice is no sale: its invoice payments tell of it.
    """
    if movement is None or not _is_multicapture(txn.source_object):
        return NO_EFFECTS
    capture = Capture.of(Charge.read(txn.source_object or {}))
    purpose = Purpose(WHOLLY_GOODS) if capture.ours else purpose_of(capture.payment_intent, facts)
    if isinstance(purpose, Question):
        return Effects(waiting_for=(purpose,))
    if purpose.sale is None:
        return NO_EFFECTS
    sale_key = f"{movement.effect_key}:sale"
    shares = revenue_shares(
        sale_key,
        facts,
        at=movement.occurred_at,
        metadata={**purpose.sale.metadata, **capture.metadata},
        lines=purpose.sale.lines,
    )
    if isinstance(shares, Question):
        return Effects(waiting_for=(shares,))
    sale = post(
        sale_key,
        "sale",
        [
            made
            for leg in movement.entries
            if leg.account == chart.UNAPPLIED
            for made in purpose.sale.legs(-leg.direction * leg.amount, leg.currency, shares)
        ],
        description=f"Sale, captured in part by {capture.charge}",
        occurred_at=movement.occurred_at,
        source=txn.id,
        payment_id=capture.payment_id,
    )
    return Effects(transactions=transactions(sale))


def _is_multicapture(source: JsonObject | None) -> bool:
    return source is not None and source.get("object") == "charge" and Charge.read(source).multicapture


def _payment_of(source: JsonObject | None) -> str | None:
    match source.get("object") if source is not None else None:
        case "charge":
            assert source is not None
            return Capture.of(Charge.read(source)).payment_id
        case "refund":
            assert source is not None
            refund = Refund.read(source)
            stripe_id = refund.payment_intent or refund.charge
            ours = our_payment(refund.metadata)
            return ours or (adopted_payment(stripe_id) if stripe_id else None)
        case _:
            return None


def _source_effects(txn: BalanceTransaction, facts: Facts) -> Effects:
    """The movement behind it, so that it is not missed when its own event is late or lost."""
    known = {question: answer for question, answer in facts.items() if question.kind in DECIDED_HERE}
    source = txn.source_object
    match source.get("object") if source is not None else None:
        case "charge":
            assert source is not None
            charge = Charge.read(source)
            told = charge_effects(
                charge,
                source,
                heard_at=txn.created,
                source=txn.id,
                facts=known,
                not_before=_charged_at(txn, charge),
            )
            # What it was for may wait for a look-up: that is for the charge's own events.
            waiting = tuple(question for question in told.waiting_for if question.kind in DECIDED_HERE)
            return _dated_by(txn, charge.failure_balance_transaction, replace(told, waiting_for=waiting))
        case "refund":
            assert source is not None
            refund = Refund.read(source)
            failed_now = txn.created if txn.id == refund.failure_balance_transaction else None
            seen = refund_effects(
                refund, heard_at=txn.created, source=txn.id, facts=known, not_before=failed_now
            )
            # Its application may wait for a look-up: that is for the refund's own events.
            told = Effects(transactions=seen.transactions, refunds=seen.refunds)
            return _dated_by(txn, refund.failure_balance_transaction, told)
        case "payout":
            assert source is not None
            return _payout_effects(txn, Payout.read(source))
        case "topup":
            assert source is not None
            return _topup_effects(txn, Topup.read(source))
        case _:
            return NO_EFFECTS


def _dated_by(txn: BalanceTransaction, failure: str | None, told: Effects) -> Effects:
    """Without what says that it failed, unless this is the transaction of the failure.

    The source is as it stands now, the transaction may be of long before: only that of the failure, or an
    event, knows when it failed.
    """
    if txn.id == failure:
        return told
    kept = tuple(item for item in told.transactions if not item.effect_key.endswith(":reversed"))
    return replace(told, transactions=kept)


def _source_created(source: JsonObject | None) -> datetime | None:
    created = source.get("created") if source is not None else None
    return moment(created) if type(created) is int else None


def _charged_at(txn: BalanceTransaction, charge: Charge) -> int | None:
    """When the charge was captured, or failed after all, where its balance transaction tells.

    That of a capture by hand is made with the capture; any other may come a while after the charge.
    """
    own = charge.captured_by_hand and txn.id == charge.balance_transaction
    return txn.created if own or txn.id == charge.failure_balance_transaction else None


def _payout_effects(txn: BalanceTransaction, payout: Payout) -> Effects:
    """Its arrival. When it came back only the transaction of that knows, or an event."""
    if payout.status == "failed" and txn.id != payout.failure_balance_transaction:
        return NO_EFFECTS
    made = payout_postings(payout, heard_at=txn.created, source=txn.id, not_before=txn.created)
    return Effects(transactions=made)


def _topup_effects(txn: BalanceTransaction, topup: Topup) -> Effects:
    """That it succeeded, which made its own transaction; a reversal made another one."""
    if txn.id == topup.balance_transaction:
        topup = replace(topup, status="succeeded")
    made = topup_postings(topup, heard_at=txn.created, source=txn.id, not_before=txn.created)
    return Effects(transactions=made)

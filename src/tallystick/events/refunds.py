"""Refunds: the movement back, its application against the sale, and the mirror of both on failure. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tallystick.events.applications import WHOLLY_GOODS, Sale, purpose_of
from tallystick.events.notice_data import refund_data
from tallystick.events.revenue import REFUNDS_MAPPED, REFUNDS_UNMAPPED, Shares, refund_shares
from tallystick.events.spec import (
    NO_EFFECTS,
    BalanceTransactionSeen,
    Effects,
    Event,
    Facts,
    Question,
    moment,
)
from tallystick.ledger import chart
from tallystick.ledger.entries import LedgerTransaction, credit, debit, post, reverse, transactions
from tallystick.money import allocate
from tallystick.outbox.notices import Notice
from tallystick.payments.reports import (
    RefundReport,
    adopted_payment,
    our_payment,
    our_refund,
    refund_report,
    refund_status,
)
from tallystick.payments.status import REFUND_RELEASED, RefundStatus
from tallystick.stripe_gateway.fields import rows_of
from tallystick.stripe_gateway.payloads import Charge, Refund


def on_refund(event: Event, facts: Facts) -> Effects:
    """refund.created, refund.updated, refund.failed, charge.refund.updated."""
    refund = Refund.read(event.object)
    failed_now = event.created if event.type == "refund.failed" else None
    return refund_effects(refund, heard_at=event.created, source=event.id, facts=facts, not_before=failed_now)


def refund_effects(
    refund: Refund,
    *,
    heard_at: int,
    source: str,
    facts: Facts,
    charge: Charge | None = None,
    not_before: int | None = None,
) -> Effects:
    """What a refund's state implies, wherever it was seen; ``not_before``: when it failed, if that is told.

    A refund made elsewhere does not say whether its charge was captured, nor what that was for: the charge
    does, and is asked for. The movement does not wait for it where the refund itself shows that money moved.
    """
    ours = our_payment(refund.metadata)
    through_us = our_refund(refund.metadata) is not None
    waiting: tuple[Question, ...] = ()
    if charge is None and not (ours and through_us and REFUNDS_MAPPED not in facts):
        charge, waiting = _charge_of(refund, facts)
    if charge is not None:
        ours = ours or our_payment(charge.metadata)
    moved = _money_moved(refund, charge, through_us=through_us)
    if moved is None and not waiting:
        moved = True  # Stripe does not know the charge: the money shows in clearing rather than be dropped
    stripe_id = refund.payment_intent or (charge and charge.payment_intent) or refund.charge
    payment_id = ours or (adopted_payment(stripe_id) if stripe_id else None)
    if moved is False:
        return NO_EFFECTS  # an authorisation was let go: nothing was given back
    report = refund_report(refund, payment_id, at=heard_at, source=source)
    effects = Effects(
        refunds=() if waiting else (report,),
        balance_transactions=_balance_transactions(refund),
        waiting_for=waiting,
    )
    if moved is None:
        return effects
    about: dict[str, Any] = {
        "occurred_at": moment(refund.created),
        "object_created_at": moment(refund.created),
        "source": source,
        "payment_id": payment_id,
    }
    posted = transactions(_movement(refund, about))
    if ours is not None and REFUNDS_MAPPED not in facts:
        posted += transactions(_application(refund, 0, REFUNDS_UNMAPPED, about))
    elif not waiting and (charge is not None or refund.payment_intent is not None):
        sale = WHOLLY_GOODS if ours is not None else _sale_behind(refund, charge, facts)
        made = _applied(refund, charge, sale, facts, about) if isinstance(sale, Sale) else sale
        if isinstance(made, Question):
            effects += Effects(waiting_for=(made,))
        else:
            posted += transactions(made)
    if refund_status(refund) in REFUND_RELEASED:
        since = moment(refund.created if not_before is None else not_before)
        posted += tuple(reverse(made, occurred_at=moment(heard_at), not_before=since) for made in posted)
    return effects + Effects(transactions=posted) + (NO_EFFECTS if waiting else _notice(report))


def _charge_of(refund: Refund, facts: Facts) -> tuple[Charge | None, tuple[Question, ...]]:
    """The charge that is refunded, or what has to be asked; neither where Stripe does not know it."""
    if refund.charge_object is not None:
        return Charge.read(refund.charge_object), ()
    if refund.charge is None:
        return None, ()
    question = Question("charge", refund.charge)
    if question not in facts:
        return None, (question,)
    answer = facts[question]
    return (Charge.read(answer) if answer is not None else None), ()


def _sale_behind(refund: Refund, charge: Charge | None, facts: Facts) -> Sale | Question | None:
    """The sale that a refunded charge paid; None where it paid an invoice."""
    if charge is not None and charge.invoice is not None:
        return None
    of_charge = charge.payment_intent if charge is not None else None
    purpose = purpose_of(refund.payment_intent or of_charge, facts)
    if isinstance(purpose, Question):
        return purpose
    return WHOLLY_GOODS if purpose.ours is not None else purpose.sale


def _applied(
    refund: Refund, charge: Charge | None, sale: Sale, facts: Facts, about: Mapping[str, Any]
) -> LedgerTransaction | Question | None:
    """The refund's application against the sale, or what has to be asked for it."""
    tax = _tax_given_back(refund, charge, sale, facts)
    if isinstance(tax, Question):
        return tax
    paid_by = refund.payment_intent or (charge and charge.payment_intent) or refund.charge
    shares = refund_shares(
        f"refund:{refund.id}:applied",
        f"charge:{charge.id}:sale" if charge and charge.bank_transfer else f"payment:{paid_by}:sale",
        facts,
        at=moment(charge.created if charge is not None else refund.created),
        metadata={**sale.metadata, **(charge.metadata if charge is not None else {})},
        lines=sale.lines,
    )
    return shares if isinstance(shares, Question) else _application(refund, tax, shares, about)


def _tax_given_back(refund: Refund, charge: Charge | None, sale: Sale, facts: Facts) -> int | Question:
    """The part of a refund that is tax.

    Several refunds of one charge give back all of its tax to the unit: each what is due up to it, in the
    order in which they were made, less what those before it gave back.
    """
    captured = charge.amount_captured if charge is not None else 0
    if charge is None or not sale.tax or refund.amount >= captured:
        return sale.tax_of(refund.amount)
    question = Question("charge_refunds", f"{charge.id}:{refund.id}")
    if question not in facts:
        return question
    others = [Refund.read(row) for row in rows_of(facts[question])]
    before = sum(
        other.amount
        for other in others
        if (other.created, other.id) < (refund.created, refund.id)
        and refund_status(other) not in REFUND_RELEASED
    )
    return sale.refunded_tax(refund.amount, captured, before)


def _money_moved(refund: Refund, charge: Charge | None, *, through_us: bool) -> bool | None:
    """Whether the refund moves money, None when it does not say.

    The refund of an authorisation that was never captured moves none. Such a release succeeds at once and
    has no balance transaction. Through our API only captured payments are refunded.
    """
    if refund.balance_transaction or refund.failure_balance_transaction or through_us:
        return True
    if refund.status in ("pending", "requires_action", "failed"):
        return True
    return charge.captured if charge is not None else None


def _movement(refund: Refund, about: Mapping[str, Any]) -> LedgerTransaction | None:
    return post(
        f"refund:{refund.id}",
        "refund",
        [
            debit(chart.UNAPPLIED, refund.amount, refund.currency),
            credit(chart.CLEARING, refund.amount, refund.currency),
        ],
        description=f"Refund {refund.id}",
        **about,
    )


def _application(
    refund: Refund, tax: int, shares: Shares, about: Mapping[str, Any]
) -> LedgerTransaction | None:
    goods = allocate(refund.amount - tax, tuple(shares.values()))
    return post(
        f"refund:{refund.id}:applied",
        "refund_applied",
        [
            *(debit(account, part, refund.currency) for account, part in zip(shares, goods, strict=True)),
            debit(chart.TAX_PAYABLE, tax, refund.currency),
            credit(chart.UNAPPLIED, refund.amount, refund.currency),
        ],
        description=f"Refund {refund.id} of a sale",
        **about,
    )


_NOTICES: Final = {
    RefundStatus.SUCCEEDED: "refund.succeeded",
    RefundStatus.FAILED: "refund.failed",
    RefundStatus.CANCELED: "refund.failed",
}


def _notice(report: RefundReport) -> Effects:
    notice_type = _NOTICES.get(report.status)
    if notice_type is None:
        return NO_EFFECTS
    key = f"{notice_type}:{report.stripe_refund}"
    return Effects(notices=(Notice(key, notice_type, report.payment_id, refund_data(report)),))


def _balance_transactions(refund: Refund) -> tuple[BalanceTransactionSeen, ...]:
    named = (refund.balance_transaction, refund.failure_balance_transaction)
    return tuple(BalanceTransactionSeen(txn) for txn in named if txn)

"""Charges: the capture as a movement of money, the sale it was for, and what it says of its payment. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from tallystick.events.applications import Funds, applied, sold_by_us
from tallystick.events.notice_data import payment_data
from tallystick.events.refunds import refund_effects
from tallystick.events.spec import (
    NO_EFFECTS,
    BalanceTransactionSeen,
    Effects,
    Event,
    Facts,
    Question,
    moment,
)
from tallystick.events.ties import PAYMENT_INTENT
from tallystick.ledger import chart
from tallystick.ledger.entries import credit, debit, post, reverse, transactions
from tallystick.outbox.notices import Notice
from tallystick.payments.reports import PaymentReport, adopted_payment, our_payment
from tallystick.payments.status import PaymentStatus, charge_order, payment_order
from tallystick.stripe_gateway.fields import JsonObject, filled, whole
from tallystick.stripe_gateway.payloads import BALANCE_TRANSACTION, Charge, PaymentIntent, Refund

REFUND_EVENTS_SINCE: Final = "2024-10-28"
"""From this API version (acacia) on, every refund has refund.* events of its own."""


def on_charge(event: Event, facts: Facts) -> Effects:
    """Every charge.* event: all that the charge's state implies."""
    charge = Charge.read(event.object)
    if charge.capture_unclear:
        return _with_clear_capture(charge, event, facts)
    # Only the object of charge.succeeded tells when an automatic capture took place: with the charge itself.
    at_creation = event.type == "charge.succeeded"
    effects = charge_effects(
        charge,
        event.object,
        heard_at=charge.created if at_creation else event.created,
        source=event.id,
        facts=facts,
        not_before=event.created if event.type in _TELLS_OF_ITS_TIME else None,
    )
    return effects + _refunds_of(charge, event, facts)


_TELLS_OF_ITS_TIME: Final = ("charge.succeeded", "charge.captured", "charge.failed")
"""Events that are sent when it happens; others can come long after."""


def _with_clear_capture(charge: Charge, event: Event, facts: Facts) -> Effects:
    """A charge in an old shape that may be captured in part: today's shape says how much.

    What it calls a refund and moved no balance is the release of the rest.
    """
    question = Question("charge", charge.id)
    if question not in facts:
        return Effects(waiting_for=(question,))
    answer = facts[question]
    amount_captured = Charge.read(answer).amount_captured if answer is not None else charge.amount_captured
    clear = replace(charge, amount_captured=amount_captured, capture_unclear=False)
    if amount_captured < charge.amount and clear.refunds is not None:
        moved = tuple(obj for obj in clear.refunds if obj.get("balance_transaction"))
        clear = replace(clear, refunds=moved)
    effects = charge_effects(clear, event.object, heard_at=event.created, source=event.id, facts=facts)
    return effects + _refunds_of(clear, event, facts)


def charge_effects(
    charge: Charge,
    obj: JsonObject,
    *,
    heard_at: int,
    source: str,
    facts: Facts,
    not_before: int | None = None,
) -> Effects:
    """What a charge's state implies, wherever the charge was seen.

    ``heard_at`` (Unix seconds) dates the capture when nothing earlier is known: the ledger keeps the minimum.
    ``not_before`` is when it came into this state, where the source tells; else it may have been with the
    charge itself.
    """
    since = charge.created if not_before is None else not_before
    payment = Capture.of(charge)
    report = _report(charge, payment, heard_at=heard_at, source=source)
    effects = Effects(
        payments=(report,),
        balance_transactions=_balance_transactions(charge, obj),
    )
    if charge.status == "succeeded" and charge.captured:
        told = payment.effects(moment(heard_at), source, facts, report)
        effects += told.dated(created=charge.created, not_before=since)
    if charge.status == "failed" and charge.failure_balance_transaction:
        effects += _failed_later(charge, heard_at, source, facts, since)
    return effects


def _failed_later(charge: Charge, heard_at: int, source: str, facts: Facts, since: int) -> Effects:
    """A bank debit that had been booked and failed after all: what was posted, and its mirror.

    Most never counted as paid, and another charge may yet pay their PaymentIntent: they took no sale that
    could be taken back. What a debit paid of an invoice is told by the invoice payment.
    """
    told = Capture.of(charge).effects(moment(heard_at), source, facts, None)
    had_paid = _had_paid(charge, facts)
    kinds = ("charge_captured", "sale") if had_paid is True else ("charge_captured",)
    dated = told.dated(created=charge.created, not_before=charge.created)
    posted = tuple(made for made in dated.transactions if made.kind in kinds)
    mirrors = tuple(
        reverse(transaction, occurred_at=moment(heard_at), not_before=moment(since)) for transaction in posted
    )
    waiting = (had_paid,) if isinstance(had_paid, Question) else told.waiting_for if had_paid else ()
    return Effects(transactions=posted + mirrors, waiting_for=waiting)


def _had_paid(charge: Charge, facts: Facts) -> bool | Question:
    """Whether a failed charge had counted as paid: then its PaymentIntent had succeeded by it, for ever."""
    if charge.payment_intent is None:
        return True
    question = Question(PAYMENT_INTENT, f"{charge.payment_intent}:{charge.id}")
    if question not in facts:
        return question
    answer = facts[question]
    if answer is None:
        return True
    intent = PaymentIntent.read(answer)
    return intent.status == "succeeded" and intent.latest_charge == charge.id


@dataclass(frozen=True, slots=True)
class Capture:
    """Money captured: by which charge, for which payment. The same facts come from a charge or its intent."""

    charge: str
    amount: int
    currency: str
    payment_intent: str | None
    ours: str | None
    """Our payment's id, when it was made through our API."""
    multicapture: bool
    bank_transfer: bool
    """One of several charges that may pay the same PaymentIntent."""
    invoice: str | None = None
    """The invoice that it pays, where the shape tells (before basil)."""
    metadata: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, charge: Charge) -> Capture:
        """The capture that a charge shows."""
        return cls(
            charge=charge.id,
            amount=charge.amount_captured or (charge.amount if charge.failure_balance_transaction else 0),
            currency=charge.currency,
            payment_intent=charge.payment_intent,
            ours=our_payment(charge.metadata),
            multicapture=charge.multicapture,
            bank_transfer=charge.bank_transfer,
            invoice=charge.invoice,
            metadata=charge.metadata,
        )

    @property
    def payment_id(self) -> str:
        """Our id of the payment, ours or adopted."""
        return self.ours or adopted_payment(self.payment_intent or self.charge)

    def effects(
        self, occurred_at: datetime, source: str, facts: Facts, report: PaymentReport | None
    ) -> Effects:
        """The movement, what it was for if that is known, and the notice that the reported payment succeeded.

        Several captures of one charge do not fit one key: there each balance transaction posts the movement
        and the sale. Nor do several charges of one PaymentIntent fit the key of its sale: each has its own.
        """
        if self.amount <= 0 or self.multicapture:
            return NO_EFFECTS
        funds = self.funds(occurred_at, source)
        movement = post(
            f"charge:{self.charge}:captured",
            "charge_captured",
            [
                debit(chart.CLEARING, self.amount, self.currency),
                credit(chart.UNAPPLIED, self.amount, self.currency),
            ],
            description=f"Captured by {self.charge}",
            **funds.about,
        )
        # what is paid in several charges has succeeded when its PaymentIntent says so
        notices = () if self.bank_transfer or report is None else (succeeded(report),)
        if self.ours:
            return Effects(transactions=transactions(movement), notices=notices) + sold_by_us(funds, facts)
        purpose = applied(funds, self.payment_intent, self.invoice, facts)
        return Effects(transactions=transactions(movement), notices=notices) + purpose

    def funds(self, occurred_at: datetime, source: str) -> Funds:
        """What was captured, to be applied."""
        payment = self.payment_intent or self.charge
        return Funds(
            payment=payment,
            amount=self.amount,
            currency=self.currency,
            sale_key=f"charge:{self.charge}:sale" if self.bank_transfer else f"payment:{payment}:sale",
            about={"occurred_at": occurred_at, "source": source, "payment_id": self.payment_id},
            whole=not self.bank_transfer,
            metadata=self.metadata,
        )


def succeeded(report: PaymentReport) -> Notice:
    """That a payment succeeded, told once, in the same words by its charge and by its PaymentIntent.

    A PaymentIntent can still name the attempt that failed before; the charge that succeeded knows none.
    """
    about = report.stripe_payment_intent or report.stripe_charge
    report = replace(report, last_error=None, next_action=None, cancellation_reason=None)
    return Notice(f"payment.succeeded:{about}", "payment.succeeded", report.id, payment_data(report))


_STATUS: Final = {
    "pending": PaymentStatus.PROCESSING,
    "failed": PaymentStatus.REQUIRES_PAYMENT_METHOD,
}


def _report(charge: Charge, payment: Capture, *, heard_at: int, source: str) -> PaymentReport:
    """A stand-in for what the PaymentIntent will say; all there is for a charge without one."""
    status = _STATUS.get(charge.status, PaymentStatus.SUCCEEDED)
    if status is PaymentStatus.SUCCEEDED and not charge.captured:
        released = charge.amount_refunded > 0
        status = PaymentStatus.CANCELED if released else PaymentStatus.REQUIRES_CAPTURE
    failed = charge.status == "failed"
    settled = charge.captured and charge.status == "succeeded"
    error = {
        "code": charge.failure_code,
        "decline_code": charge.decline_code,
        "message": charge.failure_message,
    }
    return PaymentReport(
        id=payment.payment_id,
        state_order=payment_order(
            status, at=heard_at, failed_attempt=failed, from_intent=False, report=source
        ),
        status=status,
        amount=charge.amount,
        currency=charge.currency,
        created=charge.created,
        livemode=charge.livemode,
        amount_capturable=charge.amount if status is PaymentStatus.REQUIRES_CAPTURE else 0,
        amount_captured=charge.amount_captured if settled else 0,
        charge_order=charge_order(captured=settled, created=charge.created, charge=charge.id),
        stripe_charge=charge.id,
        stripe_payment_intent=charge.payment_intent,
        customer=charge.customer,
        description=charge.description,
        metadata=charge.metadata,
        payment_method=charge.payment_method,
        receipt_email=charge.receipt_email,
        last_error={k: v for k, v in error.items() if v} if failed else None,
    )


def _balance_transactions(charge: Charge, obj: JsonObject) -> tuple[BalanceTransactionSeen, ...]:
    if charge.balance_transaction is None:
        return ()
    return (balance_transaction_seen(charge.balance_transaction, obj),)


def balance_transaction_seen(txn_id: str, source: JsonObject) -> BalanceTransactionSeen:
    """The balance transaction of ``source``, with its body when both were sent whole."""
    expanded = whole(source.get("balance_transaction"), *BALANCE_TRANSACTION)
    if expanded is None or Charge.sent_along(source) is None:
        return BalanceTransactionSeen(txn_id)
    bare_source = {**source, "balance_transaction": txn_id}
    return BalanceTransactionSeen(txn_id, {**expanded, "source": bare_source})


def _refunds_of(charge: Charge, event: Event, facts: Facts) -> Effects:
    """The refunds that a charge carries, or must be asked for.

    Between 2022-11-15 and 2024-10-28 charge.refunded came without the refunds, and not every refund had an
    event of its own. The question names the event, so that each further refund asks anew.
    """
    embedded = charge.refunds
    old = (event.api_version or "") < REFUND_EVENTS_SINCE
    if embedded is None and charge.amount_refunded and charge.captured and old:
        question = Question("charge_refunds", f"{charge.id}:{event.id}")
        if question not in facts:
            return Effects(waiting_for=(question,))
        data = (facts[question] or {}).get("data", [])
        embedded = tuple(item for item in data if isinstance(item, dict))
    effects = NO_EFFECTS
    for obj in embedded or ():
        refund = Refund.read(filled(obj, currency=charge.currency, created=charge.created))
        refund = replace(refund, payment_intent=charge.payment_intent, charge=charge.id)
        effects += refund_effects(refund, heard_at=event.created, source=event.id, facts=facts, charge=charge)
    return effects

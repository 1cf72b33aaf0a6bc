"""What money was for: a sale, or invoices. Pure.

A payment that was not made through our API does not say what it is for. Two questions find out, the second
only where the first one's answer names no invoice: which invoices its PaymentIntent pays, and which Checkout
Session it belongs to. The first answers to them are facts, so whatever tells of the payment comes to the
same purpose. Invoice payments are made, open, when an invoice is finalised, long before it is paid: hence an
answer that names one says what the money is for, and how much of it is told when it is paid.

An answer without an invoice makes a sale. Should the payment pay an invoice after all, what tells of that
takes the sale back, as far as it goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from tallystick.events.spec import NO_EFFECTS, Effects, Facts, Question, moment
from tallystick.ledger import chart
from tallystick.ledger.entries import (
    LedgerEntry,
    LedgerTransaction,
    credit,
    debit,
    post,
    reverse,
    transactions,
)
from tallystick.money import allocate, proportion
from tallystick.payments.reports import adopted_payment, our_payment
from tallystick.stripe_gateway.application_payloads import CheckoutSession, InvoicePayment
from tallystick.stripe_gateway.fields import JsonObject, metadata_of, rows_of

INVOICE_PAYMENTS: Final = "invoice_payments"
"""A question: which invoices does the PaymentIntent pay, or is to pay?"""
CHECKOUT_SESSIONS: Final = "checkout_sessions"
"""A question: which Checkout Sessions does the PaymentIntent belong to?"""


@dataclass(frozen=True, slots=True)
class Sale:
    """What a sale consists of, as shares of whatever was captured."""

    goods: int = 1
    shipping: int = 0
    tax: int = 0

    @classmethod
    def of(cls, session: CheckoutSession) -> Sale:
        """As a Checkout Session has it; all goods where its parts make no whole."""
        goods = session.amount_total - session.shipping - session.tax
        if min(goods, session.shipping, session.tax) < 0 or session.amount_total <= 0:
            return WHOLLY_GOODS
        return cls(goods, session.shipping, session.tax)

    def legs(self, amount: int, currency: str) -> list[LedgerEntry]:
        """``amount`` taken from what is not applied, its parts in proportion and to the unit."""
        unapplied = debit(chart.UNAPPLIED, amount, currency)
        if not self.shipping and not self.tax:  # any payment of ours: nothing to divide
            return [unapplied, credit(chart.REVENUE_PAYMENTS, amount, currency)]
        goods, shipping, tax = allocate(amount, (self.goods, self.shipping, self.tax))
        return [
            unapplied,
            credit(chart.REVENUE_PAYMENTS, goods, currency),
            credit(chart.REVENUE_SHIPPING, shipping, currency),
            credit(chart.TAX_PAYABLE, tax, currency),
        ]

    def tax_of(self, captured: int) -> int:
        """The tax in a capture of so much."""
        return allocate(captured, (self.goods, self.shipping, self.tax))[2]

    def refunded_tax(self, amount: int, captured: int, before: int) -> int:
        """The tax in a refund of ``amount`` after refunds of ``before`` in all.

        What refunds up to here give back of it, less what those before gave back: so refunds of the whole
        give back all of the tax, to the unit, however many they are.
        """
        tax = self.tax_of(captured)
        return proportion(before + amount, tax, captured) - proportion(before, tax, captured)


WHOLLY_GOODS: Final = Sale()


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a payment is for, as the answers have it: a sale, or, without one, invoices."""

    sale: Sale | None
    invoice_payments: tuple[InvoicePayment, ...] = ()
    """Those known when it was asked, paid and open."""
    invoice: str | None = None
    """Of a Checkout Session that made one."""
    ours: str | None = None
    """Our payment, where the PaymentIntent in the answer says that it is one."""


def purpose_of(payment_intent: str | None, facts: Facts) -> Purpose | Question:
    """What a payment is for, or what has to be asked first. Raises PayloadError.

    A charge without a PaymentIntent is a sale: Stripe has no list that tells otherwise.
    """
    if payment_intent is None:
        return Purpose(WHOLLY_GOODS)
    question = Question(INVOICE_PAYMENTS, payment_intent)
    if question not in facts:
        return question
    found = [InvoicePayment.read(row) for row in rows_of(facts[question])]
    ours = _ours(*(each.intent for each in found))
    standing = tuple(each for each in found if each.status != "canceled")
    if standing:
        return Purpose(None, standing, ours=ours)
    question = Question(CHECKOUT_SESSIONS, payment_intent)
    if question not in facts:
        return question
    return _by_checkout([CheckoutSession.read(row) for row in rows_of(facts[question])], ours)


def _by_checkout(sessions: Sequence[CheckoutSession], ours: str | None) -> Purpose:
    """What a payment without invoice payments is for. There is one session at most, Stripe says."""
    if not sessions:
        return Purpose(WHOLLY_GOODS, ours=ours)
    session = sessions[0]
    ours = ours or _ours(session.intent)
    if session.mode != "payment" or session.invoice or session.invoice_expected:
        return Purpose(None, invoice=session.invoice, ours=ours)
    return Purpose(Sale.of(session), ours=ours)


def _ours(*intents: JsonObject | None) -> str | None:
    return next((ours for intent in intents if intent and (ours := our_payment(metadata_of(intent)))), None)


@dataclass(frozen=True, slots=True)
class Funds:
    """Money that is to be applied: how much, of which payment, and who told of it."""

    payment: str
    """The PaymentIntent, or a charge without one."""
    amount: int
    currency: str
    occurred_at: datetime
    source: str
    payment_id: str
    sale_key: str
    whole: bool = True
    """All that the payment took: no other charge of it adds to this."""
    about: dict[str, Any] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        about = {"occurred_at": self.occurred_at, "source": self.source, "payment_id": self.payment_id}
        object.__setattr__(self, "about", about)

    def sold(self, sale: Sale) -> LedgerTransaction | None:
        """The sale."""
        legs = sale.legs(self.amount, self.currency)
        return post(self.sale_key, "sale", legs, description=f"Sale, paid by {self.payment}", **self.about)

    def unsold(self, sale: Sale, invoice: str, amount: int) -> LedgerTransaction | None:
        """The mirror of a sale, or of so much of it, that turned out to pay an invoice."""
        part = replace(self, amount=amount).sold(sale)
        key = f"payment:{self.payment}:sale:reversed:{invoice}"
        return part and reverse(part, key=key, occurred_at=self.occurred_at)

    def paid(self, invoice: str, amount: int, *, held_in: str = chart.UNAPPLIED) -> LedgerTransaction | None:
        """What pays an invoice, or a part of it."""
        return post(
            f"invoice:{invoice}:paid:{self.payment}",
            "invoice_paid",
            [debit(held_in, amount, self.currency), credit(chart.RECEIVABLE, amount, self.currency)],
            description=f"Invoice {invoice}, paid by {self.payment}",
            **self.about,
        )


def applied(funds: Funds, payment_intent: str | None, invoice: str | None, facts: Facts) -> Effects:
    """What the money of a payment that began elsewhere was for; ``invoice`` is what an old shape names."""
    purpose = purpose_of(payment_intent, facts)
    if isinstance(purpose, Question):
        return Effects(waiting_for=(purpose,))
    if purpose.sale is not None:
        made = [funds.sold(purpose.sale)]
        if invoice is not None and funds.whole:
            made += [funds.unsold(purpose.sale, invoice, funds.amount), funds.paid(invoice, funds.amount)]
        return Effects(transactions=transactions(*made))
    paid = [each for each in purpose.invoice_payments if each.status == "paid"]
    if paid:
        return Effects(
            transactions=transactions(*(funds.paid(each.invoice, each.amount_paid) for each in paid))
        )
    named = invoice or purpose.invoice
    if named and funds.whole and all(each.invoice == named for each in purpose.invoice_payments):
        return Effects(transactions=transactions(funds.paid(named, funds.amount)))
    return NO_EFFECTS  # it is told when the invoice is paid


def invoice_paid(payment: InvoicePayment, *, heard_at: int, source: str, facts: Facts) -> Effects:
    """What a paid invoice payment means, wherever it was seen; ``heard_at`` (Unix seconds) dates it at worst.

    If its payment was taken for a sale, that is taken back: one of ours, which is sold at once, or one whose
    look-up named no invoice yet.
    """
    if payment.status != "paid":
        return NO_EFFECTS
    funds = Funds(
        payment=payment.payment,
        amount=payment.amount_paid,
        currency=payment.currency,
        occurred_at=moment(payment.paid_at or heard_at),
        source=source,
        payment_id=adopted_payment(payment.payment),
        sale_key=f"payment:{payment.payment}:sale",
    )
    if payment.kind == "payment_record":  # paid past Stripe, and no sale of anybody's
        paid = funds.paid(payment.invoice, payment.amount_paid, held_in=chart.BANK)
        return Effects(transactions=transactions(paid))
    purpose = purpose_of(payment.payment if payment.kind == "payment_intent" else None, facts)
    if isinstance(purpose, Question):
        return Effects(waiting_for=(purpose,))
    sale = purpose.sale
    if purpose.ours is not None:
        sale, funds = WHOLLY_GOODS, replace(funds, payment_id=purpose.ours)
    taken_back = funds.unsold(sale, payment.invoice, payment.amount_paid) if sale else None
    return Effects(transactions=transactions(funds.paid(payment.invoice, payment.amount_paid), taken_back))

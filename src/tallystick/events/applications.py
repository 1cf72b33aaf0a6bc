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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from tallystick.events.revenue import Shares, revenue_shares
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
from tallystick.ledger.revenue_map import SaleLine
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
    metadata: Mapping[str, str] = field(default_factory=dict)
    lines: tuple[SaleLine, ...] = ()
    """What a Checkout Session says of it, for the map of accounts."""

    @classmethod
    def of(cls, session: CheckoutSession) -> Sale:
        """As a Checkout Session has it; all goods where its parts make no whole."""
        lines = tuple(SaleLine(*line) for line in session.lines)
        if not any(line.weight for line in lines):
            lines = ()
        goods = session.amount_total - session.shipping - session.tax
        if min(goods, session.shipping, session.tax) < 0 or session.amount_total <= 0:
            return cls(metadata=session.metadata, lines=lines)
        return cls(goods, session.shipping, session.tax, session.metadata, lines)

    def legs(self, amount: int, currency: str, shares: Shares) -> list[LedgerEntry]:
        """``amount`` taken from what is not applied, its parts in proportion and to the unit.

        ``shares`` are the accounts of the goods.
        """
        unapplied = debit(chart.UNAPPLIED, amount, currency)
        if not self.shipping and not self.tax:  # any payment of ours: nothing to divide
            return [unapplied, *_goods(amount, currency, shares)]
        goods, shipping, tax = allocate(amount, (self.goods, self.shipping, self.tax))
        return [
            unapplied,
            *_goods(goods, currency, shares),
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


def _goods(amount: int, currency: str, shares: Shares) -> list[LedgerEntry]:
    parts = [amount] if len(shares) == 1 else allocate(amount, tuple(shares.values()))
    return [credit(account, part, currency) for account, part in zip(shares, parts, strict=True)]


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
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Of that PaymentIntent, where there is one in the answer."""


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
    metadata = _metadata(*(each.intent for each in found))
    standing = tuple(each for each in found if each.status != "canceled")
    if standing:
        return Purpose(None, standing, ours=our_payment(metadata), metadata=metadata)
    question = Question(CHECKOUT_SESSIONS, payment_intent)
    if question not in facts:
        return question
    return _by_checkout([CheckoutSession.read(row) for row in rows_of(facts[question])], metadata)


def _by_checkout(sessions: Sequence[CheckoutSession], metadata: dict[str, str]) -> Purpose:
    """What a payment without invoice payments is for. There is one session at most, Stripe says."""
    session = sessions[0] if sessions else None
    if session is not None and not our_payment(metadata):
        metadata = _metadata(session.intent)
    ours = our_payment(metadata)
    if session is None:
        return Purpose(WHOLLY_GOODS, ours=ours, metadata=metadata)
    if session.mode != "payment" or session.invoice or session.invoice_expected:
        return Purpose(None, invoice=session.invoice, ours=ours, metadata=metadata)
    return Purpose(Sale.of(session), ours=ours, metadata=metadata)


def _metadata(*intents: JsonObject | None) -> dict[str, str]:
    """Of the first PaymentIntent that names a payment of ours, else of the first."""
    found = [metadata_of(intent) for intent in intents if intent]
    return next((each for each in found if our_payment(each)), found[0] if found else {})


class Funds(NamedTuple):  # made for every capture: a tuple costs a fifth of a frozen dataclass
    """Money that is to be applied: how much, of which payment, and who told of it."""

    payment: str
    """The PaymentIntent, or a charge without one."""
    amount: int
    currency: str
    sale_key: str
    about: Mapping[str, Any]
    """``occurred_at``, ``source`` and ``payment_id`` of what is posted."""
    metadata: Mapping[str, str]
    """Of the payment, for the map of accounts."""
    whole: bool = True
    """All that the payment took: no other charge of it adds to this."""

    def shares(self, sale: Sale, facts: Facts) -> Shares | Question:
        """The accounts of the sale, or the question."""
        metadata = {**sale.metadata, **self.metadata}
        at = self.about["occurred_at"]
        return revenue_shares(self.sale_key, facts, at=at, metadata=metadata, lines=sale.lines)

    def sold(self, sale: Sale, shares: Shares) -> LedgerTransaction | None:
        """The sale."""
        legs = sale.legs(self.amount, self.currency, shares)
        return post(self.sale_key, "sale", legs, description=f"Sale, paid by {self.payment}", **self.about)

    def unsold(self, sale: Sale, shares: Shares, invoice: str, amount: int) -> LedgerTransaction | None:
        """The mirror of a sale, or of so much of it, that turned out to pay an invoice."""
        part = self._replace(amount=amount).sold(sale, shares)
        key = f"payment:{self.payment}:sale:reversed:{invoice}"
        return part and reverse(part, key=key, occurred_at=part.occurred_at)

    def paid(self, invoice: str, amount: int, *, held_in: str = chart.UNAPPLIED) -> LedgerTransaction | None:
        """What pays an invoice, or a part of it."""
        return post(
            f"invoice:{invoice}:paid:{self.payment}",
            "invoice_paid",
            [debit(held_in, amount, self.currency), credit(chart.RECEIVABLE, amount, self.currency)],
            description=f"Invoice {invoice}, paid by {self.payment}",
            **self.about,
        )


def sold_by_us(funds: Funds, facts: Facts) -> Effects:
    """What a payment that was made through our API was for: a sale."""
    shares = funds.shares(WHOLLY_GOODS, facts)
    if isinstance(shares, Question):
        return Effects(waiting_for=(shares,))
    return Effects(transactions=transactions(funds.sold(WHOLLY_GOODS, shares)))


def applied(funds: Funds, payment_intent: str | None, invoice: str | None, facts: Facts) -> Effects:
    """What the money of a payment that began elsewhere was for; ``invoice`` is what an old shape names."""
    purpose = purpose_of(payment_intent, facts)
    if isinstance(purpose, Question):
        return Effects(waiting_for=(purpose,))
    if purpose.sale is not None:
        return _sold(funds, purpose.sale, invoice, facts)
    paid = [each for each in purpose.invoice_payments if each.status == "paid"]
    if paid:
        return Effects(
            transactions=transactions(*(funds.paid(each.invoice, each.amount_paid) for each in paid))
        )
    named = invoice or purpose.invoice
    if named and funds.whole and all(each.invoice == named for each in purpose.invoice_payments):
        return Effects(transactions=transactions(funds.paid(named, funds.amount)))
    return NO_EFFECTS  # it is told when the invoice is paid


def _sold(funds: Funds, sale: Sale, invoice: str | None, facts: Facts) -> Effects:
    """The sale; and that it was none, where an old shape names the invoice."""
    shares = funds.shares(sale, facts)
    if isinstance(shares, Question):
        return Effects(waiting_for=(shares,))
    made = [funds.sold(sale, shares)]
    if invoice is not None and funds.whole:
        made += [funds.unsold(sale, shares, invoice, funds.amount), funds.paid(invoice, funds.amount)]
    return Effects(transactions=transactions(*made))


def invoice_paid(payment: InvoicePayment, *, heard_at: int, source: str, facts: Facts) -> Effects:
    """What a paid invoice payment means, wherever it was seen; ``heard_at`` (Unix seconds) dates it at worst.

    If its payment was taken for a sale, that is taken back: one of ours, which is sold at once, or one whose
    look-up named no invoice yet.
    """
    if payment.status != "paid":
        return NO_EFFECTS
    about = {
        "occurred_at": moment(payment.paid_at or heard_at),
        "source": source,
        "payment_id": adopted_payment(payment.payment),
    }
    key = f"payment:{payment.payment}:sale"
    funds = Funds(payment.payment, payment.amount_paid, payment.currency, key, about, {})
    if payment.kind == "payment_record":  # paid past Stripe, and no sale of anybody's
        paid = funds.paid(payment.invoice, payment.amount_paid, held_in=chart.BANK)
        return Effects(transactions=transactions(paid))
    purpose = purpose_of(payment.payment if payment.kind == "payment_intent" else None, facts)
    if isinstance(purpose, Question):
        return Effects(waiting_for=(purpose,))
    sale, funds = purpose.sale, funds._replace(metadata=purpose.metadata)
    if purpose.ours is not None:
        sale, funds = WHOLLY_GOODS, funds._replace(about={**about, "payment_id": purpose.ours})
    paid = funds.paid(payment.invoice, payment.amount_paid)
    if sale is None:
        return Effects(transactions=transactions(paid))
    shares = funds.shares(sale, facts)
    if isinstance(shares, Question):
        return Effects(transactions=transactions(paid), waiting_for=(shares,))
    taken_back = funds.unsold(sale, shares, payment.invoice, payment.amount_paid)
    return Effects(transactions=transactions(paid, taken_back))

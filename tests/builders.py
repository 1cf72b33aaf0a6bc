"""Stripe's objects and events as plain dicts, in the shapes and sequences that Stripe sends them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tallystick.money import convert

Json = dict[str, Any]
START = 1_790_000_000
COPIED = ("customer", "description", "receipt_email", "payment_method")
"""What a charge takes over from its PaymentIntent, besides the metadata."""


@dataclass
class StripeStory:
    """Tells the life of payments as Stripe would: events in the order of creation, and what lookups answer.

    ``charges``, ``intents``, ``refunds``, ``disputes`` and ``balance_transactions`` hold the objects as
    they end.
    """

    api_version: str = "2026-10-28.endive"
    settlement: str | None = None
    """The currency that everything settles in, at a rate of its own each time; None: what it was paid in."""
    events: list[Json] = field(default_factory=list)
    charges: dict[str, Json] = field(default_factory=dict)
    intents: dict[str, Json] = field(default_factory=dict)
    refunds: dict[str, Json] = field(default_factory=dict)
    disputes: dict[str, Json] = field(default_factory=dict)
    balance_transactions: list[Json] = field(default_factory=list)
    invoices: dict[str, Json] = field(default_factory=dict)
    invoice_payments: dict[str, Json] = field(default_factory=dict)
    checkout_sessions: dict[str, Json] = field(default_factory=dict)
    customer_balance_transactions: list[Json] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def event(self, event_type: str, obj: Json) -> Json:
        """Add an event about a copy of ``obj``."""
        number = next(self._numbers)
        made = {
            "id": f"evt_{number:06d}",
            "object": "event",
            "type": event_type,
            "created": START + number // 2 * 2,  # often two events share a second
            "api_version": self.api_version,
            "livemode": False,
            "data": {"object": {**obj}},
        }
        self.events.append(made)
        return made

    def intent(self, amount: int, currency: str = "usd", *, ours: str | None = None, **more: Any) -> Json:
        """A PaymentIntent that was just created."""
        number = next(self._numbers)
        made = {
            "id": f"pi_{number:06d}",
            "object": "payment_intent",
            "status": "requires_payment_method",
            "amount": amount,
            "amount_capturable": 0,
            "amount_received": 0,
            "currency": currency,
            "created": START + number,
            "livemode": False,
            "metadata": {"tallystick_payment": ours} if ours else {},
            "capture_method": "automatic_async",
            "client_secret": f"pi_{number:06d}_secret_x",
            "latest_charge": None,
            "last_payment_error": None,
            **more,
        }
        self.intents[made["id"]] = made
        self.event("payment_intent.created", made)
        return made

    def charge(self, intent: Json, *, status: str = "succeeded", captured: bool = True) -> Json:
        """A charge of the PaymentIntent; no event yet."""
        number = next(self._numbers)
        made = {
            "id": f"ch_{number:06d}",
            "object": "charge",
            "status": status,
            "amount": intent["amount"],
            "amount_captured": intent["amount"] if captured and status == "succeeded" else 0,
            "amount_refunded": 0,
            "captured": captured and status == "succeeded",
            "currency": intent["currency"],
            "created": START + number,
            "livemode": False,
            "payment_intent": intent["id"],
            "metadata": dict(intent["metadata"]),
            "balance_transaction": None,
            "failure_code": "card_declined" if status == "failed" else None,
            "outcome": {"reason": "generic_decline"} if status == "failed" else {},
            **{name: intent[name] for name in COPIED if name in intent},
        }
        self.charges[made["id"]] = made
        intent["latest_charge"] = made["id"]
        return made

    def decline(self, intent: Json) -> None:
        """An attempt that the bank refuses."""
        charge = self.charge(intent, status="failed")
        self.event("charge.failed", charge)
        intent["last_payment_error"] = {"code": "card_declined", "decline_code": "generic_decline"}
        self.event("payment_intent.payment_failed", intent)

    def require_action(self, intent: Json) -> None:
        """3D Secure is asked for."""
        intent["status"] = "requires_action"
        self.event("payment_intent.requires_action", intent)

    def succeed(self, intent: Json) -> Json:
        """Paid and captured at once; the balance transaction comes later."""
        charge = self.charge(intent)
        self.event("charge.succeeded", charge)
        intent.update(status="succeeded", amount_received=intent["amount"], last_payment_error=None)
        self.event("payment_intent.succeeded", intent)
        self.settle(charge)
        return charge

    def authorise(self, intent: Json) -> Json:
        """Authorised, to be captured later."""
        intent["capture_method"] = "manual"
        charge = self.charge(intent, captured=False)
        charge["payment_method_details"] = {"card": {"capture_before": charge["created"] + 604_800}}
        self.event("charge.succeeded", charge)
        intent.update(status="requires_capture", amount_capturable=intent["amount"])
        self.event("payment_intent.amount_capturable_updated", intent)
        return charge

    def capture(self, intent: Json, charge: Json, amount: int) -> None:
        """Capture an authorised charge, in full or in part."""
        charge.update(captured=True, amount_captured=amount)
        self.event("charge.captured", charge)
        intent.update(status="succeeded", amount_received=amount, amount_capturable=0)
        self.event("payment_intent.succeeded", intent)
        self.settle(charge)

    def cancel(self, intent: Json, charge: Json | None = None) -> None:
        """Cancel before any capture; an authorisation is let go by a refund that moves no money."""
        if charge is not None:
            release = self._refund_of(charge, charge["amount"], status="succeeded", metadata={})
            charge.update(amount_refunded=charge["amount"], refunded=True)
            self.event("refund.created", release)
            self.event("charge.refunded", charge)
        intent.update(status="canceled", amount_capturable=0)
        self.event("payment_intent.canceled", intent)

    def settle(self, charge: Json) -> Json:
        """The charge's balance transaction appears, and charge.updated says so."""
        amount = charge["amount_captured"]
        fee = min(amount, amount * 29 // 1000 + 30)
        details = [{"type": "stripe_fee", "amount": fee, "currency": charge["currency"]}]
        txn = self.balance_transaction("charge", charge, amount, fee, details)
        charge["balance_transaction"] = txn["id"]
        self.event("charge.updated", charge)
        return txn

    def balance_transaction(self, kind: str, source: Json, amount: int, fee: int, details: Any) -> Json:
        """A balance transaction, as it is listed with its source expanded."""
        number = next(self._numbers)
        currency, rate = source["currency"], None
        if self.settlement not in (None, currency):
            rate = 1.1 + number % 7 / 100
            amount = convert(amount, currency, self.settlement, Decimal(str(rate)))
            currency, details = self.settlement, [{**line, "currency": self.settlement} for line in details]
        made = {
            "id": f"txn_{number:06d}",
            "object": "balance_transaction",
            "type": kind,
            "reporting_category": kind,
            "amount": amount,
            "fee": fee,
            "net": amount - fee,
            "currency": currency,
            "exchange_rate": rate,
            "created": START + number,
            "available_on": START + number,
            "balance_type": "payments",
            "fee_details": details,
            "source": source,
        }
        self.balance_transactions.append(made)
        return made

    def refund(self, charge: Json, amount: int, *, status: str = "succeeded", ours: bool = False) -> Json:
        """A refund; ``ours`` says that it was made through our API."""
        payment = charge["metadata"].get("tallystick_payment")
        our_refund = f"ref_{next(self._numbers):026d}"
        metadata = {"tallystick_payment": payment, "tallystick_refund": our_refund} if ours else {}
        made = self._refund_of(charge, amount, status=status, metadata=metadata)
        charge["amount_refunded"] += amount
        txn = self.balance_transaction("refund", made, -amount, 0, [])
        made["balance_transaction"] = txn["id"]
        self.event("refund.created", made)
        self.event("charge.refunded", charge)
        return made

    def _refund_of(self, charge: Json, amount: int, *, status: str, metadata: Json) -> Json:
        number = next(self._numbers)
        made = {
            "id": f"re_{number:06d}",
            "object": "refund",
            "status": status,
            "amount": amount,
            "currency": charge["currency"],
            "created": START + number,
            "charge": charge["id"],
            "payment_intent": charge["payment_intent"],
            "metadata": metadata,
            "balance_transaction": None,
        }
        self.refunds[made["id"]] = made
        return made

    def dispute(self, charge: Json, course: list[str]) -> Json:
        """A dispute that goes through these statuses: one that is no inquiry takes its amount, a won one
        gives it back less a tenth (of it was refunded meanwhile).
        """
        number = next(self._numbers)
        made = {
            "id": f"du_{number:06d}",
            "object": "dispute",
            "status": course[0],
            "amount": charge["amount_captured"],
            "currency": charge["currency"],
            "created": START + number,
            "livemode": False,
            "charge": charge["id"],
            "payment_intent": charge["payment_intent"],
            "reason": "fraudulent",
            "evidence_details": {"due_by": START + 777_600, "has_evidence": False, "submission_count": 0},
            "is_charge_refundable": course[0].startswith("warning_"),
            "balance_transactions": [],
            "metadata": {},
        }
        self.disputes[made["id"]] = made
        for place, status in enumerate(course):
            made["status"] = status
            if not status.startswith("warning_") and not made["balance_transactions"]:
                self._dispute_moves(made, "dispute", -made["amount"], 1500)
            if status == "won":
                self._dispute_moves(made, "dispute_reversal", made["amount"] - made["amount"] // 10, 0)
            ended = place and place == len(course) - 1
            happened = "closed" if ended else "updated" if place else "created"
            self.event(f"charge.dispute.{happened}", made)
        return made

    def _dispute_moves(self, dispute: Json, category: str, amount: int, fee: int) -> None:
        details = [{"type": "stripe_fee", "amount": fee, "currency": dispute["currency"]}] if fee else []
        txn = self.balance_transaction("adjustment", dispute, amount, fee, details)
        txn["reporting_category"] = category
        bare = {**txn, "source": dispute["id"]}
        dispute["balance_transactions"] = [*dispute["balance_transactions"], bare]

    def payout(self, amount: int, currency: str, course: list[str]) -> Json:
        """A payout that goes through these statuses after ``pending``."""
        number = next(self._numbers)
        made = {
            "id": f"po_{number:06d}",
            "object": "payout",
            "status": "pending",
            "amount": amount,
            "currency": currency,
            "automatic": False,
            "created": START + number,
            "arrival_date": START + 86_400,
            "metadata": {},
            "failure_balance_transaction": None,
        }
        made["balance_transaction"] = self.balance_transaction("payout", made, -amount, 0, [])["id"]
        self.event("payout.created", made)
        for status in course:
            made["status"] = status
            if status in ("failed", "canceled"):
                kind = "payout_failure" if status == "failed" else "payout_cancel"
                txn = self.balance_transaction(kind, made, amount, 0, [])
                made["failure_balance_transaction"] = txn["id"]
            self.event("payout.updated" if status == "in_transit" else f"payout.{status}", made)
        return made

    def update_refund(self, charge: Json, refund: Json, status: str) -> None:
        """A refund comes to its end; a failed one brings the money back."""
        refund["status"] = status
        if status in ("failed", "canceled"):
            charge["amount_refunded"] -= refund["amount"]
            txn = self.balance_transaction("refund_failure", refund, refund["amount"], 0, [])
            refund["failure_balance_transaction"] = txn["id"]
            self.event("refund.failed", refund)
        self.event("refund.updated", refund)
        self.event("charge.refund.updated", refund)

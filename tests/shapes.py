"""Objects of Stripe's in the shapes of its API versions since 2011, and what may be wrong with any of them.

``spoil`` changes an object as other API versions, other settings and other people's programs would: fields
gone, null, of another kind, expanded or not.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any, Final

from tests.builders import START, Json

_TXN: Final = {
    "id": "txn_1", "object": "balance_transaction", "type": "charge", "reporting_category": "charge",
    "amount": 2000, "fee": 88, "net": 1912, "currency": "usd", "created": START, "available_on": START,
    "fee_details": [{"type": "stripe_fee", "amount": 88, "currency": "usd"}], "source": "ch_1",
}  # fmt: skip
_CHARGE: Final = {
    "id": "ch_1", "object": "charge", "status": "succeeded", "amount": 2000, "amount_captured": 2000,
    "amount_refunded": 0, "captured": True, "paid": True, "currency": "usd", "created": START,
    "livemode": False, "payment_intent": "pi_1", "customer": "cus_1", "metadata": {"order": "7"},
    "payment_method": "pm_1", "balance_transaction": "txn_1", "failure_code": None, "description": "Seven",
    "outcome": {"reason": None, "type": "authorized"}, "refunded": False,
    "payment_method_details": {"type": "card", "card": {"multicapture": {"status": "unavailable"}}},
}  # fmt: skip
_CHARGE_2011: Final = {
    "id": "ch_1", "object": "charge", "amount": 2000, "amount_refunded": 0, "currency": "usd", "fee": 88,
    "created": START, "livemode": False, "paid": True, "refunded": False, "disputed": False,
    "description": None, "failure_message": None, "card": {"object": "card", "last4": "4242"},
}  # fmt: skip
_CHARGE_2013: Final = {
    **_CHARGE_2011, "captured": True, "amount_refunded": 500, "customer": "cus_1", "metadata": {},
    "balance_transaction": "txn_1", "invoice": "in_1",
    "refunds": [
        {"object": "refund", "amount": 500, "currency": "usd", "created": START,
         "balance_transaction": "txn_2"},
    ],
}  # fmt: skip
_CHARGE_2015: Final = {
    **_CHARGE_2013, "status": "paid", "source": {"id": "card_1", "object": "card"},
    "refunds": {"object": "list", "total_count": 1, "has_more": False, "data": [
        {"id": "re_1", "object": "refund", "amount": 500, "currency": "usd", "created": START,
         "balance_transaction": "txn_2", "charge": "ch_1", "metadata": {}, "reason": None},
    ]},
}  # fmt: skip
_FAILED: Final = {
    **_CHARGE, "status": "failed", "captured": False, "paid": False, "amount_captured": 0,
    "failure_code": "card_declined", "failure_message": "Declined.", "balance_transaction": None,
    "outcome": {"reason": "generic_decline"},
}  # fmt: skip
_INTENT: Final = {
    "id": "pi_1", "object": "payment_intent", "status": "succeeded", "amount": 2000, "amount_capturable": 0,
    "amount_received": 2000, "currency": "usd", "created": START, "livemode": False, "customer": "cus_1",
    "metadata": {"order": "7"}, "capture_method": "automatic_async", "client_secret": "pi_1_secret_1",
    "latest_charge": "ch_1", "last_payment_error": None, "next_action": None, "payment_method": "pm_1",
    "payment_method_types": ["card"], "payment_method_options": {"card": {"request_three_d_secure": "any"}},
    "receipt_email": None, "statement_descriptor": None, "setup_future_usage": None,
}  # fmt: skip
_INTENT_2019: Final = {
    **{name: value for name, value in _INTENT.items() if name != "latest_charge"},
    "status": "requires_source", "amount_received": 0, "allowed_source_types": ["card"],
    "charges": {"object": "list", "data": [_FAILED], "has_more": False, "url": "/v1/charges"},
    "last_payment_error": {"code": "card_declined", "charge": "ch_1", "source": {"id": "card_1"}},
    "next_source_action": {"type": "use_stripe_sdk"}, "next_action": {"type": "redirect_to_url"},
}  # fmt: skip
_REFUND: Final = {
    "id": "re_1", "object": "refund", "status": "succeeded", "amount": 500, "currency": "usd",
    "created": START, "charge": "ch_1", "payment_intent": "pi_1", "metadata": {}, "reason": None,
    "balance_transaction": "txn_2", "failure_balance_transaction": None,
}  # fmt: skip
_DISPUTE: Final = {
    "id": "du_1", "object": "dispute", "status": "lost", "amount": 2000, "currency": "usd", "created": START,
    "livemode": False, "charge": "ch_1", "payment_intent": "pi_1", "reason": "fraudulent",
    "balance_transactions": [{**_TXN, "type": "adjustment", "reporting_category": "dispute", "amount": -2000,
                              "fee": 1500, "net": -3500}],
    "evidence": {"customer_name": None}, "is_charge_refundable": False, "metadata": {},
    "evidence_details": {"due_by": START, "has_evidence": False, "submission_count": 0},
}  # fmt: skip
_DISPUTE_2012: Final = {
    "object": "dispute", "status": "needs_response", "amount": 2000, "currency": "usd", "created": START,
    "livemode": False, "charge": "ch_1", "reason": "general", "evidence": "It was him.",
    "evidence_due_by": START, "balance_transaction": "txn_1",
}  # fmt: skip
_PAYOUT: Final = {
    "id": "po_1", "object": "payout", "status": "paid", "amount": 1912, "currency": "usd", "created": START,
    "arrival_date": START, "automatic": True, "balance_transaction": "txn_3", "destination": "ba_1",
    "failure_balance_transaction": None, "failure_code": None, "failure_message": None, "metadata": {},
}  # fmt: skip
_TOPUP: Final = {
    "id": "tu_1", "object": "topup", "status": "succeeded", "amount": 1000, "currency": "usd",
    "created": START, "balance_transaction": "txn_4", "metadata": {}, "source": {"id": "src_1"},
}  # fmt: skip
_LINE: Final = {
    "id": "il_1", "object": "line_item", "amount": 2000, "currency": "usd", "quantity": 1,
    "period": {"start": START, "end": START}, "pricing": {"price_details": {"price": "price_1"}},
}  # fmt: skip
_INVOICE: Final = {
    "id": "in_1", "object": "invoice", "number": "A-1", "status": "paid", "currency": "usd",
    "customer": "cus_1", "created": START, "total": 2000, "subtotal": 2000, "amount_due": 2000,
    "amount_paid": 2000, "amount_remaining": 0, "attempt_count": 1, "due_date": None, "metadata": {},
    "next_payment_attempt": None, "lines": {"object": "list", "data": [_LINE], "has_more": False},
    "parent": {"type": "subscription_details", "subscription_details": {"subscription": "sub_1"}},
    "payments": {
        "data": [
            {
                "payment": {"type": "payment_intent", "payment_intent": "pi_1"},
                "status": "paid",
                "amount_paid": 2000,
                "currency": "usd",
            }
        ]
    },
    "status_transitions": {"finalized_at": START, "paid_at": START, "voided_at": None},
    "total_taxes": [], "total_discount_amounts": [], "billing_reason": "subscription_cycle",
}  # fmt: skip
_INVOICE_2012: Final = {
    "id": "in_1", "object": "invoice", "paid": True, "closed": True, "attempted": True, "currency": "usd",
    "customer": "cus_1", "date": START, "total": 2000, "subtotal": 2000, "amount_due": 2000, "charge": "ch_1",
    "lines": {"invoiceitems": [], "prorations": [], "subscriptions": [{"amount": 2000, "plan": {"id": "p"}}]},
    "livemode": False, "period_start": START, "period_end": START, "discount": None, "tax": None,
}  # fmt: skip
_INVOICE_2020: Final = {
    **{name: value for name, value in _INVOICE.items() if name not in ("parent", "payments", "total_taxes")},
    "charge": "ch_1", "payment_intent": "pi_1", "subscription": "sub_1", "paid": True,
    "lines": {"data": [{**_LINE, "price": {"id": "price_1"}, "plan": {"id": "plan_1"}}]},
}  # fmt: skip
_SUBSCRIPTION: Final = {
    "id": "sub_1", "object": "subscription", "status": "active", "customer": "cus_1", "currency": "usd",
    "created": START, "items": {"data": [{"id": "si_1", "price": {"id": "price_1"}, "quantity": 2}]},
    "cancel_at_period_end": False, "cancel_at": None, "canceled_at": None, "ended_at": None,
    "trial_end": None, "latest_invoice": "in_1", "metadata": {},
}  # fmt: skip
_SUBSCRIPTION_2012: Final = {
    "object": "subscription", "status": "trialing", "customer": "cus_1", "start": START,
    "plan": {"id": "gold", "object": "plan", "amount": 2000}, "quantity": 1, "trial_end": START,
    "current_period_start": START, "current_period_end": START,
}  # fmt: skip
_CUSTOMER: Final = {
    "id": "cus_1", "object": "customer", "created": START, "livemode": False, "name": "Ada", "phone": None,
    "email": "ada@example.com", "description": None, "address": {"city": "London", "line2": None},
    "metadata": {}, "invoice_settings": {"default_payment_method": "pm_1"},
}  # fmt: skip
_CUSTOMER_2011: Final = {
    "id": "cus_1", "object": "customer", "created": START, "livemode": False, "email": "ada@example.com",
    "account_balance": 0, "active_card": {"object": "card", "last4": "4242"}, "subscription": None,
}  # fmt: skip
_METHOD: Final = {
    "id": "pm_1", "object": "payment_method", "created": START, "livemode": False, "customer": "cus_1",
    "type": "card", "card": {"brand": "visa", "last4": "4242", "exp_month": 1, "exp_year": 2030},
    "metadata": {}, "billing_details": {"name": "Ada"},
}  # fmt: skip
_INVOICE_PAYMENT: Final = {
    "id": "inpay_1", "object": "invoice_payment", "invoice": "in_1", "status": "paid", "amount_paid": 2000,
    "amount_requested": 2000, "currency": "usd", "created": START, "is_default": True,
    "payment": {"type": "payment_intent", "payment_intent": "pi_1"},
    "status_transitions": {"paid_at": START, "canceled_at": None},
}  # fmt: skip
_CHECKOUT: Final = {
    "id": "cs_1", "object": "checkout.session", "mode": "payment", "status": "complete", "currency": "usd",
    "payment_status": "paid", "payment_intent": "pi_1", "amount_total": 2000, "amount_subtotal": 1800,
    "total_details": {"amount_tax": 200, "amount_shipping": 0, "amount_discount": 0}, "created": START,
    "shipping_cost": {"amount_total": 0, "amount_tax": 0}, "invoice": "in_1", "customer": "cus_1",
    "invoice_creation": {"enabled": True}, "currency_conversion": None, "metadata": {},
}  # fmt: skip
_CHECKOUT_2019: Final = {
    "id": "cs_1", "object": "checkout.session", "display_items": [{"amount": 2000, "currency": "usd"}],
    "payment_intent": "pi_1", "customer": None, "livemode": False, "subscription": None,
}  # fmt: skip
_CREDIT_NOTE: Final = {
    "id": "cn_1", "object": "credit_note", "invoice": "in_1", "customer": "cus_1", "amount": 2000,
    "currency": "usd", "status": "issued", "customer_balance_transaction": "cbtxn_1", "created": START,
    "refund": None, "refunds": [], "out_of_band_amount": None, "total": 2000, "metadata": {},
}  # fmt: skip
_CUSTOMER_BALANCE_TRANSACTION: Final = {
    "id": "cbtxn_1", "object": "customer_balance_transaction", "type": "credit_note", "amount": -2000,
    "currency": "usd", "created": START, "customer": "cus_1", "ending_balance": -2000,
}  # fmt: skip
_OTHER: Final = {
    "id": "obj_1", "object": "object", "amount": 2000, "amount_total": 2000, "total": 2000, "currency": "usd",
    "created": START, "status": "complete", "payment_status": "paid", "mode": "payment", "customer": "cus_1",
    "charge": "ch_1", "payment_intent": "pi_1", "invoice": "in_1", "subscription": "sub_1", "metadata": {},
    "payment": {"type": "payment_intent", "payment_intent": "pi_1"}, "amount_paid": 2000, "refund": "re_1",
    "balance_transaction": "txn_1", "lines": {"data": [_LINE]}, "refunds": {"data": [{"refund": "re_1"}]},
}  # fmt: skip

SHAPES: Final[dict[str, list[Json]]] = {
    "charge.dispute": [_DISPUTE, _DISPUTE_2012],
    "charge.refund": [_REFUND],
    "charge": [_CHARGE, _CHARGE_2011, _CHARGE_2013, _CHARGE_2015, _FAILED],
    "payment_intent": [_INTENT, _INTENT_2019],
    "refund": [_REFUND, {**_REFUND, "status": None}],
    "payout": [_PAYOUT],
    "topup": [_TOPUP],
    "invoice": [_INVOICE, _INVOICE_2012, _INVOICE_2020, {**_INVOICE, "ending_balance": -5}],
    "invoice_payment": [
        _INVOICE_PAYMENT,
        {**_INVOICE_PAYMENT, "status": "open", "amount_paid": None, "payment": {"type": "payment_intent"}},
    ],
    "checkout.session": [_CHECKOUT, _CHECKOUT_2019],
    "credit_note": [_CREDIT_NOTE],
    "customer.subscription": [_SUBSCRIPTION, _SUBSCRIPTION_2012],
    "customer": [_CUSTOMER, _CUSTOMER_2011],
    "payment_method": [_METHOD],
}
"""The beginning of an event's type → its object in the shapes of several API versions."""

VERSIONS: Final = (None, "2011-11-17", "2014-03-28", "2019-05-16", "2022-11-15", "2026-10-28.endive")

_EXPANDED: Final = {
    "charge": _CHARGE, "latest_charge": _CHARGE, "payment_intent": _INTENT, "customer": _CUSTOMER,
    "balance_transaction": _TXN, "failure_balance_transaction": _TXN, "invoice": _INVOICE, "refund": _REFUND,
    "payment_method": _METHOD, "subscription": _SUBSCRIPTION, "latest_invoice": _INVOICE,
}  # fmt: skip
ANSWERS: Final = {
    "charge": _CHARGE, "charge_refunds": {"object": "list", "data": [_REFUND]}, "dispute": _DISPUTE,
    "invoice_payments": {"data": [_INVOICE_PAYMENT]}, "checkout_sessions": {"data": [_CHECKOUT]},
    "paid_invoice": {**_INVOICE, "payments": {"data": [_INVOICE_PAYMENT]}},
    "customer_balance_transactions": {"data": [_CUSTOMER_BALANCE_TRANSACTION]},
}  # fmt: skip
"""What Stripe answers to a question of this kind, when it knows the object."""

_JUNK: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1.5, 2.0, 10**18, 1e300, "", "x", "12", "-3", "\0", "a\0b", "x" * 3000, [], {},
    [None], [[]], [{}], ["ch_9"], {"id": None}, {"id": 7}, {"id": "x_1"}, {"id": "x_1", "deleted": True},
    {"data": None}, {"data": [{}]}, {"data": {"id": "x"}}, {"data": ["re_9"]}, {"a\0": {"b": "\0"}},
)  # fmt: skip


def shapes_of(event_type: str) -> list[Json]:
    """The object of an event of this type, in every shape that is known here."""
    found = [name for name in SHAPES if event_type.startswith(f"{name}.")]
    return SHAPES[max(found, key=len)] if found else [_OTHER]


def spoil(chance: random.Random, obj: Json, changes: int) -> Json:
    """A copy of the object with so many places changed."""
    made = copy.deepcopy(obj)
    for _ in range(changes):
        places = list(_places(made))
        if not places:
            return made
        holder, key = chance.choice(places)
        _CHANGES[chance.randrange(len(_CHANGES))](chance, holder, key)
    return made


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every field and item inside: what holds it, and its name or number."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])


def _drop(_: random.Random, holder: Any, key: Any) -> None:
    del holder[key]


def _empty(_: random.Random, holder: Any, key: Any) -> None:
    holder[key] = None


def _junk(chance: random.Random, holder: Any, key: Any) -> None:
    holder[key] = copy.deepcopy(chance.choice(_JUNK))


def _expand(chance: random.Random, holder: Any, key: Any) -> None:
    """As a whole object, or as one of which little is there."""
    value, whole = holder[key], _EXPANDED.get(key, _OTHER)
    if not isinstance(value, str):
        return
    names = ["id", *chance.sample(list(whole), chance.randrange(len(whole)))]
    made = copy.deepcopy(whole if chance.random() < 0.5 else {name: whole[name] for name in names})
    holder[key] = {**made, "id": value}


def _unexpand(_: random.Random, holder: Any, key: Any) -> None:
    value = holder[key]
    if isinstance(value, dict):
        holder[key] = value.get("id", value.get("data"))
    elif isinstance(value, list):
        holder[key] = {"object": "list", "data": value}


def _write_otherwise(_: random.Random, holder: Any, key: Any) -> None:
    """The same, in other letters: numbers as text, currencies in capitals."""
    value = holder[key]
    if isinstance(value, str):
        holder[key] = value.upper()
    elif type(value) is int:
        holder[key] = str(value)


_CHANGES: Final = (_drop, _empty, _junk, _expand, _unexpand, _write_otherwise)

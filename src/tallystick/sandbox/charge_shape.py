"""What a charge looks like: on a card or a bank account; succeeded, authorized, pending or failed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tallystick.sandbox import adaptive_pricing, bank_accounts, cards, declines
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj

_DESCRIPTOR: Final = "TALLYSTICK"
AUTHORIZED_SECONDS: Final = 7 * 24 * 3600
"""How long an authorization waits for its capture."""

_BLANK: Final[Obj] = {
    "id": None,
    "object": "charge",
    "amount": None,
    "amount_captured": 0,
    "amount_refunded": 0,
    "application": None,
    "application_fee": None,
    "application_fee_amount": None,
    "balance_transaction": None,
    "billing_details": None,
    "calculated_statement_descriptor": None,
    "captured": False,
    "created": None,
    "currency": None,
    "customer": None,
    "description": None,
    "destination": None,
    "dispute": None,
    "disputed": False,
    "failure_balance_transaction": None,
    "failure_code": None,
    "failure_message": None,
    "fraud_details": {},
    "livemode": False,
    "metadata": {},
    "on_behalf_of": None,
    "order": None,
    "outcome": None,
    "paid": False,
    "payment_intent": None,
    "payment_method": None,
    "payment_method_details": None,
    "radar_options": {},
    "receipt_email": None,
    "receipt_number": None,
    "receipt_url": None,
    "refunded": False,
    "review": None,
    "shipping": None,
    "source": None,
    "source_transfer": None,
    "statement_descriptor": None,
    "statement_descriptor_suffix": None,
    "status": None,
    "transfer_data": None,
    "transfer_group": None,
}
FROM_INTENT: Final = (
    "amount",
    "application_fee_amount",
    "currency",
    "customer",
    "description",
    "metadata",
    "on_behalf_of",
    "receipt_email",
    "shipping",
    "statement_descriptor",
    "statement_descriptor_suffix",
    "transfer_data",
    "transfer_group",
)


def make(
    call: Call,
    order: Obj,
    method: Obj,
    card: cards.TestCard,
    *,
    decline: declines.Decline | None,
    authenticated: bool,
    captured: bool,
) -> Obj:
    """A new charge on a card: succeeded, authorized only, or failed by ``decline``.

    ``order`` is the PaymentIntent, or a dict with the same fields and no id for a charge without one.
    """
    amount = order["amount"]
    paid = decline is None
    captured = captured and paid
    asked = order["payment_method_options"].get("card", {})
    details = _card_details(call, method, card, amount, asked, paid=paid, authenticated=authenticated)
    if paid and not captured:
        details["capture_before"] = call.now + AUTHORIZED_SECONDS
    return _put(
        call,
        order,
        method,
        amount_captured=amount if captured else 0,
        captured=captured,
        failure_code=decline.code if decline else None,
        failure_message=decline.message if decline else None,
        outcome=_outcome(call, decline, card.risk),
        paid=paid,
        payment_method_details={"card": details, "type": "card"},
        status="succeeded" if paid else "failed",
    )


def make_debit(call: Call, order: Obj, method: Obj, account: bank_accounts.TestAccount, mandate: str) -> Obj:
    """A new pending charge on a bank account; the bank has not answered yet."""
    kind = account.kind
    shown = {name: value for name, value in method[kind].items() if name in _DEBIT_DETAILS[kind]}
    expected = datetime.fromtimestamp(call.now, UTC) + timedelta(days=1)
    details: Obj = {**shown, "mandate": mandate, "expected_debit_date": expected.date().isoformat()}
    outcome = {**_outcome(call, None), "risk_level": "not_assessed"}
    del outcome["risk_score"]
    if kind == bank_accounts.US:
        details["payment_reference"] = f"{call.sandbox.ids.random.randrange(10**15):015}"
    return _put(
        call,
        order,
        method,
        amount_captured=order["amount"],
        captured=True,
        outcome=outcome,
        paid=False,
        payment_method_details={kind: details, "type": kind},
        status="pending",
    )


def make_transfer(call: Call, order: Obj, method: Obj) -> Obj:
    """A new charge that a bank transfer has paid in full."""
    outcome = {**_outcome(call, None), "risk_level": "not_assessed"}
    del outcome["risk_score"]
    return _put(
        call,
        order,
        method,
        amount_captured=order["amount"],
        captured=True,
        outcome=outcome,
        paid=True,
        payment_method_details={"customer_balance": {}, "type": "customer_balance"},
        status="succeeded",
    )


_DEBIT_DETAILS: Final = {
    bank_accounts.US: frozenset(
        ("account_holder_type", "account_type", "bank_name", "fingerprint", "last4", "routing_number")
    ),
    bank_accounts.SEPA: frozenset(("bank_code", "branch_code", "country", "fingerprint", "last4")),
}


def _put(call: Call, order: Obj, method: Obj, **values: Any) -> Obj:
    ids = call.sandbox.ids
    ident = ids.new("ch" if method["type"] == "card" else "py", of=order["id"]) if order["id"] else ""
    ident = ident or ids.new_payment("ch")
    failed = values["status"] == "failed"
    charge: Obj = {
        **_BLANK,
        **{name: order[name] for name in FROM_INTENT},
        "id": ident,
        "billing_details": method["billing_details"],
        "calculated_statement_descriptor": _descriptor(order),
        "created": call.now,
        "payment_intent": order["id"],
        "payment_method": method["id"],
        **received_by(order),
        **adaptive_pricing.shown(order),
        "receipt_url": None if failed else f"{call.base_url}/receipts/{ident}",
        **values,
    }
    return call.store.put(charge)


def received_by(order: Obj) -> Obj:
    """What a charge shows of the connected account that gets its part."""
    sent = order["transfer_data"]
    if sent is None:
        return {"destination": None, "transfer_data": None}
    return {
        "destination": sent["destination"],
        "transfer_data": {"amount": sent.get("amount"), "destination": sent["destination"]},
    }


def _descriptor(intent: Obj) -> str:
    if intent["statement_descriptor_suffix"]:
        return f"{_DESCRIPTOR}* {intent['statement_descriptor_suffix']}"[:22]
    return str(intent["statement_descriptor"] or _DESCRIPTOR)


def _outcome(call: Call, decline: declines.Decline | None, risk: str = "normal") -> Obj:
    """How the attempt ended, as the network and Radar saw it."""
    if decline is None:
        return {
            "advice_code": None,
            "network_advice_code": None,
            "network_decline_code": None,
            "network_status": "approved_by_network",
            "reason": None,
            "risk_level": risk,
            "risk_score": call.sandbox.ids.random.randint(*((65, 74) if risk == "elevated" else (1, 64))),
            "seller_message": "Payment complete.",
            "type": "authorized",
        }
    return {
        "advice_code": decline.advice_code,
        "network_advice_code": None,
        "network_decline_code": decline.network_decline_code,
        "network_status": "not_sent_to_network" if decline.blocked else "declined_by_network",
        "reason": "highest_risk_level" if decline.blocked else decline.decline_code,
        "risk_level": "highest" if decline.blocked else "normal",
        "risk_score": 95 if decline.blocked else call.sandbox.ids.random.randint(1, 64),
        "seller_message": decline.seller_message,
        "type": "blocked" if decline.blocked else "issuer_declined",
    }


def _card_details(
    call: Call,
    method: Obj,
    card: cards.TestCard,
    amount: int,
    asked: Obj,
    *,
    paid: bool,
    authenticated: bool,
) -> Obj:
    shown = method["card"]
    dice = call.sandbox.ids.random

    def offered(name: str) -> str:
        return "available" if asked.get(name) == "if_available" and paid else "unavailable"

    return {
        "amount_authorized": amount if paid else None,
        "authorization_code": f"{dice.randrange(1_000_000):06}" if paid else None,
        "brand": shown["brand"],
        "checks": shown["checks"],
        "country": shown["country"],
        "exp_month": shown["exp_month"],
        "exp_year": shown["exp_year"],
        "extended_authorization": {"status": "disabled"},
        "fingerprint": shown["fingerprint"],
        "funding": shown["funding"],
        "incremental_authorization": {"status": offered("request_incremental_authorization")},
        "installments": None,
        "last4": shown["last4"],
        "mandate": None,
        "multicapture": {"status": offered("request_multicapture")},
        "network": card.brand,
        "network_token": {"used": False},
        "network_transaction_id": f"{dice.randrange(10**15):015}" if paid else None,
        "overcapture": {"maximum_amount_capturable": amount, "status": "unavailable"},
        "regulated_status": "unregulated",
        "three_d_secure": _three_d_secure(call) if authenticated else None,
        "wallet": None,
    }


def _three_d_secure(call: Call) -> Obj:
    return {
        "authentication_flow": "challenge",
        "electronic_commerce_indicator": "05",
        "exemption_indicator": None,
        "result": "authenticated",
        "result_reason": None,
        "transaction_id": call.sandbox.ids.chars(28),
        "version": "2.2.0",
    }

"""Paying a Checkout Session: by a PaymentIntent, a SetupIntent, an invoice or a subscription."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tallystick.sandbox import (
    adaptive_pricing,
    checkout_collected,
    checkout_completion,
    checkout_items,
    confirmation,
    customers,
    discounts,
    invoice_collection,
    invoice_drafts,
    invoice_finalisation,
    invoice_items,
    invoice_payments,
    invoice_totals,
    payment_intent_creation,
    payment_methods,
    setup_intents,
    subscription_creation,
)
from tallystick.sandbox.checkout_collected import NOTHING, Collected
from tallystick.sandbox.errors import StripeError, refused
from tallystick.sandbox.params import whole_shipping
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj


def pay(call: Call, session: Obj, method_id: str | None, collected: Collected = NOTHING) -> None:
    """Pay with a payment method, as the customer at the page would; a decline is a StripeError (402)."""
    if session["status"] != "open":
        raise refused(f"This Checkout Session has a status of {session['status']}; it cannot be paid.")
    call.store.change(session, **checkout_collected.told(session, collected))
    presented = adaptive_pricing.presented(call, session, collected.presentment_currency)
    if presented is not None:
        call.store.change(session, presentment_details=presented)
    _tell(call, session, collected.email, method_id)
    method = None
    if (
        session["mode"] == "setup"
        or session["amount_total"]
        or session["payment_method_collection"] == "always"
    ):
        if method_id is None:
            raise refused("Missing required param: payment_method.", code="parameter_missing")
        method = payment_methods.materialise(call, method_id)
        if method["type"] not in session["payment_method_types"]:
            raise refused(
                f"The payment method type {method['type']} is not one of this Checkout Session's:"
                f" {', '.join(session['payment_method_types'])}.",
                param="payment_method",
            )
    if session["mode"] == "setup":
        _set_up(call, session, method)
    elif session["mode"] == "subscription":
        _subscribe(call, session, method)
    elif session["amount_total"] == 0:
        checkout_completion.complete(call, session, "no_payment_required")
    elif session["invoice_creation"]["enabled"]:
        _pay_by_invoice(call, session, method)
    else:
        _pay(call, session, method)


def _tell(call: Call, session: Obj, email: str | None, method_id: str | None) -> None:
    """What the page collects of the customer; the customer is made where the session is to have one."""
    method = call.store.get("payment_method", method_id or "")
    billing = {} if method is None else method["billing_details"]
    known = session["customer_details"] or {}
    details: Obj = {
        "address": billing.get("address"),
        "business_name": None,
        "email": email or session["customer_email"] or known.get("email") or billing.get("email"),
        "individual_name": None,
        "name": billing.get("name"),
        "phone": billing.get("phone"),
        "tax_exempt": known.get("tax_exempt") or "none",
        "tax_ids": [],
    }
    call.store.change(session, customer_details=details)
    if session["customer"] is None and session["customer_creation"] == "always":
        given = {name: details[name] for name in ("email", "name") if details[name]}
        customer = customers.create(replace(call, params=given, ids=()))
        call.store.change(session, customer=customer["id"])


def _return_url(call: Call, session: Obj) -> str:
    return f"{call.base_url}/c/pay/{session['id']}"


def _pay(call: Call, session: Obj, method: Obj | None) -> None:
    """Pay by a PaymentIntent of the session's own; a further attempt takes the same."""
    assert method is not None, "Something is to be paid."
    intent = call.store.get("payment_intent", session["payment_intent"] or "")
    if intent is None:
        data = call.store.hidden(session)["params"].get("payment_intent_data", {})
        wanted: dict[str, Any] = {
            **data,
            "amount": session["amount_total"],
            "currency": session["currency"],
            "payment_method_types": list(session["payment_method_types"]),
            "payment_method_options": call.store.hidden(session).get("options"),
        }
        if session["customer"] is not None:
            wanted["customer"] = session["customer"]
        intent = payment_intent_creation.begin(call, wanted)
        call.store.change(session, payment_intent=intent["id"])
        if data.get("shipping"):
            shown = whole_shipping(data["shipping"], full=False) or {}
            kept = {name: shown[name] for name in ("address", "name")}
            call.store.change(
                session, collected_information={**session["collected_information"], "shipping_details": kept}
            )
    confirmation.check_owner(call, method, session["customer"])
    call.store.change(
        intent,
        amount=session["amount_total"],
        payment_method=method["id"],
        status="requires_confirmation",
        next_action=None,
        **adaptive_pricing.shown(session),
    )
    confirmation.confirm(call, intent, confirmation.Attempt(return_url=_return_url(call, session)))


def _set_up(call: Call, session: Obj, method: Obj | None) -> None:
    assert method is not None, "Something is to be set up."
    intent = call.find("setup_intent", session["setup_intent"])
    call.store.change(
        intent,
        customer=session["customer"],
        payment_method=method["id"],
        status="requires_confirmation",
        next_action=None,
    )
    setup_intents.confirm_with(call, intent, {"return_url": _return_url(call, session)})


# By invoice


def _discounts(call: Call, session: Obj, customer: str, **holder: str) -> list[str]:
    sent = call.store.hidden(session)["discounts"]
    return discounts.give(
        call,
        sent,
        customer=customer,
        amount=session["amount_subtotal"],
        currency=session["currency"],
        **holder,
    )


def _pay_by_invoice(call: Call, session: Obj, method: Obj | None) -> None:
    """Pay through an invoice, as ``invoice_creation`` asks for."""
    assert method is not None, "Something is to be paid."
    if session["customer"] is None:
        details = session["customer_details"]
        given = {name: details[name] for name in ("email", "name") if details[name]}
        made = customers.create(replace(call, params=given, ids=()))
        call.store.change(session, customer=made["id"])
    customer = call.find("customer", session["customer"])
    data = session["invoice_creation"]["invoice_data"]
    invoice = invoice_drafts.make(
        call,
        customer,
        session["currency"],
        auto_advance=False,
        metadata=data["metadata"],
        **{name: data[name] for name in ("custom_fields", "description", "footer") if data[name]},
    )
    call.store.change(
        invoice,
        discounts=_discounts(call, session, customer["id"], invoice=invoice["id"]),
        shipping_cost=session["shipping_cost"],
    )
    items = [
        invoice_items.make(call, customer, _item(call, item)) for item in checkout_items.of(call, session)
    ]
    invoice_items.put_on(call, invoice, items)
    invoice_totals.refresh(call, invoice)
    invoice_finalisation.finalise(call, invoice)
    call.store.change(session, invoice=invoice["id"])
    intent = invoice_payments.intent_of(call, invoice)
    if intent is not None:
        call.store.change(session, payment_intent=intent["id"])
    outcome = invoice_collection.attempt(call, invoice, method["id"])
    if outcome.error is not None and outcome.how != "requires_action":
        raise outcome.error


def _item(call: Call, item: Obj) -> invoice_items.NewItem:
    sent = call.store.hidden(item)["sent"]
    price = call.find("price", item["price"]["id"])
    return invoice_items.NewItem(
        amount=item["amount_subtotal"],
        currency=item["currency"],
        period=(call.now, call.now),
        description=item["description"],
        price=price,
        unit_amount_decimal=price["unit_amount_decimal"],
        quantity=item["quantity"],
        tax_rates=sent.get("tax_rates"),
        metadata=sent.get("metadata", {}),
    )


# By subscription


def _subscribe(call: Call, session: Obj, method: Obj | None) -> None:
    """Make the subscription and pay its first invoice; a decline leaves nothing of it."""
    customer = call.find("customer", session["customer"])
    if method is not None and method["customer"] is None:
        payment_methods.attach(call, method, customer["id"])
    data = dict(call.store.hidden(session)["params"].get("subscription_data", {}))
    recurring: list[Obj] = []
    once: list[Obj] = []
    for item in checkout_items.of(call, session):
        sent = call.store.hidden(item)["sent"]
        kept = {name: sent[name] for name in ("metadata", "quantity", "tax_rates") if name in sent}
        kept |= _priced(item, sent)
        (recurring if item["price"]["recurring"] else once).append(kept)
    params: dict[str, Any] = {
        **data,
        "customer": customer["id"],
        "items": recurring,
        "currency": session["currency"],
        "payment_behavior": "allow_incomplete",
        "discounts": call.store.hidden(session)["discounts"],
    }
    if once:
        params["add_invoice_items"] = once
    if method is not None:
        params["default_payment_method"] = method["id"]
    subscription = subscription_creation.create(replace(call, params=params, ids=()))
    call.store.change(session, subscription=subscription["id"], invoice=subscription["latest_invoice"])
    if subscription["status"] in ("active", "trialing"):
        checkout_completion.complete(call, session, "paid")
        return
    intent = intent_of(call, subscription)
    if intent is None or intent["status"] not in ("requires_action", "processing"):
        raise StripeError(
            402, "Your card was declined.", kind="card_error", code="card_declined", stored=True
        )
    if intent["status"] == "processing":
        checkout_completion.complete(call, session, "unpaid")


def _priced(item: Obj, sent: dict[str, Any]) -> dict[str, Any]:
    """What a subscription's item is told of its price; a price made on the spot is made again."""
    if "price" in sent:
        return {"price": sent["price"]}
    data = {name: value for name, value in sent["price_data"].items() if name != "product_data"}
    return {"price_data": {**data, "product": item["price"]["product"]}}


def intent_of(call: Call, subscription: Obj) -> Obj | None:
    invoice = call.store.get("invoice", subscription["latest_invoice"] or "")
    return None if invoice is None else invoice_payments.intent_of(call, invoice)


def action_url(call: Call, session: Obj) -> str | None:
    """Where the customer must go to authenticate, if somewhere."""
    ident = session["payment_intent"] or session["setup_intent"]
    if ident is None and session["subscription"] is not None:
        intent = intent_of(call, call.find("subscription", session["subscription"]))
    else:
        kind = "setup_intent" if session["mode"] == "setup" else "payment_intent"
        intent = call.store.get(kind, ident or "")
    action = (intent or {}).get("next_action")
    if intent is None or action is None:
        return None
    if intent["object"] == "payment_intent" and "redirect_to_url" not in action:
        call.store.hide(intent, return_url=_return_url(call, session))
    url: str = action.get("redirect_to_url", {}).get("url") or action["use_stripe_sdk"]["stripe_js"]
    return url

"""Checkout Sessions: made, read, changed and let run out; how they are paid is in ``checkout_completion``."""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox import checkout_collected, checkout_items, checkout_shipping, setup_intents
from tallystick.sandbox import checkout_shape as shape
from tallystick.sandbox import payment_intent_shape as intents
from tallystick.sandbox import payment_method_options as methods
from tallystick.sandbox.errors import invalid
from tallystick.sandbox.params import merged_metadata
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

TABLES: Final = [
    TableSpec(
        "checkout.session",
        "checkout.session",
        indexes=("payment_intent", "setup_intent", "customer", "subscription"),
    )
]

EXPIRE: Final = "expire_checkout_session"
DAY: Final = 24 * 3600
_SHORTEST: Final = 30 * 60


def create(call: Call) -> Obj:
    """POST /v1/checkout/sessions."""
    params = call.params
    mode = params.get("mode", "payment")
    _check(params, mode)
    expires = _expiry(call, params)
    customer = call.find("customer", params["customer"]) if "customer" in params else None
    session = _new(call, params, mode, customer)
    session["expires_at"] = expires
    hidden: Obj = {"params": {name: params[name] for name in _KEPT if name in params}, "items": []}
    if mode == "setup":
        _prepare_setup(call, session, params)
    else:
        hidden |= _price(call, session, params, customer)
    call.store.put(session, hidden)
    call.at(expires, EXPIRE, session["id"])
    return session


_KEPT: Final = ("payment_intent_data", "subscription_data", "invoice_creation", "setup_intent_data")


def _check(params: dict[str, Any], mode: str) -> None:
    """Raises StripeError (400) for parameters that do not go together."""
    if mode == "setup":
        for name in ("line_items", "discounts", "payment_intent_data", "subscription_data"):
            if name in params:
                raise invalid(f"You can not pass `{name}` in `setup` mode.", param=name)
    elif not params.get("line_items"):
        raise invalid(
            f"Missing required param: line_items. It is needed in `{mode}` mode.",
            param="line_items",
            code="parameter_missing",
        )
    for name, only in (
        ("payment_intent_data", "payment"),
        ("invoice_creation", "payment"),
        ("shipping_options", "payment"),
        ("submit_type", "payment"),
        ("subscription_data", "subscription"),
        ("payment_method_collection", "subscription"),
        ("setup_intent_data", "setup"),
    ):
        if name in params and mode != only:
            raise invalid(f"You can only specify `{name}` in `{only}` mode.", param=name)
    if "customer" in params and "customer_email" in params:
        raise invalid(
            "You may only specify one of these parameters: customer, customer_email.", param="customer_email"
        )
    if params.get("discounts") and params.get("allow_promotion_codes"):
        raise invalid(
            "You may only specify one of these parameters: allow_promotion_codes, discounts.",
            param="discounts",
        )
    if params.get("automatic_tax", {}).get("enabled"):
        raise invalid(
            "The sandbox computes no taxes by itself: send tax_rates with the line items.",
            param="automatic_tax[enabled]",
        )
    _check_urls(params)


def _check_urls(params: dict[str, Any]) -> None:
    hosted = params.get("ui_mode", "hosted_page") == "hosted_page"
    needed = "success_url" if hosted else "return_url"
    optional = not hosted and params.get("redirect_on_completion") == "never"
    if needed not in params and not optional:
        raise invalid(f"Missing required param: {needed}.", param=needed, code="parameter_missing")
    for name in ("return_url", "redirect_on_completion") if hosted else ("success_url", "cancel_url"):
        if name in params:
            raise invalid(f"You can not pass `{name}` with this `ui_mode`.", param=name)


def _expiry(call: Call, params: dict[str, Any]) -> int:
    expires = int(params.get("expires_at", call.now + DAY))
    if expires < call.now + _SHORTEST:
        raise invalid(
            "The `expires_at` timestamp must be at least 30 minutes from Checkout Session creation.",
            param="expires_at",
        )
    if expires > call.now + DAY:
        raise invalid(
            "The `expires_at` timestamp must be less than 24 hours from Checkout Session creation.",
            param="expires_at",
        )
    return expires


def _new(call: Call, params: dict[str, Any], mode: str, customer: Obj | None) -> Obj:
    ids = call.sandbox.ids
    ident = f"cs_test_{mode[0] if mode != 'payment' else 'a'}1{ids.chars(56)}"
    ui_mode = params.get("ui_mode", "hosted_page")
    types = params.get("payment_method_types")
    session: Obj = {
        **shape.BLANK,
        **{name: params[name] for name in shape.AS_SENT if name in params},
        "id": ident,
        "adaptive_pricing": {
            "enabled": mode == "payment" and params.get("adaptive_pricing", {}).get("enabled", True)
        },
        "after_expiration": _recovery(params.get("after_expiration")),
        "created": call.now,
        "currency": params.get("currency"),
        "custom_text": {**shape.BLANK["custom_text"], **params.get("custom_text", {})},
        "customer_creation": _customer_creation(params, mode),
        "customer_details": _details(customer, params.get("customer_email"), mode),
        "metadata": merged_metadata(None, params.get("metadata", {})),
        "mode": mode,
        "payment_method_collection": params.get(
            "payment_method_collection", "if_required" if mode == "payment" else "always"
        ),
        "payment_status": "no_payment_required" if mode == "setup" else "unpaid",
        "payment_method_types": types or ["card"],
        "saved_payment_method_options": _saved(params, mode, customer),
        "shipping_address_collection": params.get("shipping_address_collection"),
        "ui_mode": ui_mode,
        "wallet_options": params.get("wallet_options"),
        **checkout_collected.asked(params),
    }
    if types is None:
        configuration = f"pmc_1{ids.account}{ids.account}"
        session["payment_method_configuration_details"] = {"id": configuration, "parent": None}
        session["payment_method_types"] = methods.offered_types(params.get("currency", "usd"))
    if ui_mode == "hosted_page":
        session["url"] = f"{call.base_url}/c/pay/{ident}"
    else:
        session["client_secret"] = f"{ident}_secret_{ids.chars(24)}"
        session["redirect_on_completion"] = params.get("redirect_on_completion", "always")
        if "return_url" in params:
            session["return_url"] = params["return_url"]
    return session


def _recovery(sent: Obj | None) -> Obj | None:
    recovery = (sent or {}).get("recovery")
    if recovery is None:
        return None
    return {
        "recovery": {
            "allow_promotion_codes": recovery.get("allow_promotion_codes", False),
            "enabled": recovery["enabled"],
            "expires_at": None,
            "url": None,
        }
    }


def _customer_creation(params: dict[str, Any], mode: str) -> str | None:
    if "customer" in params:
        return None
    return str(params.get("customer_creation", "always" if mode == "subscription" else "if_required"))


def _details(customer: Obj | None, email: str | None, mode: str) -> Obj | None:
    """What is known of the customer before the page has asked."""
    if customer is None and email is None:
        return None
    return {
        "address": None,
        "business_name": None,
        "email": email if customer is None else customer["email"],
        "individual_name": None,
        "name": None,
        "phone": None,
        "tax_exempt": None if mode == "setup" else "none" if customer is None else customer["tax_exempt"],
        "tax_ids": None,
    }


def _saved(params: dict[str, Any], mode: str, customer: Obj | None) -> Obj | None:
    if mode == "setup" or (customer is None and "saved_payment_method_options" not in params):
        return None
    sent = params.get("saved_payment_method_options", {})
    return {
        "allow_redisplay_filters": sent.get("allow_redisplay_filters", ["always"]),
        "payment_method_remove": sent.get("payment_method_remove", "disabled"),
        "payment_method_save": sent.get("payment_method_save"),
    }


def _prepare_setup(call: Call, session: Obj, params: dict[str, Any]) -> None:
    data = params.get("setup_intent_data", {})
    wanted = {**data, "automatic_payment_methods": {"enabled": True}}
    if "customer" in params:
        wanted["customer"] = params["customer"]
    intent = setup_intents.make(call, wanted)
    types = params.get("payment_method_types")
    if types:
        call.store.change(intent, payment_method_types=types, automatic_payment_methods=None)
    session["setup_intent"] = intent["id"]
    session["payment_method_types"] = intent["payment_method_types"]
    session["payment_method_options"] = {"card": {"request_three_d_secure": "automatic"}}
    session["discounts"] = None


def _price(call: Call, session: Obj, params: dict[str, Any], customer: Obj | None) -> Obj:
    """Price the lines; returns what is hidden of them."""
    mode = session["mode"]
    lines, code = checkout_items.read(call, params["line_items"], mode, params.get("currency"))
    sent = params.get("discounts", [])
    subtotal = sum(line.subtotal for line in lines)
    ident = None if customer is None else customer["id"]
    coupon = checkout_items.coupon_of(call, sent, ident, code, subtotal)
    checkout_items.discount(lines, coupon, call.store.hidden(coupon) if coupon else {}, code)
    rates = params.get("subscription_data", {}).get("default_tax_rates", [])
    exempt = "none" if customer is None else customer["tax_exempt"]
    ids, sums = checkout_items.store(call, lines, code, rates, exempt)
    types = params.get("payment_method_types") or methods.offered_types(code)
    types = [kind for kind in types if kind not in params.get("excluded_payment_method_types", ())]
    terms = methods.options(types, {}, params.get("payment_method_options"))
    session |= {
        "amount_subtotal": sums.subtotal,
        "amount_total": sums.total,
        "currency": code,
        "discounts": [
            {"coupon": item.get("coupon"), "promotion_code": item.get("promotion_code")} for item in sent
        ],
        "payment_method_options": {
            kind: {name: value for name, value in terms[kind].items() if name in _SHOWN} for kind in types
        },
        "payment_method_types": types,
        "total_details": {"amount_discount": sums.discount, "amount_shipping": 0, "amount_tax": sums.tax},
    }
    if mode == "payment":
        session["invoice_creation"] = _invoice_creation(params.get("invoice_creation"))
        options = checkout_shipping.offered(call, params.get("shipping_options", []), code)
        session |= checkout_shipping.choosing(session, options)
        if session["amount_total"]:
            intents.check_amount(session["amount_total"], code)
    return {"items": ids, "discounts": sent, "options": params.get("payment_method_options")}


_SHOWN: Final = ("request_three_d_secure", "setup_future_usage", "verification_method", "capture_method")


def _invoice_creation(sent: Obj | None) -> Obj:
    data = (sent or {}).get("invoice_data", {})
    return {
        "enabled": (sent or {}).get("enabled", False),
        "invoice_data": {
            "account_tax_ids": None,
            "custom_fields": data.get("custom_fields"),
            "description": data.get("description"),
            "footer": data.get("footer"),
            "issuer": None,
            "metadata": data.get("metadata", {}),
            "rendering_options": data.get("rendering_options"),
        },
    }

"""What ``expand[]`` may name, by kind of object; families add their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tallystick.sandbox import customer_sources
from tallystick.sandbox.lists import embedded
from tallystick.sandbox.state import Sandbox
from tallystick.sandbox.store import Obj

Include = Callable[[Sandbox, Obj], Any]


KIND_BY_PREFIX: Final = {
    "acct": "account",
    "ba": "bank_account",
    "bpc": "billing_portal.configuration",
    "cs": "checkout.session",
    "du": "dispute",
    "fee": "application_fee",
    "fr": "fee_refund",
    "mandate": "mandate",
    "po": "payout",
    "py": "charge",
    "setatt": "setup_attempt",
    "tr": "transfer",
    "trr": "transfer_reversal",
    "tu": "topup",
    "ch": "charge",
    "cus": "customer",
    "pi": "payment_intent",
    "plink": "payment_link",
    "pm": "payment_method",
    "re": "refund",
    "txn": "balance_transaction",
    "cbtxn": "customer_balance_transaction",
    "cn": "credit_note",
    "clock": "test_helpers.test_clock",
    "di": "discount",
    "ii": "invoiceitem",
    "in": "invoice",
    "il": "line_item",
    "inpay": "invoice_payment",
    "price": "price",
    "prod": "product",
    "promo": "promotion_code",
    "seti": "setup_intent",
    "shr": "shipping_rate",
    "si": "subscription_item",
    "sub": "subscription",
    "txi": "tax_id",
    "txr": "tax_rate",
}
KIND_BY_FIELD: Final = {
    "coupon": "coupon",
    "default_price": "price",
    "price": "price",
    "product": "product",
    "schedule": "subscription_schedule",
    "test_clock": "test_helpers.test_clock",
}
"""Fields whose ids need not have a prefix: merchants choose the ids of coupons, products and plans."""

IN_HASHES: Final = frozenset(
    (
        "charge",
        "coupon",
        "default_payment_method",
        "discount",
        "payment_intent",
        "price",
        "refund",
        "shipping_rate",
        "subscription",
        "tax_rate",
    )
)
"""What can be expanded in a hash that is no object itself: ``parent.subscription_details.subscription``."""

EXPANDABLE: Final[dict[str, frozenset[str]]] = {
    "payment_intent": frozenset(
        ("customer", "latest_charge", "payment_method", "application", "on_behalf_of", "review")
    ),
    "charge": frozenset(
        (
            "application",
            "application_fee",
            "balance_transaction",
            "customer",
            "dispute",
            "failure_balance_transaction",
            "on_behalf_of",
            "payment_intent",
            "review",
            "source_transfer",
            "transfer",
        )
    ),
    "refund": frozenset(
        (
            "balance_transaction",
            "charge",
            "customer",
            "failure_balance_transaction",
            "payment_intent",
            "payment_method",
            "source_transfer_reversal",
            "transfer_reversal",
        )
    ),
    "application_fee": frozenset(
        ("account", "application", "balance_transaction", "charge", "originating_transaction")
    ),
    "balance_transaction": frozenset(("source",)),
    "fee_refund": frozenset(("balance_transaction", "fee")),
    "transfer": frozenset(
        ("balance_transaction", "destination", "destination_payment", "source_transaction")
    ),
    "transfer_reversal": frozenset(
        ("balance_transaction", "destination_payment_refund", "source_refund", "transfer")
    ),
    "dispute": frozenset(("charge", "payment_intent")),
    "radar.early_fraud_warning": frozenset(("charge", "payment_intent")),
    "mandate": frozenset(("on_behalf_of", "payment_method")),
    "payout": frozenset(
        (
            "application_fee",
            "balance_transaction",
            "destination",
            "failure_balance_transaction",
            "original_payout",
            "reversed_by",
        )
    ),
    "setup_attempt": frozenset(("application", "customer", "on_behalf_of", "payment_method", "setup_intent")),
    "setup_intent": frozenset(
        (
            "application",
            "customer",
            "latest_attempt",
            "mandate",
            "on_behalf_of",
            "payment_method",
            "single_use_mandate",
        )
    ),
    "topup": frozenset(("balance_transaction",)),
    "payment_method": frozenset(("customer",)),
    "customer": frozenset(("default_source", "test_clock")),
    "product": frozenset(("default_price", "tax_code")),
    "price": frozenset(("product",)),
    "plan": frozenset(("product",)),
    "promotion_code": frozenset(("customer",)),
    "discount": frozenset(("customer", "promotion_code")),
    "tax_id": frozenset(("customer",)),
    "customer_balance_transaction": frozenset(("checkout_session", "credit_note", "customer", "invoice")),
    "invoiceitem": frozenset(("customer", "discounts", "invoice", "test_clock")),
    "line_item": frozenset(("discounts", "subscription")),
    "invoice_payment": frozenset(("invoice",)),
    "invoice": frozenset(
        (
            "account_tax_ids",
            "application",
            "customer",
            "default_payment_method",
            "default_source",
            "discounts",
            "latest_revision",
            "on_behalf_of",
            "test_clock",
        )
    ),
    "credit_note": frozenset(("customer", "customer_balance_transaction", "invoice")),
    "invoice_settings": frozenset(("default_payment_method",)),
}


def _refunds(sandbox: Sandbox, charge: Obj) -> Obj:
    return embedded(sandbox.refunds_of(charge["id"]), f"/v1/charges/{charge['id']}/refunds")


def _customer_tax(sandbox: Sandbox, customer: Obj) -> Obj:
    address = customer["address"] or {}
    located = bool(address.get("country"))
    return {
        "automatic_tax": "not_collecting" if located else "unrecognized_location",
        "ip_address": sandbox.store.hidden(customer).get("ip_address"),
        "location": {
            "country": address["country"],
            "source": "billing_address",
            "state": address.get("state"),
        }
        if located
        else None,
        "provider": "stripe",
    }


def _hidden(name: str, default: Any = None) -> Include:
    """What is kept hidden beside an object until it is asked for."""
    return lambda sandbox, obj: sandbox.store.hidden(obj).get(name, default)


def _currency_options(sandbox: Sandbox, obj: Obj) -> Obj:
    options = dict(sandbox.store.hidden(obj).get("currency_options", {}))
    if obj["object"] == "price":
        names = ("custom_unit_amount", "tax_behavior", "unit_amount", "unit_amount_decimal")
        options[obj["currency"]] = {name: obj[name] for name in names}
    elif obj["currency"]:
        options[obj["currency"]] = {"amount_off": obj["amount_off"]}
    return options


def _sources(sandbox: Sandbox, customer: Obj) -> Obj:
    methods = sandbox.store.tables["payment_method"].having("customer", customer["id"])[::-1]
    cards = [customer_sources.view(method) for method in methods if method["id"].startswith("card_")]
    url = f"/v1/customers/{customer['id']}/sources"
    return embedded(cards, url, counted=False)


def _tax_ids(sandbox: Sandbox, customer: Obj) -> Obj:
    found = sandbox.store.tables["tax_id"].having("customer", customer["id"])[::-1]
    url = f"/v1/customers/{customer['id']}/tax_ids"
    return embedded(found, url, counted=False)


def _payments(sandbox: Sandbox, invoice: Obj) -> Obj:
    found = sandbox.store.tables["invoice_payment"].having("invoice", invoice["id"])
    return embedded(found, "/v1/invoices/payments", counted=False)


def _confirmation_secret(sandbox: Sandbox, invoice: Obj) -> Obj | None:
    for payment in sandbox.store.tables["invoice_payment"].having("invoice", invoice["id"]):
        if payment["is_default"]:
            intent = sandbox.store.get("payment_intent", payment["payment"]["payment_intent"])
            if intent is not None:
                return {"client_secret": intent["client_secret"], "type": "payment_intent"}
    return None


INCLUDABLE: Final[dict[str, dict[str, Include]]] = {
    "charge": {"refunds": _refunds},
    "coupon": {"applies_to": _hidden("applies_to"), "currency_options": _currency_options},
    "invoice": {"confirmation_secret": _confirmation_secret, "payments": _payments},
    "plan": {"tiers": lambda sandbox, plan: _hidden("tiers")(sandbox, {"id": plan["id"]})},
    "price": {"currency_options": _currency_options, "tiers": _hidden("tiers")},
    "customer": {
        "invoice_credit_balance": lambda _sandbox, _customer: {},
        "sources": _sources,
        "tax": _customer_tax,
        "tax_ids": _tax_ids,
    },
}
"""What is in an object only when asked for."""

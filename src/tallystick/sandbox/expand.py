"""``expand[]``: ids replaced by the objects they name, along a path, without touching the stored ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tallystick.sandbox.errors import invalid
from tallystick.sandbox.state import Sandbox
from tallystick.sandbox.store import Obj

Include = Callable[[Sandbox, Obj], Any]

MAX_DEPTH: Final = 4

_KIND_BY_PREFIX: Final = {
    "ch": "charge",
    "cus": "customer",
    "pi": "payment_intent",
    "pm": "payment_method",
    "re": "refund",
    "txn": "balance_transaction",
}


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
    "balance_transaction": frozenset(("source",)),
    "payment_method": frozenset(("customer",)),
    "customer": frozenset(("default_source", "test_clock")),
    "invoice_settings": frozenset(("default_payment_method",)),
}


def _refunds(sandbox: Sandbox, charge: Obj) -> Obj:
    refunds = sandbox.refunds_of(charge["id"])
    return {
        "object": "list",
        "data": refunds[:10],
        "has_more": len(refunds) > 10,
        "total_count": len(refunds),
        "url": f"/v1/charges/{charge['id']}/refunds",
    }


def _customer_tax(_sandbox: Sandbox, customer: Obj) -> Obj:
    address = customer["address"] or {}
    located = bool(address.get("country"))
    return {
        "automatic_tax": "not_collecting" if located else "unrecognized_location",
        "ip_address": None,
        "location": {
            "country": address["country"],
            "source": "billing_address",
            "state": address.get("state"),
        }
        if located
        else None,
        "provider": "stripe",
    }


def _empty_list(path: str) -> Include:
    def include(_sandbox: Sandbox, customer: Obj) -> Obj:
        url = f"/v1/customers/{customer['id']}/{path}"
        return {"object": "list", "data": [], "has_more": False, "total_count": 0, "url": url}

    return include


INCLUDABLE: Final[dict[str, dict[str, Include]]] = {
    "charge": {"refunds": _refunds},
    "customer": {
        "invoice_credit_balance": lambda _sandbox, _customer: {},
        "sources": _empty_list("sources"),
        "subscriptions": _empty_list("subscriptions"),
        "tax": _customer_tax,
        "tax_ids": _empty_list("tax_ids"),
    },
}
"""What is in an object only when asked for."""


def expand(sandbox: Sandbox, obj: Obj, paths: list[str]) -> Obj:
    """``obj`` with every path expanded; raises StripeError (400) for what cannot be."""
    for path in paths:
        steps = path.split(".")
        if len(steps) > MAX_DEPTH + (steps[0] == "data"):
            raise invalid(
                f"You cannot expand more than {MAX_DEPTH} levels of a property. Property: {path}",
                param="expand",
            )
        obj = _along(sandbox, obj, steps, path)
    return obj


def _along(sandbox: Sandbox, obj: Obj, steps: list[str], path: str) -> Obj:
    name, rest = steps[0], steps[1:]
    if obj.get("object") == "list" and name == "data":
        items = [_along(sandbox, item, rest, path) for item in obj["data"]] if rest else obj["data"]
        return {**obj, "data": items}
    value = _value(sandbox, obj, name, path)
    if isinstance(value, dict) and rest:
        value = _along(sandbox, value, rest, path)
    return {**obj, name: value}


def _value(sandbox: Sandbox, obj: Obj, name: str, path: str) -> Any:
    """What ``name`` expands to; an object that is expanded already stays as it is."""
    kind = obj.get("object", "invoice_settings" if "rendering_options" in obj else "")
    value = obj.get(name)
    include = INCLUDABLE.get(kind, {}).get(name)
    if include is not None:
        return value if isinstance(value, dict) else include(sandbox, obj)
    if name in EXPANDABLE.get(kind, ()):
        return _object(sandbox, value) if isinstance(value, str) else value
    if isinstance(value, dict) and "." in path:
        return value
    if obj.get("deleted"):
        return value
    raise invalid(f"This property cannot be expanded ({path}).", param="expand")


def _object(sandbox: Sandbox, ident: str) -> Obj | str:
    kind = _KIND_BY_PREFIX.get(ident.partition("_")[0])
    if kind is None:
        return ident
    return sandbox.store.get(kind, ident) or sandbox.store.gone(kind, ident) or ident

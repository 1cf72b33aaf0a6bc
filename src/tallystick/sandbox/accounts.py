"""Connected accounts, as far as money can be sent to them: they are verified as soon as they are made.

Their own books are not kept: no balance, no payments, no external accounts, and no calls in their name.
"""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox import account as own
from tallystick.sandbox.errors import StripeError, invalid, refused
from tallystick.sandbox.lists import page
from tallystick.sandbox.params import (
    ADDRESS,
    Check,
    Params,
    boolean,
    clearable,
    created,
    currency,
    integer,
    listing,
    merged_metadata,
    metadata,
    one_of,
    text,
)
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

TABLES: Final = [TableSpec("account", "account")]

_URL: Final = "/v1/accounts"

_CONTROLLERS: Final[dict[str, Obj]] = {
    "standard": {
        "fees": {"payer": "account"},
        "losses": {"payments": "stripe"},
        "requirement_collection": "stripe",
        "stripe_dashboard": {"type": "full"},
    },
    "express": {
        "fees": {"payer": "application_express"},
        "losses": {"payments": "application"},
        "requirement_collection": "stripe",
        "stripe_dashboard": {"type": "express"},
    },
    "custom": {
        "fees": {"payer": "application_custom"},
        "losses": {"payments": "application"},
        "requirement_collection": "application",
        "stripe_dashboard": {"type": "none"},
    },
}
_UNASKED: Final = ("card_payments", "transfers")
"""The capabilities of a standard account that asks for none."""


def create(call: Call) -> Obj:
    """POST /v1/accounts."""
    params = call.params
    if "controller" in params and "type" in params:
        raise invalid("You may only specify one of these parameters: controller, type.", param="controller")
    kind = "none" if "controller" in params else params.get("type", "standard")
    controller = {**_CONTROLLERS["standard" if kind == "none" else kind], **params.get("controller", {})}
    capabilities = _capabilities({}, params.get("capabilities", {}))
    if kind in ("none", "standard") and "capabilities" not in params:
        capabilities = dict.fromkeys(_UNASKED, "active")
    made = own.shape(
        call,
        f"acct_1{call.sandbox.ids.chars(15)}",
        business_profile=own.profile(**params.get("business_profile", {})),
        business_type=params.get("business_type"),
        capabilities=capabilities,
        charges_enabled="card_payments" in capabilities,
        controller={**controller, "is_controller": True, "type": "application"},
        country=params.get("country", "US"),
        created=call.now,
        default_currency=params.get("default_currency", call.sandbox.settings.default_currency),
        email=params.get("email"),
        metadata=merged_metadata(None, params.get("metadata", {})),
        tos_acceptance={**_NO_TERMS, **params.get("tos_acceptance", {})},
        type=kind,
    )
    return call.store.put(made)


_NO_TERMS: Final = {"date": None, "ip": None, "user_agent": None}


def _capabilities(before: Obj, sent: dict[str, Any]) -> Obj:
    """Every capability that is asked for is active at once."""
    asked = {name: "active" for name, value in sent.items() if value.get("requested")}
    dropped = {name for name, value in sent.items() if value.get("requested") is False}
    return {name: status for name, status in {**before, **asked}.items() if name not in dropped}


def find(call: Call) -> Obj:
    """The connected account in the path; raises StripeError (403), as Stripe does, where there is none."""
    found = call.store.get("account", call.ids[0])
    if found is None:
        raise StripeError(
            403,
            f"The provided key 'sk_test_***' does not have access to account '{call.ids[0]}' (or that account"
            " does not exist). Application access may have been revoked.",
            code="account_invalid",
        )
    return found


def retrieve(call: Call) -> Obj:
    """GET /v1/accounts/{id}, the account's own as well."""
    return own.retrieve(call) if call.ids[0] == call.sandbox.account_id else find(call)


def update(call: Call) -> Obj:
    """POST /v1/accounts/{id}."""
    if call.ids[0] == call.sandbox.account_id:
        raise refused("The account's own settings are changed through POST /_control/settings.")
    account, values = find(call), dict(call.params)
    for name in ("business_profile", "tos_acceptance"):
        if name in values:
            values[name] = {**account[name], **values[name]}
    if "capabilities" in values:
        values["capabilities"] = _capabilities(account["capabilities"], values["capabilities"])
        values["charges_enabled"] = "card_payments" in values["capabilities"]
    if "metadata" in values:
        values["metadata"] = merged_metadata(account["metadata"], values["metadata"])
    previous = call.store.change(account, **values)
    if previous:
        call.emit("account.updated", account, previous, account=account["id"])
    return account


def delete(call: Call) -> Obj:
    """DELETE /v1/accounts/{id}."""
    account = find(call)
    call.store.remove(account)
    return {"id": account["id"], "object": "account", "deleted": True}


def list_all(call: Call) -> Obj:
    """GET /v1/accounts."""
    return page(call, "account", _URL)


def _requested(value: Any, name: str) -> dict[str, Any]:
    """Capabilities by name: which there are, the spec says."""
    if not isinstance(value, dict):
        raise invalid("Invalid object", param=name)
    check = Params({"requested": boolean})
    return {each: check(sent, f"{name}[{each}]") for each, sent in value.items()}


_SHARED: Final[dict[str, Check]] = {
    "business_profile": Params(
        {
            "estimated_worker_count": integer,
            "mcc": text(4),
            "name": text(),
            "product_description": text(40000),
            "support_address": ADDRESS,
            "support_email": text(),
            "support_phone": text(),
            "support_url": clearable(text()),
            "url": text(),
        }
    ),
    "business_type": one_of("company", "government_entity", "individual", "non_profit"),
    "capabilities": _requested,
    "default_currency": currency,
    "email": text(),
    "metadata": metadata,
    "tos_acceptance": Params(
        {"date": integer, "ip": text(), "service_agreement": text(), "user_agent": text()}
    ),
}
_CREATE: Final = Params(
    {
        **_SHARED,
        "controller": Params(
            {
                "fees": Params({"payer": one_of("account", "application")}),
                "losses": Params({"payments": one_of("application", "stripe")}),
                "requirement_collection": one_of("application", "stripe"),
                "stripe_dashboard": Params({"type": one_of("express", "full", "none")}),
            }
        ),
        "country": text(2),
        "type": one_of("custom", "express", "standard"),
    }
)

ROUTES: Final = [
    Route("POST", _URL, create, _CREATE),
    Route("GET", _URL, list_all, listing(created=created)),
    Route("GET", f"{_URL}/{{}}", retrieve),
    Route("POST", f"{_URL}/{{}}", update, Params(_SHARED)),
    Route("DELETE", f"{_URL}/{{}}", delete),
]

"""Promotion codes: what a customer types to redeem a coupon.

``promotion`` is Stripe's parameter since clover (2025-09-30); before, ``coupon`` stood in its place.
"""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox.errors import StripeError, invalid, refused
from tallystick.sandbox.lists import page
from tallystick.sandbox.numbers import at_least
from tallystick.sandbox.params import (
    Params,
    boolean,
    created,
    currency,
    integer,
    listing,
    merged_metadata,
    metadata,
    one_of,
    text,
)
from tallystick.sandbox.price_shape import by_currency
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec
from tallystick.sandbox.versions import CLOVER

TABLES: Final = [TableSpec("promotion_code", "promotion code", indexes=("code",))]

EXPIRE: Final = "expire_promotion_code"

_OPTIONS: Final = by_currency(Params({"minimum_amount": at_least(0)}))
_RESTRICTIONS: Final = Params(
    {
        "currency_options": _OPTIONS,
        "first_time_transaction": boolean,
        "minimum_amount": at_least(1),
        "minimum_amount_currency": currency,
    }
)
_PROMOTION: Final = Params({"coupon": text(), "type": one_of("coupon")}, required=("type",))


def _coupon(call: Call, params: dict[str, Any]) -> Obj:
    """The coupon that the code stands for, from the parameter that the version knows."""
    if "coupon" in params:
        if call.versioned and call.since(CLOVER):
            raise invalid("Received unknown parameter: coupon", param="coupon", code="parameter_unknown")
        return call.find("coupon", params["coupon"], param="coupon")
    promotion = params.get("promotion")
    if promotion is None:
        raise invalid("Missing required param: promotion.", param="promotion", code="parameter_missing")
    if "coupon" not in promotion:
        raise invalid(
            "Missing required param: promotion[coupon].",
            param="promotion[coupon]",
            code="parameter_missing",
        )
    return call.find("coupon", promotion["coupon"], param="promotion[coupon]")


def _active(call: Call, code: str, but: Obj | None = None) -> Obj | None:
    """The code as typed, in either case, if it is active."""
    for promotion in call.store.tables["promotion_code"].rows.values():
        if promotion is not but and promotion["active"] and promotion["code"].lower() == code.lower():
            return promotion
    return None


def create(call: Call) -> Obj:
    """POST /v1/promotion_codes."""
    params = call.params
    coupon = _coupon(call, params)
    if not coupon["valid"]:
        raise refused("The coupon is no longer valid.", param="promotion[coupon]")
    code = params.get("code") or call.sandbox.ids.chars(8).upper()
    if not code.replace("-", "").isalnum() or not code.isascii():
        raise invalid("A promotion code may only contain letters, digits and dashes.", param="code")
    active = params.get("active", True)
    if active and _active(call, code) is not None:
        raise refused(f"An active promotion code with `code: {code}` already exists.", param="code")
    sent = params.get("restrictions", {})
    if ("minimum_amount" in sent) != ("minimum_amount_currency" in sent):
        raise invalid(
            "minimum_amount and minimum_amount_currency must be set together.",
            param="restrictions[minimum_amount]",
        )
    if params.get("customer"):
        call.find("customer", params["customer"])
    promotion: Obj = {
        "id": call.sandbox.ids.new("promo"),
        "object": "promotion_code",
        "active": active,
        "code": code,
        "created": call.now,
        "customer": params.get("customer"),
        "customer_account": None,
        "expires_at": params.get("expires_at", coupon["redeem_by"]),
        "livemode": False,
        "max_redemptions": params.get("max_redemptions"),
        "metadata": merged_metadata(None, params.get("metadata", {})),
        "promotion": {"coupon": coupon["id"], "type": "coupon"},
        "restrictions": {
            "first_time_transaction": sent.get("first_time_transaction", False),
            "minimum_amount": sent.get("minimum_amount"),
            "minimum_amount_currency": sent.get("minimum_amount_currency"),
        },
        "times_redeemed": 0,
    }
    call.store.put(promotion, {"currency_options": sent.get("currency_options", {})})
    if promotion["expires_at"] is not None:
        call.at(promotion["expires_at"], EXPIRE, promotion["id"])
    call.emit("promotion_code.created", promotion)
    return promotion


def check(call: Call, promotion: Obj, customer: str, amount: int | None, code: str) -> None:
    """400 where this customer may not redeem the code on ``amount`` minor units of currency ``code``.

    No amount: it is not known yet, so no minimum is held against it.
    """
    limits = promotion["restrictions"]
    if not promotion["active"]:
        raise _not_redeemable("This promotion code is no longer active.", "promotion_code_expired")
    if promotion["customer"] not in (None, customer):
        raise _not_redeemable("This promotion code cannot be used by this customer.")
    least, least_code = limits["minimum_amount"], limits["minimum_amount_currency"]
    if least_code != code:
        option = call.store.hidden(promotion)["currency_options"].get(code, {})
        least = option.get("minimum_amount", least if least_code is None else None)
    if least is not None and amount is not None and amount < least:
        raise _not_redeemable("This promotion code needs a larger amount.")
    if limits["first_time_transaction"] and _has_paid(call, customer):
        raise _not_redeemable("This promotion code is for first-time customers only.")


def _not_redeemable(message: str, code: str | None = None) -> StripeError:
    return refused(message, code=code, param="discounts[0][promotion_code]")


def _has_paid(call: Call, customer: str) -> bool:
    return any(charge["paid"] for charge in call.store.tables["charge"].having("customer", customer))


def redeem(call: Call, promotion: Obj) -> None:
    """Count a redemption of the code; past the last one it is active no more."""
    times, most = promotion["times_redeemed"] + 1, promotion["max_redemptions"]
    active = promotion["active"] and (most is None or times < most)
    call.store.change(promotion, times_redeemed=times, active=active)


def end_with(call: Call, coupon: Obj) -> None:
    """A coupon is valid no more: a code is only active as long as its coupon is valid."""
    for promotion in list(call.store.tables["promotion_code"].rows.values()):
        if promotion["promotion"]["coupon"] == coupon["id"]:
            _deactivate(call, promotion)


def expire(call: Call, promotion_id: str) -> None:
    """Timer: ``expires_at`` has come."""
    _deactivate(call, call.find("promotion_code", promotion_id))


def _deactivate(call: Call, promotion: Obj) -> None:
    previous = call.store.change(promotion, active=False)
    if previous:
        call.emit("promotion_code.updated", promotion, previous)


ACTIONS: Final = {EXPIRE: expire}


def retrieve(call: Call) -> Obj:
    """GET /v1/promotion_codes/{id}."""
    return call.find("promotion_code")


def update(call: Call) -> Obj:
    """POST /v1/promotion_codes/{id}: active, metadata and currency options only."""
    promotion, values = call.find("promotion_code"), dict(call.params)
    if "metadata" in values:
        values["metadata"] = merged_metadata(promotion["metadata"], values["metadata"])
    if "restrictions" in values:
        sent = values.pop("restrictions").get("currency_options", {})
        old = call.store.hidden(promotion)["currency_options"]
        call.store.hide(promotion, currency_options={**old, **sent})
    if values.get("active") and not promotion["active"]:
        if not call.find("coupon", promotion["promotion"]["coupon"])["valid"]:
            raise refused("The coupon of this promotion code is no longer valid.", param="active")
        if _active(call, promotion["code"], promotion) is not None:
            raise refused(
                f"An active promotion code with `code: {promotion['code']}` already exists.", param="active"
            )
    previous = call.store.change(promotion, **values)
    if previous:
        call.emit("promotion_code.updated", promotion, previous)
    return promotion


def list_all(call: Call) -> Obj:
    """GET /v1/promotion_codes."""
    wanted, code = call.params.get("coupon"), call.params.get("code")
    return page(
        call,
        "promotion_code",
        "/v1/promotion_codes",
        matches=lambda item: (
            (wanted is None or item["promotion"]["coupon"] == wanted)
            and (code is None or item["code"].lower() == code.lower())
        ),
        ignore=("coupon", "code"),
    )


ROUTES: Final = [
    Route(
        "POST",
        "/v1/promotion_codes",
        create,
        Params(
            {
                "active": boolean,
                "code": text(500),
                "coupon": text(),
                "customer": text(),
                "expires_at": integer,
                "max_redemptions": at_least(1),
                "metadata": metadata,
                "promotion": _PROMOTION,
                "restrictions": _RESTRICTIONS,
            }
        ),
    ),
    Route(
        "GET",
        "/v1/promotion_codes",
        list_all,
        listing(active=boolean, code=text(), coupon=text(), created=created, customer=text()),
    ),
    Route("GET", "/v1/promotion_codes/{}", retrieve),
    Route(
        "POST",
        "/v1/promotion_codes/{}",
        update,
        Params(
            {
                "active": boolean,
                "metadata": metadata,
                "restrictions": Params({"currency_options": _OPTIONS}),
            }
        ),
    ),
]

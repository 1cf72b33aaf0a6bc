"""The terms of a subscription from a call's parameters: trial, anchor, periods, discounts, payment.

Everything here checks and computes; what is stored and billed is in ``subscriptions``,
``subscription_changes`` and ``subscription_billing``.
"""

from __future__ import annotations

from typing import Any

from tallystick.sandbox import discounts, periods
from tallystick.sandbox.errors import StripeError, invalid, refused
from tallystick.sandbox.params import merged_metadata
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj
from tallystick.sandbox.subscription_items import interval, tax_rates
from tallystick.sandbox.versions import CLOVER

DAY = 86_400
_LONGEST_TRIAL_DAYS = 730


def past(name: str) -> StripeError:
    """400: a time that must lie in the future does not."""
    return invalid("Invalid timestamp: must be an integer Unix timestamp in the future.", param=name)


def billing_mode(call: Call) -> Obj:
    """Flexible unless told otherwise, since clover; classic before."""
    sent = call.params.get("billing_mode") or {"type": "flexible" if call.since(CLOVER) else "classic"}
    if sent["type"] == "classic":
        return {"flexible": None, "type": "classic"}
    mode = sent.get("flexible", {}).get("proration_discounts", "included")
    return {"flexible": {"proration_discounts": mode}, "type": "flexible", "updated_at": call.now}


def trial_end(call: Call, prices: list[Obj]) -> int | None:
    """When the trial that the parameters ask for ends; None without one."""
    params = call.params
    if "trial_period_days" in params and "trial_end" in params:
        raise invalid(
            "You may only specify one of these parameters: trial_period_days, trial_end.", param="trial_end"
        )
    if "trial_period_days" in params:
        if params["trial_period_days"] > _LONGEST_TRIAL_DAYS:
            raise invalid("Invalid trial_period_days: must be at most 730.", param="trial_period_days")
        return call.now + int(params["trial_period_days"]) * DAY
    if "trial_end" in params:
        return later_trial_end(call, params["trial_end"])
    if params.get("trial_from_plan"):
        days = max((call.store.hidden(price).get("trial_period_days") or 0 for price in prices), default=0)
        return call.now + days * DAY if days else None
    return None


def later_trial_end(call: Call, sent: int | str) -> int | None:
    """A trial's end as sent, checked; None for ``now``."""
    if sent == "now":
        return None
    moment = int(sent)
    if moment <= call.now:
        raise past("trial_end")
    if moment > periods.add(call.now, "year", 5):
        raise invalid("Invalid timestamp: can be no more than five years in the future.", param="trial_end")
    return moment


def anchor(call: Call, prices: list[Obj], trial_ends: int | None) -> int:
    """The billing cycle anchor of a new subscription."""
    params, base = call.params, trial_ends or call.now
    if "billing_cycle_anchor" in params and "billing_cycle_anchor_config" in params:
        raise invalid(
            "You may only specify one of these parameters: billing_cycle_anchor,"
            " billing_cycle_anchor_config.",
            param="billing_cycle_anchor",
        )
    shortest = min((interval(price) for price in prices), key=lambda pair: periods.length(*pair))
    if "billing_cycle_anchor_config" in params:
        sent = params["billing_cycle_anchor_config"]
        return periods.aligned(
            base,
            *shortest,
            day=sent["day_of_month"],
            month=sent.get("month"),
            clock=(sent.get("hour"), sent.get("minute"), sent.get("second")),
        )
    if "billing_cycle_anchor" not in params:
        return base
    moment = int(params["billing_cycle_anchor"])
    if moment <= call.now:
        raise past("billing_cycle_anchor")
    latest = periods.add(base, *shortest)
    if moment > latest:
        raise invalid(
            f"billing_cycle_anchor cannot be later than next natural billing date ({latest}) for plan",
            param="billing_cycle_anchor",
        )
    return moment


def discount_params(params: dict[str, Any]) -> list[dict[str, Any]] | None:
    """``discounts``, or what older versions called ``coupon`` and ``promotion_code``, as a list."""
    if "discounts" in params:
        return list(params["discounts"] or [])
    for name in ("coupon", "promotion_code"):
        if name in params:
            return [{name: params[name]}] if params[name] else []
    return None


def give_discounts(call: Call, subscription: Obj, sent: list[dict[str, Any]]) -> list[str]:
    """The discounts of a subscription as sent; those that it has already are kept as they are."""
    kept = {item["discount"]: True for item in sent if item.get("discount") in set(subscription["discounts"])}
    given = []
    for item in sent:
        if item.get("discount") in kept:
            given.append(item["discount"])
        else:
            given += discounts.give(
                call,
                [item],
                customer=subscription["customer"],
                currency=subscription["currency"],
                subscription=subscription["id"],
            )
    return given


def discounts_of(call: Call, subscription: Obj) -> list[str]:
    """The discounts that a subscription's invoices take: its own, else its customer's."""
    own: list[str] = subscription["discounts"]
    customer = call.store.get("customer", subscription["customer"]) or {}
    if own or not customer.get("discount"):
        return own
    return [customer["discount"]["id"]]


def payment_method(call: Call, customer: Obj, ident: str | None) -> str | None:
    """A default payment method, which must be the customer's."""
    if ident is None:
        return None
    method = call.find("payment_method", ident, param="default_payment_method")
    if method["customer"] != customer["id"]:
        raise refused(
            f"The customer does not have a payment method with the ID {ident}. The payment method must be"
            " attached to the customer.",
            code="resource_missing",
            param="default_payment_method",
        )
    return str(method["id"])


def paying_method(call: Call, subscription: Obj) -> str | None:
    """What a subscription is paid with: its own default, or its customer's."""
    own = subscription["default_payment_method"]
    if own is not None:
        return str(own)
    customer = call.find("customer", subscription["customer"])
    default: str | None = customer["invoice_settings"]["default_payment_method"]
    return default


def without_method() -> StripeError:
    """400: nobody can be charged."""
    return refused(
        "This customer has no attached payment source or default payment method. Please consider adding a"
        " default payment method. For more information, visit"
        " https://stripe.com/docs/billing/subscriptions/payment-methods-setting#payment-method-priority.",
        code="resource_missing",
    )


def simple(call: Call, subscription: Obj, customer: Obj) -> Obj:
    """The fields that are taken as sent, checked and in their full shape."""
    params = call.params
    values: Obj = {
        name: params[name]
        for name in ("collection_method", "days_until_due", "description", "invoice_settings")
        if name in params
    }
    if "metadata" in params:
        values["metadata"] = merged_metadata(subscription["metadata"], params["metadata"])
    if "default_payment_method" in params:
        values["default_payment_method"] = payment_method(call, customer, params["default_payment_method"])
    if "default_tax_rates" in params:
        values["default_tax_rates"] = tax_rates(call, params["default_tax_rates"], "default_tax_rates")
    if "invoice_settings" in params:
        values["invoice_settings"] = {**subscription["invoice_settings"], **params["invoice_settings"]}
    if "payment_settings" in params:
        values["payment_settings"] = {**subscription["payment_settings"], **params["payment_settings"]}
    if "trial_settings" in params:
        values["trial_settings"] = params["trial_settings"]
    after = {**subscription, **values}
    if after["collection_method"] == "send_invoice":
        if after["days_until_due"] is None:
            raise invalid(
                "You must pass `days_until_due` when `collection_method` is set to `send_invoice`.",
                param="days_until_due",
            )
    elif "days_until_due" in params:
        raise invalid(
            "You can only pass `days_until_due` if `collection_method` is set to `send_invoice`.",
            param="days_until_due",
        )
    else:
        values["days_until_due"] = None
    return values


def ending(call: Call, subscription: Obj) -> Obj:
    """What ``cancel_at`` and ``cancel_at_period_end`` make of a subscription."""
    params = call.params
    if "cancel_at" in params and params.get("cancel_at_period_end"):
        raise invalid(
            "You may only specify one of these parameters: cancel_at, cancel_at_period_end.",
            param="cancel_at",
        )
    ends = [item["current_period_end"] for item in subscription["items"]["data"]]
    details = subscription["cancellation_details"]
    if params.get("cancel_at_period_end"):
        moment: Any = max(ends)
    elif "cancel_at" in params:
        words = {"max_period_end": max(ends), "min_period_end": min(ends)}
        moment = words.get(params["cancel_at"], params["cancel_at"])
        if moment is not None and moment <= call.now:
            raise past("cancel_at")
    elif "cancel_at_period_end" in params:
        if not subscription["cancel_at_period_end"]:
            return {}
        moment = None
    else:
        return {}
    if moment is None:
        reason = {**details, "reason": None}
        return {
            "cancel_at": None,
            "cancel_at_period_end": False,
            "canceled_at": None,
            "cancellation_details": reason,
        }
    return {
        "cancel_at": moment,
        "cancel_at_period_end": bool(params.get("cancel_at_period_end")),
        "canceled_at": call.now,
        "cancellation_details": {**details, "reason": "cancellation_requested"},
    }

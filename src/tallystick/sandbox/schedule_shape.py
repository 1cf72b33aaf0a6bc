"""What subscription schedules look like, what their calls take, and how phases follow one another."""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox import periods
from tallystick.sandbox import subscription_shape as shape
from tallystick.sandbox.errors import invalid, unknown_parameter
from tallystick.sandbox.numbers import at_least
from tallystick.sandbox.params import (
    Check,
    Params,
    boolean,
    clearable,
    created,
    currency,
    exactly_one,
    integer,
    list_of,
    listing,
    merged_metadata,
    metadata,
    one_of,
    text,
)
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj
from tallystick.sandbox.subscription_items import interval, price_of, tax_rates
from tallystick.sandbox.versions import CLOVER

_UNSUPPORTED: Final = shape.CREATE.fields["on_behalf_of"]
_INVOICE_SETTINGS: Final = Params({**shape.INVOICE_SETTINGS.fields, "days_until_due": at_least(0)})
_COMMON: Final[dict[str, Check]] = {
    "application_fee_percent": _UNSUPPORTED,
    "automatic_tax": shape.CREATE.fields["automatic_tax"],
    "billing_cycle_anchor": one_of("automatic", "phase_start"),
    "billing_thresholds": shape.CREATE.fields["billing_thresholds"],
    "collection_method": one_of("charge_automatically", "send_invoice"),
    "default_payment_method": clearable(text()),
    "description": clearable(text(500)),
    "invoice_settings": _INVOICE_SETTINGS,
    "on_behalf_of": _UNSUPPORTED,
    "transfer_data": _UNSUPPORTED,
}


def _start(value: Any, name: str) -> int | str:
    return "now" if value == "now" else integer(value, name)


PHASES: Final = list_of(
    Params(
        {
            **_COMMON,
            "add_invoice_items": shape.ADDED,
            "currency": currency,
            "default_tax_rates": clearable(list_of(text())),
            "discounts": shape.DISCOUNTS,
            "duration": Params(
                {"interval": one_of(*periods.INTERVALS), "interval_count": at_least(1)},
                required=("interval",),
            ),
            "end_date": _start,
            "items": shape.ITEMS,
            "iterations": at_least(1),
            "metadata": metadata,
            "proration_behavior": shape.PRORATION,
            "start_date": _start,
            "trial": boolean,
            "trial_end": _start,
        },
        required=("items",),
    )
)
_END: Final = one_of("cancel", "release")
CREATE: Final = Params(
    {
        "billing_mode": shape.BILLING_MODE,
        "customer": text(),
        "customer_account": _UNSUPPORTED,
        "default_settings": Params(_COMMON),
        "end_behavior": _END,
        "from_subscription": text(),
        "metadata": metadata,
        "phases": PHASES,
        "start_date": _start,
    }
)
UPDATE: Final = Params(
    {
        "default_settings": Params(_COMMON),
        "end_behavior": _END,
        "metadata": metadata,
        "phases": PHASES,
        "proration_behavior": shape.PRORATION,
    }
)
LIST: Final = listing(
    canceled_at=created,
    completed_at=created,
    created=created,
    customer=text(),
    released_at=created,
    scheduled=boolean,
)

DEFAULTS: Final[Obj] = {
    "application_fee_percent": None,
    "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
    "billing_cycle_anchor": "automatic",
    "billing_thresholds": None,
    "collection_method": "charge_automatically",
    "default_payment_method": None,
    "description": None,
    "invoice_settings": {"account_tax_ids": None, "days_until_due": None, "issuer": {"type": "self"}},
    "on_behalf_of": None,
    "transfer_data": None,
}


def settings(old: Obj, sent: dict[str, Any]) -> Obj:
    """Default settings with what was sent."""
    merged = {**old, **{name: sent[name] for name in sent if name != "automatic_tax"}}
    if "invoice_settings" in sent:
        merged["invoice_settings"] = {**old["invoice_settings"], **sent["invoice_settings"]}
    return merged


def phases(call: Call, sent: list[dict[str, Any]], start: int) -> list[Obj]:
    """The phases as the API shows them, one beginning where the one before ends."""
    if not sent:
        raise invalid("Missing required param: phases.", param="phases", code="parameter_missing")
    found = []
    for index, phase in enumerate(sent):
        name = f"phases[{index}]"
        moment = phase.get("start_date", start)
        begins = call.now if moment == "now" else int(moment)
        if index and begins != start:
            raise invalid(
                "The start date of a phase must be the end date of the one before.",
                param=f"{name}[start_date]",
            )
        found.append(_phase(call, phase, begins, name))
        start = found[-1]["end_date"]
    return found


def _phase(call: Call, sent: dict[str, Any], start: int, name: str) -> Obj:
    prices = []
    for index, item in enumerate(sent["items"]):
        price = price_of(call, item, f"{name}[items][{index}]")
        if price is None:
            raise invalid(
                f"Missing required param: {name}[items][{index}][price].",
                param=f"{name}[items][{index}][price]",
                code="parameter_missing",
            )
        prices.append(price)
    if not prices:
        raise invalid("A phase must have at least one item.", param=f"{name}[items]")
    end = _end(call, sent, start, prices[0], name)
    trial = sent.get("trial_end", end if sent.get("trial") else None)
    return {
        "add_invoice_items": [_added(item) for item in sent.get("add_invoice_items", ())],
        "application_fee_percent": None,
        "billing_cycle_anchor": sent.get("billing_cycle_anchor"),
        "billing_thresholds": None,
        "collection_method": sent.get("collection_method"),
        "currency": sent.get("currency") or prices[0]["currency"],
        "default_payment_method": sent.get("default_payment_method"),
        "default_tax_rates": tax_rates(call, sent.get("default_tax_rates"), f"{name}[default_tax_rates]"),
        "description": sent.get("description"),
        "discounts": [_discount(item) for item in sent.get("discounts") or ()],
        "end_date": end,
        "invoice_settings": _invoice_settings(sent.get("invoice_settings")),
        "items": [_item(call, item, price) for item, price in zip(sent["items"], prices, strict=True)],
        "metadata": merged_metadata(None, sent.get("metadata", {})),
        "on_behalf_of": None,
        "proration_behavior": sent.get("proration_behavior", "create_prorations"),
        "start_date": start,
        "transfer_data": None,
        "trial_end": call.now if trial == "now" else trial,
    }


def _invoice_settings(sent: dict[str, Any] | None) -> Obj | None:
    if sent is None:
        return None
    return {"account_tax_ids": None, "days_until_due": None, "issuer": None, **sent}


def _end(call: Call, sent: dict[str, Any], start: int, price: Obj, name: str) -> int:
    if "iterations" in sent and call.versioned and call.since(CLOVER):
        raise unknown_parameter(f"{name}[iterations]")
    given = [key for key in ("end_date", "duration", "iterations") if key in sent]
    if not given:
        unit, count = interval(price)
        return periods.add(start, unit, count)
    key = exactly_one(sent, "end_date", "duration", "iterations")
    if key == "iterations":
        unit, count = interval(price)
        return periods.add(start, unit, count * int(sent["iterations"]))
    if key == "duration":
        return periods.add(start, sent["duration"]["interval"], sent["duration"].get("interval_count", 1))
    end = call.now if sent["end_date"] == "now" else int(sent["end_date"])
    if end <= start:
        raise invalid("The end date of a phase must be after its start date.", param=f"{name}[end_date]")
    return end


def _item(call: Call, sent: dict[str, Any], price: Obj) -> Obj:
    shown: Obj = {
        "billing_thresholds": None,
        "discounts": [_discount(item) for item in sent.get("discounts") or ()],
        "metadata": merged_metadata(None, sent.get("metadata", {})),
        "price": price["id"],
        "tax_rates": tax_rates(call, sent.get("tax_rates"), "tax_rates"),
    }
    if price["recurring"]["usage_type"] == "licensed":
        shown["quantity"] = sent.get("quantity", 1)
    return shown


def _discount(sent: dict[str, Any]) -> Obj:
    return {name: sent.get(name) for name in ("coupon", "discount", "promotion_code")}


def _added(sent: dict[str, Any]) -> Obj:
    if "price" not in sent:
        raise invalid(
            "The sandbox takes add_invoice_items of a phase by `price` only.", param="add_invoice_items"
        )
    period = sent.get("period") or {"end": {"type": "phase_end"}, "start": {"type": "phase_start"}}
    return {
        "discounts": [_discount(item) for item in sent.get("discounts") or ()],
        "metadata": sent.get("metadata", {}),
        "period": period,
        "price": sent["price"],
        "quantity": sent.get("quantity", 1),
        "tax_rates": [],
    }

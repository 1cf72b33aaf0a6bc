"""What a Payment Link looks like."""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox import checkout_collected
from tallystick.sandbox.params import merged_metadata
from tallystick.sandbox.store import Obj

BLANK: Final[Obj] = {
    "id": None,
    "object": "payment_link",
    "active": True,
    "after_completion": {"hosted_confirmation": {"custom_message": None}, "type": "hosted_confirmation"},
    "allow_promotion_codes": False,
    "application": None,
    "application_fee_amount": None,
    "application_fee_percent": None,
    "automatic_tax": {"enabled": False, "liability": None},
    "billing_address_collection": "auto",
    "consent_collection": None,
    "currency": None,
    "custom_fields": [],
    "custom_text": {
        "after_submit": None,
        "shipping_address": None,
        "submit": None,
        "terms_of_service_acceptance": None,
    },
    "customer_creation": "if_required",
    "inactive_message": None,
    "invoice_creation": None,
    "livemode": False,
    "metadata": {},
    "on_behalf_of": None,
    "optional_items": None,
    "payment_intent_data": None,
    "payment_method_collection": "always",
    "payment_method_types": None,
    "phone_number_collection": {"enabled": False},
    "restrictions": None,
    "shipping_address_collection": None,
    "shipping_options": [],
    "submit_type": "auto",
    "subscription_data": None,
    "tax_id_collection": {"enabled": False, "required": "never"},
    "transfer_data": None,
    "url": None,
}
_AS_SENT: Final = (
    "active",
    "allow_promotion_codes",
    "application_fee_amount",
    "billing_address_collection",
    "customer_creation",
    "inactive_message",
    "on_behalf_of",
    "payment_method_collection",
    "payment_method_types",
    "phone_number_collection",
    "shipping_address_collection",
    "submit_type",
)
_INTENT: Final[Obj] = {
    "capture_method": None,
    "description": None,
    "metadata": {},
    "setup_future_usage": None,
    "statement_descriptor": None,
    "statement_descriptor_suffix": None,
    "transfer_group": None,
}
_SUBSCRIPTION: Final[Obj] = {
    "description": None,
    "invoice_settings": {"issuer": {"type": "self"}},
    "metadata": {},
    "trial_period_days": None,
    "trial_settings": None,
}


def values_of(params: dict[str, Any], link: Obj) -> Obj:
    """What parameters make of a link's fields: of a new one over ``BLANK``, or of one that is changed."""
    values: Obj = {name: params[name] for name in _AS_SENT if name in params}
    if "after_completion" in params:
        values["after_completion"] = _after(params["after_completion"])
    if "custom_fields" in params:
        asked = checkout_collected.asked({"custom_fields": params["custom_fields"] or []})
        values["custom_fields"] = [_unanswered(field) for field in asked["custom_fields"]]
    if "consent_collection" in params:
        asked = checkout_collected.asked({"consent_collection": params["consent_collection"]})
        values["consent_collection"] = asked["consent_collection"]
    if "custom_text" in params:
        values["custom_text"] = {**link["custom_text"], **params["custom_text"]}
    if "metadata" in params:
        values["metadata"] = merged_metadata(link["metadata"], params["metadata"])
    if "invoice_creation" in params:
        values["invoice_creation"] = _invoices(params["invoice_creation"])
    for name, blank in (("payment_intent_data", _INTENT), ("subscription_data", _SUBSCRIPTION)):
        if name in params:
            sent = {key: {} if key == "metadata" and not it else it for key, it in params[name].items()}
            values[name] = {**(link[name] or blank), **sent}
    if "restrictions" in params:
        values["restrictions"] = _restricted(params["restrictions"], link)
    if "tax_id_collection" in params:
        values["tax_id_collection"] = {"required": "never", **params["tax_id_collection"]}
    if "transfer_data" in params:
        sent = params["transfer_data"]
        values["transfer_data"] = sent and {"amount": sent.get("amount"), "destination": sent["destination"]}
    return values


def _unanswered(field: Obj) -> Obj:
    """A field as a link shows it: only a session has a value for it."""
    terms = {name: value for name, value in field[field["type"]].items() if name != "value"}
    return {**field, field["type"]: terms}


def _after(sent: Obj) -> Obj:
    if sent["type"] == "redirect":
        return {"redirect": sent.get("redirect", {"url": ""}), "type": "redirect"}
    message = sent.get("hosted_confirmation", {}).get("custom_message")
    return {"hosted_confirmation": {"custom_message": message}, "type": "hosted_confirmation"}


def _invoices(sent: Obj) -> Obj:
    data = sent.get("invoice_data", {})
    return {
        "enabled": sent["enabled"],
        "invoice_data": {
            "account_tax_ids": None,
            "custom_fields": data.get("custom_fields"),
            "description": data.get("description"),
            "footer": data.get("footer"),
            "issuer": {"type": "self"},
            "metadata": data.get("metadata", {}),
            "rendering_options": data.get("rendering_options"),
        },
    }


def _restricted(sent: Obj | None, link: Obj) -> Obj | None:
    if not sent:
        return None
    count = ((link["restrictions"] or {}).get("completed_sessions") or {}).get("count", 0)
    return {"completed_sessions": {"count": count, "limit": sent["completed_sessions"]["limit"]}}

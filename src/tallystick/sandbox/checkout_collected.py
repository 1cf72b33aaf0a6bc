"""What a Checkout Session's page asks beside the payment: fields of the merchant's own, consent, shipping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from tallystick.sandbox import checkout_shipping
from tallystick.sandbox.errors import invalid
from tallystick.sandbox.numbers import at_least
from tallystick.sandbox.params import Params, boolean, list_of, one_of, text
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj

_MOST: Final = 3
_TYPED: Final = Params(
    {"default_value": text(255), "maximum_length": at_least(1), "minimum_length": at_least(1)}
)
FIELDS: Final = list_of(
    Params(
        {
            "dropdown": Params(
                {
                    "default_value": text(100),
                    "options": list_of(
                        Params({"label": text(100), "value": text(100)}, required=("label", "value"))
                    ),
                },
                required=("options",),
            ),
            "key": text(200),
            "label": Params({"custom": text(50), "type": one_of("custom")}, required=("custom", "type")),
            "numeric": _TYPED,
            "optional": boolean,
            "text": _TYPED,
            "type": one_of("dropdown", "numeric", "text"),
        },
        required=("key", "label", "type"),
    )
)
CONSENT: Final = Params(
    {
        "payment_method_reuse_agreement": Params(
            {"position": one_of("auto", "hidden")}, required=("position",)
        ),
        "promotions": one_of("auto", "none"),
        "terms_of_service": one_of("none", "required"),
    }
)
TAX_IDS: Final = Params(
    {"enabled": boolean, "required": one_of("if_supported", "never")}, required=("enabled",)
)


@dataclass(frozen=True, slots=True)
class Collected:
    """What the customer has entered. ``fields``: by key; None: nobody was asked, and they are made up."""

    email: str | None = None
    shipping_rate: str | None = None
    fields: dict[str, str] | None = None
    presentment_currency: str | None = None
    """What the customer pays in, by adaptive pricing; None: what the session is in."""


NOTHING: Final = Collected()


def asked(params: dict[str, Any]) -> Obj:
    """What a new session shows of what its page is to ask; raises StripeError (400)."""
    shown: Obj = {"custom_fields": _fields(params.get("custom_fields", []))}
    if "consent_collection" in params:
        names = ("payment_method_reuse_agreement", "promotions", "terms_of_service")
        shown["consent_collection"] = {name: params["consent_collection"].get(name) for name in names}
    if "tax_id_collection" in params:
        shown["tax_id_collection"] = {"required": "never", **params["tax_id_collection"]}
    return shown


def _fields(sent: list[dict[str, Any]]) -> list[Obj]:
    if len(sent) > _MOST:
        raise invalid(f"You can pass at most {_MOST} custom fields.", param="custom_fields")
    keys = [field["key"] for field in sent]
    shown = []
    for index, field in enumerate(sent):
        name, kind = f"custom_fields[{index}]", field["type"]
        if not field["key"].isalnum() or keys.count(field["key"]) > 1:
            raise invalid("Keys are alphanumeric, and each its own.", param=f"{name}[key]")
        if kind == "dropdown" and kind not in field:
            param = f"{name}[dropdown]"
            raise invalid(f"Missing required param: {param}.", param=param, code="parameter_missing")
        blank = {"default_value": None, "value": None}
        if kind != "dropdown":
            blank |= {"maximum_length": None, "minimum_length": None}
        shown.append(
            {
                "key": field["key"],
                "label": field["label"],
                "optional": field.get("optional", False),
                "type": kind,
                kind: {**blank, **field.get(kind, {})},
            }
        )
    return shown


def told(session: Obj, collected: Collected) -> Obj:
    """What becomes of a session by what was entered; raises StripeError (400) for what does not fit."""
    values: Obj = {"custom_fields": [_filled(field, collected.fields) for field in session["custom_fields"]]}
    consent = session["consent_collection"]
    if consent is not None:
        accepted = "accepted" if consent["terms_of_service"] == "required" else None
        values["consent"] = {"promotions": None, "terms_of_service": accepted}
    if collected.shipping_rate is not None:
        options = session["shipping_options"]
        values |= checkout_shipping.choosing(session, options, collected.shipping_rate)
    return values


def _filled(field: Obj, entered: dict[str, str] | None) -> Obj:
    kind, terms = field["type"], field[field["type"]]
    value = terms["default_value"] if entered is None else entered.get(field["key"]) or None
    if value is None and entered is None and not field["optional"]:
        value = _made_up(kind, terms)
    if value is None and not field["optional"]:
        raise invalid(f"{field['label']['custom']} is required.", param=field["key"])
    if value is not None and not _fits(kind, terms, value):
        raise invalid(f"{field['label']['custom']}: {value} does not fit.", param=field["key"])
    return {**field, kind: {**terms, "value": value}}


def _made_up(kind: str, terms: Obj) -> str:
    if kind == "dropdown":
        return str(terms["options"][0]["value"])
    return ("1" if kind == "numeric" else "x") * (terms["minimum_length"] or 1)


def _fits(kind: str, terms: Obj, value: str) -> bool:
    if kind == "dropdown":
        return any(option["value"] == value for option in terms["options"])
    if kind == "numeric" and not value.isdecimal():
        return False
    return (terms["minimum_length"] or 0) <= len(value) <= (terms["maximum_length"] or 255)


def update_shipping(call: Call, session: Obj, sent: list[dict[str, Any]]) -> Obj:
    """What becomes of a session that is to offer other ways to ship."""
    if session["mode"] != "payment":
        raise invalid("You can only specify `shipping_options` in `payment` mode.", param="shipping_options")
    return checkout_shipping.choosing(session, checkout_shipping.offered(call, sent, session["currency"]))

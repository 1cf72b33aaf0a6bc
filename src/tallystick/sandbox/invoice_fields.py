"""An invoice's own fields, as the parameters of create and update make them."""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox import invoice_params
from tallystick.sandbox.errors import invalid, refused
from tallystick.sandbox.invoice_shape import RENDERING
from tallystick.sandbox.params import merged_metadata, whole_shipping
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj

_PLAIN: Final = (
    "auto_advance",
    "collection_method",
    "custom_fields",
    "default_source",
    "description",
    "due_date",
    "effective_at",
    "footer",
    "number",
    "statement_descriptor",
)


def values_of(call: Call, params: dict[str, Any], invoice: Obj | None, customer: Obj) -> Obj:
    """The invoice's fields as parameters make them; discounts and tax rates are the caller's."""
    old: Obj = invoice or {}
    values: Obj = {name: params[name] for name in _PLAIN if name in params}
    _check_due(call, params, {**old, **values})
    if "metadata" in params:
        values["metadata"] = merged_metadata(old.get("metadata"), params["metadata"])
    if params.get("default_payment_method"):
        method = call.find("payment_method", params["default_payment_method"])
        if method["customer"] != customer["id"]:
            raise refused(
                f"The customer does not have a payment method with the ID {method['id']}. The payment method"
                " must be attached to the customer.",
                code="resource_missing",
                param="default_payment_method",
            )
    if "default_payment_method" in params:
        values["default_payment_method"] = params["default_payment_method"]
    if "automatic_tax" in params:
        values["automatic_tax"] = invoice_params.automatic_tax(params["automatic_tax"], customer)
    if "issuer" in params:
        values["issuer"] = params["issuer"]
    if "payment_settings" in params:
        sent = params["payment_settings"]
        held = old.get("payment_settings") or dict.fromkeys(invoice_params.PAYMENT_SETTINGS.fields)
        values["payment_settings"] = {**held, **sent}
    if "rendering" in params:
        values["rendering"] = {**(old.get("rendering") or RENDERING), **params["rendering"]}
    if "shipping_details" in params:
        values["shipping_details"] = whole_shipping(params["shipping_details"], full=False)
    if "shipping_cost" in params:
        values["shipping_cost"] = _shipping(params["shipping_cost"])
    if "account_tax_ids" in params:
        values["account_tax_ids"] = [
            call.find("tax_id", ident, param="account_tax_ids")["id"]
            for ident in params["account_tax_ids"] or []
        ] or None
    return values


def _check_due(call: Call, params: dict[str, Any], after: Obj) -> None:
    """Days until due and due dates are for invoices that are sent; those need one of them."""
    sent = after.get("collection_method", "charge_automatically") == "send_invoice"
    for name in ("days_until_due", "due_date"):
        if params.get(name) is not None and not sent:
            raise invalid(f"`{name}` can only be set if `collection_method` is `send_invoice`.", param=name)
    if "days_until_due" in params and "due_date" in params:
        raise invalid(
            "You may only specify one of these parameters: days_until_due, due_date.", param="due_date"
        )
    if params.get("due_date") is not None and params["due_date"] < call.now:
        raise invalid("The due date must be in the future.", param="due_date")
    if params.get("automatically_finalizes_at") is not None and not after.get("auto_advance"):
        raise invalid(
            "`automatically_finalizes_at` can only be set if `auto_advance` is true.",
            param="automatically_finalizes_at",
        )
    new = params.get("collection_method") == "send_invoice"
    if new and "days_until_due" not in params and after.get("due_date") is None and "id" not in after:
        raise invalid(
            "If invoice `collection_method` is set to `send_invoice`, either `days_until_due` or `due_date`"
            " needs to be set.",
            param="days_until_due",
        )


def _shipping(sent: Obj | None) -> Obj | None:
    if not sent:
        return None
    fixed = sent.get("shipping_rate_data", {}).get("fixed_amount")
    if fixed is None:
        raise invalid("Missing required param: shipping_cost[shipping_rate_data][fixed_amount].",
                      param="shipping_cost", code="parameter_missing")  # fmt: skip
    amount = fixed["amount"]
    return {"amount_subtotal": amount, "amount_tax": 0, "amount_total": amount, "shipping_rate": None}

"""What a credit note looks like, and what its calls take."""

from __future__ import annotations

from typing import Final

from tallystick.sandbox import credit_note_amounts as amounts
from tallystick.sandbox import item_params, taxes
from tallystick.sandbox.numbers import at_least, decimal_of
from tallystick.sandbox.params import (
    Check,
    Params,
    clearable,
    integer,
    list_of,
    merged_metadata,
    metadata,
    one_of,
    text,
)
from tallystick.sandbox.refusals import unsupported
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj

_TAX_AMOUNTS: Final = clearable(
    list_of(
        Params(
            {"amount": integer, "tax_rate": text(), "taxable_amount": integer},
            required=("amount", "tax_rate", "taxable_amount"),
        )
    )
)
_LINE: Final = Params(
    {
        "amount": at_least(1),
        "description": text(),
        "invoice_line_item": text(),
        "metadata": metadata,
        "quantity": at_least(1),
        "tax_amounts": _TAX_AMOUNTS,
        "tax_rates": item_params.TAX_RATES,
        "type": one_of("custom_line_item", "invoice_line_item"),
        "unit_amount": at_least(0),
        "unit_amount_decimal": decimal_of,
    },
    required=("type",),
)
_RECORDS: Final = unsupported("it has no payment records")
FIELDS: Final[dict[str, Check]] = {
    "amount": at_least(1),
    "credit_amount": at_least(0),
    "effective_at": integer,
    "email_type": one_of("credit_note", "none"),
    "invoice": text(),
    "lines": list_of(_LINE),
    "memo": text(),
    "metadata": metadata,
    "out_of_band_amount": at_least(0),
    "reason": one_of("duplicate", "fraudulent", "order_change", "product_unsatisfactory"),
    "refund_amount": at_least(0),
    "refunds": list_of(
        Params(
            {
                "amount_refunded": at_least(1),
                "payment_record_refund": _RECORDS,
                "refund": text(),
                "type": one_of("payment_record_refund", "refund"),
            }
        )
    ),
    "shipping_cost": unsupported("it credits shipping through custom lines"),
}
CREATE: Final = Params(FIELDS, required=("invoice",))


def note_of(call: Call, invoice: Obj, draft: amounts.Draft) -> Obj:
    """The note as it would be; nothing has happened yet."""
    params = call.params
    ident = call.sandbox.ids.new("cn")
    taken = [{"amount": amount, "discount": discount} for discount, amount in draft.discounts.items()]
    number = len(call.store.tables["credit_note"].having("invoice", invoice["id"])) + 1
    inside, on_top = taxes.inclusive(draft.taxes), taxes.exclusive(draft.taxes)
    base = call.base_url or call.store.hidden(invoice).get("base_url", "")
    before, after = draft.pre_payment > 0, draft.post_payment > 0
    return {
        "id": ident,
        "object": "credit_note",
        "amount": draft.total,
        "amount_shipping": 0,
        "created": call.now,
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "customer_account": None,
        "customer_balance_transaction": None,
        "discount_amount": sum(draft.discounts.values()),
        "discount_amounts": taken,
        "effective_at": params.get("effective_at", call.now),
        "invoice": invoice["id"],
        "lines": {
            "object": "list",
            "data": draft.lines[:10],
            "has_more": len(draft.lines) > 10,
            "url": f"/v1/credit_notes/{ident}/lines",
        },
        "livemode": False,
        "memo": params.get("memo"),
        "metadata": merged_metadata(None, params.get("metadata", {})),
        "number": f"{invoice['number']}-CN-{number:02}",
        "out_of_band_amount": params.get("out_of_band_amount"),
        "pdf": f"{base}/credit_notes/{call.sandbox.account_id}/{ident}/pdf",
        "post_payment_amount": draft.post_payment,
        "pre_payment_amount": draft.pre_payment,
        "pretax_credit_amounts": [{**item, "type": "discount"} for item in taken],
        "reason": params.get("reason"),
        "refunds": [],
        "shipping_cost": None,
        "status": "issued",
        "subtotal": draft.subtotal,
        "subtotal_excluding_tax": draft.subtotal - inside,
        "total": draft.total,
        "total_excluding_tax": draft.total - on_top - inside,
        "total_taxes": taxes.totals(draft.taxes),
        "type": "mixed" if before and after else "post_payment" if after else "pre_payment",
        "voided_at": None,
    }

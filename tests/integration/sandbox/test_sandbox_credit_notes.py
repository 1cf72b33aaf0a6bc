"""Credit notes before and after payment, over the official SDK."""

from __future__ import annotations

from typing import Any

import pytest
import stripe
from tests.integration.sandbox.support import Sdk
from tests.integration.sandbox.test_sandbox_invoices import customer_with, drafted, types_since


async def opened(sdk: Sdk, customer: str, **fields: Any) -> Any:
    return await sdk("invoices.finalize_invoice", (await drafted(sdk, customer, **fields)).id)


async def test_before_payment(sdk: Sdk) -> None:
    rate = await sdk("tax_rates.create", {"display_name": "VAT", "percentage": 19, "inclusive": False})
    coupon = await sdk("coupons.create", {"percent_off": 10})
    customer = await customer_with(sdk)
    invoice = await opened(sdk, customer, default_tax_rates=[rate.id], discounts=[{"coupon": coupon.id}])
    assert (invoice.total, invoice.amount_due) == (2142, 2142)
    line = {"type": "invoice_line_item", "invoice_line_item": invoice.lines.data[0].id, "amount": 500}
    seen = await sdk("credit_notes.preview", {"invoice": invoice.id, "lines": [line]})
    note = await sdk("credit_notes.create", {"invoice": invoice.id, "lines": [line], "memo": "Sorry"})
    assert seen.total == note.total == 536  # 500 − 50, and 19 % on 450 = 85.5, rounded up
    assert (note.subtotal, note.discount_amount, note.total_taxes[0].amount) == (500, 50, 86)
    assert (note.type, note.pre_payment_amount, note.post_payment_amount) == ("pre_payment", 536, 0)
    reduced = await sdk("invoices.retrieve", invoice.id, {"expand": ["payments.data.payment.payment_intent"]})
    assert (reduced.amount_due, reduced.pre_payment_credit_notes_amount) == (1606, 536)
    payment = reduced.payments.data[0]
    assert payment.amount_requested == payment.payment.payment_intent.amount == 1606
    void = await sdk("credit_notes.void_credit_note", note.id)
    assert (void.status, void.number) == ("void", f"{invoice.number}-CN-01")
    assert (await sdk("invoices.retrieve", invoice.id)).amount_remaining == 2142
    whole = await sdk("credit_notes.create", {"invoice": invoice.id, "amount": 2142})
    assert len((await sdk("credit_notes.line_items.list", whole.id)).data) == 1
    closed = await sdk("invoices.retrieve", invoice.id)
    assert (closed.status, closed.amount_paid, closed.amount_due) == ("paid", 0, 0)
    events = await types_since(sdk, "invoice.finalized")
    assert [kind for kind in events if kind.startswith("credit_note")] == [
        "credit_note.created",
        "credit_note.voided",
        "credit_note.created",
    ]
    with pytest.raises(stripe.InvalidRequestError, match="open invoice"):
        await sdk("credit_notes.void_credit_note", whole.id)


async def test_after_payment(sdk: Sdk) -> None:
    customer = await customer_with(sdk)
    invoice = await sdk("invoices.pay", (await opened(sdk, customer)).id)
    with pytest.raises(stripe.InvalidRequestError, match="must equal"):
        await sdk("credit_notes.create", {"invoice": invoice.id, "amount": 1000})
    parts = {"refund_amount": 600, "credit_amount": 300, "out_of_band_amount": 100}
    note = await sdk("credit_notes.create", {"invoice": invoice.id, "amount": 1000, **parts})
    assert (note.type, note.out_of_band_amount, note.post_payment_amount) == ("post_payment", 100, 1000)
    refund = await sdk("refunds.retrieve", note.refunds[0].refund)
    assert (refund.amount, refund.status) == (600, "succeeded")
    assert (await sdk("customers.retrieve", customer)).balance == -300
    shown = await sdk("credit_notes.retrieve", note.id, {"expand": ["customer_balance_transaction"]})
    assert shown.customer_balance_transaction.credit_note == note.id
    invoice = await sdk("invoices.retrieve", invoice.id)
    assert (invoice.post_payment_credit_notes_amount, invoice.amount_paid) == (1000, 2000)
    alone = await sdk("refunds.create", {"payment_intent": refund.payment_intent, "amount": 250})
    linked = {"invoice": invoice.id, "amount": 250, "refunds": [{"refund": alone.id}]}
    note = await sdk("credit_notes.create", linked)
    assert [(item.refund, item.amount_refunded) for item in note.refunds] == [(alone.id, 250)]
    changed = await sdk("credit_notes.update", note.id, {"memo": "Broken", "metadata": {"a": "b"}})
    assert changed.memo == "Broken"
    assert len((await sdk("credit_notes.list", {"invoice": invoice.id})).data) == 2
    with pytest.raises(stripe.InvalidRequestError, match="greater than what can be credited"):
        await sdk("credit_notes.create", {"invoice": invoice.id, "amount": 751, "credit_amount": 751})


async def test_partly_paid(sdk: Sdk) -> None:
    customer = await customer_with(sdk)
    invoice = await opened(sdk, customer)
    method = (await sdk("payment_methods.list", {"customer": customer})).data[0].id
    paying = {"amount": 1500, "currency": "usd", "customer": customer, "payment_method": method}
    never = {"enabled": True, "allow_redirects": "never"}
    part = await sdk(
        "payment_intents.create", {**paying, "confirm": True, "automatic_payment_methods": never}
    )
    await sdk("invoices.attach_payment", invoice.id, {"payment_intent": part.id})
    custom = {"type": "custom_line_item", "unit_amount": 350, "quantity": 2, "description": "Late"}
    note = await sdk("credit_notes.create", {"invoice": invoice.id, "lines": [custom], "refund_amount": 200})
    assert (note.type, note.pre_payment_amount, note.post_payment_amount) == ("mixed", 500, 200)
    invoice = await sdk("invoices.retrieve", invoice.id)
    assert (invoice.status, invoice.amount_due, invoice.amount_paid) == ("paid", 1500, 1500)
    assert invoice.amount_remaining == 0

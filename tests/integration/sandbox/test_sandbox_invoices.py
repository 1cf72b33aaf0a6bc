"""Invoices through their life, over the official SDK: amounts exact, events in Stripe's order."""

from __future__ import annotations

from typing import Any

import pytest
import stripe
from tests.integration.sandbox.support import Raw, Sdk

PAYING = [
    "payment_intent.created",
    "charge.succeeded",
    "payment_intent.succeeded",
    "invoice.paid",
    "invoice.payment_succeeded",
    "invoice_payment.paid",
]


async def customer_with(sdk: Sdk, card: str | None = "pm_card_visa", **fields: Any) -> str:
    """A customer, with a card as the default payment method."""
    paying = {"payment_method": card, "invoice_settings": {"default_payment_method": card}} if card else {}
    made = await sdk("customers.create", {"email": "ada@example.com", "name": "Ada", **paying, **fields})
    return str(made.id)


async def drafted(sdk: Sdk, customer: str, amount: int = 2000, **fields: Any) -> Any:
    """A draft over one item."""
    await sdk("invoice_items.create", {"customer": customer, "amount": amount, "currency": "usd"})
    include = {"customer": customer, "pending_invoice_items_behavior": "include"}
    return await sdk("invoices.create", {**include, **fields})


async def types_since(sdk: Sdk, kind: str) -> list[str]:
    """The events since the newest of ``kind``, that one first."""
    events = [event.type for event in (await sdk("events.list", {"limit": 100})).data]
    return events[: events.index(kind) + 1][::-1]


async def test_from_draft_to_paid(sdk: Sdk) -> None:
    customer = await customer_with(sdk)
    invoice = await drafted(sdk, customer)
    assert (invoice.status, invoice.amount_due, invoice.number) == ("draft", 2000, None)
    invoice = await sdk("invoices.finalize_invoice", invoice.id)
    assert (invoice.status, invoice.attempted, invoice.number[-5:]) == ("open", False, "-0001")
    paid = await sdk("invoices.pay", invoice.id, {"expand": ["payments", "confirmation_secret"]})
    assert (paid.status, paid.amount_paid, paid.amount_remaining, paid.attempt_count) == ("paid", 2000, 0, 1)
    payment = paid.payments.data[0]
    assert (payment.status, payment.amount_paid, payment.is_default) == ("paid", 2000, True)
    intent = await sdk("payment_intents.retrieve", payment.payment.payment_intent)
    assert paid.confirmation_secret.client_secret == intent.client_secret
    assert await types_since(sdk, "invoice.created") == ["invoice.created", "invoice.finalized", *PAYING]
    wanted = {"payment": {"type": "payment_intent", "payment_intent": intent.id}, "status": "paid"}
    assert (await sdk("invoice_payments.list", wanted)).data[0].invoice == invoice.id
    assert (await sdk("invoice_payments.retrieve", payment.id)).id == payment.id
    with pytest.raises(stripe.InvalidRequestError, match="already paid"):
        await sdk("invoices.pay", invoice.id)
    with pytest.raises(stripe.InvalidRequestError, match="status of paid"):
        await sdk("invoices.void_invoice", invoice.id)


async def test_discounts_then_taxes_to_the_cent(sdk: Sdk) -> None:
    customer = await customer_with(sdk)
    on_top = await sdk("tax_rates.create", {"display_name": "A", "percentage": 19, "inclusive": False})
    inside = await sdk("tax_rates.create", {"display_name": "B", "percentage": 7, "inclusive": True})
    coupon = await sdk("coupons.create", {"amount_off": 100, "currency": "usd"})
    invoice = await sdk(
        "invoices.create",
        {
            "customer": customer,
            "currency": "usd",
            "default_tax_rates": [on_top.id],
            "discounts": [{"coupon": coupon.id}],
        },
    )
    lines = [
        {"amount": 43, "description": "small"},
        {"amount": 484, "description": "large"},
        {"amount": 1000, "description": "inclusive", "tax_rates": [inside.id]},
        {"amount": -200, "description": "credit"},
    ]
    invoice = await sdk("invoices.add_lines", invoice.id, {"lines": lines})
    off = [sum(item.amount for item in line.discount_amounts) for line in invoice.lines.data]
    assert off == [3, 32, 65, 0]  # 100 over 43, 484 and 1000, by largest remainder
    taxes = [[tax.amount for tax in line.taxes] for line in invoice.lines.data]
    assert taxes == [[8], [86], [61], [-38]]  # 40×.19=7.6; 452×.19=85.88; 935−935/1.07=61.17
    assert (invoice.subtotal, invoice.total) == (1327, 1327 - 100 + 56)
    assert invoice.total_excluding_tax == 1283 - 56 - 61
    assert invoice.subtotal_excluding_tax == 1327 - 65  # 1000 − 1000/1.07 = 65.42
    assert [(tax.amount, tax.taxable_amount) for tax in invoice.total_taxes] == [(56, 292), (61, 874)]
    assert invoice.total_discount_amounts[0].amount == 100
    half = await sdk("invoices.update", invoice.id, {"discounts": "", "default_tax_rates": ""})
    assert (half.total, half.total_discount_amounts) == (1327, [])
    line = half.lines.data[0]
    by_hand = {
        "amount": 9,
        "taxable_amount": 43,
        "tax_rate_data": {"display_name": "Own", "percentage": 20, "inclusive": False},
    }
    await sdk("invoices.line_items.update", invoice.id, line.id, {"tax_amounts": [by_hand]})
    assert (await sdk("invoices.retrieve", invoice.id)).total == 1336
    removed = [{"id": line.id, "behavior": "unassign"}]
    after = await sdk("invoices.remove_lines", invoice.id, {"lines": removed})
    assert after.total == 1284
    assert len((await sdk("invoice_items.list", {"customer": customer, "pending": True})).data) == 1
    assert len((await sdk("invoices.line_items.list", invoice.id, {"limit": 2})).data) == 2
    exempt = await sdk("customers.update", customer, {"tax_exempt": "exempt"})
    assert exempt.tax_exempt == "exempt"
    done = await sdk("invoices.finalize_invoice", invoice.id)
    assert done.total_taxes[0].taxability_reason == "customer_exempt"


async def test_prices_quantities_and_periods(sdk: Sdk) -> None:
    customer = await customer_with(sdk)
    product = await sdk(
        "products.create",
        {"name": "Bolt", "default_price_data": {"currency": "usd", "unit_amount_decimal": "0.5"}},
    )
    item = await sdk(
        "invoice_items.create",
        {
            "customer": customer,
            "pricing": {"price": product.default_price},
            "quantity": 333,
            "period": {"start": 1, "end": 9},
        },
    )
    assert (item.amount, item.description, item.period.end) == (167, "Bolt", 9)
    item = await sdk("invoice_items.update", item.id, {"quantity": 4, "metadata": {"a": "b"}})
    assert item.amount == 2
    monthly = await sdk(
        "prices.create",
        {"currency": "usd", "unit_amount": 1, "recurring": {"interval": "day"}, "product": product.id},
    )
    with pytest.raises(stripe.InvalidRequestError, match="type=one_time"):
        await sdk("invoice_items.create", {"customer": customer, "pricing": {"price": monthly.id}})
    draft = await drafted(sdk, customer, 500)
    assert [line.amount for line in draft.lines.data] == [2, 500]
    assert (await sdk("invoice_items.delete", item.id)).deleted
    assert (await sdk("invoices.retrieve", draft.id)).total == 500
    assert (await sdk("invoices.delete", draft.id)).deleted
    waiting = await sdk("invoice_items.list", {"customer": customer, "pending": True})
    assert [left.amount for left in waiting.data] == [500]
    shown = await sdk(
        "invoices.create_preview",
        {"customer": customer, "invoice_items": [{"amount": 70, "currency": "usd"}]},
    )
    assert (shown.total, shown.id.startswith("upcoming_in_")) == (570, True)
    assert len((await sdk("invoice_items.list", {"customer": customer})).data) == 1
    assert not (await sdk("invoices.list", {"customer": customer})).data


async def test_the_balance_is_used_carried_and_given_back(sdk: Sdk) -> None:
    customer = await customer_with(sdk, balance=-300)
    invoice = await drafted(sdk, customer)
    assert (invoice.starting_balance, invoice.amount_due) == (-300, 1700)
    move = {"amount": -200, "currency": "usd", "description": "Sorry"}
    await sdk("customers.balance_transactions.create", customer, move)
    assert (await sdk("invoices.retrieve", invoice.id)).amount_due == 1500
    invoice = await sdk("invoices.finalize_invoice", invoice.id)
    assert (invoice.amount_due, invoice.ending_balance) == (1500, 0)
    await sdk("invoices.void_invoice", invoice.id)
    assert (await sdk("customers.retrieve", customer)).balance == -500
    # A credit: nothing is due, and the customer has it for the next.
    credit = await sdk("invoices.finalize_invoice", (await drafted(sdk, customer, -100)).id)
    assert (credit.status, credit.amount_due, credit.ending_balance) == ("paid", 0, -600)
    # Too little to charge: carried over.
    await sdk("customers.update", customer, {"balance": 0})
    little = await sdk("invoices.finalize_invoice", (await drafted(sdk, customer, 30)).id)
    assert (little.status, little.amount_paid, little.ending_balance) == ("paid", 0, 30)
    next_one = await sdk("invoices.pay", (await drafted(sdk, customer, 100)).id)
    assert (next_one.amount_due, next_one.amount_paid, next_one.ending_balance) == (130, 130, 0)
    moves = await sdk("customers.balance_transactions.list", customer)
    assert [(txn.type, txn.amount) for txn in moves.data] == [
        ("applied_to_invoice", -30),
        ("invoice_too_small", 30),
        ("adjustment", 600),
        ("applied_to_invoice", -100),
        ("unapplied_from_invoice", -500),
        ("applied_to_invoice", 500),
        ("adjustment", -200),
        ("initial", -300),
    ]
    assert sum(txn.amount for txn in moves.data) == moves.data[0].ending_balance == 0


async def test_a_declined_payment(sdk: Sdk) -> None:
    customer = await customer_with(sdk, "pm_card_chargeCustomerFail")
    invoice = await sdk("invoices.finalize_invoice", (await drafted(sdk, customer)).id)
    with pytest.raises(stripe.CardError) as caught:
        await sdk("invoices.pay", invoice.id)
    assert caught.value.code == "card_declined"
    assert await types_since(sdk, "invoice.finalized") == [
        "invoice.finalized",
        "payment_intent.created",
        "charge.failed",
        "payment_intent.payment_failed",
        "invoice.payment_failed",
        "invoice.updated",
    ]
    failed = await sdk("invoices.retrieve", invoice.id)
    assert (failed.status, failed.attempted, failed.attempt_count) == ("open", True, 1)
    good = await sdk("payment_methods.attach", "pm_card_visa", {"customer": customer})
    paid = await sdk("invoices.pay", invoice.id, {"payment_method": good.id})
    assert (paid.status, paid.attempt_count) == ("paid", 1)


async def test_a_payment_that_needs_the_customer(sdk: Sdk, raw: Raw) -> None:
    customer = await customer_with(sdk, "pm_card_threeDSecure2Required")
    draft = await drafted(sdk, customer)
    with pytest.raises(stripe.CardError) as caught:
        await sdk("invoices.pay", draft.id)
    assert caught.value.code == "invoice_payment_intent_requires_action"
    assert "invoice.payment_action_required" in await types_since(sdk, "invoice.finalized")
    invoice = await sdk("invoices.retrieve", draft.id, {"expand": ["payments"]})
    intent = invoice.payments.data[0].payment.payment_intent
    await raw.control("POST", f"payment_intents/{intent}/authenticate", {"outcome": "succeed"})
    assert (await sdk("invoices.retrieve", draft.id)).status == "paid"
    assert await types_since(sdk, "charge.succeeded") == PAYING[1:]


async def test_sent_written_off_and_paid_elsewhere(sdk: Sdk) -> None:
    customer = await customer_with(sdk, None)
    sending: dict[str, Any] = {"collection_method": "send_invoice", "days_until_due": 30}
    draft = await drafted(
        sdk, customer, **sending, footer="Thanks", custom_fields=[{"name": "PO", "value": "7"}]
    )
    invoice = await sdk("invoices.send_invoice", draft.id)
    assert (invoice.status, invoice.footer, invoice.custom_fields[0].value) == ("open", "Thanks", "7")
    assert invoice.due_date - invoice.status_transitions.finalized_at == 30 * 86_400
    assert "invoice.sent" in await types_since(sdk, "invoice.finalized")
    off = await sdk("invoices.mark_uncollectible", invoice.id)
    assert off.status == "uncollectible"
    paid = await sdk("invoices.pay", invoice.id, {"paid_out_of_band": True, "expand": ["payments"]})
    assert (paid.status, paid.amount_paid, paid.amount_paid_off_stripe) == ("paid", 2000, 2000)
    assert paid.payments.data[0].status == "canceled"
    assert await types_since(sdk, "invoice.marked_uncollectible") == [
        "invoice.marked_uncollectible",
        "invoice.paid",
        "payment_intent.canceled",
    ]
    second = await sdk("invoices.finalize_invoice", (await drafted(sdk, customer, **sending)).id)
    await sdk("invoices.update", second.id, {"metadata": {"a": "b"}})
    with pytest.raises(stripe.InvalidRequestError, match="can't be updated"):
        await sdk("invoices.update", second.id, {"description": "late"})
    void = await sdk("invoices.void_invoice", second.id)
    assert (void.status, second.number[-4:]) == ("void", "0002")
    assert [item.id for item in (await sdk("invoices.list", {"status": "void"})).data] == [void.id]
    found = await sdk("invoices.search", {"query": f"customer:'{customer}' AND status:'paid'"})
    assert [item.id for item in found.data] == [invoice.id]
    with pytest.raises(stripe.InvalidRequestError, match="days_until_due"):
        await sdk("invoices.create", {"customer": customer, "collection_method": "send_invoice"})


async def test_another_payment_intent_pays_in_part(sdk: Sdk) -> None:
    customer = await customer_with(sdk)
    invoice = await sdk("invoices.finalize_invoice", (await drafted(sdk, customer)).id)
    method = (await sdk("payment_methods.list", {"customer": customer})).data[0].id
    part = await sdk(
        "payment_intents.create",
        {
            "amount": 500,
            "currency": "usd",
            "customer": customer,
            "payment_method": method,
            "confirm": True,
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
        },
    )
    invoice = await sdk("invoices.attach_payment", invoice.id, {"payment_intent": part.id})
    assert (invoice.status, invoice.amount_paid, invoice.amount_remaining) == ("open", 500, 1500)
    paid = await sdk("invoices.pay", invoice.id)
    assert (paid.status, paid.amount_paid) == ("paid", 2000)
    payments = await sdk("invoice_payments.list", {"invoice": invoice.id})
    assert sorted(item.amount_paid for item in payments.data) == [500, 1500]


async def test_automatic_tax_needs_a_place(sdk: Sdk) -> None:
    customer = await customer_with(sdk)
    draft = await drafted(sdk, customer, automatic_tax={"enabled": True})
    with pytest.raises(stripe.InvalidRequestError, match="location"):
        await sdk("invoices.finalize_invoice", draft.id)
    invoice = await sdk("invoices.retrieve", draft.id)
    assert (invoice.status, invoice.last_finalization_error.code) == (
        "draft",
        "customer_tax_location_invalid",
    )
    assert "invoice.finalization_failed" in await types_since(sdk, "invoice.created")
    await sdk("customers.update", customer, {"address": {"country": "US"}})
    assert (await sdk("invoices.finalize_invoice", draft.id)).automatic_tax.status == "complete"

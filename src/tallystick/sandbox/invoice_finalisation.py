"""From draft to open: the number, the customer's balance, the PaymentIntent; and the ends of an open invoice.

``finalise`` may end in ``paid`` at once, when nothing is due. Ends are ``paid`` here for what needs no
payment (see ``invoice_collection`` for the rest), ``void`` and ``uncollectible``.
Sources: https://docs.stripe.com/invoicing/overview, https://docs.stripe.com/billing/customer/balance
"""

from __future__ import annotations

from typing import Final

from tallystick import money
from tallystick.sandbox import confirmation, customer_balance, invoice_payments, invoice_totals
from tallystick.sandbox import payment_intent_shape as intents
from tallystick.sandbox import payment_method_options as offers
from tallystick.sandbox.errors import StripeError, refused
from tallystick.sandbox.invoice_drafts import ADVANCE, customer_details
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj

COLLECT: Final = "collect_invoice"
"""The timer that attempts payment, or sends the invoice."""
OVERDUE: Final = "invoice_overdue"

_DESCRIPTIONS: Final = {
    "subscription_create": "Subscription creation",
    "subscription_cycle": "Subscription update",
    "subscription_update": "Subscription update",
}


def finalise(call: Call, invoice: Obj, *, auto_advance: bool | None = None, collects_after: int = 0) -> None:
    """Finalise a draft: invoice.finalized, and invoice.paid when nothing is due. 400 for any other status.

    With ``auto_advance`` it is charged by itself in ``collects_after`` seconds, unless someone was faster.
    """
    call = call.living_in(invoice["test_clock"])
    if invoice["status"] != "draft":
        raise refused(
            "This invoice is already finalized, you can't re-finalize a non-draft invoice.",
            code="invoice_not_editable",
        )
    if auto_advance is not None:
        call.store.change(invoice, auto_advance=auto_advance)
    call.sandbox.timers.take(ADVANCE, invoice["id"])
    customer = call.find("customer", invoice["customer"])
    _check_location(call, invoice)
    call.store.change(invoice, **_as_of_now(call, invoice, customer))
    invoice_totals.refresh(call, invoice)
    _number(call, invoice, customer)
    _apply_balance(call, invoice, customer)
    _links(call, invoice)
    call.store.change(
        invoice,
        automatically_finalizes_at=None,
        due_date=_due_date(call, invoice),
        effective_at=invoice["effective_at"] or call.now,
        next_payment_attempt=None,
        status="open",
        status_transitions={**invoice["status_transitions"], "finalized_at": call.now},
    )
    if invoice["amount_due"] == 0:
        call.emit("invoice.finalized", invoice)
        paid(call, invoice)
        return
    _schedule(call, invoice, collects_after)
    call.emit("invoice.finalized", invoice)
    _open_payment(call, invoice)


def _as_of_now(call: Call, invoice: Obj, customer: Obj) -> Obj:
    """What the invoice copies of its customer for good; what was set on the invoice itself stays."""
    details = customer_details(call, customer)
    for name in ("custom_fields", "footer", "customer_shipping"):
        details[name] = invoice[name] or details[name]
    if invoice["rendering"] is not None:
        pdf = invoice["rendering"]["pdf"]
        size = "letter" if pdf["page_size"] == "auto" else pdf["page_size"]
        details["rendering"] = {**invoice["rendering"], "pdf": {"page_size": size}}
    return details


def _check_location(call: Call, invoice: Obj) -> None:
    """Automatic tax needs to know where the customer is."""
    tax = invoice["automatic_tax"]
    customer = call.find("customer", invoice["customer"])
    if not tax["enabled"]:
        return
    if (customer["address"] or {}).get("country"):
        call.store.change(invoice, automatic_tax={**tax, "status": "complete"})
        return
    error = refused(
        "The customer's location isn't recognized. Set a valid customer address in order to automatically"
        " calculate tax.",
        code="customer_tax_location_invalid",
        param="customer",
    )
    call.store.change(
        invoice,
        automatic_tax={**tax, "status": "requires_location_inputs"},
        auto_advance=False,
        automatically_finalizes_at=None,
        last_finalization_error=dict(error.body),
        next_payment_attempt=None,
    )
    call.emit("invoice.finalization_failed", invoice)
    error.keeps_work = True
    raise error


def _number(call: Call, invoice: Obj, customer: Obj) -> None:
    if invoice["number"] is None:
        sequence = customer["next_invoice_sequence"]
        call.store.change(invoice, number=f"{customer['invoice_prefix']}-{sequence:04}")
        call.store.change(customer, next_invoice_sequence=sequence + 1)


def _apply_balance(call: Call, invoice: Obj, customer: Obj) -> None:
    """Use the customer's balance, and carry over to it what is too little to charge, or a credit."""
    total, code, start = invoice["total"], invoice["currency"], invoice["starting_balance"]
    due = max(0, total + start) if total >= 0 else 0
    if (
        total != due
    ):  # credit that is used up raises the balance; a debt that is billed, or a credit, lowers it
        customer_balance.move(call, customer, total - due, code, "applied_to_invoice", invoice=invoice["id"])
    if 0 < due < money.currency(code).minimum and customer["currency"] == code:
        customer_balance.move(call, customer, due, code, "invoice_too_small", invoice=invoice["id"])
        due = 0
    call.store.change(
        invoice,
        amount_due=due,
        amount_remaining=due,
        ending_balance=customer["balance"],
        starting_balance=start,
    )


def _links(call: Call, invoice: Obj) -> None:
    base = call.base_url or call.store.hidden(invoice).get("base_url", "")
    token = f"test_{call.sandbox.ids.chars(32)}"
    account = call.sandbox.account_id
    call.store.hide(invoice, token=token, base_url=base)
    call.store.change(
        invoice,
        hosted_invoice_url=f"{base}/i/{account}/{invoice['id']}?token={token}",
        invoice_pdf=f"{base}/invoice/{account}/{invoice['id']}/pdf?token={token}",
    )


def _due_date(call: Call, invoice: Obj) -> int | None:
    """When a sent invoice is due; days count from its finalisation."""
    days: int | None = call.store.hidden(invoice).get("days_until_due")
    if invoice["collection_method"] == "send_invoice" and days is not None:
        return call.now + days * 86_400
    due: int | None = invoice["due_date"]
    return due


def _open_payment(call: Call, invoice: Obj) -> None:
    """The PaymentIntent of the invoice, with the payment that ties them together."""
    real = call.in_real_time()
    ident = call.sandbox.ids.new_payment("pi")
    hidden = call.store.hidden(invoice)
    # The methods that the invoice names, else what the account offers in its currency: bank debits, too.
    named = invoice["payment_settings"]["payment_method_types"] or ()
    types = [kind for kind in named if kind in offers.BLANK_OPTIONS]
    types = types or offers.offered_types(invoice["currency"])
    intent: Obj = {
        **intents.BLANK,
        "payment_method_options": offers.options(types, {}, None),
        "payment_method_types": types,
        "id": ident,
        "amount": invoice["amount_due"],
        "capture_method": "automatic",  # as recorded; the balance transaction is there with the charge
        "client_secret": f"{ident}_secret_{call.sandbox.ids.chars(25)}",
        "created": real.now,
        "currency": invoice["currency"],
        "customer": invoice["customer"],
        "description": invoice["description"]
        or _DESCRIPTIONS.get(invoice["billing_reason"], "Payment for Invoice"),
        "receipt_email": None,
        "setup_future_usage": hidden.get("setup_future_usage"),
        "statement_descriptor": invoice["statement_descriptor"],
    }
    if invoice["billing_reason"] in _DESCRIPTIONS:
        intent["payment_details"] = {"customer_reference": None, "order_reference": invoice["id"][:25]}
    call.store.put(intent, {})
    invoice_payments.make(real, invoice, intent, invoice["amount_due"], default=True)
    real.emit("payment_intent.created", intent)


def _schedule(call: Call, invoice: Obj, collects_after: int) -> None:
    """What follows by itself: payment or sending, and the day after which it is overdue."""
    if invoice["auto_advance"]:
        charged = invoice["collection_method"] == "charge_automatically"
        due = call.now + (collects_after if charged else 0)
        call.at(due, COLLECT, invoice["id"])
        if charged:
            call.store.change(invoice, next_payment_attempt=due)
    if invoice["due_date"] is not None:
        call.at(invoice["due_date"], OVERDUE, invoice["id"])


def paid(call: Call, invoice: Obj, *, charged: bool = True) -> None:
    """The invoice is paid: invoice.paid, and invoice.payment_succeeded unless it was paid elsewhere."""
    _stop(call, invoice)
    call.store.change(
        invoice,
        attempted=True,
        auto_advance=False,
        next_payment_attempt=None,
        status="paid",
        status_transitions={**invoice["status_transitions"], "paid_at": call.now},
    )
    call.emit("invoice.paid", invoice)
    if charged:
        call.emit("invoice.payment_succeeded", invoice)


def _stop(call: Call, invoice: Obj) -> None:
    for timer in (ADVANCE, COLLECT, OVERDUE):
        call.sandbox.timers.take(timer, invoice["id"])


def void(call: Call, invoice: Obj) -> None:
    """Void an open or uncollectible invoice; what it took of the customer's balance goes back."""
    call = call.living_in(invoice["test_clock"])
    if invoice["status"] not in ("open", "uncollectible"):
        raise _cannot("void", invoice)
    if invoice["amount_paid"] or invoice["post_payment_credit_notes_amount"]:
        raise refused("You cannot void an invoice that has been paid in part.")
    _stop(call, invoice)
    close_payments(call, invoice, "void_invoice")
    taken = sum(
        txn["amount"]
        for txn in call.store.tables["customer_balance_transaction"].having("customer", invoice["customer"])
        if txn["invoice"] == invoice["id"] and txn["type"] == "applied_to_invoice"
    )
    customer = call.store.get("customer", invoice["customer"])
    if taken and customer is not None:
        kind = "unapplied_from_invoice"
        customer_balance.move(call, customer, -taken, invoice["currency"], kind, invoice=invoice["id"])
    _end(call, invoice, "void", "voided_at")
    call.emit("invoice.voided", invoice)


def mark_uncollectible(call: Call, invoice: Obj, reason: str) -> None:
    """Write an open invoice off; it can still be paid or voided. ``reason``: in words of Stripe's."""
    call = call.living_in(invoice["test_clock"])
    if invoice["status"] != "open":
        raise _cannot("mark as uncollectible", invoice)
    _stop(call, invoice)
    _end(call, invoice, "uncollectible", "marked_uncollectible_at")
    call.store.change(invoice, status_details={"uncollectible": {"reason": reason}})
    call.emit("invoice.marked_uncollectible", invoice)


def _cannot(verb: str, invoice: Obj) -> StripeError:
    return refused(f"You cannot {verb} an invoice with a status of {invoice['status']}.")


def _end(call: Call, invoice: Obj, status: str, moment: str) -> None:
    call.store.change(
        invoice,
        auto_advance=False,
        next_payment_attempt=None,
        status=status,
        status_transitions={**invoice["status_transitions"], moment: call.now},
    )


def close_payments(call: Call, invoice: Obj, reason: str | None) -> None:
    """Cancel the open payments of an invoice, and its own PaymentIntent."""
    for payment in invoice_payments.of_invoice(call, invoice["id"]):
        if payment["status"] != "open":
            continue
        intent = call.find("payment_intent", payment["payment"]["payment_intent"])
        invoice_payments.cancel(call, payment)
        if payment["is_default"] and intent["status"] not in ("succeeded", "canceled"):
            confirmation.mark_canceled(call.in_real_time(), intent, reason)

"""A subscription's bills: drafts from its lines, collection, pending items, what was billed of each item.

The invoices themselves are made, finalised and collected by the ``invoice_*`` modules; what becomes of them
comes back through ``subscription_life``'s listeners.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tallystick.sandbox import (
    discounts,
    invoice_collection,
    invoice_drafts,
    invoice_finalisation,
    invoice_items,
    setup_intents,
    subscription_discounts,
    taxes,
)
from tallystick.sandbox import subscription_items as items
from tallystick.sandbox import subscription_terms as terms
from tallystick.sandbox import subscription_waiting as waiting
from tallystick.sandbox.invoice_shape import NewLine, lines_of, of_subscription_item, subscription_parent
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj
from tallystick.sandbox.subscription_lines import Line


def due(call: Call, subscription: Obj, billed: Sequence[Line]) -> int:
    """What a first invoice of these lines would ask for, with discounts, tax and the customer's balance."""
    customer = call.find("customer", subscription["customer"])
    currency = subscription["currency"]
    shares = [discounts.Share(line.amount, line.item["price"]["product"]) for line in billed]
    for line, share in zip(billed, shares, strict=True):
        for ident in line.item["discounts"]:
            discounts.apply(call, call.find("discount", ident), [share], currency)
    rates = [line.item["tax_rates"] or subscription["default_tax_rates"] for line in billed]
    for item in waiting.pending(call, subscription):
        shares.append(discounts.Share(item["amount"], discountable=item["discountable"]))
        rates.append(item["tax_rates"] or subscription["default_tax_rates"])
    for ident in terms.discounts_of(call, subscription):
        discounts.apply(call, call.find("discount", ident), shares, currency)
    total = sum(share.left for share in shares)
    for share, own in zip(shares, rates, strict=True):
        total += taxes.exclusive(taxes.on(share.left, own, customer["tax_exempt"]))
    return total + int(customer["balance"])


def need_method(call: Call, subscription: Obj) -> None:
    """400 when there is nothing to charge."""
    if subscription["collection_method"] == "charge_automatically" and (
        terms.paying_method(call, subscription) is None
    ):
        raise terms.without_method()


# Invoices


def announced_id(call: Call, subscription: Obj) -> str:
    """The id that the next invoice will have, shown by the subscription before the invoice is there."""
    ident = call.sandbox.ids.new("in")
    call.store.change(subscription, latest_invoice=ident)
    return ident


def make(
    call: Call,
    subscription: Obj,
    billed: Sequence[Line],
    reason: str,
    *,
    ident: str | None = None,
    auto_advance: bool = True,
) -> Obj:
    """A draft of these lines and of all that is pending; the subscription's newest invoice."""
    customer = call.find("customer", subscription["customer"])
    ident = ident or announced_id(call, subscription)
    copies = [
        discounts.copied(call, call.find("discount", held), invoice=ident)["id"]
        for held in terms.discounts_of(call, subscription)
    ]
    held = waiting.pending(call, subscription)
    invoice = invoice_drafts.make(
        call,
        customer,
        subscription["currency"],
        [
            *(invoice_items.line_for(call, item) for item in held),
            *(_line(call, subscription, line, ident) for line in billed),
        ],
        period=_period(call, subscription, billed, reason),
        tax_rates=[rate["id"] for rate in subscription["default_tax_rates"]],
        setup_future_usage="off_session" if reason == "subscription_create" else None,
        auto_advance=auto_advance,
        id=ident,
        billing_reason=reason,
        collection_method=subscription["collection_method"],
        default_payment_method=subscription["default_payment_method"],
        description=subscription["description"],
        discounts=copies,
        payment_settings=_payment_settings(subscription),
        parent=subscription_parent(subscription),
    )
    for item in held:
        call.store.change(item, invoice=ident)
    call.store.hide(
        invoice,
        days_until_due=subscription["days_until_due"],
        items=[item["id"] for item in held],
    )
    _note_billed(call, subscription, invoice)
    subscription_discounts.use_up(call, subscription, billed)
    return invoice


def _payment_settings(subscription: Obj) -> Obj:
    """What an invoice takes over of how its subscription is paid."""
    names = ("payment_method_options", "payment_method_types")
    return {"default_mandate": None, **{name: subscription["payment_settings"][name] for name in names}}


def _period(call: Call, subscription: Obj, billed: Sequence[Line], reason: str) -> tuple[int, int]:
    """An invoice's period: what has gone by since the last one, as Stripe shows it."""
    if reason == "subscription_create" or not billed:
        return call.now, call.now
    until: int | None = call.store.hidden(subscription).get("invoiced_until")
    since: int = subscription["start_date"] if until is None else until
    return since, max(line.start for line in billed) if reason == "subscription_cycle" else call.now


def _line(call: Call, subscription: Obj, line: Line, invoice: str) -> NewLine:
    item, credited = line.item, line.credited
    own = [] if line.proration else item["discounts"]
    return NewLine(
        amount=line.amount,
        parent=of_subscription_item(
            subscription["id"],
            item["id"],
            proration=line.proration,
            credited=(credited["invoice"], credited["invoice_line_items"]) if credited else None,
        ),
        period=(line.start, line.end),
        description=line.description,
        price=line.price,
        unit_amount_decimal=line.unit,
        quantity=line.quantity,
        discounts=tuple(
            discounts.copied(call, call.find("discount", held), invoice=invoice)["id"] for held in own
        ),
        tax_rates=[rate["id"] for rate in item["tax_rates"]] or None,
        metadata=subscription["metadata"],
    )


def _note_billed(call: Call, subscription: Obj, invoice: Obj) -> None:
    """Remember what was billed in advance of each item, net of discounts: prorations credit from it."""
    by_item: dict[str, list[Obj]] = {}
    for line in lines_of(call, invoice["id"]):
        details = (line["parent"] or {}).get("subscription_item_details")
        if details and details["invoice_item"] is None and line["period"]["end"] > call.now:
            by_item.setdefault(details["subscription_item"], []).append(line)
    for item in items.of(call, subscription):
        billed = by_item.get(item["id"])
        if billed is None or items.metered(item):
            continue
        off = sum(cut["amount"] for line in billed for cut in line["discount_amounts"])
        values = {
            "amount": sum(line["amount"] for line in billed) - off,
            "start": billed[0]["period"]["start"],
            "end": billed[0]["period"]["end"],
            "invoice": invoice["id"],
            "lines": [line["id"] for line in billed],
        }
        call.store.hide(item, billed=values if values["amount"] > 0 else None)
    call.store.hide(subscription, invoiced_until=call.now)


# Collection


def collect(call: Call, subscription: Obj, invoice: Obj, behavior: str) -> Obj:
    """Finalise an invoice and charge it at once; a sent one waits for its hour. Returns the invoice.

    A declined payment is kept, unless ``error_if_incomplete`` asks for the error (402).
    """
    if subscription["collection_method"] == "send_invoice" or call.quiet:
        return invoice
    first = invoice["billing_reason"] == "subscription_create"
    waits = behavior == "default_incomplete"
    invoice_finalisation.finalise(call, invoice, auto_advance=not (first or waits))
    if invoice["status"] != "open" or waits:
        return invoice
    off_session = call.params.get("off_session", False)
    outcome = invoice_collection.attempt(call, invoice, off_session=off_session)
    if outcome.how == "processing" and subscription["status"] == "incomplete":
        # A bank debit takes days; Stripe provisions meanwhile.
        previous = call.store.change(subscription, status="active")
        call.emit("customer.subscription.updated", subscription, previous)
    if behavior == "error_if_incomplete" and outcome.error is not None:
        outcome.error.keeps_work = False
        raise outcome.error
    return invoice


def bill_update(
    call: Call, subscription: Obj, billed: Sequence[Line], behavior: str, *, ident: str | None = None
) -> Obj:
    """An invoice at once for a change: these lines and what is pending."""
    if behavior != "default_incomplete" and not call.quiet:
        need_method(call, subscription)
    invoice = make(call, subscription, billed, "subscription_update", ident=ident)
    collect(call, subscription, invoice, behavior)
    if (
        behavior == "default_incomplete"
        and invoice["status"] == "open"
        and subscription["status"] == "active"
    ):
        previous = call.store.change(subscription, status="past_due")
        call.emit("customer.subscription.updated", subscription, previous)
    return invoice


def bill_cycle(call: Call, subscription: Obj, billed: Sequence[Line], ident: str) -> None:
    """The invoice of a new period: a draft for an hour, unless collection is paused or given up.

    ``ident`` is what ``announced_id`` said.
    """
    paused = subscription["pause_collection"]
    behavior = None if paused is None else paused["behavior"]
    advances = behavior is None and subscription["status"] != "unpaid"
    invoice = make(call, subscription, billed, "subscription_cycle", ident=ident, auto_advance=advances)
    if behavior in ("void", "mark_uncollectible"):
        invoice_finalisation.finalise(call, invoice, auto_advance=False)
        if invoice["status"] == "open":
            if behavior == "void":
                invoice_finalisation.void(call, invoice)
            else:
                invoice_finalisation.mark_uncollectible(call, invoice, "subscription_paused")


def bill_final(call: Call, subscription: Obj, billed: Sequence[Line]) -> None:
    """The last invoice of a canceled subscription, if there is anything to bill or to credit."""
    if not any(line.amount for line in billed) and not waiting.pending(call, subscription):
        return
    invoice = make(call, subscription, billed, "subscription_update")
    if subscription["collection_method"] == "charge_automatically" and not call.quiet:
        invoice_finalisation.finalise(call, invoice, auto_advance=False)
        if invoice["status"] == "open" and terms.paying_method(call, subscription):
            invoice_collection.attempt(call, invoice, off_session=True)


# Pending items


def ask_for_method(call: Call, subscription: Obj) -> None:
    """Nothing is due yet and nothing to charge is known: a SetupIntent collects it."""
    if terms.paying_method(call, subscription) is not None:
        return
    params = {"customer": subscription["customer"], "usage": "off_session"}
    intent = setup_intents.make(
        call.in_real_time(), {**params, "automatic_payment_methods": {"enabled": True}}
    )
    call.store.change(subscription, pending_setup_intent=intent["id"])


def upcoming(call: Call, subscription: Obj, billed: Sequence[Line]) -> Obj:
    """What the next invoice would be like; nothing is kept of it."""
    with call.store.tentative():
        quiet = replace(call, quiet=True)
        invoice = make(quiet, subscription, billed, "subscription_cycle", auto_advance=False)
        return shown_preview(call, invoice)


def shown_preview(call: Call, invoice: Obj) -> Obj:
    """An invoice that will not be kept, as previews show it."""
    ident = f"upcoming_{invoice['id']}"
    lines = [{**line, "invoice": ident} for line in lines_of(call, invoice["id"])]
    return {
        **invoice,
        "id": ident,
        "lines": {**invoice["lines"], "data": lines, "has_more": False, "url": f"/v1/invoices/{ident}/lines"},
        "webhooks_delivered_at": None,
    }

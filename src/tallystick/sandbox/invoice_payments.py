"""Invoice payments: which payment pays which invoice, and how much of it.

One is made with each finalised invoice that money is due on, for its own PaymentIntent (``is_default``), and
kept at what remains due; others come by ``attach``. ``open`` → ``paid`` | ``canceled``. Hidden beside a
PaymentIntent: ``invoice_payments``, the ids of those that it pays; ``invoice``, the first one's invoice.
"""

from __future__ import annotations

from typing import Final

from tallystick.sandbox.lists import page
from tallystick.sandbox.params import Params, created, listing, one_of, text
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

TABLES: Final = [TableSpec("invoice_payment", "invoice payment", indexes=("invoice",))]

_PAYMENT: Final = Params(
    {
        "type": one_of("charge", "payment_intent", "payment_record"),
        "payment_intent": text(),
        "payment_record": text(),
    },
    required=("type",),
)


def make(call: Call, invoice: Obj, intent: Obj, amount: int, *, default: bool) -> Obj:
    """An open payment of ``amount`` (minor units) of an invoice by a PaymentIntent."""
    payment: Obj = {
        "id": call.sandbox.ids.new("inpay"),
        "object": "invoice_payment",
        "amount_paid": None,
        "amount_requested": amount,
        "created": call.now,
        "currency": invoice["currency"],
        "invoice": invoice["id"],
        "is_default": default,
        "livemode": False,
        "payment": {"payment_intent": intent["id"], "type": "payment_intent"},
        "status": "open",
        "status_transitions": {"canceled_at": None, "paid_at": None},
    }
    call.store.put(payment)
    hidden = call.store.hidden(intent)
    call.store.hide(
        intent,
        invoice=hidden.get("invoice", invoice["id"]),
        invoice_payments=[*hidden.get("invoice_payments", ()), payment["id"]],
    )
    return payment


def of_intent(call: Call, intent: Obj) -> list[Obj]:
    """The payments that a PaymentIntent makes, oldest first."""
    ids = call.store.hidden(intent).get("invoice_payments", ())
    return [call.find("invoice_payment", ident) for ident in ids]


def of_invoice(call: Call, invoice: str) -> list[Obj]:
    """An invoice's payments, oldest first."""
    return call.store.tables["invoice_payment"].having("invoice", invoice)


def intent_of(call: Call, invoice: Obj) -> Obj | None:
    """The PaymentIntent of an invoice's default payment; None for a draft, or when nothing was due."""
    for payment in of_invoice(call, invoice["id"]):
        if payment["is_default"]:
            return call.find("payment_intent", payment["payment"]["payment_intent"])
    return None


def settle(call: Call, payment: Obj, amount: int) -> None:
    """Mark a payment paid; its event is the caller's, after those of the invoice."""
    call.store.change(
        payment,
        amount_paid=amount,
        status="paid",
        status_transitions={"canceled_at": None, "paid_at": call.now},
    )


def cancel(call: Call, payment: Obj) -> None:
    """Mark an open payment canceled."""
    if payment["status"] == "open":
        call.store.change(
            payment,
            status="canceled",
            status_transitions={"canceled_at": call.now, "paid_at": None},
        )


def follow(call: Call, invoice: Obj) -> None:
    """Bring the default payment and its PaymentIntent to what remains due."""
    left = invoice["amount_remaining"]
    for payment in of_invoice(call, invoice["id"]):
        if payment["is_default"] and payment["status"] == "open" and left:
            call.store.change(payment, amount_requested=left)
            intent = call.find("payment_intent", payment["payment"]["payment_intent"])
            call.store.change(intent, amount=left)


# Calls


def retrieve(call: Call) -> Obj:
    """GET /v1/invoice_payments/{id}."""
    return call.find("invoice_payment")


def list_all(call: Call) -> Obj:
    """GET /v1/invoice_payments; ``payment[…]`` finds the invoices of a PaymentIntent."""
    wanted = call.params.get("payment", {})

    def matches(payment: Obj) -> bool:
        return all(payment["payment"].get(name) == value for name, value in wanted.items())

    return page(call, "invoice_payment", "/v1/invoice_payments", matches=matches, ignore=("payment",))


ROUTES: Final = [
    Route(
        "GET",
        "/v1/invoice_payments",
        list_all,
        listing(created=created, invoice=text(), payment=_PAYMENT, status=one_of("canceled", "open", "paid")),
    ),
    Route("GET", "/v1/invoice_payments/{}", retrieve),
]

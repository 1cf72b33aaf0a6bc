"""Calls to Stripe about what money was for: a part of the gateway."""

from __future__ import annotations

from typing import Any, Final

from tallystick.stripe_gateway.calls import PAGE, path_of
from tallystick.stripe_gateway.customer_calls import CustomerCalls

_INVOICES: Final = "/v1/invoices"
_INVOICE_PAYMENTS: Final = "/v1/invoice_payments"
_CHECKOUT_SESSIONS: Final = "/v1/checkout/sessions"


class BillingCalls(CustomerCalls):
    """All raise what the gateway raises."""

    async def list_invoice_payments_of(self, payment_intent: str) -> dict[str, Any]:
        """Which invoices a PaymentIntent pays or is to pay, as ``{"data": […]}``, with itself inside.

        Those that are not paid yet as well: an invoice payment is made, open, when its invoice is finalised.
        """
        whose = {"type": "payment_intent", "payment_intent": payment_intent}
        expanded = ["data.payment.payment_intent"]
        return {"data": await self._list(_INVOICE_PAYMENTS, {"payment": whose, "expand": expanded})}

    async def list_checkout_sessions_of(self, payment_intent: str) -> dict[str, Any]:
        """The Checkout Sessions of a PaymentIntent, as ``{"data": […]}``, with it and their lines inside."""
        params = {"payment_intent": payment_intent, "expand": ["data.payment_intent", "data.line_items"]}
        return {"data": await self._list(_CHECKOUT_SESSIONS, params)}

    async def find_invoice(self, invoice: str) -> dict[str, Any] | None:
        """The invoice with all its payments inside; None when Stripe knows no such one."""
        found = await self._find(path_of(_INVOICES, invoice), {"expand": ["payments"]})
        if found is not None and found.get("payments", {}).get("has_more"):
            found["payments"] = {"data": await self._list(_INVOICE_PAYMENTS, {"invoice": invoice})}
        return found

    async def list_customer_balance_transactions(self, customer: str) -> dict[str, Any]:
        """The latest 100 transactions of a customer's balance, newest first, as ``{"data": […]}``."""
        path = path_of("/v1/customers", customer, "balance_transactions")
        return {"data": (await self._call("get", path, {"limit": PAGE})).object["data"]}

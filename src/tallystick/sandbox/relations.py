"""The relations between objects that the shapes of older API versions show."""

from __future__ import annotations

from tallystick.sandbox.store import Obj, Store


class StoredRelations:
    """``versions.Relations``, looked up in the state."""

    store: Store

    def charges_of(self, intent: str) -> list[Obj]:
        """A PaymentIntent's charges, newest first."""
        return self.store.tables["charge"].having("payment_intent", intent)[::-1]

    def refunds_of(self, charge: str) -> list[Obj]:
        """A charge's refunds, newest first."""
        return self.store.tables["refund"].having("charge", charge)[::-1]

    def look_up(self, kind: str, ident: str) -> Obj | None:
        """An object by id."""
        return self.store.get(kind, ident)

    def invoice_of(self, intent: str) -> str | None:
        """The id of the invoice that a PaymentIntent pays."""
        obj = self.store.get("payment_intent", intent)
        invoice: str | None = self.store.hidden(obj).get("invoice") if obj is not None else None
        return invoice

    def intent_of(self, invoice: str) -> Obj | None:
        """The PaymentIntent of an invoice's own."""
        for payment in self.store.tables["invoice_payment"].having("invoice", invoice):
            if payment["is_default"]:
                return self.store.get("payment_intent", payment["payment"]["payment_intent"])
        return None

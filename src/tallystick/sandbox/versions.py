"""API versions: which one an answer is in, and how an object looked in it.

Objects are held in the newest shape. ``CHANGES`` lists, newest first, what a version brought; an answer in
an older one has it undone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from tallystick.sandbox import invoice_versions, old_subscriptions
from tallystick.sandbox.store import Obj

NEWEST: Final = "2026-10-28.endive"
DEFAULT: Final = "2026-08-26.dahlia"
"""A new account's version. The Stripe CLI sends none, and some of its fixtures would be refused in endive."""
ENDIVE: Final = "2026-09-30.endive"
DAHLIA: Final = "2026-03-25.dahlia"
CLOVER: Final = "2025-09-30.clover"
BASIL: Final = "2025-03-31.basil"
ASYNC_CAPTURE: Final = "2024-04-10"
AUTOMATIC_METHODS: Final = "2023-08-16"
LATEST_CHARGE: Final = "2022-11-15"


class Relations(Protocol):
    """Looks up the lists that old shapes carry inside an object."""

    def charges_of(self, intent: str) -> list[Obj]:
        """A PaymentIntent's charges, newest first."""

    def refunds_of(self, charge: str) -> list[Obj]:
        """A charge's refunds, newest first."""

    def look_up(self, kind: str, ident: str) -> Obj | None:
        """An object by id."""

    def invoice_of(self, intent: str) -> str | None:
        """The id of the invoice that a PaymentIntent pays."""

    def intent_of(self, invoice: str) -> Obj | None:
        """The PaymentIntent of an invoice's own."""


Undo = Callable[[Obj, Relations], None]


def since(version: str, start: str) -> bool:
    """Whether ``version`` is ``start`` or later; versions begin with their date."""
    return version[:10] >= start[:10]


def known(version: str | None) -> str | None:
    """The version if it has the form of one, else None."""
    if version and len(version) >= 10 and version[4] == version[7] == "-" and version[:4].isdecimal():
        return version
    return None


def _without(*names: str) -> Undo:
    def undo(obj: Obj, _relations: Relations) -> None:
        for name in names:
            obj.pop(name, None)

    return undo


def _listed(url: str, data: list[Obj]) -> Obj:
    return {"object": "list", "data": data, "has_more": False, "total_count": len(data), "url": url}


def _charges_inside(intent: Obj, relations: Relations) -> None:
    charges = [render(charge, "2020-08-27", relations) for charge in relations.charges_of(intent["id"])]
    intent["charges"] = _listed(f"/v1/charges?payment_intent={intent['id']}", charges)


def _refunds_inside(charge: Obj, relations: Relations) -> None:
    if "refunds" not in charge:
        refunds = [render(refund, "2020-08-27", relations) for refund in relations.refunds_of(charge["id"])]
        charge["refunds"] = _listed(f"/v1/charges/{charge['id']}/refunds", refunds)


_UI_MODES: Final = {"hosted_page": "hosted", "embedded_page": "embedded", "elements": "custom"}


def _older_ui_mode(session: Obj, _relations: Relations) -> None:
    session["ui_mode"] = _UI_MODES.get(session["ui_mode"], session["ui_mode"])


CHANGES: Final[list[tuple[str, str, Undo]]] = [
    (ENDIVE, "payment_intent", _without("payment_record")),
    (DAHLIA, "refund", _without("customer", "customer_account", "payment_method")),
    (DAHLIA, "payment_intent", _without("customer_account")),
    (DAHLIA, "payment_method", _without("customer_account")),
    (DAHLIA, "customer", _without("customer_account")),
    (DAHLIA, "setup_intent", _without("customer_account")),
    (DAHLIA, "checkout.session", _older_ui_mode),
    (CLOVER, "payment_intent", _without("excluded_payment_method_types")),
    *invoice_versions.CHANGES,
    *old_subscriptions.CHANGES,
    (LATEST_CHARGE, "payment_intent", _charges_inside),
    (LATEST_CHARGE, "charge", _refunds_inside),
]

_NEWEST_CHANGE: Final = CHANGES[0][0]
_BY_KIND: Final = {
    kind: [(start, undo) for start, changed, undo in CHANGES if changed == kind] for _, kind, _ in CHANGES
}


def render(obj: Obj, version: str, relations: Relations) -> Obj:
    """``obj`` as ``version`` showed it; ``obj`` itself when nothing differs. Objects inside it too.

    An event is left alone: it shows its object in the version of its own.
    """
    if since(version, _NEWEST_CHANGE) or obj.get("object") == "event":
        return obj
    kind = obj.get("object")
    if kind == "subscription":
        obj = dict(obj)
        for start, _, undo in old_subscriptions.OUTSIDE_FIRST:
            if not since(version, start):
                undo(obj, relations)
    shown = {name: _render_inside(value, version, relations) for name, value in obj.items()}
    for start, undo in _BY_KIND.get(kind or "", ()):
        if not since(version, start):
            undo(shown, relations)
    return shown


def _render_inside(value: Any, version: str, relations: Relations) -> Any:
    if isinstance(value, dict) and ("object" in value or "error" in value or "payment_intent" in value):
        return render(value, version, relations)
    if isinstance(value, list) and value and isinstance(value[0], dict) and "object" in value[0]:
        return [render(item, version, relations) for item in value]
    return value

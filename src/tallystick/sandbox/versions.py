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


_RELEASED: Final = frozenset(
    (
        "2011-01-01 2011-06-21 2011-06-28 2011-08-01 2011-09-15 2011-11-17 2012-02-23 2012-03-25 "
        "2012-06-18 2012-06-28 2012-07-09 2012-09-24 2012-10-26 2012-11-07 2013-02-11 2013-02-13 "
        "2013-07-05 2013-08-12 2013-08-13 2013-10-29 2013-12-03 2014-01-31 2014-03-13 2014-03-28 "
        "2014-05-19 2014-06-13 2014-06-17 2014-07-22 2014-07-26 2014-08-04 2014-08-20 2014-09-08 "
        "2014-10-07 2014-11-05 2014-11-20 2014-12-08 2014-12-17 2014-12-22 2015-01-11 2015-01-26 "
        "2015-02-10 2015-02-16 2015-02-18 2015-03-24 2015-04-07 2015-06-15 2015-07-07 2015-07-13 "
        "2015-07-28 2015-08-07 2015-08-19 2015-09-03 2015-09-08 2015-09-23 2015-10-01 2015-10-12 "
        "2015-10-16 2016-02-03 2016-02-19 2016-02-22 2016-02-23 2016-02-29 2016-03-07 2016-06-15 "
        "2016-07-06 2016-10-19 2017-01-27 2017-02-14 2017-04-06 2017-05-25 2017-06-05 2017-08-15 "
        "2017-12-14 2018-01-23 2018-02-05 2018-02-06 2018-02-28 2018-05-21 2018-07-27 2018-08-23 "
        "2018-09-06 2018-09-24 2018-10-31 2018-11-08 2019-02-11 2019-02-19 2019-03-14 2019-05-16 "
        "2019-08-14 2019-09-09 2019-10-08 2019-10-17 2019-11-05 2019-12-03 2020-03-02 2020-08-27 "
        "2022-08-01 2022-11-15 2023-08-16 2023-10-16 2024-04-10 2024-06-20 2024-09-30.acacia "
        "2024-10-28.acacia 2024-11-20.acacia 2024-12-18.acacia 2025-01-27.acacia 2025-02-24.acacia "
        "2025-03-01.dashboard 2025-03-31.basil 2025-04-30.basil 2025-05-28.basil 2025-06-30.basil "
        "2025-07-30.basil 2025-08-27.basil 2025-09-30.clover 2025-10-29.clover 2025-11-17.clover "
        "2025-12-15.clover 2026-01-28.clover 2026-02-25.clover 2026-03-25.dahlia 2026-04-22.dahlia "
        "2026-05-27.dahlia 2026-06-24.dahlia 2026-07-29.dahlia 2026-08-26.dahlia 2026-09-30.endive "
        "2026-10-28.endive "
    ).split()
)
"""Every version of the API until the newest, as Stripe's SDK lists them."""


def dated(version: str) -> bool:
    """Whether it begins with a date, as versions do: enough to render an object in it."""
    return len(version) >= 10 and version[4] == version[7] == "-" and version[:4].isdecimal()


def known(version: str) -> bool:
    """Whether Stripe takes it: one that there is, or one that is newer than this sandbox."""
    return version in _RELEASED or (dated(version) and version[:10] > NEWEST[:10])


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

"""A Payment Link opened: the Checkout Session that it makes for whoever comes, and how many were paid."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from tallystick.sandbox import checkout_sessions, payment_links
from tallystick.sandbox.control_call import Control, Controls
from tallystick.sandbox.errors import refused
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj

_AS_IT_IS: Final = (
    "allow_promotion_codes",
    "billing_address_collection",
    "custom_fields",
    "custom_text",
    "metadata",
    "payment_method_types",
    "phone_number_collection",
    "shipping_address_collection",
)
_OF_PAYMENTS: Final = ("invoice_creation", "payment_intent_data")
_STRIPES: Final = "https://stripe.com"
"""Where a session of a link says that its customer goes on to, unless the link redirects."""


def open_link(call: Call, link: Obj) -> Obj:
    """A new session for the link; raises StripeError (400) when it is not active, or was used up."""
    limit = (link["restrictions"] or {}).get("completed_sessions")
    if not link["active"] or (limit is not None and limit["count"] >= limit["limit"]):
        raise refused(link["inactive_message"] or "This link is no longer active.")
    session = checkout_sessions.create(replace(call, params=_params(call, link), ids=()))
    call.store.change(session, payment_link=link["id"])
    return session


def _params(call: Call, link: Obj) -> dict[str, Any]:
    """What the session is made with."""
    items = payment_links.items(call, link)
    recurring = any(item["price"]["recurring"] for item in items)
    redirect = link["after_completion"].get("redirect") or {}
    params: dict[str, Any] = {
        **{name: _said(link[name]) for name in _AS_IT_IS if link[name]},
        "cancel_url": _STRIPES,
        "currency": link["currency"],
        "line_items": [_line(call, item) for item in items],
        "mode": "subscription" if recurring else "payment",
        "success_url": redirect.get("url") or _STRIPES,
    }
    if link["consent_collection"]:
        params["consent_collection"] = _said(link["consent_collection"])
    if link["tax_id_collection"]["enabled"]:
        params["tax_id_collection"] = link["tax_id_collection"]
    if recurring:
        data = _said(link["subscription_data"] or {})
        data.pop("invoice_settings", None)
        params["payment_method_collection"] = link["payment_method_collection"]
        return {**params, "subscription_data": data} if data else params
    if link["shipping_options"]:
        rates = [{"shipping_rate": option["shipping_rate"]} for option in link["shipping_options"]]
        params["shipping_options"] = rates
    params |= {name: _said(link[name]) for name in _OF_PAYMENTS if link[name]}
    params |= {name: link[name] for name in ("customer_creation", "submit_type")}
    routed = ("application_fee_amount", "on_behalf_of", "transfer_data")
    sent = {name: _said(link[name]) for name in routed if link[name]}
    if sent:
        params["payment_intent_data"] = {**params.get("payment_intent_data", {}), **sent}
    return params


def _said(value: Any) -> Any:
    """What a link shows, as it would be sent: without what it leaves open."""
    if isinstance(value, dict):
        said = {name: _said(inner) for name, inner in value.items()}
        return {name: inner for name, inner in said.items() if inner is not None and inner != {}}
    return [_said(inner) for inner in value] if isinstance(value, list) else value


def _line(call: Call, item: Obj) -> dict[str, Any]:
    """As it was sent; an inline price sells the product that it made."""
    price, inline = item["price"], call.store.hidden(item)["sent"].get("price_data")
    line: dict[str, Any] = {"price": price["id"]}
    if inline is not None:
        kept = {name: value for name, value in inline.items() if name != "product_data"}
        line = {"price_data": {**kept, "product": price["product"]}}
    if item["quantity"] is not None:
        line["quantity"] = item["quantity"]
    if item["adjustable_quantity"]:
        line["adjustable_quantity"] = item["adjustable_quantity"]
    return line


def completed(call: Call, session: Obj) -> None:
    """Listener: a session was completed, perhaps a link's whose sessions are counted."""
    link = call.store.get(payment_links.KIND, session["payment_link"] or "")
    if link is not None and link["restrictions"]:
        counted = link["restrictions"]["completed_sessions"]
        counted = {**counted, "count": counted["count"] + 1}
        call.store.change(link, restrictions={"completed_sessions": counted})


def answer(call: Call, ident: str) -> str:
    """Where whoever opens the link goes: the page of a new session. Raises StripeError (400, 404)."""
    return str(open_link(call, call.find(payment_links.KIND, ident, param="id"))["url"])


def opened(control: Control) -> Obj:
    """Open a Payment Link, as a customer does by its ``url``; shows the Checkout Session that it makes."""
    call = control.call()
    return open_link(call, call.find(payment_links.KIND))


LISTENERS: Final = {"checkout.session.completed": completed}
CONTROLS: Final[Controls] = {("POST", "payment_links", "{}", "open"): opened}

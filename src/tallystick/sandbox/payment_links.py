"""Payment Links: addresses that sell the same lines to whoever opens them, by Checkout Sessions."""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox import checkout_items, checkout_reading, checkout_shipping, expansions
from tallystick.sandbox import payment_link_params as taken
from tallystick.sandbox import payment_link_shape as shape
from tallystick.sandbox.errors import invalid
from tallystick.sandbox.lists import page
from tallystick.sandbox.params import listing
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call, Sandbox
from tallystick.sandbox.store import Obj, TableSpec

KIND: Final = "payment_link"
PATH: Final = "/b/"
"""Where links are opened, below the sandbox's own address; at Stripe it is buy.stripe.com."""
TABLES: Final = [TableSpec(KIND, "payment link")]


def create(call: Call) -> Obj:
    """POST /v1/payment_links."""
    params = call.params
    lines, code = _lines(call, params)
    _check(params, lines)
    ident = call.sandbox.ids.new("plink")
    link = {
        **shape.BLANK,
        **shape.values_of(params, shape.BLANK),
        "id": ident,
        "currency": code,
        "shipping_options": checkout_shipping.offered(call, params.get("shipping_options", []), code),
        "url": f"{call.base_url}{PATH}{ident}",
    }
    if any(line.price["recurring"] for line in lines):
        link["customer_creation"] = "always"
    ids, _ = checkout_items.store(call, lines, code, [], "none")
    call.store.put(link, {"items": ids})
    call.emit("payment_link.created", link)
    return link


def _lines(call: Call, params: dict[str, Any]) -> tuple[list[checkout_items.Line], str]:
    """The lines that were sent, priced, and their currency; raises StripeError (400, 404)."""
    sent = params["line_items"]
    if not sent:
        raise invalid("You must provide at least one line item.", param="line_items")
    prices = [call.store.get("price", line.get("price") or "") for line in sent]
    recurring = any(price is not None and price["recurring"] for price in prices) or any(
        "recurring" in line.get("price_data", {}) for line in sent
    )
    mode = "subscription" if recurring else "payment"
    return checkout_items.read(call, sent, mode, params.get("currency"))


def _check(params: dict[str, Any], lines: list[checkout_items.Line]) -> None:
    """Raises StripeError (400) for parameters that do not go together."""
    recurring = any(line.price["recurring"] for line in lines)
    for name in ("payment_intent_data", "invoice_creation", "customer_creation", "shipping_options"):
        if recurring and params.get(name):
            raise invalid(f"You can not pass `{name}` with recurring prices.", param=name)
    if "subscription_data" in params and not recurring:
        raise invalid(
            "You can only pass `subscription_data` with recurring prices.", param="subscription_data"
        )
    if params.get("automatic_tax", {}).get("enabled"):
        raise invalid(
            "The sandbox computes no taxes by itself, and a Payment Link has no tax rates of its own.",
            param="automatic_tax[enabled]",
        )
    after = params.get("after_completion", {})
    if after.get("type") == "redirect" and "redirect" not in after:
        raise invalid(
            "Missing required param: after_completion[redirect].",
            param="after_completion[redirect]",
            code="parameter_missing",
        )


def retrieve(call: Call) -> Obj:
    """GET /v1/payment_links/{id}."""
    return call.find(KIND)


def update(call: Call) -> Obj:
    """POST /v1/payment_links/{id}: sessions that were opened stay as they are."""
    link, params = call.find(KIND), call.params
    _check(params, [checkout_items.as_line(item) for item in items(call, link)])
    values = shape.values_of(params, link)
    if "shipping_options" in params:
        sent = params["shipping_options"] or []
        values["shipping_options"] = checkout_shipping.offered(call, sent, link["currency"])
    for index, sent in enumerate(params.get("line_items", [])):
        _change_line(call, link, sent, f"line_items[{index}][id]")
    previous = call.store.change(link, **values)
    if previous:
        call.emit("payment_link.updated", link, previous)
    return link


def _change_line(call: Call, link: Obj, sent: Obj, param: str) -> None:
    item = next((each for each in items(call, link) if each["id"] == sent["id"]), None)
    if item is None:
        raise invalid(f"This Payment Link has no line item {sent['id']}.", param=param)
    checkout_items.reprice(call, item, sent)


def list_all(call: Call) -> Obj:
    """GET /v1/payment_links."""
    return page(call, KIND, "/v1/payment_links")


def items(call: Call, link: Obj) -> list[Obj]:
    """A link's lines, in the order in which they were sent."""
    return checkout_items.of(call, link)


def line_items(call: Call) -> Obj:
    """GET /v1/payment_links/{id}/line_items, in the order in which they were sent."""
    link = call.find(KIND)
    return checkout_reading.page_of_lines(call, link, f"/v1/payment_links/{link['id']}/line_items")


def _included(sandbox: Sandbox, link: Obj) -> Obj:
    """``line_items`` in a link that is asked to show them."""
    return line_items(sandbox.call(ids=(link["id"],)))


expansions.INCLUDABLE[KIND] = {"line_items": _included}
expansions.EXPANDABLE[KIND] = frozenset(("on_behalf_of",))

ROUTES: Final = [
    Route("POST", "/v1/payment_links", create, taken.CREATE),
    Route("GET", "/v1/payment_links", list_all, taken.LIST),
    Route("GET", "/v1/payment_links/{}", retrieve),
    Route("POST", "/v1/payment_links/{}", update, taken.UPDATE),
    Route("GET", "/v1/payment_links/{}/line_items", line_items, listing()),
]

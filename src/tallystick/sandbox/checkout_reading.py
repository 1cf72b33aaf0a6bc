"""Checkout Sessions read, changed, and run out."""

from __future__ import annotations

from typing import Final

from tallystick.sandbox import checkout_collected, checkout_items, checkout_sessions, expansions
from tallystick.sandbox import checkout_params as taken
from tallystick.sandbox.errors import missing, refused
from tallystick.sandbox.lists import page
from tallystick.sandbox.params import listing, merged_metadata, whole_shipping
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call, Sandbox
from tallystick.sandbox.store import Obj


def retrieve(call: Call) -> Obj:
    """GET /v1/checkout/sessions/{id}."""
    return call.find("checkout.session")


def update(call: Call) -> Obj:
    """POST /v1/checkout/sessions/{id}: metadata, and what has been collected of the customer."""
    session, params = call.find("checkout.session"), call.params
    values: Obj = {}
    if "metadata" in params:
        values["metadata"] = merged_metadata(session["metadata"], params["metadata"])
    if "collected_information" in params:
        shipping = whole_shipping(params["collected_information"].get("shipping_details"), full=False)
        kept = {name: shipping[name] for name in ("address", "name")} if shipping else None
        values["collected_information"] = {**session["collected_information"], "shipping_details": kept}
    if "shipping_options" in params:
        if session["status"] != "open":
            raise refused(f"This Checkout Session has a status of {session['status']}; it cannot be changed.")
        values |= checkout_collected.update_shipping(call, session, params["shipping_options"] or [])
    call.store.change(session, **values)
    return session


def expire(call: Call) -> Obj:
    """POST /v1/checkout/sessions/{id}/expire: only an open one."""
    session = call.find("checkout.session")
    if session["status"] != "open":
        raise refused(
            f'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a'
            f' status of "{session["status"]}".'
        )
    _expire(call, session)
    return session


def run_out(call: Call, ident: str) -> None:
    """Timer: nobody has paid in time."""
    session = call.find("checkout.session", ident)
    if session["status"] == "open":
        _expire(call, session)


def _expire(call: Call, session: Obj) -> None:
    call.sandbox.timers.take(checkout_sessions.EXPIRE, session["id"])
    values: Obj = {"status": "expired", "url": None}
    after = session["after_expiration"]
    if after is not None and after["recovery"]["enabled"]:
        recovery = {
            **after["recovery"],
            "expires_at": call.now + 30 * checkout_sessions.DAY,
            "url": f"{call.base_url}/r/{session['id']}",
        }
        values["after_expiration"] = {"recovery": recovery}
    call.store.change(session, **values)
    call.emit("checkout.session.expired", session)


def list_all(call: Call) -> Obj:
    """GET /v1/checkout/sessions."""
    email = call.params.get("customer_details", {}).get("email")

    def matches(session: Obj) -> bool:
        return email is None or (session["customer_details"] or {}).get("email") == email

    return page(
        call, "checkout.session", "/v1/checkout/sessions", matches=matches, ignore=("customer_details",)
    )


def line_items(call: Call) -> Obj:
    """GET /v1/checkout/sessions/{id}/line_items, in the order in which they were sent."""
    session = call.find("checkout.session")
    return page_of_lines(call, session, f"/v1/checkout/sessions/{session['id']}/line_items")


def page_of_lines(call: Call, seller: Obj, url: str) -> Obj:
    """A page of the lines of a session or of a Payment Link."""
    params, lines = call.params, checkout_items.of(call, seller)
    ids = [line["id"] for line in lines]
    for name in ("starting_after", "ending_before"):
        if name in params and params[name] not in ids:
            raise missing("line item", params[name], name)
    start = ids.index(params["starting_after"]) + 1 if "starting_after" in params else 0
    stop = ids.index(params["ending_before"]) if "ending_before" in params else len(ids)
    limit = params.get("limit", 10)
    if "ending_before" in params:
        start = max(start, stop - limit)
    data = lines[start:stop][:limit]
    more = start > 0 if "ending_before" in params else stop - start > limit
    return {"object": "list", "data": data, "has_more": more, "url": url}


def _included(sandbox: Sandbox, session: Obj) -> Obj:
    """``line_items`` in a session that is asked to show them."""
    return line_items(sandbox.call(ids=(session["id"],)))


expansions.INCLUDABLE["checkout.session"] = {"line_items": _included}
expansions.EXPANDABLE["checkout.session"] = frozenset(
    ("customer", "invoice", "payment_intent", "payment_link", "setup_intent", "subscription")
)

ACTIONS: Final = {checkout_sessions.EXPIRE: run_out}

ROUTES: Final = [
    Route("POST", "/v1/checkout/sessions", checkout_sessions.create, taken.CREATE),
    Route("GET", "/v1/checkout/sessions", list_all, taken.LIST),
    Route("GET", "/v1/checkout/sessions/{}", retrieve),
    Route("POST", "/v1/checkout/sessions/{}", update, taken.UPDATE),
    Route("POST", "/v1/checkout/sessions/{}/expire", expire),
    Route("GET", "/v1/checkout/sessions/{}/line_items", line_items, listing()),
]

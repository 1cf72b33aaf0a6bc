"""The page at which a customer pays a Checkout Session, and the control call that does the same."""

from __future__ import annotations

from html import escape
from typing import Any, Final
from urllib.parse import quote

from tallystick import money
from tallystick.sandbox import (
    bank_accounts,
    checkout_completion,
    checkout_items,
    checkout_payment,
    payment_methods,
)
from tallystick.sandbox.checkout_collected import Collected
from tallystick.sandbox.control_call import Control, Controls
from tallystick.sandbox.errors import StripeError, refused
from tallystick.sandbox.params import Params, integer, text
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj

PATH: Final = "/c/pay/"
"""Where the pages are, below the sandbox's own address."""

_FIELD: Final = '<p><label>{label}<br><input name="{name}" value="{value}" autocomplete="off"></label></p>'
_ACCOUNT: Final = {
    "card": (("card_number", "Card number", "4242424242424242"), ("expiry", "Expires (MM/YY)", "12/34")),
    bank_accounts.US: (("account_number", "US account number", "000123456789"),),
    bank_accounts.SEPA: (("iban", "IBAN", "AT611904300234573201"),),
}
_TITLES: Final = {
    "card": "Card",
    bank_accounts.US: "US bank account",
    bank_accounts.SEPA: "SEPA Direct Debit",
}


def answer(call: Call, ident: str, fields: dict[str, str], *, posted: bool) -> tuple[str, str, str | None]:
    """Title, body and where to go from a session's page. Raises StripeError (404) for no such session."""
    session = call.find(checkout_completion.KIND, ident, param="id")
    refusal = ""
    if posted and session["status"] == "open":
        refusal = _pay(call, session, fields)
    if session["status"] == "complete":
        return "Done", "<p>Thank you, it is paid.</p>", _onward(session)
    if session["status"] == "expired":
        return "Too late", "<p>This page has expired.</p>", None
    wanted = None if refusal else checkout_payment.action_url(call, session)
    if posted and wanted is not None:
        return "Authenticate", "<p>Your bank wants to know that it is you.</p>", wanted
    return "Pay", _form(call, session, refusal), None


def _pay(call: Call, session: Obj, fields: dict[str, str]) -> str:
    """Try to pay; says what was wrong."""
    try:
        method = _method(call, fields)
        checkout_payment.pay(call, session, method["id"], _entered(session, fields))
    except StripeError as error:
        if not error.keeps_work:
            call.store.rollback()
        return str(error)
    return ""


def _entered(session: Obj, fields: dict[str, str]) -> Collected:
    """What the form has sent beside the payment."""
    keys = [field["key"] for field in session["custom_fields"]]
    return Collected(
        email=fields.get("email") or None,
        shipping_rate=fields.get("shipping_rate") or None,
        fields={key: fields.get(f"custom_{key}", "") for key in keys},
    )


def _method(call: Call, fields: dict[str, str]) -> Obj:
    kind = fields.get("method", "card")
    email, name = fields.get("email") or "customer@example.com", fields.get("name") or "Jenny Rosen"
    params: dict[str, Any] = {"type": kind, "billing_details": {"email": email, "name": name}}
    if kind == "card":
        month, _, year = fields.get("expiry", "12/34").partition("/")
        params["card"] = {
            "number": fields.get("card_number", ""),
            "exp_month": int(month) if month.strip().isdecimal() else 0,
            "exp_year": int(year) if year.strip().isdecimal() else 0,
        }
    elif kind == bank_accounts.US:
        account = {"account_number": fields.get("account_number", ""), "routing_number": "110000000"}
        params[kind] = account
    else:
        params["type"] = bank_accounts.SEPA
        params[bank_accounts.SEPA] = {"iban": fields.get("iban", "")}
    return payment_methods.make(call, params)


def _onward(session: Obj) -> str | None:
    url = session.get("return_url") or session["success_url"]
    return None if url is None else str(url).replace("{CHECKOUT_SESSION_ID}", quote(session["id"]))


def _form(call: Call, session: Obj, refusal: str) -> str:
    lines = "".join(
        f"<li>{item['quantity'] or ''} {escape(item['description'] or '')}:"
        f" {escape(_amount(item['amount_total'], item['currency']))}</li>"
        for item in checkout_items.of(call, session)
    )
    total = ""
    if session["amount_total"] is not None:
        total = f"<p><b>Total {escape(_amount(session['amount_total'], session['currency']))}</b></p>"
    email = (session["customer_details"] or {}).get("email") or session["customer_email"] or ""
    shared = _FIELD.format(label="Email", name="email", value=escape(email)) + _asked(call, session)
    forms = "".join(_one(kind, shared) for kind in session["payment_method_types"] if kind in _ACCOUNT)
    back = ""
    if session["cancel_url"]:
        back = f'<p><a href="{escape(session["cancel_url"], quote=True)}">Go back</a></p>'
    wrong = f"<p role=alert><b>{escape(refusal)}</b></p>" if refusal else ""
    return f"{wrong}<ul>{lines}</ul>{total}{forms}{back}"


def _asked(call: Call, session: Obj) -> str:
    """The ways to ship and the merchant's own fields, as a form asks for them."""
    ways = "".join(
        f'<option value="{item["shipping_rate"]}">'
        f"{escape(call.find('shipping_rate', item['shipping_rate'])['display_name'])}:"
        f" {escape(_amount(item['shipping_amount'], session['currency']))}</option>"
        for item in session["shipping_options"]
    )
    shown = f'<p><label>Shipping<br><select name="shipping_rate">{ways}</select></label></p>' if ways else ""
    for field in session["custom_fields"]:
        name, label = f"custom_{field['key']}", escape(field["label"]["custom"])
        terms = field[field["type"]]
        if field["type"] != "dropdown":
            shown += _FIELD.format(label=label, name=name, value=escape(terms["default_value"] or ""))
            continue
        choices = "".join(
            f'<option value="{escape(option["value"], quote=True)}">{escape(option["label"])}</option>'
            for option in terms["options"]
        )
        shown += f'<p><label>{label}<br><select name="{name}">{choices}</select></label></p>'
    return shown


def _one(kind: str, shared: str) -> str:
    fields = "".join(
        _FIELD.format(label=label, name=name, value=value) for name, label, value in _ACCOUNT[kind]
    )
    button = f'<button name="method" value="{kind}">Pay</button>'
    return f'<form method="post"><h2>{_TITLES[kind]}</h2>{shared}{fields}{button}</form>'


def _amount(amount: int, code: str) -> str:
    return str(money.Money(amount, code))


def complete(control: Control) -> Obj:
    """Pay an open Checkout Session with ``payment_method`` (pm_card_visa), as its page does; shows it.

    ``email``, ``shipping_rate`` and ``custom_fields`` are what the customer enters; what is not given of the
    fields is made up. ``presentment_currency`` is what adaptive pricing shows and takes instead of the
    session's. A decline is the answer (402), and leaves what a decline leaves.
    """
    call = control.call()
    session = call.find(checkout_completion.KIND)
    body = control.body
    collected = Collected(
        body.get("email"),
        body.get("shipping_rate"),
        body.get("custom_fields"),
        body.get("presentment_currency"),
    )
    method = control.body.get("payment_method", "pm_card_visa")
    try:
        checkout_payment.pay(call, session, method, collected)
    except StripeError as error:
        if error.keeps_work:
            call.store.commit()
        raise
    return session


# As Stripe's own page does it: the calls that ``stripe trigger checkout.session.completed`` makes


def page_shown(call: Call) -> Obj:
    """GET /v1/payment_pages/{session}: undocumented, as Stripe's page and CLI call it."""
    return call.find(checkout_completion.KIND)


def page_confirmed(call: Call) -> Obj:
    """POST /v1/payment_pages/{session}/confirm: pay with ``payment_method``."""
    session, params = call.find(checkout_completion.KIND), call.params
    expected = params.get("expected_amount")
    if expected is not None and expected != session["amount_total"]:
        raise refused("The amount of this Checkout Session has changed.", code="checkout_amount_mismatch")
    checkout_payment.pay(call, session, params.get("payment_method"))
    return session


ROUTES: Final = [
    Route("GET", "/v1/payment_pages/{}", page_shown),
    Route(
        "POST",
        "/v1/payment_pages/{}/confirm",
        page_confirmed,
        Params({"expected_amount": integer, "payment_method": text()}),
    ),
]
CONTROLS: Final[Controls] = {("POST", "checkout_sessions", "{}", "complete"): complete}

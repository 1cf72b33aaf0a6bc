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
from tallystick.sandbox.control_call import Control, Controls
from tallystick.sandbox.errors import StripeError
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
        checkout_payment.pay(call, session, method["id"], fields.get("email") or None)
    except StripeError as error:
        if not error.keeps_work:
            call.store.rollback()
        return str(error)
    return ""


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
    shared = _FIELD.format(label="Email", name="email", value=escape(email))
    forms = "".join(_one(kind, shared) for kind in session["payment_method_types"] if kind in _ACCOUNT)
    back = ""
    if session["cancel_url"]:
        back = f'<p><a href="{escape(session["cancel_url"], quote=True)}">Go back</a></p>'
    wrong = f"<p role=alert><b>{escape(refusal)}</b></p>" if refusal else ""
    return f"{wrong}<ul>{lines}</ul>{total}{forms}{back}"


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

    A decline is the answer (402), and leaves what a decline leaves.
    """
    call = control.call()
    session = call.find(checkout_completion.KIND)
    email = control.body.get("email")
    method = control.body.get("payment_method", "pm_card_visa")
    try:
        checkout_payment.pay(call, session, method, None if email is None else str(email))
    except StripeError as error:
        if error.keeps_work:
            call.store.commit()
        raise
    return session


CONTROLS: Final[Controls] = {("POST", "checkout_sessions", "{}", "complete"): complete}

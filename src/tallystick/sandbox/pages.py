"""The few pages a customer sees: Checkout, 3D Secure, and a receipt."""

from __future__ import annotations

from html import escape
from typing import Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from tallystick import money
from tallystick.sandbox import (
    billing_portal,
    checkout_page,
    confirmation,
    payment_link_opening,
    setup_intents,
)
from tallystick.sandbox.asgi import Receive, Scope, Send, read_body, send_bytes
from tallystick.sandbox.errors import StripeError, missing
from tallystick.sandbox.forms import decode
from tallystick.sandbox.state import Call, Sandbox
from tallystick.sandbox.store import Obj

_HTML: Final = b"text/html; charset=utf-8"

_SHELL: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:26rem;margin:12vh auto;padding:0 1rem}}
button{{font:inherit;padding:.6rem 1.2rem;margin-right:.5rem}}</style></head>
<body><h1>{title}</h1>{body}</body></html>"""

_FORM: Final = """<p>{amount} with the card ending in {last4}.</p>
<form method="post"><input type="hidden" name="{kind}_client_secret" value="{secret}">
<button name="outcome" value="succeed">Authenticate</button>
<button name="outcome" value="fail">Fail</button></form>"""


async def answer(sandbox: Sandbox, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer /b/{Payment Link}, /c/pay/{Checkout Session}, /3d_secure/{intent} and /receipts/{charge}."""
    body = await read_body(receive)
    section, _, ident = scope["path"].strip("/").partition("/")
    host = dict(scope["headers"]).get(b"host", b"127.0.0.1").decode("latin-1")
    call = sandbox.call(base_url=f"{scope.get('scheme', 'http')}://{host}")
    location = None
    try:
        posted = scope["method"] == "POST"
        fields = decode(scope["query_string"]) | (decode(body) if posted else {})
        if section == "receipts":
            shown = _receipt(call, ident)
        elif section == "p":
            shown = _page(*billing_portal.page_of(call, ident.removeprefix("session/")))
        elif section == "b":
            shown, location = _page("Checkout", ""), payment_link_opening.answer(call, ident)
        elif section == "c":
            title, inside, location = checkout_page.answer(
                call, ident.removeprefix("pay/"), fields, posted=posted
            )
            shown = _page(title, inside)
        else:
            shown, location = _secure(call, ident, fields, posted=posted)
        status = 303 if location else 200
    except StripeError as error:
        sandbox.store.rollback()
        status, shown = error.status, _page("Not found", f"<p>{escape(str(error))}</p>")
    sandbox.store.commit()
    headers = [(b"location", location.encode())] if location else []
    await send_bytes(send, status, shown.encode(), _HTML, headers)


def _page(title: str, body: str) -> str:
    return _SHELL.format(title=escape(title), body=body)


def _amount(obj: Obj) -> str:
    return str(money.Money(obj["amount"], obj["currency"]))


def _receipt(call: Call, ident: str) -> str:
    charge = call.find("charge", ident, param="id")
    paid = f"<p>{escape(_amount(charge))} paid, {escape(charge['description'] or 'no description')}.</p>"
    return _page("Receipt", paid)


def _secure(call: Call, ident: str, fields: dict[str, str], *, posted: bool) -> tuple[str, str | None]:
    """The page and where to go from it. The client secret is the key to it, as at Stripe."""
    kind = "setup_intent" if ident.startswith("seti_") else "payment_intent"
    intent = call.find(kind, ident, param="id")
    if fields.get(f"{kind}_client_secret") != intent["client_secret"]:
        raise missing(kind, ident, f"{kind}_client_secret", named=True)
    if posted:
        success = fields.get("outcome") == "succeed"
        family = setup_intents if kind == "setup_intent" else confirmation
        try:
            family.authenticated(call, intent, success=success)
        except StripeError as error:
            if not error.keeps_work:
                raise
            success = False
        return _page("Done", f"<p>The payment is now {escape(intent['status'])}.</p>"), _back(
            call, intent, success=success
        )
    if intent["status"] != "requires_action":
        return _page("Nothing to do", f"<p>The payment is {escape(intent['status'])}.</p>"), None
    method = call.find("payment_method", intent["payment_method"])
    form = _FORM.format(
        amount=escape(_amount(intent)) if kind == "payment_intent" else "Nothing is charged now",
        kind=kind,
        last4=escape(method["card"]["last4"]),
        secret=escape(intent["client_secret"]),
    )
    return _page("Authenticate the payment", form), None


def _back(call: Call, intent: Obj, *, success: bool) -> str | None:
    """The return_url with what Stripe adds to it."""
    url = call.store.hidden(intent).get("return_url")
    if url is None:
        return None
    kind = intent["object"]
    parts = urlsplit(url)
    added = urlencode(
        {
            kind: intent["id"],
            f"{kind}_client_secret": intent["client_secret"],
            "redirect_status": "succeeded" if success else "failed",
        }
    )
    query = f"{parts.query}&{added}" if parts.query else added
    return urlunsplit(parts._replace(query=query))

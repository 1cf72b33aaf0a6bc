"""The hosted invoice page, at which a customer pays by card, and invoices and credit notes as small PDFs.

``/i/ACCOUNT/INVOICE?token=…`` (GET shows, POST pays with ``card_number``), ``/invoice/ACCOUNT/INVOICE/pdf``
and ``/credit_notes/ACCOUNT/NOTE/pdf``. Without its token an invoice is not found.
"""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import Final

from tallystick import money
from tallystick.sandbox import confirmation, invoice_payments, payment_methods
from tallystick.sandbox.asgi import Receive, Scope, Send, read_body, send_bytes
from tallystick.sandbox.errors import StripeError, missing
from tallystick.sandbox.forms import decode
from tallystick.sandbox.state import Call, Sandbox
from tallystick.sandbox.store import Obj

PATHS: Final = ("/i/", "/invoice/", "/credit_notes/")

_SHELL: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title><style>body{{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:10vh auto;
padding:0 1rem}}td:last-child{{text-align:right}}table{{width:100%}}button,input{{font:inherit;padding:.5rem}}
</style></head><body><h1>{title}</h1>{body}</body></html>"""
_FORM: Final = """<form method="post"><p><label>Card number<br>
<input name="card_number" value="4242424242424242" autocomplete="off"></label></p>
<button>Pay {amount}</button></form>"""


async def answer(sandbox: Sandbox, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request for one of ``PATHS``."""
    body = await read_body(receive)
    parts = scope["path"].strip("/").split("/")
    host = dict(scope["headers"]).get(b"host", b"127.0.0.1").decode("latin-1")
    call = sandbox.call(base_url=f"{scope.get('scheme', 'http')}://{host}")
    token = decode(scope["query_string"]).get("token", "")
    kind, status = b"text/html; charset=utf-8", 200
    try:
        if parts[0] == "credit_notes":
            kind, shown = b"application/pdf", pdf(_note_rows(call.find("credit_note", parts[2])))
        else:
            invoice = _invoice(call, parts[2] if len(parts) > 2 else "", token)
            if parts[0] == "invoice":
                kind, shown = b"application/pdf", pdf(_rows(call, invoice))
            else:
                form = decode(body) if scope["method"] == "POST" else {}
                shown = _page(call, invoice, form.get("card_number"), posted=scope["method"] == "POST")
    except (StripeError, IndexError) as error:
        sandbox.store.rollback()
        status, kind = 404, b"text/html; charset=utf-8"
        shown = _SHELL.format(title="Not found", body=f"<p>{escape(str(error))}</p>").encode()
    sandbox.store.commit()
    await send_bytes(send, status, shown, kind)


def _invoice(call: Call, ident: str, token: str) -> Obj:
    invoice = call.find("invoice", ident)
    if call.store.hidden(invoice).get("token") != token:
        raise missing("invoice", ident, "token")
    return invoice


def _page(call: Call, invoice: Obj, number: str | None, *, posted: bool) -> bytes:
    """The page, after the payment that was posted."""
    refusal = _pay(call, invoice, number or "") if posted and invoice["status"] == "open" else ""
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in _rows(call, invoice)
    )
    parts = [f"<p>This invoice is {escape(invoice['status'])}.</p>", f"<table>{rows}</table>"]
    if refusal:
        parts.append(f"<p role=alert>{escape(refusal)}</p>")
    if invoice["status"] == "open":
        left = str(money.Money(invoice["amount_remaining"], invoice["currency"]))
        parts.append(_FORM.format(amount=escape(left)))
    title = f"Invoice {escape(invoice['number'] or '')}"
    return _SHELL.format(title=title, body="".join(parts)).encode()


def _pay(call: Call, invoice: Obj, number: str) -> str:
    """Pay with a card that the customer typed; says what was wrong."""
    intent = invoice_payments.intent_of(call, invoice)
    if intent is None:
        return "There is nothing to pay."
    try:
        card = {"number": number, "exp_month": 12, "exp_year": datetime.fromtimestamp(call.now, UTC).year + 2}
        method = payment_methods.make(call, {"type": "card", "card": card})
        call.store.change(
            intent, payment_method=method["id"], status="requires_confirmation", next_action=None
        )
        confirmation.confirm(call, intent, confirmation.Attempt(use_stripe_sdk=True))
    except StripeError as error:
        if not error.keeps_work:
            call.store.rollback()
        return str(error)
    if intent["status"] == "requires_action":
        secret = f"payment_intent_client_secret={intent['client_secret']}"
        return f"Your bank wants to know that it is you: {call.base_url}/3d_secure/{intent['id']}?{secret}"
    return ""


def _rows(call: Call, invoice: Obj) -> list[tuple[str, str]]:
    """An invoice in words and amounts."""
    code = invoice["currency"]

    def shown(amount: int) -> str:
        return str(money.Money(amount, code))

    lines = call.store.tables["line_item"].having("invoice", invoice["id"])
    return [
        (f"Invoice {invoice['number']}", invoice["customer_name"] or invoice["customer_email"] or ""),
        *[(line["description"] or "Item", shown(line["amount"])) for line in lines],
        ("Subtotal", shown(invoice["subtotal"])),
        *[("Discount", shown(-item["amount"])) for item in invoice["total_discount_amounts"]],
        *[(f"Tax ({tax['tax_behavior']})", shown(tax["amount"])) for tax in invoice["total_taxes"]],
        ("Total", shown(invoice["total"])),
        ("Amount due", shown(invoice["amount_due"])),
        ("Amount paid", shown(invoice["amount_paid"])),
    ]


def _note_rows(note: Obj) -> list[tuple[str, str]]:
    code = note["currency"]
    return [
        (f"Credit note {note['number']}", ""),
        *[
            (line["description"] or "Credit", str(money.Money(line["amount"], code)))
            for line in note["lines"]["data"]
        ],
        ("Total", str(money.Money(note["total"], code))),
    ]


def pdf(rows: list[tuple[str, str]]) -> bytes:
    """A one-page PDF of rows of text, by hand: no library for so little."""
    text = ["BT /F1 11 Tf 50 790 Td 16 TL"]
    for name, value in rows[:45]:
        line = f"{name[:70]}  {value}".encode("cp1252", "replace").decode("cp1252")
        safe = line.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
        text.append(f"({safe}) Tj T*")
    text.append("ET")
    stream = "\n".join(text).encode("cp1252")
    font = b"<< /Font << /F1 5 0 R >> >>"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources %b >>" % font,
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    out = bytearray(b"%PDF-1.4\n")
    places = []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % place for place in places)
    out += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(out)

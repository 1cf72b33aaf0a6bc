"""How a payment with its ledger looks on a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tallystick.money import decimal_text


def show_payment(title: str, payment: dict[str, Any]) -> Panel:
    """A payment, as ``GET /payments/{id}`` answers it, with its ledger entries."""
    currency = payment["currency"]
    facts = [
        f"{decimal_text(payment['amount'], currency)} {currency.upper()}",
        payment["status"],
        f"captured {decimal_text(payment['amount_captured'], currency)}",
    ]
    if payment["amount_refunded"]:
        facts.append(f"refunded {decimal_text(payment['amount_refunded'], currency)}")
    if error := payment["last_error"]:
        facts.append(error.get("decline_code") or error.get("code") or "declined")
    head = Text(" · ".join(facts))
    body = (
        _entries(payment["ledger"]) if payment["ledger"] else Text("No money moved: nothing in the ledger.")
    )
    return Panel(Group(head, body), title=f"{title}  {payment['id']}", title_align="left", expand=False)


def _entries(ledger: list[dict[str, Any]]) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for column in ("effect", "account", "currency"):
        table.add_column(column, overflow="fold")
    table.add_column("debit", justify="right")
    table.add_column("credit", justify="right")
    for transaction in ledger:
        effect = transaction["effect_key"]
        for entry in transaction["entries"]:
            shown = decimal_text(entry["amount"], entry["currency"])
            sides = (shown, "") if entry["direction"] == "debit" else ("", shown)
            table.add_row(effect, entry["account"], entry["currency"].upper(), *sides)
            effect = ""
    return table

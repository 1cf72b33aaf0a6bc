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
    """Each ledger transaction under its effect key; debits and credits in columns of their own."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("effect and accounts", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("debit", justify="right", no_wrap=True)
    table.add_column("credit", justify="right", no_wrap=True)
    for transaction in ledger:
        table.add_row(Text(transaction["effect_key"], style="cyan"))
        for entry in transaction["entries"]:
            shown = decimal_text(entry["amount"], entry["currency"])
            sides = (shown, "") if entry["direction"] == "debit" else ("", shown)
            table.add_row(f"  {entry['account']}", entry["currency"].upper(), *sides)
    return table

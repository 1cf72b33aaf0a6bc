"""The ledger as rows: one an entry, as CSV for spreadsheets and databases."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Final

from typing_extensions import override

from tallystick.ledger.export.books import Books, ExportAccount, ExportTransaction
from tallystick.ledger.export.writer import Writer
from tallystick.money import plain_decimal

COLUMNS: Final = (
    "date",
    "occurred_at",
    "effect_key",
    "kind",
    "description",
    "payment",
    "source",
    "account",
    "account_type",
    "debit",
    "credit",
    "currency",
    "amount_minor",
)
"""``amount_minor``: the same amount in minor units, a debit positive and a credit negative."""


class CsvWriter(Writer):
    """RFC 4180, UTF-8."""

    @override
    def begin(self, books: Books, first: date | None) -> bytes:
        """The names of the columns."""
        return csv_rows([COLUMNS])

    @override
    def transaction(self, item: ExportTransaction) -> bytes:
        """A row an entry."""
        head = (
            item.on.isoformat(),
            item.occurred_at.isoformat(),
            safe_cell(item.effect_key),
            item.kind,
            safe_cell(item.description),
            safe_cell(item.payment or ""),
            safe_cell(item.source or ""),
        )
        return csv_rows(
            (*head, account.name, account.type.value, *sides(account, amount), account.currency, amount)
            for account, amount in item.entries
        )


def sides(account: ExportAccount, amount: int) -> tuple[str, str]:
    """An amount in the column of debits or in that of credits."""
    shown = plain_decimal(abs(amount), account.currency)
    return (shown, "") if amount >= 0 else ("", shown)


def safe_cell(value: str) -> str:
    """A text that no spreadsheet takes for a formula: one that would be gets an apostrophe in front."""
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def csv_rows(rows: Iterable[Sequence[object]]) -> bytes:
    """Lines of CSV."""
    lines = io.StringIO()
    csv.writer(lines).writerows(rows)
    return lines.getvalue().encode()

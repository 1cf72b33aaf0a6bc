"""The ledger as manual journals for QuickBooks Online and Xero.

Both know accounts under names or codes of their own, which ``AccountNames`` holds, and take a journal in one
currency: a ledger transaction in two becomes two journals, each balanced by its side of ``equity:fx``.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from datetime import date
from typing import Final

from typing_extensions import override

from tallystick.errors import InvalidRequestError
from tallystick.ledger.export.account_names import AccountNames
from tallystick.ledger.export.books import Books, ExportEntry, ExportTransaction
from tallystick.ledger.export.rows import csv_rows, safe_cell, sides
from tallystick.ledger.export.writer import Writer
from tallystick.money import plain_decimal

_QUICKBOOKS_COLUMNS: Final = (
    "JournalNo",
    "JournalDate",
    "Currency",
    "Memo",
    "AccountName",
    "Debits",
    "Credits",
    "Description",
    "Name",
)
_XERO_COLUMNS: Final = ("*Narration", "*Date", "Description", "*AccountCode", "*TaxRate", "*Amount")
_SPACES: Final = re.compile(r"\s+")
_LONGEST_MEMO: Final = 4000


class QuickBooksWriter(Writer):
    """QuickBooks Online's import of journal entries: dates as MM/DD/YYYY, journal numbers of 21 characters.

    ``Name``, QuickBooks' own customer or vendor, is left empty: it refuses names that it does not know.
    """

    def __init__(self, names: AccountNames) -> None:
        self._names = names

    @override
    def begin(self, books: Books, first: date | None) -> bytes:
        """The names of the columns."""
        return csv_rows([_QUICKBOOKS_COLUMNS])

    @override
    def transaction(self, item: ExportTransaction) -> bytes:
        """A journal for each currency."""
        day = item.on.strftime("%m/%d/%Y")
        memo = _line(item.description)
        rows = []
        for currency, legs in _by_currency(item):
            head = (journal_number(item, currency), day, currency.upper(), memo)
            rows += [
                (*head, self._names.of(account.name), *sides(account, amount), _line(item.effect_key), "")
                for account, amount in legs
            ]
        return csv_rows(rows)


class XeroWriter(Writer):
    """Xero's import of manual journals: in the organisation's base currency, accounts by their codes.

    Lines with the same narration and date are one journal, so the narration carries the effect key.
    """

    def __init__(self, names: AccountNames) -> None:
        self._names = names

    @override
    def begin(self, books: Books, first: date | None) -> bytes:
        """The names of the columns.

        Raises InvalidRequestError for two currencies, or for an account without a code.
        """
        currencies = sorted({each.currency for each in books.accounts.values()})
        if len(currencies) > 1:
            raise InvalidRequestError(
                f"Xero takes manual journals in one currency; the ledger has {', '.join(currencies)}:"
                " name one.",
                param="currency",
            )
        nameless = sorted({each.name for each in books.accounts.values()} - self._names.names.keys())
        if nameless:
            raise InvalidRequestError(
                f"Xero knows accounts by codes, and these have none: {', '.join(nameless)}. Give them in the"
                " file of TALLYSTICK_EXPORT_NAMES_FILE.",
                param="format",
            )
        return csv_rows([_XERO_COLUMNS])

    @override
    def transaction(self, item: ExportTransaction) -> bytes:
        """A journal for each currency; a debit is positive."""
        day = item.on.strftime("%d/%m/%Y")
        description = _line(item.description)
        return csv_rows(
            (
                _line(item.effect_key),
                day,
                description,
                self._names.of(account.name),
                self._names.tax_rate,
                plain_decimal(amount, account.currency),
            )
            for _, legs in _by_currency(item)
            for account, amount in legs
        )


def journal_number(item: ExportTransaction, currency: str) -> str:
    """At most 21 characters that stay with the fact: the day, and a hash of the effect key and currency.

    A journal that is imported again has the number it had, whatever else was posted meanwhile.
    """
    digest = hashlib.sha256(f"{item.effect_key}|{currency}".encode()).digest()
    return f"{item.on:%Y%m%d}-{base64.b32encode(digest)[:12].decode()}"


def _by_currency(item: ExportTransaction) -> Iterator[tuple[str, list[ExportEntry]]]:
    found: dict[str, list[ExportEntry]] = {}
    for leg in item.entries:
        found.setdefault(leg.account.currency, []).append(leg)
    yield from sorted(found.items())


def _line(value: str) -> str:
    return safe_cell(_SPACES.sub(" ", value).strip()[:_LONGEST_MEMO])

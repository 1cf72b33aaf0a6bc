"""The ledger as a journal of hledger, and of ledger-cli, which reads nearly the same.

Accounts keep their names. Debits are positive and credits negative.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Final

from typing_extensions import override

from tallystick.ledger.chart import AccountType
from tallystick.ledger.export.books import Books, ExportAccount, ExportEntry, ExportTransaction
from tallystick.ledger.export.writer import Writer
from tallystick.money import plain_decimal

_TYPES: Final = {
    AccountType.ASSET: "A",
    AccountType.LIABILITY: "L",
    AccountType.EQUITY: "E",
    AccountType.REVENUE: "R",
    AccountType.CONTRA_REVENUE: "R",
    AccountType.EXPENSE: "X",
}
_SPACES: Final = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_MEANINGFUL: Final = str.maketrans({";": ",", "|": "/", "[": "<", "]": ">", "(": "<", ")": ">"})
"""In a description: a comment, the end of a payee, a date, a code."""
_LONGEST: Final = 500
"""Characters; ledger-cli reads lines of up to 4096 bytes."""
_MEANINGFUL_IN_TAG: Final = _MEANINGFUL | str.maketrans({",": "."})


def commodity(currency: str) -> str:
    """A currency's code as both write it: upper case, in quotes when it is not of letters only."""
    code = currency.upper()
    return code if code.isalpha() else f'"{code}"'


class HledgerWriter(Writer):
    """Declares accounts and commodities, writes transactions, asserts balances by postings of zero."""

    def __init__(self, *, types: bool) -> None:
        """``types``: with hledger's account types and decimal mark, which ledger-cli does not know."""
        self._types = types

    @override
    def begin(self, books: Books, first: date | None) -> bytes:
        """Commodities, accounts, and what stood on them before the period."""
        lines = ["; Exported by Tallystick. Amounts: debit positive, credit negative."]
        if self._types:
            lines.append("decimal-mark .")
        lines.append("")
        for currency in sorted({each.currency for each in books.accounts.values()}):
            lines += [f"commodity {commodity(currency)}", f"  format {self._sample(currency)}"]
        lines += ["", *(f"tag {name}" for name in ("kind", "payment", "source")), ""]
        types = {each.name: each.type for each in books.accounts.values()}
        for name, type_ in sorted(types.items()):
            lines.append(f"account {name}  ; type: {_TYPES[type_]}" if self._types else f"account {name}")
        lines.append("")
        if first is not None and any(books.opening.values()):
            lines.append(f"{first - timedelta(days=1)} * Opening balances")
            lines += [_posting(ExportEntry(*each)) for each in sorted(books.opening.items()) if each[1]]
            lines.append("")
        return _text(lines)

    @override
    def transaction(self, item: ExportTransaction) -> bytes:
        """With the effect key as its code; pending (``!``) when it touches suspense."""
        flag = "!" if any(account.name.startswith("suspense:") for account, _ in item.entries) else "*"
        code = _plain(item.effect_key, _MEANINGFUL)
        lines = [
            f"{item.on} {flag} ({code}) {_plain(item.description, _MEANINGFUL)}",
            f"    ; kind: {_plain(item.kind, _MEANINGFUL_IN_TAG)}",
        ]
        if item.payment is not None:
            lines.append(f"    ; payment: {_plain(item.payment, _MEANINGFUL_IN_TAG)}")
        if item.source is not None:
            lines.append(f"    ; source: {_plain(item.source, _MEANINGFUL_IN_TAG)}")
        lines += map(_posting, item.entries)
        lines.append("")
        return _text(lines)

    @override
    def balances(self, on: date, balances: Mapping[ExportAccount, int]) -> bytes:
        """A transaction of zeros at the end of the day, each asserting what its account then holds."""
        if not balances:
            return b""
        lines = [f"{on} * Balances at the end of {on}"]
        for account, amount in balances.items():
            zero, code = plain_decimal(0, account.currency), commodity(account.currency)
            asserted = plain_decimal(amount, account.currency)
            lines.append(f"    {account.name}  {zero} {code} = {asserted} {code}")
        return _text([*lines, ""])

    def _sample(self, currency: str) -> str:
        """An amount that shows the decimals of a currency; hledger wants the mark even without any."""
        amount = plain_decimal(0, currency).replace("0", "1000", 1)
        mark = "." if self._types and "." not in amount else ""
        return f"{amount}{mark} {commodity(currency)}"


def _posting(leg: ExportEntry) -> str:
    account, amount = leg
    return f"    {account.name}  {plain_decimal(amount, account.currency)} {commodity(account.currency)}"


def _plain(value: str, meaningful: Mapping[int, str]) -> str:
    """On one line that is not too long, and without what would mean something."""
    line = _SPACES.sub(" ", value).strip().translate(meaningful)
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _text(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode()

"""The ledger as a Beancount file.

Debits are positive and credits negative, as Beancount has it: so income and liabilities show negative sums.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Final

from typing_extensions import override

from tallystick.ledger.export.books import Books, ExportAccount, ExportEntry, ExportTransaction
from tallystick.ledger.export.writer import Writer
from tallystick.money import plain_decimal

_ROOTS: Final = {
    "assets": "Assets",
    "suspense": "Assets:Suspense",
    "liabilities": "Liabilities",
    "equity": "Equity",
    "revenue": "Income",
    "expenses": "Expenses",
}
_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"})
_LINK: Final = re.compile(r"[A-Za-z0-9_./-]+")
_DAY: Final = timedelta(days=1)


def account_name(name: str) -> str:
    """``assets:stripe:payouts_in_transit`` as ``Assets:Stripe:Payouts-In-Transit``.

    No two names of the chart become the same. What no ordinary name gives, a capital inside a word, marks
    what Beancount has no letter for: an underscore in front, and ``assets:suspense`` beside ``suspense``.
    """
    root, _, rest = name.partition(":")
    parts = [_component(part) for part in rest.split(":")]
    if root == "assets" and parts[0] == "Suspense":
        parts[0] = "SUspense"
    return ":".join((_ROOTS[root], *parts))


def _component(part: str) -> str:
    bare = part.lstrip("_")
    marked = "XU-" * (len(part) - len(bare))
    return marked + "-".join(word[:1].upper() + word[1:] for word in bare.split("_"))


def commodity(currency: str) -> str:
    """A currency's code as Beancount wants it: upper case."""
    return currency.upper()


class BeancountWriter(Writer):
    """Opens accounts, writes transactions with their metadata, asserts balances to the last unit."""

    def __init__(self) -> None:
        self._accounts: dict[ExportAccount, tuple[str, str]] = {}

    @override
    def begin(self, books: Books, first: date | None) -> bytes:
        """Options, commodities, accounts, and what stood on them before the period."""
        self._accounts = {
            each: (account_name(each.name), commodity(each.currency)) for each in books.accounts.values()
        }
        lines = [
            ";; Exported by Tallystick. Amounts: debit positive, credit negative.",
            'option "title" "Tallystick"',
        ]
        if first is None:
            return _text(lines)
        opened = first - _DAY if books.period.first else first
        commodities = sorted({code for _, code in self._accounts.values()})
        lines += [f'option "operating_currency" "{code}"' for code in commodities]
        lines += ["", *(f"{opened} commodity {code}" for code in commodities), ""]
        codes: dict[str, list[str]] = {}
        for name, code in sorted(self._accounts.values()):
            codes.setdefault(name, []).append(code)
        lines += [f"{opened} open {name} {','.join(codes[name])}" for name in codes]
        lines.append("")
        if any(books.opening.values()):
            lines.append(f'{opened} * "Opening balances"')
            lines.append('  kind: "opening_balances"')
            lines += [
                self._posting(ExportEntry(account, amount))
                for account, amount in sorted(books.opening.items())
                if amount
            ]
            lines.append("")
        return _text(lines)

    @override
    def transaction(self, item: ExportTransaction) -> bytes:
        """Flagged with ``!`` when it touches suspense; linked to its payment."""
        flag = "!" if any(account.name.startswith("suspense:") for account, _ in item.entries) else "*"
        link = f" ^{item.payment}" if item.payment and _LINK.fullmatch(item.payment) else ""
        lines = [
            f'{item.on} {flag} "{item.description.translate(_ESCAPES)}"{link}',
            f'  effect_key: "{item.effect_key.translate(_ESCAPES)}"',
            f'  kind: "{item.kind.translate(_ESCAPES)}"',
            f'  occurred_at: "{item.occurred_at.isoformat()}"',
        ]
        if item.payment is not None:
            lines.append(f'  payment: "{item.payment.translate(_ESCAPES)}"')
        if item.source is not None:
            lines.append(f'  source: "{item.source.translate(_ESCAPES)}"')
        lines += map(self._posting, item.entries)
        lines.append("")
        return _text(lines)

    @override
    def balances(self, on: date, balances: Mapping[ExportAccount, int]) -> bytes:
        """Assertions without tolerance; they hold at the beginning of a day, so they are of the next one."""
        lines = []
        for account, amount in balances.items():
            name, code = self._accounts[account]
            lines.append(f"{on + _DAY} balance {name} {plain_decimal(amount, account.currency)} ~ 0 {code}")
        return _text([*lines, ""])

    def _posting(self, leg: ExportEntry) -> str:
        name, code = self._accounts[leg.account]
        return f"  {name}  {plain_decimal(leg.amount, leg.account.currency)} {code}"


def _text(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode()

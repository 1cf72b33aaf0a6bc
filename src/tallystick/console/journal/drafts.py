"""The form of a journal entry: what was typed, what is wrong with it beside its field, and what it comes to.

Nothing that was typed is lost: whatever is wrong, the form is shown again as it was sent.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError
from starlette.datastructures import FormData

from tallystick.api.journal_bodies import CreateJournalEntry
from tallystick.console.fields import in_utc
from tallystick.errors import InvalidRequestError
from tallystick.ledger import chart
from tallystick.ledger.journal import MOST_LINES
from tallystick.ledger.suspense import SuspenseItem
from tallystick.money import CURRENCIES, UnknownCurrencyError, decimal_text, minor_units, plain_decimal

ROWS: Final = 4
"""Of an empty form, and what is added at a time."""
_CELLS: Final = ("account", "debit", "credit", "currency")
_HEADER: Final = ("description", "reason", "occurred_at", "payment")
_EMPTY: Final = {
    "description": "Say what the ledger is to show.",
    "reason": "Say why: whoever approves or audits it will ask.",
}


@dataclass
class Row:
    """A line as it was typed; ``errors`` by cell."""

    account: str = ""
    debit: str = ""
    credit: str = ""
    currency: str = ""
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was typed. A currency alone is a choice that was left standing."""
        return not (self.account or self.debit or self.credit)


@dataclass
class EntryForm:
    """A journal entry as it was typed. ``key`` makes sure that it is posted once, however often it is sent.

    ``errors`` are by field; those of ``lines`` are about all lines together.
    """

    key: str
    rows: list[Row]
    description: str = ""
    reason: str = ""
    occurred_at: str = ""
    payment: str = ""
    allow_new_accounts: bool = False
    errors: dict[str, str] = field(default_factory=dict)

    @property
    def is_wrong(self) -> bool:
        """Whether anything stands beside a field."""
        return bool(self.errors) or any(row.errors for row in self.rows)

    def add_rows(self) -> None:
        """More lines to fill, up to as many as an entry has."""
        self.rows += [Row() for _ in range(min(ROWS, MOST_LINES - len(self.rows)))]

    def body(self) -> CreateJournalEntry | None:
        """As the API takes it; None when something is wrong, which then stands beside its field."""
        filled = [row for row in self.rows if not row.is_empty]
        for row, above in zip(filled[1:], filled, strict=False):
            row.currency = row.currency or above.currency
        lines = [line for row in filled if (line := _line(row)) is not None]
        for name, words in _EMPTY.items():
            if not getattr(self, name).strip():
                self.errors[name] = words
        if len(filled) < 2:
            self.errors["lines"] = "An entry has at least two lines: a debit and a credit."
        if self.is_wrong:
            return None
        try:
            return CreateJournalEntry.model_validate(
                {
                    "description": self.description.strip(),
                    "reason": self.reason.strip(),
                    "lines": lines,
                    "occurred_at": in_utc(self.occurred_at) or None,
                    "payment": self.payment.strip() or None,
                    "allow_new_accounts": self.allow_new_accounts,
                }
            )
        except ValidationError as error:
            for each in error.errors():
                self.refuse(".".join(map(str, each["loc"])), each["msg"])
            return None

    def refuse(self, param: str | None, words: str, differences: Mapping[str, int] | None = None) -> None:
        """Put what is wrong beside the field that the API names: ``lines.2.account``, ``reason``."""
        if differences:
            words = " ".join(_difference(code, amount) for code, amount in differences.items())
        name, _, rest = (param or "").partition(".")
        number, _, cell = rest.partition(".")
        filled = [row for row in self.rows if not row.is_empty]
        if name == "lines" and number.isdigit() and int(number) < len(filled):
            row = filled[int(number)]
            if cell == "amount":
                cell = "debit" if row.debit else "credit"
            row.errors[cell if cell in _CELLS else "account"] = words
        else:
            self.errors[name if name in _HEADER else "lines"] = words


def empty_form() -> EntryForm:
    """Nothing typed yet."""
    return EntryForm(_new_key(), [Row() for _ in range(ROWS)])


def clearing_form(item: SuspenseItem) -> EntryForm:
    """What takes the rest of an item out of suspense; where it belongs is for the operator to say."""
    amount = plain_decimal(abs(item.left), item.currency)
    lies_debit = item.left > 0
    debited, credited = Row(debit=amount), Row(credit=amount)
    (credited if lies_debit else debited).account = chart.SUSPENSE
    for row in (debited, credited):
        row.currency = item.currency.upper()
    return EntryForm(_new_key(), [debited, credited], description=f"Clears {item.source}: ")


def sent_form(form: FormData) -> EntryForm:
    """A form as it was sent. Raises InvalidRequestError for one that is none of ours."""
    columns = [[str(value) for value in form.getlist(name)] for name in _CELLS]
    if len({len(column) for column in columns}) != 1 or len(columns[0]) > MOST_LINES:
        raise InvalidRequestError("These lines are none of the form's.", param="lines")
    rows = [Row(*(cell.strip() for cell in cells)) for cells in zip(*columns, strict=True)]
    return EntryForm(
        key=str(form.get("key", "")) or _new_key(),
        rows=rows,
        description=str(form.get("description", "")),
        reason=str(form.get("reason", "")),
        occurred_at=str(form.get("occurred_at", "")),
        payment=str(form.get("payment", "")),
        allow_new_accounts="allow_new_accounts" in form,
    )


def _line(row: Row) -> dict[str, Any] | None:
    code = row.currency.lower()
    if not row.account:
        row.errors["account"] = "Name an account."
    if not code or code not in CURRENCIES:
        row.errors["currency"] = "Name a currency, such as EUR."
    if bool(row.debit) == bool(row.credit):
        row.errors["debit"] = "Fill in a debit or a credit, one of them."
    if row.errors:
        return None
    side = "debit" if row.debit else "credit"
    try:
        amount = minor_units(row.debit or row.credit, code)
    except (ValueError, UnknownCurrencyError) as error:
        row.errors[side] = str(error)
        return None
    return {"account": row.account, "direction": side, "amount": amount, "currency": code}


def _difference(code: str, amount: int) -> str:
    shown = f"{decimal_text(abs(amount), code)} {code.upper()}"
    more, less = ("Debits", "credits") if amount > 0 else ("Credits", "debits")
    return f"{more} exceed {less} by {shown}."


def _new_key() -> str:
    return secrets.token_urlsafe(18)

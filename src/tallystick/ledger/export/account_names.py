"""How a bookkeeping program calls our accounts, from a file of TOML.

tax_rate = "Tax Exempt"                # Xero's name of the rate for journal lines without tax

[names]
"assets:stripe:balance" = "Stripe"     # QuickBooks: Parent:Child; Xero: an account code
"revenue:payments" = "Sales"
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tallystick.errors import ConfigurationError
from tallystick.ledger.chart import account_type

_KEYS: Final = frozenset({"tax_rate", "names"})
_TAX_RATE: Final = "Tax Exempt"


@dataclass(frozen=True, slots=True)
class AccountNames:
    """Names or codes by our accounts' names; an account without one keeps its own."""

    names: Mapping[str, str] = field(default_factory=dict)
    tax_rate: str = _TAX_RATE

    @classmethod
    def read(cls, body: str) -> AccountNames:
        """From TOML; an empty text names nothing. Raises ConfigurationError that says what is wrong."""
        try:
            found = tomllib.loads(body)
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(f"TALLYSTICK_EXPORT_NAMES is not TOML: {error}.") from None
        if unknown := sorted(found.keys() - _KEYS):
            raise ConfigurationError(f"TALLYSTICK_EXPORT_NAMES: {unknown[0]!r} is not known.")
        names, tax_rate = found.get("names", {}), found.get("tax_rate", _TAX_RATE)
        if not isinstance(tax_rate, str) or not isinstance(names, dict):
            raise ConfigurationError("TALLYSTICK_EXPORT_NAMES: tax_rate is a text and names a table.")
        for ours, theirs in names.items():
            try:
                account_type(ours)
            except ValueError as error:
                raise ConfigurationError(f"TALLYSTICK_EXPORT_NAMES: {error}") from None
            if not isinstance(theirs, str) or not theirs.strip():
                raise ConfigurationError(f"TALLYSTICK_EXPORT_NAMES: the name of {ours} is no text.")
        return cls(names, tax_rate)

    def of(self, account: str) -> str:
        """What the program calls an account."""
        return self.names.get(account, account)

"""Own accounts for revenue: rules that say on which account a sale is posted. Pure.

    [[revenue]]
    account = "revenue:plans:pro"
    metadata = { plan = "pro" }          # of the payment; several keys must all be there

    [[revenue]]
    account = "revenue:books"
    product = "prod_NWjs8kKbJWmuuc"      # or price = "price_…", of a Checkout Session's lines
    refunds = "revenue:refunds:books"    # where refunds of such sales go

The first rule that fits counts; a sale that none fits goes to ``revenue:payments``. Refunds go to
``revenue:refunds``, unless the rule of their sale names an account below it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tallystick.errors import ConfigurationError
from tallystick.ledger.chart import REVENUE_PAYMENTS, REVENUE_REFUNDS, AccountType, account_type

_KEYS: Final = frozenset({"account", "metadata", "product", "price", "refunds"})
_HEADING: Final = re.compile(r"^[ \t]*\[\[[ \t]*revenue[ \t]*\]\]", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class SaleLine:
    """A part of what was sold: by what, and its weight in the whole."""

    product: str | None = None
    price: str | None = None
    weight: int = 1


@dataclass(frozen=True, slots=True)
class RevenueRule:
    """Fits a line when all that it names is so."""

    account: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    product: str | None = None
    price: str | None = None
    refunds: str = REVENUE_REFUNDS

    def fits(self, metadata: Mapping[str, str], line: SaleLine) -> bool:
        """Whether a line of a payment with this metadata is meant."""
        return (
            all(metadata.get(key) == value for key, value in self.metadata.items())
            and self.product in (None, line.product)
            and self.price in (None, line.price)
        )


@dataclass(frozen=True, slots=True)
class RevenueMap:
    """All the rules, in their order."""

    rules: tuple[RevenueRule, ...] = ()

    @classmethod
    def read(cls, body: str) -> RevenueMap:
        """From TOML. Raises ConfigurationError that names the rule at fault and its line."""
        try:
            found = tomllib.loads(body)
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(f"The map of accounts is not TOML: {error}.") from None
        if unknown := sorted(found.keys() - {"revenue"}):
            raise ConfigurationError(f"The map of accounts: {unknown[0]!r} is not known.")
        rules = found.get("revenue", [])
        if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
            raise ConfigurationError("The map of accounts: rules are written as [[revenue]].")
        lines = [body.count("\n", 0, heading.start()) + 1 for heading in _HEADING.finditer(body)]
        made = []
        for number, rule in enumerate(rules):
            try:
                made.append(_rule(rule))
            except ValueError as error:
                at = f", line {lines[number]}" if len(lines) == len(rules) else ""
                raise ConfigurationError(f"The map of accounts, rule {number + 1}{at}: {error}") from None
        return cls(tuple(made))

    @property
    def maps_refunds(self) -> bool:
        """Whether refunds go anywhere but to ``revenue:refunds``."""
        return any(rule.refunds != REVENUE_REFUNDS for rule in self.rules)

    def rule(self, metadata: Mapping[str, str], line: SaleLine) -> RevenueRule:
        """The rule of a line."""
        return next((rule for rule in self.rules if rule.fits(metadata, line)), _UNMAPPED)

    def shares(self, metadata: Mapping[str, str], lines: tuple[SaleLine, ...]) -> dict[str, int]:
        """The accounts that a sale goes to, each with its weight; a sale without lines is one."""
        return _weighed((self.rule(metadata, line).account, line) for line in lines or (SaleLine(),))

    def refund_shares(self, metadata: Mapping[str, str], lines: tuple[SaleLine, ...]) -> dict[str, int]:
        """The accounts that a refund of such a sale goes to, each with its weight."""
        return _weighed((self.rule(metadata, line).refunds, line) for line in lines or (SaleLine(),))


_UNMAPPED: Final = RevenueRule(REVENUE_PAYMENTS)


def _weighed(parts: Iterable[tuple[str, SaleLine]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for account, line in parts:
        found[account] = found.get(account, 0) + line.weight
    return dict(sorted(found.items()))


def _rule(rule: Mapping[str, Any]) -> RevenueRule:
    """Raises ValueError."""
    if unknown := sorted(rule.keys() - _KEYS):
        raise ValueError(f"{unknown[0]!r} is not known.")
    account, metadata = str(rule.get("account", "")), rule.get("metadata", {})
    if account_type(account) is not AccountType.REVENUE:
        raise ValueError(f"{account} is no account of revenue, such as revenue:plans:pro.")
    refunds = str(rule.get("refunds", REVENUE_REFUNDS))
    if not f"{refunds}:".startswith(f"{REVENUE_REFUNDS}:"):
        raise ValueError(f"{refunds} is no account for refunds, such as {REVENUE_REFUNDS}:books.")
    account_type(refunds)
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError('metadata is a table of texts, such as { plan = "pro" }.')
    named = {key: rule.get(key) for key in ("product", "price")}
    for key, value in named.items():
        if value is not None and (not isinstance(value, str) or not value):
            raise ValueError(f"{key} is no text.")
    if not metadata and not any(named.values()):
        raise ValueError("it names neither metadata nor a product or price, so that it would fit every sale.")
    return RevenueRule(account, metadata, named["product"], named["price"], refunds)

"""What the account is like: fees, currencies, delays. Changed at run time through the control API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from decimal import Decimal, InvalidOperation
from typing import Any, Self

import orjson

from tallystick import money
from tallystick.sandbox.store import Space, Store
from tallystick.sandbox.versions import DEFAULT

SPACE = "settings"
KEY = "account"


class SettingError(ValueError):
    """A setting that is unknown or has a value it cannot have."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Delays are seconds, ``latency_ms`` milliseconds; ``fee_fixed`` is in minor units of a two-decimal
    currency (scaled for three decimals); rates are settlement units per presentment unit."""

    settlement_delay: float = 0.5
    """From a capture to its balance transaction."""
    refund_delay: float = 1.0
    """From a refund to its end, where a test card makes it end later; else to its reference number."""
    available_after_days: int = 2
    fee_percent: Decimal = Decimal("0.029")
    fee_fixed: int = 30
    default_currency: str = "usd"
    settlement_currencies: tuple[str, ...] | None = None
    """The currencies that settle in themselves besides the default one; None: every currency."""
    exchange_rates: Mapping[str, Decimal] = field(
        default_factory=lambda: {
            "eur:usd": Decimal("1.0847"),
            "gbp:usd": Decimal("1.2713"),
            "jpy:usd": Decimal("0.0066512"),
            "cad:usd": Decimal("0.7318"),
            "aud:usd": Decimal("0.6591"),
            "chf:usd": Decimal("1.1204"),
        }
    )
    """Keyed ``from:to``."""
    api_version: str = DEFAULT
    latency_ms: tuple[int, int] = (0, 0)
    """Every answer waits a random time in this range."""

    def settlement_currency(self, presentment: str) -> str:
        """The currency in which a payment in ``presentment`` reaches the balance."""
        own = self.settlement_currencies
        return presentment if own is None or presentment in own else self.default_currency

    def exchange_rate(self, source: str, target: str) -> Decimal | None:
        """``target`` per one ``source``; None when no rate is set."""
        return self.exchange_rates.get(f"{source}:{target}")

    def fee(self, amount: int, currency: str) -> int:
        """Stripe's fee on a settled ``amount``, minor units."""
        extra = max(0, money.currency(currency).exponent - 2)
        return money.fraction(amount, self.fee_percent) + self.fee_fixed * int(10**extra)

    def changed(self, values: Mapping[str, Any]) -> Self:
        """With some settings replaced, as JSON gives them; raises SettingError."""
        known = {item.name for item in fields(self)}
        if unknown := set(values) - known:
            raise SettingError(f"No such setting: {', '.join(sorted(unknown))}.")
        try:
            return replace(self, **{name: _READ.get(name, _same)(value) for name, value in values.items()})
        except (TypeError, ValueError, InvalidOperation, AttributeError) as error:
            raise SettingError(f"A setting has a value it cannot have: {error}") from error

    def shown(self) -> dict[str, Any]:
        """As JSON: rates and percentages are strings."""
        shown = asdict(self)
        shown["fee_percent"] = str(self.fee_percent)
        shown["exchange_rates"] = {pair: str(rate) for pair, rate in self.exchange_rates.items()}
        return shown


def _same(value: Any) -> Any:
    return value


def _number(value: Any) -> float:
    number = float(value)
    if number < 0:
        raise ValueError(f"{value} is negative.")
    return number


def _count(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is not a count.")
    return value


def _known_currency(value: Any) -> str:
    return money.currency(str(value)).code


def _own_currencies(value: Any) -> tuple[str, ...] | None:
    return None if value is None else tuple(_known_currency(code) for code in value)


def _rates(value: Any) -> dict[str, Decimal]:
    rates = {}
    for pair, rate in value.items():
        source, _, target = pair.partition(":")
        rates[f"{_known_currency(source)}:{_known_currency(target)}"] = Decimal(str(rate))
    return rates


def _latency(value: Any) -> tuple[int, int]:
    low, high = (_count(item) for item in value)
    if low > high:
        raise ValueError(f"A range from {low} to {high}.")
    return low, high


_READ: dict[str, Callable[[Any], Any]] = {
    "settlement_delay": _number,
    "refund_delay": _number,
    "available_after_days": _count,
    "fee_percent": lambda value: Decimal(str(value)),
    "fee_fixed": _count,
    "default_currency": _known_currency,
    "settlement_currencies": _own_currencies,
    "exchange_rates": _rates,
    "api_version": str,
    "latency_ms": _latency,
}


class CurrentSettings:
    """The settings in force; what the control API changed outlives a restart."""

    def __init__(self, store: Store, initial: Settings) -> None:
        self._store = store
        self.now = initial
        store.add_space(SPACE, Space(self._dump, self._load))

    def change(self, values: Mapping[str, Any]) -> None:
        """Replace some; raises SettingError."""
        self.now = self.now.changed(values)
        self._store.touch(SPACE, KEY)

    def _dump(self, _key: str) -> bytes:
        return orjson.dumps(self.now.shown())

    def _load(self, _key: str, body: bytes) -> None:
        self.now = self.now.changed(orjson.loads(body))

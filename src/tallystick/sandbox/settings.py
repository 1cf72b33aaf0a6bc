"""What the account is like: fees, currencies, delays. Changed at run time through the control API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from decimal import Decimal, InvalidOperation
from typing import Any, Self

import orjson

from tallystick import money
from tallystick.sandbox.spaces import Space
from tallystick.sandbox.store import Store
from tallystick.sandbox.versions import DEFAULT, dated

SPACE = "settings"
KEY = "account"


class SettingError(ValueError):
    """A setting that is unknown or has a value it cannot have."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Delays are seconds, ``latency_ms`` milliseconds; ``fee_fixed`` and ``dispute_fee`` are in minor units
    of a two-decimal currency (scaled for three decimals); rates are settlement units per presentment unit."""

    settlement_delay: float = 0.5
    """From a capture to its balance transaction."""
    refund_delay: float = 1.0
    """From a refund to its end, where a test card makes it end later; else to its reference number."""
    bank_debit_delay: float = 1.0
    """From a bank debit's submission to the bank's answer; ten times that for the slow test accounts."""
    dispute_delay: float = 1.0
    """From submitted evidence to the bank's decision."""
    payout_delay: float = 1.0
    """From one status of a payout to the next."""
    payout_interval: str = "manual"
    """``daily``: at midnight UTC whatever is available is paid out; ``manual``: only what is asked for."""
    payout_account: str = "000123456789"
    """The account's own bank account; Stripe's test numbers make payouts fail after they were paid."""
    available_after_days: int = 2
    """From a balance transaction's creation until its funds are available, at midnight UTC."""
    fee_percent: Decimal = Decimal("0.029")
    """Stripe's fee, as a share of the settled amount."""
    fee_fixed: int = 30
    """Stripe's fee on each payment beside it."""
    dispute_fee: int = 1500
    """Stripe's fee on each dispute."""
    default_currency: str = "usd"
    """The currency of the account."""
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
    upcoming_invoice_days: float = 7
    """How long before a renewal invoice.upcoming comes (Stripe's dashboard offers 3 to 45)."""
    dunning_retry_days: tuple[float, ...] = (3, 5, 7)
    """Days from a failed payment of a subscription's invoice to the next attempt; after the last, the end."""
    dunning_end: str = "cancel"
    """What becomes of the subscription then: cancel, unpaid or past_due."""
    api_version: str = DEFAULT
    """The version of requests that name none, and of events to endpoints that have none of their own."""
    max_objects: int | None = 2_000_000
    """How many objects the sandbox holds, events included, before it refuses more; None: no limit. Each
    takes about half a KiB of memory, and 4 KiB of disk."""
    rate_limit: int | None = None
    """Requests a second; past them 429. None: no limit."""
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
        return money.fraction(amount, self.fee_percent) + self.flat_fee(self.fee_fixed, currency)

    @staticmethod
    def flat_fee(fee: int, currency: str) -> int:
        """A flat fee that is set in two decimals, in minor units of ``currency``."""
        return fee * int(10 ** max(0, money.currency(currency).exponent - 2))

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


def _most(value: Any) -> int | None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise ValueError(f"{value!r} is not a limit.")
    return value


def _interval(value: Any) -> str:
    if value not in ("manual", "daily"):
        raise ValueError(f"{value!r} is neither manual nor daily.")
    return str(value)


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


def _retries(value: Any) -> tuple[float, ...]:
    return tuple(_number(days) for days in value)


def _version(value: Any) -> str:
    if not isinstance(value, str) or not dated(value):
        raise ValueError(f"{value!r} is not an API version.")
    return value


def _dunning_end(value: Any) -> str:
    if value not in ("cancel", "unpaid", "past_due"):
        raise ValueError(f"dunning_end is cancel, unpaid or past_due, not {value!r}.")
    return str(value)


_READ: dict[str, Callable[[Any], Any]] = {
    "settlement_delay": _number,
    "refund_delay": _number,
    "bank_debit_delay": _number,
    "dispute_delay": _number,
    "payout_delay": _number,
    "payout_interval": _interval,
    "payout_account": str,
    "available_after_days": _count,
    "fee_percent": lambda value: Decimal(str(value)),
    "fee_fixed": _count,
    "dispute_fee": _count,
    "default_currency": _known_currency,
    "settlement_currencies": _own_currencies,
    "exchange_rates": _rates,
    "upcoming_invoice_days": _number,
    "dunning_retry_days": _retries,
    "dunning_end": _dunning_end,
    "api_version": _version,
    "latency_ms": _latency,
    "max_objects": _most,
    "rate_limit": _most,
}


class CurrentSettings:
    """The settings in force; what the control API changed outlives a restart."""

    def __init__(self, store: Store, initial: Settings) -> None:
        self._store = store
        self.now = initial
        store.add_space(SPACE, Space(self._dump, self._load, lambda: [KEY]))

    def change(self, values: Mapping[str, Any]) -> None:
        """Replace some; raises SettingError."""
        self.now = self.now.changed(values)
        self._store.touch(SPACE, KEY)

    def _dump(self, _key: str) -> bytes:
        return orjson.dumps(self.now.shown())

    def _load(self, _key: str, body: bytes) -> None:
        self.now = self.now.changed(orjson.loads(body))

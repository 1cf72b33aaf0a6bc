"""Exact money: integer minor units, the currency table, and the only place that rounds.

Amounts are ``int`` in the currency's minor unit (cents, yen, fils), as Stripe sends them; rates are
``Decimal``. There is no ``float`` anywhere near an amount.

Source of the table: Stripe, "Supported currencies" (zero-decimal, three-decimal and special cases) and
"Minimum and maximum charge amounts".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Final

MAX_CHARGE: Final = 99_999_999
"""Stripe takes at most eight digits in an amount, for all currencies but those in ``_MAXIMUM``.

Cards alone can take twelve in any currency, but a payment of ours is open to every method of payment.
"""


class UnknownCurrencyError(ValueError):
    """The code is in no row of the currency table."""


@dataclass(frozen=True, slots=True)
class Currency:
    """One currency as Stripe treats it.

    ``exponent`` is the number of decimals that an amount carries at Stripe (2: 1000 is 10.00).
    ``step`` is what a charge must be a multiple of: 100 for ISK and UGX, whose decimals must be 00;
    10 for the three-decimal currencies, whose last digit must be 0.
    ``minimum`` and ``maximum`` are Stripe's smallest and largest charge in minor units; where Stripe names
    no minimum it is 1.
    HUF and TWD are charged with two decimals like any other: only their payouts are in whole units.
    """

    code: str
    exponent: int = 2
    step: int = 1
    minimum: int = 1
    maximum: int = MAX_CHARGE


_TYPED: Final = re.compile(
    r"(?P<whole>[0-9]{1,18}|[0-9]{1,3}(,[0-9]{3}){1,5})(\.(?P<part>[0-9]{1,18}))?", re.ASCII
)

_TWO_DECIMAL = """
aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bmd bnd bob brl bsd bwp byn bzd cad cdf chf
cny cop crc cve czk dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gtq gyd hkd hnl htg huf idr ils
inr jmd kes kgs khr kyd kzt lak lbp lkr lrd lsl mad mdl mkd mmk mnt mop mur mvr mwk mxn myr mzn nad
ngn nio nok npr nzd pab pen pgk php pkr pln qar ron rsd rub sar sbd scr sek sgd shp sle sos srd std
szl thb tjs top try ttd twd tzs uah usd uyu uzs wst xcd xcg yer zar zmw
""".split()
_ZERO_DECIMAL = "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf".split()
_THREE_DECIMAL = "bhd jod kwd omr tnd".split()
_WHOLE_UNITS_IN_TWO_DECIMALS = "isk ugx".split()

_MINIMUM = {
    **dict.fromkeys("usd ars aud brl cad chf cop eur idr ils inr jpy krw nzd php rub sgd zar".split(), 50),
    **dict.fromkeys("aed pln ron myr".split(), 200),
    **dict.fromkeys("nok sek".split(), 300),
    **dict.fromkeys("mxn thb".split(), 1000),
    "gbp": 30,
    "bgn": 100,
    "dkk": 250,
    "hkd": 400,
    "czk": 1500,
    "huf": 17500,
}  # fmt: skip
_MAXIMUM = {"idr": 999_999_999_999, "cop": 9_999_999_999, "inr": 999_999_999}


def _table() -> dict[str, Currency]:
    shapes = [
        (_TWO_DECIMAL, 2, 1),
        (_ZERO_DECIMAL, 0, 1),
        (_THREE_DECIMAL, 3, 10),
        (_WHOLE_UNITS_IN_TWO_DECIMALS, 2, 100),
    ]
    return {
        code: Currency(code, exponent, step, _MINIMUM.get(code, 1), _MAXIMUM.get(code, MAX_CHARGE))
        for codes, exponent, step in shapes
        for code in codes
    }


CURRENCIES: Final[dict[str, Currency]] = _table()


def currency(code: str) -> Currency:
    """Look up a lower-case ISO 4217 code; raises UnknownCurrencyError."""
    try:
        return CURRENCIES[code]
    except KeyError:
        raise UnknownCurrencyError(f"{code!r} is not a currency that Stripe takes.") from None


@dataclass(frozen=True, slots=True, order=False)
class Money:
    """An amount in minor units of one currency; arithmetic refuses to mix currencies."""

    amount: int
    currency: str

    def __post_init__(self) -> None:
        if type(self.amount) is not int:
            raise TypeError(f"An amount is an int in minor units, not {self.amount!r}.")
        currency(self.currency)

    def __add__(self, other: Money) -> Money:
        return Money(self.amount + self._same(other), self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.amount - self._same(other), self.currency)

    def __neg__(self) -> Money:
        return Money(-self.amount, self.currency)

    def __str__(self) -> str:
        return f"{decimal_text(self.amount, self.currency)} {self.currency.upper()}"

    def _same(self, other: Money) -> int:
        if other.currency != self.currency:
            raise ValueError(f"{self.currency} and {other.currency} do not add up.")
        return other.amount


def decimal_text(amount: int, code: str) -> str:
    """``(1234, "usd")`` as ``12.34``; a currency outside the table is shown in minor units."""
    row = CURRENCIES.get(code)
    exponent = row.exponent if row else 0
    return f"{Decimal(amount).scaleb(-exponent):,.{exponent}f}"


def plain_decimal(amount: int, code: str) -> str:
    """``(-123456, "usd")`` as ``-1234.56``: for machines, without a thousands separator.

    A currency outside the table is written in minor units.
    """
    row = CURRENCIES.get(code)
    exponent = row.exponent if row else 0
    if not exponent:
        return str(amount)
    whole, part = divmod(abs(amount), 10**exponent)
    return f"{'-' if amount < 0 else ''}{whole}.{part:0{exponent}d}"


def minor_units(text: str, code: str) -> int:
    """``("1,234.5", "usd")`` as ``123450``: what ``decimal_text`` writes, and what people type of it.

    Digits with a point before the decimals, with or without commas between thousands; a sign is none of an
    amount's. Raises UnknownCurrencyError, and ValueError with a sentence for whoever typed it.
    """
    exponent = currency(code).exponent
    found = _TYPED.fullmatch(text.strip())
    if found is None:
        raise ValueError("Write an amount such as 1234.50, with a point before the decimals.")
    whole, part = found["whole"].replace(",", ""), found["part"] or ""
    if len(part) > exponent:
        raise ValueError(f"{code.upper()} has {exponent or 'no'} decimals.")
    return int(whole + part.ljust(exponent, "0"))


def round_minor(value: Decimal) -> int:
    """Round a number of minor units half to even, as IEEE 754 and most ledgers do."""
    return int(value.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def round_half_up(value: Decimal) -> int:
    """Round a number of minor units half away from zero, as Stripe rounds taxes and decimal unit amounts."""
    return int(value.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def fraction(amount: int, rate: Decimal) -> int:
    """``amount × rate`` in minor units, rounded once: a percentage fee, a tax."""
    return round_minor(Decimal(amount) * rate)


def convert(amount: int, source: str, target: str, rate: Decimal) -> int:
    """Minor units of ``source`` into minor units of ``target`` at ``rate`` (target per one source)."""
    shift = currency(target).exponent - currency(source).exponent
    return round_minor((Decimal(amount) * rate).scaleb(shift))


def proportion(amount: int, part: int, whole: int) -> int:
    """``amount × part / whole`` in minor units, rounded once; ``whole`` must not be zero."""
    return round(Fraction(amount * part, whole))  # half to even, as everywhere


def allocate(amount: int, weights: Sequence[int]) -> list[int]:
    """Split ``amount`` in proportion to ``weights`` so that the parts add up to it exactly.

    Largest remainder first, ties to the earlier part. Raises ValueError when no weight is positive.
    """
    total = sum(weights)
    if total <= 0 or min(weights) < 0:
        raise ValueError("Weights must not be negative, and at least one must be positive.")
    sign = -1 if amount < 0 else 1
    shares = [abs(amount) * weight // total for weight in weights]
    remainders = [abs(amount) * weight % total for weight in weights]
    left = abs(amount) - sum(shares)
    for index in sorted(range(len(weights)), key=lambda i: (-remainders[i], i))[:left]:
        shares[index] += 1
    return [sign * share for share in shares]


def charge_problem(amount: int, code: str) -> str | None:
    """Why Stripe would refuse to charge this amount, as a sentence; None when it would not.

    ``code`` must be in the table.
    """
    row = currency(code)
    if amount < row.minimum:
        return f"The amount must be at least {decimal_text(row.minimum, code)} {code.upper()}."
    if amount > row.maximum:
        return f"The amount must be at most {decimal_text(row.maximum, code)} {code.upper()}."
    return step_problem(amount, code)


def step_problem(amount: int, code: str) -> str | None:
    """Why a part of a charge cannot be of this amount: captured, or given back. None when it can.

    A currency outside the table has no rule: such a payment began elsewhere.
    """
    if amount < 1:
        return "The amount must be at least 1."
    row = CURRENCIES.get(code)
    if row is not None and amount % row.step:
        return f"An amount in {code.upper()} must be a multiple of {row.step} minor units."
    return None

"""How old what stands on an account is, first in, first out. Writes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.ledger.balances import BEGINNING, EVER, before, list_accounts, sums_at

BANDS: Final = (1, 7, 30, 90)
"""Days at which a band of age ends; the last band is whatever is older."""


@dataclass(frozen=True, slots=True)
class Aged:
    """What stands on an account in a currency, by its normal side, the newest band first.

    ``bands`` add up to ``balance``, and are one more than ``BANDS``.
    """

    currency: str
    balance: int
    bands: tuple[int, ...]


async def aged(connection: AsyncConnection, account: str, now: datetime) -> list[Aged]:
    """An account in each currency in which something stands on it; wants one snapshot.

    What left it is taken to be what came first: that is how an account of many small movements is aged
    without a match for each.
    """
    accounts = [each for each in await list_accounts(connection) if each.name == account]
    ends = [EVER, *(before(now - timedelta(days=days)) for days in BANDS), BEGINNING]
    sums = await sums_at(connection, [(each, end) for each in accounts for end in ends])
    found = []
    for number, each in enumerate(accounts):
        sides = sums[number * len(ends) : (number + 1) * len(ends)]
        debits, credits_ = sides[0]
        net = debits - credits_
        if net:
            came = [side[0] if net > 0 else side[1] for side in sides]
            bands = _newest_first(abs(net), [new - old for new, old in pairwise(came)])
            sign = each.type.signed(1 if net > 0 else -1)
            found.append(Aged(each.currency, each.type.signed(net), tuple(sign * part for part in bands)))
    return found


def _newest_first(left: int, came: list[int]) -> list[int]:
    """What is left, laid over what came in each band, the newest first."""
    bands = []
    for amount in came:
        bands.append(min(left, amount))
        left -= bands[-1]
    return bands

"""What stands on the accounts, now and at any instant, and the trial balances made of it.

Times are those of the facts. Functions take a connection and write nothing. Whoever asks several questions
that must agree asks them in one snapshot (``db.session.snapshot``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.errors import NotFoundError
from tallystick.ledger.chart import AccountType
from tallystick.ledger.sums import ALL_DATES, SEALED, occurred

EVER: Final = datetime(9999, 12, 31, tzinfo=UTC)
"""Later than anything; what is dated in the future counts too."""
BEGINNING: Final = datetime(1, 1, 2, tzinfo=UTC)
"""Before anything."""
TICK: Final = timedelta(microseconds=1)
"""The step of time: what is before an instant is up to the tick before it."""


@dataclass(frozen=True, slots=True)
class AccountBalance:
    """One account in one currency; ``debits`` and ``credits`` are sums in minor units.

    ``balance`` is positive on the account's normal side.
    """

    account: str
    type: AccountType
    currency: str
    debits: int
    credits: int

    @property
    def balance(self) -> int:
        """What stands on the account, by its normal balance."""
        return self.type.signed(self.debits - self.credits)


@dataclass(frozen=True, slots=True)
class PeriodBalance:
    """One account over a period: ``opening`` and ``closing`` by its normal balance, what came in between.

    ``debits`` and ``credits`` are those of the period; closing = opening + what they come to.
    """

    account: str
    type: AccountType
    currency: str
    opening: int
    debits: int
    credits: int

    @property
    def closing(self) -> int:
        """What stands on the account at the end."""
        return self.opening + self.type.signed(self.debits - self.credits)


@dataclass(frozen=True, slots=True)
class CurrencyTotal:
    """The foot of a trial balance: the accounts' balances in a currency, those on either side summed up."""

    currency: str
    debit: int
    credit: int

    @property
    def balanced(self) -> bool:
        """Whether the two sides are equal, as they are in books that balance."""
        return self.debit == self.credit


_NOW: Final = text("""
SELECT a.id, a.name, a.type, a.currency, b.debits, b.credits
  FROM account_balances b JOIN ledger_accounts a ON a.id = b.account_id
 ORDER BY a.currency, a.name
""")

_ACCOUNTS: Final = text("SELECT id, name, type, currency FROM ledger_accounts ORDER BY currency, name")

_ACCOUNT: Final = text("SELECT id, type FROM ledger_accounts WHERE name = :name AND currency = :currency")

_SIDES: Final = """
         CASE WHEN e.direction = 1 THEN e.amount ELSE 0 END AS debits,
         CASE WHEN e.direction = -1 THEN e.amount ELSE 0 END AS credits"""

# What is dated in the future, or at no time that PostgreSQL can cut into hours, is none of ours.
_AT: Final = text(f"""
WITH {SEALED}, wanted AS MATERIALIZED (
  SELECT w.n, w.account_id, w.at, date_trunc('day', w.at, 'UTC') AS day,
         date_trunc('hour', w.at, 'UTC') AS hour
    FROM unnest(CAST(:accounts AS int[]), CAST(:instants AS timestamptz[]))
         WITH ORDINALITY AS w(account_id, at, n)
), late AS MATERIALIZED (
  -- not sealed yet
  SELECT e.account_id, {occurred(ALL_DATES)} AS at, {_SIDES}
    FROM sealed s, ledger_transactions t JOIN ledger_entries e ON e.transaction_id = t.id
   WHERE t.id > s.last_id AND e.account_id = ANY(CAST(:accounts AS int[]))
  UNION ALL
  -- at the time by the dates that are not sealed, and back from where the sums have them
  SELECT e.account_id, m.at, m.sign * e.debits, m.sign * e.credits
    FROM redated r, sealed s, ledger_transactions t
   CROSS JOIN LATERAL (VALUES ({occurred(ALL_DATES)}, 1), ({occurred("s.last_date_id")}, -1)) AS m(at, sign)
   CROSS JOIN LATERAL (
     SELECT e.account_id, {_SIDES} FROM ledger_entries e WHERE e.transaction_id = t.id) AS e
   WHERE t.id = r.id
), parts AS (
  SELECT w.n, u.debits, u.credits
    FROM wanted w JOIN ledger_sums u ON u.account_id = w.account_id
   WHERE u.grain = 'day' AND u.starts_at < w.day
  UNION ALL
  SELECT w.n, u.debits, u.credits
    FROM wanted w JOIN ledger_sums u ON u.account_id = w.account_id
   WHERE u.grain = 'hour' AND u.starts_at >= w.day AND u.starts_at < w.hour
  UNION ALL
  SELECT w.n, u.debits, u.credits
    FROM wanted w JOIN entry_spans u ON u.account_id = w.account_id
   WHERE u.hour = w.hour AND u.last_at <= w.at
  UNION ALL
  SELECT w.n, l.debits, l.credits
    FROM wanted w JOIN entry_spans u ON u.account_id = w.account_id CROSS JOIN sealed s
   CROSS JOIN LATERAL (
     SELECT {_SIDES}, {occurred("s.last_date_id")} AS at
       FROM ledger_entries e JOIN ledger_transactions t ON t.id = e.transaction_id
      WHERE e.transaction_id BETWEEN u.first_id AND u.last_id AND e.account_id = u.account_id
        AND t.id BETWEEN u.first_id AND u.last_id
     OFFSET 0) AS l
   WHERE u.hour = w.hour AND u.first_at <= w.at AND u.last_at > w.at AND l.at BETWEEN w.hour AND w.at
  UNION ALL
  SELECT w.n, l.debits, l.credits
    FROM wanted w JOIN late l ON l.account_id = w.account_id WHERE l.at <= w.at
)
SELECT CAST(coalesce(sum(p.debits), 0) AS bigint) AS debits,
       CAST(coalesce(sum(p.credits), 0) AS bigint) AS credits
  FROM wanted w LEFT JOIN parts p ON p.n = w.n GROUP BY w.n ORDER BY w.n
""")


@dataclass(frozen=True, slots=True)
class Account:
    """An account as it is known by."""

    id: int
    name: str
    type: AccountType
    currency: str


async def list_accounts(connection: AsyncConnection) -> list[Account]:
    """Every account that was ever posted to, by currency and name."""
    rows = await connection.execute(_ACCOUNTS)
    return [Account(row.id, row.name, AccountType(row.type), row.currency) for row in rows]


async def find_account(connection: AsyncConnection, name: str, currency: str) -> Account:
    """Raises NotFoundError."""
    row = (await connection.execute(_ACCOUNT, {"name": name, "currency": currency})).first()
    if row is None:
        raise NotFoundError(f"There is no account {name!r} in {currency!r}.", param="account")
    return Account(row.id, name, AccountType(row.type), currency)


async def sums_at(
    connection: AsyncConnection, wanted: Sequence[tuple[Account, datetime]]
) -> list[tuple[int, int]]:
    """Debits and credits of accounts up to instants, these included, in the order that was asked."""
    parameters = {"accounts": [account.id for account, _ in wanted], "instants": [at for _, at in wanted]}
    rows = await connection.execute(_AT, parameters)
    return [(row.debits, row.credits) for row in rows]


async def balance_at(
    connection: AsyncConnection, account: str, currency: str, at: datetime
) -> AccountBalance:
    """What stood on an account at an instant, that instant included. Raises NotFoundError."""
    found = await find_account(connection, account, currency)
    [(debits, credits_)] = await sums_at(connection, [(found, at)])
    return AccountBalance(found.name, found.type, found.currency, debits, credits_)


async def trial_balance(connection: AsyncConnection, at: datetime | None = None) -> list[AccountBalance]:
    """Every account that has entries, by currency and name: now, or up to an instant, that one included."""
    if at is None:
        rows = await connection.execute(_NOW)
        return [
            AccountBalance(row.name, AccountType(row.type), row.currency, row.debits, row.credits)
            for row in rows
        ]
    accounts = await list_accounts(connection)
    sums = await sums_at(connection, [(account, at) for account in accounts])
    return [
        AccountBalance(account.name, account.type, account.currency, debits, credits_)
        for account, (debits, credits_) in zip(accounts, sums, strict=True)
        if debits or credits_
    ]


async def period_balance(
    connection: AsyncConnection, since: datetime | None, until: datetime | None
) -> list[PeriodBalance]:
    """Every account with entries before ``until``: what it opened with at ``since``, and what came then.

    The period is from ``since`` on and ends before ``until``; None: from the beginning, to the latest.
    """
    accounts = await list_accounts(connection)
    start, end = before(since or BEGINNING), before(until or EVER)
    sums = await sums_at(
        connection,
        [(account, start) for account in accounts] + [(account, end) for account in accounts],
    )
    return [
        PeriodBalance(
            account.name, account.type, account.currency, account.type.signed(opening[0] - opening[1]),
            closing[0] - opening[0], closing[1] - opening[1],
        )
        for account, opening, closing in zip(
            accounts, sums[: len(accounts)], sums[len(accounts) :], strict=True
        )
        if any(closing)
    ]  # fmt: skip


def before(instant: datetime) -> datetime:
    """The last instant before this one."""
    return max(instant, BEGINNING) - TICK


def totals(lines: Iterable[AccountBalance]) -> list[CurrencyTotal]:
    """The foot of a trial balance: for each currency the sums of its debit and of its credit balances."""
    nets: dict[str, list[int]] = {}
    for line in lines:
        nets.setdefault(line.currency, []).append(line.debits - line.credits)
    return [
        CurrencyTotal(code, sum(net for net in found if net > 0), -sum(net for net in found if net < 0))
        for code, found in sorted(nets.items())
    ]

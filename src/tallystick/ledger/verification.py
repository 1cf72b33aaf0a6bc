"""Checks the stored ledger against its seals, and the balances against the entries.

Everything is read in one snapshot, so that writers do not disturb it, and hashed by PostgreSQL itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.db.session import snapshot
from tallystick.ledger.seals import BLOCK_HASH, DATE_LEAVES, GENESIS, LEAVES, unpack

_SEALS: Final = text("""
SELECT id, format, after_id, last_id, after_date_id, last_date_id, leaves, date_leaves, previous_hash, hash
  FROM ledger_seals WHERE id >= :first ORDER BY id
""")
_BEFORE: Final = text("""
SELECT last_id, last_date_id, hash FROM ledger_seals WHERE id < :first ORDER BY id DESC LIMIT 1
""")
_LEAVES: Final = text(LEAVES)
_DATE_LEAVES: Final = text(DATE_LEAVES)
_HASH: Final = text(f"""
SELECT {BLOCK_HASH}
  FROM (SELECT CAST(:leaves AS bytea) AS leaves, CAST(:date_leaves AS bytea) AS date_leaves) AS packed
""")

_NAMES: Final = text("""
SELECT id, effect_key FROM ledger_transactions WHERE id = ANY(CAST(:ids AS bigint[]))
""")

_COUNT_ENTRIES: Final = text("""
SELECT count(*) FROM ledger_entries WHERE transaction_id > :after
""")

_BALANCES: Final = text("""
SELECT a.name, a.currency, b.debits, b.credits, e.debits AS entry_debits, e.credits AS entry_credits
  FROM (SELECT account_id, sum(amount) FILTER (WHERE direction = 1) AS debits,
               sum(amount) FILTER (WHERE direction = -1) AS credits
          FROM ledger_entries GROUP BY account_id) e
  FULL JOIN account_balances b ON b.account_id = e.account_id
  LEFT JOIN ledger_accounts a ON a.id = coalesce(b.account_id, e.account_id)
 WHERE coalesce(b.debits, 0) <> coalesce(e.debits, 0) OR coalesce(b.credits, 0) <> coalesce(e.credits, 0)
 ORDER BY a.currency, a.name
""")

_KEPT: Final = (
    "ledger_sums WHERE grain = 'day'",
    "ledger_sums WHERE grain = 'hour'",
    "entry_spans",
)
"""Where the sums of an account's sealed entries stand."""

# Of an incremental check: the sums were made when the blocks were sealed, so only the tail is read.
_SUMS: Final = """
WITH tail AS (
  SELECT account_id, sum(amount) FILTER (WHERE direction = 1) AS debits,
         sum(amount) FILTER (WHERE direction = -1) AS credits
    FROM ledger_entries WHERE transaction_id > (SELECT coalesce(max(last_id), 0) FROM ledger_seals)
   GROUP BY account_id
), sums AS (
  SELECT account_id, sum(debits) AS debits, sum(credits) AS credits
    FROM {kept} GROUP BY account_id
)
SELECT a.name, a.currency, b.debits, b.credits,
       coalesce(s.debits, 0) + coalesce(t.debits, 0) AS entry_debits,
       coalesce(s.credits, 0) + coalesce(t.credits, 0) AS entry_credits
  FROM account_balances b JOIN ledger_accounts a ON a.id = b.account_id
  LEFT JOIN sums s ON s.account_id = b.account_id LEFT JOIN tail t ON t.account_id = b.account_id
 WHERE b.debits <> coalesce(s.debits, 0) + coalesce(t.debits, 0)
    OR b.credits <> coalesce(s.credits, 0) + coalesce(t.credits, 0)
 ORDER BY a.currency, a.name
"""


class Fault(StrEnum):
    """What can be wrong."""

    CHANGED = "changed"
    """A row is not what was sealed: its header, one of its legs, or the account that a leg names."""
    REMOVED = "removed"
    INSERTED = "inserted"
    """A row stands in a block that was sealed without it."""
    LINK = "link"
    """A seal does not follow from the one before, or from its own leaves."""
    BALANCE = "balance"
    """An account's balance is not the sum of its entries."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong; ``what`` names it, and ``block`` is the seal's number where there is one."""

    fault: Fault
    what: str
    detail: str
    block: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check came to. ``head`` is the hash of the last seal, to compare with one kept elsewhere."""

    findings: tuple[Finding, ...]
    blocks: int
    entries: int
    head: str | None

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


Watch = Callable[[int], None]
"""Told the number of each block that was checked."""


async def verify(engine: AsyncEngine, *, first: int = 1, watch: Watch = lambda _block: None) -> Verdict:
    """Check every block from ``first`` on, and all balances.

    From a later block than the first it is incremental: what lies before is taken from its seals and sums.
    """
    findings: list[Finding] = []
    async with snapshot(engine) as connection:
        await connection.execute(text("SET LOCAL statement_timeout = 0"))
        before = (await connection.execute(_BEFORE, {"first": first})).first()
        previous = before.hash if before else GENESIS
        last_id, last_date_id = (before.last_id, before.last_date_id) if before else (0, 0)
        entries = (await connection.execute(_COUNT_ENTRIES, {"after": last_id})).scalar_one()
        seals = (await connection.execute(_SEALS, {"first": first})).all()
        number = first
        for seal in seals:
            expected = {"id": number, "after_id": last_id, "after_date_id": last_date_id}
            findings += await _check_link(connection, seal, previous, expected)
            findings += await _check_rows(connection, seal)
            previous, last_id, last_date_id = seal.hash, seal.last_id, seal.last_date_id
            number = seal.id + 1
            watch(seal.id)
        findings += await _check_balances(connection, whole=first == 1)
    head = bytes(previous).hex() if seals or before else None
    return Verdict(tuple(findings), len(seals), entries, head)


async def _check_link(
    connection: AsyncConnection, seal: Any, previous: bytes, expected: dict[str, int]
) -> list[Finding]:
    wrong = [name for name, value in expected.items() if getattr(seal, name) != value]
    if wrong:
        detail = f"its {', '.join(wrong)} does not follow from the seal before: one was removed or changed"
        return [Finding(Fault.LINK, f"seal {seal.id}", detail, seal.id)]
    if bytes(seal.previous_hash) != bytes(previous):
        detail = "the hash it follows is not that of the seal before"
        return [Finding(Fault.LINK, f"seal {seal.id}", detail, seal.id)]
    columns = ("format", "after_id", "last_id", "after_date_id", "last_date_id", "leaves", "date_leaves")
    parameters = {name: getattr(seal, name) for name in columns}
    parameters |= {"block": seal.id, "previous_hash": seal.previous_hash}
    computed = (await connection.execute(_HASH, parameters)).scalar_one()
    if bytes(computed) == bytes(seal.hash):
        return []
    return [Finding(Fault.LINK, f"seal {seal.id}", "its hash is not that of its leaves", seal.id)]


async def _check_rows(connection: AsyncConnection, seal: Any) -> list[Finding]:
    bounds = {"after_id": seal.after_id, "last_id": seal.last_id}
    found = {row.id: bytes(row.leaf) for row in await connection.execute(_LEAVES, bounds)}
    findings = []
    differing = _differences(unpack(bytes(seal.leaves)), found)
    if differing:
        rows = await connection.execute(_NAMES, {"ids": list(differing)})
        names = {row.id: row.effect_key for row in rows}
        findings += [
            Finding(
                fault,
                f"ledger transaction {ident}",
                names.get(ident, "its row is not there any more"),
                seal.id,
            )
            for ident, fault in sorted(differing.items())
        ]
    bounds = {"after_date_id": seal.after_date_id, "last_date_id": seal.last_date_id}
    dates = {row.id: bytes(row.leaf) for row in await connection.execute(_DATE_LEAVES, bounds)}
    changed = _differences(unpack(bytes(seal.date_leaves)), dates)
    return findings + [
        Finding(fault, f"effect date {ident}", "the time of a ledger transaction", seal.id)
        for ident, fault in sorted(changed.items())
    ]


def _differences(sealed: dict[int, bytes], found: dict[int, bytes]) -> dict[int, Fault]:
    if sealed == found:
        return {}
    different = {ident: Fault.CHANGED for ident in sealed.keys() & found if sealed[ident] != found[ident]}
    different |= dict.fromkeys(sealed.keys() - found, Fault.REMOVED)
    return different | dict.fromkeys(found.keys() - sealed, Fault.INSERTED)


async def _check_balances(connection: AsyncConnection, *, whole: bool) -> list[Finding]:
    """Against all entries, or against the sums of what was sealed and the entries since."""
    rows = list(await connection.execute(_BALANCES)) if whole else []
    for kept in _KEPT:
        rows += list(await connection.execute(text(_SUMS.format(kept=kept))))
    details = {
        (row.name, row.currency): f"debits {row.debits}, of the entries {row.entry_debits or 0}; "
        f"credits {row.credits}, of the entries {row.entry_credits or 0}"
        for row in rows
    }
    return [
        Finding(Fault.BALANCE, f"{name} in {currency}", detail)
        for (name, currency), detail in details.items()
    ]

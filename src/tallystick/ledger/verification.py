"""Checks the stored ledger against its seals, and the balances against the entries.

Everything is read in one snapshot, by several connections that share it, so that writers do not disturb it
and all processors of the database are used; and hashed by PostgreSQL itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.db.session import snapshot
from tallystick.ledger.seals import (
    ACCOUNT_LEAVES,
    BLOCK_HASH,
    BOUNDS,
    DATE_LEAVES,
    GENESIS,
    LEAVES,
    NUMBERED,
    PACKED,
    unpack,
)

_READERS: Final = 4
"""Connections that check blocks at the same time."""

_SEALS: Final = text(f"""
SELECT id, {", ".join(BOUNDS)}, previous_hash, hash FROM ledger_seals WHERE id >= :first ORDER BY id
""")
_BEFORE: Final = text("""
SELECT last_id, last_date_id, last_account_id, hash FROM ledger_seals WHERE id < :first
 ORDER BY id DESC LIMIT 1
""")

_CHECK: Final = text(f"""
SELECT b.hash = {BLOCK_HASH} AS hashed,
       b.leaves = p.leaves AND b.date_leaves = p.date_leaves AND b.account_leaves = p.account_leaves AS same
  FROM ledger_seals b, ({PACKED}) AS p WHERE b.id = :id
""")

_STORED: Final = text("SELECT leaves, date_leaves, account_leaves FROM ledger_seals WHERE id = :id")

_NAMES: Final = text("""
SELECT 'ledger transaction' AS kind, id, effect_key AS name FROM ledger_transactions
 WHERE id = ANY(CAST(:transactions AS bigint[]))
UNION ALL
SELECT 'account', id, name || ' in ' || currency FROM ledger_accounts
 WHERE id = ANY(CAST(:accounts AS bigint[]))
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
    FROM ledger_entries
   WHERE transaction_id > coalesce((SELECT last_id FROM ledger_seals ORDER BY id DESC LIMIT 1), 0)
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
    """A row is not what was sealed: a header or one of its legs, an account, a date."""
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
"""Told how many blocks are checked."""


async def verify(engine: AsyncEngine, *, first: int = 1, watch: Watch = lambda _blocks: None) -> Verdict:
    """Check every block from ``first`` on, and all balances.

    From a later block than the first it is incremental: what lies before is taken from its seals and sums.
    """
    async with AsyncExitStack() as stack:
        connection = await stack.enter_async_context(snapshot(engine))
        await _take_time(connection)
        before = (await connection.execute(_BEFORE, {"first": first})).first()
        seals = (await connection.execute(_SEALS, {"first": first})).all()
        readers = await _readers(engine, connection, stack, wanted=min(_READERS, len(seals)))
        findings = _check_chain(seals, before, first)
        findings += await _check_blocks(readers, seals, watch)
        findings += await _check_balances(connection, whole=first == 1)
        after = before.last_id if before else 0
        entries = (await connection.execute(_COUNT_ENTRIES, {"after": after})).scalar_one()
    last = seals[-1] if seals else before
    head = bytes(last.hash).hex() if last else None
    return Verdict(tuple(findings), len(seals), entries, head)


async def _readers(
    engine: AsyncEngine, connection: AsyncConnection, stack: AsyncExitStack, *, wanted: int
) -> list[AsyncConnection]:
    """The connection and others with its snapshot, no more than the pool has."""
    shared = (await connection.execute(text("SELECT pg_export_snapshot()"))).scalar_one()
    more = min(wanted, engine.pool.size()) - 1  # type: ignore[attr-defined]
    others = [await stack.enter_async_context(snapshot(engine, shared)) for _ in range(more)]
    for other in others:
        await _take_time(other)
    return [connection, *others]


async def _take_time(connection: AsyncConnection) -> None:
    """Without the limits of those whom others wait for; one reader may be done long before the last."""
    for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):
        await connection.execute(text(f"SET LOCAL {limit} = 0"))


def _check_chain(seals: Sequence[Any], before: Any, first: int) -> list[Finding]:
    """Whether each seal begins where the one before ends, and follows its hash."""
    findings = []
    number, previous = first, before
    for seal in seals:
        expected = {f"after_{what}": getattr(previous, f"last_{what}", 0) for what in NUMBERED}
        wrong = [name for name, value in expected.items() if getattr(seal, name) != value]
        if seal.id != number or wrong:
            named = ", ".join([*(["id"] if seal.id != number else []), *wrong])
            detail = f"its {named} does not follow from the seal before: one was removed or changed"
            findings.append(Finding(Fault.LINK, f"seal {seal.id}", detail, seal.id))
        elif bytes(seal.previous_hash) != bytes(previous.hash if previous else GENESIS):
            detail = "the hash it follows is not that of the seal before"
            findings.append(Finding(Fault.LINK, f"seal {seal.id}", detail, seal.id))
        number, previous = seal.id + 1, seal
    return findings


async def _check_blocks(
    readers: Sequence[AsyncConnection], seals: Sequence[Any], watch: Watch
) -> list[Finding]:
    """Each block against its rows, by whichever reader is free."""
    found: dict[int, list[Finding]] = {}
    rest = iter(seals)

    async def read(connection: AsyncConnection, blocks: Iterator[Any]) -> None:
        for seal in blocks:
            found[seal.id] = await _check_block(connection, seal)
            watch(len(found))

    async with asyncio.TaskGroup() as group:
        for connection in readers:
            group.create_task(read(connection, rest))
    return [finding for _, findings in sorted(found.items()) for finding in findings]


async def _check_block(connection: AsyncConnection, seal: Any) -> list[Finding]:
    bounds = {name: getattr(seal, name) for name in BOUNDS}
    checked = (await connection.execute(_CHECK, {**bounds, "id": seal.id})).one()
    findings = []
    if not checked.hashed:
        findings.append(Finding(Fault.LINK, f"seal {seal.id}", "its hash is not that of its leaves", seal.id))
    return findings if checked.same else findings + await _differing_rows(connection, seal, bounds)


async def _differing_rows(connection: AsyncConnection, seal: Any, bounds: dict[str, int]) -> list[Finding]:
    """Which rows of a block are not those that were sealed."""
    stored = (await connection.execute(_STORED, {"id": seal.id})).one()
    differing: dict[str, dict[int, Fault]] = {}
    for kind, leaves, sealed in (
        ("ledger transaction", LEAVES, stored.leaves),
        ("effect date", DATE_LEAVES, stored.date_leaves),
        ("account", ACCOUNT_LEAVES, stored.account_leaves),
    ):
        rows = await connection.execute(text(leaves), bounds)
        differing[kind] = _differences(unpack(bytes(sealed)), {row.id: bytes(row.leaf) for row in rows})
    wanted = {"transactions": list(differing["ledger transaction"]), "accounts": list(differing["account"])}
    names = {(row.kind, row.id): row.name for row in await connection.execute(_NAMES, wanted)}
    unnamed = {"effect date": "the time of a ledger transaction"}
    return [
        Finding(
            fault,
            f"{kind} {ident}",
            names.get((kind, ident), unnamed.get(kind, "its row is not there any more")),
            seal.id,
        )
        for kind, ids in differing.items()
        for ident, fault in sorted(ids.items())
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

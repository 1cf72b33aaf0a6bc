"""How the installation stands: how much waits where, and since when. For metrics, alerts and the console.

Every query reads a partial index that holds only what waits, a small table, or the end of a large one, so
that reading it costs the same at ten million rows as at none. What could grow without end is read up to
``MOST_READ`` rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.ledger import chart

MOST_READ: Final = 10_000
"""Rows that are looked at of what waits; a count that has reached it says "so many or more"."""
OTHER: Final = "other"
"""The code of dead letters beyond those whose last error is looked up."""

# By due time, so that the index of pending events is walked whatever the planner believes of their number.
_EVENTS: Final = text("""
SELECT now() AS at, count(*) AS pending, min(received_at) AS oldest_at,
       count(*) FILTER (WHERE attempts > 0) AS retried,
       min(ring_at) FILTER (WHERE ring_at <= now()) AS overdue_since
  FROM (
    SELECT received_at, ring_at, attempts FROM webhook_events
     WHERE status = 'pending' ORDER BY ring_at LIMIT :most
  ) AS found
""")

# The end of the inbox: what arrived lately, as far as it is read.
_ARRIVALS: Final = text("""
SELECT status, count(*) AS events FROM (
  SELECT status, received_at FROM webhook_events ORDER BY seq DESC LIMIT :most
) AS found
 WHERE received_at > now() - CAST(:within AS interval) GROUP BY status
""")

_BALANCE_TRANSACTIONS: Final = text("""
SELECT count(*) AS waiting, min(seen_at) AS oldest_at FROM (
  SELECT seen_at FROM balance_transactions
   WHERE status IN ('wanted', 'fetched') ORDER BY due_at LIMIT :most
) AS found
""")

# The oldest first: their errors are looked up, and those beyond are only counted.
_DEAD: Final = text("""
WITH events AS (
  SELECT id, finished_at FROM webhook_events
   WHERE status = 'dead' ORDER BY finished_at, webhook_events.id LIMIT :most
), movements AS (
  SELECT id, dead_at FROM balance_transactions
   WHERE status IN ('dead', 'missing') ORDER BY dead_at, balance_transactions.id LIMIT :most
), letters AS (
  SELECT 'event' AS kind, e.finished_at AS dead_at, (
           SELECT error_code FROM event_attempts WHERE event_id = e.id ORDER BY id DESC LIMIT 1
         ) AS code FROM events e
  UNION ALL
  SELECT 'balance_transaction', m.dead_at, (
           SELECT error_code FROM balance_transaction_attempts
            WHERE balance_transaction_id = m.id ORDER BY id DESC LIMIT 1
         ) FROM movements m
)
SELECT kind, coalesce(code, 'unexpected') AS code, count(*) AS letters, min(dead_at) AS oldest_at
  FROM letters GROUP BY 1, 2 ORDER BY 1, 2
""")
_DEAD_IN_ALL: Final = text("""
SELECT (SELECT count(*) FROM webhook_events WHERE status = 'dead') AS event,
       (SELECT count(*) FROM balance_transactions WHERE status IN ('dead', 'missing')) AS balance_transaction
""")

_LISTINGS: Final = text("""
SELECT name, through AS read_through, found AS found_last, found_in_all,
       CASE WHEN isfinite(finished_at) THEN finished_at END AS finished_at
  FROM stripe_listings ORDER BY name
""")

_NOTICES: Final = text("""
SELECT count(*) AS waiting, min(created_at) AS oldest_at FROM (
  (SELECT d.created_at FROM notice_endpoints e CROSS JOIN LATERAL (
     SELECT created_at, due_at FROM notice_deliveries
      WHERE endpoint_id = e.id AND status = 'pending' ORDER BY due_at, id LIMIT :most
   ) d LIMIT :most)
  UNION ALL
  (SELECT o.created_at FROM outbox_new n JOIN outbox o ON o.id = n.notice_id
    ORDER BY n.notice_id LIMIT :most)
) AS found
""")

_ENDPOINTS: Final = text("""
SELECT count(*) FILTER (WHERE status = 'enabled') AS enabled,
       count(*) FILTER (WHERE status = 'disabled' AND disabled_reason = 'by_hand') AS disabled_by_hand,
       count(*) FILTER (WHERE status = 'disabled' AND disabled_reason <> 'by_hand') AS disabled_by_failures,
       count(*) FILTER (WHERE status = 'enabled' AND failing_since IS NOT NULL) AS failing,
       min(failing_since) FILTER (WHERE status = 'enabled') AS failing_since
  FROM notice_endpoints
""")

_CALLS: Final = text("""
SELECT count(*) AS waiting, min(created_at) AS oldest_at FROM (
  SELECT created_at FROM stripe_calls ORDER BY due_at LIMIT :most
) AS found
""")

_SEALS: Final = text("""
SELECT coalesce(s.id, 0) AS blocks, (
         SELECT posted_at FROM ledger_transactions
          WHERE id > coalesce(s.last_id, 0) ORDER BY id LIMIT 1
       ) AS unsealed_since
  FROM (SELECT 1) AS one
  LEFT JOIN LATERAL (SELECT id, last_id FROM ledger_seals ORDER BY id DESC LIMIT 1) AS s ON true
""")

_BALANCES: Final = text("""
SELECT a.name, a.currency, b.debits - b.credits AS net
  FROM ledger_accounts a JOIN account_balances b ON b.account_id = a.id
 WHERE a.name = ANY(CAST(:accounts AS text[])) ORDER BY a.name, a.currency
""")


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits: how many (up to ``MOST_READ``), and since when the oldest; None where nothing waits."""

    count: int
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Dead letters of one kind (event, balance_transaction) and code of their last error.

    ``oldest_at`` is since when the oldest of them is dead; of the code ``OTHER`` it is not known.
    """

    kind: str
    code: str
    count: int
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True)
class ListingState:
    """How far one of Stripe's lists is read, when that last came to an end, and the rows it alone brought:
    in the present window, or else the last, and in all."""

    name: str
    read_through: datetime | None
    finished_at: datetime | None
    found_last: int
    found_in_all: int


@dataclass(frozen=True, slots=True)
class EndpointStates:
    """Where notices go: how many endpoints are in which state, and since when the longest is failing."""

    enabled: int
    disabled_by_hand: int
    disabled_by_failures: int
    failing: int
    failing_since: datetime | None


@dataclass(frozen=True, slots=True)
class State:
    """The installation at one moment: ``at`` is the database's clock, and every age is counted from it.

    Balances are in minor units by currency, positive on the account's normal side (suspense: debit,
    unapplied: credit), zeros included.
    """

    at: datetime
    pending_events: Backlog
    """Stored and not finished yet; the oldest by when it arrived, also where it was put back since."""
    retried_events: int
    """Those of them that have failed at least once."""
    events_overdue_since: datetime | None
    """Since when the longest overdue event could have been processed; None where the workers keep up."""
    unposted_balance_transactions: Backlog
    dead_letters: tuple[DeadLetters, ...]
    listings: tuple[ListingState, ...]
    pending_notices: Backlog
    endpoints: EndpointStates
    unfinished_stripe_calls: Backlog
    """Changes at Stripe that were accepted and whose outcome is not stored yet."""
    seal_blocks: int
    unsealed_since: datetime | None
    suspense: Mapping[str, int]
    unapplied: Mapping[str, int]

    def age(self, since: datetime | None) -> timedelta:
        """How long ago that was; zero for None."""
        return max(self.at - since, timedelta(0)) if since is not None else timedelta(0)

    def listing(self, name: str) -> ListingState | None:
        """A list of Stripe's by its name; None if it was never read."""
        return next((each for each in self.listings if each.name == name), None)


async def read_state(connection: AsyncConnection) -> State:
    """Read it, by a dozen small queries. Raises what the database raises."""
    most = {"most": MOST_READ}
    events = (await connection.execute(_EVENTS, most)).one()
    seals = (await connection.execute(_SEALS)).one()
    balances = await _balances(connection)
    return State(
        at=events.at,
        pending_events=Backlog(events.pending, events.oldest_at),
        retried_events=events.retried,
        events_overdue_since=events.overdue_since,
        unposted_balance_transactions=await _backlog(connection, _BALANCE_TRANSACTIONS),
        dead_letters=await read_dead_letters(connection),
        listings=tuple(ListingState(**row) for row in (await connection.execute(_LISTINGS)).mappings()),
        pending_notices=await _backlog(connection, _NOTICES),
        endpoints=EndpointStates(**(await connection.execute(_ENDPOINTS)).mappings().one()),
        unfinished_stripe_calls=await _backlog(connection, _CALLS),
        seal_blocks=seals.blocks,
        unsealed_since=seals.unsealed_since,
        suspense=balances[chart.SUSPENSE],
        unapplied=balances[chart.UNAPPLIED],
    )


async def read_arrivals(connection: AsyncConnection, within: timedelta) -> dict[str, int]:
    """What became of the events that arrived within this time, by status; ``MOST_READ`` of them at most."""
    rows = await connection.execute(_ARRIVALS, {"within": within, "most": MOST_READ})
    return {row.status: row.events for row in rows}


async def _backlog(connection: AsyncConnection, query: Any) -> Backlog:
    row = (await connection.execute(query, {"most": MOST_READ})).one()
    return Backlog(row.waiting, row.oldest_at)


async def read_dead_letters(connection: AsyncConnection) -> tuple[DeadLetters, ...]:
    """How many dead letters there are of each kind and code."""
    rows = await connection.execute(_DEAD, {"most": MOST_READ})
    found = [DeadLetters(row.kind, row.code, row.letters, row.oldest_at) for row in rows]
    in_all = (await connection.execute(_DEAD_IN_ALL)).mappings().one()
    for kind, count in in_all.items():
        beyond = count - sum(each.count for each in found if each.kind == kind)
        if beyond > 0:
            found.append(DeadLetters(kind, OTHER, beyond, None))
    return tuple(found)


async def _balances(connection: AsyncConnection) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {chart.SUSPENSE: {}, chart.UNAPPLIED: {}}
    for row in await connection.execute(_BALANCES, {"accounts": list(found)}):
        found[row.name][row.currency] = chart.account_type(row.name).signed(row.net)
    return found

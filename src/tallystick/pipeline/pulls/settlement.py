"""The settlement puller: brings in Stripe's balance transactions and posts them.

Fees and settlement arrive late: a charge's balance transaction is null when it succeeds. So the ids that
events name are fetched directly, and overlapping windows are listed besides (see ``listings.py``), since a
row can appear after its ``created``. Each is stored raw before it is posted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.db.session import database_is_away
from tallystick.errors import (
    EffectDiffersError,
    NotFoundError,
    StripeRefusedError,
    StripeUnavailableError,
)
from tallystick.events.spec import BalanceTransactionSeen, Effects, Question
from tallystick.ledger import chart
from tallystick.ledger.book import Book, Posted
from tallystick.monitoring import metrics
from tallystick.pipeline.account_maps import hold_maps, keep
from tallystick.pipeline.backoff import backoff_s
from tallystick.pipeline.counting import count_conflicts, count_written
from tallystick.pipeline.effects import note_balance_transactions, write_effects
from tallystick.pipeline.failures import PERMANENT, Trace, record_balance_transaction_attempt
from tallystick.pipeline.lookups import Lookups
from tallystick.pipeline.pulls.listings import Listing, Window, pull
from tallystick.pipeline.reading import read_balance_transactions
from tallystick.settings import Settings
from tallystick.stripe_gateway.client import StripeGateway

log = structlog.get_logger(__name__)

DAILY: Final = "balance_transactions:days"
"""The list that reaches back the farthest."""
LATEST: Final = "balance_transactions:minutes"
"""The list of the last minutes, which every pull reads."""
_LATEST: Final = timedelta(minutes=10)
_BATCH: Final = 200
_FETCHES_AT_ONCE: Final = 8
_WORTH_A_LIST: Final = 20
"""With more than this many ids to fetch, the last minutes are listed first: 100 come in a call."""
_ASK_AGAIN: Final = timedelta(seconds=30)
"""After this a question that Stripe did not answer is put again."""
_QUESTIONS: Final = 100
"""As many are put to Stripe in one go: they are held to a pace, and settlement goes on meanwhile."""
_FETCH_LIMIT: Final = 8
"""Times that Stripe may say it knows no such balance transaction before it counts as missing."""

_DUE: Final = text("""
SELECT id, status, attempts, body FROM balance_transactions
 WHERE status IN ('wanted', 'fetched') AND due_at <= now() AND (body IS NULL) = :wanted
 ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED
""")

_POSTED: Final = text("""
UPDATE balance_transactions SET status = 'posted', posted_at = now(), error = NULL
 WHERE id = ANY(CAST(:ids AS text[]))
""")

_AWAIT: Final = text("""
UPDATE balance_transactions SET due_at = now() + :again WHERE id = ANY(CAST(:ids AS text[]))
""")

_ANSWERED: Final = text("""
UPDATE balance_transactions SET due_at = now()
 WHERE id = ANY(CAST(:ids AS text[])) AND status = 'fetched'
""")

_POSTPONE: Final = text("""
UPDATE balance_transactions
   SET status = :status, attempts = :attempts, error = :error, due_at = :due_at,
       dead_at = CASE WHEN :status IN ('dead', 'missing') THEN now() END
 WHERE id = :id AND status IN ('wanted', 'fetched')
RETURNING id
""")


def _listings(settings: Settings) -> tuple[Listing, ...]:
    """At every pull the last 10 minutes, hourly 3 hours, daily 3 days; after an outage from its beginning."""
    every = timedelta(seconds=settings.settlement_interval_s)
    hours, days = timedelta(hours=3), timedelta(days=3)
    return (
        Listing(DAILY, every=timedelta(days=1), reach=days, first=days),
        Listing("balance_transactions:hours", every=timedelta(hours=1), reach=hours, first=hours),
        # a little less than the interval, so that the pulls of one worker do not drift past it
        Listing(LATEST, every=0.9 * every, reach=_LATEST, first=_LATEST),
    )


Waiting = dict[Question, set[str]]
"""Balance transactions by the question that they wait for."""


class _ContradictedError(Exception):
    """Balance transactions say otherwise than the ledger: they are given up, the others go again."""

    def __init__(self, rows: list[tuple[Any, Exception]]) -> None:
        super().__init__(f"{len(rows)} balance transactions contradict the ledger")
        self.rows = rows


class Settlement:
    """Pulls and posts balance transactions; one a process."""

    def __init__(
        self, engine: AsyncEngine, stripe: StripeGateway, book: Book, settings: Settings, lookups: Lookups
    ) -> None:
        self._engine = engine
        self._stripe = stripe
        self._book = book
        self._settings = settings
        self._lookups = lookups
        self._listings = _listings(settings)

    async def pull(self) -> None:
        """List the windows that are due, store what is new, and post all that can be posted."""
        await self._ask_and_post(self._list_due, self._fetch_wanted)

    async def fetch_and_post(self) -> None:
        """Fetch the balance transactions that events named, and post all that are stored."""
        await self._ask_and_post(self._fetch_wanted)

    async def _ask_and_post(self, *questions: Callable[[], Awaitable[None]]) -> None:
        """What is stored is posted, also when Stripe does not answer."""
        try:
            for ask in questions:
                await ask()
        except StripeUnavailableError:
            await self._post_stored()
            raise
        await self._post_stored()

    async def _list_due(self) -> None:
        for listing in self._listings:
            await pull(self._engine, listing, self._page, self._take)

    async def _post_stored(self) -> None:
        """Post what is due; what waits for facts is posted again, and whole, once Stripe has told them.

        One answer may raise the next question.
        """
        while True:
            waiting: Waiting = {}
            while await self._post_due(waiting):
                pass
            if not waiting:
                return
            asked = list(waiting)[:_QUESTIONS]  # the others are due again before long
            answered = await self._lookups.answer(dict.fromkeys(asked, ()))
            ids = sorted({txn for question in answered for txn in waiting[question]})
            if not ids:
                return
            async with self._engine.begin() as connection:
                await connection.execute(_ANSWERED, {"ids": ids})

    async def _page(self, window: Window) -> Mapping[str, Any]:
        """Without an end: Stripe's clock, a test clock above all, may be ahead of ours."""
        return await self._stripe.list_balance_transactions(
            created_gte=int(window.since.timestamp()), created_lt=None, starting_after=window.cursor
        )

    async def _take(self, rows: Sequence[Mapping[str, Any]]) -> int:
        return await self._store([BalanceTransactionSeen(row["id"], row) for row in rows])

    async def _store(self, seen: list[BalanceTransactionSeen]) -> int:
        async with self._engine.begin() as connection:
            return await note_balance_transactions(connection, seen)

    async def _fetch_wanted(self) -> None:
        wanted = await self._due(wanted=True)
        if len(wanted) > _WORTH_A_LIST:
            await self._list_latest()
        while wanted := await self._due(wanted=True):
            gate = asyncio.Semaphore(_FETCHES_AT_ONCE)
            await asyncio.gather(*(self._fetch(row, gate) for row in wanted))

    async def _list_latest(self) -> None:
        now = datetime.now(UTC)
        window = Window(now - _LATEST, now, None)
        more = True
        while more:
            page = await self._page(window)
            rows = page["data"]
            await self._take(rows)
            more = bool(page["has_more"] and rows)
            if more:
                window = replace(window, cursor=rows[-1]["id"])

    async def _due(self, *, wanted: bool) -> list[Any]:
        async with self._engine.connect() as connection:
            return list((await connection.execute(_DUE, {"wanted": wanted, "limit": _BATCH})).all())

    async def _fetch(self, row: Any, gate: asyncio.Semaphore) -> None:
        """Fetch one; raises StripeUnavailableError, upon which all of them are tried again later."""
        refusal: Exception = NotFoundError("Stripe knows no such balance transaction.")
        async with gate:
            try:
                found = await self._stripe.retrieve_balance_transaction(row.id)
            except StripeRefusedError as error:  # this one: it must not hold back the others
                found, refusal = None, error
        if found is not None:
            await self._store([BalanceTransactionSeen(row.id, found)])
            return
        gone = row.attempts + 1 >= _FETCH_LIMIT
        log.warning(
            "balance_transaction_not_found", balance_transaction=row.id, reason=str(refusal), given_up=gone
        )
        async with self._engine.begin() as connection:
            await self._postpone(connection, row, "missing" if gone else "wanted", refusal)

    async def _post_due(self, waiting: Waiting, limit: int = _BATCH) -> bool:
        """Post one batch in one transaction; False when nothing is left that is due.

        A batch that fails is tried smaller, until the row at fault stands alone and is put off. What waits
        for a fact is added to ``waiting``.
        """
        try:
            return await self._post_batch(waiting, limit)
        except _ContradictedError as found:
            async with self._engine.begin() as connection:
                for row, error in found.rows:
                    await self._postpone(connection, row, "dead", error)
            return True
        except Exception as error:
            if database_is_away(error):
                raise
            if limit > 1:
                return await self._post_due(waiting, max(1, limit // 8))
            async with self._engine.begin() as connection:
                row = (await connection.execute(_DUE, {"wanted": False, "limit": 1})).one()
                await self._put_off(connection, row, error)
            return True

    async def _post_batch(self, waiting: Waiting, limit: int) -> bool:
        async with self._engine.begin() as connection:
            await hold_maps(connection)
            rows = (await connection.execute(_DUE, {"wanted": False, "limit": limit})).all()
            cut_over = await self._book.cut_over(connection)
            found, errors = await read_balance_transactions(connection, rows, cut_over=cut_over)
            if not await keep(connection, [each.decided for each in found.values()]):  # another was first
                found, errors = await read_balance_transactions(connection, rows, cut_over=cut_over)
            read = {txn: each.effects for txn, each in found.items()}
            for row in rows:
                if error := errors.get(row.id):  # put off, not in the way of the others
                    await self._put_off(connection, row, error)
            written = await write_effects(connection, self._book, list(read.values()))
            posted = written.posted
            if posted.conflicts:
                count_conflicts(posted.conflicts)
                raise _ContradictedError(
                    [(row, error) for row in rows if (error := _contradiction(read.get(row.id), posted))]
                )
            open_ids = {txn for txn, effects in read.items() if effects.waiting_for}
            await connection.execute(_POSTED, {"ids": sorted(read.keys() - open_ids)})
            if open_ids:
                await connection.execute(_AWAIT, {"ids": sorted(open_ids), "again": _ASK_AGAIN})
            await self._book.settle_balances(connection, posted)
        count_written(list(read.values()), written)
        for txn in open_ids:
            for question in read[txn].waiting_for:
                waiting.setdefault(question, set()).add(txn)
        _alert_of_suspense(read.values(), posted)
        return bool(rows)

    async def _put_off(self, connection: AsyncConnection, row: Any, error: Exception) -> None:
        """To be tried again later, or given up: at once where no further attempt can mend it."""
        dead = isinstance(error, PERMANENT) or row.attempts + 1 >= self._settings.retry_limit
        log.error("balance_transaction_failed", balance_transaction=row.id, dead=dead, exc_info=error)
        await self._postpone(connection, row, "dead" if dead else "fetched", error)

    async def _postpone(self, connection: AsyncConnection, row: Any, status: str, error: Exception) -> None:
        attempts, trace = row.attempts + 1, Trace.of(error)
        delay = backoff_s(
            attempts, base_s=self._settings.retry_base_s, cap_s=self._settings.settlement_interval_s * 60
        )
        postponed = await connection.execute(
            _POSTPONE,
            {
                "id": row.id,
                "status": status,
                "attempts": attempts,
                "error": trace.error,
                "due_at": datetime.now(UTC) + timedelta(seconds=delay),
            },
        )
        if postponed.first() is not None:
            await record_balance_transaction_attempt(connection, row.id, attempts, trace)
            outcome = "dead" if status in ("dead", "missing") else "retried"
            metrics.BALANCE_TRANSACTION_FAILURES.labels(trace.code, outcome).inc()


def _alert_of_suspense(effects: Iterable[Effects], posted: Posted) -> None:
    """Money that moved for a reason that no rule knows: posted, and somebody must look at it."""
    for transaction in (item for each in effects for item in each.transactions):
        if transaction.effect_key in posted.new and any(
            leg.account == chart.SUSPENSE for leg in transaction.entries
        ):
            log.critical(
                "posted_to_suspense", effect_key=transaction.effect_key, transaction_kind=transaction.kind
            )


def _contradiction(effects: Effects | None, posted: Posted) -> Exception | None:
    """Why these effects cannot be posted; None when they can."""
    made = effects.transactions if effects else ()
    keys = [item.effect_key for item in made if (item.effect_key, item.digest) in posted.conflicts]
    return EffectDiffersError(f"{', '.join(keys)} came with other legs than before.") if keys else None

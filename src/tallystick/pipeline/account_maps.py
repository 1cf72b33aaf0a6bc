"""The user's maps of accounts: entered once each, in force from then on, and what they decided of each sale.

A sale takes the map that was in force when it happened, or the first one, and the decision is stored as a
fact, as the answers of Stripe are: a sale that stands is moved by nothing. What was posted before there was
any map has no such fact, and stays where it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

import orjson
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.events.revenue import (
    MAPPED,
    REFUNDS_MAPPED,
    REFUNDS_UNMAPPED,
    REVENUE,
    UNMAPPED,
    as_told,
    sale_of,
)
from tallystick.events.spec import Facts, Question
from tallystick.ledger.revenue_map import RevenueMap
from tallystick.stripe_gateway.fields import JsonObject

log = structlog.get_logger(__name__)

_LOCK: Final = 0x7461_6C6C_6D61_7073
"""Of an advisory lock: shared by batches that post, alone for who enters a map, so that none is astride."""

_HOLD: Final = text("SELECT pg_advisory_xact_lock_shared(:lock)")
_HOLD_ALONE: Final = text("SELECT pg_advisory_xact_lock(:lock)")
_MAPS: Final = text("SELECT version, body, sha256, since FROM account_maps ORDER BY version")
_ENTER: Final = text("""
INSERT INTO account_maps (version, body, sha256, since) VALUES (:version, :body, :sha256, clock_timestamp())
""")
_STANDING: Final = text("""
SELECT effect_key FROM ledger_transactions WHERE effect_key = ANY(CAST(:keys AS text[]))
""")
_DECIDED: Final = text("""
SELECT question, answer FROM fetched_objects WHERE question = ANY(CAST(:questions AS text[]))
""")
_KEEP: Final = text("""
INSERT INTO fetched_objects (question, answer)
SELECT * FROM unnest(CAST(:questions AS text[]), CAST(:answers AS bytea[]))
ON CONFLICT (question) DO NOTHING RETURNING question
""")


@dataclass(frozen=True, slots=True)
class AccountMap:
    """A version of the map, in force from ``since`` on."""

    version: int
    rules: RevenueMap
    body: str
    sha256: str
    since: datetime


_read: Final = lru_cache(maxsize=32)(RevenueMap.read)
"""Maps are looked at by every batch, and never change."""


async def account_maps(connection: AsyncConnection) -> list[AccountMap]:
    """Every map, in the order in which they were entered."""
    rows = await connection.execute(_MAPS)
    return [
        AccountMap(row.version, _read(row.body), row.body, bytes(row.sha256).hex(), row.since) for row in rows
    ]


async def enter(engine: AsyncEngine, body: str) -> AccountMap:
    """Put a map in force, unless it is the one that is. Raises ConfigurationError when it cannot be read.

    It waits until no batch of events is being posted.
    """
    RevenueMap.read(body)
    digest = hashlib.sha256(body.encode()).digest()
    async with engine.begin() as connection:
        await connection.execute(_HOLD_ALONE, {"lock": _LOCK})
        maps = await account_maps(connection)
        if not maps or maps[-1].sha256 != digest.hex():
            version = maps[-1].version + 1 if maps else 1
            await connection.execute(_ENTER, {"version": version, "body": body, "sha256": digest})
            maps = await account_maps(connection)
            log.info("account_map_entered", version=version, rules=len(maps[-1].rules.rules))
    return maps[-1]


async def hold_maps(connection: AsyncConnection) -> None:
    """Until the end of the transaction no other map is entered."""
    await connection.execute(_HOLD, {"lock": _LOCK})


def mapped_by(maps: Sequence[AccountMap]) -> list[Question]:
    """What rules find among the facts, so that they ask: of sales where there is a map, and of refunds."""
    if not maps:
        return []
    return [MAPPED, REFUNDS_MAPPED] if any(each.rules.maps_refunds for each in maps) else [MAPPED]


async def decide(
    connection: AsyncConnection, maps: Sequence[AccountMap], questions: Iterable[Question], facts: Facts
) -> dict[Question, JsonObject]:
    """The accounts of the sales and refunds that are asked for and not decided yet; others are left alone.

    A refund goes by what was decided of its sale, be it among the ``facts`` only.
    """
    wanted = {question.id: question for question in questions if question.kind == REVENUE}
    if not wanted:
        return {}
    refunds = {key: str(sale) for key, question in wanted.items() if (sale := sale_of(question)) is not None}
    rows = await connection.execute(_STANDING, {"keys": [*wanted, *refunds.values()]})
    standing = set(rows.scalars())
    found: dict[Question, JsonObject] = {
        question: {"map": None, "shares": UNMAPPED} if key in standing else _decided(maps, question)
        for key, question in wanted.items()
        if key not in refunds
    }
    sales = {**await _sales_decided(connection, refunds.values()), **facts, **found}
    for key, sale in refunds.items():
        of_sale = sales.get(Question(REVENUE, sale))
        if key in standing or (of_sale is None and sale in standing):
            of_sale = {"map": None}
        elif of_sale is None:
            of_sale = _decided(maps, wanted[key])
        shares = of_sale.get("refunds", REFUNDS_UNMAPPED)
        found[wanted[key]] = {"map": of_sale["map"], "shares": shares}
    return found


async def _sales_decided(
    connection: AsyncConnection, sales: Iterable[str]
) -> dict[Question, JsonObject | None]:
    """What is stored of sales, by their keys."""
    questions = {str(each): each for sale in sales for each in [Question(REVENUE, sale)]}
    if not questions:
        return {}
    rows = await connection.execute(_DECIDED, {"questions": list(questions)})
    return {questions[row.question]: orjson.loads(row.answer) for row in rows}


def _decided(maps: Sequence[AccountMap], question: Question) -> JsonObject:
    assert question.told is not None
    at, metadata, lines = as_told(question.told)
    in_force = next((each for each in reversed(maps) if each.since <= at), maps[0])
    made = {"map": in_force.version, "shares": in_force.rules.shares(metadata, lines)}
    if in_force.rules.maps_refunds:
        made["refunds"] = in_force.rules.refund_shares(metadata, lines)
    return made


async def keep(connection: AsyncConnection, decisions: Iterable[Mapping[Question, JsonObject]]) -> bool:
    """Store decisions as facts; False when another worker stored one of them first, which then counts."""
    answers = {str(question): answer for decided in decisions for question, answer in decided.items()}
    if not answers:
        return True
    questions = sorted(answers)  # as all that several batches can write: in one order
    kept = await connection.execute(
        _KEEP, {"questions": questions, "answers": [orjson.dumps(answers[each]) for each in questions]}
    )
    return len(kept.all()) == len(questions)

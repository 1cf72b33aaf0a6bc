"""Erases a person: personal fields leave every stored payload about one customer or payment.

What the ledger was posted from stays, so that it can still be rebuilt to the same digest; the SHA-256 of each
event's body as it was signed stays as well. Amounts, states, ids, descriptions and metadata are kept.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.db.ids import new_id
from tallystick.errors import NotFoundError
from tallystick.payments.reports import adopted_payment
from tallystick.pipeline.archives import pack, unpack
from tallystick.pipeline.operations.audit import Order
from tallystick.stripe_gateway.personal import PERSONAL_FIELDS, without_personal_fields

_STEP: Final = 20_000
"""Rows of the inbox that one transaction looks through: bodies have no index."""

_NAMES: Final = text("""
SELECT id, stripe_payment_intent, stripe_charge, customer FROM payments
 WHERE customer = :subject OR id = :subject OR stripe_payment_intent = :subject
""")

_LAST_SEQ: Final = text("SELECT coalesce(max(seq), 0) FROM webhook_events")

_EVENTS: Final = text("""
SELECT id, body FROM webhook_events
 WHERE seq > :after AND seq <= :upto AND body IS NOT NULL
   AND EXISTS (SELECT FROM unnest(CAST(:needles AS bytea[])) AS n(needle) WHERE position(needle IN body) > 0)
 ORDER BY id FOR UPDATE
""")

_REDACT_EVENTS: Final = text("""
UPDATE webhook_events e SET body = r.body, original_sha256 = coalesce(e.original_sha256, r.sha256)
  FROM unnest(
    CAST(:ids AS text[]), CAST(:bodies AS bytea[]), CAST(:sha256s AS bytea[])
  ) AS r(id, body, sha256)
 WHERE e.id = r.id
""")

_ARCHIVES: Final = text("SELECT id, offsets, body FROM event_archives WHERE id > :after ORDER BY id LIMIT 1")

_REDACT_ARCHIVE: Final = text("""
UPDATE event_archives SET offsets = CAST(:offsets AS int[]), body = :body WHERE id = :id
""")

_REMEMBER_ARCHIVED: Final = text("""
UPDATE webhook_events e SET original_sha256 = coalesce(e.original_sha256, r.sha256)
  FROM unnest(CAST(:positions AS int[]), CAST(:sha256s AS bytea[])) AS r(position, sha256)
 WHERE e.archive_id = :archive AND e.archive_position = r.position
""")

_OTHERS: Final = {
    "balance_transactions": ("id", "body"),
    "fetched_objects": ("question", "answer"),
}
"""Other tables with stored payloads: their key and the payload's column."""

_FORGET_EMAIL: Final = text("""
UPDATE payments SET receipt_email = NULL WHERE id = ANY(CAST(:ids AS text[])) AND receipt_email IS NOT NULL
""")

_FORGET_CUSTOMER: Final = text("""
UPDATE customers
   SET name = NULL, email = NULL, phone = NULL, description = NULL, address = NULL, metadata = '{}'
 WHERE id = :subject
""")
_FORGET_METHODS: Final = text("""
UPDATE payment_methods SET details = '{}', metadata = '{}' WHERE customer = :subject
""")

_FORGET_NOTICES: Final = text("""
UPDATE outbox o SET data = o.data || forgotten.fields
  FROM (SELECT id, jsonb_object_agg(name, NULL) AS fields
          FROM outbox, jsonb_each(data) AS field(name, value)
         WHERE (payment_id = ANY(CAST(:payments AS text[])) OR data->>'customer' = :subject)
           AND name = ANY(CAST(:personal AS text[])) AND value <> 'null'
         GROUP BY id) forgotten
 WHERE o.id = forgotten.id
""")

_RECORD: Final = text("""
INSERT INTO erasures (id, actor, reason, subject, counts)
VALUES (:id, :actor, :reason, :subject, CAST(:counts AS jsonb))
""")


async def erase(engine: AsyncEngine, subject: str, order: Order) -> dict[str, int]:
    """Erase what is stored about a customer (``cus_…``) or a payment (ours, or its PaymentIntent).

    Returns how many payloads of which table were redacted, and records it. It can be repeated, and after
    an interruption has to be. Raises NotFoundError where nothing names the subject.
    """
    payments, names = await _names(engine, subject)
    needles = [b'"%s"' % name.encode() for name in names]
    counts: Counter[str] = Counter()
    counts["webhook_events"] = await _redact_inbox(engine, needles) + await _redact_archives(engine, needles)
    for table in _OTHERS:
        counts[table] = await _redact_table(engine, table, needles)
    async with engine.begin() as connection:
        for table, forget in (("customers", _FORGET_CUSTOMER), ("payment_methods", _FORGET_METHODS)):
            counts[table] = (await connection.execute(forget, {"subject": subject})).rowcount
        if not payments and not counts.total():
            raise NotFoundError(f"Nothing is stored about {subject!r}.")
        about = {"payments": [*names, *map(adopted_payment, names)], "subject": subject}
        told = await connection.execute(_FORGET_NOTICES, {**about, "personal": sorted(PERSONAL_FIELDS)})
        counts["notices"] = told.rowcount
        counts["payments"] = (await connection.execute(_FORGET_EMAIL, {"ids": payments})).rowcount
        record = {"id": new_id("era"), "actor": order.actor, "reason": order.reason, "subject": subject}
        await connection.execute(_RECORD, {**record, "counts": orjson.dumps(counts).decode()})
    return dict(counts)


async def _names(engine: AsyncEngine, subject: str) -> tuple[list[str], list[str]]:
    """The payments that are meant, and the ids by which a payload is about the subject."""
    async with engine.connect() as connection:
        rows = (await connection.execute(_NAMES, {"subject": subject})).all()
    names = {subject, *(name for row in rows for name in row[:3] if name is not None)}
    return [row.id for row in rows], sorted(names)


async def _redact_inbox(engine: AsyncEngine, needles: Sequence[bytes]) -> int:
    async with engine.connect() as connection:
        last = int((await connection.execute(_LAST_SEQ)).scalar_one())
    redacted = 0
    for after in range(0, last + 1, _STEP):
        async with engine.begin() as connection:
            window = {"after": after - 1, "upto": after + _STEP - 1, "needles": needles}
            rows = (await connection.execute(_EVENTS, window)).all()
            if rows:
                parameters = {
                    "ids": [row.id for row in rows],
                    "bodies": [redact(row.body) for row in rows],
                    "sha256s": [hashlib.sha256(row.body).digest() for row in rows],
                }
                await connection.execute(_REDACT_EVENTS, parameters)
        redacted += len(rows)
    return redacted


async def _redact_archives(engine: AsyncEngine, needles: Sequence[bytes]) -> int:
    redacted, after = 0, 0
    while True:
        async with engine.begin() as connection:
            block = (await connection.execute(_ARCHIVES, {"after": after})).first()
            if block is None:
                return redacted
            redacted += await _redact_block(connection, block, needles)
        after = block.id


async def _redact_block(connection: AsyncConnection, block: Any, needles: Sequence[bytes]) -> int:
    bodies = unpack(block.offsets, block.body)
    about = [n for n, body in enumerate(bodies) if any(needle in body for needle in needles)]
    if not about:
        return 0
    digests = [hashlib.sha256(bodies[n]).digest() for n in about]
    for n in about:
        bodies[n] = redact(bodies[n])
    offsets, packed = pack(bodies)
    await connection.execute(_REDACT_ARCHIVE, {"id": block.id, "offsets": offsets, "body": packed})
    moved = {"archive": block.id, "positions": [n + 1 for n in about], "sha256s": digests}
    await connection.execute(_REMEMBER_ARCHIVED, moved)
    return len(about)


async def _redact_table(engine: AsyncEngine, table: str, needles: Sequence[bytes]) -> int:
    key, column = _OTHERS[table]
    find = text(f"""
        SELECT {key} AS key, {column} AS body FROM {table}
         WHERE EXISTS (
           SELECT FROM unnest(CAST(:needles AS bytea[])) AS n(needle) WHERE position(needle IN {column}) > 0
         ) ORDER BY {key} FOR UPDATE
    """)
    write = text(f"""
        UPDATE {table} t SET {column} = r.body
          FROM unnest(CAST(:keys AS text[]), CAST(:bodies AS bytea[])) AS r(key, body) WHERE t.{key} = r.key
    """)
    async with engine.begin() as connection:
        rows = (await connection.execute(find, {"needles": needles})).all()
        if rows:
            keys, bodies = [row.key for row in rows], [redact(row.body) for row in rows]
            await connection.execute(write, {"keys": keys, "bodies": bodies})
    return len(rows)


def redact(body: bytes) -> bytes:
    """A stored payload without its personal fields; one that is no JSON becomes empty."""
    try:
        return orjson.dumps(without_personal_fields(orjson.loads(body)))
    except orjson.JSONDecodeError:
        return b"{}"

"""Idempotency keys: one request under a key does the work, all others get its answer.

A row stands for (API key, idempotency key) and carries the digest of the request, the id of the resource
that the first request began, and later its answer. It is written in the transaction that first writes
anything for the request: a request that is refused before that leaves no trace. While a request works it
holds the row's lock, ``locked_at``, on a lease that its process renews; a process that died, or lost the
database, renews nothing, and soon the client's retry takes over with the same resource id, hence the same
key at Stripe. Two that believe to hold one lock do no harm for that reason: the lock only saves work.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.db.door import Door
from tallystick.db.session import autocommit
from tallystick.errors import IdempotencyKeyInUseError, IdempotencyKeyReusedError, InvalidIdempotencyKeyError

LONGEST_KEY: Final = 255
_FIRST_PAUSE_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 0.25

_READ: Final = text("""
SELECT request_hash, resource_id, response_status, response_body, locked_at, now() - created_at AS age,
       leased_until <= now() AS dead
  FROM idempotency_keys WHERE api_key_id = :api_key AND key = :key
""")

_TAKE_OVER: Final = text("""
UPDATE idempotency_keys
   SET locked_at = clock_timestamp(), leased_until = clock_timestamp() + CAST(:lease AS interval)
 WHERE api_key_id = :api_key AND key = :key AND finished_at IS NULL AND locked_at = :seen
   AND leased_until <= now()
RETURNING locked_at
""")

_START: Final = text("""
INSERT INTO idempotency_keys (api_key_id, key, request_hash, resource_id, locked_at, leased_until)
VALUES (:api_key, :key, :request_hash, :resource, clock_timestamp(),
        clock_timestamp() + CAST(:lease AS interval))
ON CONFLICT (api_key_id, key) DO NOTHING
RETURNING locked_at
""")

# All three only under the lock that the claim took: not when the start was rolled back or another took over.
_FINISH: Final = text("""
UPDATE idempotency_keys SET response_status = :status, response_body = :body, finished_at = now()
 WHERE api_key_id = :api_key AND key = :key AND finished_at IS NULL AND locked_at = :locked_at
""")

_RELEASE: Final = text("""
UPDATE idempotency_keys SET leased_until = now()
 WHERE api_key_id = :api_key AND key = :key AND finished_at IS NULL AND locked_at = :locked_at
""")

_REAP: Final = text("""
DELETE FROM idempotency_keys WHERE (api_key_id, key) IN (
  SELECT api_key_id, key FROM idempotency_keys
   WHERE created_at < now() - CAST(:age AS interval) AND leased_until <= now()
   ORDER BY created_at LIMIT :limit FOR UPDATE SKIP LOCKED
)
""")


class StartedElsewhereError(Exception):
    """Another request with this key started first: roll back, and ``enter`` again."""


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A request that carries an idempotency key; made by ``keyed_request``."""

    api_key_id: str
    key: str
    digest: bytes

    @property
    def row(self) -> dict[str, Any]:
        """The row's key, as parameters of the statements."""
        return {"api_key": self.api_key_id, "key": self.key}


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """The answer that the first request got: HTTP status and body."""

    status: int
    body: bytes


@dataclass(slots=True, eq=False)
class Claim:
    """A request's right to do the work. Without a key every request has one of its own.

    ``api_key_id`` is the API key it came with, None for the worker's own.
    ``resource_id`` is set when an earlier request under the key, ``age`` ago, began that resource and did not
    finish. Before ``door``, if there is one, its request waits for its turn. ``show`` makes the answer of
    what a command returns; ``answer`` is the one that ``finish`` kept.
    """

    request: KeyedRequest | None = None
    lease: timedelta = timedelta()
    resource_id: str | None = None
    age: timedelta = timedelta()
    locked_at: datetime | None = None
    api_key_id: str | None = None
    door: Door | None = None
    show: Callable[[Any], StoredAnswer] | None = None
    answer: StoredAnswer | None = None

    @property
    def started(self) -> bool:
        """Whether the key was taken, by this request or, for a resource begun earlier, by taking over."""
        return self.locked_at is not None

    @property
    def held(self) -> dict[str, Any]:
        """The row as this claim holds it, as parameters of the statements."""
        assert self.request is not None
        return {**self.request.row, "locked_at": self.locked_at}

    @asynccontextmanager
    async def accepting(self, engine: AsyncEngine, resource_id: str) -> AsyncIterator[AsyncConnection]:
        """When it is the request's turn, a transaction that takes the key and accepts the request.

        Raises what ``start`` and ``Door.turn`` raise.
        """
        async with self.door.turn() if self.door else nullcontext(), engine.begin() as connection:
            await self.start(connection, resource_id)
            yield connection

    async def start(self, connection: AsyncConnection, resource_id: str) -> None:
        """Take the key in the caller's transaction, which writes the resource as well.

        Raises StartedElsewhereError, after which the transaction must be rolled back.
        """
        if self.request is None or self.started:
            return
        row = {
            **self.request.row,
            "request_hash": self.request.digest,
            "resource": resource_id,
            "lease": self.lease,
        }
        locked_at = (await connection.execute(_START, row)).scalar()
        if locked_at is None:
            raise StartedElsewhereError
        self.locked_at = locked_at

    async def finish(self, connection: AsyncConnection, result: object) -> None:
        """Keep the answer that ``result`` makes, in the caller's transaction, which stores the result itself:
        neither is there without the other, and both cost one commit.

        Raises StartedElsewhereError when another request has taken over meanwhile: its answer counts.
        """
        if self.show is None:
            return
        answer = self.show(result)
        if self.request is not None:
            row = {**self.held, "status": answer.status, "body": answer.body}
            if not (await connection.execute(_FINISH, row)).rowcount:
                raise StartedElsewhereError
        self.answer = answer

    def stripe_key(self, resource_id: str, action: str) -> str:
        """The idempotency key for a call to Stripe that changes a resource which exists already."""
        if self.request is None:
            return f"tallystick-{resource_id}-{action}-{secrets.token_hex(12)}"
        own = hashlib.sha256(f"{self.request.api_key_id}\0{self.request.key}".encode()).hexdigest()[:32]
        return f"tallystick-{resource_id}-{action}-{own}"


def keyed_request(api_key_id: str, key: str, method: str, path: str, body: bytes) -> KeyedRequest:
    """``body`` must be in canonical form. Raises InvalidIdempotencyKeyError."""
    if not 1 <= len(key) <= LONGEST_KEY or not key.isprintable() or not key.isascii():
        raise InvalidIdempotencyKeyError(
            f"An Idempotency-Key has 1 to {LONGEST_KEY} printable ASCII characters.", param="Idempotency-Key"
        )
    digest = hashlib.sha256(b"\0".join((method.encode(), path.encode(), body))).digest()
    return KeyedRequest(api_key_id, key, digest)


async def enter(
    engine: AsyncEngine, request: KeyedRequest, *, wait_s: float, lease_s: float
) -> StoredAnswer | Claim:
    """The stored answer, or the right to do the work.

    Waits up to ``wait_s`` for a request that is at work, holding no connection meanwhile. Raises
    IdempotencyKeyReusedError when the key was used for another request, and IdempotencyKeyInUseError when
    the other is still at work.
    """
    deadline = time.monotonic() + wait_s
    pause_s = _FIRST_PAUSE_S
    while True:
        found = await _look(engine, request, timedelta(seconds=lease_s))
        if found is not None:
            return found
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise IdempotencyKeyInUseError(
                "A request with this Idempotency-Key is still at work.", retry_after=1
            )
        await asyncio.sleep(min(pause_s, left_s))
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


async def stored_answer(engine: AsyncEngine, request: KeyedRequest) -> StoredAnswer | None:
    """The answer kept under the key, if there is one. Raises IdempotencyKeyReusedError."""
    async with autocommit(engine) as connection:
        row = (await connection.execute(_READ, request.row)).first()
    return None if row is None else _answer(row, request)


def _answer(row: Row[Any], request: KeyedRequest) -> StoredAnswer | None:
    if row.request_hash != request.digest:
        raise IdempotencyKeyReusedError(
            "This Idempotency-Key was used for another request.", param="Idempotency-Key"
        )
    if row.response_status is None:
        return None
    return StoredAnswer(row.response_status, row.response_body)


async def _look(engine: AsyncEngine, request: KeyedRequest, lease: timedelta) -> StoredAnswer | Claim | None:
    """None: another request is at work."""
    async with autocommit(engine) as connection:
        row = (await connection.execute(_READ, request.row)).first()
        if row is None:
            return Claim(request, lease, api_key_id=request.api_key_id)
        if (answer := _answer(row, request)) is not None:
            return answer
        if not row.dead:
            return None
        # of several that find the same dead lock one gets it
        taken = {**request.row, "seen": row.locked_at, "lease": lease}
        locked_at = (await connection.execute(_TAKE_OVER, taken)).scalar()
        return (
            Claim(request, lease, row.resource_id, row.age, locked_at, api_key_id=request.api_key_id)
            if locked_at is not None
            else None
        )


async def finish(engine: AsyncEngine, claim: Claim, answer: StoredAnswer) -> None:
    """Keep the answer for all that come with the key later. No effect before ``start``."""
    if claim.request is not None and claim.started:
        row = {**claim.held, "status": answer.status, "body": answer.body}
        async with autocommit(engine) as connection:
            await connection.execute(_FINISH, row)


async def release(engine: AsyncEngine, claim: Claim) -> None:
    """Nothing was decided: let the next request with the key go on at once. No effect before ``start``."""
    if claim.request is not None and claim.started:
        async with autocommit(engine) as connection:
            await connection.execute(_RELEASE, claim.held)


async def reap(engine: AsyncEngine, *, keep: timedelta, limit: int) -> int:
    """Remove up to ``limit`` keys older than ``keep``, answered or abandoned; returns how many it found."""
    async with autocommit(engine) as connection:
        return (await connection.execute(_REAP, {"age": keep, "limit": limit})).rowcount

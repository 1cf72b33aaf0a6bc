"""Pages of a table, newest first, and what narrows them. Functions take a connection and write nothing.

A cursor says where the last page ended, ``(created_at, id)``: rows that come or change meanwhile neither
repeat nor hide others.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from operator import ge, gt, le, lt
from typing import Any, Final, Generic, TypeVar

from sqlalchemy import ColumnElement, Row, Select, Table, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.db.cursors import cursor_at, read_cursor
from tallystick.db.tables import payments
from tallystick.errors import InvalidRequestError

T = TypeVar("T")
_ID: Final = re.compile(r"[!-~]{1,300}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Rows, newest first; ``next_cursor`` is None on the last page."""

    items: list[T]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Between:
    """Bounds of the time of creation; None: open on that side."""

    gte: datetime | None = None
    gt: datetime | None = None
    lte: datetime | None = None
    lt: datetime | None = None

    def conditions(self, column: ColumnElement[datetime]) -> list[ColumnElement[bool]]:
        """The bounds as conditions on a column."""
        bounds = ((self.gte, ge), (self.gt, gt), (self.lte, le), (self.lt, lt))
        return [compare(column, bound) for bound, compare in bounds if bound is not None]


EVER: Final = Between()


async def page_of(
    connection: AsyncConnection,
    wanted: Select[Any],
    table: Table,
    created: Between,
    read: Callable[[Row[Any]], T],
    *,
    limit: int,
    cursor: str | None,
) -> Page[T]:
    """A page of at most ``limit`` rows of ``wanted``, beginning after ``cursor``.

    Raises InvalidRequestError when the cursor is none of ours.
    """
    at, row_id = table.c.created_at, table.c.id
    wanted = wanted.where(*created.conditions(at)).order_by(at.desc(), row_id.desc()).limit(limit + 1)
    if cursor is not None:
        moment, named = read_cursor(cursor)
        kind, _, last_id = named.partition(":")
        if kind != table.name:
            raise InvalidRequestError("The cursor is of another list.", param="cursor")
        wanted = wanted.where(tuple_(at, row_id) < tuple_(moment, last_id))
    rows = (await connection.execute(wanted)).all()
    last = rows[limit - 1] if len(rows) > limit else None
    following = None if last is None else cursor_at(last.created_at, f"{table.name}:{last.id}")
    return Page([read(row) for row in rows[:limit]], following)


def ids_of_payment(payment_id: str) -> list[Any]:
    """The ids under which other rows name a payment, for use in a query: see ``reading.names_of``.

    The payment is given by our id or by its PaymentIntent's.
    """
    intent = select(literal("pay_") + payments.c.stripe_payment_intent).where(payments.c.id == payment_id)
    ours = select(payments.c.id).where(payments.c.stripe_payment_intent == payment_id)
    return [payment_id, intent.scalar_subquery(), ours.scalar_subquery(), f"pay_{payment_id}"]


def storable(text: str) -> bool:
    """Whether the text can be an id of Stripe's or ours, and so be asked of the database at all."""
    return _ID.fullmatch(text) is not None

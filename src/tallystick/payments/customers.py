"""Customers and saved payment methods as they stand: written from reports, read without Stripe."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, Protocol, TypeVar

import orjson
from sqlalchemy import Row, TextClause, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.db.tables import customers, payment_methods
from tallystick.payments.customer_reports import (
    CustomerReport,
    PaymentMethodReport,
    merge_customers,
    merge_payment_methods,
)
from tallystick.payments.lists import EVER, Between, Page, page_of
from tallystick.payments.store import newer
from tallystick.payments.ties import Tie, hold_ties
from tallystick.stripe_gateway.payloads import theirs

_CUSTOMER: Final = (
    "state_order", "deleted", "livemode", "name", "email", "phone", "description", "address", "metadata",
    "default_payment_method",
)  # fmt: skip
_METHOD: Final = ("state_order", "customer", "type", "details", "livemode", "metadata")

_UPSERT_CUSTOMERS: Final = text(f"""
INSERT INTO customers (id, created_at, methods_known, {", ".join(_CUSTOMER)})
SELECT id, to_timestamp(created), methods_known, {", ".join(_CUSTOMER)}
  FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
    id text, created bigint, methods_known boolean, state_order text, deleted boolean, livemode boolean,
    name text, email text, phone text, description text, address jsonb, metadata jsonb,
    default_payment_method text
  )
 ORDER BY id COLLATE "C"
ON CONFLICT (id) DO UPDATE SET
  {newer("customers", "state_order", _CUSTOMER)},
  methods_known = customers.methods_known OR excluded.methods_known,
  updated_at = now()
WHERE excluded.state_order > customers.state_order OR (excluded.methods_known AND NOT customers.methods_known)
""")

_UPSERT_METHODS: Final = text(f"""
INSERT INTO payment_methods (id, created_at, {", ".join(_METHOD)})
SELECT id, to_timestamp(created), {", ".join(_METHOD)}
  FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
    id text, created bigint, state_order text, customer text, type text, details jsonb, livemode boolean,
    metadata jsonb
  )
 ORDER BY id COLLATE "C"
ON CONFLICT (id) DO UPDATE SET {newer("payment_methods", "state_order", _METHOD)}, updated_at = now()
WHERE excluded.state_order > payment_methods.state_order
""")


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer as it stands; ids are Stripe's."""

    id: str
    deleted: bool
    livemode: bool
    name: str | None
    email: str | None
    phone: str | None
    description: str | None
    address: dict[str, Any] | None
    metadata: dict[str, str]
    default_payment_method: str | None
    methods_known: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class SavedMethod:
    """A payment method as it stands; ``customer`` is None once it is detached."""

    id: str
    customer: str | None
    type: str
    details: dict[str, Any]
    livemode: bool
    metadata: dict[str, str]
    created_at: datetime
    updated_at: datetime


class _About(Protocol):
    @property
    def id(self) -> str: ...


_CUSTOMERS: Final = select(*(customers.c[name] for name in Customer.__slots__))
_METHODS: Final = select(*(payment_methods.c[name] for name in SavedMethod.__slots__))
Report = TypeVar("Report", bound=_About)


async def apply_customers(
    connection: AsyncConnection, reports: Iterable[CustomerReport], *, hold: bool = False
) -> list[Tie]:
    """Bring the customers' rows to what the reports say; a late report never moves one back.

    With ``hold``, reports that only their events' ids would decide about are returned instead.
    """
    settled, ties = await hold_ties(connection, reports, hold=hold)
    await _apply(connection, _UPSERT_CUSTOMERS, settled, merge_customers)
    return ties


async def apply_payment_methods(
    connection: AsyncConnection, reports: Iterable[PaymentMethodReport], *, hold: bool = False
) -> list[Tie]:
    """Bring the payment methods' rows to what the reports say, as ``apply_customers`` does."""
    settled, ties = await hold_ties(connection, reports, hold=hold)
    await _apply(connection, _UPSERT_METHODS, settled, merge_payment_methods)
    return ties


async def _apply(
    connection: AsyncConnection,
    upsert: TextClause,
    reports: Iterable[Report],
    merge: Callable[[Report, Report], Report],
) -> None:
    merged: dict[str, Report] = {}
    for report in reports:
        other = merged.get(report.id)
        merged[report.id] = report if other is None else merge(other, report)
    if merged:
        rows = [asdict(report) for report in merged.values()]  # type: ignore[call-overload]
        await connection.execute(upsert, {"rows": orjson.dumps(rows).decode()})


async def find_customer(connection: AsyncConnection, customer_id: str) -> Customer | None:
    """The row, a deleted customer's too."""
    row = (await connection.execute(_CUSTOMERS.where(customers.c.id == customer_id))).first()
    return _customer(row) if row is not None else None


async def list_customers(
    connection: AsyncConnection,
    created: Between,
    *,
    email: str | None = None,
    limit: int,
    cursor: str | None = None,
) -> Page[Customer]:
    """Customers that are not deleted, newest first; raises InvalidRequestError for a foreign cursor."""
    wanted = _CUSTOMERS.where(~customers.c.deleted)
    if email is not None:
        wanted = wanted.where(customers.c.email == email)
    return await page_of(connection, wanted, customers, created, _customer, limit=limit, cursor=cursor)


async def find_method(connection: AsyncConnection, method_id: str) -> SavedMethod | None:
    """The row, a detached one's too."""
    row = (await connection.execute(_METHODS.where(payment_methods.c.id == method_id))).first()
    return _method(row) if row is not None else None


async def list_methods(
    connection: AsyncConnection,
    customer_id: str,
    *,
    kind: str | None = None,
    limit: int,
    cursor: str | None = None,
) -> Page[SavedMethod]:
    """What a customer can pay with, newest first; raises InvalidRequestError for a foreign cursor."""
    wanted = _METHODS.where(payment_methods.c.customer == customer_id)
    if kind is not None:
        wanted = wanted.where(payment_methods.c.type == kind)
    return await page_of(connection, wanted, payment_methods, EVER, _method, limit=limit, cursor=cursor)


def _customer(row: Row[Any]) -> Customer:
    values = dict(row._mapping)  # noqa: SLF001 - the documented way to a row's names
    return Customer(**{**values, "metadata": theirs(values["metadata"])})


def _method(row: Row[Any]) -> SavedMethod:
    values = dict(row._mapping)  # noqa: SLF001 - the documented way to a row's names
    return SavedMethod(**{**values, "metadata": theirs(values["metadata"])})

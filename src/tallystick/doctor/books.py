"""Whether the books hold what the account held before they began."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from tallystick.db.session import open_engine
from tallystick.doctor.findings import Finding, ok, skipped, warning
from tallystick.errors import StripeAccessError
from tallystick.ledger.openings import cut_over_of
from tallystick.settings import Settings
from tallystick.stripe_gateway.operator import OperatorGateway

_BEGAN: Final = text("""
SELECT least(
  (SELECT min(first_at) FROM transaction_spans),
  (SELECT min(occurred_at) FROM (SELECT occurred_at FROM ledger_transactions ORDER BY id LIMIT 1000) AS first)
)
""")
"""The earliest fact in the ledger: of what is sealed, and of what was posted first."""


async def examine_books(gateway: OperatorGateway, settings: Settings) -> Finding:
    """An account in use needs an opening, or its balance here is not Stripe's. Raises UnavailableError."""
    try:
        opened, began = await _stored(settings)
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        return skipped("books", f"the database cannot be read: {type(error).__name__}")
    if opened is not None:
        return ok("books", f"opened as of {opened:%Y-%m-%d %H:%M:%S} UTC")
    try:
        before = {"created": {"lt": int(began.timestamp())}} if began is not None else {}
        history = (await gateway.page_of_movements(before, None))["data"]
    except StripeAccessError as error:
        return skipped("books", f"balance transactions are not shown to this key: {error.detail}")
    if history:
        since = f"before {began:%Y-%m-%d %H:%M:%S} UTC" if began else "already"
        remedy = "run 'tallystick adopt --from TIME': docs/operations.md, going live on an account in use"
        return warning("books", f"the account moved money {since}, which the ledger does not hold", remedy)
    return ok("books", "nothing moved on the account before they began")


async def _stored(settings: Settings) -> tuple[datetime | None, datetime | None]:
    """The cut-over of the books, and the earliest fact in them."""
    engine = open_engine(settings)
    try:
        async with engine.connect() as connection:
            return await cut_over_of(connection), (await connection.execute(_BEGAN)).scalar()
    finally:
        await engine.dispose()

"""Payments: the list, and one with all that belongs to it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints
from starlette.responses import Response

from tallystick.api import bodies
from tallystick.api.keys import Scope
from tallystick.api.lists import Word
from tallystick.console.fields import PAGE, Cursor, Time
from tallystick.console.routing import Pages
from tallystick.console.visits import Query, Visit
from tallystick.db.session import autocommit
from tallystick.errors import InvalidRequestError
from tallystick.payments import reading
from tallystick.payments.lists import Between
from tallystick.payments.status import PaymentStatus


class PaymentQuery(Query):
    """What the list is narrowed to."""

    status: PaymentStatus | None = None
    customer: Word | None = None
    currency: Annotated[str | None, Field(pattern="^[a-z]{3}$")] = None
    since: Time | None = None
    until: Time | None = None
    metadata_key: Annotated[str, StringConstraints(max_length=40, pattern=r"^[^\[\]\x00]+$")] | None = None
    metadata_value: Annotated[str, StringConstraints(max_length=500, pattern=r"^[^\x00]+$")] | None = None
    cursor: Cursor = None

    def narrowed(self) -> reading.PaymentFilter:
        """As the reader takes it. Raises InvalidRequestError."""
        if (self.metadata_key is None) != (self.metadata_value is None):
            raise InvalidRequestError("Metadata is narrowed by a key and its value.", param="metadata_key")
        return reading.PaymentFilter(
            self.status,
            self.customer,
            self.currency,
            Between(gte=self.since, lt=self.until),
            {self.metadata_key: self.metadata_value} if self.metadata_key and self.metadata_value else {},
        )


def payment_pages(pages: Pages) -> None:
    """The pages below /console/payments."""

    @pages.get("/payments", Scope.PAYMENTS_READ)
    async def payments(visit: Visit) -> Response:
        query = visit.query(PaymentQuery)
        async with autocommit(visit.app.engine) as connection:
            page = await reading.list_payments(connection, query.narrowed(), limit=PAGE, cursor=query.cursor)
        return visit.page(
            "payments.html",
            query=query,
            statuses=list(PaymentStatus),
            payments=[bodies.Payment.of(each) for each in page.items],
            next_cursor=page.next_cursor,
        )

"""Payments: the list, and one with all that belongs to it."""

from __future__ import annotations

from typing import Annotated

from starlette.responses import Response

from tallystick.api import bodies
from tallystick.api.disputes import Dispute
from tallystick.api.keys import Scope
from tallystick.api.ledger_bodies import ledger_of
from tallystick.api.lists import Word
from tallystick.api.values import STORABLE, CurrencyCode, Shape, up_to
from tallystick.console.fields import PAGE, Cursor, Time
from tallystick.console.routing import Pages
from tallystick.console.visits import Query, Visit
from tallystick.db.session import autocommit
from tallystick.errors import InvalidRequestError
from tallystick.ledger.history import transactions_of_payments
from tallystick.payments import reading
from tallystick.payments.disputes import disputes_of
from tallystick.payments.lists import Between
from tallystick.payments.status import PaymentStatus
from tallystick.pipeline.views.timeline import timeline

MetadataKey = Annotated[str, up_to(40), Shape(r"^[^\[\]\x00]+$", "must be a metadata key")]
MetadataValue = Annotated[str, up_to(500), STORABLE]


class PaymentQuery(Query):
    """What the list is narrowed to."""

    status: PaymentStatus | None = None
    customer: Word | None = None
    currency: CurrencyCode | None = None
    since: Time | None = None
    until: Time | None = None
    metadata_key: MetadataKey | None = None
    metadata_value: MetadataValue | None = None
    cursor: Cursor = None

    def narrowed(self) -> reading.PaymentFilter:
        """As the reader takes it. Raises InvalidRequestError."""
        pairs = {}
        if self.metadata_key is not None and self.metadata_value is not None:
            pairs[self.metadata_key] = self.metadata_value
        elif self.metadata_key is not None or self.metadata_value is not None:
            raise InvalidRequestError("Metadata is narrowed by a key and its value.", param="metadata_key")
        created = Between(gte=self.since, lt=self.until)
        return reading.PaymentFilter(self.status, self.customer, self.currency, created, pairs)


class OnePayment(Query):
    """Which stretch of the timeline is shown; None: the latest."""

    timeline: Cursor = None


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

    @pages.get("/payments/{id}", Scope.PAYMENTS_READ)
    async def payment(visit: Visit) -> Response:
        query = visit.query(OnePayment)
        async with autocommit(visit.app.engine) as connection:
            found = await reading.get_payment(connection, visit.name("id"))
            refunds = await reading.refunds_of(connection, found)
            disputes = await disputes_of(connection, found.names)
            ledger = await transactions_of_payments(connection, found.names)
            happened = await timeline(connection, found, ledger, cursor=query.timeline)
        return visit.page(
            "payment.html",
            payment=bodies.Payment.of(found),
            refunds=[bodies.Refund.of(each) for each in refunds],
            disputes=[Dispute.of(each) for each in disputes],
            timeline=happened.entries,
            earlier=happened.earlier,
            latest=query.timeline is None,
            ledger=ledger_of(ledger),
        )

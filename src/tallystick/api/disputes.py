"""/disputes: list and read. They begin at the customer's bank and are answered at Stripe."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from tallystick.api.auth import Gate
from tallystick.api.keys import Scope
from tallystick.api.lists import Created, Cursor, Limit, Word
from tallystick.api.routing import guarded_router, json_answer, needs
from tallystick.app import App
from tallystick.db.session import autocommit
from tallystick.payments import disputes


class DisputeAtStripe(BaseModel):
    """What the dispute is about at Stripe."""

    payment_intent: str | None
    charge: str | None


class Dispute(BaseModel):
    """A dispute; its id is Stripe's, ``evidence_due_at`` the last moment to answer it there."""

    id: str = Field(examples=["du_1QxYzA2eZvKYlo2C0example"])
    object: Literal["dispute"] = "dispute"
    payment: str
    status: str = Field(
        description="Stripe's: warning_needs_response, warning_under_review, warning_closed, needs_response,"
        " under_review, won, lost, prevented",
        examples=["needs_response"],
    )
    amount: int = Field(examples=[3000])
    currency: str = Field(examples=["usd"])
    reason: str | None = Field(examples=["fraudulent"])
    network_reason_code: str | None = Field(examples=["10.4"])
    evidence_due_at: datetime | None
    has_evidence: bool
    submission_count: int = Field(description="How often evidence was submitted")
    charge_refundable: bool = Field(description="Whether a refund now would settle it, as for an inquiry")
    metadata: dict[str, str]
    livemode: bool
    stripe: DisputeAtStripe
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, dispute: disputes.Dispute) -> Self:
        """As the API shows it."""
        names = set(cls.model_fields) - {"object", "stripe", "payment"}
        return cls(
            **{name: getattr(dispute, name) for name in names},
            payment=dispute.payment_id,
            stripe=DisputeAtStripe(
                payment_intent=dispute.stripe_payment_intent, charge=dispute.stripe_charge
            ),
        )


class DisputePage(BaseModel):
    """Disputes, newest first."""

    data: list[Dispute]
    has_more: bool
    next_cursor: str | None


def dispute_routes(app: App, gate: Gate) -> APIRouter:
    """The routes, over an App."""
    router = guarded_router(gate, "disputes")
    reads = needs(Scope.PAYMENTS_READ)

    @router.get("/disputes", response_model=DisputePage, openapi_extra=reads)
    async def list_disputes(
        created: Created,
        payment: Annotated[Word | None, Query(description="A payment's id")] = None,
        status: Annotated[Word | None, Query(description="A dispute's status")] = None,
        limit: Limit = 20,
        cursor: Cursor = None,
    ) -> Response:
        """Disputes, newest first."""
        async with autocommit(app.engine) as connection:
            page = await disputes.list_disputes(
                connection, created, payment=payment, status=status, limit=limit, cursor=cursor
            )
        return json_answer(
            DisputePage(
                data=[Dispute.of(dispute) for dispute in page.items],
                has_more=page.next_cursor is not None,
                next_cursor=page.next_cursor,
            )
        )

    @router.get("/disputes/{id}", response_model=Dispute, openapi_extra=reads)
    async def get_dispute(id: str) -> Response:  # noqa: A002 - the name of the path parameter
        """A dispute as it stands."""
        async with autocommit(app.engine) as connection:
            dispute = await disputes.get_dispute(connection, id)
        return json_answer(Dispute.of(dispute))

    return router

"""The JSON of webhook endpoints and deliveries. The command line prints the same with ``--json``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt

from tallystick.api.bodies import Description
from tallystick.api.choices import DeliveryStatus, DisabledReason, EndpointStatus
from tallystick.api.values import Moment, Url, up_to
from tallystick.outbox.notices import NOTICES, checked_patterns
from tallystick.outbox.signing import payload
from tallystick.pipeline.notices import delivery_log, endpoints, webhook_client

DELIVERY_PREFIX: Final = "whd_"
_LONGEST_GRACE_S: Final = 30 * 86_400

EventTypes = Annotated[
    list[Annotated[str, up_to(64)]],
    AfterValidator(checked_patterns),
    Field(
        min_length=1,
        max_length=len(NOTICES) + 1,
        description="Types of notices, or patterns such as refund.* or *",
        examples=[["payment.succeeded", "refund.*"]],
    ),
]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CreateWebhookEndpoint(_In):
    """An endpoint of your own to send notices to."""

    url: Url
    event_types: EventTypes = Field(["*"], validate_default=True)
    description: Description | None = None


class UpdateWebhookEndpoint(_In):
    """What to change; null removes the description."""

    url: Url | None = None
    event_types: EventTypes | None = None
    description: Description | None = None

    def changes(self) -> dict[str, Any]:
        """The fields that were sent."""
        sent = {name: value for name, value in self if name in self.model_fields_set}
        return {name: value for name, value in sent.items() if value is not None or name == "description"}


class RotateSecret(_In):
    """How the secret is replaced."""

    grace_s: Annotated[StrictInt, Field(ge=0, le=_LONGEST_GRACE_S)] = Field(
        86_400, description="Seconds for which the old secret signs as well"
    )


class Nothing(_In):
    """No fields."""


class Redeliver(_In):
    """Of which time to send again what was not delivered; without ``created_before``, until now."""

    created_after: Moment
    created_before: Moment | None = None


class WebhookEndpoint(BaseModel):
    """An endpoint. ``failing_since`` is its first failure after its last success, to be disabled by."""

    id: str
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    url: str
    event_types: list[str]
    description: str | None
    status: EndpointStatus
    disabled_reason: DisabledReason | None
    disabled_at: datetime | None
    failing_since: datetime | None
    last_success_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, endpoint: endpoints.Endpoint) -> Self:
        """As the API shows it."""
        return cls(**{name: getattr(endpoint, name) for name in endpoints.Endpoint.__slots__})


class WebhookEndpointWithSecret(WebhookEndpoint):
    """An endpoint with a new signing secret, in the first answer alone; a repeated one has null."""

    secret: str | None = None


class DeletedWebhookEndpoint(BaseModel):
    """What is left of an endpoint."""

    id: str
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    deleted: Literal[True] = True


class WebhookEndpointPage(BaseModel):
    """Endpoints, oldest first."""

    data: list[WebhookEndpoint]
    has_more: bool
    next_cursor: str | None


class DeliveryError(BaseModel):
    """Why an attempt failed; ``code`` is stable."""

    code: str
    message: str


class WebhookDelivery(BaseModel):
    """A notice on its way to an endpoint. ``notice`` is what the endpoint gets as ``webhook-id``."""

    id: str
    object: Literal["webhook_delivery"] = "webhook_delivery"
    webhook_endpoint: str
    notice: str
    type: str
    payment: str | None
    status: DeliveryStatus
    attempts: int = Field(description="Since it was created, or was last sent again by hand")
    response_status: int | None
    last_error: DeliveryError | None
    created_at: datetime
    finished_at: datetime | None
    next_attempt_at: datetime | None

    @classmethod
    def of(cls, found: delivery_log.LoggedDelivery, **more: Any) -> Self:
        """As the API shows it."""
        return cls(
            id=f"{DELIVERY_PREFIX}{found.id}",
            webhook_endpoint=found.endpoint_id,
            notice=found.message_id,
            type=found.type,
            payment=found.payment_id,
            status=found.status,
            attempts=found.attempts,
            response_status=found.response_status,
            last_error=_error(found.error_code, found.error),
            created_at=found.created_at,
            finished_at=found.finished_at,
            next_attempt_at=found.due_at if found.status == "pending" else None,
            **more,
        )


class DeliveryAttempt(BaseModel):
    """One attempt, with the beginning of what the endpoint answered."""

    attempt: int
    attempted_at: datetime
    duration_ms: int
    response_status: int | None
    response_body: str | None
    error: DeliveryError | None


class WebhookDeliveryInFull(WebhookDelivery):
    """A delivery with what is sent, and every attempt."""

    payload: Any
    log: list[DeliveryAttempt]

    @classmethod
    def shown(
        cls, found: delivery_log.LoggedDelivery, attempts: Sequence[delivery_log.LoggedAttempt]
    ) -> Self:
        """As the API shows it."""
        log = [
            DeliveryAttempt(
                attempt=each.attempt,
                attempted_at=each.attempted_at,
                duration_ms=each.duration_ms,
                response_status=each.response_status,
                response_body=each.response_body,
                error=_error(each.error_code, each.error),
            )
            for each in attempts
        ]
        sent = payload(found.message_id, found.type, found.noticed_at, found.data)
        return cls.of(found, payload=orjson.loads(sent), log=log)


class WebhookDeliveryPage(BaseModel):
    """Deliveries, the latest notice first."""

    data: list[WebhookDelivery]
    has_more: bool
    next_cursor: str | None


class Redelivery(BaseModel):
    """How many deliveries are sent again."""

    object: Literal["webhook_redelivery"] = "webhook_redelivery"
    deliveries: int


class TestResult(BaseModel):
    """What came back to a test notice."""

    object: Literal["webhook_test"] = "webhook_test"
    notice: str
    delivered: bool
    duration_ms: int
    response_status: int | None
    response_body: str | None
    error: DeliveryError | None

    @classmethod
    def of(cls, notice: str, reply: webhook_client.Reply) -> Self:
        """As the API shows it."""
        return cls(
            notice=notice,
            delivered=reply.delivered,
            duration_ms=reply.duration_ms,
            response_status=reply.status,
            response_body=reply.body,
            error=_error(reply.error_code, reply.error),
        )


def endpoint_page(found: Sequence[endpoints.Endpoint], next_cursor: str | None) -> WebhookEndpointPage:
    """A page of endpoints."""
    data = [WebhookEndpoint.of(each) for each in found]
    return WebhookEndpointPage(data=data, has_more=next_cursor is not None, next_cursor=next_cursor)


def delivery_page(
    found: Sequence[delivery_log.LoggedDelivery], next_cursor: str | None
) -> WebhookDeliveryPage:
    """A page of deliveries."""
    data = [WebhookDelivery.of(each) for each in found]
    return WebhookDeliveryPage(data=data, has_more=next_cursor is not None, next_cursor=next_cursor)


def _error(code: str | None, message: str | None) -> DeliveryError | None:
    return DeliveryError(code=code, message=message or "") if code is not None else None

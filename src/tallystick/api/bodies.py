"""The JSON that goes in and out; ``/openapi.json`` is made from it.

What comes in is taken strictly: no number as text, no float as an amount, no unknown field, no NUL (which
PostgreSQL cannot store). Amounts are integers in minor units, times RFC 3339 in UTC.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    model_validator,
)

from tallystick.api.choices import (
    AcceptanceType,
    AllowRedirects,
    CancellationReason,
    CaptureMethod,
    RefundReason,
    SetupFutureUsage,
)
from tallystick.api.disputes import Dispute
from tallystick.api.ledger_bodies import LedgerTransaction
from tallystick.api.values import STORABLE, WITHOUT_SPACES, Clearable, Shape, Url, up_to
from tallystick.payments import reading
from tallystick.payments.status import PaymentStatus, RefundStatus
from tallystick.pipeline.views.timeline import Happening

METADATA_KEYS: Final = 48
"""Stripe takes 50; two are ours."""


StripeId = Annotated[str, up_to(255), WITHOUT_SPACES]
Description = Annotated[str, up_to(1000), STORABLE]
MetadataKey = Annotated[str, up_to(40), Shape(r"^[^\[\]\x00]+$", "must have no square bracket and no NUL")]
MetadataValue = Annotated[str, up_to(500), STORABLE]
Email = Annotated[str, up_to(512), Shape(r"^[^@\s\x00]+@[^@\s\x00]+$", "must be an email address")]
_LATIN: Final = r" !#-&()+-;=?-\[\]-~\u00c0-\u024f"
"""What a bank statement can show: printable, Latin, and none of < > \\ ' \" *."""
StatementDescriptor = Annotated[
    str,
    up_to(22),
    Shape(
        rf"^[{_LATIN}]*[A-Za-z][{_LATIN}]*$",
        "must be in Latin characters with a letter among them, and without < > \\ ' \" *",
    ),
]
Metadata = Annotated[
    dict[MetadataKey, MetadataValue],
    Field(description="Keys must not begin with tallystick_", max_length=METADATA_KEYS),
]
MetadataChange = Clearable[
    Annotated[dict[MetadataKey, Clearable[MetadataValue]], Field(max_length=METADATA_KEYS)]
]
Currency = Annotated[
    str,
    up_to(16),
    Field(description="ISO 4217, lower-case", examples=["usd"], json_schema_extra={"pattern": "^[a-z]{3}$"}),
]
MinorUnits = Annotated[StrictInt, Field(description="In minor units of the currency", examples=[1999])]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class OnlineAcceptance(_In):
    """From where the customer accepted."""

    ip_address: Annotated[str, up_to(45), Shape("^[0-9A-Fa-f:.]+$", "must be an IP address")]
    user_agent: Annotated[str, up_to(1000), STORABLE]


class CustomerAcceptance(_In):
    """How the customer accepted the mandate; ``accepted_at`` in Unix seconds."""

    type: AcceptanceType
    online: OnlineAcceptance | None = None
    accepted_at: StrictInt | None = None

    @model_validator(mode="after")
    def _said_from_where(self) -> Self:
        if (self.type == "online") != (self.online is not None):
            raise ValueError("online goes with type online, and only with it")
        return self


class MandateData(_In):
    """The customer's leave to debit a bank account, in Stripe's form."""

    customer_acceptance: CustomerAcceptance


class CreatePayment(_In):
    """A payment to begin."""

    amount: MinorUnits
    currency: Currency
    customer: StripeId | None = Field(None, description="Stripe's id of the customer")
    description: Description | None = None
    metadata: Metadata = Field(default_factory=dict)
    capture_method: CaptureMethod = "automatic"
    payment_method: StripeId | None = Field(None, examples=["pm_card_visa"])
    confirm: StrictBool = Field(False, description="Confirm at once; needs a payment_method")
    return_url: Url | None = Field(
        None, description="Where a redirect comes back to; with it, payment methods that redirect are allowed"
    )
    allow_redirects: AllowRedirects | None = Field(
        None, description="Whether payment methods may redirect, where the return_url comes only at confirm"
    )
    off_session: StrictBool = Field(
        False, description="The customer is not there: pay with a saved payment method; goes with confirm"
    )
    setup_future_usage: SetupFutureUsage | None = Field(
        None, description="Save the payment method with the customer for later"
    )
    mandate_data: MandateData | None = Field(None, description="For bank debits; goes with confirm")
    receipt_email: Email | None = Field(None, description="Where Stripe sends the receipt")
    statement_descriptor: StatementDescriptor | None = Field(
        None, description="What a bank statement says, for payment methods that are no cards"
    )
    statement_descriptor_suffix: StatementDescriptor | None = Field(
        None, description="What a card statement says after the account's prefix"
    )


class UpdatePayment(_In):
    """What to change; an empty text or null unsets a field or a metadata key, for metadata all of it."""

    description: Clearable[Description] = None
    metadata: MetadataChange = Field(None, examples=[{"order": "1042", "old": ""}])
    receipt_email: Clearable[Email] = None
    statement_descriptor: Clearable[StatementDescriptor] = None
    statement_descriptor_suffix: Clearable[StatementDescriptor] = None

    def changes(self) -> dict[str, Any]:
        """The fields that were sent; what is to be unset is None."""
        return {name: value for name, value in self if name in self.model_fields_set}


class ConfirmPayment(_In):
    """How to confirm."""

    payment_method: StripeId | None = None
    return_url: Url | None = None
    off_session: StrictBool = False
    setup_future_usage: SetupFutureUsage | None = None
    mandate_data: MandateData | None = None
    receipt_email: Email | None = None


class CapturePayment(_In):
    """How much to capture; without an amount, all that can be."""

    amount: MinorUnits | None = None


class UpdateRefund(_In):
    """What to change; an empty text or null unsets a metadata key, or all metadata."""

    metadata: MetadataChange = Field(None, examples=[{"case": "77", "old": ""}])

    def change(self) -> dict[str, str | None] | None:
        """The pairs that were sent; None where all are to be unset."""
        if self.metadata is None and "metadata" in self.model_fields_set:
            return None
        return dict(self.metadata or {})


class CancelPayment(_In):
    """Why it is cancelled."""

    cancellation_reason: CancellationReason | None = None


class RefundPayment(_In):
    """How much to give back; without an amount, all that is left."""

    amount: MinorUnits | None = None
    reason: RefundReason | None = None
    metadata: Metadata = Field(default_factory=dict)


class PaymentAtStripe(BaseModel):
    """Where to find the payment at Stripe."""

    payment_intent: str | None
    charge: str | None


class Payment(BaseModel):
    """A payment. ``client_secret`` is given when it is created, confirmed or read alone."""

    id: str
    object: Literal["payment"] = "payment"
    status: PaymentStatus
    amount: int
    currency: str
    amount_capturable: int
    amount_captured: int
    amount_refunded: int
    customer: str | None
    description: str | None
    metadata: dict[str, str]
    capture_method: str | None
    payment_method: str | None
    client_secret: str | None = None
    last_error: dict[str, str] | None
    next_action: dict[str, Any] | None
    cancellation_reason: str | None
    receipt_email: str | None
    statement_descriptor: str | None
    statement_descriptor_suffix: str | None
    setup_future_usage: str | None
    origin: str = Field(description="api: made here; adopted: made elsewhere on the same Stripe account")
    livemode: bool
    stripe: PaymentAtStripe
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, payment: reading.Payment, *, secret: bool = False, **more: Any) -> Self:
        """As the API shows it; ``secret`` adds the client secret."""
        names = set(Payment.model_fields) - {"object", "stripe", "client_secret"}
        return cls(
            **{name: getattr(payment, name) for name in names},
            client_secret=payment.client_secret if secret else None,
            stripe=PaymentAtStripe(
                payment_intent=payment.stripe_payment_intent, charge=payment.stripe_charge
            ),
            **more,
        )


class RefundAtStripe(BaseModel):
    """Where to find the refund at Stripe."""

    refund: str | None


class Refund(BaseModel):
    """A refund. ``unknown``: Stripe has not said yet what became of it."""

    id: str
    object: Literal["refund"] = "refund"
    payment: str | None
    status: RefundStatus
    amount: int
    currency: str
    reason: str | None
    failure_reason: str | None
    metadata: dict[str, str]
    stripe: RefundAtStripe
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, refund: reading.Refund) -> Self:
        """As the API shows it."""
        names = set(Refund.model_fields) - {"object", "stripe", "payment"}
        return cls(
            **{name: getattr(refund, name) for name in names},
            payment=refund.payment_id,
            stripe=RefundAtStripe(refund=refund.stripe_refund),
        )


class TimelineEntry(BaseModel):
    """One thing that happened to a payment."""

    at: datetime
    type: Happening
    name: str = Field(
        description="A command's verb, an event's type, an effect key; else what it is about",
        examples=["payment_intent.succeeded"],
    )
    id: str | None = Field(description="What it is about: a charge, refund, dispute, ledger transaction")
    status: str | None = Field(
        description="The new status; of an attempt failed, pending, authorized, released or succeeded; of a"
        " command done, or the code of the error that it ended in; of an event that has no effect yet pending"
        " or dead"
    )
    event: str | None = Field(description="What told of it: an event or balance transaction of Stripe's")
    error: dict[str, str] | None
    api_key: str | None = Field(description="The id of the API key that gave a command")


class TimelinePage(BaseModel):
    """A stretch of a payment's timeline, in order of time; the next page is of the time before it."""

    data: list[TimelineEntry]
    has_more: bool
    next_cursor: str | None


class PaymentInFull(Payment):
    """A payment with its refunds, its disputes, all that it did to the ledger, and what happened to it."""

    refunds: list[Refund]
    disputes: list[Dispute]
    timeline: list[TimelineEntry] = Field(
        description="In order of time; within a second, which is all that Stripe tells, causes first"
    )
    timeline_cursor: str | None = Field(
        description="Leads to what happened earlier, where a payment has more than 500 events"
    )
    ledger: list[LedgerTransaction]


class PaymentPage(BaseModel):
    """Payments, newest first."""

    data: list[Payment]
    has_more: bool
    next_cursor: str | None


class RefundPage(BaseModel):
    """Refunds, newest first."""

    data: list[Refund]
    has_more: bool
    next_cursor: str | None

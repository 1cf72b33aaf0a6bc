"""The JSON of customers, their payment methods and setup intents. Ids are Stripe's."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints

from tallystick.api.bodies import (
    Description,
    Email,
    MandateData,
    Metadata,
    MetadataChange,
    StripeId,
)
from tallystick.api.choices import AllowRedirects, SetupFutureUsage
from tallystick.api.values import STORABLE, Clearable, Shape, Url, up_to
from tallystick.payments import customers
from tallystick.payments.setups import Setup

Line = Annotated[str, up_to(500), STORABLE]
Country = Annotated[
    str,
    StringConstraints(strict=True),
    Shape("^[A-Z]{2}$", "must be a country of two capital letters, such as DE"),
]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Address(_In):
    """A postal address; ``country`` in two letters."""

    line1: Line | None = None
    line2: Line | None = None
    city: Line | None = None
    state: Line | None = None
    postal_code: Line | None = None
    country: Country | None = None


class CreateCustomer(_In):
    """A customer to make at Stripe."""

    name: Line | None = None
    email: Email | None = None
    phone: Line | None = None
    description: Description | None = None
    address: Address | None = None
    metadata: Metadata = Field(default_factory=dict)
    payment_method: StripeId | None = Field(None, description="A payment method to save with the customer")

    def fields(self) -> dict[str, Any]:
        """What was sent."""
        return self.model_dump(exclude_none=True)


class UpdateCustomer(_In):
    """What to change; an empty text or null unsets a field or a metadata key, for metadata all of it."""

    name: Clearable[Line] = None
    email: Clearable[Email] = None
    phone: Clearable[Line] = None
    description: Clearable[Description] = None
    address: Clearable[Address] = None
    metadata: MetadataChange = None
    default_payment_method: Clearable[StripeId] = Field(
        None, description="What invoices and subscriptions are charged to"
    )

    def changes(self) -> dict[str, Any]:
        """The fields that were sent; what is to be unset is None."""
        return self.model_dump(exclude_unset=True)


class Customer(BaseModel):
    """A customer. What is read is a copy kept here; it follows Stripe's events."""

    id: str
    object: Literal["customer"] = "customer"
    name: str | None
    email: str | None
    phone: str | None
    description: str | None
    address: dict[str, str | None] | None
    metadata: dict[str, str]
    default_payment_method: str | None
    livemode: bool
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, customer: customers.Customer) -> Self:
        """As the API shows it."""
        names = set(cls.model_fields) - {"object"}
        return cls(**{name: getattr(customer, name) for name in names})


class CustomerPage(BaseModel):
    """Customers, newest first."""

    data: list[Customer]
    has_more: bool
    next_cursor: str | None


class DeletedCustomer(BaseModel):
    """What is left of a customer."""

    id: str
    object: Literal["customer"] = "customer"
    deleted: Literal[True] = True


class AttachPaymentMethod(_In):
    """The payment method to save."""

    payment_method: StripeId


class PaymentMethod(BaseModel):
    """A payment method that is, or was, saved with a customer."""

    id: str
    object: Literal["payment_method"] = "payment_method"
    customer: str | None = Field(description="null once it is detached: it cannot be used again")
    type: str = Field(examples=["card"])
    details: dict[str, Any] = Field(
        description="What the customer recognises it by", examples=[{"brand": "visa", "last4": "4242"}]
    )
    metadata: dict[str, str]
    livemode: bool
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, method: customers.SavedMethod) -> Self:
        """As the API shows it."""
        names = set(cls.model_fields) - {"object"}
        return cls(**{name: getattr(method, name) for name in names})


class PaymentMethodPage(BaseModel):
    """Payment methods, newest first."""

    data: list[PaymentMethod]
    has_more: bool
    next_cursor: str | None


class CreateSetupIntent(_In):
    """How a payment method is to be saved."""

    customer: StripeId
    payment_method: StripeId | None = None
    usage: SetupFutureUsage = Field(
        "off_session", description="Whether the customer will be there when it is used"
    )
    description: Description | None = None
    metadata: Metadata = Field(default_factory=dict)
    confirm: StrictBool = Field(False, description="Confirm at once; needs a payment_method")
    return_url: Url | None = Field(None, description="Where a redirect comes back to; goes with confirm")
    allow_redirects: AllowRedirects | None = None
    mandate_data: MandateData | None = Field(None, description="For bank debits; goes with confirm")

    def fields(self) -> dict[str, Any]:
        """What was sent."""
        return self.model_dump(exclude_none=True)


class ConfirmSetupIntent(_In):
    """How to confirm."""

    payment_method: StripeId | None = None
    return_url: Url | None = None
    mandate_data: MandateData | None = None

    def fields(self) -> dict[str, Any]:
        """What was sent."""
        return self.model_dump(exclude_none=True)


class SetupIntent(BaseModel):
    """A payment method on its way to being saved; ``status`` is Stripe's."""

    id: str
    object: Literal["setup_intent"] = "setup_intent"
    status: str = Field(
        description="requires_payment_method, requires_confirmation, requires_action, processing, succeeded"
        " or canceled",
        examples=["succeeded"],
    )
    customer: str | None
    payment_method: str | None
    usage: str | None
    description: str | None
    metadata: dict[str, str]
    client_secret: str | None
    next_action: dict[str, Any] | None
    last_error: dict[str, str] | None
    livemode: bool

    @classmethod
    def of(cls, setup: Setup) -> Self:
        """As the API shows it."""
        names = set(cls.model_fields) - {"object", "metadata"}
        return cls(**{name: getattr(setup.intent, name) for name in names}, metadata=setup.metadata)

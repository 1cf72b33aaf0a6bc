"""The fields we read from Stripe's customers, payment methods and SetupIntents. Pure; as in ``payloads``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tallystick.stripe_gateway.fields import (
    JsonObject,
    as_mapping,
    last_error_of,
    metadata_of,
    optional_text_field,
    reference,
    storable_json,
    text_field,
    time_field,
)


@dataclass(frozen=True, slots=True)
class Customer:
    """What we read of a customer."""

    id: str
    created: int
    livemode: bool
    name: str | None
    email: str | None
    phone: str | None
    description: str | None
    address: dict[str, Any] | None
    metadata: dict[str, str]
    default_payment_method: str | None

    @classmethod
    def read(cls, obj: JsonObject) -> Customer:
        """Raises PayloadError."""
        address = {name: text for name, text in as_mapping(obj.get("address")).items() if text}
        return cls(
            id=text_field(obj, "id"),
            created=time_field(obj, "created"),
            livemode=obj.get("livemode") is True,
            name=optional_text_field(obj, "name"),
            email=optional_text_field(obj, "email"),
            phone=optional_text_field(obj, "phone"),
            description=optional_text_field(obj, "description"),
            address=storable_json(address) or None,
            metadata=metadata_of(obj),
            default_payment_method=reference(
                as_mapping(obj.get("invoice_settings")).get("default_payment_method")
            ),
        )


@dataclass(frozen=True, slots=True)
class PaymentMethod:
    """What we read of a payment method; ``details`` is what Stripe has under the name of its type."""

    id: str
    created: int
    livemode: bool
    customer: str | None
    type: str
    details: JsonObject
    metadata: dict[str, str]

    @classmethod
    def read(cls, obj: JsonObject) -> PaymentMethod:
        """Raises PayloadError."""
        kind = optional_text_field(obj, "type") or "unknown"
        return cls(
            id=text_field(obj, "id"),
            created=time_field(obj, "created"),
            livemode=obj.get("livemode") is True,
            customer=reference(obj.get("customer")),
            type=kind,
            details=storable_json(as_mapping(obj.get(kind))),
            metadata=metadata_of(obj),
        )


@dataclass(frozen=True, slots=True)
class SetupIntent:
    """What we read of a SetupIntent."""

    id: str
    status: str
    livemode: bool
    customer: str | None
    payment_method: str | None
    usage: str | None
    description: str | None
    metadata: dict[str, str]
    client_secret: str | None
    next_action: dict[str, Any] | None
    last_error: dict[str, str] | None

    @classmethod
    def read(cls, obj: JsonObject) -> SetupIntent:
        """Raises PayloadError."""
        return cls(
            id=text_field(obj, "id"),
            status=text_field(obj, "status"),
            livemode=obj.get("livemode") is True,
            customer=reference(obj.get("customer")),
            payment_method=reference(obj.get("payment_method")),
            usage=optional_text_field(obj, "usage"),
            description=optional_text_field(obj, "description"),
            metadata=metadata_of(obj),
            client_secret=optional_text_field(obj, "client_secret"),
            next_action=storable_json(as_mapping(obj.get("next_action"))) or None,
            last_error=last_error_of(obj.get("last_setup_error")),
        )

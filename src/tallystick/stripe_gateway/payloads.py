"""The fields we read from Stripe's objects: old shapes and new, references expanded or not. Pure.

Every reader takes the object as a ``dict`` as Stripe sent it and returns a frozen value. A field that its
meaning needs and that is missing or of the wrong kind raises PayloadError. Times are Unix seconds, amounts
are minor units, both as Stripe sends them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tallystick.errors import PayloadError
from tallystick.stripe_gateway.fields import (
    JsonObject,
    all_whole,
    amount_field,
    as_mapping,
    count_field,
    currency_field,
    filled,
    last_error_of,
    metadata_of,
    optional_text_field,
    optional_time_field,
    reference,
    storable_json,
    text_field,
    time_field,
    whole,
)

OUR_METADATA: Final = "tallystick_"
"""Metadata keys that begin so are ours: callers neither set nor see them."""
PAYMENT_METADATA: Final = "tallystick_payment"
"""Metadata key by which a Stripe object names our payment."""
REFUND_METADATA: Final = "tallystick_refund"
"""Metadata key by which a Stripe refund names our refund."""
BALANCE_TRANSACTION: Final = ("id", "type", "amount", "currency", "created")
"""What a balance transaction that was sent along needs, to be more than a name."""


def theirs(metadata: Mapping[str, str]) -> dict[str, str]:
    """Metadata without the keys that are ours."""
    return {name: value for name, value in metadata.items() if not name.startswith(OUR_METADATA)}


@dataclass(frozen=True, slots=True)
class PaymentIntent:
    """What we read of a PaymentIntent."""

    id: str
    status: str
    amount: int
    amount_capturable: int
    amount_received: int
    currency: str
    created: int
    livemode: bool
    customer: str | None
    description: str | None
    metadata: dict[str, str]
    capture_method: str
    payment_method: str | None
    client_secret: str | None
    cancellation_reason: str | None
    last_error: dict[str, str] | None
    next_action: dict[str, Any] | None
    receipt_email: str | None
    statement_descriptor: str | None
    statement_descriptor_suffix: str | None
    setup_future_usage: str | None
    latest_charge: str | None
    charge: JsonObject | None
    """The latest charge as an object: expanded, or embedded as API versions before 2022-11-15 do."""
    multicapture: bool
    bank_transfer: bool
    """Whether it may be paid by bank transfers: then it can have several charges that succeed."""
    invoice: str | None
    """The invoice that it pays, where the shape tells (before basil)."""

    @classmethod
    def read(cls, obj: JsonObject) -> PaymentIntent:
        """Raises PayloadError."""
        card_options = as_mapping(as_mapping(obj.get("payment_method_options")).get("card"))
        charge = _latest_charge(obj)
        return cls(
            id=text_field(obj, "id"),
            status=text_field(obj, "status"),
            amount=amount_field(obj, "amount"),
            amount_capturable=amount_field(obj, "amount_capturable", 0),
            amount_received=amount_field(obj, "amount_received", 0),
            currency=currency_field(obj),
            created=time_field(obj, "created"),
            livemode=obj.get("livemode") is True,
            customer=reference(obj.get("customer")),
            description=optional_text_field(obj, "description"),
            metadata=metadata_of(obj),
            capture_method=optional_text_field(obj, "capture_method") or "automatic",
            payment_method=reference(obj.get("payment_method")),
            client_secret=optional_text_field(obj, "client_secret"),
            cancellation_reason=optional_text_field(obj, "cancellation_reason"),
            last_error=last_error_of(obj.get("last_payment_error")),
            next_action=storable_json(as_mapping(obj.get("next_action"))) or None,
            receipt_email=optional_text_field(obj, "receipt_email"),
            statement_descriptor=optional_text_field(obj, "statement_descriptor"),
            statement_descriptor_suffix=optional_text_field(obj, "statement_descriptor_suffix"),
            setup_future_usage=optional_text_field(obj, "setup_future_usage"),
            latest_charge=reference(obj.get("latest_charge")) or reference(charge),
            charge=charge,
            multicapture=card_options.get("request_multicapture") == "if_available",
            bank_transfer="customer_balance" in _words(obj.get("payment_method_types")),
            invoice=reference(obj.get("invoice")),
        )


def _words(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _latest_charge(intent: JsonObject) -> JsonObject | None:
    expanded = intent.get("latest_charge")
    if isinstance(expanded, Mapping):
        return expanded
    embedded = all_whole(intent.get("charges"), "id")
    return embedded[0] if embedded else None  # newest first


@dataclass(frozen=True, slots=True)
class Charge:
    """What we read of a charge.

    ``amount_captured`` falls back to ``amount`` in shapes before 2020-08-27, which lack it. There a partial
    capture shows as a refund of the rest: ``capture_unclear`` says that this may be one.
    """

    id: str
    status: str
    amount: int
    amount_captured: int
    amount_refunded: int
    captured: bool
    captured_by_hand: bool
    """Authorised first: it was captured later than it was made. Only cards show it."""
    capture_unclear: bool
    currency: str
    created: int
    livemode: bool
    payment_intent: str | None
    customer: str | None
    description: str | None
    metadata: dict[str, str]
    payment_method: str | None
    receipt_email: str | None
    failure_code: str | None
    failure_message: str | None
    decline_code: str | None
    balance_transaction: str | None
    failure_balance_transaction: str | None
    multicapture: bool
    bank_transfer: bool
    """Paid from money that came by bank transfer: its PaymentIntent can have several such charges."""
    invoice: str | None
    """The invoice that it pays, where the shape tells (before basil)."""
    refunds: tuple[JsonObject, ...] | None
    """The refunds inside, None where the shape carries none (since 2022-11-15)."""

    @classmethod
    def read(cls, obj: JsonObject) -> Charge:
        """Raises PayloadError."""
        status = _charge_status(obj)
        # before captures were apart from charges, what was paid was captured
        captured = status == "succeeded" if obj.get("captured") is None else obj["captured"] is True
        amount = amount_field(obj, "amount")
        refunded = amount_field(obj, "amount_refunded", 0)
        outcome = as_mapping(obj.get("outcome"))
        details = as_mapping(obj.get("payment_method_details"))
        card = as_mapping(details.get("card"))
        return cls(
            id=text_field(obj, "id"),
            status=status,
            amount=amount,
            amount_captured=amount_field(obj, "amount_captured", amount if captured else 0),
            amount_refunded=refunded,
            captured=captured,
            captured_by_hand=captured and card.get("capture_before") is not None,
            capture_unclear=captured and refunded > 0 and obj.get("amount_captured") is None,
            currency=currency_field(obj),
            created=time_field(obj, "created"),
            livemode=obj.get("livemode") is True,
            payment_intent=reference(obj.get("payment_intent")),
            customer=reference(obj.get("customer")),
            description=optional_text_field(obj, "description"),
            metadata=metadata_of(obj),
            payment_method=reference(obj.get("payment_method")) or reference(obj.get("source")),
            receipt_email=optional_text_field(obj, "receipt_email"),
            failure_code=optional_text_field(obj, "failure_code"),
            failure_message=optional_text_field(obj, "failure_message"),
            decline_code=optional_text_field(outcome, "reason"),
            balance_transaction=reference(obj.get("balance_transaction")),
            failure_balance_transaction=reference(obj.get("failure_balance_transaction")),
            multicapture=as_mapping(card.get("multicapture")).get("status") == "available",
            bank_transfer=details.get("type") == "customer_balance",
            invoice=reference(obj.get("invoice")),
            refunds=all_whole(obj.get("refunds"), "id", "amount"),
        )

    @classmethod
    def sent_along(cls, value: Any) -> JsonObject | None:
        """A charge inside another object, None where it is not there or only named."""
        found = whole(value, "id", "amount", "currency", "created")
        return found if found is not None and _state(found) else None


def _charge_status(obj: JsonObject) -> str:
    """Until 2015 the status was another word, or none beside ``paid``; raises PayloadError."""
    return _state(obj) or text_field(obj, "status")


def _state(obj: JsonObject) -> str | None:
    status, paid = obj.get("status"), obj.get("paid")
    if isinstance(status, str) and status:
        return "succeeded" if status == "paid" else status
    if isinstance(paid, bool):
        return "succeeded" if paid else "failed"
    return None


@dataclass(frozen=True, slots=True)
class Refund:
    """What we read of a refund."""

    id: str
    status: str
    amount: int
    currency: str
    created: int
    charge: str | None
    charge_object: JsonObject | None
    payment_intent: str | None
    metadata: dict[str, str]
    reason: str | None
    failure_reason: str | None
    balance_transaction: str | None
    failure_balance_transaction: str | None

    @classmethod
    def read(cls, obj: JsonObject) -> Refund:
        """Raises PayloadError."""
        charge = Charge.sent_along(obj.get("charge"))
        return cls(
            id=text_field(obj, "id"),
            status=optional_text_field(obj, "status")
            or "succeeded",  # null for refunds of some legacy methods
            amount=amount_field(obj, "amount"),
            currency=currency_field(obj),
            created=time_field(obj, "created"),
            charge=reference(obj.get("charge")),
            charge_object=charge,
            payment_intent=reference(obj.get("payment_intent")),
            metadata=metadata_of(obj),
            reason=optional_text_field(obj, "reason"),
            failure_reason=optional_text_field(obj, "failure_reason"),
            balance_transaction=reference(obj.get("balance_transaction")),
            failure_balance_transaction=reference(obj.get("failure_balance_transaction")),
        )


@dataclass(frozen=True, slots=True)
class Dispute:
    """What we read of a dispute; ``evidence_due`` is None where no answer is possible."""

    id: str
    status: str
    amount: int
    currency: str
    created: int
    livemode: bool
    charge: str
    charge_object: JsonObject | None
    payment_intent: str | None
    reason: str | None
    network_reason_code: str | None
    evidence_due: int | None
    has_evidence: bool
    submission_count: int
    charge_refundable: bool
    balance_transactions: tuple[JsonObject, ...] | None
    """What it moved so far, oldest first; None where the shape does not carry it."""
    metadata: dict[str, str]

    @classmethod
    def read(cls, obj: JsonObject) -> Dispute:
        """Raises PayloadError."""
        evidence = as_mapping(obj.get("evidence_details"))
        charge = reference(obj.get("charge"))
        if charge is None:
            raise PayloadError("dispute.charge is missing.", param="charge")
        return cls(
            id=text_field(obj, "id"),
            status=text_field(obj, "status"),
            amount=amount_field(obj, "amount"),
            currency=currency_field(obj),
            created=time_field(obj, "created"),
            livemode=obj.get("livemode") is True,
            charge=charge,
            charge_object=Charge.sent_along(obj.get("charge")),
            payment_intent=reference(obj.get("payment_intent")),
            reason=optional_text_field(obj, "reason"),
            network_reason_code=optional_text_field(obj, "network_reason_code"),
            evidence_due=optional_time_field(filled(evidence, due_by=obj.get("evidence_due_by")), "due_by"),
            has_evidence=evidence.get("has_evidence") is True,
            submission_count=count_field(evidence, "submission_count"),
            charge_refundable=obj.get("is_charge_refundable") is True,
            balance_transactions=all_whole(obj.get("balance_transactions"), *BALANCE_TRANSACTION),
            metadata=metadata_of(obj),
        )

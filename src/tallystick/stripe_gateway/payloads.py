"""The fields we read from Stripe's objects: old shapes and new, references expanded or not. Pure.

Every reader takes the object as a ``dict`` as Stripe sent it and returns a frozen value. A field that its
meaning needs and that is missing or of the wrong kind raises PayloadError. Times are Unix seconds, amounts
are minor units, both as Stripe sends them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from tallystick.errors import PayloadError

JsonObject = Mapping[str, Any]

PAYMENT_METADATA: Final = "tallystick_payment"
"""Metadata key by which a Stripe object names our payment."""
REFUND_METADATA: Final = "tallystick_refund"
"""Metadata key by which a Stripe refund names our refund."""


def reference(value: Any) -> str | None:
    """The id behind a reference, which Stripe sends as a string or, expanded, as the whole object."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, Mapping):
        found = value.get("id")
        return found if isinstance(found, str) else None
    return None


def _text(obj: JsonObject, key: str) -> str:
    value = obj.get(key)
    if not isinstance(value, str) or not value:
        raise PayloadError(f"{obj.get('object', 'object')}.{key} is missing or no text.", param=key)
    return value


def _int(obj: JsonObject, key: str, default: int | None = None) -> int:
    value = obj.get(key, default)
    if value is None:
        value = default
    if type(value) is not int:
        raise PayloadError(f"{obj.get('object', 'object')}.{key} is missing or no integer.", param=key)
    return value


def _optional_text(obj: JsonObject, key: str) -> str | None:
    value = obj.get(key)
    return _storable(value) if isinstance(value, str) else None


def _storable(value: str) -> str:
    """PostgreSQL's text cannot hold NUL. It is in free text only, which must not hold up money."""
    return value.replace("\0", "\ufffd")


def _rate(value: Any) -> Decimal | None:
    """A rate, which Stripe sends as a JSON number: its digits count, not its binary value."""
    return Decimal(str(value)) if isinstance(value, int | float) and value > 0 else None


def _metadata(obj: JsonObject) -> dict[str, str]:
    value = obj.get("metadata")
    if not isinstance(value, Mapping):
        return {}
    return {_storable(str(name)): _storable(str(text)) for name, text in value.items()}


def _mapping(value: Any) -> JsonObject:
    return value if isinstance(value, Mapping) else {}


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

    @classmethod
    def read(cls, obj: JsonObject) -> PaymentIntent:
        """Raises PayloadError."""
        card_options = _mapping(_mapping(obj.get("payment_method_options")).get("card"))
        charge = _latest_charge(obj)
        return cls(
            id=_text(obj, "id"),
            status=_text(obj, "status"),
            amount=_int(obj, "amount"),
            amount_capturable=_int(obj, "amount_capturable", 0),
            amount_received=_int(obj, "amount_received", 0),
            currency=_text(obj, "currency"),
            created=_int(obj, "created"),
            livemode=obj.get("livemode") is True,
            customer=reference(obj.get("customer")),
            description=_optional_text(obj, "description"),
            metadata=_metadata(obj),
            capture_method=_optional_text(obj, "capture_method") or "automatic",
            payment_method=reference(obj.get("payment_method")),
            client_secret=_optional_text(obj, "client_secret"),
            cancellation_reason=_optional_text(obj, "cancellation_reason"),
            last_error=_last_error(obj.get("last_payment_error")),
            next_action=dict(_mapping(obj.get("next_action"))) or None,
            receipt_email=_optional_text(obj, "receipt_email"),
            statement_descriptor=_optional_text(obj, "statement_descriptor"),
            statement_descriptor_suffix=_optional_text(obj, "statement_descriptor_suffix"),
            setup_future_usage=_optional_text(obj, "setup_future_usage"),
            latest_charge=reference(obj.get("latest_charge")) or reference(charge),
            charge=charge,
            multicapture=card_options.get("request_multicapture") == "if_available",
            bank_transfer="customer_balance" in (obj.get("payment_method_types") or ()),
        )


def _latest_charge(intent: JsonObject) -> JsonObject | None:
    expanded = intent.get("latest_charge")
    if isinstance(expanded, Mapping):
        return expanded
    embedded = _mapping(intent.get("charges")).get("data")
    if isinstance(embedded, list) and embedded and isinstance(embedded[0], Mapping):
        return embedded[0]  # newest first
    return None


def _last_error(value: Any) -> dict[str, str] | None:
    if not isinstance(value, Mapping):
        return None
    fields = ("type", "code", "decline_code", "advice_code", "message", "param")
    return {name: _storable(str(value[name])) for name in fields if value.get(name)}


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
    capture_unclear: bool
    currency: str
    created: int
    livemode: bool
    payment_intent: str | None
    customer: str | None
    description: str | None
    metadata: dict[str, str]
    payment_method: str | None
    failure_code: str | None
    failure_message: str | None
    decline_code: str | None
    balance_transaction: str | None
    failure_balance_transaction: str | None
    multicapture: bool
    bank_transfer: bool
    """Paid from money that came by bank transfer: its PaymentIntent can have several such charges."""
    refunds: tuple[JsonObject, ...] | None
    """The refunds inside, None where the shape carries none (since 2022-11-15)."""

    @classmethod
    def read(cls, obj: JsonObject) -> Charge:
        """Raises PayloadError."""
        captured = obj.get("captured") is True
        amount = _int(obj, "amount")
        refunded = _int(obj, "amount_refunded", 0)
        outcome = _mapping(obj.get("outcome"))
        details = _mapping(obj.get("payment_method_details"))
        card = _mapping(details.get("card"))
        return cls(
            id=_text(obj, "id"),
            status=_text(obj, "status"),
            amount=amount,
            amount_captured=_int(obj, "amount_captured", amount if captured else 0),
            amount_refunded=refunded,
            captured=captured,
            capture_unclear=captured and refunded > 0 and obj.get("amount_captured") is None,
            currency=_text(obj, "currency"),
            created=_int(obj, "created"),
            livemode=obj.get("livemode") is True,
            payment_intent=reference(obj.get("payment_intent")),
            customer=reference(obj.get("customer")),
            description=_optional_text(obj, "description"),
            metadata=_metadata(obj),
            payment_method=reference(obj.get("payment_method")) or reference(obj.get("source")),
            failure_code=_optional_text(obj, "failure_code"),
            failure_message=_optional_text(obj, "failure_message"),
            decline_code=_optional_text(outcome, "reason"),
            balance_transaction=reference(obj.get("balance_transaction")),
            failure_balance_transaction=reference(obj.get("failure_balance_transaction")),
            multicapture=_mapping(card.get("multicapture")).get("status") == "available",
            bank_transfer=details.get("type") == "customer_balance",
            refunds=_embedded(_mapping(obj.get("refunds")).get("data")),
        )


def _embedded(value: Any) -> tuple[JsonObject, ...] | None:
    if not isinstance(value, list):
        return None
    return tuple(item for item in value if isinstance(item, Mapping))


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
        charge = obj.get("charge")
        return cls(
            id=_text(obj, "id"),
            status=_optional_text(obj, "status") or "succeeded",  # null for refunds of some legacy methods
            amount=_int(obj, "amount"),
            currency=_text(obj, "currency"),
            created=_int(obj, "created"),
            charge=reference(charge),
            charge_object=charge if isinstance(charge, Mapping) else None,
            payment_intent=reference(obj.get("payment_intent")),
            metadata=_metadata(obj),
            reason=_optional_text(obj, "reason"),
            failure_reason=_optional_text(obj, "failure_reason"),
            balance_transaction=reference(obj.get("balance_transaction")),
            failure_balance_transaction=reference(obj.get("failure_balance_transaction")),
        )


@dataclass(frozen=True, slots=True)
class Topup:
    """What we read of a top-up."""

    id: str
    status: str
    amount: int
    currency: str
    balance_transaction: str | None

    @classmethod
    def read(cls, obj: JsonObject) -> Topup:
        """Raises PayloadError."""
        return cls(
            id=_text(obj, "id"),
            status=_text(obj, "status"),
            amount=_int(obj, "amount"),
            currency=_text(obj, "currency"),
            balance_transaction=reference(obj.get("balance_transaction")),
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
        charge = obj.get("charge")
        evidence = _mapping(obj.get("evidence_details"))
        due = evidence.get("due_by")
        charge_id = reference(charge)
        if charge_id is None:
            raise PayloadError("dispute.charge is missing.", param="charge")
        return cls(
            id=_text(obj, "id"),
            status=_text(obj, "status"),
            amount=_int(obj, "amount"),
            currency=_text(obj, "currency"),
            created=_int(obj, "created"),
            livemode=obj.get("livemode") is True,
            charge=charge_id,
            charge_object=charge if isinstance(charge, Mapping) else None,
            payment_intent=reference(obj.get("payment_intent")),
            reason=_optional_text(obj, "reason"),
            network_reason_code=_optional_text(obj, "network_reason_code"),
            evidence_due=due if type(due) is int else None,
            has_evidence=evidence.get("has_evidence") is True,
            submission_count=_int(evidence, "submission_count", 0),
            charge_refundable=obj.get("is_charge_refundable") is True,
            balance_transactions=_embedded(obj.get("balance_transactions")),
            metadata=_metadata(obj),
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
        address = {name: _storable(text) for name, text in _mapping(obj.get("address")).items() if text}
        return cls(
            id=_text(obj, "id"),
            created=_int(obj, "created"),
            livemode=obj.get("livemode") is True,
            name=_optional_text(obj, "name"),
            email=_optional_text(obj, "email"),
            phone=_optional_text(obj, "phone"),
            description=_optional_text(obj, "description"),
            address=address or None,
            metadata=_metadata(obj),
            default_payment_method=reference(
                _mapping(obj.get("invoice_settings")).get("default_payment_method")
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
        kind = _text(obj, "type")
        return cls(
            id=_text(obj, "id"),
            created=_int(obj, "created"),
            livemode=obj.get("livemode") is True,
            customer=reference(obj.get("customer")),
            type=kind,
            details=_mapping(obj.get(kind)),
            metadata=_metadata(obj),
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
            id=_text(obj, "id"),
            status=_text(obj, "status"),
            livemode=obj.get("livemode") is True,
            customer=reference(obj.get("customer")),
            payment_method=reference(obj.get("payment_method")),
            usage=_optional_text(obj, "usage"),
            description=_optional_text(obj, "description"),
            metadata=_metadata(obj),
            client_secret=_optional_text(obj, "client_secret"),
            next_action=dict(_mapping(obj.get("next_action"))) or None,
            last_error=_last_error(obj.get("last_setup_error")),
        )


@dataclass(frozen=True, slots=True)
class FeeDetail:
    """One line of a balance transaction's fee."""

    type: str
    amount: int
    currency: str


@dataclass(frozen=True, slots=True)
class BalanceTransaction:
    """What we read of a balance transaction; ``amount``, ``fee`` and ``net`` are in ``currency``."""

    id: str
    type: str
    reporting_category: str
    exchange_rate: Decimal | None
    """Units of ``currency`` for one unit of the source's currency, where the two differ."""
    amount: int
    fee: int
    net: int
    currency: str
    created: int
    available_on: int
    balance_type: str | None
    description: str | None
    fee_details: tuple[FeeDetail, ...]
    source: str | None
    source_object: JsonObject | None
    """The source, where the answer was asked to expand it: only it carries the presentment amount."""

    @classmethod
    def read(cls, obj: JsonObject) -> BalanceTransaction:
        """Raises PayloadError."""
        source = obj.get("source")
        details = obj.get("fee_details")
        return cls(
            id=_text(obj, "id"),
            type=_text(obj, "type"),
            reporting_category=_optional_text(obj, "reporting_category") or _text(obj, "type"),
            exchange_rate=_rate(obj.get("exchange_rate")),
            amount=_int(obj, "amount"),
            fee=_int(obj, "fee", 0),
            net=_int(obj, "net"),
            currency=_text(obj, "currency"),
            created=_int(obj, "created"),
            available_on=_int(obj, "available_on", _int(obj, "created")),
            balance_type=_optional_text(obj, "balance_type"),
            description=_optional_text(obj, "description"),
            fee_details=tuple(
                FeeDetail(_text(line, "type"), _int(line, "amount"), _text(line, "currency"))
                for line in (details if isinstance(details, list) else [])
            ),
            source=reference(source),
            source_object=source if isinstance(source, Mapping) else None,
        )

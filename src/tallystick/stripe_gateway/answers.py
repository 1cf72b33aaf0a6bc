"""What a call to Stripe gives back: an answer with Stripe's time on it, or one of three errors.

The errors tell apart what a caller must do: nothing was done (RefusedError), the card was declined and the
PaymentIntent says so (DeclinedError), or nobody knows (UnavailableError with ``outcome_unknown``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from tallystick.errors import (
    CardDeclinedError,
    CustomerAuthenticationRequiredError,
    InvalidAmountError,
    InvalidStateError,
    RefundExceedsAvailableError,
    StripeAccessError,
    StripeRefusedError,
    StripeUnavailableError,
)

AUTHENTICATION: Final = "authentication_required"
"""Stripe's code, and the bank's decline code, for a payment that only the customer can let through."""


@dataclass(frozen=True, slots=True)
class StripeAnswer:
    """An object as Stripe's JSON has it, and ``at``, Stripe's clock when it answered, in Unix seconds.

    ``replayed``: the object is what an earlier call with the same idempotency key was told; it may be old.
    """

    object: dict[str, Any]
    at: int
    replayed: bool = False


class DeclinedError(CardDeclinedError):
    """A decline; ``intent`` is the PaymentIntent it left behind, where Stripe sent one."""

    def __init__(self, detail: str, *, intent: StripeAnswer | None, **options: Any) -> None:
        super().__init__(detail, **options)
        self.intent = intent


class AuthenticationDeclinedError(DeclinedError):
    """A decline that the customer's authentication would turn."""

    code = CustomerAuthenticationRequiredError.code
    title = CustomerAuthenticationRequiredError.title


class RefusedError(StripeRefusedError):
    """Stripe did not do it. ``stripe_code`` is Stripe's code; ``intent`` is the PaymentIntent as it stands,
    where Stripe sent it along."""

    def __init__(
        self, detail: str, *, stripe_code: str | None, intent: StripeAnswer | None, **options: Any
    ) -> None:
        super().__init__(detail, **options)
        self.stripe_code = stripe_code
        self.intent = intent


class StateRefusedError(RefusedError):
    """Stripe did not do it: the state of the object does not allow it."""

    code, status, title = InvalidStateError.code, InvalidStateError.status, InvalidStateError.title


class AmountRefusedError(RefusedError):
    """Stripe did not do it: the amount is too small or too large."""

    code, status, title = InvalidAmountError.code, InvalidAmountError.status, InvalidAmountError.title


class AlreadyRefundedError(RefusedError):
    """Stripe did not do it: the charge is refunded already."""

    code = RefundExceedsAvailableError.code
    status = RefundExceedsAvailableError.status
    title = RefundExceedsAvailableError.title


class MissingPermissionError(StripeAccessError):
    """Our key lacks a permission; ``permission`` is Stripe's name for it, where it said so."""

    def __init__(self, detail: str, *, permission: str | None) -> None:
        super().__init__(detail)
        self.permission = permission


class UnavailableError(StripeUnavailableError):
    """No answer that decides anything. ``outcome_unknown``: the work may have been done all the same."""

    def __init__(self, detail: str, *, outcome_unknown: bool, retry_after: int = 2) -> None:
        super().__init__(detail, retry_after=retry_after)
        self.outcome_unknown = outcome_unknown

"""The one error tree. Every refusal has a stable code, an HTTP status and says whether to try again.

``code`` is part of the public face: it appears in ``application/problem+json`` answers (RFC 9457), in the
dead letters and in ``docs/errors.md``.
"""

from __future__ import annotations

from typing import Any, ClassVar


class TallystickError(Exception):
    """Base of all errors that Tallystick raises on purpose.

    ``param`` names the input field at fault. ``extra`` is added to the problem document as it is.
    ``retry_after`` is in seconds and becomes the ``Retry-After`` header.
    """

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong on our side"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        detail: str,
        *,
        param: str | None = None,
        retry_after: int | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.param = param
        self.retry_after = retry_after
        self.extra = extra or {}


class InvalidRequestError(TallystickError):
    """The request is well-formed HTTP, but a value in it cannot be accepted."""

    code, status, title = "invalid_request", 400, "The request is not valid"


class InvalidJsonError(InvalidRequestError):
    """The body is not JSON."""

    code, title = "invalid_json", "The body is not valid JSON"


class InvalidAmountError(InvalidRequestError):
    """The amount is outside what the currency allows."""

    code, title = "invalid_amount", "The amount is not acceptable"


class UnknownCurrencyRequestError(InvalidRequestError):
    """The currency is not one that Stripe takes."""

    code, title = "unknown_currency", "The currency is not known"


class UnbalancedEntryError(InvalidRequestError):
    """Debits and credits of a journal entry differ in a currency; ``differences`` says by how much."""

    code, title = "unbalanced_entry", "The journal entry does not balance"


class AuthenticationRequiredError(TallystickError):
    """No API key was sent."""

    code, status, title = "authentication_required", 401, "An API key is required"


class InvalidApiKeyError(TallystickError):
    """The API key is not known, revoked or expired."""

    code, status, title = "invalid_api_key", 401, "The API key is not valid"


class InsufficientScopeError(TallystickError):
    """The API key does not carry the scope that the route needs."""

    code, status, title = "insufficient_scope", 403, "The API key may not do this"


class ForgedFormError(TallystickError):
    """A form of the console did not come from one of its pages, or from one whose session has ended."""

    code, status, title = "forged_form", 403, "This form cannot be accepted"


class RateLimitedError(TallystickError):
    """The API key made more requests than its limit allows; ``Retry-After`` says when it may again."""

    code, status, title, retryable = "rate_limited", 429, "Too many requests", True


class NotFoundError(TallystickError):
    """The object or route does not exist."""

    code, status, title = "not_found", 404, "Not found"


class MethodNotAllowedError(TallystickError):
    """The route exists, the method does not."""

    code, status, title = "method_not_allowed", 405, "Method not allowed"


class BodyTooLargeError(TallystickError):
    """The request body is larger than 1 MiB."""

    code, status, title = "body_too_large", 413, "The body is too large"


class UnsupportedMediaTypeError(TallystickError):
    """The request body is not sent as ``application/json``, or is sent compressed."""

    code, status, title = "unsupported_media_type", 415, "The body is not sent as JSON"


class InvalidStateError(TallystickError):
    """The object's state does not allow the operation."""

    code, status, title = "invalid_state", 409, "The state does not allow this"


class SecondPersonRequiredError(TallystickError):
    """The author of a journal entry cannot approve it: somebody else must."""

    code, status, title = "second_person_required", 403, "A second person must approve this"


class RefundExceedsAvailableError(TallystickError):
    """More would be refunded than was captured and is not refunded yet."""

    code, status, title = "refund_exceeds_available", 422, "The refund exceeds what is left"


class CardDeclinedError(TallystickError):
    """The card was declined; ``extra`` carries ``decline_code``, ``advice`` and ``payment``."""

    code, status, title = "card_declined", 402, "The card was declined"


class CustomerAuthenticationRequiredError(CardDeclinedError):
    """The bank wants the customer to authenticate: bring them back and confirm again."""

    code, title = "customer_authentication_required", "The customer must authenticate"


class IdempotencyKeyReusedError(TallystickError):
    """The key was used before with another body or path."""

    code, status, title = "idempotency_key_reused", 422, "The idempotency key was used for another request"


class IdempotencyKeyInUseError(TallystickError):
    """The first request with this key is still running."""

    code, status, title, retryable = "idempotency_key_in_use", 409, "The first request is still running", True


class InvalidIdempotencyKeyError(InvalidRequestError):
    """The Idempotency-Key header is empty or longer than 255 characters."""

    code, title = "invalid_idempotency_key", "The idempotency key is not valid"


class SignatureError(TallystickError):
    """The Stripe-Signature header is missing, malformed, or matches no secret."""

    code, status, title = "invalid_signature", 400, "The webhook signature is not valid"


class SignatureExpiredError(SignatureError):
    """The signature is right, but its timestamp is outside the tolerance."""

    code, title = "signature_expired", "The webhook signature is too old or too far ahead"


class InvalidEventError(TallystickError):
    """The webhook body is signed, but is no Stripe event."""

    code, status, title = "invalid_event", 400, "The body is not a Stripe event"


class LivemodeMismatchError(TallystickError):
    """The webhook's event is live and our Stripe key is a test key, or the reverse: nothing is stored."""

    code, status, title = "livemode_mismatch", 400, "The event is of the other mode"


class StripeRefusedError(TallystickError):
    """Stripe refused the request; ``extra`` carries Stripe's own code and parameter."""

    code, status, title = "stripe_refused", 400, "Stripe refused the request"


class StripeUnavailableError(TallystickError):
    """Stripe could not be reached, answered 5xx or 429 within the retry budget, or is not asked meanwhile."""

    code, status, title, retryable = "stripe_unavailable", 503, "Stripe cannot be reached", True


class UnsteadyBalanceError(TallystickError):
    """``tallystick adopt``: Stripe's balance and its balance transactions did not come to agree."""

    code, status, title, retryable = "unsteady_balance", 503, "Stripe's balance does not hold still", True


class DatabaseUnavailableError(TallystickError):
    """PostgreSQL could not be reached in time."""

    code, status, title, retryable = "database_unavailable", 503, "The database cannot be reached", True


class OverloadedError(TallystickError):
    """More requests wait than can begin in time; ``Retry-After`` says when the line will be shorter."""

    code, status, title, retryable = "overloaded", 503, "Too many requests wait", True


class PayloadError(TallystickError):
    """An event's object lacks a field that its meaning needs: a dead letter at once."""

    code, status, title = "invalid_payload", 422, "The event's payload cannot be read"


class UnbalancedError(TallystickError):
    """Debits and credits of a ledger transaction differ in a currency."""

    code, status, title = "unbalanced", 500, "The ledger transaction does not balance"


class EffectDiffersError(TallystickError):
    """A known effect key came back with other accounts or amounts."""

    code, status, title = "effect_differs", 409, "A posted effect came back with other legs"


class LedgerInconsistentError(TallystickError):
    """The ledger's entries and its balances disagree; an export ends without its end."""

    code, status, title = "ledger_inconsistent", 500, "The ledger does not add up"


class TooManyExportsError(TallystickError):
    """This process writes as many exports as it may at once."""

    code, status, title, retryable = "too_many_exports", 429, "Too many exports at once", True


class ConfigurationError(TallystickError):
    """A setting is missing or cannot be used."""

    code, status, title = "configuration", 500, "The configuration is not usable"


class StripeAccessError(TallystickError):
    """Stripe does not accept our API key, or the key may not do this: for the operator to mend."""

    code, status, title = "stripe_access", 502, "Stripe does not accept our API key"

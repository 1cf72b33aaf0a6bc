"""The one place where Stripe's errors become ours.

Nothing of the request goes into an error: neither the secret key nor card data. Stripe's own message is
passed on where it is about the caller's input, and only there.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Final

import stripe

from tallystick.errors import StripeAccessError, TallystickError
from tallystick.stripe_gateway.answers import (
    AlreadyRefundedError,
    AmountRefusedError,
    DeclinedError,
    MissingPermissionError,
    RefusedError,
    StateRefusedError,
    StripeAnswer,
    UnavailableError,
)
from tallystick.stripe_gateway.declines import decline
from tallystick.stripe_gateway.transport import Tries

_KINDS: Final[dict[str, type[RefusedError]]] = {
    "payment_intent_unexpected_state": StateRefusedError,
    "charge_already_captured": StateRefusedError,
    "charge_expired_for_capture": StateRefusedError,
    "charge_disputed": StateRefusedError,
    "amount_too_small": AmountRefusedError,
    "amount_too_large": AmountRefusedError,
    "charge_already_refunded": AlreadyRefundedError,
}
_PERMISSION: Final = re.compile(r"\brak_[a-z0-9_]{1,60}")
_PARAMS: Final = {
    "amount_to_capture": "amount",
    **{
        name: name
        for name in (
            "amount", "currency", "customer", "payment_method", "return_url", "description", "metadata",
            "capture_method", "cancellation_reason", "reason", "mandate_data", "off_session", "receipt_email",
            "statement_descriptor", "statement_descriptor_suffix", "setup_future_usage",
        )
    },
}  # fmt: skip
"""Stripe's parameters by the names they have in our API."""


def stripe_time(headers: Mapping[str, str]) -> int:
    """Stripe's clock when it answered, in Unix seconds; ours where a proxy dropped or broke the header."""
    try:
        return int(parsedate_to_datetime(headers["Date"]).timestamp())
    except (KeyError, ValueError):
        return int(time.time())


def is_replay(headers: Mapping[str, str]) -> bool:
    """Whether Stripe repeated the answer to an earlier call with the same idempotency key."""
    return headers.get("Idempotent-Replayed") == "true"


def failure(error: stripe.StripeError, known: Tries, *, secrets: Sequence[str]) -> TallystickError:
    """What the caller of the gateway gets for an error of the SDK.

    ``known`` tells whether one of the tries may have been carried out, or the last was not sent at all.
    ``secrets`` are our keys, to keep out of texts.
    """
    if isinstance(error, stripe.AuthenticationError | stripe.PermissionError):
        if known.uncertain:
            return UnavailableError("Stripe did not answer, and now refuses our key.", outcome_unknown=True)
        return _no_access(error)
    if isinstance(error, stripe.CardError):
        return _declined(error, secrets)
    if isinstance(error, stripe.InvalidRequestError):
        return _refused(error, secrets)
    return _undecided(error, known)


def _no_access(error: stripe.AuthenticationError | stripe.PermissionError) -> StripeAccessError:
    if isinstance(error, stripe.AuthenticationError):
        return StripeAccessError("Stripe answered 401 to our API key.")
    named = _PERMISSION.search(error.user_message or "")
    which = named[0] if named else None
    return MissingPermissionError(
        f"Stripe answered 403 to our API key: it lacks {which or 'a permission'}.", permission=which
    )


def _undecided(error: stripe.StripeError, known: Tries) -> UnavailableError:
    if known.held_back:
        return UnavailableError(
            f"Stripe {known.held_back}; this was not sent{' again' if known.uncertain else ''}.",
            outcome_unknown=known.uncertain,
            retry_after=known.retry_after,
        )
    if isinstance(error, stripe.RateLimitError):
        return UnavailableError(
            "Stripe asks for fewer requests.", outcome_unknown=known.uncertain, retry_after=_pause(error)
        )
    if isinstance(error, stripe.IdempotencyError) or error.http_status == 409:
        return UnavailableError(
            "Stripe holds another request under the same idempotency key.", outcome_unknown=True
        )
    if isinstance(error, stripe.APIConnectionError):
        reached = (
            "did not answer in time, or the connection was cut" if known.uncertain else "cannot be reached"
        )
        return UnavailableError(f"Stripe {reached}.", outcome_unknown=known.uncertain)
    return UnavailableError(f"Stripe answered {error.http_status or 'nonsense'}.", outcome_unknown=True)


def _pause(error: stripe.StripeError) -> int:
    """How long Stripe asks to wait, in seconds, within reason."""
    asked = str((error.headers or {}).get("Retry-After", ""))
    return min(int(asked), 60) if asked.isdigit() and int(asked) else 5


def _declined(error: stripe.CardError, secrets: Sequence[str]) -> DeclinedError:
    body = _body(error)
    codes: dict[str, str | None] = {
        "stripe_code": error.code,
        "decline_code": body.get("decline_code"),
        "advice_code": body.get("advice_code"),
    }
    return decline(_message(error, secrets), codes, intent=_intent(error))


def _refused(error: stripe.InvalidRequestError, secrets: Sequence[str]) -> RefusedError:
    extra = {"stripe_code": error.code, "stripe_param": error.param}
    return _KINDS.get(error.code or "", RefusedError)(
        _message(error, secrets),
        stripe_code=error.code,
        intent=_intent(error),
        param=_PARAMS.get((error.param or "").partition("[")[0]),
        extra={name: value for name, value in extra.items() if value},
    )


def _body(error: stripe.StripeError) -> Mapping[str, Any]:
    body = error.json_body
    inner = body.get("error") if isinstance(body, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def _intent(error: stripe.StripeError) -> StripeAnswer | None:
    found = _body(error).get("payment_intent")
    headers = error.headers or {}
    if not isinstance(found, dict) or not isinstance(found.get("id"), str):
        return None
    return StripeAnswer(found, stripe_time(headers), is_replay(headers))


def _message(error: stripe.StripeError, secrets: Sequence[str]) -> str:
    message = error.user_message or "Stripe gave no reason."
    for secret in secrets:
        message = message.replace(secret, "…")
    return message

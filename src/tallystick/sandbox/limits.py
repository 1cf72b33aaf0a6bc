"""Limits: requests a second, and how many objects the sandbox holds. Both are off unless set."""

from __future__ import annotations

from typing import Final

from tallystick.sandbox.errors import StripeError

REASON: Final = (b"stripe-rate-limited-reason", b"global-rate")
"""The header that comes with a 429."""


class RateLimit:
    """A bucket that fills with ``rate`` requests a second and holds a second's worth."""

    def __init__(self) -> None:
        self._left = 0.0
        self._at = 0.0

    def take(self, rate: int | None, now: float) -> None:
        """Let a request through; raises StripeError (429) when it is one too many."""
        if rate is None:
            return
        self._left = min(float(rate), self._left + (now - self._at) * rate)
        self._at = now
        if self._left < 1:
            raise StripeError(
                429,
                "Request rate limit exceeded. You can learn more about rate limits here"
                " https://stripe.com/docs/rate-limits.",
                code="rate_limit",
            )
        self._left -= 1


def room_for_more(objects: int, most: int | None) -> None:
    """Raises StripeError (400) when the sandbox is full: it refuses rather than run out of memory."""
    if most is not None and objects >= most:
        raise StripeError(
            400,
            f"The sandbox holds {objects} objects, events included, and its setting max_objects is {most}."
            " Reset it (POST /_control/reset) or raise max_objects (POST /_control/settings).",
            code="sandbox_full",
        )

"""The Stripe keys and webhook secrets that a process uses; both can change while it runs.

During a rotation there are two of each. Keys are tried newest first: where Stripe does not accept one, the
next is used, and the refused one comes last until the keys change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from tallystick.errors import ConfigurationError, StripeAccessError
from tallystick.settings import Settings

log = structlog.get_logger(__name__)

_LIVE: Final = ("sk_live_", "rk_live_")


@dataclass(frozen=True, slots=True)
class Credentials:
    """API keys and webhook secrets, the newest of each first."""

    api_keys: tuple[str, ...] = ()
    webhook_secrets: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: Settings) -> Credentials:
        """Those of the environment."""
        return cls(
            tuple(key.get_secret_value() for key in settings.stripe_secret_keys),
            tuple(secret.get_secret_value() for secret in settings.stripe_webhook_secrets),
        )

    @property
    def livemode(self) -> bool | None:
        """Whether the keys move real money; None without a key."""
        return is_live(self.api_keys[0]) if self.api_keys else None


class Keyring:
    """What is in use now. Raises ConfigurationError for a live and a test key beside each other."""

    def __init__(self, credentials: Credentials) -> None:
        _check_modes(credentials.api_keys)
        self._current = credentials
        self._refused: set[str] = set()

    @property
    def current(self) -> Credentials:
        """What is in use."""
        return self._current

    @property
    def livemode(self) -> bool:
        """Whether real money is moved; raises StripeAccessError without a key."""
        mode = self._current.livemode
        if mode is None:
            raise StripeAccessError("There is no Stripe key yet.")
        return mode

    def replace(self, credentials: Credentials) -> None:
        """Use other ones from now on.

        Raises ConfigurationError, and changes nothing, where the mode of the keys would change.
        """
        before = self._current.livemode
        _check_modes(credentials.api_keys)
        if before is not None and credentials.livemode not in (before, None):
            raise ConfigurationError("The new Stripe key is of the other mode (live or test).")
        self._current, self._refused = credentials, set()
        log.info(
            "stripe_credentials_changed",
            api_keys=[hint(key) for key in credentials.api_keys],
            webhook_secrets=len(credentials.webhook_secrets),
        )

    def keys_to_try(self) -> Sequence[str]:
        """The API keys, refused ones last; raises StripeAccessError without a key."""
        if not self._current.api_keys:
            raise StripeAccessError("There is no Stripe key yet.")
        return sorted(self._current.api_keys, key=self._refused.__contains__)

    def refuse(self, key: str) -> None:
        """Stripe did not accept this key: the others come first from now on."""
        if key not in self._refused:
            self._refused.add(key)
            log.error("stripe_key_refused", key=hint(key), others=len(self._current.api_keys) - 1)


def is_live(key: str) -> bool:
    """Whether a key moves real money."""
    return key.startswith(_LIVE)


def hint(key: str) -> str:
    """A key as a log may show it: its kind and its last four characters."""
    kind = "_".join(key.split("_")[:2]) if key.count("_") >= 2 else "?"
    return f"{kind}_…{key[-4:]}" if len(key) >= 16 else f"{kind}_…"


def _check_modes(keys: Sequence[str]) -> None:
    if len({is_live(key) for key in keys}) > 1:
        raise ConfigurationError("There are a live and a test key of Stripe beside each other.")

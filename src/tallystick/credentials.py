"""Where the Stripe keys and webhook secrets come from, and how a running process learns that they changed.

Each of the two comes from the environment, from a file that it names, or, where it names neither, from the
database (``vault``). Files and database are looked at every few seconds.
"""

from __future__ import annotations

import asyncio

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.errors import ConfigurationError
from tallystick.settings import Settings, reread_files
from tallystick.stripe_gateway.keyring import Credentials, Keyring
from tallystick.vault import SecretName, open_vault, read_secrets

log = structlog.get_logger(__name__)


class CredentialSource:
    """Keeps a keyring up to date."""

    def __init__(self, settings: Settings, engine: AsyncEngine, keyring: Keyring) -> None:
        self._settings = settings
        self._engine = engine
        self._keyring = keyring
        self._vault = open_vault(settings)
        self._trouble: str | None = None

    @property
    def changeable(self) -> bool:
        """Whether there is anything to look at: what the environment itself says does not change."""
        return bool(self._vault or self._settings.secret_files)

    async def refresh(self) -> None:
        """Look once. What cannot be read or used is logged, once, and what is in use stays."""
        try:
            found = await self.read()
            if found != self._keyring.current:
                self._keyring.replace(found)
        except ConfigurationError as error:
            self._tell("stripe_credentials_not_taken", error.detail)
        except (SQLAlchemyError, OSError, TimeoutError) as error:
            self._tell("stripe_credentials_not_read", type(error).__name__)
        else:
            self._trouble = None

    async def read(self) -> Credentials:
        """What files and database say now.

        Raises ConfigurationError for a file or a secret that cannot be read, and whatever the driver raises.
        """
        given = Credentials.of(reread_files(self._settings))
        if self._vault is None or (given.api_keys and given.webhook_secrets):
            return given
        async with self._engine.connect() as connection:
            stored = await read_secrets(connection, self._vault)
        return Credentials(
            given.api_keys or stored.get(SecretName.STRIPE_SECRET_KEY, ()),
            given.webhook_secrets or stored.get(SecretName.STRIPE_WEBHOOK_SECRET, ()),
        )

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await asyncio.sleep(self._settings.secrets_poll_s)
            try:
                await self.refresh()
            except Exception:
                log.exception("loop_failed", loop="credentials")

    def _tell(self, event: str, reason: str) -> None:
        if reason != self._trouble:
            self._trouble = reason
            log.error(event, reason=reason)

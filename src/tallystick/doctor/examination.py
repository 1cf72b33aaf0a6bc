"""The whole examination, in the order in which one would mend things."""

from __future__ import annotations

from sqlalchemy.exc import SQLAlchemyError

from tallystick.credentials import CredentialSource
from tallystick.db.session import open_engine
from tallystick.doctor.at_stripe import (
    examine_account,
    examine_key,
    examine_shapes,
    gateway_with,
    unreachable,
)
from tallystick.doctor.books import examine_books
from tallystick.doctor.endpoints import examine_endpoints
from tallystick.doctor.findings import Finding, failed, ok, warning
from tallystick.doctor.servers import examine_database, examine_redis
from tallystick.errors import ConfigurationError
from tallystick.settings import CONNECTIONS, Settings, load_settings, unknown_variables, variable_name
from tallystick.stripe_gateway.answers import UnavailableError
from tallystick.stripe_gateway.keyring import Credentials, Keyring


async def examine(*, webhook_url: str | None = None, fix: bool = False) -> list[Finding]:
    """Examine the installation that the environment describes."""
    try:
        settings = load_settings(require=())
    except ConfigurationError as error:
        return [failed("settings", error.detail, "mend the environment: docs/operations.md")]
    found = [*_settings(settings), *await examine_database(settings), *await examine_redis(settings)]
    try:
        credentials = await _credentials(settings)
    except (ConfigurationError, SQLAlchemyError, OSError, TimeoutError) as error:
        said = error.detail if isinstance(error, ConfigurationError) else type(error).__name__
        return [*found, failed("stripe key", f"cannot be read: {said}", "check the files or the database")]
    found += examine_shapes(credentials)
    return [*found, *await _stripe(settings, credentials, webhook_url=webhook_url, fix=fix)]


def _settings(settings: Settings) -> list[Finding]:
    names = [
        name for name in CONNECTIONS if not name.startswith("stripe_")
    ]  # Stripe's have checks of their own
    missing = [variable_name(name) for name in names if not getattr(settings, name)]
    found = [failed("settings", f"not set: {', '.join(missing)}", "set them")] if missing else []
    found += [
        warning("settings", f"{name} is no setting of ours", "mend its name: it has no effect")
        for name in unknown_variables()
    ]
    return found or [ok("settings", "complete")]


async def _credentials(settings: Settings) -> Credentials:
    """As the processes take them: environment, files, database."""
    if not settings.database_url or not settings.master_keys:
        return Credentials.of(settings)
    engine = open_engine(settings)
    try:
        return await CredentialSource(settings, engine, Keyring(Credentials())).read()
    finally:
        await engine.dispose()


async def _stripe(
    settings: Settings, credentials: Credentials, *, webhook_url: str | None, fix: bool
) -> list[Finding]:
    """Each key by itself; the account and its endpoints with the newest that Stripe accepts."""
    found: list[Finding] = []
    accepted = None
    try:
        for key in credentials.api_keys:
            async with gateway_with(settings, key) as gateway:
                of_key = await examine_key(gateway, key)
            found += of_key
            if accepted is None and not any(each.check == "stripe key" for each in of_key):
                accepted = key
        if accepted is not None:
            async with gateway_with(settings, accepted) as gateway:
                found.append(await examine_account(gateway))
                if settings.database_url:
                    found.append(await examine_books(gateway, settings))
                found += await examine_endpoints(gateway, settings, url=webhook_url, fix=fix)
    except UnavailableError as error:
        found.append(unreachable(error))
    return found

"""What a local installation needs before it serves: a schema, an API key, an endpoint at the sandbox."""

from __future__ import annotations

from typing import Final

import httpx
from sqlalchemy import text

from tallystick.api.keys import SCOPES, create_key, is_live
from tallystick.db import migrate
from tallystick.db.session import open_engine, service_role
from tallystick.embedded.credentials import Credentials
from tallystick.errors import ConfigurationError
from tallystick.events.catalog import EVENTS
from tallystick.settings import Settings

SANDBOX_KEY: Final = "sk_test_tallystick"


async def refuse_a_ledger_in_use(settings: Settings) -> None:
    """Keep a new sandbox's payments out of a database that holds others: the ledger is append-only.

    Raises ConfigurationError.
    """
    engine = open_engine(settings)
    try:
        async with engine.connect() as connection:
            if (await connection.execute(text("SELECT to_regclass('webhook_events')"))).scalar() is None:
                return
            used = "SELECT EXISTS (SELECT 1 FROM webhook_events) OR EXISTS (SELECT 1 FROM payments)"
            if (await connection.execute(text(used))).scalar():
                raise ConfigurationError(
                    "DATABASE_URL holds events or payments that this sandbox knows nothing of, and what it"
                    " posts cannot be taken out again. Set STRIPE_SECRET_KEY, or name an empty database."
                )
    finally:
        await engine.dispose()


async def prepare(settings: Settings, credentials: Credentials) -> str:
    """Migrate, and make sure of an API key for this installation's owner."""
    owner = open_engine(settings, owner=True)
    try:
        await migrate.upgrade(owner, service=service_role(settings))
    finally:
        await owner.dispose()
    engine = open_engine(settings)
    try:
        async with engine.begin() as connection:
            known = credentials.read("api_key")
            if known and await is_live(connection, known):
                return known
            _, secret = await create_key(connection, name="up", scopes=sorted(SCOPES), expires_at=None)
    finally:
        await engine.dispose()
    credentials.write("api_key", secret)
    return secret


def register_endpoint(sandbox_url: str, url: str, credentials: Credentials) -> str:
    """Have the sandbox send our events to ``url``; returns the signing secret.

    The endpoint is made once and moved when the API's port has changed: a secret is shown only at creation.
    """
    known = credentials.read("webhook_endpoint")
    secret = credentials.read("webhook_secret")
    with httpx.Client(base_url=sandbox_url, auth=(SANDBOX_KEY, ""), trust_env=False, timeout=10.0) as client:
        if known and secret:
            moved = client.post(f"/v1/webhook_endpoints/{known}", data={"url": url})
            if moved.status_code == httpx.codes.OK:
                return secret
        form: dict[str, str | list[str]] = {"url": url, "enabled_events[]": sorted(EVENTS)}
        made = client.post("/v1/webhook_endpoints", data=form).raise_for_status().json()
    credentials.write("webhook_endpoint", made["id"])
    credentials.write("webhook_secret", made["secret"])
    return str(made["secret"])

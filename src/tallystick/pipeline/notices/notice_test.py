"""A test notice: sent at once, outside the log, to see whether an endpoint takes what it gets."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.outbox.signing import notice_id, payload, signed_headers
from tallystick.pipeline.notices.endpoint_secrets import live_secrets
from tallystick.pipeline.notices.endpoints import get_endpoint
from tallystick.pipeline.notices.webhook_client import Reply, WebhookClient
from tallystick.vault import Vault

TEST_TYPE: Final = "webhook_endpoint.test"


async def send_test(
    engine: AsyncEngine, client: WebhookClient, vault: Vault | None, endpoint_id: str
) -> tuple[str, Reply]:
    """The id of the notice and what came of it; raises NotFoundError.

    No database connection is held while the endpoint takes its time.
    """
    async with engine.connect() as connection:
        endpoint = await get_endpoint(connection, endpoint_id)
        signing = (await live_secrets(connection, vault, [endpoint_id]))[endpoint_id]
    now = datetime.now(UTC)
    message_id = notice_id(f"{TEST_TYPE}:{secrets.token_hex(16)}")
    body = payload(message_id, TEST_TYPE, now, {"webhook_endpoint": endpoint_id})
    return message_id, await client.post(
        endpoint.url, body.encode(), signed_headers(message_id, body, signing, now)
    )

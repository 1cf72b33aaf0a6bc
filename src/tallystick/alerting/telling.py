"""Tells people of alerts: a line to a chat by its incoming webhook, and e-mail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import orjson
import structlog

from tallystick.alerting.record import Alert
from tallystick.errors import ConfigurationError
from tallystick.pipeline.notices.mail import Mailer, open_mailer
from tallystick.pipeline.notices.webhook_client import Reply, WebhookClient
from tallystick.settings import Settings

log = structlog.get_logger(__name__)


class Teller:
    """Sends alerts where the settings say; one a worker. Raises ConfigurationError when it cannot be made."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.alert_webhook_url.get_secret_value()
        # whoever sets the environment may name a chat inside the network
        self._client = WebhookClient(settings.model_copy(update={"webhooks_allow_private": True}))
        self._mailer: Mailer | None = open_mailer(settings) if settings.alert_email else None
        if settings.alert_email and self._mailer is None:
            raise ConfigurationError("TALLYSTICK_ALERT_EMAIL needs TALLYSTICK_SMTP_URL.")
        if self._url and (fault := self._client.fault_of(self._url)):
            raise ConfigurationError(f"TALLYSTICK_ALERT_WEBHOOK_URL: {fault}")

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    async def tell(self, alert: Alert) -> bool:
        """Whether everybody was told; who was not is tried again with the others."""
        ways: list[Callable[[Alert], Awaitable[Reply]]] = []
        if self._url:
            ways.append(self._post)
        if self._mailer is not None:
            ways.append(self._mail)
        replies = [await way(alert) for way in ways]
        for reply in replies:
            if not reply.delivered:
                log.warning("alert_not_told", alert=alert.name, code=reply.error_code, error=reply.error)
        return all(reply.delivered for reply in replies)

    async def _post(self, alert: Alert) -> Reply:
        body = orjson.dumps({"text": line(alert)})
        return await self._client.post(self._url, body, {"Content-Type": "application/json"})

    async def _mail(self, alert: Alert) -> Reply:
        assert self._mailer is not None
        told = f"{line(alert)}\n\nWhat it means and what to do: {alert.runbook}\n"
        return await self._mailer.send_text(f"alert.{alert.id}.{alert.status}", subject(alert), told)


def subject(alert: Alert) -> str:
    """``FIRING: TallystickDeadLetters``, with the currency where there is one for each."""
    about = f" ({alert.about})" if alert.about else ""
    return f"{alert.status.upper()}: {alert.name}{about}"


def line(alert: Alert) -> str:
    """All of it in one line, in plain text."""
    if alert.resolved_at is None:
        return f"[{alert.severity}] {subject(alert)}: {alert.summary}. What to do: {alert.runbook}"
    lasted = timedelta(seconds=round((alert.resolved_at - alert.fired_at).total_seconds()))
    return f"{subject(alert)} after {lasted}. It was: {alert.summary}."

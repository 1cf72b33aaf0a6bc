"""Chosen notices by e-mail, through the SMTP server of the settings.

The one row of ``notice_endpoints`` with the channel email stands for it, so that fan-out, order, retries and
log are those of every other endpoint. It is never disabled by failures: nobody would enable it again.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Final
from urllib.parse import unquote, urlsplit

import aiosmtplib
import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.errors import ConfigurationError
from tallystick.outbox.notices import NOTICES, checked_patterns
from tallystick.pipeline.notices.webhook_client import Reply
from tallystick.settings import Settings

ENDPOINT_ID: Final = "email"
_DEFAULT_PORTS: Final = {"smtp": 25, "smtps": 465}

_SET_UP: Final = text(f"""
INSERT INTO notice_endpoints (id, channel, url, event_types)
VALUES ('{ENDPOINT_ID}', 'email', :url, CAST(:event_types AS text[]))
ON CONFLICT (id) DO UPDATE SET url = excluded.url, event_types = excluded.event_types, status = 'enabled',
  updated_at = now()
""")
_TAKE_DOWN: Final = text(f"""
UPDATE notice_endpoints SET status = 'deleted', updated_at = now()
 WHERE id = '{ENDPOINT_ID}' AND status <> 'deleted'
""")


@dataclass(frozen=True, slots=True)
class Mailer:
    """Sends notices and alerts by e-mail; made by ``open_mailer``."""

    host: str
    port: int
    username: str | None
    password: str | None
    tls: bool
    sender: str
    recipients: tuple[str, ...]
    event_types: tuple[str, ...]
    timeout_s: float

    async def send(self, message_id: str, notice_type: str, body: str) -> Reply:
        """One attempt to send a notice, whose payload is ``body``; every outcome is a Reply."""
        subject = f"{notice_type}: {NOTICES.get(notice_type, 'a notice')}"
        content = orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2).decode() + "\n"
        return await self.send_text(message_id, subject, content)

    async def send_text(self, message_id: str, subject: str, content: str) -> Reply:
        """One attempt to send a plain text; every outcome is a Reply."""
        at, begun = datetime.now(UTC), time.perf_counter()
        code, error = None, None
        try:
            await aiosmtplib.send(
                self._message(message_id, subject, content, at),
                hostname=self.host,
                port=self.port,
                username=self.username,
                password=self.password,
                use_tls=self.tls,
                # a password is never sent without TLS; without one TLS is used where it is offered
                start_tls=None if self.tls or self.password is None else True,
                tls_context=ssl.create_default_context(),
                timeout=self.timeout_s,
            )
        except (aiosmtplib.SMTPTimeoutError, TimeoutError):
            code, error = "timeout", f"The mail server did not answer within {self.timeout_s:g} seconds."
        except aiosmtplib.SMTPConnectError:
            code, error = "connection_failed", "The mail server cannot be reached."
        except (aiosmtplib.SMTPException, OSError) as refusal:
            code, error = "mail_refused", f"The mail server refused it: {type(refusal).__name__}."
        duration_ms = round((time.perf_counter() - begun) * 1000)
        return Reply(attempted_at=at, duration_ms=duration_ms, error_code=code, error=error)

    def _message(self, message_id: str, subject: str, content: str, at: datetime) -> EmailMessage:
        message = EmailMessage()
        message["From"] = self.sender
        message["To"] = ", ".join(self.recipients)
        message["Subject"] = subject
        message["Date"] = format_datetime(at)
        message["Message-ID"] = f"<{message_id}@tallystick>"  # the same in every attempt
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(content)
        return message


def open_mailer(settings: Settings) -> Mailer | None:
    """The mailer of the settings, None where they name no server; raises ConfigurationError."""
    url = settings.smtp_url.get_secret_value()
    if not url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
        types = checked_patterns(settings.email_notices)
    except ValueError as error:
        raise ConfigurationError(f"TALLYSTICK_SMTP_URL or TALLYSTICK_EMAIL_NOTICES: {error}.") from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ConfigurationError("TALLYSTICK_SMTP_URL begins with smtp:// or smtps:// and names a host.")
    _check_addresses((settings.email_from, *settings.email_to))
    return Mailer(
        host=parts.hostname,
        port=port or _DEFAULT_PORTS[parts.scheme],
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        tls=parts.scheme == "smtps",
        sender=settings.email_from,
        recipients=settings.email_to,
        event_types=tuple(types),
        timeout_s=settings.webhooks_timeout_s,
    )


async def set_up_email(connection: AsyncConnection, mailer: Mailer | None) -> None:
    """Have the notices of the settings fanned out to e-mail, or none where there is no mailer."""
    if mailer is None:
        await connection.execute(_TAKE_DOWN)
        return
    to = ",".join(mailer.recipients)
    await connection.execute(_SET_UP, {"url": f"mailto:{to}", "event_types": list(mailer.event_types)})


def _check_addresses(addresses: Sequence[str]) -> None:
    if len(addresses) < 2 or not all("@" in each and each.isprintable() for each in addresses):
        raise ConfigurationError(
            "TALLYSTICK_SMTP_URL needs addresses in TALLYSTICK_EMAIL_FROM and TALLYSTICK_EMAIL_TO."
        )

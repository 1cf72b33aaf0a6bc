"""Notices by e-mail, through a real SMTP server, with the retries of every other endpoint."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import Message
from email.policy import default

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from tests.integration.notices.conftest import open_post

from tallystick.alerting.record import Alert
from tallystick.alerting.telling import Teller
from tallystick.embedded import EmbeddedValkey
from tallystick.errors import ConfigurationError
from tallystick.outbox.signing import notice_id
from tallystick.pipeline.notices.mail import open_mailer
from tallystick.settings import load_settings


@dataclass
class Mailbox:
    """Takes mail, after it refused some."""

    refusals: int = 0
    mails: list[Message] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.refusals:
            self.refusals -= 1
            return "451 not now"
        assert isinstance(envelope.original_content, bytes)
        self.recipients = envelope.rcpt_tos
        self.mails.append(message_from_bytes(envelope.original_content, policy=default))
        return "250 OK"


@dataclass
class Server:
    mailbox: Mailbox
    url: str


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    mailbox = Mailbox()
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: SMTP(mailbox, loop=loop), "127.0.0.1", 0)
    yield Server(mailbox, f"smtp://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
    listening.close()
    await listening.wait_closed()


async def test_chosen_notices_are_mailed_and_tried_again(
    database_url: str, valkey: EmbeddedValkey, server: Server
) -> None:
    mail = {
        "smtp_url": server.url,
        "email_from": "books@example.com",
        "email_to": "ops@example.com, cfo@example.com",
        "email_notices": "payout.*",
    }
    server.mailbox.refusals = 2
    async with open_post(database_url, valkey, **mail) as post:
        await post.tell(1, type="payout.failed")
        await post.tell(2, type="payment.failed")
        async with post.sending():
            await post.until_none_waits()
        (found,) = server.mailbox.mails
        assert server.mailbox.recipients == ["ops@example.com", "cfo@example.com"]
        assert found["From"] == "books@example.com"
        assert found["Subject"] == "payout.failed: a payout came back"
        name = notice_id("payout.failed:None:000001")
        assert found["Message-ID"] == f"<{name}@tallystick>"
        told = json.loads(found.get_content())  # type: ignore[attr-defined]
        assert (told["id"], told["type"], told["data"]) == (name, "payout.failed", {"n": 1})
        await post.until("SELECT attempts FROM notice_deliveries WHERE status = 'delivered'", 3)
        assert (await post.read("/webhook-endpoints"))["data"] == []
    async with open_post(database_url, valkey) as post:  # without a mail server nothing waits for one
        await post.tell(3, type="payout.failed")
        async with post.sending():
            await post.until_none_waits()
    assert len(server.mailbox.mails) == 1


async def test_a_mail_server_that_is_away_is_a_failed_attempt(
    database_url: str, valkey: EmbeddedValkey, server: Server
) -> None:
    mail = {"email_from": "a@example.com", "email_to": "b@example.com", "webhooks_retry_limit": 2}
    async with open_post(database_url, valkey, smtp_url="smtp://127.0.0.1:1", **mail) as post:
        await post.tell(1, type="payout.failed")
        async with post.sending():
            await post.until(
                "SELECT error_code FROM notice_deliveries WHERE status = 'failed'", "connection_failed"
            )
    url = server.url.replace("//", "//user:secret@")
    async with open_post(database_url, valkey, smtp_url=url, **mail) as post:
        await post.tell(2, type="payout.failed")
        async with post.sending():
            await post.until_none_waits()
    assert server.mailbox.mails == [], "a password is not sent without TLS"


@pytest.mark.parametrize(
    "wrong",
    [
        {"smtp_url": "http://example.com"},
        {"smtp_url": "smtp://"},
        {"smtp_url": "smtp://host:99999"},
        {"email_to": ""},
        {"email_from": "nobody"},
        {"email_from": "a@example.com\r\nBcc: x@example.com"},
        {"email_notices": "no.such"},
    ],
)
def test_settings_that_cannot_be_used(wrong: dict[str, str]) -> None:
    right = {"smtp_url": "smtp://host", "email_from": "a@example.com", "email_to": "b@example.com"}
    assert open_mailer(load_settings({}, require=(), **right)) is not None
    with pytest.raises(ConfigurationError):
        open_mailer(load_settings({}, require=(), **{**right, **wrong}))
    assert open_mailer(load_settings({}, require=())) is None


async def test_alerts_are_mailed_in_words(server: Server) -> None:
    settings = load_settings(
        {}, require=(), smtp_url=server.url, email_from="books@example.com", email_to="ops@example.com",
        alert_email=True,
    )  # fmt: skip
    at = datetime(2026, 11, 24, 8, tzinfo=UTC)
    alert = Alert(7, "TallystickSuspense", "usd", "warning", "-2.50 USD in suspense", -250, at, None)
    teller = Teller(settings)
    server.mailbox.refusals = 1
    assert not await teller.tell(alert)
    assert await teller.tell(alert)
    await teller.close()
    (found,) = server.mailbox.mails
    assert found["Subject"] == "FIRING: TallystickSuspense (usd)"
    told = found.get_content()  # type: ignore[attr-defined]
    assert told.startswith("[warning] FIRING: TallystickSuspense (usd): -2.50 USD in suspense.")
    assert "docs/alerts.md#tallysticksuspense" in told

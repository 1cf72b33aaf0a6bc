"""No endpoint can make us call what only we can reach, whatever its name resolves to and when."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from tests.integration.notices.receiver import Receiver, receiving

from tallystick.pipeline.notices.webhook_client import WebhookClient
from tallystick.settings import load_settings


class Names(AbstractResolver):
    """Answers with the next of its addresses each time it is asked, the last one for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002
    ) -> list[ResolveResult]:
        self.asked += 1
        addresses = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if not addresses:
            raise OSError("no such name")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        pass


@asynccontextmanager
async def client_with(names: Names, *, private: bool = False) -> AsyncIterator[WebhookClient]:
    settings = load_settings({}, require=(), webhooks_allow_private=private, webhooks_timeout_s=2)
    client = WebhookClient(settings, names)
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
async def inside() -> AsyncIterator[Receiver]:
    """A server that only we can reach."""
    async with receiving() as receiver:
        yield receiver


def port_of(receiver: Receiver) -> str:
    return receiver.url.rsplit(":", 1)[1]


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1", "::1", "169.254.169.254", "10.0.0.1"])
async def test_a_name_that_leads_inside_is_refused(inside: Receiver, address: str) -> None:
    async with client_with(Names([address])) as client:
        reply = await client.post(f"https://shop.example.com:{port_of(inside)}", b"{}", {})
    assert (reply.error_code, reply.status) == ("address_refused", None)
    assert address not in (reply.error or "")
    assert inside.messages == []


async def test_of_several_addresses_none_inside_is_tried(inside: Receiver) -> None:
    async with client_with(Names(["127.0.0.1", "10.255.255.1", "::1"])) as client:
        reply = await client.post(f"https://shop.example.com:{port_of(inside)}", b"{}", {})
    assert reply.error_code == "address_refused"
    assert inside.messages == []


async def test_a_name_that_is_public_at_first_and_then_leads_inside(inside: Receiver) -> None:
    """DNS rebinding: whoever asks twice and believes the first answer is led inside by the second."""
    names = Names(["203.0.114.1"], ["127.0.0.1"])
    async with client_with(names) as client:
        client._timeout = type(client._timeout)(total=0.2)
        url = f"https://shop.example.com:{port_of(inside)}"
        first = await client.post(url, b"{}", {})
        assert (names.asked, first.error_code in ("timeout", "connection_failed")) == (1, True)
        second = await client.post(url, b"{}", {})
        assert (names.asked, second.error_code) == (2, "address_refused")
    assert inside.messages == []


async def test_an_address_in_the_url_is_judged_like_one_of_a_name(inside: Receiver) -> None:
    """Also where the URL's own check would have let it pass."""
    async with client_with(Names([])) as client:
        client.fault_of = lambda _url: None  # type: ignore[method-assign,assignment]
        for host in ("127.0.0.1", "[::ffff:127.0.0.1]", "2130706433", "127.1", "0x7f.1"):
            reply = await client.post(f"http://{host}:{port_of(inside)}", b"{}", {})
            assert reply.error_code in ("address_refused", "url_refused", "name_not_found"), host
    assert inside.messages == []


async def test_no_proxy_of_the_environment_is_used(inside: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy would connect for us, to wherever it likes."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, inside.url)
    async with client_with(Names([]), private=True) as client:
        reply = await client.post("http://shop.example.com/", b"{}", {})
    assert reply.error_code == "name_not_found"
    assert inside.messages == []


async def test_where_private_addresses_are_allowed_they_are_called(inside: Receiver) -> None:
    async with client_with(Names(["127.0.0.1"]), private=True) as client:
        reply = await client.post(
            f"http://shop.example.com:{port_of(inside)}", b"{}", {"webhook-id": "ntc_1"}
        )
    assert reply.delivered
    assert [message.id for message in inside.messages] == ["ntc_1"]


@pytest.mark.parametrize(
    ("said", "scheme", "codes"),
    [
        (b"SSH-2.0-x\r\n", "http", {"answer_unreadable"}),
        (b"", "http", {"connection_failed"}),
        (b"HTTP/1.1 200 OK\r\n\r\n", "https", {"tls_failed", "connection_failed"}),
    ],
)
async def test_a_server_that_speaks_something_else_or_hangs_up(
    said: bytes, scheme: str, codes: set[str]
) -> None:
    async def chatter(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(chatter, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with client_with(Names([]), private=True) as client:
        reply = await client.post(f"{scheme}://127.0.0.1:{port}/", b"{}", {})
    assert reply.error_code in codes
    server.close()
    await server.wait_closed()

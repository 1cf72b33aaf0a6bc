"""GET /ledger/export over a real server: streamed, refused in words, let go when the caller goes away."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest
import uvicorn
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.exported import entry, post
from tests.integration.api.conftest import Face, open_face

from tallystick.api.server import create_app
from tallystick.cli.serve import server_config
from tallystick.embedded import EmbeddedValkey
from tallystick.embedded.sockets import listen
from tallystick.errors import ConfigurationError

AT = datetime(2026, 10, 5, tzinfo=UTC)
_OPEN = """
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()
"""


@asynccontextmanager
async def served(face: Face) -> AsyncIterator[httpx.AsyncClient]:
    """The face by uvicorn, over a socket."""
    with listen("127.0.0.1", 0) as sock:
        server = uvicorn.Server(server_config(create_app(face.app)))
        running = asyncio.create_task(server.serve(sockets=[sock]))
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{sock.getsockname()[1]}",
            headers={"Authorization": face.http.headers["Authorization"]},
        ) as http:
            yield http
        server.should_exit = True
        await running


async def half_read(http: httpx.AsyncClient, path: str) -> socket.socket:
    """A connection whose answer has begun, and that holds little of it: so the server must wait."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    made.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(made, (http.base_url.host, http.base_url.port))
    request = f"GET {path} HTTP/1.1\r\nHost: test\r\nAuthorization: {http.headers['Authorization']}\r\n\r\n"
    await loop.sock_sendall(made, request.encode())
    assert (await loop.sock_recv(made, 1000)).startswith(b"HTTP/1.1 200 ")
    return made


async def fill(engine: AsyncEngine, count: int) -> None:
    """More than the buffers of a connection hold."""
    long = "long " * 2000
    await post(
        engine, *(entry(f"k:{n:05}", AT + timedelta(seconds=n), 100, description=long) for n in range(count))
    )


async def until_open(engine: AsyncEngine, wanted: int) -> None:
    """Wait until so many exports hold a transaction open."""
    async with asyncio.timeout(20):
        while True:
            async with engine.connect() as connection:
                if (await connection.execute(text(_OPEN))).scalar_one() == wanted:
                    return
            await asyncio.sleep(0.02)


async def test_each_format_says_what_it_is(face: Face) -> None:
    await post(
        face.app.engine, entry("a", AT, 12_345), entry("b", AT + timedelta(days=30), 1, currency="eur")
    )
    shown = {
        "beancount": ("text/plain; charset=utf-8", "ledger.beancount"),
        "hledger": ("text/plain; charset=utf-8", "ledger.journal"),
        "ledger": ("text/plain; charset=utf-8", "ledger.ledger"),
        "csv": ("text/csv; charset=utf-8", "ledger.csv"),
        "parquet": ("application/vnd.apache.parquet", "ledger.parquet"),
        "quickbooks": ("text/csv; charset=utf-8", "ledger.csv"),
    }
    for form, (media_type, name) in shown.items():
        answer = await face.http.get("/ledger/export", params={"format": form})
        assert answer.status_code == 200
        assert answer.headers["content-type"] == media_type
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
    chosen = {
        "format": "csv",
        "from": "2026-10-01",
        "to": "2026-10-31",
        "currency": "usd",
        "summarize": "day",
    }
    answer = await face.http.get("/ledger/export", params=chosen)
    assert [line.split(",")[2] for line in answer.text.splitlines()[1:]] == ["day:2026-10-05:usd"] * 2


async def test_what_cannot_be_written_is_refused_before_the_answer_begins(face: Face) -> None:
    await post(face.app.engine, entry("a", AT, 1), entry("b", AT, 1, currency="eur"))
    for query in (
        "",
        "format=excel",
        "format=csv&from=2026-13-01",
        "format=csv&from=2026-11-01&to=2026-10-01",
        "format=csv&summarize=week",
        "format=csv&currency=USD",
        "format=xero",
        "format=xero&currency=usd",
    ):
        answer = await face.http.get(f"/ledger/export?{query}")
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), query
    reader = {"Authorization": f"Bearer {await face.key('payments:read')}"}
    answer = await face.http.get("/ledger/export?format=csv", headers=reader)
    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")


async def test_names_of_accounts_come_from_the_settings(database_url: str, valkey: EmbeddedValkey) -> None:
    names = 'tax_rate = "No VAT"\n[names]\n"assets:bank" = "610"\n"revenue:payments" = "200"\n'
    async with open_face(database_url, valkey, export_names=names) as face:
        await post(face.app.engine, entry("a", AT, 12_345))
        answer = await face.http.get("/ledger/export?format=xero")
        assert answer.text.splitlines()[1:] == [
            "a,05/10/2026,An entry,610,No VAT,123.45",
            "a,05/10/2026,An entry,200,No VAT,-123.45",
        ]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("[names", "is not TOML"),
        ("name = 1", "'name' is not known"),
        ('[names]\n"assets" = "610"', "'assets' is not an account name"),
        ('[names]\n"assets:bank" = 610', "the name of assets:bank is no text"),
        ("tax_rate = 1", "tax_rate is a text"),
    ],
)
async def test_a_start_with_names_that_cannot_be_read_fails(
    database_url: str, valkey: EmbeddedValkey, body: str, problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        async with open_face(database_url, valkey, export_names=body):
            pass


async def test_a_caller_that_goes_away_leaves_nothing_open(face: Face) -> None:
    await fill(face.app.engine, 1500)
    async with served(face) as http:
        for _ in range(3):  # more than there are places
            with await half_read(http, "/ledger/export?format=beancount"):
                await until_open(face.app.engine, 1)
            await until_open(face.app.engine, 0)
        whole = await http.get("/ledger/export?format=beancount")
        assert whole.text.count("effect_key") == 1500
        assert face.app.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_one_that_breaks_does_not_look_whole(face: Face) -> None:
    await fill(face.app.engine, 300)
    async with face.app.engine.begin() as connection:
        await connection.execute(text("UPDATE account_balances SET credits = credits + 1 WHERE credits > 0"))
    async with served(face) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get("/ledger/export?format=csv")

"""GET /ledger/export: the ledger for other programs, as a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import date
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from tallystick.api.auth import Gate
from tallystick.api.keys import Scope as KeyScope
from tallystick.api.routing import guarded_router, needs
from tallystick.api.values import Shape
from tallystick.app import App
from tallystick.errors import TooManyExportsError
from tallystick.ledger.export.account_names import AccountNames
from tallystick.ledger.export.books import Period
from tallystick.ledger.export.formats import FORMATS, ExportFormat, Summary
from tallystick.ledger.export.writing import export

_AT_ONCE: Final = 2
"""Exports that a process writes at a time: each holds a connection and a snapshot while it is read."""
_RETRY_AFTER_S: Final = 30


def ledger_export_routes(app: App, gate: Gate) -> APIRouter:
    """The route, over an App. Raises ConfigurationError when the names of accounts cannot be read."""
    router = guarded_router(gate, "ledger")
    names = AccountNames.read(app.settings.export_names)
    places = asyncio.Semaphore(_AT_ONCE)

    @router.get(
        "/ledger/export",
        response_class=Response,
        responses={200: _described()},
        openapi_extra=needs(KeyScope.LEDGER_READ, TooManyExportsError),
    )
    async def export_ledger(
        form: Annotated[ExportFormat, Query(alias="format", description="What to write")],
        first: Annotated[date | None, Query(alias="from", description="First day, in UTC")] = None,
        last: Annotated[date | None, Query(alias="to", description="Last day, included")] = None,
        currency: Annotated[
            Annotated[str, Shape("^[a-z]{3,4}$", "must be a lower-case code, such as usd")] | None,
            Query(description="Only this currency"),
        ] = None,
        summarize: Annotated[
            Summary | None, Query(description="`day`: the sums of a day instead of each transaction")
        ] = None,
    ) -> Response:
        """The ledger for Beancount, hledger, ledger-cli, QuickBooks or Xero, or as CSV or Parquet.

        It is sent while it is read, in one snapshot. An answer that ends without its last chunk is not whole.
        """
        spec = FORMATS[form]
        writer, period = spec.writer(names), Period(first, last)
        if places.locked():
            raise TooManyExportsError(
                f"{_AT_ONCE} exports are being written: try again when one is done.",
                retry_after=_RETRY_AFTER_S,
            )
        chunks = _held(
            places,
            export(app.engine, writer, period, summarize=summarize is Summary.DAY, currency=currency),
        )
        try:
            head = await anext(chunks)  # what can be refused is refused before the answer begins
        except BaseException:
            await chunks.aclose()
            raise
        return _Export(head, chunks, spec.media_type, f"ledger.{spec.suffix}")

    return router


async def _held(
    places: asyncio.Semaphore, chunks: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    """The chunks, with a place taken until the last of them or the end of whoever reads them."""
    async with places:
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            await chunks.aclose()


class _Export(StreamingResponse):
    """Sends as fast as it is read. When the caller goes away, the snapshot is let go at once."""

    def __init__(self, head: bytes, chunks: AsyncGenerator[bytes, None], media_type: str, name: str) -> None:
        self._chunks = chunks

        async def body() -> AsyncGenerator[bytes, None]:
            yield head
            async for chunk in chunks:
                yield chunk

        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        super().__init__(body(), media_type=media_type, headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._chunks.aclose()


def _described() -> dict[str, Any]:
    media_types = sorted({spec.media_type for spec in FORMATS.values()})
    return {
        "description": "The ledger, in the format asked for",
        "content": {each: {"schema": {"type": "string", "format": "binary"}} for each in media_types},
    }

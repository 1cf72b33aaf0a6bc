"""Files that are written while they are sent: a few at a time, each in one snapshot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from tallystick.errors import TooManyExportsError

_AT_ONCE: Final = 2
"""Exports that are written at a time: each holds a connection and a snapshot while it is read."""
_RETRY_AFTER_S: Final = 30


class Downloads:
    """The places of one face of the process, the API's or the console's."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def send(self, chunks: AsyncGenerator[bytes, None], media_type: str, name: str) -> Response:
        """The chunks as a file of this name; they are closed with it.

        Raises TooManyExportsError, and what the first chunk raises: what can be refused is refused before the
        answer begins.
        """
        if self._places.locked():
            await chunks.aclose()
            raise TooManyExportsError(
                f"{_AT_ONCE} exports are being written: try again when one is done.",
                retry_after=_RETRY_AFTER_S,
            )
        held = _held(self._places, chunks)
        try:
            head = await anext(held)
        except BaseException:
            await held.aclose()
            raise
        return _Download(head, held, media_type, name)


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


class _Download(StreamingResponse):
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

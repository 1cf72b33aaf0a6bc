"""Does what a form asks for, once however often it is sent, and says what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import orjson
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncConnection

from tallystick.api.journal_entries import Act, Acts
from tallystick.console.visits import Visit
from tallystick.errors import TallystickError
from tallystick.ledger.book import Posted
from tallystick.ledger.journal import EntryStatus, JournalEntry

_PAGE: Final = "/console/journal-entries/{}"


async def send(
    visit: Visit,
    acts: Acts,
    body: BaseModel,
    act: Callable[[str], Act],
    *,
    key: str,
    entry_id: str | None = None,
) -> tuple[str, EntryStatus]:
    """The page of the entry that was made or changed, and where the entry stands.

    Raises what ``act`` raises, and IdempotencyKeyReusedError when the form was sent before with other words.
    """
    refused: list[TallystickError] = []

    def watched(named: str) -> Act:
        async def work(connection: AsyncConnection) -> tuple[JournalEntry, Posted]:
            try:
                return await act(named)(connection)
            except TallystickError as error:
                refused.append(error)
                raise

        return work

    answer = await acts.answer(visit.request, body, watched, entry_id=entry_id, key=key)
    if answer.status_code >= 400:
        raise refused[-1]
    made = orjson.loads(answer.body)
    return _PAGE.format(made["id"]), EntryStatus(made["status"])

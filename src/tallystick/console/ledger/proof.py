"""What proves the books, and what in them still waits: suspense, what is unapplied, seals."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from starlette.responses import Response

from tallystick.api.keys import Scope
from tallystick.console.routing import Pages
from tallystick.console.visits import NoQuery, Visit
from tallystick.db.session import snapshot
from tallystick.ledger import chart
from tallystick.ledger.ageing import BANDS, aged
from tallystick.ledger.seals import lag, list_seals
from tallystick.ledger.suspense import open_items, suspense_balances

_SEALS: Final = 10


def proof_pages(pages: Pages) -> None:
    """The page at /console/ledger/proof."""

    @pages.get("/ledger/proof", Scope.LEDGER_READ)
    async def proof(visit: Visit) -> Response:
        visit.query(NoQuery)
        now = datetime.now(UTC)
        async with snapshot(visit.app.engine) as connection:
            items = await open_items(connection)
            suspense = await suspense_balances(connection)
            unapplied = await aged(connection, chart.UNAPPLIED, now)
            seals = await list_seals(connection, limit=_SEALS)
            unsealed = await lag(connection)
        return visit.page(
            "proof.html",
            items=items,
            suspense=suspense,
            unapplied=unapplied,
            bands=BANDS,
            seals=seals,
            unsealed_s=unsealed.total_seconds(),
        )

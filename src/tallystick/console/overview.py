"""What an operator wants to see first."""

from __future__ import annotations

from starlette.responses import Response

from tallystick.console.routing import Pages
from tallystick.console.visits import NoQuery, Visit


def overview_pages(pages: Pages) -> None:
    """The page at /console."""

    @pages.get("", None)
    async def overview(visit: Visit) -> Response:
        visit.query(NoQuery)
        return visit.page("overview.html")

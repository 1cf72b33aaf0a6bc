"""GET /ledger/export: the ledger for other programs, as a stream."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import Response

from tallystick.api.auth import Gate
from tallystick.api.downloads import Downloads
from tallystick.api.keys import Scope as KeyScope
from tallystick.api.routing import guarded_router, needs
from tallystick.api.values import Shape
from tallystick.app import App
from tallystick.errors import TooManyExportsError
from tallystick.ledger.export.account_names import AccountNames
from tallystick.ledger.export.books import Period
from tallystick.ledger.export.formats import FORMATS, ExportFormat, Summary
from tallystick.ledger.export.writing import export


def ledger_export_routes(app: App, gate: Gate) -> APIRouter:
    """The route, over an App. Raises ConfigurationError when the names of accounts cannot be read."""
    router = guarded_router(gate, "ledger")
    names = AccountNames.read(app.settings.export_names)
    downloads = Downloads()

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
        chunks = export(app.engine, writer, period, summarize=summarize is Summary.DAY, currency=currency)
        return await downloads.send(chunks, spec.media_type, f"ledger.{spec.suffix}")

    return router


def _described() -> dict[str, Any]:
    media_types = sorted({spec.media_type for spec in FORMATS.values()})
    return {
        "description": "The ledger, in the format asked for",
        "content": {each: {"schema": {"type": "string", "format": "binary"}} for each in media_types},
    }

"""Exports: choose a format, days and a currency, and take the file."""

from __future__ import annotations

from typing import Annotated, Final

from starlette.responses import Response

from tallystick.api.downloads import Downloads
from tallystick.api.keys import Scope
from tallystick.api.values import Shape
from tallystick.console.ledger.periods import Days
from tallystick.console.routing import Pages
from tallystick.console.visits import NoQuery, Visit
from tallystick.ledger.export.account_names import AccountNames
from tallystick.ledger.export.books import Period
from tallystick.ledger.export.formats import FORMATS, ExportFormat, Summary
from tallystick.ledger.export.writing import export

_TITLES: Final = {
    ExportFormat.CSV: ("CSV", "a row an entry, for spreadsheets"),
    ExportFormat.PARQUET: ("Parquet", "a row an entry, for data warehouses"),
    ExportFormat.QUICKBOOKS: ("QuickBooks Online", "a journal to import"),
    ExportFormat.XERO: ("Xero", "a manual journal to import"),
    ExportFormat.BEANCOUNT: ("Beancount", "with balance assertions"),
    ExportFormat.HLEDGER: ("hledger", "with balance assertions"),
    ExportFormat.LEDGER: ("ledger-cli", "with balance assertions"),
}


class ExportQuery(Days):
    """What is written."""

    form: ExportFormat
    currency: Annotated[str, Shape("^[a-z]{3,4}$", "must be a lower-case code, such as usd")] | None = None
    summarize: Summary | None = None


def export_pages(pages: Pages, downloads: Downloads) -> None:
    """The pages below /console/ledger/exports. Raises ConfigurationError for unreadable account names."""
    names = AccountNames.read(pages.app.settings.export_names)

    @pages.get("/ledger/exports", Scope.LEDGER_READ)
    async def exports(visit: Visit) -> Response:
        visit.query(NoQuery)
        return visit.page("exports.html", formats=_TITLES)

    @pages.get("/ledger/exports/file", Scope.LEDGER_READ)
    async def file(visit: Visit) -> Response:
        query = visit.query(ExportQuery)
        spec = FORMATS[query.form]
        chunks = export(
            visit.app.engine,
            spec.writer(names),
            Period(query.first, query.last),
            summarize=query.summarize is Summary.DAY,
            currency=query.currency,
        )
        return await downloads.send(chunks, spec.media_type, f"ledger.{spec.suffix}")

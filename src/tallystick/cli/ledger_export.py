"""``tallystick ledger export``."""

from __future__ import annotations

import sys
from contextlib import aclosing
from datetime import date
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.cli.database import with_engine
from tallystick.ledger.export.account_names import AccountNames
from tallystick.ledger.export.books import Period
from tallystick.ledger.export.formats import FORMATS, ExportFormat, Summary
from tallystick.ledger.export.writing import export as write_export
from tallystick.settings import load_settings


def parse_day(text: str) -> date:
    """``2026-11-24``."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no day such as 2026-11-24") from error


def export(
    *,
    form: Annotated[ExportFormat, typer.Option("--format", help="What to write.")],
    first: Annotated[
        date | None, typer.Option("--from", parser=parse_day, metavar="DAY", help="First day, in UTC.")
    ] = None,
    last: Annotated[
        date | None, typer.Option("--to", parser=parse_day, metavar="DAY", help="Last day, included.")
    ] = None,
    currency: Annotated[str | None, typer.Option(help="Only this currency.")] = None,
    summarize: Annotated[
        Summary | None, typer.Option(help="day: the sums of a day instead of each transaction.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="File to write; without it the export goes to stdout.")
    ] = None,
) -> None:
    """Write the ledger for Beancount, hledger, ledger-cli, QuickBooks or Xero, or as CSV or Parquet.

    The same ledger gives the same bytes. A file appears when it is whole.
    """
    writer = FORMATS[form].writer(AccountNames.read(load_settings(require=()).export_names))
    period = Period(first, last)

    async def work(engine: AsyncEngine) -> None:
        chunks = write_export(
            engine,
            writer,
            period,
            summarize=summarize is Summary.DAY,
            currency=currency.lower() if currency else None,
            patient=True,
        )
        async with aclosing(chunks):
            if output is None:
                async for chunk in chunks:
                    sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()
                return
            part = output.with_name(f"{output.name}.part")
            try:
                with part.open("wb") as file:
                    async for chunk in chunks:
                        file.write(chunk)
                part.replace(output)
            finally:
                part.unlink(missing_ok=True)

    with_engine(work)

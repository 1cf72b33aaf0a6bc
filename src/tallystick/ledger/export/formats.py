"""Every format that the ledger can be exported in: one visible table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tallystick.ledger.export.account_names import AccountNames
from tallystick.ledger.export.beancount import BeancountWriter
from tallystick.ledger.export.general_ledger import QuickBooksWriter, XeroWriter
from tallystick.ledger.export.hledger import HledgerWriter
from tallystick.ledger.export.parquet import ParquetWriter
from tallystick.ledger.export.rows import CsvWriter
from tallystick.ledger.export.writer import Writer


class ExportFormat(StrEnum):
    """What the ledger can be written as."""

    BEANCOUNT = "beancount"
    HLEDGER = "hledger"
    LEDGER = "ledger"
    CSV = "csv"
    PARQUET = "parquet"
    QUICKBOOKS = "quickbooks"
    XERO = "xero"


class Summary(StrEnum):
    """What is written as one transaction, instead of each by itself."""

    DAY = "day"


@dataclass(frozen=True, slots=True)
class FormatSpec:
    """A format: what it is called on the way, how its files end, and who writes it, with the names to use."""

    media_type: str
    suffix: str
    writer: Callable[[AccountNames], Writer]


PLAIN_TEXT: Final = "text/plain"
CSV_TEXT: Final = "text/csv"
PARQUET: Final = "application/vnd.apache.parquet"

FORMATS: Final = {
    ExportFormat.BEANCOUNT: FormatSpec(PLAIN_TEXT, "beancount", lambda _: BeancountWriter()),
    ExportFormat.HLEDGER: FormatSpec(PLAIN_TEXT, "journal", lambda _: HledgerWriter(types=True)),
    ExportFormat.LEDGER: FormatSpec(PLAIN_TEXT, "ledger", lambda _: HledgerWriter(types=False)),
    ExportFormat.CSV: FormatSpec(CSV_TEXT, "csv", lambda _: CsvWriter()),
    ExportFormat.PARQUET: FormatSpec(PARQUET, "parquet", lambda _: ParquetWriter()),
    ExportFormat.QUICKBOOKS: FormatSpec(CSV_TEXT, "csv", QuickBooksWriter),
    ExportFormat.XERO: FormatSpec(CSV_TEXT, "csv", XeroWriter),
}

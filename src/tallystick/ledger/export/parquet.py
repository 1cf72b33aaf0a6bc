"""The ledger as Parquet: one row an entry, for DuckDB, Spark, pandas and warehouses.

Written with pyarrow, the reference implementation, which is an extra: it takes more room than all the rest.
"""

from __future__ import annotations

import io
from datetime import date
from decimal import Decimal
from importlib import import_module
from typing import Any, Final

from typing_extensions import override

from tallystick.errors import InvalidRequestError
from tallystick.ledger.export.books import Books, ExportTransaction
from tallystick.ledger.export.writer import Writer
from tallystick.money import plain_decimal

_ROWS_IN_A_GROUP: Final = 50_000
"""A row group is built in memory and written whole."""
_SCALE: Final = 3
"""Decimals of the column of amounts: enough for every currency."""


class ParquetWriter(Writer):
    """Row groups one after the other into a buffer that is handed on and emptied."""

    def __init__(self) -> None:
        """Raises InvalidRequestError when pyarrow is not installed."""
        try:
            self._arrow: Any = import_module("pyarrow")
            self._parquet: Any = import_module("pyarrow.parquet")
        except ImportError:
            raise InvalidRequestError(
                "Parquet needs pyarrow, which is not installed here: 'pip install tallystick[parquet]'.",
                param="format",
            ) from None
        self._sink = _Sink()
        self._schema = _schema(self._arrow)
        self._columns: list[list[Any]] = [[] for _ in self._schema]
        self._writer: Any = None

    @override
    def begin(self, books: Books, first: date | None) -> bytes:
        """The magic number."""
        self._writer = self._parquet.ParquetWriter(self._sink, self._schema, compression="zstd")
        return self._sink.take()

    @override
    def transaction(self, item: ExportTransaction) -> bytes:
        """A row an entry; nothing until a row group is full."""
        for account, amount in item.entries:
            row = (
                item.on,
                item.occurred_at,
                item.effect_key,
                item.kind,
                item.description,
                item.payment,
                item.source,
                account.name,
                account.type.value,
                "debit" if amount >= 0 else "credit",
                account.currency,
                amount,
                Decimal(plain_decimal(amount, account.currency)),
            )
            for column, value in zip(self._columns, row, strict=True):
                column.append(value)
        return self._write_group() if len(self._columns[0]) >= _ROWS_IN_A_GROUP else b""

    @override
    def end(self) -> bytes:
        """The last row group and the foot of the file."""
        written = self._write_group() if self._columns[0] else b""
        self._writer.close()
        return written + self._sink.take()

    def _write_group(self) -> bytes:
        arrays = [
            self._arrow.array(column, type=field.type)
            for column, field in zip(self._columns, self._schema, strict=True)
        ]
        self._writer.write_table(self._arrow.Table.from_arrays(arrays, schema=self._schema))
        for column in self._columns:
            column.clear()
        return self._sink.take()


def _schema(arrow: Any) -> Any:
    """``amount_minor`` and ``amount`` are the same: minor units and a decimal; a debit is positive."""
    text, few = arrow.string(), arrow.dictionary(arrow.int32(), arrow.string())
    return arrow.schema(
        [
            arrow.field("date", arrow.date32(), nullable=False),
            arrow.field("occurred_at", arrow.timestamp("us", tz="UTC"), nullable=False),
            arrow.field("effect_key", text, nullable=False),
            arrow.field("kind", few, nullable=False),
            arrow.field("description", text, nullable=False),
            arrow.field("payment", text),
            arrow.field("source", text),
            arrow.field("account", few, nullable=False),
            arrow.field("account_type", few, nullable=False),
            arrow.field("direction", few, nullable=False),
            arrow.field("currency", few, nullable=False),
            arrow.field("amount_minor", arrow.int64(), nullable=False),
            arrow.field("amount", arrow.decimal128(38, _SCALE), nullable=False),
        ]
    )


class _Sink(io.RawIOBase):
    """Where pyarrow writes to: it asks how far it is, and never goes back."""

    def __init__(self) -> None:
        super().__init__()
        self._held = bytearray()
        self._position = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._held += data
        self._position += len(data)
        return len(data)

    def tell(self) -> int:
        return self._position

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = bytes(self._held)
        self._held.clear()
        return taken

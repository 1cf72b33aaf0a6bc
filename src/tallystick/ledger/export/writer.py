"""What a format implements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import date

from tallystick.ledger.export.books import Books, ExportAccount, ExportTransaction


class Writer(ABC):
    """A format. Its methods are called in this order, and what they return is put one after the other."""

    @abstractmethod
    def begin(self, books: Books, first: date | None) -> bytes:
        """The head. ``first`` is the first day of the period, else of its transactions; None without any.

        Raises InvalidRequestError when the ledger cannot be written in this format.
        """

    @abstractmethod
    def transaction(self, item: ExportTransaction) -> bytes:
        """One ledger transaction."""

    def balances(self, on: date, balances: Mapping[ExportAccount, int]) -> bytes:  # noqa: ARG002
        """What stands on accounts at the end of a day: at ends of months those that moved, at last all."""
        return b""

    def end(self) -> bytes:
        """The foot."""
        return b""

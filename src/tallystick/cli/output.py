"""How the commands print: rich tables for people, ``--json`` for machines."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any, Final

import orjson
import typer
from rich.console import Console, JustifyMethod
from rich.table import Table

from tallystick.money import decimal_text

out: Final = Console(emoji=False)  # else an account such as revenue:books: is drawn
err: Final = Console(stderr=True, emoji=False)

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def print_json(value: Any) -> None:
    """One JSON document on one line of stdout; dates as RFC 3339."""
    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_UTC_Z).decode() + "\n")
    sys.stdout.flush()


def show(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, right: Sequence[str] = ()
) -> None:
    """Print a table, or in words that there is nothing in it."""
    out.print(_table(title, columns, rows, right=right) if rows else f"{title}: none.")


def _table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, right: Sequence[str] = ()
) -> Table:
    """A table whose first column, an id to copy, is never folded.

    The columns named in ``right`` are aligned to the right, as amounts are; one without any value is left
    out.
    """
    kept = [n for n, _ in enumerate(columns) if n == 0 or any(row[n] not in (None, "") for row in rows)]
    made = Table(title=title, title_justify="left", header_style="bold")
    for n in kept:
        justify: JustifyMethod = "right" if columns[n] in right else "left"
        made.add_column(columns[n], justify=justify, overflow="fold", no_wrap=n == 0)
    for row in rows:
        made.add_row(*("" if row[n] is None else str(row[n]) for n in kept))
    return made


def amount(minor_units: int, currency: str) -> str:
    """Minor units as people write them, without the currency; empty for zero."""
    return decimal_text(minor_units, currency) if minor_units else ""

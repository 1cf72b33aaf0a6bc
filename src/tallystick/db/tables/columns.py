"""The schema's names for its constraints, and the kinds of columns that all tables share."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    MetaData,
    Text,
    func,
)
from sqlalchemy.types import UserDefinedType

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Xid8(UserDefinedType[int]):
    """PostgreSQL's 64-bit transaction id."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """The column's type in DDL."""
        return "xid8"


def id_(name: str = "id", **options: Any) -> Column[str]:
    """An id: text that is compared byte for byte."""
    return Column(name, Text(collation="C"), **options)


def at(name: str, *, now: bool = False, **options: Any) -> Column[Any]:
    """A time; ``now``: of the transaction that writes the row, unless it says otherwise."""
    default = {"server_default": func.now(), "nullable": False} if now else {}
    return Column(name, DateTime(timezone=True), **{**default, **options})


def one_of(column: str, *values: str) -> CheckConstraint:
    """The column has one of these values."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)

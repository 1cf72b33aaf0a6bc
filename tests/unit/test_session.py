"""What counts as the database being away."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from tallystick.db.session import database_is_away


class _RefusedError(Exception):
    """An error of the driver."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("sqlstate", "away"),
    [
        ("57P01", True),  # the server stops
        ("53100", True),  # the disk is full
        ("08006", True),  # the connection broke
        ("40P01", True),  # a deadlock: the same transaction can go through the next time
        ("40001", True),  # a serialisation failure, likewise
        ("55P03", True),  # a lock was not to be had in time
        ("23505", False),  # a unique key is taken
        ("22003", False),  # a number is out of range
        ("42P01", False),  # there is no such table
    ],
)
def test_it_is_away_by_what_the_server_says(sqlstate: str, *, away: bool) -> None:
    assert database_is_away(DBAPIError("SELECT 1", None, _RefusedError(sqlstate))) is away


def test_it_is_away_when_no_connection_is_to_be_had() -> None:
    for error in (PoolTimeoutError(), ConnectionRefusedError(), TimeoutError()):
        assert database_is_away(error)
    assert not database_is_away(ValueError())

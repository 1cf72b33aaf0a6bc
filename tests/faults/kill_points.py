"""The points at which a request can die: before and after each of its commits.

Runs in the tests' own process, where dying is an exception that nobody catches, and as a script, where it is
the end of the process: ``python kill_points.py STEP WHEN COMMAND…`` is ``tallystick COMMAND…`` that dies so.
It imports nothing of the tests for that reason.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy import Engine, event
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

STEPS: Final = {
    "accept": "INSERT INTO stripe_calls",
    "store": "DELETE FROM stripe_calls",
    "answer": "SET response_status",
}
"""The commits of a request by what it writes in them: the accepted call, its outcome, an answer alone."""
WHEN: Final = ("before", "after")
KILLED: Final = 86
"""The exit code of a process that died so."""


@contextmanager
def dying(step: str, when: str, die: Callable[[], None]) -> Iterator[None]:
    """``die`` is called before or after the commit of a step, the first time one comes to it."""
    reached = False
    commit: Any = PGDialect_asyncpg.do_commit

    def statement(_connection: Any, _cursor: Any, sql: str, _parameters: Any, *_more: Any) -> None:
        nonlocal reached
        reached = reached or STEPS[step] in sql

    def dying_commit(self: PGDialect_asyncpg, dbapi_connection: Any) -> None:
        if reached and when == "before":
            die()
        commit(self, dbapi_connection)
        if reached:
            die()

    # an answer alone is one statement that commits itself
    alone = step == "answer"

    def last(connection: Any, cursor: Any, sql: str, parameters: Any, *more: Any) -> None:
        if STEPS[step] in sql:
            die()

    if alone:
        event.listen(Engine, f"{when}_cursor_execute", last)
    else:
        event.listen(Engine, "after_cursor_execute", statement)
        PGDialect_asyncpg.do_commit = dying_commit  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        if alone:
            event.remove(Engine, f"{when}_cursor_execute", last)
        else:
            event.remove(Engine, "after_cursor_execute", statement)
            PGDialect_asyncpg.do_commit = commit  # type: ignore[method-assign]


if __name__ == "__main__":
    step, when = sys.argv[1:3]
    sys.argv = ["tallystick", *sys.argv[3:]]
    with dying(step, when, lambda: os._exit(KILLED)):
        runpy.run_module("tallystick", run_name="__main__")

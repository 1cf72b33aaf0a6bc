"""``tallystick erase``."""

from __future__ import annotations

from typing import Annotated

import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.cli.database import with_engine
from tallystick.cli.operator import By, Reason, order
from tallystick.cli.output import Json, print_json, show
from tallystick.pipeline.operations import erasure


def erase(
    subject: Annotated[str, typer.Argument(help="A customer (cus_…), a payment, or its PaymentIntent.")],
    *,
    reason: Reason = None,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Erase a person's data from what is stored; the ledger and what it rests on stay."""
    wanted = order(by, reason)

    async def work(engine: AsyncEngine) -> dict[str, int]:
        return await erasure.erase(engine, subject, wanted)

    counts = with_engine(work)
    if as_json:
        print_json(counts)
    else:
        show(f"Erased about {subject}", ("table", "rows"), [*counts.items()], right=("rows",))

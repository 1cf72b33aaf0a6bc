"""``tallystick ledger rebuild --explain``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.cli.database import with_engine
from tallystick.cli.event_views import clock
from tallystick.cli.output import err, out, print_json
from tallystick.ledger.history import PostedEntry
from tallystick.money import decimal_text
from tallystick.pipeline.rebuild.explanation import Explanation, Implication, explain


def explained(effect_key: str, *, as_json: bool) -> None:
    """Print an effect as it stands, and every input that implies it."""
    columns = (TextColumn("searching"), BarColumn(), TaskProgressColumn())
    with Progress(*columns, console=err, disable=as_json) as bar:
        task = bar.add_task("searching", total=None)

        async def work(engine: AsyncEngine) -> Explanation:
            return await explain(
                engine, effect_key, watch=lambda done, total: bar.update(task, completed=done, total=total)
            )

        found = with_engine(work, patient=True)
    if as_json:
        print_json({"object": "effect_explanation", **asdict(found)})
    else:
        _print(found)


def _print(found: Explanation) -> None:
    standing = found.standing
    if standing is None:
        out.print(f"{found.effect_key} does not stand.", highlight=False)
    else:
        out.print(
            f"{found.effect_key} stands as ledger transaction {standing.id} ({standing.kind}), "
            f"occurred {clock(standing.occurred_at)}, posted {clock(standing.posted_at)} "
            f"from {standing.source}, rule version {found.rule_version}:",
            highlight=False,
        )
        _print_entries(standing.entries)
    out.print("Implied by:" if found.implied_by else "No stored input implies it.")
    for each in found.implied_by:
        _print_input(each)
        for fact in each.facts:
            answer = f"stored {clock(fact.fetched_at)}" if fact.fetched_at else "not stored"
            out.print(f"{each.input} asked {fact.question}: {answer}", highlight=False)
        if each.agrees is False or (standing is None and each is found.implied_by[0]):
            out.print(f"{each.input} says:", highlight=False)
            _print_entries(each.entries)


def _print_input(each: Implication) -> None:
    agrees = {True: "as they stand", False: "DIFFER", None: "do not stand"}[each.agrees]
    acted = f"{each.status} {clock(each.acted_at)}" if each.acted_at else each.status
    out.print(f"  {each.input} ({each.type or each.kind})", highlight=False)
    out.print(f"    stored {clock(each.stored_at)}, {acted}", highlight=False)
    out.print(
        f"    occurred {clock(each.occurred_at)} by it; rule version {each.rule_version}, legs {agrees}",
        highlight=False,
    )


def _print_entries(entries: Sequence[PostedEntry]) -> None:
    for leg in entries:
        amount = f"{decimal_text(leg.amount, leg.currency)} {leg.currency.upper()}"
        out.print(f"  {leg.direction:<6} {leg.account:<36} {amount:>18}", highlight=False)

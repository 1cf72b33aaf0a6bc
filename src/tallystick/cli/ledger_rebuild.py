"""``tallystick ledger rebuild``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Final

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.cli.database import with_engine
from tallystick.cli.ledger_explanation import explained
from tallystick.cli.output import Json, err, out, print_json, show
from tallystick.pipeline.rebuild.check import Rebuilt
from tallystick.pipeline.rebuild.check import check as rebuild_and_compare
from tallystick.pipeline.rebuild.comparison import DIGEST_FORMAT, Differing
from tallystick.pipeline.rebuild.refinement import Difference

_MEANING: Final = {
    Difference.CHANGED: "stand otherwise than their inputs say",
    Difference.MISSING: "are implied by inputs that were acted upon, and do not stand",
    Difference.UNEXPLAINED: "stand, and no stored input implies them",
    Difference.GIVEN_UP: "stand, and only dead letters or discarded ones imply them",
    Difference.UNANSWERED: "stand, and wait by today's rules for an answer of Stripe's that is not stored",
    Difference.RULE_CHANGED: "were posted by an older version of their rule",
    Difference.NOT_PROCESSED_YET: "are implied by events that an older version ignored: replay those",
}


def rebuild(
    *,
    check: Annotated[
        bool,
        typer.Option("--check", help="Compare it with what stands; exit code 1 if they differ."),
    ] = False,
    explain: Annotated[
        str | None, typer.Option("--explain", metavar="EFFECT_KEY", help="Show the inputs of one effect.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many differences to name; all are counted.")] = 1000,
    as_json: Json = False,
) -> None:
    """Build the ledger again from its stored inputs, without Stripe, and compare it with what stands.

    Nothing is changed, and workers may run.
    """
    if check is (explain is not None):
        raise typer.BadParameter("say what to do: --check or --explain EFFECT_KEY")
    if explain is not None:
        explained(explain, as_json=as_json)
        return
    found = _checked(limit, quiet=as_json)
    if as_json:
        print_json(_as_json(found))
    else:
        _print(found)
    if not found.equal:
        raise typer.Exit(1)


def _checked(limit: int, *, quiet: bool) -> Rebuilt:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, disable=quiet) as bar:
        task = bar.add_task("rebuilding", total=None)

        async def work(engine: AsyncEngine) -> Rebuilt:
            return await rebuild_and_compare(
                engine,
                limit=limit,
                watch=lambda doing, done, total: bar.update(
                    task, description=doing, completed=done, total=total
                ),
            )

        return with_engine(work, patient=True)


def _as_json(found: Rebuilt) -> dict[str, Any]:
    return {
        "object": "ledger_rebuild",
        "equal": found.equal,
        "as_of": found.as_of,
        "digest_format": DIGEST_FORMAT,
        "ledger_digest": found.comparison.ledger_digest,
        "rebuilt_digest": found.comparison.rebuilt_digest,
        "ledger_transactions": found.ledger_transactions,
        "inputs": {**found.read.inputs, "open": found.read.open, "unanswered": found.read.unanswered},
        "counts": {difference.value: found.comparison.counts.get(difference, 0) for difference in Difference},
        "differences": [asdict(each) for each in found.comparison.differences],
        "unreadable": found.read.unreadable,
        "unreadable_inputs": [asdict(each) for each in found.read.named],
    }


def _print(found: Rebuilt) -> None:
    compared, read = found.comparison, found.read
    if compared.differences:
        columns = ("effect key", "difference", "transaction", "source", "implied by")
        show("Differences", columns, [_row(each) for each in compared.differences])
    if read.named:
        rows = [(each.id, each.kind, each.error) for each in read.named]
        show("Inputs that cannot be read any more", ("input", "kind", "error"), rows)
    for difference, effects in compared.counts.items():
        out.print(f"[red]{difference}[/red]: {effects:,} effects {_MEANING[difference]}.")
    if read.unreadable:
        out.print(f"[red]unreadable[/red]: {read.unreadable:,} inputs that were acted upon.")
    if read.unanswered:
        out.print(f"{read.unanswered:,} inputs ask by today's rules what Stripe was not asked: replay them.")
    said = ", ".join(_counted(number, kind) for kind, number in sorted(read.inputs.items()))
    verdict = "is what its inputs say" if found.equal else "DIFFERS from its inputs"
    out.print(f"The ledger of {found.ledger_transactions:,} transactions {verdict}: {said or 'none'}.")
    out.print(f"ledger:  {compared.ledger_digest}\nrebuilt: {compared.rebuilt_digest}", highlight=False)


def _counted(number: int, kind: str) -> str:
    noun = kind.replace("_", " ")
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def _row(each: Differing) -> tuple[Any, ...]:
    what = f"{each.difference}: {', '.join(each.parts)}" if each.parts else each.difference.value
    return each.effect_key, what, each.transaction, each.source, "\n".join(each.inputs)

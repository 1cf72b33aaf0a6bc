"""``tallystick events replay``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.api import event_bodies as bodies
from tallystick.cli import event_views as views
from tallystick.cli.database import with_engine
from tallystick.cli.operator import By, Reason, order
from tallystick.cli.output import Json, err, out, print_json, show
from tallystick.cli.times import Moment
from tallystick.monitoring.redaction import blot_cards
from tallystick.pipeline.operations import replay as replaying
from tallystick.pipeline.operations.preview import Effect, Tally, preview
from tallystick.pipeline.views.selection import EventStatus, Selection

_SHOWN: Final = 100
"""Changes and failures that a dry run names one by one."""


def replay(
    *,
    ids: Annotated[list[str] | None, typer.Argument(metavar="ID")] = None,
    event_type: Annotated[
        list[str] | None, typer.Option("--type", help="Types like charge.*; several are alternatives.")
    ] = None,
    status: Annotated[list[EventStatus] | None, typer.Option(help="Only events in this state.")] = None,
    created_after: Moment = None,
    created_before: Moment = None,
    received_after: Moment = None,
    received_before: Moment = None,
    error: Annotated[str | None, typer.Option(help="Only where an attempt's error has this text.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All events but discarded ones.")] = False,
    reason: Reason = None,
    by: By = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change; change nothing.")
    ] = False,
    rate: Annotated[float, typer.Option(min=0, help="Most events a second; 0 for no limit.")] = 500.0,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for the workers at the end.")] = 30.0,
    as_json: Json = False,
) -> None:
    """Put events back to be processed again; what they have done is not done a second time.

    TIME is 2026-11-24T08:30:00Z, or an age as 12h. Discarded events are only replayed where their ids or
    --status discarded say so.
    """
    selection = Selection(
        ids=tuple(ids or ()),
        types=tuple(event_type or ()),
        statuses=tuple(status or ()),
        created_after=created_after,
        created_before=created_before,
        received_after=received_after,
        received_before=received_before,
        error=error,
    )
    if selection.everything is not everything:
        raise typer.BadParameter("say which events: by ids or options, or --all and nothing else")
    if dry_run:
        _dry_run(selection, quiet=as_json)
        return
    given = order(by, reason)
    with _bar(quiet=as_json) as bar:
        task = bar.add_task("replay", total=1.0)

        def watch(progress: replaying.Progress) -> None:
            bar.update(task, completed=progress.walked, description=views.counted(dict(progress.counts)))

        async def work(engine: AsyncEngine) -> bodies.Replay:
            found = await replaying.replay_events(
                engine, selection, given, per_second=rate, wait_s=wait, watch=watch
            )
            return bodies.Replay.of(found)

        found = with_engine(work)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        views.replay(found)


@dataclass(slots=True)
class _Report:
    """What a dry run found."""

    tally: Tally = field(default_factory=Tally)
    changes: list[tuple[str, Effect]] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {
            "object": "replay_preview",
            "events": dict(self.tally.events),
            "effects": {
                kind: {standing.value: number for standing, number in found.items()}
                for kind, found in self.tally.effects.items()
            },
            "changes": [
                {"event": event, "kind": each.kind, "key": each.key, "standing": each.standing}
                for event, each in self.changes
            ],
            "failures": [{"event": event, "error": error} for event, error in self.failures],
        }


def _dry_run(selection: Selection, *, quiet: bool) -> None:
    report = _Report()
    with _bar(quiet=quiet) as bar:
        task = bar.add_task("dry run", total=1.0)

        async def work(engine: AsyncEngine) -> None:
            async for batch, walked in replaying.walk(engine, replaying.replayable(selection)):
                await _look_at(engine, batch, report)
                events = dict(report.tally.events)
                bar.update(task, completed=walked, description=views.counted(events))

        with_engine(work)
    if quiet:
        print_json(report.as_json())
    else:
        _show(report)


async def _look_at(engine: AsyncEngine, batch: list[str], report: _Report) -> None:
    """Compare a batch in a transaction that can write nothing."""
    async with engine.connect() as connection:
        await connection.execute(text("SET TRANSACTION READ ONLY"))
        for found in await preview(connection, batch):
            fresh = report.tally.add(found)
            report.changes += [(found.event, each) for each in fresh][: _SHOWN - len(report.changes)]
            if found.error is not None and len(report.failures) < _SHOWN:
                report.failures.append((found.event, blot_cards(found.error)))


def _show(report: _Report) -> None:
    events = [(name, number) for name, number in sorted(report.tally.events.items())]
    show("Events, by how they would end", ("ending", "events"), events, right=("events",))
    effects = [
        (kind, views.styled(standing.value), number)
        for kind, found in report.tally.effects.items()
        for standing, number in sorted(found.items())
    ]
    show("Effects", ("kind", "state", "effects"), effects, right=("effects",))
    changes = [
        (effect.key, effect.kind, views.styled(effect.standing.value), event)
        for event, effect in report.changes
    ]
    show(f"Changes (the first {_SHOWN})", ("effect", "kind", "state", "event"), changes)
    if report.failures:
        show(f"Failures (the first {_SHOWN})", ("event", "error"), report.failures)
    out.print("Nothing was changed.")


def _bar(*, quiet: bool) -> Progress:
    """On stderr, and only on a terminal."""
    return Progress(
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
        console=err,
        disable=quiet or not err.is_terminal,
    )

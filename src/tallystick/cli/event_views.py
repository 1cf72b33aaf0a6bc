"""How events, dead letters and replays look on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from rich.markup import escape

from tallystick.api import event_bodies as bodies
from tallystick.cli.output import out, show

_STYLE: Final = {"dead": "red", "pending": "yellow", "processed": "green", "differs": "red", "new": "yellow"}


def styled(word: str) -> str:
    """A status in its colour."""
    return f"[{_STYLE.get(word, 'white')}]{word}[/]"


def clock(moment: datetime | None) -> str:
    """To the second."""
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment else ""


def message(error: bodies.LastError | None) -> str:
    """An error's words, safe for rich."""
    return escape(error.message) if error else ""


def facts(pairs: Sequence[tuple[str, Any]]) -> None:
    """What is known of one thing, a line each; what is not known is left out."""
    for name, value in pairs:
        if value not in (None, ""):
            out.print(f"[bold]{name:>16}[/]  {value}", soft_wrap=True)


def history(payload: Any, attempts: Sequence[bodies.Attempt], discards: Sequence[bodies.Discard]) -> None:
    """The payload, every attempt that failed with its traceback, and who discarded it."""
    out.print()
    out.print_json(data=payload)
    for each in attempts:
        out.print(f"\n[bold]Attempt {each.attempt}[/], {clock(each.failed_at)} UTC: [red]{each.code}[/]")
        out.print(each.traceback.rstrip(), markup=False, highlight=False, soft_wrap=True)
    for gone in discards:
        words = f"\nDiscarded {clock(gone.discarded_at)} UTC by {gone.actor}: {gone.reason}"
        out.print(words, markup=False, soft_wrap=True)


def effects(found: Sequence[bodies.Effect]) -> None:
    """What an event implies, and what of it is there."""
    columns = ("effect", "kind", "state", "ledger transaction", "posted by")
    rows = [
        (each.key, each.kind, styled(each.standing), each.ledger_transaction, each.source) for each in found
    ]
    show("Effects", columns, rows, right=("ledger transaction",))


def replay(found: bodies.Replay) -> None:
    """One replay, a line for each fact."""
    facts(
        [
            ("replay", found.id),
            ("by", escape(found.actor)),
            ("reason", escape(found.reason)),
            ("selection", escape(counted(found.selection))),
            ("outcome", found.outcome),
            ("result", counted(found.counts)),
        ]
    )


def replays(found: Sequence[bodies.Replay]) -> None:
    """The record of replays."""
    columns = ("replay", "started (UTC)", "by", "reason", "selection", "outcome", "result")
    rows = [
        (
            each.id,
            clock(each.started_at),
            escape(each.actor),
            escape(each.reason),
            escape(counted(each.selection)),
            each.outcome or "[yellow]unfinished[/]",
            counted(each.counts),
        )
        for each in found
    ]
    show("Replays", columns, rows)


def counted(values: dict[str, Any]) -> str:
    """Names and values on a line."""
    return ", ".join(
        f"{name}: {' '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in values.items()
    )

"""``tallystick demo``: real payments through our own HTTP API, each with its ledger."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from tallystick.cli.output import err, out
from tallystick.cli.show import show_payment
from tallystick.cli.tour import Tour
from tallystick.cli.up import default_data_dir, progress, running, show_urls, stop_on_signals
from tallystick.embedded.stack import Stack


def demo(
    once: Annotated[bool, typer.Option("--once", help="Stop at the end instead of staying up.")] = False,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="A folder for the demo, emptied first (default: ~/.local/share/tallystick/demo)."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the API; 0 picks a free one.")] = 0,
) -> None:
    """Start everything, take payments through the HTTP API, and show each with its ledger.

    Exit code 1 when an expectation fails, and it says which.
    """
    folder = data_dir or default_data_dir() / "demo"
    stack = Stack(folder, "127.0.0.1", port, on_progress=progress())
    _empty(stack)
    with running(stack) as urls:
        if urls.sandbox is None:
            raise typer.BadParameter("the demo plays with the sandbox: unset STRIPE_SECRET_KEY")
        tour = Tour(api=urls.api, sandbox=urls.sandbox, api_key=urls.api_key)
        asyncio.run(tour.walk())
        for title, payment in tour.payments:
            out.print(show_payment(title, payment))
        out.print(tour.balance_sheet())
        for failure in tour.failures:
            err.print(f"[red]Expected, but not so:[/red] {failure}", highlight=False, soft_wrap=True)
        if not tour.failures:
            out.print(f"[green]All {tour.checks} expectations hold.[/green]")
        if not once:
            show_urls(urls, stack)
            stack.supervise(stop_on_signals())
    if once and not tour.failures:
        stack.erase()
    else:
        err.print(f"Stopped; the data stays in {folder} until the next demo", highlight=False, soft_wrap=True)
    if tour.failures:
        raise typer.Exit(1)


_MARK = ".tallystick-demo"


def _empty(stack: Stack) -> None:
    """Empty the demo's folder; refuses one that holds anything but an earlier demo."""
    folder = stack.data_dir
    if folder.exists() and any(folder.iterdir()):
        if not (folder / _MARK).exists():
            raise typer.BadParameter(f"{folder} holds something else than an earlier demo")
        stack.erase()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARK).touch()

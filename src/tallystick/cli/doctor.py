"""``tallystick doctor``."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, Final

import typer
from rich.markup import escape

from tallystick.cli.output import Json, out, print_json
from tallystick.doctor.examination import examine
from tallystick.doctor.findings import Finding, Status

_COLOURS: Final = {
    Status.OK: "green", Status.WARNING: "yellow", Status.FAILED: "red", Status.SKIPPED: "dim",
}  # fmt: skip


def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Mend the webhook endpoint at Stripe.")] = False,
    webhook_url: Annotated[
        str | None, typer.Option(help="The endpoint's address; --fix makes it when it is missing.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check keys, permissions, account, webhook endpoint, clocks, database, Redis. Exit code 1 on failure."""
    found = asyncio.run(examine(webhook_url=webhook_url, fix=fix))
    healthy = all(finding.status is not Status.FAILED for finding in found)
    if as_json:
        print_json({"ok": healthy, "data": [asdict(finding) for finding in found]})
    else:
        for finding in found:
            _print(finding)
    raise typer.Exit(0 if healthy else 1)


def _print(finding: Finding) -> None:
    colour = _COLOURS[finding.status]
    line = f"[{colour}]{finding.status:<8}[/{colour}] {finding.check:<16} {escape(finding.detail)}"
    if finding.remedy:
        line += f" [bold]→[/bold] {escape(finding.remedy)}"
    out.print(line, highlight=False, soft_wrap=True)
    if finding.secret:
        out.print(f"         {finding.secret}", highlight=False, markup=False, soft_wrap=True)

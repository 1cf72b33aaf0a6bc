"""The command line: parse, call, print."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from tallystick import __version__
from tallystick.cli import database, demo, events, keys, ledger, serving, up
from tallystick.cli.output import err
from tallystick.errors import TallystickError

app = typer.Typer(
    help="Payments on Stripe with a double-entry ledger that proves itself against Stripe.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(up.up)
app.command()(demo.demo)
app.command()(serving.serve)
app.command()(serving.worker)
app.command()(serving.sandbox)
app.command()(database.migrate)
app.add_typer(keys.app, name="keys")
app.add_typer(events.app, name="events")
app.add_typer(ledger.app, name="ledger")


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)  # noqa: T201
        raise typer.Exit


def main() -> None:
    """Run the command line; an error of ours is a line on stderr and exit code 1, not a traceback."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except TallystickError as error:
        err.print(f"[red]{type(error).title}:[/red] {error.detail}", highlight=False, soft_wrap=True)
        sys.exit(1)

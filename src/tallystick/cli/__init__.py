"""The command line: parse, call, print."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated, Final

import typer

from tallystick import __version__
from tallystick.cli.output import err
from tallystick.errors import TallystickError
from tallystick.monitoring import logging

_COMMANDS: Final = (
    "up",
    "demo",
    "serve",
    "worker",
    "sandbox",
    "control",
    "migrate",
    "adopt",
    "doctor",
    "erase",
)
"""Each is a function of that name in the module of that name."""
_GROUPS: Final = (
    "keys",
    "secrets",
    "events",
    "dead-letters",
    "alerts",
    "webhook-endpoints",
    "ledger",
    "journal",
)
"""Each is a Typer ``app`` in the module of that name."""


def build(arguments: list[str]) -> typer.Typer:
    """The command line for these arguments.

    Only the command that is called is imported: `tallystick sandbox` has no use for SQLAlchemy, and a second
    of imports at every call is a second of somebody's time. The help, which names all, imports all.
    """
    app = typer.Typer(
        help="Payments on Stripe with a double-entry ledger that proves itself against Stripe.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(_root)
    called = arguments[0] if arguments and arguments[0] in (*_COMMANDS, *_GROUPS) else None
    for name in _COMMANDS:
        if called in (None, name):
            app.command(name)(getattr(import_module(f"tallystick.cli.{name}"), name))
    for name in _GROUPS:
        if called in (None, name):
            module = import_module(f"tallystick.cli.{name.replace('-', '_')}")
            app.add_typer(module.app, name=name)
    return app


def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(__version__)  # noqa: T201
        raise typer.Exit


def main() -> None:
    """The program: log lines go to stderr, since what a command prints is its own."""
    logging.configure(level="warning")
    run()


def run() -> None:
    """Run the command line; an error of ours is a line on stderr and exit code 1, not a traceback."""
    try:
        build(sys.argv[1:])()
    except KeyboardInterrupt:
        sys.exit(130)
    except TallystickError as error:
        err.print(f"[red]{type(error).title}:[/red] {error.detail}", highlight=False, soft_wrap=True)
        sys.exit(1)

"""Who works at the command line, and why: what the record of replays and discards keeps."""

from __future__ import annotations

import getpass
import socket
from typing import Annotated

import typer

from tallystick.pipeline.operations.audit import Order

Reason = Annotated[str | None, typer.Option("--reason", help="Why; kept in the record.")]
By = Annotated[str | None, typer.Option("--by", help="Who, if not the user of this machine.")]


def order(by: str | None, reason: str | None) -> Order:
    """The order of whoever runs the command; a reason is needed."""
    if not (reason and reason.strip()):
        raise typer.BadParameter("say why with --reason: it is kept in the record", param_hint="--reason")
    return Order(operator(by), reason.strip())


def operator(by: str | None) -> str:
    """Who runs the command: as given, else the user of this machine."""
    return (by and by.strip()) or f"{_user()}@{socket.gethostname()}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        return "unknown"

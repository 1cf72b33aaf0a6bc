"""``tallystick sandbox``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop

from tallystick.cli.listening import Fd, Host, socket_for
from tallystick.cli.output import out
from tallystick.monitoring import logging
from tallystick.sandbox import server
from tallystick.sandbox.settings import SettingError, Settings


def sandbox(
    *,
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")] = 12111,
    fd: Fd = None,
    data_dir: Annotated[Path | None, typer.Option(help="Keep state here; otherwise in memory only.")] = None,
    seed: Annotated[int | None, typer.Option(help="Make a run repeatable.")] = None,
    settings: Annotated[
        Path | None, typer.Option(help="A JSON file with settings of the account (docs/sandbox.md).")
    ] = None,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Run the Stripe sandbox alone."""
    if log_level not in ("debug", "info", "warning", "error"):
        raise typer.BadParameter("must be debug, info, warning or error", param_hint="--log-level")
    first = _read(settings) if settings is not None else Settings()
    logging.configure(level=log_level)
    sock = socket_for(host, port, fd)
    config = server.SandboxConfig(data_dir=data_dir, seed=seed, settings=first)

    def ready(url: str) -> None:
        if fd is None:
            out.print(f"The sandbox speaks Stripe's API on {url} (any sk_test_… key)")

    uvloop.run(server.serve(config, sock=sock, ready=ready))


def _read(path: Path) -> Settings:
    """The settings in a file. Raises typer.BadParameter for what cannot be read or set."""
    try:
        values: Any = json.loads(path.read_bytes())
        if not isinstance(values, dict):
            raise SettingError("The file must hold a JSON object.")
        return Settings().changed(values)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{path}: {error}", param_hint="--settings") from error

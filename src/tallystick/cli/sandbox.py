"""``tallystick sandbox``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import uvloop

from tallystick.cli.listening import Fd, Host, socket_for
from tallystick.cli.output import out
from tallystick.monitoring import logging
from tallystick.sandbox import server


def sandbox(
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")] = 12111,
    fd: Fd = None,
    data_dir: Annotated[Path | None, typer.Option(help="Keep state here; otherwise in memory only.")] = None,
    seed: Annotated[int | None, typer.Option(help="Make a run repeatable.")] = None,
) -> None:
    """Run the Stripe sandbox alone."""
    logging.configure()
    sock = socket_for(host, port, fd)
    config = server.SandboxConfig(data_dir=data_dir, seed=seed)

    def ready(url: str) -> None:
        if fd is None:
            out.print(f"The sandbox speaks Stripe's API on {url} (any sk_test_… key)")

    uvloop.run(server.serve(config, sock=sock, ready=ready))

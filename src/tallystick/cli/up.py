"""``tallystick up``: everything, on this machine."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import make_url

from tallystick.cli.output import err, out, print_json
from tallystick.embedded.stack import Stack, Urls


def up(
    data_dir: Annotated[
        Path | None, typer.Option(help="Where all data lies (default: ~/.local/share/tallystick).")
    ] = None,
    host: Annotated[str, typer.Option(help="Address the API listens on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")] = 8080,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON when ready.")] = False,
) -> None:
    """Run everything: what is not configured in the environment is supplied.

    Without DATABASE_URL and REDIS_URL an embedded PostgreSQL and Valkey, without STRIPE_SECRET_KEY a Stripe
    sandbox; then the API and a worker. Ctrl-C stops all of it; the data stays.
    """
    stack = Stack(data_dir or default_data_dir(), host, port, on_progress=progress())
    with running(stack) as urls:
        if as_json:
            print_json({"ready": True, "console": urls.console, **asdict(urls)})
        else:
            show_urls(urls, stack)
        stack.supervise(stop_on_signals())
    err.print(f"Stopped; the data stays in {stack.data_dir}", highlight=False, soft_wrap=True)


@contextmanager
def running(stack: Stack) -> Iterator[Urls]:
    """Start the stack, and stop it whatever happens. SIGTERM and Ctrl-C interrupt the start."""
    signal.signal(signal.SIGTERM, _interrupt)
    urls = stack.start()
    try:
        yield urls
    finally:
        err.print("Stopping…")
        stack.stop()


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def default_data_dir() -> Path:
    """``~/.local/share/tallystick``, or below XDG_DATA_HOME; as the XDG base directory specification says."""
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "tallystick"


def progress() -> Callable[[str], None]:
    """Prints each line of progress to stderr with the seconds since the start."""
    started = time.monotonic()

    def line(text: str) -> None:
        err.print(f"[dim]{time.monotonic() - started:6.1f} s[/dim]  {text}", highlight=False, soft_wrap=True)

    return line


def stop_on_signals() -> threading.Event:
    """An event that Ctrl-C and SIGTERM set; a second Ctrl-C interrupts what is going on."""
    stopping = threading.Event()

    def stop(_number: int, _frame: object) -> None:
        if stopping.is_set():
            raise KeyboardInterrupt
        stopping.set()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    return stopping


def show_urls(urls: Urls, stack: Stack) -> None:
    """What a person needs to go on, in plain lines that can be copied whole."""
    stripe = f"{urls.sandbox}   (sandbox)" if urls.sandbox else "api.stripe.com"
    lines = (
        "",
        f"API       {urls.api}   (reference: {urls.api}/docs)",
        f"Console   {urls.console}   (sign in with the API key)",
        f"API key   {urls.api_key}",
        f"Stripe    {stripe}",
        f"Database  {make_url(urls.database_url).render_as_string(hide_password=True)}",
        f"Queue     {make_url(urls.redis_url).render_as_string(hide_password=True)}",
        f"Logs      {stack.log_path('*')}",
        "",
        "Take a payment:",
        "",
        f"curl {urls.api}/payments -H 'Authorization: Bearer {urls.api_key}' \\",
        "  -H 'Content-Type: application/json' \\",
        """  -d '{"amount": 2500, "currency": "eur", "payment_method": "pm_card_visa", "confirm": true}'""",
        "",
        "Ctrl-C stops everything; the data stays.",
    )
    for line in lines:
        out.print(line, highlight=False, markup=False, soft_wrap=True)

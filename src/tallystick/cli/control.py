"""``tallystick control``: the sandbox's control API from the command line."""

from __future__ import annotations

from typing import Annotated, Any

import httpx
import orjson
import typer

from tallystick.cli.output import print_json
from tallystick.errors import ConfigurationError, InvalidRequestError


def control(
    call: Annotated[str, typer.Argument(help="What to do, e.g. clock, settle, faults, disputes, reset.")],
    values: Annotated[
        list[str] | None, typer.Argument(help="NAME=VALUE pairs; a value that is JSON is taken as JSON.")
    ] = None,
    url: Annotated[
        str, typer.Option(envvar="STRIPE_API_BASE", help="Where the sandbox is.")
    ] = "http://127.0.0.1:12111",
    method: Annotated[str, typer.Option("--method", "-X", help="POST, GET or DELETE.")] = "POST",
) -> None:
    """Make a running sandbox do something: see "Control API" in docs/sandbox.md.

    For example: `tallystick control clock advance_seconds=86400`, or `tallystick control -X GET deliveries`.
    """
    body = dict(_pair(value) for value in values or ())
    try:
        answer = httpx.request(
            method.upper(),
            f"{url.rstrip('/')}/_control/{call.strip('/')}",
            json=body or None,
            timeout=60.0,
            trust_env=False,
        )
    except httpx.InvalidURL as error:
        raise ConfigurationError(f"{url} is no URL: {error}.") from error
    except httpx.TransportError as error:
        raise ConfigurationError(f"No sandbox answers at {url}: {error}.") from error
    try:
        said = answer.json()
    except ValueError:
        raise ConfigurationError(f"What answers at {url} is no sandbox.") from None
    print_json(said)
    if not answer.is_success:
        raise typer.Exit(1)


def _pair(text: str) -> tuple[str, Any]:
    name, found, value = text.partition("=")
    if not found or not name:
        raise InvalidRequestError(f"{text!r} is not NAME=VALUE.")
    try:
        return name, orjson.loads(value)
    except orjson.JSONDecodeError:
        return name, value

"""``tallystick webhook-endpoints``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, Final

import typer
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.api import notice_bodies as bodies
from tallystick.cli import event_views as views
from tallystick.cli.database import with_engine
from tallystick.cli.output import Json, err, out, print_json, show
from tallystick.db.ids import new_id
from tallystick.errors import InvalidRequestError
from tallystick.outbox.notices import checked_patterns
from tallystick.pipeline.notices import delivery_log, endpoints
from tallystick.pipeline.notices.webhook_client import WebhookClient
from tallystick.settings import load_settings
from tallystick.vault import open_vault

app = typer.Typer(help="Where notices are sent.", no_args_is_help=True)

_MOST: Final = 1000
Id = Annotated[str, typer.Argument(metavar="ID")]
Change = Callable[[AsyncConnection], Awaitable[None]]


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List webhook endpoints, oldest first."""

    async def work(engine: AsyncEngine) -> bodies.WebhookEndpointPage:
        async with engine.connect() as connection:
            return bodies.endpoint_page(*await endpoints.list_endpoints(connection, limit=_MOST))

    page = with_engine(work)
    if as_json:
        print_json(page.model_dump(mode="json"))
        return
    columns = ("id", "URL", "types", "status", "description", "last success (UTC)", "failing since (UTC)")
    rows = [
        (
            each.id,
            each.url,
            ", ".join(each.event_types),
            f"{each.status} ({each.disabled_reason})" if each.disabled_reason else each.status,
            each.description,
            views.clock(each.last_success_at),
            views.clock(each.failing_since),
        )
        for each in page.data
    ]
    show("Webhook endpoints", columns, rows)


@app.command("create")
def create(
    url: Annotated[str, typer.Argument(help="Where to send notices, https://…")],
    event_type: Annotated[
        list[str] | None, typer.Option("--type", help="A type of notice or a pattern like refund.*")
    ] = None,
    description: Annotated[str | None, typer.Option(help="What it is.")] = None,
    as_json: Json = False,
) -> None:
    """Have notices sent to a URL. The secret that signs them is shown once."""
    settings = load_settings(require=())
    if fault := WebhookClient(settings).fault_of(url):
        raise InvalidRequestError(fault)
    try:
        types = checked_patterns(event_type or ["*"])
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--type") from None
    endpoint_id = new_id("whe")

    async def work(connection: AsyncConnection) -> str:
        return await endpoints.create_endpoint(
            connection, open_vault(settings), endpoint_id, url=url, event_types=types, description=description
        )

    _show_secret(endpoint_id, work, as_json=as_json)


@app.command("rotate-secret")
def rotate_secret(
    endpoint_id: Id,
    grace_hours: Annotated[
        float, typer.Option(min=0, max=720, help="How long the old secret signs as well.")
    ] = 24.0,
    as_json: Json = False,
) -> None:
    """Sign with another secret, which is shown once; for a grace the old one signs as well."""
    vault = open_vault(load_settings(require=()))

    async def work(connection: AsyncConnection) -> str:
        return await endpoints.rotate_secret(connection, vault, endpoint_id, timedelta(hours=grace_hours))

    _show_secret(endpoint_id, work, as_json=as_json)


@app.command("enable")
def enable(endpoint_id: Id) -> None:
    """Send notices to it again, from now on."""
    _change(lambda connection: endpoints.enable_endpoint(connection, endpoint_id))
    out.print(f"{endpoint_id} is enabled.")


@app.command("disable")
def disable(endpoint_id: Id) -> None:
    """Send no notices to it; what it misses is in its delivery log."""
    _change(lambda connection: endpoints.disable_endpoint(connection, endpoint_id))
    out.print(f"{endpoint_id} is disabled.")


@app.command("delete")
def delete(endpoint_id: Id) -> None:
    """Remove an endpoint and its secrets for good."""
    _change(lambda connection: endpoints.delete_endpoint(connection, endpoint_id))
    out.print(f"{endpoint_id} is deleted.")


@app.command("deliveries")
def deliveries(
    endpoint_id: Id,
    status: Annotated[str | None, typer.Option(help="Only pending, delivered or failed ones.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=_MOST)] = 20,
    cursor: Annotated[str | None, typer.Option(help="Where the page before ended.")] = None,
    as_json: Json = False,
) -> None:
    """List what was sent to an endpoint and what became of it, the latest notice first."""

    async def work(engine: AsyncEngine) -> bodies.WebhookDeliveryPage:
        async with engine.connect() as connection:
            await endpoints.get_endpoint(connection, endpoint_id)
            found = await delivery_log.list_deliveries(
                connection, endpoint_id, status=status, limit=limit, cursor=cursor
            )
        return bodies.delivery_page(*found)

    page = with_engine(work)
    if as_json:
        print_json(page.model_dump(mode="json"))
        return
    columns = ("delivery", "type", "payment", "status", "attempts", "last error", "next attempt (UTC)")
    rows = [
        (
            each.id,
            each.type,
            each.payment,
            each.status,
            each.attempts,
            each.last_error.message if each.last_error else "",
            views.clock(each.next_attempt_at),
        )
        for each in page.data
    ]
    show("Deliveries", columns, rows, right=("attempts",))
    if page.next_cursor:
        out.print(f"More: --cursor {page.next_cursor}", soft_wrap=True)


def _show_secret(
    endpoint_id: str, make: Callable[[AsyncConnection], Awaitable[str]], *, as_json: bool
) -> None:
    async def work(engine: AsyncEngine) -> tuple[str, endpoints.Endpoint]:
        async with engine.begin() as connection:
            return await make(connection), await endpoints.get_endpoint(connection, endpoint_id)

    secret, made = with_engine(work)
    if as_json:
        found = bodies.WebhookEndpointWithSecret.of(made).model_copy(update={"secret": secret})
        print_json(found.model_dump(mode="json"))
        return
    out.print(secret, highlight=False, soft_wrap=True)
    err.print(f"[dim]{endpoint_id}. Keep it now: it is not shown again.[/dim]")


def _change(change: Change) -> None:
    async def work(engine: AsyncEngine) -> None:
        async with engine.begin() as connection:
            await change(connection)

    with_engine(work)

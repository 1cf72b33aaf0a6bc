"""``tallystick keys``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.api.keys import SCOPES, create_key, list_keys, revoke_key, rotate_key
from tallystick.cli.database import with_engine
from tallystick.cli.output import Json, err, out, print_json, show
from tallystick.errors import NotFoundError

app = typer.Typer(help="API keys.", no_args_is_help=True)


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scope: Annotated[list[str] | None, typer.Option(help=f"One of {', '.join(sorted(SCOPES))}.")] = None,
    expires_in_days: Annotated[int | None, typer.Option(min=1, help="Days until it expires.")] = None,
    rate_limit: Annotated[str | None, typer.Option(help="Its own limit, e.g. 100/second.")] = None,
    as_json: Json = False,
) -> None:
    """Create an API key. It is shown once: only its hash is kept."""
    scopes = scope or ["payments:read", "payments:write", "refunds:write", "ledger:read"]
    if unknown := set(scopes) - set(SCOPES):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))} is not one of {', '.join(sorted(SCOPES))}")
    expires_at = datetime.now(UTC) + timedelta(days=expires_in_days) if expires_in_days else None

    async def work(engine: AsyncEngine) -> tuple[str, str]:
        async with engine.begin() as connection:
            return await create_key(connection, name, scopes, expires_at, rate_limit=rate_limit)

    key_id, secret = with_engine(work)
    if as_json:
        print_json({"id": key_id, "api_key": secret, "scopes": scopes, "expires_at": expires_at})
        return
    out.print(secret, highlight=False, soft_wrap=True)
    err.print(f"[dim]{key_id}, {', '.join(scopes)}. Keep it now: it is not shown again.[/dim]")


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List API keys, without their secrets."""

    async def work(engine: AsyncEngine) -> list[dict[str, Any]]:
        async with engine.connect() as connection:
            return await list_keys(connection)

    rows = with_engine(work)
    if as_json:
        print_json({"data": rows})
        return
    columns = ("id", "name", "ends in", "scopes", "limit", "created", "expires", "last used", "revoked")
    shown = [
        (
            row["id"], row["name"], row["hint"], ", ".join(row["scopes"]), row["rate_limit"],
            *(_day(row[at]) for at in ("created_at", "expires_at", "last_used_at", "revoked_at")),
        )
        for row in rows
    ]  # fmt: skip
    show("API keys", columns, shown)


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else ""


@app.command("rotate")
def rotate(
    key_id: Annotated[str, typer.Argument(metavar="ID")],
    grace_hours: Annotated[float, typer.Option(min=0, max=720, help="How long the old key works.")] = 24.0,
    as_json: Json = False,
) -> None:
    """Make another API key like this one, which ends after a grace."""

    async def work(engine: AsyncEngine) -> tuple[str, str]:
        async with engine.begin() as connection:
            return await rotate_key(connection, key_id, grace=timedelta(hours=grace_hours))

    new_id, secret = with_engine(work)
    if as_json:
        print_json({"id": new_id, "api_key": secret, "replaces": key_id})
        return
    out.print(secret, highlight=False, soft_wrap=True)
    err.print(f"[dim]{new_id}. {key_id} works for {grace_hours:g} more hours.[/dim]")


@app.command("revoke")
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID")]) -> None:
    """Revoke an API key at once."""

    async def work(engine: AsyncEngine) -> bool:
        async with engine.begin() as connection:
            return await revoke_key(connection, key_id)

    if not with_engine(work):
        raise NotFoundError(f"There is no live API key {key_id}.")
    out.print(f"{key_id} is revoked.")

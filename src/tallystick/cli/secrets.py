"""``tallystick secrets``: what is kept encrypted in the database."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, Final, TypeVar

import typer
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from tallystick.cli.database import with_engine
from tallystick.cli.output import Json, out, print_json, show
from tallystick.errors import ConfigurationError, InvalidRequestError
from tallystick.pipeline.notices.endpoint_secrets import seal_anew
from tallystick.settings import load_settings
from tallystick.stripe_gateway.keyring import is_live
from tallystick.vault import (
    SecretName,
    Vault,
    add_secret,
    live_versions,
    new_master_key,
    open_vault,
    read_secrets,
    remove_secret,
    rotate_master_key,
)

app = typer.Typer(
    help="Stripe's keys and webhook secrets in the database, encrypted under TALLYSTICK_MASTER_KEY.",
    no_args_is_help=True,
)
T = TypeVar("T")
_SHAPES: Final = {
    SecretName.STRIPE_SECRET_KEY: ("sk_test_", "sk_live_", "rk_test_", "rk_live_"),
    SecretName.STRIPE_WEBHOOK_SECRET: ("whsec_",),
}
Name = Annotated[SecretName, typer.Argument(help="Which secret.")]


@app.command("new-master-key")
def new_master_key_() -> None:
    """Print a fresh master key, for TALLYSTICK_MASTER_KEY."""
    out.print(new_master_key(), highlight=False, soft_wrap=True)


@app.command("set")
def set_(
    name: Name,
    replace: Annotated[bool, typer.Option("--replace", help="Remove the older versions at once.")] = False,
) -> None:
    """Add a version, which is the newest from now on. The value is asked for, or read from stdin."""
    value = _asked(name)

    async def work(connection: AsyncConnection) -> int:
        stored = await read_secrets(connection, _vault())
        _check(name, value, stored.get(name, ()))
        older = [each.version for each in await live_versions(connection) if each.name == name]
        version = await add_secret(connection, _vault(), name, value)
        if replace and older:
            await remove_secret(connection, name, older)
        return version

    version = _in_transaction(work)
    out.print(f"{name} version {version} is stored; running processes take it up within seconds.")


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List what is stored, without the values; the newest version of each is used first."""
    found = _in_transaction(live_versions)
    if as_json:
        print_json(
            {
                "data": [
                    {
                        "name": each.name,
                        "version": each.version,
                        "master_key": each.key_id,
                        "created_at": each.created_at,
                    }
                    for each in found
                ]
            }
        )
        return
    rows = [(each.name, each.version, each.key_id, f"{each.created_at:%Y-%m-%d %H:%M}") for each in found]
    show("Secrets", ("name", "version", "master key", "stored (UTC)"), rows, right=("version",))


@app.command("remove")
def remove(name: Name, version: Annotated[int, typer.Argument(help="Its number.")]) -> None:
    """Erase a version for good."""

    async def work(connection: AsyncConnection) -> list[int]:
        return await remove_secret(connection, name, [version])

    _in_transaction(work)
    out.print(f"{name} version {version} is erased.")


@app.command("rotate-master")
def rotate_master() -> None:
    """Encrypt everything under the first key of TALLYSTICK_MASTER_KEY; the others are not needed then."""
    vault = _vault()

    async def work(connection: AsyncConnection) -> int:
        return await rotate_master_key(connection, vault) + await seal_anew(connection, vault)

    count = _in_transaction(work)
    out.print(f"Encrypted anew under {vault.key_id}: {count}.", highlight=False)


def _asked(name: SecretName) -> str:
    """The value, from a hidden prompt or all of stdin; never from an argument, which others can read."""
    if sys.stdin.isatty():
        value: str = typer.prompt(name.value, hide_input=True, err=True)
    else:
        value = sys.stdin.read()
    return value.strip()


def _check(name: SecretName, value: str, stored: tuple[str, ...]) -> None:
    """Raises InvalidRequestError for what cannot be this secret."""
    shapes = _SHAPES[name]
    if not value.startswith(shapes) or not value.isprintable() or "," in value or " " in value:
        raise InvalidRequestError(f"That is no {name}: it begins with {' or '.join(shapes)}.")
    if value in stored:
        raise InvalidRequestError("This very value is stored already.")
    if name is SecretName.STRIPE_SECRET_KEY and any(is_live(key) is not is_live(value) for key in stored):
        raise InvalidRequestError("The key that is stored is of the other mode (live or test).")


def _vault() -> Vault:
    vault = open_vault(load_settings(require=()))
    if vault is None:
        hint = "'tallystick secrets new-master-key' makes one"
        raise ConfigurationError(f"Not set: TALLYSTICK_MASTER_KEY ({hint}).")
    return vault


def _in_transaction(work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    async def run(engine: AsyncEngine) -> T:
        async with engine.begin() as connection:
            return await work(connection)

    return with_engine(run)

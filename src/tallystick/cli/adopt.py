"""``tallystick adopt``: open the books on a Stripe account that is in use already."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn

from tallystick.cli.event_views import clock
from tallystick.cli.operator import By, operator
from tallystick.cli.output import Json, amount, err, out, print_json, show
from tallystick.cli.times import parse_moment
from tallystick.credentials import CredentialSource
from tallystick.db.session import database_is_away, open_engine
from tallystick.errors import DatabaseUnavailableError
from tallystick.ledger import chart
from tallystick.ledger.opening import OpeningBalance
from tallystick.pipeline.pulls import adoption, gap_audit
from tallystick.settings import Settings, load_settings
from tallystick.stripe_gateway.keyring import Credentials, Keyring
from tallystick.stripe_gateway.operator import OperatorGateway


def adopt(
    since: Annotated[
        datetime,
        typer.Option("--from", parser=parse_moment, metavar="TIME", help="The cut-over, e.g. 2026-11-01."),
    ],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the opening position only.")] = False,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Begin the books on an account in use: post what Stripe held at a cut-over against equity:opening.

    Once and for good, best before the first worker is started; what was posted already and is in the opening
    is taken back. A day is its beginning in UTC. Choose one at most 30 days back: Stripe keeps events no
    longer.
    """
    cut_over = since.replace(microsecond=0)
    settings = load_settings(require=("database_url", "stripe_secret_key"))
    with Progress(
        SpinnerColumn(), TextColumn("read {task.completed:,} balance transactions"), console=err
    ) as bar:
        task = bar.add_task("reading", total=None)
        derived = asyncio.run(
            _work(
                settings,
                cut_over,
                None if dry_run else operator(by),
                watch=lambda rows: bar.update(task, completed=rows),
            )
        )
    balances = derived.opening.balances
    if as_json:
        print_json(
            {
                "object": "opening",
                "cut_over": cut_over,
                "posted": not dry_run,
                "balances": [asdict(each) for each in balances],
            }
        )
        return
    _print(cut_over, balances)
    if cut_over < datetime.now(UTC) - gap_audit.STRIPE_KEEPS_EVENTS:
        err.print(
            "[yellow]Stripe keeps events for 30 days: what happened between the cut-over and then is posted"
            " from balance transactions alone, and what it was for stays unknown.[/yellow]",
            soft_wrap=True,
        )
    if dry_run:
        err.print("Nothing was posted. The same without --dry-run opens the books.")
    else:
        err.print("The books are open. Start 'tallystick worker': it posts what Stripe booked since then.")


async def _work(
    settings: Settings, cut_over: datetime, actor: str | None, *, watch: adoption.Watch
) -> adoption.Derived:
    """Derive the opening and, for an ``actor``, post it."""
    engine = open_engine(settings)
    keyring = Keyring(Credentials.of(settings))
    stripe = OperatorGateway(settings, keyring)
    try:
        await CredentialSource(settings, engine, keyring).refresh()
        await adoption.check(engine, cut_over)
        derived = await adoption.derive(stripe, cut_over, watch=watch)
        if actor is not None:
            await adoption.adopt(engine, derived, actor)
    except Exception as error:
        if database_is_away(error):
            raise DatabaseUnavailableError(str(getattr(error, "orig", error))) from error
        raise
    else:
        return derived
    finally:
        await stripe.close()
        await engine.dispose()


def _print(cut_over: datetime, balances: Sequence[OpeningBalance]) -> None:
    rows = [
        row
        for each in balances
        for row in (
            (each.account, each.currency.upper(), *_sides(each.amount, each.currency)),
            (chart.OPENING, each.currency.upper(), *_sides(-each.amount, each.currency)),
        )
    ]
    title = f"Opening position at {clock(cut_over)} UTC"
    show(title, ("account", "currency", "debit", "credit"), rows, right=("debit", "credit"))
    if not rows:
        out.print("The account held nothing then.")


def _sides(net: int, currency: str) -> tuple[str, str]:
    return (amount(net, currency), "") if net >= 0 else ("", amount(-net, currency))

"""Finishes what a request began at Stripe and nobody heard the end of, whether its client comes back or not.

A request that was accepted and that Stripe never refused is carried out: its call is made again, the very
same under the same idempotency key, as the client's own retry would. A payment that was changed meanwhile
(another command, another payment method) is only looked at: the call may not be wanted any more. When Stripe
has forgotten the key, what became of the call is looked up; what was never made is ended, its reservation
let go of. Any number of completers can work beside each other and beside the clients' retries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from tallystick.db.session import database_is_away
from tallystick.errors import TallystickError
from tallystick.idempotency import Claim
from tallystick.payments import (
    calls,
    commands,
    creating,
    customer_commands,
    refund_updates,
    refunding,
    setups,
)
from tallystick.payments.calls import SETTLED_AT_STRIPE, STRIPE_KEEPS_KEYS, Action, OpenCall
from tallystick.pipeline.backoff import backoff_s
from tallystick.settings import Settings
from tallystick.stripe_gateway.client import StripeGateway

log = structlog.get_logger(__name__)

_BATCH: Final = 20
_LONGEST_PAUSE_S: Final = 900.0
_FIRST_PAUSE_S: Final = 5.0
_SETTLE: Final[dict[Action, Callable[..., Awaitable[object]]]] = {
    Action.CREATE: creating.settle,
    Action.REFUND: refunding.settle,
    Action.UPDATE_REFUND: refund_updates.settle,
    Action.CREATE_CUSTOMER: customer_commands.settle,
    Action.UPDATE_CUSTOMER: customer_commands.settle,
    Action.DELETE_CUSTOMER: customer_commands.settle_deletion,
    Action.ATTACH: customer_commands.settle_method,
    Action.DETACH: customer_commands.settle_method,
    Action.CREATE_SETUP: setups.settle,
    Action.CONFIRM_SETUP: setups.settle,
    Action.CANCEL_SETUP: setups.settle,
}
_LOOK_UP: Final[dict[Action, Callable[..., Awaitable[object]]]] = {
    Action.CREATE: creating.look_up,
    Action.REFUND: refunding.look_up,
    Action.UPDATE_REFUND: refund_updates.look_up,
    Action.CREATE_CUSTOMER: customer_commands.look_up,
    Action.UPDATE_CUSTOMER: customer_commands.look_up,
    Action.DELETE_CUSTOMER: customer_commands.look_up,
    Action.ATTACH: customer_commands.look_up_method,
    Action.DETACH: customer_commands.look_up_method,
    Action.CREATE_SETUP: setups.look_up,
    Action.CONFIRM_SETUP: setups.look_up,
    Action.CANCEL_SETUP: setups.look_up,
}
"""How each kind of call is carried out and looked up; what is not named changes a payment."""


class Completer:
    """One worker's completer."""

    def __init__(self, engine: AsyncEngine, stripe: StripeGateway, settings: Settings) -> None:
        self._engine = engine
        self._stripe = stripe
        self._age = timedelta(seconds=settings.completion_age_s)
        tries = settings.stripe_max_retries + 1
        # nobody else takes a call up while this one may still wait for Stripe
        self._lease = timedelta(seconds=60 + 2 * tries * settings.stripe_timeout_s)

    async def complete_due(self) -> int:
        """Take up a batch of calls that are due; returns how many. Raises when the database is away."""
        async with self._engine.begin() as connection:
            due = await calls.take_due(connection, age=self._age, lease=self._lease, limit=_BATCH)
        ends = await asyncio.gather(*(self._complete(each) for each in due), return_exceptions=True)
        for end in ends:
            if end is not None:
                raise end
        return len(due)

    async def _complete(self, open_call: OpenCall) -> None:
        call = open_call.call
        about = {"action": call.action.value, "payment": call.payment_id, "refund": call.refund_id}
        try:
            await self._resolve(open_call)
        except TallystickError as error:
            if error.status < 500:  # Stripe said no, and that is stored
                log.info("call_completed", **about, attempts=open_call.attempts, outcome=error.code)
                return
            log.warning("call_not_completed", **about, attempts=open_call.attempts, error=error.detail)
            await self._postpone(open_call)
        except Exception as error:
            if database_is_away(error):
                raise
            log.exception("call_not_completed", **about, attempts=open_call.attempts)
            await self._postpone(open_call)
        else:
            log.info("call_completed", **about, attempts=open_call.attempts, outcome="stored")

    async def _resolve(self, open_call: OpenCall) -> None:
        """Raises TallystickError: below 500 when the outcome is a no that was stored."""
        call, age = open_call.call, open_call.age
        engine, stripe = self._engine, self._stripe
        changes = call.action not in (Action.CREATE, Action.REFUND)
        if age < STRIPE_KEEPS_KEYS and not (changes and open_call.moved):
            await _SETTLE.get(call.action, commands.settle)(engine, stripe, call, Claim(), fresh=False)
        elif changes or age >= SETTLED_AT_STRIPE:
            await _LOOK_UP.get(call.action, commands.look_up)(engine, stripe, call, Claim())
        else:
            await self._wait(open_call, SETTLED_AT_STRIPE - age)

    async def _postpone(self, open_call: OpenCall) -> None:
        pause_s = backoff_s(open_call.attempts, base_s=_FIRST_PAUSE_S, cap_s=_LONGEST_PAUSE_S)
        await self._wait(open_call, timedelta(seconds=pause_s))

    async def _wait(self, open_call: OpenCall, pause: timedelta) -> None:
        async with self._engine.begin() as connection:
            await calls.postpone(connection, open_call.call.key, pause)

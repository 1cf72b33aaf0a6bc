"""Stripe: our keys, what they may do, the account behind them, and the clock."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from tallystick.doctor.findings import Finding, failed, ok, skipped, warning
from tallystick.errors import StripeAccessError
from tallystick.settings import Settings
from tallystick.stripe_gateway.answers import MissingPermissionError, UnavailableError
from tallystick.stripe_gateway.keyring import Credentials, Keyring, hint, is_live
from tallystick.stripe_gateway.operator import OperatorGateway
from tallystick.stripe_gateway.permissions import NEEDED

_SHAPES: Final = ("sk_test_", "sk_live_", "rk_test_", "rk_live_")
_WEBHOOK_SHAPE: Final = "whsec_"
_NOTED_SKEW_S: Final = 5


@asynccontextmanager
async def gateway_with(settings: Settings, key: str) -> AsyncIterator[OperatorGateway]:
    """A gateway that uses this key alone."""
    gateway = OperatorGateway(settings, Keyring(Credentials((key,))))
    try:
        yield gateway
    finally:
        await gateway.close()


def examine_shapes(credentials: Credentials) -> list[Finding]:
    """Whether keys and secrets look like what they should be, and belong to one mode."""
    found = []
    if not credentials.api_keys:
        found.append(
            failed("stripe key", "there is none", "set STRIPE_SECRET_KEY or use 'tallystick secrets'")
        )
    for key in credentials.api_keys:
        if not key.startswith(_SHAPES):
            found.append(
                failed(
                    "stripe key",
                    f"{hint(key)} is no secret or restricted key",
                    "use one that begins sk_ or rk_",
                )
            )
        elif key.startswith("sk_"):
            remedy = "make a restricted key with the permissions in docs/operations.md"
            found.append(warning("stripe key", f"{hint(key)} may do everything", remedy))
        else:
            found.append(ok("stripe key", f"{hint(key)}, {'live' if is_live(key) else 'test'} mode"))
    if len({is_live(key) for key in credentials.api_keys}) > 1:
        found.append(failed("stripe key", "a live and a test key beside each other", "use keys of one mode"))
    secrets = credentials.webhook_secrets
    if not secrets:
        remedy = "set STRIPE_WEBHOOK_SECRET or use 'tallystick secrets'"
        found.append(failed("webhook secret", "there is none", remedy))
    elif wrong := [secret for secret in secrets if not secret.startswith(_WEBHOOK_SHAPE)]:
        found.append(
            failed("webhook secret", f"{len(wrong)} do not begin with whsec_", "copy it from Stripe anew")
        )
    else:
        found.append(ok("webhook secret", f"{len(secrets)} in use"))
    return found


async def examine_key(gateway: OperatorGateway, key: str) -> list[Finding]:
    """Whether Stripe accepts the key, and each permission that it needs; and the clocks.

    Raises UnavailableError.
    """
    lacking, skews_s = [], []
    for permission in NEEDED:
        began = time.time()
        try:
            at = await gateway.try_permission(permission)
        except MissingPermissionError as error:
            said = f" (Stripe calls it {error.permission})" if error.permission else ""
            lacking.append(
                failed(
                    "permissions",
                    f"{hint(key)} lacks {permission.resource}: {permission.level}{said}",
                    f"in the Dashboard: {permission.dashboard}; it is for {permission.needed_for}",
                )
            )
        except StripeAccessError:
            remedy = "make a new key in Stripe's Dashboard"
            return [failed("stripe key", f"Stripe does not accept {hint(key)}", remedy)]
        else:
            if at is not None:  # whole seconds, of some moment between our asking and its answer
                skews_s.append(max(began - at - 1, at - time.time(), 0.0))
    done = [ok("permissions", f"{hint(key)} may do all {len(NEEDED)} things that are needed")]
    return [*(lacking or done), *([_clock(min(skews_s))] if skews_s else [])]


def _clock(skew_s: float) -> Finding:
    if skew_s > _NOTED_SKEW_S:
        remedy = "synchronise this machine's clock (NTP); webhooks are refused past 5 minutes"
        return failed("clock", f"{skew_s:.0f} s away from Stripe's", remedy)
    return ok("clock", "agrees with Stripe's")


async def examine_account(gateway: OperatorGateway) -> Finding:
    """Country, currency, and whether charges are possible. Raises UnavailableError."""
    try:
        account = (await gateway.account()).object
    except StripeAccessError as error:
        return skipped("account", f"not shown to this key: {error.detail}")
    shown = f"{account['id']}, {account.get('country')}, {account.get('default_currency')}"
    remedy = "complete the account at Stripe"
    if not account.get("charges_enabled"):
        return failed("account", f"{shown}: charges are not enabled", remedy)
    if not account.get("payouts_enabled"):
        return warning("account", f"{shown}: payouts are not enabled", remedy)
    return ok("account", shown)


def unreachable(error: UnavailableError) -> Finding:
    """Stripe does not answer."""
    return failed("stripe", error.detail, "check STRIPE_API_BASE, the network and status.stripe.com")

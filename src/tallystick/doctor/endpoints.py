"""The webhook endpoint at Stripe: there, enabled, with our events; made or mended on demand."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy.exc import SQLAlchemyError

from tallystick.db.session import open_engine
from tallystick.doctor.findings import Finding, Status, failed, ok, skipped
from tallystick.errors import StripeAccessError
from tallystick.events.catalog import EVENTS
from tallystick.settings import Settings
from tallystick.stripe_gateway.client import API_VERSION
from tallystick.stripe_gateway.operator import OperatorGateway
from tallystick.vault import SecretName, add_secret, open_vault

_CHECK: Final = "webhook endpoint"
_OUR_PATH: Final = "/webhooks/stripe"
_FIX: Final = f"run 'tallystick doctor --fix --webhook-url https://…{_OUR_PATH}'"

Json = dict[str, Any]


async def examine_endpoints(
    gateway: OperatorGateway, settings: Settings, *, url: str | None, fix: bool
) -> list[Finding]:
    """Every endpoint of ours: that at ``url``, or those whose path is ours. Raises UnavailableError.

    With ``fix``, what is wrong is mended, and the one at ``url`` is made when it is missing.
    """
    try:
        ours = [each for each in await gateway.list_webhook_endpoints() if _is_ours(each, url)]
        if not ours:
            if fix and url:
                return [await _create(gateway, settings, url)]
            where = url or f"any address ending in {_OUR_PATH}"
            return [failed(_CHECK, f"there is none at {where}", _FIX)]
        return [await _examine(gateway, each, fix=fix) for each in ours]
    except StripeAccessError as error:
        return [skipped(_CHECK, f"not shown to this key: {error.detail}")]


def _is_ours(endpoint: Json, url: str | None) -> bool:
    if url is not None:
        return bool(endpoint["url"] == url)
    return urlsplit(endpoint["url"]).path.rstrip("/").endswith(_OUR_PATH)


async def _examine(gateway: OperatorGateway, endpoint: Json, *, fix: bool) -> Finding:
    subscribed = set(endpoint["enabled_events"])
    missing = [] if "*" in subscribed else sorted(EVENTS.keys() - subscribed)
    wrong = [f"lacks {', '.join(missing)}"] if missing else []
    if endpoint["status"] != "enabled":
        wrong.insert(0, f"is {endpoint['status']}")
    shown = f"{endpoint['url']} ({endpoint['api_version'] or 'the account’s API version'})"
    if not wrong:
        if urlsplit(endpoint["url"]).scheme != "https" and endpoint["livemode"]:
            return failed(_CHECK, f"{shown} is not https", "give it an https address in Stripe's Dashboard")
        return ok(_CHECK, f"{shown}, {'all' if '*' in subscribed else len(subscribed)} events")
    if not fix:
        return failed(_CHECK, f"{shown} {'; '.join(wrong)}", "run 'tallystick doctor --fix'")
    events = ["*"] if "*" in subscribed else sorted(subscribed | EVENTS.keys())
    await gateway.mend_webhook_endpoint(endpoint["id"], events)
    return ok(_CHECK, f"{shown} mended: it {'; '.join(wrong)}")


async def _create(gateway: OperatorGateway, settings: Settings, url: str) -> Finding:
    """Make the endpoint. Its secret is stored encrypted where that is how secrets are kept, else shown."""
    made = await gateway.create_webhook_endpoint(url, sorted(EVENTS), API_VERSION)
    secret, done = made["secret"], f"{url} is made, {len(EVENTS)} events"
    vault = open_vault(settings)
    if vault is None or settings.stripe_webhook_secrets:
        return ok(_CHECK, f"{done}; give its secret to every process: STRIPE_WEBHOOK_SECRET", secret=secret)
    engine = open_engine(settings)
    try:
        async with engine.begin() as connection:
            version = await add_secret(connection, vault, SecretName.STRIPE_WEBHOOK_SECRET, secret)
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        detail = f"{done}; its secret could not be stored ({type(error).__name__})"
        return Finding(
            _CHECK, Status.WARNING, detail, "'tallystick secrets set' it: it is shown once", secret
        )
    finally:
        await engine.dispose()
    return ok(_CHECK, f"{done}; its secret is stored as {SecretName.STRIPE_WEBHOOK_SECRET} version {version}")

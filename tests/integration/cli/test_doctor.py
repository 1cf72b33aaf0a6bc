"""``tallystick doctor`` through the real command line, against a sandbox, PostgreSQL and Valkey."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, get_type_hints

import httpx
import pytest
import stripe
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import Databases
from tests.integration.api.conftest import open_face
from tests.integration.cli.test_commands import Ended, tallystick

from tallystick.db.session import open_engine
from tallystick.embedded import EmbeddedValkey
from tallystick.events.catalog import EVENTS
from tallystick.ledger.opening import Opening
from tallystick.pipeline.pulls.adoption import Derived, adopt
from tallystick.sandbox.server import SandboxConfig, running_sandbox
from tallystick.settings import load_settings
from tallystick.stripe_gateway import client
from tallystick.stripe_gateway.answers import RefusedError
from tallystick.stripe_gateway.client import StripeGateway
from tallystick.stripe_gateway.permissions import FOR_DOCTOR, NEEDED
from tallystick.vault import new_master_key

KEY = "rk_test_tallystick0001"
URL = "https://pay.example.com/webhooks/stripe"
LEVELS = ("none", "read", "write")
PERMISSIONS: dict[str, str] = {
    each.resource: max(
        (other.level for other in (*NEEDED, *FOR_DOCTOR) if other.resource == each.resource), key=LEVELS.index
    )
    for each in (*NEEDED, *FOR_DOCTOR)
} | {"account": "read", "*": "none"}


@dataclass
class Patient:
    """An installation to examine."""

    env: dict[str, str]
    stripe: httpx.AsyncClient

    async def run(self, *arguments: str, **env: str) -> Ended:
        return await asyncio.to_thread(tallystick, "doctor", *arguments, **{**self.env, **env})

    async def findings(self, *arguments: str, **env: str) -> dict[str, list[dict[str, Any]]]:
        """The findings by check; what the exit code says is checked on the way."""
        ended = await self.run("--json", *arguments, **env)
        told = json.loads(ended.stdout)
        wrong = [each for each in told["data"] if each["status"] == "failed"]
        assert (ended.returncode, told["ok"]) == ((1, False) if wrong else (0, True)), told
        assert all(each["remedy"] for each in told["data"] if each["status"] in ("failed", "warning"))
        found: dict[str, list[dict[str, Any]]] = {}
        for each in told["data"]:
            found.setdefault(each["check"], []).append(each)
        return found

    async def restrict(self, **changes: str) -> None:
        body = {"key": KEY, "permissions": {**PERMISSIONS, **changes}}
        (await self.stripe.post("/_control/restricted_keys", json=body)).raise_for_status()

    async def endpoint(self, **fields: Any) -> dict[str, Any]:
        data = {"url": URL, "enabled_events[]": sorted(EVENTS), **fields}
        made = (await self.stripe.post("/v1/webhook_endpoints", data=data)).raise_for_status()
        found: dict[str, Any] = made.json()
        return found

    async def endpoints(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.stripe.get("/v1/webhook_endpoints")).json()["data"]
        return found


@pytest.fixture(scope="module")
async def shared_url(databases: Databases) -> str:
    """A database that is only looked at."""
    return await databases.create()


@pytest.fixture
async def patient(shared_url: str, valkey: EmbeddedValkey) -> AsyncIterator[Patient]:
    """One in good health, its endpoint aside."""
    async with running_sandbox(SandboxConfig(seed=7)) as sandbox:
        env = {
            "DATABASE_URL": shared_url,
            "REDIS_URL": valkey.url(),
            "STRIPE_SECRET_KEY": KEY,
            "STRIPE_WEBHOOK_SECRET": "whsec_1",
            "STRIPE_API_BASE": sandbox.url,
            "TALLYSTICK_STRIPE_MAX_RETRIES": "0",
        }
        async with httpx.AsyncClient(base_url=sandbox.url, auth=("sk_test_admin", "")) as stripe:
            made = Patient(env, stripe)
            await made.restrict()
            yield made


async def test_all_is_well_with_exactly_the_documented_permissions(patient: Patient) -> None:
    await patient.endpoint()
    found = await patient.findings()
    assert {each["status"] for of_check in found.values() for each in of_check} == {"ok"}, found
    assert set(found) == {
        "settings", "database", "database clock", "migrations", "privileges", "redis", "redis eviction",
        "stripe key", "webhook secret", "permissions", "clock", "account", "books",
        "webhook endpoint",
    }  # fmt: skip
    assert "usd" in found["account"][0]["detail"]
    shown = await patient.run()
    assert (shown.returncode, len(shown.stdout.splitlines())) == (0, len(found))
    assert KEY not in shown.stdout


@pytest.mark.parametrize("permission", NEEDED, ids=lambda each: each.resource)
async def test_each_missing_permission_is_named(patient: Patient, permission: Any) -> None:
    less = "read" if permission.level == "write" else "none"
    await patient.restrict(**{permission.resource: less})
    (missing,) = (await patient.findings())["permissions"]
    assert missing["status"] == "failed"
    assert f"{permission.resource}: {permission.level}" in missing["detail"]
    assert "rak_" in missing["detail"]
    assert permission.dashboard in missing["remedy"]


async def test_the_table_of_permissions_is_what_the_gateway_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every method is called; a new one that asks for something else fails here until it is in the table."""
    gateway = StripeGateway(load_settings({}, require=(), stripe_secret_key=KEY))
    asked: set[tuple[str, str]] = set()

    async def note(method: str, path: str, **_: Any) -> Any:
        parts = path.split("/")[2:]
        resource = "/".join(parts[: 2 if parts[0] == "checkout" else 1])
        asked.add((resource, "read" if method == "get" else "write"))
        raise stripe.InvalidRequestError("noted", param=None)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(gateway, "_request", note)
    methods = [
        method
        for name, method in inspect.getmembers(gateway, inspect.iscoroutinefunction)
        if not name.startswith("_") and name != "close"
    ]
    assert len(methods) > 10
    for method in methods:
        hints = get_type_hints(method, vars(client))
        arguments = {
            name: 1 if hints[name] is int else {} if "Mapping" in str(hints[name]) else "/v1/charges/x"
            for name in inspect.signature(method).parameters
        }
        with pytest.raises(RefusedError):
            await method(**arguments)
    writes = {resource for resource, level in asked if level == "write"}
    reads = {resource for resource, _ in asked} - writes
    assert {(each.resource, each.level) for each in NEEDED} == {
        *((resource, "write") for resource in writes), *((resource, "read") for resource in reads),
    }  # fmt: skip


async def test_with_these_permissions_payments_go_their_whole_way(
    database_url: str, valkey: EmbeddedValkey
) -> None:
    async with open_face(database_url, valkey, stripe_secret_key=KEY) as face:
        needed = {each.resource: each.level for each in NEEDED}
        face.sandbox.sandbox.restricted_keys.define(KEY, {**needed, "*": "none"})
        paid = await face.pay(capture_method="manual")
        assert (await face.post(f"/payments/{paid['id']}/capture")).json()["status"] == "succeeded"
        assert (await face.post(f"/payments/{paid['id']}/refund")).status_code == 201
        begun = await face.pay(confirm=False)
        assert (await face.post(f"/payments/{begun['id']}/cancel")).json()["status"] == "canceled"
        assert (await face.app.stripe.list_balance_transactions(0, None, None))["data"]
        assert (await face.app.stripe.list_events(0, None, None))["data"]


async def test_an_account_with_a_history_wants_an_opening(patient: Patient, databases: Databases) -> None:
    paid = {"amount": 2000, "currency": "usd", "source": "tok_visa"}
    (await patient.stripe.post("/v1/charges", data=paid)).raise_for_status()
    (await patient.stripe.post("/_control/settle")).raise_for_status()
    url = await databases.create()
    [books] = (await patient.findings(DATABASE_URL=url))["books"]
    assert (books["status"], "tallystick adopt --from" in books["remedy"]) == ("warning", True)
    engine = open_engine(load_settings({}, require=(), database_url=url))
    try:
        opening = Opening(datetime.now(UTC).replace(microsecond=0), ())
        await adopt(engine, Derived(opening, {}), "Ada")
    finally:
        await engine.dispose()
    [books] = (await patient.findings(DATABASE_URL=url))["books"]
    assert (books["status"], books["detail"][:12]) == ("ok", "opened as of")
    await databases.drop(url)


async def test_a_key_that_stripe_does_not_accept_and_one_that_is_none(patient: Patient) -> None:
    found = await patient.findings(STRIPE_SECRET_KEY="nonsense,pk_test_1234567890")
    assert [each["status"] for each in found["stripe key"]] == ["failed"] * 3
    assert "does not accept" in found["stripe key"][2]["detail"]
    alone = await patient.findings(STRIPE_SECRET_KEY="nonsense")
    assert not alone.keys() & {"permissions", "account", "webhook endpoint"}


async def test_both_keys_of_a_rotation_are_examined(patient: Patient) -> None:
    found = await patient.findings(STRIPE_SECRET_KEY=f"sk_test_new0000000001,{KEY}")
    assert [each["status"] for each in found["stripe key"]] == ["warning", "ok"]
    assert [each["status"] for each in found["permissions"]] == ["ok", "ok"]


async def test_an_endpoint_is_made_on_demand_and_its_secret_is_shown(patient: Patient) -> None:
    (none,) = (await patient.findings())["webhook endpoint"]
    assert (none["status"], "--fix" in none["remedy"]) == ("failed", True)
    (made,) = (await patient.findings("--fix", "--webhook-url", URL))["webhook endpoint"]
    (endpoint,) = await patient.endpoints()
    assert (endpoint["url"], endpoint["enabled_events"]) == (URL, sorted(EVENTS))
    assert made["secret"].startswith("whsec_")
    (again,) = (await patient.findings("--fix", "--webhook-url", URL))["webhook endpoint"]
    assert (again["status"], again["secret"], len(await patient.endpoints())) == ("ok", None, 1)


async def test_the_new_secret_is_stored_where_secrets_are_in_the_database(
    patient: Patient, database_url: str
) -> None:
    env = {"TALLYSTICK_MASTER_KEY": new_master_key(), "STRIPE_WEBHOOK_SECRET": ""}
    env["DATABASE_URL"] = database_url
    ended = await patient.run("--json", "--fix", "--webhook-url", URL, **env)
    assert "whsec_" not in ended.stdout.replace("do not begin with whsec_", "")
    (secret,) = (await patient.findings(**env))["webhook secret"]
    assert secret["status"] == "ok"


async def test_an_endpoint_that_lacks_events_or_is_disabled_is_mended(patient: Patient) -> None:
    endpoint = await patient.endpoint(**{"enabled_events[]": ["charge.succeeded", "customer.created"]})
    await patient.stripe.post(f"/v1/webhook_endpoints/{endpoint['id']}", data={"disabled": "true"})
    (wrong,) = (await patient.findings())["webhook endpoint"]
    assert wrong["status"] == "failed"
    assert "is disabled" in wrong["detail"]
    assert "payment_intent.succeeded" in wrong["detail"]
    (mended,) = (await patient.findings("--fix"))["webhook endpoint"]
    assert mended["status"] == "ok"
    (endpoint,) = await patient.endpoints()
    assert endpoint["status"] == "enabled"
    assert set(endpoint["enabled_events"]) == {*EVENTS, "customer.created"}


async def test_a_key_without_the_right_to_see_endpoints_is_told_so(patient: Patient) -> None:
    await patient.restrict(webhook_endpoints="none")
    (unseen,) = (await patient.findings())["webhook endpoint"]
    assert (unseen["status"], "rak_webhook_endpoint_read" in unseen["detail"]) == ("skipped", True)


async def test_servers_that_are_away_or_not_named(patient: Patient) -> None:
    nowhere = {"DATABASE_URL": "postgresql://x@127.0.0.1:9/x", "REDIS_URL": "redis://127.0.0.1:9/0"}
    found = await patient.findings(**nowhere, STRIPE_API_BASE="http://127.0.0.1:9")
    for check in ("database", "redis", "stripe"):
        assert found[check][0]["status"] == "failed"
    found = await patient.findings(DATABASE_URL="", REDIS_URL="", TALLYSTICK_STRIPE_TIMOUT_S="5")
    assert [each["status"] for each in found["settings"]] == ["failed", "warning"]
    assert "TALLYSTICK_STRIPE_TIMOUT_S" in found["settings"][1]["detail"]
    assert found["database"][0]["status"] == found["redis"][0]["status"] == "skipped"


async def test_a_schema_that_is_behind_and_a_user_without_rights(
    patient: Patient, database_url: str, engine: AsyncEngine
) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
        await connection.execute(text("DROP ROLE IF EXISTS clerk"))
        await connection.execute(text("CREATE ROLE clerk LOGIN"))
        await connection.execute(text("GRANT SELECT ON ALL TABLES IN SCHEMA public TO clerk"))
    url = database_url.replace("tallystick_service@", "clerk@", 1)
    try:
        found = await patient.findings(DATABASE_URL=url)
    finally:
        async with engine.begin() as connection:
            await connection.execute(text("DROP OWNED BY clerk"))
            await connection.execute(text("DROP ROLE clerk"))
    assert "tallystick migrate" in found["migrations"][0]["remedy"]
    assert "payments" in found["privileges"][0]["detail"]


async def test_a_redis_that_may_throw_the_stream_away(patient: Patient, valkey: EmbeddedValkey) -> None:
    from redis.asyncio import Redis  # noqa: PLC0415

    redis = Redis.from_url(valkey.url())
    before: Any = await redis.config_get("maxmemory*")
    try:
        await redis.config_set("maxmemory", "100mb")
        await redis.config_set("maxmemory-policy", "allkeys-lru")
        (found,) = (await patient.findings())["redis eviction"]
    finally:
        await redis.config_set("maxmemory-policy", before["maxmemory-policy"])
        await redis.config_set("maxmemory", before["maxmemory"])
        await redis.aclose()
    assert (found["status"], "allkeys-lru" in found["detail"]) == ("warning", True)

"""The sandbox killed by signal 9 in the middle of a burst: what it answered is there, all events arrive."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import aiohttp
from tests.integration.sandbox.support import Receiver, listening, sandbox_process

ROUNDS, ENOUGH = 3, 12
PAY = {
    "amount": "2000",
    "currency": "usd",
    "payment_method": "pm_card_visa",
    "confirm": "true",
    "automatic_payment_methods[enabled]": "true",
    "automatic_payment_methods[allow_redirects]": "never",
}
AUTHORIZATION = {"Authorization": "Bearer sk_test_sandbox"}


async def burst(url: str, name: str, answered: dict[str, str]) -> None:
    """Pay until the sandbox is gone; ``answered`` holds the ids by idempotency key."""
    async with aiohttp.ClientSession(headers=AUTHORIZATION) as session:

        async def payer(number: int) -> None:
            for count in range(10_000):
                key = f"{name}-{number}-{count}"
                headers = {"Idempotency-Key": key}
                async with session.post(f"{url}/v1/payment_intents", data=PAY, headers=headers) as answer:
                    answered[key] = (await answer.json())["id"]

        payers = [asyncio.create_task(payer(number)) for number in range(8)]
        await asyncio.gather(*payers, return_exceptions=True)


async def everything(session: aiohttp.ClientSession, url: str, kind: str) -> list[str]:
    ids: list[str] = []
    query = ""
    while True:
        async with session.get(f"{url}/v1/{kind}?limit=100{query}") as answer:
            page = await answer.json()
        ids += [item["id"] for item in page["data"]]
        if not page["has_more"]:
            return ids
        query = f"&starting_after={ids[-1]}"


async def test_what_was_answered_outlives_kill_9(tmp_path: Path) -> None:
    dice, answered, receiver = random.Random(4), dict[str, str](), Receiver()
    async with listening(receiver):
        for round_ in range(ROUNDS):
            async with sandbox_process(tmp_path, settlement_delay=0.05) as url:
                if not round_:
                    async with aiohttp.ClientSession(headers=AUTHORIZATION) as session:
                        form = [("url", receiver.url), ("enabled_events[]", "*")]
                        await (await session.post(f"{url}/v1/webhook_endpoints", data=form)).read()
                running = asyncio.create_task(burst(url, str(round_), answered))
                while len(answered) < (round_ + 1) * ENOUGH:  # noqa: ASYNC110 - a slow machine takes its time
                    await asyncio.sleep(0.01)
                await asyncio.sleep(dice.uniform(0.05, 0.3))
            await running
        async with (
            sandbox_process(tmp_path, settlement_delay=0.05) as url,
            aiohttp.ClientSession(headers=AUTHORIZATION) as session,
        ):
            await _nothing_is_lost(session, url, answered, receiver)


async def _nothing_is_lost(
    session: aiohttp.ClientSession, url: str, answered: dict[str, str], receiver: Receiver
) -> None:
    kept = await everything(session, url, "payment_intents")
    assert set(answered.values()) <= set(kept)
    assert len(kept) == len(set(kept))
    for key, ident in list(answered.items())[-20:]:
        async with session.post(
            f"{url}/v1/payment_intents", data=PAY, headers={"Idempotency-Key": key}
        ) as answer:
            assert (await answer.json())["id"] == ident
    assert len(await everything(session, url, "payment_intents")) == len(kept)
    async with asyncio.timeout(20):
        while True:
            async with session.get(f"{url}/_control/state") as answer:
                state = await answer.json()
            if not state["deliveries_pending"] and not _settling(state):
                break
            await asyncio.sleep(0.05)
    heard = {item.event["id"] for item in receiver.received}
    events = await everything(session, url, "events")
    assert set(events) <= heard
    assert state["objects"]["charge"] == len(kept) == state["objects"]["balance_transaction"]
    assert sum(state["balances"]["usd"].values()) == 1912 * len(kept)


def _settling(state: dict[str, dict[str, int]]) -> bool:
    return state["objects"]["charge"] != state["objects"]["balance_transaction"]

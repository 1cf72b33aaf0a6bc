"""Own accounts for revenue: a map decides of each sale once, and nothing moves a sale that stands."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.builders import Json, StripeStory
from tests.integration.cli.test_commands import tallystick
from tests.road import Road, incoming, picture

from tallystick.app import check_start, open_app
from tallystick.doctor.servers import examine_database
from tallystick.embedded import EmbeddedValkey
from tallystick.errors import ConfigurationError, DatabaseUnavailableError
from tallystick.pipeline.account_maps import account_maps, enter
from tallystick.pipeline.rebuild.check import check
from tallystick.settings import load_settings

DONE = {"processed", "ignored", "posted"}
PRO = "[[revenue]]\naccount = 'revenue:plans:pro'\nmetadata = { plan = 'pro' }\n"
OTHER = "[[revenue]]\naccount = 'revenue:elsewhere'\nmetadata = { plan = 'pro' }\n"
SALES = """
SELECT a.name, sum(e.amount) FROM ledger_transactions t JOIN ledger_entries e ON e.transaction_id = t.id
  JOIN ledger_accounts a ON a.id = e.account_id
 WHERE t.kind = 'sale' AND e.direction = -1 GROUP BY 1 ORDER BY 1
"""


def story_of(*plans: str | None) -> tuple[StripeStory, list[Json]]:
    """Payments of 10.00, 20.00, … with their plan in the metadata, paid and settled."""
    story, intents = StripeStory(), []
    for n, plan in enumerate(plans, 1):
        ours = f"pay_{n:026}"
        metadata = {"tallystick_payment": ours} | ({"plan": plan} if plan else {})
        intent = story.intent(1000 * n, ours=ours, metadata=metadata)
        story.settle(story.succeed(intent))
        intents.append(intent)
    return story, intents


async def sales(engine: AsyncEngine) -> dict[str, int]:
    async with engine.connect() as connection:
        return {name: int(amount) for name, amount in await connection.execute(text(SALES))}


async def statuses(engine: AsyncEngine) -> set[str]:
    """Of all events and balance transactions."""
    query = "SELECT status FROM webhook_events UNION SELECT status FROM balance_transactions"
    async with engine.connect() as connection:
        return set((await connection.execute(text(query))).scalars())


async def again(engine: AsyncEngine, road: Road, events: list[Json]) -> None:
    """Every event once more, as a replay does it."""
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE webhook_events SET status = 'pending', finished_at = NULL"))
    await road.process([event["id"] for event in events])


@pytest.mark.parametrize("how", ["batch", "reversed", "apart"])
async def test_sales_go_where_the_map_says(engine: AsyncEngine, how: str) -> None:
    await enter(engine, PRO)
    story, _ = story_of("pro", "basic", None, "pro")
    road = Road(engine, story)
    events = story.events[::-1] if how == "reversed" else story.events
    for batch in [[each] for each in events] if how == "apart" else [events]:
        await road.deliver(batch)
    await road.finish()
    assert await sales(engine) == {"revenue:payments": 5000, "revenue:plans:pro": 5000}
    assert await statuses(engine) <= DONE
    assert (await check(engine)).equal


async def test_settlement_that_comes_first_decides_as_well(engine: AsyncEngine) -> None:
    """A balance transaction tells of its charge, before any event does."""
    await enter(engine, PRO)
    story, _ = story_of("pro", "basic")
    road = Road(engine, story)
    await road.settlement.pull()
    assert await sales(engine) == {"revenue:payments": 2000, "revenue:plans:pro": 1000}
    await enter(engine, OTHER)
    await road.deliver(story.events)
    await road.finish()
    assert await sales(engine) == {"revenue:payments": 2000, "revenue:plans:pro": 1000}
    assert await statuses(engine) <= DONE
    assert (await check(engine)).equal


async def test_another_map_moves_nothing_that_stands(engine: AsyncEngine) -> None:
    """Late events of old sales, replays and a rebuild come to what was decided first."""
    await enter(engine, PRO)
    story, intents = story_of("pro", "basic")
    late, first = story.events[-1:], story.events[:-1]
    road = Road(engine, story)
    await road.deliver(first)
    before = await sales(engine)
    await enter(engine, OTHER)
    await road.deliver(late)
    await again(engine, road, story.events)
    await road.finish()
    assert await sales(engine) == before == {"revenue:payments": 2000, "revenue:plans:pro": 1000}
    assert await statuses(engine) <= DONE
    assert (await check(engine)).equal
    # a new sale takes the new map
    story.charges.clear()
    more = story.intent(
        4000,
        ours="pay_" + "9" * 26,
        metadata=intents[0]["metadata"] | {"tallystick_payment": "pay_" + "9" * 26},
    )
    more["created"] += 4_000_000_000 - 1_790_000_000  # happened after the second map was entered
    told = len(story.events)
    story.succeed(more)
    for event in story.events[told:]:
        event["created"] = 4_000_000_000
        event["data"]["object"]["created"] = 4_000_000_000
    await road.deliver(story.events[told - 1 :])
    assert (await sales(engine))["revenue:elsewhere"] == 4000
    assert (await check(engine)).equal


async def test_metadata_that_is_edited_later_moves_nothing(engine: AsyncEngine) -> None:
    await enter(engine, PRO)
    story, intents = story_of("pro")
    road = Road(engine, story)
    await road.deliver(story.events)
    for charge in story.charges.values():
        story.event(
            "charge.updated",
            charge | {"metadata": {"tallystick_payment": "pay_" + "0" * 25 + "1", "plan": "basic"}},
        )
    story.event(
        "payment_intent.succeeded", intents[0] | {"metadata": {"tallystick_payment": "pay_" + "0" * 25 + "1"}}
    )
    await road.deliver(story.events[-2:])
    await road.finish()
    assert await sales(engine) == {"revenue:plans:pro": 1000}
    assert await statuses(engine) <= DONE
    assert (await check(engine)).equal


async def test_what_was_posted_before_there_was_a_map_stays(engine: AsyncEngine) -> None:
    story, intents = story_of("pro", "pro")
    second = intents[1]["id"]
    cut = next(n for n, event in enumerate(story.events) if event["data"]["object"]["id"] == second)
    road = Road(engine, story)
    await road.deliver(story.events[:cut])
    assert await sales(engine) == {"revenue:payments": 1000}
    await enter(engine, PRO)
    await again(engine, road, story.events[:cut])
    await road.deliver(story.events[cut:])
    await road.finish()
    assert await sales(engine) == {"revenue:payments": 1000, "revenue:plans:pro": 2000}
    assert await statuses(engine) <= DONE
    assert (await check(engine)).equal


async def test_workers_that_decide_at_once_come_to_one_decision(engine: AsyncEngine) -> None:
    """The events of a payment at several workers, with metadata that contradict, while a map is entered."""
    await enter(engine, PRO)
    story = StripeStory()
    for n in range(1, 13):
        ours = f"pay_{n:026}"
        intent = story.intent(1000, ours=ours, metadata={"tallystick_payment": ours, "plan": "pro"})
        charge = story.succeed(intent)
        story.event("charge.updated", charge | {"metadata": {"tallystick_payment": ours}})
    road = Road(engine, story)
    workers = [Road(engine, story) for _ in range(4)]
    await asyncio.gather(*(road.inbox.receive(incoming(event)) for event in story.events))
    ids = [event["id"] for event in story.events]
    await asyncio.gather(
        *(worker.process(ids[n::4]) for n, worker in enumerate(workers)),
        enter(engine, OTHER),
    )
    await road.finish()
    found = await sales(engine)
    assert sum(found.values()) == 12_000
    assert await statuses(engine) <= DONE
    assert (await check(engine)).equal


async def test_no_map_asks_nothing_and_keeps_nothing(engine: AsyncEngine) -> None:
    story, _ = story_of("pro")
    await Road(engine, story).deliver(story.events)
    async with engine.connect() as connection:
        found = await connection.execute(
            text("SELECT count(*) FROM fetched_objects WHERE question LIKE 'revenue:%'")
        )
        assert found.scalar_one() == 0
    assert await sales(engine) == {"revenue:payments": 1000}


async def test_maps_are_entered_once_and_kept(engine: AsyncEngine) -> None:
    entered = [await enter(engine, body) for body in (PRO, PRO, OTHER, PRO)]
    assert [each.version for each in entered] == [1, 1, 2, 3]
    async with engine.connect() as connection:
        maps = await account_maps(connection)
    assert [each.body for each in maps] == [PRO, OTHER, PRO]
    assert maps[0].since < maps[1].since < maps[2].since
    for change in ("UPDATE account_maps SET body = ''", "DELETE FROM account_maps", "TRUNCATE account_maps"):
        with pytest.raises(DBAPIError, match="append-only"):
            async with engine.begin() as connection:
                await connection.execute(text(change))


async def test_the_order_of_events_does_not_matter(engine: AsyncEngine) -> None:
    """The same books from the same facts: replayed in reverse, by one event at a time."""
    await enter(engine, PRO)
    story, _ = story_of("pro", None, "basic", "pro")
    road = Road(engine, story)
    await road.deliver(story.events)
    await road.finish()
    before = await picture(engine)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE webhook_events SET status = 'pending', finished_at = NULL"))
    for event in story.events[::-1]:
        await road.process([event["id"]])
    assert await picture(engine) == before


async def test_a_start_puts_the_map_in_force_or_says_what_is_wrong_with_it(
    database_url: str, valkey: EmbeddedValkey, tmp_path: Path
) -> None:
    """The API and the worker alike; the doctor and the command line tell which one it is."""
    file = tmp_path / "accounts.toml"
    environment = {
        "DATABASE_URL": database_url,
        "REDIS_URL": valkey.url(),
        "STRIPE_SECRET_KEY": "sk_test_abc",
        "STRIPE_WEBHOOK_SECRET": "whsec_abc",
        "TALLYSTICK_ACCOUNTS_FILE": str(file),
    }

    async def start() -> None:
        async with open_app(load_settings(environment)) as app:
            await check_start(app)

    async def of_accounts() -> tuple[str, str]:
        found = await examine_database(load_settings(environment))
        (one,) = [each for each in found if each.check == "accounts"]
        return one.status, one.detail

    file.write_text(PRO)
    assert (await of_accounts())[1] == "the map is not in force yet"
    await start()
    status, said = await of_accounts()
    assert status == "ok"
    assert said.startswith("map 1 with 1 rules, in force since 20")
    file.write_text(OTHER)
    assert "the file here is another" in (await of_accounts())[1]
    await start()
    listed = await asyncio.to_thread(
        tallystick, "ledger", "accounts-map", "list", "--json", DATABASE_URL=database_url
    )
    assert [(each["version"], each["body"]) for each in json.loads(listed.stdout)] == [
        (1, PRO.strip()),
        (2, OTHER.strip()),
    ]
    file.write_text(PRO.replace("revenue:plans", "assets"))
    with pytest.raises(ConfigurationError, match="rule 1, line 1: assets:pro is no account of revenue"):
        await start()
    assert (await of_accounts())[0] == "failed"
    refused = await asyncio.to_thread(tallystick, "ledger", "accounts-map", "check", str(file))
    assert refused.returncode == 1
    assert "assets:pro is no account of revenue" in refused.stderr
    file.write_text(PRO)
    taken = await asyncio.to_thread(tallystick, "ledger", "accounts-map", "check", str(file))
    assert taken.returncode == 0
    assert taken.stdout.splitlines()[0] == "revenue:plans:pro: plan = pro"


async def test_a_start_with_a_map_does_not_go_on_without_the_database() -> None:
    nowhere = {
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "REDIS_URL": "redis://127.0.0.1:1",
        "STRIPE_SECRET_KEY": "sk_test_abc",
        "STRIPE_WEBHOOK_SECRET": "whsec_abc",
        "TALLYSTICK_ACCOUNTS": PRO,
    }
    async with open_app(load_settings(nowhere)) as app:
        with pytest.raises(DatabaseUnavailableError):
            await check_start(app)


REFUNDED = PRO + "refunds = 'revenue:refunds:pro'\n"
REFUNDS = SALES.replace("= 'sale' AND e.direction = -1", "= 'refund_applied' AND e.direction = 1")


async def refunds(engine: AsyncEngine) -> dict[str, int]:
    async with engine.connect() as connection:
        return {name: int(amount) for name, amount in await connection.execute(text(REFUNDS))}


@pytest.mark.parametrize("how", ["batch", "reversed", "apart"])
async def test_refunds_follow_their_sales(engine: AsyncEngine, how: str) -> None:
    """Made through us and elsewhere, in whatever order they are heard of."""
    await enter(engine, REFUNDED)
    story, intents = story_of("pro", "basic", "pro")
    charges = [story.charges[intent["latest_charge"]] for intent in intents]
    for n, charge in enumerate(charges):
        story.refund(charge, 100 + n, ours=True)
        story.refund(charge, 10 + n)
    road = Road(engine, story)
    events = story.events[::-1] if how == "reversed" else story.events
    for batch in [[each] for each in events] if how == "apart" else [events]:
        await road.deliver(batch)
    await road.finish()
    assert await refunds(engine) == {"revenue:refunds": 101 + 11, "revenue:refunds:pro": 100 + 10 + 102 + 12}
    assert await sales(engine) == {"revenue:payments": 2000, "revenue:plans:pro": 4000}
    seen = await picture(engine)
    await again(engine, road, events)
    assert (await picture(engine))["ledger"] == seen["ledger"]
    assert await statuses(engine) <= DONE
    assert (await check(engine)).equal


async def test_refunds_of_what_was_sold_before_stay_where_they_were(engine: AsyncEngine) -> None:
    """Under no map, and under one that said nothing of refunds; what was refunded before as well."""
    story, intents = story_of("pro", "pro", "pro")
    charges = [story.charges[intent["latest_charge"]] for intent in intents]
    road = Road(engine, story)

    def about(intent: Json) -> list[Json]:
        told = (intent["id"], intent["latest_charge"])
        return [each for each in story.events if each["data"]["object"]["id"] in told]

    await road.deliver(about(intents[0]))
    story.refund(charges[0], 100, ours=True)
    await road.deliver(story.events[-2:])
    await enter(engine, PRO)
    await road.deliver(about(intents[1]))
    await enter(engine, REFUNDED)
    await road.deliver(about(intents[2]))
    for n, charge in enumerate(charges):
        story.refund(charge, 10 + n, ours=True)
    await road.deliver(story.events)
    await road.finish()
    assert await refunds(engine) == {"revenue:refunds": 100 + 10 + 11 + 12}
    await again(engine, road, story.events)
    assert await statuses(engine) <= DONE
    assert (await check(engine)).equal

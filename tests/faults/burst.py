"""A burst of events: payments in many courses, delivered out of order and partly twice."""

from __future__ import annotations

import random

from tests.builders import Json, StripeStory


def tell_burst(events: int, seed: int) -> StripeStory:
    """A story of at least so many events: sales and adopted payments, captures, declines, refunds."""
    chance = random.Random(seed)
    story = StripeStory()
    number = 0
    while len(story.events) < events:
        number += 1
        ours = f"pay_{number:026d}" if chance.random() < 0.7 else None
        intent = story.intent(chance.randint(500, 90_000), chance.choice(["usd", "eur", "jpy"]), ours=ours)
        if chance.random() < 0.2:
            story.decline(intent)
        course = chance.random()
        if course < 0.1:
            story.cancel(intent)
            continue
        if course < 0.6:
            charge = story.succeed(intent)
        else:
            charge = story.authorise(intent)
            story.capture(intent, charge, intent["amount"] // chance.randint(1, 3))
        if chance.random() < 0.5:
            _refund(story, charge, chance, ours=ours is not None)
    return story


def _refund(story: StripeStory, charge: Json, chance: random.Random, *, ours: bool) -> None:
    """Through our API, or from the dashboard, whose charge the worker must ask Stripe for."""
    through_us = ours and chance.random() < 0.6
    fails = chance.random() < 0.2
    refund = story.refund(
        charge, charge["amount_captured"] // 2, status="pending" if fails else "succeeded", ours=through_us
    )
    if fails:
        story.update_refund(charge, refund, "failed")


def deliveries(story: StripeStory, seed: int) -> list[Json]:
    """All events, each some places from where it belongs, and one in twenty of them again later."""
    chance = random.Random(seed)
    places = [(place + chance.uniform(0, 30), event) for place, event in enumerate(story.events)]
    places += [(place + chance.uniform(10, 60), event) for place, event in places if chance.random() < 0.05]
    return [event for _, event in sorted(places, key=lambda item: item[0])]

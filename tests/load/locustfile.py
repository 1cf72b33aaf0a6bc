"""Locust's users: Stripe with its webhooks, in bursts, a shop that takes and reads payments, and another one
that takes its payments at Stripe itself.

Needs WEBHOOK_SECRET, API_KEY, SANDBOX and SANDBOX_KEY in the environment. Events of the bursts are signed as
Stripe signs them. The sandbox does not know what they name, so they tell of payments of ours, about which
nothing is asked, and the ones that would send the worker to Stripe for a fee are left out. About the payments
taken at Stripe itself it asks: two questions each, of the 20 a second that it allows itself.
"""

from __future__ import annotations

import itertools
import os
import secrets
import time

import gevent  # type: ignore[import-untyped]
import orjson
from locust import FastHttpUser, constant_pacing, task
from tests.builders import Json, StripeStory

from tallystick.stripe_gateway.signature import sign

PAYMENTS_A_BURST = 34
"""Three events each: about a hundred webhooks, all at the same moment, every second."""
_stories = itertools.count(1)


def burst() -> list[Json]:
    """The events of payments whose own rows are lost, shuffled by chance of delivery."""
    first = next(_stories) * 1_000_000
    story = StripeStory(_numbers=itertools.count(first))
    for number in range(first, first + PAYMENTS_A_BURST):
        story.succeed(story.intent(secrets.randbelow(90_000) + 500, "usd", ours=f"pay_{number:026d}"))
    return [event for event in story.events if event["type"] != "charge.updated"]


class Stripe(FastHttpUser):
    """Delivers a burst every second, and takes nothing but 200 for an answer."""

    fixed_count = 1
    wait_time = constant_pacing(1)
    concurrency = 200

    @task
    def deliver(self) -> None:
        gevent.joinall([gevent.spawn(self._post, event) for event in burst()])

    def _post(self, event: Json) -> None:
        body = orjson.dumps(event).decode()
        headers = {"Stripe-Signature": sign(body.encode(), os.environ["WEBHOOK_SECRET"], int(time.time()))}
        self.client.post("/webhooks/stripe", data=body, headers=headers)


class Shop(FastHttpUser):
    """Takes a payment, reads it with its ledger, looks at the latest ones."""

    fixed_count = 4
    wait_time = constant_pacing(1)

    @task
    def sell(self) -> None:
        headers = {
            "Authorization": f"Bearer {os.environ['API_KEY']}",
            "Idempotency-Key": secrets.token_hex(8),
        }
        order = {"amount": 1999, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
        made = self.client.post("/payments", json=order, headers=headers)
        if made.status_code == 201:
            self.client.get(f"/payments/{made.json()['id']}", headers=headers, name="/payments/{id}")
        self.client.get("/payments?limit=20", headers=headers)


class Elsewhere(FastHttpUser):
    """Takes payments at Stripe itself, as a shop does with Checkout: they are adopted."""

    fixed_count = 1
    wait_time = constant_pacing(0.5)

    @task
    def sell(self) -> None:
        self.client.post(
            f"{os.environ['SANDBOX']}/v1/payment_intents",
            data={
                "amount": "2500",
                "currency": "usd",
                "payment_method": "pm_card_visa",
                "confirm": "true",
                "automatic_payment_methods[enabled]": "true",
                "automatic_payment_methods[allow_redirects]": "never",
            },
            headers={"Authorization": f"Bearer {os.environ['SANDBOX_KEY']}"},
            name="at Stripe: POST /v1/payment_intents",
        )

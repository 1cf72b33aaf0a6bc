"""Customers and what they pay with: made at Stripe, read here, saved for later and charged off session."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from sqlalchemy import text
from tests.integration.api.conftest import Face
from tests.integration.api.test_disputes import Shop, open_shop
from tests.integration.api.test_lists import listed
from tests.integration.api.test_refusals import assert_problem

from tallystick.embedded import EmbeddedValkey
from tallystick.pipeline.operations.audit import Order
from tallystick.pipeline.operations.erasure import erase

ADA = {
    "name": "Ada Lovelace",
    "email": "ada@example.com",
    "phone": "+44 20 7946 0000",
    "address": {"line1": "12 St James's Square", "city": "London", "country": "GB"},
    "metadata": {"account": "77", "old": "x"},
}


@pytest.fixture
async def shop(database_url: str, valkey: EmbeddedValkey) -> AsyncIterator[Shop]:
    async with open_shop(database_url, valkey) as opened:
        yield opened


def at_stripe(face: Face) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=face.sandbox.url, auth=("sk_test_abc", ""))


async def test_a_customer_made_changed_and_deleted(face: Face) -> None:
    answer = await face.post("/customers", ADA)
    made = answer.json()
    assert answer.status_code == 201
    assert made["id"].startswith("cus_")
    assert {name: made[name] for name in ("name", "email", "phone", "metadata")} == {
        name: ADA[name] for name in ("name", "email", "phone", "metadata")
    }
    assert made["address"] == {"line1": "12 St James's Square", "city": "London", "country": "GB"}
    path = f"/customers/{made['id']}"
    changes = {"name": "", "phone": None, "metadata": {"old": "", "new": "y"}, "description": "Since 2026"}
    changed = (await face.post(path, changes)).json()
    assert (changed["name"], changed["phone"], changed["email"]) == (None, None, "ada@example.com")
    assert (changed["metadata"], changed["description"]) == ({"account": "77", "new": "y"}, "Since 2026")
    assert (await face.http.get(path)).json() == changed
    assert (await face.post(path, {})).json() == changed
    async with at_stripe(face) as stripe:
        theirs = (await stripe.get(f"/v1/customers/{made['id']}")).json()
    assert (theirs["name"], theirs["description"]) == (None, "Since 2026")
    assert (await face.http.delete(path)).json() == {"id": made["id"], "object": "customer", "deleted": True}
    assert (await face.http.delete(path)).json()["deleted"] is True
    assert_problem(await face.http.get(path), 404, "not_found")
    assert_problem(await face.post(path, {"name": "x"}), 404, "not_found")
    assert await listed(face, "/customers") == []


async def test_one_key_makes_one_customer(face: Face) -> None:
    first = await face.post("/customers", ADA, key="k")
    again = await face.post("/customers", ADA, key="k")
    assert again.json() == first.json()
    assert again.headers["Idempotent-Replayed"] == "true"
    assert_problem(await face.post("/customers", {"name": "x"}, key="k"), 422, "idempotency_key_reused")
    async with at_stripe(face) as stripe:
        assert len((await stripe.get("/v1/customers")).json()["data"]) == 1


async def test_a_lost_answer_is_found_again_under_the_key(face: Face) -> None:
    await face.fault(path="/v1/customers", method="POST", action="cut", when="after", count=1)
    assert_problem(await face.post("/customers", ADA, key="k"), 503, "stripe_unavailable")
    made = await face.post("/customers", ADA, key="k")
    assert made.status_code == 201
    async with at_stripe(face) as stripe:
        (only,) = (await stripe.get("/v1/customers")).json()["data"]
    assert only["id"] == made.json()["id"]


async def test_a_card_saved_listed_charged_and_detached(face: Face) -> None:
    customer = (await face.post("/customers", {"email": "ada@example.com"})).json()["id"]
    path = f"/customers/{customer}/payment-methods"
    saved = await face.post(path, {"payment_method": "pm_card_visa"})
    method = saved.json()
    assert (saved.status_code, method["customer"], method["type"]) == (201, customer, "card")
    assert (method["details"]["brand"], method["details"]["last4"]) == ("visa", "4242")
    assert await listed(face, path) == [method["id"]]
    assert await listed(face, path, type="sepa_debit") == []
    paid = await face.pay(customer=customer, payment_method=method["id"], off_session=True)
    assert (paid["status"], paid["customer"]) == ("succeeded", customer)
    assert await listed(face, "/payments", customer=customer) == [paid["id"]]
    default = (await face.post(f"/customers/{customer}", {"default_payment_method": method["id"]})).json()
    assert default["default_payment_method"] == method["id"]
    detached = (await face.post(f"/payment-methods/{method['id']}/detach")).json()
    assert detached["customer"] is None
    assert await listed(face, path) == []
    assert (await face.http.get(f"/payment-methods/{method['id']}")).json() == detached
    refused = await face.post(path, {"payment_method": method["id"]})
    assert_problem(refused, 400, "stripe_refused")


async def test_a_card_that_is_declined_when_it_is_saved(face: Face) -> None:
    customer = (await face.post("/customers", {})).json()["id"]
    path = f"/customers/{customer}/payment-methods"
    assert_problem(await face.post(path, {"payment_method": "pm_card_chargeDeclined"}), 402, "card_declined")
    assert await listed(face, path) == []


async def test_a_setup_intent_saves_a_card_without_a_payment(face: Face) -> None:
    customer = (await face.post("/customers", {})).json()["id"]
    body = {"customer": customer, "payment_method": "pm_card_visa", "confirm": True, "metadata": {"a": "1"}}
    answer = await face.post("/setup-intents", body, key="k")
    setup = answer.json()
    assert (answer.status_code, setup["status"], setup["usage"]) == (201, "succeeded", "off_session")
    assert (setup["customer"], setup["metadata"]) == (customer, {"a": "1"})
    assert (await face.post("/setup-intents", body, key="k")).json() == setup
    assert (await face.http.get(f"/setup-intents/{setup['id']}")).json() == setup
    paid = await face.pay(customer=customer, payment_method=setup["payment_method"], off_session=True)
    assert paid["status"] == "succeeded"


async def test_a_setup_intent_that_needs_the_customer_fails_or_is_given_up(face: Face) -> None:
    customer = (await face.post("/customers", {})).json()["id"]
    begun = (await face.post("/setup-intents", {"customer": customer, "allow_redirects": "always"})).json()
    assert begun["status"] == "requires_payment_method"
    assert begun["client_secret"].startswith(begun["id"])
    path = f"/setup-intents/{begun['id']}"
    declined = await face.post(f"{path}/confirm", {
        "payment_method": "pm_card_chargeDeclined", "return_url": "https://shop.example/back",
    })  # fmt: skip
    assert_problem(declined, 402, "card_declined")
    asked = await face.post(f"{path}/confirm", {
        "payment_method": "pm_card_authenticationRequired", "return_url": "https://shop.example/back",
    })  # fmt: skip
    assert asked.json()["status"] == "requires_action"
    assert asked.json()["next_action"]["redirect_to_url"]["return_url"] == "https://shop.example/back"
    assert (await face.post(f"{path}/cancel")).json()["status"] == "canceled"
    assert_problem(await face.http.get("/setup-intents/seti_none"), 404, "not_found")
    assert_problem(await face.post("/setup-intents/seti_none/cancel"), 404, "not_found")
    unpaid = await face.post("/setup-intents", {"customer": customer, "confirm": True})
    assert assert_problem(unpaid, 400, "invalid_request")["param"] == "payment_method"


async def test_what_is_older_than_this_installation_is_fetched_once(face: Face) -> None:
    async with at_stripe(face) as stripe:
        old = (await stripe.post("/v1/customers", data={"email": "old@example.com"})).json()["id"]
        await stripe.post("/v1/payment_methods/pm_card_visa/attach", data={"customer": old})
    assert (await face.http.get(f"/customers/{old}")).json()["email"] == "old@example.com"
    assert len(await listed(face, f"/customers/{old}/payment-methods")) == 1
    await face.fault(path="/v1/customers*", action="cut", when="before", count=20)
    assert (await face.http.get(f"/customers/{old}")).status_code == 200
    assert len(await listed(face, f"/customers/{old}/payment-methods")) == 1
    assert await listed(face, "/customers", email="old@example.com") == [old]
    assert await listed(face, "/customers", email="other@example.com") == []


async def test_unknown_ids_and_fields_at_fault(face: Face) -> None:
    for name in ("cus_none", "%00", "x" * 400):
        assert_problem(await face.http.get(f"/customers/{name}"), 404, "not_found")
        assert_problem(await face.http.delete(f"/customers/{name}"), 404, "not_found")
        assert_problem(await face.http.get(f"/payment-methods/{name}"), 404, "not_found")
    for wrong, param in (
        ({"email": "nobody"}, "email"),
        ({"address": {"country": "England"}}, "address.country"),
        ({"metadata": {"tallystick_x": "1"}}, "metadata"),
        ({"balance": 5}, "balance"),
    ):
        problem = assert_problem(await face.post("/customers", wrong), 400, "invalid_request")
        assert problem["param"] == param


async def test_each_route_wants_its_scope(face: Face) -> None:
    reader = {"Authorization": f"Bearer {await face.key('customers:read')}"}
    payer = {"Authorization": f"Bearer {await face.key('payments:write')}"}
    assert (await face.http.get("/customers", headers=reader)).status_code == 200
    for headers in (reader, payer):
        answer = await face.http.post("/customers", json={}, headers=headers)
        assert_problem(answer, 403, "insufficient_scope")
    assert_problem(await face.http.get("/customers", headers=payer), 403, "insufficient_scope")


async def test_customers_made_elsewhere_follow_their_events(shop: Shop) -> None:
    stripe = shop.running.stripe
    customer = (await stripe("/v1/customers", name="Grace", email="grace@example.com"))["id"]
    found = await shop.until(f"/customers/{customer}", name="Grace")
    assert found["email"] == "grace@example.com"
    await stripe(f"/v1/customers/{customer}", name="Grace Hopper")
    await shop.until(f"/customers/{customer}", name="Grace Hopper")
    method = (await stripe("/v1/payment_methods/pm_card_visa/attach", customer=customer))["id"]
    await shop.until(f"/payment-methods/{method}", customer=customer)
    listed_methods = await shop.get(f"/customers/{customer}/payment-methods")
    assert [each["id"] for each in listed_methods["data"]] == [method]
    await stripe(f"/v1/payment_methods/{method}/detach")
    await shop.until(f"/payment-methods/{method}", customer=None)
    assert (await shop.running.client.delete(f"/v1/customers/{customer}")).status_code == 200
    await shop.until(f"/customers/{customer}", code="not_found")


async def test_erasing_a_customer_empties_the_copy(face: Face) -> None:
    made = (await face.post("/customers", ADA)).json()["id"]
    await face.post(f"/customers/{made}/payment-methods", {"payment_method": "pm_card_visa"})
    await erase(face.app.engine, made, Order("tests", "asked to"))
    seen = (await face.http.get(f"/customers/{made}")).json()
    assert [seen[name] for name in ("name", "email", "phone", "address", "metadata")] == [None] * 4 + [{}]
    async with face.app.engine.connect() as connection:
        query = "SELECT count(*) FROM payment_methods WHERE details <> '{}'"
        assert (await connection.execute(text(query))).scalar_one() == 0

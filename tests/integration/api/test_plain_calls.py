"""What moves no money is done once all the same: each such call to Stripe struck by every fault, and killed.

The fault matrix of payments is in ``test_fault_matrix`` and ``test_kill_points``.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from tests.conftest import Databases
from tests.faults.kill_points import WHEN, dying
from tests.integration.api.bad_day import FAULTS, NEVER_HEARD
from tests.integration.api.conftest import Face, Json, open_face
from tests.integration.api.test_kill_points import KilledError, kill
from tests.integration.api.test_refusals import assert_problem

from tallystick.embedded import EmbeddedValkey
from tallystick.pipeline.completer import Completer

LEASE_S = 0.2


@dataclass
class Scene:
    """One command and what it is about."""

    face: Face
    path: str
    stripe_path: str
    body: Json = field(default_factory=dict)
    method: str = "POST"
    customer: str = ""
    thing: str = ""
    mark: str = field(default_factory=lambda: secrets.token_hex(6))
    key: str = field(default_factory=lambda: secrets.token_hex(8))

    async def ask(self) -> httpx.Response:
        """The command, under its key."""
        if self.method == "DELETE":
            return await self.face.http.delete(self.path)
        return await self.face.post(self.path, self.body, key=self.key)

    async def complete(self) -> None:
        """The worker's completer, until it finds nothing to do."""
        app = self.face.app
        completer = Completer(app.engine, app.stripe, app.settings)
        while await completer.complete_due():
            pass

    async def read(self, path: str) -> Json:
        """What our API shows."""
        answer = await self.face.http.get(path)
        assert answer.status_code == 200, answer.text
        shown: Json = answer.json()
        return shown

    async def stripe(self, path: str, **params: Any) -> Json:
        """What Stripe shows."""
        async with httpx.AsyncClient(base_url=self.face.sandbox.url, auth=("sk_test_abc", "")) as http:
            found: Json = (await http.get(f"/v1/{path}", params=params)).json()
            return found

    async def open_calls(self) -> int:
        """Calls to Stripe whose outcome is not stored."""
        async with self.face.app.engine.connect() as connection:
            return int((await connection.execute(text("SELECT count(*) FROM stripe_calls"))).scalar_one())


async def _customer(face: Face, **fields: Any) -> str:
    made = await face.post("/customers", {"email": f"{secrets.token_hex(4)}@example.com", **fields})
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


async def create_customer(face: Face) -> Scene:
    scene = Scene(face, "/customers", "/v1/customers")
    scene.body = {"email": f"{scene.mark}@example.com", "payment_method": "pm_card_visa"}
    return scene


async def customer_created(scene: Scene) -> None:
    (theirs,) = (await scene.stripe("customers", email=f"{scene.mark}@example.com"))["data"]
    (ours,) = (await scene.read(f"/customers?email={scene.mark}@example.com"))["data"]
    assert ours["id"] == theirs["id"]
    assert len((await scene.read(f"/customers/{ours['id']}/payment-methods"))["data"]) == 1


async def update_customer(face: Face) -> Scene:
    customer = await _customer(face)
    scene = Scene(face, f"/customers/{customer}", "/v1/customers/*", customer=customer)
    scene.body = {"description": scene.mark}
    return scene


async def customer_updated(scene: Scene) -> None:
    assert (await scene.stripe(f"customers/{scene.customer}"))["description"] == scene.mark
    assert (await scene.read(f"/customers/{scene.customer}"))["description"] == scene.mark


async def delete_customer(face: Face) -> Scene:
    customer = await _customer(face)
    return Scene(face, f"/customers/{customer}", "/v1/customers/*", method="DELETE", customer=customer)


async def customer_deleted(scene: Scene) -> None:
    assert (await scene.stripe(f"customers/{scene.customer}"))["deleted"] is True
    assert_problem(await scene.face.http.get(f"/customers/{scene.customer}"), 404, "not_found")


async def attach(face: Face) -> Scene:
    customer = await _customer(face)
    path = f"/customers/{customer}/payment-methods"
    return Scene(
        face, path, "/v1/payment_methods/*/attach", {"payment_method": "pm_card_visa"}, customer=customer
    )


async def attached(scene: Scene) -> None:
    (theirs,) = (await scene.stripe(f"customers/{scene.customer}/payment_methods"))["data"]
    (ours,) = (await scene.read(f"/customers/{scene.customer}/payment-methods"))["data"]
    assert ours["id"] == theirs["id"]


async def detach(face: Face) -> Scene:
    customer = await _customer(face, payment_method="pm_card_visa")
    (method,) = (await face.http.get(f"/customers/{customer}/payment-methods")).json()["data"]
    path = f"/payment-methods/{method['id']}/detach"
    return Scene(face, path, "/v1/payment_methods/*/detach", thing=method["id"])


async def detached(scene: Scene) -> None:
    assert (await scene.stripe(f"payment_methods/{scene.thing}"))["customer"] is None
    assert (await scene.read(f"/payment-methods/{scene.thing}"))["customer"] is None


async def create_setup(face: Face) -> Scene:
    customer = await _customer(face)
    scene = Scene(face, "/setup-intents", "/v1/setup_intents", customer=customer)
    scene.body = {"customer": customer, "payment_method": "pm_card_visa", "confirm": True}
    return scene


async def setup_created(scene: Scene) -> None:
    (theirs,) = (await scene.stripe("setup_intents", customer=scene.customer))["data"]
    assert (await scene.read(f"/setup-intents/{theirs['id']}"))["status"] == "succeeded"


async def _setup(face: Face, verb: str, body: Json) -> Scene:
    made = (await face.post("/setup-intents", {"customer": await _customer(face)})).json()
    path = f"/setup-intents/{made['id']}/{verb}"
    return Scene(face, path, f"/v1/setup_intents/*/{verb}", body, thing=made["id"])


async def confirm_setup(face: Face) -> Scene:
    return await _setup(face, "confirm", {"payment_method": "pm_card_visa"})


async def setup_confirmed(scene: Scene) -> None:
    assert (await scene.stripe(f"setup_intents/{scene.thing}"))["status"] == "succeeded"


async def cancel_setup(face: Face) -> Scene:
    return await _setup(face, "cancel", {})


async def setup_canceled(scene: Scene) -> None:
    assert (await scene.stripe(f"setup_intents/{scene.thing}"))["status"] == "canceled"


async def update_refund(face: Face) -> Scene:
    paid = await face.pay()
    refund = (await face.post(f"/payments/{paid['id']}/refund", {"amount": 300})).json()
    scene = Scene(face, f"/refunds/{refund['id']}", "/v1/refunds/*", thing=refund["stripe"]["refund"])
    scene.body = {"metadata": {"mark": scene.mark}}
    return scene


async def refund_updated(scene: Scene) -> None:
    assert (await scene.stripe(f"refunds/{scene.thing}"))["metadata"]["mark"] == scene.mark
    assert (await scene.read(scene.path))["metadata"] == {"mark": scene.mark}


COMMANDS: dict[str, tuple[Callable[[Face], Awaitable[Scene]], Callable[[Scene], Awaitable[None]]]] = {
    "create-customer": (create_customer, customer_created),
    "update-customer": (update_customer, customer_updated),
    "delete-customer": (delete_customer, customer_deleted),
    "attach": (attach, attached),
    "detach": (detach, detached),
    "create-setup": (create_setup, setup_created),
    "confirm-setup": (confirm_setup, setup_confirmed),
    "cancel-setup": (cancel_setup, setup_canceled),
    "update-refund": (update_refund, refund_updated),
}
HEALERS = ("retry", "completer")


@pytest.fixture(scope="module")
async def face(databases: Databases, valkey: EmbeddedValkey) -> AsyncIterator[Face]:
    """One for all cells: each has objects of its own."""
    url = await databases.create()
    changes = {"stripe_timeout_s": 0.3, "completion_age_s": 0, "idempotency_lease_s": LEASE_S}
    async with open_face(url, valkey, **changes) as made:
        yield made
    await databases.drop(url)


def cells(kinds: list[str], short: set[str]) -> list[object]:
    return [
        pytest.param(
            command, kind, healer, id=f"{command}-{kind}-{healer}",
            marks=[] if kind in short and healer == "completer" else [pytest.mark.long],
        )
        for command in COMMANDS
        for kind in kinds
        for healer in HEALERS
        # aiohttp by itself sends a DELETE again that was cut off on a connection it had used before
        if not (command == "delete-customer" and kind.startswith("cut"))
    ]  # fmt: skip


async def assert_answers(scene: Scene) -> None:
    """The client's retry gets an answer, and the same one ever after."""
    answer = await scene.ask()
    assert answer.status_code in {200, 201}, answer.text
    again = await scene.ask()
    assert (again.status_code, again.json()) == (answer.status_code, answer.json())
    if scene.method == "POST":
        assert again.headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize(("command", "fault", "healer"), cells([*FAULTS], {"cut-before", "500-after"}))
async def test_a_call_that_was_struck_is_done_once(face: Face, command: str, fault: str, healer: str) -> None:
    prepare, assert_done = COMMANDS[command]
    scene = await prepare(face)
    await face.fault(**FAULTS[fault], path=scene.stripe_path, method=scene.method)
    assert_problem(await scene.ask(), 503, "stripe_unavailable")
    assert await scene.open_calls() == (0 if fault in NEVER_HEARD else 1)
    if healer == "completer" and fault not in NEVER_HEARD:
        await scene.complete()
        await assert_done(scene)
        assert await scene.open_calls() == 0
    await assert_answers(scene)
    await assert_done(scene)
    assert await scene.open_calls() == 0


@pytest.mark.parametrize(
    ("command", "kind", "healer"),
    cells([f"{when}-{step}" for when in WHEN for step in ("accept", "store")], {"after-accept"}),
)
async def test_a_request_that_was_killed_is_done_once(
    face: Face, command: str, kind: str, healer: str
) -> None:
    prepare, assert_done = COMMANDS[command]
    scene = await prepare(face)
    when, step = kind.split("-")
    with dying(step, when, kill), pytest.raises(KilledError):
        await scene.ask()
    assert await scene.open_calls() == (1 if kind in {"after-accept", "before-store"} else 0)
    if healer == "completer" and kind != "before-accept":
        await scene.complete()
        await assert_done(scene)
    await assert_answers(scene)
    await assert_done(scene)
    assert await scene.open_calls() == 0


async def test_a_change_is_not_made_again_on_a_customer_that_has_changed(face: Face) -> None:
    """Its client went another way: the old request may not be wanted any more."""
    scene = await update_customer(face)
    await face.fault(action="cut", path=scene.stripe_path, method="POST")
    assert (await scene.ask()).status_code == 503
    other = await face.post(scene.path, {"description": "newer"})
    assert other.status_code == 200
    await scene.complete()
    assert (await scene.stripe(f"customers/{scene.customer}"))["description"] == "newer"
    assert await scene.open_calls() == 0


@pytest.mark.parametrize("command", ["create-customer", "update-customer", "attach", "create-setup"])
async def test_a_day_later_nothing_is_done_a_second_time(face: Face, command: str) -> None:
    """Stripe has forgotten the key."""
    prepare, _ = COMMANDS[command]
    scene = await prepare(face)
    await face.fault(**FAULTS["cut-after"], path=scene.stripe_path, method="POST")
    assert (await scene.ask()).status_code == 503
    await face.a_day_later()
    await scene.complete()
    assert await scene.open_calls() == 0
    if command == "create-customer":
        assert len((await scene.stripe("customers", email=f"{scene.mark}@example.com"))["data"]) == 1
    elif command == "create-setup":
        assert len((await scene.stripe("setup_intents", customer=scene.customer))["data"]) == 1
    elif command == "attach":
        assert len((await scene.stripe(f"customers/{scene.customer}/payment_methods"))["data"]) == 1
    else:
        assert (await scene.read(scene.path))["description"] == scene.mark

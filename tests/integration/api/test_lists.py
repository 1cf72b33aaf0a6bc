"""Lists of payments and refunds: narrowed by each filter, walked by cursors, the filters' faults named."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text
from tests.integration.api.conftest import Face
from tests.integration.api.test_refusals import assert_problem


async def listed(face: Face, path: str, **query: Any) -> list[str]:
    """The ids of all pages, walked two at a time."""
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        answer = await face.http.get(path, params={**query, "limit": 2, **cursor})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += [item["id"] for item in page["data"]]
        assert page["has_more"] is (page["next_cursor"] is not None)
        if not page["has_more"]:
            return found
        cursor = {"cursor": page["next_cursor"]}


async def at(face: Face, payment: str, moment: str) -> None:
    async with face.app.engine.begin() as connection:
        await connection.execute(
            text(f"UPDATE payments SET created_at = '{moment}' WHERE id = :id"), {"id": payment}
        )


async def test_payments_by_each_filter(face: Face) -> None:
    made = [
        (await face.pay(metadata={"shop": "north", "order": str(n)}, currency=currency))["id"]
        for n, currency in enumerate(["usd", "eur", "usd"])
    ]
    held = (await face.pay(capture_method="manual", metadata={"shop": "south"}))["id"]
    for number, payment in enumerate([*made, held]):
        await at(face, payment, f"2026-03-0{number + 1}T12:00:00Z")
    newest_first = [held, *reversed(made)]
    assert await listed(face, "/payments") == newest_first
    assert await listed(face, "/payments", status="requires_capture") == [held]
    assert await listed(face, "/payments", currency="eur") == [made[1]]
    assert await listed(face, "/payments", **{"metadata[shop]": "north"}) == newest_first[1:]
    assert await listed(face, "/payments", **{"metadata[shop]": "north", "metadata[order]": "2"}) == [made[2]]
    assert await listed(face, "/payments", **{"metadata[order]": "nowhere"}) == []
    assert await listed(face, "/payments", **{"metadata[tallystick_payment]": held}) == []
    second, third = "2026-03-02T12:00:00Z", "2026-03-03T13:00:00+01:00"
    assert await listed(face, "/payments", **{"created[gte]": second, "created[lte]": third}) == [
        made[2],
        made[1],
    ]
    assert await listed(face, "/payments", **{"created[gt]": second, "created[lt]": third}) == []
    unix = "1772452800"  # 2026-03-02T12:00:00Z
    assert await listed(face, "/payments", **{"created[lt]": unix, "currency": "usd"}) == [made[0]]


async def test_payments_of_a_customer(face: Face) -> None:
    async with face.app.engine.begin() as connection:
        for payment, customer in ((await face.pay(), "cus_a"), (await face.pay(), "cus_b")):
            await connection.execute(
                text("UPDATE payments SET customer = :customer WHERE id = :id"),
                {"customer": customer, "id": payment["id"]},
            )
            last = payment["id"]
    assert await listed(face, "/payments", customer="cus_b") == [last]


async def test_refunds_by_payment_and_status(face: Face) -> None:
    paid, other = await face.pay(amount=9000), await face.pay(amount=9000)
    refunds = [
        (await face.post(f"/payments/{payment['id']}/refund", {"amount": amount})).json()["id"]
        for payment, amount in ((paid, 1000), (other, 500), (paid, 2000), (paid, 700))
    ]
    assert set(await listed(face, "/refunds")) == set(refunds)
    assert set(await listed(face, "/refunds", payment=paid["id"])) == {refunds[0], refunds[2], refunds[3]}
    assert set(await listed(face, "/refunds", payment=paid["id"], status="succeeded")) == {
        refunds[0],
        refunds[2],
        refunds[3],
    }
    assert await listed(face, "/refunds", status="failed") == []
    assert await listed(face, "/refunds", payment="pay_none") == []


async def test_a_refund_whose_metadata_changes(face: Face) -> None:
    paid = await face.pay()
    made = (
        await face.post(f"/payments/{paid['id']}/refund", {"amount": 100, "metadata": {"a": "1", "b": "2"}})
    ).json()
    path = f"/refunds/{made['id']}"
    assert (await face.post(path, {"metadata": {"a": "", "c": "3"}})).json()["metadata"] == {
        "b": "2",
        "c": "3",
    }
    assert (await face.post(path, {})).json()["metadata"] == {"b": "2", "c": "3"}
    assert (await face.post(path, {"metadata": ""}, key="k")).json()["metadata"] == {}
    assert (await face.http.get(path)).json()["metadata"] == {}
    (refund,) = await face.stripe_refunds()
    assert refund["metadata"] == {"tallystick_payment": paid["id"], "tallystick_refund": made["id"]}
    assert_problem(await face.post(path, {"metadata": {"tallystick_refund": ""}}), 400, "invalid_request")
    assert_problem(await face.post("/refunds/ref_none", {"metadata": {}}), 404, "not_found")


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"status": "paid"}, "status"),
        ({"currency": "USD"}, "currency"),
        ({"customer": "a\0b"}, "customer"),
        ({"created[gte]": "yesterday"}, "created[gte]"),
        ({"created[lt]": "2026-01-01T00:00:00"}, "created[lt]"),
        ({"metadata": "x"}, "metadata"),
        ({"metadata[a]": "\0"}, "metadata"),
        ({"metadata[a][b]": "x"}, "metadata"),
        ({"cursor": "x"}, "cursor"),
        ({"limit": "0"}, "limit"),
        ({"custommer": "cus_1"}, "custommer"),
        ({"created[since]": "2026-01-01T00:00:00Z"}, "created[since]"),
    ],
)
async def test_filters_at_fault_are_named(face: Face, query: dict[str, str], param: str) -> None:
    problem = assert_problem(await face.http.get("/payments", params=query), 400, "invalid_request")
    assert problem["param"] == param


async def test_a_cursor_leads_on_in_the_list_that_gave_it_alone(face: Face) -> None:
    for _ in range(2):
        await face.pay()
    cursor = (await face.http.get("/payments", params={"limit": 1})).json()["next_cursor"]
    for path in ("/refunds", "/disputes", "/customers"):
        answer = await face.http.get(path, params={"cursor": cursor})
        assert assert_problem(answer, 400, "invalid_request")["param"] == "cursor"


async def test_a_command_takes_nothing_from_its_query(face: Face) -> None:
    order = {"amount": 1000, "currency": "usd"}
    answer = await face.http.post("/payments", params={"amount": "1"}, json=order)
    assert assert_problem(answer, 400, "invalid_request")["param"] == "amount"
    assert (await face.rows())["payments"] == 0

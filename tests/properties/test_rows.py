"""The rows of payments and refunds are the merge of all reports about them, however they come in."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import reduce
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.unit.test_reports import REFUND_REPORTS, REPORTS

from tallystick.payments.customer_reports import CustomerReport, customer_report, merge_customers
from tallystick.payments.customers import apply_customers
from tallystick.payments.dispute_reports import DisputeReport, merge_disputes
from tallystick.payments.disputes import apply_disputes
from tallystick.payments.reports import PaymentReport, RefundReport, merge_payments, merge_refunds
from tallystick.payments.store import apply_payments, apply_refunds
from tallystick.stripe_gateway.customer_payloads import Customer

SETTINGS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def batches_of(data: st.DataObject, reports: Sequence[Any]) -> list[list[Any]]:
    """The reports in some order, some of them twice, cut into some batches."""
    shuffled = data.draw(st.permutations([*reports, *reports[:2]]))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(shuffled)), max_size=3)))
    bounds = [0, *cuts, len(shuffled)]
    return [shuffled[a:b] for a, b in itertools.pairwise(bounds) if a < b]


async def row(engine: AsyncEngine, table: str) -> dict[str, Any]:
    query = f"SELECT *, extract(epoch FROM created_at)::bigint AS created FROM {table}"
    async with engine.connect() as connection:
        return dict((await connection.execute(text(query))).mappings().one())


@given(data=st.data())
@SETTINGS
async def test_the_row_of_a_refund(engine: AsyncEngine, data: st.DataObject) -> None:
    reports: list[RefundReport] = data.draw(
        st.lists(REFUND_REPORTS, min_size=1, max_size=5, unique_by=lambda report: report.state_order)
    )
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM refunds"))
        for batch in batches_of(data, reports):
            await apply_refunds(connection, batch)
    stored = await row(engine, "refunds")
    expected = asdict(replace(reduce(merge_refunds, reports), metadata={}))
    assert {name: stored[name] for name in expected} == expected


@given(data=st.data())
@SETTINGS
async def test_the_row_of_a_payment(engine: AsyncEngine, data: st.DataObject) -> None:
    found: list[PaymentReport] = data.draw(
        st.lists(REPORTS, min_size=1, max_size=5, unique_by=lambda report: report.state_order)
    )
    reports = list({report.charge_order: report for report in found}.values())
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM payments"))
        for batch in batches_of(data, reports):
            await apply_payments(connection, batch)
    stored = await row(engine, "payments")
    expected = asdict(replace(reduce(merge_payments, reports), metadata={}))
    assert {name: stored[name] for name in expected} == expected


CUSTOMER_REPORTS = st.builds(
    lambda at, number, first, deleted, known: customer_report(
        Customer("cus_1", 5, False, f"name {number}", None, None, None, None, {}, None),
        at=at,
        source=f"evt_{number}",
        first=first,
        deleted=deleted,
        methods_known=known,
    ),
    st.integers(0, 3),
    st.integers(0, 99),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


@given(data=st.data())
@SETTINGS
async def test_the_row_of_a_customer(engine: AsyncEngine, data: st.DataObject) -> None:
    reports: list[CustomerReport] = data.draw(
        st.lists(CUSTOMER_REPORTS, min_size=1, max_size=5, unique_by=lambda report: report.state_order)
    )
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM customers"))
        for batch in batches_of(data, reports):
            await apply_customers(connection, batch)
    stored = await row(engine, "customers")
    expected = asdict(reduce(merge_customers, reports))
    assert {name: stored[name] for name in expected} == expected


DISPUTE_REPORTS = st.builds(
    lambda status, at, number, payment: DisputeReport(
        id="du_1",
        state_order=f"{at:012d}:00:evt_{number}",
        status=status,
        payment_id=payment,
        amount=100 + number,
        currency="usd",
        created=at,
        livemode=False,
        metadata={},
    ),
    st.sampled_from(["needs_response", "under_review", "won", "lost"]),
    st.integers(0, 3),
    st.integers(0, 99),
    st.sampled_from(["pay_01m863rt28s7bjgn0r14z0j82g", "pay_pi_1"]),
)


@given(data=st.data())
@SETTINGS
async def test_the_row_of_a_dispute(engine: AsyncEngine, data: st.DataObject) -> None:
    reports: list[DisputeReport] = data.draw(
        st.lists(DISPUTE_REPORTS, min_size=1, max_size=5, unique_by=lambda report: report.state_order)
    )
    async with engine.begin() as connection:
        await connection.execute(text("DELETE FROM disputes"))
        for batch in batches_of(data, reports):
            await apply_disputes(connection, batch)
    stored = await row(engine, "disputes")
    expected = asdict(reduce(merge_disputes, reports))
    del expected["evidence_due"]
    assert {name: stored[name] for name in expected} == expected

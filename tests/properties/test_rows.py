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

from tallystick.payments.reports import PaymentReport, RefundReport, merge_payments, merge_refunds
from tallystick.payments.store import apply_payments, apply_refunds

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

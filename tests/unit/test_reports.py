"""Reports about a payment merge the same way in any order, and no late one moves it back."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import reduce
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from tallystick.payments.reports import (
    PaymentReport,
    RefundReport,
    merge_payments,
    merge_refunds,
    our_payment,
)
from tallystick.payments.status import (
    FINAL,
    PaymentStatus,
    RefundStatus,
    charge_order,
    payment_order,
    refund_order,
)

REPORTS = st.builds(
    lambda status, at, failed, from_intent, number, captured: PaymentReport(
        id="pay_1",
        state_order=payment_order(
            status, at=at, failed_attempt=failed, from_intent=from_intent, report=f"evt_{number}"
        ),
        status=status,
        amount=1000,
        currency="usd",
        created=at,
        livemode=False,
        amount_captured=captured,
        charge_order=charge_order(captured=captured > 0, created=at, charge=f"ch_{number}"),
        stripe_charge=f"ch_{number}",
    ),
    st.sampled_from(PaymentStatus),
    st.integers(0, 5),
    st.booleans(),
    st.booleans(),
    st.integers(0, 99),
    st.integers(0, 3),
)


REFUND_REPORTS = st.builds(
    lambda status, at, number, payment, intent, charge: RefundReport(
        id="ref_1",
        state_order=refund_order(status, at=at, report=f"evt_{number}"),
        status=status,
        payment_id=payment,
        stripe_refund="re_1",
        amount=100 + number,
        currency="usd",
        created=at,
        stripe_payment_intent=intent,
        stripe_charge=charge,
        failure_reason=f"reason {number}",
    ),
    st.sampled_from(RefundStatus),
    st.integers(0, 5),
    st.integers(0, 99),
    st.sampled_from([None, "pay_01m863rt28s7bjgn0r14z0j82g", "pay_pi_1", "pay_ch_1"]),
    st.sampled_from([None, "pi_1"]),
    st.sampled_from([None, "ch_1"]),
)


def test_a_final_state_stands_above_any_later_one_that_is_not() -> None:
    for final, other in itertools.product(FINAL, set(PaymentStatus) - FINAL):
        early = payment_order(final, at=1, failed_attempt=False, from_intent=True, report="evt_1")
        late = payment_order(other, at=9, failed_attempt=True, from_intent=True, report="evt_9")
        assert early > late


def test_in_the_same_second_the_further_state_wins() -> None:
    def order(status: PaymentStatus, *, failed: bool = False) -> str:
        return payment_order(status, at=1, failed_attempt=failed, from_intent=True, report="evt_1")

    created = order(PaymentStatus.REQUIRES_PAYMENT_METHOD)
    action = order(PaymentStatus.REQUIRES_ACTION)
    declined = order(PaymentStatus.REQUIRES_PAYMENT_METHOD, failed=True)
    assert created < action < declined < order(PaymentStatus.REQUIRES_CAPTURE)


def test_what_the_intent_says_stands_above_what_its_charge_suggests() -> None:
    charge = payment_order(
        PaymentStatus.SUCCEEDED, at=9, failed_attempt=False, from_intent=False, report="evt_9"
    )
    intent = payment_order(
        PaymentStatus.REQUIRES_ACTION, at=1, failed_attempt=False, from_intent=True, report="evt_1"
    )
    assert intent > charge


@given(st.lists(REPORTS, min_size=1, max_size=6, unique_by=lambda report: report.state_order), st.randoms())
def test_merging_does_not_depend_on_order_or_repetition(reports: list[PaymentReport], random: Random) -> None:
    unique_charges = {report.charge_order: report for report in reports}
    kept = list(unique_charges.values())
    shuffled = kept + kept[:2]
    random.shuffle(shuffled)
    assert reduce(merge_payments, shuffled) == reduce(merge_payments, kept)


@given(
    st.lists(REFUND_REPORTS, min_size=1, max_size=6, unique_by=lambda report: report.state_order),
    st.randoms(),
)
def test_merging_refunds_does_not_depend_on_order_or_repetition(
    reports: list[RefundReport], random: Random
) -> None:
    shuffled = reports + reports[:2]
    random.shuffle(shuffled)
    half = len(shuffled) // 2 or 1
    halves = [reduce(merge_refunds, part) for part in (shuffled[:half], shuffled[half:]) if part]
    assert reduce(merge_refunds, halves) == reduce(merge_refunds, reports)


def test_what_only_one_report_of_a_refund_knows_is_kept() -> None:
    early = RefundReport(
        id="ref_1",
        state_order=refund_order(RefundStatus.PENDING, at=1, report="evt_1"),
        status=RefundStatus.PENDING,
        payment_id="pay_01m863rt28s7bjgn0r14z0j82g",
        stripe_refund="re_1",
        amount=100,
        currency="usd",
        created=1,
        stripe_payment_intent="pi_1",
        stripe_charge="ch_1",
    )
    late = replace(
        early,
        state_order=refund_order(RefundStatus.SUCCEEDED, at=2, report="evt_2"),
        status=RefundStatus.SUCCEEDED,
        payment_id="pay_pi_1",
        created=2,
        stripe_payment_intent=None,
        stripe_charge=None,
    )
    merged = merge_refunds(early, late)
    assert merged == replace(early, state_order=late.state_order, status=late.status)


def test_only_an_id_of_our_own_making_names_a_payment_of_ours() -> None:
    ours = "pay_" + "0" * 26
    assert our_payment({"tallystick_payment": ours}) == ours
    for other in ("", "pay_pi_3Nabcdefgh", "pi_3Nabcdefgh", "pay_'; DROP TABLE payments", ours + "\n"):
        assert our_payment({"tallystick_payment": other}) is None

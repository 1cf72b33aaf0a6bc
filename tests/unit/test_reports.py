"""Reports about a payment merge the same way in any order, and no late one moves it back."""

from __future__ import annotations

import itertools
from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from tallystick.payments.reports import PaymentReport, merge_payments, our_payment
from tallystick.payments.status import FINAL, PaymentStatus, charge_order, payment_order

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
def test_merging_does_not_depend_on_order_or_repetition(
    reports: list[PaymentReport], random: st.DataObject
) -> None:
    unique_charges = {report.charge_order: report for report in reports}
    kept = list(unique_charges.values())
    shuffled = kept + kept[:2]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert reduce(merge_payments, shuffled) == reduce(merge_payments, kept)


def test_only_an_id_of_our_own_making_names_a_payment_of_ours() -> None:
    ours = "pay_" + "0" * 26
    assert our_payment({"tallystick_payment": ours}) == ours
    for other in ("", "pay_pi_3Nabcdefgh", "pi_3Nabcdefgh", "pay_'; DROP TABLE payments", ours + "\n"):
        assert our_payment({"tallystick_payment": other}) is None

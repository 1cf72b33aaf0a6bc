"""What events mean, where shapes and histories are awkward: pure rules on plain objects."""

from __future__ import annotations

from typing import Any

import pytest
from tests.builders import Json, StripeStory

from tallystick.errors import PayloadError
from tallystick.events.balance_transactions import balance_transaction_effects, counter_account
from tallystick.events.catalog import EVENTS
from tallystick.events.spec import Effects, Event, Facts, Question
from tallystick.ledger.entries import DEBIT
from tallystick.payments.status import PaymentStatus
from tallystick.stripe_gateway.balance_payloads import BalanceTransaction

OURS = "pay_" + "0" * 26


def read(event: Json, facts: Facts | None = None) -> Effects:
    return EVENTS[event["type"]].rule(Event.read(event), facts or {})


def legs(effects: Effects) -> dict[str, dict[str, int]]:
    """Signed amounts (debit positive) by account, by effect key; a currency other than usd is added."""
    return {
        item.effect_key: {
            leg.account if leg.currency == "usd" else f"{leg.account} {leg.currency}": leg.amount
            * (1 if leg.direction == DEBIT else -1)
            for leg in item.entries
        }
        for item in effects.transactions
    }


def last(story: StripeStory, event_type: str) -> Json:
    return next(event for event in reversed(story.events) if event["type"] == event_type)


def test_a_charge_and_its_intent_imply_the_same_effects() -> None:
    story = StripeStory()
    story.succeed(story.intent(2500, ours=OURS))
    by_charge = read(last(story, "charge.succeeded"))
    by_intent = read(last(story, "payment_intent.succeeded"))
    assert legs(by_charge) == legs(by_intent)
    assert [item.digest for item in by_charge.transactions] == [
        item.digest for item in by_intent.transactions
    ]
    assert {notice.key for notice in by_charge.notices} == {notice.key for notice in by_intent.notices}


def test_letting_an_authorisation_go_moves_nothing() -> None:
    story = StripeStory()
    intent = story.intent(1000, ours=OURS)
    charge = story.authorise(intent)
    story.cancel(intent, charge)
    released = last(story, "refund.created")
    question = Question("charge", charge["id"])
    assert read(released).waiting_for == (question,)
    assert read(released, {question: charge}) == Effects()
    assert legs(read(last(story, "charge.refunded"))) == {}


def test_before_2020_08_27_a_partial_capture_shows_as_a_refund_of_the_rest() -> None:
    story = StripeStory(api_version="2020-03-02")
    intent = story.intent(1000, ours=OURS)
    charge = story.authorise(intent)
    story.capture(intent, charge, 600)
    release = {
        "id": "re_1",
        "object": "refund",
        "amount": 400,
        "currency": "usd",
        "created": 1,
        "status": None,
    }
    old = {**charge, "amount_refunded": 400, "refunds": {"data": [{**release, "balance_transaction": None}]}}
    del old["amount_captured"]
    event = story.event("charge.captured", old)
    question = Question("charge", charge["id"])
    assert read(event).waiting_for == (question,)
    posted = legs(read(event, {question: charge}))
    assert posted[f"charge:{charge['id']}:captured"]["assets:stripe:clearing"] == 600
    assert not any(key.startswith("refund:") for key in posted)


def test_before_2022_11_15_the_charge_and_its_refunds_come_inside() -> None:
    story = StripeStory(api_version="2020-08-27")
    intent = story.intent(1000, ours=OURS)
    charge = story.succeed(intent)
    refund = story.refund(charge, 300)
    old_charge = {**charge, "refunds": {"data": [refund]}}
    old_intent = {name: value for name, value in intent.items() if name != "latest_charge"}
    refunded = read(story.event("charge.refunded", old_charge))
    assert f"refund:{refund['id']}:applied" in legs(refunded)
    assert refunded.waiting_for == ()
    event = story.event("payment_intent.succeeded", {**old_intent, "charges": {"data": [old_charge]}})
    assert legs(read(event))[f"charge:{charge['id']}:captured"]["assets:stripe:clearing"] == 1000


def test_between_2022_11_15_and_2024_10_28_each_refund_asks_anew() -> None:
    story = StripeStory(api_version="2023-10-16")
    charge = story.succeed(story.intent(1000, ours=OURS))
    questions: set[Question] = set()
    for _ in range(2):  # the first fails, the second is of the same amount
        story.refund(charge, 500)
        questions.update(read(last(story, "charge.refunded")).waiting_for)
        charge["amount_refunded"] = 0
    assert len(questions) == 2


def test_a_bank_debit_that_fails_after_it_succeeded_is_taken_back() -> None:
    story = StripeStory()
    intent = story.intent(1000, ours=OURS)
    charge = story.succeed(intent)
    charge.update(status="failed", failure_balance_transaction="txn_9")
    event = story.event("charge.failed", charge)
    movement = {f"charge:{charge['id']}:captured", f"charge:{charge['id']}:captured:reversed"}
    sale = {f"payment:{intent['id']}:sale", f"payment:{intent['id']}:sale:reversed"}
    question = Question("payment_intent_at", f"{intent['id']}:{charge['id']}")
    assert (set(legs(read(event))), read(event).waiting_for) == (movement, (question,))
    assert set(legs(read(event, {question: intent}))) == movement | sale
    assert set(legs(read(event, {question: None}))) == movement | sale


def test_a_bank_debit_that_never_succeeded_leaves_the_sale_to_the_next_attempt() -> None:
    story = StripeStory()
    intent = story.intent(1000, ours=OURS)
    failed = story.charge(intent, status="failed")
    failed.update(failure_balance_transaction="txn_9")
    event = story.event("charge.failed", failed)
    question = Question("payment_intent_at", f"{intent['id']}:{failed['id']}")
    movement = {f"charge:{failed['id']}:captured", f"charge:{failed['id']}:captured:reversed"}
    assert set(legs(read(event, {question: dict(intent)}))) == movement
    story.succeed(intent)
    assert set(legs(read(event, {question: intent}))) == movement
    assert f"payment:{intent['id']}:sale" in legs(read(last(story, "charge.succeeded")))


def test_a_legacy_charge_without_intent_is_a_payment_of_its_own() -> None:
    charge = {
        "id": "ch_1", "object": "charge", "status": "succeeded", "amount": 700, "captured": True,
        "currency": "usd", "created": 1_600_000_000, "paid": True, "source": {"id": "card_1"},
    }  # fmt: skip
    event = StripeStory(api_version="2018-02-28").event("charge.succeeded", charge)
    effects = read(event)
    [report] = effects.payments
    assert (report.id, report.status, report.amount_captured) == ("pay_ch_1", PaymentStatus.SUCCEEDED, 700)
    assert legs(effects) == {
        "charge:ch_1:captured": {"assets:stripe:clearing": 700, "liabilities:unapplied": -700},
        "payment:ch_1:sale": {"liabilities:unapplied": 700, "revenue:payments": -700},
    }


def test_statuses_of_before_2019_02_11_are_read_by_todays_names() -> None:
    story = StripeStory(api_version="2018-11-08")
    intent = story.intent(100)
    event = story.event("payment_intent.payment_failed", {**intent, "status": "requires_source"})
    assert read(event).payments[0].status is PaymentStatus.REQUIRES_PAYMENT_METHOD


@pytest.mark.parametrize(
    "broken",
    [
        {"status": "no_such_status"}, {"amount": "ten"}, {"amount": None}, {"amount": 1.5}, {"amount": True},
        {"amount": -1}, {"amount": 10**18}, {"currency": None}, {"currency": "$"}, {"id": ""}, {"id": "a\0"},
        {"created": 10**18},
    ],
)  # fmt: skip
def test_a_payload_that_cannot_be_read_says_so(broken: dict[str, Any]) -> None:
    story = StripeStory()
    intent = {**story.intent(100), "latest_charge": "ch_1", "amount_received": 100, "status": "succeeded"}
    event = story.event("payment_intent.succeeded", {**intent, **broken})
    if "created" in broken:
        event["created"] = broken["created"]
    with pytest.raises(PayloadError):
        read(event)


def transaction(**values: Any) -> Json:
    made = {
        "id": "txn_1", "object": "balance_transaction", "type": "charge", "reporting_category": "charge",
        "amount": 1000, "fee": 59, "net": 941, "currency": "usd", "created": 1_700_000_000,
        "fee_details": [{"type": "stripe_fee", "amount": 59, "currency": "usd"}], "source": None,
    }  # fmt: skip
    return {**made, **values}


def test_fees_go_where_they_belong() -> None:
    lines = [("stripe_fee", 40), ("application_fee", 10), ("tax", 8), ("new_kind_of_fee", 1)]
    details = [{"type": kind, "amount": amount, "currency": "usd"} for kind, amount in lines]
    [posted] = legs(balance_transaction_effects(transaction(fee_details=details), {})).values()
    assert posted == {
        "assets:stripe:balance": 941,
        "expenses:stripe_fees": 40,
        "expenses:application_fees": 10,
        "assets:input_tax": 8,
        "suspense:stripe": 1,
        "assets:stripe:clearing": -1000,
    }


def test_a_disputes_fee_is_a_dispute_fee() -> None:
    body = transaction(type="adjustment", reporting_category="dispute", amount=-3000, fee=1500, net=-4500)
    body["fee_details"][0]["amount"] = 1500
    [posted] = legs(balance_transaction_effects(body, {})).values()
    assert posted == {
        "assets:stripe:balance": -4500,
        "expenses:dispute_fees": 1500,
        "assets:stripe:disputed": 3000,
    }


@pytest.mark.parametrize("kind", ["a_type_of_tomorrow", "tax_fund"])
def test_what_has_no_rule_goes_to_suspense(kind: str) -> None:
    body = transaction(type=kind, reporting_category=kind, fee=0, net=1000, fee_details=[])
    [posted] = legs(balance_transaction_effects(body, {})).values()
    assert posted == {"assets:stripe:balance": 1000, "suspense:stripe": -1000}


def test_another_balance_of_stripes_has_an_account_whatever_its_name() -> None:
    body = transaction(balance_type="Issuing-v2", type="topup", reporting_category="topup", fee=0, net=1000)
    [posted] = legs(balance_transaction_effects({**body, "fee_details": []}, {})).values()
    assert posted["assets:stripe:issuing_v2"] == 1000


def _foreign(amount: int, category: str = "charge", **charge: Any) -> dict[str, int]:
    source = {
        "id": "ch_1", "object": "charge", "status": "succeeded", "amount": 5000, "amount_captured": 5000,
        "captured": True, "currency": "eur", "created": 1, "payment_intent": "pi_1", **charge,
    }  # fmt: skip
    body = transaction(amount=amount, fee=0, net=amount, fee_details=[], source=source, exchange_rate=1.1)
    posted = legs(balance_transaction_effects({**body, "reporting_category": category}, {}))
    return posted["balance_transaction:txn_1"]


def test_a_foreign_charge_drains_clearing_in_its_own_currency() -> None:
    assert _foreign(5500) == {
        "assets:stripe:balance": 5500,
        "equity:fx": -5500,
        "equity:fx eur": 5000,
        "assets:stripe:clearing eur": -5000,
    }


def test_of_a_partial_capture_the_whole_and_the_reversal_come_to_what_was_captured() -> None:
    whole = _foreign(5500, amount_captured=3000)["assets:stripe:clearing eur"]
    reversal = _foreign(-2200, "partial_capture_reversal", amount_captured=3000)["assets:stripe:clearing eur"]
    assert (whole, reversal) == (-5000, 2000)
    assert _foreign(3300, amount_captured=3000)["assets:stripe:clearing eur"] == -3000


def test_of_several_captures_each_transaction_is_about_its_own_part() -> None:
    several: dict[str, Any] = {"payment_method_details": {"card": {"multicapture": {"status": "available"}}}}
    assert _foreign(3300, **several)["liabilities:unapplied eur"] == -3000
    assert _foreign(2200, **several)["liabilities:unapplied eur"] == -2000


def _multicaptured(**more: Any) -> dict[str, dict[str, int]]:
    source = {
        "id": "ch_1", "object": "charge", "status": "succeeded", "amount": 5000, "amount_captured": 5000,
        "captured": True, "currency": "eur", "created": 1, "payment_intent": "pi_1",
        "metadata": {"tallystick_payment": OURS},
        "payment_method_details": {"card": {"multicapture": {"status": "available"}}},
    }  # fmt: skip
    body = transaction(fee=0, fee_details=[], source=source, exchange_rate=1.17, **more)
    return legs(balance_transaction_effects({**body, "reporting_category": "charge"}, {}))


@pytest.mark.parametrize("amount", [3333, 2222, 1, -3333])
def test_each_of_several_captures_is_a_sale_of_its_own_and_leaves_no_unit(amount: int) -> None:
    posted = _multicaptured(amount=amount, net=amount)
    movement, sale = posted["balance_transaction:txn_1"], posted["balance_transaction:txn_1:sale"]
    unapplied = "liabilities:unapplied eur"
    assert movement[unapplied] == -sale[unapplied] == sale["revenue:payments eur"]
    assert movement[unapplied] * amount < 0


def test_of_several_captures_made_elsewhere_each_parts_its_sale() -> None:
    source = {
        "id": "ch_1", "object": "charge", "status": "succeeded", "amount": 5000, "amount_captured": 5000,
        "captured": True, "currency": "usd", "created": 1, "payment_intent": "pi_1", "metadata": {},
        "payment_method_details": {"card": {"multicapture": {"status": "available"}}},
    }  # fmt: skip
    body = {**transaction(fee=0, fee_details=[], source=source, amount=3000, net=3000)}
    body["reporting_category"] = "charge"
    invoices, sessions = Question("invoice_payments", "pi_1"), Question("checkout_sessions", "pi_1")
    told = balance_transaction_effects(body, {})
    assert (set(legs(told)), told.waiting_for) == ({"balance_transaction:txn_1"}, (invoices,))
    session = {
        "id": "cs_1", "mode": "payment", "amount_total": 5000, "currency": "usd",
        "total_details": {"amount_tax": 800, "amount_shipping": 0},
    }  # fmt: skip
    facts: Facts = {invoices: {"data": []}, sessions: {"data": [session]}}
    assert legs(balance_transaction_effects(body, facts))["balance_transaction:txn_1:sale"] == {
        "liabilities:unapplied": 3000, "revenue:payments": -2520, "liabilities:tax_payable": -480,
    }  # fmt: skip
    pays = {
        "invoice": "in_1", "status": "open", "currency": "usd",
        "payment": {"type": "payment_intent", "payment_intent": "pi_1"},
    }  # fmt: skip
    assert set(legs(balance_transaction_effects(body, {invoices: {"data": [pays]}}))) == {
        "balance_transaction:txn_1"
    }


def test_several_bank_transfers_pay_one_payment_in_any_order() -> None:
    story = StripeStory()
    intent = story.intent(5000, ours=OURS, payment_method_types=["card", "customer_balance"])
    posted: dict[str, dict[str, int]] = {}
    for amount in (2000, 3000):
        charge = story.charge(intent)
        charge.update(amount=amount, amount_captured=amount)
        charge["payment_method_details"] = {"type": "customer_balance"}
        effects = read(story.event("charge.succeeded", charge))
        assert effects.notices == ()
        posted |= legs(effects)
    intent.update(status="succeeded", amount_received=5000)
    told = read(story.event("payment_intent.succeeded", intent))
    assert told.transactions == ()
    assert [(notice.type, notice.data["amount"]) for notice in told.notices] == [("payment.succeeded", 5000)]
    sales = [entry for key, entry in posted.items() if key.endswith(":sale")]
    assert [entry["revenue:payments"] for entry in sales] == [-2000, -3000]
    assert sum(entry.get("liabilities:unapplied", 0) for entry in posted.values()) == 0


def test_the_reporting_category_decides_before_the_type() -> None:
    body = transaction(type="adjustment", reporting_category="dispute_reversal")
    assert counter_account(BalanceTransaction.read(body)) == "assets:stripe:disputed"

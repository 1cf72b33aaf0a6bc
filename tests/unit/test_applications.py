"""What money was for: sales and their parts, invoices, and what turns from one into the other."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from tests.builders import Json, StripeStory
from tests.unit.test_events import OURS, last, legs, read

from tallystick.events.applications import Sale
from tallystick.events.revenue import UNMAPPED
from tallystick.events.spec import Facts, Question
from tallystick.stripe_gateway.application_payloads import CheckoutSession

IN, OTHER = "in_1", "in_2"
NOTHING: Json = {"data": []}


def asked(intent: Json, *, invoices: Json = NOTHING, sessions: Json | None = None) -> dict[Question, Any]:
    """The answers to both questions about a PaymentIntent; without ``sessions`` to the first alone."""
    facts: dict[Question, Any] = {Question("invoice_payments", intent["id"]): invoices}
    if sessions is not None:
        facts[Question("checkout_sessions", intent["id"])] = sessions
    return facts


def pays(intent: Json, invoice: str = IN, *, paid: int | None = None) -> Json:
    """An invoice payment of the PaymentIntent, open unless ``paid``."""
    return {
        "id": f"inpay_{invoice}",
        "object": "invoice_payment",
        "invoice": invoice,
        "amount_paid": paid,
        "amount_requested": intent["amount"],
        "currency": intent["currency"],
        "payment": {"type": "payment_intent", "payment_intent": intent["id"]},
        "status": "open" if paid is None else "paid",
        "status_transitions": {"paid_at": None if paid is None else 1_790_000_500},
    }


def within(row: Json, intent: Json) -> Json:
    """An invoice payment as it is listed: with its PaymentIntent inside."""
    return {**row, "payment": {**row["payment"], "payment_intent": intent}}


def session(intent: Json, **more: Any) -> Json:
    """A Checkout Session of 10.00 in goods, 5.00 for shipping and 1.50 of tax."""
    return {
        "id": "cs_1",
        "object": "checkout.session",
        "mode": "payment",
        "payment_status": "paid",
        "payment_intent": intent["id"],
        "invoice": None,
        "invoice_creation": {"enabled": False},
        "currency": "usd",
        "amount_total": 1650,
        "total_details": {"amount_discount": 0, "amount_shipping": 500, "amount_tax": 150},
        **more,
    }


def test_until_it_is_known_what_a_payment_was_for_only_the_movement_is_posted() -> None:
    story = StripeStory()
    charge = story.succeed(intent := story.intent(1650))
    event = last(story, "charge.succeeded")
    first = read(event)
    assert set(legs(first)) == {f"charge:{charge['id']}:captured"}
    assert first.waiting_for == (Question("invoice_payments", intent["id"]),)
    second = read(event, asked(intent))
    assert set(legs(second)) == set(legs(first))
    assert second.waiting_for == (Question("checkout_sessions", intent["id"]),)


def test_no_invoice_and_no_checkout_is_a_sale() -> None:
    story = StripeStory()
    charge = story.succeed(intent := story.intent(1650))
    facts = asked(intent, sessions=NOTHING)
    by_charge = read(last(story, "charge.succeeded"), facts)
    by_intent = read(last(story, "payment_intent.succeeded"), facts)
    assert (
        legs(by_charge)
        == legs(by_intent)
        == {
            f"charge:{charge['id']}:captured": {
                "assets:stripe:clearing": 1650,
                "liabilities:unapplied": -1650,
            },
            f"payment:{intent['id']}:sale": {"liabilities:unapplied": 1650, "revenue:payments": -1650},
        }
    )
    assert not by_charge.waiting_for


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        ({}, (1000, 500, 150)),
        # tax is in the prices: shipping of 5.00 holds 0.45 of it
        (
            {
                "amount_total": 1500,
                "total_details": {"amount_shipping": 500, "amount_tax": 136},
                "shipping_cost": {"amount_subtotal": 500, "amount_total": 500, "amount_tax": 45},
            },
            (909, 455, 136),
        ),
        # tax comes on top of both
        (
            {
                "amount_total": 1650,
                "total_details": {"amount_shipping": 500, "amount_tax": 150},
                "shipping_cost": {"amount_subtotal": 500, "amount_total": 550, "amount_tax": 50},
            },
            (1000, 500, 150),
        ),
        ({"total_details": None}, (1650, 0, 0)),
        # what makes no whole is not made one
        ({"total_details": {"amount_shipping": 1600, "amount_tax": 150}}, (1650, 0, 0)),
    ],
)
def test_a_checkout_parts_its_sale(more: Json, parts: tuple[int, int, int]) -> None:
    story = StripeStory()
    body = session(story.intent(1650), **more)
    found = Sale.of(CheckoutSession.read(body))
    amounts = {
        leg.account: leg.amount for leg in found.legs(body["amount_total"], "usd", UNMAPPED) if leg.amount
    }
    unapplied = amounts.pop("liabilities:unapplied")
    named = ("revenue:payments", "revenue:shipping", "liabilities:tax_payable")
    assert amounts == {name: part for name, part in zip(named, parts, strict=True) if part}
    assert unapplied == sum(parts)


def test_of_a_partial_capture_each_part_is_sold_in_proportion() -> None:
    story = StripeStory()
    charge = story.authorise(intent := story.intent(1650))
    story.capture(intent, charge, 1000)
    facts = asked(intent, sessions={"data": [session(intent)]})
    posted = legs(read(last(story, "charge.captured"), facts))[f"payment:{intent['id']}:sale"]
    assert posted == {
        "liabilities:unapplied": 1000,
        "revenue:payments": -606,
        "revenue:shipping": -303,
        "liabilities:tax_payable": -91,
    }


@pytest.mark.parametrize("status", ["open", "paid"])
def test_an_invoice_payment_is_no_sale_from_the_moment_it_exists(status: str) -> None:
    story = StripeStory()
    charge = story.succeed(intent := story.intent(1900))
    row = pays(intent, paid=1900 if status == "paid" else None)
    effects = read(last(story, "charge.succeeded"), asked(intent, invoices={"data": [row]}))
    paid = {f"invoice:{IN}:paid:{intent['id']}"} if status == "paid" else set()
    assert set(legs(effects)) == {f"charge:{charge['id']}:captured", *paid}
    assert not effects.waiting_for


def test_a_canceled_invoice_payment_pays_nothing() -> None:
    story = StripeStory()
    story.succeed(intent := story.intent(1900))
    row = {**pays(intent), "status": "canceled"}
    facts = asked(intent, invoices={"data": [row]}, sessions=NOTHING)
    assert f"payment:{intent['id']}:sale" in legs(read(last(story, "charge.succeeded"), facts))


def test_a_payment_pays_several_invoices() -> None:
    story = StripeStory()
    story.succeed(intent := story.intent(3000))
    rows = [pays(intent, IN, paid=2000), pays(intent, OTHER, paid=1000)]
    facts = asked(intent, invoices={"data": rows})
    by_charge = legs(read(last(story, "charge.succeeded"), facts))
    told = [read(story.event("invoice_payment.paid", row), facts) for row in rows]
    for row, effects in zip(rows, told, strict=True):
        key = f"invoice:{row['invoice']}:paid:{intent['id']}"
        assert legs(effects) == {key: by_charge[key]}
        assert by_charge[key] == {
            "liabilities:unapplied": row["amount_paid"],
            "assets:receivable": -row["amount_paid"],
        }


def test_a_sale_that_turns_out_to_pay_an_invoice_is_taken_back() -> None:
    """It was asked about before the invoice knew of it."""
    story = StripeStory()
    story.succeed(intent := story.intent(1650))
    facts = asked(intent, sessions={"data": [session(intent)]})
    sold = legs(read(last(story, "charge.succeeded"), facts))[f"payment:{intent['id']}:sale"]
    posted = legs(read(story.event("invoice_payment.paid", pays(intent, paid=1650)), facts))
    assert posted == {
        f"invoice:{IN}:paid:{intent['id']}": {"liabilities:unapplied": 1650, "assets:receivable": -1650},
        f"payment:{intent['id']}:sale:reversed:{IN}": {name: -amount for name, amount in sold.items()},
    }


def test_a_payment_of_ours_that_pays_an_invoice_in_part_is_taken_back_in_part() -> None:
    story = StripeStory()
    intent = story.intent(3000, ours=OURS)
    story.succeed(intent)
    row = pays(intent, paid=1000)
    effects = read(
        story.event("invoice_payment.paid", row), asked(intent, invoices={"data": [within(row, intent)]})
    )
    assert legs(effects)[f"payment:{intent['id']}:sale:reversed:{IN}"] == {
        "liabilities:unapplied": -1000,
        "revenue:payments": 1000,
    }
    assert {item.payment_id for item in effects.transactions} == {OURS}


def test_what_a_payment_record_pays_is_at_the_bank() -> None:
    story = StripeStory()
    row = {
        **pays(story.intent(900), paid=900),
        "payment": {"type": "payment_record", "payment_record": "pr_1"},
    }
    posted = legs(read(story.event("invoice_payment.paid", row)))
    assert posted == {f"invoice:{IN}:paid:pr_1": {"assets:bank": 900, "assets:receivable": -900}}


def test_an_old_shape_names_its_invoice_whatever_is_listed() -> None:
    """Listed and paid, listed and open, and not listed at all: the books are the same."""
    story = StripeStory(api_version="2023-10-16")
    charge = story.charge(intent := story.intent(1900))
    charge["invoice"] = IN
    event = story.event("charge.succeeded", charge)
    answers = [
        asked(intent, invoices={"data": [pays(intent, paid=1900)]}),
        asked(intent, invoices={"data": [pays(intent)]}),
        asked(intent, sessions=NOTHING),
    ]
    for facts in answers:
        sums: dict[str, int] = {}
        for account, amount in itertools.chain.from_iterable(
            entry.items() for entry in legs(read(event, facts)).values()
        ):
            sums[account] = sums.get(account, 0) + amount
        left = {account: amount for account, amount in sums.items() if amount}
        assert left == {"assets:stripe:clearing": 1900, "assets:receivable": -1900}


def test_a_checkout_that_makes_an_invoice_is_no_sale() -> None:
    story = StripeStory()
    charge = story.succeed(intent := story.intent(1650))
    coming = session(intent, invoice_creation={"enabled": True})
    event = last(story, "charge.succeeded")
    early: Facts = asked(intent, sessions={"data": [coming]})
    assert set(legs(read(event, early))) == {f"charge:{charge['id']}:captured"}
    made = {**coming, "invoice": IN}
    late: Facts = asked(intent, sessions={"data": [made]})
    key = f"invoice:{IN}:paid:{intent['id']}"
    assert set(legs(read(event, late))) == {f"charge:{charge['id']}:captured", key}
    told = story.event("checkout.session.completed", made)
    assert legs(read(told, early)) == {key: legs(read(event, late))[key]}
    # with invoice payments, they tell of it
    assert legs(read(told, asked(intent, invoices={"data": [pays(intent)]}))) == {}


def test_a_checkout_without_invoice_tells_nothing_of_its_own() -> None:
    story = StripeStory()
    event = story.event("checkout.session.completed", session(story.intent(1650)))
    assert not read(event).transactions
    assert not read(event).waiting_for


def _refund(story: StripeStory, charge: Json, amount: int, **more: Any) -> Json:
    refund = story.refund(charge, amount)
    refund.update(more)
    return refund


def test_refunds_of_a_sale_with_tax_give_back_all_of_it_in_any_order() -> None:
    """Each on its own would be rounded three times: 33.33, 33.33 and 33.34 of 100.00 with 16.67 of tax."""
    story = StripeStory()
    charge = story.succeed(intent := story.intent(10_000))
    bought = session(intent, amount_total=10_000, total_details={"amount_tax": 1667, "amount_shipping": 0})
    refunds = [_refund(story, charge, amount) for amount in (3333, 3333, 3334)]
    facts = asked(intent, sessions={"data": [bought]})
    facts[Question("charge", charge["id"])] = charge
    # the first was asked about when it was the only one, the second when the third was there
    known = (refunds[:1], refunds, refunds)
    given_back = []
    for refund, others in zip(refunds, known, strict=True):
        facts[Question("charge_refunds", f"{charge['id']}:{refund['id']}")] = {"data": others[::-1]}
        event = story.event("refund.created", refund)
        posted = legs(read(event, facts))[f"refund:{refund['id']}:applied"]
        assert posted["liabilities:unapplied"] == -refund["amount"]
        given_back.append(posted["liabilities:tax_payable"])
    assert (given_back, sum(given_back)) == ([556, 555, 556], 1667)


def test_a_refund_that_failed_counts_for_none_of_those_after_it() -> None:
    story = StripeStory()
    charge = story.succeed(intent := story.intent(1000))
    bought = session(intent, amount_total=1000, total_details={"amount_tax": 167, "amount_shipping": 0})
    failed = _refund(story, charge, 500, status="failed")
    again = _refund(story, charge, 500)
    facts = asked(intent, sessions={"data": [bought]})
    facts[Question("charge", charge["id"])] = charge
    facts[Question("charge_refunds", f"{charge['id']}:{again['id']}")] = {"data": [again, failed]}
    posted = legs(read(story.event("refund.created", again), facts))[f"refund:{again['id']}:applied"]
    assert posted == {
        "revenue:refunds": 416, "liabilities:tax_payable": 84, "liabilities:unapplied": -500,
    }  # fmt: skip


def test_a_refund_of_an_invoice_payment_is_applied_to_nothing() -> None:
    story = StripeStory()
    charge = story.succeed(intent := story.intent(1900))
    refund = _refund(story, charge, 400)
    facts = asked(intent, invoices={"data": [pays(intent, paid=1900)]})
    facts[Question("charge", charge["id"])] = charge
    effects = read(story.event("refund.created", refund), facts)
    assert set(legs(effects)) == {f"refund:{refund['id']}"}
    assert not effects.waiting_for


def invoice(**more: Any) -> Json:
    return {
        "id": IN,
        "object": "invoice",
        "status": "paid",
        "currency": "usd",
        "customer": "cus_1",
        "total": 2000,
        "amount_due": 2000,
        "amount_paid": 2000,
        "amount_remaining": 0,
        "status_transitions": {"paid_at": 1_790_000_600},
        **more,
    }


PAID_INVOICE = Question("paid_invoice", IN)


def test_an_invoice_tells_what_paid_it_and_what_was_paid_past_stripe() -> None:
    story = StripeStory()
    intent = story.intent(1500)
    event = story.event("invoice.paid", invoice())
    assert read(event).waiting_for == (PAID_INVOICE,)
    rows = [within(pays(intent, paid=1500), intent), {**pays(story.intent(500)), "status": "canceled"}]
    facts = {PAID_INVOICE: invoice(payments={"data": rows}), **asked(intent, invoices={"data": rows[:1]})}
    assert legs(read(event, facts)) == {
        f"invoice:{IN}:paid:{intent['id']}": {"liabilities:unapplied": 1500, "assets:receivable": -1500},
        f"invoice:{IN}:paid:out_of_band": {"assets:bank": 500, "assets:receivable": -500},
    }


def test_an_invoice_over_nothing_asks_nothing() -> None:
    event = StripeStory().event("invoice.paid", invoice(amount_due=0, amount_paid=0, total=0))
    assert not read(event).transactions
    assert not read(event).waiting_for


@pytest.mark.parametrize("out_of_band", [False, True])
def test_an_invoice_of_old_names_the_one_that_paid_it(out_of_band: bool) -> None:
    story = StripeStory(api_version="2020-08-27")
    intent = story.intent(2000)
    # before basil what was paid past Stripe did not count as paid
    old = invoice(
        payment_intent=intent["id"], charge="ch_1", paid_out_of_band=out_of_band,
        amount_paid=0 if out_of_band else 2000,
    )  # fmt: skip
    facts = {
        PAID_INVOICE: invoice(payments={"data": []}),
        **asked(intent, sessions={"data": [{**session(intent), "invoice": IN}]}),
    }
    by = "out_of_band" if out_of_band else intent["id"]
    account = "assets:bank" if out_of_band else "liabilities:unapplied"
    assert legs(read(story.event("invoice.paid", old), facts)) == {
        f"invoice:{IN}:paid:{by}": {account: 2000, "assets:receivable": -2000}
    }


def balance(amount: int, kind: str = "adjustment") -> Json:
    return {
        "id": f"cbtxn_{kind}", "object": "customer_balance_transaction", "type": kind, "amount": amount,
        "currency": "usd", "created": 1_790_000_700, "customer": "cus_1",
    }  # fmt: skip


def test_a_customers_balance_is_listed_upon_what_changes_it() -> None:
    story = StripeStory()
    customer = {"id": "cus_1", "object": "customer", "created": 1, "balance": -300}
    changed = story.event("customer.updated", customer)
    changed["data"]["previous_attributes"] = {"balance": 0}
    renamed = story.event("customer.updated", customer)
    renamed["data"]["previous_attributes"] = {"name": "Ada"}
    used = story.event("invoice.finalized", invoice(status="open", starting_balance=-300, ending_balance=0))
    note = story.event(
        "credit_note.created", {"customer": "cus_1", "customer_balance_transaction": "cbtxn_1"}
    )
    assert read(renamed).waiting_for == ()
    for event in (changed, used, note):
        assert read(event).waiting_for == (Question("customer_balance_transactions", f"cus_1:{event['id']}"),)
    rows = [balance(-300), balance(200, "applied_to_invoice"), balance(-100, "credit_note")]
    facts = {Question("customer_balance_transactions", f"cus_1:{changed['id']}"): {"data": rows}}
    assert legs(read(changed, facts)) == {
        "customer_balance_transaction:cbtxn_adjustment": {
            "assets:receivable": 300, "liabilities:customer_balance": -300,
        },
        "customer_balance_transaction:cbtxn_applied_to_invoice": {
            "liabilities:customer_balance": 200, "assets:receivable": -200,
        },
        "customer_balance_transaction:cbtxn_credit_note": {
            "liabilities:unapplied": 100, "liabilities:customer_balance": -100,
        },
    }  # fmt: skip

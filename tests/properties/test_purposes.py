"""What a payment was for comes out the same however early Stripe was asked, and whatever is heard first."""

from __future__ import annotations

import itertools
from collections import defaultdict
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests import billing_builders as billing
from tests.builders import Json, StripeStory

from tallystick.events.catalog import EVENTS
from tallystick.events.spec import Event, Facts, Question
from tallystick.ledger.entries import LedgerTransaction

OURS = "pay_" + "0" * 26
Answers = dict[Question, list[Any]]
"""What Stripe may have said to each question, by when it was asked."""

SCENES = st.fixed_dictionaries(
    {
        "amount": st.integers(min_value=100, max_value=99_999),
        "ours": st.booleans(),
        "captured": st.sampled_from(["all", "a part", "by bank transfers"]),
        "for": st.sampled_from(
            ["nothing", "checkout", "invoice", "two invoices", "attached later", "new invoice"]
        ),
        "with_checkout": st.booleans(),
        "tax": st.integers(min_value=0, max_value=40),
        "shipping": st.integers(min_value=0, max_value=40),
        "old": st.booleans(),
        "refunds": st.lists(st.integers(min_value=1, max_value=60), max_size=3),
    }
)


class Scene:
    """One payment, told whole, and all that Stripe may have answered about it."""

    def __init__(self, drawn: dict[str, Any]) -> None:
        self.drawn = drawn
        self.old = drawn["old"] and drawn["for"] in ("nothing", "invoice")
        self.story = StripeStory(api_version="2023-10-16" if self.old else "2026-10-28.endive")
        # what is made with an invoice or a checkout is not made through our API
        self.ours = drawn["ours"] and drawn["for"] in ("nothing", "attached later")
        self.intent = self.story.intent(drawn["amount"], ours=OURS if self.ours else None)
        self.answers: Answers = {}
        self.rows: list[Json] = []
        self.stages: list[list[Json]] = []
        self.sessions: list[list[Json]] = [[]]
        getattr(self, "_" + drawn["for"].replace(" ", "_"))()
        self._refund()
        self._note_answers()

    def _capture(self) -> None:
        if self.drawn["captured"] == "by bank transfers":
            self._transfer()
        elif self.drawn["captured"] == "all":
            self.charge = self.story.succeed(self.intent)
        else:
            self.charge = self.story.authorise(self.intent)
            self.story.capture(self.intent, self.charge, self.drawn["amount"] * 2 // 3)

    def _transfer(self) -> None:
        """Two transfers, each a charge of its own."""
        amount = self.drawn["amount"]
        self.intent["payment_method_types"] = ["card", "customer_balance"]
        for part in (amount // 3, amount - amount // 3):
            self.charge = self.story.charge(self.intent)
            self.charge.update(
                amount=part, amount_captured=part, payment_method_details={"type": "customer_balance"}
            )
            self.story.event("charge.succeeded", self.charge)
        self.intent.update(status="succeeded", amount_received=amount)
        self.story.event("payment_intent.succeeded", self.intent)

    @property
    def received(self) -> int:
        return int(self.intent["amount_received"])

    def _seen(self) -> None:
        """The invoice payments as they stand, for whoever asks now."""
        self.stages.append([dict(row) for row in self.rows])

    def _session(self, **more: Any) -> Json:
        amount = self.drawn["amount"]
        tax, shipping = amount * self.drawn["tax"] // 100, amount * self.drawn["shipping"] // 100
        return billing.checkout(self.story, self.intent, tax=tax, shipping=shipping, **more)

    def _nothing(self) -> None:
        self._capture()

    def _checkout(self) -> None:
        self._capture()
        self.sessions = [[self._session()]]

    def _invoice(self, parts: int = 1) -> None:
        first = self.drawn["amount"] // parts
        self._capture_of([first, self.drawn["amount"] - first][:parts])

    def _two_invoices(self) -> None:
        self._invoice(parts=2)

    def _capture_of(self, amounts: list[int]) -> None:
        """Invoice payments that are there, open, before anything is captured."""
        if self.drawn["captured"] == "a part":
            self.drawn = {**self.drawn, "captured": "all"}
        invoices = [billing.invoice(self.story, amount) for amount in amounts]
        for of in invoices:
            self.rows.append(billing.attach(self.story, of, self.intent, of["amount_due"]))
        self._capture()
        if self.old:
            self._name(invoices[0])
        self._seen()
        for row in self.rows:
            billing.paid(self.story, row)
            self._seen()

    def _name(self, invoice: Json) -> None:
        """As shapes before basil do."""
        for event in self.story.events:
            if event["data"]["object"]["object"] in ("charge", "payment_intent"):
                event["data"]["object"]["invoice"] = invoice["id"]
        self.stages.append([])  # or it has no invoice payment, being older than they are

    def _attached_later(self) -> None:
        self._capture()
        # of a checkout that two transfers pay, each parts its own: taken back whole, a unit can be left
        if self.drawn["with_checkout"] and not self.ours and self.drawn["captured"] != "by bank transfers":
            self.sessions = [[self._session()]]
        self._seen()
        amount = self.received // 2 if self.ours else self.received
        of = billing.invoice(self.story, amount)
        self.rows.append(billing.attach(self.story, of, self.intent, amount))
        self._seen()
        billing.paid(self.story, self.rows[0])
        self._seen()

    def _new_invoice(self) -> None:
        """A checkout that makes an invoice once it is paid."""
        if self.drawn["captured"] == "a part":
            self.drawn = {**self.drawn, "captured": "all"}
        self._capture()
        self._seen()
        of = billing.invoice(self.story, self.received)
        session = self._session(invoice=of["id"], invoice_creation={"enabled": True})
        self.sessions = [[{**session, "invoice": None}], [session]]
        self.rows.append(billing.attach(self.story, of, self.intent, self.received))
        self._seen()
        billing.paid(self.story, self.rows[0])
        self._seen()

    def _refund(self) -> None:
        if self.drawn["for"] not in ("nothing", "checkout"):
            return
        left = self.charge["amount_captured"]
        percents = self.drawn["refunds"]
        for percent in percents:
            amount = min(left, self.charge["amount_captured"] * percent // 100)
            if amount:
                self.story.refund(self.charge, amount)
                left -= amount
        if left and len(percents) == 3:
            self.story.refund(self.charge, left)

    def _note_answers(self) -> None:
        intent = self.intent["id"]
        rows = [
            {"data": [{**row, "payment": {**row["payment"], "payment_intent": self.intent}} for row in stage]}
            for stage in self.stages or [[]]
        ]
        self.answers[Question("invoice_payments", intent)] = rows
        self.answers[Question("checkout_sessions", intent)] = [{"data": each} for each in self.sessions]
        self.answers[Question("charge", self.charge["id"])] = [self.charge]
        refunds = list(self.story.refunds.values())
        for place, refund in enumerate(refunds):
            question = Question("charge_refunds", f"{self.charge['id']}:{refund['id']}")
            self.answers[question] = [{"data": known} for known in (refunds[place::-1], refunds[::-1])]
        for event in self.story.events:
            if event["type"] == "charge.refunded":  # in old shapes it does not tell which
                question = Question("charge_refunds", f"{self.charge['id']}:{event['id']}")
                self.answers[question] = [{"data": refunds}]
        for of in self.story.invoices.values():
            listed = [row for row in self.rows if row["invoice"] == of["id"]]
            self.answers[Question("paid_invoice", of["id"])] = [{**of, "payments": {"data": listed}}]

    def books(self, facts: Facts) -> dict[str, int]:
        """What all events come to, each effect key once, by account (debits positive)."""
        posted: dict[str, LedgerTransaction] = {}
        for event in self.story.events:
            effects = EVENTS[event["type"]].rule(Event.read(event), facts)
            assert not effects.waiting_for, f"{event['type']} waits for {effects.waiting_for}"
            for made in effects.transactions:
                assert posted.setdefault(made.effect_key, made).digest == made.digest, made.effect_key
        sums: dict[str, int] = defaultdict(int)
        for leg in (leg for made in posted.values() for leg in made.entries):
            sums[leg.account] += leg.direction * leg.amount
        return {account: amount for account, amount in sums.items() if amount}


@given(drawn=SCENES)
@settings(max_examples=100, deadline=None)
def test_the_books_do_not_depend_on_when_stripe_was_asked(drawn: dict[str, Any]) -> None:
    scene = Scene(drawn)
    ways = [
        scene.books(dict(zip(scene.answers, chosen, strict=True)))
        for chosen in itertools.product(*scene.answers.values())
    ]
    assert all(books == ways[0] for books in ways)
    refunded = sum(refund["amount"] for refund in scene.story.refunds.values())
    books = ways[0]
    assert books.get("liabilities:unapplied", 0) == 0
    assert books.get("assets:stripe:clearing", 0) == scene.received - refunded
    assert -books.get("assets:receivable", 0) == sum(
        of["amount_paid"] for of in scene.story.invoices.values()
    )
    if refunded == scene.received:  # what came back whole leaves no tax
        assert books.get("liabilities:tax_payable", 0) == 0

"""The demo's round of payments over HTTP, and what must come of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
from rich.table import Table

from tallystick.cli.ledger import trial_balance_table
from tallystick.cli.output import err
from tallystick.embedded.installation import SANDBOX_KEY
from tallystick.errors import ConfigurationError
from tallystick.ledger.balances import AccountBalance
from tallystick.ledger.chart import AccountType

_PATIENCE_S: Final = 30.0
_POLL_S: Final = 0.05
Json = dict[str, Any]


class Tour:
    """Walks through the payments; ``payments`` and ``failures`` hold what came of it."""

    def __init__(self, *, api: str, sandbox: str, api_key: str) -> None:
        headers = {"Authorization": f"Bearer {api_key}"}
        self._api = httpx.AsyncClient(base_url=api, headers=headers, timeout=30.0, trust_env=False)
        self._stripe = httpx.AsyncClient(
            base_url=sandbox, auth=(SANDBOX_KEY, ""), timeout=30.0, trust_env=False
        )
        self.payments: list[tuple[str, Json]] = []
        self.failures: list[str] = []
        self.checks = 0
        self._trial_balance: list[Json] = []
        self._stripe_balance: dict[str, int] = {}

    async def walk(self) -> None:
        """Every stop of the tour, in turn; then wait for the books to close, and compare them."""
        stops: tuple[tuple[str, Callable[[], Awaitable[str | None]]], ...] = (
            ("A payment that succeeds", self._succeeds),
            ("A card that is declined", self._declined),
            ("3D Secure, then authenticated", self._authenticated),
            ("Authorised, then captured in part", self._captured_in_part),
            ("Refunded in part, twice", self._refunded_twice),
            ("A refund of more than is left", self._refund_too_much),
            ("A payment in yen, which has no minor unit", self._yen),
            ("The same request 20 times at once, one Idempotency-Key", self._same_request_20_times),
            ("One webhook delivered 5 times", self._webhook_5_times),
        )
        async with self._api, self._stripe:
            if (await self._api.get("/payments", params={"limit": 1})).raise_for_status().json()["data"]:
                raise ConfigurationError("The demo wants an empty database, and DATABASE_URL has payments.")
            shown: list[tuple[str, str]] = []
            for title, stop in stops:
                async with self._timed(title):
                    try:
                        payment = await stop()
                    except (httpx.HTTPError, KeyError) as error:  # an answer that was not expected at all
                        self._expect(False, f"{title}: {type(error).__name__}: {error}")
                        payment = None
                if payment:
                    shown.append((title, payment))
            async with self._timed("Waiting for the last webhooks, fees and ledger entries"):
                await self._until_settled()
            self.payments = [(title, await self._payment(payment)) for title, payment in shown]
            self._check_books()

    def balance_sheet(self) -> Table:
        """The trial balance that the API answered, laid out as ``tallystick ledger trial-balance`` does."""
        return trial_balance_table(
            [
                AccountBalance(
                    row["account"], AccountType(row["type"]), row["currency"], row["debits"], row["credits"]
                )
                for row in self._trial_balance
            ]
        )

    async def _succeeds(self) -> str:
        payment = await self._pay(2500, "eur")
        self._expect(payment["status"] == "succeeded", f"a payment succeeds, it is {payment['status']}")
        return str(payment["id"])

    async def _declined(self) -> str:
        answer = await self._post(
            "/payments", amount=1999, currency="usd", payment_method="pm_card_chargeDeclined", confirm=True
        )
        problem = answer.json()
        self._expect(
            answer.status_code == 402 and problem.get("code") == "card_declined",
            f"a declined card is 402 card_declined, it is {answer.status_code} {problem.get('code')}",
        )
        payment = str(problem["payment"]["id"])
        await self._until(payment, lambda seen: seen["status"] == "requires_payment_method", "declined")
        return payment

    async def _authenticated(self) -> str:
        payment = await self._pay(
            4200,
            "usd",
            payment_method="pm_card_authenticationRequired",
            return_url="https://example.com/done",
        )
        self._expect(payment["status"] == "requires_action", f"3DS is asked for, it is {payment['status']}")
        intent = payment["stripe"]["payment_intent"]
        answer = await self._stripe.post(
            f"/_control/payment_intents/{intent}/authenticate", json={"outcome": "succeed"}
        )
        answer.raise_for_status()
        await self._until(payment["id"], lambda seen: seen["status"] == "succeeded", "authenticated")
        return str(payment["id"])

    async def _captured_in_part(self) -> str:
        payment = await self._pay(6500, "usd", capture_method="manual")
        self._expect(payment["status"] == "requires_capture", f"authorised only, it is {payment['status']}")
        captured = (await self._post(f"/payments/{payment['id']}/capture", amount=5000)).json()
        self._expect(
            (captured.get("status"), captured.get("amount_captured")) == ("succeeded", 5000),
            f"5000 of 6500 are captured, it is {captured.get('status')} {captured.get('amount_captured')}",
        )
        return str(payment["id"])

    async def _refunded_twice(self) -> str:
        payment = await self._pay(10_000, "usd")
        for amount in (3000, 1500):
            answer = await self._post(f"/payments/{payment['id']}/refund", amount=amount)
            self._expect(answer.is_success, f"a refund of {amount} is taken, it is {answer.status_code}")
        self._refunded = str(payment["id"])
        return self._refunded

    async def _refund_too_much(self) -> None:
        answer = await self._post(f"/payments/{self._refunded}/refund", amount=5501)
        code = answer.json().get("code")
        self._expect(
            answer.status_code == 422 and code == "refund_exceeds_available",
            f"more than is left is 422 refund_exceeds_available, it is {answer.status_code} {code}",
        )

    async def _yen(self) -> str:
        payment = await self._pay(5000, "jpy")
        self._expect(payment["status"] == "succeeded", f"5000 yen are paid, it is {payment['status']}")
        return str(payment["id"])

    async def _same_request_20_times(self) -> str:
        body = {"amount": 3300, "currency": "eur", "payment_method": "pm_card_visa", "confirm": True}
        headers = {"Idempotency-Key": f"demo-{time.time_ns()}"}
        answers = await asyncio.gather(
            *(self._api.post("/payments", json=body, headers=headers) for _ in range(20))
        )
        bodies = {answer.text for answer in answers}
        self._expect(len(bodies) == 1 and answers[0].is_success, f"20 equal answers, got {len(bodies)} kinds")
        payment = str(answers[0].json()["id"])
        intents = (await self._stripe.get("/v1/payment_intents", params={"limit": 100})).json()["data"]
        ours = [intent for intent in intents if intent["metadata"].get("tallystick_payment") == payment]
        self._expect(len(ours) == 1, f"one PaymentIntent at Stripe, there are {len(ours)}")
        return payment

    async def _webhook_5_times(self) -> str:
        payment = await self._pay(1200, "eur")
        seen = await self._until(payment["id"], _has_fees, "in the ledger")
        before = [item["id"] for item in seen["ledger"]]
        events = (await self._stripe.get("/v1/events", params={"type": "charge.succeeded"})).json()["data"]
        event = next(each for each in events if each["data"]["object"]["id"] == seen["stripe"]["charge"])
        answer = await self._stripe.post(f"/_control/events/{event['id']}/deliver", json={"times": 5})
        answer.raise_for_status()
        await asyncio.sleep(1.0)  # long enough for five deliveries to be processed, were they not passed over
        after = [item["id"] for item in (await self._payment(payment["id"]))["ledger"]]
        self._expect(before == after, f"one effect of five deliveries, the ledger went {before} to {after}")
        return str(payment["id"])

    async def _pay(self, amount: int, currency: str, **more: Any) -> Json:
        body = {"payment_method": "pm_card_visa", "confirm": True, **more}
        answer = await self._post("/payments", amount=amount, currency=currency, **body)
        answer.raise_for_status()
        return dict(answer.json())

    async def _post(self, path: str, **body: Any) -> httpx.Response:
        return await self._api.post(path, json=body)

    async def _payment(self, payment: str) -> Json:
        answer = await self._api.get(f"/payments/{payment}")
        return dict(answer.raise_for_status().json())

    async def _until(self, payment: str, reached: Callable[[Json], bool], what: str) -> Json:
        """Wait until the webhooks have brought the payment to where it should be."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            seen = await self._payment(payment)
            if reached(seen) or time.monotonic() > deadline:
                self._expect(reached(seen), f"{payment} is {what} within {_PATIENCE_S:.0f} s")
                return seen
            await asyncio.sleep(_POLL_S)

    async def _until_settled(self) -> None:
        """Wait until no event is under way and clearing has drained in every currency."""
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            await self._read_balances()
            clearing = [row for row in self._trial_balance if row["account"] == "assets:stripe:clearing"]
            if clearing and all(row["balance"] == 0 for row in clearing) and self._matches_stripe():
                return
            await asyncio.sleep(_POLL_S)

    async def _read_balances(self) -> None:
        balance = (await self._stripe.get("/v1/balance")).json()
        trial_balance = await self._api.get("/ledger/trial-balance")
        self._trial_balance = trial_balance.raise_for_status().json()["data"]
        sums: dict[str, int] = {}
        for fund in balance["pending"] + balance["available"]:
            sums[fund["currency"]] = sums.get(fund["currency"], 0) + fund["amount"]
        self._stripe_balance = {currency: amount for currency, amount in sums.items() if amount}

    def _ours_at_stripe(self) -> dict[str, int]:
        rows = (row for row in self._trial_balance if row["account"] == "assets:stripe:balance")
        return {row["currency"]: row["balance"] for row in rows if row["balance"]}

    def _matches_stripe(self) -> bool:
        return self._ours_at_stripe() == self._stripe_balance

    def _check_books(self) -> None:
        currencies = {row["currency"] for row in self._trial_balance}
        for currency in sorted(currencies):
            rows = [row for row in self._trial_balance if row["currency"] == currency]
            debits, credits_ = (sum(row[side] for row in rows) for side in ("debits", "credits"))
            self._expect(debits == credits_, f"{currency}: debits {debits} equal credits {credits_}")
            for row in rows:
                if row["account"] in ("assets:stripe:clearing", "liabilities:unapplied"):
                    self._expect(
                        row["balance"] == 0, f"{row['account']} {currency} is 0, not {row['balance']}"
                    )
        ours = self._ours_at_stripe()
        self._expect(
            self._matches_stripe(), f"our balance at Stripe {ours} is Stripe's {self._stripe_balance}"
        )

    def _expect(self, holds: bool, what: str) -> None:
        self.checks += 1
        if not holds:
            self.failures.append(what)

    @asynccontextmanager
    async def _timed(self, title: str) -> AsyncIterator[None]:
        started = time.monotonic()
        failed_before = len(self.failures)
        with err.status(f"{title} …"):
            yield
        mark = "[red]✗[/red]" if len(self.failures) > failed_before else "[green]✓[/green]"
        err.print(f"{mark} {title} [dim]({time.monotonic() - started:.2f} s)[/dim]", highlight=False)


def _has_fees(payment: Json) -> bool:
    """Whether the charge's balance transaction, which comes last, is in the ledger."""
    return any(item["effect_key"].startswith("balance_transaction:") for item in payment["ledger"])

"""The gateway against a scripted server: every way in which Stripe can answer, or not."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

import pytest
import stripe

from tallystick.errors import StripeAccessError, TallystickError
from tallystick.settings import load_settings
from tallystick.stripe_gateway.answers import (
    AlreadyRefundedError,
    AmountRefusedError,
    DeclinedError,
    MissingPermissionError,
    RefusedError,
    StateRefusedError,
    UnavailableError,
)
from tallystick.stripe_gateway.breaker import BreakerState
from tallystick.stripe_gateway.client import StripeGateway
from tallystick.stripe_gateway.declines import HIDDEN, PLAIN

KEY = "sk_test_51SecretSecret"
DATE = "Tue, 24 Nov 2026 06:00:00 GMT"
AT = 1_795_500_000
INTENT = {"id": "pi_1", "object": "payment_intent", "status": "requires_payment_method"}


@dataclass
class Script:
    """A server that gives the scripted answers in turn, the last one for ever."""

    answers: list[bytes | None] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    pause_s: float = 0.0
    open_at_once: int = 0
    most_open: int = 0
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open_at_once += 1
        self.most_open = max(self.most_open, self.open_at_once)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next(
                    (
                        int(line[15:])
                        for line in head.split("\r\n")
                        if line.lower().startswith("content-length")
                    ),
                    0,
                )
                body = (await reader.readexactly(length)).decode()
                self.requests.append(head + body)
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                await asyncio.sleep(self.pause_s)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
                if b"Content-Length: 999" in answer:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open_at_once -= 1
            writer.close()

    def idempotency_keys(self) -> list[str]:
        lines = [line for request in self.requests for line in request.split("\r\n")]
        return [line.partition(": ")[2] for line in lines if line.lower().startswith("idempotency-key")]


def http(status: int, body: Any, **headers: str) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"Date": DATE, "Content-Length": str(len(content)), "Request-Id": "req_1", **headers}
    lines = [f"HTTP/1.1 {status} X", *(f"{name.replace('_', '-')}: {value}" for name, value in given.items())]
    return "\r\n".join([*lines, "", ""]).encode() + content


def error(kind: str, message: str = "No.", **fields: Any) -> dict[str, Any]:
    return {"error": {"type": kind, "message": message, **fields}}


@pytest.fixture
async def script(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Script]:
    monkeypatch.setattr(stripe.HTTPClient, "INITIAL_DELAY", 0.01)
    made = Script()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield made
    server.close()


@pytest.fixture
async def gateway(script: Script) -> AsyncIterator[StripeGateway]:
    made = open_gateway(script.url)
    yield made
    await made.close()


def open_gateway(url: str, **settings: Any) -> StripeGateway:
    given = {"stripe_secret_key": KEY, "stripe_api_base": url, "stripe_max_retries": 0, **settings}
    return StripeGateway(load_settings({}, require=(), **given))


async def create(gateway: StripeGateway) -> Any:
    params = {"amount": 100, "currency": "usd", "metadata": {"a": "b c"}}
    return await gateway.create_payment_intent(params, "key-1")


async def test_an_answer_is_the_json_and_stripes_clock(script: Script, gateway: StripeGateway) -> None:
    script.answers = [http(200, {**INTENT, "unit_amount_decimal": "1.50", "nested": {"list": [1]}})]
    answer = await create(gateway)
    assert answer.object == {**INTENT, "unit_amount_decimal": "1.50", "nested": {"list": [1]}}
    assert (answer.at, answer.replayed) == (AT, False)
    request = unquote_plus(script.requests[0])
    assert request.startswith("POST /v1/payment_intents ")
    assert request.endswith("amount=100&currency=usd&metadata[a]=b c")
    assert f"Authorization: Bearer {KEY}" in request
    assert script.idempotency_keys() == ["key-1"]


async def test_a_broken_date_is_replaced_by_ours(script: Script, gateway: StripeGateway) -> None:
    script.answers = [http(200, INTENT, Date="yesterday")]
    assert (await create(gateway)).at > AT - 365 * 86_400


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, error("invalid_request_error", param="currency"), RefusedError),
        (404, error("invalid_request_error", code="resource_missing", param="customer"), RefusedError),
        (400, error("invalid_request_error", code="amount_too_small", param="amount"), AmountRefusedError),
        (400, error("invalid_request_error", code="payment_intent_unexpected_state"), StateRefusedError),
        (400, error("invalid_request_error", code="charge_already_refunded"), AlreadyRefundedError),
        (402, error("card_error", code="card_declined"), DeclinedError),
        (401, error("invalid_request_error", f"Invalid API Key provided: {KEY}"), StripeAccessError),
        (403, error("invalid_request_error", f"The key {KEY} may not"), MissingPermissionError),
        (400, error("idempotency_error"), UnavailableError),
        (409, error("idempotency_error", code="idempotency_key_in_use"), UnavailableError),
        (429, error("invalid_request_error", code="rate_limit"), UnavailableError),
        (429, error("invalid_request_error", code="lock_timeout"), UnavailableError),
        (500, error("api_error"), UnavailableError),
        (503, b"<html>no JSON</html>", UnavailableError),
        (200, b"<html>a captive portal</html>", UnavailableError),
        (404, b"not Stripe at all", UnavailableError),
        (400, error("invalid_request_error", f"You sent {KEY}"), RefusedError),
        (402, error("card_error", f"You sent {KEY}"), DeclinedError),
        (500, {"error": "text"}, UnavailableError),
        (400, b"[]", UnavailableError),
        (200, b"[]", UnavailableError),
    ],
)
async def test_each_answer_has_its_error_and_none_shows_the_key(
    script: Script, caplog: pytest.LogCaptureFixture, status: int, body: Any, kind: type[TallystickError]
) -> None:
    gateway = open_gateway(script.url)
    caplog.set_level(logging.DEBUG)
    script.answers = [http(status, body)]
    with pytest.raises(TallystickError) as caught:
        await create(gateway)
    assert type(caught.value) is kind
    shown = "".join(traceback.format_exception(caught.value))
    for text in (caught.value.detail, str(caught.value), repr(caught.value), str(caught.value.extra), shown):
        assert KEY not in text
    assert KEY not in caplog.text
    await gateway.close()


@pytest.mark.parametrize(
    ("answers", "unknown"),
    [
        ([http(500, error("api_error"))], True),
        ([http(409, error("idempotency_error"))], True),
        ([http(400, error("idempotency_error"))], True),
        ([http(429, error("invalid_request_error"))], False),
        ([None], True),
        ([http(200, b"{}", Content_Length="999")], True),
        ([b"nonsense\r\n\r\n"], True),
        ([http(200, b"no json")], True),
        ([None, http(429, error("invalid_request_error"))], True),
        ([http(500, error("api_error")), http(429, error("invalid_request_error"))], True),
        ([http(429, error("invalid_request_error"))] * 2, False),
    ],
)
async def test_whether_the_work_may_have_been_done(
    script: Script, answers: list[bytes | None], unknown: bool
) -> None:
    script.answers = list(answers)
    gateway = open_gateway(script.url, stripe_max_retries=len(answers) - 1)
    with pytest.raises(UnavailableError) as caught:
        await create(gateway)
    assert caught.value.outcome_unknown is unknown
    assert caught.value.retry_after
    assert len(script.requests) == len(answers)
    assert set(script.idempotency_keys()) == {"key-1"}
    await gateway.close()


async def test_a_refused_connection_never_reached_stripe() -> None:
    for url in ("http://127.0.0.1:9", "http://no-such-host.invalid"):
        gateway = open_gateway(url)
        with pytest.raises(UnavailableError) as caught:
            await create(gateway)
        assert caught.value.outcome_unknown is False
        await gateway.close()


async def test_a_refused_connection_after_a_lost_answer_leaves_it_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stripe.HTTPClient, "INITIAL_DELAY", 0.01)
    server: asyncio.Server | None = None

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        assert server is not None
        server.close()
        writer.close()

    server = await asyncio.start_server(once, "127.0.0.1", 0)
    gateway = open_gateway(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", stripe_max_retries=2)
    with pytest.raises(UnavailableError) as caught:
        await create(gateway)
    assert caught.value.outcome_unknown is True
    await gateway.close()


async def test_no_answer_in_time_is_unknown(script: Script) -> None:
    script.answers, script.pause_s = [http(200, INTENT)], 0.5
    gateway = open_gateway(script.url, stripe_timeout_s=0.1)
    with pytest.raises(UnavailableError) as caught:
        await create(gateway)
    assert caught.value.outcome_unknown is True
    await gateway.close()


async def test_what_passes_is_tried_again_under_the_same_key(script: Script) -> None:
    script.answers = [
        http(500, error("api_error")),
        None,
        http(429, error("invalid_request_error", code="lock_timeout")),
        http(200, INTENT),
    ]
    gateway = open_gateway(script.url, stripe_max_retries=3)
    assert (await create(gateway)).object == INTENT
    assert script.idempotency_keys() == ["key-1"] * 4
    await gateway.close()


async def test_stripe_can_say_not_to_try_again(script: Script) -> None:
    script.answers = [http(429, error("invalid_request_error"), Stripe_Should_Retry="false")]
    gateway = open_gateway(script.url, stripe_max_retries=3)
    with pytest.raises(UnavailableError):
        await create(gateway)
    assert len(script.requests) == 1
    await gateway.close()


async def test_a_decline_carries_the_payment_intent(script: Script, gateway: StripeGateway) -> None:
    declined = error(
        "card_error", "No funds.", code="card_declined", decline_code="insufficient_funds",
        advice_code="do_not_try_again", payment_intent=INTENT,
    )  # fmt: skip
    script.answers = [http(402, declined)]
    with pytest.raises(DeclinedError) as caught:
        await create(gateway)
    assert caught.value.status == 402
    assert caught.value.detail == "No funds."
    advice = caught.value.extra.pop("advice")
    assert advice.startswith("Do not try this card again. ")
    assert "another card" in advice
    assert "insufficient funds" in caught.value.extra.pop("customer_message")
    assert caught.value.extra == {
        "stripe_code": "card_declined", "decline_code": "insufficient_funds",
        "advice_code": "do_not_try_again",
    }  # fmt: skip
    assert caught.value.intent is not None
    assert (caught.value.intent.object, caught.value.intent.at) == (INTENT, AT)


@pytest.mark.parametrize("reason", sorted(HIDDEN))
async def test_the_customer_is_not_told_that_a_card_is_stolen(
    script: Script, gateway: StripeGateway, reason: str
) -> None:
    plain = error(
        "card_error", "Your card was declined.", code="card_declined", decline_code="generic_decline"
    )
    telling = error("card_error", f"It is a {reason}.", code="card_declined", decline_code=reason)
    script.answers = [http(402, plain), http(402, telling), http(402, error("card_error", code="new_one"))]
    shown = []
    for _ in range(3):
        with pytest.raises(DeclinedError) as caught:
            await create(gateway)
        shown.append((caught.value.detail, caught.value.extra["customer_message"]))
    assert shown[1][0] == "Your card was declined."
    assert shown[1][1] == shown[2][1] == PLAIN
    assert "issuer" in shown[0][1]
    assert caught.value.extra["advice"] == "Ask for another card."


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [("amount_to_capture", "amount"), ("metadata[a]", "metadata"), ("customer", "customer"), ("zip", None)],
)
async def test_a_refusal_names_our_field(
    script: Script, gateway: StripeGateway, theirs: str, ours: str | None
) -> None:
    script.answers = [http(400, error("invalid_request_error", param=theirs, code="x"))]
    with pytest.raises(RefusedError) as caught:
        await create(gateway)
    assert caught.value.param == ours
    assert caught.value.extra == {"stripe_code": "x", "stripe_param": theirs}


async def test_a_repeated_answer_is_looked_up_afresh(script: Script, gateway: StripeGateway) -> None:
    newer = {**INTENT, "status": "succeeded"}
    script.answers = [http(200, INTENT, Idempotent_Replayed="true"), http(200, newer)]
    assert (await create(gateway)).object == newer
    assert script.requests[1].startswith("GET /v1/payment_intents/pi_1 ")


async def test_a_repeated_decline_is_looked_up_afresh(script: Script, gateway: StripeGateway) -> None:
    newer = {**INTENT, "status": "succeeded"}
    declined = error("card_error", code="card_declined", payment_intent=INTENT)
    script.answers = [http(402, declined, Idempotent_Replayed="true"), http(200, newer)]
    with pytest.raises(DeclinedError) as caught:
        await create(gateway)
    assert caught.value.intent is not None
    assert caught.value.intent.object == newer


async def test_a_repeated_answer_that_cannot_be_looked_up_was_done_all_the_same(
    script: Script, gateway: StripeGateway
) -> None:
    script.answers = [
        http(200, INTENT, Idempotent_Replayed="true"),
        http(429, error("invalid_request_error")),
    ]
    with pytest.raises(UnavailableError) as caught:
        await create(gateway)
    assert caught.value.outcome_unknown is True


async def test_the_connections_are_limited(script: Script) -> None:
    script.answers, script.pause_s = [http(200, INTENT)], 0.02
    gateway = open_gateway(script.url, stripe_connections=3)
    await asyncio.gather(*(gateway.retrieve_payment_intent("pi_1") for _ in range(30)))
    assert script.most_open == 3
    await gateway.close()


@pytest.mark.parametrize(
    ("look", "path"),
    [
        (lambda g: g.retrieve_charge("ch_1"), "/v1/charges/ch_1"),
        (
            lambda g: g.retrieve_balance_transaction("txn_1"),
            "/v1/balance_transactions/txn_1?expand[0]=source",
        ),
    ],
)
async def test_what_stripe_does_not_know_is_none(
    script: Script, gateway: StripeGateway, look: Callable[[StripeGateway], Any], path: str
) -> None:
    script.answers = [
        http(200, {"id": "found"}),
        http(404, error("invalid_request_error", code="resource_missing")),
        http(404, error("invalid_request_error", "Unrecognized request URL")),
    ]
    assert await look(gateway) == {"id": "found"}
    assert await look(gateway) is None
    with pytest.raises(RefusedError):
        await look(gateway)
    assert unquote_plus(script.requests[0]).startswith(f"GET {path} ")


async def test_all_pages_of_refunds_are_one_list(script: Script, gateway: StripeGateway) -> None:
    pages = [[{"id": f"re_{page}{n}"} for n in range(2)] for page in range(3)]
    script.answers = [http(200, {"data": page, "has_more": page is not pages[-1]}) for page in pages]
    assert await gateway.list_refunds("ch_1") == {"data": [each for page in pages for each in page]}
    assert "starting_after=re_01" in script.requests[1]
    assert "starting_after=re_11" in script.requests[2]


async def test_a_window_of_balance_transactions(script: Script, gateway: StripeGateway) -> None:
    script.answers = [http(200, {"data": [], "has_more": False})]
    assert await gateway.list_balance_transactions(5, 9, "txn_1") == {"data": [], "has_more": False}
    await gateway.list_balance_transactions(created_gte=5, created_lt=None, starting_after=None)
    first, second = (unquote_plus(request).split(" ")[1] for request in script.requests)
    assert first.endswith(
        "?limit=100&created[gte]=5&created[lt]=9&starting_after=txn_1&expand[0]=data.source"
    )
    assert second.endswith("?limit=100&created[gte]=5&expand[0]=data.source")


async def test_an_id_cannot_leave_its_place(script: Script, gateway: StripeGateway) -> None:
    script.answers = [http(404, error("invalid_request_error", code="resource_missing"))]
    assert await gateway.retrieve_charge("../refunds?x=1#y") is None
    assert script.requests[0].startswith("GET /v1/charges/..%2Frefunds%3Fx=1%23y ")


@pytest.mark.parametrize(("key", "live"), [("sk_test_1", False), ("sk_live_1", True), ("rk_live_1", True)])
def test_the_key_says_whether_money_is_real(key: str, live: bool) -> None:
    assert open_gateway("http://x", stripe_secret_key=key).livemode is live


async def test_retries_end_with_the_budget(script: Script) -> None:
    script.answers, script.pause_s = [http(429, error("invalid_request_error"), Retry_After="7")], 0.05
    gateway = open_gateway(script.url, stripe_max_retries=1000, stripe_budget_s=0.5)
    with pytest.raises(UnavailableError) as caught:
        await create(gateway)
    assert (caught.value.outcome_unknown, caught.value.retry_after) == (False, 7)
    assert 2 <= len(script.requests) < 20
    await gateway.close()


async def test_a_try_gets_no_more_time_than_the_budget_has(script: Script) -> None:
    script.answers, script.pause_s = [http(200, INTENT)], 5
    gateway = open_gateway(script.url, stripe_timeout_s=60, stripe_budget_s=0.1)
    async with asyncio.timeout(10):
        with pytest.raises(UnavailableError) as caught:
            await create(gateway)
    assert caught.value.outcome_unknown is True
    await gateway.close()


async def test_what_cannot_be_sent_in_time_is_not_sent(script: Script) -> None:
    script.answers, script.pause_s = [http(200, INTENT)], 5
    gateway = open_gateway(script.url, stripe_connections=1, stripe_queue_s=0.05, stripe_timeout_s=1)
    assert sorted(await asyncio.gather(refused(gateway), refused(gateway))) == [False, True]
    assert len(script.requests) == 1
    await gateway.close()


async def test_an_outage_opens_the_breaker_and_a_probe_closes_it(script: Script) -> None:
    script.answers = [http(500, error("api_error"))]
    gateway = open_gateway(script.url, stripe_breaker_outages=3, stripe_breaker_pause_s=0.05)
    for _ in range(3):
        assert await refused(gateway) is True
    assert gateway.breaker is BreakerState.OPEN
    assert await refused(gateway) is False
    assert len(script.requests) == 3
    script.answers = [http(402, error("card_error"))]
    while gateway.breaker is BreakerState.OPEN:  # noqa: ASYNC110 - time passes, nobody tells
        await asyncio.sleep(0.01)
    with pytest.raises(DeclinedError):
        await create(gateway)
    assert gateway.breaker is BreakerState.CLOSED
    await gateway.close()


async def test_answers_that_refuse_do_not_open_the_breaker(script: Script) -> None:
    no = "invalid_request_error"
    script.answers = [
        http(402, error("card_error")),
        *(http(status, error(no)) for status in (400, 429, 409)),
    ]
    gateway = open_gateway(script.url, stripe_breaker_outages=1)
    for _ in range(8):
        with pytest.raises(TallystickError):
            await create(gateway)
    assert gateway.breaker is BreakerState.CLOSED
    await gateway.close()


async def test_an_open_breaker_ends_the_retries(script: Script) -> None:
    script.answers = [http(500, error("api_error"))]
    gateway = open_gateway(script.url, stripe_max_retries=5, stripe_breaker_outages=2)
    assert await refused(gateway) is True  # the tries before may have been carried out
    assert len(script.requests) == 2
    await gateway.close()


async def refused(gateway: StripeGateway) -> bool:
    """Whether the outcome of a call that failed is unknown."""
    with pytest.raises(UnavailableError) as caught:
        await create(gateway)
    assert caught.value.retry_after
    return caught.value.outcome_unknown


@pytest.mark.parametrize("status", [401, 403])
async def test_the_other_key_is_used_where_stripe_refuses_one(script: Script, status: int) -> None:
    script.answers = [http(status, error("invalid_request_error")), http(200, INTENT), http(200, INTENT)]
    gateway = open_gateway(script.url, stripe_secret_key="rk_test_new,rk_test_old")
    for _ in range(2):
        assert (await create(gateway)).object == INTENT
    used = [line[-3:] for request in script.requests for line in request.split("\r\n") if "Bearer rk" in line]
    # a key that is not accepted comes last from then on; one that lacks a permission may have others
    assert used == ["new", "old", "old" if status == 401 else "new"]
    assert set(script.idempotency_keys()) == {"key-1"}
    await gateway.close()


async def test_a_refused_key_after_a_lost_answer_leaves_it_unknown(script: Script) -> None:
    script.answers = [None, http(401, error("invalid_request_error"))]
    gateway = open_gateway(script.url, stripe_max_retries=1)
    assert await refused(gateway) is True
    await gateway.close()


async def test_without_a_key_nothing_is_sent(script: Script) -> None:
    gateway = open_gateway(script.url, stripe_secret_key="")
    with pytest.raises(StripeAccessError):
        await create(gateway)
    assert not script.requests
    await gateway.close()

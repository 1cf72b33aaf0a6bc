"""Every page of the console: with data and without, with what is odd in its address, with what is hostile."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text
from tests.conftest import Databases
from tests.dead import Dead, bury
from tests.integration.api.conftest import Face
from tests.integration.console.conftest import Operator, browser, form_of, open_console, text_of
from tests.pipeline_support import event_states

from tallystick.embedded import EmbeddedValkey

PAYMENT = "pay_" + "0" * 26
PAGES = {
    "/console": None,
    "/console/payments": "payments:read",
    "/console/events": "events:read",
    "/console/dead-letters": "events:read",
    "/console/replays": "events:read",
}


@pytest.fixture(scope="module")
async def dead(installation: Face) -> AsyncIterator[Dead]:
    """A payment whose capture and balance transaction are dead letters."""
    with pytest.MonkeyPatch.context() as patch:
        yield await bury(installation.app.engine, patch)


async def test_every_page_says_what_to_do_when_there_is_nothing(
    databases: Databases, valkey: EmbeddedValkey
) -> None:
    async with open_console(databases, valkey) as operator:
        said = [text_of(await operator.see(path)) for path in PAGES]
    expected = ("The books are empty", "No payments yet", "No events yet", "No dead letters", "No replays")
    for words, page in zip(expected, said, strict=True):
        assert words in page


async def test_every_page_is_shown_with_data(operator: Operator, dead: Dead) -> None:
    overview = text_of(await operator.see("/console"))
    assert "Dead letters 2" in overview
    assert "Not paid" not in overview
    assert "25.00 EUR" in text_of(await operator.see("/console/payments"))
    payment = text_of(await operator.see(f"/console/payments/{PAYMENT}"))
    assert "assets:stripe:clearing 25.00 EUR" in payment
    assert "payment_intent.succeeded" in payment
    events = text_of(await operator.see("/console/events"))
    assert dead.event in events
    letters = text_of(await operator.see("/console/dead-letters"))
    assert dead.event in letters
    assert dead.balance_transaction in letters
    for letter in (dead.event, dead.balance_transaction):
        assert "Attempt 2" in text_of(await operator.see(f"/console/dead-letters/{letter}"))
    assert "See the dead letter" in text_of(await operator.see(f"/console/events/{dead.event}"))


async def test_ids_lead_from_one_page_to_the_next(operator: Operator, dead: Dead) -> None:
    page = await operator.see("/console/payments")
    assert f'href="/console/payments/{PAYMENT}"' in page
    payment = await operator.see(f"/console/payments/{PAYMENT}")
    done = next(each["id"] for each in dead.story.events if each["type"] == "charge.succeeded")
    assert f'href="/console/events/{done}"' in payment
    event = await operator.see(f"/console/events/{done}")
    transaction = event.partition('href="/console/ledger/transactions/')[2].partition('"')[0]
    posting = await operator.see(f"/console/ledger/transactions/{transaction}")
    assert f'href="/console/payments/{PAYMENT}"' in posting
    assert f'href="/console/events/{done}"' in posting
    assert f'href="/console/dead-letters/{dead.event}"' in await operator.see(f"/console/events/{dead.event}")
    assert f'href="/console/events/{dead.event}"' in await operator.see(f"/console/dead-letters/{dead.event}")


async def test_secrets_and_card_data_are_blotted_out(operator: Operator, dead: Dead) -> None:
    for path in (f"/console/events/{dead.event}", f"/console/dead-letters/{dead.event}"):
        page = await operator.see(path)
        assert "VerySecret" not in page
        assert "Xt5EWLL" not in page
        assert "&#34;client_secret&#34;: &#34;***&#34;" in page
    paid = await operator.face.pay()
    assert "_secret_" in paid["client_secret"]
    assert paid["client_secret"] not in await operator.see(f"/console/payments/{paid['id']}")


@pytest.mark.parametrize(("path", "scope"), [pair for pair in PAGES.items() if pair[1]])
async def test_each_page_wants_the_scope_of_its_route(visitor: Operator, path: str, scope: str) -> None:
    others = {"payments:read", "events:read", "ledger:read", "webhooks:read", "events:replay"} - {scope}
    await visitor.sign_in(*others)
    assert f"does not carry the scope {scope}" in text_of(await visitor.see(path, 403))
    menu = (await visitor.see("/console")).partition("<main")[0]
    assert f'href="{path}"' not in menu
    visitor.http.cookies.clear()
    await visitor.sign_in(scope)
    await visitor.see(path)


async def test_each_part_of_the_overview_wants_its_scope(visitor: Operator, dead: Dead) -> None:
    parts = {"events:read": "Pending events", "payments:read": "Succeeded", "ledger:read": "Suspense"}
    for scope, words in parts.items():
        visitor.http.cookies.clear()
        await visitor.sign_in(scope)
        said = text_of(await visitor.see("/console"))
        assert words in said
        assert not any(other in said for other in parts.values() if other != words)
    visitor.http.cookies.clear()
    await visitor.sign_in("customers:read")
    assert "Nothing to see with this key" in text_of(await visitor.see("/console"))


HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'{{ 7*7 }}"


async def test_what_others_wrote_is_only_text(operator: Operator) -> None:
    paid = await operator.face.pay(description=HOSTILE, metadata={"note": HOSTILE, '"><b>k': "v"})
    for path in ("/console/payments", f"/console/payments/{paid['id']}"):
        page = await operator.see(path)
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "{{ 7*7 }}" in page
    for path in (f"/console/{HOSTILE}", f"/console/payments/{HOSTILE}", f"/console/events/{HOSTILE}"):
        assert "<script>alert" not in await operator.see(path, 404)
    assert "<script>alert" not in await operator.see("/console/payments", 400, **{HOSTILE: HOSTILE})
    assert "<script>alert" not in await operator.see("/console/sign-in", next=f"/console/{HOSTILE}")
    found = await operator.see("/console/payments", metadata_key="note", metadata_value=HOSTILE)
    assert paid["id"] in found
    assert "<script>alert" not in found


ODD = [
    ("/console/payments", {"status": "paid"}),
    ("/console/payments", {"currency": "EURO"}),
    ("/console/payments", {"customer": "cus 1"}),
    ("/console/payments", {"since": "yesterday"}),
    ("/console/payments", {"until": "0001-01-01T00:00:00+14:00"}),
    ("/console/payments", {"cursor": "%%%"}),
    ("/console/payments", {"cursor": "MTcwMDAwMC5yZWZ1bmRzOng"}),
    ("/console/payments", {"metadata_key": "order"}),
    ("/console/payments", {"metadata_value": "a\0"}),
    ("/console/payments", {"colour": "green"}),
    ("/console/payments", {"done": "everything"}),
    ("/console/events", {"type": "[z-a]"}),
    ("/console/events", {"error": "\0"}),
    ("/console/events", {"status": "alive"}),
    ("/console/events", {"cursor": "x" * 700}),
    ("/console/dead-letters", {"kind": "letter"}),
    ("/console/dead-letters", {"type": "[z-a]"}),
    ("/console/dead-letters", {"dead_after": "2026-13-01T00:00"}),
    ("/console/replays", {"cursor": "ä"}),
    ("/console", {"page": "2"}),
    (f"/console/payments/{PAYMENT}", {"timeline": "nowhere"}),
]


@pytest.mark.parametrize(("path", "params"), ODD)
async def test_what_cannot_be_meant_is_refused_in_words(
    operator: Operator, dead: Dead, path: str, params: dict[str, str]
) -> None:
    page = await operator.see(path, 400, **params)
    assert "The request is not valid" in page


@pytest.mark.parametrize(
    "path",
    [
        "/console/payments/pay_none", "/console/payments/%00", "/console/payments/a%2Fb",
        "/console/events/evt_none", "/console/events/%00", "/console/events/%F0%9F%92%A5",
        "/console/dead-letters/evt_none", "/console/dead-letters/%00", "/console/replays/rpl_none",
        "/console/replays/%00", "/console/ledger/transactions/0", "/console/ledger/transactions/%00",
        "/console/ledger/transactions/99999999999999999999", "/console/ledger/transactions/charge:x",
    ],
)  # fmt: skip
async def test_what_is_not_there_is_a_page_that_says_so(operator: Operator, path: str) -> None:
    assert "Not found" in await operator.see(path, 404)


_PAYMENTS = text("""
INSERT INTO payments (id, origin, status, amount, currency, livemode, created_at, updated_at)
SELECT 'pay_' || to_char(n, 'FM000'), 'api', 'succeeded', 1000 + n, 'jpy', false,
       now() - n * interval '1 minute', now()
  FROM generate_series(1, 120) AS n
""")


async def test_lists_go_on_from_page_to_page(databases: Databases, valkey: EmbeddedValkey) -> None:
    async with open_console(databases, valkey) as operator:
        async with operator.face.app.engine.begin() as connection:
            await connection.execute(_PAYMENTS)
        path, seen = "/console/payments?status=succeeded", list[str]()
        while path:
            page = await operator.see(path)
            rows = page.partition("<tbody>")[2].split('href="/console/payments/')[1:]
            seen += [part.partition('"')[0] for part in rows if part.startswith("pay_")]
            path = page.partition('rel="next" href="')[2].partition('"')[0].replace("&amp;", "&")
        assert seen == [f"pay_{n:03}" for n in range(1, 121)]
        assert "First page" in page
        assert "No payment fits" in await operator.see("/console/payments", currency="eur")
        assert "Succeeded 120" in text_of(await operator.see("/console"))


async def test_an_event_is_put_back_with_a_reason(operator: Operator, dead: Dead) -> None:
    done = next(each["id"] for each in dead.story.events if each["type"] == "charge.succeeded")
    page = await operator.see(f"/console/events/{done}")
    assert "already there" in text_of(page)
    form = form_of(page, f"/console/events/{done}/replay")
    assert (await operator.send(form, reason="")).status_code == 400
    assert (await event_states(operator.face.app.engine))[done][0] == "processed"
    answer = await operator.send(form, reason="seen <twice>")
    assert answer.status_code == 303
    assert (await event_states(operator.face.app.engine))[done][0] == "pending"
    assert "Put back" in text_of(await operator.see(answer.headers["location"]))
    replays = await operator.see("/console/replays")
    key = (await operator.face.http.get("/replays")).json()["data"][0]
    assert key["reason"] == "seen <twice>"
    assert key["actor"].startswith("test (key_")
    assert "seen &lt;twice&gt;" in replays
    assert key["actor"] in text_of(await operator.see(f"/console/replays/{key['id']}"))


async def test_who_may_only_read_sees_no_forms(visitor: Operator, dead: Dead) -> None:
    await visitor.sign_in("events:read")
    for path in ("dead-letters", f"dead-letters/{dead.event}", f"events/{dead.event}"):
        assert 'name="reason"' not in await visitor.see(f"/console/{path}")
    token = form_of(await visitor.see("/console"), "/console/sign-out")
    token.action = f"/console/events/{dead.event}/replay"
    answer = await visitor.send(token, reason="no")
    assert answer.status_code == 403
    assert "events:replay" in answer.text
    assert (await event_states(visitor.face.app.engine))[dead.event][0] == "dead"


async def test_a_page_s_text_is_the_key_s_own(visitor: Operator) -> None:
    """Two browsers beside each other do not share anything."""
    await visitor.sign_in("payments:read")
    async with browser(visitor.face.app) as other:
        assert (await other.get("/console/payments")).status_code == 303

"""Who gets into the console, how long they stay, and which forms are believed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from typing import Any

import httpx
import pytest
from sqlalchemy import text
from tests.integration.api.test_health import NOWHERE
from tests.integration.console.conftest import SITE, Operator, browser, form_of, text_of

from tallystick.api.keys import create_key, digest
from tallystick.api.rate_limits import ATTEMPTS
from tallystick.app import open_app
from tallystick.settings import load_settings

SIGN_OUT = "/console/sign-out"


_THEIRS = "(SELECT id FROM api_keys WHERE hash = ANY(CAST(:hashes AS bytea[])))"


async def ask(visitor: Operator, question: str, **values: Any) -> Any:
    """Ask, or change, what is kept of the visitor's keys, whose ids are {theirs}."""
    hashes = [digest(key) for key in visitor.keys]
    async with visitor.face.app.engine.begin() as connection:
        query = text(question.format(theirs=_THEIRS))
        found = await connection.execute(query, {**values, "hashes": hashes})
        return found.scalar() if found.returns_rows else None


async def sessions(visitor: Operator) -> int:
    return int(await ask(visitor, "SELECT count(*) FROM console_sessions WHERE api_key_id IN {theirs}"))


async def at_the_door(visitor: Operator, path: str = "/console/payments") -> bool:
    """Whether a page asks to sign in first."""
    answer = await visitor.http.get(path)
    if answer.status_code == 303:
        assert answer.headers["location"].startswith("/console/sign-in")
    return answer.status_code == 303


def cookie_of(answer: httpx.Response, name: str) -> dict[str, str | bool]:
    jar: SimpleCookie = SimpleCookie()
    for line in answer.headers.get_list("set-cookie"):
        jar.load(line)
    return dict(jar[name].items())


async def test_nothing_is_shown_to_strangers(visitor: Operator) -> None:
    answer = await visitor.http.get("/console/payments?status=succeeded")
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        "/console/sign-in?next=%2Fconsole%2Fpayments%3Fstatus%3Dsucceeded",
    )
    visitor.http.cookies.set("tallystick_console", "made up", path="/console")
    assert await at_the_door(visitor)
    # a bearer key is for the API: the console knows sessions alone
    key = await visitor.key()
    answer = await visitor.http.get("/console/payments", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 303


async def test_signing_in_leads_to_where_one_was_going(visitor: Operator) -> None:
    answer = await visitor.sign_in(next="/console/payments?status=succeeded")
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/payments?status=succeeded")
    assert "No payment fits" in await visitor.see("/console/payments", status="succeeded")


@pytest.mark.parametrize("elsewhere", ["https://evil.test/", "//evil.test", "/payments", "/consolex", "\\x"])
async def test_signing_in_leads_nowhere_else(visitor: Operator, elsewhere: str) -> None:
    answer = await visitor.sign_in(next=elsewhere)
    assert (answer.status_code, answer.headers["location"]) == (303, "/console")


async def test_the_cookie_is_kept_from_scripts_and_other_sites(visitor: Operator) -> None:
    answer = await visitor.sign_in()
    cookie = cookie_of(answer, "tallystick_console")
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["secure"]) == (
        True,
        "strict",
        "/console",
        "",
    )
    form = form_of(await visitor.see("/console/sign-in"), "/console/sign-in")
    secret = await visitor.key()
    # the browser is on https, and a proxy in front of us ends it
    answer = await visitor.send(form, {"Origin": SITE.replace("http:", "https:")}, api_key=secret)
    assert cookie_of(answer, "tallystick_console")["secure"] is True


async def test_at_rest_there_is_no_token(visitor: Operator) -> None:
    await visitor.sign_in()
    token = visitor.http.cookies["tallystick_console"]
    kept = await ask(visitor, "SELECT token_hash FROM console_sessions WHERE api_key_id IN {theirs}")
    assert kept == digest(token)


@pytest.mark.parametrize("secret", ["tsk_" + "x" * 40, "", "nonsense", "tsk_\0"])
async def test_a_wrong_key_is_refused_in_words(visitor: Operator, secret: str) -> None:
    answer = await visitor.sign_in_with(secret)
    assert answer.status_code == 401
    assert "This API key is not known" in answer.text
    assert secret == "" or secret not in answer.text
    assert await sessions(visitor) == 0


async def test_revoked_and_expired_keys_do_not_sign_in(visitor: Operator) -> None:
    for column in ("revoked_at", "expires_at"):
        secret = await visitor.key()
        change = f"UPDATE api_keys SET {column} = now() - interval '1 second'"
        await ask(visitor, change + " WHERE id IN {theirs}")
        assert (await visitor.sign_in_with(secret)).status_code == 401


async def test_signing_in_is_limited(visitor: Operator) -> None:
    most = int(ATTEMPTS.partition("/")[0])
    for _ in range(most):
        assert (await visitor.sign_in_with("tsk_" + "x" * 40)).status_code == 401
    answer = await visitor.sign_in_with("tsk_" + "x" * 40)
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    assert (await visitor.sign_in()).status_code == 429


async def test_a_key_s_own_limit_counts_pages(visitor: Operator) -> None:
    async with visitor.face.app.engine.begin() as connection:
        _, secret = await create_key(connection, "slow", ["admin"], rate_limit="2/hour")
    await visitor.sign_in_with(secret)
    await visitor.see("/console/payments")
    await visitor.see("/console/payments")
    assert "Too many requests" in await visitor.see("/console/payments", 429)


async def test_signing_out_removes_the_session(operator: Operator) -> None:
    kept = operator.http.cookies["tallystick_console"]
    form = form_of(await operator.see("/console/payments"), SIGN_OUT)
    assert (await operator.send(form)).status_code == 303
    assert await sessions(operator) == 0
    operator.http.cookies.set("tallystick_console", kept, path="/console")
    assert await at_the_door(operator)


@pytest.mark.parametrize("column", ["revoked_at", "expires_at"])
async def test_a_session_ends_with_its_key_at_once(operator: Operator, column: str) -> None:
    await operator.see("/console/payments")
    await ask(operator, f"UPDATE api_keys SET {column} = now()" + " WHERE id IN {theirs}")
    assert await at_the_door(operator)


@pytest.mark.parametrize("column", ["began_at", "seen_at"])
async def test_a_session_ends_by_itself_and_is_removed(operator: Operator, column: str) -> None:
    settings = operator.face.app.settings
    longest = settings.console_session_s if column == "began_at" else settings.console_idle_s
    change = f"UPDATE console_sessions SET {column} = :at" + " WHERE api_key_id IN {theirs}"
    await ask(operator, change, at=datetime.now(UTC) - timedelta(seconds=longest - 60))
    await operator.see("/console/payments")
    await ask(operator, change, at=datetime.now(UTC) - timedelta(seconds=longest + 1))
    assert await at_the_door(operator)
    await operator.sign_in()
    assert await sessions(operator) == 1


async def test_every_page_keeps_a_session_and_notes_the_key_s_use(operator: Operator) -> None:
    await ask(
        operator,
        "UPDATE console_sessions SET seen_at = :at WHERE api_key_id IN {theirs}",
        at=datetime.now(UTC) - timedelta(minutes=10),
    )
    await ask(
        operator,
        "UPDATE api_keys SET last_used_at = :at WHERE id IN {theirs}",
        at=datetime.now(UTC) - timedelta(minutes=10),
    )
    await operator.see("/console/payments")
    seen = await ask(operator, "SELECT seen_at FROM console_sessions WHERE api_key_id IN {theirs}")
    used = await ask(operator, "SELECT last_used_at FROM api_keys WHERE id IN {theirs}")
    assert min(seen, used) > datetime.now(UTC) - timedelta(minutes=1)


async def test_a_missing_scope_is_named(visitor: Operator) -> None:
    await visitor.sign_in("ledger:read")
    said = text_of(await visitor.see("/console/payments", 403))
    assert "does not carry the scope payments:read" in said
    assert "/console/payments" not in (await visitor.see("/console")).partition("<main")[0]


FORGERIES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "another site": ({"Origin": "https://evil.test", "Sec-Fetch-Site": ""}, {}),
    "another site, as the browser says": ({"Sec-Fetch-Site": "cross-site"}, {}),
    "a site beside": ({"Sec-Fetch-Site": "same-site"}, {}),
    "a sandboxed frame": ({"Origin": "null", "Sec-Fetch-Site": ""}, {}),
    "nobody says from where": ({"Origin": "", "Sec-Fetch-Site": ""}, {}),
    "no token": ({}, {"form_token": ""}),
    "a wrong token": ({}, {"form_token": "0" * 64}),
    "a token of no ASCII": ({}, {"form_token": "ä"}),
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_forged_forms_do_nothing(operator: Operator, forgery: str) -> None:
    headers, fields = FORGERIES[forgery]
    form = form_of(await operator.see("/console/payments"), SIGN_OUT)
    answer = await operator.send(form, headers, **fields)
    assert answer.status_code == 403
    assert "Nothing was done" in answer.text
    assert await sessions(operator) == 1
    # and nobody is signed in by a form that was forged
    form = form_of(await operator.see("/console/sign-in"), "/console/sign-in")
    answer = await operator.send(form, headers, api_key=await operator.key(), **fields)
    assert answer.status_code == 403
    assert await sessions(operator) == 1


async def test_a_token_of_another_session_is_none(operator: Operator) -> None:
    theirs = form_of(await operator.see("/console/payments"), SIGN_OUT)
    operator.http.cookies.clear()
    await operator.sign_in()
    assert (await operator.send(theirs)).status_code == 403
    assert await sessions(operator) == 2


async def test_signing_in_needs_the_cookie_that_came_with_the_form(visitor: Operator) -> None:
    form = form_of(await visitor.see("/console/sign-in"), "/console/sign-in")
    visitor.http.cookies.clear()
    assert (await visitor.send(form, api_key=await visitor.key())).status_code == 403
    assert await sessions(visitor) == 0


async def test_only_forms_are_read(operator: Operator) -> None:
    answer = await operator.http.post(SIGN_OUT, json={}, headers={"Origin": SITE})
    assert answer.status_code == 400
    answer = await operator.http.get(SIGN_OUT)
    assert (answer.status_code, answer.headers["content-type"]) == (405, "text/html; charset=utf-8")
    large = await operator.http.post(SIGN_OUT, data={"form_token": "x" * 2_000_000}, headers={"Origin": SITE})
    assert large.status_code == 413


async def test_pages_load_nothing_from_elsewhere_and_are_not_kept(operator: Operator) -> None:
    for path in ("/console", "/console/payments", "/console/nothing", "/console/sign-in"):
        headers = (await operator.http.get(path)).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"  # with none, forms would say no origin
    page = await operator.see("/console/payments")
    assert " style=" not in page
    assert " on" not in "".join(part.partition(">")[0] for part in page.split("<")[1:] if part[0] != "/")


async def test_files_are_kept_until_they_change(visitor: Operator) -> None:
    page = await visitor.see("/console/sign-in")
    address = page.partition('rel="stylesheet" href="')[2].partition('"')[0]
    answer = await visitor.http.get(address)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/css; charset=utf-8")
    assert "immutable" in answer.headers["cache-control"]
    assert (await visitor.http.get("/console/static/..%2fserver.py")).status_code == 404


async def test_a_page_that_is_not_there_says_so(operator: Operator) -> None:
    answer = await operator.http.get("/console/nothing")
    assert answer.status_code == 404
    assert answer.headers["x-request-id"] in answer.text
    assert "There is no such page" in answer.text
    assert SIGN_OUT in answer.text
    assert (await operator.http.get("/consolation")).headers["content-type"] == "application/problem+json"


async def test_a_database_that_is_away_is_a_page_too() -> None:
    nowhere: dict[str, Any] = dict(NOWHERE)
    async with open_app(load_settings({}, **nowhere)) as app, browser(app) as http:
        http.cookies.set("tallystick_console", "some", path="/console")
        answer = await http.get("/console/payments")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "The database cannot be reached" in answer.text
        assert answer.headers["x-request-id"] in answer.text
        assert (await http.get("/console/sign-in")).status_code == 200

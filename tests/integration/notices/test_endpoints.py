"""/webhook-endpoints: made, changed, tested, rotated, disabled, removed; and what that does to sending."""

from __future__ import annotations

import base64
import os
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from standardwebhooks import WebhookVerificationError
from tests.integration.notices.conftest import Post, open_post
from tests.integration.notices.receiver import receiving, status, taken

from tallystick.embedded import EmbeddedValkey
from tallystick.pipeline.notices.endpoint_secrets import seal_anew
from tallystick.settings import load_settings
from tallystick.vault import open_vault


def new_key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


async def test_an_endpoint_from_making_to_removing(post: Post) -> None:
    made = await post.endpoint(event_types=["refund.*", "payment.succeeded"], description="Orders")
    assert made["secret"].startswith("whsec_")
    shown = {name: value for name, value in made.items() if name != "secret"}
    path = f"/webhook-endpoints/{made['id']}"
    assert await post.read(path) == shown
    assert (await post.read("/webhook-endpoints"))["data"] == [shown]
    changed = await post.change(made, description=None, event_types=["*"], url=f"{post.receiver.url}/new")
    assert (changed["description"], changed["event_types"]) == (None, ["*"])
    assert changed["url"].endswith("/hook/new")
    gone = await post.face.http.delete(path)
    assert gone.json() == {"id": made["id"], "object": "webhook_endpoint", "deleted": True}
    assert (await post.face.http.get(path)).status_code == 404
    assert (await post.face.http.delete(path)).status_code == 404
    assert (await post.read("/webhook-endpoints"))["data"] == []
    await post.until("SELECT count(*) FROM endpoint_secrets", 0)
    await post.tell(1)
    async with post.sending():
        await post.until_none_waits()
    assert post.receiver.messages == []


async def test_pages_of_endpoints(post: Post) -> None:
    made = [(await post.endpoint())["id"] for _ in range(3)]
    first = await post.read("/webhook-endpoints?limit=2")
    assert first["has_more"]
    second = await post.read(f"/webhook-endpoints?limit=2&cursor={first['next_cursor']}")
    assert [each["id"] for each in first["data"] + second["data"]] == sorted(made)
    assert second["next_cursor"] is None


async def test_a_secret_is_shown_once_even_under_a_key(post: Post) -> None:
    order = {"url": post.receiver.url}
    first = (await post.face.post("/webhook-endpoints", order, key="k1")).json()
    again = await post.face.post("/webhook-endpoints", order, key="k1")
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == {**first, "secret": None}
    async with post.face.app.engine.connect() as connection:
        kept = await connection.execute(
            text("SELECT convert_from(response_body, 'UTF8') FROM idempotency_keys")
        )
        assert first["secret"] not in str(kept.all())


async def test_what_is_no_endpoint(post: Post) -> None:
    wrong: list[tuple[dict[str, object], str]] = [
        ({"url": "ftp://example.com"}, "url"),
        ({"url": "http://user:pass@example.com/"}, "url"),
        ({"url": "https://example.com", "event_types": []}, "event_types"),
        ({"url": "https://example.com", "event_types": ["payment.unheard_of"]}, "event_types"),
        ({"url": "https://example.com", "event_types": ["nothing.*"]}, "event_types"),
        ({"url": "https://example.com", "event_types": ["pay*"]}, "event_types"),
        ({"url": "https://example.com", "event_types": ["*.succeeded"]}, "event_types"),
        ({"url": "https://example.com", "colour": "red"}, "colour"),
        ({}, "url"),
    ]
    for body, param in wrong:
        answer = await post.face.post("/webhook-endpoints", body)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request"), body
        assert answer.json()["param"].startswith(param), body


async def test_private_urls_are_refused_unless_allowed(database_url: str, valkey: EmbeddedValkey) -> None:
    async with open_post(database_url, valkey, webhooks_allow_private=False) as post:
        for url in ("http://example.com", "https://127.0.0.1/", "https://[::1]/", post.receiver.url):
            answer = await post.face.post("/webhook-endpoints", {"url": url})
            assert (answer.status_code, answer.json()["param"]) == (400, "url"), url
        made = await post.endpoint("https://example.com/")
        answer = await post.face.post(f"/webhook-endpoints/{made['id']}", {"url": "https://10.0.0.1/"})
        assert answer.status_code == 400


async def test_scopes(post: Post) -> None:
    made = await post.endpoint()
    reads = {"Authorization": f"Bearer {await post.face.key('webhooks:read')}"}
    other = {"Authorization": f"Bearer {await post.face.key('payments:write', 'events:read')}"}
    path = f"/webhook-endpoints/{made['id']}"
    for found in ("/webhook-endpoints", path, f"{path}/deliveries"):
        assert (await post.face.http.get(found, headers=reads)).status_code == 200
        assert (await post.face.http.get(found, headers=other)).status_code == 403
    for action in ("", "/test", "/rotate-secret", "/disable", "/enable"):
        assert (await post.face.http.post(f"{path}{action}", json={}, headers=reads)).status_code == 403
    assert (await post.face.http.delete(path, headers=reads)).status_code == 403


async def test_a_test_notice_says_what_came_back(post: Post) -> None:
    made = await post.endpoint(event_types=["refund.*"])
    told = await post.change(made, "/test")
    (message,) = post.receiver.messages
    message.verify(made["secret"])
    assert message.body["type"] == "webhook_endpoint.test"
    assert (told["delivered"], told["response_status"], told["response_body"]) == (True, 200, "thanks")
    assert told["notice"] == message.id
    post.receiver.answer = status(500, text="broken")
    told = await post.change(made, "/test")
    assert (told["delivered"], told["error"]["code"]) == (False, "http_status")
    assert told["response_body"] == "broken"
    assert await post.log(made) == []
    assert (await post.face.post("/webhook-endpoints/whe_none/test")).status_code == 404


async def test_while_a_secret_is_rotated_both_sign(post: Post) -> None:
    made = await post.endpoint()
    rotated = await post.change(made, "/rotate-secret", grace_s=3600)
    old, new = made["secret"], rotated["secret"]
    assert old != new
    await post.change(made, "/test")
    both = post.receiver.messages[-1]
    both.verify(old)
    both.verify(new)
    assert len(both.headers["webhook-signature"].split(" ")) == 2
    await post.execute("UPDATE endpoint_secrets SET expires_at = now() WHERE expires_at IS NOT NULL")
    await post.change(made, "/test")
    after = post.receiver.messages[-1]
    after.verify(new)
    with pytest.raises(WebhookVerificationError):
        after.verify(old)
    newest = (await post.change(made, "/rotate-secret", grace_s=0))["secret"]
    await post.change(made, "/test")
    post.receiver.messages[-1].verify(newest)
    with pytest.raises(WebhookVerificationError):
        post.receiver.messages[-1].verify(new)


async def test_secrets_are_sealed_under_the_master_key(database_url: str, valkey: EmbeddedValkey) -> None:
    key, newer = new_key(), new_key()
    async with open_post(database_url, valkey) as post:
        plain = await post.endpoint()
    async with open_post(database_url, valkey, master_keys=key) as post:
        sealed = await post.endpoint()
        async with post.face.app.engine.begin() as connection:
            kept = (await connection.execute(text("SELECT ciphertext FROM endpoint_secrets"))).scalars().all()
            assert plain["secret"].encode() in kept
            assert all(sealed["secret"].encode() not in each for each in kept)
            vault = open_vault(load_settings({}, require=(), master_keys=f"{newer},{key}"))
            assert vault is not None
            assert await seal_anew(connection, vault) == 2
            assert await seal_anew(connection, vault) == 0
    async with open_post(database_url, valkey, master_keys=newer) as post:
        for made in (plain, sealed):
            await post.change(made, url=post.receiver.url)
            await post.change(made, "/test")
            post.receiver.messages[-1].verify(made["secret"])


async def test_what_an_endpoint_misses_while_disabled_can_be_sent_again(post: Post) -> None:
    made = await post.endpoint()
    begun = datetime.now(UTC)
    disabled = await post.change(made, "/disable")
    assert (disabled["status"], disabled["disabled_reason"]) == ("disabled", "by_hand")
    await post.tell(1, 2, payment="pay_1")
    async with post.sending():
        await post.until_none_waits()
        assert post.receiver.messages == []
        missed = await post.log(made, "&status=failed")
        assert {each["last_error"]["code"] for each in missed} == {"endpoint_disabled"}
        refused = await post.face.post(f"/webhook-deliveries/{missed[0]['id']}/redeliver")
        assert (refused.status_code, refused.json()["code"]) == (409, "invalid_state")
        assert (await post.change(made, "/enable"))["status"] == "enabled"
        await post.tell(3, payment="pay_1")
        await post.receiver.count(1)
        await post.until_none_waits()
        time = {"created_after": begun.isoformat()}
        before = {**time, "created_before": (begun - timedelta(hours=1)).isoformat()}
        assert (await post.change(made, "/redeliver", **before))["deliveries"] == 0
        assert (await post.change(made, "/redeliver", **time))["deliveries"] == 2
        await post.until_none_waits()
    assert [message.about for message in post.receiver.messages] == [3, 1, 2]


async def test_a_delivery_is_sent_again_under_its_id(post: Post) -> None:
    made = await post.endpoint()
    await post.tell(1)
    async with post.sending():
        await post.until_none_waits()
        (entry,) = await post.log(made)
        again = await post.face.post(f"/webhook-deliveries/{entry['id']}/redeliver")
        assert (again.status_code, again.json()["status"]) == (200, "pending")
        await post.receiver.count(2)
        await post.until_none_waits()
    first, second = post.receiver.messages
    assert (first.id, first.raw) == (second.id, second.raw)
    log = (await post.read(f"/webhook-deliveries/{entry['id']}"))["log"]
    assert [each["attempt"] for each in log] == [1, 1]
    for missing in ("whd_999", "whd_x", "whd_" + "9" * 18):
        assert (await post.face.http.get(f"/webhook-deliveries/{missing}")).status_code == 404
        assert (await post.face.post(f"/webhook-deliveries/{missing}/redeliver")).status_code == 404


async def test_an_endpoint_that_fails_for_days_is_disabled_and_the_others_are_told(post: Post) -> None:
    async with receiving() as other:
        made = await post.endpoint()
        watcher = await post.endpoint(other.url, event_types=["webhook_endpoint.*"])
        post.receiver.answer = status(500)
        await post.tell(1)
        async with post.sending():
            await post.until("SELECT count(*) > 1 FROM notice_attempts", True)
            assert (await post.read(f"/webhook-endpoints/{made['id']}"))["status"] == "enabled"
            await post.execute(
                "UPDATE notice_endpoints SET failing_since = now() - interval '121 hours' WHERE id = :id",
                id=made["id"],
            )
            await other.count(1)
            await post.until_none_waits()
        found = await post.read(f"/webhook-endpoints/{made['id']}")
        assert (found["status"], found["disabled_reason"]) == ("disabled", "failing")
        (message,) = other.messages
        message.verify(watcher["secret"])
        assert message.body["type"] == "webhook_endpoint.disabled"
        assert message.body["data"]["webhook_endpoint"] == made["id"]


async def test_a_success_ends_a_failure(post: Post) -> None:
    made = await post.endpoint()
    post.receiver.answer = status(500)
    await post.tell(1)
    async with post.sending():
        await post.until("SELECT count(*) > 0 FROM notice_endpoints WHERE failing_since IS NOT NULL", True)
        post.receiver.answer = taken
        await post.until_none_waits()
    found = await post.read(f"/webhook-endpoints/{made['id']}")
    assert found["failing_since"] is None
    assert found["last_success_at"] is not None


async def test_an_endpoint_that_is_gone_is_disabled_at_once(post: Post) -> None:
    made = await post.endpoint()
    post.receiver.answer = status(410)
    await post.tell(1)
    async with post.sending():
        await post.until_none_waits()
    found = await post.read(f"/webhook-endpoints/{made['id']}")
    assert (found["status"], found["disabled_reason"]) == ("disabled", "gone")


async def test_pages_of_deliveries(post: Post) -> None:
    made = await post.endpoint()
    await post.tell(*range(5))
    async with post.sending():
        await post.until_none_waits()
    path = f"/webhook-endpoints/{made['id']}/deliveries?limit=2"
    seen, cursor = [], ""
    while True:
        page = await post.read(f"{path}{cursor}")
        seen += [each["id"] for each in page["data"]]
        if not page["has_more"]:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert len(seen) == len(set(seen)) == 5
    assert (await post.face.http.get(f"{path}&cursor=nonsense")).status_code == 400


async def test_what_is_over_is_removed_and_not_sent_a_second_time(post: Post) -> None:
    made = await post.endpoint()
    await post.tell(1, 2)
    async with post.sending():
        await post.until_none_waits()
        await post.execute(
            "UPDATE notice_deliveries SET finished_at = now() - interval '31 days' WHERE id ="
            " (SELECT min(id) FROM notice_deliveries)"
        )
    async with post.sending():
        await post.until("SELECT count(*) FROM notice_deliveries", 1)
        await post.until("SELECT count(*) FROM notice_attempts", 1)
        await post.tell(1, 2)
        await post.until_none_waits()
    assert len(post.receiver.messages) == 2
    assert len(await post.log(made)) == 1

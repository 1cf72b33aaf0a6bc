"""What only a browser can show: cookies, origins, the policy and the forms, as it treats them."""

from __future__ import annotations

from playwright.async_api import Browser, Page, expect
from tests.browser.conftest import Site
from tests.pipeline_support import event_states


async def test_a_dead_letter_is_replayed_and_another_discarded(page: Page, site: Site) -> None:
    await expect(page.get_by_role("heading", name="Dead letters")).to_be_visible()
    await page.get_by_role("link", name=site.dead.event).click()
    await expect(page.get_by_text("ZeroDivisionError: a bug").first).to_be_visible()
    await page.get_by_label("Reason").fill("the rule is mended")
    await page.get_by_role("button", name="Replay").click()
    await expect(page.get_by_role("status")).to_contain_text("Put back")
    assert (await event_states(site.face.app.engine))[site.dead.event][0] == "pending"

    await page.get_by_label(f"Select {site.dead.balance_transaction}").check()
    await page.get_by_label("Reason").first.fill("Stripe does not know it")
    await page.get_by_role("button", name="Discard selected").click()
    await expect(page.get_by_role("status")).to_contain_text("Discarded")
    await expect(page.get_by_text("Stripe does not know it")).to_be_visible()
    await page.get_by_role("link", name="Dead letters").first.click()
    await expect(page.get_by_text("No dead letters", exact=True)).to_be_visible()


async def test_the_policy_lets_through_all_that_a_page_needs(page: Page, site: Site) -> None:
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    for path in ("", "/payments", "/events", f"/events/{site.dead.event}", "/replays"):
        answer = await page.goto(f"{site.url}/console{path}")
        assert answer is not None
        assert answer.ok
    assert said == []
    brand = await page.get_by_role("link", name="Tallystick").bounding_box()
    content = await page.get_by_role("main").bounding_box()
    assert brand is not None
    assert content is not None
    assert content["x"] > brand["x"] + brand["width"]  # the stylesheet holds


async def test_signing_out_ends_it(page: Page, site: Site) -> None:
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("API key")).to_be_visible()
    await page.goto(f"{site.url}/console/payments")
    await expect(page.get_by_label("API key")).to_be_visible()


async def test_it_works_without_scripts(chromium: Browser, site: Site) -> None:
    context = await chromium.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(f"{site.url}/console/payments")
    await page.get_by_label("API key").fill(await site.face.key("admin"))
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_label("Currency").fill("jpy")
    await page.get_by_role("button", name="Filter").click()
    await expect(page.get_by_text("No payment fits")).to_be_visible()
    await context.close()


async def test_no_page_is_wider_than_a_phone(page: Page, site: Site) -> None:
    await page.set_viewport_size({"width": 390, "height": 844})
    for path in ("", "/payments", "/events", "/dead-letters", "/payments/pay_" + "0" * 26):
        await page.goto(f"{site.url}/console{path}")
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390, path


async def test_a_page_of_another_site_cannot_send_our_forms(page: Page, site: Site) -> None:
    """The attacker even has the token: the cookie is not sent, and the origin would be refused."""
    token = await page.locator("input[name=form_token]").first.input_value()
    elsewhere = site.url.replace("127.0.0.1", "localhost")
    attack = (
        f"<form method=post action='{site.url}/console/sign-out'>"
        f"<input name=form_token value='{token}'><button>Win a prize</button></form>"
    )
    other = await page.context.new_page()
    theirs = f"{elsewhere}/attack"
    await other.route(theirs, lambda route: route.fulfill(body=attack, content_type="text/html"))
    await other.goto(theirs)
    await other.get_by_role("button").click()
    await other.wait_for_load_state()
    await page.reload()
    await expect(page.get_by_role("button", name="Sign out")).to_be_visible()

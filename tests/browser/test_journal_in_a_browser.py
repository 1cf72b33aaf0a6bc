"""An entry's whole way in a browser, without scripts: typed by one, approved by another, on the statement."""

from __future__ import annotations

from playwright.async_api import Browser, Page, expect
from tests.browser.conftest import Site

from tallystick.api.keys import create_key

SCOPES = ("ledger:read", "ledger:write", "ledger:approve")


async def signed_in(chromium: Browser, site: Site, name: str) -> Page:
    async with site.face.app.engine.begin() as connection:
        _, secret = await create_key(connection, name, SCOPES)
    page = await (await chromium.new_context(java_script_enabled=False)).new_page()
    await page.goto(f"{site.url}/console/journal-entries")
    await page.get_by_label("API key").fill(secret)
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url(f"{site.url}/console/journal-entries")
    return page


async def line(page: Page, number: int, **cells: str) -> None:
    for name, value in cells.items():
        await page.get_by_label(f"{name.capitalize()}, line {number}", exact=True).fill(value)


async def test_one_writes_another_approves_and_it_is_on_the_statement(chromium: Browser, site: Site) -> None:
    ada = await signed_in(chromium, site, "Ada Lovelace")
    await ada.get_by_role("link", name="New entry").click()
    await ada.get_by_label("Description").fill("Terminal, charged by hand")
    await line(ada, 1, account="expenses:stripe_fees", debit="1,250.5", currency="eur")
    await line(ada, 2, account="suspense:stripe", credit="1250")
    await ada.get_by_label("Description").press("Enter")  # previews, as the button does
    await expect(ada.get_by_text("Say why: whoever approves or audits it will ask.")).to_be_visible()
    await ada.get_by_label("Reason").fill("Ticket 4711")
    await ada.get_by_role("button", name="Add rows").click()
    await ada.get_by_role("button", name="Preview").click()
    await expect(ada.get_by_text("Debits exceed credits by 0.50 EUR.")).to_be_visible()
    await line(ada, 8, account="suspense:stripe", credit="0.50")
    await ada.get_by_role("button", name="Preview").click()
    await expect(ada.get_by_text("Another person approves it.")).to_be_visible()
    await ada.get_by_role("button", name="Edit").click()
    await expect(ada.get_by_label("Reason")).to_have_value("Ticket 4711")
    await ada.get_by_role("button", name="Preview").click()
    await ada.get_by_role("button", name="Ask for approval").click()
    await expect(ada.get_by_role("status")).to_contain_text("It is posted when another person approves it")
    await expect(ada.get_by_text("You wrote this entry")).to_be_visible()
    await expect(ada.get_by_role("button", name="Approve")).to_have_count(0)

    grace = await signed_in(chromium, site, "Grace Hopper")
    await grace.get_by_role("link", name="Pending approval").click()
    await grace.get_by_role("link", name="Terminal, charged by hand").click()
    await grace.get_by_label("Comment").fill("Seen the bill")
    await grace.get_by_role("button", name="Approve and post").click()
    await expect(grace.get_by_role("status")).to_contain_text("Approved and posted")
    await grace.get_by_role("link", name="expenses:stripe_fees").click()
    posted = grace.get_by_role("row").filter(has_text="Terminal, charged by hand")
    await expect(posted).to_contain_text("1,250.50")
    await expect(posted).to_contain_text("suspense:stripe")

    await ada.reload()
    await expect(ada.get_by_text("Approved by")).to_be_visible()
    for page in (ada, grace):
        await page.context.close()


async def test_no_page_of_the_books_is_wider_than_a_phone(chromium: Browser, site: Site) -> None:
    page = await signed_in(chromium, site, "Edsger Dijkstra")
    await page.set_viewport_size({"width": 390, "height": 844})
    for path in (
        "/ledger/accounts",
        "/ledger/trial-balance",
        "/ledger/transactions",
        "/ledger/payouts",
        "/ledger/proof",
        "/ledger/exports",
        "/ledger/accounts/liabilities:unapplied",
        "/journal-entries",
        "/journal-entries/new",
    ):
        answer = await page.goto(f"{site.url}/console{path}")
        assert answer is not None
        assert answer.ok, path
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390, path
    await page.context.close()

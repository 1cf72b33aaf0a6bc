"""Connected accounts: destination charges, transfers, application fees, and all of it taken back."""

from __future__ import annotations

from typing import Any

import pytest
import stripe
from tests.integration.sandbox.support import Raw, Receiver, Sdk

NO_REDIRECT: dict[str, Any] = {"automatic_payment_methods": {"enabled": True, "allow_redirects": "never"}}


async def account(sdk: Sdk, **params: Any) -> str:
    return str((await sdk("accounts.create", {"type": "standard", **params})).id)


async def pay(sdk: Sdk, raw: Raw, destination: str, *, settle: bool = True, **params: Any) -> Any:
    """A destination charge, settled; the charge with what was made of it."""
    data = {"destination": destination, **params.pop("transfer_data", {})}
    given = {"amount": 1000, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
    intent = await sdk("payment_intents.create", {**given, **NO_REDIRECT, "transfer_data": data, **params})
    if settle:
        await raw.control("POST", "settle")
    expanded = {"expand": ["balance_transaction", "transfer.balance_transaction", "application_fee"]}
    return await sdk("charges.retrieve", intent.latest_charge, expanded)


async def booked(sdk: Sdk) -> list[tuple[str, str, int, int]]:
    """Type, reporting category, amount and fee of every balance transaction, oldest first."""
    found = await sdk.everything("balance_transactions.list", {"limit": 100})
    return [(txn.type, txn.reporting_category, txn.amount, txn.fee) for txn in found][::-1]


async def test_a_destination_charge_is_sent_on_with_its_settlement(
    sdk: Sdk, raw: Raw, hooked: Receiver
) -> None:
    destination = await account(sdk, email="seller@example.com", metadata={"shop": "7"})
    charge = await pay(sdk, raw, destination, settle=False, application_fee_amount=123)
    assert (charge.destination, charge.transfer_data.destination) == (destination, destination)
    assert charge.transfer_group == f"group_{charge.payment_intent}"
    assert (charge.application_fee_amount, charge.application_fee) == (123, None)
    await raw.control("POST", "settle")
    charge = await sdk("charges.retrieve", charge.id, {"expand": ["transfer", "application_fee"]})
    transfer, fee = charge.transfer, charge.application_fee
    assert await booked(sdk) == [
        ("charge", "charge", 1000, 59),
        ("transfer", "transfer", -1000, 0),
        ("application_fee", "platform_earning", 123, 0),
    ]
    assert (transfer.amount, transfer.destination, transfer.source_transaction) == (
        1000,
        destination,
        charge.id,
    )
    assert transfer.transfer_group == charge.transfer_group
    assert (fee.account, fee.charge, fee.originating_transaction) == (
        destination,
        transfer.destination_payment,
        charge.id,
    )
    txns = await sdk.everything("balance_transactions.list", {"limit": 10})
    assert len({txn.available_on for txn in txns}) == 1  # the transfer waits with its charge
    assert (await sdk("balance.retrieve")).pending[0].amount == 1000 - 59 - 1000 + 123
    await hooked.until("transfer.created", "application_fee.created", "charge.updated")


async def test_a_part_is_sent_on(sdk: Sdk, raw: Raw) -> None:
    destination = await account(sdk)
    charge = await pay(sdk, raw, destination, transfer_data={"amount": 877}, on_behalf_of=destination)
    assert (charge.transfer.amount, charge.application_fee, charge.on_behalf_of) == (877, None, destination)
    held = await pay(sdk, raw, destination, settle=False, capture_method="manual", application_fee_amount=300)
    capture = {"amount_to_capture": 500, "application_fee_amount": 100}
    await sdk("payment_intents.capture", held.payment_intent, capture)
    await raw.control("POST", "settle")
    held = await sdk("charges.retrieve", held.id, {"expand": ["transfer", "application_fee"]})
    assert (held.transfer.amount, held.application_fee.amount) == (500, 100)


async def test_another_currency_is_sent_on_as_it_was_settled(sdk: Sdk, raw: Raw) -> None:
    given = {"settlement_currencies": [], "exchange_rates": {"eur:usd": "1.25"}}
    await raw.control("POST", "settings", given)
    charge = await pay(sdk, raw, await account(sdk), currency="eur", amount=2000, application_fee_amount=333)
    assert (charge.transfer.amount, charge.transfer.currency) == (2500, "usd")
    assert (charge.application_fee.amount, charge.application_fee.currency) == (416, "usd")


async def test_a_bank_debit_is_sent_on_when_the_bank_has_paid(sdk: Sdk, raw: Raw) -> None:
    method = {"payment_method": "pm_usBankAccount_success"}
    charge = await pay(sdk, raw, await account(sdk), settle=False, **method)
    assert (charge.status, "transfer" in charge.to_dict()) == ("pending", False)
    await raw.control("POST", f"payment_intents/{charge.payment_intent}/settle")
    charge = await sdk("charges.retrieve", charge.id, {"expand": ["transfer"]})
    assert charge.transfer.amount == 1000


async def test_refunds_take_back_in_proportion(sdk: Sdk, raw: Raw, hooked: Receiver) -> None:
    charge = await pay(sdk, raw, await account(sdk), application_fee_amount=100)
    back = {"reverse_transfer": True, "refund_application_fee": True}
    parts = [
        await sdk("refunds.create", {"charge": charge.id, "amount": amount, **back})
        for amount in (333, 333, 334)
    ]
    reversals = [await sdk("transfers.reversals.retrieve", charge.transfer.id, each.transfer_reversal)
                 for each in parts]  # fmt: skip
    assert [each.amount for each in reversals] == [333, 333, 334]
    assert [each.source_refund for each in reversals] == [each.id for each in parts]
    rows = [row for row in await booked(sdk) if row[0] in ("transfer_refund", "application_fee_refund")]
    assert sum(amount for kind, _, amount, _ in rows if kind == "transfer_refund") == 1000
    assert [amount for kind, _, amount, _ in rows if kind == "application_fee_refund"] == [-33, -34, -33]
    assert {category for _, category, _, _ in rows} == {"transfer_reversal", "platform_earning_refund"}
    transfer = await sdk("transfers.retrieve", charge.transfer.id)
    assert (transfer.reversed, transfer.amount_reversed, len(transfer.reversals.data)) == (True, 1000, 3)
    fee = await sdk("application_fees.retrieve", charge.application_fee.id)
    assert (fee.refunded, fee.amount_refunded) == (True, 100)
    await hooked.until("transfer.reversed", "application_fee.refunded", "refund.created", "charge.refunded")


async def test_a_refund_without_them_leaves_the_transfer_alone(sdk: Sdk, raw: Raw) -> None:
    charge = await pay(sdk, raw, await account(sdk), application_fee_amount=100)
    await sdk("refunds.create", {"charge": charge.id})
    assert not (await sdk("transfers.retrieve", charge.transfer.id)).amount_reversed
    plain = await sdk("charges.create", {"amount": 500, "currency": "usd", "source": "tok_visa"})
    for name in ("reverse_transfer", "refund_application_fee"):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await sdk("refunds.create", {"charge": plain.id, name: True})
        assert caught.value.param == name
    assert not (await sdk("refunds.list", {"charge": plain.id})).data


async def test_transfers_of_what_is_available_and_of_a_charge(sdk: Sdk, raw: Raw) -> None:
    destination = await account(sdk)
    order = {"currency": "usd", "destination": destination, "transfer_group": "order-1"}
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await sdk("transfers.create", {**order, "amount": 100})
    assert caught.value.code == "balance_insufficient"
    paid = {"amount": 5000, "currency": "usd", "source": "tok_bypassPending"}
    charge = await sdk("charges.create", paid)
    free = await sdk("transfers.create", {**order, "amount": 700, "metadata": {"a": "1"}})
    assert (free.source_transaction, free.transfer_group) == (None, "order-1")
    tied = await sdk(
        "transfers.create", {"currency": "usd", "destination": destination, "source_transaction": charge.id}
    )
    assert tied.amount == 5000  # as Stripe: bound by the charge, not by the transfers beside it
    with pytest.raises(stripe.InvalidRequestError, match="must not exceed"):
        await sdk(
            "transfers.create",
            {"currency": "usd", "destination": destination, "source_transaction": charge.id, "amount": 1},
        )
    listed = await sdk("transfers.list", {"destination": destination})
    assert [each.id for each in listed.data] == [tied.id, free.id]
    grouped = await sdk("transfers.list", {"transfer_group": "order-1"})
    assert [each.id for each in grouped.data] == [free.id]
    updated = await sdk("transfers.update", free.id, {"description": "Books", "metadata": {"b": "2"}})
    assert (updated.description, updated.metadata.to_dict()) == ("Books", {"a": "1", "b": "2"})


async def test_a_transfer_is_reversed_in_parts(sdk: Sdk, raw: Raw, hooked: Receiver) -> None:
    charge = await pay(sdk, raw, await account(sdk), application_fee_amount=100)
    ident = charge.transfer.id
    part = await sdk("transfers.reversals.create", ident, {"amount": 250, "refund_application_fee": True})
    part = await sdk("transfers.reversals.update", ident, part.id, {"metadata": {"why": "late"}})
    transfer = await sdk("transfers.retrieve", ident)
    assert (transfer.amount_reversed, transfer.reversed) == (250, False)
    assert transfer.reversals.data[0].metadata.to_dict() == {"why": "late"}
    assert (await sdk("application_fees.retrieve", charge.application_fee.id)).amount_refunded == 25
    with pytest.raises(stripe.InvalidRequestError, match="greater than unreversed"):
        await sdk("transfers.reversals.create", ident, {"amount": 751})
    await sdk("transfers.reversals.create", ident)
    assert (await sdk("transfers.retrieve", ident)).reversed
    with pytest.raises(stripe.InvalidRequestError, match="already been fully reversed"):
        await sdk("transfers.reversals.create", ident)
    assert len((await sdk("transfers.reversals.list", ident)).data) == 2
    await hooked.until("transfer.reversed", "transfer.updated", "application_fee.refunded")


async def test_application_fees_are_listed_and_refunded(sdk: Sdk, raw: Raw) -> None:
    charge = await pay(sdk, raw, await account(sdk), application_fee_amount=100)
    fee = charge.application_fee
    assert [each.id for each in (await sdk("application_fees.list", {"charge": fee.charge})).data] == [fee.id]
    made = await sdk("application_fees.refunds.create", fee.id, {"amount": 40})
    made = await sdk("application_fees.refunds.update", fee.id, made.id, {"metadata": {"why": "x"}})
    shown = await sdk("application_fees.refunds.retrieve", fee.id, made.id, {"expand": ["fee"]})
    assert (shown.amount, shown.fee.amount_refunded) == (40, 40)
    status, body, _ = await raw("POST", f"/v1/application_fees/{fee.id}/refund")
    assert (status, body["refunded"], body["amount_refunded"]) == (200, True, 100)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await sdk("application_fees.refunds.create", fee.id)
    assert caught.value.code == "fee_already_refunded"
    assert len((await sdk("application_fees.refunds.list", fee.id)).data) == 2


async def test_parts_that_do_not_fit_are_refused(sdk: Sdk) -> None:
    destination = await account(sdk)
    unable = await account(sdk, type="custom", capabilities={"card_payments": {"requested": True}})
    given = {"amount": 1000, "currency": "usd"}
    for params, param in (
        ({"application_fee_amount": 100}, "application_fee_amount"),
        ({"transfer_data": {"destination": "acct_none"}}, "transfer_data[destination]"),
        ({"transfer_data": {"destination": unable}}, "transfer_data[destination]"),
        ({"transfer_data": {"destination": destination, "amount": 1001}}, "transfer_data[amount]"),
        (
            {"transfer_data": {"destination": destination, "amount": 9}, "application_fee_amount": 1},
            "transfer_data[amount]",
        ),
        (
            {"transfer_data": {"destination": destination}, "application_fee_amount": 1001},
            "application_fee_amount",
        ),
        ({"on_behalf_of": "acct_none"}, "on_behalf_of"),
    ):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await sdk("payment_intents.create", {**given, **NO_REDIRECT, **params})
        assert caught.value.param == param
    intent = await sdk(
        "payment_intents.create", {**given, **NO_REDIRECT, "transfer_data": {"destination": destination}}
    )
    changed = await sdk("payment_intents.update", intent.id, {"application_fee_amount": 50})
    assert (changed.application_fee_amount, changed.transfer_data.destination) == (50, destination)
    with pytest.raises(stripe.InvalidRequestError, match="must not be more"):
        await sdk("payment_intents.update", intent.id, {"amount": 49 + 1, "application_fee_amount": 51})


async def test_accounts_live_and_tell_connect_endpoints_only(sdk: Sdk, raw: Raw, receiver: Receiver) -> None:
    await sdk(
        "webhook_endpoints.create",
        {"url": receiver.url, "enabled_events": ["account.updated", "customer.created"], "connect": True},
    )
    made = await sdk(
        "accounts.create",
        {
            "type": "express",
            "country": "US",
            "business_profile": {"name": "Seller"},
            "capabilities": {"transfers": {"requested": True}},
        },
    )
    assert (made.capabilities.transfers, made.charges_enabled, made.payouts_enabled) == (
        "active",
        False,
        True,
    )
    changed = await sdk(
        "accounts.update",
        made.id,
        {"metadata": {"shop": "7"}, "business_profile": {"url": "https://seller.example"}},
    )
    assert (changed.business_profile.name, changed.business_profile.url) == (
        "Seller",
        "https://seller.example",
    )
    await sdk("customers.create", {"name": "No connected account's"})
    await receiver.until("account.updated")
    assert receiver.types == ["account.updated"]
    event = receiver.of("account.updated")
    assert (event["account"], event["data"]["object"]["metadata"]) == (made.id, {"shop": "7"})
    assert not [each for each in (await sdk("events.list")).data if each.type == "account.updated"]
    own = (await sdk("accounts.retrieve_current")).id
    assert (await sdk("accounts.retrieve", own)).id == own
    assert [each.id for each in (await sdk("accounts.list")).data] == [made.id]
    assert (await sdk("accounts.delete", made.id)).deleted
    with pytest.raises(stripe.PermissionError):
        await sdk("accounts.retrieve", made.id)

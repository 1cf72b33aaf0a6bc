"""Every parameter of every call, held against Stripe's spec: known or not, simulated or not, well-typed."""

from __future__ import annotations

import fnmatch
import gzip
import json
from typing import Any

import pytest
from tests.integration.sandbox import parameters
from tests.integration.sandbox.support import Raw

from tallystick.sandbox import families, known_parameters
from tallystick.sandbox.routing import Route
from tallystick.sandbox.versions import NEWEST

NOT_IN_THE_SPEC = {
    "GET /v1/payment_pages/{}": "Checkout's own; the Stripe CLI calls it",
    "POST /v1/payment_pages/{}/confirm": "Checkout's own; the Stripe CLI calls it",
    "POST /v1/subscriptions/{}/pause": "new in endive, in the SDK 16.1",
    "POST /v1/test_helpers/charges/{}/expire": "an authorisation that runs out, for tests",
}
"""Calls that Stripe's spec does not have, and why the sandbox has them."""

SPEC = parameters.in_the_spec()
ROUTES = [route for route in families.routes() if route.call in SPEC]
WRONG: dict[str, Any] = {"integer": "x1", "boolean": "maybe"}


def test_the_list_of_known_parameters_is_current() -> None:
    assert json.loads(gzip.decompress(parameters.FILE.read_bytes())) == parameters.in_the_spec()


def test_every_call_is_in_the_spec() -> None:
    calls = {route.call for route in families.routes()}
    assert calls - set(SPEC) == set(NOT_IN_THE_SPEC)


def test_what_is_not_simulated_is_in_one_table() -> None:
    """``python -m tests.integration.sandbox.parameters`` writes it anew."""
    table = json.loads(parameters.GAPS.read_text())
    found = parameters.not_simulated()
    assert {call: names for call, names in found.items() if names != table.get(call)} == {}
    assert set(table) == set(found)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.call)
def test_what_stripe_does_not_know_is_refused(route: Route) -> None:
    for sent in ({"nonsense": "1"}, {"nonsense": {"a": "1"}}, {"nonsense": ["1"]}):
        error = parameters.refusal(route, sent)
        assert error is not None
        assert error.body["code"] == "parameter_unknown"
    for path, below in parameters.leaves(SPEC[route.call]):
        if isinstance(below, dict) and "*" not in below:
            sent = parameters.form(f"{path}[nonsense]", "1")
            error = parameters.refusal(route, sent)
            assert error is not None, path


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.call)
def test_wrong_types_and_words_are_refused(route: Route) -> None:
    accepted = []
    for path, kind in parameters.leaves(SPEC[route.call]):
        wrong = "nonsense_x" if isinstance(kind, list) else WRONG.get(str(kind))
        if wrong is None or path.startswith("expand"):
            continue
        plain, listed = parameters.form(path, wrong), parameters.listed(path, wrong)
        in_list = parameters.form(path, [wrong])
        if any(parameters.refusal(route, sent) is None for sent in (plain, listed, in_list)):
            accepted.append(path)
    assert accepted == []


def test_every_exception_is_for_something() -> None:
    for calls, name, _, _ in known_parameters.BESIDES:
        routes = [route for route in families.routes() if fnmatch.fnmatchcase(route.call, calls)]
        assert routes, (calls, name)


async def test_both_refusals_over_http(raw: Raw) -> None:
    form = {"amount": "2000", "currency": "usd"}
    _, unknown, _ = await raw("POST", "/v1/payment_intents", {**form, "colour": "red"})
    assert unknown["error"]["code"] == "parameter_unknown"
    gaps = json.loads(parameters.GAPS.read_text())
    gap = next(name for name in gaps["POST /v1/payment_methods"] if "[" not in name)
    _, known, _ = await raw("POST", "/v1/payment_methods", {gap: "x", "type": "card"})
    assert (known["error"]["code"], known["error"]["param"]) == ("parameter_not_simulated", gap)
    assert "does not simulate" in known["error"]["message"]


async def test_the_names_that_the_cli_sends_are_taken_without_a_version_only(raw: Raw) -> None:
    _, coupon, _ = await raw("POST", "/v1/coupons", {"percent_off": "10"})
    form = {"coupon": coupon["id"]}
    for version, status in [("", 200), ("2026-08-26.dahlia", 400), (NEWEST, 400)]:
        answered, body, _ = await raw("POST", "/v1/customers", form, headers={"Stripe-Version": version})
        assert answered == status, body
    assert body["error"]["code"] == "parameter_unknown"

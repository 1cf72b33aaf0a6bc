"""Which parameters Stripe's API has, by its OpenAPI spec: no other is taken, whatever a family's table says.

``known_parameters.json.gz`` maps ``POST /v1/charges`` to a tree: names to trees, ``*`` stands for any name,
and a leaf is null, ``integer``, ``boolean`` or the list of an enum's values. It is made from the spec by
``python -m tests.integration.sandbox.parameters``, and a test holds it against the spec.
"""

from __future__ import annotations

import fnmatch
import gzip
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any, Final

import orjson

from tallystick.sandbox.errors import StripeError, invalid, unknown_parameter
from tallystick.sandbox.forms import Form
from tallystick.sandbox.params import listed
from tallystick.sandbox.versions import BASIL, ENDIVE, since

FILE: Final = "known_parameters.json.gz"

_ANY: Final = "9999-12-31"

BESIDES: Final[list[tuple[str, str, str, str]]] = [
    ("* /v1/*_intents*", "allowed_payment_method_types*", _ANY, "new in endive, in the SDK 16.1"),
    ("* /v1/payment_intents/{}", "radar_options*", _ANY, "in the SDK 16.1"),
    ("* /v1/*_intents*", "payment_method_data[[]card]*", _ANY, "raw cards: taken, not documented"),
    ("POST /v1/prices", "recurring[[]trial_period_days]", _ANY, "in the SDK 16.1"),
    ("POST /v1/tokens", "card[[]object]", _ANY, "sent by Stripe's older clients"),
    ("* /v1/topups", "payment_method*", _ANY, "in the SDK 16.1"),
    ("* /v1/subscription*", "*plan*", _ANY, "plans go on being taken; in the SDK 16.1"),
    ("* /v1/customers/{}/subscriptions*", "*plan*", _ANY, "plans go on being taken"),
    ("POST /v1/invoices/create_preview", "*plan*", _ANY, "plans go on being taken"),
    ("POST /v1/subscription_schedules/{}", "phases[[]currency]", _ANY, "in the SDK 16.1"),
    ("* /v1/*subscription*", "*[[]billie]*", _ANY, "in the SDK 16.1"),
    ("POST /v1/subscriptions/{}/resume", "payment_behavior", _ANY, "new in endive, in the SDK 16.1"),
    ("POST /v1/subscription_schedules*", "pause_schedules*", _ANY, "new in endive, in the SDK 16.1"),
    ("POST /v1/customers*", "coupon", ENDIVE, "until basil, and without a version: the Stripe CLI"),
    ("POST /v1/promotion_codes", "coupon", ENDIVE, "until clover, and without a version: the CLI"),
    (
        "POST /v1/subscription_schedules*",
        "phases[[]iterations]",
        ENDIVE,
        "until clover, and without a version: the CLI",
    ),
    ("POST /v1/customers*", "promotion_code", BASIL, "discounts replaced it"),
    ("POST /v1/*subscriptions*", "coupon", BASIL, "discounts replaced it"),
    ("POST /v1/*subscriptions*", "promotion_code", BASIL, "discounts replaced it"),
    ("POST /v1/invoiceitems*", "price", BASIL, "pricing replaced it"),
    ("POST /v1/invoiceitems*", "unit_amount", BASIL, "unit_amount_decimal replaced it"),
    ("POST /v1/invoices/*", "*price", BASIL, "pricing replaced it"),
    ("POST /v1/checkout/sessions", "line_items[[]*]", "2022-08-01", "price_data replaced the inline ones"),
]
"""Parameters beside the spec: pattern of the call, pattern of the name, the version that ended it, why."""

CHECKED: Final = (
    "enabled_events",
    "excluded_payment_method_types",
    "invoice_settings[rendering_options]",
    "locale",
    "payment_method_options[customer_balance][bank_transfer][requested_address_types]",
    "payment_settings[payment_method_options]",
    "payment_settings[payment_method_types]",
    "type",
)
"""Where the values are held against the spec as well: families pass them on without looking at each."""


@cache
def _trees() -> dict[str, Any]:
    packed = resources.files("tallystick.sandbox").joinpath(FILE).read_bytes()
    trees: dict[str, Any] = orjson.loads(gzip.decompress(packed))
    return trees


def check(call: str, form: Form, version: str) -> None:
    """Raises StripeError (400) for a parameter that Stripe does not have in this call and version."""
    tree = _trees().get(call)
    if tree is None:
        return  # not in the spec: a test helper of which only the CLI knows
    for name, kind, value in _walk(tree, form, ""):
        if kind is _UNKNOWN:
            if not beside(call, name, version):
                raise unknown_parameter(name)
        elif kind is not None and name.startswith(CHECKED):
            _check_value(name, kind, value)


_UNKNOWN: Final = object()


def _walk(tree: Any, value: Any, name: str) -> Iterator[tuple[str, Any, Any]]:
    """Every leaf of a form with its kind, and every name that the tree does not have."""
    if isinstance(value, dict):
        if not isinstance(tree, dict):
            if name and tree is not None:
                yield name, tree, value
            return
        for key, inner in value.items():
            below = f"{name}[{key}]" if name else key
            if key in tree:
                yield from _walk(tree[key], inner, below)
            elif "*" in tree:
                yield from _walk(tree["*"], inner, below)
            else:
                yield below, _UNKNOWN, inner
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _walk(tree, inner, f"{name}[{index}]")
    else:
        yield name, tree, value


def beside(call: str, name: str, version: str) -> bool:
    """Whether a parameter that the spec does not have is taken all the same."""
    plain = "".join(f"[{part}]" for part in name.replace("]", "").split("[")[1:] if not part.isdecimal())
    plain = name.partition("[")[0] + plain
    return any(
        fnmatch.fnmatchcase(call, calls) and fnmatch.fnmatchcase(plain, names) and not since(version, end)
        for calls, names, end, _ in BESIDES
    )


def _check_value(name: str, kind: Any, value: Any) -> None:
    if value == "":
        return
    if isinstance(kind, dict):
        raise invalid("Invalid object", param=name)
    if kind == "integer" and not str(value).removeprefix("-").isdecimal():
        raise invalid(f"Invalid integer: {value}", param=name, code="parameter_invalid_integer")
    if kind == "boolean" and value not in ("true", "false"):
        raise invalid(f"Invalid boolean: {value}", param=name)
    if isinstance(kind, list) and value not in kind:
        raise invalid(f"Invalid {name}: must be one of {listed(kind)}", param=name)


def told_apart(error: StripeError) -> StripeError:
    """What a family's table does not have is not unknown, since ``check`` came first: it is not simulated."""
    if error.body.get("code") != "parameter_unknown":
        return error
    name = error.body["param"]
    return invalid(
        f"The sandbox does not simulate the parameter {name} of this call, which Stripe takes; it is refused"
        " rather than passed over.",
        param=name,
        code="parameter_not_simulated",
    )

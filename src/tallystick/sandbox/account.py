"""The account that the key belongs to."""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj


def _requirements() -> Obj:
    lists = ("alternatives", "currently_due", "errors", "eventually_due", "past_due", "pending_verification")
    return {**{name: [] for name in lists}, "current_deadline": None, "disabled_reason": None}


def profile(**values: Any) -> Obj:
    """A business profile; what is not given is null."""
    names = (
        *("annual_revenue", "estimated_worker_count", "mcc", "name", "product_description"),
        *("support_address", "support_email", "support_phone", "support_url", "url"),
    )
    return {**dict.fromkeys(names), **values}


def shape(call: Call, ident: str, **values: Any) -> Obj:
    """An account that is verified and enabled; ``values`` is what is its own of it."""
    return {
        "id": ident,
        "object": "account",
        "charges_enabled": True,
        "details_submitted": True,
        "external_accounts": {
            "object": "list",
            "data": [],
            "has_more": False,
            "url": f"/v1/accounts/{ident}/external_accounts",
        },
        "future_requirements": _requirements(),
        "payouts_enabled": True,
        "requirements": _requirements(),
        "settings": _settings(call),
        **values,
    }


def retrieve(call: Call) -> Obj:
    """GET /v1/account."""
    return shape(
        call,
        call.sandbox.account_id,
        business_profile=profile(name="Tallystick sandbox"),
        business_type="company",
        capabilities={"card_payments": "active", "transfers": "active"},
        controller={"type": "account"},
        country="US",
        created=1_577_836_800,
        default_currency=call.sandbox.settings.default_currency,
        email="sandbox@example.com",
        metadata={},
        tos_acceptance={"date": None, "ip": None, "user_agent": None},
        type="standard",
    )


def _settings(call: Call) -> Obj:
    return {
        "branding": {"icon": None, "logo": None, "primary_color": None, "secondary_color": None},
        "card_payments": {
            "decline_on": {"avs_failure": False, "cvc_failure": False},
            "statement_descriptor_prefix": "TALLYSTICK",
            "statement_descriptor_prefix_kana": None,
            "statement_descriptor_prefix_kanji": None,
        },
        "dashboard": {"display_name": "Tallystick sandbox", "timezone": "Etc/UTC"},
        "payments": {
            "statement_descriptor": "TALLYSTICK",
            "statement_descriptor_kana": None,
            "statement_descriptor_kanji": None,
        },
        "payouts": {
            "debit_negative_balances": True,
            "schedule": {
                "delay_days": call.sandbox.settings.available_after_days,
                "interval": call.sandbox.settings.payout_interval,
            },
            "statement_descriptor": None,
        },
    }


ROUTES: Final = [Route("GET", "/v1/account", retrieve)]

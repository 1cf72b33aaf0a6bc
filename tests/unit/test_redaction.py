"""What people are shown of payloads and errors holds no secrets and no card data."""

from __future__ import annotations

import pytest

from tallystick.monitoring.redaction import blot, blot_cards, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("key sk_live_51Habcdef.", "key sk_live_***."),
        ("rk_test_51Habcdef", "rk_test_***"),
        ("signed with whsec_a1b2c3d4", "signed with whsec_***"),
        ("pi_3Q_secret_no", "pi_3Q_secret_no"),
        ("pi_3Q_secret_GnG9j2h9", "pi_3Q_secret_***"),
        ("cs_test_a1_secret_GnG9j2h9", "cs_test_a1_secret_***"),
        ("postgresql://me:hunter2@host/db", "postgresql://me:***@host/db"),
        ("pay_01m863rt28s7bjgn0r14z0j82g", "pay_01m863rt28s7bjgn0r14z0j82g"),
    ],
)
def test_secrets_are_blotted_out(text: str, expected: str) -> None:
    assert blot(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("card 4242424242424242 declined", "card ***4242 declined"),
        ("card 3782 822463 10005", "card ***0005"),
        ("order 4242424242424241", "order 4242424242424241"),  # no card number: its check digit is wrong
        ("ch_4242424242424242", "ch_4242424242424242"),
        ("2026-11-24 08:47:31", "2026-11-24 08:47:31"),
    ],
)
def test_card_numbers_keep_four_digits(text: str, expected: str) -> None:
    assert blot_cards(text) == expected


def test_a_payload_keeps_its_shape() -> None:
    payload = {
        "id": "pi_1",
        "client_secret": "pi_1_secret_abcdef",
        "amount": 4242424242424242,
        "number": "INV-0001",
        "invoice_secret": None,
        "card": {"exp_month": 4, "number": "4242", "fingerprint": "x", "last4": "4242", "cvc": ""},
        "list": [{"secret": "seti_1_secret_abcdef"}, "whsec_abcdef", 1, None],
        "metadata": {"note": "they wrote 4242 4242 4242 4242"},
    }
    assert shown(payload) == {
        "id": "pi_1",
        "client_secret": "***",
        "amount": 4242424242424242,
        "number": "INV-0001",
        "invoice_secret": None,
        "card": {"exp_month": 4, "number": "***", "fingerprint": "***", "last4": "4242", "cvc": ""},
        "list": [{"secret": "***"}, "whsec_***", 1, None],
        "metadata": {"note": "they wrote ***4242"},
    }

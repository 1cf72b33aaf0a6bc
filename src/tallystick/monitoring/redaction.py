"""Blots out secrets and card data, in lines of text and in payloads that people are shown. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

BLOT: Final = "***"

_SECRETS: Final = re.compile(
    r"\b((?:sk|rk)_(?:test|live)_|whsec_|tsk_|[a-z]{2,8}_[0-9A-Za-z_]+?_secret_|src_client_secret_)[0-9A-Za-z_+/=-]{4,}"
    r"|(://[^:/@\s]*:)[^@\s]+@"
)
_DIGITS: Final = re.compile(r"(?<![0-9A-Za-z_])[0-9](?:[ -]?[0-9]){12,18}(?![0-9A-Za-z])")
_SECRET_FIELDS: Final = frozenset({"client_secret", "secret", "cvc", "account_number", "iban"})
_CARD_FIELDS: Final = frozenset({"number", "cvc", "dynamic_last4", "fingerprint"})


def blot(text: str) -> str:
    """The text without what looks like a key, a signing or client secret, or a password in a URL."""
    return _SECRETS.sub(lambda found: f"{found[1] or found[2]}{BLOT}{'@' if found[2] else ''}", text)


def blot_cards(text: str) -> str:
    """``blot``, and every card number but for its last four digits."""
    return _DIGITS.sub(_card_number, blot(text))


def shown(payload: Any) -> Any:
    """A JSON value as people may see it: same shape, secrets and card data blotted out."""
    if isinstance(payload, Mapping):
        hidden = _SECRET_FIELDS | _CARD_FIELDS if "exp_month" in payload else _SECRET_FIELDS
        return {
            name: BLOT if name in hidden and value not in (None, "") else shown(value)
            for name, value in payload.items()
        }
    if isinstance(payload, list):
        return [shown(value) for value in payload]
    return blot_cards(payload) if isinstance(payload, str) else payload


def _card_number(found: re.Match[str]) -> str:
    digits = re.sub(r"[^0-9]", "", found[0])
    return f"{BLOT}{digits[-4:]}" if _luhn(digits) else found[0]


def _luhn(digits: str) -> bool:
    """Whether the last digit is the check digit that every card number has (ISO/IEC 7812)."""
    doubled = (int(digit) * (1 + n % 2) for n, digit in enumerate(reversed(digits)))
    return sum(each // 10 + each % 10 for each in doubled) % 10 == 0

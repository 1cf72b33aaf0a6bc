"""A dispute's evidence: its fields, which of them are files, and how long they may be."""

from __future__ import annotations

from typing import Any, Final

from tallystick.sandbox.errors import invalid, missing
from tallystick.sandbox.params import Check, Params, clearable, text

_TEXTS: Final = (
    "access_activity_log billing_address cancellation_policy_disclosure cancellation_rebuttal"
    " customer_email_address customer_name customer_purchase_ip duplicate_charge_explanation"
    " duplicate_charge_id product_description refund_policy_disclosure refund_refusal_explanation"
    " service_date shipping_address shipping_carrier shipping_date shipping_tracking_number"
    " uncategorized_text"
).split()
_FILES: Final = (
    "cancellation_policy customer_communication customer_signature duplicate_charge_documentation receipt"
    " refund_policy service_documentation shipping_documentation uncategorized_file"
).split()

BLANK: Final[dict[str, Any]] = {
    **dict.fromkeys(sorted(_TEXTS + _FILES)),
    "enhanced_evidence": {},
}

_TEXT_LIMIT: Final = 20_000
_ALL_LIMIT: Final = 150_000


def _file(value: Any, name: str) -> str:
    """The sandbox keeps no files, so there is none that could be named."""
    raise missing("file upload", text()(value, name), name)


def _enhanced(_value: Any, name: str) -> Any:
    raise invalid("This dispute is not eligible for enhanced evidence.", param=name)


_FIELDS: Final[dict[str, Check]] = {
    **{name: clearable(text(_TEXT_LIMIT)) for name in _TEXTS},
    **{name: clearable(_file) for name in _FILES},
    "enhanced_evidence": clearable(_enhanced),
}
_CHECK: Final = Params(_FIELDS)


def evidence_check(value: Any, name: str) -> dict[str, Any]:
    """Evidence as sent; together at most 150,000 characters."""
    sent = _CHECK(value, name)
    if "enhanced_evidence" in sent:
        sent["enhanced_evidence"] = {}
    if sum(len(item) for item in sent.values() if isinstance(item, str)) > _ALL_LIMIT:
        raise invalid(f"The combined character count of all evidence is limited to {_ALL_LIMIT}.", param=name)
    return sent

"""Which fields of Stripe's objects are about a person, and objects without them. Pure.

None of them decides an amount, an account or a state: what a redacted event means to the ledger is what it
meant before. Descriptions and metadata are the merchant's own words and stay.
"""

from __future__ import annotations

from typing import Any, Final

PERSONAL_FIELDS: Final = frozenset({
    "account_holder_name", "account_number", "address", "billing_details", "client_ip", "cardholder_name",
    "client_secret", "collected_information", "customer_account_name", "customer_address", "customer_details",
    "customer_email", "customer_name", "customer_phone", "customer_purchase_ip", "customer_shipping",
    "customer_signature", "customer_tax_ids", "email", "evidence", "exp_month", "exp_year", "fingerprint",
    "iban", "iban_last4", "iin", "individual", "ip", "ip_address", "last4", "dynamic_last4", "name",
    "phone", "phone_number", "receipt_email", "receipt_url", "shipping", "shipping_details", "tax_id",
    "tax_ids", "user_agent", "verified_address", "verified_email", "verified_name", "verified_phone",
    "hosted_invoice_url", "invoice_pdf",
})  # fmt: skip
"""Names and addresses, ways to reach a person, traces of devices, and what tells a card or account apart."""


def without_personal_fields(value: Any) -> Any:
    """The same JSON value with every personal field null, at any depth."""
    if isinstance(value, dict):
        return {
            name: None if name in PERSONAL_FIELDS else without_personal_fields(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [without_personal_fields(inner) for inner in value]
    return value

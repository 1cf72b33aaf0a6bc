"""Encryption of secrets: what opens, what does not, and what a row gives away."""

from __future__ import annotations

import base64
import os
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import Row

from tallystick.errors import ConfigurationError
from tallystick.settings import load_settings
from tallystick.vault import Vault, key_id, new_master_key, open_vault

VALUE = "sk_test_51Secret"
OLD, NEW = os.urandom(32), os.urandom(32)


def row(columns: dict[str, Any], **changes: Any) -> Row[Any]:
    return cast("Row[Any]", SimpleNamespace(**{**columns, **changes}))


def test_what_is_sealed_opens_and_is_not_in_the_row() -> None:
    vault = Vault([NEW])
    sealed = vault.seal("stripe_secret_key", 1, VALUE)
    assert vault.open(row(sealed)) == VALUE
    assert VALUE.encode() not in repr(sealed).encode() + sealed["ciphertext"]
    assert sealed["ciphertext"] != vault.seal("stripe_secret_key", 1, VALUE)["ciphertext"]


@pytest.mark.parametrize(
    "change",
    [{"name": "stripe_webhook_secret"}, {"version": 2}, {"nonce": bytes(12)}, {"ciphertext": bytes(32)}],
)
def test_a_row_that_was_changed_or_exchanged_does_not_open(change: dict[str, Any]) -> None:
    sealed = Vault([NEW]).seal("stripe_secret_key", 1, VALUE)
    with pytest.raises(ConfigurationError, match="was changed"):
        Vault([NEW]).open(row(sealed, **change))


def test_during_a_rotation_both_master_keys_open_and_the_first_seals() -> None:
    sealed = Vault([OLD]).seal("stripe_secret_key", 1, VALUE)
    both = Vault([NEW, OLD])
    assert both.open(row(sealed)) == VALUE
    anew = both.seal("stripe_secret_key", 1, VALUE)
    assert Vault([NEW]).open(row(anew)) == VALUE
    with pytest.raises(ConfigurationError, match=key_id(OLD)):
        Vault([NEW]).open(row(sealed))


def test_master_keys_come_from_the_settings_newest_first() -> None:
    keys = [base64.urlsafe_b64encode(key).decode() for key in (NEW, OLD)]
    vault = open_vault(load_settings({"TALLYSTICK_MASTER_KEY": ", ".join(keys)}, require=()))
    assert vault is not None
    assert vault.key_id == key_id(NEW)
    assert open_vault(load_settings({}, require=())) is None
    assert open_vault(load_settings({"TALLYSTICK_MASTER_KEY": new_master_key()}, require=())) is not None


@pytest.mark.parametrize("text", ["short", "x" * 44, base64.b64encode(bytes(31)).decode()])
def test_a_master_key_that_is_none_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_vault(load_settings({"TALLYSTICK_MASTER_KEY": text}, require=()))
    assert text not in caught.value.detail

"""API keys: who may call. Any ``sk_test_…`` key may do all; a restricted key may be given permissions."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

import orjson

from tallystick.sandbox.errors import StripeError
from tallystick.sandbox.spaces import Space
from tallystick.sandbox.store import Store

SPACE: Final = "restricted_key"

_HELP: Final = (
    "You did not provide an API key. You need to provide your API key in the Authorization header, using"
    " Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY'). See"
    " https://stripe.com/docs/api#authentication for details, or we can help at https://support.stripe.com/."
)
_PUBLISHABLE: Final = (
    "This API call cannot be made with a publishable API key. Please use a secret API key. You can find a"
    " list of your API keys at https://dashboard.stripe.com/account/apikeys."
)
_LEVELS: Final = ("none", "read", "write")


class PermissionsError(ValueError):
    """A restricted key that cannot be defined so."""


class RestrictedKeys:
    """The restricted keys that have been defined; an undefined ``rk_test_…`` key may do all.

    A definition maps a resource (the path after the version: ``charges``, ``checkout/sessions``, ``*`` for
    all others) to none, read or write.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.defined: dict[str, dict[str, str]] = {}
        store.add_space(SPACE, Space(self._dump, self._load, lambda: list(self.defined)))

    def define(self, key: str, permissions: Mapping[str, Any]) -> None:
        """Give a key its permissions; raises PermissionsError."""
        if not key.startswith("rk_test_"):
            raise PermissionsError("A restricted key begins with rk_test_.")
        for resource, level in permissions.items():
            if level not in _LEVELS:
                raise PermissionsError(f"The permission for {resource} must be one of {', '.join(_LEVELS)}.")
        self.defined[key] = dict(permissions)
        self._store.touch(SPACE, key)

    def remove(self, key: str) -> bool:
        """Forget a definition; False when there is none."""
        self._store.touch(SPACE, key)
        return self.defined.pop(key, None) is not None

    def check(self, key: str, method: str, path: str, account: str) -> None:
        """Raises StripeError (403) where a defined key may not make this call."""
        permissions = self.defined.get(key)
        if permissions is None:
            return
        parts = path.strip("/").split("/")[1:]
        wanted = "read" if method == "GET" else "write"
        nested = "/".join(parts[:2])
        resource = nested if nested in permissions or parts[0] in _GROUPS else parts[0]
        level = permissions.get(resource, permissions.get("*", "none"))
        if _LEVELS.index(level) >= _LEVELS.index(wanted):
            return
        name = f"rak_{resource.replace('/', '_').removesuffix('s')}_{wanted}"
        raise StripeError(
            403,
            f"The provided key '{hidden(key)}' does not have the required permissions for this endpoint on"
            f" account '{account}'. Having the '{name}' permission would allow this request to continue.",
        )

    def clear(self) -> None:
        """Forget all."""
        self.defined.clear()

    def _dump(self, key: str) -> bytes | None:
        found = self.defined.get(key)
        return None if found is None else orjson.dumps(found)

    def _load(self, key: str, body: bytes) -> None:
        self.defined[key] = orjson.loads(body)


_GROUPS: Final = ("billing", "billing_portal", "checkout", "core", "tax", "test_helpers")
"""First parts of a path that are no resource by themselves."""


def hidden(key: str) -> str:
    """A key as messages show it."""
    return key if len(key) < 12 else f"{key[:8]}{'*' * (len(key) - 12)}{key[-4:]}"


def key_of(headers: Mapping[bytes, bytes]) -> str:
    """The key that a request carries, as Bearer or as the user of Basic; raises StripeError."""
    raw = headers.get(b"authorization", b"").decode("latin-1")
    scheme, _, value = raw.partition(" ")
    key = value.strip()
    if scheme.lower() == "basic":
        try:
            key = base64.b64decode(key, validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            raise StripeError(401, "Invalid API Key provided: malformed Basic auth.") from None
    if not key:
        raise StripeError(401, _HELP)
    if key.startswith("pk_test_"):
        raise StripeError(403, _PUBLISHABLE, code="secret_key_required")
    if not key.startswith(("sk_test_", "rk_test_")):
        raise StripeError(401, f"Invalid API Key provided: {hidden(key)}")
    return key

"""Webhook endpoints: where events go, in which version, signed with which secret."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from tallystick.sandbox.errors import invalid
from tallystick.sandbox.lists import page
from tallystick.sandbox.params import (
    Params,
    boolean,
    clearable,
    list_of,
    listing,
    merged_metadata,
    metadata,
    text,
)
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec
from tallystick.sandbox.versions import known

TABLES: Final = [TableSpec("webhook_endpoint", "webhook endpoint")]


def checked_url(value: Any, name: str) -> str:
    """An http or https URL."""
    url = text()(value, name)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise invalid("Invalid URL: must be an http or https URL.", param=name, code="url_invalid")
    return str(url)


def _version(value: Any, name: str) -> str:
    version = text()(value, name)
    if not known(version):
        raise invalid(f"Invalid Stripe API version: {version}", param=name)
    return str(version)


_FIELDS: Final = {
    "description": clearable(text()),
    "enabled_events": list_of(text()),
    "metadata": metadata,
    "url": checked_url,
}


def secret(call: Call) -> str:
    """A new signing secret."""
    return f"whsec_{call.sandbox.ids.chars(32)}"


def create(call: Call) -> Obj:
    """POST /v1/webhook_endpoints; the only answer that shows the secret."""
    params = call.params
    endpoint: Obj = {
        "id": call.sandbox.ids.new("we"),
        "object": "webhook_endpoint",
        "api_version": params.get("api_version"),
        "application": None,
        "created": call.now,
        "description": params.get("description"),
        "enabled_events": params["enabled_events"],
        "livemode": False,
        "metadata": merged_metadata(None, params.get("metadata", {})),
        "status": "enabled",
        "url": params["url"],
    }
    signing = secret(call)
    hidden = {"secret": signing, "connect": True} if params.get("connect") else {"secret": signing}
    call.store.put(endpoint, hidden)
    return {**endpoint, "secret": signing}


def retrieve(call: Call) -> Obj:
    """GET /v1/webhook_endpoints/{id}."""
    return call.find("webhook_endpoint")


def update(call: Call) -> Obj:
    """POST /v1/webhook_endpoints/{id}."""
    endpoint, values = call.find("webhook_endpoint"), dict(call.params)
    if "metadata" in values:
        values["metadata"] = merged_metadata(endpoint["metadata"], values["metadata"])
    if "disabled" in values:
        values["status"] = "disabled" if values.pop("disabled") else "enabled"
    call.store.change(endpoint, **values)
    return endpoint


def delete(call: Call) -> Obj:
    """DELETE /v1/webhook_endpoints/{id}; what was still to be sent to it is given up."""
    endpoint = call.find("webhook_endpoint")
    call.store.remove(endpoint)
    call.sandbox.deliveries.call_off(endpoint)
    return {"id": endpoint["id"], "object": "webhook_endpoint", "deleted": True}


def list_all(call: Call) -> Obj:
    """GET /v1/webhook_endpoints."""
    return page(call, "webhook_endpoint", "/v1/webhook_endpoints")


def rotate(call: Call, keep_seconds: float) -> Obj:
    """A new secret; the old one goes on signing beside it for a while (Stripe: in the Dashboard only)."""
    endpoint = call.store.get("v2.core.event_destination", call.ids[0]) or call.find("webhook_endpoint")
    hidden = call.store.hidden(endpoint)
    until = call.sandbox.clock.now() + keep_seconds
    old = [*hidden.get("old_secrets", []), [hidden["secret"], until]]
    signing = secret(call)
    call.store.hide(endpoint, secret=signing, old_secrets=old)
    return {**endpoint, "secret": signing}


ROUTES: Final = [
    Route(
        "POST",
        "/v1/webhook_endpoints",
        create,
        Params({**_FIELDS, "api_version": _version, "connect": boolean}, required=("enabled_events", "url")),
    ),
    Route("GET", "/v1/webhook_endpoints", list_all, listing()),
    Route("GET", "/v1/webhook_endpoints/{}", retrieve),
    Route("POST", "/v1/webhook_endpoints/{}", update, Params({**_FIELDS, "disabled": boolean})),
    Route("DELETE", "/v1/webhook_endpoints/{}", delete),
]

"""The OpenAPI document: what FastAPI makes of the routes, and what it cannot know of them.

Each route lists the errors of its own (``routing.needs``); those that follow from what a route is like
(a key, a body, a path with an id) are added here. Every status that a route can answer with is described,
with the codes of its problem documents, so there is no ``default``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from tallystick import errors
from tallystick.api.examples import EXAMPLES
from tallystick.api.notice_description import notice_operations
from tallystick.api.problems import MEDIA_TYPE, Problem, problem, problem_headers
from tallystick.api.routing import PROBLEMS, SCOPE
from tallystick.api.webhooks import PATH as WEBHOOK_PATH

Json = dict[str, Any]

_TAGS: Final = {
    "payments": "Begin, confirm, capture, cancel and read payments, and give them back.",
    "refunds": "What was given back.",
    "customers": "Who pays, and what is saved with them to pay with.",
    "disputes": "What customers and their banks object to.",
    "ledger": "What the double-entry ledger holds.",
    "journal entries": "Correct the ledger by hand, above a set amount with a second person's approval.",
    "events": "What Stripe sent, and what it did.",
    "dead letters": "What failed for good.",
    "alerts": "What is wrong, without a Prometheus to say so.",
    "API keys": "Who may call, and how often.",
    "webhook endpoints": "Tell your own systems what became true.",
    "health": "For whatever runs the process.",
    "webhooks": "For Stripe.",
}
"""What each tag is about, in the order of the reference."""

_IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Requests with the same key are carried out once and get the same answer."
    " Up to 255 printable ASCII characters; a UUID does well.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    "example": "0b2f6a3e-5a5c-4f0e-9d0a-2b8a3c1f7e11",
}
_REQUEST_ID: Final = {
    "name": "X-Request-Id",
    "in": "header",
    "required": False,
    "description": "An id for this request, of letters, digits, dot, dash and underscore; it comes back with"
    " the answer and stands in the log. Any other is passed over, and a fresh one used.",
    "schema": {"type": "string", "maxLength": 128},
}
_HEADERS: Final = {
    "X-Request-Id": {
        "description": "The id of this request, as the log has it",
        "required": True,
        "schema": {"type": "string"},
    },
    "Idempotent-Replayed": {
        "description": "true: the stored answer to an earlier request with the same Idempotency-Key",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "Retry-After": {
        "description": "Seconds after which to try again",
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "RateLimit-Policy": {
        "description": "The limit of the API key: q requests in w seconds",
        "schema": {"type": "string"},
    },
    "RateLimit": {
        "description": "What is left of it: r requests; more from t seconds on",
        "schema": {"type": "string"},
    },
    "Server-Timing": {
        "description": "How long this request waited for Stripe, in milliseconds: stripe;dur=203.4",
        "schema": {"type": "string"},
    },
    "WWW-Authenticate": {"description": "How to authenticate", "schema": {"type": "string"}},
}

_LIMIT_HEADERS: Final = ("RateLimit-Policy", "RateLimit")
_GUARDED: Final = ("authentication_required", "invalid_api_key", "insufficient_scope", "rate_limited")
_EVERYWHERE: Final = ("internal_error", "database_unavailable")
_WITH_INPUT: Final = ("invalid_request",)
_WITH_BODY: Final = ("invalid_json", "body_too_large", "unsupported_media_type")
_WITH_KEY: Final = ("invalid_idempotency_key", "idempotency_key_reused", "idempotency_key_in_use")
_OF_WEBHOOK: Final = ("invalid_signature", "signature_expired", "invalid_event", "livemode_mismatch")


def description(api: FastAPI) -> Json:
    """The document of an API, made once."""
    if api.openapi_schema is None:
        api.openapi_schema = _described(api)
    return api.openapi_schema


def error_kinds() -> dict[str, type[errors.TallystickError]]:
    """Every error of the error tree by its code."""
    found = (kind for kind in vars(errors).values() if isinstance(kind, type))
    return {kind.code: kind for kind in found if issubclass(kind, errors.TallystickError)}


def _described(api: FastAPI) -> Json:
    document = get_openapi(
        title=api.title,
        version=api.version,
        summary=api.summary,
        description=api.description,
        openapi_version=api.openapi_version,
        routes=api.routes,
        servers=[{"url": "/", "description": "Where this description was read"}],
        license_info={"name": "Apache License 2.0", "identifier": "Apache-2.0"},
    )
    components = document["components"]
    schemas = components["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    for name, example in EXAMPLES.items():
        schemas[name]["examples"] = [example]
    components["headers"] = _HEADERS
    document["paths"][WEBHOOK_PATH] = {"post": _webhook_operation()}
    document["webhooks"] = notice_operations(schemas)
    kinds = error_kinds()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            operation.setdefault("security", [])
            codes = sorted(_codes(path, method, operation))
            _complete(operation, codes, kinds)
            if errors.StripeUnavailableError.code in codes:
                for response in operation["responses"].values():
                    response["headers"]["Server-Timing"] = _header("Server-Timing")
            if method == "post" and path != WEBHOOK_PATH:
                operation["parameters"].append(_IDEMPOTENCY_KEY)
                for response in operation["responses"].values():
                    response["headers"]["Idempotent-Replayed"] = _header("Idempotent-Replayed")
            if SCOPE in operation:
                for response in operation["responses"].values():
                    response["headers"] |= {name: _header(name) for name in _LIMIT_HEADERS}
    document["tags"] = [{"name": name, "description": text} for name, text in _TAGS.items()]
    return document


def _codes(path: str, method: str, operation: Json) -> Iterator[str]:
    """The codes of all problem documents that the operation can answer with."""
    own = operation.pop(PROBLEMS, ())
    yield from own
    if method == "post" and errors.StripeUnavailableError.code in own:  # it waits for its turn to begin
        yield errors.OverloadedError.code
    if path == WEBHOOK_PATH:
        yield from (*_OF_WEBHOOK, "invalid_json", "body_too_large", *_EVERYWHERE)
    if SCOPE not in operation:
        return
    yield from (*_GUARDED, *_EVERYWHERE)
    if "requestBody" in operation:
        yield from _WITH_BODY
    if "requestBody" in operation or operation.get("parameters"):
        yield from _WITH_INPUT
    if "{" in path:
        yield "not_found"
    if method == "post":
        yield from _WITH_KEY


def _complete(operation: Json, codes: list[str], kinds: Mapping[str, type[errors.TallystickError]]) -> None:
    """Describe headers, refusals and what FastAPI calls a successful response."""
    operation.setdefault("parameters", []).append(_REQUEST_ID)
    responses = operation["responses"]
    if "HTTPValidationError" in str(responses.get("422")):  # FastAPI's own, which never happens here
        del responses["422"]
    for response in responses.values():
        if response["description"] == "Successful Response":
            response["description"] = "As it stands after the request"
    by_status: dict[int, list[type[errors.TallystickError]]] = {}
    for code in dict.fromkeys(codes):
        by_status.setdefault(kinds[code].status, []).append(kinds[code])
    for status in sorted(by_status):
        responses[str(status)] = _refusal(by_status[status])
    for response in responses.values():
        response.setdefault("headers", {})["X-Request-Id"] = _header("X-Request-Id")


def _refusal(kinds: list[type[errors.TallystickError]]) -> Json:
    """The response of one status: its codes, what each means, an example of each."""
    lines = [f"`{kind.code}`: {_meaning(kind)}" for kind in kinds]
    return {
        "description": "\n\n".join(lines),
        "headers": {name: _header(name) for kind in kinds for name in _headers_of(kind)},
        "content": {
            MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": {kind.code: {"summary": kind.title, "value": _example(kind)} for kind in kinds},
            }
        },
        PROBLEMS: [kind.code for kind in kinds],
    }


def _headers_of(kind: type[errors.TallystickError]) -> list[str]:
    found = set(problem_headers(kind(""))) | ({"Retry-After"} if kind.status in (409, 429, 503) else set())
    return sorted(found & _HEADERS.keys())


def _header(name: str) -> Json:
    return {"$ref": f"#/components/headers/{name}"}


def _meaning(kind: type[errors.TallystickError]) -> str:
    if kind is errors.TallystickError:
        return "An error that nobody foresaw; the log holds it under the request's id."
    return " ".join((kind.__doc__ or "").partition("\n\n")[0].replace("``", "`").split())


def _example(kind: type[errors.TallystickError]) -> Json:
    found: Json = orjson.loads(problem(kind(f"{kind.title}."), "req_9d3c1f0a2b7e4c55a1b2c3d4"))
    return found


def _webhook_operation() -> Json:
    received = {"type": "object", "properties": {"received": {"type": "boolean"}}, "required": ["received"]}
    return {
        "tags": ["webhooks"],
        "summary": "Receive a Stripe event",
        "description": "For Stripe: the signature is checked over the raw bytes. 200 means stored for good.",
        "operationId": "receive_stripe_event",
        "security": [],
        "parameters": [
            {
                "name": "Stripe-Signature",
                "in": "header",
                "required": True,
                "description": "Stripe's signature of the body, with its time",
                "schema": {"type": "string"},
            }
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
        "responses": {
            "200": {"description": "Stored", "content": {"application/json": {"schema": received}}}
        },
    }

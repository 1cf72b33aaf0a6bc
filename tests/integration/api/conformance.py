"""Holds every answer that a test gets against the OpenAPI document: its status, its codes, its schema."""

from __future__ import annotations

import re
from typing import Any

import httpx
import jsonschema_rs

Json = dict[str, Any]
_PROBLEM = "application/problem+json"


class Conformance:
    """Checks answers against one document; a hook of the test's HTTP client."""

    def __init__(self, document: Json) -> None:
        self._components = document["components"]
        self._paths = [
            (re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))), methods)
            # /dead-letters/summary before /dead-letters/{id}
            for path, methods in sorted(document["paths"].items(), key=lambda item: "{" in item[0])
        ]
        self._validators: dict[str, Any] = {}

    async def check(self, response: httpx.Response) -> None:
        """Raises AssertionError that says what to describe, or what to answer otherwise."""
        await response.aread()
        request = response.request
        name = f"{request.method} {request.url.path} → {response.status_code}"
        assert response.headers["x-request-id"], name
        if request.method == "HEAD":  # answered as GET, which is described
            assert response.content == b"", name
            return
        media_type = response.headers.get("content-type", "").partition(";")[0]
        operation = self._operation(request)
        if operation is None:
            if response.status_code >= 400:
                self._valid({"$ref": "#/components/schemas/Problem"}, response, name)
            return
        described = operation["responses"].get(str(response.status_code))
        assert described, f"{name} {_code(response)}: not described; name the error in the route's needs(…)"
        assert media_type in described["content"], f"{name}: {media_type} is not described"
        if media_type.endswith("json"):
            self._valid(described["content"][media_type]["schema"], response, name)
        if media_type == _PROBLEM:
            assert _code(response) in described["x-problem-codes"], (
                f"{name} {_code(response)}: code not described; name the error in the route's needs(…)"
            )
        undescribed = {"retry-after", "idempotent-replayed", "www-authenticate", "ratelimit"} - {
            header.lower() for header in described["headers"]
        }
        assert not undescribed & set(response.headers), f"{name}: a header that is not described"

    def _operation(self, request: httpx.Request) -> Json | None:
        for pattern, methods in self._paths:
            if pattern.fullmatch(request.url.path):
                operation: Json | None = methods.get(request.method.lower())
                return operation
        return None

    def _valid(self, schema: Json, response: httpx.Response, name: str) -> None:
        key = str(schema)
        if key not in self._validators:
            self._validators[key] = jsonschema_rs.Draft202012Validator(
                {**schema, "components": self._components}, validate_formats=True
            )
        found = [
            f"{error.instance_path}: {error.message}"
            for error in self._validators[key].iter_errors(response.json())
        ]
        assert not found, f"{name}: {found}"


def _code(response: httpx.Response) -> str:
    return str(response.json().get("code", "")) if response.headers["content-type"] == _PROBLEM else ""

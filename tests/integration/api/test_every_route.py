"""What must hold on every route, asked of each that the description has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from tests.conftest import Databases
from tests.integration.api.conftest import Face, open_face

from tallystick.api.documents import build_api
from tallystick.api.keys import Scope
from tallystick.embedded import EmbeddedValkey

Json = dict[str, Any]
Route = tuple[str, str, Json]
_EARLIEST_WITH_AN_OFFSET = "0001-01-01T00:00:00+14:00"


@pytest.fixture(scope="module")
async def face(databases: Databases, valkey: EmbeddedValkey) -> AsyncIterator[Face]:
    """One for all tests here: they only knock."""
    async with open_face(await databases.create(), valkey) as made:
        yield made


@pytest.fixture(scope="module")
def routes(face: Face) -> list[Route]:
    """Method, path and description of each operation that needs a key."""
    paths: Json = build_api(face.app).openapi()["paths"]
    found = [
        (method.upper(), path, operation)
        for path, methods in paths.items()
        for method, operation in methods.items()
        if "x-required-scope" in operation
    ]
    assert len(found) > 60
    return found


async def knock(face: Face, route: Route, authorization: str | None) -> httpx.Response:
    """A request that a route refuses at the latest for its id or its body."""
    method, path, _ = route
    headers = {} if authorization is None else {"Authorization": authorization}
    async with httpx.AsyncClient(transport=face.http._transport, base_url="http://test") as anyone:
        return await anyone.request(method, path.replace("{id}", "none"), headers=headers)


async def test_each_route_wants_its_scope_and_no_other(face: Face, routes: list[Route]) -> None:
    everything = {scope.value for scope in Scope} - {Scope.ADMIN.value}
    with_only = {scope: f"Bearer {await face.key(scope)}" for scope in everything | {"admin"}}
    with_all_but = {scope: f"Bearer {await face.key(*(everything - {scope}))}" for scope in everything}
    with_all_but["admin"] = f"Bearer {await face.key(*everything)}"
    for route in routes:
        name, scope = f"{route[0]} {route[1]}", route[2]["x-required-scope"]
        refused = await knock(face, route, with_all_but[scope])
        assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope"), name
        assert refused.json()["scope"] == scope, name
        for kind in (scope, "admin"):
            granted = await knock(face, route, with_only[kind])
            assert granted.status_code not in (401, 403), f"{name} with {kind}: {granted.text}"
            assert granted.status_code < 500, f"{name}: {granted.text}"


async def test_no_route_lets_anybody_in_without_a_key(face: Face, routes: list[Route]) -> None:
    for route in routes:
        answer = await knock(face, route, None)
        assert (answer.status_code, answer.json()["code"]) == (401, "authentication_required"), route[:2]


@pytest.mark.parametrize("name", ["%00", "a%00b", "a" * 501])
async def test_what_no_object_can_be_called_is_not_found(face: Face, routes: list[Route], name: str) -> None:
    """Also with an Idempotency-Key, beside which the path is stored."""
    for method, path, _ in routes:
        if "{" not in path:
            continue
        address = path.replace("{id}", name).replace("{name}", name)
        for headers in ({}, {"Idempotency-Key": "k"} if method == "POST" else {}):
            answer = await face.http.request(method, address, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), f"{method} {path}"


@pytest.mark.parametrize("value", ["%00", "%FF", _EARLIEST_WITH_AN_OFFSET.replace("+", "%2B")])
async def test_no_value_in_a_query_breaks_a_route(face: Face, routes: list[Route], value: str) -> None:
    for method, path, operation in routes:
        for parameter in operation["parameters"]:
            if parameter["in"] != "query":
                continue
            address = path.replace("{id}", "none").replace("{name}", "assets:stripe:balance")
            answer = await face.http.request(method, f"{address}?{parameter['name']}={value}")
            assert answer.status_code < 500, f"{method} {path}?{parameter['name']}: {answer.text}"

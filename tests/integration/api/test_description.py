"""The OpenAPI document: sound, whole, and made for clients that are generated from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import SecretStr

from tallystick.api.documents import build_api
from tallystick.app import open_app
from tallystick.settings import Settings

OPERATIONS = Path(__file__).with_name("operations.txt")
Json = dict[str, Any]


@pytest.fixture(scope="module")
async def document() -> Json:
    """The document; nothing is connected to for it."""
    nowhere = Settings(
        database_url="postgresql://nowhere/none",
        redis_url="redis://nowhere",
        stripe_secret_key=SecretStr("sk_test_none"),
        stripe_webhook_secrets=(SecretStr("whsec_none"),),
    )
    async with open_app(nowhere) as app:
        described: Json = build_api(app).openapi()
    return described


def operations(document: Json) -> Iterator[tuple[str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def validator(document: Json, schema: Json) -> Any:
    whole = {**schema, "components": document["components"]}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)


def test_it_is_valid_openapi(document: Json) -> None:
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1")


def test_operation_ids_stay_as_they_are(document: Json) -> None:
    """Generated clients name their functions by them: a change breaks every caller."""
    found = sorted(f"{operation['operationId']} {name}" for name, operation in operations(document))
    assert found == OPERATIONS.read_text("utf-8").splitlines(), (
        f"a new operation is added to {OPERATIONS.name}; an old one keeps its id"
    )
    ids = [line.split()[0] for line in found]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z][a-z_]*", each) for each in ids)


def test_every_operation_is_described(document: Json) -> None:
    tags = {tag["name"]: tag["description"] for tag in document["tags"]}
    for name, operation in operations(document):
        assert operation["description"], name
        assert operation["tags"], name
        assert set(operation["tags"]) <= set(tags), f"{name}: say in description.py what its tag is about"
        assert "X-Request-Id" in {parameter["name"] for parameter in operation["parameters"]}, name
        for status, response in operation["responses"].items():
            assert status.isdigit(), f"{name}: {status} names no status"
            assert "X-Request-Id" in response["headers"], name
            assert response["content"], name


def test_posts_take_a_key_and_say_that_an_answer_is_replayed(document: Json) -> None:
    for name, operation in operations(document):
        keyed = name.startswith("POST") and operation["operationId"] != "receive_stripe_event"
        named = {parameter["name"] for parameter in operation["parameters"]}
        assert ("Idempotency-Key" in named) is keyed, name
        replayed = ["Idempotent-Replayed" in each["headers"] for each in operation["responses"].values()]
        assert all(replayed) if keyed else not any(replayed), name


def test_every_refusal_lists_its_codes_with_an_example_of_each(document: Json) -> None:
    problem = validator(document, {"$ref": "#/components/schemas/Problem"})
    for name, operation in operations(document):
        secured = operation.get("security")
        assert {"401", "403"} <= set(operation["responses"]) or not secured, name
        for status, response in operation["responses"].items():
            media = response["content"].get("application/problem+json")
            if media is None:
                assert int(status) < 400 or not secured, name
                continue
            codes = response["x-problem-codes"]
            assert codes == sorted(media["examples"]), name
            for code in codes:
                example = media["examples"][code]["value"]
                assert (example["code"], example["status"]) == (code, int(status))
                assert problem.is_valid(example)
                assert f"`{code}`" in response["description"]
            if int(status) in (429, 503):
                assert "Retry-After" in response["headers"], name


def test_the_security_scheme_is_a_bearer_key(document: Json) -> None:
    assert document["components"]["securitySchemes"]["ApiKey"]["scheme"] == "bearer"
    for operation in (each["post"] for each in document["webhooks"].values()):
        assert operation["security"] == []
    for name, operation in operations(document):
        assert operation["security"] == ([{"ApiKey": []}] if "x-required-scope" in operation else [])
        assert "x-required-scope" in operation or operation["tags"][0] in ("health", "webhooks"), name


def test_it_says_where_and_under_which_terms(document: Json) -> None:
    """What linters ask for: Redocly's recommended rules, and Spectral's."""
    assert document["servers"] == [{"url": "/", "description": "Where this description was read"}]
    assert document["info"]["license"]["identifier"] == "Apache-2.0"
    assert document["info"]["summary"]
    assert document["info"]["description"]


def test_references_lead_somewhere(document: Json) -> None:
    known = {
        f"#/components/{kind}/{name}" for kind, items in document["components"].items() for name in items
    }
    assert set(_values(document, "$ref")) <= known


def test_examples_fit_their_schemas(document: Json) -> None:
    schemas = document["components"]["schemas"]
    for name, schema in schemas.items():
        for example in schema.get("examples", ()):
            found = [error.message for error in validator(document, schema).iter_errors(example)]
            assert not found, f"{name}: {found}"


def test_every_body_that_is_sent_has_an_example(document: Json) -> None:
    schemas = document["components"]["schemas"]
    for name, operation in operations(document):
        if "requestBody" not in operation or operation["operationId"] == "receive_stripe_event":
            continue
        body = operation["requestBody"]["content"]["application/json"]["schema"]
        for reference in _values(body, "$ref"):
            assert schemas[reference.rsplit("/", 1)[1]].get("examples"), f"{name}: add one to examples.py"


def test_choices_have_names(document: Json) -> None:
    """An enum in a property's own schema gets a name from the generator, another in every model."""
    for name, schema in document["components"]["schemas"].items():
        for field, shape in schema.get("properties", {}).items():
            inline = [values for values in _values(shape, "enum") if len(values) > 1]
            assert not inline, f"{name}.{field}: give the choices a name in choices.py"


def _values(node: Any, key: str) -> list[Any]:
    """All values of a key, wherever it stands."""
    if isinstance(node, dict):
        own = [node[key]] if key in node and not isinstance(node[key], dict) else []
        return own + [found for each in node.values() for found in _values(each, key)]
    return [found for each in node for found in _values(each, key)] if isinstance(node, list) else []

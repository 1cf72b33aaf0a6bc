"""What ``/openapi.json`` says of notices: under ``webhooks``, what an endpoint of the merchant's is sent."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from tallystick.events.notice_shapes import NOTICE_DATA
from tallystick.outbox.notices import NOTICES

Json = dict[str, Any]
_REFERENCES = "#/components/schemas/{model}"


def notice_operations(schemas: Json) -> Json:
    """The requests by the notice's type; what they carry is added to ``schemas``.

    Raises ValueError for a name that the API's own bodies have: theirs would be replaced.
    """
    carried: Json = {}
    for shape in NOTICE_DATA.values():
        schema = TypeAdapter(shape).json_schema(ref_template=_REFERENCES)
        carried |= schema.pop("$defs", {})
        carried[shape.__name__] = schema
    if taken := sorted(carried.keys() & schemas.keys()):
        raise ValueError(f"notices have shapes of their own: call {', '.join(taken)} otherwise")
    schemas |= carried
    return {name: {"post": _operation(name, meaning)} for name, meaning in NOTICES.items()}


def _operation(name: str, meaning: str) -> Json:
    shape = NOTICE_DATA.get(name.partition(".")[0])
    data = {"$ref": _REFERENCES.format(model=shape.__name__)} if shape else {"type": "object"}
    body = {
        "type": "object",
        "properties": {
            "id": {"type": "string", "description": "As in the header webhook-id"},
            "type": {"type": "string", "const": name},
            "created_at": {"type": "string", "format": "date-time"},
            "data": data,
        },
        "required": ["id", "type", "created_at", "data"],
    }
    return {
        "tags": ["webhook endpoints"],
        "security": [],
        "summary": f"{meaning[0].upper()}{meaning[1:]}",
        "operationId": f"notice_{name.replace('.', '_')}",
        "description": "Sent to your endpoints, signed as Standard Webhooks has it.",
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": {"2XX": {"description": "Taken; anything else is sent again"}},
    }

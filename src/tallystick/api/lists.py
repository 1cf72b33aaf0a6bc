"""What every list takes in its query and gives back: pages, bounds of time, pairs of metadata."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from fastapi import Depends, Query
from starlette.requests import Request

from tallystick.api.values import WITHOUT_SPACES, Moment, up_to
from tallystick.errors import InvalidRequestError
from tallystick.payments.lists import Between

Limit = Annotated[int, Query(ge=1, le=100)]
Cursor = Annotated[str | None, Query(max_length=600)]
Word = Annotated[str, up_to(255), WITHOUT_SPACES]
"""An id or a status of Stripe's: printable ASCII without spaces."""

_PAIR: Final = re.compile(r"metadata\[(?P<key>[^\[\]\x00]{1,40})\]")
METADATA: Final[dict[str, Any]] = {
    "parameters": [
        {
            "name": "metadata",
            "in": "query",
            "required": False,
            "style": "deepObject",
            "explode": True,
            "description": "`metadata[key]=value`, several times: all of them must be there",
            "schema": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 500}},
        }
    ]
}
"""How the OpenAPI description says that a list can be narrowed by metadata."""


def _moment(name: str) -> Any:
    return Query(alias=f"created[{name}]", description="RFC 3339 with an offset, or Unix seconds")


def _between(
    gte: Annotated[Moment | None, _moment("gte")] = None,
    gt: Annotated[Moment | None, _moment("gt")] = None,
    lte: Annotated[Moment | None, _moment("lte")] = None,
    lt: Annotated[Moment | None, _moment("lt")] = None,
) -> Between:
    return Between(gte=gte, gt=gt, lte=lte, lt=lt)


Created = Annotated[Between, Depends(_between)]


def metadata_of(request: Request) -> dict[str, str]:
    """The pairs that a list is narrowed to; raises InvalidRequestError."""
    pairs: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if not name.startswith("metadata"):
            continue
        found = _PAIR.fullmatch(name)
        if found is None or "\0" in value or len(value) > 500:
            raise InvalidRequestError(
                "Narrow by metadata as metadata[key]=value: up to 40 characters, and up to 500.",
                param="metadata",
            )
        pairs[found["key"]] = value
    return pairs

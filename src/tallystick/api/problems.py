"""Every refusal as ``application/problem+json`` (RFC 9457) with a stable ``code``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from tallystick.errors import TallystickError

MEDIA_TYPE: Final = "application/problem+json"


class Problem(BaseModel):
    """An error. ``code`` is stable; ``detail`` is for people and may change."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(
        description="A name for the kind of problem", examples=["urn:tallystick:error:not_found"]
    )
    title: str
    status: int
    detail: str
    code: str = Field(examples=["not_found"])
    retryable: bool = Field(description="Whether the same request can succeed later")
    request_id: str
    param: str | None = Field(None, description="The field at fault")
    errors: list[dict[str, str]] | None = Field(None, description="All fields at fault, when several can be")


def problem(error: TallystickError, request_id: str) -> bytes:
    """The problem document of an error; its ``extra`` cannot replace a standard member."""
    document: dict[str, Any] = {
        **error.extra,
        "type": f"urn:tallystick:error:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "retryable": error.retryable,
        "request_id": request_id,
    }
    if error.param is not None:
        document["param"] = error.param
    return orjson.dumps(document)


def problem_headers(error: TallystickError) -> dict[str, str]:
    """The headers that go with an error."""
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    elif error.status == 503:
        headers["Retry-After"] = "2"
    if error.status == 413:
        headers["Connection"] = "close"  # the rest of the body is not read
    if error.code == "authentication_required":
        headers["WWW-Authenticate"] = 'Bearer realm="tallystick"'
    elif error.code == "invalid_api_key":
        headers["WWW-Authenticate"] = 'Bearer realm="tallystick", error="invalid_token"'
    elif error.code == "insufficient_scope":
        headers["WWW-Authenticate"] = 'Bearer realm="tallystick", error="insufficient_scope"'
    return headers


def problem_response(
    error: TallystickError, request_id: str, headers: Mapping[str, str] | None = None
) -> Response:
    """The whole answer."""
    return Response(
        problem(error, request_id),
        status_code=error.status,
        headers={**problem_headers(error), **(headers or {})},
        media_type=MEDIA_TYPE,
    )


def unexpected() -> TallystickError:
    """What a caller hears of an error that nobody foresaw: nothing."""
    return TallystickError("The request could not be completed; what happened is in the log under its id.")

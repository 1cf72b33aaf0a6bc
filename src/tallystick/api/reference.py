"""/docs: the description of the API for people, by Swagger UI. All of it is served from here, no CDN."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

from fastapi import APIRouter
from starlette.responses import Response

from tallystick.errors import NotFoundError

_PACKAGE: Final = "fastapi_offline"
"""Carries Swagger UI's files; nothing else of it is used."""
_MEDIA_TYPES: Final = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon.png": "image/png",
}
_POLICY: Final = (
    # data: are the little pictures inside swagger-ui.css
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tallystick API</title>
<link rel="icon" href="docs/favicon.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="reference"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
# The validator, which Swagger UI asks by default, would be told of every installation.
_START: Final = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  validatorUrl: null,
});
"""


def reference_routes() -> APIRouter:
    """The page and its files; no part of the description of the API."""
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    async def docs() -> Response:
        return Response(_PAGE, media_type="text/html", headers={"Content-Security-Policy": _POLICY})

    @router.get("/docs/start.js")
    async def start() -> Response:
        return Response(_START, media_type="text/javascript")

    @router.get("/docs/{name}")
    async def part(name: str) -> Response:
        if name not in _MEDIA_TYPES:
            raise NotFoundError("There is no such file.")
        return Response(_file(name), media_type=_MEDIA_TYPES[name])

    return router


@cache
def _file(name: str) -> bytes:
    return (files(_PACKAGE) / "static" / name).read_bytes()

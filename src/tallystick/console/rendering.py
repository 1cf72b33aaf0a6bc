"""Templates to answers: autoescaped, every name defined, with the policy of what a page may load."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from tallystick import __version__
from tallystick.console import formats
from tallystick.errors import NotFoundError

_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    # with no-referrer, browsers would not tell us the origin of a form
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_FILTERS: Final = (
    "amount", "day", "clock", "for_input", "utc", "iso", "ago", "age", "words", "tone", "page_of", "pretty",
)  # fmt: skip
_MEDIA_TYPES: Final = {
    "console.css": "text/css",
    "console.js": "text/javascript",
    "check.svg": "image/svg+xml",
    "copy.svg": "image/svg+xml",
    "tally.svg": "image/svg+xml",
}


def render(template: str, *, status: int = 200, **values: Any) -> Response:
    """A page."""
    html = _environment().get_template(template).render(values)
    return HTMLResponse(html, status_code=status, headers=HEADERS)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("tallystick.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in (
        "amount",
        "day",
        "clock",
        "for_input",
        "utc",
        "iso",
        "ago",
        "age",
        "words",
        "tone",
        "page_of",
        "pretty",
    ):
        made.filters[name] = getattr(formats, name)
    made.globals.update(address=formats.address, static=_static_url, version=__version__)
    return made


async def static_file(request: Request) -> Response:
    """One of our few files. Its address changes with its content, so that it can be kept for ever."""
    name = request.path_params["name"]
    if name not in _MEDIA_TYPES:
        raise NotFoundError("There is no such file.")
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(_content(name), media_type=_MEDIA_TYPES[name], headers=headers)


@cache
def _static_url(name: str) -> str:
    return f"/console/static/{name}?v={hashlib.sha256(_content(name)).hexdigest()[:12]}"


@cache
def _content(name: str) -> bytes:
    return (files("tallystick.console") / "static" / name).read_bytes()

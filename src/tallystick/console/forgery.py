"""Whether a form was sent from a page of ours: where the browser says it came from, and the form's token."""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from starlette.requests import Request

from tallystick.errors import ForgedFormError


def check_origin(request: Request) -> None:
    """Refuse what comes from a page of another site, or does not say where from. Raises ForgedFormError.

    Behind a proxy we do not know the scheme that the browser sees, so hosts are compared.
    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site not in (None, "same-origin") or (site is None and origin is None):
        raise _forged()
    if origin is not None and urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower():
        raise _forged()


def check_token(sent: str, expected: str) -> None:
    """Compare in constant time. Raises ForgedFormError."""
    if not hmac.compare_digest(sent.encode(), expected.encode()):
        raise _forged()


def seen_over_https(request: Request) -> bool:
    """Whether the browser is on https, also where a proxy in front of us ends it: its Origin says so."""
    return request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://")


def _forged() -> ForgedFormError:
    return ForgedFormError("The form did not come from a page of this console, or the page was an old one.")

"""Stripe's errors: what the API answers, as an exception."""

from __future__ import annotations

from typing import Any


class StripeError(Exception):
    """An error answer of the API.

    ``stored`` says whether the answer is kept under the request's idempotency key: Stripe keeps what an
    endpoint answered once it had begun to work, and forgets what failed validation. ``keeps_work`` marks
    an error that is itself a result (a decline leaves a failed charge behind); any other error undoes what
    the request had changed.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        stored: bool = False,
        keeps_work: bool = False,
        **fields: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.stored = stored
        self.keeps_work = keeps_work
        body: dict[str, Any] = {"message": message, "type": kind}
        if code is not None:
            body["code"] = code
            body["doc_url"] = doc_url(code)
        if param is not None:
            body["param"] = param
        body.update((name, value) for name, value in fields.items() if value is not None)
        self.body = body


def doc_url(code: str) -> str:
    """Where Stripe explains an error code."""
    return f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"


def missing(noun: str, ident: str, param: str, *, named: bool = False) -> StripeError:
    """``resource_missing``: there is no such object; 404 for the one that the path names, else 400."""
    status = 404 if named or param == "id" else 400
    return StripeError(status, f"No such {noun}: '{ident}'", code="resource_missing", param=param)


def invalid(message: str, *, param: str | None = None, code: str | None = None) -> StripeError:
    """400: a parameter that does not pass validation."""
    return StripeError(400, message, param=param, code=code)


def unknown_parameter(name: str) -> StripeError:
    """400 ``parameter_unknown``: the call, or the caller's API version, has no such parameter."""
    return invalid(f"Received unknown parameter: {name}", param=name, code="parameter_unknown")


def refused(message: str, *, code: str | None = None, param: str | None = None, **fields: Any) -> StripeError:
    """400: the parameters are well-formed, but the object's state does not allow the call."""
    return StripeError(400, message, code=code, param=param, stored=True, **fields)

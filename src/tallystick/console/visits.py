"""One request of somebody who is signed in, as the function behind a page sees it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from tallystick.api.keys import Scope
from tallystick.app import App
from tallystick.console import formats
from tallystick.console.rendering import HEADERS, render
from tallystick.console.sessions import Session
from tallystick.errors import InvalidRequestError, TallystickError

Model = TypeVar("Model", bound=BaseModel)


class Done(StrEnum):
    """What a form has just done, for the page that comes after it."""

    REPLAYED = "replayed"
    DISCARDED = "discarded"
    POSTED = "posted"
    PROPOSED = "proposed"
    APPROVED = "approved"
    REJECTED = "rejected"
    REVERSED = "reversed"
    REDELIVERED = "redelivered"

    @property
    def sentence(self) -> str:
        """For whoever did it."""
        return _SENTENCES[self]


_SENTENCES: Final = {
    Done.REPLAYED: "Put back. A worker processes it again; what it had already done is not done twice.",
    Done.DISCARDED: "Discarded: it has no effect. Its bytes and its history are kept.",
    Done.POSTED: "Posted: it stands in the ledger.",
    Done.PROPOSED: "Written down. It is posted when another person approves it.",
    Done.APPROVED: "Approved and posted: it stands in the ledger.",
    Done.REJECTED: "Rejected: it is not posted, and stays on record.",
    Done.REVERSED: "Taken back: this entry is its mirror, and stands in the ledger beside it.",
    Done.REDELIVERED: "A worker sends it again.",
}


class Query(BaseModel):
    """What a page takes in its address: fields left empty in a form are not given, unknown ones refused."""

    model_config = ConfigDict(extra="forbid")

    done: Done | None = None

    def given(self) -> dict[str, Any]:
        """The fields that are given, as they are written in an address."""
        return self.model_dump(mode="json", exclude_none=True, exclude={"done"})


class NoQuery(Query):
    """Of a page that takes nothing."""


@dataclass(frozen=True, slots=True)
class Section:
    """An entry of the menu, shown to whoever may read it. ``name`` is its path below /console."""

    name: str
    title: str
    scope: Scope
    group: str = ""


SECTIONS: Final = (
    Section("payments", "Payments", Scope.PAYMENTS_READ),
    Section("events", "Events", Scope.EVENTS_READ),
    Section("dead-letters", "Dead letters", Scope.EVENTS_READ),
    Section("replays", "Replays", Scope.EVENTS_READ),
    Section("webhooks", "Endpoints", Scope.WEBHOOKS_READ),
    Section("ledger/accounts", "Accounts", Scope.LEDGER_READ, "Ledger"),
    Section("ledger/trial-balance", "Trial balance", Scope.LEDGER_READ, "Ledger"),
    Section("ledger/transactions", "Transactions", Scope.LEDGER_READ, "Ledger"),
    Section("ledger/payouts", "Payouts", Scope.LEDGER_READ, "Ledger"),
    Section("journal-entries", "Journal entries", Scope.LEDGER_READ, "Ledger"),
    Section("ledger/proof", "Proof", Scope.LEDGER_READ, "Ledger"),
    Section("ledger/exports", "Exports", Scope.LEDGER_READ, "Ledger"),
)


@dataclass(frozen=True, slots=True)
class Visit:
    """A request, the session it belongs to, and the form it sent, if it sent one."""

    app: App
    request: Request
    session: Session
    form: FormData

    def query(self, model: type[Model]) -> Model:
        """What the address says, read by a model. Raises InvalidRequestError."""
        return _read(model, dict(self.request.query_params))

    def answers(self, model: type[Model]) -> Model:
        """Those fields of the form that the model has. Raises InvalidRequestError."""
        return _read(model, {name: self.form[name] for name in model.model_fields if name in self.form})

    def chosen(self, name: str) -> list[str]:
        """The values of the boxes of this name that are ticked, each once. Raises InvalidRequestError."""
        found = dict.fromkeys(str(value) for value in self.form.getlist(name))
        if not found:
            raise InvalidRequestError("Nothing was selected.", param=name)
        return list(found)

    def name(self, parameter: str) -> str:
        """A part of the path, as it was sent."""
        return str(self.request.path_params[parameter])

    def may(self, scope: Scope) -> bool:
        """Whether the API key carries a scope: for leaving out what would be refused."""
        return self.session.key.may(scope)

    def page(self, template: str, *, status: int = 200, **values: Any) -> Response:
        """A page inside the shell."""
        return render(template, status=status, **shell(self.request, self.session), **values)

    def go(self, path: str, **query: Any) -> Response:
        """To another page, after a form has done its work."""
        return RedirectResponse(formats.address(path, query), status_code=303, headers=HEADERS)


def _done(request: Request) -> Done | None:
    sent = request.query_params.get("done")
    return next((each for each in Done if each == sent), None)


def shell(request: Request, session: Session) -> dict[str, Any]:
    """What every page inside the shell shows beside its own content."""
    path = request.url.path.removeprefix("/console").strip("/")
    section = next((each.name for each in SECTIONS if f"{path}/".startswith(f"{each.name}/")), path)
    return {
        "path": request.url.path,
        "here": section,
        "sections": [each for each in SECTIONS if session.key.may(each.scope)],
        "key": session.key,
        "form_token": session.form_token,
        "may": session.key.may,
        "done": _done(request),
    }


def refusal(request: Request, error: TallystickError, session: Session | None) -> Response:
    """An error as a page, inside the shell where somebody is signed in."""
    around = shell(request, session) if session is not None else {}
    template = "refusal.html" if session is not None else "refusal_outside.html"
    scope = error.extra.get("scope")
    answer = render(
        template,
        status=error.status,
        error=error,
        scope=str(scope) if scope is not None else None,
        request_id=request.state.request_id,
        **around,
    )
    if error.status in (429, 503):
        answer.headers["Retry-After"] = str(error.retry_after or 2)
    return answer


def _read(model: type[Model], values: dict[str, Any]) -> Model:
    given = {name: value for name, value in values.items() if value != ""}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(map(str, problem["loc"]))[:100]
        raise InvalidRequestError(
            f"{name}: {problem['msg']}" if name else str(problem["msg"]), param=name
        ) from None

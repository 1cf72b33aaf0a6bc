"""The JSON of the inbox: events, dead letters, replays. The command line prints the same with ``--json``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from tallystick.api.choices import EffectKind, LetterStatus, ReplayOutcome
from tallystick.api.values import STORABLE, up_to
from tallystick.monitoring.redaction import blot_cards
from tallystick.pipeline.operations import audit, dead_letters
from tallystick.pipeline.operations.dead_letters import LetterKind
from tallystick.pipeline.operations.preview import Preview, Standing
from tallystick.pipeline.views import events
from tallystick.pipeline.views.selection import EventStatus

Words = Annotated[str, up_to(500), STORABLE]


class Why(BaseModel):
    """Why it is done; kept with who did it and when."""

    model_config = ConfigDict(extra="forbid")

    reason: Words


class LastError(BaseModel):
    """Why the last attempt failed; ``code`` is stable."""

    code: str
    message: str


class Event(BaseModel):
    """A Stripe event of the inbox."""

    id: str
    object: Literal["event"] = "event"
    type: str
    status: EventStatus
    api_version: str | None
    livemode: bool
    failed_attempts: int = Field(description="Since it arrived, or was last replayed")
    last_error: LastError | None
    created_at: datetime = Field(description="At Stripe")
    received_at: datetime
    finished_at: datetime | None
    next_attempt_at: datetime | None

    @classmethod
    def of(cls, event: events.StoredEvent, **more: Any) -> Self:
        """As the API shows it."""
        names = set(Event.model_fields) - {"object", "last_error"}
        return cls(**{name: getattr(event, name) for name in names}, last_error=_last_error(event), **more)


class Attempt(BaseModel):
    """An attempt that failed."""

    attempt: int
    failed_at: datetime
    code: str
    message: str
    traceback: str


class Discard(BaseModel):
    """Who discarded it, when and why."""

    actor: str
    reason: str
    discarded_at: datetime


class Effect(BaseModel):
    """An effect that the event implies, and whether it is in the database.

    ``there``: it is; ``new``: it is not yet; ``changes``: the row of the payment or refund would move on;
    ``differs``: a ledger transaction stands under its key with other legs. ``ledger_transaction`` and
    ``source`` say which one stands, and what posted it.
    """

    kind: EffectKind
    key: str
    standing: Standing
    ledger_transaction: int | None
    source: str | None


class EventInFull(Event):
    """An event with its payload, the attempts that failed, and its effects; secrets are blotted out."""

    payload: Any
    attempts: list[Attempt]
    discards: list[Discard]
    effects: list[Effect]
    questions: list[str] = Field(description="What Stripe has to be asked before all of it is known")

    @classmethod
    def shown(
        cls, found: events.EventInFull, seen: Sequence[Preview], discards: Sequence[dead_letters.Discard]
    ) -> Self:
        """As the API shows it, with what its rule makes of it now."""
        return cls.of(
            found.event,
            payload=found.payload,
            attempts=_attempts(found.attempts),
            discards=_discards(discards),
            effects=[effect for each in seen for effect in effects_of(each)],
            questions=[question for each in seen for question in each.questions],
        )


class DeadLetter(BaseModel):
    """An event or balance transaction that failed for good; ``status`` is dead or discarded."""

    id: str
    object: Literal["dead_letter"] = "dead_letter"
    kind: LetterKind
    type: str
    status: LetterStatus
    failed_attempts: int
    last_error: LastError | None
    dead_at: datetime

    @classmethod
    def of(cls, letter: dead_letters.DeadLetter, **more: Any) -> Self:
        """As the API shows it."""
        names = set(DeadLetter.model_fields) - {"object", "last_error"}
        return cls(**{name: getattr(letter, name) for name in names}, last_error=_last_error(letter), **more)


class DeadLetterInFull(DeadLetter):
    """A dead letter with its payload, secrets blotted out, and all that happened to it."""

    payload: Any
    attempts: list[Attempt]
    discards: list[Discard]

    @classmethod
    def shown(cls, found: dead_letters.LetterInFull) -> Self:
        """As the API shows it."""
        return cls.of(
            found.letter,
            payload=found.payload,
            attempts=_attempts(found.attempts),
            discards=_discards(found.discards),
        )


class DeadLetterSummary(BaseModel):
    """How many dead letters there are, and since when the oldest is one."""

    object: Literal["dead_letter_summary"] = "dead_letter_summary"
    count: int
    oldest_at: datetime | None


class Replay(BaseModel):
    """Events put back to be processed: by whom, when, why, which, and what came of it.

    ``outcome`` is null while it runs, and for one that was killed.
    """

    id: str
    object: Literal["replay"] = "replay"
    actor: str
    reason: str
    selection: dict[str, Any]
    started_at: datetime
    finished_at: datetime | None
    outcome: ReplayOutcome | None
    counts: dict[str, int]

    @classmethod
    def of(cls, replay: audit.Replay) -> Self:
        """As the API shows it."""
        return cls.model_validate(replay, from_attributes=True)


class EventPage(BaseModel):
    """Events, the latest to arrive first."""

    data: list[Event]
    has_more: bool
    next_cursor: str | None


class DeadLetterPage(BaseModel):
    """Dead letters, the latest first."""

    data: list[DeadLetter]
    has_more: bool
    next_cursor: str | None


class ReplayPage(BaseModel):
    """Replays, the latest first."""

    data: list[Replay]
    has_more: bool
    next_cursor: str | None


def event_page(found: Sequence[events.StoredEvent], next_cursor: str | None) -> EventPage:
    """A page of events."""
    data = [Event.of(each) for each in found]
    return EventPage(data=data, has_more=next_cursor is not None, next_cursor=next_cursor)


def dead_letter_page(found: Sequence[dead_letters.DeadLetter], next_cursor: str | None) -> DeadLetterPage:
    """A page of dead letters."""
    data = [DeadLetter.of(each) for each in found]
    return DeadLetterPage(data=data, has_more=next_cursor is not None, next_cursor=next_cursor)


def replay_page(found: Sequence[audit.Replay], next_cursor: str | None) -> ReplayPage:
    """A page of replays."""
    data = [Replay.of(each) for each in found]
    return ReplayPage(data=data, has_more=next_cursor is not None, next_cursor=next_cursor)


def effects_of(seen: Preview) -> list[Effect]:
    """The effects of a preview as the API shows them."""
    return [
        Effect(
            kind=each.kind,
            key=blot_cards(each.key),
            standing=each.standing,
            ledger_transaction=each.transaction,
            source=each.source,
        )
        for each in seen.effects
    ]


def _last_error(found: events.StoredEvent | dead_letters.DeadLetter) -> LastError | None:
    if found.error_code is None or found.error is None:
        return None
    return LastError(code=found.error_code, message=found.error)


def _attempts(found: Sequence[events.Attempt]) -> list[Attempt]:
    return [
        Attempt(
            attempt=each.attempt,
            failed_at=each.failed_at,
            code=each.error_code,
            message=each.error,
            traceback=each.traceback,
        )
        for each in found
    ]


def _discards(found: Sequence[dead_letters.Discard]) -> list[Discard]:
    return [Discard.model_validate(each, from_attributes=True) for each in found]

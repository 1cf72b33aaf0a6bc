"""What a check finds: one line each, with what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """FAILED: it does not work like this. WARNING: it works, and should be looked at."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """``remedy`` says what to do; ``secret`` is a new secret that is shown this once and kept nowhere."""

    check: str
    status: Status
    detail: str
    remedy: str = ""
    secret: str | None = None


def ok(check: str, detail: str, *, secret: str | None = None) -> Finding:
    """All is well."""
    return Finding(check, Status.OK, detail, secret=secret)


def warning(check: str, detail: str, remedy: str) -> Finding:
    """It works, and should be looked at."""
    return Finding(check, Status.WARNING, detail, remedy)


def failed(check: str, detail: str, remedy: str) -> Finding:
    """It does not work like this."""
    return Finding(check, Status.FAILED, detail, remedy)


def skipped(check: str, why: str) -> Finding:
    """It could not be looked at."""
    return Finding(check, Status.SKIPPED, why)

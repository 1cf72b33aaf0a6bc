"""How values read on a page: amounts, times, ids and the pages they lead to. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

import orjson

from tallystick.money import decimal_text

_PAGES: Final = tuple(
    (re.compile(rf"{prefix}_\w+", re.ASCII), f"/console/{page}")
    for prefix, page in (
        ("pay", "payments/{}"),
        ("pi", "payments/{}"),
        ("evt", "events/{}"),
        ("rpl", "replays/{}"),
        ("whe", "webhooks/{}"),
        ("whd", "webhooks/deliveries/{}"),
        ("txn", "ledger/transactions/balance_transaction:{}"),
        ("po", "ledger/payouts/{}"),
        ("jrn", "journal-entries/{}"),
    )
)
"""Which page tells of an object, by the form of its id."""

_SPANS: Final = ((86_400 * 365, "y"), (86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))

_TONES: Final = {
    **dict.fromkeys(
        ("succeeded", "processed", "delivered", "won", "there", "enabled", "done", "posted"), "good"
    ),
    **dict.fromkeys(("dead", "failed", "lost", "differs", "disabled", "returned"), "bad"),
    **dict.fromkeys(
        (
            "pending", "pending_approval", "processing", "requires_action", "requires_confirmation",
            "requires_payment_method", "requires_capture", "needs_response", "under_review",
            "warning_needs_response", "new", "changes",
        ),
        "wait",
    ),
}  # fmt: skip


def amount(minor_units: int, currency: str) -> str:
    """``(123456, "eur")`` as ``1,234.56``."""
    return decimal_text(minor_units, currency)


def utc(moment: datetime) -> str:
    """To the second, as a person compares it with a log."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def day(moment: datetime) -> str:
    """The day in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d}"


def clock(moment: datetime) -> str:
    """The time of that day."""
    return f"{moment.astimezone(UTC):%H:%M:%S}"


def iso(moment: datetime) -> str:
    """For machines, in UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def for_input(moment: datetime) -> str:
    """As ``<input type=datetime-local>`` takes it, in UTC."""
    plain = moment.astimezone(UTC).replace(tzinfo=None)
    return plain.isoformat(timespec="auto" if plain.second or plain.microsecond else "minutes")


def ago(moment: datetime, now: datetime | None = None) -> str:
    """``3 min ago``, ``in 2 h``; the largest unit only."""
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    size = abs(int(seconds))
    if size == 0:
        return "just now"
    number, unit = next((size // span, unit) for span, unit in _SPANS if size >= span)
    return f"{number} {unit} ago" if seconds > 0 else f"in {number} {unit}"


def age(seconds: float) -> str:
    """``2 h 5 min``: two units at most."""
    left, parts = int(seconds), []
    for span, unit in _SPANS:
        if left >= span:
            parts.append(f"{left // span} {unit}")
            left %= span
    return " ".join(parts[:2]) or "0 s"


def words(name: str) -> str:
    """``requires_payment_method`` as ``requires payment method``."""
    return name.replace("_", " ")


def tone(status: str) -> str:
    """How a status feels: good, bad, wait, or quiet."""
    return _TONES.get(status, "quiet")


def page_of(ident: str) -> str | None:
    """The page that tells of an object, if there is one."""
    return next((page.format(quote(ident)) for form, page in _PAGES if form.fullmatch(ident)), None)


def pretty(value: Any) -> str:
    """JSON, indented."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def address(path: str, query: Mapping[str, Any]) -> str:
    """A path with those parts of a query that are given."""
    given = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(given, doseq=True)}" if given else path

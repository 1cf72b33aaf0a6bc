"""A notice as a plain value. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to tell the merchant's own systems, once: ``key`` is unique.

    ``data`` is JSON-ready; amounts in it are in minor units.
    """

    key: str
    type: str
    payment_id: str | None
    data: dict[str, Any]

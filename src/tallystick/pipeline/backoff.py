"""How long to wait before trying again: exponential, with full jitter."""

from __future__ import annotations

import random
from typing import Final

_FACTOR: Final = 4


def backoff_s(attempt: int, *, base_s: float, cap_s: float) -> float:
    """Seconds before the attempt after the ``attempt``-th (from 1): random up to base × 4^(attempt-1).

    The defaults of settings (2 s, 24 h, 12 attempts) spread the attempts over up to three and a half days.
    Full jitter keeps events that failed together from coming back together (AWS Architecture Blog,
    "Exponential Backoff And Jitter").
    """
    ceiling = min(cap_s, base_s * _FACTOR ** min(attempt - 1, 30))
    return random.uniform(0, ceiling)  # noqa: S311  spreading load, not keeping secrets

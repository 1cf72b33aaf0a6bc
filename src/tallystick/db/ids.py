"""Our own ids: a prefix and 26 characters of Crockford's base 32, the first ten of them the time.

Ids made later sort later, so inserts land at the end of an index (the layout is that of a ULID).
"""

from __future__ import annotations

import secrets
import time
from typing import Final

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_RANDOM_BITS: Final = 80


def new_id(prefix: str) -> str:
    """A fresh id such as ``pay_01jd4z2k8c…``; prefixes in use: jrn, key, pay, ref, rpl, whe."""
    number = time.time_ns() // 1_000_000 << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    return f"{prefix}_" + "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))

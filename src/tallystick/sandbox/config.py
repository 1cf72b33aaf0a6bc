"""How to start a sandbox."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from tallystick.sandbox.clock import Clock, RealClock
from tallystick.sandbox.settings import Settings

DEFAULT_SCHEDULE = (0.2, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 14400.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxConfig:
    """How to start a sandbox.

    ``data_dir`` keeps the state in a file there; without it, state ends with the process. ``seed`` makes ids
    and dice repeatable. Delays are seconds. Settings are the account's first ones: what the control API
    changed and ``data_dir`` kept wins over them.
    """

    data_dir: Path | None = None
    seed: int | None = None
    settlement_delay: float | Decimal | None = None
    refund_delay: float | Decimal | None = None
    """Short for the settings of these names; None leaves what ``settings`` has."""
    settings: Settings = field(default_factory=Settings)
    retry_schedule: tuple[float, ...] = DEFAULT_SCHEDULE
    """Seconds from a failed delivery to its next attempt; after the last one it is given up."""
    delivery_concurrency: int = 32
    delivery_timeout: float = 20.0
    clock: Clock = field(default_factory=RealClock)

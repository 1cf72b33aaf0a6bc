"""The only reader of the environment.

``DATABASE_URL``, ``REDIS_URL``, ``STRIPE_SECRET_KEY``, ``STRIPE_WEBHOOK_SECRET`` and ``STRIPE_API_BASE``
carry the names the field uses; all else is ``TALLYSTICK_*``. Every one can be given as ``NAME_FILE``, the
path of a file that holds the value, as container platforms mount secrets.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    StringConstraints,
    ValidationError,
    field_validator,
)

from tallystick.errors import ConfigurationError
from tallystick.money import CURRENCIES

_PLAIN_NAMES: Final = {
    "database_url": "DATABASE_URL",
    "database_owner_url": "DATABASE_OWNER_URL",
    "redis_url": "REDIS_URL",
    "stripe_secret_key": "STRIPE_SECRET_KEY",
    "stripe_webhook_secrets": "STRIPE_WEBHOOK_SECRET",
    "stripe_api_base": "STRIPE_API_BASE",
    "master_keys": "TALLYSTICK_MASTER_KEY",
}


RATE: Final = r"^[1-9][0-9]{0,6}/(second|minute|hour)$"
"""A rate limit, e.g. 100/second."""

CONNECTIONS: Final = ("database_url", "redis_url", "stripe_secret_key", "stripe_webhook_secrets")
"""What the API and the worker cannot start without; the last two may be in the database instead."""
_STORABLE: Final = ("stripe_secret_key", "stripe_webhook_secrets")


Origin = Annotated[str, StringConstraints(pattern=r"^https?://[0-9A-Za-z.\-\[\]:]+$")]


class Settings(BaseModel):
    """All settings; a field's name in the environment is ``TALLYSTICK_`` and its name in capitals."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    database_url: str = Field("", description="PostgreSQL, e.g. postgresql://user@host/tallystick")
    database_owner_url: str = Field(
        "", description="The same database as the owner of its tables, for migrations; else DATABASE_URL"
    )
    redis_url: str = Field(
        "", description="Redis or Valkey, e.g. redis://host:6379/0, unix:///path, redis+cluster://host:6379"
    )
    stripe_secret_key: SecretStr = Field(
        SecretStr(""), description="Key of the Stripe account; two during a rotation: new one, comma, old one"
    )
    stripe_webhook_secrets: tuple[SecretStr, ...] = Field(
        (), description="Signing secret of the webhook endpoint; several with commas"
    )
    stripe_api_base: str = Field("https://api.stripe.com", description="Where Stripe's API is")

    master_keys: tuple[SecretStr, ...] = Field(
        (), description="Decrypts secrets in the database: 32 bytes in base64; new one, comma, old one"
    )
    secrets_poll_s: float = Field(3.0, gt=0, description="Pause between two looks for changed secrets")
    _files: dict[str, str] = PrivateAttr(default_factory=dict)

    database_pool_size: int = Field(10, ge=1, description="Connections to PostgreSQL a process keeps")
    database_timeout_s: float = Field(5.0, gt=0, description="Longest wait for PostgreSQL to connect")
    database_wait_s: float = Field(
        10.0, gt=0, description="Longest wait for one of the connections to be free, then 503"
    )
    request_wait_s: float = Field(
        60.0, gt=0, description="Longest wait of a request that changes something for its turn, then 503"
    )
    stripe_timeout_s: float = Field(20.0, gt=0, description="Longest wait for an answer from Stripe")
    stripe_connect_timeout_s: float = Field(5.0, gt=0, description="Longest wait for a connection to Stripe")
    stripe_max_retries: int = Field(2, ge=0, description="Retries of a call to Stripe")
    stripe_budget_s: float = Field(30.0, gt=0, description="Longest time for a call with all its retries")
    stripe_connections: int = Field(200, ge=1, description="Calls to Stripe a process makes at once at most")
    stripe_queue_s: float = Field(15.0, gt=0, description="Longest wait for a place among those calls")
    stripe_lookups_per_second: float = Field(
        20.0,
        ge=0,
        description="Most questions of posting rules a worker asks Stripe in a second; 0: no limit",
    )
    stripe_breaker_outages: int = Field(
        10, ge=1, description="Outages, if half of all tries, after which no call to Stripe is made"
    )
    stripe_breaker_window_s: float = Field(10.0, gt=0, description="The time in which outages are counted")
    stripe_breaker_pause_s: float = Field(5.0, gt=0, description="How long no call is made at first")
    webhook_tolerance_s: int = Field(300, ge=1, description="Largest age or lead of a webhook's timestamp")
    body_limit: int = Field(1_048_576, ge=1024, description="Largest request body in bytes")

    accounts: str = Field(
        "", description="TOML: which accounts of revenue sales go to, best given as a file; docs/ledger.md"
    )
    export_names: str = Field(
        "", description="TOML: how QuickBooks or Xero call the ledger's accounts, best given as a file"
    )
    cors_origins: tuple[Origin, ...] = Field(
        (), description="Origins whose pages may call the API, e.g. https://ops.example; several with commas"
    )
    rate_limit: str = Field(
        "30000/minute",
        pattern=RATE,
        description="Requests an API key may make, if it has no limit of its own",
    )
    console_session_s: float = Field(
        43_200.0, gt=0, description="How long somebody who signed in to the console stays so at most"
    )
    console_idle_s: float = Field(
        3_600.0, gt=0, description="After so long without a request they have to sign in again"
    )

    batch_size: int = Field(200, ge=1, le=5000, description="Most events in one database transaction")
    retry_base_s: float = Field(2.0, gt=0, description="First delay before a failed event is tried again")
    retry_cap_s: float = Field(86_400.0, gt=0, description="Longest such delay")
    retry_limit: int = Field(12, ge=1, description="Attempts before an event is a dead letter")
    ring_grace_s: float = Field(5.0, gt=0, description="How long a ring may take before the sweep repeats it")
    sweep_interval_s: float = Field(1.0, gt=0, description="Pause between two sweeps of the inbox")
    settlement_interval_s: float = Field(60.0, gt=0, description="Pause between two lists of movements")
    audit_interval_s: float = Field(3600.0, gt=0, description="Pause between two audits of the inbox")
    audit_lag_s: float = Field(600.0, ge=0, description="Age at which an event that has not come is missing")
    audit_first_days: int = Field(30, ge=0, le=30, description="Days that the very first audit reaches back")
    seal_interval_s: float = Field(2.0, gt=0, description="Pause between two seals of the ledger")
    approval_above: dict[str, int | None] = Field(
        {"*": 0},
        description="Amount by currency, in minor units, above which a journal entry needs a second person's"
        " approval, e.g. usd=100000,eur=100000,*=0; *: any other currency, none: never",
    )
    archive_after_days: int = Field(
        30, ge=1, description="Age at which the bodies of processed events move to compressed archives"
    )

    queue_length: int = Field(100_000, ge=1000, description="Entries the Redis streams keep in all, about")
    queue_name: str = Field("tallystick:events", description="What the names of the Redis streams begin with")
    queue_streams: int = Field(4, ge=1, le=64, description="Redis streams, spread over a cluster's nodes")

    idempotency_wait_s: float = Field(10.0, ge=0, description="Longest wait for a first request with the key")
    idempotency_lease_s: float = Field(
        10.0, gt=0, description="A first request whose process is not heard of for so long counts as dead"
    )
    idempotency_keep_days: float = Field(30.0, ge=2, description="Age at which an idempotency key is removed")
    completion_age_s: float = Field(
        60.0, ge=0, description="Age at which a call to Stripe without an outcome is completed by the worker"
    )
    completion_interval_s: float = Field(5.0, gt=0, description="Pause between two looks for such calls")

    webhooks_allow_private: bool = Field(
        False, description="Send notices to private addresses and over plain http too: for trying out"
    )
    webhooks_interval_s: float = Field(0.5, gt=0, description="Pause between two looks for notices to send")
    webhooks_timeout_s: float = Field(15.0, gt=0, description="Longest wait for an endpoint's answer")
    webhooks_concurrency: int = Field(10, ge=1, description="Notices a worker sends to one endpoint at once")
    webhooks_retry_base_s: float = Field(5.0, gt=0, description="First delay before a notice is sent again")
    webhooks_retry_cap_s: float = Field(86_400.0, gt=0, description="Longest such delay")
    webhooks_retry_limit: int = Field(14, ge=1, description="Attempts before a notice is given up")
    webhooks_disable_after_s: float = Field(
        432_000.0, gt=0, description="Failing for so long without a success disables an endpoint"
    )
    webhooks_retention_days: int = Field(
        30, ge=1, description="How long notices and their deliveries are kept"
    )
    smtp_url: SecretStr = Field(
        SecretStr(""), description="SMTP server for notices by e-mail, e.g. smtps://user:password@host"
    )
    email_from: str = Field("", description="Who such e-mails are from")
    email_to: tuple[str, ...] = Field((), description="Who gets them, comma-separated")
    email_notices: tuple[str, ...] = Field(
        ("dispute.*", "payout.failed", "webhook_endpoint.disabled"),
        description="Types of notices that are sent by e-mail, or patterns, comma-separated",
    )

    alert_webhook_url: SecretStr = Field(
        SecretStr(""),
        description='Where alerts are posted as {"text": …}, as Slack, Mattermost and others take them',
    )
    alert_email: bool = Field(False, description="Send alerts to TALLYSTICK_EMAIL_TO as well")
    alert_interval_s: float = Field(60.0, gt=0, description="Pause between two looks for what is wrong")
    alert_repeat_s: float = Field(
        14_400.0, gt=0, description="An alert that goes on is told again after this time"
    )
    alert_inbox_lag_s: float = Field(60.0, gt=0, description="Alert: events are overdue for longer")
    alert_event_age_s: float = Field(
        21_600.0, gt=0, description="Alert: an event or balance transaction has waited for longer"
    )
    alert_dead_letters: int = Field(1, ge=1, description="Alert: there are so many dead letters")
    alert_dead_letter_age_s: float = Field(259_200.0, gt=0, description="Alert: a dead letter is older")
    alert_audit_age_s: float = Field(86_400.0, gt=0, description="Alert: the last gap audit is older")
    alert_settlement_age_s: float = Field(
        900.0, gt=0, description="Alert: the last look at balance transactions is older"
    )
    alert_call_age_s: float = Field(
        3600.0, gt=0, description="Alert: a change at Stripe has had no outcome for longer"
    )
    alert_seal_lag_s: float = Field(300.0, gt=0, description="Alert: the ledger is not sealed for longer")
    alert_unapplied_s: float = Field(
        86_400.0, gt=0, description="Alert: money has been unapplied for so long without a break"
    )
    alert_notice_age_s: float = Field(
        3600.0, gt=0, description="Alert: a notice has waited, or an endpoint has failed, for longer"
    )

    metrics_public: bool = Field(
        False, description="Answer GET /metrics without an API key: where only Prometheus can reach it"
    )
    worker_metrics_host: str = Field("127.0.0.1", description="Address the worker answers GET /metrics on")
    worker_metrics_port: int | None = Field(
        None, ge=0, le=65535, description="Port of it, e.g. 9464; 0 picks a free one; none: not at all"
    )

    log_level: str = Field(
        "info", pattern="^(debug|info|warning|error)$", description="debug, info, warning or error"
    )
    log_format: str = Field(
        "auto", pattern="^(auto|json|console)$", description="auto: console on a terminal"
    )

    @property
    def stripe_secret_keys(self) -> tuple[SecretStr, ...]:
        """The keys of the Stripe account, the newest first."""
        return tuple(map(SecretStr, _parts(self.stripe_secret_key.get_secret_value())))

    @property
    def secret_files(self) -> Mapping[str, str]:
        """The files that hold what may change while a process runs, by field."""
        return self._files

    @field_validator(
        "stripe_webhook_secrets", "master_keys", "cors_origins", "email_to", "email_notices", mode="before"
    )
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return _parts(value)
        return value

    @field_validator("approval_above", mode="before")
    @classmethod
    def _amounts(cls, value: Any) -> Any:
        return dict(map(_amount, _parts(value))) if isinstance(value, str) else value


def load_settings(
    environ: Mapping[str, str] | None = None, *, require: tuple[str, ...] = CONNECTIONS, **overrides: Any
) -> Settings:
    """Read the settings from the environment; ``overrides`` (by field name) stand above it.

    Raises ConfigurationError that names every variable at fault or missing, and never shows a value.
    """
    environment = os.environ if environ is None else environ
    values = {**_plain_values(environment), **overrides}
    stored = _STORABLE if values.get("master_keys") else ()
    missing = [variable_name(name) for name in require if not values.get(name) and name not in stored]
    if missing:
        raise ConfigurationError(f"Not set: {', '.join(missing)}.")
    try:
        made = Settings(**values)
    except ValidationError as error:
        problems = "; ".join(
            f"{variable_name(str(problem['loc'][0]))}: {problem['msg']}" for problem in error.errors()
        )
        raise ConfigurationError(problems) from None
    for name in _STORABLE:
        path = environment.get(f"{variable_name(name)}_FILE")
        if path and name not in overrides:
            made._files[name] = path  # noqa: SLF001 - set once, here
    return made


def reread_files(settings: Settings) -> Settings:
    """The settings with what their secret files say now.

    Raises ConfigurationError when a file cannot be read, or is empty, as it may be while it is written.
    """
    changed = {name: _read(variable_name(name), path) for name, path in settings.secret_files.items()}
    if empty := [variable_name(name) for name, value in changed.items() if not value]:
        raise ConfigurationError(f"{empty[0]}_FILE is empty.")
    return Settings(**{**dict(settings), **changed}) if changed else settings


def variable_name(field: str) -> str:
    """The environment variable of a field."""
    return _PLAIN_NAMES.get(field, f"TALLYSTICK_{field.upper()}")


def given(field: str, environ: Mapping[str, str] | None = None) -> bool:
    """Whether the environment sets this field, directly or by file."""
    environment = os.environ if environ is None else environ
    name = variable_name(field)
    return bool(environment.get(name) or environment.get(f"{name}_FILE"))


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """Variables that begin like ours and are none: a misspelt setting has no effect, which should be told."""
    environment = os.environ if environ is None else environ
    known = {variable_name(field) for field in Settings.model_fields}
    ours = (name for name in environment if name.startswith("TALLYSTICK_"))
    return sorted(name for name in ours if name.removesuffix("_FILE") not in known)


def _plain_values(environment: Mapping[str, str]) -> dict[str, str]:
    values = {}
    for field in Settings.model_fields:
        name = variable_name(field)
        if path := environment.get(f"{name}_FILE"):
            values[field] = _read(name, path)
        elif environment.get(name):
            values[field] = environment[name]
    return values


def _parts(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _amount(part: str) -> tuple[str, int | None]:
    """``usd=100000`` or ``*=none``; raises ValueError."""
    shape = r"(?P<currency>[a-z]{3}|\*) ?= ?(?P<amount>[0-9]{1,15}|none)"
    found = re.fullmatch(shape, part.lower(), re.ASCII)
    if found is None or found["currency"] not in {"*", *CURRENCIES}:
        raise ValueError(f"{part!r} is no amount such as usd=100000 or *=none")
    return found["currency"], None if found["amount"] == "none" else int(found["amount"])


def _read(name: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigurationError(f"{name}_FILE: {error.strerror}") from error

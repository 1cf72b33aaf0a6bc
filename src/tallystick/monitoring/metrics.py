"""Every metric that Tallystick shows, declared once. What counts imports it from here and counts.

One registry a process, and not the library's own, so that nothing else gets into it. What a process counts
is a counter or histogram below; what is read when somebody asks (from the database, from Redis, from the
pools of this process) is a ``Reading``, which ``exposition`` fills in. Both make ``docs/monitoring.md``.

Names follow Prometheus: base units, ``_total`` for what only grows. Labels have few values: types of events
that have a rule, error codes, routes as templates, currencies; never an id.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series for each series, which nobody asks for

REGISTRY: Final = CollectorRegistry(auto_describe=False)
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

OTHER: Final = "other"
"""The label of what has no name of its own here, so that nobody outside makes series."""

_SHORT: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LONG: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0,
)  # fmt: skip
_REMOTE: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0)

# --- the API

WEBHOOKS: Final = Counter(
    "tallystick_webhooks_total",
    "Answers to Stripe's deliveries: stored, duplicate, or the code of the refusal",
    ["outcome"],
    registry=REGISTRY,
)
WEBHOOK_SECONDS: Final = Histogram(
    "tallystick_webhook_duration_seconds",
    "From a delivery's arrival to its 200, which says that the event is committed",
    registry=REGISTRY,
    buckets=_SHORT,
)
REQUESTS: Final = Counter(
    "tallystick_http_requests_total",
    "Requests to the API, without Stripe's deliveries",
    ["method", "route", "status"],
    registry=REGISTRY,
)
REQUEST_SECONDS: Final = Histogram(
    "tallystick_http_request_duration_seconds",
    "How long they took, waiting for Stripe included",
    ["method", "route"],
    registry=REGISTRY,
    buckets=_SHORT,
)
IDEMPOTENT: Final = Counter(
    "tallystick_idempotent_requests_total",
    "Requests with an Idempotency-Key: worked, replayed, reused for another request, in_use",
    ["outcome"],
    registry=REGISTRY,
)

# --- Stripe

STRIPE_REQUESTS: Final = Counter(
    "tallystick_stripe_requests_total",
    "Tries of calls to Stripe: answered 2xx, 4xx, 429 or 5xx, no_answer, or held_back and not sent",
    ["method", "resource", "outcome"],
    registry=REGISTRY,
)
STRIPE_SECONDS: Final = Histogram(
    "tallystick_stripe_request_duration_seconds",
    "How long a try took that was sent",
    ["method"],
    registry=REGISTRY,
    buckets=_REMOTE,
)
STRIPE_CLOCK: Final = Gauge(
    "tallystick_stripe_clock_offset_seconds",
    "Stripe's clock less ours at the last answer, to the second",
    registry=REGISTRY,
)

# --- the worker

EVENTS: Final = Counter(
    "tallystick_events_total",
    "Events worked off: processed, ignored (a type without a rule), or waiting for an answer of Stripe's",
    ["type", "outcome"],
    registry=REGISTRY,
)
EVENT_SECONDS: Final = Histogram(
    "tallystick_event_latency_seconds",
    "From an event's arrival to its committed effects; without those older than a day, as replays are",
    registry=REGISTRY,
    buckets=_LONG,
)
BATCH_SECONDS: Final = Histogram(
    "tallystick_batch_duration_seconds",
    "How long a batch of events took, its commit included",
    registry=REGISTRY,
    buckets=_SHORT,
)
EVENT_FAILURES: Final = Counter(
    "tallystick_event_failures_total",
    "Attempts at an event that failed, by error code: retried later, or dead",
    ["code", "outcome"],
    registry=REGISTRY,
)
BALANCE_TRANSACTION_FAILURES: Final = Counter(
    "tallystick_balance_transaction_failures_total",
    "Attempts at a balance transaction that failed, by error code: retried later, or dead",
    ["code", "outcome"],
    registry=REGISTRY,
)
LEDGER_TRANSACTIONS: Final = Counter(
    "tallystick_ledger_transactions_total",
    "Ledger transactions posted for events and balance transactions",
    registry=REGISTRY,
)
KEY_CONFLICTS: Final = Counter(
    "tallystick_key_conflicts_total",
    "Effect keys that came back with other accounts or amounts; none of them was posted",
    registry=REGISTRY,
)
FACTS: Final = Counter(
    "tallystick_facts_total",
    "What became known of payments, refunds, disputes and the rest, each once, by its type of notice",
    ["type"],
    registry=REGISTRY,
)
PAYMENT_FAILURES: Final = Counter(
    "tallystick_payment_failures_total",
    "Attempts to pay that failed, by decline code, or else error code",
    ["code"],
    registry=REGISTRY,
)
SWEPT: Final = Counter(
    "tallystick_swept_events_total",
    "Events that the sweep rang for: their ring was lost, or their time to be tried again had come",
    registry=REGISTRY,
)
RECLAIMED: Final = Counter(
    "tallystick_reclaimed_rings_total", "Rings taken over from workers that died", registry=REGISTRY
)
LOOP_FAILURES: Final = Counter(
    "tallystick_loop_failures_total",
    "Steps of a worker's loops that failed, by what was away, or unexpected",
    ["loop", "cause"],
    registry=REGISTRY,
)
NOTICE_ATTEMPTS: Final = Counter(
    "tallystick_notice_attempts_total",
    "Attempts to deliver a notice: delivered, retried later, or failed for good; with the error code",
    ["outcome", "code"],
    registry=REGISTRY,
)
NOTICE_SECONDS: Final = Histogram(
    "tallystick_notice_attempt_duration_seconds",
    "How long an endpoint took to answer",
    registry=REGISTRY,
    buckets=_REMOTE,
)


@dataclass(frozen=True, slots=True)
class Reading:
    """A metric that is read when somebody asks; of a counter the name ends in ``_total`` as well."""

    name: str
    documentation: str
    labels: tuple[str, ...] = ()
    kind: Literal["gauge", "counter"] = "gauge"


# --- read from this process

BUILD: Final = Reading(
    "tallystick_build_info", "What runs: its version, and api or worker; always 1", ("version", "role")
)
POOL_IN_USE: Final = Reading(
    "tallystick_database_connections_in_use", "Connections to PostgreSQL that this process has in use"
)
POOL_SIZE: Final = Reading("tallystick_database_connections_max", "The most that it may have")
DOOR_WAITING: Final = Reading(
    "tallystick_door_waiting", "Requests that wait for their turn before they begin at the database"
)
INBOX_WAITING: Final = Reading("tallystick_inbox_waiting", "Deliveries that wait for their commit")
BREAKER_OPEN: Final = Reading(
    "tallystick_stripe_breaker_open", "1 while this process holds back calls to Stripe"
)

# --- read from Redis

REDIS_UP: Final = Reading("tallystick_redis_up", "1 if Redis answered in time, else 0")
QUEUE_LENGTH: Final = Reading("tallystick_queue_length", "Rings that no worker has taken yet")

# --- read from the database: the same for every process of an installation

STATE_UP: Final = Reading(
    "tallystick_state_up",
    "1 if what follows could be read from the database in time; else 0, and the rest is absent",
)
DATABASE_CLOCK: Final = Reading(
    "tallystick_database_clock_offset_seconds", "The database's clock less that of this process"
)
PENDING_EVENTS: Final = Reading(
    "tallystick_inbox_pending_events", "Events that are stored and not finished, counted up to 10,000"
)
PENDING_AGE: Final = Reading("tallystick_inbox_oldest_pending_seconds", "Age of the oldest of them")
RETRIED_EVENTS: Final = Reading(
    "tallystick_inbox_retried_events", "Those of them that have failed at least once"
)
EVENT_LAG: Final = Reading(
    "tallystick_inbox_lag_seconds", "How long the longest overdue event could have been processed already"
)
UNPOSTED: Final = Reading(
    "tallystick_balance_transactions_unposted",
    "Balance transactions to be fetched or posted, counted up to 10,000",
)
UNPOSTED_AGE: Final = Reading(
    "tallystick_balance_transactions_oldest_unposted_seconds", "Age of the oldest of them"
)
DEAD_LETTERS: Final = Reading(
    "tallystick_dead_letters", "Dead letters by kind and the code of their last error", ("kind", "code")
)
DEAD_LETTER_AGE: Final = Reading(
    "tallystick_dead_letters_oldest_seconds", "How long the oldest of them is one", ("kind", "code")
)
LIST_DONE: Final = Reading(
    "tallystick_stripe_list_last_success_timestamp_seconds",
    "When a list of Stripe's was last read to its end; events is the gap audit",
    ("list",),
)
LIST_THROUGH: Final = Reading(
    "tallystick_stripe_list_read_through_timestamp_seconds",
    "Up to when a list of Stripe's is read",
    ("list",),
)
LIST_FOUND: Final = Reading(
    "tallystick_stripe_list_found_total",
    "What only the list brought; of events, those that no delivery had brought",
    ("list",),
    "counter",
)
PENDING_NOTICES: Final = Reading(
    "tallystick_notices_pending", "Notices that are to be delivered, counted up to 10,000 an endpoint"
)
NOTICE_AGE: Final = Reading("tallystick_notices_oldest_pending_seconds", "Age of the oldest of them")
ENDPOINTS: Final = Reading(
    "tallystick_notice_endpoints",
    "Endpoints for notices: enabled, disabled_by_hand, disabled_by_failures",
    ("status",),
)
FAILING_ENDPOINTS: Final = Reading(
    "tallystick_notice_endpoints_failing", "Enabled endpoints whose last attempts all failed"
)
FAILING_AGE: Final = Reading(
    "tallystick_notice_endpoints_longest_failing_seconds", "How long the longest of them has been failing"
)
OPEN_CALLS: Final = Reading(
    "tallystick_stripe_calls_unfinished",
    "Changes at Stripe that were accepted and whose outcome is not stored yet, counted up to 10,000",
)
OPEN_CALL_AGE: Final = Reading(
    "tallystick_stripe_calls_oldest_unfinished_seconds", "Age of the oldest of them"
)
SEAL_BLOCKS: Final = Reading("tallystick_ledger_seal_blocks", "Blocks in the ledger's chain of seals")
UNSEALED_AGE: Final = Reading(
    "tallystick_ledger_unsealed_seconds",
    "Age of the oldest ledger transaction that is not sealed; 0: all are",
)
SUSPENSE: Final = Reading(
    "tallystick_ledger_suspense_minor_units",
    "What stands in suspense, debits less credits, in the currency's minor units",
    ("currency",),
)
UNAPPLIED: Final = Reading(
    "tallystick_ledger_unapplied_minor_units",
    "Money that moved and is not applied yet, credits less debits, in the currency's minor units",
    ("currency",),
)

READINGS: Final = tuple(value for value in list(globals().values()) if isinstance(value, Reading))
"""All of them, in the order above."""

"""The choices that a field offers, each with the name that it has in the OpenAPI document.

Written in place, a Literal would have no name there, and generated clients would make one up a field. Choices
that the rest of the house knows by an enum (a payment's status) are named by that.
"""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypeAliasType

from tallystick.pipeline.operations.preview import Kind

CaptureMethod = TypeAliasType("CaptureMethod", Literal["automatic", "manual"])
AllowRedirects = TypeAliasType("AllowRedirects", Literal["always", "never"])
SetupFutureUsage = TypeAliasType("SetupFutureUsage", Literal["on_session", "off_session"])
AcceptanceType = TypeAliasType("AcceptanceType", Literal["online", "offline"])
CancellationReason = TypeAliasType(
    "CancellationReason", Literal["duplicate", "fraudulent", "requested_by_customer", "abandoned"]
)
RefundReason = TypeAliasType("RefundReason", Literal["duplicate", "fraudulent", "requested_by_customer"])
Direction = TypeAliasType("Direction", Literal["debit", "credit"])
LetterStatus = TypeAliasType("LetterStatus", Literal["dead", "discarded"])
ReplayOutcome = TypeAliasType("ReplayOutcome", Literal["finished", "interrupted"])
EffectKind = TypeAliasType("EffectKind", Kind)
Presence = TypeAliasType("Presence", Literal["ok", "away"])
SchemaState = TypeAliasType("SchemaState", Literal["current", "outdated", "unknown"])
ReadinessStatus = TypeAliasType("ReadinessStatus", Literal["ready", "degraded", "unavailable"])
EndpointStatus = TypeAliasType("EndpointStatus", Literal["enabled", "disabled"])
DisabledReason = TypeAliasType("DisabledReason", Literal["by_hand", "failing", "gone"])
AlertStatus = TypeAliasType("AlertStatus", Literal["firing", "resolved"])
AlertSeverity = TypeAliasType("AlertSeverity", Literal["warning", "critical"])
DeliveryStatus = TypeAliasType("DeliveryStatus", Literal["pending", "delivered", "failed"])

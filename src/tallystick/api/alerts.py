"""/alerts: what is wrong, and what was."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from tallystick.alerting import record
from tallystick.api.auth import Gate
from tallystick.api.choices import AlertSeverity, AlertStatus
from tallystick.api.events import Cursor, Limit
from tallystick.api.keys import Scope
from tallystick.api.routing import guarded_router, json_answer, needs
from tallystick.app import App


class Alert(BaseModel):
    """An alert that the worker raised."""

    object: Literal["alert"] = "alert"
    name: str = Field(description="As in docs/alerts.md, which says what it means and what to do")
    about: str | None = Field(description="The currency, where there is an alert for each")
    severity: AlertSeverity
    status: AlertStatus
    summary: str
    value: int = Field(description="The last one: seconds, a count, or minor units of the currency")
    runbook: str
    fired_at: datetime
    resolved_at: datetime | None

    @classmethod
    def of(cls, alert: record.Alert) -> Alert:
        """The alert as it is shown."""
        return cls(
            name=alert.name,
            about=alert.about or None,
            severity=alert.severity,
            status=alert.status,
            summary=alert.summary,
            value=alert.value,
            runbook=alert.runbook,
            fired_at=alert.fired_at,
            resolved_at=alert.resolved_at,
        )


class AlertPage(BaseModel):
    """The latest to fire first."""

    data: list[Alert]
    has_more: bool
    next_cursor: str | None


def alert_routes(app: App, gate: Gate) -> APIRouter:
    """The route, over an App."""
    router = guarded_router(gate, "alerts")

    @router.get("/alerts", response_model=AlertPage, openapi_extra=needs(Scope.METRICS_READ))
    async def list_alerts(
        status: Annotated[AlertStatus | None, Query(description="Leave out the others")] = None,
        limit: Limit = 20,
        cursor: Cursor = None,
    ) -> Response:
        """What is wrong now, and what was in the last 90 days, the latest to fire first."""
        async with app.engine.connect() as connection:
            found, next_cursor = await record.list_alerts(
                connection, status=status, limit=limit, cursor=cursor
            )
        shown = [Alert.of(each) for each in found]
        return json_answer(AlertPage(data=shown, has_more=next_cursor is not None, next_cursor=next_cursor))

    return router

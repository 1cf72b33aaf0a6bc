"""/ledger: the trial balance."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from tallystick.api import ledger_bodies as bodies
from tallystick.api.auth import Gate
from tallystick.api.keys import Scope
from tallystick.api.routing import guarded_router, json_answer, needs
from tallystick.app import App
from tallystick.db.session import autocommit
from tallystick.ledger.balances import totals, trial_balance


def ledger_routes(app: App, gate: Gate) -> APIRouter:
    """The routes, over an App."""
    router = guarded_router(gate, "ledger")

    @router.get(
        "/ledger/trial-balance", response_model=bodies.TrialBalance, openapi_extra=needs(Scope.LEDGER_READ)
    )
    async def get_trial_balance() -> Response:
        """Every account that has entries, and the sums in each currency."""
        async with autocommit(app.engine) as connection:
            lines = await trial_balance(connection)
        return json_answer(
            bodies.TrialBalance(
                data=[bodies.AccountBalance.model_validate(line, from_attributes=True) for line in lines],
                totals=[
                    bodies.CurrencyTotal.model_validate(total, from_attributes=True)
                    for total in totals(lines)
                ],
            )
        )

    return router

"""/customers, /payment-methods, /setup-intents: who pays, with what, and saving it for later."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from tallystick.api import customer_bodies as bodies
from tallystick.api.auth import Gate
from tallystick.api.idempotent import Once
from tallystick.api.keys import Scope
from tallystick.api.lists import Created, Cursor, Limit, Word
from tallystick.api.notice_bodies import Nothing
from tallystick.api.routing import AT_STRIPE, api_key, guarded_router, json_answer, needs
from tallystick.app import App
from tallystick.db.session import autocommit
from tallystick.errors import CardDeclinedError, CustomerAuthenticationRequiredError, InvalidStateError
from tallystick.idempotency import Claim
from tallystick.payments import customer_commands as commands
from tallystick.payments import customers, setups

_READS: Final = needs(Scope.CUSTOMERS_READ, *AT_STRIPE)
_WRITES: Final = needs(Scope.CUSTOMERS_WRITE, *AT_STRIPE, InvalidStateError)
_SAVES: Final = needs(
    Scope.CUSTOMERS_WRITE,
    *AT_STRIPE,
    InvalidStateError,
    CardDeclinedError,
    CustomerAuthenticationRequiredError,
)


def customer_routes(app: App, gate: Gate) -> APIRouter:
    """The routes, over an App."""
    router = guarded_router(gate, "customers")
    _add_reading(router, app)
    _add_changes(router, app)
    _add_methods(router, app)
    _add_setups(router, app)
    return router


def _add_reading(router: APIRouter, app: App) -> None:
    @router.get("/customers", response_model=bodies.CustomerPage, openapi_extra=needs(Scope.CUSTOMERS_READ))
    async def list_customers(
        created: Created,
        email: Annotated[Word | None, Query(description="The whole address, as it was given")] = None,
        limit: Limit = 20,
        cursor: Cursor = None,
    ) -> Response:
        """Customers, newest first."""
        async with autocommit(app.engine) as connection:
            page = await customers.list_customers(
                connection, created, email=email, limit=limit, cursor=cursor
            )
        return json_answer(
            bodies.CustomerPage(
                data=[bodies.Customer.of(customer) for customer in page.items],
                has_more=page.next_cursor is not None,
                next_cursor=page.next_cursor,
            )
        )

    @router.get("/customers/{id}", response_model=bodies.Customer, openapi_extra=_READS)
    async def get_customer(id: str) -> Response:  # noqa: A002 - the name of the path parameter
        """A customer; one that is older than this installation is fetched from Stripe once."""
        return json_answer(bodies.Customer.of(await commands.read(app.engine, app.stripe, id)))

    @router.get(
        "/customers/{id}/payment-methods", response_model=bodies.PaymentMethodPage, openapi_extra=_READS
    )
    async def list_payment_methods(
        id: str,  # noqa: A002
        type: Annotated[Word | None, Query(description="Stripe's type, e.g. card")] = None,  # noqa: A002
        limit: Limit = 20,
        cursor: Cursor = None,
    ) -> Response:
        """What a customer can pay with, newest first."""
        await commands.read(app.engine, app.stripe, id)
        async with autocommit(app.engine) as connection:
            page = await customers.list_methods(connection, id, kind=type, limit=limit, cursor=cursor)
        return json_answer(
            bodies.PaymentMethodPage(
                data=[bodies.PaymentMethod.of(method) for method in page.items],
                has_more=page.next_cursor is not None,
                next_cursor=page.next_cursor,
            )
        )


def _add_changes(router: APIRouter, app: App) -> None:
    once = Once(app)

    @router.post("/customers", status_code=201, response_model=bodies.Customer, openapi_extra=_SAVES)
    async def create_customer(request: Request, body: bodies.CreateCustomer) -> Response:
        """Make a customer at Stripe."""

        async def work(claim: Claim) -> customers.Customer:
            return await commands.create(app.engine, app.stripe, body.fields(), claim)

        return await once.answer(request, body, work, bodies.Customer.of, status=201)

    @router.post("/customers/{id}", response_model=bodies.Customer, openapi_extra=_WRITES)
    async def update_customer(request: Request, id: str, body: bodies.UpdateCustomer) -> Response:  # noqa: A002
        """Change a customer."""

        async def work(claim: Claim) -> customers.Customer:
            return await commands.update(app.engine, app.stripe, id, body.changes(), claim)

        return await once.answer(request, body, work, bodies.Customer.of, status=200)

    @router.delete("/customers/{id}", response_model=bodies.DeletedCustomer, openapi_extra=_WRITES)
    async def delete_customer(request: Request, id: str) -> Response:  # noqa: A002
        """Delete a customer for good, with what they pay with; their payments stay."""
        await commands.delete(app.engine, app.stripe, id, api_key(request).id)
        return json_answer(bodies.DeletedCustomer(id=id))


def _add_methods(router: APIRouter, app: App) -> None:
    once = Once(app)

    @router.post(
        "/customers/{id}/payment-methods",
        status_code=201,
        response_model=bodies.PaymentMethod,
        openapi_extra=_SAVES,
    )
    async def attach_payment_method(
        request: Request,
        id: str,  # noqa: A002
        body: bodies.AttachPaymentMethod,
    ) -> Response:
        """Save a payment method with a customer; a setup intent also asks the bank for leave to use it."""

        async def work(claim: Claim) -> customers.SavedMethod:
            return await commands.attach(app.engine, app.stripe, id, body.payment_method, claim)

        return await once.answer(request, body, work, bodies.PaymentMethod.of, status=201)

    @router.get(
        "/payment-methods/{id}",
        response_model=bodies.PaymentMethod,
        openapi_extra=needs(Scope.CUSTOMERS_READ),
    )
    async def get_payment_method(id: str) -> Response:  # noqa: A002
        """A payment method that is, or was, saved with a customer."""
        return json_answer(bodies.PaymentMethod.of(await commands.get_method(app.engine, id)))

    @router.post("/payment-methods/{id}/detach", response_model=bodies.PaymentMethod, openapi_extra=_WRITES)
    async def detach_payment_method(
        request: Request,
        id: str,  # noqa: A002
        body: Nothing | None = None,
    ) -> Response:
        """Take a payment method from its customer, for good."""

        async def work(claim: Claim) -> customers.SavedMethod:
            return await commands.detach(app.engine, app.stripe, id, claim)

        return await once.answer(request, body or Nothing(), work, bodies.PaymentMethod.of, status=200)


def _add_setups(router: APIRouter, app: App) -> None:
    once = Once(app)

    @router.post("/setup-intents", status_code=201, response_model=bodies.SetupIntent, openapi_extra=_SAVES)
    async def create_setup_intent(request: Request, body: bodies.CreateSetupIntent) -> Response:
        """Begin to save a payment method for later, without a payment now."""

        async def work(claim: Claim) -> setups.Setup:
            return await setups.create(app.engine, app.stripe, body.fields(), claim)

        return await once.answer(request, body, work, bodies.SetupIntent.of, status=201)

    @router.get("/setup-intents/{id}", response_model=bodies.SetupIntent, openapi_extra=_READS)
    async def get_setup_intent(id: str) -> Response:  # noqa: A002
        """A setup intent as it stands at Stripe."""
        return json_answer(bodies.SetupIntent.of(await setups.read(app.stripe, id)))

    @router.post("/setup-intents/{id}/confirm", response_model=bodies.SetupIntent, openapi_extra=_SAVES)
    async def confirm_setup_intent(
        request: Request,
        id: str,  # noqa: A002
        body: bodies.ConfirmSetupIntent | None = None,
    ) -> Response:
        """Confirm a setup intent, with another payment method if one is given."""
        given = body or bodies.ConfirmSetupIntent()

        async def work(claim: Claim) -> setups.Setup:
            return await setups.confirm(app.engine, app.stripe, id, given.fields(), claim)

        return await once.answer(request, given, work, bodies.SetupIntent.of, status=200)

    @router.post("/setup-intents/{id}/cancel", response_model=bodies.SetupIntent, openapi_extra=_WRITES)
    async def cancel_setup_intent(
        request: Request,
        id: str,  # noqa: A002
        body: Nothing | None = None,
    ) -> Response:
        """Give up a setup intent that is not final."""

        async def work(claim: Claim) -> setups.Setup:
            return await setups.cancel(app.engine, app.stripe, id, claim)

        return await once.answer(request, body or Nothing(), work, bodies.SetupIntent.of, status=200)

"""The billing portal: configurations, and sessions that lead a customer to it."""

from __future__ import annotations

from html import escape
from typing import Any, Final

from tallystick.sandbox import portal_shape as shape
from tallystick.sandbox.errors import invalid, refused
from tallystick.sandbox.lists import page
from tallystick.sandbox.params import Params, boolean, listing, merged_metadata, one_of, text
from tallystick.sandbox.refusals import unsupported
from tallystick.sandbox.routing import Route
from tallystick.sandbox.state import Call
from tallystick.sandbox.store import Obj, TableSpec

CONFIGURATION: Final = "billing_portal.configuration"
SESSION: Final = "billing_portal.session"
TABLES: Final = [TableSpec(CONFIGURATION, "configuration"), TableSpec(SESSION, "billing portal session")]
PATH: Final = "/p/session/"
"""Where the portal's page is, below the sandbox's own address."""


def _new(call: Call, params: dict[str, Any], *, is_default: bool) -> Obj:
    profile = params.get("business_profile", {})
    ident = call.sandbox.ids.new("bpc")
    login = params.get("login_page", {}).get("enabled", False)
    configuration: Obj = {
        "id": ident,
        "object": CONFIGURATION,
        "active": True,
        "application": None,
        "business_profile": {
            name: profile.get(name) for name in ("headline", "privacy_policy_url", "terms_of_service_url")
        },
        "created": call.now,
        "default_return_url": params.get("default_return_url"),
        "features": shape.features(shape.FEATURES, params.get("features", {})),
        "is_default": is_default,
        "livemode": False,
        "login_page": _login(call, ident, enabled=login),
        "metadata": merged_metadata(None, params.get("metadata", {})),
        "name": params.get("name"),
        "updated": call.now,
    }
    call.store.put(configuration)
    call.emit("billing_portal.configuration.created", configuration)
    return configuration


def _login(call: Call, ident: str, *, enabled: bool) -> Obj:
    return {"enabled": enabled, "url": f"{call.base_url}/p/login/{ident}" if enabled else None}


def create(call: Call) -> Obj:
    """POST /v1/billing_portal/configurations."""
    return _new(call, call.params, is_default=False)


def update(call: Call) -> Obj:
    """POST /v1/billing_portal/configurations/{id}."""
    configuration, params = call.find(CONFIGURATION), call.params
    if params.get("active") is False and configuration["is_default"]:
        raise refused("You cannot deactivate the default configuration.", param="active")
    values: Obj = {name: params[name] for name in ("active", "default_return_url", "name") if name in params}
    if "business_profile" in params:
        values["business_profile"] = {**configuration["business_profile"], **params["business_profile"]}
    if "features" in params:
        values["features"] = shape.features(configuration["features"], params["features"])
    if "login_page" in params:
        values["login_page"] = _login(call, configuration["id"], enabled=params["login_page"]["enabled"])
    if "metadata" in params:
        values["metadata"] = merged_metadata(configuration["metadata"], params["metadata"])
    previous = call.store.change(configuration, **values)
    if previous:
        call.store.change(configuration, updated=call.now)
        call.emit("billing_portal.configuration.updated", configuration, previous)
    return configuration


def list_all(call: Call) -> Obj:
    """GET /v1/billing_portal/configurations."""
    return page(call, CONFIGURATION, "/v1/billing_portal/configurations")


def _default(call: Call) -> Obj:
    """The account's default configuration: the first one, made when none is there."""
    for configuration in call.store.tables[CONFIGURATION].rows.values():
        if configuration["is_default"]:
            return configuration
    everything = {
        "customer_update": {"allowed_updates": ["email", "address", "phone", "tax_id"], "enabled": True},
        "invoice_history": {"enabled": True},
        "payment_method_update": {"enabled": True},
        "subscription_cancel": {"enabled": True},
    }
    return _new(call, {"features": everything}, is_default=True)


def create_session(call: Call) -> Obj:
    """POST /v1/billing_portal/sessions: a link that leads one customer to the portal."""
    params = call.params
    customer = call.find("customer", params["customer"], param="customer")
    if "configuration" in params:
        configuration = call.find(CONFIGURATION, params["configuration"], param="configuration")
        if not configuration["active"]:
            raise refused("This configuration is inactive.", param="configuration")
    else:
        configuration = _default(call)
    flow = _flow(call, params["flow_data"], customer) if "flow_data" in params else None
    secret = call.sandbox.ids.chars(48)
    session: Obj = {
        "id": call.sandbox.ids.new("bps"),
        "object": SESSION,
        "configuration": configuration["id"],
        "created": call.now,
        "customer": customer["id"],
        "customer_account": None,
        "flow": flow,
        "livemode": False,
        "locale": params.get("locale"),
        "on_behalf_of": None,
        "return_url": params.get("return_url", configuration["default_return_url"]),
        "url": f"{call.base_url}{PATH}test_{secret}",
    }
    call.store.put(session)
    call.emit("billing_portal.session.created", session)
    return session


def _flow(call: Call, sent: dict[str, Any], customer: Obj) -> Obj:
    """Where in the portal the customer is to begin."""
    kind = sent["type"]
    flow: Obj = {
        "after_completion": {
            "hosted_confirmation": None,
            "redirect": None,
            "type": "portal_homepage",
            **sent.get("after_completion", {}),
        },
        "subscription_cancel": None,
        "subscription_update": None,
        "subscription_update_confirm": None,
        "type": kind,
    }
    if kind.startswith("subscription_"):
        details = sent.get(kind)
        if details is None:
            name = f"flow_data[{kind}]"
            raise invalid(f"Missing required param: {name}.", param=name, code="parameter_missing")
        subscription = call.find("subscription", details["subscription"], param="subscription")
        if subscription["customer"] != customer["id"]:
            raise refused("This subscription belongs to another customer.", param="flow_data")
        blank: Obj = {"retention": None} if kind == "subscription_cancel" else {}
        flow[kind] = {**blank, **details}
    return flow


def page_of(call: Call, ident: str) -> tuple[str, str]:
    """Title and body of the portal's page. Raises StripeError (404) for no such session."""
    sessions = call.store.tables[SESSION].rows
    for session in (sessions[each] for each in reversed(sessions)):
        if session["url"].endswith(f"{PATH}{ident}"):
            customer = call.find("customer", session["customer"])
            who = escape(customer["email"] or customer["name"] or customer["id"])
            back = ""
            if session["return_url"]:
                back = f'<p><a href="{escape(session["return_url"], quote=True)}">Return</a></p>'
            return "Billing", f"<p>{who}</p>{back}"
    return "Too late", "<p>There is no such session.</p>"


_AFTER: Final = Params(
    {
        "hosted_confirmation": Params({"custom_message": text()}),
        "redirect": Params({"return_url": text()}, required=("return_url",)),
        "type": one_of("hosted_confirmation", "portal_homepage", "redirect"),
    },
    required=("type",),
)
_SUBSCRIPTION: Final = ("subscription",)
_FLOW: Final = Params(
    {
        "after_completion": _AFTER,
        "subscription_cancel": Params(
            {"retention": unsupported("its portal offers no coupons"), "subscription": text()},
            required=_SUBSCRIPTION,
        ),
        "subscription_update": Params({"subscription": text()}, required=_SUBSCRIPTION),
        "subscription_update_confirm": unsupported("its portal changes no subscriptions"),
        "type": one_of(
            "customer_update", "payment_method_update", "subscription_cancel", "subscription_update"
        ),
    },
    required=("type",),
)

ROUTES: Final = [
    Route("POST", "/v1/billing_portal/configurations", create, shape.CREATE),
    Route(
        "GET",
        "/v1/billing_portal/configurations",
        list_all,
        listing(active=boolean, is_default=boolean),
    ),
    Route("GET", "/v1/billing_portal/configurations/{}", lambda call: call.find(CONFIGURATION)),
    Route("POST", "/v1/billing_portal/configurations/{}", update, shape.UPDATE),
    Route(
        "POST",
        "/v1/billing_portal/sessions",
        create_session,
        Params(
            {
                "configuration": text(),
                "customer": text(),
                "customer_account": unsupported("its customers are no accounts"),
                "flow_data": _FLOW,
                "locale": text(10),
                "on_behalf_of": unsupported("it keeps no connected accounts' books"),
                "return_url": text(),
            },
            required=("customer",),
        ),
    ),
]

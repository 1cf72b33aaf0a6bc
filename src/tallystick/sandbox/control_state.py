"""Control calls on the sandbox as a whole: time, snapshots, keys, settings, reset."""

from __future__ import annotations

from typing import Final

from tallystick.sandbox.control_call import Control, Controls
from tallystick.sandbox.errors import StripeError
from tallystick.sandbox.store import Obj


def show_clock(control: Control) -> Obj:
    """The time, and how far it is ahead of the machine's."""
    clock = control.sandbox.clock
    return {"now": clock.now(), "ahead_seconds": clock.ahead, "timers": len(control.sandbox.timers.pending)}


def advance(control: Control) -> Obj:
    """Move the clock on by ``advance_seconds`` or to the time ``to``; timers go off in order, at their time.

    Stripe's time moves for everything but webhook signatures, which others judge by their own clocks.
    """
    if ("advance_seconds" in control.body) == ("to" in control.body):
        raise StripeError(400, "Give either advance_seconds or to.")
    seconds = control.number("advance_seconds", 0)
    if "to" in control.body:
        seconds = control.number("to") - control.sandbox.clock.now()
        if seconds < 0:
            raise StripeError(400, "The clock moves forward only.")
    control.sandbox.advance(seconds)
    return show_clock(control)


def take_snapshot(control: Control) -> Obj:
    """Keep the whole state under ``name``, in memory, until the process ends."""
    name = control.body.get("name")
    if not isinstance(name, str) or not name or "/" in name:
        raise StripeError(400, "name must be a string without a slash.")
    sandbox = control.sandbox
    sandbox.store.commit()
    photograph = sandbox.photographs[name] = sandbox.photograph()
    return {"name": name, "records": len(photograph), "bytes": sum(len(body) for _, _, body in photograph)}


def show_snapshots(control: Control) -> Obj:
    """The snapshots there are."""
    return {
        "snapshots": [{"name": name, "records": len(it)} for name, it in control.sandbox.photographs.items()]
    }


def _snapshot(control: Control) -> str:
    name = control.ids[0]
    if name not in control.sandbox.photographs:
        raise StripeError(404, f"No such snapshot: {name}.")
    return name


def restore(control: Control) -> Obj:
    """Go back to a snapshot: objects, timers, deliveries, settings, keys and the clock's lead."""
    name = _snapshot(control)
    control.sandbox.restore(control.sandbox.photographs[name])
    return {"restored": name}


def remove_snapshot(control: Control) -> Obj:
    """Let a snapshot go."""
    del control.sandbox.photographs[_snapshot(control)]
    return {"removed": control.ids[0]}


def define_key(control: Control) -> Obj:
    """Restrict ``key`` (rk_test_…) to ``permissions``: none, read or write by resource, ``*`` the rest."""
    key, permissions = control.body.get("key"), control.body.get("permissions")
    if not isinstance(key, str) or not isinstance(permissions, dict):
        raise StripeError(400, "Give key, a string, and permissions, an object.")
    control.sandbox.restricted_keys.define(key, permissions)
    return {"key": key, "permissions": permissions}


def show_keys(control: Control) -> Obj:
    """The restricted keys that have been defined."""
    defined = control.sandbox.restricted_keys.defined
    return {"restricted_keys": [{"key": key, "permissions": of} for key, of in defined.items()]}


def remove_key(control: Control) -> Obj:
    """Let a restricted key do all again."""
    if not control.sandbox.restricted_keys.remove(control.ids[0]):
        raise StripeError(404, f"No such restricted key: {control.ids[0]}.")
    return {"removed": control.ids[0]}


def show_settings(control: Control) -> Obj:
    """The settings in force."""
    return control.sandbox.settings.shown()


def change_settings(control: Control) -> Obj:
    """Replace some settings."""
    control.sandbox.change_settings(dict(control.body))
    return control.sandbox.settings.shown()


def reset(control: Control) -> Obj:
    """Forget everything; snapshots stay."""
    control.sandbox.reset()
    return {"reset": True}


def state(control: Control) -> Obj:
    """Counts by object, what is pending, the time, and the balances."""
    sandbox = control.sandbox
    return {
        "objects": {kind: len(table.rows) for kind, table in sandbox.store.tables.items()},
        "objects_in_all": sandbox.store.objects,
        "timers": len(sandbox.timers.pending),
        "deliveries_pending": sandbox.deliveries.pending(),
        "idempotency_keys": sandbox.idempotency.count(),
        "balances": sandbox.balances,
        "now": sandbox.clock.now(),
        "account": sandbox.account_id,
    }


CONTROLS: Final[Controls] = {
    ("GET", "clock"): show_clock,
    ("POST", "clock"): advance,
    ("POST", "snapshots"): take_snapshot,
    ("GET", "snapshots"): show_snapshots,
    ("POST", "snapshots", "{}", "restore"): restore,
    ("DELETE", "snapshots", "{}"): remove_snapshot,
    ("POST", "restricted_keys"): define_key,
    ("GET", "restricted_keys"): show_keys,
    ("DELETE", "restricted_keys", "{}"): remove_key,
    ("GET", "settings"): show_settings,
    ("POST", "settings"): change_settings,
    ("POST", "reset"): reset,
    ("GET", "state"): state,
}

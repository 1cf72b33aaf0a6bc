"""A Stripe of our own: stateful, signed webhooks, faults on demand. It speaks Stripe's HTTP API.

It knows nothing of the rest of the package but ``tallystick.money``. Entry points are in
``tallystick.sandbox.server``.

The core (``store``, ``ids``, ``clock``, ``timers``, ``events``, ``delivery``, ``params``, ``expand``,
``lists``, ``versions``, ``idempotency``, ``faults``, ``http``) knows no Stripe family; every family is one
plain module with its ``TABLES`` and ``ROUTES``, gathered in ``families.py``.
"""

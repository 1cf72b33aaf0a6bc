"""Tallystick: payments on Stripe with a double-entry ledger that proves itself against Stripe."""

__version__ = "0.1.0"

"""Payments and refunds: the state machine, the commands, and their rows."""

"""Alerts without Prometheus: those that can be read from the database, raised by the worker itself."""

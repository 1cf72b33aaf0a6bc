"""Notices to the merchant's own endpoints: fanned out, signed, sent, tried again, logged."""

"""Everything that speaks with Stripe: the client, webhook signatures, and the payload fields we read."""

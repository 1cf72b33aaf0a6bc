"""The one road of a Stripe event, from the inbox to the committed effects."""

"""What Stripe's events mean: pure functions of payload and stored facts."""

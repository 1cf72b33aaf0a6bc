"""What is pulled from Stripe, not told by it: balance transactions, missed events, payouts, an opening."""

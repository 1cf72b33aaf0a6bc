"""The ledger for other programs: one stream of ledger transactions, and one file a format."""

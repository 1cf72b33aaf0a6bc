"""The double-entry ledger: chart of accounts, pure entries, and the book that stores them."""

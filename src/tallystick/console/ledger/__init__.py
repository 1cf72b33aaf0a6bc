"""The pages below /console/ledger: the books, read through what the API's routes read through."""

"""The pages below /console/journal-entries: corrections of the ledger, and who approves them."""

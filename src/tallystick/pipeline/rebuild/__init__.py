"""The ledger built again from its stored inputs, and compared with what stands."""

"""The HTTP face: routes, API keys, problem documents, and the webhook endpoint."""

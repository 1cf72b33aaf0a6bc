"""The operator console: server-rendered pages at /console, over the same readers as the API."""

"""The schema, its migrations, and connections to PostgreSQL."""

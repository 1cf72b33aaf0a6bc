"""Who is signed in to the console.

Revision 0024.
"""

from __future__ import annotations

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.execute("""
CREATE TABLE console_sessions (
    token_hash bytea NOT NULL,
    api_key_id text COLLATE "C" NOT NULL,
    began_at timestamptz DEFAULT now() NOT NULL,
    seen_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT ck_console_sessions_token_hash CHECK (octet_length(token_hash) = 32),
    CONSTRAINT pk_console_sessions PRIMARY KEY (token_hash),
    CONSTRAINT fk_console_sessions_api_key_id FOREIGN KEY (api_key_id) REFERENCES api_keys (id)
)""")

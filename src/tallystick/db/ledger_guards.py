"""Functions and triggers by which PostgreSQL itself keeps the ledger append-only and balanced.

Checks run once a statement over its transition table, not once a row: a bulk insert of hundreds of ledger
transactions pays for one.
"""

from __future__ import annotations

from typing import Final

APPEND_ONLY: Final = (
    "ledger_accounts",
    "ledger_transactions",
    "ledger_entries",
    "effect_dates",
    "ledger_seals",
)

_FUNCTIONS: Final = (
    """
CREATE FUNCTION ledger_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append-only: % refused; post a reversal instead', TG_TABLE_NAME, TG_OP
    USING ERRCODE = 'restrict_violation';
END $$
""",
    # A transaction gets its id before the rows get theirs, so that a sealer can tell from a snapshot which
    # ids can still appear.
    """
CREATE FUNCTION ledger_take_xid() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_current_xact_id();
  RETURN NULL;
END $$
""",
    """
CREATE FUNCTION ledger_check_headers() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE bad text;
BEGIN
  SELECT n.effect_key INTO bad FROM new_rows n
   WHERE NOT EXISTS (SELECT 1 FROM ledger_entries e WHERE e.transaction_id = n.id) LIMIT 1;
  IF bad IS NOT NULL THEN
    RAISE EXCEPTION 'ledger transaction % has no entries', bad USING ERRCODE = 'check_violation';
  END IF;
  SELECT n.effect_key INTO bad FROM new_rows n WHERE n.xact <> pg_current_xact_id() LIMIT 1;
  IF bad IS NOT NULL THEN
    RAISE EXCEPTION 'ledger transaction % names another database transaction', bad
      USING ERRCODE = 'check_violation';
  END IF;
  RETURN NULL;
END $$
""",
    """
CREATE FUNCTION ledger_check_entries() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE bad bigint;
BEGIN
  SELECT n.transaction_id INTO bad FROM new_rows n
   GROUP BY n.transaction_id, n.currency HAVING sum(n.direction * n.amount) <> 0 LIMIT 1;
  IF bad IS NOT NULL THEN
    RAISE EXCEPTION 'ledger transaction % does not balance', bad USING ERRCODE = 'check_violation';
  END IF;
  SELECT n.transaction_id INTO bad FROM new_rows n
    JOIN ledger_transactions t ON t.id = n.transaction_id
   WHERE t.xact <> pg_current_xact_id() LIMIT 1;
  IF bad IS NOT NULL THEN
    RAISE EXCEPTION 'ledger transaction % is closed: its entries came with it', bad
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NULL;
END $$
""",
)

_CHECKS: Final = (
    """
CREATE TRIGGER take_xid BEFORE INSERT ON ledger_accounts
  FOR EACH STATEMENT EXECUTE FUNCTION ledger_take_xid()
""",
    """
CREATE TRIGGER take_xid BEFORE INSERT ON ledger_transactions
  FOR EACH STATEMENT EXECUTE FUNCTION ledger_take_xid()
""",
    """
CREATE TRIGGER take_xid BEFORE INSERT ON effect_dates
  FOR EACH STATEMENT EXECUTE FUNCTION ledger_take_xid()
""",
    """
CREATE TRIGGER check_headers AFTER INSERT ON ledger_transactions
  REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION ledger_check_headers()
""",
    """
CREATE TRIGGER check_entries AFTER INSERT ON ledger_entries
  REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION ledger_check_entries()
""",
)

LEDGER_GUARDS: Final = (
    *_FUNCTIONS,
    *_CHECKS,
    *(
        f"CREATE TRIGGER refuse_change BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION ledger_refuse_change()"
        for table in APPEND_ONLY
    ),
)
"""All statements, in order; each is one statement, as asyncpg wants them."""

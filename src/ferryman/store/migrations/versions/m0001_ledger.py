"""The ledger and the virtual keys."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

PICO = sa.BigInteger().with_variant(sa.Numeric(38, 0), "postgresql")


def upgrade() -> None:
    _keys()
    _calls()
    _intake()


def _keys() -> None:
    op.create_table(
        "virtual_keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("hint", sa.Text, nullable=False),
        sa.Column("fixed", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("revoked_at", sa.BigInteger),
        sa.Column("last_used_at", sa.BigInteger),
        sa.Column("seq", sa.BigInteger, nullable=False),
    )
    op.create_index("virtual_keys_seq", "virtual_keys", ["seq"])
    op.create_index("virtual_keys_name", "virtual_keys", ["name"])


def _calls() -> None:
    op.create_table(
        "calls",
        sa.Column("request_id", sa.Text, primary_key=True),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("duration_us", sa.BigInteger),
        sa.Column("plane", sa.Text, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("stream", sa.Boolean),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("input", sa.BigInteger),
        sa.Column("cache_read", sa.BigInteger),
        sa.Column("cache_write", sa.BigInteger),
        sa.Column("cache_write_1h", sa.BigInteger),
        sa.Column("audio_input", sa.BigInteger),
        sa.Column("output", sa.BigInteger),
        sa.Column("reasoning", sa.BigInteger),
        sa.Column("audio_output", sa.BigInteger),
        sa.Column("cost_pico", PICO),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("attempts_json", sa.Text, nullable=False),
        sa.Column("first_token_us", sa.BigInteger),
        sa.Column("overhead_us", sa.BigInteger),
        sa.Column("state", sa.Text, nullable=False),
    )
    op.create_index("calls_at", "calls", ["at_us"])
    op.create_index("calls_key_at", "calls", ["key_id", "at_us"])
    op.create_index("calls_model_at", "calls", ["model", "at_us"])


def _intake() -> None:
    op.create_table(
        "open_calls",
        sa.Column("request_id", sa.Text, primary_key=True),
        sa.Column("plane", sa.Text, nullable=False),
        sa.Column("boot", sa.Text, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("hold_pico", PICO, nullable=False),
    )
    op.create_table(
        "journal_positions",
        sa.Column("plane", sa.Text, primary_key=True),
        sa.Column("segment", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("boot", sa.Text, nullable=False),
        sa.Column("read_to", sa.BigInteger, nullable=False),
        sa.Column("done", sa.Boolean, nullable=False),
    )
    op.create_table(
        "meta",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )

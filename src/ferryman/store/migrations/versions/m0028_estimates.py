"""Condensed days have all sums and estimates, and weeks have latencies. Condensed days go: they are
made anew of the sums over days, between the rounds of ingestion."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

_SUMS = (
    "calls", "errors", "lost", "unknown_usage", "unknown_cost", "repeated",
    "input", "cache_read", "cache_write", "cache_write_1h", "audio_input", "output", "reasoning",
    "audio_output", "searches", "audio_cache_read", "image_input", "image_output", "audio_ms",
    "cost_micro", "cost_rest", "saved_micro", "saved_rest",
    "estimated_calls", "estimated_input", "estimated_output", "estimated_micro", "estimated_rest",
)  # fmt: skip


def upgrade() -> None:
    op.drop_table("calls_by_dimension")
    op.create_table(
        "calls_by_dimension",
        sa.Column("dimension", sa.Text, primary_key=True),
        sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("value", sa.Text, primary_key=True),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in _SUMS),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "latencies_by_week",
        sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("group_id", sa.LargeBinary, primary_key=True),
        sa.Column("measure", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("bucket", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("calls", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )

"""Weeks that are over, by all dimensions, for pages over a year. They are filled between the rounds
of ingestion."""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    sums = (
        "calls", "errors", "lost", "unknown_usage", "unknown_cost", "repeated", "input",
        "cache_read", "cache_write", "cache_write_1h", "audio_input", "output", "reasoning",
        "audio_output", "searches", "audio_cache_read", "image_input", "image_output",
        "audio_ms", "cost_micro", "cost_rest", "saved_micro", "saved_rest",
    )  # fmt: skip
    op.create_table(
        "calls_by_week",
        sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("group_id", sa.LargeBinary, primary_key=True),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in sums),
        sqlite_with_rowid=False,
    )

"""By which price a call was billed, and what else it used that has a price."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("calls", sa.Column("service", sa.Text))
    op.add_column("calls", sa.Column("region", sa.Text))
    for name in ("searches", "audio_cache_read", "image_input", "image_output", "audio_ms"):
        op.add_column("calls", sa.Column(name, sa.BigInteger))
    op.add_column("calls", sa.Column("price", sa.Text))
    op.create_table(
        "prices",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("first_used_at", sa.BigInteger, nullable=False),
        sa.Column("prices_json", sa.Text, nullable=False),
    )

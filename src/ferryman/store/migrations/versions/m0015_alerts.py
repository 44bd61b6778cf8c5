"""Alerts, what silences them, and the channel that a notice is for."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    texts = ("rule", "about", "subject", "host", "severity", "title", "detail", "facts")
    times = ("ends_at", "told_at", "acknowledged_at")
    op.create_table(
        "alerts",
        sa.Column("id", sa.Text, primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in texts),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in ("opened_at", "seen_at")),
        *(sa.Column(name, sa.BigInteger) for name in times),
        sa.Column("acknowledged_by", sa.Text),
        sa.Column("resolved_at", sa.BigInteger),
    )
    is_open = sa.text("resolved_at IS NULL")
    op.create_index(
        "alerts_open", "alerts", ["rule", "subject"], unique=True,
        sqlite_where=is_open, postgresql_where=is_open,
    )  # fmt: skip
    op.create_index("alerts_opened", "alerts", ["opened_at"])
    op.create_table(
        "silences",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
    )
    op.add_column("notices", sa.Column("channel", sa.Text, nullable=False, server_default=""))
    op.execute("UPDATE notices SET next_at = NULL")  # they are for a webhook that is no more

"""What reports sort calls by, and an estimate where usage is unknown."""

import sqlalchemy as sa
from alembic import op

from ferryman.store.schema import PICO

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


LABELS = ("organisation", "team", "user", "end_user", "run", "task", "tags", "metadata")


def upgrade() -> None:
    for table in ("calls", "open_calls"):
        for name in LABELS:
            op.add_column(table, sa.Column(name, sa.Text))
    op.add_column("calls", sa.Column("estimated_input", sa.BigInteger))
    op.add_column("calls", sa.Column("estimated_output", sa.BigInteger))
    op.add_column("calls", sa.Column("estimated_pico", PICO))
    known = sa.text("estimated_input IS NOT NULL")
    op.create_index(
        "calls_estimated_at", "calls", ["at_us"], sqlite_where=known, postgresql_where=known
    )

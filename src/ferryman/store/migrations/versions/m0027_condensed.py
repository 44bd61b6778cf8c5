"""Days that are over by one dimension each, for pages over a year."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    sums = ("calls", "errors", "unknown_cost", "repeated", "tokens",
            "cost_micro", "cost_rest", "saved_micro", "saved_rest")  # fmt: skip
    op.create_table(
        "calls_by_dimension",
        sa.Column("dimension", sa.Text, primary_key=True),
        sa.Column("at", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("value", sa.Text, primary_key=True),
        *(sa.Column(name, sa.BigInteger, nullable=False) for name in sums),
        sqlite_with_rowid=False,
    )

"""Which budgets bear a call, and how much of it."""

import sqlalchemy as sa
from alembic import op

from ferryman.store.schema import PICO

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("calls", "open_calls"):
        op.add_column(table, sa.Column("budgets", sa.Text))
        op.add_column(table, sa.Column("charged_pico", PICO))
        op.add_column(table, sa.Column("charged_tokens", sa.BigInteger))

"""What the cache of answers did for a call, and what that saved."""

import sqlalchemy as sa
from alembic import op

from ferryman.store.schema import PICO

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("calls", sa.Column("cache", sa.Text))
    op.add_column("calls", sa.Column("saved_pico", PICO))

"""What else few calls use that has a price: pages of the web, characters, images, runs of code."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("calls", sa.Column("pieces_json", sa.Text))

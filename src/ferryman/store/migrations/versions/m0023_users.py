"""Users of the dashboard, and their sessions."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("folded", sa.Text, nullable=False, unique=True),
        sa.Column("display", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("organisation", sa.Text),
        sa.Column("team", sa.Text),
        sa.Column("password", sa.Text),
        sa.Column("external_id", sa.Text),
        sa.Column("issuer", sa.Text),
        sa.Column("subject", sa.Text),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
        sa.Column("last_in_at", sa.BigInteger),
    )
    op.create_index("users_external", "users", ["organisation", "external_id"], unique=True)
    op.create_index("users_subject", "users", ["issuer", "subject"], unique=True)
    op.create_table(
        "sessions",
        sa.Column("mark", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("ends_at", sa.BigInteger, nullable=False),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
    )
    op.create_index("sessions_user", "sessions", ["user_id"])

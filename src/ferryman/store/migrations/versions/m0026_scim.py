"""What directories keep here of users and groups (SCIM), and whose a token is."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "scim_users",
        sa.Column("user_id", sa.Text, primary_key=True),
        sa.Column("attributes", sa.Text, nullable=False),
    )
    texts = ("organisation", "name", "folded", "attributes")
    op.create_table(
        "scim_groups",
        sa.Column("id", sa.Text, primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in texts),
        sa.Column("external_id", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
    )
    op.create_index("scim_groups_name", "scim_groups", ["organisation", "folded"], unique=True)
    op.create_table(
        "scim_members",
        sa.Column("group_id", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, primary_key=True),
    )
    op.create_index("scim_members_user", "scim_members", ["user_id"])
    op.add_column("admin_tokens", sa.Column("user_id", sa.Text))

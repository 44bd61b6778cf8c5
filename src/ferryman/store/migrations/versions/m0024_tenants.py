"""Organisations and teams as records, and limits that are handed down to them."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def _record() -> tuple[sa.Column[object], ...]:
    return (
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("archived_at", sa.BigInteger),
    )


def upgrade() -> None:
    op.create_table("organisations", sa.Column("name", sa.Text, primary_key=True), *_record())
    op.create_table(
        "teams",
        sa.Column("organisation", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        *_record(),
    )
    op.create_table(
        "delegated_limits",
        *(
            sa.Column(name, sa.Text, primary_key=True)
            for name in ("organisation", "team", "user", "key_id")
        ),
        sa.Column("limits", sa.Text, nullable=False),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
        sa.Column("changed_by", sa.Text, nullable=False),
    )

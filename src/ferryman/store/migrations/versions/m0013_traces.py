"""What a call is looked up by beside its id, who sent it, and how its targets were ordered."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

LOOKED_UP = (("run", "at_us"), ("parent", "at_us"), ("day", "upstream_id"), ("day", "trace"))


def upgrade() -> None:
    op.add_column("open_calls", sa.Column("parent", sa.Text))
    for name in ("parent", "client", "strategy", "verdicts_json", "upstream_id", "trace"):
        op.add_column("calls", sa.Column(name, sa.Text))
    op.add_column("calls", sa.Column("day", sa.BigInteger))
    for one, other in LOOKED_UP:
        known = sa.text(f"{other if one == 'day' else one} IS NOT NULL")
        op.create_index(
            f"calls_{one}_{other}", "calls", [one, other],
            sqlite_where=known, postgresql_where=known,
        )  # fmt: skip
    op.create_table(
        "upstream_ids",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
    )
    op.create_index("upstream_ids_at", "upstream_ids", ["at_us"])

"""Condensed days tell of organisations, teams and scores, and feedback of when its call began. Days
are filled between the rounds of ingestion; those with scores are made anew."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

_DAY = 86_400


def upgrade() -> None:
    op.add_column("feedback", sa.Column("call_at_us", sa.BigInteger))
    op.execute(
        "UPDATE feedback SET call_at_us = CASE WHEN run THEN 0 ELSE "
        "(SELECT max(calls.at_us) FROM calls WHERE calls.request_id = feedback.subject) END"
    )
    op.create_index("feedback_call_at", "feedback", ["call_at_us"])
    for name in ("scored", "score"):
        column = sa.Column(name, sa.BigInteger, nullable=False, server_default="0")
        op.add_column("calls_by_dimension", column)
    for table, step in (("calls_by_dimension", _DAY), ("latencies_by_week", 7 * _DAY)):
        begun = f"call_at_us / {step}000000 * {step}"
        op.execute(
            f'DELETE FROM {table} WHERE "at" IN '
            f"(SELECT {begun} FROM feedback WHERE call_at_us > 0 AND score IS NOT NULL)"
        )

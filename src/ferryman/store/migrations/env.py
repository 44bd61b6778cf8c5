"""Runs the migrations on the connection that ``store/db.py`` opened, inside its transaction."""

from alembic import context

from ferryman.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()

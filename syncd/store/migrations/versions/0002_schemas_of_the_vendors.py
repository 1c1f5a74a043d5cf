"""schemas of the vendors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ID = sa.Text().with_variant(sa.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "schemas",
        sa.Column("connection", ID, nullable=False),
        sa.Column("resource", ID, nullable=False),
        sa.Column("pinned", sa.Text(), nullable=False),
        sa.Column("pinned_at", ID, nullable=False),
        sa.Column("pinned_by", sa.Text(), nullable=False),
        sa.Column("seen", sa.Text(), nullable=False),
        sa.Column("seen_at", ID, nullable=False),
        sa.Column("off", sa.Text(), nullable=False),
        sa.Column("returned", sa.Text(), nullable=False),
        sa.Column("drift", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("connection", "resource", name=op.f("pk_schemas")),
    )
    op.create_table(
        "mapping_bases",
        sa.Column("connection", ID, nullable=False),
        sa.Column("own", ID, nullable=False),
        sa.Column("shipped", sa.Text(), nullable=False),
        sa.Column("at", ID, nullable=False),
        sa.PrimaryKeyConstraint("connection", name=op.f("pk_mapping_bases")),
    )


def downgrade() -> None:
    op.drop_table("mapping_bases")
    op.drop_table("schemas")

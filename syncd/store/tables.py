"""Every table, with what one row means. The database is the truth; Redis holds nothing that is not here.

Documents are JSON text: they are written and read whole, and never searched inside. Instants are ISO text in
UTC with six digits ("2026-11-21T09:30:00.000000Z"), so text order is time order on both databases.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects import postgresql

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)

# Identifiers sort by bytes on both databases, whatever the server's locale.
Id = Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")

meta = Table("meta", metadata, Column("name", Id, primary_key=True), Column("value", Text, nullable=False))
"""Facts about this store: the key's fingerprint, heartbeats."""

connections = Table(
    "connections",
    metadata,
    Column("name", Id, primary_key=True),
    Column("connector", Id, nullable=False),
    Column("account", Id, nullable=False),
    Column("label", Text, nullable=False),
    Column("zone", Id, nullable=False),
    Column("settings", Text, nullable=False),
    Column("secrets", LargeBinary, nullable=False),
    Column("secrets_version", Integer, nullable=False, default=1),
    Column("mode", Id, nullable=False),
    Column("problem", Text),
    Column("remedy", Text),
    Column("paused_until", Id),
    Column("created_at", Id, nullable=False),
    UniqueConstraint("connector", "account"),
)
"""One authorised account. mode: observe (reads, plans, writes nothing) or live. problem: why it stopped."""

turns = Table(
    "turns",
    metadata,
    Column("connection", Id),
    Column("resource", Id),
    Column("poll_s", Float, nullable=False),
    Column("pull_due_at", Id, nullable=False),
    Column("sweep_due_at", Id),
    Column("cursor", Text),
    Column("pulled_once", Boolean, nullable=False, default=False),
    Column("mapping", Id, nullable=False, default=""),
    Column("failures", Integer, nullable=False, default=0),
    Column("owner", Id),
    Column("fence", Integer, nullable=False, default=0),
    Column("lease_until", Id),
    Column("last_pull_at", Id),
    Column("last_sweep_at", Id),
    PrimaryKeyConstraint("connection", "resource"),
)
"""A connection's resource: its cursor, when it is due, and the lease (with a fencing number) of whoever works on it."""

links = Table(
    "links",
    metadata,
    Column("connection", Id),
    Column("resource", Id),
    Column("vendor_id", Id),
    Column("kind", Id, nullable=False),
    Column("canonical_id", Id, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("version", Text),
    Column("alive", Boolean, nullable=False),
    Column("written_at", Id),
    Column("state", Text, nullable=False),
    Column("body", Text, nullable=False),
    PrimaryKeyConstraint("connection", "resource", "vendor_id"),
    Index(None, "canonical_id"),
)
"""A vendor record joined to a canonical record: its claims, base and renditions (state) and its body as last read."""

schemas = Table(
    "schemas",
    metadata,
    Column("connection", Id),
    Column("resource", Id),
    Column("pinned", Text, nullable=False),
    Column("pinned_at", Id, nullable=False),
    Column("pinned_by", Text, nullable=False),
    Column("seen", Text, nullable=False),
    Column("seen_at", Id, nullable=False),
    Column("off", Text, nullable=False),
    Column("returned", Text, nullable=False),
    Column("drift", Text, nullable=False),
    PrimaryKeyConstraint("connection", "resource"),
)
"""The fields of a resource as somebody accepted them (pinned) and as last seen. off: vendor places that mapping lines
name and that are not there, with whether they once were; returned: canonical fields that came back and are being read
again; drift: what is reported."""

mapping_bases = Table(
    "mapping_bases",
    metadata,
    Column("connection", Id, primary_key=True),
    Column("own", Id, nullable=False),
    Column("shipped", Text, nullable=False),
    Column("at", Id, nullable=False),
)
"""The shipped lines as they were when the firm's own file (own: its hash) was first seen: what an upgrade is held
against."""

records = Table(
    "records",
    metadata,
    Column("id", Id, primary_key=True),
    Column("kind", Id, nullable=False),
    Column("status", Id, nullable=False),
    Column("merged_into", Id),
    Column("golden", Text, nullable=False),
    Column("sources", Text, nullable=False),
    Column("deleted_at", Id),
    Index(None, "kind", "status"),
)
"""A canonical record as last settled. status: live, review (waits for a steward, never copied), merged, gone."""

identity_keys = Table(
    "identity_keys",
    metadata,
    Column("key", Id),
    Column("canonical_id", Id),
    PrimaryKeyConstraint("key", "canonical_id"),
    sqlite_with_rowid=False,
)
"""Exact evidence: who shows which e-mail, phone, number or name."""

edges = Table(
    "edges",
    metadata,
    Column("canonical_id", Id),
    Column("field", Id),
    Column("target_id", Id, nullable=False),
    PrimaryKeyConstraint("canonical_id", "field"),
    Index(None, "target_id", "field"),
    sqlite_with_rowid=False,
)
"""A golden reference from one canonical record to another."""

pending_refs = Table(
    "pending_refs",
    metadata,
    Column("connection", Id),
    Column("token", Id),
    Column("canonical_id", Id),
    PrimaryKeyConstraint("connection", "token", "canonical_id"),
    sqlite_with_rowid=False,
)
"""A claim refers to something that nobody has seen yet. connection is "" for a reference by key."""

intents = Table(
    "intents",
    metadata,
    Column("connection", Id),
    Column("resource", Id),
    Column("canonical_id", Id),
    Column("kind", Id, nullable=False),
    Column("state", Id, nullable=False),
    Column("due_at", Id, nullable=False),
    Column("generation", Integer, nullable=False, default=0),
    Column("attempts", Integer, nullable=False, default=0),
    Column("operation", Id),
    Column("operation_key", Id),
    Column("sent_at", Id),
    Column("meant", Text),
    Column("payload", Text),
    Column("vendor_id", Id),
    Column("why", Text),
    Column("remedy", Text),
    PrimaryKeyConstraint("connection", "resource", "canonical_id"),
    Index(None, "connection", "resource", "state", "due_at"),
    Index(None, "canonical_id"),
)
"""This connection's record may differ from what it should be.
state: due, sending (key committed, request under way), unknown (sent, no answer), waiting, held, dead."""

writes = Table(
    "writes",
    metadata,
    Column("id", Id, primary_key=True),
    Column("run", Id, nullable=False),
    Column("connection", Id, nullable=False),
    Column("resource", Id, nullable=False),
    Column("canonical_id", Id, nullable=False),
    Column("vendor_id", Id),
    Column("operation", Id, nullable=False),
    Column("operation_key", Id, nullable=False),
    Column("before", Text, nullable=False),
    Column("meant", Text, nullable=False),
    Column("decision", Text, nullable=False),
    Column("outcome", Id, nullable=False),
    Column("at", Id, nullable=False),
    Index(None, "canonical_id"),
    Index(None, "run"),
)
"""One request's part about one record: what it changed, under which decision, and what came of it."""

conflicts = Table(
    "conflicts",
    metadata,
    Column("id", Id, primary_key=True),
    Column("canonical_id", Id, nullable=False),
    Column("field", Id, nullable=False),
    Column("state", Id, nullable=False),
    Column("reason", Id, nullable=False),
    Column("kept", Text, nullable=False),
    Column("values", Text, nullable=False),
    Column("opened_at", Id, nullable=False),
    Column("closed_at", Id),
    Column("closed_by", Id),
    Index(None, "canonical_id", "field"),
    Index(None, "state"),
)
"""Two systems disagree. open: a person must choose; decided: a rule chose, the loser is kept here; settled."""

pins = Table(
    "pins",
    metadata,
    Column("canonical_id", Id),
    Column("field", Id),
    Column("value", Text, nullable=False),
    Column("at", Id, nullable=False),
    Column("by", Text, nullable=False),
    PrimaryKeyConstraint("canonical_id", "field"),
)
"""A steward's ruling on one field: it beats every claim that is not newer."""

reviews = Table(
    "reviews",
    metadata,
    Column("id", Id, primary_key=True),
    Column("kind", Id, nullable=False),
    Column("a", Id, nullable=False),
    Column("b", Id, nullable=False),
    Column("reasons", Text, nullable=False),
    Column("state", Id, nullable=False),
    Column("opened_at", Id, nullable=False),
    Column("closed_at", Id),
    Column("closed_by", Id),
    UniqueConstraint("a", "b"),
    Index(None, "state"),
    Index(None, "b"),
)
"""Are these two canonical records the same? state: open, same, different. A ruling is permanent evidence."""

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("connection", Id),
    Column("resource", Id),
    Column("vendor_id", Id),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("why", Text, nullable=False),
    Column("remedy", Text, nullable=False),
    Column("at", Id, nullable=False),
    PrimaryKeyConstraint("connection", "resource", "vendor_id"),
)
"""A pulled record that could not be taken in, with the reason. It leaves by being read again without fault."""

runs = Table(
    "runs",
    metadata,
    Column("id", Id, primary_key=True),
    Column("connection", Id, nullable=False),
    Column("resource", Id, nullable=False),
    Column("activity", Id, nullable=False),
    Column("started_at", Id, nullable=False),
    Column("ended_at", Id),
    Column("pulled", Integer, nullable=False, default=0),
    Column("changed", Integer, nullable=False, default=0),
    Column("unchanged", Integer, nullable=False, default=0),
    Column("conflict", Integer, nullable=False, default=0),
    Column("held", Integer, nullable=False, default=0),
    Column("dead", Integer, nullable=False, default=0),
    Column("written", Integer, nullable=False, default=0),
    Column("requests", Integer, nullable=False, default=0),
    Column("problem", Text),
    Index(None, "connection", "resource", "started_at"),
)
"""One stretch of work: pull, deliver or sweep. pulled = changed + unchanged + conflict + held + dead, always."""

"""Tables and the statements that touch them. The same SQLAlchemy Core code runs on SQLite and PostgreSQL."""

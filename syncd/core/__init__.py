"""Decisions: values in, values out. No clock, randomness, database, HTTP or environment in this package."""

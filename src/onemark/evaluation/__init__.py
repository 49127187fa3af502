"""Scores against the truth, and the report of a run."""

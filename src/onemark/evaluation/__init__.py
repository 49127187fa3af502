"""Scores against the truth, and the report."""

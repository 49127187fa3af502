"""Predict an archive: a cohort in shards, each written as a part when it is done, and joined into one table."""

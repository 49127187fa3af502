"""Selectors: which radiographs are worth a person's time."""

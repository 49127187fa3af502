"""Refiners: they move coarse landmarks to where the full resolution puts them."""

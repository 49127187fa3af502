"""Shapes: what is left of landmarks without place, size and turn."""

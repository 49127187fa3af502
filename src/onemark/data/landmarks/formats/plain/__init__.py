"""Formats of bare points, one radiograph or specimen after the other."""

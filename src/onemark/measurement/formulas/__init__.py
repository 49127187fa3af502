"""Formulas over landmarks: grammar, kinds, and values with their slopes."""

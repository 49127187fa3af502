"""Heatmaps: targets, peaks and the shape prior that chooses among peaks."""

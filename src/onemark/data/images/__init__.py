"""Radiographs: one reader for each family of image formats."""

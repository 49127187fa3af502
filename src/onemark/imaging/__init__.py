"""Geometry and augmentation of images and points, always both together."""

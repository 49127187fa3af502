"""DICOM: pixels, tags, windows, spacing, and files that other programs left incomplete."""

from onemark.data.images.dicom.reader import read_geometry, read_header, read_identity, read_values

__all__ = ["read_geometry", "read_header", "read_identity", "read_values"]

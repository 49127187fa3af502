"""Landmark tables and the file formats that hold them."""

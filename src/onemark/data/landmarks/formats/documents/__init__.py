"""Formats of JSON and XML."""

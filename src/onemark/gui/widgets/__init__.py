"""Building blocks of the panel."""

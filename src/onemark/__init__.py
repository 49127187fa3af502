"""Mark one X-ray; onemark marks the rest."""

__version__ = "0.1.0"

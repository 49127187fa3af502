"""CC2D-SSL: cascade comparison of self-supervised embeddings."""

from onemark.match.cc2d.config import CC2DConfig
from onemark.match.cc2d.matcher import CC2D

__all__ = ["CC2D", "CC2DConfig"]

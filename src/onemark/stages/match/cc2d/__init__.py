"""CC2D-SSL: cascade comparison of self-supervised embeddings."""

from onemark.stages.match.cc2d.config import CC2DConfig
from onemark.stages.match.cc2d.matcher import CC2D

__all__ = ["CC2D", "CC2DConfig"]

"""CC2D-TPL: detection from pseudo-labels."""

from onemark.detect.tpl.config import TPLConfig
from onemark.detect.tpl.detector import TPL

__all__ = ["TPL", "TPLConfig"]

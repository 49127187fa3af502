"""CC2D-TPL: detection from pseudo-labels."""

from onemark.stages.detect.tpl.config import TPLConfig
from onemark.stages.detect.tpl.detector import TPL

__all__ = ["TPL", "TPLConfig"]

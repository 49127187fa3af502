"""C2T: two detectors that teach each other which pseudo-labels to trust."""

from onemark.stages.detect.c2t.config import C2TConfig
from onemark.stages.detect.c2t.detector import C2T

__all__ = ["C2T", "C2TConfig"]

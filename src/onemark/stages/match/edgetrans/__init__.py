"""EdgeTrans, stage I: learned registration of an exemplar with every radiograph."""

from onemark.stages.match.edgetrans.config import EdgeTransConfig
from onemark.stages.match.edgetrans.matcher import EdgeTrans

__all__ = ["EdgeTrans", "EdgeTransConfig"]

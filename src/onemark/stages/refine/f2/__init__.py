"""F2: refines coarse landmarks in crops of full resolution."""

from onemark.stages.refine.f2.config import F2Config
from onemark.stages.refine.f2.refiner import F2

__all__ = ["F2", "F2Config"]

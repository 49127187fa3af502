"""Groupwise registration: carry the exemplars' landmarks to a cohort without training anything."""

from onemark.stages.match.groupwise.config import GroupwiseConfig
from onemark.stages.match.groupwise.matcher import Groupwise

__all__ = ["Groupwise", "GroupwiseConfig"]

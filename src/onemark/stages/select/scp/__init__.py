"""SCP: the radiographs in which the most of the others is found again."""

from onemark.stages.select.scp.config import SCPConfig
from onemark.stages.select.scp.selector import SCP

__all__ = ["SCP", "SCPConfig"]

"""SCP: chooses the radiographs in which most of the others can be found again."""

from onemark.stages.select.scp.config import SCPConfig
from onemark.stages.select.scp.selector import SCP

__all__ = ["SCP", "SCPConfig"]

"""SCP: the radiographs in which the most of the others is found again."""

from onemark.select.scp.config import SCPConfig
from onemark.select.scp.selector import SCP, Choice

__all__ = ["SCP", "Choice", "SCPConfig"]

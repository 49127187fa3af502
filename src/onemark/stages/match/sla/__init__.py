"""SLA, ATD and C-Adapter: a decoder for each landmark on a shared frozen encoder."""

from onemark.stages.match.sla.config import SLAConfig
from onemark.stages.match.sla.matcher import SLA

__all__ = ["SLA", "SLAConfig"]

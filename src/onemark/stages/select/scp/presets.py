"""Preset of the selector SCP: its published search (docs/recipes/scp.md)."""

from __future__ import annotations

from onemark.stages.presets import Preset

PUBLISHED: Preset = {"search": "random"}

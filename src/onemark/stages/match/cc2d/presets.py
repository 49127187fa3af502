"""Presets of the matcher CC2D: its published form (docs/recipes/cc2d.md) and the finer canvas for longer budgets."""

from __future__ import annotations

from onemark.stages.presets import VGG, Preset

# 384 x 480 px on cephalograms instead of 256 x 320: 2.160 -> 2.115 mm (docs/benchmarks/what-was-tried.md).
FINE: Preset = {"area": 184_320, "grow": 0.5, "cross_from": 0.15}

# Where paper and released code differ, the values are the paper's; the temperature stands in the code only.
PUBLISHED: Preset = {
    **VGG,
    "task": "patch",
    "patch": 192,
    # The released code has one for both.
    "extractors": "two",
    "context": "aspp",
    "length": 16,
    "temperature": 10.0,
    # The paper has none; the released code adds 0.07 per cell, at most 0.8.
    "distance_bias": 0.0,
    # The paper's arg-max over templates.
    "several": "best",
    "anchors": 1,
    "window": 9,  # alpha = 19 cells
    "cascade": "product",
    "batch": 8,
    "steps": 66_500,  # 3500 epochs of 150 radiographs, 8 at a time
    "rate": 1e-3,
    "schedule": "halving",
}

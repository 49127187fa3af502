"""Presets of the detector TPL: its published form (docs/recipes/cc2d.md) and the finer canvas for longer budgets."""

from __future__ import annotations

from onemark.stages.presets import VGG, Preset

# Behind the matcher on the same canvas: 1.974 -> 1.958 mm, 63.4 -> 67.8 % within 2 mm.
FINE: Preset = {"area": 184_320, "enlarge": 1.0}

PUBLISHED: Preset = {
    **VGG,
    "enlarge": 1.0,
    "head": "voting",
    "disc": 0.05,
    "loss": "bce",
    "heat_weight": 1.0,
    # The released code builds it and never applies it.
    "augment": "jitter",
    # Published training trusts every pseudo-label.
    "drop": 0.0,
    "batch": 16,
    "steps": 3_000,  # 300 epochs of 150 radiographs; a batch is 15 of them and the exemplar
    "rate": 3e-4,
    "schedule": "tenths",  # the paper does not say how the rate falls; this is the released code's way
}

"""Presets of the detector C2T: its published form (docs/recipes/c2t.md) and the finer canvas for longer budgets."""

from __future__ import annotations

from onemark.stages.presets import ALL, Preset

FINE: Preset = {"area": 184_320}

PUBLISHED: Preset = {
    "encoder": "hrnet_w18",
    "weights": "imagenet",
    "area": 320 * 256,
    "loss": "square",
    "sigma": 12.0,  # 3 cells of 4 px
    "views": "pair",
    "augment": "affine",
    "strength": 1.0,
    "drop": 0.8,  # the share left out, as in the paper's text and the code; its Alg. 1 keeps that share
    "doubt": 0.3,
    "cross": 1.0,
    "detach": False,
    "exemplar": 1.0,
    "batch": 6,
    "steps": 3_000,  # 100 epochs of 150 radiographs; a batch is 5 of them and the exemplar
    "rate": 1e-3,
    "optimizer": "adam",
    "schedule": "plateau",
    "pool": ALL,
    "framing": "alike",
}

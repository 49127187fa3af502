"""Presets of the matcher EdgeTrans: its published form (docs/recipes/edgetrans.md) and the finer canvas."""

from __future__ import annotations

from onemark.stages.presets import ALL, Preset

FINE: Preset = {"area": 81_920}

PUBLISHED: Preset = {
    "encoder": "hrnet_w18",
    "weights": "imagenet",
    "pairing": "joint",
    "area": 320 * 256,
    "width": 64,
    "layers": 2,
    "dropout": 0.1,
    "fine": "windows",
    "passes": 2,
    "passes_located": 2,  # the paper's; the released code infers with 4
    "coarse_passes": 0,
    "field_stride": 2,
    "batch": 10,
    "steps": 11_250,  # 750 epochs of 150 radiographs, 10 at a time
    "rate": 1e-4,
    "optimizer": "adam",
    "schedule": "late",
    "pool": ALL,
    "partners": "shuffled",
    "synthesis": "published",
    "miss": "squared",
    "w_synthetic": 5.0,  # at the start of the released code's schedule
    "w_similarity": 0.25,
    "w_focus": 0.5,
    "w_smooth": 1.0,
    "w_inverse": 0.0,  # the code's "L_inv" is the weight of the similarity both ways, not a loss of its own
    "local_ramp": 1 / 3,  # until epoch 250 of 750
    "synthetic_until": 350 / 750,
    "focus_from": 200 / 750,
    "renew": 1.0,
    "memory": 0.9,
    "compare": 1,
    "several": "best",
}

"""Presets of the matcher SLA: the three published forms (docs/recipes/sla.md) and the finer canvas."""

from __future__ import annotations

from onemark.stages.presets import VGG, Preset

FINE: Preset = {"area": 184_320, "grow": 0.5}

PUBLISHED_SLA: Preset = {
    **VGG,
    "views": "patches",
    "before": 0.0,
    "start": "random",
    "context": "rfb",
    "patch": 192,
    "length": 16,
    # The paper is silent on these; they are CC2D's.
    "temperature": 10.0,
    "window": 9,
    "copies": 0,
    "several": "best",
    "cross": 0.0,
    "batch": 8,
    "epochs": 300,
    "steps": 5_700,  # 300 epochs of 150 radiographs, 8 at a time
    "rate": 1e-4,
    "schedule": "halving",
}
# Each epoch begins with 500 copies of the exemplar: 63 of its 82 batches of 8.
PUBLISHED_ATD: Preset = {**PUBLISHED_SLA, "template": 63 / 82, "steps": 24_600}
PUBLISHED_ADAPTER: Preset = {**PUBLISHED_ATD, "decoders": "adapter", "adapter": 16}

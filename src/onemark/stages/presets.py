"""What the published methods on VGG19 share. The presets of each method lie next to its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Preset = Mapping[str, Any]
"""Field of a stage's Config -> value, where a preset differs from the defaults."""

ALL = 1_000_000  # of `pool`: more than any cohort, because the papers learn from every radiograph

VGG: Preset = {
    "encoder": "vgg19",
    "weights": "imagenet",
    "area": 384 * 384,  # the papers' square canvas; here it takes the cohort's aspect
    "grow": 0.0,
    "optimizer": "adam",
    "peak": "argmax",
    "pool": ALL,
    "framing": "alike",
}

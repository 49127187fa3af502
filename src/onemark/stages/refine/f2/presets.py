"""Presets of the refiner F2: FM-OSD's fine stage (docs/recipes/f2.md) and the finer canvas for longer budgets."""

from __future__ import annotations

from onemark.stages.presets import ALL, Preset

# The priors are the default's in mm; 1.947 -> 1.913 mm behind an hour's run (docs/benchmarks/refiner.md).
FINE: Preset = {"area": 737_280, "prior": 7.5, "match_prior": 3.0}

PUBLISHED: Preset = {
    "encoder": "dino",
    "weights": "imagenet",
    "learn": "exemplar",
    "area": 1935 * 2400,  # the cephalograms' own pixels
    "crop": 224,
    "match_prior": 100_000.0,  # none: the crop is the only bound
    "top": 3,
    # The released code stops at the 20th step by the test error; here the last step counts.
    "steps": 1_000,
    "rate": 2e-4,
    "batch": 8,
    "sigma": 2.0,
    "strength": 0.5,
    "shift": 29.0,  # standard deviation of the uniform shift of up to 50 px
    "pool": ALL,
}

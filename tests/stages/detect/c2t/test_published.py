"""The published configuration of C2T, and how its rate falls."""

from __future__ import annotations

import pytest

from onemark.nn.training.schedule import Plan
from onemark.options import from_settings
from onemark.pipeline.recipes import get_recipe
from onemark.stages.detect.c2t import C2T, C2TConfig, presets


def test_the_rate_falls_to_a_tenth_twice_late():
    plan = Plan(100, rate=1e-3, schedule="plateau")
    rates = [plan.rate_at(fraction) for fraction in (0.0, 0.59, 0.61, 0.79, 0.81, 1.0)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])


def test_the_published_settings_are_those_of_the_stage():
    config = from_settings(C2TConfig, presets.PUBLISHED, "detect.")
    assert (config.encoder, config.views, config.loss, config.drop) == ("hrnet_w18", "pair", "square", 0.8)
    assert config.sigma == 3 * 4  # three cells
    assert not config.detach


def test_it_stands_between_the_matcher_and_the_refiner_of_match_detect_refine():
    recipe = get_recipe("onemark-c2t")
    assert recipe.slots == get_recipe("match-detect-refine").slots | {"detect": C2T}
    slow, fast = (recipe.configure(minutes=minutes)["detect"].area for minutes in (60, 10))
    assert slow > fast

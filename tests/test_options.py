from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onemark import RECIPES, UserError
from onemark.options import check_budget_and_seed, from_settings, option, settings_of


@dataclass(frozen=True)
class Config:
    steps: int = option(10, "steps to do", unit="steps", low=1, high=500)
    rate: float = option(0.5, "how fast", low=0, high=1)
    free: float = option(0.0, "any number")
    fast: bool = option(False, "hurry")
    head: Literal["heatmap", "voting"] = option("heatmap", "what it looks at")
    weights: str = option("none", "a file")
    stride: Literal[2, 4] = option(4, "how far apart", unit="px")


@given(
    steps=st.integers(1, 500),
    rate=st.floats(0, 1),
    free=st.floats(allow_nan=False, allow_infinity=False),
    fast=st.booleans(),
    head=st.sampled_from(["heatmap", "voting"]),
    weights=st.text(),
    stride=st.sampled_from([2, 4]),
)
def test_settings_come_back_through_json_and_as_words(**values: Any):
    config = Config(**values)
    assert from_settings(Config, json.loads(json.dumps(settings_of(config)))) == config
    assert from_settings(Config, {name: str(value) for name, value in settings_of(config).items()}) == config


def test_what_is_not_given_keeps_its_default():
    assert from_settings(Config, {}) == Config()
    assert from_settings(Config, {"rate": "0.25"}) == dataclasses.replace(Config(), rate=0.25)


@pytest.mark.parametrize("word", ["true", "True", "yes", "1"])
def test_words_for_yes(word: str):
    assert from_settings(Config, {"fast": word}).fast is True
    assert (
        from_settings(Config, {"fast": {"true": "false", "yes": "no"}.get(word.lower(), "0")}).fast is False
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"steps": 0}, "match.steps must be at least 1 steps, not 0"),
        ({"steps": "501"}, "match.steps must be at most 500 steps, not 501"),
        ({"steps": "ten"}, "match.steps must be a whole number, not 'ten'"),
        ({"steps": 2.5}, "match.steps must be a whole number, not 2.5"),
        ({"steps": None}, "match.steps must be a whole number, not None"),
        ({"steps": float("inf")}, "match.steps must be a whole number, not inf"),
        ({"rate": -0.1}, "match.rate must be at least 0, not -0.1"),
        ({"rate": "nan"}, "match.rate must be a number, not 'nan'"),
        ({"free": "inf"}, "match.free must be a number, not 'inf'"),
        ({"free": []}, r"match.free must be a number, not \[\]"),
        ({"fast": "perhaps"}, "match.fast must be yes or no, not 'perhaps'"),
        ({"head": "tail"}, "match.head must be one of heatmap, voting, not 'tail'"),
        ({"speed": 3}, "unknown setting match.speed; this recipe has match.steps, match.rate"),
    ],
)
def test_wrong_settings_are_one_sentence(settings: dict[str, Any], said: str):
    with pytest.raises(UserError, match=said) as caught:
        from_settings(Config, settings, "match.")
    assert "\n" not in str(caught.value)


def test_whole_floats_are_whole_numbers():
    steps = from_settings(Config, {"steps": 20.0}).steps
    assert steps == 20
    assert isinstance(steps, int)


def test_every_option_of_every_stage_has_help_and_a_default_in_range():
    for recipe in RECIPES.values():
        for slot, config in recipe.configure().items():
            assert from_settings(type(config), settings_of(config), f"{slot}.") == config
            for field in dataclasses.fields(config):
                assert len(field.metadata["help"]) > 5, (recipe.name, slot, field.name)
                assert {"unit", "low", "high"} <= field.metadata.keys()


@pytest.mark.parametrize("seed", [10**20, -(10**18)])
def test_a_seed_too_large_for_torch_is_refused(seed: int):
    with pytest.raises(UserError, match=r"seed must be a whole number of at most 18 digits, not "):
        check_budget_and_seed(None, seed)
    check_budget_and_seed(None, 10**18 - 1)

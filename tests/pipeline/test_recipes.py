from __future__ import annotations

import dataclasses

import pytest

from onemark import RECIPES, UserError
from onemark.options import settings_of
from onemark.pipeline.recipe import UNHURRIED_MINUTES, Recipe
from onemark.pipeline.recipes import get_recipe


def test_the_default_is_there_and_needs_no_pretrained_weights():
    configs = get_recipe("onemark").configure()
    assert list(configs) == ["match", "register", "detect", "refine"]
    assert not get_recipe("onemark").pretrained(configs)


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_recipe_is_whole(name: str):
    recipe = get_recipe(name)
    assert recipe.name == name
    assert recipe.title
    assert "\n" not in recipe.title
    assert recipe.slots.keys() == recipe.shares.keys() == recipe.configure().keys()
    assert sum(recipe.shares.values()) == pytest.approx(1)
    assert next(iter(recipe.slots)) == "match"
    for slot, stage in recipe.slots.items():
        assert dataclasses.is_dataclass(stage.Config)
        answer = "refine" if slot == "refine" else "locate"
        assert all(callable(getattr(stage, name)) for name in ("fit", answer, "explain", "state", "restore"))


@pytest.mark.parametrize("name", ["", "Onemark", "magic", "../onemark"])
def test_an_unknown_recipe_is_told_what_there_is(name: str):
    with pytest.raises(UserError, match=r"unknown recipe .* choose one of onemark, ") as caught:
        get_recipe(name)
    assert all(known in str(caught.value) for known in RECIPES)


def test_the_users_settings_win_over_the_recipes_and_these_over_the_stages():
    stages = RECIPES["onemark"].slots
    recipe = Recipe("mine", "mine", stages, {"match.steps": 7, "detect.batch": 3}, RECIPES["onemark"].shares)
    plain = RECIPES["onemark"].configure()
    configs = recipe.configure({"match.length": "16", "detect.batch": 5})
    assert (configs["match"].steps, configs["match"].length, configs["detect"].batch) == (7, 16, 5)
    assert configs["detect"].steps == plain["detect"].steps
    assert RECIPES["onemark"].configure({}) == plain


def test_there_is_time_for_finer_canvases_in_a_long_budget():
    recipe = RECIPES["onemark"]
    hurried, unhurried = recipe.configure({}, UNHURRIED_MINUTES - 1), recipe.configure({}, UNHURRIED_MINUTES)
    assert hurried == recipe.configure()
    assert unhurried["match"].area > hurried["match"].area
    assert recipe.configure({"match.area": 5000}, UNHURRIED_MINUTES)["match"].area == 5000


def test_what_a_run_stores_configures_it_again():
    for recipe in RECIPES.values():
        for minutes in (None, 1.0, 600.0):
            configs = recipe.configure({"match.pool": 3}, minutes)
            stored = {f"{slot}.{k}": v for slot, c in configs.items() for k, v in settings_of(c).items()}
            assert recipe.configure(stored) == configs


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (
            "steps",
            "unknown setting steps: recipe onemark has settings match.NAME or register.NAME or detect.NAME",
        ),
        ("match", "unknown setting match: recipe onemark"),
        ("look.steps", "unknown setting look.steps: recipe onemark"),
        ("match.speed", "unknown setting match.speed; this recipe has match.area"),
        ("select.bogus", "unknown setting select.bogus; this recipe has select."),
        ("match.steps.more", "unknown setting match.steps.more"),
        (".steps", "unknown setting .steps: recipe onemark"),
    ],
)
def test_an_unknown_setting_is_told_what_there_is(setting: str, said: str):
    with pytest.raises(UserError, match=said):
        RECIPES["onemark"].configure({setting: 1})

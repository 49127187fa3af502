"""Recipes, their settings and suggestions as lines of text."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from onemark.pipeline.recipes import RECIPES, get_recipe

if TYPE_CHECKING:
    from pathlib import Path

    from onemark.data.questions import Questions
    from onemark.data.suggestion import Suggestion
    from onemark.stages.config import StageConfig
    from onemark.stages.selector import SelectorConfig


def describe_questions(questions: Questions, path: Path) -> list[str]:
    """Return one line for each question, and what to do with the file that holds them."""
    rows = [
        (one.image, one.landmark, f"{one.x:.1f}, {one.y:.1f}", f"+- {one.expected_error:.2f} {one.unit}")
        for one in questions
    ]
    return [
        *align_columns(rows),
        f"fill in {path}, then: onemark resume {questions.run} --exemplar {path}",
    ]


def list_recipes() -> list[str]:
    """Return one line per recipe: name and title, and the package of those that are not onemark's."""
    rows = []
    for name, recipe in RECIPES.items():
        origin = "" if recipe.origin == "onemark" else f" (from {recipe.origin})"
        rows.append((name, recipe.title + origin))
    return align_columns(rows)


def list_settings(name: str) -> list[str]:
    """Return one line per setting of a recipe: name=default, allowed values with their unit, help.

    Raises:
        UserError: there is no recipe of that name.
    """
    rows = []
    recipe = get_recipe(name)
    groups: dict[str, SelectorConfig | StageConfig] = {"select": recipe.configure_selector()}
    for slot, config in {**groups, **recipe.configure()}.items():
        hints = get_type_hints(type(config))
        for field in dataclasses.fields(config):
            default = f"{slot}.{field.name}={getattr(config, field.name)}"
            rows.append(
                (default, describe_allowed(hints[field.name], field.metadata), field.metadata["help"])
            )
    return align_columns(rows)


def describe_allowed(kind: Any, meta: Mapping[str, Any]) -> str:
    """Describe the values that a setting takes, such as `1...1024 radiographs` or `compact | vgg19`."""
    if get_args(kind):
        return " | ".join(map(str, get_args(kind)))
    if kind is bool:
        return "yes | no"
    low, high = meta["low"], meta["high"]
    # .10g writes 1000000 and not 1e+06, and 0.3 without its rounding error.
    if low is not None and high is not None:
        span = f"{low:.10g}...{high:.10g}"
    elif low is not None or high is not None:
        span = f"at least {low:.10g}" if high is None else f"at most {high:.10g}"
    else:
        span = {int: "a whole number", float: "a number"}.get(kind, "text")
    return f"{span} {meta['unit']}".rstrip()


def describe_suggestion(suggestion: Suggestion, limit: int = 10) -> list[str]:
    """Say what to annotate, which `limit` radiographs would serve best alone, and how to continue."""
    chosen = ", ".join(suggestion.chosen)
    lines = [f"annotate {chosen} (similarity {suggestion.score:.3f})", ""]
    ranked = [
        (f"{place}.", name, f"{value:.3f}")
        for place, (name, value) in enumerate(suggestion.ranking[:limit], 1)
    ]
    lines += align_columns([("", "alone", "similarity"), *ranked])
    if suggestion.run is not None:
        lines += ["", f"then: onemark fit --resume {suggestion.run} --exemplar exemplar.csv"]
    return lines


def align_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Format rows of equal length as lines, with columns two blanks apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]

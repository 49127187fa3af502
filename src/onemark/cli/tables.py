"""Recipes and their settings as lines of text, derived from the Config dataclasses."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from onemark.pipeline import recipes

if TYPE_CHECKING:
    from onemark.pipeline.suggest import Suggestion


def recipe_lines() -> list[str]:
    """One line per recipe: name and title."""
    return aligned([(name, recipe.title) for name, recipe in recipes.RECIPES.items()])


def setting_lines(name: str) -> list[str]:
    """One line per setting of a recipe: name=default, unit, what is allowed, help.

    Raises:
        UserError: no recipe of that name.
    """
    rows = []
    recipe = recipes.get(name)
    for slot, config in {"select": recipe.selecting(), **recipe.configure()}.items():
        hints = get_type_hints(type(config))
        for field in dataclasses.fields(config):
            default = f"{slot}.{field.name}={getattr(config, field.name)}"
            rows.append((default, allowed(hints[field.name], field.metadata), field.metadata["help"]))
    return aligned(rows)


def allowed(kind: Any, meta: Mapping[str, Any]) -> str:
    """What a setting takes, such as `1...1024 radiographs`, `at least 1 steps` or `compact | vgg19`."""
    if get_args(kind):
        return " | ".join(map(str, get_args(kind)))
    if kind is bool:
        return "yes | no"
    low, high = meta["low"], meta["high"]
    if low is not None and high is not None:
        span = f"{low:.10g}...{high:.10g}"
    elif low is not None or high is not None:
        span = f"at least {low:.10g}" if high is None else f"at most {high:.10g}"
    else:
        span = {int: "a whole number", float: "a number"}.get(kind, "text")
    return f"{span} {meta['unit']}".rstrip()


def suggestion_lines(found: Suggestion, most: int = 10) -> list[str]:
    """What to mark, the radiographs that would serve best alone, and how to go on."""
    mark = ", ".join(found.chosen)
    lines = [f"mark {mark} (similarity {found.score:.3f})", ""]
    ranked = [
        (f"{place}.", name, f"{value:.3f}") for place, (name, value) in enumerate(found.ranking[:most], 1)
    ]
    lines += aligned([("", "alone", "similarity"), *ranked])
    if found.run is not None:
        lines += ["", f"then: onemark fit --resume {found.run} --exemplar exemplar.csv"]
    return lines


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows as lines, columns two blanks apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]

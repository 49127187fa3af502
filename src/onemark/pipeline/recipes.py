"""The recipes that onemark ships, and those of other packages.

A package adds recipes through the entry-point group `onemark.recipes`: each entry point names a `Recipe`, or a list of
them. docs/add-a-method.md walks through one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from onemark.pipeline.recipe import Recipe
from onemark.stages.base import DETECT, MATCH, REFINE, REGISTER, SELECT
from onemark.stages.detect.c2t import C2T
from onemark.stages.detect.c2t import presets as c2t
from onemark.stages.detect.tpl import TPL
from onemark.stages.detect.tpl import presets as tpl
from onemark.stages.match.cc2d import CC2D
from onemark.stages.match.cc2d import presets as cc2d
from onemark.stages.match.edgetrans import EdgeTrans
from onemark.stages.match.edgetrans import presets as edgetrans
from onemark.stages.match.groupwise import Groupwise
from onemark.stages.match.sla import SLA
from onemark.stages.match.sla import presets as sla
from onemark.stages.refine.f2 import F2
from onemark.stages.refine.f2 import presets as f2
from onemark.stages.select.scp import presets as scp
from onemark.types import UserError

GROUP = "onemark.recipes"
"""The entry-point group through which other packages add recipes."""

WITH_REFINER = {MATCH: 0.5, DETECT: 0.4, REFINE: 0.1}
# Registration is as exact as a matcher that trained for minutes, and both together are better than either. A matcher that
# cannot make enough steps is trained a little all the same, which starts the detector well. What stages do not need of
# their shares goes to those after them.
REGISTERED = {MATCH: 0.35, REGISTER: 0.29, DETECT: 0.29, REFINE: 0.07}
HURRIED = {f"{MATCH}.hurried": 0.29}
LONG_MATCHER = {MATCH: 0.85, DETECT: 0.15}
ALONE = {MATCH: 1.0}


def _at(slot: str, preset: Mapping[str, Any]) -> dict[str, Any]:
    """A method's preset as settings of a slot."""
    return {f"{slot}.{name}": value for name, value in preset.items()}


_FINE = _at(MATCH, cc2d.FINE) | _at(DETECT, tpl.FINE)
_FINE_REFINED = _FINE | _at(REFINE, f2.FINE)
_CC2D = _at(MATCH, cc2d.PUBLISHED) | _at(DETECT, tpl.PUBLISHED)

_SHIPPED = (
    Recipe(
        "onemark",
        "matcher and registration label the cohort for detector and refiner; the default",
        {MATCH: CC2D, REGISTER: Groupwise, DETECT: TPL, REFINE: F2},
        HURRIED,
        shares=REGISTERED,
        unhurried=_FINE_REFINED,
    ),
    Recipe(
        "match-detect-refine",
        "compact matcher, detector and refiner, without registration",
        {MATCH: CC2D, DETECT: TPL, REFINE: F2},
        shares=WITH_REFINER,
        unhurried=_FINE_REFINED,
    ),
    Recipe(
        "match-detect",
        "the compact matcher and detector, without the look at full resolution",
        {MATCH: CC2D, DETECT: TPL},
        unhurried=_FINE,
    ),
    Recipe(
        "onemark-c2t",
        "match-detect-refine with two detectors that teach each other which pseudo-labels to trust",
        {MATCH: CC2D, DETECT: C2T, REFINE: F2},
        shares=WITH_REFINER,
        unhurried=_at(MATCH, cc2d.FINE) | _at(DETECT, c2t.FINE) | _at(REFINE, f2.FINE),
    ),
    Recipe(
        "cc2d",
        "CC2D as published (Yao et al. 2021): patches, then votes; ImageNet weights, made for a GPU",
        {MATCH: CC2D, DETECT: TPL},
        _CC2D,
        LONG_MATCHER,
    ),
    Recipe(
        "scp",
        "CC2D as published, with exemplars chosen as SCP does (Quan et al. 2022); made for a GPU",
        {MATCH: CC2D, DETECT: TPL},
        _CC2D | _at(SELECT, scp.PUBLISHED),
        LONG_MATCHER,
    ),
    Recipe("match-only", "the compact matcher alone", {MATCH: CC2D}, shares=ALONE),
    Recipe(
        "cc2d-sla",
        "CC2D with a decoder for each landmark (He et al. 2025); ImageNet weights, made for a GPU",
        {MATCH: SLA},
        _at(MATCH, sla.PUBLISHED_SLA),
        ALONE,
    ),
    Recipe(
        "sla-atd",
        "the same, first learning from changed copies of the exemplar (He et al. 2025); made for a GPU",
        {MATCH: SLA},
        _at(MATCH, sla.PUBLISHED_ATD),
        ALONE,
    ),
    Recipe(
        "c-adapter",
        "the same with one decoder and small adapters for each landmark (He et al. 2025); made for a GPU",
        {MATCH: SLA},
        _at(MATCH, sla.PUBLISHED_ADAPTER),
        ALONE,
    ),
    Recipe(
        "c-f2",
        "the same, then FM-OSD's fine stage (Miao et al. 2024); ImageNet and DINO weights, made for a GPU",
        {MATCH: SLA, REFINE: F2},
        _at(MATCH, sla.PUBLISHED_ADAPTER) | _at(REFINE, f2.PUBLISHED),
        {MATCH: 0.9, REFINE: 0.1},
    ),
    Recipe(
        "sla-compact",
        "the compact matcher, then a small decoder for each landmark on its frozen network",
        {MATCH: SLA},
        shares=ALONE,
        unhurried=_at(MATCH, sla.FINE),
    ),
    Recipe(
        "edgetrans",
        "EdgeTrans as published (Yin et al. 2022): learned registration, co-teaching; ImageNet weights, made for a GPU",
        {MATCH: EdgeTrans, DETECT: C2T},
        _at(MATCH, edgetrans.PUBLISHED) | _at(DETECT, c2t.PUBLISHED),
        LONG_MATCHER,
    ),
    Recipe(
        "edgetrans-compact",
        "learned registration in a compact form, without pretrained weights, and a detector",
        {MATCH: EdgeTrans, DETECT: TPL},
        unhurried=_at(MATCH, edgetrans.FINE) | _at(DETECT, tpl.FINE),
    ),
    Recipe(
        "edgetrans-match-only",
        "the compact registration alone",
        {MATCH: EdgeTrans},
        shares=ALONE,
        unhurried=_at(MATCH, edgetrans.FINE),
    ),
    Recipe(
        "groupwise",
        "registration of a few radiographs that must agree: no training, seconds for a folder of ten",
        {MATCH: Groupwise},
        shares=ALONE,
    ),
)


class RecipeBook(Mapping[str, Recipe]):
    """All recipes by name: those of onemark first, then those of other packages, which are loaded when first asked for.

    A package that cannot be imported, or whose recipe is faulty, takes nothing else with it: `problems` names it.

    Args:
        shipped: The recipes of onemark.
    """

    def __init__(self, shipped: Iterable[Recipe]) -> None:
        self._recipes = {recipe.name: recipe for recipe in shipped}
        self._problems: list[str] = []
        self._loaded = False
        self._lock = threading.Lock()

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence for each entry point that was skipped."""
        self._load()
        return tuple(self._problems)

    def __getitem__(self, name: str) -> Recipe:
        if name not in self._recipes:
            self._load()
        return self._recipes[name]

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(tuple(self._recipes))

    def __len__(self) -> int:
        self._load()
        return len(self._recipes)

    def _load(self) -> None:
        # The window asks from several threads, and an import must not run twice.
        with self._lock:
            if not self._loaded:
                for entry in entry_points(group=GROUP):
                    self._add(entry)
                self._loaded = True

    def _add(self, entry: EntryPoint) -> None:
        origin = entry.dist.name if entry.dist is not None else entry.module
        try:
            loaded = entry.load()
            for recipe in [loaded] if isinstance(loaded, Recipe) else list(loaded):
                if recipe.name in self._recipes:
                    raise UserError(f"another recipe is called {recipe.name} already")
                self._recipes[recipe.name] = replace(recipe, origin=origin)
        except Exception as error:  # whatever a stranger's package raises, the other recipes must work
            self._problems.append(
                f"{origin} was skipped: its recipes ({entry.value}) do not load ({type(error).__name__}: {error}); "
                f"update or remove that package"
            )


RECIPES = RecipeBook(_SHIPPED)


def get_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        UserError: there is none.
    """
    if name not in RECIPES:
        raise UserError(
            "\n".join([f"unknown recipe {name!r}: choose one of {', '.join(RECIPES)}", *RECIPES.problems])
        )
    return RECIPES[name]

"""The one seam between the window and the work: everything heavy is asked for here, and always off the GUI thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from onemark.progress import Sink
from onemark.types import Evidence, LandmarkSet, Radiograph

if TYPE_CHECKING:
    from onemark.io.cohort import Cohort
    from onemark.io.landmarks import LandmarkTable


@dataclass(frozen=True)
class RecipeInfo:
    """What the form needs to know of a recipe.

    Attributes:
        name: Its key, such as `onemark`.
        title: One line for people.
        configs: Slot, such as `match`, -> the Config dataclass of its stage.
        minutes: Suggested time budget, or None when the recipe has its own epochs.
    """

    name: str
    title: str
    configs: Mapping[str, type] = field(default_factory=dict)
    minutes: float | None = None


@dataclass(frozen=True)
class Order:
    """A snapshot of everything a training needs; what the person does meanwhile cannot change it.

    Attributes:
        cohort: The radiographs.
        exemplars: The person's points.
        out: The run folder.
        recipe: Key of the recipe.
        minutes: Time budget, or None.
        device: `auto`, `cpu`, `cuda` or `mps`.
        settings: `slot.field` -> value, where it differs from the default.
        resume: Go on with the run in `out` instead of starting a new one.
    """

    cohort: Cohort
    exemplars: LandmarkTable
    out: Path
    recipe: str = "onemark"
    minutes: float | None = None
    device: str = "auto"
    settings: Mapping[str, object] = field(default_factory=dict)
    resume: bool = False


class Trained(Protocol):
    """A fitted model, as far as the window uses it."""

    def predict(self, cohort: Cohort, progress: Sink = ...) -> LandmarkTable:
        """Landmarks on every radiograph."""

    def explain(self, radiograph: Radiograph, landmark: str | None = None) -> Evidence:
        """What the model can show for one landmark."""


class Backend(Protocol):
    """What the window asks for. Tests put their own in its place."""

    def recipes(self) -> Sequence[RecipeInfo]:
        """The recipes, the default first."""

    def devices(self) -> Mapping[str, str]:
        """Choice -> one line that says what it means here."""

    def train(self, order: Order, progress: Sink) -> Trained:
        """Fit, or resume, and save the run."""

    def load(self, run: Path) -> Trained:
        """Open a finished run."""


class Pipeline:
    """The backend of the product: `onemark.pipeline`, imported when first needed because it brings torch."""

    def recipes(self) -> Sequence[RecipeInfo]:
        """See `Backend`."""
        from onemark.recipes import RECIPES

        return [_info(name, recipe) for name, recipe in RECIPES.items()]

    def devices(self) -> Mapping[str, str]:
        """See `Backend`."""
        from onemark.nn.device import DEVICES, describe
        from onemark.types import UserError

        found = {}
        for device in DEVICES:
            try:
                found[device] = describe(device)
            except UserError:
                continue
        return found

    def train(self, order: Order, progress: Sink) -> Trained:
        """See `Backend`."""
        from onemark import pipeline

        if order.resume:
            return pipeline.resume(
                order.out,
                cohort=order.cohort,
                exemplars=order.exemplars,
                minutes=order.minutes,
                progress=progress,
            )
        return pipeline.fit(
            order.cohort,
            order.exemplars,
            recipe=order.recipe,
            minutes=order.minutes,
            out=order.out,
            device=order.device,
            settings=dict(order.settings),
            progress=progress,
        )

    def load(self, run: Path) -> Trained:
        """See `Backend`."""
        from onemark import pipeline

        return pipeline.load(run)


def _info(name: str, recipe: Any) -> RecipeInfo:
    return RecipeInfo(name, recipe.title)


__all__ = ["Backend", "LandmarkSet", "Order", "Pipeline", "RecipeInfo", "Trained"]

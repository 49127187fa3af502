"""The one seam between the window and the work: everything heavy is asked for here, and always off the GUI thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from onemark.progress import Sink
from onemark.types import Evidence, Radiograph

if TYPE_CHECKING:
    from onemark.data.cohort import Cohort
    from onemark.data.landmarks.table import LandmarkTable


@dataclass(frozen=True)
class RecipeInfo:
    """What the form needs to know of a recipe.

    Attributes:
        name: Its key, such as `onemark`.
        title: One line for people.
        configs: Slot, such as `match`, -> its stage's Config, an instance with the recipe's own values.
        origin: The package that it comes from.
    """

    name: str
    title: str
    configs: Mapping[str, object] = field(default_factory=dict)
    origin: str = "onemark"

    @property
    def label(self) -> str:
        """What a person chooses by: the name, with the package where it is not onemark."""
        return self.name if self.origin == "onemark" else f"{self.name} (from {self.origin})"


OrderKind = Literal["suggest", "new", "follow", "continue", "retrain", "predict"]


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
        task: `suggest` what to mark; `new` run, or `follow` the suggestion's with the first exemplars; `continue` one
            that was stopped; `retrain` a finished one with more exemplars; only `predict`.
        number: How many radiographs to suggest.
        watched: Gives the name of the radiograph in view, whenever it is asked: previews should show that one.
    """

    cohort: Cohort
    exemplars: LandmarkTable
    out: Path
    recipe: str = "onemark"
    minutes: float | None = None
    device: str = "auto"
    settings: Mapping[str, object] = field(default_factory=dict)
    kind: OrderKind = "new"
    number: int = 1
    watched: Callable[[], str | None] = lambda: None


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

    def problems(self) -> Sequence[str]:
        """One sentence for each package whose recipes were skipped."""

    def devices(self) -> Mapping[str, str]:
        """Choice -> one line that says what it means here."""

    def same_matcher(self, run: Path, order: Order) -> bool:
        """Whether the matcher of a run is what the order asks for, so that it need not learn again."""

    def suggest(self, order: Order, progress: Sink) -> None:
        """Say what to mark in `suggestion.csv` of the run folder, which is made or gone on from."""

    def train(self, order: Order, progress: Sink) -> Trained:
        """Fit, or resume, and save the run."""

    def load(self, run: Path) -> Trained:
        """Open a finished run."""


class Pipeline:
    """The backend of the product: `onemark.pipeline.trainer`, imported when first needed because it brings torch."""

    def recipes(self) -> Sequence[RecipeInfo]:
        """See `Backend`."""
        from onemark.pipeline.recipes import RECIPES

        return [
            RecipeInfo(name, recipe.title, recipe.configure(), recipe.origin)
            for name, recipe in RECIPES.items()
        ]

    def problems(self) -> Sequence[str]:
        """See `Backend`."""
        from onemark.pipeline.recipes import RECIPES

        return RECIPES.problems

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

    def same_matcher(self, run: Path, order: Order) -> bool:
        """See `Backend`."""
        from onemark.pipeline.suggest import same_matcher

        return same_matcher(run, recipe=order.recipe, minutes=order.minutes, settings=order.settings)

    def suggest(self, order: Order, progress: Sink) -> None:
        """See `Backend`."""
        from onemark.pipeline.recipes import get_recipe
        from onemark.pipeline.suggest import suggest

        share = get_recipe(order.recipe).matcher_share
        suggest(
            order.cohort,
            number=order.number,
            recipe=order.recipe,
            minutes=None if order.minutes is None else order.minutes * share,
            out=order.out,
            device=order.device,
            settings=dict(order.settings),
            progress=progress,
        )

    def train(self, order: Order, progress: Sink) -> Trained:
        """See `Backend`."""
        from onemark.pipeline import fit as pipeline

        chosen = None if order.device == "auto" else order.device  # None: the run's own device
        if order.kind == "follow":
            return self._follow(order, progress)
        if order.kind == "predict":
            return pipeline.load(order.out, order.device)
        if order.kind == "continue":
            return pipeline.resume(order.out, cohort=order.cohort, device=chosen, progress=progress)
        if order.kind == "retrain":
            return pipeline.resume(
                order.out,
                cohort=order.cohort,
                exemplars=order.exemplars,
                minutes=order.minutes,
                device=chosen,
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

    def _follow(self, order: Order, progress: Sink) -> Trained:
        from onemark.pipeline import fit as pipeline
        from onemark.pipeline.suggest import adopt

        adopt(
            order.out,
            recipe=order.recipe,
            minutes=order.minutes,
            settings=order.settings,
            progress=progress,
        )
        return pipeline.resume(
            order.out,
            cohort=order.cohort,
            exemplars=order.exemplars,
            device=order.device,
            progress=progress,
        )

    def load(self, run: Path) -> Trained:
        """See `Backend`."""
        from onemark.pipeline import fit as pipeline

        return pipeline.load(run)

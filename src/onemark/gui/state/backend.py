"""The one seam between the window and the pipeline. The window calls everything in here outside the GUI thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from onemark.progress import Sink
from onemark.types import Evidence, Radiograph

if TYPE_CHECKING:
    from onemark.data.cohort import Cohort
    from onemark.data.landmarks.table import LandmarkTable
    from onemark.data.questions import Questions
    from onemark.imaging.orientation import Pairs


@dataclass(frozen=True)
class RecipeInfo:
    """What the window needs to know about a recipe.

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
        """The name, followed by the package that it comes from unless that is onemark."""
        return self.name if self.origin == "onemark" else f"{self.name} (from {self.origin})"

    def defaults(self) -> dict[str, object]:
        """`slot.field` -> the recipe's own value, for every option."""
        return {
            f"{slot}.{one.name}": getattr(config, one.name)
            for slot, config in self.configs.items()
            for one in fields(config)  # type: ignore[arg-type]
        }


OrderKind = Literal["suggest", "new", "follow", "continue", "retrain", "predict"]


@dataclass(frozen=True)
class Order:
    """A snapshot of everything that a training or a suggestion needs; later edits do not change it.

    Attributes:
        cohort: The radiographs.
        exemplars: The person's points.
        out: The run folder.
        recipe: Key of the recipe.
        minutes: Time budget, or None.
        device: `auto`, `cpu`, `cuda` or `mps`.
        settings: `slot.field` -> value, where it differs from the recipe's default.
        kind: `suggest` what to annotate; train a `new` run; `follow` the suggestion's run with the first exemplars;
            `continue` a stopped run; `retrain` a finished run with more exemplars; or only `predict`.
        number: How many radiographs to suggest.
        swap: Left-right pairs of landmarks, which replace those of a run that learns from exemplars again.
        watched: Returns the name of the radiograph in view, which the pipeline previews first.
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
    swap: Pairs = ()
    watched: Callable[[], str | None] = lambda: None


class Trained(Protocol):
    """A fitted model, as far as the window uses it."""

    def predict(self, cohort: Cohort, progress: Sink = ...) -> LandmarkTable:
        """Predict the landmarks of every radiograph."""

    def explain(self, radiograph: Radiograph, landmark: str | None = None) -> Evidence:
        """Compute what the model can show for one landmark."""


class Backend(Protocol):
    """What the window asks for. Tests put a fake in its place."""

    def list_recipes(self) -> Sequence[RecipeInfo]:
        """List the recipes, the default first."""

    def list_problems(self) -> Sequence[str]:
        """List what is wrong with packages whose recipes were skipped, one sentence each."""

    def list_devices(self) -> Mapping[str, str]:
        """List the devices: key -> one line that says what it means on this computer."""

    def has_same_matcher(self, run: Path, order: Order) -> bool:
        """Whether a run's matcher is the one that the order asks for, so that it need not train again."""

    def suggest(self, order: Order, progress: Sink) -> None:
        """Write `suggestion.csv` into the run folder, after training its matcher where that is still to do."""

    def train(self, order: Order, progress: Sink) -> Trained:
        """Fit or resume, save the run, and return its model."""

    def load(self, run: Path) -> Trained:
        """Load the model of a finished run."""

    def ask(self, run: Path, cohort: Cohort, number: int) -> Questions:
        """Choose the single landmarks whose places teach a finished run most."""


class Pipeline:
    """The real backend, `onemark.pipeline`: imported on the first call, because it loads torch."""

    def list_recipes(self) -> Sequence[RecipeInfo]:
        """See `Backend`."""
        from onemark.pipeline.recipes import RECIPES

        return [
            RecipeInfo(name, recipe.title, recipe.configure(), recipe.origin)
            for name, recipe in RECIPES.items()
        ]

    def list_problems(self) -> Sequence[str]:
        """See `Backend`."""
        from onemark.pipeline.recipes import RECIPES

        return RECIPES.problems

    def list_devices(self) -> Mapping[str, str]:
        """See `Backend`."""
        from onemark.nn.device import DEVICES, describe
        from onemark.types import UserError

        devices = {}
        for device in DEVICES:
            try:
                devices[device] = describe(device)
            except UserError:
                continue
        return devices

    def has_same_matcher(self, run: Path, order: Order) -> bool:
        """See `Backend`."""
        from onemark.pipeline.suggest import same_matcher

        return same_matcher(run, recipe=order.recipe, minutes=order.minutes, settings=order.settings)

    def suggest(self, order: Order, progress: Sink) -> None:
        """See `Backend`."""
        from onemark.pipeline.recipes import get_recipe
        from onemark.pipeline.suggest import suggest

        share = get_recipe(order.recipe).suggesting_share
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

        chosen = None if order.device == "auto" else order.device  # None means the run's own device
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
                swap=order.swap,
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
            swap=order.swap,
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
            swap=order.swap,
            progress=progress,
        )

    def load(self, run: Path) -> Trained:
        """See `Backend`."""
        from onemark.pipeline import fit as pipeline

        return pipeline.load(run)

    def ask(self, run: Path, cohort: Cohort, number: int) -> Questions:
        """See `Backend`."""
        from onemark.pipeline.questions.asking import ask

        return ask(run, number=number, cohort=cohort)

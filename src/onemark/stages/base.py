"""The contract of a stage: what every method is, declares, is given and gives back.

A method is one class that derives from `Matcher`, `Detector` or `Refiner` (or `Selector`) and one frozen dataclass of
options. The base classes carry what methods share: the skeleton of `fit`, saving and restoring, canvases, previews.
`onemark.testing.check_stage` checks a class against this contract.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self, TypeVar

import torch
from torch import nn

from onemark.imaging.letterbox import Size
from onemark.nn.fabric import Fabric
from onemark.nn.training.canvases import ResolutionLevel, cohort_canvas, cohort_framing, resolution_levels
from onemark.nn.training.loop import TrainingContext
from onemark.nn.weights import Tensors
from onemark.options import from_settings, settings_of
from onemark.stages.config import EncoderConfig, StageConfig
from onemark.types import Evidence, LandmarkSet, Radiograph, UserError

if TYPE_CHECKING:
    from onemark.data.cohort import Cohort
    from onemark.data.landmarks.table import LandmarkTable

MATCH, REGISTER, DETECT, REFINE, SELECT = "match", "register", "detect", "refine", "select"
SLOTS = (MATCH, REGISTER, DETECT, REFINE)
"""The slots of a recipe, in the order in which their stages are fitted and asked."""

C = TypeVar("C")
S = TypeVar("S", bound="Stage")
Head = dict[str, Any]
"""The JSON part of a stage's state."""


class ChosenStage(NamedTuple):
    """A stage of a recipe with its checked options, before it is fitted."""

    stage: type[Stage]
    config: StageConfig


@dataclass(kw_only=True)
class StageContext(TrainingContext):
    """Everything that `fit` is given.

    Attributes:
        cohort: The radiographs to learn from.
        exemplars: Landmarks of radiographs of the cohort, every one on at least one exemplar. An empty table reaches
            only a matcher that `learns_without_exemplars`.
        config: The stage's options.
        seconds: Time budget of this stage; None for the number of steps in its options.
        former: The same stage, fitted before, to go on from; None for a fresh start.
        before: Slot -> fitted stage, of those that come before this one.
    """

    cohort: Cohort
    exemplars: LandmarkTable
    config: StageConfig
    seconds: float | None = None
    former: Stage | None = None
    before: Mapping[str, Stage] = field(default_factory=dict)

    def locate(self, radiograph: Radiograph) -> LandmarkSet:
        """The answer of the stages before this one: its pseudo-label for a radiograph."""
        *_, last = (stage for stage in self.before.values() if isinstance(stage, Locator))
        return last.locate(radiograph)

    def options_as(self, kind: type[C]) -> C:
        """The options, which must be of this kind.

        Raises:
            TypeError: they are another stage's.
        """
        if not isinstance(self.config, kind):
            raise TypeError(f"a {kind.__name__} is needed, not a {type(self.config).__name__}")
        return self.config

    def former_as(self, kind: type[S]) -> S | None:
        """The stage to go on from, which must be of this kind.

        Raises:
            TypeError: it is another stage.
        """
        if self.former is not None and not isinstance(self.former, kind):
            raise TypeError(f"a {kind.__name__} cannot go on from a {type(self.former).__name__}")
        return self.former

    def starting_weights(self) -> Tensors:
        """Weights to start a network from: the former stage's, else those of the first stage before, else none."""
        sources = [self.former] if self.former is not None else list(self.before.values())
        return sources[0].starting_weights() if sources else {}


class Stage(ABC):
    """What matchers, detectors and refiners share.

    Class attributes, which declare what a method is and can:
        Config: Its options, a frozen dataclass derived from `StageConfig`.
        slot: The slot of a recipe that it fills.
        explains: Whether `explain` shows anything.
        bound_to_landmarks: Whether its network has a part for each landmark, so that it cannot go on with others.
        seed_offset: Added to the seed, so that stages do not draw the same starting weights.
        stream: Names its stream of random numbers.

    Attributes:
        config: Its options, `framing` settled.
        names: K landmark names.
        canvas: `(H, W)` px to which radiographs are scaled.
        fabric: Device and precision.
        network: What it has trained, saved with it and offered to later stages; None for a method without one.
    """

    Config: ClassVar[type[StageConfig]]
    slot: ClassVar[str]
    stream: ClassVar[str]
    seed_offset: ClassVar[int] = 0
    explains: ClassVar[bool] = False
    bound_to_landmarks: ClassVar[bool] = False

    config: StageConfig
    network: nn.Module | None = None

    def __init__(self, config: StageConfig, names: tuple[str, ...], canvas: Size, fabric: Fabric) -> None:
        self.config, self.names, self.canvas, self.fabric = config, names, canvas, fabric

    @classmethod
    @abstractmethod
    def fit(cls, context: StageContext) -> Self:
        """A stage that has learned from the context's cohort and exemplars.

        Raises:
            UserError: the input or the settings are wrong, or the device has too little memory.
            Cancelled: the context's sink asked to stop.
        """

    @classmethod  # noqa: B027  most methods have nothing to check
    def check(cls, chosen: Mapping[str, ChosenStage]) -> None:
        """Check, before anything is learned, that the options go together with each other and the other stages.

        Args:
            chosen: Slot -> stage and options, of the whole recipe.

        Raises:
            UserError: they do not.
        """

    @classmethod
    def pretrained(cls, config: StageConfig) -> tuple[str, str]:
        """Encoder and `weights` setting that the network starts from; `("", "none")` for a stage without an encoder."""
        return (config.encoder, config.weights) if isinstance(config, EncoderConfig) else ("", "none")

    @classmethod
    def architecture(cls, config: StageConfig) -> str:
        """Name of the network that `starting_weights` are of; empty where others cannot use it."""
        return ""

    @property
    def grow(self) -> float:
        """Share of the schedule that is trained on a smaller canvas first, 0...1."""
        return 0.0

    def starting_weights(self) -> Tensors:
        """Weights that another stage may start its network from, as far as they fit in name and shape."""
        return {} if self.network is None else self.network.state_dict()

    def state(self) -> tuple[Tensors, Head]:
        """Tensors and JSON head that `restore` needs."""
        head = {"config": settings_of(self.config), "names": list(self.names), "canvas": list(self.canvas)}
        return self.tensors(), head

    @classmethod
    def restore(cls, tensors: Tensors, head: Mapping[str, Any], fabric: Fabric) -> Self:
        """The stage that `state` described."""
        height, width = head["canvas"]
        self = cls(from_settings(cls.Config, head["config"]), tuple(head["names"]), (height, width), fabric)
        self.load_tensors(tensors)
        return self

    def tensors(self) -> dict[str, torch.Tensor]:
        """What to save. Methods that keep more than their network add to it."""
        weights = {} if self.network is None else self.network.state_dict()
        return {f"network.{name}": value for name, value in weights.items()}

    def load_tensors(self, tensors: Tensors) -> None:
        """Take back what `tensors` gave."""
        if self.network is not None:
            self.network.load_state_dict(network_weights(tensors))

    def open_levels(self, context: StageContext) -> list[ResolutionLevel]:
        """The cohort and its exemplars on this stage's canvas, coarser levels first."""
        return resolution_levels(
            context.cohort,
            context.exemplars,
            self.canvas,
            self.grow,
            self.config.pool,
            context.sink,
            self.config.framing,
        )

    def index_of(self, landmark: str) -> int:
        """Position of a landmark.

        Raises:
            UserError: no landmark of that name.
        """
        if landmark not in self.names:
            raise UserError(f"no landmark {landmark!r} in this run: it has {', '.join(self.names)}")
        return self.names.index(landmark)

    @classmethod
    def settle_config(cls, context: StageContext, former: Stage | None) -> tuple[StageConfig, Size]:
        """Options with their framing settled, and the canvas: the former stage's, or what the cohort asks for."""
        config = context.options_as(cls.Config)
        if former is not None:
            return replace(config, framing=former.config.framing), former.canvas
        framing = cohort_framing(context.cohort, config.framing)
        return replace(config, framing=framing), cohort_canvas(context.cohort, config.area)


class Locator(Stage):
    """A stage that finds landmarks on a radiograph by itself."""

    @abstractmethod
    def locate(self, radiograph: Radiograph) -> LandmarkSet:
        """Landmarks of a radiograph, in original pixels, with score and expected error.

        Several threads ask at once (`onemark.nn.threads`): what a stage keeps between calls must bear that.
        """

    def explain(self, radiograph: Radiograph, landmark: str | None = None) -> Evidence:
        """What the stage can show for a landmark, or for all of them when none is named.

        Raises:
            UserError: no landmark of that name.
            NotImplementedError: the stage does not declare `explains`.
        """
        raise NotImplementedError(f"{type(self).__name__} shows no evidence")


def network_weights(tensors: Tensors) -> dict[str, torch.Tensor]:
    """The weights of a stage's network among its saved tensors."""
    prefix = "network."
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

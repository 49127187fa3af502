"""The contract of a selector: it says which radiographs to annotate first."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import torch

from onemark.nn.training.canvases import CanvasCache
from onemark.options import option
from onemark.progress import Sink, silent

if TYPE_CHECKING:
    from onemark.data.suggestion import Suggestion


@dataclass(frozen=True)
class SelectorConfig:
    """Options that every selector has."""

    pool: int = option(
        200, "most radiographs compared; of a larger folder an even choice", unit="radiographs", low=2
    )


class Selector(ABC):
    """Says which radiographs are worth annotating, before any is.

    Class attributes:
        Config: Its options, a frozen dataclass of `onemark.options.option` fields with an `int` field `pool`.

    Args:
        config: Options.
        embed: `Matcher.embed` of a matcher that has learned without exemplars.
    """

    Config: ClassVar[type[SelectorConfig]]

    def __init__(self, config: SelectorConfig, embed: Callable[[torch.Tensor], list[torch.Tensor]]) -> None:
        self.config, self.embed = config, embed

    @abstractmethod
    def compare(self, store: CanvasCache, progress: Sink = silent) -> Self:
        """Compare all radiographs of a store with each other.

        Raises:
            UserError: they cannot be compared.
            Cancelled: `progress` asked to stop.
        """

    @abstractmethod
    def choose(self, number: int, generator: torch.Generator) -> Suggestion:
        """The best set of `number` of the radiographs compared, and all of them in order.

        Raises:
            UserError: there are not as many radiographs.
        """

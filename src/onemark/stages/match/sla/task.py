"""What the training loop trains for SLA: the encoder, then epochs of Train-Template, Train-PL and Infer-PL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from onemark.nn.embedding.dense import DenseBatch, DenseOptions, DenseTask
from onemark.nn.fabric import Fabric
from onemark.nn.training.canvases import ResolutionLevel
from onemark.nn.training.exemplars import carriers
from onemark.progress import Progress, Sink
from onemark.stages.match.sla.config import SLAConfig
from onemark.stages.match.sla.network import LandmarkNet
from onemark.stages.match.sla.views import Views


class EpochLabels(nn.Module):
    """The pseudo-labels of a store's radiographs, in buffers so that a checkpoint keeps them.

    Attributes:
        start: `[N, K, 2]` (x, y) what the encoder predicts by itself, canvas px; NaN where a radiograph is unreadable.
        xy: `[N, K, 2]` the pseudo-labels; exemplars' true labels, NaN where not visible.
        epoch: Epochs begun; 0 before the first.
    """

    def __init__(self, radiographs: int, landmarks: int) -> None:
        super().__init__()
        self.start: torch.Tensor
        self.xy: torch.Tensor
        self.epoch: torch.Tensor
        for name in ("start", "xy"):
            self.register_buffer(name, torch.full((radiographs, landmarks, 2), torch.nan))
        self.register_buffer("epoch", torch.zeros((), dtype=torch.long))


class SLATask:
    """What the training loop trains: first the encoder, then the decoders of all landmarks.

    Args:
        module: Encoder and decoders.
        levels: The cohort and its exemplars; the encoder learns on all levels, the decoders on the finest.
        config: Options.
        fabric: Device and precision.
        views: What decoders learn from.
        remember: Takes the exemplars' landmarks as templates of the network as it is now.
        locate: Canvases `[B, 1, H, W]` and the places `[B, K, 2]` to search around, or None -> predictions `[B, K, 2]`.
        sink: Takes the progress of Infer-PL.
    """

    def __init__(
        self,
        module: LandmarkNet,
        levels: Sequence[ResolutionLevel],
        config: SLAConfig,
        fabric: Fabric,
        views: Views,
        remember: Callable[[], None],
        locate: Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor],
        sink: Sink,
    ) -> None:
        self.module, self.config, self.views, self.sink = module, config, views, sink
        self.remember, self.locate = remember, locate
        self.store, self.annotated = levels[-1].store, [*levels[-1].exemplars, *levels[-1].hidden]
        self.exemplars = carriers(levels[-1].exemplars)
        self.labels = EpochLabels(len(self.store), self.exemplars[0].xy.shape[0]).to(fabric.device)
        options = DenseOptions(batch=config.batch, temperature=config.temperature)
        self.dense = DenseTask(module, levels, options, fabric) if config.before > 0 else None

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The network, its teacher while the encoder learns, and the pseudo-labels."""
        teacher = self.dense.modules if self.dense else {"module": self.module}
        return {**teacher, "labels": self.labels}

    def batch(self, generator: torch.Generator, fraction: float, size: int | None = None) -> Any:
        """Draw what the encoder learns from; later, radiographs with pseudo-labels and changed copies of exemplars.

        A new epoch renews the pseudo-labels first.
        """
        config = self.config
        size = size or config.batch
        if self.dense and fraction < config.before:
            return self.dense.batch(generator, fraction / config.before, size)
        along = (fraction - config.before) / (1 - config.before) * config.epochs
        self.begin_epoch(int(along) + 1, generator)
        # As in ATD, each epoch starts with Train-Template: copies of the exemplars alone.
        only_copies = along % 1 < config.template
        # At least one radiograph stays in a batch of both.
        copies = size if only_copies else min(config.copies, size - 1)
        rows = self.store.draw(size - copies, generator) if copies < size else []
        which = torch.randint(len(self.exemplars), (copies,), generator=generator, device=generator.device)
        rows += [self.exemplars[i].index for i in which.tolist()]
        canvases = self.store.read(rows).to(generator.device)
        return self.views.draw(canvases, self.labels.xy[rows], copies, generator)

    def loss(self, module: nn.Module, batch: Any) -> tuple[torch.Tensor, dict[str, float]]:
        """The encoder's loss or the decoders'."""
        if self.dense and isinstance(batch, DenseBatch):
            return self.dense.loss(module, batch)
        return self.views.loss(module, batch)

    def after(self, fraction: float) -> None:
        """Let the teacher follow while the encoder learns."""
        if self.dense and fraction < self.config.before:
            self.dense.after(fraction / self.config.before)

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Infer-PL: replace the pseudo-labels when epoch `epoch` (1, 2, ...) begins; the first ones are found or drawn.

        Nothing happens in an epoch that has begun, so that a resumed fit goes on as an unbroken one. Exemplars keep
        what a person annotated.
        """
        labels = self.labels
        if not self.module.frozen:
            self.module.freeze()
        if epoch <= int(labels.epoch):
            return
        with torch.no_grad():
            if int(labels.epoch) == 0:
                self._first_labels(generator)
            else:
                self.remember()
                self._relabel(labels.xy, labels.start)
        for one in self.annotated:
            answered = one.answered.to(labels.xy.device)
            labels.xy[one.index, answered] = one.xy.to(labels.xy.device)[answered]
        labels.epoch.fill_(epoch)
        self.module.train()

    def _first_labels(self, generator: torch.Generator) -> None:
        labels = self.labels
        side = torch.tensor([self.store.canvas[1], self.store.canvas[0]], device=labels.xy.device)
        if not self.module.bare:
            self.remember()
            self._relabel(labels.start, None)
        if self.config.start == "matcher":
            labels.xy.copy_(labels.start)
        else:
            labels.xy.copy_(torch.rand(labels.xy.shape, generator=generator, device=side.device) * side)

    def _relabel(self, found: torch.Tensor, start: torch.Tensor | None) -> None:
        for rows in self._groups():
            canvases = self.store.read(rows).to(found.device)
            found[rows] = self.locate(canvases, None if start is None else start[rows]).to(found.dtype)
            self.sink(Progress("pseudo-label", rows[-1] + 1, len(self.store)))

    def _groups(self) -> Iterator[list[int]]:
        usable = [i for i in range(len(self.store)) if self.store.usable(i)]
        for first in range(0, len(usable), self.config.batch):
            yield usable[first : first + self.config.batch]

"""Groupwise: register the exemplars with any radiograph, directly and over others of the cohort, without training."""

from __future__ import annotations

import torch
from lightning_fabric import Fabric

from onemark.imaging.letterbox import Letterbox, Size
from onemark.nn.device import memory_errors
from onemark.nn.embedding.several import combine
from onemark.nn.heatmaps.decode import Peaks
from onemark.nn.reader import REMEDY, landmark_set
from onemark.nn.training.canvases import STRETCH, CanvasCache, CanvasExemplar
from onemark.nn.weights import Tensors
from onemark.progress import Progress
from onemark.stages.match.groupwise.config import GroupwiseConfig
from onemark.stages.match.groupwise.features import blur, describe
from onemark.stages.match.groupwise.fields import carry, cell_grid, read_at
from onemark.stages.match.groupwise.group import FINE, STRIDES, Group, empty_group, extend_group, refine
from onemark.stages.matcher import Matcher
from onemark.types import LandmarkSet, Radiograph

NEIGHBOURHOOD = 2.0  # spread of the neighbourhood of a landmark whose likeness is its score, cells


class Groupwise(Matcher):
    """Registration of a small group of the cohort's radiographs with each other and with any other radiograph.

    Affine maps and dense fields are fitted to each pair. Then every pair must agree with its detours over the other
    radiographs of the group. Nothing is trained.

    Attributes:
        names: K landmark names.
        group: The references, the exemplars first.
        xy: `[M, K, 2]` the exemplars' landmarks, canvas px; NaN where one is not visible.
    """

    Config = GroupwiseConfig
    config: GroupwiseConfig

    def __init__(self, config: GroupwiseConfig, names: tuple[str, ...], canvas: Size, fabric: Fabric) -> None:
        super().__init__(config, names, canvas, fabric)
        self.group = empty_group(torch.zeros(0, 1, *canvas))
        self.xy = torch.zeros(0, len(names), 2)

    def remember(self, store: CanvasCache, exemplars: list[CanvasExemplar]) -> None:
        """Register the exemplars and a few more radiographs, evenly spread over the cohort, with each other."""
        taken = [one.index for one in exemplars]
        others = [index for index in range(len(store)) if index not in taken and store.usable(index)]
        free = min(len(others), max(0, self.config.references - len(taken)))
        taken += [others[n * len(others) // free] for n in range(free)]
        self.xy = torch.stack([one.xy for one in exemplars])

        def report(done: int, total: int) -> None:
            store.sink(Progress(self.slot, done, total))

        canvases = store.read(taken).to(self.fabric.device)
        with memory_errors(REMEDY):
            self.group = extend_group(empty_group(canvases), canvases, self.config, report)

    def locate(self, radiograph: Radiograph) -> LandmarkSet:
        """Landmarks of a radiograph, in original pixels."""
        frame = Letterbox.fit(radiograph.size, self.canvas, STRETCH[self.config.framing])
        # Rounded as the canvas cache does, so that a radiograph of the group is known again.
        canvas = (frame.render(radiograph.pixels).clamp(0, 1) * 65535).round() / 65535
        with memory_errors(REMEDY):
            each = self._register(canvas[None, None].to(self.fabric.device))
        visible = self.xy.isfinite().all(-1).T
        peaks = combine(each, visible, self.config.several, self.config.temperature)
        return landmark_set(radiograph, self.names, frame, peaks.xy, peaks.score, peaks.spread)

    def _register(self, canvas: torch.Tensor) -> Peaks:
        """Every exemplar's landmarks on a canvas `[1, 1, H, W]`: peaks `[K, M]`, canvas px."""
        group, count = self.group, len(self.xy)
        target = group.index(canvas[0])
        if target is None:
            group, target = extend_group(group, canvas, self.config, lambda *_: None), len(group)
        xy = self.xy.nan_to_num().to(canvas.device)
        exemplars, fields = group.canvases[:count], group.fields[:count, target]
        fine = refine(exemplars, canvas, fields, self.config)
        here = carry(fine, xy, FINE)
        cells = (xy + 0.5) / STRIDES[-1] - 0.5
        apart = read_at(group.errors[:count, target][:, None], cells)[:, 0] * STRIDES[-1]
        moved = (here - carry(fields, xy, STRIDES[-1])).norm(dim=-1)
        score = _likeness(exemplars, canvas, fine, xy)
        found = (here.transpose(0, 1), score.T, (apart + moved).T)
        return Peaks(*(value.cpu() for value in found))

    def continue_from(self, former: Matcher) -> None:
        """Nothing to take over: the exemplars' registrations are made again."""

    def tensors(self) -> dict[str, torch.Tensor]:
        """The group and the exemplars' landmarks."""
        group = self.group
        return {"canvases": group.canvases, "fields": group.fields, "errors": group.errors, "xy": self.xy}

    def load_tensors(self, tensors: Tensors) -> None:
        """Take back what `tensors` gave."""
        place = self.fabric.device
        self.group = Group(*(tensors[name].to(place) for name in ("canvases", "fields", "errors")))
        self.xy = tensors["xy"]


def _likeness(
    exemplars: torch.Tensor, canvas: torch.Tensor, fields: torch.Tensor, xy: torch.Tensor
) -> torch.Tensor:
    """How alike exemplars and a warped radiograph are around points `[M, K, 2]`: `[M, K]`, 0...1."""
    ours, theirs = describe(exemplars, FINE), describe(canvas, FINE).expand(len(exemplars), -1, -1, -1)
    shape = (ours.shape[2], ours.shape[3])
    warped = read_at(theirs, cell_grid(shape, ours.device) + fields / FINE)
    miss = blur((warped - ours).square().mean(1, keepdim=True), NEIGHBOURHOOD)
    return (-read_at(miss, (xy + 0.5) / FINE - 0.5)[:, 0]).exp()

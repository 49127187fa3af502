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
from onemark.stages.match.groupwise.group import FINE, STRIDES, Group, arrive, empty_group, extend_group, refine
from onemark.stages.matcher import Matcher
from onemark.types import LandmarkSet, Radiograph

ALIKE_AT = 16  # canvas px per cell at which radiographs are compared to choose among exemplars
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
            each, visible = self._register(canvas[None, None].to(self.fabric.device))
        peaks = combine(each, visible, self.config.several, self.config.temperature)
        return landmark_set(radiograph, self.names, frame, peaks.xy, peaks.score, peaks.spread)

    def _register(self, canvas: torch.Tensor) -> tuple[Peaks, torch.Tensor]:
        """The nearest exemplars' landmarks on a canvas `[1, 1, H, W]`: peaks `[K, N]`, canvas px, and which are visible."""
        group, config = self.group, self.config
        near = self._nearest(canvas)
        xy = self.xy[near].to(canvas.device)
        fields, apart = arrive(group, near, canvas, config)
        fine = refine(group.canvases[near], canvas, fields, config)
        places = xy.nan_to_num()
        here = carry(fine, places, FINE)
        moved = (here - carry(fields, places, STRIDES[-1])).norm(dim=-1)
        apart = read_at(apart[:, None], (places + 0.5) / STRIDES[-1] - 0.5)[:, 0]
        score = _likeness(group.canvases[near], canvas, fine, places)
        found = Peaks(here.transpose(0, 1).cpu(), score.T.cpu(), (apart + moved).T.cpu())
        return found, xy.isfinite().all(-1).T.cpu()

    def _nearest(self, canvas: torch.Tensor) -> list[int]:
        """The exemplars most like a canvas, and whatever others it takes to have each landmark on one of them."""
        count, shown = len(self.xy), self.xy.isfinite().all(-1)
        ours, theirs = (describe(x, ALIKE_AT) for x in (self.group.canvases[:count], canvas))
        order = (ours - theirs).square().mean((1, 2, 3)).argsort().tolist()
        near = order[: self.config.nearest]
        for one in order[len(near) :]:
            if bool((shown[one] & ~shown[near].any(0)).any()):
                near.append(one)
        return near

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

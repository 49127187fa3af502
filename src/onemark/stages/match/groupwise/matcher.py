"""Groupwise: register the exemplars with any radiograph, directly and over others of the cohort, without training."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import time
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray

from onemark.data.choice import pick_evenly
from onemark.imaging.letterbox import Letterbox, Size
from onemark.nn.device import memory_errors
from onemark.nn.embedding.several import combine
from onemark.nn.fabric import Fabric
from onemark.nn.heatmaps.decode import Peaks
from onemark.nn.reader import REMEDY, landmark_set
from onemark.nn.recent import Recent
from onemark.nn.registration.features import Described, blur
from onemark.nn.registration.fields import Field, cell_grid, invert, read_at, resize_field
from onemark.nn.training.canvases import STRETCH, CanvasCache, CanvasExemplar
from onemark.nn.training.exemplars import carriers
from onemark.nn.weights import Tensors
from onemark.progress import Progress
from onemark.stages.base import REGISTER
from onemark.stages.match.groupwise.config import GroupwiseConfig
from onemark.stages.match.groupwise.group import (
    FINE,
    DescribedSources,
    Group,
    Ways,
    arrive,
    empty_group,
    extend_group,
)
from onemark.stages.match.groupwise.placement import (
    describe_odd_placement,
    find_odd_placements,
    share_placements,
)
from onemark.stages.matcher import Matcher
from onemark.types import Evidence, LandmarkSet, Radiograph

ALIKE_AT = 16  # canvas px per cell at which radiographs are compared to choose among exemplars
REMEMBERED = (
    1024  # answers that are kept, because detector, refiner and error model ask about the same radiographs
)
PARTS = tuple(part.name for part in dataclasses.fields(Group))
NEIGHBOURHOOD = 2.0  # spread of the neighbourhood of a landmark whose likeness is its score, cells


class Groupwise(Matcher):
    """Registration of a small group of the cohort's radiographs with each other and with any other radiograph.

    Affine maps and dense fields are fitted to each pair. Then every pair must agree with its detours over the other
    radiographs of the group. Nothing is trained.

    Attributes:
        names: K landmark names.
        group: The references, which most exemplars are among.
        exemplars: `[M, 1, H, W]` canvases.
        xy: `[M, K, 2]` their landmarks, canvas px, as far as the other exemplars agree; NaN where one is not visible.
    """

    Config = GroupwiseConfig
    slot = REGISTER
    explains = True
    config: GroupwiseConfig

    def __init__(self, config: GroupwiseConfig, names: tuple[str, ...], canvas: Size, fabric: Fabric) -> None:
        super().__init__(config, names, canvas, fabric)
        self.group = empty_group(torch.zeros(0, 1, *canvas, device=fabric.device))
        self.exemplars = self.group.canvases
        self.xy = torch.zeros(0, len(names), 2)
        self._known = Recent[bytes, tuple[Peaks, torch.Tensor]](REMEMBERED)
        self._sources = DescribedSources()

    def continue_from(self, former: Self) -> None:
        """Keep the former group, which more exemplars may join."""
        self.group = former.group

    def remember(self, store: CanvasCache, exemplars: list[CanvasExemplar]) -> None:
        """Register the exemplars and a few more radiographs, evenly spread over the cohort, with each other."""
        self._known.clear()
        exemplars = carriers(exemplars)
        self.xy = torch.stack([one.xy for one in exemplars])
        self.exemplars = store.read([one.index for one in exemplars]).to(self.fabric.device)
        joining = list(dict.fromkeys(one.index for one in exemplars))
        if len(self.group):
            joining = [index for index in joining if self.group.index(store.read([index])[0]) is None]
            free = 2 * self.config.references - len(self.group)
            joining = joining[: max(0, min(free, self._affordable(len(joining))))]
        else:
            most = max(2, min(self.config.references, self._affordable(self.config.references)))
            joining = joining[:most]
            others = [index for index in range(len(store)) if index not in joining and store.usable(index)]
            joining = joining[: self.config.references] + pick_evenly(others, most - len(joining))
        if joining:
            with memory_errors(REMEDY):
                canvases = store.read(joining).to(self.fabric.device)
                self.group = extend_group(
                    self.group,
                    canvases,
                    self.config,
                    lambda done, total: store.sink(Progress(self.slot, done, total)),
                )
        self._compare_placements(store, exemplars)

    def _compare_placements(self, store: CanvasCache, exemplars: list[CanvasExemplar]) -> None:
        """Let the exemplars agree, and tell the person which points lie elsewhere than the others agree on."""
        members = [self.group.index(canvas) for canvas in self.exemplars]
        rows = [n for n, member in enumerate(members) if member is not None]
        inside, placed = [member for member in members if member is not None], self.xy[rows]
        self.xy[rows] = share_placements(self.group, inside, placed)
        for odd in find_odd_placements(self.group, inside, placed):
            index = exemplars[rows[odd.exemplar]].index
            away = odd.away.numpy() / store.letterbox(index).scale
            message = describe_odd_placement(
                self.names[odd.landmark], store.cohort.names[index], float(np.hypot(*away)), odd
            )
            store.sink(Progress(self.slot, 1, 1, message=message))

    def _affordable(self, wanted: int) -> int:
        """How many of so many radiographs can join the group, both ways with each of it, in the time there is."""
        if self.seconds is None or not wanted:
            return wanted
        two = self.exemplars[:1].expand(2, -1, -1, -1)
        started = time.monotonic()
        extend_group(empty_group(two), two, self.config, lambda *_: None)
        pairs, known = 2 * self.seconds / (time.monotonic() - started), len(self.group)
        return int(0.5 - known + math.sqrt((known - 0.5) ** 2 + pairs))

    def locate(self, radiograph: Radiograph) -> LandmarkSet:
        """Landmarks of a radiograph, in original pixels."""
        frame, (peaks, _) = self._answer(radiograph)
        return landmark_set(radiograph, self.names, frame, peaks.xy, peaks.score, peaks.spread)

    def dispute(self, radiograph: Radiograph) -> NDArray[np.float64]:
        """How far the answers for each landmark lay apart before they agreed on the coarsest grid, original px."""
        frame, (_, dispute) = self._answer(radiograph)
        return np.asarray(dispute.double().numpy() * (1 / frame.scale).mean())

    def _answer(self, radiograph: Radiograph) -> tuple[Letterbox, tuple[Peaks, torch.Tensor]]:
        frame, canvas = self._render(radiograph)
        key = hashlib.blake2b(canvas.cpu().numpy().tobytes(), digest_size=16).digest()
        with memory_errors(REMEDY):
            return frame, self._known.get(key, lambda: self._carry(canvas))

    def _carry(self, canvas: torch.Tensor) -> tuple[Peaks, torch.Tensor]:
        """The nearest exemplars' landmarks on a canvas `[1, 1, H, W]`, together: peaks `[K]`, canvas px.

        And how far the answers lay apart before they agreed, `[K]`, canvas px.
        """
        target = Described(canvas)
        ways = self._register(target)
        xy = self.xy[ways.exemplars]
        here, apart = ways.carry(xy.nan_to_num())
        sources = self._sources.of([(self.exemplars, one) for one in ways.exemplars])
        score = _likeness(sources, target, ways.fields, xy.nan_to_num())
        each = Peaks(here.transpose(0, 1).cpu(), score.T.cpu(), apart.T.cpu())
        visible = xy.isfinite().all(-1).T.cpu()
        dispute = ways.dispute(xy.nan_to_num()).cpu().masked_fill(~visible.T, torch.nan).nanmean(0)
        return combine(each, visible, self.config.several, self.config.temperature), dispute

    def explain(self, radiograph: Radiograph, landmark: str | None = None) -> Evidence:
        """The most similar exemplar warped onto the radiograph, the deformation, and how far the answers lie apart.

        Raises:
            UserError: no landmark of that name.
        """
        if landmark is not None:
            self.index_of(landmark)
        frame, canvas = self._render(radiograph)
        ways = self._register(Described(canvas))
        # The field leads from the exemplar to the radiograph; its inverse shows the exemplar in the radiograph's frame.
        back = invert(ways.fields[:1], FINE)
        wide = resize_field(back, self.canvas)
        warped = read_at(self.exemplars[ways.exemplars[:1]], cell_grid(self.canvas, wide.device) + wide)
        doubt = resize_field(ways.apart[:1, ..., None].expand(-1, -1, -1, 2), self.canvas)[0, ..., 0]
        field = frame.restore(wide[0].movedim(-1, 0).cpu()) / frame.scale[:, None, None]
        maps = {"warped exemplar": warped[0, 0], "disagreement": doubt}
        return Evidence(
            radiograph.name,
            landmark,
            {name: frame.restore(one.cpu()) for name, one in maps.items()},
            np.ascontiguousarray(field.transpose(1, 2, 0).astype(np.float32)),
        )

    def _render(self, radiograph: Radiograph) -> tuple[Letterbox, torch.Tensor]:
        frame = Letterbox.fit(radiograph.size, self.canvas, STRETCH[self.config.framing])
        # Rounded as the canvas cache does, so that a radiograph of the group is known again.
        canvas = (frame.render(radiograph.pixels).clamp(0, 1) * 65535).round() / 65535
        return frame, canvas[None, None].to(self.fabric.device)

    def _register(self, target: Described) -> Ways:
        """The ways from the nearest exemplars to a radiograph."""
        near = self._nearest(target)
        return arrive(self.group, near, self.exemplars, target, self.config, self._sources)

    def _nearest(self, target: Described) -> list[int]:
        """The exemplars most like a radiograph, and whatever others it takes to have each landmark on one of them."""
        shown = self.xy.isfinite().all(-1)
        everyone = self._sources.all(self.exemplars)
        unlike = (everyone.at(ALIKE_AT) - target.at(ALIKE_AT)).square().mean((1, 2, 3))
        order = unlike.argsort().tolist()
        near = order[: self.config.nearest]
        for one in order[len(near) :]:
            if bool((shown[one] & ~shown[near].any(0)).any()):
                near.append(one)
        return near

    def tensors(self) -> dict[str, torch.Tensor]:
        """The group, the exemplars and their landmarks."""
        group = self.group
        kept = {name: getattr(group, name) for name in PARTS}
        return kept | {"exemplars": self.exemplars, "xy": self.xy}

    def load_tensors(self, tensors: Tensors) -> None:
        """Take back what `tensors` gave."""
        place, parts = self.fabric.device, dict(tensors)
        if "disputes" not in parts:  # of a version that did not keep them
            unknown = empty_group(parts["canvases"]).disputes.shape[2:]
            parts["disputes"] = parts["fields"].new_full((*parts["fields"].shape[:2], *unknown), torch.nan)
        self.group = Group(*(parts[name].to(place) for name in PARTS))
        self.exemplars, self.xy = tensors["exemplars"].to(place), tensors["xy"]


def _likeness(exemplars: Described, target: Described, fields: Field, xy: torch.Tensor) -> torch.Tensor:
    """How alike M exemplars and a warped radiograph are around points `[M, K, 2]`: `[M, K]`, 0...1."""
    ours, theirs = exemplars.at(FINE), target.at(FINE, len(exemplars.canvases))
    shape = (ours.shape[2], ours.shape[3])
    warped = read_at(theirs, cell_grid(shape, ours.device) + fields / FINE)
    miss = blur((warped - ours).square().mean(1, keepdim=True), NEIGHBOURHOOD)
    return (-read_at(miss, (xy.to(miss.device) + 0.5) / FINE - 0.5)[:, 0]).exp()

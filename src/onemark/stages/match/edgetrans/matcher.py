"""EdgeTrans, stage I: carry the exemplars' landmarks to any radiograph by registering it with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from onemark.imaging.augment import sample
from onemark.imaging.letterbox import Letterbox, Size
from onemark.nn.backbones import pretrained
from onemark.nn.device import memory_errors
from onemark.nn.embedding.several import combine
from onemark.nn.fabric import Fabric
from onemark.nn.heatmaps.decode import Peaks
from onemark.nn.reader import REMEDY, landmark_set
from onemark.nn.training.canvases import STRETCH, CanvasCache, CanvasExemplar, ResolutionLevel
from onemark.nn.training.exemplars import carriers
from onemark.nn.training.loop import train
from onemark.nn.weights import Tensors
from onemark.stages.base import ChosenStage, StageContext
from onemark.stages.match.edgetrans.config import EdgeTransConfig
from onemark.stages.match.edgetrans.losses import edges, ssim
from onemark.stages.match.edgetrans.network import RegistrationNet
from onemark.stages.match.edgetrans.refine import refine_instance
from onemark.stages.match.edgetrans.sift import align_by_sift
from onemark.stages.match.edgetrans.task import RegistrationTask
from onemark.stages.match.edgetrans.transform import Transform
from onemark.stages.matcher import Matcher
from onemark.types import Evidence, LandmarkSet, Radiograph, UserError


@dataclass(frozen=True)
class Registration:
    """How M exemplars lie on one radiograph.

    Attributes:
        canvas: The radiograph `[1, 1, H, W]`.
        frame: Where it lies on the canvas.
        affine: The affine maps alone.
        there: The whole maps, from the radiograph's pixels to the exemplars'.
        xy: `[M, K, 2]` landmarks on the radiograph's canvas.
        apart: `[M, K]` distance between there and what the way back says, px.
        alike: `[M, 1, H, W]` similarity of pictures and edges, -1...1.
        score: `[M, K]` the same around the landmarks, 0...1; 0 where an exemplar does not show one.
    """

    canvas: torch.Tensor
    frame: Letterbox
    affine: Transform
    there: Transform
    xy: torch.Tensor
    apart: torch.Tensor
    alike: torch.Tensor
    score: torch.Tensor


class EdgeTrans(Matcher):
    """Matcher of Yin et al., ECCV 2022 (stage I).

    Attributes:
        names: K landmark names.
        exemplars: `[M, 1, H, W]` canvases.
        xy: `[M, K, 2]` their landmarks, canvas px; NaN where one is not visible.
    """

    Config = EdgeTransConfig
    explains = True
    config: EdgeTransConfig
    network: RegistrationNet

    def __init__(self, config: EdgeTransConfig, names: tuple[str, ...], canvas: Size, fabric: Fabric) -> None:
        super().__init__(config, names, canvas, fabric)
        self.network = RegistrationNet(config, canvas)
        self.exemplars = torch.zeros(0, 1, *canvas)
        self.xy = torch.zeros(0, len(names), 2)

    @classmethod
    def check(cls, chosen: Mapping[str, ChosenStage]) -> None:
        """Check that the attention heads share the width evenly.

        Raises:
            UserError: they do not.
        """
        config = chosen[cls.slot].config
        assert isinstance(config, EdgeTransConfig)
        if config.width % config.heads:
            raise UserError(
                f"match.width must be a multiple of match.heads, and {config.width} is not one of {config.heads}: "
                "change one of them"
            )

    def learn(self, context: StageContext, levels: list[ResolutionLevel]) -> None:
        """Learn to register the cohort's radiographs."""
        config, level = self.config, levels[-1]
        pretrained.start(self.network, config.encoder, config.weights, self.slot)
        task = RegistrationTask(self.network, level, config, self.fabric)
        train(task, config.plan(context.seconds), context, lambda: self.preview(level))

    def remember(self, store: CanvasCache, exemplars: list[CanvasExemplar]) -> None:
        """Take the exemplars' canvases and landmarks."""
        exemplars = carriers(exemplars)
        self.exemplars = store.read([one.index for one in exemplars])
        self.xy = torch.stack([one.xy for one in exemplars])

    def locate(self, radiograph: Radiograph) -> LandmarkSet:
        """Landmarks of a radiograph, in original pixels."""
        answer = self._register(radiograph)
        each = Peaks(answer.xy.transpose(0, 1), answer.score.T, answer.apart.T)
        visible = self.xy.isfinite().all(-1).T
        peaks = combine(each, visible, self.config.several, self.config.temperature)
        return landmark_set(radiograph, self.names, answer.frame, peaks.xy, peaks.score, peaks.spread)

    def explain(self, radiograph: Radiograph, landmark: str | None = None) -> Evidence:
        """The exemplar warped onto the radiograph, the deformation, edges and similarity.

        Of the exemplar that the landmark is taken from, or of the most similar one when none is named.

        Raises:
            UserError: no landmark of that name.
        """
        k = None if landmark is None else self.index_of(landmark)
        answer = self._register(radiograph)
        score = answer.score.mean(1) if k is None else answer.score[:, k]
        m = int(score.argmax())
        one = slice(m, m + 1)
        exemplar, there = self.exemplars[one], answer.there.take(one)
        warped = there.images(exemplar)
        shown = {
            "affine-warped exemplar": answer.affine.take(one).images(exemplar),
            "warped exemplar": warped,
            "edges of the radiograph": edges(answer.canvas).norm(dim=1, keepdim=True),
            "edges of the warped exemplar": edges(warped).norm(dim=1, keepdim=True),
            "similarity": answer.alike[one].clamp(min=0),
        }
        frame = answer.frame
        field = frame.restore(there.field(1)[0]) / frame.scale[:, None, None]
        return Evidence(
            radiograph.name,
            landmark,
            {name: frame.restore(m[0, 0]) for name, m in shown.items()},
            np.ascontiguousarray(field.transpose(1, 2, 0).astype(np.float32)),
            {"similarity": float(answer.alike[m].mean())},
        )

    def _register(self, radiograph: Radiograph) -> Registration:
        """Register the exemplars with a radiograph, there and back."""
        config, count = self.config, len(self.exemplars)
        frame = Letterbox.fit(radiograph.size, self.canvas, STRETCH[self.config.framing])
        canvas = frame.render(radiograph.pixels)[None, None]
        images = torch.cat([self.exemplars, canvas]).to(self.fabric.device)
        ours = torch.arange(count, device=images.device)
        theirs = torch.full_like(ours, count)
        source, target = torch.cat([ours, theirs]), torch.cat([theirs, ours])
        network = self.network.to(self.fabric.device).eval()
        with memory_errors(REMEDY):
            start = (
                align_by_sift(images, source, target, config.field_stride)
                if config.affine == "sift"
                else None
            )
            with torch.no_grad():
                found = network(images, source, target, config.passes_located, start)
            answer = found.answer
            if config.refine:
                back = answer.take(slice(count, None))
                marks = self.xy.to(images.device)
                marks = torch.cat([marks, torch.where(marks.isnan(), marks, back(marks.nan_to_num()))])
                answer = refine_instance(answer, images[source], images[target], marks, config)
        return self._judge(canvas, frame, found.affine, answer)

    def _judge(
        self, canvas: torch.Tensor, frame: Letterbox, affine: Transform, both: Transform
    ) -> Registration:
        count = len(self.exemplars)
        both, affine = both.to(torch.device("cpu")), affine.to(torch.device("cpu"))
        there, back = both.take(slice(None, count)), both.take(slice(count, None))
        seen = ~self.xy.isnan().any(-1)
        here = there.inverse(self.xy.nan_to_num())
        other = back(self.xy.nan_to_num())
        warped = there.images(self.exemplars)
        alike = likeness(warped, canvas.expand_as(warped))
        score = sample(alike, here[:, None], "border")[:, 0, 0].clamp(0, 1)
        return Registration(
            canvas,
            frame,
            affine.take(slice(None, count)),
            there,
            (here + other) / 2,
            (here - other).norm(dim=-1),
            alike,
            torch.where(seen, score, 0.0),
        )

    def tensors(self) -> dict[str, torch.Tensor]:
        """The network and the exemplars."""
        return super().tensors() | {"exemplars": self.exemplars, "xy": self.xy}

    def load_tensors(self, tensors: Tensors) -> None:
        """Take back what `tensors` gave."""
        super().load_tensors(tensors)
        self.exemplars, self.xy = tensors["exemplars"], tensors["xy"]


def likeness(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Mean structural similarity `[P, 1, H, W]` of pictures and edges `[P, 1, H, W]`, smoothed over some 20 px."""
    pair = [torch.cat([x, 0.5 + 2 * edges(x)], 1) for x in (a, b)]
    mean = ssim(*pair).mean(1, keepdim=True)
    return torch.nn.functional.avg_pool2d(mean, 21, 1, 10, count_include_pad=False)

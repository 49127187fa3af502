"""TPL: a detector trained on the matcher's pseudo-labels (Yao et al., MICCAI 2021, stage TPL)."""

from __future__ import annotations

import math

import torch
from torch import nn

from onemark.imaging.letterbox import Size
from onemark.nn.backbones import pretrained
from onemark.nn.backbones.pyramid import pyramid
from onemark.nn.heatmaps.decode import Peaks
from onemark.nn.heatmaps.heatmap import PEAK_RADIUS, HeatmapNet, fitting_peaks
from onemark.nn.reader import heat_evidence, landmark_set
from onemark.nn.training.canvases import ResolutionLevel, cohort_canvas
from onemark.nn.training.labels import PseudoLabels
from onemark.nn.training.pace import is_worth_looking, seconds_per_step
from onemark.nn.training.task import Task
from onemark.nn.weights import Tensors, take_fitting
from onemark.stages.base import StageContext
from onemark.stages.config import TrainedConfig
from onemark.stages.detect.tpl.config import TPLConfig
from onemark.stages.detect.tpl.heatmap import HeatmapTask
from onemark.stages.detect.tpl.voting import VotingNet, VotingTask, disc_radius, vote
from onemark.stages.detector import LABELLING, Detector
from onemark.types import Evidence, LandmarkSet, Radiograph

ENOUGH_STEPS = 500
"""On fewer steps, a finer canvas is not worth what it takes (docs/benchmarks/what-was-tried.md)."""


class TPL(Detector):
    """Heatmap detector, or the voting one as published."""

    Config = TPLConfig
    config: TPLConfig

    @property
    def grow(self) -> float:
        """Share of the schedule that is trained on a smaller canvas first, 0...1."""
        return self.config.grow

    def locate(self, radiograph: Radiograph) -> LandmarkSet:
        """Landmarks of a radiograph, in original pixels."""
        output, frame = self.reader.read(radiograph)
        peaks = self._peaks(output[0].float().cpu())
        found = (peaks.xy, peaks.score, peaks.spread, peaks.covariance)
        return landmark_set(radiograph, self.names, frame, *found)

    def _peaks(self, output: torch.Tensor) -> Peaks:
        """Peaks in canvas px: of votes, or of heatmaps `[K, h, w]`, those chosen that fit together."""
        if self.config.head == "voting":
            radius = disc_radius(self.canvas, self.config.disc)
            return vote(output, radius, self.config.peak == "subpixel")[0]
        radius = PEAK_RADIUS if self.config.peak == "subpixel" else 0
        return fitting_peaks(output, self.shape, radius)

    def explain(self, radiograph: Radiograph, landmark: str | None = None) -> Evidence:
        """The heatmap of a landmark, or the strongest of all when none is named; of head voting the ballots too.

        Raises:
            UserError: no landmark of that name.
        """
        output, frame = self.reader.read(radiograph)
        return heat_evidence(radiograph, self.names, landmark, frame, self._maps(output[0].float().cpu()))

    def _maps(self, output: torch.Tensor) -> dict[str, torch.Tensor]:
        if self.config.head == "heatmap":
            return {"heatmap": output.flatten(1).softmax(1).view_as(output)}
        return {
            "heatmap": output[0].sigmoid(),
            "votes": vote(output, disc_radius(self.canvas, self.config.disc))[1],
        }

    @property
    def uses_shape(self) -> bool:
        """Whether a prior on constellations chooses among the peaks: not among votes."""
        return bool(self.config.head == "heatmap")

    @classmethod
    def choose_canvas(cls, context: StageContext, canvas: Size) -> Size:
        """The finest canvas, up to `enlarge` times as large, on which the time budget leaves enough steps."""
        config = context.options_as(TPLConfig)
        if context.seconds is None or config.enlarge == 1:
            return canvas
        if not is_worth_looking(context.seconds, context.fabric):
            return canvas
        seconds = context.seconds * (1 - LABELLING)
        with torch.random.fork_rng():  # the network that is trained draws the same weights either way
            network = cls.build_network(config, len(context.exemplars.names))
            pace = seconds_per_step(network, canvas, config.batch, context.fabric)
        for larger in (config.enlarge, math.sqrt(config.enlarge)):
            if seconds >= ENOUGH_STEPS * larger * pace:
                return cohort_canvas(context.cohort, round(larger * config.area))
        return canvas

    @staticmethod
    def build_network(config: TrainedConfig, landmarks: int) -> nn.Module:
        """Heatmaps, or discs and offsets."""
        assert isinstance(config, TPLConfig)
        if config.head == "voting":
            return VotingNet(pyramid(config.encoder, "instance", centred=True), landmarks)
        return HeatmapNet(pyramid(config.encoder, centred=True), landmarks)

    def make_task(self, levels: list[ResolutionLevel], labels: PseudoLabels) -> Task:
        """Heatmaps, or discs and offsets, from trimmed pseudo-labels."""
        kind = VotingTask if self.config.head == "voting" else HeatmapTask
        return kind(self.network, levels, labels, self.config)

    def start_from(self, weights: Tensors) -> None:
        """Take weights that fit; a pretrained encoder starts as published, unless they are a former detector's."""
        encoder = self.config.encoder
        if encoder != "compact" and weights.keys() != self.network.state_dict().keys():
            pretrained.start(self.network, encoder, self.config.weights, self.slot)
            if encoder == "vgg19":  # as published: the detector learns from ImageNet, not from the matcher
                return
        take_fitting(self.network, weights)

"""C2T: two detectors trained on the matcher's pseudo-labels (Yin et al., ECCV 2022, stage II)."""

from __future__ import annotations

import torch

from onemark.imaging.letterbox import Letterbox
from onemark.nn.backbones import pretrained
from onemark.nn.heatmaps.heatmap import PEAK_RADIUS, fitting_peaks
from onemark.nn.reader import heat_evidence, landmark_set
from onemark.nn.training.canvases import ResolutionLevel
from onemark.nn.training.labels import PseudoLabels
from onemark.nn.training.task import Task
from onemark.nn.weights import Tensors, take_fitting
from onemark.stages.config import TrainedConfig
from onemark.stages.detect.c2t.config import C2TConfig
from onemark.stages.detect.c2t.heat import log_heat
from onemark.stages.detect.c2t.network import Pair
from onemark.stages.detect.c2t.task import C2TTask
from onemark.stages.detector import Detector
from onemark.types import Evidence, LandmarkSet, Radiograph


class C2T(Detector):
    """Two co-taught heatmap detectors."""

    Config = C2TConfig
    config: C2TConfig
    network: Pair

    @property
    def grow(self) -> float:
        """Share of the schedule that is trained on a smaller canvas first, 0...1."""
        return self.config.grow

    def locate(self, radiograph: Radiograph) -> LandmarkSet:
        """Landmarks of a radiograph, in original pixels: the peaks of both detectors' mean log-probability."""
        maps, frame = self._read(radiograph)
        together = torch.stack(maps).mean(0)
        radius = PEAK_RADIUS if self.config.peak == "subpixel" else 0
        peaks = fitting_peaks(together, self.shape, radius, self.canvas[0] // together.shape[-2])
        found = (peaks.xy, peaks.score, peaks.spread, peaks.covariance)
        return landmark_set(radiograph, self.names, frame, *found)

    def explain(self, radiograph: Radiograph, landmark: str | None = None) -> Evidence:
        """The heatmaps of a landmark, or the strongest of all when none is named: of each detector, and joined.

        Raises:
            UserError: no landmark of that name.
        """
        maps, frame = self._read(radiograph)
        shown = {"heatmap": torch.stack(maps).mean(0)}
        shown |= {f"heatmap {n}": m for n, m in enumerate(maps, 1)}
        return heat_evidence(
            radiograph,
            self.names,
            landmark,
            frame,
            {name: m.flatten(1).softmax(1).view_as(m) for name, m in shown.items()},
        )

    @staticmethod
    def build_network(config: TrainedConfig, landmarks: int) -> Pair:
        """Both detectors."""
        assert isinstance(config, C2TConfig)
        return Pair(config, landmarks)

    def make_task(self, levels: list[ResolutionLevel], labels: PseudoLabels) -> Task:
        """Consistency co-teaching."""
        return C2TTask(self.network, levels, labels, self.config)

    def _read(self, radiograph: Radiograph) -> tuple[list[torch.Tensor], Letterbox]:
        """Log-probabilities `[K, h, w]` of each detector, up to a constant, and where the radiograph lies."""
        outputs, frame = self.reader.read(radiograph)
        width = self.config.sigma * outputs[0].shape[-2] / self.canvas[0]
        return [log_heat(maps[0].cpu(), self.config.loss, width) for maps in outputs], frame

    def start_from(self, weights: Tensors) -> None:
        """Take a former pair's weights; else HRNets start from ImageNet's, compact networks from the matcher's."""
        if weights.keys() == self.network.state_dict().keys():
            take_fitting(self.network, weights)
        elif self.config.encoder == "hrnet_w18":
            pretrained.start(self.network, "hrnet_w18", self.config.weights, self.slot)
        else:
            for network in (self.network.first, self.network.second):
                take_fitting(network, weights)

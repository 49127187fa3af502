"""The toolkit that a user has today for annotated radiographs: landmarker trains a network on them, and on them alone.

    python benchmarks/peer_landmarker.py IMAGES LANDMARKS.csv --labels 83,39,102 --test 151-300 --minutes 10 \
        --spacing-mm 0.25 --network unet

landmarker (Jonkers et al., SoftwareX 2025) brings its datasets, heatmaps, losses, networks and decoders. `scn` is its
documentation's model of these cephalograms: the original spatial configuration network with learned Gaussians, squared
error and SGD. `unet` is its newer model: a U-Net of strided residual blocks whose logits a spatial configuration network
corrects, negative log-likelihood and Adam; it needs far fewer steps, so it is the default. The last step counts, and no
test label is read before the scores. Only this comparison needs landmarker: `pip install landmarker`.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import onemark
from common import describe_machine, parse_numbers
from onemark import LandmarkSet, LandmarkTable
from peers import parse_positions

try:
    from landmarker.data import LandmarkDataset
    from landmarker.heatmap import GaussianHeatmapGenerator
    from landmarker.heatmap.decoder import coord_local_weighted, heatmap_to_coord
    from landmarker.losses import GaussianHeatmapL2Loss, NLLLoss
    from landmarker.models import OriginalSpatialConfigurationNet, ProbSpatialConfigurationNet
    from landmarker.models.utils import SoftmaxND
    from landmarker.transforms.images import UseOnlyFirstChannel
    from landmarker.utils import pixel_to_unit
    from monai import transforms as monai
    from monai.utils import set_determinism
except ImportError:
    raise SystemExit("peer_landmarker.py compares with landmarker: pip install landmarker") from None

WARM_UP = 0.05  # share of the time in which Adam's rate rises


@dataclass(frozen=True)
class Method:
    """One of landmarker's ways from images to landmarks.

    Attributes:
        network: `[B, 1, H, W]` -> `[B, K, H, W]`.
        generator: Landmarks `[B, K, 2]` (y, x) -> target heatmaps.
        optimizer: Of both.
        probabilities: Whether the heatmaps are logits of a distribution over the pixels.
    """

    network: torch.nn.Module
    generator: GaussianHeatmapGenerator
    optimizer: torch.optim.Optimizer
    probabilities: bool

    def loss(self, images: torch.Tensor, landmarks: torch.Tensor) -> torch.Tensor:
        """Misfit of the heatmaps of `[B, 1, H, W]` to landmarks `[B, K, 2]`."""
        heatmaps, target = self.network(images), self.generator(landmarks)
        if self.probabilities:
            return NLLLoss()(heatmaps, target)
        return GaussianHeatmapL2Loss(alpha=5)(heatmaps, self.generator.sigmas, target)

    @torch.inference_mode()
    def locate(self, images: torch.Tensor) -> torch.Tensor:
        """`[B, K, 2]` (y, x) canvas px, by the decoders that fit the heatmaps."""
        heatmaps = self.network.eval()(images)
        if self.probabilities:
            return coord_local_weighted(SoftmaxND(2)(heatmaps), window=5)
        return heatmap_to_coord(heatmaps, method="local_soft_argmax")


def make_method(asked: argparse.Namespace, landmarks: int) -> Method:
    """Make the network that was asked for, untrained, and what trains it."""
    shape = {"nb_landmarks": landmarks, "sigmas": asked.sigma, "heatmap_size": tuple(asked.size)}
    if asked.network == "scn":
        network = OriginalSpatialConfigurationNet(1, landmarks, asked.channels, sp_channels=asked.channels)
        generator = GaussianHeatmapGenerator(gamma=100, learnable=True, **shape)
        groups = [
            {"params": network.parameters(), "weight_decay": 1e-3},
            {"params": generator.parameters()},
        ]
        sgd = torch.optim.SGD(groups, lr=asked.rate or 1e-6, momentum=0.99, nesterov=True)
        return Method(network, generator, sgd, probabilities=False)
    network = ProbSpatialConfigurationNet(
        out_channels=landmarks, la_channels=(asked.channels,) * 5, sp_channels=asked.channels
    )
    # A gamma of 1 makes each target sum to 1.
    generator = GaussianHeatmapGenerator(gamma=1, **shape)
    adam = torch.optim.Adam(network.parameters(), lr=asked.rate or 1e-3)
    return Method(network, generator, adam, probabilities=True)


def make_transform(training: bool) -> Any:
    """Make the changes of its example for these cephalograms; without training, only the scaling."""
    key = ("image",)
    plain = [UseOnlyFirstChannel(key), monai.ScaleIntensityd(key)]
    if not training:
        return monai.Compose(plain)
    tilt = math.pi / 12
    return monai.Compose(
        [
            *plain,
            monai.RandGaussianNoised(key, prob=0.2, mean=0, std=0.1),
            monai.RandScaleIntensityd(key, factors=0.25, prob=0.2),
            monai.RandAdjustContrastd(key, prob=0.2, gamma=(0.5, 4.5)),
            monai.RandHistogramShiftd(key, prob=0.2),
            monai.ScaleIntensityd(key),
            monai.RandAffined(
                key,
                prob=1,
                rotate_range=(-tilt, tilt),
                translate_range=(-10, 10),
                scale_range=(-0.1, 0.1),
                shear_range=(-0.1, 0.1),
            ),
        ]
    )


def make_dataset(
    images: Path, places: Sequence[LandmarkSet], size: Sequence[int], training: bool
) -> LandmarkDataset:
    """Make landmarker's dataset of these radiographs, resized and padded to `size` (H, W)."""
    yx = np.stack([one.xy[:, ::-1] for one in places])
    paths = [str(images / one.image) for one in places]
    return LandmarkDataset(paths, yx, transform=make_transform(training), dim_img=tuple(size))


def draw_batches(dataset: LandmarkDataset, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield images `[B, 1, H, W]` and landmarks `[B, K, 2]` of shuffled radiographs without end."""
    size = min(size, len(dataset))
    while True:
        for chosen in torch.randperm(len(dataset)).split(size):
            if len(chosen) == size:
                rows = [dataset[int(i)] for i in chosen]
                images = torch.stack([row["image"].as_tensor() for row in rows])
                yield images, torch.stack([torch.as_tensor(row["landmark"]) for row in rows])


def busy_seconds() -> float:
    """Processor time of this process for each of its threads: what a quiet machine needs, however busy this one is."""
    return time.process_time() / torch.get_num_threads()


def train(method: Method, dataset: LandmarkDataset, asked: argparse.Namespace, end: float) -> int:
    """Train until `end` (of `busy_seconds`) or for some steps; return how many there were."""
    start, rate, step = busy_seconds(), method.optimizer.param_groups[0]["lr"], 0
    for images, landmarks in draw_batches(dataset, asked.batch):
        elapsed = (busy_seconds() - start) / (end - start)
        if elapsed >= 1 or (asked.steps and step >= asked.steps):
            break
        if method.probabilities:
            falling = (1 + math.cos(math.pi * elapsed)) / 2
            method.optimizer.param_groups[0]["lr"] = rate * min(falling, (elapsed + 1e-3) / WARM_UP)
        method.network.train()
        loss = method.loss(images, landmarks)
        method.optimizer.zero_grad()
        loss.backward()
        method.optimizer.step()
        step += 1
        if step == 1 or step % 50 == 0:
            print(f"step {step}, {busy_seconds() - start:.0f} s: loss {loss.item():.4f}", flush=True)
    return step


def predict(method: Method, dataset: LandmarkDataset, names: Sequence[str]) -> NDArray[np.float64]:
    """Locate every radiograph: `[N, K, 2]` (x, y) original px."""
    found = []
    for n in range(len(dataset)):
        row = dataset[n]
        yx = method.locate(row["image"].as_tensor()[None])
        size, padding = row["dim_original"][None], row["padding"][None]
        yx = pixel_to_unit(yx, dim=row["image"].shape[-2:], dim_orig=size, padding=padding)
        found.append(yx[0].numpy()[:, ::-1])
    return np.stack(found).astype(np.float64)


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", type=Path)
    parser.add_argument("landmarks", type=Path)
    parser.add_argument("--labels", type=parse_numbers, required=True, help="positions of the annotated ones")
    parser.add_argument("--test", type=parse_positions, required=True, help="positions, such as 151-300")
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="processor time of each thread for reading and training"
    )
    parser.add_argument("--steps", type=int, help="stop after so many, to try it")
    parser.add_argument("--network", choices=("scn", "unet"), default="unet")
    parser.add_argument("--channels", type=int, default=32, help="128 in its documentation")
    parser.add_argument("--size", type=int, nargs=2, default=(320, 256), help="H W, 512 512 there")
    parser.add_argument(
        "--sigma", type=float, default=2.0, help="of the targets at first, canvas px; 3 there"
    )
    parser.add_argument("--batch", type=int, default=2, help="1 there")
    parser.add_argument("--rate", type=float, help="learning rate, by default 1e-6 (scn) and 1e-3 (unet)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--spacing-mm", type=float)
    parser.add_argument("--out", type=Path, help="write the landmarks here")
    return parser.parse_args()


def main() -> None:
    """Train, predict, score, print."""
    asked = parse_arguments()
    torch.set_num_threads(asked.threads)
    set_determinism(asked.seed)
    cohort, truth = onemark.open_cohort(asked.images), onemark.read_landmarks(asked.landmarks)
    labelled = [cohort.names[n - 1] for n in asked.labels]
    names = [name for name in cohort.names[asked.test] if name not in labelled]
    print(describe_machine())
    end = busy_seconds() + 60 * asked.minutes
    dataset = make_dataset(asked.images, [truth[name] for name in labelled], asked.size, training=True)
    method = make_method(asked, len(truth.names))
    steps = train(method, dataset, asked, end)
    nowhere = np.zeros((len(truth.names), 2))
    blind = [LandmarkSet(name, truth.names, nowhere) for name in names]
    tests = make_dataset(asked.images, blind, asked.size, training=False)
    start = time.perf_counter()
    places = predict(method, tests, names)
    each = (time.perf_counter() - start) / len(names)
    rows = zip(names, places, strict=True)
    predictions = LandmarkTable.from_sets(LandmarkSet(name, truth.names, xy) for name, xy in rows)
    if asked.out:
        predictions.to_csv(asked.out)
    print(f"landmarker {asked.network}, {len(labelled)} labels, {steps} steps in {asked.minutes:g} minutes")
    print(onemark.evaluate(predictions, truth, spacing_mm=asked.spacing_mm).as_text())
    print(f"seconds per radiograph: {each:.2f}")


if __name__ == "__main__":
    main()

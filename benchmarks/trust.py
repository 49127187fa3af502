"""Expected errors of a run against the actual ones: ranking, ellipses, conformal regions, and the order of a review.

    python benchmarks/trust.py DATA RUN [RUN ...] --test FOLDER --spacing-mm 0.25 --plot docs/images/expected-error.png
    python benchmarks/trust.py phantom

DATA holds images/ and landmarks.csv; a RUN is what `benchmarks/ceph.py --out` wrote, and its radiographs are where the
run has noted them. Trust and error model are learned again by the present code, so runs need not be repeated. The test
images are those of FOLDER, or of DATA, that are no exemplars. Some of the run's own radiographs are corrected, while the
model stays as it is, and the test images are judged again. `phantom` trains for a minute on phantoms first, and judges
others whose exposure and pose are shifted.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import rankdata, spearmanr
from skimage.transform import SimilarityTransform, warp

import onemark
from common import describe_machine, parse_numbers, work_folder
from onemark import Cohort, LandmarkSet, LandmarkTable, Model
from onemark.evaluation.review import area_left, measure_left, plan_review
from onemark.imaging.ellipses import pixel_scale, region_factor, to_covariance
from onemark.phantom import write_phantom_cohort
from onemark.pipeline.fit import open_own_cohort
from onemark.pipeline.runs.folder import RunFolder
from onemark.progress import silent
from onemark.stages.trust import measure_trust
from onemark.uncertainty.calibration import Calibration, Corrections
from onemark.uncertainty.learning import compare_corrections, learn_error_model

BAD_MM = 4.0
BAD_TIMES = 2.0  # times the median error, where there are no mm
SHARES = (0.5, 0.8, 0.95)
PROMISED = (0.8, 0.9, 0.95)
DRAWS = 20  # random orders of a review
PHANTOMS, SHIFTED = 24, 24  # learned from, and judged
Table = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """Expected and actual errors of N radiographs, in mm or px.

    Attributes:
        what: Their name in the table.
        expected: `[N, K]`.
        away: `[N, K, 2]` from the true places to the predictions.
        ellipse: `[N, K, 3]`.
        radius: `[3, N, K]` of the discs with a promise, at each share of `PROMISED`; infinite where nothing is promised.
        limit: Error from which on a landmark is bad.
    """

    what: str
    expected: Table
    away: Table
    ellipse: Table
    radius: Table
    limit: float

    @property
    def actual(self) -> Table:
        """`[N, K]` lengths of the errors."""
        return np.asarray(np.linalg.norm(self.away, axis=-1))

    @property
    def auroc(self) -> float:
        """Area under the ROC curve for `bad`."""
        bad, ranks = self.actual.ravel() > self.limit, rankdata(self.expected)
        ones, zeros = bad.sum(), (~bad).sum()
        return (
            float((ranks[bad].sum() - ones * (ones + 1) / 2) / (ones * zeros)) if ones and zeros else math.nan
        )

    @property
    def flagged(self) -> float:
        """Share of the bad ones that are in the tenth expected to be worst."""
        bad = self.actual.ravel() > self.limit
        worst = np.argsort(-self.expected.ravel(), kind="stable")[: bad.size // 10]
        return float(bad[worst].sum() / max(bad.sum(), 1))

    @property
    def within(self) -> float:
        """Mean rank correlation of expected and actual error within a landmark."""
        pairs = zip(self.expected.T, self.actual.T, strict=True)
        return float(np.nanmean([spearmanr(e, a)[0] for e, a in pairs if np.ptp(e) > 0]))

    @property
    def deciles(self) -> Table:
        """`[10, 2]` mean expected and actual error of each tenth by expected error."""
        order = np.array_split(np.argsort(self.expected.ravel(), kind="stable"), 10)
        return np.array([[self.expected.ravel()[i].mean(), self.actual.ravel()[i].mean()] for i in order])

    def covered(self, share: float, round_: bool = False) -> float:
        """Share of the true places in the ellipses that are to hold `share`, or in circles of the same expected error."""
        if round_:
            reach = self.expected / math.sqrt(math.pi / 2) * region_factor(share)
            return float((self.actual <= reach).mean())
        return float((self._squared <= region_factor(share) ** 2).mean())

    @property
    def gain(self) -> float:
        """Mean gain in log-likelihood of an error's direction over circles: 0 where ellipses say nothing."""
        shapes = to_covariance(self.ellipse)
        squared = self._squared / np.maximum(self.actual, 1e-12) ** 2
        return float(-(np.log(np.linalg.det(shapes)) / 2 + np.log(squared)).mean())

    @property
    def _squared(self) -> Table:
        """`[N, K]` squared Mahalanobis distances."""
        towards = np.linalg.solve(to_covariance(self.ellipse), self.away[..., None])[..., 0]
        return np.asarray((self.away * towards).sum(-1))

    def row(self) -> str:
        """Format one line of the table."""
        rho = spearmanr(self.expected.ravel(), self.actual.ravel())[0]
        return (
            f"{self.what:28} {self.auroc:.3f}  {100 * self.flagged:4.1f} %  {self.within:.2f}    {rho:.2f}  "
            f"{self.expected.mean():6.2f} / {self.actual.mean():.2f}"
        )

    def shape_row(self) -> str:
        """Format what the ellipses hold, and circles in brackets."""
        held = (f"{self.covered(s):.1%} ({self.covered(s, round_=True):.1%})" for s in SHARES)
        return f"{self.what:28} {'   '.join(held)}   {self.gain:+.3f}"

    def review_row(self, generator: np.random.Generator) -> str:
        """Format the mean share of error left over a review: in the order that pays, at random, at best."""
        true, (count, landmarks) = self.actual, self.actual.shape
        guided, best = (area_left(measure_left(plan_review(by), true)) for by in (self.expected, true))
        flat = [plan_review(generator.random((count, landmarks))) for _ in range(DRAWS)]
        blind = float(np.mean([area_left(measure_left(one, true)) for one in flat]))
        tenth = measure_left(plan_review(self.expected), true)[max(1, true.size // 10), 2]
        return f"{self.what:28} {guided:.3f}    {blind:.3f}   {best:.3f}   {tenth:.1%}"


def main() -> None:
    """Judge every run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path, nargs="*")
    parser.add_argument("--test", type=Path, help="folder of the test images, by default all of DATA")
    parser.add_argument("--every", type=int, default=1, help="take every n-th test image")
    parser.add_argument("--spacing-mm", type=float, help="mm per pixel; without it errors are in px")
    parser.add_argument("--corrected", default="0,4,10,25", help="how many corrections to judge with")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of corrected images")
    parser.add_argument("--plot", type=Path, help="picture of the first run to write")
    options = parser.parse_args()
    if str(options.data) == "phantom":
        options.data, run, options.test = make_phantoms()
        options.runs = [run]
    truth = onemark.read_landmarks(options.data / "landmarks.csv")
    test = onemark.open_cohort(options.test or options.data / "images", spacing_mm=options.spacing_mm)
    test = test.subset([name for name in test.names if name in truth][:: options.every])
    print(describe_machine())
    shown: list[Judged] = []
    for run in options.runs:
        judged = judge(run, test, truth, parse_numbers(options.corrected), options.seed)
        shown = shown or judged
        generator = np.random.default_rng(options.seed)
        print(f"\n{'':28} AUROC  flagged  within  rho   expected / actual")
        print(*(one.row() for one in judged), sep="\n")
        print(
            f"\nin the ellipse (in the circle)   {'   '.join(f'{s:.0%}' for s in SHARES)}   gain of direction"
        )
        print(*(one.shape_row() for one in judged), sep="\n")
        print(f"\n{'error left over a review':28} guided   random  oracle  after a tenth of the landmarks")
        print(*(one.review_row(generator) for one in judged), sep="\n")
    if options.plot:
        plot(shown, options.plot)


def make_phantoms() -> tuple[Path, Path, Path]:
    """Write phantoms and train for a minute with one of them; others get another exposure and pose, and are judged.

    Returns:
        The folder of the truth, the run, and the folder of those that are judged.
    """
    folder = work_folder(None)
    images, test = folder / "images", folder / "test"
    truth = write_phantom_cohort(images, PHANTOMS + SHIFTED)
    test.mkdir()
    rng, sets = np.random.default_rng(0), list(truth.sets[:PHANTOMS])
    for one in truth.sets[PHANTOMS:]:
        sets.append(shift(one, images / one.image, test / one.image, rng))
        (images / one.image).unlink()
    LandmarkTable.from_sets(sets).to_csv(folder / "landmarks.csv")
    exemplars = LandmarkTable.from_sets(sets[:1])
    onemark.fit(onemark.open_cohort(images), exemplars, minutes=1, out=folder / "run", device="cpu")
    return folder, folder / "run", test


def shift(landmarks: LandmarkSet, source: Path, target: Path, rng: np.random.Generator) -> LandmarkSet:
    """Write a radiograph with another exposure and pose, beyond what phantoms differ by; its landmarks there."""
    pixels = np.asarray(Image.open(source)) / 255
    centre = np.array(pixels.shape[::-1]) / 2
    turn, scale = np.radians(rng.uniform(6, 12) * rng.choice([-1, 1])), np.exp(rng.uniform(-0.12, 0.12))
    pose = SimilarityTransform(translation=-centre) + SimilarityTransform(rotation=turn, scale=scale)
    pose += SimilarityTransform(translation=centre + rng.uniform(-0.05, 0.05, 2) * centre)
    moved = warp(pixels, pose.inverse, order=1, mode="edge") ** np.exp(
        rng.choice([-1, 1]) * rng.uniform(0.3, 0.6)
    )
    Image.fromarray((moved * 255).round().astype(np.uint8)).save(target)
    return dataclasses.replace(landmarks, xy=pose(landmarks.xy))


def judge(run: Path, test: Cohort, truth: LandmarkTable, counts: Sequence[int], seed: int) -> list[Judged]:
    """Judge one run after each number of corrections, and print what conformal regions hold."""
    model, train = onemark.load(run), open_own_cohort(RunFolder.open(run))
    model.trust = measure_trust(model.stages, model.exemplars, train, seed)
    plain = learn_error_model(model.stages, model.trust, model.exemplars, train, Corrections(), silent, seed)
    assert plain is not None
    others = [n for n in train.names if n not in model.exemplars.images and n in truth and n not in test]
    others = others or [n for n in train.names if n not in model.exemplars.images and n in truth]
    order = np.random.default_rng(seed).permutation(others)[: max(counts)]
    corrected = LandmarkTable.from_sets(truth[str(name)] for name in order)
    shown = compare_corrections(
        plain, model.stages, model.trust, model.exemplars, corrected, train, model.mean_error
    )
    test = test.subset([n for n in test.names if n not in model.exemplars.images and n not in order])
    judged = []
    for count in (count for count in counts if count <= len(order)):
        angles, doubts = shown.angles[:count], shown.doubts[:count]
        calibration = Calibration.of(shown.ratios[:count], len(model.names), angles, doubts)
        model.error_model = dataclasses.replace(plain, calibration=calibration)
        judged.append(compare(f"{run.name}: {count} corrections", model, test, truth))
        if count:
            print_conformal(judged[-1], model)
    return judged


def compare(what: str, model: Model, test: Cohort, truth: LandmarkTable) -> Judged:
    """Predict the test images and compare them with the truth."""
    expected, away, ellipse, radii = [], [], [], []
    for found in model.locate_all(test.readable()):
        header, true = test.header(found.image), truth[found.image]
        at = [true.names.index(name) for name in found.names]
        expected.append(found.expected_error)
        lengths = np.sqrt(np.diag(pixel_scale(header.spacing)))
        away.append((found.xy - true.xy[at]) * lengths)
        ellipse.append(found.ellipse)
        radii.append([model.conformal_radii(found, header, share) for share in PROMISED])
    errors = np.linalg.norm(np.stack(away), axis=-1)
    limit = BAD_MM if header.spacing is not None else BAD_TIMES * float(np.median(errors))
    radius = np.array(radii).transpose(1, 0, 2)
    return Judged(what, np.stack(expected), np.stack(away), np.stack(ellipse), radius, limit)


def print_conformal(one: Judged, model: Model) -> None:
    """Print what the conformal factor and the regions with a promise hold, and how large the regions are."""
    for share, radius in zip(PROMISED, one.radius, strict=True):
        factor, known = model.conformal_factor(share), np.isfinite(radius).all(0)
        said = "none" if factor is None else f"{(one.actual <= factor * one.expected).mean():.1%}"
        if known.any():
            held = (one.actual <= radius)[:, known]
            area = math.pi * (radius[:, known] ** 2).mean()
            regions = f"{held.mean():.1%} (least of a landmark {held.mean(0).min():.1%}), area {area:.1f}"
        else:
            regions = "nothing promised"
        print(f"    {one.what}, {share:.0%}: one factor holds {said}; regions hold {regions}")


def plot(judged: Sequence[Judged], path: Path) -> None:
    """Plot expected against actual error per decile."""
    import matplotlib.pyplot as plt  # an extra of this script: pip install matplotlib

    figure, axes = plt.subplots(figsize=(5, 5), layout="constrained")
    for one in judged:
        axes.plot(*one.deciles.T, marker="o", label=one.what)
    top = max(float(one.deciles.max()) for one in judged) * 1.05
    axes.plot([0, top], [0, top], color="0.6", label="expected = actual")
    axes.set(xlabel="expected error (means of tenths)", ylabel="actual error", xlim=(0, top), ylim=(0, top))
    axes.legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()

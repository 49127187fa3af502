"""Expected errors of a run against the actual ones, before and after corrections.

    python benchmarks/trust.py DATA RUN [RUN ...] --plot docs/images/expected-error.png

DATA holds images/001.jpg ... and landmarks.csv (ISBI 2015 at 0.25 mm per pixel); a RUN is what `benchmarks/ceph.py --out`
wrote. The error model is learned again from the training images alone, so runs need not be repeated. Then some training
images are corrected, while the model stays as it is, and the test images are judged again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr

import onemark
from common import describe_machine, link_images, parse_numbers, work_folder
from onemark.progress import silent
from onemark.stages.answers import ask
from onemark.uncertainty.learning import correction_ratios, learn_error_model

SPACING_MM = 0.25
BAD_MM = 4.0
Table = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """Expected and actual errors `[N, K]`, mm."""

    what: str
    expected: Table
    actual: Table

    @property
    def auroc(self) -> float:
        """Area under the ROC curve for `off by more than 4 mm`."""
        bad, ranks = self.actual.ravel() > BAD_MM, rankdata(self.expected)
        ones, zeros = bad.sum(), (~bad).sum()
        return float((ranks[bad].sum() - ones * (ones + 1) / 2) / (ones * zeros))

    @property
    def flagged(self) -> float:
        """Share of those off by more than 4 mm that are in the tenth expected to be worst."""
        bad = self.actual.ravel() > BAD_MM
        worst = np.argsort(-self.expected.ravel(), kind="stable")[: bad.size // 10]
        return float(bad[worst].sum() / bad.sum())

    @property
    def deciles(self) -> Table:
        """`[10, 2]` mean expected and actual error of each tenth by expected error."""
        order = np.array_split(np.argsort(self.expected.ravel(), kind="stable"), 10)
        return np.array([[self.expected.ravel()[i].mean(), self.actual.ravel()[i].mean()] for i in order])

    @property
    def miss(self) -> float:
        """Median over deciles of |expected - actual| / actual."""
        expected, actual = self.deciles.T
        return float(np.median(np.abs(expected - actual) / actual))

    def row(self) -> str:
        """Format one line of the table."""
        rho = spearmanr(self.expected.ravel(), self.actual.ravel())[0]
        return (
            f"{self.what:34} {self.auroc:.3f}   {100 * self.flagged:4.1f} %   {100 * self.miss:4.1f} %   {rho:.3f}   "
            f"{self.expected.mean():.2f} / {self.actual.mean():.2f}"
        )


def main() -> None:
    """Judge every run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--train", default="1-150")
    parser.add_argument("--test", default="151-300")
    parser.add_argument("--corrected", default="0,3,5,10", help="how many corrections to judge with")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of corrected images")
    parser.add_argument("--plot", type=Path, help="picture of the first run to write")
    options = parser.parse_args()
    work, images = work_folder(None), options.data / "images"
    folders = [
        link_images(images, [f"{n:03d}.jpg" for n in parse_numbers(text)], work / name)
        for name, text in {"train": options.train, "test": options.test}.items()
    ]
    train, test = (onemark.open_cohort(folder, spacing_mm=SPACING_MM) for folder in folders)
    truth = onemark.read_landmarks(options.data / "landmarks.csv")
    print(describe_machine())
    print(f"\n{'':34} AUROC   flagged  deciles  rho     expected / actual mm")
    shown: list[Judged] = []
    for run in options.runs:
        judged = judge(run, train, test, truth, parse_numbers(options.corrected), options.seed)
        print(*(one.row() for one in judged), sep="\n")
        shown = shown or judged
    if options.plot:
        plot(shown, options.plot)


def judge(
    run: Path,
    train: onemark.Cohort,
    test: onemark.Cohort,
    truth: onemark.LandmarkTable,
    counts: Sequence[int],
    seed: int,
) -> list[Judged]:
    """Judge one run: the peak's width, and expected errors after each number of corrections."""
    model = onemark.load(run)
    plain = learn_error_model(model.stages, model.exemplars, train, (), silent)
    assert plain is not None
    order = np.random.default_rng(seed).permutation(
        [n for n in train.names if n not in model.exemplars.images]
    )
    corrected = onemark.LandmarkTable.from_sets(truth[str(name)] for name in order[: max(counts)])
    model.error_model = plain
    rows = correction_ratios(plain, model.stages, model.exemplars.images, corrected, train)
    predictions = [ask(model.stages, radiograph).final for radiograph in test.readable()]
    actual = np.stack(
        [np.linalg.norm(one.xy - truth[one.image].xy, axis=1) * SPACING_MM for one in predictions]
    )
    judged = [
        Judged(
            f"{run.name}: width of the peak", np.stack([one.expected_error for one in predictions]), actual
        )
    ]
    expected = np.stack([model.locate(radiograph).expected_error for radiograph in test.readable()])
    for count in counts:
        calibration = type(plain.calibration).of(rows[:count], len(model.names))
        one = Judged(f"{run.name}: {count} corrections", expected * calibration.factors, actual)
        judged.append(one)
        factors = {c: calibration.conformal_factor(c) for c in (0.8, 0.9, 0.95)} if count else {}
        for coverage, factor in factors.items():
            if factor is not None:
                held = (one.actual <= factor * one.expected).mean()
                print(
                    f"    {count} corrections: {coverage:.0%} factor {factor:.2f} x expected holds {held:.1%}"
                )
    return judged


def plot(judged: Sequence[Judged], path: Path) -> None:
    """Plot expected against actual error per decile."""
    import matplotlib.pyplot as plt  # an extra of this script: pip install matplotlib

    figure, axes = plt.subplots(figsize=(5, 5), layout="constrained")
    for one in judged:
        axes.plot(*one.deciles.T, marker="o", label=one.what)
    top = max(float(one.deciles.max()) for one in judged) * 1.05
    axes.plot([0, top], [0, top], color="0.6", label="expected = actual")
    axes.set(
        xlabel="expected error, mm (means of tenths)", ylabel="actual error, mm", xlim=(0, top), ylim=(0, top)
    )
    axes.legend(fontsize=7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()

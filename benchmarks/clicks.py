"""Error against clicks: whole radiographs at random, by `suggest` or the worst first, and single questions.

    python benchmarks/clicks.py IMAGES LANDMARKS EXEMPLAR --learn 150 --spacing-mm 0.1 --minutes 10 --plot clicks.png

IMAGES is a folder of radiographs and LANDMARKS their truth. The first `--learn` of them are the cohort that is learned
from; the others are scored. Every arm starts from the same run of one exemplar and spends as many clicks in a round as
there are landmarks: on one whole radiograph, or on that many questions. After each round the run is taught for `--teach`
minutes. Answers come from the truth. A landmark that the truth lacks is answered as not visible. In the end, each arm is
compared with whole radiographs at random by a paired bootstrap over the radiographs.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import onemark
from common import describe_machine, load_pyplot
from onemark import Cohort, LandmarkSet, LandmarkTable, Model, Questions, Scores
from onemark.evaluation.metrics import paired_bootstrap

COLUMNS = ("arm", "seed", "round", "clicks", "mre", "low", "high", "within_2", "p_to_start", "seconds")


@dataclass(frozen=True)
class Trial:
    """What all arms share.

    Attributes:
        learn: The radiographs that are learned from.
        test: Those that are scored.
        truth: The landmarks of all of them.
        start: Run folder of the one exemplar.
        options: The command line.
    """

    learn: Cohort
    test: Cohort
    truth: LandmarkTable
    start: Path
    options: argparse.Namespace

    def score(self, model: Model) -> Scores:
        """Score a model, in mm where the spacing is given, else in px."""
        return onemark.evaluate(model.predict(self.test), self.truth, spacing_mm=self.options.spacing_mm)


Arm = Callable[[Trial, Path, int], LandmarkTable]
"""The trial, the run as it stands, the seed -> what is annotated next."""


def main() -> None:
    """Fit once, then teach and score arm by arm."""
    options = _options()
    cohort = onemark.open_cohort(options.images)
    truth = onemark.read_landmarks(options.landmarks, cohort)
    names = [name for name in cohort.names if name in truth]
    learn, test = cohort.subset(names[: options.learn]), cohort.subset(names[options.learn :])
    work = options.work or Path(tempfile.mkdtemp(prefix="clicks-"))
    trial = Trial(learn, test, truth, options.run or work / "start", options)
    print(describe_machine(), flush=True)
    if options.run is None:
        _fit(trial, learn.resolve(options.exemplar))
    rows, last = [], dict[str, list[Scores]]()
    with options.out.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for row in _measure(trial, work, last):
            table.writerow(row)
            file.flush()
            print(*row, flush=True)
            rows.append(row)
    compare(last)
    if options.plot:
        plot(rows, options.plot, "px" if options.spacing_mm is None else "mm")


def _fit(trial: Trial, exemplar: str) -> None:
    settings = dict(text.split("=", 1) for text in trial.options.set)
    onemark.fit(
        trial.learn,
        LandmarkTable.from_sets([trial.truth[exemplar]]),
        minutes=trial.options.minutes,
        out=trial.start,
        settings=settings or None,
    )


def _measure(trial: Trial, work: Path, last: dict[str, list[Scores]]) -> Iterator[tuple[object, ...]]:
    """A row after each round; `last` gets each arm's scores after the last one, seed by seed."""
    first = trial.score(onemark.load(trial.start))
    each = len(trial.truth.names)
    for name in trial.options.arms.split(","):
        for seed in range(trial.options.seeds if name == "random" else 1):
            run = work / f"{name}-{seed}"
            shutil.copytree(trial.start, run)
            scores = first
            yield _row(name, seed, 0, 0, first, first, 0.0)
            for n in range(1, trial.options.rounds + 1):
                started = time.perf_counter()
                more = ARMS[name](trial, run, 1000 * seed + n)
                model = onemark.resume(run, cohort=trial.learn, exemplars=more, minutes=trial.options.teach)
                seconds = time.perf_counter() - started
                scores = trial.score(model)
                yield _row(name, seed, n, n * each, scores, first, seconds)
            last.setdefault(name, []).append(scores)


def _row(
    arm: str, seed: int, number: int, clicks: int, scores: Scores, first: Scores, seconds: float
) -> tuple[object, ...]:
    p = paired_bootstrap(scores.error, first.error, scores.image)[3]
    within = 100 * float((scores.error <= 2).mean())
    figures = (f"{value:.4f}" for value in (scores.mre, scores.low, scores.high, within, p))
    return arm, seed, number, clicks, *figures, f"{seconds:.1f}"


def compare(last: Mapping[str, list[Scores]]) -> None:
    """Print how far each arm is from whole radiographs at random, by the mean error of a landmark over the seeds."""
    if "random" not in last:
        return
    errors = {name: np.mean([scores.error for scores in seeds], axis=0) for name, seeds in last.items()}
    for name in errors:
        if name != "random":
            both = errors[name], errors["random"]
            difference, low, high, p = paired_bootstrap(*both, last[name][0].image)
            print(f"{name} against random: {difference:+.4f} [{low:+.4f}, {high:+.4f}], p = {p:.4f}")


def answer(questions: Questions, truth: LandmarkTable) -> LandmarkTable:
    """Answer questions by the truth."""
    names = truth.names
    asked: dict[str, np.ndarray] = {}
    for one in questions:
        asked.setdefault(one.image, np.zeros(len(names), bool))[names.index(one.landmark)] = True
    return LandmarkTable.from_sets(
        LandmarkSet(image, names, np.where(known[:, None], truth[image].xy, np.nan), asked=known)
        for image, known in asked.items()
    )


def _ask(trial: Trial, run: Path, seed: int) -> LandmarkTable:
    return answer(onemark.ask(run, number=len(trial.truth.names), cohort=trial.learn), trial.truth)


def _draw(trial: Trial, run: Path, seed: int) -> LandmarkTable:
    left = _left(trial, run)
    return LandmarkTable.from_sets([trial.truth[left[np.random.default_rng(seed).integers(len(left))]]])


def _suggest(trial: Trial, run: Path, seed: int) -> LandmarkTable:
    place = trial.start.with_name("suggestion")
    number = min(len(trial.learn), trial.options.rounds + 1)
    settings = dict(text.split("=", 1) for text in trial.options.set)
    minutes = trial.options.minutes
    found = onemark.suggest(trial.learn, number=number, out=place, minutes=minutes, settings=settings or None)
    left = _left(trial, run)
    return LandmarkTable.from_sets([trial.truth[next(name for name in found.chosen if name in left)]])


def _correct_worst(trial: Trial, run: Path, seed: int) -> LandmarkTable:
    predictions = onemark.load(run).predict(trial.learn)
    left = set(_left(trial, run))
    worst = max(
        (one for one in predictions if one.image in left), key=lambda one: float(one.expected_error.mean())
    )
    return LandmarkTable.from_sets([trial.truth[worst.image]])


def _left(trial: Trial, run: Path) -> list[str]:
    known = onemark.load(run).exemplars.images
    return [name for name in trial.learn.names if name not in known]


ARMS: dict[str, Arm] = {"random": _draw, "suggest": _suggest, "worst": _correct_worst, "questions": _ask}


def plot(rows: list[tuple[object, ...]], path: Path, unit: str) -> None:
    """Plot the mean error of each arm against clicks."""
    plt = load_pyplot(path)
    if plt is None:
        return
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for arm in dict.fromkeys(row[0] for row in rows):
        clicks = sorted({int(str(row[3])) for row in rows if row[0] == arm})
        means = [
            np.mean([float(str(r[4])) for r in rows if (r[0], r[3]) == (arm, count)]) for count in clicks
        ]
        axes.plot(clicks, means, "o-", label=str(arm))
    axes.set_xlabel("clicks after the first exemplar")
    axes.set_ylabel(f"mean radial error, {unit}")
    axes.legend()
    figure.savefig(path, dpi=100)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", type=Path, help="folder of radiographs")
    parser.add_argument("landmarks", type=Path, help="their true landmarks")
    parser.add_argument("exemplar", help="name of the first exemplar")
    parser.add_argument(
        "--learn", type=int, default=150, help="how many of the first radiographs are learned from"
    )
    parser.add_argument("--spacing-mm", type=float, help="score in mm instead of px")
    parser.add_argument("--minutes", type=float, help="time of the first training; else the recipe's steps")
    parser.add_argument("--teach", type=float, default=1.0, help="minutes of each teaching")
    parser.add_argument("--rounds", type=int, default=4, help="rounds of as many clicks as landmarks")
    parser.add_argument("--arms", default="random,suggest,worst,questions", help="arms to compare")
    parser.add_argument("--seeds", type=int, default=3, help="how often random radiographs are drawn")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting")
    parser.add_argument("--run", type=Path, help="finished run to start from instead; it stays as it is")
    parser.add_argument("--work", type=Path, help="folder to keep the runs in")
    parser.add_argument("--out", type=Path, default=Path("clicks.csv"), help="table to write")
    parser.add_argument("--plot", type=Path, help="picture to write")
    return parser.parse_args()


if __name__ == "__main__":
    main()

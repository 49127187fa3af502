"""Which detector is better, and which of its terms pay? All stand behind the same matcher and get the same time.

    python benchmarks/detectors.py DATA RUN --seconds 270 --arms tpl c2t "c2t coarse=0.67"

DATA holds images/001.jpg ... and landmarks.csv; RUN is the folder of a finished fit that provides matcher and exemplars.
An arm is a detector and its settings. A paired bootstrap over images compares the other arms with the first. The matcher
locates everything before the first arm, so no arm pays for it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onemark
from common import ARMS, arm_row, describe_machine, link_images, parse_numbers, work_folder
from onemark import Cohort, LandmarkSet, LandmarkTable, Radiograph
from onemark.nn.device import fabric_for
from onemark.options import from_settings
from onemark.pipeline.runs.folder import RunFolder
from onemark.stages.answers import matcher_of
from onemark.stages.base import DETECT, MATCH, StageContext
from onemark.stages.detect.c2t import C2T
from onemark.stages.detect.tpl import TPL
from onemark.stages.detector import Detector

DETECTORS: dict[str, type[Detector]] = {"tpl": TPL, "c2t": C2T}


@dataclass(kw_only=True)
class KnownAnswers(StageContext):
    """A context whose pseudo-labels are known already."""

    known: Mapping[str, LandmarkSet]

    def locate(self, radiograph: Radiograph) -> LandmarkSet:
        """Return the known pseudo-label."""
        return self.known[radiograph.name]


class Matched:
    """A finished run's matcher, its answers to a cohort and its exemplars."""

    def __init__(self, run: Path, cohort: Cohort, device: str) -> None:
        model = onemark.load(run, device)
        self.before = {MATCH: model.stages[MATCH]}
        matcher = matcher_of(model.stages)
        self.cohort, self.exemplars = cohort, RunFolder.open(run).exemplars()
        self.known: dict[str, LandmarkSet] = {name: matcher.locate(cohort[name]) for name in cohort.names}

    def fit(self, arm: str, seconds: float | None, seed: int, device: str) -> tuple[Detector, int]:
        """Fit one arm; return the detector and its number of steps."""
        kind, *settings = arm.split()
        stage = DETECTORS[kind]
        config = from_settings(stage.Config, dict(s.split("=", 1) for s in settings), "detect.")
        context = KnownAnswers(
            fabric=fabric_for(device),
            seed=seed,
            stage=DETECT,
            cohort=self.cohort,
            exemplars=self.exemplars,
            config=config,
            seconds=seconds,
            before=self.before,
            known=self.known,
        )
        return stage.fit(context), context.log[-1]["step"]


def main() -> None:
    """Fit, predict and score arm by arm."""
    options = _options()
    images = options.data / "images"
    work = work_folder(options.out)
    train, test = (
        onemark.open_cohort(link_images(images, [f"{n:03d}.jpg" for n in parse_numbers(which)], work / name))
        for name, which in (("train", options.train), ("test", options.test))
    )
    truth = onemark.read_landmarks(options.data / "landmarks.csv")
    matched = Matched(options.run, train, options.device)
    print(f"{describe_machine()}\n\n{ARMS}", flush=True)
    first = None
    for arm in options.arms:
        detector, steps = matched.fit(arm, options.seconds, options.seed, options.device)
        started = time.perf_counter()
        predictions = LandmarkTable.from_sets(detector.locate(radiograph) for radiograph in test.readable())
        per_image = (time.perf_counter() - started) / len(test)
        predictions.to_csv(work / f"{arm.replace(' ', '_')}-{options.seed}.csv")
        scores = onemark.evaluate(predictions, truth, spacing_mm=options.spacing_mm)
        print(arm_row(f"{arm}, {steps} steps", scores, first, per_image), flush=True)
        first = first or scores


def _options(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder with images/ and landmarks.csv")
    parser.add_argument("run", type=Path, help="run folder of a finished fit on the same images")
    parser.add_argument("--arms", nargs="+", default=["tpl", "c2t"], help="detectors with their settings")
    parser.add_argument("--seconds", type=float, help="for each arm; without it the detectors' steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--spacing-mm", type=float, default=0.25)
    parser.add_argument("--train", default="1-150", help="numbers of the images to learn from")
    parser.add_argument("--test", default="151-300", help="numbers of the images to score on")
    parser.add_argument("--out", type=Path, help="folder to keep the predictions in")
    return parser.parse_args(words)


if __name__ == "__main__":
    main()

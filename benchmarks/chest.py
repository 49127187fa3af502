"""Frontal chest radiographs of mixed sources and sizes, six lung landmarks: one exemplar, accuracy on all others.

    python benchmarks/chest.py DATA --minutes 10

DATA holds images/ and landmarks.csv. Exemplars are positions in the sorted file names, counted from 1. Errors are in
percent of each image's mean side, because there is no spacing. The landmarks of the others only serve for scoring.
"""

from __future__ import annotations

from statistics import fmean

import onemark
from common import Outcome, arguments, fit_and_predict, parse_numbers, show, work_folder


def main() -> None:
    """Fit, predict and score, exemplar by exemplar."""
    options = arguments(__doc__ or "", "1,57,86,170").parse_args()
    work, images = work_folder(options.out), options.data / "images"
    work.mkdir(parents=True, exist_ok=True)
    truth = onemark.read_landmarks(options.data / "landmarks.csv")
    cohort = onemark.open_cohort(images)
    percent = {name: 100 / fmean(cohort.header(name).size) for name in cohort.names}
    by_name = sorted(cohort.names)
    outcomes = []
    for number in parse_numbers(options.exemplars):
        exemplar = by_name[number - 1]
        predictions, fit, predict = fit_and_predict(options, work, exemplar, images, images)
        scores = onemark.evaluate(
            predictions, truth, spacing_mm=percent, exclude=[exemplar], unit="% of mean side"
        )
        outcomes.append(Outcome(exemplar, scores, fit, predict, len(cohort)))
    show(outcomes, options.json)


if __name__ == "__main__":
    main()

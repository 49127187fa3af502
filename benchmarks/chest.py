"""Frontal chest radiographs of mixed sources and sizes, six lung landmarks: one exemplar, accuracy on all others.

    python benchmarks/chest.py DATA --minutes 10

DATA holds images/ and landmarks.csv. Exemplars are numbers in the plain sorting of the file names, from 1. Errors are
in percent of each image's mean side: there is no spacing. The landmarks of the others are used for scoring alone.
"""

from __future__ import annotations

from statistics import fmean

import onemark
from common import Outcome, arguments, fitted_and_marked, kept, numbers, show


def main() -> None:
    """Fit, mark and score, exemplar by exemplar."""
    options = arguments(__doc__ or "", "1,57,86,170").parse_args()
    work, images = kept(options.out), options.data / "images"
    work.mkdir(parents=True, exist_ok=True)
    truth = onemark.read_landmarks(options.data / "landmarks.csv")
    cohort = onemark.open_cohort(images)
    percent = {name: 100 / fmean(cohort.header(name).size) for name in cohort.names}
    by_name = sorted(cohort.names)
    outcomes = []
    for number in numbers(options.exemplars):
        exemplar = by_name[number - 1]
        found, fit, predict = fitted_and_marked(options, work, exemplar, images, images)
        scores = onemark.evaluate(found, truth, spacing_mm=percent, exclude=[exemplar], unit="% of mean side")
        outcomes.append(Outcome(exemplar, scores, fit, predict, len(cohort)))
    show(outcomes, options.json)


if __name__ == "__main__":
    main()

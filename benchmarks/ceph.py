"""Lateral cephalograms (ISBI 2015, 774 x 960 px, 0.25 mm per pixel): one exemplar, accuracy on the test images.

    python benchmarks/ceph.py DATA --minutes 10 --exemplars 125,126,8,50,99,10

DATA holds images/001.jpg ... and landmarks.csv. Only the training images are in the folder that is fitted, and of
their landmarks only the exemplar's. The seconds per radiograph include start, reading and decoding.
"""

from __future__ import annotations

import onemark
from common import Outcome, arguments, fitted_and_marked, kept, links, numbers, show

SPACING_MM = 0.25


def main() -> None:
    """Fit, mark and score, exemplar by exemplar."""
    parser = arguments(__doc__ or "", "125")
    parser.add_argument("--train", default="1-150", help="numbers of the images to learn from")
    parser.add_argument("--test", default="151-300", help="numbers of the images to score on")
    options = parser.parse_args()
    work, images = kept(options.out), options.data / "images"
    train = links(images, [f"{n:03d}.jpg" for n in numbers(options.train)], work / "train")
    tested = [f"{n:03d}.jpg" for n in numbers(options.test)]
    test = links(images, tested, work / "test")
    truth = onemark.read_landmarks(options.data / "landmarks.csv")
    outcomes = []
    for number in numbers(options.exemplars):
        found, fit, predict = fitted_and_marked(options, work, f"{number:03d}.jpg", train, test)
        scores = onemark.evaluate(found, truth, spacing_mm=SPACING_MM)
        outcomes.append(Outcome(f"{number:03d}.jpg", scores, fit, predict, len(tested)))
    show(outcomes, options.json)


if __name__ == "__main__":
    main()

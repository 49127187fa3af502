"""Lateral cephalograms (ISBI 2015, 774 x 960 px, 0.25 mm per pixel): one exemplar, accuracy on the test images.

    python benchmarks/ceph.py DATA --minutes 10 --exemplars 125,126,8,50,99,10

DATA holds images/001.jpg ... and landmarks.csv. The fit sees only the training images, and only the exemplar's landmarks.
The seconds per radiograph include the start of the process, reading and decoding.
"""

from __future__ import annotations

import onemark
from common import Outcome, arguments, fit_and_predict, link_images, parse_numbers, show, work_folder

SPACING_MM = 0.25


def main() -> None:
    """Fit, predict and score, exemplar by exemplar."""
    parser = arguments(__doc__ or "", "125")
    parser.add_argument("--train", default="1-150", help="numbers of the images to learn from")
    parser.add_argument("--test", default="151-300", help="numbers of the images to score on")
    options = parser.parse_args()
    work, images = work_folder(options.out), options.data / "images"
    train = link_images(images, [f"{n:03d}.jpg" for n in parse_numbers(options.train)], work / "train")
    tested = [f"{n:03d}.jpg" for n in parse_numbers(options.test)]
    test = link_images(images, tested, work / "test")
    truth = onemark.read_landmarks(options.data / "landmarks.csv")
    outcomes = []
    for number in parse_numbers(options.exemplars):
        predictions, fit, predict = fit_and_predict(options, work, f"{number:03d}.jpg", train, test)
        scores = onemark.evaluate(predictions, truth, spacing_mm=SPACING_MM)
        outcomes.append(Outcome(f"{number:03d}.jpg", scores, fit, predict, len(tested)))
    show(outcomes, options.json)


if __name__ == "__main__":
    main()

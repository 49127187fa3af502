"""Which parts of a recipe pay? One recipe with its parts switched off, one after the other.

    python benchmarks/ablations.py DATA --recipe edgetrans-match-only --minutes 3 --arms "" match.w_similarity=0

DATA is as for `ceph.py`. An arm adds settings, separated by blanks, to those of `--set`. A paired bootstrap over images
compares the other arms with the first. Every arm is a whole fit by the command line, with the same seed and time.
"""

from __future__ import annotations

from pathlib import Path

import onemark
from common import (
    ARMS,
    arguments,
    arm_row,
    describe_machine,
    fit_and_predict,
    link_images,
    parse_numbers,
    work_folder,
)

SPACING_MM = 0.25


def main() -> None:
    """Fit, predict and score arm by arm."""
    parser = arguments(__doc__ or "", "125")
    parser.add_argument("--arms", nargs="+", required=True, help="settings, such as match.w_smooth=0")
    options = parser.parse_args()
    work, images = work_folder(options.out), options.data / "images"
    train = link_images(images, [f"{n:03d}.jpg" for n in range(1, 151)], work / "train")
    test = link_images(images, [f"{n:03d}.jpg" for n in range(151, 301)], work / "test")
    truth, exemplar = (
        onemark.read_landmarks(options.data / "landmarks.csv"),
        parse_numbers(options.exemplars)[0],
    )
    asked, first = list(options.set), None
    print(f"{describe_machine()}\n\n{ARMS}", flush=True)
    for number, arm in enumerate(options.arms):
        options.set = asked + arm.split()
        folder = Path(work) / f"arm-{number}"
        folder.mkdir(exist_ok=True)
        predictions, _, predict = fit_and_predict(options, folder, f"{exemplar:03d}.jpg", train, test)
        scores = onemark.evaluate(predictions, truth, spacing_mm=SPACING_MM)
        print(
            arm_row(arm or "as it is", scores, first, predict.seconds / len(predictions.images)), flush=True
        )
        first = first or scores


if __name__ == "__main__":
    main()
